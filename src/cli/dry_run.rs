//! `presend verify --dry-run`: what a run would do, in words or as one JSON object.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    time::Duration,
};

use tokio::runtime::Runtime;

use super::{
    Exit,
    args::VerifyArgs,
    database,
    fault::hint,
    paint::{BOLD, DIM, counted, grouped, paint},
    settings::Resolved,
    verify,
};
use crate::{
    input::Table,
    job::{Engine, Plan, Settings},
    output,
};

pub(super) fn run(
    args: &VerifyArgs,
    resolved: &Resolved,
    settings: Settings,
    table: Table,
    runtime: &Runtime,
) -> anyhow::Result<Exit> {
    if !args.display.quiet {
        verify::say_understood(&table);
    }
    if let Some(missing) = resolved.identity_hint() {
        hint(&missing);
    }
    let store = database::open_to_look_up(resolved)?;
    let plan = runtime.block_on(async {
        let engine = database::attach(Engine::start(settings).await?, store, resolved.mailing())?;
        anyhow::Ok(engine.plan(table).await?)
    })?;
    let text = if args.results.json {
        let mut object = serde_json::to_value(&plan)?;
        if let Some(object) = object.as_object_mut() {
            object.insert("schema".to_owned(), output::SCHEMA.into());
        }
        format!("{object}\n")
    } else {
        text(&plan)
    };
    anstream::stdout().write_all(text.as_bytes())?;
    io::stdout().flush()?;
    Ok(Exit::Done)
}

/// Whole seconds, two units at most: nobody plans by milliseconds.
fn time(span: Duration) -> String {
    let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
    let (large, small) = match seconds {
        0 => return "no waiting".to_owned(),
        1..60 => return format!("{seconds} s"),
        60..3600 => ((seconds / 60, "min"), (seconds % 60, "s")),
        3600..86400 => ((seconds / 3600, "h"), (seconds % 3600 / 60, "min")),
        _ => ((seconds / 86400, "d"), (seconds % 86400 / 3600, "h")),
    };
    if small.0 == 0 {
        format!("{} {}", grouped(large.0), large.1)
    } else {
        format!("{} {} {} {}", grouped(large.0), large.1, small.0, small.1)
    }
}

fn text(plan: &Plan) -> String {
    let number = |count: usize| count as u64;
    let mut text = format!(
        "{}, {}, {} repeated\n",
        counted(number(plan.rows), "row", "rows"),
        counted(number(plan.unique), "different address", "different addresses"),
        grouped(plan.duplicates),
    );
    if plan.known > 0 {
        let _ = writeln!(
            text,
            "{:>12}  answered by what is remembered",
            grouped(number(plan.known))
        );
    }
    for (reason, count) in &plan.unasked {
        let _ = writeln!(
            text,
            "{:>12}  need no mail host, or may not be asked: {reason}",
            grouped(number(*count))
        );
    }
    let _ = writeln!(
        text,
        "{}  to ask about at {} in {}, with at most {} and at least {}",
        paint(BOLD, format!("{:>12}", grouped(number(plan.probes)))),
        counted(number(plan.domains), "domain", "domains"),
        counted(number(plan.groups), "group of mail hosts", "groups of mail hosts"),
        counted(number(plan.control_questions), "control question", "control questions"),
        counted(number(plan.sessions), "session", "sessions"),
    );
    for group in &plan.largest {
        let _ = writeln!(
            text,
            "{:>12}  {}: {} in {}, {}; at least {}, expected {}",
            grouped(number(group.probes)),
            output::clean(&group.group, 80),
            counted(number(group.domains), "domain", "domains"),
            counted(number(group.sessions), "session", "sessions"),
            counted(number(group.control_questions), "control question", "control questions"),
            time(group.at_least),
            time(group.expected),
        );
    }
    let _ = writeln!(
        text,
        "at least {}; expected {}, if {} % are refused and nothing is asked twice",
        time(plan.at_least),
        time(plan.expected),
        plan.assumed_refused_percent,
    );
    let _ = writeln!(
        text,
        "{}",
        paint(
            DIM,
            "the hosts' answers take their time on top; no mail host was asked, and nothing was kept"
        )
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        for (seconds, expected) in [
            (0, "no waiting"),
            (59, "59 s"),
            (60, "1 min"),
            (90, "1 min 30 s"),
            (3 * 3600 + 125, "3 h 2 min"),
            (2 * 86400, "2 d"),
            (2 * 86400 + 3600, "2 d 1 h"),
        ] {
            assert_eq!(time(Duration::from_secs(seconds)), expected);
        }
        assert_eq!(time(Duration::from_millis(1)), "1 s");
    }
}
