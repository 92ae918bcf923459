//! `presend suppress`: who gets no more mail, and why.

mod files;
mod review;

pub(super) use files::quoted;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::{self, Write as _},
    ops::ControlFlow,
    path::PathBuf,
    time::SystemTime,
};

use clap::ArgMatches;
use serde_json::json;

use super::{
    Exit,
    config::ConfigFile,
    database,
    fault::{fault, hint, note},
    paint::{BOLD, DIM, counted, paint},
    settings::{Overlay, Profile, Resolved},
    values::Span,
};
use crate::{
    address::{Address, Rules},
    output,
    store::{
        Author, KeptEvent, NewSuppression, Scope, SqliteStore, StoreError, Suppression, SuppressionState, Suppressions,
    },
    suppress::{self, BouncePolicy, SuppressionReason, SuppressionRecord},
};

/// Characters of one text that are shown.
const SHOWN: usize = 300;

/// `presend suppress`
#[derive(Debug, clap::Args)]
#[command(
    about = "Who gets no more mail: add, remove, list, why, import, export, review",
    long_about = "Who gets no more mail, and why. `verify`, `check` and the API look here first: a suppressed address is \
    `invalid/suppressed_*`, and nobody is asked about it.\n\nBounces suppress by the rules of `[bounce_policy]`; every \
    entry says which rule, on which events, and since when. What is removed stays as history.",
    after_long_help = "\
Examples:
  presend suppress add jane@example.com --reason unsubscribed --note 'by phone'
  presend suppress add jane@example.com --list news --for 90d
  presend suppress why jane@example.com
  presend suppress remove jane@example.com --note 'mailbox repaired'
  presend suppress import old-system.csv --reason imported
  presend suppress export --since 30d --output new.csv
  presend suppress review                          what waits for a person
  presend suppress review --approve 12 --approve 14 --note 'gone, says the company'
  presend suppress review --rule unknown_in_a_wave --domain mail.example --reject-all --note 'their outage'
  presend suppress apply                           decide again about what is new, as `presend bounces import` does

A dead mailbox is dead for every list; `--list` says that an entry is for one list only."
)]
pub(super) struct SuppressArgs {
    #[command(subcommand)]
    command: SuppressCommand,
}

#[derive(Debug, clap::Subcommand)]
enum SuppressCommand {
    /// Suppress addresses
    Add {
        /// The addresses.
        #[arg(required = true, value_name = "ADDRESS")]
        addresses: Vec<String>,
        #[command(flatten)]
        how: How,
        /// Why.
        #[arg(long, value_enum, value_name = "REASON", default_value = "manual")]
        reason: ReasonName,
        #[command(flatten)]
        place: Place,
    },
    /// Let addresses go; their history stays
    Remove {
        /// The addresses.
        #[arg(required = true, value_name = "ADDRESS")]
        addresses: Vec<String>,
        /// Only what is suppressed for this list.
        #[arg(long, value_name = "NAME")]
        list: Option<String>,
        /// Why, for whoever asks later.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Everybody who is suppressed
    List {
        #[command(flatten)]
        which: Which,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Everything about one address: entries, rules, events
    Why {
        /// The address.
        address: String,
        /// One JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Suppress every address of lists: CSV, TSV, text, NDJSON or XLSX
    Import {
        /// The lists; `-` is standard input. Columns `reason`, `list`, `note`, `happened_at` and `expires_at` are used where
        /// they are, so that what `export` wrote comes back whole.
        #[arg(required = true, value_name = "FILE")]
        inputs: Vec<PathBuf>,
        /// Column of the addresses: its name, or its number from 1 [default: guessed].
        #[arg(long, value_name = "NAME|NUMBER")]
        column: Option<String>,
        /// Why, where the list does not say.
        #[arg(long, value_enum, value_name = "REASON", default_value = "imported")]
        reason: ReasonName,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        place: Place,
    },
    /// Write entries to a file, for other systems and for `import`
    Export {
        #[command(flatten)]
        which: Which,
        /// Where to [default: standard output].
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// What: a table, one JSON object a line, or one address a line [default: by the file's name, else csv].
        #[arg(long, value_enum, value_name = "FORMAT")]
        format: Option<ExportFormat>,
        #[command(flatten)]
        place: Place,
    },
    /// What waits for a person; or a person's word about it
    Review {
        /// Suppress these, by their numbers. Repeatable.
        #[arg(long, value_name = "NUMBER", value_delimiter = ',')]
        approve: Vec<i64>,
        /// Let these go. Repeatable.
        #[arg(long, value_name = "NUMBER", value_delimiter = ',')]
        reject: Vec<i64>,
        /// Only what this rule decided, such as `unknown_in_a_wave`.
        #[arg(long, value_name = "RULE")]
        rule: Option<String>,
        /// Only addresses of this domain.
        #[arg(long, value_name = "DOMAIN")]
        domain: Option<String>,
        /// Suppress all that `--rule` and `--domain` leave.
        #[arg(long, conflicts_with_all = ["approve", "reject", "reject_all"])]
        approve_all: bool,
        /// Let all of them go.
        #[arg(long, conflicts_with_all = ["approve", "reject"])]
        reject_all: bool,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Decide again about everybody of whom something is new
    Apply {
        /// By the rules of this profile instead of `[bounce_policy]`: default, hubspot or strict.
        #[arg(long, value_name = "NAME")]
        profile: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Keep addresses of events and entries as keyed hashes only, from now on and for good
    Hash {
        /// Do it: nobody can read the addresses afterwards, only look one up.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// What is said of new entries.
#[derive(Debug, clap::Args)]
struct How {
    /// For this list only [default: for all].
    #[arg(long, value_name = "NAME")]
    list: Option<String>,
    /// A remark, for whoever asks later.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// End by itself after so long, such as `90d` [default: never].
    #[arg(long = "for", value_name = "DURATION")]
    lasting: Option<Span>,
}

/// Which entries.
#[derive(Debug, clap::Args)]
struct Which {
    /// Of this list.
    #[arg(long, value_name = "NAME")]
    list: Option<String>,
    /// For this reason.
    #[arg(long, value_enum, value_name = "REASON")]
    reason: Option<ReasonName>,
    /// In this state [default: active].
    #[arg(long, value_enum, value_name = "STATE")]
    state: Option<StateName>,
    /// Made within the last so long, such as `30d`.
    #[arg(long, value_name = "DURATION")]
    since: Option<Span>,
}

#[derive(Debug, clap::Args)]
struct Place {
    /// Database [default: as for `presend verify`].
    #[arg(long, value_name = "FILE", env = "PRESEND_DB")]
    db: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
}

/// A [`SuppressionReason`] as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum ReasonName {
    Manual,
    Unsubscribed,
    Complained,
    Imported,
    HardBounce,
    SoftBounces,
    MailboxFull,
    BouncedElsewhere,
}

impl From<ReasonName> for SuppressionReason {
    fn from(name: ReasonName) -> Self {
        match name {
            ReasonName::Manual => Self::Manual,
            ReasonName::Unsubscribed => Self::Unsubscribed,
            ReasonName::Complained => Self::Complained,
            ReasonName::Imported => Self::Imported,
            ReasonName::HardBounce => Self::HardBounce,
            ReasonName::SoftBounces => Self::SoftBounces,
            ReasonName::MailboxFull => Self::MailboxFull,
            ReasonName::BouncedElsewhere => Self::BouncedElsewhere,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum StateName {
    Active,
    Review,
    Ended,
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ExportFormat {
    Csv,
    Ndjson,
    Text,
}

impl Which {
    fn wanted(&self) -> Suppressions {
        Suppressions {
            list: self.list.as_deref().map(Into::into),
            reason: self.reason.map(Into::into),
            state: match self.state {
                None | Some(StateName::Active) => Some(SuppressionState::Active),
                Some(StateName::Review) => Some(SuppressionState::Review),
                Some(StateName::Ended) => Some(SuppressionState::Ended),
                Some(StateName::All) => None,
            },
            since: self
                .since
                .and_then(|since| SystemTime::now().checked_sub(since.duration())),
            ..Suppressions::default()
        }
    }
}

pub(super) fn run(args: &SuppressArgs, matches: &ArgMatches) -> anyhow::Result<Exit> {
    match &args.command {
        SuppressCommand::Add {
            addresses,
            how,
            reason,
            place,
        } => add(&place.open(matches)?.0, addresses, how, (*reason).into())?,
        SuppressCommand::Remove {
            addresses,
            list,
            note,
            place,
        } => return remove(&place.open(matches)?.0, addresses, (list.as_deref(), note.as_deref())),
        SuppressCommand::List { which, json, place } => {
            list(&place.open(matches)?.0, &which.wanted(), *json, |_| true)?;
        }
        SuppressCommand::Why { address, json, place } => why(&place.open(matches)?.0, address, *json)?,
        SuppressCommand::Import {
            inputs,
            column,
            reason,
            how,
            place,
        } => {
            let import = files::Import {
                column: column.clone(),
                reason: (*reason).into(),
                how,
            };
            return import.run(&place.open(matches)?.0, inputs);
        }
        SuppressCommand::Export {
            which,
            output,
            format,
            place,
        } => files::export(&place.open(matches)?.0, &which.wanted(), (output.as_deref(), *format))?,
        SuppressCommand::Review {
            approve,
            reject,
            rule,
            domain,
            approve_all,
            reject_all,
            note,
            json,
            place,
        } => {
            let (store, _) = place.open(matches)?;
            let waiting = review::Waiting {
                rule: rule.as_deref(),
                domain: domain.as_deref(),
            };
            if *approve_all || *reject_all {
                return waiting.decide(&store, *approve_all, note.as_deref());
            }
            if !approve.is_empty() || !reject.is_empty() {
                return review::decide(&store, (approve, reject), note.as_deref());
            }
            waiting.list(&store, *json)?;
        }
        SuppressCommand::Apply { profile, place } => {
            let (store, resolved) = place.open(matches)?;
            let policy = match profile {
                Some(name) => BouncePolicy::profile(name)
                    .map_err(|error| fault(error.to_string(), "`presend suppress apply --profile strict`"))?,
                None => resolved.bounce_policy()?,
            };
            apply(&store, &policy, false)?;
        }
        SuppressCommand::Hash { yes, place } => hash(&place.open(matches)?.0, *yes)?,
    }
    Ok(Exit::Done)
}

impl Place {
    fn open(&self, matches: &ArgMatches) -> anyhow::Result<(SqliteStore, Resolved)> {
        let resolved = Resolved::new(&Overlay::of_jobs(self.db.clone()), matches, &self.config, Profile::Bulk)?;
        if resolved.database()?.is_none() {
            return Err(fault(
                "`no_store` is set, so nobody can be suppressed",
                "`--db FILE` names a database; `presend config show` says where `no_store` comes from",
            ));
        }
        Ok((database::open(&resolved)?, resolved))
    }
}

/// An address as it was typed; special-use names may be suppressed too.
fn parsed(typed: &str) -> anyhow::Result<Address> {
    let rules = Rules {
        allow_special_use: true,
    };
    Address::parse(typed, rules).map_err(|error| {
        let shown = output::clean(typed, SHOWN);
        let said = format!("`{shown}` is not an address: {}", error.fault.sentence());
        fault(said, "nothing was changed; mend it and run the command again")
    })
}

impl How {
    fn scope(&self) -> Scope {
        Scope {
            tenant: "".into(),
            list: self.list.as_deref().map(Into::into),
        }
    }

    fn expires_at(&self, now: SystemTime) -> Option<SystemTime> {
        self.lasting.and_then(|lasting| now.checked_add(lasting.duration()))
    }
}

fn add(store: &SqliteStore, typed: &[String], how: &How, reason: SuppressionReason) -> anyhow::Result<()> {
    let now = SystemTime::now();
    let new = typed.iter().map(|typed| {
        Ok(NewSuppression {
            mailbox: parsed(typed)?.mailbox().into(),
            scope: how.scope(),
            reason,
            source: Author::Person,
            note: how.note.as_deref().map(Into::into),
            happened_at: now,
            expires_at: how.expires_at(now),
        })
    });
    let added = store.suppress(new.collect::<anyhow::Result<_>>()?)?;
    note(&format!(
        "suppressed {}{}",
        counted(added.new, "address", "addresses"),
        already(added.known)
    ));
    Ok(())
}

fn already(known: u64) -> String {
    match known {
        0 => String::new(),
        known => format!("; {known} were already"),
    }
}

fn remove(store: &SqliteStore, typed: &[String], (list, why): (Option<&str>, Option<&str>)) -> anyhow::Result<Exit> {
    let recipients = store.recipients()?;
    let people: Vec<_> = typed
        .iter()
        .map(|typed| Ok(recipients.person(parsed(typed)?.mailbox())))
        .collect::<anyhow::Result<_>>()?;
    let mut missing = 0;
    for (typed, person) in typed.iter().zip(people) {
        let ended = store.release(person, ("", list), Author::Person, why.map(Into::into))?;
        if ended == 0 {
            missing += 1;
            note(&format!("`{}` is not suppressed", output::clean(typed, SHOWN)));
        }
    }
    let gone = typed.len() as u64 - missing;
    note(&format!("let {} go", counted(gone, "address", "addresses")));
    if gone > 0 {
        hint("what was reported until now counts no longer; another hard bounce suppresses again, and is flagged");
    }
    Ok(if missing > 0 { Exit::Failed } else { Exit::Done })
}

fn list(
    store: &SqliteStore,
    wanted: &Suppressions,
    json: bool,
    is_meant: impl Fn(&Suppression) -> bool,
) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    let mut count = 0_u64;
    store.each_suppression(wanted, |kept| {
        if !is_meant(&kept) {
            return anyhow::Ok(ControlFlow::Continue(()));
        }
        count += 1;
        if json {
            serde_json::to_writer(&mut out, &SuppressionRecord::from(kept))?;
            writeln!(out)?;
        } else {
            write!(out, "{}", line(&kept))?;
        }
        anyhow::Ok(ControlFlow::Continue(()))
    })?;
    if !json {
        note(&paint(DIM, counted(count, "entry", "entries")));
    }
    Ok(())
}

/// An entry in one or two lines.
fn line(kept: &Suppression) -> String {
    let state = match kept.state {
        SuppressionState::Active if kept.again => ", again after it was let go",
        SuppressionState::Active => "",
        SuppressionState::Review => ", waits for a person",
        SuppressionState::Ended => ", ended",
    };
    let told = suppress::suppressed(kept);
    let rule = kept
        .by_rule
        .as_ref()
        .map(|by| format!(" (rule {} of {})", by.rule, by.policy));
    let ended = kept.ended.as_ref().map(|(at, by, why)| {
        let why = why.as_deref().map(|why| format!(": {}", output::clean(why, SHOWN)));
        format!(
            "        ended {} by {}{}\n",
            suppress::day(*at),
            by.name(),
            why.unwrap_or_default()
        )
    });
    let until = kept.expires_at.map(|at| format!(", until {}", suppress::day(at)));
    format!(
        "{:>6}  {}  {}{state}{}\n        {}\n{}",
        kept.number,
        paint(BOLD, output::clean(&kept.mailbox, SHOWN)),
        kept.reason.name(),
        until.unwrap_or_default(),
        paint(
            DIM,
            format!("{}{}", output::clean(&told.text, SHOWN), rule.unwrap_or_default())
        ),
        paint(DIM, ended.unwrap_or_default()),
    )
}

fn why(store: &SqliteStore, typed: &str, json: bool) -> anyhow::Result<()> {
    let address = parsed(typed)?;
    let person = store.recipients()?.person(address.mailbox());
    let (entries, events) = (store.suppressions_of(person)?, store.events_about(person)?);
    let now = SystemTime::now();
    let suppressed = entries
        .iter()
        .filter(|kept| kept.counts(now))
        .min_by_key(|kept| kept.reason);
    let mut out = anstream::stdout().lock();
    if json {
        let told: Vec<_> = events.iter().map(event_json).collect();
        let object = json!({
            "address": address.mailbox(),
            "suppressed": suppressed.is_some(),
            "reason": suppressed.map(|kept| kept.reason),
            "entries": entries.iter().cloned().map(SuppressionRecord::from).collect::<Vec<_>>(),
            "events": told,
        });
        serde_json::to_writer_pretty(&mut out, &object)?;
        writeln!(out)?;
        return Ok(());
    }
    let shown = paint(BOLD, output::clean(address.mailbox(), SHOWN));
    match suppressed {
        Some(kept) => writeln!(
            out,
            "{shown} is suppressed: {}",
            output::clean(&suppress::suppressed(kept).text, SHOWN)
        )?,
        None => writeln!(out, "{shown} is not suppressed")?,
    }
    for kept in &entries {
        write!(out, "{}", line(kept))?;
    }
    let named = entries
        .iter()
        .filter_map(|kept| kept.by_rule.as_ref())
        .flat_map(|by| &by.events);
    let gone: BTreeSet<&i64> = named
        .filter(|number| !events.iter().any(|kept| kept.number == **number))
        .collect();
    for number in gone {
        writeln!(out, "  event {number}  forgotten for its age")?;
    }
    for kept in &events {
        writeln!(out, "{}", event_line(kept))?;
    }
    Ok(())
}

fn event_json(kept: &KeptEvent) -> serde_json::Value {
    let event = &kept.event;
    json!({
        "number": kept.number,
        "at": humantime::format_rfc3339_seconds(event.at).to_string(),
        "kind": event.kind.name(),
        "class": event.kind.class().map(crate::replies::Class::name),
        "bounce": event.kind.hardness().name(),
        "status": event.status.map(|status| status.to_string()),
        "reply": event.reply,
        "remote_mta": event.remote_mta,
        "message_id": event.message_id,
        "list": event.list,
        "kept_apart": kept.apart,
    })
}

fn event_line(kept: &KeptEvent) -> String {
    let event = &kept.event;
    let class = event
        .kind
        .class()
        .map(|class| format!(" {} {}", event.kind.hardness().name(), class.name()));
    let list = event
        .list
        .as_deref()
        .map(|list| format!(" (list {})", output::clean(list, SHOWN)));
    let apart = if kept.apart { " (kept apart: never mailed)" } else { "" };
    let reply = event
        .reply
        .as_deref()
        .map(|reply| format!("  {}", paint(DIM, output::clean(reply, SHOWN))));
    format!(
        "  event {}  {}  {}{}{}{apart}{}",
        kept.number,
        humantime::format_rfc3339_seconds(event.at),
        event.kind.name(),
        class.unwrap_or_default(),
        list.unwrap_or_default(),
        reply.unwrap_or_default()
    )
}

/// Decides about what is new, and says what came of it.
pub(super) fn apply(store: &SqliteStore, policy: &BouncePolicy, quiet: bool) -> Result<(), StoreError> {
    let done = suppress::evaluate(store, policy, SystemTime::now())?;
    let applied = done.applied;
    let mut said = format!(
        "policy {}: looked at {}, suppressed {}",
        policy.name,
        counted(done.looked_at, "recipient", "recipients"),
        applied.suppressed
    );
    for (count, what) in [
        (applied.review, "wait for a person (`presend suppress review`)"),
        (applied.again, "of them had been let go before"),
        (applied.lifted, "let go: what was reported since does not bear them out"),
        (done.forgotten, "events were too old and are forgotten"),
    ] {
        if count > 0 {
            let _ = write!(said, "; {count} {what}");
        }
    }
    if !quiet {
        note(&said);
    }
    Ok(())
}

fn hash(store: &SqliteStore, yes: bool) -> anyhow::Result<()> {
    if !yes {
        return Err(fault(
            "this cannot be undone: nobody can read the addresses of events and entries afterwards, only look one up",
            "`presend suppress hash --yes` does it; export first what other systems need",
        ));
    }
    let changed = store.keep_hashes()?;
    note(&format!(
        "{} and every entry are hashes now",
        counted(changed, "event", "events")
    ));
    Ok(())
}

/// Standard output, or a file.
pub(super) fn target(path: Option<&std::path::Path>) -> anyhow::Result<Box<dyn io::Write>> {
    Ok(match path {
        Some(path) if path != std::path::Path::new("-") => {
            let file = std::fs::File::create(path).map_err(|error| {
                let said = format!("cannot write `{}`: {error}", path.display());
                fault(said, "name another file with `--output`")
            })?;
            Box::new(io::BufWriter::new(file))
        }
        Some(_) | None => Box::new(io::BufWriter::new(io::stdout())),
    })
}

/// `2026-11-21` or RFC 3339.
fn date(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    let day = || humantime::parse_rfc3339_weak(&format!("{text} 00:00:00")).ok();
    humantime::parse_rfc3339_weak(text).ok().or_else(day)
}
