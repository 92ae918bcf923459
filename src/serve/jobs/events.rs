//! `GET /v1/jobs/{id}/events`: how a job gets on, as server-sent events.
//!
//! One task for each watched job looks at it and tells all who watch; a watcher is a number and two pointers, because thousands
//! may wait for one job. Results are read from the store when they are wanted, so that a slow reader costs nobody memory.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use tokio::sync::{Notify, watch};

use super::{
    super::{
        Named, Shared,
        gate::{Caller, Stream},
        problem::{Code, Problem, ProblemBody},
    },
    describe, find, is_final,
    options::ResultsPage,
    results::Shown,
    runner,
    schema::Said,
    viewer,
};
use crate::{
    job::View,
    store::{ApiJob, JobNumber, JobState, Viewer, Wish},
};

/// How often a job that runs is looked at, at most.
const OFTEN: Duration = Duration::from_millis(250);
/// How often it is looked at, at least.
const SELDOM: Duration = Duration::from_secs(1);
/// How often one is looked at that does not run: another process may have changed it.
const IDLE: Duration = Duration::from_secs(10);
/// Rows that are sent together.
const TOGETHER: usize = 64;

/// A job as it was last seen.
#[derive(Debug, Clone, Default)]
struct Sight {
    /// Rows that can be sent.
    known: usize,
    /// The job as JSON.
    job: Arc<str>,
    of: Option<Arc<ApiJob>>,
    /// Nothing more will come.
    ended: bool,
}

/// What watchers of one job share.
pub(super) struct Feed {
    sight: watch::Sender<Sight>,
    poked: Arc<Notify>,
    shown: Shown,
    job: ApiJob,
}

impl Feed {
    pub(super) fn poke(&self) {
        self.poked.notify_one();
    }
}

/// Looks at a job for as long as somebody watches it.
async fn look(shared: Shared, feed: Weak<Feed>, (viewer, id): (Viewer, String), poked: Arc<Notify>) {
    loop {
        let Some(watched) = feed.upgrade() else { return };
        let job = shared.store.api_job(&viewer, &id);
        let number = watched.job.record.number;
        let sight = match job {
            Ok(Some(job)) => see(&shared, &watched, &job).await,
            // It was deleted.
            Ok(None) => Some(Sight {
                ended: true,
                ..watched.sight.borrow().clone()
            }),
            Err(_) => None,
        };
        let Some(sight) = sight else {
            tokio::time::sleep(SELDOM).await;
            continue;
        };
        let ended = sight.ended;
        watched.sight.send_if_modified(|seen| {
            let changed = seen.known != sight.known || seen.job != sight.job || seen.ended != sight.ended;
            *seen = sight;
            changed
        });
        drop(watched);
        if ended {
            return;
        }
        wait(&shared, number, &poked).await;
    }
}

async fn see(shared: &Shared, feed: &Feed, job: &ApiJob) -> Option<Sight> {
    let ended = is_final(job);
    let before = feed.sight.borrow().known;
    let rows = usize::try_from(job.record.rows).unwrap_or(usize::MAX);
    let known = if ended {
        rows
    } else if let Some(live) = shared.runner.live(job.record.number) {
        let first_open = *live.progress.first_open().borrow();
        first_open.max(before)
    } else if job.wish == Wish::Run && job.record.state == JobState::Open {
        // It waits for its turn, and shows what it has when it runs.
        before
    } else {
        let view: Option<Arc<View>> = runner::view(shared, job).await.ok()?;
        view.map_or(before, |view| view.first_open(before))
    };
    Some(Sight {
        known,
        job: describe(shared, job).to_string().into(),
        of: Some(Arc::new(job.clone())),
        ended,
    })
}

async fn wait(shared: &Shared, number: JobNumber, poked: &Notify) {
    let Some(live) = shared.runner.live(number) else {
        let _ = tokio::time::timeout(IDLE, poked.notified()).await;
        return;
    };
    let mut first_open = live.progress.first_open();
    drop(live);
    tokio::time::sleep(OFTEN).await;
    tokio::select! {
        changed = first_open.changed() => if changed.is_err() { tokio::task::yield_now().await },
        () = poked.notified() => {}
        () = tokio::time::sleep(SELDOM) => {}
    }
}

/// One who watches a job.
struct Watcher {
    shared: Shared,
    feed: Arc<Feed>,
    sights: watch::Receiver<Sight>,
    caller: Caller,
    _stream: Stream,
    /// The next row to send.
    next: usize,
    /// The last thing was said.
    ended: bool,
}

impl Watcher {
    /// What is said next; `None` when that was all.
    async fn say(&mut self) -> Option<Result<Bytes, axum::Error>> {
        loop {
            if self.ended {
                return None;
            }
            let sight = self.sights.borrow().clone();
            if self.next < sight.known
                && let Some(said) = self.results(sight.known).await
            {
                return Some(said);
            }
            if sight.ended && self.next >= sight.known {
                self.ended = true;
                return Some(Ok(event("end", None, sight.job.as_bytes())));
            }
            tokio::select! {
                changed = self.sights.changed() => {
                    changed.ok()?;
                    let job = Arc::clone(&self.sights.borrow().job);
                    let waits = self.next >= self.sights.borrow().known && !self.sights.borrow().ended;
                    if waits && !job.is_empty() {
                        return Some(Ok(event("progress", None, job.as_bytes())));
                    }
                }
                () = tokio::time::sleep(self.shared.limits.heartbeat) => {
                    // A key that was revoked hears nothing more.
                    return self.shared.gate.still_counts(&self.caller).then(|| Ok(Bytes::from_static(b":\n\n")));
                }
                () = self.shared.closing.requested() => return None,
            }
        }
    }

    /// The next results; nothing while a run that begins reads the rows.
    async fn results(&mut self, known: usize) -> Option<Result<Bytes, axum::Error>> {
        let seen = self.sights.borrow().of.clone();
        let job = seen.as_deref().unwrap_or(&self.feed.job);
        match runner::view(&self.shared, job).await {
            Ok(view) => Some(self.read(&view?, known).await),
            Err(_) => Some(Err(unreadable())),
        }
    }

    async fn read(&mut self, view: &Arc<View>, known: usize) -> Result<Bytes, axum::Error> {
        let most = TOGETHER.min(known - self.next);
        let all = Arc::new(ResultsPage::all());
        let shown = self.feed.shown.clone();
        let read = shown.rows(&self.shared, view, (self.next, most), &all).await;
        let lines = read.map_err(|_| unreadable())?;
        if lines.is_empty() {
            return Err(unreadable());
        }
        let mut said = Vec::with_capacity(1024 * lines.len());
        for (number, line) in lines {
            said.extend_from_slice(&event("result", Some(number + 1), line.trim_ascii_end()));
            self.next = number + 1;
        }
        Ok(said.into())
    }
}

fn unreadable() -> axum::Error {
    axum::Error::new(std::io::Error::other("the rows cannot be read"))
}

/// An event; its data is one line of JSON.
fn event(kind: &str, id: Option<usize>, data: &[u8]) -> Bytes {
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    let head = format!("{id}event: {kind}\ndata: ");
    [head.as_bytes(), data, b"\n\n"].concat().into()
}

/// Watch a job.
///
/// Server-sent events: `result` for each row in the order of the list, as soon as it and all before it are answered; `progress` with the
/// job as it is, about once a second while it changes; `end` with the job when all is said. A comment comes every 15 seconds. The id of a
/// `result` is the number of rows up to it: with `Last-Event-ID` the stream goes on after that one.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/events", tag = "jobs", operation_id = "job_events",
    params(
        ("id" = String, Path, description = "The job's id.", example = "k7mqab2x"),
        ("Last-Event-ID" = Option<u32>, Header, description = "The id of the last event that was received.", minimum = 0, maximum = 4_294_967_295_u64),
    ),
    responses(
        (status = 200, description = "Events, until the job ends.", body = Said, content_type = "text/event-stream"),
        (status = 400, description = "A problem: `invalid_value`, `invalid_query`.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such job, or it is not yours.", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn events(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Named(id): Named,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last = headers.get("last-event-id");
    let last = last.map(|value| value.to_str().ok()?.parse::<u32>().ok());
    let wrong = || {
        Problem::new(
            Code::InvalidValue,
            "`Last-Event-ID` is the id of an event that was sent: a number.",
        )
    };
    let next = last.map_or(Some(0), |last| last).ok_or_else(wrong)? as usize;
    let job = find(&shared, &caller, &id)?;
    let stream = caller.stream(shared.limits.max_streams)?;
    let number = job.record.number;
    let viewer = viewer(&caller);
    let (feed, new) = shared.runner.feed(number, || {
        let shown = Shown::of(&shared, &job);
        Arc::new(Feed {
            sight: watch::Sender::default(),
            poked: Arc::default(),
            shown,
            job,
        })
    });
    if new {
        let poked = Arc::clone(&feed.poked);
        tokio::spawn(look(Arc::clone(&shared), Arc::downgrade(&feed), (viewer, id), poked));
    }
    let mut sights = feed.sight.subscribe();
    // Whoever comes hears at once how the job is.
    sights.mark_changed();
    let watcher = Watcher {
        shared,
        sights,
        feed,
        caller,
        _stream: stream,
        next,
        ended: false,
    };
    let said = futures_util::stream::unfold(
        watcher,
        |mut watcher| async move { Some((watcher.say().await?, watcher)) },
    );
    let mut response = Response::new(Body::from_stream(said));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Proxies would gather them (nginx).
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_few_lines_and_a_blank_one() {
        assert_eq!(&event("end", None, b"{}")[..], b"event: end\ndata: {}\n\n");
        assert_eq!(
            &event("result", Some(7), b"{}")[..],
            b"id: 7\nevent: result\ndata: {}\n\n"
        );
    }
}
