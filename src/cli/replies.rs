//! Replies from a file or a pipe: text or NDJSON, one line at a time, bounded. Must not decide what a reply means.

use std::io::{self, BufRead, BufReader, Read};

use serde_json::{Map, Value};

/// Bytes of one line, and of one reply of several lines.
pub(super) const LIMIT: usize = 64 * 1024;

/// One reply as it was read.
#[derive(Debug)]
pub(super) enum Item {
    /// Text: the lines of one reply.
    Text(String),
    /// A JSON object, with what else it holds.
    Object(Map<String, Value>),
    /// A line that cannot be used, and why.
    Unreadable(String),
}

/// Reads replies.
pub(super) struct Replies<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    /// Bytes of the line that were not kept.
    cut: bool,
    /// A line that was read and belongs to the next reply.
    ahead: bool,
    number: u64,
}

impl<R: Read> Replies<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(LIMIT, input),
            line: Vec::new(),
            cut: false,
            ahead: false,
            number: 0,
        }
    }

    /// Whether the next reply may have to be waited for.
    pub(super) fn is_drained(&self) -> bool {
        self.input.buffer().is_empty()
    }

    /// The next reply and the number of its first line; empty lines are passed over.
    ///
    /// # Errors
    /// The input cannot be read.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Item)>> {
        loop {
            if !std::mem::take(&mut self.ahead) && !self.read_line()? {
                return Ok(None);
            }
            let number = self.number;
            let line = self.line.trim_ascii_start();
            if line.is_empty() {
                continue;
            }
            if line.starts_with(b"{") {
                return Ok(Some((number, object(line, self.cut))));
            }
            let mut text = String::from_utf8_lossy(&self.line).into_owned();
            if let Some(code) = goes_on(&self.line) {
                self.join(code, &mut text)?;
            }
            return Ok(Some((number, Item::Text(text))));
        }
    }

    /// Adds the lines that continue `550-...`, up to and with `550 ...`.
    fn join(&mut self, code: [u8; 3], text: &mut String) -> io::Result<()> {
        while self.read_line()? {
            let same = self.line.first_chunk::<3>() == Some(&code);
            if !same {
                self.ahead = true;
                return Ok(());
            }
            if text.len() + self.line.len() < LIMIT {
                text.push('\n');
                text.push_str(&String::from_utf8_lossy(&self.line));
            }
            if goes_on(&self.line).is_none() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads one line without its end; `false` at the end of the input.
    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        self.cut = false;
        self.number += 1;
        let mut any = false;
        loop {
            let buffer = match self.input.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                break;
            }
            any = true;
            let end = memchr::memchr(b'\n', buffer);
            let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
            let room = LIMIT.saturating_sub(self.line.len());
            self.cut |= part.len() > room;
            self.line.extend_from_slice(part.get(..room).unwrap_or(part));
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        Ok(any)
    }
}

/// The code of `550-...`.
fn goes_on(line: &[u8]) -> Option<[u8; 3]> {
    match line {
        [a, b, c, b'-', ..] if [a, b, c].iter().all(|digit| digit.is_ascii_digit()) => Some([*a, *b, *c]),
        _ => None,
    }
}

/// One line of NDJSON.
pub(super) fn object(line: &[u8], cut: bool) -> Item {
    if cut {
        return Item::Unreadable(format!("the line is longer than {LIMIT} bytes"));
    }
    match serde_json::from_slice(line) {
        Ok(object) => Item::Object(object),
        Err(error) => Item::Unreadable(format!("not a JSON object: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Vec<(u64, String)> {
        // One byte at a time, so that no line comes whole.
        struct Slow<'a>(&'a [u8]);
        impl Read for Slow<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let take = usize::from(!self.0.is_empty() && !buffer.is_empty());
                let (now, later) = self.0.split_at(take);
                buffer[..take].copy_from_slice(now);
                self.0 = later;
                Ok(take)
            }
        }
        let mut replies = Replies::new(Slow(input));
        let mut all = Vec::new();
        while let Some((number, item)) = replies.next().unwrap() {
            all.push((
                number,
                match item {
                    Item::Text(text) => text,
                    Item::Object(object) => Value::Object(object).to_string(),
                    Item::Unreadable(why) => format!("! {why}"),
                },
            ));
        }
        all
    }

    #[test]
    fn lines_of_one_reply_are_joined() {
        let text = |number, text: &str| (number, text.to_owned());
        for (input, expected) in [
            (&b""[..], vec![]),
            (b"\n\r\n  \n", vec![]),
            (b"250 a\r\n550 b", vec![text(1, "250 a"), text(2, "550 b")]),
            (
                b"\n550-a\n550-b\r\n550 c\n250 d\n",
                vec![text(2, "550-a\n550-b\n550 c"), text(5, "250 d")],
            ),
            (b"550-a\n550\n250 d", vec![text(1, "550-a\n550"), text(3, "250 d")]),
            // A reply that breaks off ends where another begins.
            (b"550-a\n250 b\n", vec![text(1, "550-a"), text(2, "250 b")]),
            (b"550-a\nHTTP/1.1\n", vec![text(1, "550-a"), text(2, "HTTP/1.1")]),
            (b"550-a\n{\"a\":1}\n", vec![text(1, "550-a"), text(2, "{\"a\":1}")]),
            (b"550-a", vec![text(1, "550-a")]),
            (b"550 \xff\x00", vec![text(1, "550 \u{fffd}\0")]),
            (b" {\"a\":1} \n", vec![text(1, "{\"a\":1}")]),
        ] {
            assert_eq!(read(input), expected, "{:?}", String::from_utf8_lossy(input));
        }
        assert!(read(b"{\"a\":")[0].1.starts_with("! not a JSON object: EOF"));
    }

    #[test]
    fn nothing_grows_without_bound() {
        let long = "x".repeat(3 * LIMIT);
        let all = read(format!("550 {long}\n{{\"reply\":\"{long}\"}}\n250 ok\n").as_bytes());
        assert_eq!(all[0].1.len(), LIMIT);
        assert!(all[1].1.starts_with("! the line is longer"));
        assert_eq!(all[2], (3, "250 ok".to_owned()));
        let many = "550-no such user\n".repeat(LIMIT);
        let all = read(format!("{many}550 end\n250 ok\n").as_bytes());
        assert_eq!(all.len(), 2);
        assert!(all[0].1.len() <= LIMIT);
    }
}
