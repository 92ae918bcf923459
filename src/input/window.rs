//! A file as a window of UTF-8 bytes that moves forward: decodes what is not UTF-8 already, finds line ends.
//!
//! Holds at most a row and a read-ahead in memory, whatever the file holds.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use encoding_rs::{CoderResult, Decoder, UTF_8};
use memchr::memchr2;

use super::encoding::Detected;

const CHUNK: usize = 64 << 10;

/// Where the bytes come from.
enum From {
    File(File),
    /// Read once, as it comes.
    Stream(Box<dyn Read + Send>),
}

impl Read for From {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Stream(stream) => stream.read(buffer),
        }
    }
}

pub(super) struct Window {
    from: From,
    encoding: Detected,
    decoder: Option<Decoder>,
    /// Bytes read and not decoded yet.
    raw: Vec<u8>,
    raw_range: (usize, usize),
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    at_end: bool,
    consumed: u64,
}

/// A line at the window's start.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing is left.
    End,
    /// Length without and with its line end.
    Whole { len: usize, total: usize },
    /// No line end within the limit.
    TooLong,
}

impl Window {
    pub(super) fn new(file: File, encoding: Detected) -> io::Result<Self> {
        let mut window = Self::of(From::File(file), encoding);
        window.rewind()?;
        Ok(window)
    }

    /// A window over a stream behind its byte order mark; it cannot be rewound.
    pub(super) fn over(stream: Box<dyn Read + Send>, encoding: Detected) -> Self {
        let mut window = Self::of(From::Stream(stream), encoding);
        window.start_over();
        window
    }

    fn of(from: From, encoding: Detected) -> Self {
        Self {
            from,
            encoding,
            decoder: None,
            raw: Vec::new(),
            raw_range: (0, 0),
            buffer: Vec::new(),
            start: 0,
            end: 0,
            at_end: false,
            consumed: 0,
        }
    }

    pub(super) fn rewind(&mut self) -> io::Result<()> {
        match &mut self.from {
            From::File(file) => file.seek(SeekFrom::Start(self.encoding.mark))?,
            From::Stream(_) => return Err(io::Error::other("a stream can be read once")),
        };
        self.start_over();
        Ok(())
    }

    fn start_over(&mut self) {
        let encoding = self.encoding.encoding;
        self.decoder = (encoding != UTF_8).then(|| encoding.new_decoder_without_bom_handling());
        let raw = if encoding == UTF_8 { 0 } else { CHUNK };
        self.raw.resize(raw, 0);
        self.raw_range = (0, 0);
        self.buffer.resize(self.buffer.len().max(4 * CHUNK), 0);
        (self.start, self.end, self.at_end, self.consumed) = (0, 0, false, 0);
    }

    /// Gives the memory back; nothing can be read until the window is rewound.
    pub(super) fn park(&mut self) {
        (self.raw, self.buffer) = (Vec::new(), Vec::new());
        (self.start, self.end, self.at_end) = (0, 0, true);
    }

    /// The file; none below a stream.
    pub(super) fn file(&self) -> Option<&File> {
        match &self.from {
            From::File(file) => Some(file),
            From::Stream(_) => None,
        }
    }

    /// What was read and not consumed.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Bytes of memory.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.buffer.capacity() + self.raw.capacity()
    }

    /// Nothing will follow [`Window::bytes`].
    pub(super) fn at_end(&self) -> bool {
        self.at_end
    }

    pub(super) fn consume(&mut self, len: usize) {
        self.start = (self.start + len).min(self.end);
        self.consumed += len as u64;
    }

    /// How much was consumed since the start of the file.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Reads until the window holds `len` bytes or the file ends.
    pub(super) fn sample(&mut self, len: usize) -> io::Result<()> {
        while self.bytes().len() < len && self.more()? {}
        Ok(())
    }

    /// Appends to the window; `false` when the file has ended.
    ///
    /// The buffer doubles when it is full, so re-reading the window after each call stays linear.
    pub(super) fn more(&mut self) -> io::Result<bool> {
        if self.at_end {
            return Ok(false);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() - self.end < CHUNK {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let space = self.buffer.get_mut(self.end..).unwrap_or_default();
        let added = match &mut self.decoder {
            None => read(&mut self.from, space)?,
            Some(decoder) => loop {
                let (mut from, mut to) = self.raw_range;
                if from == to {
                    (from, to) = (0, read(&mut self.from, &mut self.raw)?);
                }
                let raw = self.raw.get(from..to).unwrap_or_default();
                let last = raw.is_empty();
                let (result, used, written, _) = decoder.decode_to_utf8(raw, space, last);
                self.raw_range = (from + used, to);
                if last && result == CoderResult::InputEmpty {
                    // A character cut by the end was written; the decoder must not be asked again.
                    self.at_end = true;
                    break written;
                }
                if written > 0 {
                    break written;
                }
            },
        };
        self.at_end |= added == 0;
        self.end += added;
        Ok(added > 0)
    }

    /// Finds the end of the line at the window's start: LF, CRLF or CR.
    pub(super) fn line(&mut self, limit: usize) -> io::Result<Line> {
        let mut seen = 0;
        loop {
            let bytes = self.bytes();
            if let Some(at) = memchr2(b'\n', b'\r', bytes.get(seen..).unwrap_or_default()) {
                let len = seen + at;
                if len > limit {
                    return Ok(Line::TooLong);
                }
                match (bytes.get(len), bytes.get(len + 1)) {
                    // Whether a LF follows is not known yet.
                    (Some(b'\r'), None) if !self.at_end => seen = len,
                    (Some(b'\r'), Some(b'\n')) => return Ok(Line::Whole { len, total: len + 2 }),
                    _ => return Ok(Line::Whole { len, total: len + 1 }),
                }
            } else {
                seen = bytes.len();
                if seen > limit {
                    return Ok(Line::TooLong);
                }
                if self.at_end {
                    return Ok(if seen == 0 {
                        Line::End
                    } else {
                        Line::Whole { len: seen, total: seen }
                    });
                }
            }
            self.more()?;
        }
    }

    /// Drops everything to the end of the line at the window's start, in constant memory.
    pub(super) fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let len = self.bytes().len();
            match memchr2(b'\n', b'\r', self.bytes()) {
                // Keep a CR at the end: the LF that may follow belongs to it.
                Some(at) => {
                    self.consume(at);
                    if let Line::Whole { total, .. } = self.line(0)? {
                        self.consume(total);
                    }
                    return Ok(());
                }
                None => self.consume(len),
            }
            if !self.more()? {
                return Ok(());
            }
        }
    }
}

fn read(file: &mut From, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
