//! `presend bounces import`: reads what past mailings left behind, and keeps each event once.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::ArgMatches;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{
    super::{
        Exit,
        config::ConfigFile,
        database,
        fault::{fault, note},
        paint::{DIM, grouped, paint},
        settings::{Overlay, Profile, Resolved},
        suppress,
    },
    known::Known,
    tally::Tally,
};
use crate::{
    bounce::{
        Event, EventKind,
        source::{self, Format, Options, Step, What},
        table::Mapping,
    },
    output,
    store::{Added, SqliteStore},
    suppress::BouncePolicy,
};

/// Events that are written together.
const TOGETHER: usize = 5_000;
/// Faults that are shown; the others are counted.
const SHOWN: u64 = 20;

/// `presend bounces import`
#[derive(Debug, clap::Args)]
#[command(
    about = "Import delivery reports, mailboxes, exports of sending services and logs",
    long_about = "Import delivery reports, mailboxes, exports of sending services and logs.\n\nReads single messages, mbox files, Maildirs \
    and folders of these; CSV, XLSX and NDJSON exports; events of Amazon SES, SendGrid, Mailgun, Postmark and HubSpot; logs of Postfix and \
    Exim; gzip and zstd are unpacked. Vacation notices, challenges and other mail are recognised and are no bounces. What cannot be read is \
    named and counted, and the rest is imported. The same files again change nothing.",
    after_long_help = "\
Examples:
  presend bounces import bounces.mbox
  presend bounces import Maildir/ --known mailed.csv
  presend bounces import export.csv --map recipient=Email,date='Bounced at',reply=Reason --list newsletter
  presend bounces import /var/log/mail.log.1 --year 2026 --utc-offset +01:00
  presend bounces import report.eml --dry-run --json           what would be kept, one event a line

Exit codes: 0 imported, even if some records could not be read; 2 nothing could be read."
)]
pub(super) struct ImportArgs {
    /// Files and folders; `-` is standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What every file holds [default: found out for each].
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = FormatName::Auto, hide_default_value = true)]
    format: FormatName,
    /// Columns of an export: `recipient`, `event`, `date`, `status`, `reply`, `code`, `class`, `mta`, `message_id`, `list`, `id`
    /// [default: by their usual names].
    #[arg(long, value_name = "FIELD=COLUMN,...")]
    map: Option<Mapping>,
    /// Everybody who was ever mailed, as a list; reports about others are kept apart and never suppress. Repeatable.
    #[arg(long, value_name = "FILE")]
    known: Vec<PathBuf>,
    /// List or campaign of events that name none.
    #[arg(long, value_name = "NAME")]
    list: Option<String>,
    /// Year of log lines that have none [default: the last in which the line is not later than the file].
    #[arg(long, value_name = "YEAR", value_parser = clap::value_parser!(i64).range(1980..2100))]
    year: Option<i64>,
    /// How far the local time of logs is ahead of UTC, such as `+01:00` [default: UTC].
    #[arg(long, value_name = "OFFSET", allow_hyphen_values = true, value_parser = utc_offset)]
    utc_offset: Option<i64>,
    /// Read everything and keep nothing.
    #[arg(long)]
    dry_run: bool,
    /// The summary as one JSON object; with `--dry-run` the events, one a line.
    #[arg(long)]
    json: bool,
    /// Neither progress nor summary.
    #[arg(long, short)]
    quiet: bool,
    /// Database that keeps the events [default: as for `presend verify`].
    #[arg(long, value_name = "FILE", env = "PRESEND_DB")]
    db: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FormatName {
    /// Found out for each file.
    Auto,
    /// One message.
    Mail,
    /// An mbox.
    Mbox,
    /// CSV, TSV or XLSX.
    Csv,
    /// NDJSON, or any JSON that holds objects.
    Json,
    /// A log of Postfix.
    Postfix,
    /// A main log of Exim.
    Exim,
}

impl FormatName {
    fn format(self) -> Option<Format> {
        match self {
            Self::Auto => None,
            Self::Mail => Some(Format::Mail),
            Self::Mbox => Some(Format::Mbox),
            Self::Csv => Some(Format::Csv),
            Self::Json => Some(Format::Json),
            Self::Postfix => Some(Format::Postfix),
            Self::Exim => Some(Format::Exim),
        }
    }
}

fn utc_offset(text: &str) -> Result<i64, String> {
    crate::bounce::utc_offset(text).ok_or_else(|| "write it as `+01:00` or `-0530`".to_owned())
}

/// An event as it is shown.
#[derive(Serialize)]
struct Shown<'e> {
    recipient: &'e str,
    event: &'static str,
    class: Option<&'static str>,
    hardness: &'static str,
    persistence: Option<crate::replies::Persistence>,
    status: Option<String>,
    reply: Option<&'e str>,
    remote_mta: Option<&'e str>,
    message_id: Option<&'e str>,
    list: Option<&'e str>,
    at: String,
    origin: crate::bounce::Origin,
    id: String,
    kept_apart: bool,
    file: &'e str,
    place: u64,
}

impl<'e> Shown<'e> {
    fn new(event: &'e Event, file: &'e str, place: u64, kept_apart: bool) -> Self {
        let (class, persistence) = match event.kind {
            EventKind::Bounced { class, persistence } => (Some(class), Some(persistence)),
            EventKind::Deferred { class } => (Some(class), None),
            EventKind::Delivered | EventKind::Complained | EventKind::Unsubscribed => (None, None),
        };
        Self {
            recipient: &event.recipient,
            event: event.kind.name(),
            class: class.map(crate::replies::Class::name),
            hardness: event.kind.hardness().name(),
            persistence,
            status: event.status.map(|status| status.to_string()),
            reply: event.reply.as_deref(),
            remote_mta: event.remote_mta.as_deref(),
            message_id: event.message_id.as_deref(),
            list: event.list.as_deref(),
            at: humantime::format_rfc3339_millis(event.at).to_string(),
            origin: event.origin,
            id: format!("{:032x}", u128::from_be_bytes(event.id())),
            kept_apart,
            file,
            place,
        }
    }
}

pub(super) fn run(args: &ImportArgs, matches: &ArgMatches) -> anyhow::Result<Exit> {
    for path in args.paths.iter().filter(|path| path.as_os_str() != "-") {
        if let Err(error) = path.metadata() {
            return Err(fault(
                format!("cannot read `{}`: {error}", path.display()),
                "name files or folders that are there",
            ));
        }
    }
    let (store, policy) = if args.dry_run {
        (None, BouncePolicy::default())
    } else {
        let overlay = Overlay::of_jobs(args.db.clone());
        let resolved = Resolved::new(&overlay, matches, &args.config, Profile::Bulk)?;
        (Some(database::open(&resolved)?), resolved.bounce_policy()?)
    };
    let known = Known::read(&args.known)?;
    let options = Options {
        format: args.format.format(),
        mapping: args.map.clone().unwrap_or_default(),
        year: args.year,
        offset: args.utc_offset.unwrap_or_default(),
    };
    let mut import = Import {
        args,
        store,
        policy,
        known,
        list: args
            .list
            .as_deref()
            .map(|name| output::clean(name.trim(), 200).as_ref().into()),
        tally: Tally::default(),
        kept: Vec::new(),
        apart: Vec::new(),
        progress: Progress::new(args.quiet),
        out: Vec::new(),
    };
    let ended = source::read(&args.paths, &options, |step| import.take(step));
    import.progress.end();
    ended?;
    import.finish()
}

struct Import<'a> {
    args: &'a ImportArgs,
    store: Option<SqliteStore>,
    /// Decides, once everything is in.
    policy: BouncePolicy,
    known: Known,
    list: Option<Box<str>>,
    tally: Tally,
    /// Events to be written, and those of strangers.
    kept: Vec<Event>,
    apart: Vec<Event>,
    progress: Progress,
    out: Vec<u8>,
}

impl Import<'_> {
    fn take(&mut self, step: Step) -> anyhow::Result<()> {
        self.progress.step(&step.what);
        match step.what {
            What::File(format) => self.tally.file(format),
            What::Ignored => self.tally.ignored += 1,
            What::Other(other) => {
                self.tally.other(other);
                if other.is_fault() {
                    self.complain(&step.file, step.place, other.sentence());
                }
            }
            What::Fault(reason) => {
                self.tally.faults += 1;
                self.complain(&step.file, step.place, &reason);
            }
            What::Events(told, events) => {
                self.tally.record(told);
                for event in events {
                    self.event(event, &step.file, step.place)?;
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, mut event: Event, file: &Arc<str>, place: u64) -> anyhow::Result<()> {
        if event.list.is_none() {
            event.list.clone_from(&self.list);
        }
        let apart = !self.known.has(&event.recipient);
        self.tally.event(&event, apart);
        if self.args.dry_run {
            if self.args.json {
                serde_json::to_writer(&mut self.out, &Shown::new(&event, file, place, apart))?;
                self.out.push(b'\n');
                if self.out.len() >= 64 << 10 {
                    self.print()?;
                }
            }
            return Ok(());
        }
        if apart {
            self.apart.push(event);
        } else {
            self.kept.push(event);
        }
        if self.kept.len() + self.apart.len() >= TOGETHER {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> anyhow::Result<()> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        for (events, apart) in [(&mut self.kept, false), (&mut self.apart, true)] {
            let Added { new, known } = store.add_events(std::mem::take(events), apart)?;
            self.tally.new += new;
            self.tally.known += known;
        }
        Ok(())
    }

    fn print(&mut self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(&self.out)?;
        out.flush()?;
        self.out.clear();
        Ok(())
    }

    /// Names a record that cannot be read.
    fn complain(&mut self, file: &str, place: u64, reason: &str) {
        self.tally.complaints += 1;
        if self.tally.complaints > SHOWN {
            return;
        }
        let place = if place > 0 { format!(":{place}") } else { String::new() };
        let text = output::clean(reason, 300);
        self.progress
            .above(&format!("{}{place}: {text}", output::clean(file, 300)));
    }

    fn finish(mut self) -> anyhow::Result<Exit> {
        self.write()?;
        self.print()?;
        if self.tally.complaints > SHOWN && !self.args.quiet {
            let more = grouped(self.tally.complaints - SHOWN);
            note(&paint(DIM, format!("{more} more could not be read")));
        }
        if self.tally.is_empty() {
            return Err(fault(
                "nothing could be read",
                "give mail, an mbox, a Maildir, an export or a log; `presend bounces import --help` shows them",
            ));
        }
        if self.args.json && !self.args.dry_run {
            let mut out = io::stdout().lock();
            serde_json::to_writer(&mut out, &self.tally.summary())?;
            writeln!(out)?;
        } else if !self.args.quiet {
            note(&self.tally.text(self.args.dry_run));
        }
        if let Some(store) = &self.store {
            suppress::apply(store, &self.policy, self.args.quiet || self.args.json)?;
        }
        Ok(Exit::Done)
    }
}

/// What is shown while files are read.
struct Progress {
    bar: Option<ProgressBar>,
    records: u64,
    drawn: Instant,
}

impl Progress {
    fn new(quiet: bool) -> Self {
        let bar = (!quiet && io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{spinner} {human_pos} records  {per_sec}");
            ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        Self {
            bar,
            records: 0,
            drawn: Instant::now(),
        }
    }

    fn step(&mut self, what: &What) {
        self.records += u64::from(!matches!(what, What::File(_)));
        let Some(bar) = &self.bar else {
            return;
        };
        if self.records.is_multiple_of(64) && self.drawn.elapsed() >= Duration::from_millis(100) {
            bar.set_position(self.records);
            self.drawn = Instant::now();
        }
    }

    /// A line that stays.
    fn above(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| note(text)),
            None => note(text),
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
