//! Findings on their way to whoever keeps them: counted, so that no session starts while too many wait for the disk.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{Notify, mpsc};

use super::scheduler::Finding;
use crate::stop::Stop;

/// Findings that may wait before new sessions do; those of sessions under way come on top. One takes half a kilobyte.
const MOST: usize = 10_000;

/// How many wait.
#[derive(Debug, Default)]
struct Backlog {
    waiting: AtomicUsize,
    taken: Notify,
}

impl Backlog {
    /// Waits until there is room for the findings of another session.
    async fn room(&self) {
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
    backlog: Arc<Backlog>,
    unheard: Stop,
}

impl Reports {
    /// Waits until the receiver keeps up, or is gone.
    pub(super) async fn room(&self) {
        tokio::select! {
            () = self.backlog.room() => {}
            () = self.unheard.requested() => {}
        }
    }

    /// Nobody listens any more.
    pub(super) fn is_unheard(&self) -> bool {
        self.sender.is_closed()
    }

    /// Requested when nobody listens any more.
    pub(super) fn unheard(&self) -> Stop {
        self.unheard.clone()
    }

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
    unheard: Stop,
}

impl Drop for Findings {
    fn drop(&mut self) {
        self.receiver.close();
        self.unheard.request();
    }
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
    let unheard = Stop::new();
    let reports = Reports {
        sender,
        backlog: Arc::clone(&backlog),
        unheard: unheard.clone(),
    };
    let findings = Findings {
        receiver,
        backlog,
        unheard,
    };
    (reports, findings)
}
