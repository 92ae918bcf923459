//! `POST /v1/verify`, `POST /v1/verify/batch`, `GET /v1/verifications/{id}`.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::{
    Named, Shared,
    body::{Strict, Whole},
    document::{BatchResult, Result as ResultSchema},
    gate::Caller,
    idempotency::{self, Keyed},
    log::Asked,
    problem::{Code, Problem, ProblemBody, whole_seconds},
    verification::{Answers, Asking, Found, Standing, Verification, come_back},
    webhook::{Hook, WebhookRequest},
};
use crate::{
    job::{Level, Outcome},
    output::{self, Detail},
    verdict::Reason,
};

/// Characters of an address that are taken; the longest address has 254 (RFC 5321).
const LONGEST: usize = 1_000;
/// Longest age that can be asked for, in seconds: a year.
const OLDEST: u64 = 31_536_000;

/// One address to verify.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"address": "jane.doe@example.com", "wait_ms": 5000}))]
pub(super) struct VerifyRequest {
    /// The address; what is no address is answered too.
    #[schema(max_length = 1000, example = "jane.doe@example.com")]
    address: String,
    /// How far to ask; never further than the server is set to.
    #[schema(inline)]
    level: Option<Level>,
    /// Oldest answer that may be used, in seconds; 0 asks again.
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 31_536_000)]
    max_age: Option<Whole>,
    /// How long to wait for the answer, in milliseconds; the server has a limit of its own.
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 600_000)]
    wait_ms: Option<Whole>,
    /// Put the dialogue with the mail host into the result; asks again, because kept answers have none.
    transcript: Option<bool>,
    /// Whom to tell of the final result, if it comes later (202).
    webhook: Option<WebhookRequest>,
}

/// Some addresses to verify.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"addresses": ["jane.doe@example.com", "sales@example.org"], "level": "dns"}))]
pub(super) struct BatchRequest {
    /// The addresses; equal ones are asked about once.
    #[schema(min_items = 1, max_items = 100)]
    addresses: Vec<String>,
    /// How far to ask; never further than the server is set to.
    #[schema(inline)]
    level: Option<Level>,
    /// Oldest answer that may be used, in seconds; 0 asks again.
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 31_536_000)]
    max_age: Option<Whole>,
    /// How long to wait for the answers, in milliseconds; the server has a limit of its own.
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 600_000)]
    wait_ms: Option<Whole>,
    /// Put the dialogues with the mail hosts into the results; asks again, because kept answers have none.
    transcript: Option<bool>,
    /// Whom to tell of the final results, if they come later (202).
    webhook: Option<WebhookRequest>,
}

/// Verify one address.
///
/// Answers with the result, or, when that takes longer than `wait_ms`, with what is known so far (202): `retry_at` says when to
/// fetch the final result at `Location`. Asking goes on meanwhile, and the same question is not asked twice.
#[utoipa::path(
    post, path = "/v1/verify", tag = "verify", operation_id = "verify", request_body = VerifyRequest,
    responses(
        (status = 200, description = "The result.", body = ResultSchema),
        (status = 202, description = "What is known so far; the final result will be at `Location`.", body = ResultSchema, headers(
            ("Location" = String, description = "Where the final result will be."),
            ("Retry-After" = u64, description = "Seconds until then, probably."))),
    ),
)]
pub(super) async fn verify(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Strict(request): Strict<VerifyRequest>,
) -> Result<Response, Problem> {
    check_length(&request.address, "/address")?;
    let how = How::of(request.level, request.max_age, request.wait_ms, request.transcript)?;
    let how = how.telling(request.webhook, &shared)?;
    answer_once((&shared, &caller, &headers), (vec![request.address], false), how).await
}

/// Verify up to 100 addresses.
///
/// Results are in the order of the addresses. As long as one of them is provisional the status is 202, as for one address.
#[utoipa::path(
    post, path = "/v1/verify/batch", tag = "verify", operation_id = "verify_batch", request_body = BatchRequest,
    responses(
        (status = 200, description = "The results.", body = BatchResult),
        (status = 202, description = "What is known so far; the final results will be at `Location`.", body = BatchResult, headers(
            ("Location" = String, description = "Where the final results will be."),
            ("Retry-After" = u64, description = "Seconds until then, probably."))),
    ),
)]
pub(super) async fn batch(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Strict(request): Strict<BatchRequest>,
) -> Result<Response, Problem> {
    let most = shared.limits.max_batch;
    if request.addresses.is_empty() || request.addresses.len() > most {
        let said = format!("A batch has 1 to {most} addresses.");
        return Err(Problem::new(Code::InvalidValue, said).at("/addresses"));
    }
    for (index, address) in request.addresses.iter().enumerate() {
        check_length(address, &format!("/addresses/{index}"))?;
    }
    let how = How::of(request.level, request.max_age, request.wait_ms, request.transcript)?;
    let how = how.telling(request.webhook, &shared)?;
    answer_once((&shared, &caller, &headers), (request.addresses, true), how).await
}

/// Fetch the result of a verification.
///
/// 200 with the final result, or 202 with what is known so far. Kept for a day by default; other keys' verifications are not there.
#[utoipa::path(
    get, path = "/v1/verifications/{id}", tag = "verify", operation_id = "verification",
    params(("id" = String, Path, description = "From `Location`.", pattern = "^[0-9a-f]{32}$")),
    responses(
        (status = 200, description = "The final result, or those of a batch.", body = inline(OneOrMany)),
        (status = 202, description = "What is known so far.", body = inline(OneOrMany), headers(
            ("Location" = String, description = "Where the final result will be."),
            ("Retry-After" = u64, description = "Seconds until then, probably."))),
        (status = 404, description = "There is no such verification, or it is not yours, or it is too old.",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn verification(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Named(id): Named,
) -> Result<Response, Problem> {
    match shared.verifications.find(caller.tenant(), &id)? {
        Some(Found::Here(found)) => respond(&found),
        Some(Found::Kept(answer)) => {
            let mut response = Response::new(Body::from(answer));
            let kind = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            Ok(response)
        }
        None => Err(Problem::new(Code::NotFound, "There is no such verification.")),
    }
}

/// A result, or the results of a batch.
#[derive(ToSchema)]
#[schema(as = ResultOrBatch)]
#[serde(untagged)]
#[expect(dead_code, reason = "only described")]
enum OneOrMany {
    /// Of one address.
    One(Box<ResultSchema>),
    /// Of a batch.
    Many(BatchResult),
}

fn check_length(address: &str, pointer: &str) -> Result<(), Problem> {
    if address.chars().count() <= LONGEST {
        return Ok(());
    }
    let said = format!("A text has at most {LONGEST} characters; the longest address has 254.");
    Err(Problem::new(Code::InvalidValue, said).at(pointer))
}

/// What all ways of asking have in common.
struct How {
    level: Level,
    max_age: Option<Duration>,
    wait: Option<Duration>,
    transcript: bool,
    hook: Option<Hook>,
}

impl How {
    /// Of all that is asked.
    fn digest(&self, asked: &(Vec<String>, bool)) -> [u8; 32] {
        let wait = self.wait.map(|wait| wait.as_millis());
        let whole = (
            asked,
            self.level.name(),
            self.max_age,
            wait,
            self.transcript,
            &self.hook,
        );
        // Texts and numbers cannot fail to be written.
        Sha256::digest(serde_json::to_vec(&whole).unwrap_or_default()).into()
    }

    fn of(
        level: Option<Level>,
        max_age: Option<Whole>,
        wait_ms: Option<Whole>,
        transcript: Option<bool>,
    ) -> Result<Self, Problem> {
        let (max_age, wait_ms) = (max_age.map(|age| age.0), wait_ms.map(|wait| wait.0));
        if max_age.is_some_and(|age| age > OLDEST) {
            let said = format!("The oldest that can be asked for is {OLDEST} seconds.");
            return Err(Problem::new(Code::InvalidValue, said).at("/max_age"));
        }
        if wait_ms.is_some_and(|wait| wait > 600_000) {
            return Err(Problem::new(Code::InvalidValue, "The longest wait is 600000 ms.").at("/wait_ms"));
        }
        Ok(Self {
            level: level.unwrap_or(Level::Smtp),
            max_age: max_age.map(Duration::from_secs),
            wait: wait_ms.map(Duration::from_millis),
            transcript: transcript.unwrap_or_default(),
            hook: None,
        })
    }

    /// And somebody is told of a late answer.
    fn telling(self, webhook: Option<WebhookRequest>, shared: &Shared) -> Result<Self, Problem> {
        let hook = webhook.map(|webhook| webhook.check(&shared.options.webhooks, "/webhook"));
        Ok(Self {
            hook: hook.transpose()?,
            ..self
        })
    }
}

/// Answers, and a request that comes again with its key as it was answered before.
async fn answer_once(
    (shared, caller, headers): (&Shared, &Caller, &HeaderMap),
    asked: (Vec<String>, bool),
    how: How,
) -> Result<Response, Problem> {
    let held = match idempotency::claim(shared, caller, headers).await? {
        Keyed::Plain => return answer(shared, caller, asked, how).await,
        Keyed::First(held) => held,
        Keyed::Again { digest, response } => return idempotency::again(how.digest(&asked), digest, response),
    };
    let digest = how.digest(&asked);
    let response = answer(shared, caller, asked, how).await?;
    idempotency::answered(shared, held, digest, response).await
}

async fn answer(
    shared: &Shared,
    caller: &Caller,
    (typed, batch): (Vec<String>, bool),
    how: How,
) -> Result<Response, Problem> {
    if shared.stop.is_requested() {
        return Err(Problem::from(Code::Stopping).after(Duration::from_secs(5)));
    }
    let domains = typed.iter().filter_map(|typed| Some(typed.rsplit_once('@')?.1.trim()));
    caller.spend(typed.len(), domains)?;
    let asked = Asked::new(&shared.salt, &typed);
    let question = Asking {
        typed,
        batch,
        transcript: how.transcript,
        level: how.level,
        max_age: how.max_age.map(|age| age.as_secs()),
    };
    let verification = shared.verifications.begin(&shared.engines, caller.tenant(), question)?;
    let wait = how.wait.unwrap_or(shared.limits.wait).min(shared.limits.max_wait);
    verification.done(wait).await;
    let cut_short = |outcome: &Outcome| outcome.verdict.reason == Reason::Interrupted;
    let open = |answers: &Answers| answers.standing == Standing::Pending || answers.outcomes.iter().any(cut_short);
    if shared.stop.is_requested() && verification.now(open) {
        return Err(Problem::from(Code::Stopping).after(Duration::from_secs(5)));
    }
    if verification.now(|answers| answers.standing == Standing::Pending) {
        if let Some(hook) = how.hook {
            hook.keep(shared, &verification.id, caller.tenant()).await?;
        }
        shared.verifications.keep(&verification).await?;
    }
    let mut response = respond(&verification)?;
    verification.now(|answers| {
        let pending = answers.standing == Standing::Pending;
        shared.metrics.answered(&answers.outcomes, pending);
    });
    response.extensions_mut().insert(asked);
    Ok(response)
}

/// What is known of a verification.
fn respond(verification: &Arc<Verification>) -> Result<Response, Problem> {
    let detail = Detail {
        transcript: verification.transcript,
        ..Detail::default()
    };
    let (standing, body, again) = verification.now(|answers| {
        let pending = answers.standing == Standing::Pending;
        let again = pending.then(|| come_back(&answers.outcomes));
        (
            answers.standing,
            render(&answers.outcomes, verification.batch, (detail, again)),
            again,
        )
    });
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match (standing, again) {
        (Standing::Failed, _) => return Err(Code::StoreFailed.into()),
        (Standing::Pending, Some(at)) => {
            let wait = at.duration_since(SystemTime::now()).unwrap_or_default();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait).max(1)));
            let place = format!("/v1/verifications/{}", verification.id);
            // Digits and letters are what a header may hold.
            headers.extend(
                HeaderValue::from_str(&place)
                    .ok()
                    .map(|place| (header::LOCATION, place)),
            );
            *response.status_mut() = StatusCode::ACCEPTED;
        }
        (Standing::Pending | Standing::Final, _) => {}
    }
    Ok(response)
}

pub(super) fn render(outcomes: &[Outcome], batch: bool, (detail, again): (Detail, Option<SystemTime>)) -> Vec<u8> {
    let mut body = Vec::with_capacity(1024 * outcomes.len());
    if batch {
        body.extend_from_slice(b"{\"results\":[");
    }
    for (index, outcome) in outcomes.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        // Memory cannot fail to be written.
        let _ = match again.filter(|_| outcome.retry_at.is_none() && !batch) {
            Some(_) => {
                let mut outcome = outcome.clone();
                outcome.retry_at = again;
                output::write_result(&outcome, None, detail, &mut body)
            }
            None => output::write_result(outcome, None, detail, &mut body),
        };
    }
    if batch {
        body.extend_from_slice(b"]}");
    }
    body
}
