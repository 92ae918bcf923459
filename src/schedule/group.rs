//! One mail-host group: plans sessions within its budget, takes their reports, and concludes domains.

mod claim;
mod deafness;
mod ending;
mod guessing;
mod next;
mod second;
mod suspect;

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
    ban::Suspicion,
    budget::Budget,
    domain::{Delayed, DomainState, Hosts, Observation, Phase, Tracked},
    guard::Counts,
    ladder::Ladder,
    memory::Begun,
    outlook::{Ahead, Outlook, Pace, WaitsFor},
    places::Life,
    plan::{ControlAnswer, ControlNeed, Sentinel, SessionPlan, SessionReport, Slice, SliceReport},
    probe,
    scheduler::{Finding, GroupContext, Shared, Standing, Work},
};
use crate::{
    dns::{Exchanger, MailRoute},
    replies::{About, Persistence},
    store::{Ledger, Source, domain_key},
    verdict::{Evidence, NotTried, Observed, ProbeFailure, Reason, reason_of_attempt},
};
use ending::{Retry, retry};
use next::slice;

/// How long a group waits for more of its domains before it opens a session: one session serves many.
const GATHER: Duration = Duration::from_secs(1);
/// Waits that every run accepts, whatever `--no-wait` says: the minute's refusals.
const SHORT_WAIT: Duration = Duration::from_mins(1);
/// How long to leave a group to another process before asking for it again.
const CLAIM_AGAIN: Duration = Duration::from_secs(1);
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
    /// The host does not want us over IPv6.
    only_v4: bool,
    /// Whether its hosts were compared, see `second`.
    hosts: Hosts,
    suspicion: Suspicion,
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
    /// What came before the group was claimed.
    gathered: Vec<Work>,
    /// No other process asks the group.
    claimed: bool,
    life: Life,
    /// Targets that wait for an answer.
    left: usize,
    /// Those among them that wait for another question, and until when the last does.
    delayed: usize,
    last_due: Option<Instant>,
    pace: Pace,
    /// What its domains were answered, where many were refused.
    guesses: Counts,
    /// Hosts that do not listen to bursts, by number, and until when that is believed.
    deaf: Vec<(u64, u64)>,
    /// Another process asked it until now.
    found_by_others: Option<Ledger>,
}

impl Group {
    pub(super) fn new(context: GroupContext, shared: Arc<Shared>, work: mpsc::UnboundedReceiver<Work>) -> Self {
        let budget = Budget::new(context.limits.clone());
        let life = if context.trusted { Life::Shown } else { Life::Unknown };
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
            gathered: Vec::new(),
            claimed: false,
            life,
            left: 0,
            delayed: 0,
            last_due: None,
            pace: Pace::default(),
            guesses: Counts::default(),
            deaf: Vec::new(),
            found_by_others: None,
        }
    }

    /// Runs until every target is concluded.
    pub(super) async fn run(mut self, mut routed: watch::Receiver<bool>) {
        self.gather(&mut routed).await;
        let given_up_until = self.claim().await.err();
        for work in std::mem::take(&mut self.gathered) {
            self.admit(work);
        }
        loop {
            while let Ok(work) = self.work.try_recv() {
                self.admit(work);
            }
            if let Some(why) = self.shared.over() {
                self.give_up(&Observation::not_tried(why), None);
            } else if given_up_until.is_some() {
                self.give_up(&Observation::not_tried(NotTried::Budget), given_up_until);
            }
            self.wake(Instant::now());
            let wait = self.start_sessions();
            if self.is_done() {
                break;
            }
            let alarm = self.alarms.peek().map(|Reverse((at, _))| *at);
            let next = wait.into_iter().chain(alarm).min();
            let idle = self.sessions.is_empty();
            self.show(wait, next.filter(|_| idle));
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
        self.shared.show(&self.context.name, None);
        self.remember(true);
    }

    /// Tells the display where the group stands; `until` is when it goes on, if it waits.
    fn show(&self, session: Option<Instant>, until: Option<Instant>) {
        if until.is_none() && self.context.trusted {
            return self.shared.show(&self.context.name, None);
        }
        let now = Instant::now();
        let waits_for = if until.is_none() {
            WaitsFor::Answers
        } else if until != session {
            WaitsFor::Retry
        } else if until == Some(self.connect_after) {
            WaitsFor::Session
        } else {
            self.budget.waits_for(now)
        };
        let ladder = &self.shared.manners.ladder;
        let steps = ladder.steps(Reason::Greylisted).unwrap_or_default();
        let ahead = Ahead {
            targets: self.left,
            delayed: self.delayed,
            last_due: self.last_due,
            step: steps.first().copied().unwrap_or_default(),
            connect_after: self.connect_after,
        };
        let outlook = Outlook {
            until,
            waits_for,
            done_at: self.pace.done_at(&ahead, (&self.context.limits, &self.budget), now),
        };
        self.shared.show(&self.context.name, Some(outlook));
    }

    /// Waits until all routes are known, or long enough.
    async fn gather(&mut self, routed: &mut watch::Receiver<bool>) {
        let until = Instant::now() + GATHER;
        while !*routed.borrow() {
            tokio::select! {
                work = self.work.recv(), if !self.closed => match work {
                    Some(work) => self.gathered.push(work),
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
        let work = self.skip_known(work);
        if work.targets.is_empty() {
            return;
        }
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
        let deaf = self.is_deaf(&hosts);
        let lane = *self.lane_of.entry(hosts).or_insert_with(|| {
            self.lanes.push(Lane {
                exchangers,
                implicit,
                lockstep: deaf,
                tested: false,
                only_v4: false,
                hosts: Hosts::NotCompared,
                suspicion: Suspicion::default(),
                ready: VecDeque::new(),
            });
            self.lanes.len() - 1
        });
        let begun = Begun {
            times: self.shared.times(),
            max_wait: self.shared.manners.max_wait,
            job: self.shared.ledger.as_ref().map(|ledger| ledger.lease().id.as_str()),
        };
        let mut state = DomainState::new(work, lane, self.context.limits.recheck_accepts, &begun);
        state.tally = self.guesses.of(domain_key(state.name.as_str()));
        self.left += state.left();
        self.delayed += state.delayed.len();
        self.last_due = state
            .delayed
            .iter()
            .map(|delayed| delayed.due)
            .chain(self.last_due)
            .max();
        let index = self.domains.len();
        let waits = match state.control.phase {
            Phase::Waits(due) => Some(due),
            Phase::Idle | Phase::InFlight | Phase::Due => None,
        };
        let alarms = state.delayed.iter().map(|delayed| delayed.due).chain(waits);
        self.alarms.extend(alarms.map(|due| Reverse((due, index))));
        self.domains.push(Some(state));
        self.suspect_again(index);
        self.stop_guessing(index);
        // Only the last words of an earlier run may have been lost: then nobody needs to be asked, whatever the budget says.
        self.conclude_if_complete(index);
        if self.domains.last().is_some_and(Option::is_some) {
            self.make_ready(index);
        }
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
            self.delayed = self.delayed.saturating_sub(due.len());
            due.into_iter()
                .rev()
                .for_each(|delayed| state.waiting.push_front(delayed.tracked));
            if matches!(state.control.phase, Phase::Waits(due) if due <= at) {
                state.control.phase = Phase::Due;
            }
            let lane = state.lane;
            self.make_ready(domain);
            // Before the new ones: the hour of a refusal begins with it, and who is asked again may be refused.
            if let Some(lane) = self.lanes.get_mut(lane)
                && let Some(woken) = lane.ready.pop_back()
            {
                lane.ready.push_front(woken);
            }
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
            // Before the session can spend it: a process killed meanwhile has spent it.
            if !self.context.trusted {
                self.remember(false);
            }
            let (context, shared) = (Arc::clone(&self.context), Arc::clone(&self.shared));
            self.sessions.spawn(async move {
                shared.room().await;
                (refusals, lane, probe::run(plan, &context, &shared).await)
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
        let (mut answered, mut alone) = (Vec::new(), None);
        while room > 0
            && let Some(domain) = lane.ready.pop_front()
        {
            let Some(Some(state)) = self.domains.get_mut(domain) else {
                continue;
            };
            if let Some(second) = state.second.take() {
                // It needs a session of its own.
                if slices.is_empty() {
                    alone = Some((domain, second));
                } else {
                    state.second = Some(second);
                    lane.ready.push_front(domain);
                }
                break;
            }
            if state.takes_everything() {
                self.left = self.left.saturating_sub(state.left());
                state.give_up(&Observation::not_tried(NotTried::NotNeeded));
                answered.push(domain);
                continue;
            }
            let slice = slice(state, domain, room, (self.context.control_apart, self.pace.puts_off()));
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
        let (implicit, only_v4) = (lane.implicit, lane.only_v4);
        let (lockstep, tested) = (lane.lockstep, lane.tested);
        for domain in answered {
            self.conclude_if_complete(domain);
        }
        if let Some((domain, second)) = alone {
            return self.plan_second((index, domain), *second, refusals);
        }
        let sentinel = self.sentinel(index, !slices.is_empty());
        (!slices.is_empty() || sentinel.is_some()).then_some((
            index,
            SessionPlan {
                exchangers,
                implicit,
                slices,
                sentinel,
                refusals,
                lockstep,
                tested,
                only_v4,
                life: self.life,
                size: self.left,
            },
        ))
    }

    fn absorb(&mut self, reserved: u32, lane: usize, report: SessionReport) {
        let now = Instant::now();
        self.budget.settle(reserved, &report.answers, now);
        self.pace.answered(&report.answers);
        self.life = report.life.filter(|_| !self.context.trusted).unwrap_or(self.life);
        if let Some(host) = &report.lockstep {
            self.is_found_deaf(host);
        }
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.lockstep |= report.lockstep.is_some();
            lane.tested |= report.tested;
            lane.only_v4 |= report.only_v4;
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
        for slice in report.slices {
            self.absorb_slice(slice, now);
        }
        self.set_free(lane, free);
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
            && (stopped || until - now > self.shared.manners.max_wait)
        {
            self.give_up(&blocked, Some(until));
        }
    }

    fn absorb_slice(&mut self, mut report: SliceReport, now: Instant) {
        let index = report.domain;
        let Some(Some(state)) = self.domains.get_mut(index) else {
            return;
        };
        let Some(lane) = self.lanes.get_mut(state.lane) else {
            return;
        };
        state.in_flight = state
            .in_flight
            .saturating_sub(report.answered.len() + report.again.len());
        let manners = &self.shared.manners;
        let times = self.shared.times();
        let (wall, kept_before) = (times.wall, state.done.len());
        let (mut delayed, mut attempts) = (Vec::new(), Vec::new());
        for (tracked, observation) in second::compared(state, lane, &mut report) {
            state.settle(tracked, observation, self.context.limits.recheck_accepts);
        }
        for (tracked, observation) in report.answered {
            let first = tracked.attempts == 1;
            match retry(&tracked, &observation, &manners.ladder, (now, wall)) {
                Some(Retry { due, last: false }) if due - now <= manners.max_wait => {
                    if self.shared.ledger.is_some() {
                        attempts.push(state.attempt(&tracked, &observation, Some(due), times));
                    }
                    self.pace.put_off += u32::from(first);
                    delayed.push(Delayed { due, tracked });
                }
                Some(_) | None if !self.context.trusted && second::is_wanted(state, lane, &observation) => {
                    if self.shared.ledger.is_some() {
                        attempts.push(state.attempt(&tracked, &observation, None, times));
                    }
                    self.pace.told += u32::from(first);
                    (state.hosts, lane.hosts) = (Hosts::Compared, lane.hosts.max(Hosts::Compared));
                    state.second = Some(Box::new((tracked, observation)));
                }
                Some(_) | None => {
                    self.pace.told += u32::from(first);
                    state.settle(tracked, observation, self.context.limits.recheck_accepts);
                }
            }
        }
        // What one session asked, one session asks again.
        self.left = self.left.saturating_sub(state.done.len() - kept_before);
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
        for tracked in report.again {
            state.waiting.push_back(tracked);
        }
        if report.need != ControlNeed::No {
            // A retry that the session did not get to is still due.
            let missed = report.control == ControlAnswer::NotAsked && state.control.attempts > 0;
            state.control.phase = if missed && report.need == ControlNeed::Yes {
                Phase::Due
            } else {
                Phase::Idle
            };
        }
        state.control.name = match report.control {
            ControlAnswer::NotAsked | ControlAnswer::Undetermined { retry: true } => {
                report.control_name.or(state.control.name)
            }
            ControlAnswer::Known(_) | ControlAnswer::Undetermined { retry: false } => None,
        };
        if report.control != ControlAnswer::NotAsked {
            state.control.attempts += 1;
            let first = *state.control.first_asked.get_or_insert(now);
            state.settle_control(report.control, report.control_words);
            let steps = manners.ladder.steps(Reason::CatchAllUndetermined).unwrap_or_default();
            let due = steps
                .get(state.control.attempts as usize - 1)
                .map(|step| (first + *step).max(now));
            state.control.left_until = None;
            if matches!(report.control, ControlAnswer::Undetermined { retry: true })
                && state.is_open()
                && let Some(due) = due
            {
                if due - now <= manners.max_wait && !state.control.given_up {
                    state.control.phase = Phase::Waits(due);
                    self.last_due = self.last_due.max(Some(due));
                    self.alarms.push(Reverse((due, index)));
                } else {
                    state.control.left_until = Some(due);
                }
            }
        }
        self.count_guesses(index, kept_before);
        let goes_on =
            |state: &DomainState| !state.waiting.is_empty() || state.second.is_some() || state.wants_control();
        if self.domains.get(index).and_then(Option::as_ref).is_some_and(goes_on) {
            self.make_ready(index);
        }
        self.conclude_if_complete(index);
        if let (Some(Some(state)), Some(ledger)) = (self.domains.get(index), &self.shared.ledger) {
            let answered = state.done.get(kept_before..).unwrap_or_default();
            let attempt =
                |(tracked, observation): &(Tracked, Observation)| state.attempt(tracked, observation, None, times);
            let asked =
                |(_, observation): &&(Tracked, Observation)| !matches!(observation.answer, Observed::NotTried(_));
            attempts.extend(answered.iter().filter(asked).map(attempt));
            self.shared.report(attempts);
            ledger.keep_domain(&state.name, state.memory(times, false), false);
        }
    }
}
