//! The operator's own mail hosts, which answer at once and have no budget: how many are asked at the same time.

use std::{ops::RangeInclusive, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Addresses that are asked about at once: more at the same time only take memory, half a kilobyte each.
const ADDRESSES: usize = 32_768;
/// As how many those of one host count, at least and at most: sessions take memory too, and a large host is asked about a few of
/// its addresses at a time.
const OF_ONE: RangeInclusive<u32> = 64..=4_096;

/// Whose turn it is.
#[derive(Debug, Clone)]
pub(super) struct Own(Arc<Semaphore>);

impl Own {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(ADDRESSES)))
    }

    /// Waits until a host may be asked about so many addresses; it may until the turn is dropped.
    pub(super) async fn turn(&self, addresses: usize) -> Option<OwnedSemaphorePermit> {
        let (least, most) = OF_ONE.into_inner();
        let count = u32::try_from(addresses).unwrap_or(most).clamp(least, most);
        Arc::clone(&self.0).acquire_many_owned(count).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn many_small_hosts_have_their_turn_at_once_and_few_large_ones() {
        for (addresses, hosts) in [(0, 512), (1, 512), (40, 512), (200, 163), (5_000, 8), (usize::MAX, 8)] {
            let own = Own::new();
            let mut turns = Vec::new();
            while let Some(Some(turn)) = own.turn(addresses).now_or_never() {
                turns.push(turn);
            }
            assert_eq!(turns.len(), hosts, "{addresses}");
            // The next begins when one is through.
            turns.pop();
            assert!(own.turn(addresses).now_or_never().is_some(), "{addresses}");
        }
    }
}
