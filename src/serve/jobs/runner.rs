//! Lists being asked about: so many at one time, the others in a line in which no tenant waits behind another's many.
//!
//! Each runs on a thread of its own, because a run reads, judges and counts rows for tens of milliseconds at a time; its questions
//! are the engine's, shared with everybody.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};

use super::{
    super::{Shared, State},
    events::Feed,
    options::How,
};
use crate::{
    input::Row,
    job::{Engine, Level, Outcome, Progress, Sink, Stop, Summary, VerifyError, View},
    output::{Chunk, Renderer},
    store::{ApiJob, JobNumber, JobState, StoreError, Wish},
};

/// When to try again what another process works on.
const BUSY: Duration = Duration::from_secs(10);
/// Rows of views that are kept for those who come back, twelve bytes each.
const VIEWED: usize = 4_000_000;

/// A list that is being asked about.
pub(super) struct Live {
    tenant: String,
    pub(super) stop: Stop,
    pub(super) progress: Progress,
    ended: watch::Sender<bool>,
}

impl Live {
    /// Waits until the run has ended, so long at most; whether it has.
    pub(super) async fn ended(&self, within: Duration) -> bool {
        let mut ended = self.ended.subscribe();
        let waited = tokio::time::timeout(within, ended.wait_for(|ended| *ended)).await;
        waited.is_ok()
    }
}

/// Every list that runs or waits.
pub(in super::super) struct Runner {
    inner: Mutex<Inner>,
    most: usize,
    /// One view is made at a time: it takes as much memory as its list.
    viewing: tokio::sync::Mutex<()>,
    idle: Notify,
}

#[derive(Default)]
struct Inner {
    live: HashMap<JobNumber, Arc<Live>>,
    queue: Vec<(JobNumber, String)>,
    views: VecDeque<(JobNumber, Arc<View>)>,
    feeds: HashMap<JobNumber, Weak<Feed>>,
}

impl Inner {
    /// The first job of the tenant who has the fewest running.
    fn take_next(&mut self) -> Option<(JobNumber, String)> {
        let running = |tenant: &str| self.live.values().filter(|live| live.tenant == tenant).count();
        let waiting = self.queue.iter().enumerate();
        let next = waiting.min_by_key(|(_, (number, tenant))| (running(tenant), *number));
        let next = next.map(|(index, _)| index)?;
        Some(self.queue.remove(next))
    }
}

impl Runner {
    pub(in super::super) fn new(most: usize) -> Self {
        Self {
            inner: Mutex::default(),
            most,
            viewing: tokio::sync::Mutex::default(),
            idle: Notify::new(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many run, and how many wait.
    pub(in super::super) fn counts(&self) -> (usize, usize) {
        let inner = self.inner();
        (inner.live.len(), inner.queue.len())
    }

    pub(super) fn live(&self, job: JobNumber) -> Option<Arc<Live>> {
        self.inner().live.get(&job).cloned()
    }

    /// Asks every run to end politely, and waits for it, so long at most.
    pub(in super::super) async fn close(&self, within: Duration) {
        let live: Vec<_> = {
            let mut inner = self.inner();
            inner.queue.clear();
            inner.live.values().cloned().collect()
        };
        for live in &live {
            live.stop.request();
        }
        let ended = async {
            while !self.inner().live.is_empty() {
                self.idle.notified().await;
            }
        };
        if tokio::time::timeout(within, ended).await.is_err() {
            tracing::warn!("lists were still being asked about when the server ended; they go on at its next start");
        }
    }

    /// The feed of a job, made by `make` when nobody watches it yet.
    pub(super) fn feed(&self, job: JobNumber, make: impl FnOnce() -> Arc<Feed>) -> (Arc<Feed>, bool) {
        let mut inner = self.inner();
        inner.feeds.retain(|_, feed| feed.strong_count() > 0);
        if let Some(feed) = inner.feeds.get(&job).and_then(Weak::upgrade) {
            return (feed, false);
        }
        let feed = make();
        inner.feeds.insert(job, Arc::downgrade(&feed));
        (feed, true)
    }

    /// Something about a job is other than it was.
    pub(super) fn poke(&self, job: JobNumber) {
        if let Some(feed) = self.inner().feeds.get(&job).and_then(Weak::upgrade) {
            feed.poke();
        }
    }

    fn keep_view(&self, job: JobNumber, view: Arc<View>) {
        let mut inner = self.inner();
        inner.views.retain(|(other, _)| *other != job);
        inner.views.push_back((job, view));
        let rows = |views: &VecDeque<(JobNumber, Arc<View>)>| views.iter().map(|(_, view)| view.len()).sum::<usize>();
        while inner.views.len() > 64 || inner.views.len() > 1 && rows(&inner.views) > VIEWED {
            inner.views.pop_front();
        }
    }

    pub(super) fn forget_view(&self, job: JobNumber) {
        self.inner().views.retain(|(other, _)| *other != job);
    }

    fn known_view(&self, job: JobNumber) -> Option<Arc<View>> {
        let inner = self.inner();
        let kept = inner.views.iter().find(|(other, _)| *other == job);
        kept.map(|(_, view)| Arc::clone(view))
    }
}

/// Puts a list into the line.
pub(super) fn enqueue(shared: &Shared, job: JobNumber, tenant: &str) {
    let mut inner = shared.runner.inner();
    let there = inner.live.contains_key(&job) || inner.queue.iter().any(|(other, _)| *other == job);
    if !there && !shared.closing.is_requested() {
        inner.queue.push((job, tenant.to_owned()));
    }
    drop(inner);
    pump(shared);
}

/// Takes a list out of the line.
pub(super) fn dequeue(shared: &State, job: JobNumber) {
    shared.runner.inner().queue.retain(|(other, _)| *other != job);
}

/// Every list that was not done when the last server ended.
pub(in super::super) fn resume_all(shared: &Shared) -> Result<(), StoreError> {
    for job in shared.store.unfinished()? {
        let number = job.record.number;
        match (job.wish, job.tenant) {
            (Wish::Run, Some(tenant)) => enqueue(shared, number, &tenant),
            (Wish::Cancel, _) => {
                let shared = Arc::clone(shared);
                tokio::spawn(async move {
                    if let Err(error) = shared.store.give_up(number).await {
                        tracing::warn!(%error, "a list could not be given up");
                    }
                    shared.bell.ring();
                });
            }
            (Wish::Run | Wish::Pause | Wish::Fail, _) => {}
        }
    }
    Ok(())
}

fn pump(shared: &Shared) {
    loop {
        let mut inner = shared.runner.inner();
        if inner.live.len() >= shared.runner.most || shared.closing.is_requested() {
            return;
        }
        let Some((job, tenant)) = inner.take_next() else {
            return;
        };
        let live = Arc::new(Live {
            tenant,
            stop: Stop::new(),
            progress: Progress::default(),
            ended: watch::Sender::new(false),
        });
        inner.live.insert(job, Arc::clone(&live));
        inner.views.retain(|(other, _)| *other != job);
        drop(inner);
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let running = Running { shared, job, live };
            running.shared.runner.poke(job);
            let next = running.run().await;
            let shared = Arc::clone(&running.shared);
            drop(running);
            follow(&shared, job, next).await;
        });
    }
}

/// What comes after a run.
enum Next {
    Nothing,
    Again(Duration),
    Fail,
}

/// A run under way; it gives its place back when it is dropped, whatever happens.
struct Running {
    shared: Shared,
    job: JobNumber,
    live: Arc<Live>,
}

impl Running {
    async fn run(&self) -> Next {
        let found = self.shared.store.api_job_numbered(self.job);
        let job = match found {
            Ok(Some(job)) if job.record.state == JobState::Open && job.wish == Wish::Run => job,
            Ok(_) => return Next::Nothing,
            Err(error) => {
                tracing::error!(%error, "a list cannot be looked up");
                return Next::Again(BUSY);
            }
        };
        let engine = engine(&self.shared, &job);
        let (live, handle, record) = (Arc::clone(&self.live), Handle::current(), job.record.clone());
        let asked = tokio::task::spawn_blocking(move || {
            let (mut sink, stop) = (Unwritten::new(), live.stop.clone());
            handle.block_on(engine.resume(&record, &mut sink, &live.progress, stop))
        });
        let id = &job.record.id;
        match asked.await {
            Ok(Ok(summary)) => {
                tracing::info!(
                    job = id,
                    rows = summary.rows,
                    complete = summary.complete,
                    "a list was asked about"
                );
                self.after(&summary)
            }
            Ok(Err(VerifyError::Store(error))) if matches!(*error, StoreError::Busy { .. } | StoreError::LostLease) => {
                tracing::info!(job = id, "another process works on the list");
                Next::Again(BUSY)
            }
            Ok(Err(error)) => {
                tracing::error!(job = id, %error, "a list could not go on");
                Next::Fail
            }
            Err(error) => {
                tracing::error!(job = id, %error, "a list ended by a fault of ours");
                Next::Fail
            }
        }
    }

    fn after(&self, summary: &Summary) -> Next {
        if summary.complete || self.live.stop.is_requested() {
            return Next::Nothing;
        }
        match summary.retry_at {
            Some(at) => Next::Again(
                at.duration_since(SystemTime::now())
                    .unwrap_or_default()
                    .max(Duration::from_secs(1)),
            ),
            // The way out is blocked, or no mail host may be asked: asking again at once would find the same.
            None => Next::Fail,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let runner = &self.shared.runner;
        // One whose run was cut short shows rows as interrupted that are only open.
        let view = self.live.progress.view();
        if let Some(view) = view.filter(|view| view.first_open(0) == view.len()) {
            runner.keep_view(self.job, Arc::clone(view));
        }
        runner.inner().live.remove(&self.job);
        self.live.ended.send_replace(true);
        runner.idle.notify_waiters();
        runner.poke(self.job);
        self.shared.bell.ring();
        pump(&self.shared);
    }
}

async fn follow(shared: &Shared, number: JobNumber, next: Next) {
    let store = &shared.store;
    match next {
        Next::Again(wait) => {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shared.closing.requested() => return,
            }
        }
        Next::Fail => {
            if let Err(error) = store.wish_instead(number, Wish::Run, Wish::Fail).await {
                tracing::error!(%error, "that a list failed was not written");
            }
            shared.bell.ring();
        }
        Next::Nothing => {}
    }
    // Somebody may have changed his mind meanwhile.
    let wished = match store.api_job_numbered(number) {
        Ok(Some(job)) if job.record.state == JobState::Open => Some((job.wish, job.tenant)),
        Ok(_) | Err(_) => None,
    };
    match wished {
        Some((Wish::Run, Some(tenant))) => enqueue(shared, number, &tenant),
        Some((Wish::Cancel, _)) => {
            if let Err(error) = store.give_up(number).await {
                tracing::warn!(%error, "a list could not be given up");
            }
            shared.bell.ring();
        }
        Some((Wish::Run | Wish::Pause | Wish::Fail, _)) | None => {}
    }
    shared.runner.poke(number);
}

/// The engine that asks about a job, or shows it.
pub(super) fn engine(shared: &State, job: &ApiJob) -> Arc<Engine> {
    let how: How = serde_json::from_str(&job.options).unwrap_or_default();
    let engine = shared.engines.of(
        &job.tenant.as_deref().unwrap_or_default().into(),
        how.level.unwrap_or(Level::Smtp),
        false,
    );
    let mut memory = engine.memory();
    let Some(age) = how.max_age.map(Duration::from_secs) else {
        return engine;
    };
    memory.max_age = memory.max_age.into_iter().chain([age]).min();
    Arc::new(engine.remembering(memory))
}

/// What can be seen of a job; `None` while its run reads it.
pub(super) async fn view(shared: &Shared, job: &ApiJob) -> Result<Option<Arc<View>>, VerifyError> {
    let number = job.record.number;
    if let Some(live) = shared.runner.live(number) {
        return Ok(live.progress.view().cloned());
    }
    if let Some(view) = shared.runner.known_view(number) {
        return Ok(Some(view));
    }
    let _one = shared.runner.viewing.lock().await;
    if let Some(view) = shared.runner.known_view(number) {
        return Ok(Some(view));
    }
    let (engine, record) = (engine(shared, job), job.record.clone());
    let made = tokio::task::spawn_blocking(move || engine.view(&record)).await;
    let made = made.map_err(|_| Arc::new(StoreError::Ended))??;
    let view = Arc::new(made);
    // A job that began to run meanwhile shows more.
    if shared.runner.live(number).is_none() {
        shared.runner.keep_view(number, Arc::clone(&view));
    }
    Ok(Some(view))
}

/// Counts the answers of a run and writes nothing: whoever wants them reads them from the store.
struct Unwritten(Arc<Renderer>);

impl Unwritten {
    fn new() -> Self {
        Self(Arc::new(Renderer::silent()))
    }
}

impl Sink for Unwritten {
    fn write(&mut self, _row: &Row, _outcome: &Outcome) -> io::Result<()> {
        Ok(())
    }

    /// Rows are read and judged on every core, and those that lie all over the store together.
    fn renderer(&self) -> Option<Arc<Renderer>> {
        Some(Arc::clone(&self.0))
    }

    fn append(&mut self, _chunk: &Chunk) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tenant_waits_behind_anothers_many() {
        let mut inner = Inner::default();
        for (number, tenant) in [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "b"), (6, "c")] {
            inner.queue.push((number, tenant.to_owned()));
        }
        let mut order = Vec::new();
        while let Some((number, tenant)) = inner.take_next() {
            order.push(number);
            let live = Live {
                tenant,
                stop: Stop::new(),
                progress: Progress::default(),
                ended: watch::Sender::new(false),
            };
            inner.live.insert(number, Arc::new(live));
        }
        assert_eq!(order, [1, 4, 6, 2, 5, 3]);
    }
}
