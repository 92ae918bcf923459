//! A page for people: for pull requests, and for the summary of a step, which takes a mebibyte.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use super::{super::Shown, MOST, Out, Report, Summary, kept::Kept};

/// Bytes of a page; the host drops a step's summary that has more than 1 MiB.
const LARGEST: usize = (1 << 20) - 4096;

pub(super) struct Markdown {
    out: Out,
    kept: Kept,
}

impl Markdown {
    pub(super) fn new(out: Out) -> Self {
        Self {
            out,
            kept: Kept::new(MOST),
        }
    }
}

/// Text that no reader of Markdown takes for anything else: every mark becomes an entity, as do `@` and `#`, which would call
/// people and issues.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' | '<' | '>' | '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '#' | '@' | '~' | '!' | '$' | '{' | '}'
            | '"' | '\'' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c if c.is_control() => out.push(' '),
            // A bare address of a page would become a link.
            ':' => out.push_str("&#58;"),
            c => out.push(c),
        }
    }
    out
}

/// The whole page, cut where the host would drop it.
pub(super) fn page(kept: &Kept, summary: &Summary<'_>) -> String {
    let mut text = format!("## presend lint\n\n{}\n\n", escaped(&summary.headline()));
    for line in summary.words().iter().take(1000) {
        let short: String = line.chars().take(300).collect();
        let _ = writeln!(text, "- {}", escaped(&short));
    }
    let all = summary.tally.findings();
    if all == 0 {
        return text;
    }
    text.push_str("\n| where | severity | rule | address | what |\n|---|---|---|---|---|\n");
    let mut told = 0;
    for shown in kept.all() {
        let line = row(shown);
        if text.len() + line.len() > LARGEST {
            break;
        }
        text.push_str(&line);
        told += 1;
    }
    if told < all {
        let _ = writeln!(text, "\n{} of {all} findings are not shown here.", all - told);
    }
    text
}

fn row(shown: &Shown) -> String {
    format!(
        "| {} | {} | {} {} | {} | {} |\n",
        escaped(&shown.location()),
        shown.severity.name(),
        shown.code,
        shown.rule,
        escaped(&shown.address),
        escaped(&shown.sentence())
    )
}

impl Report for Markdown {
    fn finding(&mut self, shown: &Shown) -> io::Result<()> {
        self.kept.add(shown);
        Ok(())
    }

    fn finish(mut self: Box<Self>, summary: &Summary<'_>) -> io::Result<()> {
        self.out.write_all(page(&self.kept, summary).as_bytes())?;
        self.out.close()
    }
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn no_text_is_more_than_text() {
        let hostile = "| <img src=x> [a](b) `c` @team #1 https://x.org **b**";
        let text = escaped(hostile);
        for mark in ['|', '<', '[', '`', '@', '*'] {
            assert!(!text.contains(mark), "{mark}: {text}");
        }
        assert!(!text.contains("://"));
    }
}
