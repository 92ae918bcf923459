//! What keys have used up of their quotas, which a restart does not give back.
//!
//! The generic cell rate algorithm, as governor has it for rates; its state here outlives the server. It is written once a second:
//! a server that is killed forgives at most the last second.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use super::key::Allowance;
use crate::store::{Spent, SqliteStore, StoreError};

/// Counts that are kept in memory; who used up the least is forgotten first.
const MOST: usize = 200_000;
/// The count of all addresses of a key; the others are of domains.
pub(super) const ALL: i64 = 0;

/// Every count.
pub(super) struct Quotas {
    inner: Mutex<Inner>,
    store: Arc<SqliteStore>,
}

#[derive(Default)]
struct Inner {
    /// When all of it will be back, in nanoseconds since 1970.
    back_at: HashMap<(Arc<str>, i64), u64>,
    changed: HashSet<(Arc<str>, i64)>,
}

/// There is not enough left: the time until there is, if there ever can be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UsedUp(pub(super) Option<Duration>);

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn now() -> u64 {
    nanos(
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

/// When all of it will be back after so many more are taken.
fn take(back_at: u64, now: u64, many: u64, allowance: Allowance) -> Result<u64, UsedUp> {
    let count = u64::from(allowance.count.get());
    let period = nanos(allowance.period);
    if many > count {
        return Err(UsedUp(None));
    }
    // No period is over some days, and no count over 2^32.
    let taken = u128::from(period) * u128::from(many) / u128::from(count);
    let taken = u64::try_from(taken).unwrap_or(u64::MAX).max(1);
    // A clock that was put back must not make a quota last longer than its period.
    let back_at = back_at.clamp(now, now.saturating_add(period)).saturating_add(taken);
    match back_at.checked_sub(now.saturating_add(period)) {
        None | Some(0) => Ok(back_at),
        Some(early) => Err(UsedUp(Some(Duration::from_nanos(early)))),
    }
}

impl Quotas {
    /// With what was used up before.
    pub(super) fn load(store: Arc<SqliteStore>) -> Result<Self, StoreError> {
        let spent = store.spent()?.into_iter();
        let back_at = spent.map(|spent| ((Arc::from(spent.key), spent.what), spent.at.cast_unsigned()));
        let inner = Inner {
            back_at: back_at.collect(),
            changed: HashSet::new(),
        };
        Ok(Self {
            inner: Mutex::new(inner),
            store,
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes so many of a key's allowance, or none.
    pub(super) fn spend(&self, key: &Arc<str>, what: i64, many: usize, allowance: Allowance) -> Result<(), UsedUp> {
        let now = now();
        let mut inner = self.inner();
        if inner.back_at.len() > MOST {
            inner.back_at.retain(|_, at| *at > now);
            let hundredth = now.saturating_add(nanos(allowance.period) / 100);
            if inner.back_at.len() > MOST {
                inner.back_at.retain(|_, at| *at > hundredth);
            }
        }
        let which = (Arc::clone(key), what);
        let before = inner.back_at.get(&which).copied().unwrap_or_default();
        let many = u64::try_from(many).unwrap_or(u64::MAX);
        let back_at = take(before, now, many, allowance)?;
        inner.back_at.insert(which.clone(), back_at);
        inner.changed.insert(which);
        Ok(())
    }

    /// Writes down what changed.
    pub(super) fn write(&self) {
        let mut inner = self.inner();
        let changed = std::mem::take(&mut inner.changed);
        if changed.is_empty() {
            return;
        }
        let spent = changed.into_iter().filter_map(|which| {
            let at = inner.back_at.get(&which)?.cast_signed();
            Some(Spent {
                key: which.0.to_string(),
                what: which.1,
                at,
            })
        });
        self.store.keep_spent(spent.collect(), now().cast_signed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store as _;

    #[test]
    fn a_quota_comes_back_bit_by_bit() {
        let allowance: Allowance = "10/day".parse().unwrap();
        let (tenth, now) = (nanos(Duration::from_mins(144)), 1_000_000_000_000_000_000);
        let full = take(0, now, 10, allowance).unwrap();
        assert_eq!(full, now + 10 * tenth);
        let early = take(full, now, 1, allowance).unwrap_err();
        assert_eq!(early, UsedUp(Some(Duration::from_mins(144))));
        assert!(take(full, now + tenth, 1, allowance).is_ok());
        assert!(take(full, now + tenth, 2, allowance).is_err());
        assert_eq!(take(0, now, 11, allowance), Err(UsedUp(None)));
        // The clock was put back by a year: not longer than a day.
        let year = 365 * 10 * tenth;
        assert_eq!(
            take(full, now - year, 1, allowance),
            Err(UsedUp(Some(Duration::from_mins(144))))
        );
    }

    #[test]
    fn a_restart_gives_nothing_back() {
        let store = Arc::new(SqliteStore::private().unwrap());
        let (key, allowance): (Arc<str>, Allowance) = ("k".into(), "2/day".parse().unwrap());
        let quotas = Quotas::load(Arc::clone(&store)).unwrap();
        quotas.spend(&key, ALL, 2, allowance).unwrap();
        quotas.spend(&key, 7, 1, allowance).unwrap();
        quotas.write();
        store.flush().blocking_recv().unwrap().unwrap();
        let again = Quotas::load(Arc::clone(&store)).unwrap();
        assert!(again.spend(&key, ALL, 1, allowance).is_err());
        again.spend(&key, 7, 1, allowance).unwrap();
        assert!(again.spend(&key, 7, 1, allowance).is_err());
        again.spend(&"other".into(), ALL, 2, allowance).unwrap();
    }
}
