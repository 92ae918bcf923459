//! `presend lint` as pipelines meet it: findings, limits, exit codes, reports, repairs.

mod bad_input;
mod baseline;
mod changed;
mod config;
mod hosts;
mod levels;
mod limits;
mod planted;
mod repair;
mod reports;
mod server;
mod stream;

use serde_json::Value;

use super::cli::{Place, Ran};

/// Runs `presend lint --level syntax` over these files.
fn lint(files: &[(&str, &[u8])], arguments: &[&str]) -> Ran {
    let place = Place::new();
    for (name, text) in files {
        place.write(name, text);
    }
    run(&place, arguments)
}

/// Runs `presend lint --level syntax` in a folder.
fn run(place: &Place, arguments: &[&str]) -> Ran {
    place.run(&[&["lint", "--level", "syntax"], arguments].concat())
}

/// `line rule` of every finding of a run with `--output jsonl`.
fn found(ran: &Ran) -> Vec<String> {
    let lines = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let findings = lines.filter(|line| line["type"] == "finding");
    findings
        .map(|finding| format!("{} {}", finding["line"], finding["rule"].as_str().unwrap()))
        .collect()
}

/// The last line of a run with `--output jsonl`.
fn summary(ran: &Ran) -> Value {
    let last = ran.out.lines().last().unwrap_or_else(|| panic!("{}", ran.err));
    let summary: Value = serde_json::from_str(last).unwrap();
    assert_eq!(summary["type"], "summary");
    summary
}
