//! Answers by name for as long as they may be kept; concurrent questions for one name become one.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::OnceCell, time::Instant};

/// A bounded table of answers. A question that is dropped half-way is taken over by whoever waits for it.
#[derive(Debug)]
pub(super) struct Cache<V> {
    entries: Mutex<HashMap<Box<str>, Arc<Entry<V>>>>,
    capacity: usize,
}

type Entry<V> = OnceCell<Kept<V>>;

#[derive(Debug)]
struct Kept<V> {
    value: V,
    until: Instant,
}

impl<V: Clone> Cache<V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: Mutex::default(),
            capacity,
        }
    }

    /// The value of `name`, asked for with `ask` when it is not known; `ask` says how long its answer may be kept.
    pub(super) async fn get<F>(&self, name: &str, ask: impl FnOnce() -> F) -> V
    where
        F: Future<Output = (V, Duration)>,
    {
        let entry = self.entry(name);
        let kept = entry.get_or_init(|| async {
            let (value, keep) = ask().await;
            Kept {
                value,
                until: Instant::now() + keep,
            }
        });
        kept.await.value.clone()
    }

    fn entry(&self, name: &str) -> Arc<Entry<V>> {
        let now = Instant::now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(name)
            && !is_over(entry, now)
        {
            return entry.clone();
        }
        if entries.len() >= self.capacity {
            make_room(&mut entries, self.capacity, now);
        }
        let entry = Arc::default();
        entries.insert(name.into(), Arc::clone(&entry));
        entry
    }
}

fn is_over<V>(entry: &Entry<V>, now: Instant) -> bool {
    entry.get().is_some_and(|kept| kept.until <= now)
}

/// Drops what is over; when that is too little, answers of any age until a quarter is free, so that the cost is spread.
/// Questions still open stay, else they could be asked twice.
fn make_room<V>(entries: &mut HashMap<Box<str>, Arc<Entry<V>>>, capacity: usize, now: Instant) {
    entries.retain(|_, entry| !is_over(entry, now));
    let mut surplus = entries.len().saturating_sub(capacity / 4 * 3);
    entries.retain(|_, entry| {
        let drop = surplus > 0 && entry.initialized();
        surplus -= usize::from(drop);
        !drop
    });
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use tokio::{task::JoinSet, time::advance};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_asked_for_once_until_it_is_over() {
        let cache = Cache::new(8);
        let asked = AtomicUsize::new(0);
        let ask = || cache.get("a.test", async || (asked.fetch_add(1, Relaxed), MINUTE));
        assert_eq!((ask().await, ask().await), (0, 0));
        advance(MINUTE - Duration::from_millis(1)).await;
        assert_eq!(ask().await, 0);
        advance(Duration::from_millis(1)).await;
        assert_eq!((ask().await, ask().await), (1, 1));
    }

    #[tokio::test]
    async fn concurrent_questions_for_one_name_become_one() {
        let cache = Arc::new(Cache::new(8));
        let asked = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..100 {
            let (cache, asked) = (cache.clone(), asked.clone());
            tasks.spawn(async move {
                let ask = async || {
                    tokio::task::yield_now().await;
                    (asked.fetch_add(1, Relaxed), MINUTE)
                };
                cache.get("a.test", ask).await
            });
        }
        assert_eq!(tasks.join_all().await, [0; 100]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_question_is_taken_over() {
        let cache = Cache::new(8);
        let dropped = cache.get("a.test", || pending::<(u8, Duration)>());
        assert!(tokio::time::timeout(MINUTE, dropped).await.is_err());
        assert_eq!(cache.get("a.test", async || (7, MINUTE)).await, 7);
    }

    #[tokio::test]
    async fn the_table_stays_within_its_capacity() {
        let cache = Cache::new(64);
        for name in 0..1000 {
            cache.get(&format!("{name}.test"), async || (name, MINUTE)).await;
            assert!(cache.entries.lock().unwrap().len() <= 64);
        }
        assert_eq!(
            cache.get("999.test", async || (0, MINUTE)).await,
            999,
            "the newest is kept"
        );
    }
}
