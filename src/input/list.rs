//! One file as rows: opened, understood, read forward, and read again.

use std::{
    fmt,
    fs::File,
    io::{self, Seek as _},
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use super::{
    Block, CELL_LIMIT, Cells, InputError, InputFormat, InputOptions, Layout, ROW_LIMIT, Row, RowFault, WIDTH, array,
    comment,
    delimited::{self, Step},
    encoding, ndjson, not_utf8, sniff, spool, too_long,
    unpack::{self, Packing},
    window::{Line, Window},
    workbook,
};

/// An opened file. Reading it twice gives the same rows: see [`List::rewind`].
pub(super) struct List {
    name: String,
    layout: Arc<Layout>,
    window: Window,
    /// Line of the window's start, from 1.
    line: u64,
    /// The first line is `sep=;`.
    separator_line: bool,
    stamp: Stamp,
    /// Every record is one row of a sheet, whatever line ends its cells hold.
    sheet: bool,
    /// Text rows get a second cell with what comments say to presend.
    comments: bool,
    cells: delimited::CellBuffer,
}

/// What tells that a file was changed: size and time of the last change.
type Stamp = (u64, Option<SystemTime>);

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List")
            .field("name", &self.name)
            .field("layout", &self.layout)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl List {
    /// Opens a file, or standard input for `-` (spooled to an unlinked temporary file).
    ///
    /// # Errors
    /// The input is unreadable or empty, the column is missing, or no column holds addresses.
    pub(super) fn open(path: &Path, options: &InputOptions) -> Result<Self, InputError> {
        if path.as_os_str() == "-" {
            return Self::from_reader(&mut io::stdin().lock(), "standard input", options);
        }
        let name = path.display().to_string();
        let read = |source| InputError::Read {
            name: name.clone(),
            source,
        };
        let mut file = File::open(path).map_err(read)?;
        let metadata = file.metadata().map_err(read)?;
        if metadata.is_dir() {
            return Err(InputError::Directory { name });
        }
        if !metadata.is_file() {
            // A pipe: it can be read only once.
            return Self::from_reader(&mut file, &name, options);
        }
        Self::from_file(file, &name, extension(path), options)
    }

    /// Reads a stream to its end into an unlinked temporary file and opens that; `name` is for messages.
    pub(super) fn from_reader(
        reader: &mut dyn io::Read,
        name: &str,
        options: &InputOptions,
    ) -> Result<Self, InputError> {
        let file = spool::spool(reader).map_err(|source| InputError::Read {
            name: name.into(),
            source,
        })?;
        Self::from_file(file, name, "", options)
    }

    /// One JSON array, packed or not, as lines.
    pub(super) fn from_array(file: File, name: &str, options: &InputOptions) -> Result<Self, InputError> {
        let read = |source| InputError::Read {
            name: name.into(),
            source,
        };
        let (file, _) = unpack::unpack(file, name)?;
        let mut lines = spool::unnamed().map_err(read)?;
        array::to_lines(&mut io::BufReader::new(file), &mut lines, name)?;
        lines.rewind().map_err(read)?;
        let options = InputOptions {
            format: Some(InputFormat::Ndjson),
            ..options.clone()
        };
        Self::from_file(lines, name, "", &options)
    }

    pub(super) fn from_file(
        file: File,
        name: &str,
        extension: &str,
        options: &InputOptions,
    ) -> Result<Self, InputError> {
        let read = |source| InputError::Read {
            name: name.into(),
            source,
        };
        let (mut file, packing) = unpack::unpack(file, name)?;
        if workbook::is_workbook(unpack::magic(&mut file).map_err(read)?) {
            return Self::from_workbook(&file, name, options);
        }
        let stamp = stamp(&file).map_err(read)?;
        let encoding = encoding::detect(&mut file).map_err(read)?;
        let mut window = Window::new(file, encoding).map_err(read)?;
        window.sample(sniff::SAMPLE).map_err(read)?;
        let sample = sniff::Sample {
            name,
            extension,
            bytes: window.bytes(),
            whole: window.at_end(),
            encoding: encoding.encoding.name(),
            sheet_width: None,
        };
        let sniff::Sniffed { layout, separator_line } = sniff::sniff(&sample, options)?;
        let layout = Layout { packing, ..layout };
        Self::start((name, options), layout, window, stamp, separator_line)
    }

    /// Opens a stream that is read as it comes, no further ahead than the sample; what is packed is spooled first.
    pub(super) fn stream(
        mut reader: Box<dyn io::Read + Send>,
        name: &str,
        options: &InputOptions,
    ) -> Result<Self, InputError> {
        let read = |source| InputError::Read {
            name: name.into(),
            source,
        };
        let mut head = vec![0; sniff::SAMPLE];
        let len = encoding::fill(&mut reader, &mut head).map_err(read)?;
        let whole = len < head.len();
        head.truncate(len);
        let mut magic = [0; 4];
        for (to, from) in magic.iter_mut().zip(&head) {
            *to = *from;
        }
        if unpack::is_packed(magic) || workbook::is_workbook(magic) {
            let mut all = io::Read::chain(io::Cursor::new(head), reader);
            return Self::from_reader(&mut all, name, options);
        }
        let encoding = encoding::detect_start(&head, whole);
        let mut head = io::Cursor::new(head);
        head.set_position(encoding.mark);
        let mut window = Window::over(Box::new(io::Read::chain(head, reader)), encoding);
        window.sample(sniff::SAMPLE / 2).map_err(read)?;
        let sample = sniff::Sample {
            name,
            extension: "",
            bytes: window.bytes(),
            whole: window.at_end(),
            encoding: encoding.encoding.name(),
            sheet_width: None,
        };
        let sniff::Sniffed { layout, separator_line } = sniff::sniff(&sample, options)?;
        Self::start((name, options), layout, window, (0, None), separator_line)
    }

    fn from_workbook(file: &File, name: &str, options: &InputOptions) -> Result<Self, InputError> {
        let read = |source| InputError::Read {
            name: name.into(),
            source,
        };
        let sheet = workbook::extract(file, name, options.sheet.as_deref())?;
        let stamp = stamp(&sheet.file).map_err(read)?;
        let mut window = Window::new(sheet.file, encoding::Detected::UTF_8).map_err(read)?;
        window.sample(sniff::SAMPLE).map_err(read)?;
        let sample = sniff::Sample {
            name,
            extension: "csv",
            bytes: window.bytes(),
            whole: window.at_end(),
            encoding: "UTF-8",
            sheet_width: Some(sheet.width),
        };
        let understood = sniff::sniff(&sample, options).map_err(|source| {
            let no_list = matches!(source, InputError::Empty { .. } | InputError::NoAddressColumn { .. });
            if !no_list || sheet.all.len() < 2 {
                return source;
            }
            InputError::WrongSheet {
                sheet: sheet.name.clone(),
                sheets: sheet.all,
                source: Box::new(source),
            }
        })?;
        let layout = Layout {
            sheet: Some(sheet.name),
            ..understood.layout
        };
        Self::start((name, options), layout, window, stamp, false)
    }

    fn start(
        (name, options): (&str, &InputOptions),
        layout: Layout,
        window: Window,
        stamp: Stamp,
        separator_line: bool,
    ) -> Result<Self, InputError> {
        let mut list = Self {
            name: name.into(),
            sheet: layout.format == InputFormat::Xlsx,
            comments: options.comments,
            layout: Arc::new(layout),
            window,
            line: 1,
            separator_line,
            stamp,
            cells: delimited::CellBuffer::default(),
        };
        list.skip_head()?;
        Ok(list)
    }

    /// For messages and for `presend_file`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Gives the memory of the window back until [`List::rewind`].
    pub(super) fn park(&mut self) {
        self.window.park();
    }

    /// How the input was understood.
    #[must_use]
    pub(super) fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Reads the next row into `row`, whose memory is used again; `false` at the end.
    ///
    /// Measured in a release build: 37 million rows a second of plain text, 16 of three columns, 11 of quoted cells, 4.5 of NDJSON;
    /// [`List::next_row`] reads 8, 5, 4 and 3.
    ///
    /// # Errors
    /// Reading failed.
    pub(super) fn read_row(&mut self, row: &mut Row) -> Result<bool, InputError> {
        let read = match self.layout.format {
            InputFormat::Text => self.read_text(row),
            InputFormat::Csv | InputFormat::Xlsx => self.read_record(row),
            InputFormat::Ndjson => self.read_object(row),
        };
        read.map_err(|source| InputError::Read {
            name: self.name.clone(),
            source,
        })
    }

    /// Takes lines that are a row each, as they stand there, `most` bytes at once; `false` when the next row is to be read by itself, or
    /// there is none.
    ///
    /// # Errors
    /// Reading failed.
    pub(super) fn read_block(&mut self, most: usize, block: &mut Block) -> Result<bool, InputError> {
        // A byte that makes more of a line than cells.
        let special = match self.layout.format {
            InputFormat::Text if self.comments => b'#',
            InputFormat::Csv => b'"',
            InputFormat::Text | InputFormat::Xlsx | InputFormat::Ndjson => return Ok(false),
        };
        if memchr::memchr(b'\n', self.window.bytes()).is_none() {
            self.window.more().map_err(|source| InputError::Read {
                name: self.name.clone(),
                source,
            })?;
        }
        let bytes = self.window.bytes();
        let bytes = bytes.get(..most.min(bytes.len())).unwrap_or_default();
        let end = memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1);
        let bytes = bytes.get(..end).unwrap_or_default();
        if bytes.is_empty() || memchr::memchr(special, bytes).is_some() {
            return Ok(false);
        }
        block.put(bytes, self.line);
        self.window.consume(end);
        self.line += delimited::whole_lines(block.bytes()).1;
        Ok(true)
    }

    /// Starts again at the first row.
    ///
    /// # Errors
    /// Seeking failed, or the file changed since it was opened.
    pub(super) fn rewind(&mut self) -> Result<(), InputError> {
        let read = |source| InputError::Read {
            name: self.name.clone(),
            source,
        };
        let file = self.window.file().map(stamp).transpose().map_err(read)?;
        if file.is_some_and(|now| now != self.stamp) {
            return Err(InputError::Changed {
                name: self.name.clone(),
            });
        }
        self.window.rewind().map_err(read)?;
        self.line = 1;
        self.cells = delimited::CellBuffer::default();
        self.skip_head()
    }

    /// Skips `sep=` and the header.
    fn skip_head(&mut self) -> Result<(), InputError> {
        let read = |name: &str, source| InputError::Read {
            name: name.into(),
            source,
        };
        if self.separator_line {
            match self.window.line(ROW_LIMIT) {
                Ok(Line::Whole { total, .. }) => self.take_line(total),
                Ok(Line::TooLong | Line::End) => {}
                Err(source) => return Err(read(&self.name, source)),
            }
        }
        if self.layout.header {
            self.read_row(&mut Row::default())?;
        }
        Ok(())
    }

    fn take_line(&mut self, total: usize) {
        self.window.consume(total);
        self.line += 1;
    }

    /// The next line that is not blank: its length without and with the line end, already counted in `row.line`. Lines over the
    /// limit are skipped and leave a fault.
    fn line(&mut self, row: &mut Row, limit: usize) -> io::Result<Option<Found>> {
        loop {
            row.line = self.line;
            match self.window.line(limit)? {
                Line::End => return Ok(None),
                Line::TooLong => {
                    row.clear(&self.layout);
                    row.fault = Some(too_long(limit));
                    self.window.skip_line()?;
                    self.line += 1;
                    return Ok(Some(Found::Fault));
                }
                Line::Whole { len, total } => {
                    let line = self.window.bytes().get(..len).unwrap_or_default();
                    if line.iter().all(|&b| b == b' ') {
                        self.take_line(total);
                        continue;
                    }
                    return Ok(Some(Found::Line { len, total }));
                }
            }
        }
    }

    fn read_text(&mut self, row: &mut Row) -> io::Result<bool> {
        let mut said = String::new();
        loop {
            let (len, total) = match self.line(row, CELL_LIMIT)? {
                None => return Ok(false),
                Some(Found::Fault) => return Ok(true),
                Some(Found::Line { len, total }) => (len, total),
            };
            let line = self.window.bytes().get(..len).unwrap_or_default();
            let text = line.trim_ascii_start();
            if text.is_empty() || text.starts_with(b"#") {
                if self.comments {
                    comment::gather(text, &mut said);
                }
                self.take_line(total);
                continue;
            }
            let record = row.record(0);
            if let Ok(text) = str::from_utf8(line) {
                let (text, beside) = if self.comments {
                    comment::split(text)
                } else {
                    (text, "")
                };
                record.push_field(text);
                if !beside.is_empty() || !said.is_empty() {
                    said.push_str(beside);
                    record.push_field(&said);
                }
            } else {
                record.push_field(&String::from_utf8_lossy(line));
                row.fault = Some(not_utf8(Some(1)));
            }
            self.take_line(total);
            return Ok(true);
        }
    }

    fn read_record(&mut self, row: &mut Row) -> io::Result<bool> {
        let (len, total) = match self.line(row, ROW_LIMIT)? {
            None => return Ok(false),
            Some(Found::Fault) => return Ok(true),
            Some(Found::Line { len, total }) => (len, total),
        };
        let line = self.window.bytes().get(..len).unwrap_or_default();
        if memchr::memchr(b'"', line).is_some() {
            self.read_quoted(row, len, total)?;
        } else {
            let record = row.record(self.layout.address_column);
            row.fault = delimited::plain(line, self.layout.delimiter, record);
            self.take_line(total);
        }
        if self.sheet {
            self.fill_up(row);
        }
        finish(&self.layout, row);
        Ok(true)
    }

    /// A row with quotes; it may span lines. `len` and `first` are the lengths of its first line, without and with the line end.
    fn read_quoted(&mut self, row: &mut Row, len: usize, first: usize) -> io::Result<()> {
        let record = row.record(self.layout.address_column);
        let step = loop {
            let bytes = self.window.bytes();
            let step = self.cells.split(bytes, self.layout.delimiter, self.window.at_end());
            if step != Step::More || bytes.len() > ROW_LIMIT {
                break step;
            }
            self.window.more()?;
        };
        let (fault, scanned) = match step {
            Step::Record { total, lines } if total <= ROW_LIMIT => {
                row.fault = self.cells.copy_to(record);
                self.window.consume(total);
                self.line += if self.sheet { 1 } else { lines };
                return Ok(());
            }
            Step::Record { total, .. } => (too_long(ROW_LIMIT), total),
            Step::More => (too_long(ROW_LIMIT), self.window.bytes().len()),
            Step::Unclosed { scanned } => {
                let message = "a quote is opened and not closed where a cell can end";
                (RowFault::new(Some(self.cells.column()), message), scanned)
            }
            Step::TooLong { scanned } => {
                let message = "a quoted cell is longer than 64 KiB, or its quote is not closed";
                (RowFault::new(Some(self.cells.column()), message), scanned)
            }
        };
        // What the line holds stays with the row, quotes and all.
        let line = self.window.bytes().get(..len).unwrap_or_default();
        delimited::plain(line, self.layout.delimiter, record);
        row.fault = Some(fault);
        if self.cells.may_rescan(scanned, self.window.consumed()) {
            // The lines below are most likely rows of their own.
            self.take_line(first);
        } else {
            let bytes = self.window.bytes().get(..scanned).unwrap_or_default();
            let (total, lines) = delimited::whole_lines(bytes);
            self.window.consume(total.max(first));
            self.line += lines.max(1);
        }
        Ok(())
    }

    /// A sheet leaves out the empty cells at a row's end.
    fn fill_up(&self, row: &mut Row) {
        if let (None, Cells::Record { record, .. }) = (&row.fault, &mut row.cells) {
            for _ in record.len()..self.layout.columns.len() {
                record.push_field("");
            }
        }
    }

    fn read_object(&mut self, row: &mut Row) -> io::Result<bool> {
        let (len, total) = match self.line(row, ROW_LIMIT)? {
            None => return Ok(false),
            Some(Found::Fault) => return Ok(true),
            Some(Found::Line { len, total }) => (len, total),
        };
        let line = self.window.bytes().get(..len).unwrap_or_default();
        let key = self.layout.address_key.as_deref().unwrap_or_default();
        (row.cells, row.fault) = ndjson::row(line, key);
        self.take_line(total);
        Ok(true)
    }
}

/// Holds a row against the layout: its width, and which cell has the address.
pub(super) fn finish(layout: &Layout, row: &mut Row) {
    check_width(layout, row);
    fall_back(layout, row);
}

/// Takes the address from the next column of a known export that has one, when the first is empty.
fn fall_back(layout: &Layout, row: &mut Row) {
    if let Cells::Record { record, address } = &mut row.cells {
        let empty = |column: &usize| record.get(*column).is_none_or(|cell| cell.trim().is_empty());
        if !layout.fallback_columns.is_empty() && empty(address) {
            let other = layout.fallback_columns.iter().find(|column| !empty(column));
            *address = other.copied().unwrap_or(*address);
        }
    }
}

fn check_width(layout: &Layout, row: &mut Row) {
    let want = layout.columns.len();
    if let (None, Cells::Record { record, .. }) = (&row.fault, &row.cells) {
        let got = record.len();
        if want > 0 && got != want {
            let cells = if got == 1 { "cell" } else { "cells" };
            let message = format!("{WIDTH}{got} {cells}, expected {want}");
            row.fault = Some(RowFault::new(Some(got.min(want) + 1), message));
        }
    }
}

enum Found {
    /// Content and whole length of a line in the window.
    Line { len: usize, total: usize },
    /// The row is filled with a fault.
    Fault,
}

fn stamp(file: &File) -> io::Result<Stamp> {
    let metadata = file.metadata()?;
    Ok((metadata.len(), metadata.modified().ok()))
}

/// The extension that tells the format: of `leads.csv.gz` it is `csv`.
pub(super) fn extension(path: &Path) -> &str {
    fn of(path: &Path) -> Option<&str> {
        path.extension()?.to_str()
    }
    match of(path) {
        Some(packed) if Packing::by_extension(packed).is_some() => path.file_stem().map(Path::new).and_then(of),
        other => other,
    }
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Whatever the line holds, memory stays at a few rows.
    #[test]
    fn p5_memory_is_bounded() {
        let cases: [(&[u8], &[u8]); 5] = [
            (b"email\na@x.org\n", b"x"),
            (b"name,email\nn,a@x.org\n\"", b"x"),
            (b"name,email\nn,a@x.org\n", b"x\",\"\n"),
            (b"name,email\nn,a@x.org\n", b",\"\"\"\""),
            (b"\xFF\xFEa\0@\0b\0\n\0", b"\x20\xAC"),
        ];
        for (head, unit) in cases {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(head).unwrap();
            let chunk = unit.repeat((1 << 20) / unit.len());
            for _ in 0..6 {
                file.write_all(&chunk).unwrap();
            }
            let mut table = List::from_file(file, "x", "csv", &InputOptions::default()).unwrap();
            let mut row = Row::default();
            while table.read_row(&mut row).unwrap() {
                assert!(table.window.memory() <= 3 << 20, "{unit:?}: {}", table.window.memory());
                assert!(table.cells.memory() <= 8 << 20, "{unit:?}: {}", table.cells.memory());
            }
        }
    }

    /// Not an assertion: prints rows a second.
    #[test]
    #[ignore = "a measurement; run it alone and in release"]
    fn measure() {
        type Make = fn(u32) -> Vec<u8>;
        let cases: [(&str, &str, Make); 6] = [
            ("text", "txt", |n| format!("user{n}@company{}.com\n", n % 5000).into()),
            ("one column", "csv", |n| {
                format!("user{n}@company{}.com\n", n % 5000).into()
            }),
            ("three columns", "csv", |n| {
                format!("{n},Jane Doe,user{n}@company.com\n").into()
            }),
            ("quoted", "csv", |n| {
                format!("\"{n}\",\"Doe, Jane\",\"user{n}@company.com\"\n").into()
            }),
            ("objects", "ndjson", |n| {
                format!("{{\"id\":{n},\"email\":\"user{n}@company.com\"}}\n").into()
            }),
            ("UTF-16", "txt", |n| {
                let line = format!("user{n}@company.com\n");
                line.encode_utf16().flat_map(u16::to_le_bytes).collect()
            }),
        ];
        for (name, extension, make) in cases {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&(0..1_000_000).flat_map(make).collect::<Vec<u8>>())
                .unwrap();
            let start = std::time::Instant::now();
            let mut table = List::from_file(file, "x", extension, &InputOptions::default()).unwrap();
            let opened = start.elapsed();
            let (mut row, mut length) = (Row::default(), 0);
            let start = std::time::Instant::now();
            while table.read_row(&mut row).unwrap() {
                length += row.address().len();
            }
            let reused = start.elapsed();
            table.rewind().unwrap();
            let start = std::time::Instant::now();
            while table.read_row(&mut Row::default()).unwrap() {
                length += 1;
            }
            println!(
                "{name}: open {opened:?}, 1 M rows by read_row {reused:?}, by next_row {:?} ({length})",
                start.elapsed()
            );
        }
    }
}
