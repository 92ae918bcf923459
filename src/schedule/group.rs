//! One mail-host group: plans sessions within its budget, takes their reports, and concludes domains. Serves every run that
//! asks its hosts; each run has its own domains, its own patience and its own end.

mod absorb;
mod claim;
mod deafness;
mod ending;
mod guessing;
mod next;
mod second;
mod suspect;
mod twins;

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
    domain::{Delayed, DomainState, Hosts, Observation, Phase, Target, Tracked},
    gathering::Gathering,
    guard::Counts,
    ladder::Ladder,
    outlook::{Ahead, Outlook, Pace, WaitsFor},
    places::Life,
    plan::{ControlAnswer, ControlNeed, Sentinel, SessionPlan, SessionReport, Slice, SliceReport, Ways},
    probe,
    scheduler::{Closing, Finding, GroupContext, Order, Shared, Standing},
};
use crate::{
    dns::{Exchanger, MailRoute},
    replies::{About, Persistence},
    store::{Ledger, Source, domain_key},
    verdict::{Evidence, NotTried, Observed, ProbeFailure, Reason, UnknownRecipients, reason_of_attempt},
};
use ending::{Retry, retry};
use next::slice;
use twins::{Asking, Kin};

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
    ways: Ways,
    /// Whether its hosts were compared, see `second`.
    hosts: Hosts,
    suspicion: Suspicion,
    /// Domains with something to ask.
    ready: VecDeque<usize>,
}

/// The state of a group; one task owns it.
pub(super) struct Group {
    context: Arc<GroupContext>,
    shared: Shared,
    work: mpsc::UnboundedReceiver<Order>,
    /// Runs that may still bring work.
    routing: Vec<watch::Receiver<bool>>,
    /// Some run has stopped.
    stirred: watch::Receiver<u64>,
    budget: Budget,
    domains: Vec<Option<DomainState>>,
    /// Places in `domains` to use again.
    free: Vec<usize>,
    /// Addresses that a session is asking about, with those that wait for the same answer.
    asking: Asking,
    /// No run waits less long.
    least_patience: Duration,
    lanes: Vec<Lane>,
    lane_of: HashMap<Vec<(u16, Arc<str>)>, usize>,
    ready_lanes: VecDeque<usize>,
    alarms: BinaryHeap<Reverse<(Instant, usize)>>,
    /// No session is planned before this, so that it takes whatever is ready by then.
    connect_after: Instant,
    sessions: JoinSet<(u32, usize, SessionReport)>,
    /// What came before the group was claimed.
    gathered: Vec<Order>,
    /// No other process asks the group; by whose right this is so.
    claimed: Option<Ledger>,
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
    found_by_others: bool,
}

impl Group {
    pub(super) fn new(
        context: GroupContext,
        shared: Shared,
        work: mpsc::UnboundedReceiver<Order>,
        stirred: watch::Receiver<u64>,
    ) -> Self {
        let budget = Budget::new(context.limits.clone());
        let life = if context.trusted { Life::Shown } else { Life::Unknown };
        Self {
            context: Arc::new(context),
            shared,
            work,
            routing: Vec::new(),
            stirred,
            budget,
            domains: Vec::new(),
            free: Vec::new(),
            asking: Asking::default(),
            least_patience: Duration::MAX,
            lanes: Vec::new(),
            lane_of: HashMap::new(),
            ready_lanes: VecDeque::new(),
            alarms: BinaryHeap::new(),
            connect_after: Instant::now(),
            sessions: JoinSet::new(),
            gathered: Vec::new(),
            claimed: None,
            life,
            left: 0,
            delayed: 0,
            last_due: None,
            pace: Pace::default(),
            guesses: Counts::default(),
            deaf: Vec::new(),
            found_by_others: false,
        }
    }

    /// Runs until every target is concluded and no run brings more.
    ///
    /// Boxed: a future holds its arguments twice, and there is one of each for thousands of groups.
    pub(super) async fn run(
        mut self: Box<Self>,
        (mut routed, gathering): (watch::Receiver<bool>, Arc<Gathering>),
        closing: Closing,
    ) {
        self.gather(&mut routed, &gathering).await;
        let given_up_until = self.claim().await.err();
        let hurried = self.gathered.iter().any(|order| order.run.hurried);
        let mut at_work = if self.context.trusted && !hurried {
            self.shared.own.turn(gathering.addresses()).await
        } else {
            None
        };
        for order in std::mem::take(&mut self.gathered) {
            self.admit(order);
        }
        loop {
            while let Ok(order) = self.work.try_recv() {
                self.admit(order);
            }
            if self.stirred.has_changed().unwrap_or(false) {
                self.stirred.mark_unchanged();
                self.let_go();
            }
            if let Some(why) = self.shared.egress.closed() {
                self.give_up(&Observation::not_tried(why), None);
            } else if given_up_until.is_some() {
                self.give_up(&Observation::not_tried(NotTried::Budget), given_up_until);
            }
            self.wake(Instant::now());
            let wait = self.start_sessions();
            at_work = at_work.filter(|_| !self.sessions.is_empty());
            if self.is_done() && closing.close(&self.context.name, &self.work, || self.remember(true)) {
                break;
            }
            let alarm = self.alarms.peek().map(|Reverse((at, _))| *at);
            let next = wait.into_iter().chain(alarm).min();
            let idle = self.sessions.is_empty();
            self.show(wait, next.filter(|_| idle));
            tokio::select! {
                Some(order) = self.work.recv() => self.admit(order),
                Some(ended) = self.sessions.join_next() => match ended {
                    Ok((reserved, lane, report)) => self.absorb(reserved, lane, report),
                    Err(error) => {
                        // Its targets are lost, so the group cannot be concluded; the runs report what is open as `internal`.
                        tracing::error!(%error, "a session ended by a fault of ours");
                        self.work.close();
                        self.remember(true);
                        break;
                    }
                },
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {},
                () = routed_too(&mut self.routing), if !self.routing.is_empty() => {},
                _ = self.stirred.changed() => self.stirred.mark_changed(),
                () = self.shared.egress.blocked(), if self.shared.egress.closed().is_none() => {},
            }
        }
        self.shared.show(&self.context.name, None);
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
            targets: self.left,
            delayed: self.delayed,
            refusals_left: self.budget.left(now),
        };
        self.shared.show(&self.context.name, Some(outlook));
    }

    /// Waits until all routes of the first run are known, or long enough.
    async fn gather(&mut self, routed: &mut watch::Receiver<bool>, gathering: &Gathering) {
        let until = Instant::now() + GATHER;
        // The order for which the group was made: by its run's right the group is claimed.
        self.gathered.extend(self.work.recv().await);
        while !*routed.borrow() {
            tokio::select! {
                Some(order) = self.work.recv() => self.gathered.push(order),
                () = gathering.over() => return,
                changed = routed.changed() => if changed.is_err() { return },
                () = sleep_until(until) => return,
            }
        }
    }

    fn is_done(&self) -> bool {
        self.routing.is_empty() && self.sessions.is_empty() && self.free.len() == self.domains.len()
    }

    fn admit(&mut self, order: Order) {
        let routed = order.run.routed();
        if !*routed.borrow() && !self.routing.iter().any(|other| other.same_channel(&routed)) {
            self.routing.push(routed);
        }
        let Order { work, run } = order;
        let mut work = work.make();
        self.skip_known(&mut work, &run);
        if work.targets.is_empty() {
            return;
        }
        self.least_patience = self.least_patience.min(run.manners.max_wait);
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
                ways: Ways {
                    lockstep: deaf,
                    ..Ways::default()
                },
                hosts: Hosts::NotCompared,
                suspicion: Suspicion::default(),
                ready: VecDeque::new(),
            });
            self.lanes.len() - 1
        });
        let (recheck, times) = (self.context.limits.recheck_accepts, self.shared.times());
        let mut state = DomainState::new(work, run, lane, recheck, times);
        state.tally = self.guesses.of(domain_key(state.name.as_str()));
        self.left += state.left();
        self.delayed += state.delayed.len();
        self.last_due = state
            .delayed
            .iter()
            .map(|delayed| delayed.due)
            .chain(self.last_due)
            .max();
        let over = state.run.is_over();
        let index = self.free.pop().unwrap_or_else(|| {
            self.domains.push(None);
            self.domains.len() - 1
        });
        let waits = match state.control.phase {
            Phase::Waits(due) => Some(due),
            Phase::Idle | Phase::InFlight | Phase::Due => None,
        };
        let alarms = state.delayed.iter().map(|delayed| delayed.due).chain(waits);
        self.alarms.extend(alarms.map(|due| Reverse((due, index))));
        if let Some(slot) = self.domains.get_mut(index) {
            *slot = Some(state);
        }
        if over {
            return self.leave(index, &Observation::not_tried(NotTried::Interrupted), None);
        }
        self.suspect_again(index);
        self.stop_guessing(index);
        // Only the last words of an earlier run may have been lost: then nobody needs to be asked, whatever the budget says.
        self.conclude_if_complete(index);
        if self.domains.get(index).is_some_and(Option::is_some) {
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
        if state.run.hurried {
            lane.ready.push_front(domain);
            // Somebody waits for the answer.
            self.ready_lanes.retain(|other| *other != state.lane);
            self.ready_lanes.push_front(state.lane);
        } else {
            lane.ready.push_back(domain);
        }
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
                    if self.sessions.is_empty() {
                        self.lose_patience(&Observation::not_tried(NotTried::Budget), until, SHORT_WAIT);
                    }
                    return (!self.ready_lanes.is_empty()).then_some(until);
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
            let of = |slice: &Slice| Some(Arc::clone(&self.domains.get(slice.domain)?.as_ref()?.run));
            let runs: Vec<_> = plan.slices.iter().filter_map(of).collect();
            let (context, shared) = (Arc::clone(&self.context), self.shared.on_behalf_of(runs.iter()));
            self.sessions.spawn(async move {
                for run in runs {
                    run.room().await;
                }
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
        let mut kin = Kin::default();
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
            let mut slice = slice(state, domain, room, (self.context.control_apart, self.pace.puts_off()));
            self.asking.part(&mut slice, state);
            kin.plan(&mut slice, state);
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
        let (implicit, ways) = (lane.implicit, lane.ways);
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
                ways,
                life: self.life,
                size: self.left,
            },
        ))
    }
}

/// Waits until one more of the runs brings no more work, and forgets it.
async fn routed_too(routing: &mut Vec<watch::Receiver<bool>>) {
    if let Some(routed) = routing.last_mut() {
        // A run that is gone brings nothing either.
        let _ = routed.wait_for(|routed| *routed).await;
        routing.pop();
    }
}
