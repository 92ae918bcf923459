//! Verifications under way and those that are done: asked once, waited for by whoever asked, and fetched later by id.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use rand::{TryRngCore as _, rngs::OsRng};
use tokio::{sync::watch, time::Instant};

use super::{
    Limits,
    problem::{Code, Problem},
};
use crate::{
    job::{Engine, Outcome, Stop},
    store::Patience,
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

/// What is asked.
pub(super) struct Question {
    pub(super) engine: Arc<Engine>,
    pub(super) typed: Vec<String>,
    pub(super) memory: Patience,
    /// Asked as a list of addresses.
    pub(super) batch: bool,
    pub(super) transcript: bool,
}

/// One question with its answers.
pub(super) struct Verification {
    pub(super) id: Arc<str>,
    tenant: Arc<str>,
    began: Instant,
    pub(super) batch: bool,
    pub(super) transcript: bool,
    answers: watch::Sender<Answers>,
}

impl Verification {
    /// Waits until everything is answered, so long at most.
    pub(super) async fn done(&self, within: Duration) {
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
}

/// Every verification of every tenant.
pub(super) struct Verifications {
    kept: Mutex<Kept>,
    most_pending: usize,
    most_kept: usize,
    keep: Duration,
    stop: Stop,
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
    pub(super) fn new(limits: &Limits, stop: Stop) -> Self {
        Self {
            kept: Mutex::default(),
            most_pending: limits.max_pending,
            most_kept: limits.max_kept,
            keep: limits.keep,
            stop,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, for as long as it takes: the caller may leave and come back.
    pub(super) fn begin(self: &Arc<Self>, tenant: &Arc<str>, question: Question) -> Result<Arc<Verification>, Problem> {
        let outcomes = question
            .typed
            .iter()
            .map(|typed| question.engine.pending(typed))
            .collect();
        let (answers, _) = watch::channel(Answers {
            outcomes,
            standing: Standing::Pending,
        });
        let verification = Arc::new(Verification {
            id: id()?,
            tenant: Arc::clone(tenant),
            began: Instant::now(),
            batch: question.batch,
            transcript: question.transcript,
            answers,
        });
        let mut kept = self.kept();
        let pending = kept.pending.entry(Arc::clone(tenant)).or_default();
        if *pending >= self.most_pending {
            let said = format!("{} verifications are not answered yet.", self.most_pending);
            return Err(Problem::new(Code::TooManyPending, said).after(Duration::from_secs(10)));
        }
        *pending += 1;
        drop(kept);
        let (all, mine) = (Arc::clone(self), Arc::clone(&verification));
        tokio::spawn(async move {
            let answered = Answered { all, mine };
            answered.ask(question).await;
        });
        Ok(verification)
    }

    /// Keeps a verification for those who come back.
    pub(super) fn keep(&self, verification: &Arc<Verification>) {
        let mut kept = self.kept();
        kept.made += 1;
        let number = kept.made;
        kept.by_id
            .insert(Arc::clone(&verification.id), Arc::clone(verification));
        kept.order.insert(number, Arc::clone(&verification.id));
        // The oldest go first: when they are too old, or too many, those that are answered before the others.
        while let Some((&oldest, id)) = kept.order.first_key_value() {
            let old = kept.by_id.get(id).is_none_or(|old| old.began.elapsed() > self.keep);
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
    pub(super) fn find(&self, tenant: &str, id: &str) -> Option<Arc<Verification>> {
        let kept = self.kept();
        let found = kept.by_id.get(id)?;
        (*found.tenant == *tenant && found.began.elapsed() <= self.keep).then(|| Arc::clone(found))
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
    async fn ask(&self, question: Question) {
        let answers = &self.mine.answers;
        let mut heard = |index: usize, outcome: Outcome| {
            answers.send_modify(|answers| {
                if let Some(place) = answers.outcomes.get_mut(index) {
                    *place = outcome;
                }
            });
        };
        let Question {
            engine, typed, memory, ..
        } = question;
        let result = engine.ask(&typed, &self.all.stop, memory, &mut heard).await;
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
