//! What a restart must not forget: how often a target was asked about, what is known of its domain, and what was spent of a
//! group's budget. Turns the run's instants into times of day and back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    domain::{Control, DomainState, Observation, Phase, Target, Tracked},
    guard::Counted,
    scheduler::{Finding, Standing},
};
use crate::{
    address::{Address, Domain},
    store::{DomainMemory, Kept, Source},
    verdict::{Evidence, NotTried, Observed},
};

/// The same moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) now: Instant,
    pub(super) wall: SystemTime,
}

impl Times {
    pub(super) fn wall(self, at: Instant) -> SystemTime {
        if at >= self.now {
            self.wall + (at - self.now)
        } else {
            self.wall.checked_sub(self.now - at).unwrap_or(UNIX_EPOCH)
        }
    }

    /// The instant of a time of day. One before the machine was started is now: that only lengthens a wait.
    pub(super) fn instant(self, at: SystemTime) -> Instant {
        match at.duration_since(self.wall) {
            Ok(ahead) => self.now + ahead,
            Err(past) => self.now.checked_sub(past.duration()).unwrap_or(self.now),
        }
    }

    pub(super) fn millis(self, at: Instant) -> u64 {
        let since = self.wall(at).duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn at_millis(self, millis: u64) -> Instant {
        let at = UNIX_EPOCH.checked_add(Duration::from_millis(millis));
        self.instant(at.unwrap_or(UNIX_EPOCH))
    }
}

/// What a domain that is taken up goes on from.
pub(super) struct Begun<'a> {
    pub(super) times: Times,
    /// The longest wait.
    pub(super) max_wait: Duration,
    /// The job's name.
    pub(super) job: Option<&'a str>,
}

/// What a target from an earlier run is now: to be asked about at once or later, or answered already.
pub(super) enum Before {
    Waiting(Tracked),
    Delayed(Tracked, Instant),
    Answered(Tracked, Observation),
}

impl Before {
    pub(super) fn of(mut target: Target, times: Times) -> Self {
        let Some(kept) = target.history.take() else {
            return Self::Waiting(Tracked {
                target,
                attempts: 0,
                requeued: false,
                first_asked: None,
                before: None,
            });
        };
        let Kept {
            evidence,
            first_asked,
            due,
            throttled,
            requeued,
            elapsed,
            transcripts,
            ..
        } = *kept;
        let tracked = Tracked {
            target,
            attempts: evidence.attempts,
            requeued,
            first_asked: first_asked.map(|at| times.instant(at)),
            before: None,
        };
        match due.map(|due| times.instant(due)) {
            Some(due) if due <= times.now => Self::Waiting(tracked),
            Some(due) => Self::Delayed(tracked, due),
            None => Self::Answered(
                tracked,
                Observation {
                    host: evidence.host,
                    answer: evidence.answer,
                    second: evidence.second,
                    throttled,
                    elapsed,
                    transcripts: (!transcripts.is_empty()).then(|| transcripts.into()),
                },
            ),
        }
    }
}

impl Control {
    /// The control recipient of an earlier run, so that greylisting sees the same question again.
    pub(super) fn recall(memory: &DomainMemory, domain: &Domain, begun: &Begun<'_>) -> Self {
        let Begun { times, max_wait, job } = *begun;
        let due = memory.due.map(|due| times.at_millis(due));
        let new = Self::new(domain, job);
        let left_until = due.filter(|due| due.saturating_duration_since(times.now) > max_wait);
        Self {
            address: Address::control(&memory.control, domain).or(new.address),
            attempts: memory.attempts,
            first_asked: memory.first_asked.map(|at| times.at_millis(at)),
            phase: match due {
                Some(due) if due <= times.now => Phase::Due,
                Some(due) if left_until.is_none() => Phase::Waits(due),
                Some(_) | None => Phase::Idle,
            },
            name: None,
            may_mend: memory.may_mend,
            recheck: memory.recheck,
            refusal: memory.refusal,
            left_until,
            given_up: false,
        }
    }
}

impl DomainState {
    /// What a restart must know about the domain; `concluded`: what later runs may use.
    pub(super) fn memory(&self, times: Times, concluded: bool) -> DomainMemory {
        let control = &self.control;
        let due = match control.phase {
            Phase::Waits(due) => Some(times.millis(due)),
            // Killed now, it must be asked again.
            Phase::Due | Phase::InFlight if control.attempts > 0 => Some(times.millis(times.now)),
            Phase::Due | Phase::InFlight | Phase::Idle => control.left_until.map(|due| times.millis(due)),
        };
        let local_part = control.address.as_ref().map(Address::local_part).unwrap_or_default();
        DomainMemory {
            control: local_part.into(),
            attempts: if concluded { 0 } else { control.attempts },
            first_asked: control.first_asked.filter(|_| !concluded).map(|at| times.millis(at)),
            due: due.filter(|_| !concluded),
            may_mend: control.may_mend && !concluded,
            recheck: control.recheck,
            refusal: control.refusal.filter(|_| !concluded),
            unknown: self.known_for_good(),
            accepted_since_control: self.accepted_since_control,
            accepted: self.accepted && !concluded,
        }
    }

    /// An answer that came while its domain is still open.
    pub(super) fn attempt(
        &self,
        tracked: &Tracked,
        observation: &Observation,
        due: Option<Instant>,
        times: Times,
    ) -> Finding {
        Finding {
            id: tracked.target.id,
            address: Some(tracked.target.address.clone()),
            standing: Standing::Attempt,
            first_asked: tracked.first_asked.map(|at| times.wall(at)),
            due: due.map(|at| times.wall(at)),
            throttled: observation.throttled,
            requeued: tracked.requeued,
            source: Source::Live,
            evidence: Evidence {
                syntax: None,
                list: None,
                told: None,
                route: Observed::Known(std::sync::Arc::clone(&self.route)),
                wildcard_zone: self.wildcard_zone,
                host: observation.host.clone(),
                answer: observation.answer.clone(),
                second: observation.second.clone(),
                unknown_recipients: Observed::NotTried(NotTried::Interrupted),
                doubt: None,
                attempts: tracked.attempts,
            },
            retry_at: due.map(|at| times.wall(at)),
            checked_at: times.wall,
            elapsed: observation.elapsed,
            transcripts: observation.transcripts.as_deref().unwrap_or_default().to_vec(),
        }
    }
}

/// What was spent of a group's budget, in milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GroupMemory {
    /// When recipients were refused.
    pub(super) refusals: Vec<u64>,
    /// Refusals that sessions under way may still cause: after a crash they count as caused.
    pub(super) reserved: u32,
    /// The last answers; `true` is a refusal.
    pub(super) sample: Vec<bool>,
    pub(super) paused_until: Option<u64>,
    pub(super) open_until: Option<u64>,
    pub(super) trips: u32,
    /// No session before this.
    pub(super) connect_after: u64,
    /// Domains that refused many.
    pub(super) guesses: Vec<Counted>,
    /// Hosts, by number, that offer PIPELINING and do not listen to bursts, and until when that is believed.
    pub(super) lockstep: Vec<(u64, u64)>,
    /// When this was written.
    pub(super) at: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_two_clocks_agree() {
        let times = Times {
            now: Instant::now() + Duration::from_hours(1),
            wall: UNIX_EPOCH + Duration::from_hours(1_000_000),
        };
        for minutes in [0, 1, 59] {
            let step = Duration::from_mins(minutes);
            for at in [times.now + step, times.now - step] {
                assert_eq!(times.instant(times.wall(at)), at);
                assert_eq!(times.at_millis(times.millis(at)), at);
            }
        }
    }
}
