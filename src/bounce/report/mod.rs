//! Reads one message: a delivery status notification (RFC 3461, 3464, 6522), a bounce of another form, a complaint (RFC 5965), or
//! what only looks like one.
//!
//! Everything in it is a stranger's. Must not believe more of it than it says, nor keep more than a bounded part.

mod address;
mod diagnosis;
mod headers;
mod kind;
mod local;
mod parts;
mod returned;
mod status;
mod text;

use std::{collections::HashMap, sync::Arc, time::SystemTime};

pub(super) use address::mailbox;
pub(super) use diagnosis::{Diagnosed, diagnose};
pub(super) use headers::{clean, days_since_1970, moment, month_named, offset_seconds, seconds_of_day, time};

use self::{
    diagnosis::{Told, best, bounced, specific},
    headers::Headers,
    kind::Kind,
    parts::Parts,
    status::{Action, Recipient, Status},
    text::Text,
};
use super::{
    event::{Event, EventKind, Origin},
    service,
};

/// What a message turned out to be.
#[derive(Debug)]
pub enum Reading {
    /// It tells of recipients.
    Events(Form, Vec<Event>),
    /// It tells of none.
    Other(Other),
}

/// In which form a message told of recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// A delivery status notification (RFC 3464).
    Standard,
    /// A bounce in words.
    Words,
    /// A feedback report (RFC 5965).
    Feedback,
    /// A mail to the address of `List-Unsubscribe`.
    Unsubscribe,
    /// A notification of a sending service, sent as mail.
    Service,
}

/// Why a message tells of nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Other {
    /// A vacation notice or another automatic answer (RFC 3834).
    AutoReply,
    /// A question back, before the message is let through.
    Challenge,
    /// A notice that somebody read the message (RFC 8098).
    Receipt,
    /// A report about our own authentication, or that a message was no spam after all.
    OtherReport,
    /// An ordinary message.
    Ordinary,
    /// A bounce that does not say whose.
    NoRecipient,
    /// A bounce without a date.
    NoDate,
    /// No message at all.
    NotMail,
}

impl Other {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AutoReply => "auto_reply",
            Self::Challenge => "challenge",
            Self::Receipt => "receipt",
            Self::OtherReport => "other_report",
            Self::Ordinary => "ordinary",
            Self::NoRecipient => "no_recipient",
            Self::NoDate => "no_date",
            Self::NotMail => "not_mail",
        }
    }

    /// One sentence for a person.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::AutoReply => "an automatic answer, such as a vacation notice",
            Self::Challenge => "a question back before delivery (challenge-response)",
            Self::Receipt => "a notice that the message was read",
            Self::OtherReport => "a report that is about no recipient",
            Self::Ordinary => "an ordinary message",
            Self::NoRecipient => "a bounce that does not say whose mail it was",
            Self::NoDate => "a bounce without a date",
            Self::NotMail => "no message",
        }
    }

    /// Whether something was lost: the message should have told of a recipient.
    #[must_use]
    pub fn is_fault(self) -> bool {
        matches!(self, Self::NoRecipient | Self::NoDate | Self::NotMail)
    }
}

/// Reads one message. `received` is when the mailbox says it came, for messages without a date.
///
/// Total; linear in the part of the message that is looked at, which is at most 512 KiB.
#[must_use]
pub fn read(message: &[u8], received: Option<SystemTime>) -> Reading {
    let Some(parts) = Parts::read(message) else {
        return Reading::Other(Other::NotMail);
    };
    let letter = Letter::new(parts, received);
    let found = letter.read();
    let Some(inner) = letter.parts.inner.as_deref() else {
        return found;
    };
    // Somebody passed a report on, or wrapped it into another that names nobody: the one inside tells.
    let passes_on = match found {
        Reading::Other(other) => matches!(other, Other::Ordinary | Other::NoRecipient),
        Reading::Events(Form::Words, _) => !Text::new(&letter.parts.text).names(&letter.parts.headers),
        Reading::Events(..) => false,
    };
    if !passes_on {
        return found;
    }
    match Parts::read(inner).map(|parts| Letter::new(parts, received)) {
        Some(inner) if inner.parts.status.is_some() || inner.parts.feedback.is_some() => inner.read(),
        Some(_) | None => found,
    }
}

/// A message that is being read.
struct Letter {
    parts: Parts,
    at: Option<SystemTime>,
}

impl Letter {
    fn new(parts: Parts, received: Option<SystemTime>) -> Self {
        let of_original = || parts.original.as_ref().and_then(Headers::date);
        let at = parts.headers.date().or(received).or_else(of_original);
        Self { parts, at }
    }

    fn read(&self) -> Reading {
        let parts = &self.parts;
        if let Some(feedback) = &parts.feedback {
            return self.feedback(feedback);
        }
        let fields = parts.status.as_deref().or_else(|| status::inside(&parts.text));
        if let Some(fields) = fields {
            let status = Status::read(fields);
            if status.asks_back() {
                return Reading::Other(Other::Challenge);
            }
            let read = self.standard(&status);
            // Fields about files and programs: perhaps the words name an address.
            if !matches!(read, Reading::Other(Other::NoRecipient)) {
                return read;
            }
        }
        if parts.receipt {
            return Reading::Other(Other::Receipt);
        }
        if let Some(recipient) = parts
            .original
            .as_ref()
            .and_then(|original| kind::junk(&parts.headers, original))
        {
            let event = |at| self.event(recipient, EventKind::Complained, at, parts.original.as_ref());
            let events = self.at.map(event);
            return finish(Form::Feedback, events.into_iter().collect(), self.at.is_some());
        }
        let claims_report = parts.status.is_some() || parts.media_type == "multipart/report";
        match kind::of(&parts.headers, &parts.text) {
            _ if claims_report => self.words(),
            Kind::Bounce => self.words(),
            Kind::Answer => Reading::Other(Other::AutoReply),
            Kind::Challenge => Reading::Other(Other::Challenge),
            Kind::Unsubscribe => self.unsubscribe(),
            Kind::Ordinary => self.notice().unwrap_or(Reading::Other(Other::Ordinary)),
        }
    }

    /// A notification of a sending service whose subscriber is a mailbox (Amazon SNS).
    fn notice(&self) -> Option<Reading> {
        let text = self.parts.text.trim_start();
        if !text.starts_with('{') {
            return None;
        }
        // It is one line, and hosts break lines of more than 998 bytes (RFC 5321 section 4.5.3.1.6).
        let line = text.replace(['\r', '\n'], "");
        let value = serde_json::Deserializer::from_str(&line).into_iter().next()?.ok()?;
        let events = service::read(&value)?.events;
        (!events.is_empty()).then_some(Reading::Events(Form::Service, events))
    }

    /// An event of this message, still to be told apart.
    fn event(&self, recipient: Arc<str>, kind: EventKind, at: SystemTime, original: Option<&Headers>) -> Event {
        let headers = &self.parts.headers;
        let id = |original: &Headers| original.id("message-id");
        let message_id = original
            .and_then(id)
            .or_else(|| headers.id("x-original-message-id"))
            .or_else(|| headers.id("original-message-id"))
            .or_else(|| headers.id("in-reply-to"))
            .or_else(|| headers.id("references"));
        Event {
            message_id,
            list: original.and_then(Headers::list),
            ..Event::new(recipient, kind, at, Origin::Report)
        }
    }

    /// A report with fields for machines.
    fn standard(&self, status: &Status) -> Reading {
        let text = Text::new(&self.parts.text);
        let original = self.parts.original.as_ref().or(text.original.as_ref());
        let alone = status.recipients.len() == 1;
        let words = text.failed(&self.parts.headers, self.parts.original.as_ref());
        let words = Words {
            whole: Told::loosely(&text.whole()),
            first: alone
                .then(|| words.first().map(|failed| failed.told.clone()))
                .flatten()
                .unwrap_or_default(),
            all: words
                .into_iter()
                .map(|failed| (failed.recipient, failed.told))
                .collect(),
            alone,
        };
        let mut events = Vec::new();
        let mut dated = true;
        for fields in &status.recipients {
            let Some(recipient) = recipient(fields) else {
                continue;
            };
            let Some(at) = fields.at.or(self.at) else {
                dated = false;
                continue;
            };
            let told = words.told(fields, &recipient);
            let remote = fields.remote.clone();
            let (told, class) = best(told, fields.status, remote.as_deref());
            let own = specific(fields.status, told.enhanced);
            let delayed = kind::is_delay(self.parts.headers.get("subject").unwrap_or_default(), "");
            let kind = match fields.action {
                Some(Action::Taken) => EventKind::Delivered,
                Some(Action::Delayed) => EventKind::Deferred { class },
                None if fields.status.is_some_and(|status| status.class == 2) => EventKind::Delivered,
                None if delayed => EventKind::Deferred { class },
                Some(Action::Failed) | None => bounced(&told, own, class),
            };
            events.push(Event {
                status: own,
                reply: told.kept(),
                remote_mta: remote.map(|host| clean(&host, 255)),
                ..self.event(recipient, kind, at, original)
            });
        }
        finish(Form::Standard, events, dated)
    }

    /// A bounce in words.
    fn words(&self) -> Reading {
        let headers = &self.parts.headers;
        let text = Text::new(&self.parts.text);
        let original = self.parts.original.as_ref().or(text.original.as_ref());
        let failed = text.failed(headers, original);
        let Some(at) = self.at else {
            let none = if failed.is_empty() {
                Other::NoRecipient
            } else {
                Other::NoDate
            };
            return Reading::Other(none);
        };
        let subject = headers.get("subject").unwrap_or_default();
        let delayed = kind::is_delay(subject, &text.whole());
        let mut events = Vec::new();
        for failed in failed {
            let mut told = failed.told;
            told.push(Told::loosely(&text.whole()));
            told.push(Told::loosely(&without_form(subject)));
            let said = told.iter().find_map(|told| told.enhanced);
            let (told, class) = best(told, None, failed.remote.as_deref());
            let kind = if delayed {
                EventKind::Deferred { class }
            } else {
                bounced(&told, None, class)
            };
            events.push(Event {
                status: told.enhanced.or(said),
                reply: told.kept(),
                remote_mta: failed.remote.map(|host| clean(&host, 255)),
                ..self.event(failed.recipient, kind, at, original)
            });
        }
        finish(Form::Words, events, true)
    }

    /// A feedback report (RFC 5965 section 3).
    fn feedback(&self, fields: &str) -> Reading {
        let report = parts::fields(fields.as_bytes()).unwrap_or_default();
        let kind = match report
            .get("feedback-type")
            .unwrap_or("abuse")
            .to_ascii_lowercase()
            .as_str()
        {
            "auth-failure" | "not-spam" | "dmarc" => return Reading::Other(Other::OtherReport),
            "opt-out" | "opt-out-list" => EventKind::Unsubscribed,
            _ => EventKind::Complained,
        };
        let text = Text::new(&self.parts.text);
        let original = self.parts.original.as_ref().or(text.original.as_ref());
        let mut named = report.addresses(&["original-rcpt-to", "removal-recipient"]);
        if named.is_empty() {
            named = original
                .map(|original| original.addresses(&["to", "delivered-to", "x-original-to"]))
                .unwrap_or_default();
        }
        let Some(at) = self.at.or_else(|| report.get("arrival-date").and_then(headers::time)) else {
            return Reading::Other(Other::NoDate);
        };
        let mut recipients: Vec<Arc<str>> = named.iter().filter_map(|text| mailbox(text)).collect();
        recipients.sort();
        recipients.dedup();
        let events = recipients
            .into_iter()
            .map(|recipient| self.event(recipient, kind, at, original))
            .collect();
        finish(Form::Feedback, events, true)
    }

    fn unsubscribe(&self) -> Reading {
        let events = kind::author(&self.parts.headers)
            .zip(self.at)
            .map(|(author, at)| self.event(author, EventKind::Unsubscribed, at, None));
        finish(Form::Unsubscribe, events.into_iter().collect(), self.at.is_some())
    }
}

/// What the words beside the fields of a report say.
struct Words {
    all: HashMap<Arc<str>, Vec<Told>>,
    /// Of whoever comes first, where there is only one recipient.
    first: Vec<Told>,
    whole: Told,
    alone: bool,
}

impl Words {
    /// Everything that is told of one recipient, the best first.
    fn told(&self, fields: &Recipient, recipient: &str) -> Vec<Told> {
        let mut told: Vec<Told> = fields.diagnostic.iter().map(|text| Told::read(text)).collect();
        for more in self.all.get(recipient).unwrap_or(&self.first) {
            // Only the words tell at which step the host said it.
            let untold = |known: &&mut Told| known.stage.is_none() && known.code == more.code;
            for known in told.iter_mut().filter(untold) {
                known.stage = more.stage;
            }
            told.push(more.clone());
        }
        let status = fields.status.filter(|status| status.pair() != (0, 0));
        told.extend(status.map(Told::of_status));
        told.extend(self.alone.then(|| self.whole.clone()));
        told
    }
}

fn finish(form: Form, events: Vec<Event>, dated: bool) -> Reading {
    match (events.is_empty(), dated) {
        (false, _) => Reading::Events(form, events),
        (true, true) => Reading::Other(Other::NoRecipient),
        (true, false) => Reading::Other(Other::NoDate),
    }
}

/// A subject without the words that only say that it is a bounce: `sender` in them is nobody's fault.
fn without_form(subject: &str) -> String {
    let lower = subject.to_lowercase();
    ["returning message to sender", "return to sender", "returned to sender"]
        .iter()
        .fold(lower, |text, form| text.replace(form, ""))
}

/// The address that was mailed: before any forwarding, where the report says so (RFC 3464 section 2.3.1).
fn recipient(fields: &Recipient) -> Option<Arc<str>> {
    let read = |field: &Option<String>| field.as_deref().and_then(address::of_field);
    read(&fields.original).or_else(|| read(&fields.last))
}
