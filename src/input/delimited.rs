//! Splits delimited text into cells (RFC 4180, forgiving): bounded, and an unclosed quote costs one row, not the rest of the file.
//!
//! The `csv` crate reads faster still, but keeps a field of any length in memory and takes everything behind a stray quote for one
//! cell (HOSTILE P5).

use csv::StringRecord;
use memchr::{memchr, memchr2, memchr3};

use super::{CELL_LIMIT, RowFault, not_utf8, too_long};

/// Bytes that may be read a second time after unclosed quotes: this many, and four times what was consumed. Beyond that such rows
/// are skipped whole, which keeps hostile files linear.
const RESCAN_BASE: u64 = 16 << 20;

/// Splits a line without quotes; fills `record`.
pub(super) fn plain(line: &[u8], delimiter: Option<u8>, record: &mut StringRecord) -> Option<RowFault> {
    let lossy;
    let (text, fault) = match str::from_utf8(line) {
        Ok(text) => (text, None),
        Err(error) => {
            let before = line.get(..error.valid_up_to()).unwrap_or_default();
            let column = delimiter.map_or(0, |d| memchr::memchr_iter(d, before).count()) + 1;
            lossy = String::from_utf8_lossy(line);
            (&*lossy, Some(not_utf8(Some(column))))
        }
    };
    let mut longest = 0;
    let mut start = 0;
    if let Some(delimiter) = delimiter {
        for at in memchr::memchr_iter(delimiter, text.as_bytes()) {
            record.push_field(text.get(start..at).unwrap_or_default());
            longest = longest.max(at - start);
            start = at + 1;
        }
    }
    record.push_field(text.get(start..).unwrap_or_default());
    if longest.max(text.len() - start) > CELL_LIMIT {
        record.clear();
        return Some(too_long(CELL_LIMIT));
    }
    fault
}

/// What became of the record at the window's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A whole record: its length with the line end, and its lines.
    Record { total: usize, lines: u64 },
    /// The window ends inside the record.
    More,
    /// A quoted cell does not end where a cell can end.
    Unclosed { scanned: usize },
    /// A cell is over the limit.
    TooLong { scanned: usize },
}

/// The unescaped cells of a record with quotes; used again for the next one.
#[derive(Debug, Default)]
pub(super) struct CellBuffer {
    text: Vec<u8>,
    ends: Vec<usize>,
    rescanned: u64,
}

/// How a cell ended.
enum CellEnd {
    /// At a delimiter; the next cell starts here.
    Next(usize),
    /// At a line end or the end of the file; the record's whole length.
    Record(usize),
}

impl CellBuffer {
    /// Splits the record at the start of `window`; `last` says that nothing follows the window.
    pub(super) fn split(&mut self, window: &[u8], delimiter: Option<u8>, last: bool) -> Step {
        self.text.clear();
        self.ends.clear();
        let mut at = 0;
        loop {
            let before = self.text.len();
            let end = if window.get(at) == Some(&b'"') {
                self.quoted(window, at, delimiter, last)
            } else {
                self.unquoted(window, at, delimiter, last)
            };
            if self.text.len() - before > CELL_LIMIT {
                return Step::TooLong { scanned: window.len() };
            }
            match end {
                Err(step) => return step,
                Ok(end) => {
                    self.ends.push(self.text.len());
                    match end {
                        CellEnd::Next(next) => at = next,
                        CellEnd::Record(total) => {
                            let record = window.get(..total).unwrap_or_default();
                            let lines = whole_lines(record).1.max(1);
                            return Step::Record { total, lines };
                        }
                    }
                }
            }
        }
    }

    fn unquoted(&mut self, window: &[u8], at: usize, delimiter: Option<u8>, last: bool) -> Result<CellEnd, Step> {
        let rest = window.get(at..).unwrap_or_default();
        let found = match delimiter {
            Some(delimiter) => memchr3(delimiter, b'\n', b'\r', rest),
            None => memchr2(b'\n', b'\r', rest),
        };
        let end = at + found.unwrap_or(rest.len());
        self.text.extend_from_slice(window.get(at..end).unwrap_or_default());
        end_of_cell(window, end, delimiter, last)
    }

    fn quoted(&mut self, window: &[u8], open: usize, delimiter: Option<u8>, last: bool) -> Result<CellEnd, Step> {
        let begin = self.text.len();
        let mut at = open + 1;
        loop {
            let most = window.len().min(at + CELL_LIMIT + 1);
            let rest = window.get(at..most).unwrap_or_default();
            let Some(found) = memchr(b'"', rest) else {
                return Err(match rest.len() {
                    CELL_LIMIT.. => Step::TooLong { scanned: most },
                    _ if last => Step::Unclosed { scanned: most },
                    _ => Step::More,
                });
            };
            let quote = at + found;
            self.text.extend_from_slice(window.get(at..quote).unwrap_or_default());
            if self.text.len() - begin > CELL_LIMIT {
                return Err(Step::TooLong { scanned: quote });
            }
            match window.get(quote + 1) {
                Some(b'"') => {
                    self.text.push(b'"');
                    at = quote + 2;
                }
                None if !last => return Err(Step::More),
                None | Some(b'\n' | b'\r') => return end_of_cell(window, quote + 1, delimiter, last),
                Some(next) if Some(*next) == delimiter => return Ok(CellEnd::Next(quote + 2)),
                Some(_) => {
                    // `"a"b` is forgiven on one line; over lines it is the next row's opening quote.
                    let cell = self.text.get(begin..).unwrap_or_default();
                    if memchr2(b'\n', b'\r', cell).is_some() {
                        return Err(Step::Unclosed { scanned: quote });
                    }
                    return self.unquoted(window, quote + 1, delimiter, last);
                }
            }
        }
    }

    /// Bytes of memory.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<usize>()
    }

    /// Column of the cell that was being read, from 1.
    pub(super) fn column(&self) -> usize {
        self.ends.len() + 1
    }

    /// Whether `len` bytes may be read a second time, `consumed` bytes into the file.
    pub(super) fn may_rescan(&mut self, len: usize, consumed: u64) -> bool {
        self.rescanned += len as u64;
        self.rescanned <= RESCAN_BASE + 4 * consumed
    }

    /// The cells of the last [`Step::Record`].
    pub(super) fn copy_to(&self, record: &mut StringRecord) -> Option<RowFault> {
        let mut fault = None;
        let mut start = 0;
        if let Ok(text) = str::from_utf8(&self.text) {
            for &end in &self.ends {
                record.push_field(text.get(start..end).unwrap_or_default());
                start = end;
            }
            return None;
        }
        for (index, &end) in self.ends.iter().enumerate() {
            let cell = String::from_utf8_lossy(self.text.get(start..end).unwrap_or_default());
            if fault.is_none() && matches!(cell, std::borrow::Cow::Owned(_)) {
                fault = Some(not_utf8(Some(index + 1)));
            }
            record.push_field(&cell);
            start = end;
        }
        fault
    }
}

/// What follows a cell that ends at `end`: a delimiter, a line end, or the end of the window.
fn end_of_cell(window: &[u8], end: usize, delimiter: Option<u8>, last: bool) -> Result<CellEnd, Step> {
    match (window.get(end), window.get(end + 1)) {
        (None, _) | (Some(b'\r'), None) if !last => Err(Step::More),
        (None, _) => Ok(CellEnd::Record(end)),
        (Some(b'\r'), Some(b'\n')) => Ok(CellEnd::Record(end + 2)),
        (Some(next), _) if Some(*next) == delimiter => Ok(CellEnd::Next(end + 1)),
        _ => Ok(CellEnd::Record(end + 1)),
    }
}

/// Length and number of the whole lines at the start of `bytes`.
pub(super) fn whole_lines(bytes: &[u8]) -> (usize, u64) {
    let (mut total, mut lines) = (0, 0);
    let mut ends = memchr::memchr2_iter(b'\n', b'\r', bytes).peekable();
    while let Some(at) = ends.next() {
        if bytes.get(at) == Some(&b'\r') && bytes.get(at + 1) == Some(&b'\n') {
            ends.next();
            total = at + 2;
        } else {
            total = at + 1;
        }
        lines += 1;
    }
    (total, lines)
}
