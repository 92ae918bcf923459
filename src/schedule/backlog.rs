//! Findings on their way to whoever keeps them: counted, so that no session starts while too many wait for the disk, or while
//! those under way wait for the processor.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, Notify, mpsc};

use super::scheduler::Finding;

/// Findings that may wait before new sessions do; those of sessions under way come on top. One takes half a kilobyte.
const MOST: usize = 20_000;

/// Who waits longer than this for the processor has others before him that it is short of. Hosts that answer at once keep it busy,
/// and then sessions beyond those that do take memory and nothing else.
const LAG: Duration = Duration::from_millis(1);
/// A session starts after that in any case: what keeps the processor busy may be another program.
const PATIENCE: Duration = Duration::from_millis(5);

/// How many wait.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: AtomicUsize,
    taken: Notify,
    /// One looks at a time, and what he starts is there when the next one looks.
    turn: Mutex<()>,
}

impl Backlog {
    /// Waits until there is room for another session: for its findings, and on the processor.
    pub(super) async fn room(&self) {
        let _turn = self.turn.lock().await;
        self.drained().await;
        let since = Instant::now();
        loop {
            let before = Instant::now();
            // Whoever can run does so first.
            tokio::task::yield_now().await;
            if before.elapsed() < LAG || since.elapsed() >= PATIENCE {
                return;
            }
        }
    }

    async fn drained(&self) {
        loop {
            let mut taken = std::pin::pin!(self.taken.notified());
            // What is taken from here on is heard of.
            taken.as_mut().enable();
            if self.waiting.load(Ordering::Relaxed) < MOST {
                return;
            }
            taken.await;
        }
    }

    fn take(&self, count: usize) {
        let before = self.waiting.fetch_sub(count, Ordering::Relaxed);
        if before >= MOST && before - count < MOST {
            self.taken.notify_waiters();
        }
    }
}

/// The sending end.
pub(super) struct Reports {
    sender: mpsc::UnboundedSender<Vec<Finding>>,
    pub(super) backlog: Arc<Backlog>,
}

impl Reports {
    /// The receiver is gone only when the run was dropped; nobody wants the findings then.
    pub(super) fn send(&self, findings: Vec<Finding>) {
        self.backlog.waiting.fetch_add(findings.len(), Ordering::Relaxed);
        let _ = self.sender.send(findings);
    }
}

/// Findings as they come, those of one domain at a time.
pub struct Findings {
    receiver: mpsc::UnboundedReceiver<Vec<Finding>>,
    backlog: Arc<Backlog>,
}

impl Findings {
    /// Waits for the next; `None` when every group has ended.
    pub async fn recv(&mut self) -> Option<Vec<Finding>> {
        let findings = self.receiver.recv().await;
        self.taken(findings)
    }

    /// Waits for some, takes up to `most`; how many domains they are of, 0 when every group has ended.
    pub async fn recv_many(&mut self, into: &mut Vec<Vec<Finding>>, most: usize) -> usize {
        let received = self.receiver.recv_many(into, most).await;
        let new = into.iter().rev().take(received);
        self.backlog.take(new.map(Vec::len).sum());
        received
    }

    /// What is there.
    pub fn try_recv(&mut self) -> Option<Vec<Finding>> {
        let findings = self.receiver.try_recv().ok();
        self.taken(findings)
    }

    fn taken(&self, findings: Option<Vec<Finding>>) -> Option<Vec<Finding>> {
        self.backlog.take(findings.as_ref().map_or(0, Vec::len));
        findings
    }
}

/// Both ends.
pub(super) fn channel() -> (Reports, Findings) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let backlog = Arc::new(Backlog::default());
    let reports = Reports {
        sender,
        backlog: Arc::clone(&backlog),
    };
    (reports, Findings { receiver, backlog })
}
