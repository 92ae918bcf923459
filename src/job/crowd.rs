//! When many answers are awaited: taken together, so that whoever takes them is not woken for every single one.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// Addresses not settled yet that are a crowd.
const CROWD: usize = 256;
/// How often the answers of a crowd are taken at most. To be woken for every single one cost a tenth of the processor time of
/// ten thousand sessions that ended at once.
const REST: Duration = Duration::from_millis(1);
/// Answers a millisecond from which on nobody rests: they come together anyway, and a rest of a million of them is a twentieth of
/// their time.
const FLOOD: u128 = 64;
/// How long they are counted.
const WINDOW: Duration = Duration::from_millis(16);

/// Counts answers and waits for more of them.
#[derive(Debug)]
pub(super) struct Crowd {
    rests: Interval,
    since: Instant,
    answers: u128,
    flood: bool,
}

impl Crowd {
    /// Within a runtime with a clock.
    pub(super) fn new() -> Self {
        let mut rests = interval(REST);
        rests.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            rests,
            since: Instant::now(),
            answers: 0,
            flood: false,
        }
    }

    /// So many were taken.
    pub(super) fn took(&mut self, answers: usize) {
        self.answers += answers as u128;
    }

    /// Whether a rest would bring answers together, when so many are awaited and none is there.
    pub(super) fn gathers(&mut self, awaited: usize) -> bool {
        if awaited < CROWD {
            return false;
        }
        let passed = self.since.elapsed();
        if passed >= WINDOW {
            self.flood = self.answers >= FLOOD * passed.as_millis();
            (self.since, self.answers) = (Instant::now(), 0);
        }
        !self.flood
    }

    /// Ends when the last rest ended a millisecond ago.
    pub(super) async fn rest(&mut self) {
        self.rests.tick().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_crowd_is_heard_once_in_a_millisecond_and_few_at_once() {
        let mut crowd = Crowd::new();
        assert!(crowd.gathers(CROWD) && !crowd.gathers(CROWD - 1));
        let start = Instant::now();
        for _ in 0..5 {
            crowd.rest().await;
        }
        assert_eq!(start.elapsed(), 4 * REST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_not_held_up_until_it_is_over() {
        let mut crowd = Crowd::new();
        for (answers, gathers) in [(1_023, true), (1_024, false), (2_000, false), (10, true)] {
            crowd.took(answers);
            sleep(WINDOW).await;
            assert_eq!(crowd.gathers(CROWD), gathers, "{answers}");
        }
    }
}
