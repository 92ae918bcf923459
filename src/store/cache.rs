//! Batches that were written or read lately, so that rows are written without reading each batch many times.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use super::JobNumber;

/// Bytes of batches that stay in memory: forty thousand answers of ordinary hosts. Beyond that the oldest are read again
/// when they are needed.
const ROOM: usize = 4 << 20;

type Key = (JobNumber, u32);

/// Batches in memory, oldest out first.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    batches: HashMap<Key, Arc<[u8]>>,
    order: VecDeque<Key>,
    bytes: usize,
}

impl Cache {
    pub(super) fn find(&self, key: Key) -> Option<Arc<[u8]>> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.batches.get(&key).cloned()
    }

    pub(super) fn keep(&self, key: Key, batch: Arc<[u8]>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.bytes += batch.len();
        match inner.batches.insert(key, batch) {
            // Two threads read it at once. A second place in the line would drop it when it is the only one.
            Some(old) => inner.bytes -= old.len(),
            None => inner.order.push_back(key),
        }
        while inner.bytes > ROOM && inner.order.len() > 1 {
            let Some(oldest) = inner.order.pop_front() else { break };
            if let Some(old) = inner.batches.remove(&oldest) {
                inner.bytes -= old.len();
            }
        }
    }

    /// Drops what belongs to a job.
    pub(super) fn forget(&self, job: JobNumber) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { batches, order, bytes } = &mut *inner;
        batches.retain(|key, _| key.0 != job);
        order.retain(|key| key.0 != job);
        *bytes = batches.values().map(|batch| batch.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_when_there_is_no_room() {
        let cache = Cache::default();
        let big: Arc<[u8]> = vec![0; ROOM / 2].into();
        for number in 0..4 {
            cache.keep((1, number), Arc::clone(&big));
        }
        assert!(cache.find((1, 0)).is_none() && cache.find((1, 1)).is_none());
        assert!(cache.find((1, 2)).is_some() && cache.find((1, 3)).is_some());
        cache.keep((2, 0), Arc::from([1]));
        cache.forget(1);
        assert!(cache.find((1, 3)).is_none() && cache.find((2, 0)).is_some());
        assert_eq!(cache.0.lock().unwrap().bytes, 1);
    }

    #[test]
    fn a_batch_larger_than_the_room_stays_while_it_is_the_newest() {
        let cache = Cache::default();
        let large: Arc<[u8]> = vec![0; ROOM + 1].into();
        for _ in 0..2 {
            cache.keep((1, 0), Arc::clone(&large));
            assert!(cache.find((1, 0)).is_some());
        }
        cache.keep((1, 1), Arc::from([1]));
        assert!(cache.find((1, 0)).is_none() && cache.find((1, 1)).is_some());
        assert_eq!(cache.0.lock().unwrap().bytes, 1);
    }
}
