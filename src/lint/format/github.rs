//! GitHub Actions: annotations by workflow commands, ten of each level as the host shows no more, and a page for the step.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::PathBuf,
};

use super::{
    super::{Severity, Shown},
    MOST, Out, Report, Summary,
    kept::Kept,
    markdown,
};

/// Annotations of one level that a step may make.
const EACH: usize = 10;

pub(super) struct Github {
    out: Out,
    kept: Kept,
    summary: Option<PathBuf>,
}

impl Github {
    pub(super) fn new(out: Out, summary: Option<PathBuf>) -> Self {
        let most = if summary.is_some() { MOST } else { EACH };
        Self {
            out,
            kept: Kept::new(most),
            summary,
        }
    }
}

/// The text of a workflow command: a line end would begin another one.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A value in front of the text.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn command(shown: &Shown) -> String {
    let word = match shown.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
    let column = match shown.column {
        Some(column) if shown.by_character => format!(",col={column}"),
        _ => String::new(),
    };
    let address = match shown.address.as_str() {
        "" => String::new(),
        address => format!("{address}: "),
    };
    format!(
        "::{word} file={},line={}{column},title={}::{}",
        property(&shown.file),
        shown.line,
        property(&format!("{} {}", shown.code, shown.rule)),
        data(&format!("{address}{}", shown.sentence())),
    )
}

impl Report for Github {
    fn finding(&mut self, shown: &Shown) -> io::Result<()> {
        self.kept.add(shown);
        Ok(())
    }

    fn finish(mut self: Box<Self>, summary: &Summary<'_>) -> io::Result<()> {
        let mut told = 0;
        for severity in Severity::ALL {
            // One notice is for what was cut, one error for the end.
            let room = if severity == Severity::Warning { EACH } else { EACH - 1 };
            for shown in self.kept.of(severity).iter().take(room) {
                writeln!(self.out, "{}", command(shown))?;
                told += 1;
            }
        }
        let all = summary.tally.findings();
        if told < all {
            let cut = format!(
                "{} of {all} findings are not annotated: a step has room for {EACH} of each level",
                all - told
            );
            writeln!(self.out, "::notice title=presend::{}", data(&cut))?;
        }
        let words = summary.words().join("\n");
        let word = if summary.exit_code == 0 { None } else { Some("error") };
        if let Some(word) = word {
            let text = format!("{}\n{words}", summary.headline());
            writeln!(self.out, "::{word} title=presend lint::{}", data(&text))?;
        }
        if let Some(path) = &self.summary {
            let page = markdown::page(&self.kept, summary);
            let mut file = OpenOptions::new().append(true).create(true).open(path)?;
            file.write_all(page.as_bytes())?;
        }
        self.out.close()
    }
}

#[cfg(test)]
mod tests {
    use super::{data, property};

    #[test]
    fn no_text_begins_another_command() {
        assert_eq!(data("a\n::error::b\r%0A"), "a%0A::error::b%0D%250A");
        assert_eq!(property("a:b,c\n"), "a%3Ab%2Cc%0A");
    }
}
