//! How domains are concluded, and when what was left open is asked again.

use super::{
    About, Arc, DomainState, Duration, Evidence, Finding, Group, Instant, LATER, Ladder, NotTried, Observation,
    Observed, Persistence, Phase, ProbeFailure, Reason, Source, Standing, SystemTime, Tracked, reason_of_attempt,
};

impl Group {
    pub(super) fn conclude_if_complete(&mut self, index: usize) {
        let Some(slot) = self.domains.get_mut(index) else {
            return;
        };
        let Some(state) = slot else { return };
        if state.is_complete() {
            let state = slot.take();
            self.free.push(index);
            self.conclude(state, None);
        }
    }

    /// Concludes every domain as it is; what still waits gets `observation`.
    pub(super) fn give_up(&mut self, observation: &Observation, retry_at: Option<Instant>) {
        for index in 0..self.domains.len() {
            self.leave(index, observation, retry_at);
        }
        for lane in &mut self.lanes {
            lane.ready.clear();
            lane.suspicion.not_cleared(false);
        }
        self.ready_lanes.clear();
    }

    /// Concludes one domain as it is, as soon as no session asks about it.
    pub(super) fn leave(&mut self, index: usize, observation: &Observation, retry_at: Option<Instant>) {
        let Some(slot) = self.domains.get_mut(index) else {
            return;
        };
        let Some(state) = slot else { return };
        self.delayed = self.delayed.saturating_sub(state.delayed.len());
        self.left = self.left.saturating_sub(state.left());
        state.give_up(observation);
        if let Some(lane) = self.lanes.get_mut(state.lane) {
            lane.suspicion.forget(index);
        }
        state.control.give_up(Instant::now());
        if state.in_flight == 0 && state.control.phase == Phase::Idle {
            let state = slot.take();
            self.free.push(index);
            self.conclude(state, retry_at);
        }
    }

    /// Lets go of the domains of runs that stopped.
    pub(super) fn let_go(&mut self) {
        let interrupted = Observation::not_tried(NotTried::Interrupted);
        self.leave_those(|state| state.run.is_over(), &interrupted, None);
    }

    /// Gives up for the runs that do not wait until then, nor `at_least`.
    pub(super) fn lose_patience(&mut self, observation: &Observation, until: Instant, at_least: Duration) {
        let wait = until.saturating_duration_since(Instant::now());
        let waits = |patience: Duration| wait <= patience.max(at_least);
        if waits(self.least_patience) {
            return;
        }
        self.leave_those(|state| !waits(state.run.manners.max_wait), observation, Some(until));
        let left = self.domains.iter().flatten().map(|state| state.run.manners.max_wait);
        self.least_patience = left.min().unwrap_or(Duration::MAX);
    }

    fn leave_those(
        &mut self,
        which: impl Fn(&DomainState) -> bool,
        observation: &Observation,
        retry_at: Option<Instant>,
    ) {
        for index in 0..self.domains.len() {
            if self.domains.get(index).and_then(Option::as_ref).is_some_and(&which) {
                self.leave(index, observation, retry_at);
            }
        }
        let domains = &self.domains;
        let waits = |index: &usize| matches!(domains.get(*index), Some(Some(state)) if state.has_questions() || state.held.is_some());
        for lane in &mut self.lanes {
            lane.ready.retain(waits);
        }
        let lanes = &self.lanes;
        self.ready_lanes
            .retain(|lane| lanes.get(*lane).is_some_and(|lane| !lane.ready.is_empty()));
    }

    pub(super) fn conclude(&self, state: Option<DomainState>, given_up_until: Option<Instant>) {
        let Some(mut state) = state else { return };
        let times = self.shared.times();
        let now = times.now;
        let run = Arc::clone(&state.run);
        let ladder = &run.manners.ladder;
        let open = state.control.may_mend && state.unknown.known().is_none();
        let wall = times.wall;
        let given_up = given_up_until.is_some() || run.is_over() || self.shared.egress.closed().is_some();
        let left = state.control.left_until.is_some();
        let undetermined = (given_up || left) && state.unknown.known().is_none();
        let finding = |tracked: Tracked, observation: Observation, evidence: Evidence| {
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
                Observed::NotTried(
                    NotTried::Interrupted | NotTried::Budget | NotTried::PortBlocked | NotTried::ProxyDead
                )
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
                address: Some(tracked.target.address.clone()),
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
        run.report(state.conclude(finding));
        if let Some(ledger) = &run.ledger {
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
