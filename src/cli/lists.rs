//! `presend lists show|check`.

use std::io::Write;

use super::{
    Exit,
    args::{ListsArgs, ListsCommand},
    fault::fault,
    paint::{BOLD, DIM, grouped, paint},
};
use crate::lists::{self, ListInfo};

pub(super) fn run(args: &ListsArgs) -> anyhow::Result<Exit> {
    match &args.command {
        ListsCommand::Show { name, json } => show(name.as_deref(), *json),
        ListsCommand::Check { json } => check(*json),
    }
}

fn show(name: Option<&str>, json: bool) -> anyhow::Result<Exit> {
    let mut all = lists::catalogue();
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
    Ok(Exit::Done)
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

fn check(json: bool) -> anyhow::Result<Exit> {
    let problems = lists::check();
    let mut out = anstream::stdout();
    if json {
        let all: Vec<_> = problems
            .iter()
            .map(
                |problem| serde_json::json!({ "path": problem.path, "line": problem.line, "message": problem.message }),
            )
            .collect();
        serde_json::to_writer_pretty(&mut out, &all)?;
        writeln!(out)?;
    } else {
        for problem in &problems {
            writeln!(out, "{problem}")?;
        }
    }
    match problems.len() {
        0 if json => Ok(Exit::Done),
        0 => {
            writeln!(out, "{} lists, no problem", lists::catalogue().len())?;
            Ok(Exit::Done)
        }
        count => Err(fault(
            format!("{count} problems in the bundled lists"),
            "the program was built from damaged lists; report it, please",
        )),
    }
}
