//! Whole lines as they stand in a file, to be made rows of on any thread. What is a row here is the same as one by one (tested).
//!
//! Has only lines that are a row each: no quotes in tables, no comments in plain text.

use memchr::memchr2;

use super::{InputFormat, Layout, Row, delimited, list, not_utf8};

/// Some lines of a file.
#[derive(Debug, Default)]
pub struct Block {
    bytes: Vec<u8>,
    first: u64,
}

/// One of them, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockLine<'a> {
    /// Its number in the file, from 1.
    pub number: u64,
    /// Where it is in [`Block::bytes`].
    pub start: usize,
    /// What it holds.
    pub bytes: &'a [u8],
}

impl Block {
    /// Takes whole lines, with the number of the first, in the place of those before.
    pub(super) fn put(&mut self, bytes: &[u8], first: u64) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.first = first;
    }

    /// Has no lines.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Has no lines.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The lines as they stand in the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Each line that is a row.
    pub fn lines(&self, layout: &Layout) -> impl Iterator<Item = BlockLine<'_>> {
        let is_text = layout.format == InputFormat::Text;
        let (mut start, mut number) = (0, self.first);
        std::iter::from_fn(move || {
            let rest = self.bytes.get(start..).filter(|rest| !rest.is_empty())?;
            let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let bytes = rest.get(..end).unwrap_or_default();
            let line = BlockLine { number, start, bytes };
            let is_pair = rest.get(end) == Some(&b'\r') && rest.get(end + 1) == Some(&b'\n');
            start += end + 1 + usize::from(is_pair);
            number += 1;
            Some(line)
        })
        .filter(move |line| {
            let blank = |b: &u8| *b == b' ' || is_text && b.is_ascii_whitespace();
            !line.bytes.iter().all(blank)
        })
    }
}

impl BlockLine<'_> {
    /// Makes a row of it, using the row's memory again.
    pub fn read(self, layout: &Layout, row: &mut Row) {
        row.file = None;
        row.line = self.number;
        let record = row.record(layout.address_column);
        if layout.format == InputFormat::Text {
            if let Ok(text) = str::from_utf8(self.bytes) {
                record.push_field(text);
            } else {
                record.push_field(&String::from_utf8_lossy(self.bytes));
                row.fault = Some(not_utf8(Some(1)));
            }
        } else {
            row.fault = delimited::plain(self.bytes, layout.delimiter, record);
            list::finish(layout, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::input::{Cells, InputOptions, Table};

    type Read = (u64, Vec<String>, usize, Option<String>);

    fn told(row: &Row) -> Read {
        let Cells::Record { record, address } = &row.cells else {
            panic!("no record")
        };
        let cells = record.iter().map(str::to_owned).collect();
        (
            row.line,
            cells,
            *address,
            row.fault.as_ref().map(|fault| fault.message.to_string()),
        )
    }

    fn both(bytes: &[u8], most: usize) -> (Vec<Read>, Vec<Read>, usize) {
        let options = InputOptions {
            comments: true,
            ..InputOptions::default()
        };
        let open = || Table::from_reader(&mut Cursor::new(bytes), "a list", &options).unwrap();
        let (mut table, mut row, mut single) = (open(), Row::default(), Vec::new());
        while table.read_row(&mut row).unwrap() {
            single.push(told(&row));
        }
        let (mut table, mut block, mut blocks) = (open(), Block::default(), 0);
        let (layout, mut together) = (table.layout().clone(), Vec::new());
        loop {
            if table.read_block(most, &mut block).unwrap() {
                blocks += 1;
                for line in block.lines(&layout) {
                    line.read(&layout, &mut row);
                    together.push(told(&row));
                }
            } else if table.read_row(&mut row).unwrap() {
                together.push(told(&row));
            } else {
                return (single, together, blocks);
            }
        }
    }

    #[test]
    fn lines_are_the_rows_that_are_read_one_by_one() {
        let lists: [&[u8]; 9] = [
            b"n,email\n1,a@x.org\n\n2,b@x.org\n   \n3\n4,c@x.org,more\n5,d@x.org",
            b"n;email\r\n1;a@x.org\r\n\r\n2;b@x.org\r3;c@x.org\n\r\n4;d@x.org\r\n",
            b"n,email\n1,a@x.org\n\"2\",b@x.org\n\"3\n4\",c@x.org\n5,d@x.org\n6,\"e\n7,f@x.org\n",
            b"n,email\n1,a\xE9@x.org\n2,b@x.org\n,\n\t,c@x.org\n",
            b"a@x.org\n \n\t\nb@x.org\n# presend: ignore[role]\nc@x.org\nd@x.org # presend: ignore\n\n e@x.org \nf\xFF@x.org\n",
            b"a@x.org\r\nb@x.org\r\n\r\nc@x.org",
            b"a@x.org\rb@x.org\rc@x.org\r",
            b"email\na@x.org\nb@x.org\nc,d@x.org\n",
            b"\xEF\xBB\xBFemail,\nA@x.org,\n\n",
        ];
        for list in lists {
            for most in [12, 20, 33, 1000] {
                let (single, together, _) = both(list, most);
                assert_eq!(together, single, "{} {most}", String::from_utf8_lossy(list));
                assert!(single.len() > 1 || list.len() < 30);
            }
        }
        assert!(both(lists[0], 1000).2 > 0 && both(lists[5], 1000).2 > 0);
        assert_eq!(both(b"\"email\"\n\"a@x.org\"\n", 1000).2, 0);
    }
}
