//! Reads events as sending services give them, in exports and in calls to a webhook: Amazon SES (bare and inside SNS), SendGrid,
//! Mailgun, Postmark, HubSpot.
//!
//! A service is known by the names of its members. Must not check who called: a signature is the caller's to check.

mod amazon;
mod hubspot;
mod mailgun;
mod postmark;
mod sendgrid;

pub(super) use hubspot::class as hubspot_class;

use std::{sync::Arc, time::SystemTime};

use serde_json::{Map, Value};

use super::{
    event::{Event, EventKind, Origin},
    report::{self, Diagnosed},
};
use crate::replies::{Class, Persistence};

/// Deepest nesting of envelopes.
const DEPTH: usize = 4;
/// Most events of one value.
const LIMIT: usize = 100_000;

/// What a value held.
#[derive(Debug, Default)]
pub struct Given {
    /// Events about recipients.
    pub events: Vec<Event>,
    /// How many events told nothing about delivery: opens, clicks, sends.
    pub others: u64,
    /// What was wrong with single events.
    pub faults: Vec<String>,
}

/// Whether `value` looks like events of a service that is known.
#[must_use]
pub fn is_known(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.first().is_some_and(is_known),
        Value::Object(object) => Service::of(object).is_some(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Reads every event in `value`: one, an array of them, or an envelope around them. `None` when no service gives such a value.
#[must_use]
pub fn read(value: &Value) -> Option<Given> {
    let mut given = Given::default();
    let known = add(value, &mut given, DEPTH);
    known.then_some(given)
}

fn add(value: &Value, given: &mut Given, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else {
        return false;
    };
    match value {
        Value::Array(values) => {
            let mut known = false;
            for value in values {
                known |= add(value, given, depth);
            }
            known
        }
        Value::Object(object) => Service::of(object).is_some_and(|service| {
            service.read(object, given, depth);
            true
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Who gives events of this form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Sns,
    Amazon,
    SendGrid,
    Mailgun,
    Postmark,
    HubSpot,
    /// Members with these names hold the events themselves.
    Envelope(&'static str),
}

impl Service {
    fn of(object: &Map<String, Value>) -> Option<Self> {
        let has = |names: &[&str]| names.iter().all(|name| object.contains_key(*name));
        if has(&["Type", "Message"]) && (has(&["TopicArn"]) || has(&["MessageId"])) {
            return Some(Self::Sns);
        }
        if has(&["mail"]) && (has(&["notificationType"]) || has(&["eventType"])) {
            return Some(Self::Amazon);
        }
        if has(&["detail"]) && object.get("source").and_then(Value::as_str) == Some("aws.ses") {
            return Some(Self::Envelope("detail"));
        }
        if has(&["RecordType"]) || has(&["Type", "Email", "BouncedAt"]) {
            return Some(Self::Postmark);
        }
        if has(&["event-data"]) {
            return Some(Self::Envelope("event-data"));
        }
        if has(&["event", "recipient", "timestamp"]) {
            return Some(Self::Mailgun);
        }
        if has(&["event", "email"]) && (has(&["sg_event_id"]) || has(&["sg_message_id"]) || has(&["timestamp"])) {
            return Some(Self::SendGrid);
        }
        if has(&["recipient", "type", "created"]) {
            return Some(Self::HubSpot);
        }
        ["events", "items", "Bounces", "Records"]
            .into_iter()
            .find(|name| matches!(object.get(*name), Some(Value::Array(values)) if values.first().is_none_or(is_known)))
            .map(Self::Envelope)
    }

    fn read(self, object: &Map<String, Value>, given: &mut Given, depth: usize) {
        if given.events.len() >= LIMIT {
            return;
        }
        let item = Item(object);
        match self {
            Self::Sns => match item.text("Message").map(serde_json::from_str::<Value>) {
                Some(Ok(message)) if add(&message, given, depth) => {}
                _ => given.others += 1,
            },
            Self::Envelope(name) => {
                if let Some(inner) = object.get(name) {
                    add(inner, given, depth);
                }
            }
            Self::Amazon => amazon::read(&item, given),
            Self::SendGrid => given.take(sendgrid::read(&item)),
            Self::Mailgun => given.take(mailgun::read(&item)),
            Self::Postmark => given.take(postmark::read(&item)),
            Self::HubSpot => given.take(hubspot::read(&item)),
        }
    }
}

impl Given {
    fn take(&mut self, read: Result<Option<Event>, String>) {
        match read {
            Ok(Some(event)) => self.events.push(event),
            Ok(None) => self.others += 1,
            Err(fault) => self.faults.push(fault),
        }
    }
}

/// An object whose members are looked up by path.
struct Item<'v>(&'v Map<String, Value>);

impl<'v> Item<'v> {
    fn get(&self, path: &str) -> Option<&'v Value> {
        let (first, rest) = path
            .split_once('/')
            .map_or((path, None), |(first, rest)| (first, Some(rest)));
        let value = self.0.get(first)?;
        match rest {
            Some(rest) => Item(value.as_object()?).get(rest),
            None => Some(value),
        }
    }

    fn text(&self, path: &str) -> Option<&'v str> {
        self.get(path)?.as_str().map(str::trim).filter(|text| !text.is_empty())
    }

    /// Text, or a number as text.
    fn word(&self, path: &str) -> Option<String> {
        match self.get(path)? {
            Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn objects(&self, path: &str) -> impl Iterator<Item = Item<'v>> {
        let values = self
            .get(path)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        values.iter().filter_map(|value| value.as_object().map(Item))
    }

    fn recipient(&self, path: &str) -> Result<Arc<str>, String> {
        let text = self.text(path).ok_or_else(|| format!("`{path}` is missing"))?;
        report::mailbox(text).ok_or_else(|| format!("`{path}` holds no address"))
    }

    fn at(&self, paths: &[&str]) -> Result<SystemTime, String> {
        let word = paths.iter().find_map(|path| self.word(path));
        let word = word.ok_or_else(|| format!("`{}` is missing", paths.first().unwrap_or(&"date")))?;
        super::when::parse(&word).ok_or_else(|| format!("`{}` is no date", paths.first().unwrap_or(&"date")))
    }

    fn id(&self, paths: &[&str]) -> Option<Box<str>> {
        let word = paths.iter().find_map(|path| self.word(path))?;
        let id = word.trim_matches(['<', '>']);
        (!id.is_empty()).then(|| report::clean(id, 250))
    }
}

/// An event of a service, with everything that it may say.
struct Draft {
    recipient: Arc<str>,
    at: SystemTime,
    diagnosed: Diagnosed,
    message_id: Option<Box<str>>,
    list: Option<Box<str>>,
    foreign_id: Option<Box<str>>,
}

impl Draft {
    fn event(self, kind: EventKind) -> Event {
        let Diagnosed {
            status, reply, remote, ..
        } = self.diagnosed;
        Event {
            recipient: self.recipient,
            kind,
            at: self.at,
            status,
            reply,
            remote_mta: remote,
            message_id: self.message_id,
            list: self.list,
            origin: Origin::Service,
            foreign_id: self.foreign_id,
        }
    }
}

/// A bounce: by what the host said; where that says nothing, by what the service calls it.
fn bounced(diagnosed: &Diagnosed, called: Option<Class>, permanent: Option<bool>) -> EventKind {
    let class = if diagnosed.is_vague() {
        called.unwrap_or(diagnosed.class)
    } else {
        diagnosed.class
    };
    let persistence = match permanent {
        _ if diagnosed.has_code() => diagnosed.persistence,
        Some(true) => Persistence::Permanent,
        Some(false) => Persistence::Transient,
        None => diagnosed.persistence,
    };
    EventKind::Bounced { class, persistence }
}
