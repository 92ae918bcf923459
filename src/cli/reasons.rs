//! `presend reasons`: the closed list, for people, programs and `docs/reasons.md`.

use std::{fmt::Write as _, io::Write as _};

use serde::Serialize;

use super::{
    Exit,
    args::ReasonsArgs,
    paint::{BOLD, DIM, paint},
};
use crate::verdict::Reason;

#[derive(Serialize)]
struct Entry {
    reason: &'static str,
    sentence: &'static str,
    advice: &'static str,
}

pub(super) fn run(args: &ReasonsArgs) -> anyhow::Result<Exit> {
    let all = entries();
    let mut out = anstream::stdout();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &all)?;
        writeln!(out)?;
    } else if args.markdown {
        out.write_all(markdown(&all).as_bytes())?;
    } else {
        for entry in &all {
            writeln!(
                out,
                "{}\n  {}\n  {}",
                paint(BOLD, entry.reason),
                entry.sentence,
                paint(DIM, entry.advice)
            )?;
        }
    }
    Ok(Exit::Done)
}

/// Reasons by name; two faults may share one.
fn entries() -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    for reason in Reason::all() {
        if !all.iter().any(|entry| entry.reason == reason.name()) {
            all.push(Entry {
                reason: reason.name(),
                sentence: reason.sentence(),
                advice: reason.advice(),
            });
        }
    }
    all
}

fn markdown(all: &[Entry]) -> String {
    let mut text = String::from(
        "# Reasons\n\nEvery verdict has one reason of this closed list. The names are stable. \
         This page is the output of `presend reasons --markdown`.\n\n\
         | reason | what it means | what to do |\n|---|---|---|\n",
    );
    for entry in all {
        let cell = |text: &str| text.replace('|', "\\|");
        let _ = writeln!(
            text,
            "| `{}` | {} | {} |",
            entry.reason,
            cell(entry.sentence),
            cell(entry.advice)
        );
    }
    text
}
