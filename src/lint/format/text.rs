//! For people: a part for each file, a line for each finding, the counts at the end.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::{
    super::{Severity, Shown},
    Out, Report, Summary,
};

const FILE: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

pub(super) struct Text {
    out: Out,
    file: Option<String>,
}

impl Text {
    pub(super) fn new(out: Out) -> Self {
        Self { out, file: None }
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.out.color {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

fn style(severity: Severity) -> Style {
    let color = match severity {
        Severity::Error => AnsiColor::Red,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Note => AnsiColor::Cyan,
    };
    color.on_default()
}

impl Report for Text {
    fn finding(&mut self, shown: &Shown) -> io::Result<()> {
        if self.file.as_ref() != Some(&shown.file) {
            let gap = if self.file.is_some() { "\n" } else { "" };
            let name = self.paint(FILE, &shown.file);
            writeln!(self.out, "{gap}{name}")?;
            self.file = Some(shown.file.clone());
        }
        let severity = self.paint(style(shown.severity), shown.severity.name());
        let rule = self.paint(DIM, &format!("[{} {}]", shown.code, shown.rule));
        let address = match shown.address.as_str() {
            "" => String::new(),
            address => format!("{address}: "),
        };
        writeln!(
            self.out,
            "  {}: {severity}: {address}{} {rule}",
            shown.location(),
            shown.sentence()
        )
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(mut self: Box<Self>, summary: &Summary<'_>) -> io::Result<()> {
        let gap = if self.file.is_some() { "\n" } else { "" };
        let headline = self.paint(FILE, &summary.headline());
        writeln!(self.out, "{gap}{headline}")?;
        for (rule, count) in summary.by_rule() {
            writeln!(self.out, "  {count:>8}  {rule}")?;
        }
        for line in summary.words() {
            writeln!(self.out, "{line}")?;
        }
        self.out.close()
    }
}
