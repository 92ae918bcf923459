//! How domains are concluded, and when what was left open is asked again.

use super::{
    About, DomainState, Evidence, Finding, Group, Instant, LATER, Ladder, NotTried, Observation, Observed, Persistence,
    Phase, ProbeFailure, Reason, Source, Standing, SystemTime, Tracked, reason_of_attempt,
};

impl Group {
    pub(super) fn conclude_if_complete(&mut self, index: usize) {
        let Some(slot) = self.domains.get_mut(index) else {
            return;
        };
        let Some(state) = slot else { return };
        if state.is_complete() {
            let state = slot.take();
            self.conclude(state, None);
        }
    }

    /// Concludes every domain as it is; what still waits gets `observation`.
    pub(super) fn give_up(&mut self, observation: &Observation, retry_at: Option<Instant>) {
        let now = Instant::now();
        for index in 0..self.domains.len() {
            let Some(slot) = self.domains.get_mut(index) else {
                continue;
            };
            let Some(state) = slot else { continue };
            state.give_up(observation);
            state.control.give_up(now);
            if state.in_flight == 0 && state.control.phase == Phase::Idle {
                let state = slot.take();
                self.conclude(state, retry_at);
            }
        }
        for lane in &mut self.lanes {
            lane.ready.clear();
            lane.suspicion.not_cleared(false);
        }
        self.ready_lanes.clear();
    }

    pub(super) fn conclude(&self, state: Option<DomainState>, given_up_until: Option<Instant>) {
        let Some(mut state) = state else { return };
        let times = self.shared.times();
        let now = times.now;
        let ladder = &self.shared.manners.ladder;
        let open = state.control.may_mend && state.unknown.known().is_none();
        let wall = times.wall;
        let given_up = given_up_until.is_some() || self.shared.over().is_some();
        let left = state.control.left_until.is_some();
        let undetermined = (given_up || left) && state.unknown.known().is_none();
        let finding = |(tracked, observation, evidence): (Tracked, Observation, Evidence)| {
            let later = match &observation.answer {
                Observed::NotTried(NotTried::Budget) => given_up_until,
                // A refusal of us may end with our bad name, not with the mailbox; what a host said in anger may be said otherwise.
                Observed::Known(answer) if answer.meaning.about == About::Sender || observation.throttled => {
                    Some(given_up_until.unwrap_or(now + self.context.limits.breaker))
                }
                Observed::Known(_) if open && observation.accepted() => {
                    let steps = ladder.steps(Reason::CatchAllUndetermined).unwrap_or_default();
                    Some(now + steps.first().copied().unwrap_or(LATER))
                }
                Observed::NotTried(_) | Observed::Failed(_) | Observed::Known(_) => None,
            };
            let again = retry(&tracked, &observation, ladder, (now, wall));
            let cut_short = matches!(
                observation.answer,
                Observed::NotTried(NotTried::Interrupted | NotTried::Budget | NotTried::PortBlocked)
            );
            let due = match &again {
                Some(Retry { due, last: false }) => Some(*due),
                // One that was accepted waits for the control recipient alone.
                _ if observation.accepted() && !observation.throttled => None,
                _ if cut_short || (given_up && later.is_some()) => Some(later.unwrap_or(now)),
                Some(_) | None => None,
            };
            let provisional = due.is_some() || (undetermined && observation.accepted());
            let again = again.map(|retry| retry.due);
            Finding {
                id: tracked.target.id,
                standing: if provisional {
                    Standing::Provisional
                } else {
                    Standing::Final
                },
                first_asked: tracked.first_asked.map(|at| times.wall(at)),
                due: due.map(|at| times.wall(at)),
                throttled: observation.throttled,
                requeued: tracked.requeued,
                source: Source::Live,
                evidence,
                retry_at: again.or(later).map(|at| times.wall(at)),
                checked_at: wall,
                elapsed: observation.elapsed,
                transcripts: observation.transcripts.as_deref().unwrap_or_default().to_vec(),
            }
        };
        let concluded = state.conclude();
        self.shared.report(concluded.into_iter().map(finding).collect());
        if let Some(ledger) = &self.shared.ledger {
            let concluded = !given_up && !left;
            ledger.keep_domain(&state.name, state.memory(times, concluded), concluded);
        }
    }
}

/// When to ask again.
pub(super) struct Retry {
    pub(super) due: Instant,
    /// The ladder has no step left: another run may ask.
    pub(super) last: bool,
}

/// When to ask again, if that can help.
pub(super) fn retry(
    tracked: &Tracked,
    observation: &Observation,
    ladder: &Ladder,
    (now, wall): (Instant, SystemTime),
) -> Option<Retry> {
    let hint = match &observation.answer {
        Observed::Known(answer) => {
            let helps = answer.meaning.persistence == Persistence::Transient && !answer.reply.code().is_positive();
            helps.then_some(answer.meaning.retry_after.and_then(|hint| hint.wait(wall)))?
        }
        Observed::Failed(
            ProbeFailure::Unreachable
            | ProbeFailure::Proxy
            | ProbeFailure::Timeout
            | ProbeFailure::Tarpit
            | ProbeFailure::ConnectionLost,
        ) => None,
        Observed::Failed(_) | Observed::NotTried(_) => return None,
    };
    let steps = ladder.steps(reason_of_attempt(&observation.answer)?)?;
    let first = tracked.first_asked.unwrap_or(now);
    let step = steps.get((tracked.attempts as usize).saturating_sub(1));
    let due = step.map_or(now + LATER, |step| first + *step).max(now);
    Some(Retry {
        due: hint.map_or(due, |hint| due.max(now + hint)),
        last: step.is_none(),
    })
}
