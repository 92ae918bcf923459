//! Objects of a JSON document that need not fit into memory: those of an array, or one after the other.

use std::io::{self, BufRead};

/// Largest single object.
const OBJECT: usize = 8 << 20;

/// Splits a document into its objects without parsing it.
pub(super) struct Objects<R> {
    reader: R,
    line: u64,
    object: Vec<u8>,
}

/// One object, or the remains of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'o> {
    Object {
        line: u64,
        bytes: &'o [u8],
    },
    TooLarge {
        line: u64,
    },
    /// The document ends inside an object.
    Cut {
        line: u64,
    },
}

impl<R: BufRead> Objects<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            line: 1,
            object: Vec::new(),
        }
    }

    /// The next object; `None` at the end.
    pub(super) fn next_object(&mut self) -> io::Result<Option<Found<'_>>> {
        self.object.clear();
        let (mut depth, mut quoted, mut escaped, mut start, mut too_large) = (0_usize, false, false, self.line, false);
        loop {
            let available = self.reader.fill_buf()?;
            if available.is_empty() {
                return Ok((depth > 0).then_some(Found::Cut { line: start }));
            }
            let mut end = None;
            let mut from = if depth > 0 { Some(0) } else { None };
            for (at, byte) in available.iter().enumerate() {
                self.line += u64::from(*byte == b'\n');
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if quoted => escaped = true,
                    b'"' => quoted = depth > 0 && !quoted,
                    _ if quoted => {}
                    b'{' => {
                        if depth == 0 {
                            start = self.line;
                            from = Some(at);
                        }
                        depth += 1;
                    }
                    b'}' if depth > 0 => {
                        depth -= 1;
                        if depth == 0 {
                            end = Some(at + 1);
                            break;
                        }
                    }
                    _ => {}
                }
            }
            let used = end.unwrap_or(available.len());
            if let Some(part) = from.and_then(|from| available.get(from..used)) {
                if self.object.len() + part.len() > OBJECT {
                    too_large = true;
                    self.object.clear();
                }
                if !too_large {
                    self.object.extend_from_slice(part);
                }
            }
            self.reader.consume(used);
            if end.is_some() {
                return Ok(Some(if too_large {
                    Found::TooLarge { line: start }
                } else {
                    Found::Object {
                        line: start,
                        bytes: &self.object,
                    }
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_split_wherever_the_buffer_ends() {
        let text = b"[\n {\"a\": \"}{\\\"\"},\n {\"b\": {\"c\": 1}}\n]\n{\"d\":1}{\"e\":";
        for size in 1..9 {
            let mut objects = Objects::new(io::BufReader::with_capacity(size, &text[..]));
            let mut all = Vec::new();
            while let Some(found) = objects.next_object().unwrap() {
                all.push(match found {
                    Found::Object { line, bytes } => (line, String::from_utf8_lossy(bytes).into_owned()),
                    Found::Cut { line } | Found::TooLarge { line } => (line, String::new()),
                });
            }
            let expected = [
                (2, "{\"a\": \"}{\\\"\"}"),
                (3, "{\"b\": {\"c\": 1}}"),
                (5, "{\"d\":1}"),
                (5, ""),
            ];
            assert_eq!(all, expected.map(|(line, text)| (line, text.to_owned())), "{size}");
        }
    }
}
