//! `/v1/suppressions`: who gets no more mail of a tenant. Addresses stand in bodies, never in the address of a request.

use std::{ops::ControlFlow, time::SystemTime};

use axum::{Extension, extract::State, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Named, Shared,
    body::{Many, Strict, json},
    events::failed,
    gate::Caller,
    problem::{Code, Problem, ProblemBody},
};
use crate::{
    address::{Address, Rules},
    output,
    store::{Author, NewSuppression, Scope, SqliteStore, StoreError, SuppressionState, Suppressions},
    suppress::{SuppressionReason, SuppressionRecord},
};

/// Entries of one request, and of one page.
const MOST: usize = 500;
/// Characters of a remark or a list's name.
const LONGEST: usize = 500;

/// Addresses to suppress.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"suppressions": [{"address": "jane.doe@example.com", "reason": "unsubscribed"}]}))]
pub(super) struct SuppressRequest {
    /// Up to 500 of them, all or none.
    #[schema(min_items = 1, max_items = 500)]
    suppressions: Vec<SuppressionBody>,
}

/// An address to suppress.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SuppressionBody {
    /// The address.
    #[schema(max_length = 1_000, example = "jane.doe@example.com")]
    address: String,
    /// Why.
    reason: WhyBody,
    /// For this list only.
    #[schema(max_length = 500)]
    list: Option<String>,
    /// A remark, for whoever asks later.
    #[schema(max_length = 500)]
    note: Option<String>,
    /// When it ends by itself.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// Why a caller suppresses; what bounces decide is decided by events.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum WhyBody {
    /// The recipient no longer wants mail.
    Unsubscribed,
    /// The recipient reported mail as spam.
    Complained,
    /// Somebody decided so.
    Manual,
    /// Another system said so.
    Imported,
}

impl From<WhyBody> for SuppressionReason {
    fn from(why: WhyBody) -> Self {
        match why {
            WhyBody::Unsubscribed => Self::Unsubscribed,
            WhyBody::Complained => Self::Complained,
            WhyBody::Manual => Self::Manual,
            WhyBody::Imported => Self::Imported,
        }
    }
}

/// An address to look up or let go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"address": "jane.doe@example.com"}))]
pub(super) struct WhomRequest {
    /// The address.
    #[schema(max_length = 1_000, example = "jane.doe@example.com")]
    address: String,
    /// Only what is for this list.
    #[schema(max_length = 500)]
    list: Option<String>,
    /// Why it is let go.
    #[schema(max_length = 500)]
    note: Option<String>,
}

/// How many entries were made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Made {
    /// Entries that are new.
    new: u64,
    /// Entries that were there.
    known: u64,
}

/// How many entries ended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ended {
    ended: u64,
}

/// Some entries.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page {
    suppressions: Vec<SuppressionRecord>,
    /// Where the next page is.
    #[schema(required, example = "/v1/suppressions/after/500")]
    next: Option<String>,
}

/// What is known of one address.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LookedUp {
    /// Mail to it would be kept back.
    suppressed: bool,
    /// The strongest reason.
    #[schema(required, inline)]
    reason: Option<SuppressionReason>,
    /// Everything about it, with what ended, oldest first.
    suppressions: Vec<SuppressionRecord>,
}

/// Everybody who is suppressed: the first page.
#[utoipa::path(
    get, path = "/v1/suppressions", tag = "events", operation_id = "suppressions",
    responses((status = 200, description = "Active entries, the oldest first.", body = Page)),
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    page(&shared, &caller, 0).await
}

/// Everybody who is suppressed: the page after an entry.
#[utoipa::path(
    get, path = "/v1/suppressions/after/{number}", tag = "events", operation_id = "suppressions_after",
    params(("number" = i64, Path, description = "From `next`.", minimum = 0)),
    responses(
        (status = 200, description = "Active entries, the oldest first.", body = Page),
        (status = 404, description = "No page of `next`.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn after(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Named(number): Named,
) -> Result<Response, Problem> {
    let number: Option<i64> = number.parse().ok().filter(|number| *number >= 0);
    page(&shared, &caller, number.ok_or_else(|| Problem::from(Code::NotFound))?).await
}

async fn page(shared: &Shared, caller: &Caller, after: i64) -> Result<Response, Problem> {
    let wanted = Suppressions {
        tenant: Some(caller.owner().into()),
        state: Some(SuppressionState::Active),
        after,
        ..Suppressions::default()
    };
    let page = work(shared, move |store| {
        let (mut entries, mut more) = (Vec::new(), false);
        store.each_suppression(&wanted, |kept| {
            more = entries.len() == MOST;
            if more {
                return Ok(ControlFlow::Break(()));
            }
            entries.push(SuppressionRecord::from(kept));
            Ok::<_, StoreError>(ControlFlow::Continue(()))
        })?;
        let last = entries.last().map(|entry| entry.number).filter(|_| more);
        Ok(Page {
            next: last.map(|number| format!("/v1/suppressions/after/{number}")),
            suppressions: entries,
        })
    });
    Ok(json(&page.await?))
}

/// Suppress addresses.
#[utoipa::path(
    post, path = "/v1/suppressions", tag = "events", operation_id = "suppress", request_body = SuppressRequest,
    responses((status = 200, description = "How many entries were made.", body = Made)),
)]
pub(super) async fn suppress(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Many(request): Many<SuppressRequest>,
) -> Result<Response, Problem> {
    if request.suppressions.is_empty() || request.suppressions.len() > MOST {
        let said = format!("A request has 1 to {MOST} addresses.");
        return Err(Problem::new(Code::InvalidValue, said).at("/suppressions"));
    }
    let now = SystemTime::now();
    let read = |(index, body): (usize, &SuppressionBody)| {
        let at = |member: &str| format!("/suppressions/{index}/{member}");
        let list = short(body.list.as_deref(), &at("list"))?;
        let note = short(body.note.as_deref(), &at("note"))?;
        let expires_at = body.expires_at.as_deref().map(|text| {
            let read = humantime::parse_rfc3339(text).ok().filter(|at| *at > now);
            read.ok_or_else(|| Problem::new(Code::InvalidValue, "This is no date to come.").at(at("expires_at")))
        });
        Ok(NewSuppression {
            mailbox: address(&body.address, &at("address"))?.mailbox().into(),
            scope: Scope {
                tenant: caller.owner().into(),
                list,
            },
            reason: body.reason.into(),
            source: Author::Api,
            note,
            happened_at: now,
            expires_at: expires_at.transpose()?,
        })
    };
    let new = request
        .suppressions
        .iter()
        .enumerate()
        .map(read)
        .collect::<Result<Vec<_>, Problem>>()?;
    let added = work(&shared, move |store| store.suppress(new)).await?;
    Ok(json(&Made {
        new: added.new,
        known: added.known,
    }))
}

/// Let an address go; its history stays.
#[utoipa::path(
    delete, path = "/v1/suppressions", tag = "events", operation_id = "let_go", request_body = WhomRequest,
    responses((status = 200, description = "How many entries ended.", body = Ended)),
)]
pub(super) async fn let_go(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Strict(request): Strict<WhomRequest>,
) -> Result<Response, Problem> {
    let Whom { mailbox, list, note } = request.check()?;
    let owner = caller.owner().to_owned();
    let ended = work(&shared, move |store| {
        let person = store.recipients()?.person(&mailbox);
        store.release(person, (&owner, list.as_deref()), Author::Api, note)
    });
    Ok(json(&Ended { ended: ended.await? }))
}

/// Look an address up.
#[utoipa::path(
    post, path = "/v1/suppressions/lookup", tag = "events", operation_id = "lookup", request_body = WhomRequest,
    responses((status = 200, description = "What is known of it.", body = LookedUp)),
)]
pub(super) async fn lookup(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Strict(request): Strict<WhomRequest>,
) -> Result<Response, Problem> {
    let Whom { mailbox, list, .. } = request.check()?;
    let owner = caller.owner().to_owned();
    let found = work(&shared, move |store| {
        let person = store.recipients()?.person(&mailbox);
        let now = SystemTime::now();
        let all = store.suppressions_of(person)?.into_iter();
        let own = all.filter(|kept| *kept.scope.tenant == *owner);
        let own: Vec<_> = own.filter(|kept| list.is_none() || kept.scope.list == list).collect();
        let reason = own.iter().filter(|kept| kept.counts(now)).map(|kept| kept.reason).min();
        Ok(LookedUp {
            suppressed: reason.is_some(),
            reason,
            suppressions: own.into_iter().map(SuppressionRecord::from).collect(),
        })
    });
    Ok(json(&found.await?))
}

/// Who is meant, as the store knows him.
struct Whom {
    mailbox: String,
    list: Option<Box<str>>,
    note: Option<Box<str>>,
}

impl WhomRequest {
    fn check(&self) -> Result<Whom, Problem> {
        Ok(Whom {
            list: short(self.list.as_deref(), "/list")?,
            note: short(self.note.as_deref(), "/note")?,
            mailbox: address(&self.address, "/address")?.mailbox().to_owned(),
        })
    }
}

/// A text that is shown to others later, without what would act there, as the lists of events are taken.
fn short(text: Option<&str>, pointer: &str) -> Result<Option<Box<str>>, Problem> {
    let Some(text) = text else { return Ok(None) };
    if text.chars().count() > LONGEST {
        let said = format!("The text has more than {LONGEST} characters.");
        return Err(Problem::new(Code::InvalidValue, said).at(pointer));
    }
    Ok(Some(output::clean(text, LONGEST).into()))
}

fn address(typed: &str, pointer: &str) -> Result<Address, Problem> {
    let rules = Rules {
        allow_special_use: true,
    };
    Address::parse(typed, rules).map_err(|error| Problem::new(Code::InvalidValue, error.fault.sentence()).at(pointer))
}

/// Asks the store off the threads that answer requests.
async fn work<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce(&SqliteStore) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Problem> {
    let shared = Shared::clone(shared);
    match tokio::task::spawn_blocking(move || work(&shared.store)).await {
        Ok(done) => done.map_err(|error| failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}
