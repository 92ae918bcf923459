//! One mail-host group: plans sessions within its budget, takes their reports, and concludes domains.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    budget::Budget,
    domain::{Delayed, DomainState, Observation, Phase, Tracked},
    ladder::Ladder,
    plan::{ControlAnswer, ControlNeed, SessionPlan, SessionReport, Slice, SliceReport},
    probe,
    scheduler::{Finding, GroupContext, Shared, Work},
};
use crate::{
    dns::{Exchanger, MailRoute},
    replies::{About, Persistence},
    verdict::{Evidence, NotTried, Observed, ProbeFailure, Reason, reason_of_attempt},
};

/// How long a group waits for more of its domains before it opens a session: one session serves many.
const GATHER: Duration = Duration::from_secs(1);
/// Waits that every run accepts, whatever `--no-wait` says: the minute's refusals.
const SHORT_WAIT: Duration = Duration::from_mins(1);
/// When nothing better is known about when to ask again.
const LATER: Duration = Duration::from_hours(1);

/// Domains with the same exchangers; a session serves them together.
struct Lane {
    exchangers: Arc<[Exchanger]>,
    implicit: bool,
    /// The host does not listen to bursts.
    lockstep: bool,
    /// The host has put us to its first-session test.
    tested: bool,
    /// Domains with something to ask.
    ready: VecDeque<usize>,
}

/// The state of a group; one task owns it.
pub(super) struct Group {
    context: Arc<GroupContext>,
    shared: Arc<Shared>,
    work: mpsc::UnboundedReceiver<Work>,
    closed: bool,
    budget: Budget,
    domains: Vec<Option<DomainState>>,
    lanes: Vec<Lane>,
    lane_of: HashMap<Vec<(u16, Arc<str>)>, usize>,
    ready_lanes: VecDeque<usize>,
    alarms: BinaryHeap<Reverse<(Instant, usize)>>,
    /// No session is planned before this, so that it takes whatever is ready by then.
    connect_after: Instant,
    sessions: JoinSet<(u32, usize, SessionReport)>,
}

impl Group {
    pub(super) fn new(context: GroupContext, shared: Arc<Shared>, work: mpsc::UnboundedReceiver<Work>) -> Self {
        let budget = Budget::new(context.limits.clone());
        Self {
            context: Arc::new(context),
            shared,
            work,
            closed: false,
            budget,
            domains: Vec::new(),
            lanes: Vec::new(),
            lane_of: HashMap::new(),
            ready_lanes: VecDeque::new(),
            alarms: BinaryHeap::new(),
            connect_after: Instant::now(),
            sessions: JoinSet::new(),
        }
    }

    /// Runs until every target is concluded.
    pub(super) async fn run(mut self, mut routed: watch::Receiver<bool>) {
        self.gather(&mut routed).await;
        loop {
            while let Ok(work) = self.work.try_recv() {
                self.admit(work);
            }
            if let Some(why) = self.shared.over() {
                self.give_up(&Observation::not_tried(why), None);
            }
            self.wake(Instant::now());
            let wait = self.start_sessions();
            if self.is_done() {
                break;
            }
            let alarm = self.alarms.peek().map(|Reverse((at, _))| *at);
            let next = wait.into_iter().chain(alarm).min();
            let idle = self.sessions.is_empty();
            self.shared.waits_until(&self.context.name, next.filter(|_| idle));
            tokio::select! {
                work = self.work.recv(), if !self.closed => match work {
                    Some(work) => self.admit(work),
                    None => self.closed = true,
                },
                Some(ended) = self.sessions.join_next() => match ended {
                    Ok((reserved, lane, report)) => self.absorb(reserved, lane, report),
                    Err(error) => {
                        // Its targets are lost, so the group cannot be concluded; the job reports what is open as `internal`.
                        tracing::error!(%error, "a session ended by a fault of ours");
                        break;
                    }
                },
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {},
                () = self.shared.ended(), if self.shared.over().is_none() => {},
            }
        }
        self.shared.waits_until(&self.context.name, None);
    }

    /// Waits until all routes are known, or long enough.
    async fn gather(&mut self, routed: &mut watch::Receiver<bool>) {
        let until = Instant::now() + GATHER;
        while !*routed.borrow() {
            tokio::select! {
                work = self.work.recv(), if !self.closed => match work {
                    Some(work) => self.admit(work),
                    None => self.closed = true,
                },
                changed = routed.changed() => if changed.is_err() { return },
                () = sleep_until(until) => return,
            }
        }
    }

    fn is_done(&self) -> bool {
        self.closed && self.work.is_empty() && self.sessions.is_empty() && self.domains.iter().all(Option::is_none)
    }

    fn admit(&mut self, work: Work) {
        let (exchangers, implicit): (Arc<[Exchanger]>, bool) = match &*work.route {
            MailRoute::Exchangers(exchangers) => (exchangers.clone().into(), false),
            MailRoute::ImplicitMx(exchanger) => (Arc::from([exchanger.clone()]), true),
            MailRoute::NullMx | MailRoute::NoSuchDomain | MailRoute::NoMailHost(_) | MailRoute::Failure(_) => return,
        };
        let mut hosts: Vec<_> = exchangers
            .iter()
            .map(|exchanger| (exchanger.preference, Arc::clone(&exchanger.host)))
            .collect();
        hosts.sort_unstable();
        let lane = *self.lane_of.entry(hosts).or_insert_with(|| {
            self.lanes.push(Lane {
                exchangers,
                implicit,
                lockstep: false,
                tested: false,
                ready: VecDeque::new(),
            });
            self.lanes.len() - 1
        });
        let state = DomainState::new(&work.domain, work.route, lane, work.targets);
        self.domains.push(Some(state));
        self.make_ready(self.domains.len() - 1);
    }

    fn make_ready(&mut self, domain: usize) {
        let Some(Some(state)) = self.domains.get_mut(domain) else {
            return;
        };
        let Some(lane) = self.lanes.get_mut(state.lane) else {
            return;
        };
        if lane.ready.is_empty() {
            self.ready_lanes.push_back(state.lane);
        }
        lane.ready.push_back(domain);
    }

    /// Brings back whatever has waited long enough.
    fn wake(&mut self, now: Instant) {
        while let Some(Reverse((at, domain))) = self.alarms.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.alarms.pop();
            let Some(Some(state)) = self.domains.get_mut(domain) else {
                continue;
            };
            let (due, rest) = std::mem::take(&mut state.delayed)
                .into_iter()
                .partition(|delayed| delayed.due <= at);
            state.delayed = rest;
            let due: Vec<Delayed> = due;
            state.waiting.extend(due.into_iter().map(|delayed| delayed.tracked));
            if matches!(state.control.phase, Phase::Waits(due) if due <= at) {
                state.control.phase = Phase::Due;
            }
            self.make_ready(domain);
        }
    }

    /// Starts as many sessions as the budget permits; otherwise says when to look again.
    fn start_sessions(&mut self) -> Option<Instant> {
        while !self.ready_lanes.is_empty() && self.sessions.len() < self.context.limits.connections as usize {
            let now = Instant::now();
            if now < self.connect_after {
                return Some(self.connect_after);
            }
            let refusals = match self.budget.reserve(now) {
                Ok(refusals) => refusals,
                Err(until) => {
                    if self.sessions.is_empty() && until - now > self.shared.manners.max_wait.max(SHORT_WAIT) {
                        self.give_up(&Observation::not_tried(NotTried::Budget), Some(until));
                        return None;
                    }
                    return Some(until);
                }
            };
            let Some((lane, plan)) = self.plan(refusals) else {
                self.budget.settle(refusals, &[], now);
                continue;
            };
            self.connect_after = now + self.context.limits.reconnect;
            let (context, shared) = (Arc::clone(&self.context), Arc::clone(&self.shared));
            self.sessions.spawn(async move {
                let permit = shared.sessions.acquire().await;
                let report = probe::run(plan, &context, &shared).await;
                drop(permit);
                (refusals, lane, report)
            });
        }
        None
    }

    /// The next session: the domains of one lane, as many recipients as a session may carry.
    fn plan(&mut self, refusals: u32) -> Option<(usize, SessionPlan)> {
        let index = self.ready_lanes.pop_front()?;
        let lane = self.lanes.get_mut(index)?;
        let mut room = self.context.limits.recipients_per_session as usize;
        let mut slices = Vec::new();
        let mut answered = Vec::new();
        while room > 0
            && let Some(domain) = lane.ready.pop_front()
        {
            let Some(Some(state)) = self.domains.get_mut(domain) else {
                continue;
            };
            if state.takes_everything() {
                state.give_up(&Observation::not_tried(NotTried::NotNeeded));
                answered.push(domain);
                continue;
            }
            let slice = slice(state, domain, room, self.context.control_apart);
            if slice.targets.is_empty() && slice.need == ControlNeed::No {
                answered.push(domain);
                continue;
            }
            room = room.saturating_sub(slice.targets.len() + usize::from(slice.need != ControlNeed::No));
            if !state.waiting.is_empty() {
                lane.ready.push_front(domain);
            }
            slices.push(slice);
        }
        if !lane.ready.is_empty() {
            self.ready_lanes.push_back(index);
        }
        let exchangers = Arc::clone(&lane.exchangers);
        let (implicit, lockstep, tested) = (lane.implicit, lane.lockstep, lane.tested);
        for domain in answered {
            self.conclude_if_complete(domain);
        }
        (!slices.is_empty()).then_some((
            index,
            SessionPlan {
                exchangers,
                implicit,
                slices,
                refusals,
                lockstep,
                tested,
            },
        ))
    }

    fn absorb(&mut self, reserved: u32, lane: usize, report: SessionReport) {
        let now = Instant::now();
        self.budget.settle(reserved, &report.answers, now);
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.lockstep |= report.lockstep;
            lane.tested |= report.tested;
        }
        match &report.trip {
            Some(_) if self.context.trusted => {}
            Some(_) => self.budget.trip(now),
            None if report.answers.is_empty() => {}
            None => self.budget.answered(now),
        }
        let trip = report.trip.clone();
        for slice in report.slices {
            self.absorb_slice(slice, now);
        }
        let Some(trip) = trip.filter(|_| !self.context.trusted) else {
            return;
        };
        let stopped = self.budget.is_stopped(now);
        if let Err(until) = self
            .budget
            .reserve(now)
            .map(|reserved| self.budget.settle(reserved, &[], now))
            && (stopped || until - now > self.shared.manners.max_wait)
        {
            let blocked = Observation {
                host: trip.host,
                answer: Observed::Known(trip.answer),
                ..Observation::not_tried(NotTried::Budget)
            };
            self.give_up(&blocked, Some(until));
        }
    }

    fn absorb_slice(&mut self, report: SliceReport, now: Instant) {
        let index = report.domain;
        let Some(Some(state)) = self.domains.get_mut(index) else {
            return;
        };
        state.in_flight = state
            .in_flight
            .saturating_sub(report.answered.len() + report.again.len());
        let manners = &self.shared.manners;
        let wall = self.shared.clock.now();
        let mut delayed = Vec::new();
        state.done.reserve(report.answered.len());
        for (tracked, observation) in report.answered {
            match retry(&tracked, &observation, &manners.ladder, (now, wall)) {
                Some(Retry { due, last: false }) if due - now <= manners.max_wait => {
                    delayed.push(Delayed { due, tracked });
                }
                Some(_) | None => state.settle(tracked, observation, self.context.limits.recheck_accepts),
            }
        }
        // What one session asked, one session asks again.
        let last = delayed.iter().map(|delayed| delayed.due).max().unwrap_or(now);
        for mut delayed in delayed {
            if last - delayed.due <= self.context.limits.reconnect {
                delayed.due = last;
            }
            self.alarms.push(Reverse((delayed.due, index)));
            state.delayed.push(delayed);
        }
        for tracked in report.again {
            state.waiting.push_back(tracked);
        }
        if report.need != ControlNeed::No {
            state.control.phase = Phase::Idle;
        }
        if report.control != ControlAnswer::NotAsked {
            state.control.attempts += 1;
            let first = *state.control.first_asked.get_or_insert(now);
            state.settle_control(report.control, report.control_words);
            let steps = manners.ladder.steps(Reason::CatchAllUndetermined).unwrap_or_default();
            let due = steps
                .get(state.control.attempts as usize - 1)
                .map(|step| (first + *step).max(now))
                .filter(|due| *due - now <= manners.max_wait);
            if matches!(report.control, ControlAnswer::Undetermined { retry: true })
                && state.is_open()
                && let Some(due) = due
            {
                state.control.phase = Phase::Waits(due);
                self.alarms.push(Reverse((due, index)));
            }
        }
        if !state.waiting.is_empty() || state.wants_control() {
            self.make_ready(index);
        }
        self.conclude_if_complete(index);
    }

    fn conclude_if_complete(&mut self, index: usize) {
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
    fn give_up(&mut self, observation: &Observation, retry_at: Option<Instant>) {
        for index in 0..self.domains.len() {
            let Some(slot) = self.domains.get_mut(index) else {
                continue;
            };
            let Some(state) = slot else { continue };
            state.give_up(observation);
            state.control.address = None;
            if state.control.phase != Phase::InFlight {
                state.control.phase = Phase::Idle;
            }
            if state.in_flight == 0 && state.control.phase == Phase::Idle {
                let state = slot.take();
                self.conclude(state, retry_at);
            }
        }
        self.lanes.iter_mut().for_each(|lane| lane.ready.clear());
        self.ready_lanes.clear();
    }

    fn conclude(&self, state: Option<DomainState>, given_up_until: Option<Instant>) {
        let Some(mut state) = state else { return };
        let now = Instant::now();
        let ladder = &self.shared.manners.ladder;
        let open = state.control.may_mend && state.unknown.known().is_none();
        let wall = self.shared.clock.now();
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
            let retry = retry(&tracked, &observation, ladder, (now, wall));
            let retry = retry.map(|retry| retry.due).or(later);
            Finding {
                id: tracked.target.id,
                evidence,
                retry_at: retry.map(|at| self.shared.wall(at)),
                checked_at: wall,
                elapsed: observation.elapsed,
                transcripts: observation.transcripts.as_deref().unwrap_or_default().to_vec(),
            }
        };
        self.shared.report(state.conclude().into_iter().map(finding).collect());
    }
}

/// What the next session asks about one domain.
fn slice(state: &mut DomainState, domain: usize, room: usize, control_apart: bool) -> Slice {
    // Room for the control recipient is kept while its answer is open.
    let room = if state.is_open() && !control_apart {
        room.saturating_sub(1).max(1)
    } else {
        room
    };
    let count = state.waiting.len().min(room);
    let targets: Vec<Tracked> = state.waiting.drain(..count).collect();
    state.in_flight += targets.len();
    let apart = control_apart && !targets.is_empty();
    let need = if state.wants_control() && !apart {
        ControlNeed::Yes
    } else if targets.is_empty()
        || apart
        || state.control.phase == Phase::InFlight
        || !matches!(state.unknown, Observed::NotTried(_))
    {
        ControlNeed::No
    } else {
        ControlNeed::IfAccepted
    };
    if need != ControlNeed::No {
        state.control.phase = Phase::InFlight;
    }
    Slice {
        domain,
        targets,
        control: state.control.address.clone(),
        need,
    }
}

/// When to ask again.
struct Retry {
    due: Instant,
    /// The ladder has no step left: another run may ask.
    last: bool,
}

/// When to ask again, if that can help.
fn retry(
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
