//! A table for people: fixed widths, so that rows appear as they are known.

use anstyle::{AnsiColor, Style};

use super::{
    Render, Terminal, clean, cut_to_width,
    facts::{did_you_mean, heard},
    redact::Privacy,
    width,
};
use crate::{input::Row, job::Outcome, verdict::Label};

/// `catch-all` and two spaces.
const LABEL: usize = 11;
/// `send`, `hold`, `drop` and two spaces.
const ACTION: usize = 8;
/// All but the longest syntax faults, and two spaces; the rest is cut.
const REASON: usize = 26;
/// Columns beside the fixed ones from which on there is room for words.
const NARROW: usize = 50;
/// The fewest columns of words that say something.
const WORDS: usize = 16;

#[derive(Debug)]
pub(super) struct Table {
    address: usize,
    detail: usize,
    color: bool,
    privacy: Privacy,
}

impl Table {
    pub(super) fn new(terminal: Terminal, privacy: Privacy) -> Self {
        let rest = terminal.width.saturating_sub(LABEL + ACTION + REASON);
        // On a narrow terminal the address matters more than the words, of which little would be left.
        let address = (rest / 2).clamp(if rest < NARROW { rest.clamp(16, 42) } else { 30 }, 42);
        Self {
            address,
            detail: Some(rest.saturating_sub(address))
                .filter(|columns| *columns >= WORDS)
                .unwrap_or(0),
            color: terminal.color,
            privacy,
        }
    }

    fn column(&self, text: &str, columns: usize, style: Style, out: &mut Vec<u8>) {
        let shown = cut_to_width(text, columns.saturating_sub(2));
        self.styled(&shown, style, out);
        out.resize(out.len() + columns.saturating_sub(width(&shown)), b' ');
    }

    fn styled(&self, text: &str, style: Style, out: &mut Vec<u8>) {
        if self.color && !style.is_plain() {
            let _ = std::io::Write::write_fmt(out, format_args!("{style}{text}{style:#}"));
        } else {
            out.extend_from_slice(text.as_bytes());
        }
    }

    fn end(out: &mut Vec<u8>) {
        while out.last() == Some(&b' ') {
            out.pop();
        }
        out.push(b'\n');
    }
}

impl Render for Table {
    fn header(&self, out: &mut Vec<u8>) {
        let bold = Style::new().bold();
        self.column("ADDRESS", self.address, bold, out);
        self.column("LABEL", LABEL, bold, out);
        self.column("ACTION", ACTION, bold, out);
        self.column("REASON", REASON, bold, out);
        if self.detail > 0 {
            self.styled("WHAT WAS SAID", bold, out);
        }
        Self::end(out);
    }

    fn row(&self, row: &Row, outcome: &Outcome, out: &mut Vec<u8>) {
        let verdict = &outcome.verdict;
        let dim = Style::new().dimmed();
        let address = outcome.address.as_ref().map_or_else(
            || self.privacy.typed(&outcome.typed).into_owned(),
            |address| self.privacy.text(&address.display()).into_owned(),
        );
        self.column(&clean(address.trim(), 254), self.address, Style::new(), out);
        self.column(verdict.label.name(), LABEL, style(verdict.label), out);
        self.column(verdict.action.name(), ACTION, Style::new(), out);
        self.column(verdict.reason.name(), REASON, Style::new(), out);
        let answer = outcome.evidence.answer.known();
        let detail = match (did_you_mean(outcome), answer, heard(outcome, Some(row), self.privacy)) {
            (Some(meant), ..) => format!("did you mean {}?", clean(&self.privacy.text(meant), 254)),
            (None, Some(answer), Some(text)) => format!("{} {text}", answer.reply.code()),
            (None, _, text) => text.unwrap_or_default().into_owned(),
        };
        if self.detail > 0 {
            self.styled(&cut_to_width(&detail, self.detail), dim, out);
        }
        Self::end(out);
    }
}

/// The colour of a label, everywhere.
pub(crate) fn style(label: Label) -> Style {
    let color = match label {
        Label::Valid => AnsiColor::Green,
        Label::CatchAll => AnsiColor::Yellow,
        Label::Unknown => AnsiColor::Cyan,
        Label::Invalid => AnsiColor::Red,
    };
    Style::new().fg_color(Some(color.into()))
}
