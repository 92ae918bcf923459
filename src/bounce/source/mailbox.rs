//! Messages out of a stream: one, or many in an mbox, each cut to a bounded size while it is read.
//!
//! Of a long message the start is kept, and from the rest the borders of its parts and the parts that reports are made of. A
//! mailbox of any size needs the memory of one such message.

use std::{
    io::{self, BufRead},
    time::SystemTime,
};

use crate::bounce::report;

/// What is kept of a message before anything is left out.
const HEAD: usize = 256 << 10;
/// What is kept of the rest: borders and report parts.
const TAIL: usize = 64 << 10;
/// Longest line that is looked at as a whole; the rest of a longer one is left out.
const LINE: usize = 8 << 10;

/// A message as it stood in the stream.
#[derive(Debug, Default)]
pub struct Message {
    /// Its bytes, without the mbox line; cut when it was long.
    pub bytes: Vec<u8>,
    /// When the mbox line says it came.
    pub received: Option<SystemTime>,
    /// Its number, from 1.
    pub number: u64,
    /// Something was left out.
    pub cut: bool,
}

/// Splits a stream into messages.
#[derive(Debug)]
pub struct Messages<R> {
    reader: R,
    /// Lines that begin with `From ` separate messages.
    mbox: bool,
    number: u64,
    /// A message has begun.
    begun: bool,
    /// When its mbox line says it came.
    received: Option<SystemTime>,
    ended: bool,
    line: Vec<u8>,
}

impl<R: BufRead> Messages<R> {
    /// The messages of an mbox (RFC 4155; mboxo and mboxrd quoting), or else the whole stream as one message.
    pub fn new(reader: R, mbox: bool) -> Self {
        Self {
            reader,
            mbox,
            number: 0,
            begun: !mbox,
            received: None,
            ended: false,
            line: Vec::new(),
        }
    }

    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// Reading failed.
    pub fn next_message(&mut self) -> io::Result<Option<Message>> {
        if self.ended {
            return Ok(None);
        }
        let mut message = Message::default();
        let mut keeping = Keeping::default();
        loop {
            let whole = self.read_line()?;
            if self.line.is_empty() {
                self.ended = true;
                break;
            }
            let first = self.number == 0 && !self.begun;
            if self.mbox && self.line.starts_with(b"From ") && (first || is_separator(&self.line)) {
                let previous = std::mem::replace(&mut self.received, received(&self.line));
                if std::mem::replace(&mut self.begun, true) {
                    message.received = previous;
                    return Ok(Some(self.finish(message)));
                }
                continue;
            }
            self.begun = true;
            keeping.take(&mut message, unquoted(&self.line, self.mbox), whole);
        }
        message.received = self.received.take();
        let found = self.begun && !message.bytes.is_empty();
        Ok(found.then(|| self.finish(message)))
    }

    fn finish(&mut self, mut message: Message) -> Message {
        self.number += 1;
        message.number = self.number;
        // Old Macs end lines with CR alone.
        if memchr::memchr(b'\n', &message.bytes).is_none() {
            for byte in &mut message.bytes {
                if *byte == b'\r' {
                    *byte = b'\n';
                }
            }
        }
        message
    }

    /// Reads a line with its end into `line`, or the first [`LINE`] bytes of it; `false` when there was more.
    ///
    /// A stream whose lines end with CR alone is one line: all of it that can be kept is taken.
    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        let limit = if self.mbox { LINE } else { HEAD };
        let mut whole = true;
        loop {
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                return Ok(whole);
            }
            let end = memchr::memchr(b'\n', available);
            let length = end.map_or(available.len(), |at| at + 1);
            let room = limit.saturating_sub(self.line.len()).min(length);
            self.line.extend_from_slice(available.get(..room).unwrap_or_default());
            whole &= room == length;
            self.reader.consume(length);
            if end.is_some() {
                if !whole {
                    self.line.push(b'\n');
                }
                return Ok(whole);
            }
        }
    }
}

/// What of a message is kept.
#[derive(Debug, Default)]
struct Keeping {
    /// Kept beyond the head.
    extra: usize,
    /// In a part that reports are made of.
    wanted: bool,
}

impl Keeping {
    fn take(&mut self, message: &mut Message, line: &[u8], whole: bool) {
        message.cut |= !whole;
        if message.bytes.len() + line.len() <= HEAD {
            message.bytes.extend_from_slice(line);
            return;
        }
        message.cut = true;
        let border = line.starts_with(b"--") && line.len() <= 200;
        if border {
            self.wanted = false;
        }
        self.wanted |= [
            &b"content-type: message/delivery-status"[..],
            b"content-type:message/delivery-status",
            b"content-type: message/feedback-report",
        ]
        .iter()
        .any(|start| {
            line.get(..start.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(start))
        });
        if (border || self.wanted) && self.extra + line.len() <= TAIL {
            self.extra += line.len();
            message.bytes.extend_from_slice(line);
        }
    }
}

/// `>From ` as it was before it was put into the mailbox.
fn unquoted(line: &[u8], mbox: bool) -> &[u8] {
    let marks = line.iter().take_while(|byte| **byte == b'>').count();
    if mbox && marks > 0 && line.get(marks..).is_some_and(|rest| rest.starts_with(b"From ")) {
        return line.get(1..).unwrap_or_default();
    }
    line
}

/// `From jane@example.com Fri Oct  1 19:15:24 2010`: a sentence that begins so has no time and no year.
fn is_separator(line: &[u8]) -> bool {
    let clock = line
        .windows(5)
        .any(|five| matches!(five, [a, b, b':', c, d] if [a, b, c, d].iter().all(|digit| digit.is_ascii_digit())));
    clock && received(line).is_some()
}

fn received(line: &[u8]) -> Option<SystemTime> {
    let text = str::from_utf8(line.get(5..line.len().min(200))?).ok()?;
    // The sender comes first, and may be missing.
    let date = text
        .trim_start()
        .split_once(' ')
        .map_or(text, |(sender, rest)| if sender.len() == 3 { text } else { rest });
    report::time(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(bytes: &[u8], mbox: bool) -> Vec<Message> {
        let mut messages = Messages::new(io::BufReader::with_capacity(7, bytes), mbox);
        let mut all = Vec::new();
        while let Some(message) = messages.next_message().unwrap() {
            all.push(message);
        }
        all
    }

    #[test]
    fn an_mbox_is_split_at_its_lines() {
        let all = split(
            b"From MAILER-DAEMON Fri Oct  1 19:15:24 2010\nSubject: a\n\n>From here on\n>>From there\nFrom nowhere, a sentence\n\n\
              From jane@example.com  Sat Oct  2 09:15:24 2010\r\nSubject: b\r\n\r\nb\r\n",
            true,
        );
        let texts: Vec<_> = all
            .iter()
            .map(|message| str::from_utf8(&message.bytes).unwrap())
            .collect();
        assert_eq!(
            texts,
            [
                "Subject: a\n\nFrom here on\n>From there\nFrom nowhere, a sentence\n\n",
                "Subject: b\r\n\r\nb\r\n"
            ]
        );
        let seconds = all.iter().map(|message| {
            message
                .received
                .unwrap()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap()
                .as_secs()
        });
        assert_eq!(seconds.collect::<Vec<_>>(), [1_285_960_524, 1_286_010_924]);
        assert_eq!(all[1].number, 2);
    }

    #[test]
    fn lines_that_end_with_cr_alone_are_lines() {
        let all = split(b"Subject: a\r\rtext\r", false);
        assert_eq!(all[0].bytes, b"Subject: a\n\ntext\n");
        assert!(split(b"", false).is_empty() && split(b"", true).is_empty());
    }

    #[test]
    fn of_a_long_message_the_start_and_the_report_are_kept() {
        let filling = b"QUJD\n".repeat(1 << 20);
        let bytes = [
            &b"Subject: a\n\n--b\n\n"[..],
            &filling,
            b"--b\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; a@example.com\n--b\nContent-Type: text/plain\n\n",
            &filling,
            b"--b--\n",
        ]
        .concat();
        for mbox in [false, true] {
            let message = split(&bytes, mbox).pop().unwrap();
            assert!(message.cut && message.bytes.len() < HEAD + TAIL);
            let text = String::from_utf8(message.bytes).unwrap();
            assert!(text.contains("Final-Recipient: rfc822; a@example.com\n--b\n--b--\n"));
        }
    }
}
