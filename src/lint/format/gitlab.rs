//! GitLab Code Quality: an array of issues, each with a fingerprint of its own.

use std::{
    collections::HashMap,
    io::{self, Write},
};

use serde_json::{Value, json};

use super::{
    super::{Severity, Shown},
    MOST, Out, Report, Summary,
    kept::Kept,
};

pub(super) struct Gitlab {
    out: Out,
    kept: Kept,
}

impl Gitlab {
    pub(super) fn new(out: Out) -> Self {
        Self {
            out,
            kept: Kept::new(MOST),
        }
    }
}

fn issue(shown: &Shown, fingerprint: &str) -> Value {
    let severity = match shown.severity {
        Severity::Error => "major",
        Severity::Warning => "minor",
        Severity::Note => "info",
    };
    let address = match shown.address.as_str() {
        "" => String::new(),
        address => format!("{address}: "),
    };
    json!({
        "description": format!("{address}{}", shown.sentence()),
        "check_name": shown.rule,
        "fingerprint": fingerprint,
        "severity": severity,
        "location": { "path": shown.file, "lines": { "begin": shown.line } },
    })
}

impl Report for Gitlab {
    fn finding(&mut self, shown: &Shown) -> io::Result<()> {
        self.kept.add(shown);
        Ok(())
    }

    fn finish(mut self: Box<Self>, summary: &Summary<'_>) -> io::Result<()> {
        let mut seen: HashMap<&str, u32> = HashMap::new();
        let mut issues = Vec::new();
        for shown in self.kept.all() {
            // The same address twice in a file has the same fingerprint; the host drops the second.
            let copies = seen.entry(&shown.fingerprint).or_default();
            *copies += 1;
            let fingerprint = match copies {
                1 => shown.fingerprint.clone(),
                number => format!("{}-{number}", shown.fingerprint),
            };
            issues.push(issue(shown, &fingerprint));
        }
        let path = summary.files.first().map_or("presend.toml", String::as_str);
        let mut about_run = |number: usize, text: &str, severity: &str| {
            issues.push(json!({
                "description": text,
                "check_name": "presend-lint",
                "fingerprint": format!("presend-lint-{number}"),
                "severity": severity,
                "location": { "path": path, "lines": { "begin": 1 } },
            }));
        };
        if let Some(cut) = self.kept.cut(summary) {
            about_run(0, &cut, "info");
        }
        for (index, problem) in summary.problems.iter().enumerate() {
            about_run(index + 1, problem, "critical");
        }
        serde_json::to_writer_pretty(&mut self.out, &issues)?;
        self.out.write_all(b"\n")?;
        self.out.close()
    }
}
