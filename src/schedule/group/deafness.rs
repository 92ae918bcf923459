//! Hosts that offer PIPELINING and answer only the start of a burst (HOSTILE T3): spoken to in lockstep, in later runs too.

use std::time::Duration;

use super::Group;
use crate::store::stable_hash;

/// A host may mend; asked for a burst once more, it costs one session.
const BELIEVED: Duration = Duration::from_hours(30 * 24);
/// Hosts remembered of one group.
const MOST: usize = 100;

impl Group {
    /// Whether one of the hosts is known not to listen to bursts.
    pub(super) fn is_deaf(&self, hosts: &[(u16, std::sync::Arc<str>)]) -> bool {
        hosts
            .iter()
            .any(|(_, host)| self.deaf.iter().any(|(number, _)| *number == number_of(host)))
    }

    /// Remembers a host that did not listen.
    pub(super) fn is_found_deaf(&mut self, host: &str) {
        let times = self.shared.times();
        let until = times.millis(times.now + BELIEVED);
        let number = number_of(host);
        self.deaf.retain(|(known, _)| *known != number);
        if self.deaf.len() < MOST {
            self.deaf.push((number, until));
        }
    }
}

fn number_of(host: &str) -> u64 {
    stable_hash(host.as_bytes(), 0)
}

/// What is still believed.
pub(super) fn deaf_still(kept: &[(u64, u64)], now: u64) -> Vec<(u64, u64)> {
    kept.iter()
        .copied()
        .filter(|(_, until)| *until > now)
        .take(MOST)
        .collect()
}
