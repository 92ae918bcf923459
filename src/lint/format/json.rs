//! One object, or one a line; schema `presend-lint/1`.

use std::io::{self, Write};

use serde::Serialize;

use super::{super::Shown, Counts, Out, Report, Summary};

/// Name and version of the form.
const SCHEMA: &str = "presend-lint/1";

pub(super) struct Json {
    out: Out,
    any: bool,
}

impl Json {
    pub(super) fn new(out: Out) -> Self {
        Self { out, any: false }
    }

    fn begin(&mut self) -> io::Result<()> {
        if !self.any {
            write!(self.out, "{{\"schema\":\"{SCHEMA}\",\"findings\":[")?;
        }
        Ok(())
    }
}

impl Report for Json {
    fn finding(&mut self, shown: &Shown) -> io::Result<()> {
        self.begin()?;
        self.out.write_all(if self.any { b",\n" } else { b"\n" })?;
        self.any = true;
        Ok(serde_json::to_writer(&mut self.out, shown)?)
    }

    fn finish(mut self: Box<Self>, summary: &Summary<'_>) -> io::Result<()> {
        self.begin()?;
        self.out.write_all(b"\n],\"summary\":")?;
        serde_json::to_writer(&mut self.out, &summary.counts())?;
        self.out.write_all(b"}\n")?;
        self.out.close()
    }
}

pub(super) struct Jsonl {
    out: Out,
}

impl Jsonl {
    pub(super) fn new(out: Out) -> Self {
        Self { out }
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }
}

#[derive(Serialize)]
struct Line<'a, T> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    of: &'a T,
}

impl Report for Jsonl {
    fn finding(&mut self, shown: &Shown) -> io::Result<()> {
        let kind = "finding";
        self.line(&Line { kind, of: shown })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(mut self: Box<Self>, summary: &Summary<'_>) -> io::Result<()> {
        let (kind, of): (_, &Counts<'_>) = ("summary", &summary.counts());
        self.line(&Line { kind, of })?;
        self.out.close()
    }
}
