//! The gap between two questions to one group, kept by governor on tokio's clock, first come first served.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::{sync::Mutex, time::Instant};

/// tokio's clock for governor, so that a paused test clock moves the limiter too.
#[derive(Debug, Clone)]
struct TokioClock {
    start: Instant,
}

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>;

/// Lets one caller through every `gap`.
#[derive(Debug)]
pub(super) struct Pacer {
    // governor wakes all waiters at once and lets them race (CRATES section 4); a fair lock keeps them in line.
    limiter: Option<Mutex<Limiter>>,
    clock: TokioClock,
}

impl Pacer {
    /// One caller every `gap`; a zero gap lets everybody through.
    pub(super) fn new(gap: Duration) -> Self {
        let clock = TokioClock { start: Instant::now() };
        let quota = Quota::with_period(gap).map(|quota| quota.allow_burst(NonZeroU32::MIN));
        let limiter = quota.map(|quota| Mutex::new(RateLimiter::direct_with_clock(quota, clock.clone())));
        Self { limiter, clock }
    }

    /// Waits for one's turn.
    pub(super) async fn turn(&self) {
        let Some(limiter) = &self.limiter else { return };
        let limiter = limiter.lock().await;
        while let Err(early) = limiter.check() {
            tokio::time::sleep(early.wait_time_from(self.clock.now())).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn callers_pass_one_gap_apart() {
        let pacer = Pacer::new(Duration::from_secs(1));
        let start = Instant::now();
        for _ in 0..5 {
            pacer.turn().await;
        }
        let taken = start.elapsed();
        assert!(
            (Duration::from_secs(4)..Duration::from_millis(4100)).contains(&taken),
            "{taken:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn no_gap_no_wait() {
        let pacer = Pacer::new(Duration::ZERO);
        let start = Instant::now();
        for _ in 0..1000 {
            pacer.turn().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
