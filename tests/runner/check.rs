//! Compares what a case expects with what outcome. Every difference is one line.

use presend::{
    lab::{Allowance, HostCounters},
    schedule::{Limits, TrustedHosts},
};
use serde_json::Value;

use super::{
    case::{Case, Row, Seen},
    run::{self, Came},
};

/// What hosts that are not the run's own must bear.
const BUDGET: Allowance = Allowance {
    per_session: Limits::POLITE.refusals_per_session as u64,
    per_minute: Limits::POLITE.refusals_per_minute as u64,
    per_hour: Limits::POLITE.refusals_per_hour as u64,
};

/// What is not as it should be.
pub(crate) fn wrong(case: &Case, rows: &[Row], outcome: &Came) -> Vec<String> {
    let mut wrong = Vec::new();
    whole(case, outcome, &mut wrong);
    answers(rows, outcome, &mut wrong);
    questions(case, outcome, &mut wrong);
    let trusted = TrustedHosts::new(run::trusted(case));
    for (name, host) in &outcome.counters.hosts {
        let found = host.complaints((!trusted.contain(name)).then_some(BUDGET));
        wrong.extend(found.into_iter().map(|complaint| format!("{name}: {complaint}")));
        wire(name, host, case.seen.iter().find(|seen| seen.host == *name), &mut wrong);
    }
    wrong
}

fn whole(case: &Case, outcome: &Came, wrong: &mut Vec<String>) {
    let expect = &case.expect;
    if !outcome.exit.is_some_and(|exit| expect.exit.contains(&exit)) {
        wrong.push(format!(
            "exit code {:?}, expected one of {:?}",
            outcome.exit, expect.exit
        ));
    }
    let took = outcome.took.as_secs_f64();
    if took > expect.seconds {
        wrong.push(format!("{took:.1} s, expected at most {}", expect.seconds));
    }
    if let (Some(memory), Some(most)) = (outcome.memory_mib, expect.memory_mib)
        && memory > most
    {
        wrong.push(format!("{memory} MiB, expected at most {most}"));
    }
    wrong.extend(absent("standard error", &outcome.err, &expect.says));
    for (name, text) in [("the output", &outcome.out), ("standard error", &outcome.err)] {
        if let Some(control) = text.chars().find(|c| c.is_control() && *c != '\n') {
            wrong.push(format!("{name} has the control character {control:?}"));
        }
    }
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    if let (Some(dialled), Some(expected)) = (&outcome.dialled, &expect.dialled)
        && *dialled != sorted(expected)
    {
        wrong.push(format!("dialled {dialled:?}, expected {expected:?}"));
    }
}

/// Every row has its answer, in order, and no label but the expected one.
fn answers(rows: &[Row], outcome: &Came, wrong: &mut Vec<String>) {
    if outcome.rows.len() != rows.len() {
        wrong.push(format!("{} rows came of {}", outcome.rows.len(), rows.len()));
    }
    for (row, result) in rows.iter().zip(&outcome.rows) {
        let address = row.address.escape_debug();
        let text = |member: &str| {
            result
                .pointer(&format!("/presend/{member}"))
                .and_then(Value::as_str)
                .unwrap_or("-")
        };
        if result.get("address").and_then(Value::as_str) != Some(&row.address) {
            wrong.push(format!("{address}: another row came in its place"));
        }
        let (label, reason) = (text("label"), text("reason"));
        if !row.label.allows(label) || !row.reason.allows(reason) {
            wrong.push(format!(
                "{address}: {label} {reason}, expected {} {}",
                row.label, row.reason
            ));
        }
        if let Some(action) = &row.action
            && action != text("action")
        {
            wrong.push(format!("{address}: action {}, expected {action}", text("action")));
        }
        for (path, expected) in &row.result {
            let value = result.pointer(&format!("/presend/{}", path.replace('.', "/")));
            if value != serde_json::to_value(expected).ok().as_ref() {
                wrong.push(format!("{address}: {path} is {value:?}, expected {expected}"));
            }
        }
        let whole = result.to_string();
        wrong.extend(absent(&row.address, &whole, &row.has));
        wrong.extend(present(&row.address, &whole, &row.lacks));
    }
}

fn questions(case: &Case, outcome: &Came, wrong: &mut Vec<String>) {
    let asked = &outcome.counters.dns;
    for name in &case.expect.never_asked {
        let below = |question: &&String| {
            question
                .split_once(' ')
                .is_some_and(|(_, asked)| asked == name || asked.ends_with(&format!(".{name}")))
        };
        wrong.extend(
            asked
                .keys()
                .filter(below)
                .map(|question| format!("the DNS was asked {question}")),
        );
    }
    let times = |question: &str| asked.get(question).copied().unwrap_or(0);
    for (question, expected) in &case.expect.asked {
        if times(question) != *expected {
            wrong.push(format!(
                "{question} was asked {} times, expected {expected}",
                times(question)
            ));
        }
    }
    for (question, most) in &case.expect.asked_max {
        if times(question) > *most {
            wrong.push(format!(
                "{question} was asked {} times, expected at most {most}",
                times(question)
            ));
        }
    }
    let all: u64 = asked.values().sum();
    if let Some(most) = case.expect.questions_max.filter(|most| all > *most) {
        wrong.push(format!("{all} DNS questions, expected at most {most}"));
    }
}

fn wire(name: &str, host: &HostCounters, seen: Option<&Seen>, wrong: &mut Vec<String>) {
    let without_quit = seen.map_or(0, |seen| seen.without_quit);
    if host.without_quit > without_quit {
        wrong.push(format!(
            "{name}: {} sessions without QUIT, expected at most {without_quit}",
            host.without_quit
        ));
    }
    let Some(seen) = seen else { return };
    let commands = host.commands.values().sum();
    for (what, counted, expected) in [
        ("connections", host.connections, seen.connections),
        ("recipients", host.recipients, seen.recipients),
        ("TLS handshakes", host.tls, seen.tls),
    ] {
        if let Some(expected) = expected.filter(|expected| counted != *expected) {
            wrong.push(format!("{name}: {counted} {what}, expected {expected}"));
        }
    }
    for (what, counted, most) in [
        ("connections", host.connections, seen.connections_max),
        ("commands", commands, seen.commands_max),
        ("recipients", host.recipients, seen.recipients_max),
        ("refusals", host.refused, seen.refused_max),
        ("bytes sent", host.bytes_out, seen.bytes_max),
    ] {
        if let Some(most) = most.filter(|most| counted > *most) {
            wrong.push(format!("{name}: {counted} {what}, expected at most {most}"));
        }
    }
    if let Some(verbs) = &seen.verbs {
        let said: Vec<_> = host.commands.iter().map(|(verb, count)| (*verb, *count)).collect();
        let mut expected: Vec<_> = verbs.iter().map(|(verb, count)| (&**verb, *count)).collect();
        expected.sort_unstable();
        if said != expected {
            wrong.push(format!("{name}: heard {said:?}, expected {expected:?}"));
        }
    }
    for line in &seen.hears {
        if !host.lines.iter().any(|heard| heard.text == *line) {
            wrong.push(format!("{name}: never heard `{line}`"));
        }
    }
    for text in &seen.never_hears {
        wrong.extend(
            host.lines
                .iter()
                .filter(|heard| heard.text.contains(text))
                .map(|heard| format!("{name}: heard `{}`", heard.text)),
        );
    }
}

fn absent<'a>(place: &'a str, text: &'a str, words: &'a [String]) -> impl Iterator<Item = String> + 'a {
    let missing = words.iter().filter(move |word| !text.contains(word.as_str()));
    missing.map(move |word| format!("{}: `{word}` is not there", place.escape_debug()))
}

fn present<'a>(place: &'a str, text: &'a str, words: &'a [String]) -> impl Iterator<Item = String> + 'a {
    let found = words.iter().filter(move |word| text.contains(word.as_str()));
    found.map(move |word| format!("{}: `{word}` is there", place.escape_debug()))
}
