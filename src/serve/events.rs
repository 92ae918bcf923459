//! `POST /v1/events`: what happened to mail, told by whoever sent it.
//!
//! Events of a tenant are that tenant's: nobody else is judged by them.

use axum::{Extension, extract::State, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Shared,
    body::{Many, json},
    gate::Caller,
    problem::{Code, Problem},
};
use crate::{
    bounce::{
        Event, Origin,
        table::{Columns, Mapping},
    },
    store::{Added, StoreError},
    suppress::{self, Evaluated},
};

/// Events of one request.
const MOST: usize = 1_000;
/// Characters of a text.
const LONGEST: usize = 2_000;
/// And of an id, which is not cut: two that begin alike are two.
const LONGEST_ID: usize = 250;
/// The members of an event, by the names under which exports have them.
const COLUMNS: [&str; 11] = [
    "recipient",
    "event",
    "date",
    "status",
    "reply",
    "code",
    "class",
    "mta",
    "message_id",
    "list",
    "id",
];

/// What happened to mail.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"events": [{
    "id": "evt-1", "address": "jane.doe@example.com", "type": "bounced", "at": "2026-11-21T10:00:00Z",
    "reply": "550 5.1.1 No such user", "list": "news"
}]}))]
pub(super) struct EventsRequest {
    /// Up to 1,000 of them, all or none, in a body of at most 2 MiB.
    #[schema(min_items = 1, max_items = 1_000)]
    events: Vec<EventBody>,
}

/// One thing that happened to one message for one recipient.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventBody {
    /// Your name of it: the same one again changes nothing. Without it two events that say the same are one.
    #[schema(max_length = 250)]
    id: Option<String>,
    /// The recipient.
    #[schema(max_length = 2_000, example = "jane.doe@example.com")]
    address: String,
    /// What happened.
    #[serde(rename = "type")]
    kind: EventType,
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// The enhanced status code, such as `5.1.1`.
    #[schema(max_length = 2_000)]
    status: Option<String>,
    /// What the host said; what it means is found out by presend's rules.
    #[schema(max_length = 2_000)]
    reply: Option<String>,
    /// One of the classes of `/v1/reasons`, for replies that say nothing.
    #[schema(max_length = 2_000)]
    class: Option<String>,
    /// The host that said it.
    #[schema(max_length = 2_000)]
    remote_mta: Option<String>,
    /// The `Message-ID` of the message.
    #[schema(max_length = 2_000)]
    message_id: Option<String>,
    /// The list or campaign.
    #[schema(max_length = 2_000)]
    list: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum EventType {
    /// A host took it.
    Delivered,
    /// It came back; the reply says whether for good.
    Bounced,
    /// It is on its way still.
    Deferred,
    /// It was reported as spam.
    Complained,
    /// The recipient wants no more.
    Unsubscribed,
}

impl EventType {
    fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Bounced => "bounced",
            Self::Deferred => "deferred",
            Self::Complained => "complained",
            Self::Unsubscribed => "unsubscribed",
        }
    }
}

/// What came of events.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventsTaken {
    /// Events that nobody had reported before.
    new: u64,
    /// Events that were known.
    known: u64,
    /// Recipients who are suppressed now and were not before.
    suppressed: u64,
    /// Recipients about whom a person has to decide.
    review: u64,
}

impl EventsTaken {
    pub(super) fn new(added: Added, evaluated: Evaluated) -> Self {
        Self {
            new: added.new,
            known: added.known,
            suppressed: evaluated.applied.suppressed,
            review: evaluated.applied.review,
        }
    }
}

/// Report what happened to mail.
///
/// Deliveries, bounces, delays, complaints and unsubscriptions, each known by its `id`, so that the same request again changes
/// nothing. The bounce policy decides at once who is suppressed.
#[utoipa::path(
    post, path = "/v1/events", tag = "events", operation_id = "events", request_body = EventsRequest,
    responses((status = 200, description = "What came of them.", body = EventsTaken)),
)]
pub(super) async fn events(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Many(request): Many<EventsRequest>,
) -> Result<Response, Problem> {
    if request.events.is_empty() || request.events.len() > MOST {
        let said = format!("A request has 1 to {MOST} events.");
        return Err(Problem::new(Code::InvalidValue, said).at("/events"));
    }
    let columns = COLUMNS.map(str::to_owned);
    let columns = Columns::find(&columns, &Mapping::default());
    let columns = columns.map_err(|error| failed(&error))?;
    let read = |(index, body): (usize, &EventBody)| body.read(&columns, index);
    let events: Vec<Event> = request.events.iter().enumerate().map(read).collect::<Result<_, _>>()?;
    let taken = take(&shared, caller.owner(), events).await?;
    Ok(json(&taken))
}

impl EventBody {
    fn read(&self, columns: &Columns, index: usize) -> Result<Event, Problem> {
        let cells = [
            ("address", Some(self.address.as_str())),
            ("type", Some(self.kind.name())),
            ("at", Some(self.at.as_str())),
            ("status", self.status.as_deref()),
            ("reply", self.reply.as_deref()),
            ("", None),
            ("class", self.class.as_deref()),
            ("remote_mta", self.remote_mta.as_deref()),
            ("message_id", self.message_id.as_deref()),
            ("list", self.list.as_deref()),
            ("id", self.id.as_deref()),
        ];
        let most = |name: &str| if name == "id" { LONGEST_ID } else { LONGEST };
        let long = |(name, text): &&(&str, Option<&str>)| text.is_some_and(|text| text.chars().count() > most(name));
        if let Some((name, _)) = cells.iter().find(long) {
            let said = format!("The text has more than {} characters.", most(name));
            return Err(Problem::new(Code::InvalidValue, said).at(format!("/events/{index}/{name}")));
        }
        let read = columns.event(|column| cells.get(column).and_then(|(_, text)| *text));
        let wrong = |said: &str| Problem::new(Code::InvalidValue, said).at(format!("/events/{index}"));
        let event = read.map_err(|said| wrong(&said))?;
        let event = event.ok_or_else(|| wrong("This tells nothing about delivery."))?;
        Ok(Event {
            origin: Origin::Service,
            ..event
        })
    }
}

/// Keeps events and decides what follows, off the threads that answer requests.
pub(super) async fn take(shared: &Shared, tenant: &str, events: Vec<Event>) -> Result<EventsTaken, Problem> {
    let (shared, tenant) = (Shared::clone(shared), tenant.to_owned());
    let work = move || -> Result<EventsTaken, StoreError> {
        let added = shared.store.add_events_of(&tenant, events, false)?;
        let policy = &shared.options.bounces.policy;
        let evaluated = if added.new > 0 {
            suppress::evaluate(&shared.store, policy, std::time::SystemTime::now())?
        } else {
            Evaluated::default()
        };
        Ok(EventsTaken::new(added, evaluated))
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(taken) => taken.map_err(|error| failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}

pub(super) fn failed(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "events cannot be kept");
    Code::StoreFailed.into()
}
