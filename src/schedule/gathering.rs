//! Groups that wait for more of their domains, and who begins when no more come: the largest, because it takes longest.

use std::{
    cmp::Reverse,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

/// A group that gathers what it will ask.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    addresses: AtomicUsize,
    over: Notify,
}

impl Gathering {
    /// So many more addresses are on their way to the group.
    pub(super) fn add(&self, addresses: usize) {
        self.addresses.fetch_add(addresses, Ordering::Relaxed);
    }

    /// How many addresses came.
    pub(super) fn addresses(&self) -> usize {
        self.addresses.load(Ordering::Relaxed)
    }

    /// Waits until it is the group's turn to begin.
    pub(super) async fn over(&self) {
        self.over.notified().await;
    }
}

/// The groups that gather for a run.
#[derive(Debug, Default)]
pub(super) struct Gatherings(Mutex<Vec<Arc<Gathering>>>);

impl Gatherings {
    /// Another group gathers.
    pub(super) fn begin(&self) -> Arc<Gathering> {
        let gathering = Arc::default();
        self.groups().push(Arc::clone(&gathering));
        gathering
    }

    /// No more work comes: all begin, the largest first.
    pub(super) fn end(&self) {
        let mut groups = std::mem::take(&mut *self.groups());
        groups.sort_by_cached_key(|group| Reverse(group.addresses()));
        for group in groups {
            group.over.notify_one();
        }
    }

    fn groups(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Gathering>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_largest_begins_first() {
        let (gatherings, began) = (Gatherings::default(), Arc::new(Mutex::new(Vec::new())));
        let mut tasks = tokio::task::JoinSet::new();
        for size in [3, 50, 1, 7] {
            let (gathering, began) = (gatherings.begin(), Arc::clone(&began));
            gathering.add(size - 1);
            gathering.add(1);
            tasks.spawn(async move {
                gathering.over().await;
                began.lock().unwrap().push(size);
            });
        }
        tokio::task::yield_now().await;
        gatherings.end();
        tasks.join_all().await;
        assert_eq!(*began.lock().unwrap(), [50, 7, 3, 1]);
    }
}
