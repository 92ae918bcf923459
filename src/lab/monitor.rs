//! The wire of one SMTP session as an honest bystander sees it: what a verifier must never do, found from the bytes alone.
//!
//! Used by the lab's hosts, by the fakes of the tests, and between presend and real servers. Must not influence the session.

use std::collections::VecDeque;

use serde::Serialize;

/// Longest command line, CRLF included (RFC 5321 section 4.5.3.1.4).
const LINE_MAX: usize = 512;
/// Commands without a reply that are kept in mind.
const PENDING_MAX: usize = 10_000;
/// Bytes of one reply line that are looked at.
const REPLY_MAX: usize = 512;

/// What a verifier must never do, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Violations {
    /// DATA, BDAT, AUTH, VRFY, EXPN, and NOOP, which nobody needs.
    pub forbidden: u64,
    /// Verbs that nobody knows.
    pub unknown: u64,
    /// Commands sent together without PIPELINING, or behind one that must come last (RFC 2920 section 3.1).
    pub burst: u64,
    /// Bytes before the greeting.
    pub early: u64,
    /// Lines that do not end in CRLF, have another CR or a NUL, or are longer than 512 bytes.
    pub line: u64,
    /// Bytes after QUIT.
    pub after_quit: u64,
}

impl Violations {
    /// The sum.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.forbidden + self.unknown + self.burst + self.early + self.line + self.after_quit
    }

    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.forbidden += other.forbidden;
        self.unknown += other.unknown;
        self.burst += other.burst;
        self.early += other.early;
        self.line += other.line;
        self.after_quit += other.after_quit;
    }
}

/// A command, as far as counting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Ehlo,
    Helo,
    Starttls,
    Mail,
    Rcpt,
    Rset,
    Noop,
    Quit,
    Data,
    Bdat,
    Vrfy,
    Expn,
    Auth,
    Other,
}

impl Verb {
    /// In the order of the variants.
    pub(super) const NAMES: [&str; 14] = [
        "EHLO", "HELO", "STARTTLS", "MAIL", "RCPT", "RSET", "NOOP", "QUIT", "DATA", "BDAT", "VRFY", "EXPN", "AUTH",
        "OTHER",
    ];

    /// The verb of a command line, whatever its case.
    pub(super) fn of(line: &[u8]) -> Self {
        let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        if word.eq_ignore_ascii_case(b"STARTTLS") {
            return Self::Starttls;
        }
        let Ok(mut word) = <[u8; 4]>::try_from(word) else {
            return Self::Other;
        };
        word.make_ascii_uppercase();
        match &word {
            b"RCPT" => Self::Rcpt,
            b"MAIL" => Self::Mail,
            b"RSET" => Self::Rset,
            b"EHLO" => Self::Ehlo,
            b"HELO" => Self::Helo,
            b"QUIT" => Self::Quit,
            b"NOOP" => Self::Noop,
            b"DATA" => Self::Data,
            b"BDAT" => Self::Bdat,
            b"VRFY" => Self::Vrfy,
            b"EXPN" => Self::Expn,
            b"AUTH" => Self::Auth,
            _ => Self::Other,
        }
    }

    /// RFC 2920 section 3.1: nothing may follow these in one burst.
    fn ends_burst(self) -> bool {
        matches!(self, Self::Ehlo | Self::Helo | Self::Starttls | Self::Noop | Self::Quit)
    }
}

/// Watches one connection. Feed it both directions, each as it is read or written; after a TLS handshake it goes on with what
/// is inside.
#[derive(Debug, Default)]
pub struct Monitor {
    found: Violations,
    phase: Phase,
    /// The client's line so far.
    line: Line,
    /// Commands without a reply.
    pending: VecDeque<Verb>,
    pipelining: bool,
    /// The server's line so far, cut.
    reply: Vec<u8>,
    refused: u32,
}

/// How far a session is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// The greeting is not complete.
    #[default]
    Ungreeted,
    Open,
    /// STARTTLS was agreed to: what follows is no text until [`Monitor::secured`].
    Sealed,
    /// QUIT was said.
    Quit,
}

/// A line in the making.
#[derive(Debug, Default)]
struct Line {
    /// Cut.
    text: Vec<u8>,
    length: usize,
    /// The last byte was a CR.
    cr: bool,
    /// A rule of lines is broken.
    bad: bool,
}

impl Monitor {
    /// A connection that was just made.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was found so far.
    #[must_use]
    pub fn violations(&self) -> Violations {
        self.found
    }

    /// Takes what was found since the last time.
    pub fn take(&mut self) -> Violations {
        std::mem::take(&mut self.found)
    }

    /// Recipients that were refused with 5yz.
    #[must_use]
    pub fn refused(&self) -> u32 {
        self.refused
    }

    /// The client spoke before the greeting was complete, and the bytes are not read yet.
    pub fn early(&mut self) {
        self.found.early += 1;
    }

    /// The handshake is done: what was said before it does not count any more (RFC 3207 section 4.2).
    pub fn secured(&mut self) {
        *self = Self {
            found: self.found,
            phase: Phase::Open,
            refused: self.refused,
            ..Self::default()
        };
    }

    /// Bytes of the client, as they came in one piece.
    pub fn heard(&mut self, bytes: &[u8]) {
        if bytes.is_empty() || self.phase == Phase::Sealed {
            return;
        }
        self.found.early += u64::from(self.phase == Phase::Ungreeted);
        // A QUIT that gives up on a reply is polite; one that came together with what it gives up on is a burst.
        let mut together = false;
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            let (piece, behind) = rest
                .split_at_checked(end.map_or(rest.len(), |at| at + 1))
                .unwrap_or((rest, &[]));
            if self.line.length == 0 {
                self.begins(piece, together);
            }
            self.take_in(piece);
            if end.is_some() {
                self.command();
                together = true;
            }
            rest = behind;
        }
    }

    /// A line begins, maybe while others wait for their replies.
    fn begins(&mut self, piece: &[u8], together: bool) {
        if self.phase == Phase::Quit {
            self.found.after_quit += 1;
            return;
        }
        if self.pending.is_empty() {
            return;
        }
        let gives_up = !together && matches!(piece.first(), Some(b'Q' | b'q'));
        let after_end = self.pending.iter().any(|verb| verb.ends_burst());
        if !gives_up && (after_end || !self.pipelining) {
            self.found.burst += 1;
        }
    }

    fn take_in(&mut self, piece: &[u8]) {
        let text = piece.strip_suffix(b"\n").unwrap_or(piece);
        let inner = text.strip_suffix(b"\r").unwrap_or(text);
        // A CR may only be the one before the LF.
        let line = &mut self.line;
        line.bad |= memchr::memchr2(b'\r', b'\0', inner).is_some() || (line.cr && !text.is_empty());
        line.cr = text.last() == Some(&b'\r') || (text.is_empty() && line.cr);
        line.length += piece.len();
        let room = LINE_MAX.saturating_sub(line.text.len()).min(text.len());
        line.text.extend_from_slice(text.get(..room).unwrap_or_default());
    }

    /// A line is complete.
    fn command(&mut self) {
        let Line { text, length, cr, bad } = std::mem::take(&mut self.line);
        if bad || !cr || length > LINE_MAX {
            self.found.line += 1;
        }
        let verb = Verb::of(text.strip_suffix(b"\r").unwrap_or(&text));
        match verb {
            Verb::Ehlo | Verb::Helo | Verb::Starttls | Verb::Mail | Verb::Rcpt | Verb::Rset => {}
            Verb::Quit => self.phase = Phase::Quit,
            Verb::Noop | Verb::Data | Verb::Bdat | Verb::Vrfy | Verb::Expn | Verb::Auth => self.found.forbidden += 1,
            Verb::Other => self.found.unknown += 1,
        }
        if self.pending.len() < PENDING_MAX {
            self.pending.push_back(verb);
        }
    }

    /// Bytes of the server, as they are sent.
    pub fn said(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && self.phase != Phase::Sealed {
            let end = memchr::memchr(b'\n', rest);
            let (piece, behind) = rest
                .split_at_checked(end.map_or(rest.len(), |at| at + 1))
                .unwrap_or((rest, &[]));
            let room = REPLY_MAX.saturating_sub(self.reply.len()).min(piece.len());
            self.reply.extend_from_slice(piece.get(..room).unwrap_or_default());
            if end.is_some() {
                self.replied();
                self.reply.clear();
            }
            rest = behind;
        }
    }

    /// A line of a reply is complete.
    fn replied(&mut self) {
        let code = self.reply.get(..3).unwrap_or_default();
        let more = code.iter().all(u8::is_ascii_digit) && self.reply.get(3) == Some(&b'-');
        let positive = self.reply.first() == Some(&b'2');
        if self.phase == Phase::Ungreeted {
            if !more {
                self.phase = Phase::Open;
            }
            return;
        }
        let front = self.pending.front().copied();
        if positive && front == Some(Verb::Ehlo) {
            let keyword = self.reply.get(4..).unwrap_or_default().trim_ascii();
            self.pipelining |= keyword.eq_ignore_ascii_case(b"PIPELINING");
        }
        if more {
            return;
        }
        self.refused += u32::from(front == Some(Verb::Rcpt) && self.reply.first() == Some(&b'5'));
        if front == Some(Verb::Starttls) && positive {
            self.phase = Phase::Sealed;
        }
        self.pending.pop_front();
    }
}

/// How many refusals one client may cause at one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// In one session.
    pub per_session: u64,
    /// In any minute.
    pub per_minute: u64,
    /// In any hour.
    pub per_hour: u64,
}

/// What a host has to complain about: violations, and refusals beyond an allowance. `refused_most` is the most of one session,
/// `refused_at_us` when each was, in microseconds, in order.
#[must_use]
pub fn complaints(
    violations: Violations,
    refused_most: u64,
    refused_at_us: &[u64],
    allowance: Option<Allowance>,
) -> Vec<String> {
    let mut complaints = Vec::new();
    if violations.total() > 0 {
        complaints.push(format!("{violations:?}"));
    }
    let Some(allowance) = allowance else {
        return complaints;
    };
    if refused_most > allowance.per_session {
        complaints.push(format!(
            "{refused_most} refusals in one session, at most {} are allowed",
            allowance.per_session
        ));
    }
    for (window, seconds, most) in [
        ("a minute", 60, allowance.per_minute),
        ("an hour", 3600, allowance.per_hour),
    ] {
        let came = most_within(refused_at_us, seconds * 1_000_000);
        if came > most {
            complaints.push(format!("{came} refusals within {window}, at most {most} are allowed"));
        }
    }
    complaints
}

/// The most times that lie within one window.
fn most_within(times: &[u64], window: u64) -> u64 {
    let mut first = 0;
    let mut most = 0;
    for (last, at) in times.iter().enumerate() {
        while times
            .get(first)
            .is_some_and(|begin| at.saturating_sub(*begin) >= window)
        {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `C` lines are the client's, `S` lines the server's, each in one piece.
    fn watch(dialogue: &[&str]) -> Monitor {
        let mut monitor = Monitor::new();
        for said in dialogue {
            match said.split_once(' ') {
                Some(("C", bytes)) => monitor.heard(bytes.as_bytes()),
                Some(("S", bytes)) => monitor.said(bytes.as_bytes()),
                _ => panic!("{said}"),
            }
        }
        monitor
    }

    const GREETED: [&str; 3] = [
        "S 220 mx\r\n",
        "C EHLO us\r\n",
        "S 250-mx\r\n250-PIPELINING\r\n250 SIZE 1\r\n",
    ];
    const LOCKSTEP: [&str; 3] = ["S 220 mx\r\n", "C EHLO us\r\n", "S 250 mx\r\n"];

    #[test]
    fn what_may_be_said_is_no_violation() {
        for dialogue in [
            &[
                "C MAIL FROM:<>\r\n",
                "S 250 ok\r\n",
                "C RCPT TO:<a@b>\r\n",
                "S 550 no\r\n",
                "C QUIT\r\n",
            ][..],
            &["C MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@b>\r\nQUIT\r\n"],
            &[
                "C MAIL FROM:<>\r\nRCPT TO:<a@b>\r\n",
                "C RSET\r\n",
                "S 250 ok\r\n250 ok\r\n",
                "C QUIT\r\n",
            ],
            // In pieces, and giving up on a reply.
            &["C MAIL FR", "C OM:<>\r", "C \n", "C QUIT\r\n"],
        ] {
            let all = [&GREETED[..], dialogue].concat();
            assert_eq!(watch(&all).violations(), Violations::default(), "{dialogue:?}");
        }
        assert_eq!(
            watch(&["S 220-teaser\r\n", "S 220 mx\r\n", "C EHLO us\r\n"])
                .violations()
                .total(),
            0
        );
    }

    #[test]
    fn every_violation_is_found() {
        let of = |change: fn(&mut Violations)| {
            let mut violations = Violations::default();
            change(&mut violations);
            violations
        };
        let early = of(|found| found.early = 1);
        let burst = of(|found| found.burst = 1);
        let line = of(|found| found.line = 1);
        let forbidden = of(|found| found.forbidden = 1);
        let long = format!("C MAIL FROM:<{}>\r\n", "a".repeat(500));
        for (before, dialogue, expected) in [
            (&[][..], &["C EHLO us\r\n"][..], early),
            (&[], &["S 220-teaser\r\n", "C EHLO us\r\n"], early),
            (&LOCKSTEP, &["C MAIL FROM:<>\r\nRCPT TO:<a@b>\r\n"], burst),
            (&LOCKSTEP, &["C MAIL FROM:<>\r\n", "C RCPT TO:<a@b>\r\n"], burst),
            (
                &LOCKSTEP,
                &["C MAIL FROM:<>\r\nRC", "S 250 ok\r\n", "C PT TO:<a@b>\r\n"],
                burst,
            ),
            (&LOCKSTEP, &["C MAIL FROM:<>\r\nQUIT\r\n"], burst),
            (&GREETED, &["C STARTTLS\r\nMAIL FROM:<>\r\n"], burst),
            (&GREETED, &["C EHLO us\r\nMAIL FROM:<>\r\n"], burst),
            (&GREETED, &["C MAIL FROM:<>\n"], line),
            (&GREETED, &["C MAIL FROM:<a\rb>\r\n"], line),
            (&GREETED, &["C MAIL FROM:<a\r", "C b>\r\n"], line),
            (&GREETED, &["C MAIL FROM:<a\0b>\r\n"], line),
            (&GREETED, &[&*long], line),
            (&GREETED, &["C DATA\r\n"], forbidden),
            (&GREETED, &["C NOOP\r\n"], forbidden),
            (&GREETED, &["C vrfy jane\r\n"], forbidden),
            (&GREETED, &["C \r\n"], of(|found| found.unknown = 1)),
            (&GREETED, &["C QUIT\r\n", "C x"], of(|found| found.after_quit = 1)),
            (&GREETED, &["C QUIT\r\nRSET"], of(|found| found.after_quit = 1)),
        ] {
            let all = [before, dialogue].concat();
            assert_eq!(watch(&all).violations(), expected, "{dialogue:?}");
        }
    }

    #[test]
    fn tls_begins_anew() {
        let handshake = ["C STARTTLS\r\n", "S 220 go ahead\r\n", "C \u{16}\u{3}\u{1}\n"];
        let mut monitor = watch(&[&GREETED[..], &handshake].concat());
        monitor.secured();
        monitor.heard(b"EHLO us\r\n");
        monitor.said(b"250 mx\r\n");
        assert_eq!(monitor.violations().total(), 0);
        monitor.heard(b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\n");
        assert_eq!(monitor.violations().burst, 1, "PIPELINING was offered in clear only");
    }

    #[test]
    fn refusals_are_those_of_recipients() {
        let dialogue = [
            "C MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@b>\r\nRCPT TO:<d@b>\r\n",
            "S 250 ok\r\n550-no\r\n550 such\r\n450 later\r\n",
            "S 553 5.1.1 no\r\n",
            "C MAIL FROM:<>\r\n",
            "S 503 nested\r\n",
        ];
        assert_eq!(watch(&[&GREETED[..], &dialogue].concat()).refused(), 2);
    }

    #[test]
    fn refusals_are_counted_in_windows() {
        let allowance = Allowance {
            per_session: 2,
            per_minute: 2,
            per_hour: 4,
        };
        let second = 1_000_000;
        for (most, at, expected) in [
            (2, &[0, second][..], 0),
            (3, &[], 1),
            (1, &[0, second, 59 * second], 1),
            (1, &[0, second, 60 * second, 61 * second], 0),
            (1, &[0, 100 * second, 200 * second, 300 * second, 3599 * second], 1),
        ] {
            let found = complaints(Violations::default(), most, at, Some(allowance));
            assert_eq!(found.len(), expected, "{found:?}");
            assert!(complaints(Violations::default(), most, at, None).is_empty());
        }
    }
}
