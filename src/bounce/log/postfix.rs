//! Postfix: the lines of its delivery agents, with the message id that `cleanup` logged before.

use std::time::SystemTime;

use super::{Calendar, Queue, bounded};
use crate::{
    bounce::{
        Event, EventKind, Origin,
        report::{self, diagnose},
    },
    replies::{Class, Persistence},
};

/// Most recipients of one message whose delay is remembered.
const DELAYED: usize = 100;

/// Reads a log of Postfix.
#[derive(Debug)]
pub struct Postfix {
    calendar: Calendar,
    queue: Queue<Message>,
}

#[derive(Debug, Default)]
struct Message {
    id: Option<Box<str>>,
    /// The last delay of each recipient, for when the message expires.
    delayed: Vec<Event>,
}

/// Whether a line is one of Postfix's.
pub(super) fn is_line(line: &str) -> bool {
    tag(line).is_some_and(|(program, _)| program.starts_with("postfix"))
}

/// `postfix/smtp` and what stands behind it, wherever the syslog prefix ends.
fn tag(line: &str) -> Option<(&str, &str)> {
    let at = line.find("]: ")?;
    let (head, message) = (line.get(..at)?, line.get(at + 3..)?);
    let program = head.rsplit([' ', '\t']).next()?.split('[').next()?;
    program.contains('/').then_some((program, message))
}

impl Postfix {
    /// A reader that has seen no line yet.
    #[must_use]
    pub fn new(calendar: Calendar) -> Self {
        Self {
            calendar,
            queue: Queue::default(),
        }
    }

    /// The events of one line; nearly always none or one.
    ///
    /// # Errors
    /// The line tells of a recipient and cannot be understood.
    pub fn line(&mut self, line: &str) -> Result<Vec<Event>, &'static str> {
        let line = bounded(line);
        let Some((program, message)) = tag(line) else {
            return Ok(Vec::new());
        };
        let Some((id, fields)) = message.split_once(": ").filter(|(id, _)| is_queue_id(id)) else {
            return Ok(Vec::new());
        };
        if let Some(message_id) = fields.strip_prefix("message-id=") {
            let message_id = message_id.trim().trim_start_matches('<').trim_end_matches('>');
            self.queue.entry(id).id = Some(report::clean(message_id, 250));
            return Ok(Vec::new());
        }
        if fields.contains("status=expired") && fields.starts_with("from=") {
            return Ok(self.expired(id, line));
        }
        let agent = program.rsplit('/').next().unwrap_or_default();
        let delivers = [
            "smtp", "lmtp", "local", "virtual", "pipe", "error", "retry", "relay", "discard",
        ]
        .contains(&agent);
        if !fields.starts_with("to=<") || !delivers {
            return Ok(Vec::new());
        }
        let at = self
            .calendar
            .split(line)
            .map(|(at, _)| at)
            .ok_or("the line has no date")?;
        let event = self.event(id, fields, at)?;
        if let Some(event) = &event
            && matches!(event.kind, EventKind::Deferred { .. })
        {
            let message = self.queue.entry(id);
            message.delayed.retain(|known| known.recipient != event.recipient);
            if message.delayed.len() < DELAYED {
                message.delayed.push(event.clone());
            }
        }
        Ok(event.into_iter().collect())
    }

    /// `to=<a@b>, orig_to=<c@d>, relay=host[ip]:25, delay=1, delays=.., dsn=5.1.1, status=bounced (...)`
    fn event(&self, id: &str, fields: &str, at: SystemTime) -> Result<Option<Event>, &'static str> {
        let (head, said) = fields.split_once(" (").unwrap_or((fields, ""));
        let said = said.trim_end().strip_suffix(')').unwrap_or(said);
        let value = |name: &str| {
            head.split(", ")
                .find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
        };
        let address = |name: &str| value(name).and_then(|text| report::mailbox(text.trim_matches(['<', '>'])));
        // What was mailed, before aliases of this host.
        let recipient = address("orig_to")
            .or_else(|| address("to"))
            .ok_or("the recipient is no address")?;
        let relay = value("relay").unwrap_or_default();
        let host = relay.split('[').next().filter(|host| host.contains('.'));
        let diagnosed = diagnose(said, value("dsn"), host);
        let kind = match value("status").unwrap_or_default() {
            // A content filter on this machine takes everything; what follows is another message to Postfix.
            "sent" if relay.contains("[127.0.0.1]") || relay.contains("[::1]") => return Ok(None),
            "sent" => EventKind::Delivered,
            "deferred" => EventKind::Deferred { class: diagnosed.class },
            "bounced" => EventKind::Bounced {
                class: diagnosed.class,
                persistence: diagnosed.persistence,
            },
            "expired" => EventKind::Bounced {
                class: diagnosed.class,
                persistence: Persistence::Transient,
            },
            // Answers to `sendmail -bv` and to address verification: no mail.
            _ => return Ok(None),
        };
        Ok(Some(Event {
            recipient,
            kind,
            at,
            status: diagnosed.status,
            reply: diagnosed.reply,
            remote_mta: diagnosed.remote,
            message_id: self.queue.get(id).and_then(|message| message.id.clone()),
            list: None,
            origin: Origin::Log,
            foreign_id: None,
        }))
    }

    /// The queue gave up: everybody who was still waited for did not get it.
    fn expired(&mut self, id: &str, line: &str) -> Vec<Event> {
        let Some((at, _)) = self.calendar.split(line) else {
            return Vec::new();
        };
        let delayed = std::mem::take(&mut self.queue.entry(id).delayed);
        delayed
            .into_iter()
            .map(|event| {
                let class = match event.kind {
                    EventKind::Deferred { class } if class != Class::Unknown => class,
                    EventKind::Deferred { .. }
                    | EventKind::Delivered
                    | EventKind::Bounced { .. }
                    | EventKind::Complained
                    | EventKind::Unsubscribed => Class::QueueExpired,
                };
                Event {
                    kind: EventKind::Bounced {
                        class,
                        persistence: Persistence::Transient,
                    },
                    at,
                    ..event
                }
            })
            .collect()
    }
}

/// `4F2Qx12345`, short or long (`enable_long_queue_ids`).
fn is_queue_id(id: &str) -> bool {
    (5..=20).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Vec<Event> {
        let calendar = Calendar {
            written: humantime::parse_rfc3339("2026-11-22T12:00:00Z").unwrap(),
            year: None,
            offset: 0,
        };
        let mut postfix = Postfix::new(calendar);
        lines.lines().flat_map(|line| postfix.line(line).unwrap()).collect()
    }

    #[test]
    fn lines_of_delivery_agents_are_events() {
        let events = read(
            "Nov 22 10:00:00 mx postfix/cleanup[1]: 4F2Qx12345: message-id=<one@example.org>\n\
             Nov 22 10:00:01 mx postfix/smtp[2]: 4F2Qx12345: to=<jane@example.com>, relay=mx.example.com[192.0.2.1]:25, delay=1, delays=0/0/1/0, dsn=5.1.1, status=bounced (host mx.example.com[192.0.2.1] said: 550 5.1.1 <jane@example.com>: Recipient address rejected: User unknown (in reply to RCPT TO command))\n\
             Nov 22 10:00:01 mx postfix/smtp[2]: 4F2Qx12345: to=<team@example.org>, orig_to=<info@example.com>, relay=mx.example.org[192.0.2.2]:25, delay=1, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 1)\n\
             Nov 22 10:00:02 mx postfix/qmgr[3]: 4F2Qx12345: removed\n\
             Nov 22 10:00:03 mx postfix/smtpd[4]: NOQUEUE: reject: RCPT from unknown[192.0.2.9]: 554 5.7.1 no; to=<x@example.com>\n",
        );
        let [bounced, sent] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert_eq!(&*bounced.recipient, "jane@example.com");
        assert_eq!(
            bounced.kind,
            EventKind::Bounced {
                class: Class::UserUnknown,
                persistence: Persistence::Permanent
            }
        );
        assert_eq!(bounced.message_id.as_deref(), Some("one@example.org"));
        assert_eq!(bounced.remote_mta.as_deref(), Some("mx.example.com"));
        assert_eq!(
            (&*sent.recipient, sent.kind),
            ("info@example.com", EventKind::Delivered)
        );
    }

    #[test]
    fn what_expires_bounces_for_its_last_reason() {
        let events = read(
            "2026-11-17T10:00:00.5+01:00 mx postfix-out/smtp[2]: ABC123: to=<a@example.com>, relay=none, delay=1, dsn=4.4.1, status=deferred (connect to mx.example.com[192.0.2.1]:25: Connection timed out)\n\
             2026-11-22T10:00:00+01:00 mx postfix-out/qmgr[3]: ABC123: from=<us@example.org>, status=expired, returned to sender\n",
        );
        let kinds: Vec<_> = events.iter().map(|event| event.kind.name()).collect();
        assert_eq!(kinds, ["deferred", "bounced"]);
        assert!(events[1].at > events[0].at);
    }
}
