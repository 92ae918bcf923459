//! `POST /v1/receive/...`: calls of sending services with their events. Each proves itself in the way of its service; one
//! whose proof is not configured is not there.
//!
//! What they report is the operator's, as if `presend bounces import` had read it.

mod proof;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use axum::{
    extract::{FromRequest, Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::Value;

pub use proof::{NotAProof, Proofs};

use super::{
    Shared,
    body::{Raw, json},
    events::{EventsTaken, take},
    problem::{Code, Problem, ProblemBody},
};
use crate::bounce::service;

/// Tokens of Mailgun that are remembered.
const TOKENS: usize = 100_000;

/// What calls of one server need beyond their proofs.
#[derive(Default)]
pub(super) struct Received {
    /// Tokens of Mailgun with a hash of what came with them: the token proves nothing about another call.
    tokens: Mutex<HashMap<Box<str>, u64>>,
}

impl Received {
    /// Whether a token comes for the first time, or again with the same call.
    fn is_fresh(&self, token: &str, body: &[u8]) -> bool {
        let hash = crate::store::stable_hash(body, 3);
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= TOKENS {
            tokens.clear();
        }
        *tokens.entry(token.into()).or_insert(hash) == hash
    }
}

/// Events of Amazon SES by SNS.
///
/// The signature is checked against the certificate that the operator pinned. A request to confirm a subscription is written to
/// the log: somebody opens its address, once.
#[utoipa::path(
    post, path = "/v1/receive/ses", tag = "receive", operation_id = "receive_ses",
    request_body(content = String, content_type = "text/plain", description = "A message of SNS."),
    responses(
        (status = 200, description = "What came of it.", body = EventsTaken),
        (status = 404, description = "Not configured.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn ses(State(shared): State<Shared>, request: Request) -> Result<Response, Problem> {
    let body = Raw::from_request(request, &shared).await?.0;
    let proof = shared.options.bounces.proofs.ses.as_ref().ok_or(Code::NotFound)?;
    let message = parsed(&body)?;
    let checked = proof.check(&message).map_err(refused)?;
    if let Some(address) = checked.confirm {
        tracing::warn!(%address, "SNS asks to confirm a subscription: open this address once");
        return Ok(StatusCode::OK.into_response());
    }
    keep(&shared, &message).await
}

/// Events of SendGrid.
///
/// The signature of the event webhook is checked.
#[utoipa::path(
    post, path = "/v1/receive/sendgrid", tag = "receive", operation_id = "receive_sendgrid",
    request_body(content = String, content_type = "application/json", description = "An array of SendGrid's events."),
    responses(
        (status = 200, description = "What came of it.", body = EventsTaken),
        (status = 404, description = "Not configured.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn sendgrid(State(shared): State<Shared>, request: Request) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let body = Raw::from_request(request, &shared).await?.0;
    let proof = shared.options.bounces.proofs.sendgrid.as_ref().ok_or(Code::NotFound)?;
    let signature = text(&headers, "x-twilio-email-event-webhook-signature");
    let timestamp = text(&headers, "x-twilio-email-event-webhook-timestamp");
    proof.check((timestamp, signature), &body).map_err(refused)?;
    keep(&shared, &parsed(&body)?).await
}

/// Events of Mailgun.
///
/// The signature inside of the body is checked, and that its token is not used for another call.
#[utoipa::path(
    post, path = "/v1/receive/mailgun", tag = "receive", operation_id = "receive_mailgun",
    request_body(content = String, content_type = "application/json", description = "One event of Mailgun with its signature."),
    responses(
        (status = 200, description = "What came of it.", body = EventsTaken),
        (status = 404, description = "Not configured.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn mailgun(State(shared): State<Shared>, request: Request) -> Result<Response, Problem> {
    let body = Raw::from_request(request, &shared).await?.0;
    let proof = shared.options.bounces.proofs.mailgun.as_ref().ok_or(Code::NotFound)?;
    let call = parsed(&body)?;
    let token = proof.check(&call, std::time::SystemTime::now()).map_err(refused)?;
    if !shared.received.is_fresh(token, &body) {
        return Err(refused("The token was used for another call."));
    }
    keep(&shared, &call).await
}

/// Events of Postmark.
///
/// Postmark shows the login that the operator put into the webhook's address.
#[utoipa::path(
    post, path = "/v1/receive/postmark", tag = "receive", operation_id = "receive_postmark",
    request_body(content = String, content_type = "application/json", description = "One event of Postmark."),
    responses(
        (status = 200, description = "What came of it.", body = EventsTaken),
        (status = 404, description = "Not configured.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn postmark(State(shared): State<Shared>, request: Request) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let body = Raw::from_request(request, &shared).await?.0;
    let proof = shared.options.bounces.proofs.postmark.as_ref().ok_or(Code::NotFound)?;
    proof.check(text(&headers, "authorization")).map_err(refused)?;
    keep(&shared, &parsed(&body)?).await
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn parsed(body: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::new(Code::InvalidJson, error))
}

fn refused(said: &'static str) -> Problem {
    Problem::new(Code::Forbidden, said)
}

/// Keeps the events of a call that proved itself.
async fn keep(shared: &Shared, call: &Value) -> Result<Response, Problem> {
    let given = service::read(call).ok_or_else(|| Problem::new(Code::InvalidValue, "These are no events."))?;
    for fault in given.faults.iter().take(5) {
        tracing::warn!(%fault, "an event of a sending service cannot be read");
    }
    Ok(json(&take(shared, "", given.events).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_one_call() {
        let received = Received::default();
        assert!(
            received.is_fresh("a", b"one") && received.is_fresh("a", b"one"),
            "the service tries again"
        );
        assert!(!received.is_fresh("a", b"two"));
        assert!(received.is_fresh("b", b"two"));
    }
}
