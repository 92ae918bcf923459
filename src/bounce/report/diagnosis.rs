//! What a server said, out of what another one tells of it: the reply, the step of the dialogue, and what it means.

use super::local;
use crate::{
    bounce::event::EventKind,
    output,
    replies::{Class, Hardness, Meaning, Persistence, classify, providers},
    smtp::{EnhancedStatusCode, Reply, Stage},
};

/// Longest text that is classified and kept.
const TEXT_LIMIT: usize = 1024;

/// A reply as somebody tells of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// The reply code, when one was told.
    pub(super) code: Option<u16>,
    pub(super) enhanced: Option<EnhancedStatusCode>,
    /// Where in the dialogue it was said, when that was told.
    pub(super) stage: Option<Stage>,
    /// The words, on one line, without the code.
    pub(super) text: String,
    /// It is all that was written, not what somebody said of a recipient.
    pub(super) loose: bool,
}

impl Told {
    /// Reads a text in which a reply stands: `smtp; 550 5.1.1 No such user`, `host mx said: 550 ... (in reply to RCPT TO)`.
    pub(super) fn read(text: &str) -> Self {
        let line = one_line(text);
        let stage = stage(&line);
        let (code, enhanced, words) = match reply_at(&line) {
            Some((at, code)) => {
                let rest = line
                    .get(at + 3..)
                    .unwrap_or_default()
                    .trim_start_matches(['-', ' ', ':', ',']);
                let enhanced = EnhancedStatusCode::split(rest)
                    .map(|(code, _)| code)
                    .or_else(|| enhanced_in(rest));
                (Some(code), enhanced, without_repeats(rest, code))
            }
            None => (None, enhanced_in(&line), line.clone()),
        };
        Self {
            code,
            enhanced,
            stage,
            text: words,
            loose: false,
        }
    }

    /// Reads all that was written: rules for replies find much in it that nobody said of a mailbox, such as a file of a program
    /// that does not exist.
    pub(super) fn loosely(text: &str) -> Self {
        Self {
            loose: true,
            ..Self::read(text)
        }
    }

    /// Nothing but a status code.
    pub(super) fn of_status(status: EnhancedStatusCode) -> Self {
        Self {
            enhanced: Some(status),
            ..Self::default()
        }
    }

    /// The reply code and the words, as they are kept.
    pub(super) fn kept(&self) -> Option<Box<str>> {
        let mut kept = String::new();
        if let Some(code) = self.code {
            kept.push_str(&code.to_string());
        }
        if !self.text.is_empty() {
            if !kept.is_empty() {
                kept.push(' ');
            }
            kept.push_str(&self.text);
        }
        let kept = output::clean(&kept, TEXT_LIMIT);
        let end = kept.floor_char_boundary(TEXT_LIMIT.min(kept.len()));
        let kept = kept.get(..end)?.trim();
        (!kept.is_empty()).then(|| kept.into())
    }

    /// What it means, said at its stage, or at RCPT when nobody told.
    pub(super) fn meaning(&self, status: Option<EnhancedStatusCode>, remote: Option<&str>) -> Meaning {
        let status = self.enhanced.or(status);
        let code = self.code.unwrap_or(match status.map(|status| status.class) {
            Some(4) => 450,
            _ => 550,
        });
        let own = status.filter(|status| u16::from(status.class) == code / 100);
        let mut line = code.to_string();
        if let Some(own) = own
            && EnhancedStatusCode::split(&self.text).is_none()
        {
            line.push(' ');
            line.push_str(&own.to_string());
        }
        line.push(' ');
        line.push_str(&self.text);
        let provider = remote.and_then(providers::recognise).map(|provider| &*provider.id);
        match Reply::parse(&line) {
            Some(reply) => classify(self.stage.unwrap_or(Stage::Rcpt), &reply, provider),
            None => Meaning::not_smtp(),
        }
    }

    /// What it says: a reply by the rules for replies, words without one first by those of mail systems.
    fn class(&self, status: Option<EnhancedStatusCode>, remote: Option<&str>) -> Class {
        let own = || local::class(&self.text);
        let rules = || match self.meaning(status, remote).class {
            class if self.loose && self.code.is_none() && class.hardness(Persistence::Permanent) == Hardness::Hard => {
                Class::AmbiguousDenied
            }
            class => class,
        };
        if self.code.is_none() {
            return own().unwrap_or_else(rules);
        }
        let class = rules();
        if is_vague(class) { own().unwrap_or(class) } else { class }
    }

    /// Whether the code, or else the status, was transient or permanent; where neither is known, by the nature of the fault.
    pub(super) fn persistence(&self, status: Option<EnhancedStatusCode>, class: Class) -> Persistence {
        let digit = self
            .code
            .map(|code| code / 100)
            .or_else(|| self.enhanced.or(status).map(|status| u16::from(status.class)));
        let passes = class.passes() || class == Class::QueueExpired;
        // `550 ... temporarily locked, try again later` is no end of a mailbox, whatever the code.
        let by_text = || self.meaning(status, None).persistence == Persistence::Transient;
        match digit {
            Some(4) => Persistence::Transient,
            Some(5) if class == Class::UserDisabled && by_text() => Persistence::Transient,
            Some(5) => Persistence::Permanent,
            _ if passes => Persistence::Transient,
            _ => Persistence::Permanent,
        }
    }
}

/// What a host said, as a service, a table or a log tells it.
#[derive(Debug, Clone)]
pub(in crate::bounce) struct Diagnosed {
    told: Told,
    /// The status code, the host's own where it says more.
    pub(in crate::bounce) status: Option<EnhancedStatusCode>,
    pub(in crate::bounce) reply: Option<Box<str>>,
    pub(in crate::bounce) remote: Option<Box<str>>,
    pub(in crate::bounce) class: Class,
    pub(in crate::bounce) persistence: Persistence,
}

impl Diagnosed {
    /// Whether nothing was said that a rule knows.
    pub(in crate::bounce) fn is_vague(&self) -> bool {
        is_vague(self.class)
    }

    /// Whether a code says that it was transient or permanent.
    pub(in crate::bounce) fn has_code(&self) -> bool {
        self.told.code.is_some() || self.status.is_some()
    }

    /// The reply code.
    pub(in crate::bounce) fn code(&self) -> Option<u16> {
        self.told.code
    }
}

/// Reads what a host said, with the status code and the host where those are told beside it.
pub(in crate::bounce) fn diagnose(said: &str, status: Option<&str>, remote: Option<&str>) -> Diagnosed {
    let field = status.and_then(|status| EnhancedStatusCode::split(status.trim()).map(|(code, _)| code));
    let mut all = Vec::with_capacity(2);
    if !said.trim().is_empty() {
        all.push(Told::read(said));
    }
    all.extend(field.filter(|status| status.pair() != (0, 0)).map(Told::of_status));
    let (told, class) = best(all, field, remote);
    let status = specific(field, told.enhanced);
    Diagnosed {
        reply: told.kept(),
        persistence: told.persistence(status, class),
        status,
        class,
        remote: remote
            .map(|host| super::headers::clean(host, 255))
            .filter(|host| !host.is_empty()),
        told,
    }
}

/// The status of the report, or what the host itself said when that says more.
pub(super) fn specific(
    field: Option<EnhancedStatusCode>,
    told: Option<EnhancedStatusCode>,
) -> Option<EnhancedStatusCode> {
    match (field, told) {
        (Some(field), Some(told)) if field.pair() == (0, 0) => Some(told),
        (Some(field), _) => Some(field),
        (None, told) => told,
    }
}

/// The first of several tellings that says something, with its class.
pub(super) fn best(told: Vec<Told>, status: Option<EnhancedStatusCode>, remote: Option<&str>) -> (Told, Class) {
    let mut vague: Option<(Told, Class)> = None;
    for told in told {
        let class = told.class(status, remote);
        if !is_vague(class) {
            return match vague {
                // The reply itself is kept, what it means was told elsewhere.
                Some((first, _)) if first.code.is_some() && told.code.is_none() => (first, class),
                _ => (told, class),
            };
        }
        let better = vague
            .as_ref()
            .is_none_or(|(_, known)| *known == Class::Unknown && class != Class::Unknown);
        if better {
            vague = Some((told, class));
        }
    }
    vague.unwrap_or((Told::default(), Class::Unknown))
}

fn is_vague(class: Class) -> bool {
    matches!(class, Class::Unknown | Class::AmbiguousDenied | Class::ProtocolError)
}

/// What happened, of a reply that was final.
pub(super) fn bounced(told: &Told, status: Option<EnhancedStatusCode>, class: Class) -> EventKind {
    EventKind::Bounced {
        class,
        persistence: told.persistence(status, class),
    }
}

/// One line of at most [`TEXT_LIMIT`] bytes, without `smtp;` before it.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(TEXT_LIMIT));
    for word in text.split_whitespace() {
        if line.len() + word.len() >= TEXT_LIMIT {
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().filter(|c| !c.is_control()));
    }
    if let Some(end) = AFTERWORDS.iter().filter_map(|words| line.find(words)).min() {
        line.truncate(end);
    }
    let kind = line.split_once(';').map(|(kind, _)| kind.trim().len());
    if let Some(length) = kind
        && line.get(..length).is_some_and(|kind| {
            !kind.contains(' ') && ["smtp", "x-smtp", "esmtp"].contains(&kind.to_ascii_lowercase().as_str())
        })
    {
        return line.split_once(';').map_or("", |(_, rest)| rest).trim().to_owned();
    }
    line
}

/// What qmail says after the reply of the other host.
const AFTERWORDS: [&str; 4] = [
    " Giving up on ",
    " I'm not going to try again",
    " I'm giving up",
    " STARTTLS proto=",
];

/// Where the first reply code stands that is said to be one, or looks like one.
fn reply_at(line: &str) -> Option<(usize, u16)> {
    let bytes = line.as_bytes();
    let mut bare = None;
    for (at, window) in bytes.windows(3).enumerate() {
        let [first @ (b'4' | b'5'), b'0'..=b'9', b'0'..=b'9'] = window else {
            continue;
        };
        let before = at.checked_sub(1).and_then(|index| bytes.get(index)).copied();
        let after = bytes.get(at + 3).copied();
        let begins = before.is_none_or(|byte| b" :<>(\"';=".contains(&byte));
        let ends = after.is_none_or(|byte| b" -:,".contains(&byte));
        if !begins || !ends {
            continue;
        }
        let code = window
            .iter()
            .fold(0_u16, |code, digit| code * 10 + u16::from(digit - b'0'));
        let rest = line.get(at + 4..).unwrap_or_default();
        let enhanced = EnhancedStatusCode::split(rest).is_some_and(|(status, _)| status.class == first - b'0');
        let lead = line.get(..at).unwrap_or_default().trim_end();
        // `port 465`, `25 octets`, `550 recipients`: a number is a code at the start, after a colon, or before a status.
        let said = lead.is_empty() || lead.ends_with([':', '<', '>', '"', '\'', ';', '(']) || enhanced;
        let known = LEADS.iter().any(|word| ends_with(lead, word));
        if said || known {
            return Some((at, code));
        }
        let next = rest.split(' ').next().unwrap_or_default();
        let is_size = rest.starts_with(|c: char| c.is_ascii_digit())
            || UNITS.contains(&next.trim_end_matches(['.', ',', ')', ';']))
            || ["port", "size", "line"].iter().any(|word| ends_with(lead, word));
        if bare.is_none()
            && !is_size
            && matches!(code, 421 | 450..=455 | 500..=505 | 521 | 523 | 530 | 534 | 541 | 550..=557 | 570..=579)
        {
            bare = Some((at, code));
        }
    }
    bare
}

/// Words behind a number that is none.
const UNITS: [&str; 14] = [
    "seconds",
    "second",
    "minutes",
    "hours",
    "days",
    "bytes",
    "octets",
    "kb",
    "mb",
    "messages",
    "recipients",
    "times",
    "lines",
    "ms",
];

/// Words before a reply code.
const LEADS: [&str; 12] = [
    "said",
    "was",
    "returned",
    "error",
    "code",
    "reply",
    "response",
    "responded",
    "with",
    "status",
    "smtp",
    "reports",
];

fn ends_with(text: &str, word: &str) -> bool {
    let start = text.len().saturating_sub(word.len());
    text.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(word))
}

/// The first enhanced code in running text.
fn enhanced_in(text: &str) -> Option<EnhancedStatusCode> {
    text.split(|c: char| c.is_whitespace() || "()[]<>{};,:\"'".contains(c))
        .map(|word| word.trim_end_matches('.'))
        .find_map(|word| match EnhancedStatusCode::split(word) {
            Some((code, "")) if code.class != 2 => Some(code),
            Some(_) | None => None,
        })
}

/// The lines of a reply put together: `550-5.1.1 no such 550 5.1.1 user` says its code once.
fn without_repeats(text: &str, code: u16) -> String {
    let (lead, last) = (format!("{code}-"), code.to_string());
    let mut out = String::with_capacity(text.len());
    let mut has_lines = false;
    // After a code the status is said again.
    let mut repeats = None;
    let mut own = None;
    for word in text.split(' ') {
        let mut word = word;
        if let Some(rest) = word.strip_prefix(&lead) {
            has_lines = true;
            repeats = own;
            word = rest;
        } else if word == last && (has_lines || own.is_some() || out.is_empty()) {
            repeats = own;
            continue;
        }
        let status = EnhancedStatusCode::split(word).filter(|(_, rest)| rest.is_empty());
        let status = status.map(|(status, _)| status);
        if word.is_empty() || repeats.take().is_some_and(|known| status == Some(known)) {
            continue;
        }
        own = own.or(status);
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// The step of the dialogue that a text names.
fn stage(line: &str) -> Option<Stage> {
    let lower = line.to_ascii_lowercase();
    STAGES
        .iter()
        .find(|(words, _)| words.iter().any(|word| lower.contains(word)))
        .map(|(_, stage)| *stage)
}

/// How servers name the steps; the first that stands in a text counts.
const STAGES: [(&[&str], Stage); 6] = [
    (
        &[
            "in reply to rcpt to",
            "after rcpt to",
            "response to rcpt to",
            "[rcpt_to]",
            ">>> rcpt to",
            "recipient address rejected",
            "does not like recipient",
        ],
        Stage::Rcpt,
    ),
    (
        &[
            "end of data",
            "after data",
            "reply to data",
            "sending data block",
            "after sending mail body",
            "message data",
            "final data",
            "response to data",
            ">>> data",
            "[data]",
            "after sending data",
            "failed after i sent the message",
        ],
        Stage::Data,
    ),
    (
        &[
            "reply to mail from",
            "after mail from",
            "response to mail from",
            ">>> mail from",
            "[mail_from]",
            "after pipelined mail from",
            "but sender was rejected",
        ],
        Stage::Mail,
    ),
    (
        &[
            "reply to ehlo",
            "reply to helo",
            "after ehlo",
            "after helo",
            ">>> ehlo",
            ">>> helo",
            "but my name was rejected",
        ],
        Stage::Ehlo,
    ),
    (
        &["reply to starttls", "after starttls", ">>> starttls"],
        Stage::StartTls,
    ),
    (
        &[
            "initial connection",
            "refused to talk to me",
            "initial server banner",
            "but greeting failed",
        ],
        Stage::Greeting,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_found_in_what_servers_tell() {
        for (text, code, words, stage) in [
            ("smtp; 550 5.1.1 No such user", Some(550), "5.1.1 No such user", None),
            (
                "host mx.example.com[192.0.2.1] said: 550-5.1.1 No such user 550 5.1.1 here (in reply to RCPT TO command)",
                Some(550),
                "5.1.1 No such user here (in reply to RCPT TO command)",
                Some(Stage::Rcpt),
            ),
            ("550-a\n550-b\n550 c", Some(550), "a b c", None),
            (
                "connect to mx.example.com[192.0.2.1]:25: Connection timed out",
                None,
                "connect to mx.example.com[192.0.2.1]:25: Connection timed out",
                None,
            ),
            (
                "X-Postfix; unknown user: \"jane\"",
                None,
                "X-Postfix; unknown user: \"jane\"",
                None,
            ),
            ("after end of data: 552 spam", Some(552), "spam", Some(Stage::Data)),
            (
                "retried for 500 seconds on port 465",
                None,
                "retried for 500 seconds on port 465",
                None,
            ),
        ] {
            let told = Told::read(text);
            assert_eq!(
                (told.code, told.text.as_str(), told.stage),
                (code, words, stage),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_clean() {
        let told = Told::read(&format!("550 {}\u{1b}[31m", "ä ".repeat(2000)));
        let kept = told.kept().unwrap();
        assert!(kept.len() <= 1024 && !kept.contains('\u{1b}'));
    }
}
