//! `GET /healthz`, `GET /readyz`: for supervisors and load balancers; no key needed.

use axum::{extract::State, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Shared,
    body::json,
    problem::{Code, Problem, ProblemBody},
};
use crate::store::Store as _;

/// That all is well.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    #[schema(pattern = "^ok$", example = "ok")]
    status: &'static str,
}

const OK: Health = Health { status: "ok" };

/// The process answers.
#[utoipa::path(
    get, path = "/healthz", tag = "operation", operation_id = "healthz",
    responses((status = 200, description = "It does.", body = Health)),
)]
pub(super) async fn healthz() -> Response {
    json(&OK)
}

/// The server takes work: it is not being stopped, and its database can be written.
#[utoipa::path(
    get, path = "/readyz", tag = "operation", operation_id = "readyz",
    responses(
        (status = 200, description = "It does.", body = Health),
        (status = 503, description = "A problem: `stopping`, `store_failed`, `overloaded`.", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn readyz(State(shared): State<Shared>) -> Result<Response, Problem> {
    if shared.stop.is_requested() {
        return Err(Code::Stopping.into());
    }
    if shared.store.failure().borrow().is_some() {
        return Err(Code::StoreFailed.into());
    }
    Ok(json(&OK))
}
