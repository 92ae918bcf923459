//! Lists as people have them: text, CSV, NDJSON and workbooks, packed or not, in any encoding.

use std::io::{self, Cursor, Read, Write as _};

use presend::{
    input::{Cells, InputFormat, InputOptions, Row, Table},
    verdict::{Evidence, NotTried},
};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::sinks;

/// Rows of one input that are written out again; the rest is only read.
const SHOWN: usize = 3;

/// A list is refused with its name, or gives rows in order, not more than it has lines; it is read once, and every row can be
/// kept and written.
pub(super) fn body(bytes: &[u8]) -> bool {
    let formats = [
        None,
        Some(InputFormat::Text),
        Some(InputFormat::Csv),
        Some(InputFormat::Ndjson),
    ];
    let mut taken = false;
    for format in formats {
        let options = InputOptions {
            format,
            ..InputOptions::default()
        };
        taken |= rows(bytes, &options) && format.is_none();
    }
    taken
}

fn rows(bytes: &[u8], options: &InputOptions) -> bool {
    let mut counted = Counted { rest: bytes, read: 0 };
    let table = Table::from_reader(&mut counted, "list", options);
    assert!(counted.read <= bytes.len(), "read twice");
    let mut table = match table {
        Ok(table) => table,
        Err(error) => {
            assert!(error.to_string().contains("list"), "{error}");
            return false;
        }
    };
    let layout = table.layout().clone();
    let (mut row, mut line, mut count) = (Row::default(), 0, 0);
    let (mut kept, mut first) = (Vec::new(), Vec::new());
    while table.read_row(&mut row).expect("memory can be read") {
        assert!(row.line > line, "line {} after line {line}", row.line);
        (line, count) = (row.line, count + 1);
        row.encode(&mut kept).expect("a row can be kept");
        first.push(format!("{row:?}"));
        if count <= SHOWN {
            if row.fault.is_some() {
                assert!(bounded(&row), "{row:?}");
            }
            let outcome = sinks::outcome(row.address(), Evidence::not_tried(NotTried::Level));
            sinks::harmless(&row, &outcome, &layout);
        }
    }
    if layout.packing.is_none() && layout.format != InputFormat::Xlsx {
        assert!(count <= bytes.len(), "{count} rows");
    }
    let mut from = kept.as_slice();
    let mut again = first.iter();
    while row.decode(&mut from).expect("what was kept") {
        assert_eq!(Some(&format!("{row:?}")), again.next());
    }
    table.rewind().expect("memory can be read twice");
    let mut again = first.iter();
    while table.read_row(&mut row).expect("memory can be read") {
        assert_eq!(Some(&format!("{row:?}")), again.next(), "the second time");
    }
    assert_eq!(again.next(), None, "fewer rows the second time");
    count > 0
}

/// A fault is one sentence, and a row that is too long is not kept.
fn bounded(row: &Row) -> bool {
    let size = match &row.cells {
        Cells::Record { record, .. } => record.as_slice().len(),
        Cells::Object { object, .. } => object.len(),
    };
    let fault = row.fault.as_ref().map_or("", |fault| &fault.message);
    super::assert_printable(fault);
    size <= 1 << 20 && fault.len() <= 2_000
}

/// Counts what is read of the input.
struct Counted<'a> {
    rest: &'a [u8],
    read: usize,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.rest.read(buffer)?;
        self.read += count;
        Ok(count)
    }
}

/// The parts of a workbook in the order of the input's pieces.
const PARTS: [&str; 7] = [
    "xl/worksheets/sheet1.xml",
    "xl/sharedStrings.xml",
    "xl/workbook.xml",
    "xl/_rels/workbook.xml.rels",
    "xl/styles.xml",
    "[Content_Types].xml",
    "_rels/.rels",
];

/// The parts of a workbook are the hostile bytes here, in a package that is whole: damage to a zip is found by its checksums
/// long before anybody reads XML.
pub(super) fn workbook(bytes: &[u8]) -> bool {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, part) in PARTS.iter().zip(super::pieces(bytes)) {
        zip.start_file(*name, options).expect("memory can be written");
        zip.write_all(part).expect("memory can be written");
    }
    let packed = zip.finish().expect("memory can be written").into_inner();
    rows(&packed, &InputOptions::default())
}
