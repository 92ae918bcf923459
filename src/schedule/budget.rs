//! What a group has spent: refusals in sliding windows, the share of refusals, and the breaker.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{
    limits::Limits,
    memory::{GroupMemory, Times},
    outlook::WaitsFor,
};

/// Answers looked at for the refused share.
const SAMPLE: usize = 20;
/// How long a group is left alone after its last trip.
pub(super) const STOPPED: Duration = Duration::from_hours(24);

/// The budget of one group.
#[derive(Debug)]
pub(super) struct Budget {
    limits: Limits,
    /// When recipients were refused, oldest first; no longer than the hour's allowance.
    refusals: VecDeque<Instant>,
    /// Refusals that running sessions may still cause.
    reserved: u32,
    /// The last answers; `true` is a refusal.
    sample: VecDeque<bool>,
    paused_until: Option<Instant>,
    open_until: Option<Instant>,
    trips: u32,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            refusals: VecDeque::new(),
            reserved: 0,
            sample: VecDeque::new(),
            paused_until: None,
            open_until: None,
            trips: 0,
        }
    }

    /// How many refusals a session that starts now may cause, or when to ask again.
    pub(super) fn reserve(&mut self, now: Instant) -> Result<u32, Instant> {
        if let Some(until) = [self.open_until, self.paused_until]
            .into_iter()
            .flatten()
            .filter(|at| *at > now)
            .max()
        {
            return Err(until);
        }
        let mut left = self.limits.refusals_per_session;
        for (window, most) in self.limits.refusal_windows() {
            if most == u32::MAX {
                continue;
            }
            let since = now.checked_sub(window);
            let mut spent = self.refusals.iter().filter(|at| since.is_none_or(|since| **at > since));
            let count = u32::try_from(spent.clone().count())
                .unwrap_or(u32::MAX)
                .saturating_add(self.reserved);
            if count >= most {
                // The oldest refusal leaves the window first; while only running sessions block, they will wake us.
                return Err(spent
                    .next()
                    .map_or(now + Duration::from_secs(1), |oldest| *oldest + window));
            }
            left = left.min(most - count);
        }
        // A half-open breaker lets a single question through.
        if self.open_until.is_some() {
            left = left.min(1);
        }
        if left != u32::MAX {
            self.reserved = self.reserved.saturating_add(left);
        }
        Ok(left)
    }

    /// A session with `reserved` refusals is over and had these answers, in order; `true` is a refusal.
    pub(super) fn settle(&mut self, reserved: u32, answers: &[bool], now: Instant) {
        if reserved != u32::MAX {
            self.reserved = self.reserved.saturating_sub(reserved);
        }
        if self.limits.refusals_per_hour == u32::MAX {
            return;
        }
        for refused in answers {
            if *refused {
                self.refusals.push_back(now);
                while self.refusals.len() > self.limits.refusals_per_hour as usize {
                    self.refusals.pop_front();
                }
            }
            self.sample.push_back(*refused);
            if self.sample.len() > SAMPLE {
                self.sample.pop_front();
            }
        }
        let refused = self.sample.iter().filter(|refused| **refused).count();
        if self.sample.len() == SAMPLE && refused * 100 > self.limits.refused_percent as usize * SAMPLE {
            self.paused_until = Some(now + self.limits.refused_pause);
            self.sample.clear();
        }
    }

    /// The group blocks us: nothing more until the breaker's time is over.
    pub(super) fn trip(&mut self, now: Instant) {
        self.trips = self.trips.saturating_add(1);
        let pause = if self.trips >= self.limits.trips {
            STOPPED
        } else {
            self.limits.breaker
        };
        self.open_until = Some(now + pause);
    }

    /// The group tripped so often that it is left alone for a day: no run waits for that.
    pub(super) fn is_stopped(&self, now: Instant) -> bool {
        self.trips >= self.limits.trips && self.open_until.is_some_and(|until| until > now)
    }

    /// When so many more refusals can have happened.
    pub(super) fn refused_by(&self, refusals: usize, now: Instant) -> Instant {
        let start = [self.open_until, self.paused_until]
            .into_iter()
            .flatten()
            .fold(now, Instant::max);
        let Some(last) = refusals
            .checked_sub(1)
            .filter(|_| self.limits.refusals_per_hour < u32::MAX)
        else {
            return start;
        };
        let an_hour = (self.limits.refusals_per_hour as usize).max(1);
        let mut times = self.refusals.clone();
        let mut at = start;
        for _ in 0..=last % an_hour {
            for (window, most) in self.limits.refusal_windows() {
                let oldest = times
                    .len()
                    .checked_sub(most as usize)
                    .and_then(|index| times.get(index));
                at = oldest.map_or(at, |oldest| at.max(*oldest + window));
            }
            times.push_back(at);
        }
        let hours = u32::try_from(last / an_hour).unwrap_or(u32::MAX);
        at + Duration::from_hours(1).saturating_mul(hours).min(STOPPED * 365)
    }

    /// How many refusals may be caused now by all sessions together; `None` where they are not counted.
    pub(super) fn left(&self, now: Instant) -> Option<u32> {
        let pauses = [self.open_until, self.paused_until].into_iter().flatten();
        if pauses.clone().any(|until| until > now) {
            return Some(0);
        }
        let counted = self
            .limits
            .refusal_windows()
            .into_iter()
            .filter(|(_, most)| *most != u32::MAX);
        let left = counted.map(|(window, most)| {
            let since = now.checked_sub(window);
            let spent = self.refusals.iter().filter(|at| since.is_none_or(|since| **at > since));
            let spent = u32::try_from(spent.count()).unwrap_or(u32::MAX);
            most.saturating_sub(spent.saturating_add(self.reserved))
        });
        left.min()
    }

    /// Why nobody may be asked now.
    pub(super) fn waits_for(&self, now: Instant) -> WaitsFor {
        if self.open_until.is_some_and(|until| until > now) {
            WaitsFor::Block
        } else {
            WaitsFor::Refusals
        }
    }

    /// What a restart must not forget.
    pub(super) fn memory(&self, connect_after: Instant, times: Times) -> GroupMemory {
        GroupMemory {
            refusals: self.refusals.iter().map(|at| times.millis(*at)).collect(),
            reserved: self.reserved,
            sample: self.sample.iter().copied().collect(),
            paused_until: self.paused_until.map(|at| times.millis(at)),
            open_until: self.open_until.map(|at| times.millis(at)),
            trips: self.trips,
            connect_after: times.millis(connect_after),
            guesses: Vec::new(),
            lockstep: Vec::new(),
            at: times.millis(times.now),
        }
    }

    /// Goes on where an earlier run stopped. What its sessions might have caused, they count as having caused.
    pub(super) fn recall(&mut self, memory: &GroupMemory, times: Times) {
        // Without an allowance none are counted, nor remembered.
        let keep = match self.limits.refusals_per_hour {
            u32::MAX => 0,
            most => most as usize,
        };
        // The file is anybody's: a number in it takes no memory.
        let caused = std::iter::repeat_n(memory.at, keep.min(memory.reserved as usize));
        let refusals = memory.refusals.iter().copied().chain(caused);
        // A clock that was set back must not lock the group for longer than the window.
        let mut refusals: VecDeque<_> = refusals.map(|at| times.at_millis(at).min(times.now)).collect();
        refusals.drain(..refusals.len().saturating_sub(keep));
        self.refusals = refusals;
        let old = memory.sample.len().saturating_sub(SAMPLE);
        self.sample = memory.sample.iter().copied().skip(old).collect();
        let limit = times.now + STOPPED;
        let until = |at: u64| times.at_millis(at).min(limit);
        self.paused_until = memory.paused_until.map(until);
        self.open_until = memory.open_until.map(until);
        // A day without a trip is forgiven.
        let quiet = times.now.saturating_duration_since(times.at_millis(memory.at)) >= STOPPED;
        self.trips = if quiet { 0 } else { memory.trips };
    }

    /// A real answer came: the group talks to us again.
    pub(super) fn answered(&mut self, now: Instant) {
        if self.open_until.is_some_and(|until| until <= now) {
            self.open_until = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spend(budget: &mut Budget, now: Instant, answers: &[bool]) {
        let reserved = budget.reserve(now).unwrap();
        budget.settle(reserved, answers, now);
    }

    #[tokio::test(start_paused = true)]
    async fn numbers_of_a_forged_memory_take_no_memory_and_do_not_overflow() {
        let times = Times {
            now: Instant::now(),
            wall: std::time::SystemTime::now(),
        };
        let memory = GroupMemory {
            reserved: u32::MAX,
            trips: u32::MAX,
            at: times.millis(times.now),
            ..GroupMemory::default()
        };
        let mut budget = Budget::new(Limits::POLITE);
        budget.recall(&memory, times);
        let most = Limits::POLITE.refusals_per_hour as usize;
        assert_eq!(budget.refusals.len(), most);
        assert!(budget.reserve(times.now).is_err());
        budget.trip(times.now);
        assert!(budget.is_stopped(times.now));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_is_the_least_of_all_windows() {
        let mut budget = Budget::new(Limits::POLITE);
        let now = Instant::now();
        assert_eq!(budget.left(now), Some(2));
        spend(&mut budget, now, &[true]);
        assert_eq!(budget.left(now), Some(1));
        let reserved = budget.reserve(now).unwrap();
        assert_eq!(budget.left(now), Some(0), "a session may cause it");
        budget.settle(reserved, &[], now);
        assert_eq!(budget.left(now + Duration::from_secs(61)), Some(2));
        budget.trip(now);
        assert_eq!(budget.left(now + Duration::from_secs(61)), Some(0));
        assert_eq!(Budget::new(Limits::TRUSTED).left(now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn two_refusals_a_minute_and_twenty_an_hour() {
        let mut budget = Budget::new(Limits {
            refused_percent: 100,
            ..Limits::POLITE
        });
        let start = Instant::now();
        let mut times = Vec::new();
        let mut now = start;
        while times.len() < 45 {
            match budget.reserve(now) {
                Ok(left) => {
                    assert!((1..=2).contains(&left));
                    let answers = vec![true; left as usize];
                    budget.settle(left, &answers, now);
                    times.extend(answers.iter().map(|_| now));
                }
                Err(at) => {
                    assert!(at > now);
                    now = at;
                }
            }
        }
        for (window, most) in [(60, 2), (3600, 20)] {
            for (index, first) in times.iter().enumerate() {
                let within = times
                    .iter()
                    .skip(index)
                    .filter(|at| **at - *first < Duration::from_secs(window))
                    .count();
                assert!(within <= most, "{within} refusals within {window} s");
            }
        }
        assert!(
            now - start <= Duration::from_mins(125),
            "the budget must be usable, not only safe"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn running_sessions_count_before_they_are_settled() {
        let mut budget = Budget::new(Limits::POLITE);
        let now = Instant::now();
        assert_eq!(budget.reserve(now), Ok(2));
        assert!(budget.reserve(now).is_err());
        budget.settle(2, &[], now);
        assert_eq!(budget.reserve(now), Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_refusals_among_the_last_twenty_pause_the_group() {
        let limits = Limits {
            refusals_per_minute: 100,
            refusals_per_hour: 100,
            ..Limits::POLITE
        };
        let mut budget = Budget::new(limits);
        let now = Instant::now();
        let mut answers = [false; 20];
        answers[12..].fill(true);
        spend(&mut budget, now, &answers);
        assert!(budget.reserve(now).is_ok(), "40 % is not more than 40 %");
        budget.settle(2, &[true], now);
        budget.settle(0, &[true], now);
        assert_eq!(budget.reserve(now), Err(now + Limits::POLITE.refused_pause));
    }

    #[tokio::test(start_paused = true)]
    async fn the_breaker_opens_asks_once_and_gives_up_for_a_day() {
        let mut budget = Budget::new(Limits::POLITE);
        let mut now = Instant::now();
        for pause in [Limits::POLITE.breaker, Limits::POLITE.breaker, STOPPED] {
            assert!(budget.reserve(now).is_ok());
            budget.settle(2, &[], now);
            budget.trip(now);
            assert_eq!(budget.reserve(now), Err(now + pause));
            now += pause;
            assert_eq!(budget.reserve(now), Ok(1), "half open: one question");
            budget.settle(1, &[], now);
        }
        budget.answered(now);
        assert_eq!(budget.reserve(now), Ok(2));
    }
}
