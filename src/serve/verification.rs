//! Verifications under way and those that are done: asked once, waited for by whoever asked, and fetched later by id.
//!
//! One whose caller was told to come back is in the database, and goes on when the server starts again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use rand::{TryRngCore as _, rngs::OsRng};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{
    Engines, Limits,
    happening::Bell,
    problem::{Code, Problem},
    verify::render,
};
use crate::{
    job::{Engine, Level, Outcome, Stop},
    output::Detail,
    store::{KeptVerification, Patience, SqliteStore, StoreError},
    verdict::Reason,
};

/// What is known so far.
pub(super) struct Answers {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) standing: Standing,
}

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Some of it is not answered.
    Pending,
    /// All of it is.
    Final,
    /// The store failed.
    Failed,
}

/// What is asked; kept as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Asking {
    pub(super) typed: Vec<String>,
    /// Asked as a list of addresses.
    pub(super) batch: bool,
    pub(super) transcript: bool,
    pub(super) level: Level,
    /// Seconds.
    pub(super) max_age: Option<u64>,
}

impl Asking {
    /// How old answers may be.
    fn memory(&self, engine: &Engine) -> Patience {
        let mut memory = engine.memory();
        let mut max_age = self.max_age.map(Duration::from_secs);
        if self.transcript {
            // Kept answers have no dialogues.
            max_age = Some(max_age.unwrap_or_default());
        }
        // Older than the operator allows is not had by asking for it.
        memory.max_age = memory.max_age.into_iter().chain(max_age).min();
        memory
    }
}

/// A verification that was asked for by its id.
pub(super) enum Found {
    /// Its answers are here.
    Here(Arc<Verification>),
    /// Its final answer, as it is sent.
    Kept(String),
}

/// One question with its answers.
pub(super) struct Verification {
    pub(super) id: Arc<str>,
    tenant: Arc<str>,
    began: SystemTime,
    pub(super) batch: bool,
    pub(super) transcript: bool,
    question: Asking,
    /// It is in the database.
    kept: AtomicBool,
    answers: watch::Sender<Answers>,
}

/// A verification's id, its tenant, and when it began.
type Which = (Arc<str>, Arc<str>, SystemTime);

impl Verification {
    fn new((id, tenant, began): Which, question: Asking, answers: Answers) -> Self {
        Self {
            id,
            tenant,
            began,
            batch: question.batch,
            transcript: question.transcript,
            question,
            kept: AtomicBool::new(false),
            answers: watch::channel(answers).0,
        }
    }

    /// Waits until everything is answered, so long at most.
    pub(super) async fn done(&self, within: Duration) {
        if !self.is_pending() {
            return;
        }
        let mut answers = self.answers.subscribe();
        let done = answers.wait_for(|answers| answers.standing != Standing::Pending);
        // The sender is ours, and who waits no longer takes what there is.
        let _ = tokio::time::timeout(within, done).await;
    }

    /// What is known now.
    pub(super) fn now<T>(&self, read: impl FnOnce(&Answers) -> T) -> T {
        read(&self.answers.borrow())
    }

    fn is_pending(&self) -> bool {
        self.answers.borrow().standing == Standing::Pending
    }

    fn is_older(&self, than: Duration) -> bool {
        self.began.elapsed().unwrap_or_default() > than
    }

    /// The final answer as it is sent, once there is one.
    fn answer(&self) -> Option<String> {
        let detail = Detail {
            transcript: self.transcript,
            ..Detail::default()
        };
        let body = self.now(|answers| {
            let is_final = answers.standing == Standing::Final;
            is_final.then(|| render(&answers.outcomes, self.batch, (detail, None)))
        });
        String::from_utf8(body?).ok()
    }
}

/// Every verification of every tenant.
pub(super) struct Verifications {
    kept: Mutex<Kept>,
    most_pending: usize,
    most_kept: usize,
    keep: Duration,
    stop: Stop,
    store: Arc<SqliteStore>,
    bell: Bell,
}

#[derive(Default)]
struct Kept {
    by_id: HashMap<Arc<str>, Arc<Verification>>,
    /// By age.
    order: BTreeMap<u64, Arc<str>>,
    made: u64,
    pending: HashMap<Arc<str>, usize>,
}

impl Verifications {
    pub(super) fn new(limits: &Limits, stop: Stop, (store, bell): (Arc<SqliteStore>, Bell)) -> Self {
        Self {
            kept: Mutex::default(),
            most_pending: limits.max_pending,
            most_kept: limits.max_kept,
            keep: limits.keep,
            stop,
            store,
            bell,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, for as long as it takes: the caller may leave and come back.
    pub(super) fn begin(
        self: &Arc<Self>,
        engines: &Engines,
        tenant: &Arc<str>,
        question: Asking,
    ) -> Result<Arc<Verification>, Problem> {
        let engine = engines.of(tenant, question.level, question.transcript);
        // A store that cannot be read is told of when somebody is to be asked.
        if let Ok(Some(outcomes)) = engine.at_hand(&question.typed, question.memory(&engine)) {
            let answers = Answers {
                outcomes,
                standing: Standing::Final,
            };
            let which = (id()?, Arc::clone(tenant), SystemTime::now());
            return Ok(Arc::new(Verification::new(which, question, answers)));
        }
        let open = self.kept().pending.get(tenant).copied().unwrap_or_default();
        if open >= self.most_pending {
            let said = format!("{} verifications are not answered yet.", self.most_pending);
            return Err(Problem::new(Code::TooManyPending, said).after(Duration::from_secs(10)));
        }
        let which = (id()?, Arc::clone(tenant), SystemTime::now());
        Ok(self.ask(engine, which, question, false))
    }

    /// Asks what was asked before the server started.
    pub(super) fn resume(self: &Arc<Self>, engines: &Engines) -> Result<(), StoreError> {
        let since = SystemTime::now().checked_sub(self.keep);
        for kept in self.store.open_verifications(since.unwrap_or(SystemTime::UNIX_EPOCH))? {
            let Ok(question) = serde_json::from_str::<Asking>(&kept.question) else {
                continue;
            };
            let which = (kept.id.into(), kept.tenant.into(), kept.created_at);
            let engine = engines.of(&which.1, question.level, question.transcript);
            let verification = self.ask(engine, which, question, true);
            self.remember(&verification);
        }
        Ok(())
    }

    fn ask(self: &Arc<Self>, engine: Arc<Engine>, which: Which, question: Asking, kept: bool) -> Arc<Verification> {
        let tenant = Arc::clone(&which.1);
        let answers = Answers {
            outcomes: question.typed.iter().map(|typed| engine.pending(typed)).collect(),
            standing: Standing::Pending,
        };
        let verification = Arc::new(Verification::new(which, question, answers));
        verification.kept.store(kept, Ordering::Relaxed);
        *self.kept().pending.entry(tenant).or_default() += 1;
        let answered = Answered {
            all: Arc::clone(self),
            mine: Arc::clone(&verification),
        };
        tokio::spawn(async move { answered.ask(&engine).await });
        verification
    }

    /// Keeps a verification for those who come back, also to another server.
    pub(super) async fn keep(&self, verification: &Arc<Verification>) -> Result<(), Problem> {
        self.remember(verification);
        verification.kept.store(true, Ordering::Relaxed);
        let one = KeptVerification {
            id: verification.id.to_string(),
            tenant: verification.tenant.to_string(),
            // Texts and numbers cannot fail to be written.
            question: serde_json::to_string(&verification.question).unwrap_or_default(),
            created_at: verification.began,
            answer: None,
        };
        self.store
            .keep_verification(one, self.most_kept)
            .await
            .map_err(|error| {
                tracing::error!(%error, "a verification cannot be kept");
                Problem::from(Code::StoreFailed)
            })?;
        // It may have been answered before it was kept.
        self.write_answer(verification).await;
        Ok(())
    }

    async fn write_answer(&self, verification: &Verification) {
        if !verification.kept.load(Ordering::Relaxed) {
            return;
        }
        let Some(answer) = verification.answer() else { return };
        match self.store.answer_verification(&verification.id, answer).await {
            Ok(()) => self.bell.ring(),
            Err(error) => tracing::error!(%error, "the answer to a verification cannot be kept"),
        }
    }

    fn remember(&self, verification: &Arc<Verification>) {
        let mut kept = self.kept();
        kept.made += 1;
        let number = kept.made;
        kept.by_id
            .insert(Arc::clone(&verification.id), Arc::clone(verification));
        kept.order.insert(number, Arc::clone(&verification.id));
        // The oldest go first: when they are too old, or too many, those that are answered before the others.
        while let Some((&oldest, id)) = kept.order.first_key_value() {
            let old = kept.by_id.get(id).is_none_or(|old| old.is_older(self.keep));
            if !old && kept.order.len() <= self.most_kept {
                break;
            }
            let done = kept
                .order
                .iter()
                .take(64)
                .find(|(_, id)| kept.by_id.get(*id).is_none_or(|one| !one.is_pending()));
            let goes = if old {
                oldest
            } else {
                done.map_or(oldest, |(number, _)| *number)
            };
            if let Some(id) = kept.order.remove(&goes) {
                kept.by_id.remove(&id);
            }
        }
    }

    /// The tenant's verification of this id; another's is not there.
    pub(super) fn find(&self, tenant: &str, id: &str) -> Result<Option<Found>, Problem> {
        if let Some(found) = self.kept().by_id.get(id) {
            let theirs = *found.tenant == *tenant && !found.is_older(self.keep);
            return Ok(theirs.then(|| Found::Here(Arc::clone(found))));
        }
        let since = SystemTime::now().checked_sub(self.keep);
        let kept = self
            .store
            .verification(tenant, id, since.unwrap_or(SystemTime::UNIX_EPOCH));
        let kept = kept.map_err(|error| {
            tracing::error!(%error, "a verification cannot be read");
            Problem::from(Code::StoreFailed)
        })?;
        Ok(kept.and_then(|kept| kept.answer).map(Found::Kept))
    }

    /// How many are not answered yet.
    pub(super) fn pending(&self) -> usize {
        self.kept().pending.values().sum()
    }
}

/// A verification being asked about; counted until it is dropped, whatever happens.
struct Answered {
    all: Arc<Verifications>,
    mine: Arc<Verification>,
}

impl Answered {
    async fn ask(&self, engine: &Engine) {
        let answers = &self.mine.answers;
        let mut heard = |index: usize, outcome: Outcome| {
            answers.send_modify(|answers| {
                if let Some(place) = answers.outcomes.get_mut(index) {
                    *place = outcome;
                }
            });
        };
        let (question, stop) = (&self.mine.question, &self.all.stop);
        let memory = question.memory(engine);
        let result = engine.ask(&question.typed, stop, memory, &mut heard).await;
        let cut_short = |outcome: &Outcome| outcome.verdict.reason == Reason::Interrupted;
        // The next server asks about it.
        let again = stop.is_requested() && result.as_ref().is_ok_and(|outcomes| outcomes.iter().any(cut_short));
        answers.send_modify(|answers| match result {
            Ok(outcomes) => {
                answers.outcomes = outcomes;
                answers.standing = Standing::Final;
            }
            Err(error) => {
                tracing::error!(%error, "a verification ended without its answers");
                answers.standing = Standing::Failed;
            }
        });
        if !again {
            self.all.write_answer(&self.mine).await;
        }
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.mine.answers.send_if_modified(|answers| {
            // Lost by a fault of ours.
            let pending = answers.standing == Standing::Pending;
            if pending {
                answers.standing = Standing::Failed;
            }
            pending
        });
        let mut kept = self.all.kept();
        if let Some(pending) = kept.pending.get_mut(&self.mine.tenant) {
            *pending -= 1;
            if *pending == 0 {
                kept.pending.remove(&self.mine.tenant);
            }
        }
    }
}

/// Nobody guesses it.
fn id() -> Result<Arc<str>, Problem> {
    let mut bytes = [0; 16];
    OsRng.try_fill_bytes(&mut bytes).map_err(|error| {
        tracing::error!(%error, "no random numbers");
        Problem::from(Code::Internal)
    })?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)).into())
}

/// When to come back for an answer.
pub(super) fn come_back(outcomes: &[Outcome]) -> SystemTime {
    let now = SystemTime::now();
    let soon = now + Duration::from_secs(5);
    outcomes
        .iter()
        .filter_map(|outcome| outcome.retry_at)
        .min()
        .map_or(soon, |at| at.max(now + Duration::from_secs(1)))
}
