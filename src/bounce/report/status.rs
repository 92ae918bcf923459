//! The fields for machines: `message/delivery-status` (RFC 3464 section 2), as servers write it.
//!
//! Blank lines stand where they should not and are missing where they should be, so groups are told by their fields.

use std::time::SystemTime;

use super::headers::time;
use crate::smtp::EnhancedStatusCode;

/// Most recipients of one report.
const RECIPIENT_LIMIT: usize = 5_000;
/// Longest value of one field, its folded lines together.
const VALUE_LIMIT: usize = 4 << 10;

/// What a report says of all its recipients.
#[derive(Debug, Default)]
pub(super) struct Status {
    pub(super) reporter: Option<String>,
    pub(super) envelope_id: Option<String>,
    pub(super) recipients: Vec<Recipient>,
}

/// What it says of one.
#[derive(Debug, Default, Clone)]
pub(super) struct Recipient {
    /// The address that was mailed, before any forwarding.
    pub(super) original: Option<String>,
    pub(super) last: Option<String>,
    pub(super) action: Option<Action>,
    pub(super) status: Option<EnhancedStatusCode>,
    pub(super) diagnostic: Option<String>,
    pub(super) remote: Option<String>,
    pub(super) at: Option<SystemTime>,
}

/// What became of the message (RFC 3464 section 2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Failed,
    Delayed,
    /// Delivered, relayed or expanded: a host took it.
    Taken,
}

impl Action {
    fn parse(text: &str) -> Option<Self> {
        let word = text
            .trim_start()
            .split(|c: char| !c.is_ascii_alphanumeric())
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        match word.as_str() {
            "failed" | "failure" | "fail" | "error" | "undeliverable" => Some(Self::Failed),
            "delayed" | "deferred" | "delay" => Some(Self::Delayed),
            "delivered" | "relayed" | "expanded" | "deliverable" => Some(Self::Taken),
            _ => None,
        }
    }
}

impl Recipient {
    fn is_begun(&self) -> bool {
        self.last.is_some() || self.original.is_some()
    }
}

impl Status {
    /// Reads the fields of a report; never fails, and keeps nothing that it does not know.
    pub(super) fn read(text: &str) -> Self {
        let mut status = Self::default();
        let mut current = Recipient::default();
        for (name, value) in Fields::new(text) {
            let name = name.to_ascii_lowercase();
            let value = value.trim();
            let repeats = match name.as_str() {
                "final-recipient" => current.last.is_some(),
                "original-recipient" => current.original.is_some(),
                "action" => current.is_begun() && current.action.is_some() && current.last.is_some(),
                _ => false,
            };
            if repeats {
                status.push(std::mem::take(&mut current));
            }
            status.field(&mut current, &name, value);
        }
        status.push(current);
        status
    }

    /// Whether it is a question back in the form of a report: Boxbe holds the message until the sender follows a link.
    pub(super) fn asks_back(&self) -> bool {
        let asks = |recipient: &Recipient| {
            let said = recipient.diagnostic.as_deref().unwrap_or_default().trim_start();
            said.get(..7).is_some_and(|kind| kind.eq_ignore_ascii_case("x-boxbe"))
        };
        !self.recipients.is_empty() && self.recipients.iter().all(asks)
    }

    fn push(&mut self, recipient: Recipient) {
        if recipient.is_begun() && self.recipients.len() < RECIPIENT_LIMIT {
            self.recipients.push(recipient);
        }
    }

    fn field(&mut self, current: &mut Recipient, name: &str, value: &str) {
        let text = || (!value.is_empty()).then(|| value.to_owned());
        match name {
            "reporting-mta" => self.reporter = text().map(|text| host(&text)),
            "original-envelope-id" => self.envelope_id = text(),
            "final-recipient" => current.last = text(),
            "original-recipient" => current.original = text(),
            "x-actual-recipient" if current.last.is_none() => current.last = text(),
            "action" => current.action = Action::parse(value).or(current.action),
            "status" => current.status = status_code(value).or(current.status),
            "diagnostic-code" => {
                // Some hosts give one field for each thing that went wrong.
                match &mut current.diagnostic {
                    Some(known) if known.len() + value.len() < VALUE_LIMIT => {
                        known.push(' ');
                        known.push_str(value);
                    }
                    Some(_) => {}
                    none => *none = text(),
                }
            }
            "remote-mta" => current.remote = text().map(|text| host(&text)).filter(|host| !host.is_empty()),
            "last-attempt-date" => current.at = time(value),
            _ => {}
        }
    }
}

/// `5.1.1 (bad address)`; sendmail's `5.1.1.`, and the `#5.1.1` of others.
fn status_code(value: &str) -> Option<EnhancedStatusCode> {
    value.split(|c: char| c.is_whitespace() || c == '(').find_map(|word| {
        let word = word.trim_matches(|c: char| !c.is_ascii_digit() && c != '#');
        EnhancedStatusCode::split(word).map(|(code, _)| code)
    })
}

/// The name in `dns; mx.example.com (192.0.2.1)`.
fn host(value: &str) -> String {
    let name = value.split_once(';').map_or(value, |(_, name)| name).trim();
    let name = name.split([' ', '\t', '(', '[']).next().unwrap_or_default();
    let name = if name.is_empty() {
        value.trim_matches(['[', ']', ' '])
    } else {
        name
    };
    let name = name.trim_end_matches('.');
    name.get(..name.floor_char_boundary(name.len().min(255)))
        .unwrap_or_default()
        .to_ascii_lowercase()
}

/// `Name: value` lines with their folded lines. A line that is neither goes on with the value: lines of replies lose their
/// leading space on the way.
struct Fields<'t> {
    lines: std::iter::Peekable<std::str::Lines<'t>>,
}

impl<'t> Fields<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            lines: text.lines().peekable(),
        }
    }
}

impl<'t> Iterator for Fields<'t> {
    type Item = (&'t str, String);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((name, first)) = field(self.lines.next()?) else {
                continue;
            };
            let mut value = first.trim().to_owned();
            while let Some(line) = self
                .lines
                .next_if(|line| !line.trim().is_empty() && !line.starts_with("--") && field(line).is_none())
            {
                if value.len() + line.len() < VALUE_LIMIT {
                    value.push(' ');
                    value.push_str(line.trim());
                }
            }
            return Some((name, value));
        }
    }
}

/// `Name: value` at the start of a line.
fn field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let name = name.trim_end();
    let good = name.len() <= 60
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    good.then_some((name, value))
}

/// Where the fields of a report begin in a text that is no part of its own: a message cut apart on its way.
pub(super) fn inside(text: &str) -> Option<&str> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let name = line.split_once(':').map_or("", |(name, _)| name);
        if ["final-recipient", "original-recipient"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
        {
            return text.get(at..);
        }
        at += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_told_by_their_fields() {
        let status = Status::read(
            "Reporting-MTA: dns; mta.example.net\n\nFinal-Recipient: rfc822; a@example.com\n\nAction: failed\nStatus: 5.1.1\n\
             Diagnostic-Code: smtp; 550-5.1.1 No\n 550 5.1.1 such user\nnot folded\n\
             Final-Recipient: rfc822; b@example.com\nAction: delayed (will retry)\nStatus: 4.4.1 (timeout)\n\
             Remote-MTA: dns; mx.example.com (192.0.2.1)\n",
        );
        assert_eq!(status.reporter.as_deref(), Some("mta.example.net"));
        let [a, b] = status.recipients.as_slice() else {
            panic!("{status:?}");
        };
        assert_eq!(a.action, Some(Action::Failed));
        assert_eq!(
            a.diagnostic.as_deref(),
            Some("smtp; 550-5.1.1 No 550 5.1.1 such user not folded")
        );
        assert_eq!(b.action, Some(Action::Delayed));
        assert_eq!(b.status.map(|code| code.to_string()).as_deref(), Some("4.4.1"));
        assert_eq!(b.remote.as_deref(), Some("mx.example.com"));
    }

    #[test]
    fn hosts_lose_their_addresses() {
        for (value, expected) in [
            ("dns; mx.example.com", "mx.example.com"),
            ("dns;MX.Example.com. (192.0.2.1)", "mx.example.com"),
            ("mx.example.com [192.0.2.1]", "mx.example.com"),
            ("[192.0.2.1]", "192.0.2.1"),
        ] {
            assert_eq!(host(value), expected, "{value}");
        }
    }
}
