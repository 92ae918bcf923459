//! `presend lists show|check`.

use std::io::Write;

use super::{
    Exit,
    args::{ListsArgs, ListsCommand},
    fault::fault,
    paint::{BOLD, DIM, grouped, paint},
};
use crate::{
    doctor::Blocklists,
    lists::{self, ListInfo},
    replies::{self, providers},
};

pub(super) fn run(args: &ListsArgs) -> anyhow::Result<Exit> {
    match &args.command {
        ListsCommand::Show { name, json } => show(name.as_deref(), *json),
        ListsCommand::Check { json } => check(*json),
    }
}

fn show(name: Option<&str>, json: bool) -> anyhow::Result<Exit> {
    let mut all = catalogue();
    if let Some(name) = name {
        let names: Vec<&str> = all.iter().map(|list| list.name).collect();
        if !names.contains(&name) {
            let known = names.join("`, `");
            return Err(fault(
                format!("there is no list `{name}`"),
                format!("the lists are `{known}`"),
            ));
        }
        all.retain(|list| list.name == name);
    }
    let mut out = anstream::stdout();
    if json {
        let all: Vec<_> = all.iter().map(as_json).collect();
        serde_json::to_writer_pretty(&mut out, &all)?;
        writeln!(out)?;
        return Ok(Exit::Done);
    }
    for list in &all {
        writeln!(
            out,
            "{}  {} entries  {}",
            paint(BOLD, list.name),
            grouped(list.entries as u64),
            paint(DIM, list.path)
        )?;
        writeln!(out, "  {}", list.about)?;
        for ((source, licence), retrieved) in list.sources.iter().zip(&list.licences).zip(&list.retrieved) {
            writeln!(out, "  {} {source} ({licence}, {retrieved})", paint(DIM, "from"))?;
        }
    }
    if name == Some("providers") {
        for provider in providers::all() {
            let id = paint(BOLD, &provider.id);
            let also = provider.aliases.join(", ");
            let also = if also.is_empty() { also } else { format!(" (or {also})") };
            let forbidden = if provider.probing_forbidden {
                "; forbids probing"
            } else {
                ""
            };
            writeln!(out, "  {id}{also}: {}{forbidden}", provider.name)?;
        }
    }
    if name == Some("exports") {
        for export in lists::exports() {
            let id = paint(BOLD, &export.id);
            let headers = export.headers.join("`, `");
            writeln!(out, "  {id}: {}, by `{headers}`", export.name)?;
        }
    }
    if name == Some("blocklists") {
        for list in Blocklists::bundled().iter() {
            writeln!(out, "  {}: {}; {}", paint(BOLD, &list.zone), list.name, list.terms)?;
        }
    }
    Ok(Exit::Done)
}

/// The address lists, and the tables that replies are read by.
fn catalogue() -> Vec<ListInfo> {
    let table = |name, path, about, entries| ListInfo {
        name,
        path,
        about,
        entries,
        sources: vec!["named beside each entry"],
        licences: vec!["facts and short quotes; see the file's header"],
        retrieved: vec!["2026-11"],
    };
    let mut all = lists::catalogue();
    all.push(table(
        "replies",
        "lists/replies.toml",
        "rules: what an SMTP reply says, and about whom",
        replies::rule_count(),
    ));
    all.push(table(
        "providers",
        "lists/providers.toml",
        "mail providers: how their MX hosts are named, whether they tell the truth, what they take",
        providers::all().len(),
    ));
    all.push(table(
        "exports",
        "lists/exports.toml",
        "exports of other programs: how their header looks, and which column is the address",
        lists::exports().len(),
    ));
    all.push(table(
        "blocklists",
        "lists/blocklists.toml",
        "DNS blocklists that `presend doctor` asks about this machine",
        Blocklists::bundled().iter().count(),
    ));
    all
}

fn as_json(list: &ListInfo) -> serde_json::Value {
    let sources = list.sources.iter().zip(&list.licences).zip(&list.retrieved);
    let sources: Vec<_> = sources
        .map(|((source, licence), retrieved)| {
            serde_json::json!({ "source": source, "licence": licence, "retrieved": retrieved })
        })
        .collect();
    serde_json::json!({
        "name": list.name, "path": list.path, "about": list.about, "entries": list.entries, "sources": sources,
    })
}

/// A broken promise, of whichever list.
#[derive(serde::Serialize)]
struct Problem {
    path: Box<str>,
    line: usize,
    message: String,
}

fn check(json: bool) -> anyhow::Result<Exit> {
    let problems: Vec<Problem> = lists::check()
        .into_iter()
        .map(|problem| Problem {
            path: problem.path.into(),
            line: problem.line,
            message: problem.message,
        })
        .chain(
            replies::check()
                .into_iter()
                .chain(providers::check())
                .map(|problem| Problem {
                    path: problem.file,
                    line: problem.line,
                    message: problem.message,
                }),
        )
        .chain(Blocklists::fault().map(|message| Problem {
            path: Blocklists::FILE.into(),
            line: 1,
            message: message.to_owned(),
        }))
        .collect();
    let mut out = anstream::stdout();
    if json {
        serde_json::to_writer_pretty(&mut out, &problems)?;
        writeln!(out)?;
    } else {
        for problem in &problems {
            writeln!(out, "{}:{}: {}", problem.path, problem.line, problem.message)?;
        }
    }
    match problems.len() {
        0 if json => Ok(Exit::Done),
        0 => {
            writeln!(out, "{} lists, no problem", catalogue().len())?;
            Ok(Exit::Done)
        }
        count => Err(fault(
            format!("{count} problems in the bundled lists"),
            "the program was built from damaged lists; report it, please",
        )),
    }
}
