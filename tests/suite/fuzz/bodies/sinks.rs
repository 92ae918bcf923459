//! Nothing that a stranger wrote acts in a terminal, a spreadsheet or a reader of JSON.

use std::{
    io,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use presend::{
    address::{Address, Rules},
    dns::MailRoute,
    input::{Cells, InputFormat, Layout, Row},
    job::{Outcome, Sink as _, Source},
    lists::ListHits,
    output::{Detail, Format, Options, Output, Target, Terminal},
    replies::classify,
    smtp::{Reply, Stage},
    store::Kept,
    verdict::{Answer, Evidence, Label, NotTried, Observed, Policy, UnknownRecipients, judge},
};
use serde_json::Value;

/// Of every list here.
const RULES: Rules = Rules {
    allow_special_use: true,
};

/// A reply at RCPT, shown in every format.
pub(super) fn answered(reply: &Reply) {
    let answer = Answer {
        stage: Stage::Rcpt,
        reply: reply.clone(),
        meaning: classify(Stage::Rcpt, reply, None),
    };
    let evidence = Evidence {
        route: Observed::Known(Arc::new(MailRoute::Exchangers(Vec::new()))),
        answer: Observed::Known(Arc::new(answer)),
        unknown_recipients: Observed::Known(UnknownRecipients::Refused),
        ..Evidence::not_tried(NotTried::NotNeeded)
    };
    let outcome = outcome("ann@one.test", evidence);
    match outcome.verdict.label {
        Label::Valid => assert!(reply.code().is_positive(), "{reply:?}"),
        Label::Invalid => assert!(reply.code().is_permanent(), "{reply:?}"),
        Label::CatchAll | Label::Unknown => {}
    }
    shown(&outcome);
}

/// What was kept, shown in every format.
pub(super) fn kept(kept: Kept) {
    let mut shown = outcome(&kept.mailbox, kept.evidence);
    shown.transcripts = kept.transcripts;
    shown.checked_at = kept.checked_at;
    shown.retry_at = kept.retry_at;
    shown.elapsed = kept.elapsed;
    self::shown(&shown);
}

/// An outcome of a list of two columns, in every format.
pub(super) fn shown(outcome: &Outcome) {
    harmless(&row(&[&outcome.typed, "=1+1"]), outcome, &layout(2));
}

/// An outcome nobody was asked about, unless `evidence` says more.
pub(super) fn outcome(typed: &str, evidence: Evidence) -> Outcome {
    Outcome {
        typed: typed.into(),
        address: Address::parse(typed, RULES).ok(),
        hits: ListHits::default(),
        verdict: judge(&evidence, &Policy::default()),
        evidence,
        retry_at: None,
        source: Source::Live,
        checked_at: SystemTime::UNIX_EPOCH + Duration::from_hours(498_682),
        elapsed: Duration::from_millis(412),
        transcripts: Vec::new(),
    }
}

/// A row of two cells under a layout that need not fit, in every format.
pub(super) fn laid_out(layout: &Layout) {
    let outcome = outcome("ann@one.test", Evidence::not_tried(NotTried::Level));
    for format in [Format::Table, Format::Ndjson, Format::Json, Format::Csv] {
        assert!(!written(&row(&["ann@one.test", "=1+1"]), &outcome, layout, format).is_empty());
    }
}

fn row(cells: &[&str]) -> Row {
    Row {
        file: None,
        line: 2,
        cells: Cells::Record {
            record: cells.to_vec().into(),
            address: 0,
        },
        fault: None,
    }
}

fn layout(columns: usize) -> Layout {
    Layout {
        format: InputFormat::Csv,
        delimiter: Some(b','),
        encoding: "UTF-8".into(),
        columns: (1..=columns).map(|number| format!("column_{number}")).collect(),
        header: true,
        ..Layout::default()
    }
}

/// Writes a row in every format and reads it back.
pub(super) fn harmless(row: &Row, outcome: &Outcome, layout: &Layout) {
    let written = |format| written(row, outcome, layout, format);
    let table = written(Format::Table);
    assert_eq!(table.lines().count(), 2, "{table:?}");
    table.split('\n').for_each(super::assert_printable);
    let lines = written(Format::Ndjson);
    let line = lines.strip_suffix('\n').expect("a line");
    assert!(!line.contains(['\n', '\r']), "{line:?}");
    let object: Value = serde_json::from_str(line).expect("JSON");
    strings(&object["presend"]);
    let array: Value = serde_json::from_str(&written(Format::Json)).expect("JSON");
    assert_eq!(array, Value::Array(vec![object]));
    cells(row, layout, &written(Format::Csv));
}

/// Every string within what presend adds.
pub(super) fn strings(value: &Value) {
    match value {
        Value::String(text) => string("", text),
        Value::Array(values) => values.iter().for_each(strings),
        Value::Object(members) => members.iter().for_each(|(name, value)| match value.as_str() {
            Some(text) => string(name, text),
            None => strings(value),
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn string(name: &str, text: &str) {
    assert!(text.chars().count() <= 1_100, "{} characters", text.len());
    super::assert_printable(&readable(name, text));
}

/// What must be printable of a member or column: in an address ZWNJ and ZWJ are spelling, as Persian and Hindi have it, and
/// without them it is another one.
fn readable(name: &str, text: &str) -> String {
    match name.trim_start_matches("presend_") {
        "address" | "ascii" | "did_you_mean" if Address::parse(text, RULES).is_ok() => {
            text.replace(['\u{200c}', '\u{200d}'], "")
        }
        _ => text.to_owned(),
    }
}

/// A spreadsheet runs none of the cells; the original ones come back.
fn cells(row: &Row, layout: &Layout, csv: &str) {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(layout.delimiter.filter(|mark| b",;\t|".contains(mark)).unwrap_or(b','))
        .from_reader(csv.as_bytes());
    let records: Vec<csv::StringRecord> = reader.records().map(|record| record.expect("CSV")).collect();
    assert_eq!(records.len(), 2, "{csv:?}");
    assert_eq!(records[0].len(), records[1].len(), "{csv:?}");
    for cell in records.iter().flatten() {
        assert!(!runs(cell), "{cell:?}");
    }
    let Cells::Record { record, .. } = &row.cells else {
        return;
    };
    let added = |name: &str| name.starts_with("presend_");
    let kept: Vec<usize> = (0..layout.columns.len())
        .filter(|index| !added(&layout.columns[*index]))
        .collect();
    for (place, index) in kept.iter().enumerate() {
        let (original, shown) = (record.get(*index).unwrap_or_default(), &records[1][place]);
        // What a ragged row has too much is joined to its last cell.
        let joined = place + 1 == kept.len() && record.len() > kept.len();
        let is_it = |shown: &str| shown == original || joined && shown.starts_with(original);
        // The quote may be the cell's own, or the one that disarms it.
        let same = is_it(shown) || shown.strip_prefix('\'').is_some_and(is_it);
        assert!(same, "{original:?} became {shown:?}");
    }
    for (name, cell) in records[0].iter().zip(&records[1]).skip(kept.len()) {
        super::assert_printable(&readable(name, cell));
    }
}

/// What OWASP names: `=`, `@`, TAB, CR and NUL first, and a sign before anything but a number.
fn runs(cell: &str) -> bool {
    match cell.chars().next() {
        Some('=' | '@' | '\t' | '\r' | '\n' | '\0') => true,
        Some('+' | '-') => cell.contains(|c: char| c.is_alphabetic() || "=@|!'\"\\".contains(c)),
        _ => false,
    }
}

fn written(row: &Row, outcome: &Outcome, layout: &Layout, format: Format) -> String {
    let options = Options {
        format,
        only: Vec::new(),
        raw: false,
        detail: Detail {
            transcript: true,
            ..Detail::default()
        },
        terminal: Terminal::default(),
    };
    let shared = Shared::default();
    let mut output = Output::single(layout, &options, Target::new(shared.clone(), false));
    output.write(row, outcome).expect("memory can be written");
    output.finish().expect("memory can be written");
    let bytes = std::mem::take(&mut *shared.0.lock().expect("no panic"));
    String::from_utf8(bytes).expect("UTF-8")
}

/// A target whose bytes can be looked at.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
