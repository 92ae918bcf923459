//! JUnit XML for CI servers: a suite for each file, a case for each rule, a failure for findings that are errors. The attributes
//! that old readers demand are there with fixed values, so that the same findings give the same bytes.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write},
};

use super::{
    super::{Rule, Severity, Shown},
    MOST, Out, Report, Summary,
};

/// Findings of one rule in one file that are told one by one.
const EACH: usize = 100;

pub(super) struct Junit {
    out: Out,
    suites: BTreeMap<String, BTreeMap<Rule, Case>>,
    told: usize,
}

#[derive(Default)]
struct Case {
    lines: Vec<String>,
    errors: u64,
    all: u64,
}

impl Junit {
    pub(super) fn new(out: Out) -> Self {
        Self {
            out,
            suites: BTreeMap::new(),
            told: 0,
        }
    }
}

/// Text as XML 1.0 has it: what cannot be written there becomes a space.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' => out.push('\n'),
            '\u{FFFE}' | '\u{FFFF}' => out.push(' '),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

impl Report for Junit {
    fn finding(&mut self, shown: &Shown) -> io::Result<()> {
        let suite = self.suites.entry(shown.file.clone()).or_default();
        let case = suite.entry(shown.of).or_default();
        case.all += 1;
        case.errors += u64::from(shown.severity == Severity::Error);
        if case.lines.len() < EACH && self.told < MOST {
            self.told += 1;
            case.lines.push(format!(
                "{}: {}: {} {}",
                shown.location(),
                shown.severity.name(),
                shown.address,
                shown.sentence()
            ));
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, summary: &Summary<'_>) -> io::Result<()> {
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
        let none = BTreeMap::new();
        for (id, file) in summary.files.iter().enumerate() {
            let cases = self.suites.get(file).unwrap_or(&none);
            suite(&mut text, (id, file), cases);
        }
        if !summary.problems.is_empty() || !summary.breaches.is_empty() {
            let words: Vec<String> = summary.words();
            let failed = summary.exit_code != 0;
            whole(&mut text, summary.files.len(), &words.join("\n"), failed);
        }
        text.push_str("</testsuites>\n");
        self.out.write_all(text.as_bytes())?;
        self.out.close()
    }
}

fn open(text: &mut String, id: usize, name: &str, (tests, failures): (usize, usize)) {
    let name = escaped(name);
    let _ = writeln!(
        text,
        "<testsuite id=\"{id}\" package=\"presend\" name=\"{name}\" timestamp=\"1970-01-01T00:00:00\" hostname=\"localhost\" \
         tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" time=\"0\">\n<properties/>"
    );
}

fn suite(text: &mut String, (id, file): (usize, &str), cases: &BTreeMap<Rule, Case>) {
    let failures = cases.values().filter(|case| case.errors > 0).count();
    open(text, id, file, (Rule::ALL.len(), failures));
    let class = escaped(file);
    let mut others = String::new();
    for rule in Rule::ALL {
        let _ = write!(text, "<testcase name=\"{rule}\" classname=\"{class}\" time=\"0\"");
        match cases.get(rule) {
            Some(case) if case.errors > 0 => {
                let message = format!("{} of {}", super::counted(case.all, "finding"), rule.name());
                let _ = writeln!(
                    text,
                    "><failure message=\"{}\" type=\"{}\">{}</failure></testcase>",
                    escaped(&message),
                    rule.code(),
                    escaped(&case.text())
                );
            }
            found => {
                text.push_str("/>\n");
                if let Some(case) = found {
                    others.push_str(&case.text());
                    others.push('\n');
                }
            }
        }
    }
    let _ = writeln!(
        text,
        "<system-out>{}</system-out>\n<system-err/>\n</testsuite>",
        escaped(&others)
    );
}

/// What is about the run and not about one file.
fn whole(text: &mut String, id: usize, words: &str, failed: bool) {
    open(text, id, "presend lint", (1, usize::from(failed)));
    text.push_str("<testcase name=\"limits\" classname=\"presend lint\" time=\"0\"");
    if failed {
        let _ = writeln!(
            text,
            "><failure message=\"the run failed or is incomplete\" type=\"limits\">{}</failure></testcase>",
            escaped(words)
        );
    } else {
        text.push_str("/>\n");
    }
    let _ = writeln!(
        text,
        "<system-out>{}</system-out>\n<system-err/>\n</testsuite>",
        escaped(words)
    );
}

impl Case {
    fn text(&self) -> String {
        let mut text = self.lines.join("\n");
        let more = self.all - self.lines.len() as u64;
        if more > 0 {
            let _ = write!(text, "\n{more} more are not shown here; `--output jsonl` has them all");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn nothing_gets_out_of_its_element() {
        assert_eq!(escaped("]]></a><b c=\"'&"), "]]&gt;&lt;/a&gt;&lt;b c=&quot;&apos;&amp;");
        assert_eq!(escaped("\u{0}\u{1b}\u{FFFF}x\n"), "   x\n");
    }
}
