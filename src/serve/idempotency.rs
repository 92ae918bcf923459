//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): the first request with a key is carried out, the others hear what
//! it heard, for a day, whatever happens to the server meanwhile.
//!
//! A claim is in the database before anything is done, and the response in the transaction in which the thing is made: a process that
//! is killed between leaves a claim of a run that is gone, which the next request takes over, and no thing.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};

use super::{
    Shared,
    gate::Caller,
    problem::{Code, Problem},
};
use crate::store::{Claimed, RequestClaim, Response as Kept, SqliteStore};

/// How long a key is remembered.
const REMEMBERED: Duration = Duration::from_hours(24);
/// Longest key.
const LONGEST: usize = 255;
/// Longest response that is remembered.
const LARGEST: usize = 1 << 20;

/// What a request is.
pub(super) enum Keyed {
    /// One without a key.
    Plain,
    /// The first one of its key.
    First(Held),
    /// One whose key was used before.
    Again {
        /// Of all that was asked then.
        digest: [u8; 32],
        /// What was answered.
        response: Kept,
    },
}

/// A claim, given up when it is dropped before there is a response.
pub(super) struct Held {
    store: Arc<SqliteStore>,
    claim: Option<RequestClaim>,
}

impl Held {
    /// The claim of a request of which this is the digest; its response is written by whoever takes it.
    pub(super) fn take(mut self, digest: [u8; 32]) -> Option<RequestClaim> {
        let mut claim = self.claim.take()?;
        claim.digest = digest;
        Some(claim)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.store.give_up_request(claim);
        }
    }
}

/// Looks for the key of a request and claims it.
pub(super) async fn claim(shared: &Shared, caller: &Caller, headers: &HeaderMap) -> Result<Keyed, Problem> {
    let mut given = headers.get_all("idempotency-key").iter();
    let Some(key) = given.next() else {
        return Ok(Keyed::Plain);
    };
    let key = key.as_bytes();
    let sound = !key.is_empty() && key.len() <= LONGEST && key.iter().all(u8::is_ascii_graphic);
    let key = std::str::from_utf8(key)
        .ok()
        .filter(|_| sound && given.next().is_none());
    let key = key.ok_or_else(|| {
        let said = format!("An `Idempotency-Key` has 1 to {LONGEST} visible ASCII characters, and there is one.");
        Problem::new(Code::InvalidValue, said)
    })?;
    let claimed = shared.store.claim_request(caller.tenant(), key, REMEMBERED).await;
    let claimed = claimed.map_err(|error| {
        tracing::error!(%error, "a key of a request cannot be kept");
        Problem::from(Code::StoreFailed)
    })?;
    match claimed {
        Claimed::First(claim) => Ok(Keyed::First(Held {
            store: Arc::clone(&shared.store),
            claim: Some(claim),
        })),
        Claimed::UnderWay => Err(Problem::from(Code::IdempotencyInProgress).after(Duration::from_secs(1))),
        Claimed::Answered { digest, response } => Ok(Keyed::Again { digest, response }),
        Claimed::TooMany => {
            let said = "Too many requests with an `Idempotency-Key` are remembered; leave it out, or come back later.";
            Err(Problem::new(Code::RateLimited, said).after(Duration::from_mins(10)))
        }
    }
}

/// What was answered before, if the same was asked.
pub(super) fn again(asked: [u8; 32], digest: [u8; 32], kept: Kept) -> Result<Response, Problem> {
    if asked != digest {
        return Err(Code::IdempotencyMismatch.into());
    }
    let mut response = Response::new(Body::from(kept.body));
    *response.status_mut() = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    let place = kept.location.and_then(|place| HeaderValue::from_str(&place).ok());
    headers.extend(place.map(|place| (header::LOCATION, place)));
    Ok(response)
}

/// Keeps a response for requests that come again.
pub(super) async fn answered(
    shared: &Shared,
    held: Held,
    digest: [u8; 32],
    response: Response,
) -> Result<Response, Problem> {
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "a response cannot be kept");
        Problem::from(Code::StoreFailed)
    };
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, LARGEST)
        .await
        .map_err(|error| failed(&error))?;
    let location = parts
        .headers
        .get(header::LOCATION)
        .and_then(|place| place.to_str().ok());
    let kept = Kept {
        status: parts.status.as_u16(),
        location: location.map(str::to_owned),
        body: body.to_vec(),
    };
    if let Some(claim) = held.take(digest) {
        let written = shared.store.request_answered(claim, kept).await;
        written.map_err(|error| failed(&error))?;
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}
