//! `presend jobs list|show|cancel|delete`.

mod begun;
mod history;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write as _,
    path::Path,
    time::{Duration, SystemTime},
};

use anstyle::Style;
use clap::ArgMatches;
use serde_json::{Value, json};

use super::{
    Exit,
    args::{DatabaseArgs, JobsArgs, JobsCommand},
    config::ConfigFile,
    database,
    fault::{fault, hint, note},
    paint::{self, BOLD, DIM, FAIR, GOOD, counted, grouped, paint, per_mille, percent},
    settings::{Overlay, Profile, Resolved},
};
use crate::{
    job::Counts,
    output,
    store::{JobRecord, JobState, SqliteStore, Store, Write},
    verdict::Reason,
};

pub(super) fn run(args: &JobsArgs, matches: &ArgMatches) -> anyhow::Result<Exit> {
    match &args.command {
        JobsCommand::List { json, database } => list(&Jobs::open(database, matches)?, *json)?,
        JobsCommand::Show { id, json, database } => {
            let jobs = Jobs::open(database, matches)?;
            let job = jobs.named(id)?;
            print(job, *json, &details(job, SystemTime::now()))?;
        }
        JobsCommand::Resume(args) => return begun::resume(args, matches),
        JobsCommand::Export(args) => return begun::export(args, matches),
        JobsCommand::History {
            address,
            json,
            database,
        } => history::run(&Jobs::open(database, matches)?, address, *json)?,
        JobsCommand::Cancel { id, json, database } => {
            let jobs = Jobs::open(database, matches)?;
            let job = cancel(&jobs, id)?;
            let said = format!("job {} is {}\n", paint(BOLD, &job.id), job.state.name());
            print(&job, *json, &said)?;
        }
        JobsCommand::Delete { ids, json, database } => delete(&Jobs::open(database, matches)?, ids, *json)?,
    }
    Ok(Exit::Done)
}

/// The database and its jobs.
pub(super) struct Jobs {
    /// There is none, and looking for jobs does not make one.
    pub(super) store: Option<SqliteStore>,
    pub(super) all: Vec<JobRecord>,
}

impl Jobs {
    pub(super) fn open(args: &DatabaseArgs, matches: &ArgMatches) -> anyhow::Result<Self> {
        Self::open_with(&Overlay::of_jobs(args.db.clone()), (matches, &args.config))
    }

    pub(super) fn open_with(overlay: &Overlay, (matches, config): (&ArgMatches, &ConfigFile)) -> anyhow::Result<Self> {
        let resolved = Resolved::new(overlay, matches, config, Profile::Bulk)?;
        let Some(path) = resolved.database()? else {
            return Err(fault(
                "`no_store` is set, so there are no jobs",
                "`--db FILE` names a database; `presend config show` says where `no_store` comes from",
            ));
        };
        // A link that leads nowhere is for the store to complain about.
        if path
            .symlink_metadata()
            .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        {
            note(&paint(DIM, format!("there is no database `{}` yet", path.display())));
            return Ok(Self {
                store: None,
                all: Vec::new(),
            });
        }
        let store = database::open(&resolved)?;
        let all = store.jobs()?;
        Ok(Self {
            store: Some(store),
            all,
        })
    }

    /// The one job whose id starts so.
    pub(super) fn named(&self, start: &str) -> anyhow::Result<&JobRecord> {
        let mut found = self
            .all
            .iter()
            .filter(|job| !start.is_empty() && job.id.starts_with(start));
        let shown = output::clean(start, 40);
        match (found.next(), found.count()) {
            (Some(job), 0) => Ok(job),
            (Some(_), others) => Err(fault(
                format!("{} jobs have an id that starts with `{shown}`", others + 1),
                "type more of it; `presend jobs list` names them all",
            )),
            (None, _) => Err(fault(
                format!("there is no job `{shown}`"),
                "`presend jobs list` names them all, `--db FILE` another database",
            )),
        }
    }
}

fn cancel(jobs: &Jobs, id: &str) -> anyhow::Result<JobRecord> {
    let job = jobs.named(id)?;
    let Some(store) = &jobs.store else {
        return Ok(job.clone());
    };
    match job.state {
        JobState::Done => {
            return Err(fault(
                format!("job {} is done, there is nothing to give up", job.id),
                format!("`presend jobs delete {}` deletes it", job.id),
            ));
        }
        JobState::Cancelled => return Ok(job.clone()),
        JobState::Importing | JobState::Open => {}
    }
    let lease = store.take(job.number)?;
    store.submit(Write::Job {
        lease,
        summary: job.summary.clone(),
        state: JobState::Cancelled,
        released: true,
    });
    store.flush().blocking_recv()??;
    let now = store.jobs()?.into_iter().find(|other| other.number == job.number);
    Ok(now.unwrap_or_else(|| job.clone()))
}

fn delete(jobs: &Jobs, ids: &[String], json: bool) -> anyhow::Result<()> {
    // Every name is looked up first, so that a mistyped one deletes nothing.
    let mut named: Vec<&JobRecord> = Vec::with_capacity(ids.len());
    for id in ids {
        let job = jobs.named(id)?;
        if !named.iter().any(|other| other.number == job.number) {
            named.push(job);
        }
    }
    let mut out = anstream::stdout();
    for job in &named {
        if let Some(store) = &jobs.store {
            store.delete(job.number)?;
        }
        if !json {
            let rows = counted(job.rows, "row", "rows");
            writeln!(
                out,
                "job {} is deleted: {rows} of {}",
                paint(BOLD, &job.id),
                source(job)
            )?;
        }
    }
    if json {
        let all: Vec<Value> = named.into_iter().map(as_json).collect();
        serde_json::to_writer_pretty(&mut out, &all)?;
        writeln!(out)?;
    }
    Ok(())
}

fn print(job: &JobRecord, json: bool, text: &str) -> anyhow::Result<()> {
    let mut out = anstream::stdout();
    if json {
        serde_json::to_writer_pretty(&mut out, &as_json(job))?;
        writeln!(out)?;
    } else {
        out.write_all(text.as_bytes())?;
    }
    Ok(())
}

fn list(jobs: &Jobs, json: bool) -> anyhow::Result<()> {
    let mut out = anstream::stdout();
    if json {
        let all: Vec<Value> = jobs.all.iter().map(as_json).collect();
        serde_json::to_writer_pretty(&mut out, &all)?;
        writeln!(out)?;
        return Ok(());
    }
    if jobs.all.is_empty() {
        hint("there are no jobs; `presend verify leads.csv` makes one");
        return Ok(());
    }
    let width = paint::stdout_terminal().width;
    out.write_all(table(&jobs.all, SystemTime::now(), width).as_bytes())?;
    Ok(())
}

/// A time that was written down, for people: itself and how far off it is.
fn ahead(time: &str, now: SystemTime) -> Option<String> {
    let at = humantime::parse_rfc3339(time).ok()?;
    let shown = humantime::format_rfc3339_seconds(at);
    Some(match at.duration_since(now) {
        Ok(left) if left.as_secs() > 0 => {
            let left = humantime::format_duration(Duration::from_secs(left.as_secs()));
            format!("{shown} (in {left})")
        }
        Ok(_) | Err(_) => format!("{shown} (now)"),
    })
}

/// When an unfinished job will be ready, and what it waits for.
fn outlook(counts: &Counts, now: SystemTime) -> Vec<(&'static str, String)> {
    let time = |time: &Option<String>| ahead(time.as_deref()?, now);
    let mut lines = Vec::new();
    match (time(&counts.eta), time(&counts.retry_at)) {
        (Some(ready), _) => lines.push(("ready", format!("about {ready}"))),
        (None, Some(retry)) => lines.push(("next question", format!("not before {retry}"))),
        (None, None) => lines.push(("ready", "unknown".to_owned())),
    }
    if counts.waiting_hosts > 0 {
        lines.push((
            "waiting",
            counted(counts.waiting_hosts, "group of mail hosts", "groups of mail hosts"),
        ));
    }
    if let Some(group) = &counts.last_group {
        lines.push(("last", output::clean(group, 120).into_owned()));
    }
    lines
}

/// How far it is, and who works on it.
fn state(job: &JobRecord) -> (Style, String) {
    let style = match job.state {
        JobState::Done => GOOD,
        JobState::Cancelled => DIM,
        JobState::Importing | JobState::Open => FAIR,
    };
    (style, job.state.name().to_owned())
}

fn worker(job: &JobRecord) -> Option<String> {
    match (job.taken, job.process) {
        (false, _) => None,
        (true, Some(process)) => Some(format!("process {process}")),
        (true, None) => Some("another process".to_owned()),
    }
}

/// The list's name, which anybody may have chosen.
fn source(job: &JobRecord) -> String {
    if job.source.is_empty() {
        return "(single addresses)".to_owned();
    }
    output::clean(&job.source, 200).into_owned()
}

/// Done rows, exact where it is known.
fn answered(counts: &Counts) -> String {
    match (counts.answered, counts.unique) {
        (Some(answered), Some(unique)) if unique > 0 => {
            format!("{} ({})", grouped(answered), percent(per_mille(answered, unique)))
        }
        (Some(answered), _) => grouped(answered),
        (None, _) => "-".to_owned(),
    }
}

fn table(jobs: &[JobRecord], now: SystemTime, width: usize) -> String {
    let rows: Vec<([String; 6], Style)> = jobs
        .iter()
        .map(|job| {
            let (style, state) = state(job);
            let who = worker(job).unwrap_or_else(|| "-".to_owned());
            let cells = [
                job.id.clone(),
                state,
                grouped(job.rows),
                answered(&Counts::of(job)),
                ago(job.updated_at, now),
                who,
            ];
            (cells, style)
        })
        .collect();
    let heads = ["id", "state", "rows", "answered", "last active", "worked on by"];
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(column, head)| {
            let cells = rows.iter().filter_map(|(cells, _)| cells.get(column)).map(String::len);
            cells.chain([head.len()]).max().unwrap_or_default()
        })
        .collect();
    let used: usize = widths.iter().map(|width| width + 2).sum();
    let room = width.saturating_sub(used).max(20);
    let mut text = String::new();
    for (head, width) in heads.iter().zip(&widths) {
        let _ = write!(text, "{}  ", paint(BOLD, format!("{head:<width$}")));
    }
    let _ = writeln!(text, "{}", paint(BOLD, "list"));
    for ((cells, style), job) in rows.iter().zip(jobs) {
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let cell = match column {
                1 => paint(*style, format!("{cell:<width$}")),
                2 | 3 => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            };
            let _ = write!(text, "{cell}  ");
        }
        let source = source(job);
        let _ = writeln!(text, "{}", output::cut_to_width(&source, room));
    }
    text
}

fn details(job: &JobRecord, now: SystemTime) -> String {
    let counts = Counts::of(job);
    let (style, state) = state(job);
    let mut text = format!("{}  {}  {}\n", paint(BOLD, &job.id), paint(style, state), source(job));
    let mut line = |word: &str, said: &str| {
        let _ = writeln!(text, "  {}{said}", paint(DIM, format!("{word:<14}")));
    };
    line("rows", &grouped(job.rows));
    if let Some(unique) = counts.unique {
        line("addresses", &format!("{} different", grouped(unique)));
    }
    line("answered", &answered(&counts));
    line("worked on by", worker(job).as_deref().unwrap_or("nobody"));
    let at = |time| format!("{} ({})", humantime::format_rfc3339_seconds(time), ago(time, now));
    line("made", &at(job.created_at));
    line("last active", &at(job.updated_at));
    if matches!(job.state, JobState::Importing | JobState::Open) {
        for (word, said) in outlook(&counts, now) {
            line(word, &said);
        }
    }
    let settings = output::clean(&job.settings, 500);
    if !matches!(&*settings, "" | "{}") {
        line("settings", &settings);
    }
    let whole = counts
        .by_label
        .values()
        .fold(0_u64, |sum, count| sum.saturating_add(*count));
    let mut table = |heading: &str, counts: &BTreeMap<String, u64>, sentence: fn(&str) -> Option<&'static str>| {
        if counts.is_empty() {
            return;
        }
        let mut most: Vec<_> = counts.iter().collect();
        most.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let _ = writeln!(text, "\n  {}", paint(BOLD, heading));
        for (name, count) in most {
            let name = output::clean(name, 40);
            let share = percent(per_mille(*count, whole));
            let sentence = sentence(&name).map(|sentence| format!("  {}", paint(DIM, sentence)));
            let sentence = sentence.unwrap_or_default();
            let _ = writeln!(text, "  {name:<26}{:>12} {share:>8}{sentence}", grouped(*count));
        }
    };
    table("labels", &counts.by_label, |_| None);
    table("reasons", &counts.by_reason, |name| {
        Reason::all()
            .into_iter()
            .find(|reason| reason.name() == name)
            .map(Reason::sentence)
    });
    text.push_str(&steps(job));
    text
}

/// What can be done with it now.
fn steps(job: &JobRecord) -> String {
    let id = &job.id;
    let again = format!("presend verify {}", paint::quoted(Path::new(&source(job))));
    let export = format!("write out what is answered:  presend jobs export {id}");
    let steps: Vec<String> = match (job.taken, job.state) {
        (true, _) => {
            vec!["it is being worked on: wait, or interrupt that process (Ctrl-C), which loses nothing".into()]
        }
        (false, JobState::Importing) => vec![
            format!("its list was not read to the end; start again:  {again}"),
            format!("forget it:  presend jobs delete {id}"),
        ],
        (false, JobState::Open) => vec![
            format!("go on:  presend jobs resume {id}"),
            export,
            format!("give it up:  presend jobs cancel {id}"),
        ],
        (false, JobState::Done | JobState::Cancelled) if job.source.is_empty() => {
            vec![format!("forget it:  presend jobs delete {id}")]
        }
        (false, JobState::Done | JobState::Cancelled) => vec![export, format!("forget it:  presend jobs delete {id}")],
    };
    let mut text = String::from("\n");
    for (index, step) in steps.iter().enumerate() {
        let word = if index == 0 { paint(BOLD, "next") } else { "    ".into() };
        let _ = writeln!(text, "{word}  {step}");
    }
    text
}

/// How long ago, in the two largest units.
fn ago(then: SystemTime, now: SystemTime) -> String {
    let Ok(since) = now.duration_since(then) else {
        return "now".to_owned();
    };
    let seconds = since.as_secs();
    let rounded = match seconds {
        0..3 => return "now".to_owned(),
        3..3_600 => seconds,
        3_600..86_400 => seconds - seconds % 60,
        86_400.. => seconds / 86_400 * 86_400,
    };
    if rounded >= 86_400 {
        return format!("{} ago", counted(rounded / 86_400, "day", "days"));
    }
    format!("{} ago", humantime::format_duration(Duration::from_secs(rounded)))
}

/// The job for programs. Counts are its owner's, labels in the order of reports.
fn as_json(job: &JobRecord) -> Value {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|_| text.into());
    let mut counts = Counts::of(job).to_json();
    let mut count = |name: &str| counts.remove(name).unwrap_or_default();
    json!({
        "id": job.id,
        "state": job.state.name(),
        "source": job.source,
        "rows": job.rows,
        "unique": count("unique"),
        "answered": count("answered"),
        "by_label": count("by_label"),
        "by_reason": count("by_reason"),
        "taken": job.taken,
        "process": job.process,
        "created_at": humantime::format_rfc3339_millis(job.created_at).to_string(),
        "updated_at": humantime::format_rfc3339_millis(job.updated_at).to_string(),
        "eta": count("eta"),
        "last_group": count("last_group"),
        "waiting_hosts": count("waiting_hosts"),
        "retry_at": count("retry_at"),
        "settings": parsed(&job.settings),
        "layout": parsed(&job.layout),
    })
}
