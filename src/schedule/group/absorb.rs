//! What a session's report does to its group: the budget it spent, the answers it brought, what is still to be asked.

use super::{
    Arc, ControlAnswer, ControlNeed, Delayed, DomainState, Duration, Finding, Group, GroupContext, Hosts, Instant, Kin,
    Lane, NotTried, Observation, Observed, Phase, Retry, Reverse, Sentinel, SessionReport, SliceReport, Tracked,
    UnknownRecipients, retry, second,
};
use crate::schedule::{memory::Times, plan::Trip, scheduler::Run};

/// What the answers of one domain come to.
#[derive(Default)]
struct Sorted {
    /// To be asked about again.
    delayed: Vec<Delayed>,
    /// Not the last word, and kept in case the process is killed.
    attempts: Vec<Finding>,
    /// First questions that brought nothing.
    put_off: u32,
    /// First questions that brought an answer.
    told: u32,
}

impl Group {
    pub(super) fn absorb(&mut self, reserved: u32, lane: usize, report: SessionReport) {
        let now = Instant::now();
        self.budget.settle(reserved, &report.answers, now);
        self.pace.answered(&report.answers);
        self.life = report.life.filter(|_| !self.context.trusted).unwrap_or(self.life);
        if let Some(host) = &report.deaf {
            self.is_found_deaf(host);
        }
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.ways.learn(report.ways);
        }
        match &report.trip {
            Some(_) if self.context.trusted => {}
            Some(_) => self.budget.trip(now),
            None if report.sentinel == Some(Sentinel::Refused) => self.budget.trip(now),
            None if !report.spoke => {}
            None => self.budget.answered(now),
        }
        if !self.context.trusted {
            self.remember(false);
        }
        let trip = report.trip.clone();
        let free = self.weigh(lane, &report);
        let banned = report.sentinel == Some(Sentinel::Refused);
        self.file(report.slices, now);
        self.set_free(lane, free);
        self.heed(trip, banned, now);
    }

    /// Takes in what a session says of its domains, and tells other runs that ask the same.
    fn file(&mut self, slices: Vec<SliceReport>, now: Instant) {
        let mut kin = Kin::default();
        for slice in slices {
            let told = self.asking.told(&slice);
            let name = self
                .domains
                .get_mut(slice.domain)
                .and_then(Option::as_mut)
                .map(|state| {
                    kin.teach(state);
                    state.name.clone()
                });
            let owner = slice.domain;
            let unknown = self.absorb_slice(slice, now);
            if let Some(name) = name {
                kin.learn(name, unknown);
            }
            for told in told {
                self.hold_with(owner, told.domain);
                if let (Some(Some(twin)), Some(unknown)) = (self.domains.get_mut(told.domain), &unknown) {
                    twin.learn(*unknown);
                }
                self.absorb_slice(told, now);
            }
        }
    }

    /// Stops asking where the host showed that it blocks us.
    fn heed(&mut self, trip: Option<Trip>, banned: bool, now: Instant) {
        let blocked = match trip {
            _ if self.context.trusted => return,
            Some(trip) => Observation {
                host: trip.host,
                answer: Observed::Known(trip.answer),
                ..Observation::not_tried(NotTried::Budget)
            },
            // What the host said in anger is said to nobody else.
            None if banned => Observation::not_tried(NotTried::Budget),
            None => return,
        };
        let stopped = self.budget.is_stopped(now);
        if let Err(until) = self
            .budget
            .reserve(now)
            .map(|reserved| self.budget.settle(reserved, &[], now))
        {
            if stopped {
                self.give_up(&blocked, Some(until));
            } else {
                self.lose_patience(&blocked, until, Duration::ZERO);
            }
        }
    }

    /// Says what is known now about what the domain's host does with unknown recipients.
    fn absorb_slice(&mut self, mut report: SliceReport, now: Instant) -> Option<UnknownRecipients> {
        let index = report.domain;
        let state = self.domains.get_mut(index)?.as_mut()?;
        let lane = self.lanes.get_mut(state.lane)?;
        let run = Arc::clone(&state.run);
        let (times, kept_before) = (self.shared.times(), state.done.len());
        let sorted = sort((state, lane), &mut report, &self.context, times);
        self.pace.put_off += sorted.put_off;
        self.pace.told += sorted.told;
        // What one session asked, one session asks again.
        self.left = self.left.saturating_sub(state.done.len() - kept_before);
        state.waiting.extend(report.again);
        if report.need != ControlNeed::No {
            state.control.phase = after_session(state, report.need, report.control);
        }
        state.control.name = match report.control {
            ControlAnswer::NotAsked | ControlAnswer::Undetermined { retry: true } => {
                report.control_name.or(state.control.name)
            }
            ControlAnswer::Known(_) | ControlAnswer::Undetermined { retry: false } => None,
        };
        if report.control != ControlAnswer::NotAsked
            && let Some(due) = state.absorb_control(report.control, report.control_words, now)
        {
            self.last_due = self.last_due.max(Some(due));
            self.alarms.push(Reverse((due, index)));
        }
        let unknown = state.known_for_good().known().copied();
        self.delay(index, sorted.delayed, now);
        self.count_guesses(index, kept_before);
        let state = self.domains.get(index).and_then(Option::as_ref);
        if state.is_some_and(DomainState::has_questions) {
            self.make_ready(index);
        }
        if run.is_over() {
            self.leave(index, &Observation::not_tried(NotTried::Interrupted), None);
        } else {
            self.conclude_if_complete(index);
        }
        self.tell_of_attempts(&run, (index, kept_before), sorted.attempts, times);
        unknown
    }

    /// Those who are asked about again wait for their time; who is due about the same time, for one session.
    fn delay(&mut self, index: usize, delayed: Vec<Delayed>, now: Instant) {
        let Some(Some(state)) = self.domains.get_mut(index) else {
            return;
        };
        let last = delayed.iter().map(|delayed| delayed.due).max().unwrap_or(now);
        for mut delayed in delayed {
            if last - delayed.due <= self.context.limits.reconnect {
                delayed.due = last;
            }
            self.alarms.push(Reverse((delayed.due, index)));
            self.delayed += 1;
            self.last_due = self.last_due.max(Some(delayed.due));
            state.delayed.push(delayed);
        }
    }

    /// Has what is known of a domain that is not concluded yet kept.
    fn tell_of_attempts(
        &self,
        run: &Run,
        (index, kept_before): (usize, usize),
        mut attempts: Vec<Finding>,
        times: Times,
    ) {
        let (Some(Some(state)), Some(ledger)) = (self.domains.get(index), &run.ledger) else {
            return;
        };
        let answered = state.done.get(kept_before..).unwrap_or_default();
        let asked = |(_, observation): &&(Tracked, Observation)| !matches!(observation.answer, Observed::NotTried(_));
        let attempt =
            |(tracked, observation): &(Tracked, Observation)| state.attempt(tracked, observation, None, times);
        attempts.extend(answered.iter().filter(asked).map(attempt));
        run.report(attempts);
        ledger.keep_domain(&state.name, state.memory(times, false), false);
    }
}

/// Settles the answers that are final, and sorts out those that are not.
fn sort(
    (state, lane): (&mut DomainState, &mut Lane),
    report: &mut SliceReport,
    context: &GroupContext,
    times: Times,
) -> Sorted {
    let run = Arc::clone(&state.run);
    let mut sorted = Sorted::default();
    state.in_flight = state
        .in_flight
        .saturating_sub(report.answered.len() + report.again.len());
    for (tracked, observation) in second::compared(state, lane, report) {
        state.settle(tracked, observation);
    }
    state.done.reserve(report.answered.len());
    for (tracked, observation) in report.answered.drain(..) {
        let first = u32::from(tracked.attempts == 1);
        match retry(&tracked, &observation, &run.manners.ladder, (times.now, times.wall)) {
            Some(Retry { due, last: false }) if due - times.now <= run.manners.max_wait => {
                if run.ledger.is_some() {
                    let attempt = state.attempt(&tracked, &observation, Some(due), times);
                    sorted.attempts.push(attempt);
                }
                sorted.put_off += first;
                sorted.delayed.push(Delayed { due, tracked });
            }
            Some(_) | None if !context.trusted && second::is_wanted(state, lane, &observation) => {
                if run.ledger.is_some() {
                    let attempt = state.attempt(&tracked, &observation, None, times);
                    sorted.attempts.push(attempt);
                }
                sorted.told += first;
                (state.hosts, lane.hosts) = (Hosts::Compared, lane.hosts.max(Hosts::Compared));
                state.second = Some(Box::new((tracked, observation)));
            }
            Some(_) | None => {
                sorted.told += first;
                state.settle(tracked, observation);
            }
        }
    }
    sorted
}

/// Where the control recipient stands after a session that was to ask about it.
fn after_session(state: &DomainState, need: ControlNeed, answer: ControlAnswer) -> Phase {
    // A retry that the session did not get to is still due.
    let missed = answer == ControlAnswer::NotAsked && state.control.attempts > 0;
    if missed && need == ControlNeed::Yes {
        Phase::Due
    } else {
        Phase::Idle
    }
}
