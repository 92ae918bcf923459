//! Lists over the API: taken in, asked about in turn, shown to their tenant and nobody else.
//!
//! Every job belongs to the tenant of the key that made it. Those of the command line, in the same database, are shown to operators:
//! keys with the scope `admin`, and this machine where there are no keys. Must not ask, judge or keep by itself: that is
//! [`crate::job::Engine`] and the store.

mod events;
mod options;
mod receive;
mod results;
mod runner;
mod schema;
mod upload;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::State as AxumState,
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) use runner::{Runner, resume_all};

use self::{
    options::{How, JobsPage, Query},
    schema::{Job, JobsPageSchema},
};
use super::{
    Named, Shared, State,
    body::json as respond,
    gate::Caller,
    problem::{Code, Problem, ProblemBody},
};
use crate::{
    job::Counts,
    store::{ApiJob, JobState, StoreError, Viewer, Wish},
};

/// How long a request waits for a run to end politely.
const POLITELY: Duration = Duration::from_secs(5);

/// Every route of lists.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(upload::create, list))
        .routes(routes!(show, delete))
        .routes(routes!(results::results))
        .routes(routes!(events::events))
        .routes(routes!(cancel))
        .routes(routes!(pause))
        .routes(routes!(resume))
}

fn viewer(caller: &Caller) -> Viewer {
    Viewer {
        tenant: caller.tenant().to_string(),
        operator: caller.is_operator(),
    }
}

fn store_failed(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "the database cannot be used");
    Code::StoreFailed.into()
}

/// The caller's job of this id; another's is not there.
fn find(shared: &State, caller: &Caller, id: &str) -> Result<ApiJob, Problem> {
    let found = shared.store.api_job(&viewer(caller), id);
    let found = found.map_err(|error| store_failed(&error))?;
    found.ok_or_else(|| Problem::new(Code::NotFound, "There is no such job."))
}

/// No answer of it will ever be another.
fn is_final(job: &ApiJob) -> bool {
    match job.record.state {
        JobState::Done | JobState::Cancelled => true,
        JobState::Importing | JobState::Open => false,
    }
}

fn state(shared: &State, job: &ApiJob) -> &'static str {
    let runs = shared.runner.live(job.record.number).is_some() || job.record.taken;
    match (job.record.state, job.wish) {
        (JobState::Done, _) => "done",
        (JobState::Importing | JobState::Open, _) if runs => "running",
        (JobState::Importing | JobState::Open, _) if job.tenant.is_none() => "paused",
        (JobState::Importing | JobState::Open, Wish::Run) => "queued",
        (JobState::Importing | JobState::Open, Wish::Pause) => "paused",
        (JobState::Cancelled, _) | (JobState::Importing | JobState::Open, Wish::Cancel) => "cancelled",
        (JobState::Importing | JobState::Open, Wish::Fail) => "failed",
    }
}

/// The job as its tenant sees it: the counts of `presend jobs show --json`, and how it is asked.
fn describe(shared: &State, job: &ApiJob) -> Value {
    let record = &job.record;
    let how: How = serde_json::from_str(&job.options).unwrap_or_default();
    let counts = Counts::of(record);
    let rate = |per_mille: Option<u64>| per_mille.and_then(|rate| Some(f64::from(u32::try_from(rate).ok()?) / 1000.0));
    let (all, sent) = counts.bounce_rates();
    let done = match (shared.runner.live(record.number), record.state) {
        (Some(live), _) => live.progress.snapshot().rows_done.min(record.rows),
        (None, JobState::Done) => record.rows,
        (None, JobState::Importing | JobState::Open | JobState::Cancelled) => counts.answered.unwrap_or_default(),
    };
    let time = |at| humantime::format_rfc3339_millis(at).to_string();
    let mut whole = json!({
        "id": record.id,
        "name": job.name.as_deref().or_else(|| job.tenant.is_none().then_some(&record.source)),
        "origin": if job.tenant.is_some() { "api" } else { "command_line" },
        "state": state(shared, job),
        "rows": record.rows,
        "done": done,
        "by_action": counts.by_action,
        "forecast": { "bounce_rate": rate(all), "bounce_rate_if_sent": rate(sent) },
        "level": how.level,
        "max_age": how.max_age,
        "created_at": time(record.created_at),
        "updated_at": time(record.updated_at),
    });
    if let Some(members) = whole.as_object_mut() {
        members.extend(counts.to_json());
    }
    whole
}

/// A moment later, when what was wished has come about.
fn now(shared: &State, caller: &Caller, id: &str) -> Result<Response, Problem> {
    let job = find(shared, caller, id)?;
    Ok(respond(&describe(shared, &job)))
}

/// List the jobs of the key's tenant.
///
/// Newest first. Keys with the scope `admin`, and this machine while there are no keys, see the lists of the command line as well.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", operation_id = "jobs",
    params(
        ("cursor" = Option<u64>, Query, description = "The `next` of an earlier page.", minimum = 1, maximum = 9_007_199_254_740_991_u64),
        ("limit" = Option<u32>, Query, description = "Jobs of a page.", minimum = 1, maximum = 100),
    ),
    responses(
        (status = 200, description = "Some jobs.", body = JobsPageSchema),
        (status = 400, description = "A problem: `invalid_query`.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn list(
    AxumState(shared): AxumState<Shared>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let page = JobsPage::of(&uri)?;
    // One more tells whether there are more.
    let most = u32::try_from(page.limit + 1).unwrap_or(u32::MAX);
    let found = shared.store.api_jobs(&viewer(&caller), page.before, most);
    let mut jobs = found.map_err(|error| store_failed(&error))?;
    let more = jobs.len() > page.limit;
    jobs.truncate(page.limit);
    let last = jobs.last().filter(|_| more);
    let next = last.map(|job| job.record.number.to_string());
    let shown: Vec<Value> = jobs.iter().map(|job| describe(&shared, job)).collect();
    Ok(respond(&json!({ "jobs": shown, "next": next })))
}

/// Show a job.
///
/// Its state, its counts so far, when it will probably be ready, and what share of its rows would bounce.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", tag = "jobs", operation_id = "job",
    params(("id" = String, Path, description = "The job's id.", example = "k7mqab2x")),
    responses(
        (status = 200, description = "The job.", body = Job),
        (status = 404, description = "There is no such job, or it is not yours.", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
async fn show(
    AxumState(shared): AxumState<Shared>,
    Extension(caller): Extension<Caller>,
    Named(id): Named,
) -> Result<Response, Problem> {
    now(&shared, &caller, &id)
}

/// Says what is to become of a list, and waits a moment for its run to end.
async fn wish(shared: &Shared, job: &ApiJob, wish: Wish) -> Result<(), Problem> {
    let number = job.record.number;
    let wished = shared.store.wish(number, wish).await;
    wished.map_err(|error| store_failed(&error))?;
    runner::dequeue(shared, number);
    if let Some(live) = shared.runner.live(number) {
        live.stop.request();
        live.ended(POLITELY).await;
    }
    shared.runner.poke(number);
    Ok(())
}

async fn give_up(shared: &Shared, job: &ApiJob) -> Result<(), Problem> {
    let number = job.record.number;
    if job.tenant.is_some() {
        wish(shared, job, Wish::Cancel).await?;
    }
    if shared.runner.live(number).is_some() {
        // It is given up when its sessions have ended.
        return Ok(());
    }
    let given_up = shared.store.give_up(number).await;
    shared.runner.poke(number);
    shared.bell.ring();
    given_up.map_err(|error| busy(&error))
}

fn busy(error: &StoreError) -> Problem {
    if matches!(error, StoreError::Busy { .. }) {
        Problem::new(Code::JobBusy, "Another process works on the job.")
    } else if matches!(error, StoreError::NoSuchJob) {
        Problem::new(Code::NotFound, "There is no such job.")
    } else {
        store_failed(error)
    }
}

/// Give a job up.
///
/// What was answered stays. Sessions with mail hosts are ended politely, which may take some seconds.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/cancel", tag = "jobs", operation_id = "cancel_job",
    params(("id" = String, Path, description = "The job's id.", example = "k7mqab2x")),
    responses(
        (status = 200, description = "The job.", body = Job),
        (status = 404, description = "There is no such job, or it is not yours.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "A problem: `job_ended`, `job_busy`.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn cancel(
    AxumState(shared): AxumState<Shared>,
    Extension(caller): Extension<Caller>,
    Named(id): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    Query::of(&uri, &[])?;
    let job = find(&shared, &caller, &id)?;
    match job.record.state {
        JobState::Done => {
            return Err(Problem::new(
                Code::JobEnded,
                "The job is done; there is nothing to give up.",
            ));
        }
        JobState::Cancelled => {}
        JobState::Importing | JobState::Open => give_up(&shared, &job).await?,
    }
    now(&shared, &caller, &id)
}

/// Have a job wait.
///
/// Nobody is asked about it until it is resumed; what was answered stays, and what a mail host asked us to wait is waited for meanwhile.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/pause", tag = "jobs", operation_id = "pause_job",
    params(("id" = String, Path, description = "The job's id.", example = "k7mqab2x")),
    responses(
        (status = 200, description = "The job.", body = Job),
        (status = 404, description = "There is no such job, or it is not yours.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "A problem: `job_ended`, `job_busy`.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn pause(
    AxumState(shared): AxumState<Shared>,
    Extension(caller): Extension<Caller>,
    Named(id): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    Query::of(&uri, &[])?;
    let job = find(&shared, &caller, &id)?;
    check_ours(&job)?;
    wish(&shared, &job, Wish::Pause).await?;
    now(&shared, &caller, &id)
}

/// Have a job go on.
///
/// One that was paused, or that failed.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/resume", tag = "jobs", operation_id = "resume_job",
    params(("id" = String, Path, description = "The job's id.", example = "k7mqab2x")),
    responses(
        (status = 200, description = "The job.", body = Job),
        (status = 404, description = "There is no such job, or it is not yours.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "A problem: `job_ended`, `job_busy`.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn resume(
    AxumState(shared): AxumState<Shared>,
    Extension(caller): Extension<Caller>,
    Named(id): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    Query::of(&uri, &[])?;
    let job = find(&shared, &caller, &id)?;
    let tenant = check_ours(&job)?.to_owned();
    let wished = shared.store.wish(job.record.number, Wish::Run).await;
    wished.map_err(|error| store_failed(&error))?;
    runner::enqueue(&shared, job.record.number, &tenant);
    shared.runner.poke(job.record.number);
    now(&shared, &caller, &id)
}

/// A job that can still run, and here; whose it is.
fn check_ours(job: &ApiJob) -> Result<&str, Problem> {
    match (&job.tenant, job.record.state, job.wish) {
        (_, JobState::Done | JobState::Cancelled, _) | (_, _, Wish::Cancel) => {
            Err(Problem::new(Code::JobEnded, "The job has ended."))
        }
        (None, ..) => {
            let said = "The command line made the job; `presend jobs resume` goes on with it.";
            Err(Problem::new(Code::JobBusy, said))
        }
        (Some(tenant), JobState::Importing | JobState::Open, Wish::Run | Wish::Pause | Wish::Fail) => Ok(tenant),
    }
}

/// Delete a job.
///
/// Rows, answers and evidence are removed from the database, which is then written anew; one that runs is given up first.
#[utoipa::path(
    delete, path = "/v1/jobs/{id}", tag = "jobs", operation_id = "delete_job",
    params(("id" = String, Path, description = "The job's id.", example = "k7mqab2x")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "There is no such job, or it is not yours.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "A problem: `job_busy`.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn delete(
    AxumState(shared): AxumState<Shared>,
    Extension(caller): Extension<Caller>,
    Named(id): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    Query::of(&uri, &[])?;
    let job = find(&shared, &caller, &id)?;
    let number = job.record.number;
    if !is_final(&job) {
        give_up(&shared, &job).await?;
    }
    if shared.runner.live(number).is_some() {
        let said = "Its sessions with mail hosts are being ended; try again in a moment.";
        return Err(Problem::new(Code::JobBusy, said).after(Duration::from_secs(5)));
    }
    shared.runner.forget_view(number);
    let store = Arc::clone(&shared.store);
    let deleted = tokio::task::spawn_blocking(move || crate::store::Store::delete(&*store, number)).await;
    deleted
        .map_err(|error| store_failed(&error))?
        .map_err(|error| busy(&error))?;
    shared.runner.poke(number);
    Ok(StatusCode::NO_CONTENT.into_response())
}
