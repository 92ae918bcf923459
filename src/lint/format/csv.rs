//! For spreadsheets: no cell is run as a formula.

use std::io::{self, Write};

use super::{super::Shown, Out, Report, Summary};
use crate::output::is_formula;

pub(super) struct Csv {
    out: Out,
    begun: bool,
}

impl Csv {
    pub(super) fn new(out: Out) -> Self {
        Self { out, begun: false }
    }

    fn begin(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            let names = "file,line,column,code,rule,severity,address,message,suggestion,reason,first,fingerprint\n";
            self.out.write_all(names.as_bytes())?;
        }
        Ok(())
    }
}

/// A cell in quotes where it needs them, with a `'` in front of what a spreadsheet would run.
fn cell(text: &str) -> String {
    let guard = if is_formula(text.as_bytes()) { "'" } else { "" };
    if text.contains([',', '"', '\n', '\r', ';', '\t']) || text.starts_with(' ') {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        format!("{guard}{text}")
    }
}

impl Report for Csv {
    fn finding(&mut self, shown: &Shown) -> io::Result<()> {
        self.begin()?;
        let column = shown.column.map(|column| column.to_string()).unwrap_or_default();
        let cells = [
            &shown.file,
            &shown.line.to_string(),
            &column,
            shown.code,
            shown.rule,
            shown.severity.name(),
            &shown.address,
            &shown.message,
            shown.suggestion.as_deref().unwrap_or_default(),
            shown.reason.unwrap_or_default(),
            shown.first.as_deref().unwrap_or_default(),
            &shown.fingerprint,
        ];
        let line = cells.map(cell).join(",");
        writeln!(self.out, "{line}")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(mut self: Box<Self>, _: &Summary<'_>) -> io::Result<()> {
        self.begin()?;
        self.out.close()
    }
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn no_cell_is_run() {
        for (text, written) in [
            ("a", "a"),
            ("=1+1", "'=1+1"),
            ("@x", "'@x"),
            ("a,\"b\"", "\"a,\"\"b\"\"\""),
            ("=a,b", "\"'=a,b\""),
            ("-x.csv", "'-x.csv"),
        ] {
            assert_eq!(cell(text), written);
        }
    }
}
