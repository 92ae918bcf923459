//! Reply codes, enhanced status codes and whole replies, as data.

use std::{fmt, sync::Arc};

/// A three-digit reply code, 200 to 599 (RFC 5321 section 4.2). Not comparable with an [`EnhancedStatusCode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplyCode(u16);

impl ReplyCode {
    /// A code from its number; `None` outside 200..=599.
    #[must_use]
    pub fn new(number: u16) -> Option<Self> {
        (200..=599).contains(&number).then_some(Self(number))
    }

    /// The number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }

    /// 2yz.
    #[must_use]
    pub fn is_positive(self) -> bool {
        self.0 < 300
    }

    /// 4yz.
    #[must_use]
    pub fn is_transient(self) -> bool {
        (400..500).contains(&self.0)
    }

    /// 5yz.
    #[must_use]
    pub fn is_permanent(self) -> bool {
        self.0 >= 500
    }
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// `class.subject.detail` (RFC 3463). Class is 2, 4 or 5; subject and detail have at most three digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnhancedStatusCode {
    /// 2 success, 4 transient, 5 permanent.
    pub class: u8,
    /// What it is about: 1 address, 2 mailbox, 3 system, 4 network, 5 protocol, 6 content, 7 policy.
    pub subject: u16,
    /// The detail within the subject.
    pub detail: u16,
}

impl EnhancedStatusCode {
    /// Reads a code at the start of `text`; returns it with the rest after one space.
    ///
    /// Also takes the `#5.1.1` that Cisco hosts write.
    #[must_use]
    pub fn split(text: &str) -> Option<(Self, &str)> {
        let body = text.strip_prefix('#').unwrap_or(text);
        let end = body
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(body.len());
        let (code, rest) = body.split_at(end);
        let mut parts = code.split('.');
        let number = |part: Option<&str>| part.filter(|p| (1..=3).contains(&p.len()))?.parse::<u16>().ok();
        let class = number(parts.next()).filter(|class| [2, 4, 5].contains(class))?;
        let subject = number(parts.next())?;
        let detail = number(parts.next())?;
        if parts.next().is_some() {
            return None;
        }
        let class = u8::try_from(class).ok()?;
        Some((Self { class, subject, detail }, rest.strip_prefix(' ').unwrap_or(rest)))
    }

    /// Subject and detail, for matching whatever the class.
    #[must_use]
    pub fn pair(self) -> (u16, u16) {
        (self.subject, self.detail)
    }
}

impl fmt::Display for EnhancedStatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// One reply, all lines kept: what the peer said, as data.
///
/// Text is untrusted. Control characters were replaced by spaces and bytes that are not UTF-8 by U+FFFD when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: ReplyCode,
    enhanced: Option<EnhancedStatusCode>,
    /// Shared: a host says most of its replies many times.
    lines: Arc<[Box<str>]>,
}

impl Reply {
    /// A reply from its code and the text of each line, enhanced codes still in the text.
    ///
    /// The enhanced code is taken from the first line that has one; a class that contradicts the basic code is ignored
    /// (RFC 2034 section 4; `HOSTILE` case R28).
    #[must_use]
    pub fn new(code: ReplyCode, lines: Vec<Box<str>>) -> Self {
        let enhanced = lines
            .iter()
            .find_map(|line| EnhancedStatusCode::split(line))
            .map(|(enhanced, _)| enhanced)
            .filter(|enhanced| u16::from(enhanced.class) == code.number() / 100);
        let lines = lines.into();
        Self { code, enhanced, lines }
    }

    /// Reads a whole reply from text, as people paste it and corpora hold it: `550-5.1.1 a\n550 5.1.1 b`, or `550 5.1.1 a`.
    /// Lines after the first may lack the code. `None` if the first line has no reply code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut code = None;
        let mut lines = Vec::new();
        for line in text.lines() {
            let number = line
                .get(..3)
                .and_then(|digits| digits.parse().ok())
                .and_then(ReplyCode::new);
            let separated = line
                .get(3..)
                .filter(|rest| rest.is_empty() || rest.starts_with([' ', '-', '\t']));
            match (number, separated) {
                (Some(number), Some(rest)) => {
                    code.get_or_insert(number);
                    lines.push(printable(rest.get(1..).unwrap_or_default()));
                }
                _ if code.is_some() => lines.push(printable(line)),
                _ => return None,
            }
        }
        code.map(|code| Self::new(code, lines))
    }

    /// As [`Self::parse`], and `None` too where a session would see a broken protocol: lines of one reply with different codes,
    /// or a reply in which another one of another kind (2yz, 4yz, 5yz) begins.
    #[must_use]
    pub fn parse_whole(text: &str) -> Option<Self> {
        let reply = Self::parse(text)?;
        let mut goes_on = false;
        for line in text.lines() {
            let coded = line.as_bytes().first_chunk::<4>();
            let code = coded.and_then(|_| line.get(..3)?.parse().ok()).and_then(ReplyCode::new);
            let mark = coded
                .map(|[.., mark]| *mark)
                .filter(|mark| matches!(mark, b' ' | b'-' | b'\t'));
            if let (Some(code), Some(mark)) = (code, mark) {
                let other_kind = code.number() / 100 != reply.code.number() / 100 && code.number() / 100 != 3;
                if code != reply.code && (goes_on || other_kind) {
                    return None;
                }
                goes_on = mark == b'-';
            }
        }
        Some(reply)
    }

    /// The basic code.
    #[must_use]
    pub fn code(&self) -> ReplyCode {
        self.code
    }

    /// The enhanced status code, when one was given that agrees with the basic code.
    #[must_use]
    pub fn enhanced(&self) -> Option<EnhancedStatusCode> {
        self.enhanced
    }

    /// The text of every line, in order, enhanced codes still inside.
    #[must_use]
    pub fn lines(&self) -> &[Box<str>] {
        &self.lines
    }

    /// All text in one line, the enhanced code cut from the start of each line.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &*self.lines {
            let line = EnhancedStatusCode::split(line).map_or(&**line, |(_, rest)| rest).trim();
            if !line.is_empty() && !text.is_empty() {
                text.push(' ');
            }
            text.push_str(line);
        }
        text
    }
}

/// Replaces control characters by spaces.
pub(crate) fn printable(text: &str) -> Box<str> {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .into()
}
