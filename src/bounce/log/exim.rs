//! Exim: the main log.

use std::{sync::Arc, time::SystemTime};

use super::{Calendar, Queue, bounded};
use crate::bounce::{
    Event, EventKind, Origin,
    report::{self, diagnose},
};

/// Reads a main log of Exim.
#[derive(Debug)]
pub struct Exim {
    calendar: Calendar,
    queue: Queue<Option<Box<str>>>,
}

/// Whether a line is one of Exim's main log.
pub(super) fn is_line(line: &str) -> bool {
    split(own_part(line)).is_some()
}

/// The line as Exim writes it: syslog puts its own date and name before it.
fn own_part(line: &str) -> &str {
    line.find("exim[")
        .or_else(|| line.find("exim4["))
        .and_then(|at| line.get(at..)?.split_once(": "))
        .map_or(line, |(_, rest)| rest)
}

/// The date, the message and what happened: `2026-11-22 10:00:00 1P1ceB-000FL1-4q ** ...`.
fn split(line: &str) -> Option<(&str, &str, &str)> {
    let mut words = line.split(' ');
    let found = words.by_ref().take(6).find(|word| is_message_id(word))?;
    let start = found.as_ptr().addr() - line.as_ptr().addr();
    let rest = line.get(start + found.len() + 1..)?;
    let flag = rest.split(' ').next()?;
    let known = ["<=", "=>", "->", "**", "==", ">>", "*>", "Completed"].contains(&flag);
    known.then(|| Some((line.get(..start)?, found, rest)))?
}

/// `1P1ceB-000FL1-4q`, or of four and six more characters since Exim 4.97.
fn is_message_id(word: &str) -> bool {
    let mut parts = word.split('-');
    let lengths = [parts.next(), parts.next(), parts.next()].map(|part| part.map_or(0, str::len));
    parts.next().is_none()
        && matches!(lengths, [6, 6, 2] | [6, 11, 4])
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl Exim {
    /// A reader that has seen no line yet.
    #[must_use]
    pub fn new(calendar: Calendar) -> Self {
        Self {
            calendar,
            queue: Queue::default(),
        }
    }

    /// The event of one line.
    ///
    /// # Errors
    /// The line tells of a recipient and cannot be understood.
    pub fn line(&mut self, line: &str) -> Result<Option<Event>, &'static str> {
        let line = own_part(bounded(line));
        let Some((head, id, rest)) = split(line) else {
            return Ok(None);
        };
        let (flag, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if flag == "<=" {
            let message_id = rest.split(' ').find_map(|word| word.strip_prefix("id="));
            *self.queue.entry(id) = message_id.map(|id| report::clean(id, 250));
            return Ok(None);
        }
        if !["=>", "->", "**", "==", ">>"].contains(&flag) {
            return Ok(None);
        }
        let at = self
            .calendar
            .split(head)
            .map(|(at, _)| at)
            .ok_or("the line has no date")?;
        self.event((id, flag), rest, at)
    }

    fn event(&self, (id, flag): (&str, &str), rest: &str, at: SystemTime) -> Result<Option<Event>, &'static str> {
        let fields = Fields::split(rest);
        let Some(recipient) = recipient(fields.addresses) else {
            // Deliveries to files and programs name none.
            return if fields.addresses.contains('@') {
                Err("the recipient is no address")
            } else {
                Ok(None)
            };
        };
        let said = match flag {
            "**" | "==" => fields.said,
            _ => fields.confirmed,
        };
        let diagnosed = diagnose(said, None, fields.host);
        let kind = match flag {
            "**" => EventKind::Bounced {
                class: diagnosed.class,
                persistence: diagnosed.persistence,
            },
            "==" => EventKind::Deferred { class: diagnosed.class },
            _ => EventKind::Delivered,
        };
        Ok(Some(Event {
            recipient,
            kind,
            at,
            status: diagnosed.status,
            reply: diagnosed.reply,
            remote_mta: diagnosed.remote,
            message_id: self.queue.get(id).cloned().flatten(),
            list: None,
            origin: Origin::Log,
            foreign_id: None,
        }))
    }
}

/// The parts of a line behind its flag.
#[derive(Default)]
struct Fields<'l> {
    /// The recipient, with what it was before aliases.
    addresses: &'l str,
    host: Option<&'l str>,
    /// What went wrong.
    said: &'l str,
    /// `C="250 OK"`
    confirmed: &'l str,
}

impl<'l> Fields<'l> {
    fn split(rest: &'l str) -> Self {
        let named = [
            " R=", " T=", " H=", " F=<", " P=<", " X=", " C=\"", " S=", " DN=\"", ": ",
        ];
        let end = named
            .iter()
            .filter_map(|name| rest.find(name))
            .min()
            .unwrap_or(rest.len());
        let (addresses, tail) = rest.split_at(end);
        let host = tail
            .split_once(" H=")
            .and_then(|(_, host)| host.split([' ', ':']).next())
            .filter(|host| host.contains('.') && !host.starts_with('['));
        let said = match tail.split_once(" defer (") {
            Some((_, reason)) => reason.split_once(": ").map_or(reason, |(_, reason)| reason),
            None => tail.split_once(": ").map_or("", |(_, reason)| reason),
        };
        let confirmed = tail
            .split_once(" C=\"")
            .map_or("", |(_, told)| told.split('"').next().unwrap_or(told));
        Self {
            addresses,
            host,
            said,
            confirmed,
        }
    }
}

/// `jane@example.com`, `jane <info@example.com>`, `alias@example.com (parent@example.com) <info@example.com>`: the last one in angle
/// brackets is what was mailed.
fn recipient(text: &str) -> Option<Arc<str>> {
    let mailed = text
        .rsplit_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map(|(inside, _)| inside);
    mailed
        .and_then(report::mailbox)
        .or_else(|| text.split([' ', '(']).find_map(report::mailbox))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replies::Class;

    #[test]
    fn lines_of_the_main_log_are_events() {
        let calendar = Calendar {
            written: humantime::parse_rfc3339("2026-11-22T12:00:00Z").unwrap(),
            year: None,
            offset: 0,
        };
        let mut exim = Exim::new(calendar);
        let lines = "\
2026-11-22 10:00:00 1P1ceB-000FL1-4q <= us@example.org H=localhost [127.0.0.1] P=esmtp S=900 id=one@example.org
2026-11-22 10:00:01 1P1ceB-000FL1-4q ** jane@example.com R=dnslookup T=remote_smtp H=mx.example.com [192.0.2.1]: SMTP error from remote mail server after RCPT TO:<jane@example.com>: 550 5.1.1 No such user
2026-11-22 10:00:02 +0100 1P1ceB-000FL1-4q => joe <info@example.org> R=dnslookup T=remote_smtp H=mx.example.org [192.0.2.2] X=TLS1.3 C=\"250 OK id=1\"
2026-11-22 10:00:03 1P1ceB-000FL1-4q == amy@example.net R=dnslookup T=remote_smtp defer (-44) H=mx.example.net [192.0.2.3]: SMTP error from remote mail server after RCPT TO:<amy@example.net>: 450 4.2.2 mailbox full
2026-11-22 10:00:04 1P1ceB-000FL1-4q ** bob@example.net: retry timeout exceeded
2026-11-22 10:00:05 1P1ceB-000FL1-4q Completed
Nov 22 10:00:06 mx exim[77]: 2026-11-22 10:00:06 1P1ceB-000FL1-4q ** eve@example.invalid R=nxdomain: Unrouteable address";
        let events: Vec<Event> = lines.lines().filter_map(|line| exim.line(line).unwrap()).collect();
        let told: Vec<_> = events
            .iter()
            .map(|event| {
                let class = match event.kind {
                    EventKind::Bounced { class, .. } | EventKind::Deferred { class } => Some(class),
                    _ => None,
                };
                (&*event.recipient, event.kind.name(), class, event.remote_mta.as_deref())
            })
            .collect();
        assert_eq!(
            told,
            [
                (
                    "jane@example.com",
                    "bounced",
                    Some(Class::UserUnknown),
                    Some("mx.example.com")
                ),
                ("info@example.org", "delivered", None, Some("mx.example.org")),
                (
                    "amy@example.net",
                    "deferred",
                    Some(Class::MailboxFull),
                    Some("mx.example.net")
                ),
                ("bob@example.net", "bounced", Some(Class::QueueExpired), None),
                ("eve@example.invalid", "bounced", Some(Class::DomainNotFound), None),
            ]
        );
        assert!(
            events
                .iter()
                .all(|event| event.message_id.as_deref() == Some("one@example.org"))
        );
    }
}
