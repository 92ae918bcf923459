//! The reply reader: frames what a peer sends into [`Reply`] values, bounded and linear, without touching a socket.
//!
//! It accepts what real servers send (a bare `250`, LF without CR, text that is not UTF-8, second digits above 5) and
//! refuses what would let a peer shift replies: code changes inside a reply, text glued to the code, endless lines.

use super::reply::{Reply, ReplyCode, printable};

/// Longest line kept, without its line end. RFC 5321 section 4.5.3.1.5 allows 512; Postfix keeps 2048.
pub const MAX_LINE: usize = 2048;
/// Most lines in one reply.
pub const MAX_LINES: usize = 200;
/// Most bytes in one reply.
pub const MAX_REPLY: usize = 64 * 1024;

/// Why bytes are not a reply. After any of these the connection cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MalformedReply {
    /// A line is longer than [`MAX_LINE`].
    #[error("a reply line is longer than {MAX_LINE} bytes")]
    LineTooLong,
    /// A reply has more than [`MAX_LINES`] lines or [`MAX_REPLY`] bytes.
    #[error("a reply is larger than {MAX_LINES} lines or {MAX_REPLY} bytes")]
    TooLarge,
    /// A line does not start with three digits that are a reply code.
    #[error("a line does not start with a reply code")]
    NoCode,
    /// Lines of one reply carry different codes.
    #[error("the lines of one reply carry different codes")]
    MixedCodes,
}

/// Frames bytes into replies.
#[derive(Debug, Default)]
pub struct ReplyReader {
    /// Bytes received; those before `start` are consumed.
    buffer: Vec<u8>,
    start: usize,
    /// No line feed is in `start..searched`.
    searched: usize,
    code: Option<ReplyCode>,
    lines: Vec<Box<str>>,
    size: usize,
    /// The last reply of one line, as it came and as it was read: the next one is often the same.
    last: Option<(Vec<u8>, Reply)>,
}

impl ReplyReader {
    /// The next complete reply; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The bytes are not a reply; the reader must not be used again.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, MalformedReply> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(offset) = memchr::memchr(b'\n', unsearched) else {
                self.searched = self.buffer.len();
                if self.buffer.len() - self.start > MAX_LINE + 1 {
                    return Err(MalformedReply::LineTooLong);
                }
                return Ok(None);
            };
            let end = self.searched + offset;
            let line = self.buffer.get(self.start..end).unwrap_or_default();
            if let Some((_, reply)) = self
                .last
                .as_ref()
                .filter(|(bytes, _)| self.code.is_none() && *bytes == *line)
            {
                self.start = end + 1;
                self.searched = self.start;
                return Ok(Some(reply.clone()));
            }
            let (code, last, text) = parse_line(line)?;
            self.size += line.len();
            let begin = self.start;
            self.start = end + 1;
            self.searched = self.start;
            if self.code.is_some_and(|first| first != code) {
                return Err(MalformedReply::MixedCodes);
            }
            if self.lines.len() >= MAX_LINES || self.size > MAX_REPLY {
                return Err(MalformedReply::TooLarge);
            }
            self.code = Some(code);
            if last {
                // Nearly every reply has one line; a vector's usual first step holds four.
                self.lines.reserve_exact(1);
            }
            self.lines.push(text);
            if last {
                self.code = None;
                self.size = 0;
                let reply = Reply::new(code, std::mem::take(&mut self.lines));
                if let ([_], Some(line)) = (reply.lines(), self.buffer.get(begin..end)) {
                    // Its room is used again: hosts that repeat the recipient say no reply twice.
                    let (mut bytes, _) = self.last.take().unwrap_or_else(|| (Vec::new(), reply.clone()));
                    bytes.clear();
                    bytes.extend_from_slice(line);
                    self.last = Some((bytes, reply.clone()));
                }
                return Ok(Some(reply));
            }
        }
    }

    /// Where to append received bytes; consumed ones are dropped first.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        &mut self.buffer
    }

    /// Whether bytes have been received that no reply has consumed.
    #[must_use]
    pub fn has_unread(&self) -> bool {
        self.start < self.buffer.len() || self.code.is_some()
    }
}

/// Code, whether this is the last line of its reply, text.
fn parse_line(line: &[u8]) -> Result<(ReplyCode, bool, Box<str>), MalformedReply> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > MAX_LINE {
        return Err(MalformedReply::LineTooLong);
    }
    let (digits, rest) = line.split_at_checked(3).ok_or(MalformedReply::NoCode)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(MalformedReply::NoCode);
    }
    let number = digits
        .iter()
        .fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    let code = ReplyCode::new(number).ok_or(MalformedReply::NoCode)?;
    let (last, text) = match rest.split_first() {
        None => (true, rest),
        Some((b' ' | b'\t', text)) => (true, text),
        Some((b'-', text)) => (false, text),
        Some(_) => return Err(MalformedReply::NoCode),
    };
    Ok((code, last, readable(text)))
}

/// Untrusted bytes as text without control characters.
fn readable(bytes: &[u8]) -> Box<str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.iter().all(|byte| *byte >= b' ' && *byte < 0x7f) => text.into(),
        Ok(text) => printable(text),
        Err(_) => printable(&String::from_utf8_lossy(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u16, Vec<String>)>, MalformedReply> {
        let mut reader = ReplyReader::default();
        let mut replies = Vec::new();
        for byte in bytes {
            reader.buffer().push(*byte);
            while let Some(reply) = reader.next_reply()? {
                replies.push((
                    reply.code().number(),
                    reply.lines().iter().map(ToString::to_string).collect(),
                ));
            }
        }
        Ok(replies)
    }

    #[test]
    fn takes_what_real_servers_send() {
        for (bytes, code, lines) in [
            (&b"250 ok\r\n"[..], 250, vec!["ok"]),
            (b"250\r\n", 250, vec![""]),
            (b"250 \r\n", 250, vec![""]),
            (b"250 lf only\n", 250, vec!["lf only"]),
            (b"571 5.7.1 no\r\n", 571, vec!["5.7.1 no"]),
            (
                b"550-5.1.1 one\r\n550 5.1.1 two\r\n",
                550,
                vec!["5.1.1 one", "5.1.1 two"],
            ),
            (b"550-one\n550 two\r\n", 550, vec!["one", "two"]),
            (b"220\tgreeting\r\n", 220, vec!["greeting"]),
            (b"550 Bo\xeete pleine\r\n", 550, vec!["Bo\u{fffd}te pleine"]),
            (b"550 a\x1b[31mb\x00c\rd\r\n", 550, vec!["a [31mb c d"]),
        ] {
            let lines = lines.into_iter().map(String::from).collect();
            assert_eq!(
                read(bytes),
                Ok(vec![(code, lines)]),
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn r17_refuses_what_is_no_reply() {
        for bytes in [
            &b"25\r\n"[..],
            b"250text\r\n",
            b"000 zero\r\n",
            b"150 one\r\n",
            b"650 six\r\n",
            b" 250 space\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"2500 four digits\r\n",
            b"\r\n",
        ] {
            assert_eq!(
                read(bytes),
                Err(MalformedReply::NoCode),
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
        assert_eq!(read(b"250-a\r\n550 b\r\n"), Err(MalformedReply::MixedCodes));
    }

    #[test]
    fn r20_text_cannot_forge_a_reply() {
        let replies = read(b"550 see\r250 ok <other@example.com>\r\n250 ok\r\n");
        let codes: Vec<u16> = replies.unwrap().into_iter().map(|(code, _)| code).collect();
        assert_eq!(codes, [550, 250]);
    }

    #[test]
    fn s3_s4_endless_peers_are_cut() {
        assert_eq!(read(&[b'2'; 3000]), Err(MalformedReply::LineTooLong));
        let endless = b"220-teaser\r\n".repeat(MAX_LINES + 1);
        assert_eq!(read(&endless), Err(MalformedReply::TooLarge));
        let wide = [b"250-", &[b'x'; 2000][..], b"\r\n"].concat().repeat(40);
        assert_eq!(read(&wide), Err(MalformedReply::TooLarge));
    }

    #[test]
    fn s3_s4_what_is_just_within_the_limits_is_read() {
        let line = |length: usize| [b"250 ", &vec![b'x'; length - 4][..]].concat();
        assert!(read(&[&line(2048)[..], b"\r\n"].concat()).is_ok());
        assert_eq!(
            read(&[&line(2049)[..], b"\r\n"].concat()),
            Err(MalformedReply::LineTooLong)
        );
        let lines = |count: usize| [b"250-x\r\n".repeat(count - 1), b"250 x\r\n".to_vec()].concat();
        assert!(read(&lines(200)).is_ok());
        assert_eq!(read(&lines(201)), Err(MalformedReply::TooLarge));
        // 64 lines of 1 KiB, line ends not counted.
        let wide = |last: usize| {
            let full = [b"250-", &[b'x'; 1020][..], b"\n"].concat();
            [full.repeat(63), line(last), b"\n".to_vec()].concat()
        };
        assert!(read(&wide(1024)).is_ok());
        assert_eq!(read(&wide(1025)), Err(MalformedReply::TooLarge));
    }

    #[test]
    fn a_reply_that_is_said_again_is_read_alike_and_only_where_a_reply_begins() {
        let said = b"250 a\r\n250 a\r\n250-a\r\n250 a\r\n250 a\n250 ab\r\n250 a\r\n550-a\r\n";
        let lines = |lines: &[&str]| (250, lines.iter().map(ToString::to_string).collect::<Vec<_>>());
        let (one, two, other) = (lines(&["a"]), lines(&["a", "a"]), lines(&["ab"]));
        let expected = [&one, &one, &two, &one, &other, &one].map(Clone::clone);
        assert_eq!(read(said), Ok(expected.to_vec()));
        assert_eq!(
            read(&[said, &b"250 a\r\n"[..]].concat()),
            Err(MalformedReply::MixedCodes)
        );
    }

    #[test]
    fn a_burst_is_split_into_its_replies() {
        let mut reader = ReplyReader::default();
        reader.buffer().extend_from_slice(b"250 a\r\n550-b\r\n550 c\r\n25");
        assert_eq!(reader.next_reply().unwrap().unwrap().text(), "a");
        assert_eq!(reader.next_reply().unwrap().unwrap().text(), "b c");
        assert_eq!(reader.next_reply(), Ok(None));
        assert!(reader.has_unread());
        reader.buffer().extend_from_slice(b"0 d\r\n");
        assert_eq!(reader.next_reply().unwrap().unwrap().text(), "d");
        assert!(!reader.has_unread());
    }
}
