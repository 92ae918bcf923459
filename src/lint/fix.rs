//! Repairs that change no meaning: each touches the one cell and leaves every other byte of the file as it is.
//!
//! Must not guess: a suggestion is taken only when it is asked for.

use std::{
    hash::{BuildHasher, RandomState},
    io::{self, BufRead, BufReader, Read, Write},
};

use super::{examine::is_normal, packed::Packed};
use crate::{
    address::{Address, Fault, Rules},
    input::{Cells, InputError, InputFormat, Layout, Row, Table},
    job::{Stop, suggest},
    lists,
};

/// Bytes of a row that is repaired; longer ones are copied.
const LONGEST: usize = 2 << 20;
const MARK: &[u8] = b"\xEF\xBB\xBF";

/// What is repaired.
#[derive(Debug, Clone, Copy)]
pub struct Repairs {
    /// How strictly names are taken.
    pub rules: Rules,
    /// Take the suggestions for mistyped domains too.
    pub suggested: bool,
}

/// A row that was repaired, or dropped when `to` is nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// Its line.
    pub line: u64,
    /// What stood there.
    pub from: String,
    /// What stands there now.
    pub to: Option<String>,
}

/// A list cannot be repaired.
#[derive(Debug, thiserror::Error)]
pub enum FixError {
    /// Its bytes are not those of its rows.
    #[error("`{name}` is {what}, which presend does not write; save it as CSV or text in UTF-8 first")]
    Form {
        /// The file.
        name: String,
        /// What it is.
        what: String,
    },
    /// It cannot be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The repaired list cannot be written.
    #[error("cannot write the repaired list: {0}")]
    Output(#[from] io::Error),
    /// Somebody wants it to end; what was written is not whole.
    #[error("the repair was interrupted")]
    Interrupted,
}

/// Copies a list with its repairs; `told` hears of each. `raw` has the bytes of the table from the first on, as far as it is read at
/// least: a stream is repaired as it comes.
///
/// # Errors
/// The list cannot be read or is in a form that is not written, writing failed, or the stop was requested.
pub fn fix(
    (table, raw, name): (&mut Table, &mut dyn Read, &str),
    repairs: Repairs,
    out: &mut dyn Write,
    mut told: &mut dyn FnMut(Repaired),
    stop: &Stop,
) -> Result<(), FixError> {
    let layout = std::sync::Arc::clone(table.layout());
    let form = |what: String| {
        Err(FixError::Form {
            name: name.to_owned(),
            what,
        })
    };
    if let Some(packing) = layout.packing {
        return form(format!("compressed ({})", packing.name()));
    }
    if layout.format == InputFormat::Xlsx {
        return form("a workbook".into());
    }
    if layout.encoding != "UTF-8" {
        return form(format!("in {}", layout.encoding));
    }
    let mut raw = Raw {
        from: BufReader::with_capacity(64 << 10, raw),
        line: 1,
    };
    let mut seen = RowSet::new();
    let mut pending: Option<Change> = None;
    let mut row = Row::default();
    while table.read_row(&mut row)? {
        if stop.is_requested() {
            return Err(FixError::Interrupted);
        }
        // What lies between two rows, comments and blank lines, belongs to the one before.
        raw.copy(row.line, pending.take(), &layout, out)?.map(&mut told);
        pending = change(&row, repairs, &mut seen, &layout);
    }
    raw.copy(u64::MAX, pending, &layout, out)?.map(&mut told);
    Ok(())
}

struct Change {
    line: u64,
    from: String,
    cell: usize,
    lines: u64,
    to: To,
}

enum To {
    Dropped,
    Address(String),
}

/// What becomes of a row; nothing if it stays as it is.
fn change(row: &Row, repairs: Repairs, seen: &mut RowSet, layout: &Layout) -> Option<Change> {
    if row.fault.is_some() {
        return None;
    }
    let typed = row.address();
    let better = better(typed, repairs);
    let address = Address::parse(better.as_deref().unwrap_or(typed), repairs.rules).ok()?;
    let (cell, lines) = match &row.cells {
        Cells::Record { record, address } => {
            let inner = memchr::memchr_iter(b'\n', record.as_slice().as_bytes()).count();
            (*address, 1 + inner as u64)
        }
        Cells::Object { .. } => (0, 1),
    };
    let from = typed.to_owned();
    let to = if seen.insert(row, &address, layout) {
        To::Address(better?)
    } else {
        To::Dropped
    };
    Some(Change {
        line: row.line,
        from,
        cell,
        lines,
        to,
    })
}

/// The normal form of what was typed; nothing if that is it.
fn better(typed: &str, repairs: Repairs) -> Option<String> {
    let meant = || {
        suggest(typed, repairs.rules)
            .filter(|_| repairs.suggested)
            .map(String::from)
    };
    match Address::parse(typed, repairs.rules) {
        Ok(address) => {
            let meant = repairs
                .suggested
                .then(|| lists::look_up(&address).did_you_mean)
                .flatten();
            if let Some(meant) = meant {
                return Some(meant.into());
            }
            if typed == address.mailbox() || is_normal(typed, &address) {
                return None;
            }
            // A domain in its own letters stays in them.
            Some(if typed.is_ascii() {
                address.mailbox().to_owned()
            } else {
                address.display()
            })
        }
        Err(error) if error.fault == Fault::DomainTrailingDot => meant().or(error.suggestion.map(String::from)),
        Err(_) => meant(),
    }
    .filter(|better| better != typed)
}

/// The rows so far: 128 bits of SHA-256 of each, of which nobody knows two texts with the same. What it begins with is another in each
/// run, so that nobody chooses their places in the table.
struct RowSet {
    key: u64,
    prints: Packed<16, 128>,
}

impl RowSet {
    fn new() -> Self {
        Self {
            key: RandomState::new().hash_one(0),
            prints: Packed::default(),
        }
    }

    /// Adds everything in a row, the address in its normal form; false if it was there.
    fn insert(&mut self, row: &Row, address: &Address, layout: &Layout) -> bool {
        use sha2::{Digest, Sha256};
        let mut digest = Sha256::new();
        digest.update(self.key.to_be_bytes());
        // With their lengths, so that no cell runs into the next.
        let mut add = |part: &str| {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        };
        add(address.mailbox());
        match &row.cells {
            Cells::Record { record, address } => {
                let others = record.iter().enumerate().filter(|(index, _)| index != address);
                others.for_each(|(_, cell)| add(cell));
            }
            Cells::Object { object, .. } => {
                for (key, value) in object {
                    add(key);
                    if layout.address_key.as_deref() != Some(key) {
                        add(&value.to_string());
                    }
                }
            }
        }
        let digest: [u8; 32] = digest.finalize().into();
        let (print, rest) = digest.split_first_chunk().unwrap_or((&[0; 16], &[]));
        let choice = rest.first_chunk().map_or(0, |four| u32::from_be_bytes(*four));
        self.prints.insert(choice, *print).is_none()
    }
}

/// The bytes of the file, line by line as `input` counts them.
struct Raw<'a> {
    from: BufReader<&'a mut dyn Read>,
    line: u64,
}

impl Raw<'_> {
    /// Copies up to a line, its first lines changed; tells what was.
    fn copy(
        &mut self,
        until: u64,
        change: Option<Change>,
        layout: &Layout,
        out: &mut dyn Write,
    ) -> io::Result<Option<Repaired>> {
        let mut repaired = None;
        if let Some(change) = change {
            let mut own = Vec::new();
            for _ in 0..change.lines {
                if self.line >= until || !self.take_line(&mut own)? {
                    break;
                }
            }
            let to = match &change.to {
                To::Dropped => Some((None, Vec::new())),
                To::Address(to) => replaced(&own, (&change, to), layout).map(|new| (Some(to.clone()), new)),
            };
            if let Some((to, new)) = to {
                own = new;
                repaired = Some(Repaired {
                    line: change.line,
                    from: change.from,
                    to,
                });
            }
            out.write_all(&own)?;
        }
        let mut line = Vec::new();
        while self.line < until {
            line.clear();
            let more = self.take_line(&mut line)?;
            out.write_all(&line)?;
            if !more {
                break;
            }
        }
        Ok(repaired)
    }

    /// Appends a line with its end; false at the end of the file. A line of any length is taken in pieces.
    fn take_line(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        let mut any = false;
        loop {
            let buffer = self.from.fill_buf()?;
            if buffer.is_empty() {
                return Ok(any);
            }
            any = true;
            let Some(at) = memchr::memchr2(b'\n', b'\r', buffer) else {
                line.extend_from_slice(buffer);
                let len = buffer.len();
                self.from.consume(len);
                // Nobody repairs such a row; its pieces are written as they come.
                if line.len() > LONGEST {
                    return Ok(true);
                }
                continue;
            };
            let is_return = buffer.get(at) == Some(&b'\r');
            line.extend_from_slice(buffer.get(..=at).unwrap_or_default());
            self.from.consume(at + 1);
            if is_return && self.from.fill_buf()?.first() == Some(&b'\n') {
                line.push(b'\n');
                self.from.consume(1);
            }
            self.line += 1;
            return Ok(true);
        }
    }
}

/// The bytes of a row with another address in it; nothing if it is not where it should be.
fn replaced(own: &[u8], (change, to): (&Change, &str), layout: &Layout) -> Option<Vec<u8>> {
    let (mark, text) = match own.strip_prefix(MARK) {
        Some(text) => (MARK, text),
        None => (&[][..], own),
    };
    let (start, end, new) = match layout.format {
        InputFormat::Text => {
            let start = text.starts_with(change.from.as_bytes()).then_some(0)?;
            (start, change.from.len(), to.to_owned())
        }
        InputFormat::Csv | InputFormat::Xlsx => {
            let (start, end) = span(text, layout.delimiter, change.cell)?;
            let raw = str::from_utf8(text.get(start..end)?).ok()?;
            let quoted = raw.starts_with('"');
            let delimiter = layout.delimiter.map(char::from);
            if unquoted(raw) != change.from {
                return None;
            }
            let needs = quoted || to.contains(['"', '\n', '\r']) || delimiter.is_some_and(|mark| to.contains(mark));
            let new = if needs {
                format!("\"{}\"", to.replace('"', "\"\""))
            } else {
                to.to_owned()
            };
            (start, end, new)
        }
        InputFormat::Ndjson => {
            let from = serde_json::to_string(&change.from).ok()?;
            let mut places = memchr::memmem::find_iter(text, from.as_bytes());
            let start = places.next().filter(|_| places.next().is_none())?;
            (start, start + from.len(), serde_json::to_string(to).ok()?)
        }
    };
    let mut row = mark.to_vec();
    row.extend_from_slice(text.get(..start)?);
    row.extend_from_slice(new.as_bytes());
    row.extend_from_slice(text.get(end..)?);
    Some(row)
}

/// Where a cell of a record is, quotes and all.
fn span(record: &[u8], delimiter: Option<u8>, cell: usize) -> Option<(usize, usize)> {
    let (mut at, mut number, mut start) = (0, 0, 0);
    let mut inside = false;
    loop {
        let byte = record.get(at).copied();
        let ends = match byte {
            None => true,
            Some(b'"') => {
                inside = (at == start) || (!inside && record.get(start) == Some(&b'"'));
                if at != start && record.get(start) == Some(&b'"') {
                    // A doubled quote stays inside; a single one ends the quoted part.
                    inside = record.get(at + 1) == Some(&b'"');
                    at += usize::from(inside);
                }
                false
            }
            Some(b'\n' | b'\r') => !inside,
            byte => !inside && byte == delimiter,
        };
        if ends {
            if number == cell {
                return Some((start, at));
            }
            if byte != delimiter || byte.is_none() {
                return None;
            }
            number += 1;
            start = at + 1;
        }
        at += 1;
    }
}

fn unquoted(raw: &str) -> String {
    match raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => raw.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Seek};

    use super::*;
    use crate::input::InputOptions;

    fn fixed(name: &str, text: &str, suggested: bool) -> (String, usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let options = InputOptions {
            comments: true,
            ..InputOptions::default()
        };
        let mut table = Table::open(&path, &options).unwrap();
        let mut file = File::open(&path).unwrap();
        file.rewind().unwrap();
        let (mut out, mut count) = (Vec::new(), 0);
        let repairs = Repairs {
            rules: Rules::default(),
            suggested,
        };
        let task = (&mut table, &mut file as &mut dyn Read, name);
        fix(task, repairs, &mut out, &mut |_| count += 1, &Stop::new()).unwrap();
        (String::from_utf8(out).unwrap(), count)
    }

    #[test]
    fn only_the_address_is_touched() {
        for (name, from, to) in [
            (
                "a.txt",
                "# head\r\n  jane@ACME-corp.com \r\n\r\nbob@acme-corp.com",
                "# head\r\njane@acme-corp.com\r\n\r\nbob@acme-corp.com",
            ),
            (
                "a.txt",
                "<x@acme-corp.com> # presend: ignore\ny@acme-corp.com.\n",
                "x@acme-corp.com # presend: ignore\ny@acme-corp.com\n",
            ),
            (
                "a.txt",
                "\u{FEFF} a@acme-corp.com\na@acme-corp.com\n# end\n",
                "\u{FEFF}a@acme-corp.com\n# end\n",
            ),
            (
                "a.txt",
                "cafe\u{301}@acme-corp.com\nx@BÜCHER.de\n",
                "café@acme-corp.com\nx@bücher.de\n",
            ),
            (
                "a.csv",
                "n,email,t\n\"a, b\",\" J@ACME-corp.com\",\"x\"\"y\"\n",
                "n,email,t\n\"a, b\",\"J@acme-corp.com\",\"x\"\"y\"\n",
            ),
            (
                "a.csv",
                "n,email\n\"a\nb\",j@ACME-corp.com\nc,k@acme-corp.com\n",
                "n,email\n\"a\nb\",j@acme-corp.com\nc,k@acme-corp.com\n",
            ),
            (
                "a.csv",
                "n;email\n1;a@acme-corp.com\n2;a@acme-corp.com\n1;A@ACME-corp.com\n1; a@acme-corp.com\n",
                "n;email\n1;a@acme-corp.com\n2;a@acme-corp.com\n1;A@acme-corp.com\n",
            ),
            (
                "a.ndjson",
                "{\"email\": \"a@ACME-corp.com\",  \"n\": 1.50}\n",
                "{\"email\": \"a@acme-corp.com\",  \"n\": 1.50}\n",
            ),
            (
                "a.csv",
                "email,n\r\"x\"@ACME-corp.com,1\rb@acme-corp.com,2\r",
                "email,n\r\"x\"@ACME-corp.com,1\rb@acme-corp.com,2\r",
            ),
            ("a.txt", "bob@gmial.com\n", "bob@gmial.com\n"),
            // Rows that are equal only when their cells run together, or when another cell is taken for the address.
            (
                "a.csv",
                "email,n,m\na@acme-corp.com,p\u{1f}q,r\na@acme-corp.com,p,q\u{1f}r\na@acme-corp.com,p,q\u{1f}r\n",
                "email,n,m\na@acme-corp.com,p\u{1f}q,r\na@acme-corp.com,p,q\u{1f}r\n",
            ),
            (
                "a.ndjson",
                "{\"email\":\"a@acme-corp.com.\",\"n\":\"a@acme-corp.com.\"}\n{\"email\":\"a@acme-corp.com\",\"n\":\"a@acme-corp.com\"}\n{\"email\":\"a@acme-corp.com\",\"n\":1}\n{\"email\":\"a@ACME-corp.com\",\"n\":1}\n",
                "{\"email\":\"a@acme-corp.com.\",\"n\":\"a@acme-corp.com.\"}\n{\"email\":\"a@acme-corp.com\",\"n\":\"a@acme-corp.com\"}\n{\"email\":\"a@acme-corp.com\",\"n\":1}\n",
            ),
        ] {
            assert_eq!(fixed(name, from, false).0, to, "{from:?}");
            assert_eq!(fixed(name, to, false), (to.to_owned(), 0), "again: {to:?}");
        }
        assert_eq!(
            fixed("a.txt", "bob@gmial.com\nx@acme-corp.con\n", true).0,
            "bob@gmail.com\nx@acme-corp.com\n"
        );
    }

    #[test]
    fn cells_are_found_by_their_marks() {
        for (record, cell, found) in [
            ("a,b,c\n", 1, Some("b")),
            ("\"a,\"\"b\",c", 1, Some("c")),
            ("\"a\nb\",\"c\"\n", 1, Some("\"c\"")),
            ("a\"b,c\n", 1, Some("c")),
            ("a,b\n", 2, None),
            ("a", 0, Some("a")),
        ] {
            let span = span(record.as_bytes(), Some(b','), cell);
            assert_eq!(span.map(|(start, end)| &record[start..end]), found, "{record:?}");
        }
    }
}
