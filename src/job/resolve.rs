//! From different addresses to evidence: routes found concurrently, mail hosts asked by the scheduler.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::FutureExt as _;
use tokio::{
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval},
};

use super::{Engine, Level, Progress, Stop, Waiting, addresses::Addresses};
use crate::{
    address::{Address, Domain},
    dns::{MailRoute, RouteFailure},
    lists,
    meter::Conclusions,
    schedule::{Asker, Errand, Finding, Findings, Standing, Target, Targets, WaitingView, Work},
    smtp::{Tally, Transcript},
    store::{Kept, Ledger, Source},
    verdict::{Evidence, ListDecision, NotTried, Observed, ProbeFailure, Verdict, judge, reason_of_route},
};

/// Routes looked up at once; the resolver has its own, lower limit on questions in flight.
pub(super) const ROUTES: usize = 512;
/// Domains whose findings are taken from the channel at once.
const BATCH: usize = 16;
/// How often the display is told what the run waits for.
const TICK: Duration = Duration::from_millis(500);
/// Addresses not settled yet that are a crowd, and how often their answers are taken at most.
const CROWD: usize = 256;
const PAUSE: Duration = Duration::from_millis(1);

/// One address, answered.
#[derive(Clone)]
pub(super) struct Settled {
    pub(super) id: u32,
    /// Where it is at hand.
    pub(super) address: Option<Address>,
    pub(super) standing: Standing,
    pub(super) first_asked: Option<SystemTime>,
    pub(super) due: Option<SystemTime>,
    pub(super) throttled: bool,
    pub(super) requeued: bool,
    pub(super) source: Source,
    pub(super) evidence: Evidence,
    pub(super) verdict: Verdict,
    pub(super) retry_at: Option<SystemTime>,
    pub(super) checked_at: SystemTime,
    pub(super) elapsed: Duration,
    pub(super) transcripts: Vec<Arc<Transcript>>,
}

/// What a route leads to.
pub(super) enum Next {
    /// The mail host decides.
    Ask,
    /// Nobody needs to be asked, or may be.
    Known(Box<Evidence>),
}

/// Whether a domain's mail hosts are asked.
pub(super) fn next(engine: &Engine, route: &Arc<MailRoute>) -> Next {
    let hosts = match &**route {
        MailRoute::Exchangers(exchangers) => exchangers.as_slice(),
        MailRoute::ImplicitMx(exchanger) => std::slice::from_ref(exchanger),
        MailRoute::NullMx | MailRoute::NoSuchDomain | MailRoute::NoMailHost(_) | MailRoute::Failure(_) => &[],
    };
    let listed = hosts
        .iter()
        .find_map(|exchanger| engine.settings.user_lists.decide_mx(&exchanger.host));
    let why = match (listed, hosts, engine.settings.level, &engine.manners) {
        (Some(ListDecision::Allow), ..) => NotTried::AllowListed,
        (Some(ListDecision::Block), ..) | (None, [], ..) => NotTried::NotNeeded,
        (None, _, Level::Syntax | Level::Dns, _) => NotTried::Level,
        (None, _, Level::Smtp, None) => NotTried::NoIdentity,
        (None, _, Level::Smtp, Some(_)) => return Next::Ask,
    };
    let route = Observed::Known(Arc::clone(route));
    Next::Known(Box::new(Evidence {
        list: listed,
        route,
        ..Evidence::not_tried(why)
    }))
}

fn asker(engine: &Engine, start: &Start<'_>) -> Option<(Asker, Findings)> {
    let errand = Errand {
        stop: start.stop.clone(),
        ledger: start.ledger.cloned(),
        tally: Arc::clone(&start.tally),
        hurried: start.hurried,
    };
    Some(engine.scheduler.as_ref()?.run(engine.manners.clone()?, errand))
}

/// Evidence of a fault of ours.
pub(super) fn internal() -> Evidence {
    let answer = Observed::Failed(ProbeFailure::Internal);
    let route = Observed::Known(Arc::new(MailRoute::Exchangers(Vec::new())));
    Evidence {
        route,
        answer,
        ..Evidence::not_tried(NotTried::NotNeeded)
    }
}

/// What is to be asked.
pub(super) struct Start<'a> {
    /// Domains with the numbers of their addresses.
    pub(super) domains: Vec<(Domain, Vec<u32>)>,
    /// Every address by its number.
    pub(super) addresses: Arc<Addresses>,
    pub(super) tally: Arc<Tally>,
    pub(super) stop: &'a Stop,
    /// What outlives the process.
    pub(super) ledger: Option<&'a Ledger>,
    /// What earlier runs of the job left of addresses that are asked again.
    pub(super) histories: HashMap<u32, Box<Kept>>,
    /// Somebody waits for the answers.
    pub(super) hurried: bool,
}

/// The number of a domain among those to route, and what was found.
struct Routed {
    index: usize,
    route: Arc<MailRoute>,
    wildcard_zone: bool,
}

/// A list being asked about.
pub(super) struct Probing<'a> {
    engine: &'a Engine,
    stop: Stop,
    /// Domains whose route is not known yet, with their addresses; the first `untouched` were not looked up.
    unrouted: Vec<Option<(Domain, Vec<u32>)>>,
    untouched: usize,
    routing: JoinSet<Routed>,
    /// Until every route is known.
    asker: Option<Asker>,
    groups: JoinSet<()>,
    findings: Option<Findings>,
    waiting: Option<WaitingView>,
    addresses: Arc<Addresses>,
    ledger: Option<&'a Ledger>,
    histories: HashMap<u32, Box<Kept>>,
    /// Addresses not settled yet.
    open: Vec<bool>,
    left: usize,
    conclusions: Conclusions,
    /// Findings received and not judged yet.
    batch: Vec<Vec<Finding>>,
    tick: Interval,
    pause: Interval,
}

/// What a run waits for.
enum Event {
    /// A route was found; `None` when the lookup was cancelled or panicked.
    Routed(Option<Routed>),
    /// Findings were received; none when every group has ended.
    Found,
    /// Every group has ended.
    Ended,
    /// Somebody asked to stop.
    Stopped,
    /// The display wants to know.
    Tick,
}

impl<'a> Probing<'a> {
    pub(super) fn start(engine: &'a Engine, start: Start<'a>) -> Self {
        let (asker, findings) = asker(engine, &start).unzip();
        let Start {
            mut domains,
            addresses,
            stop,
            ledger,
            histories,
            ..
        } = start;
        // Large domains are last in the vector, so first out: they take longest.
        domains.sort_unstable_by_key(|(_, ids)| ids.len());
        let unrouted: Vec<_> = domains.into_iter().map(Some).collect();
        let mut open = vec![false; addresses.len()];
        let mut left = 0;
        for id in unrouted.iter().flatten().flat_map(|(_, ids)| ids) {
            if let Some(open) = open.get_mut(*id as usize) {
                *open = true;
                left += 1;
            }
        }
        let every = |period| {
            let mut interval = interval(period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        };
        Self {
            engine,
            stop: stop.clone(),
            untouched: unrouted.len(),
            unrouted,
            routing: JoinSet::new(),
            waiting: asker.as_ref().map(Asker::waiting),
            asker,
            groups: JoinSet::new(),
            findings,
            addresses,
            ledger,
            histories,
            open,
            left,
            conclusions: engine.meter.conclusions(),
            batch: Vec::new(),
            tick: every(TICK),
            pause: every(PAUSE),
        }
    }

    /// The next answers; `None` when every address is settled.
    pub(super) async fn next(&mut self, progress: &Progress) -> Option<Vec<Settled>> {
        let mut settled = Vec::new();
        while settled.is_empty() {
            if self.left == 0 {
                return None;
            }
            self.look_up_more();
            if self.routing.is_empty() {
                self.all_routed();
            }
            match self.event().await {
                Event::Routed(routed) => self.routed(routed, &mut settled),
                Event::Found => self.judged(&mut settled),
                Event::Ended => self.ended(&mut settled),
                Event::Stopped => self.interrupted(&mut settled),
                Event::Tick => progress.waits(self.waiting.as_ref().map(waiting).unwrap_or_default()),
            }
        }
        settled.retain(|settled| {
            let open = self.open.get_mut(settled.id as usize);
            let attempt = settled.standing == Standing::Attempt;
            open.is_some_and(|open| *open && (attempt || std::mem::replace(open, false)))
        });
        let ended = |settled: &&Settled| settled.standing != Standing::Attempt;
        self.left = self.left.saturating_sub(settled.iter().filter(ended).count());
        Some(settled)
    }

    /// What comes next. In a crowd a round of waiting takes a [`PAUSE`] at least: to be woken for every single answer would cost
    /// the sessions a tenth of the time that ten thousand take that end at once.
    async fn event(&mut self) -> Event {
        if self.left >= CROWD {
            // Nobody is told to wake us in the pause.
            if let Some(event) = self.next_event().now_or_never() {
                return event;
            }
            self.pause.tick().await;
        }
        self.next_event().await
    }

    async fn next_event(&mut self) -> Event {
        let routing = !self.routing.is_empty();
        let (stop, batch) = (&self.stop, &mut self.batch);
        tokio::select! {
            // Findings come before the end of their groups: all at once they would be more than the caches hold.
            biased;
            Some(routed) = self.routing.join_next(), if routing => Event::Routed(routed.ok()),
            _ = receive(self.findings.as_mut(), batch) => Event::Found,
            Some(_) = self.groups.join_next(), if !self.groups.is_empty() => Event::Ended,
            () = stop.requested(), if routing => Event::Stopped,
            _ = self.tick.tick() => Event::Tick,
        }
    }

    /// What was received.
    fn judged(&mut self, settled: &mut Vec<Settled>) {
        if self.batch.is_empty() {
            self.findings = None;
        }
        settled.reserve(self.batch.iter().map(Vec::len).sum());
        let mut batch = std::mem::take(&mut self.batch);
        settled.extend(batch.drain(..).flatten().map(|finding| self.found(finding)));
        self.batch = batch;
    }

    fn look_up_more(&mut self) {
        let Some(router) = &self.engine.route else { return };
        while self.routing.len() < ROUTES && self.untouched > 0 {
            self.untouched -= 1;
            let index = self.untouched;
            let Some(Some((domain, _))) = self.unrouted.get(index) else {
                continue;
            };
            let (router, domain) = (Arc::clone(router), domain.clone());
            self.routing.spawn(async move {
                let route = router.route(&domain).await;
                // Free providers serve the names that they mean to serve.
                let ask = !lists::is_free(domain.registered());
                let wildcard_zone = ask && router.in_wildcard_zone(&domain, &route).await;
                Routed {
                    index,
                    route,
                    wildcard_zone,
                }
            });
        }
    }

    fn routed(&mut self, routed: Option<Routed>, settled: &mut Vec<Settled>) {
        // A lookup that was cancelled or panicked keeps its addresses; they are settled as interrupted or internal.
        let Some(Routed {
            index,
            route,
            wildcard_zone,
        }) = routed
        else {
            return;
        };
        let Some((domain, ids)) = self.unrouted.get_mut(index).and_then(Option::take) else {
            return;
        };
        match (next(self.engine, &route), &mut self.asker) {
            (Next::Ask, Some(asker)) => {
                let histories = ids.iter().filter_map(|id| Some((*id, self.histories.remove(id)?)));
                let mut histories: HashMap<u32, Box<Kept>> = histories.collect();
                let (resumed, addresses) = (!histories.is_empty(), Arc::clone(&self.addresses));
                let targets = Targets::later(ids.len(), move || {
                    addresses.expect(ids.iter().copied());
                    let target = |id: u32| {
                        let (address, history) = (addresses.get(id)?, histories.remove(&id));
                        Some(Target { id, address, history })
                    };
                    ids.into_iter().filter_map(target).collect()
                });
                // A store that cannot be read ends the run; until it does, nothing is known of the domain.
                let memory = self
                    .ledger
                    .and_then(|ledger| ledger.domain(&domain, resumed).ok().flatten())
                    .map(Box::new);
                asker.add(Work {
                    domain,
                    route,
                    wildcard_zone,
                    targets,
                    memory,
                });
            }
            (Next::Known(mut evidence), _) => {
                evidence.wildcard_zone = wildcard_zone;
                settled.extend(ids.into_iter().map(|id| self.settle(id, (*evidence).clone())));
            }
            (Next::Ask, None) => settled.extend(ids.into_iter().map(|id| self.settle(id, internal()))),
        }
    }

    /// No more work comes; the groups run to their ends.
    fn all_routed(&mut self) {
        if let Some(asker) = self.asker.take() {
            self.groups.spawn(asker.finish());
        }
    }

    /// All groups have ended: what is still open was lost by a fault of ours.
    fn ended(&mut self, settled: &mut Vec<Settled>) {
        while let Some(batch) = self.findings.as_mut().and_then(Findings::try_recv) {
            settled.extend(batch.into_iter().map(|finding| self.found(finding)));
        }
        let last_words = settled.iter().filter(|settled| settled.standing != Standing::Attempt);
        let answered: std::collections::HashSet<u32> = last_words.map(|settled| settled.id).collect();
        for (id, open) in (0..).zip(&self.open) {
            if *open && !answered.contains(&id) {
                settled.push(self.settle(id, internal()));
            }
        }
    }

    /// Whatever has no route yet will not get one.
    fn interrupted(&mut self, settled: &mut Vec<Settled>) {
        self.routing.abort_all();
        self.untouched = 0;
        let unrouted = self
            .unrouted
            .iter_mut()
            .filter_map(Option::take)
            .flat_map(|(_, ids)| ids);
        let ids: Vec<u32> = unrouted.collect();
        settled.extend(
            ids.into_iter()
                .map(|id| self.settle(id, Evidence::not_tried(NotTried::Interrupted))),
        );
    }

    fn settle(&self, id: u32, evidence: Evidence) -> Settled {
        let checked_at = self.engine.clock.now();
        let mends = route_that_may_mend(&evidence).and_then(reason_of_route);
        let steps = mends.and_then(|reason| self.engine.settings.retry_ladder.steps(reason));
        let retry = steps.and_then(<[_]>::first);
        let cut_short = matches!(evidence.answer, Observed::NotTried(NotTried::Interrupted));
        Settled {
            id,
            address: None,
            standing: if cut_short {
                Standing::Provisional
            } else {
                Standing::Final
            },
            first_asked: None,
            due: None,
            throttled: false,
            requeued: false,
            source: Source::Live,
            verdict: judge(&evidence, &self.engine.settings.policy),
            evidence,
            retry_at: retry.map(|step| checked_at + *step),
            checked_at,
            elapsed: Duration::ZERO,
            transcripts: Vec::new(),
        }
    }

    fn found(&mut self, finding: Finding) -> Settled {
        let settled = found(self.engine, finding);
        if settled.standing == Standing::Final && settled.source == Source::Live {
            let host = settled.evidence.host.as_ref();
            let provider = host.and_then(|host| host.provider);
            self.conclusions.add(&settled.verdict, provider);
        }
        settled
    }
}

fn waiting(view: &WaitingView) -> Waiting {
    let (until, groups) = view.next().unzip();
    Waiting {
        groups: groups.unwrap_or_default(),
        until,
        last: view.critical(),
    }
}

/// A route for which another look-up can give another answer.
fn route_that_may_mend(evidence: &Evidence) -> Option<&MailRoute> {
    let route = &**evidence.route.known()?;
    let mends = matches!(
        route,
        MailRoute::Failure(RouteFailure::Dns(_) | RouteFailure::MxUnresolvable)
    );
    mends.then_some(route)
}

/// Takes what is there, or waits for something; never ends when there is no scheduler.
async fn receive(findings: Option<&mut Findings>, batch: &mut Vec<Vec<Finding>>) -> usize {
    match findings {
        Some(findings) => findings.recv_many(batch, BATCH).await,
        None => std::future::pending().await,
    }
}

/// What was found out, judged.
pub(super) fn found(engine: &Engine, finding: Finding) -> Settled {
    let verdict = judge(&finding.evidence, &engine.settings.policy);
    Settled {
        id: finding.id,
        address: finding.address,
        standing: finding.standing,
        first_asked: finding.first_asked,
        due: finding.due,
        throttled: finding.throttled,
        requeued: finding.requeued,
        source: finding.source,
        verdict,
        evidence: finding.evidence,
        retry_at: finding.retry_at,
        checked_at: finding.checked_at,
        elapsed: finding.elapsed,
        transcripts: finding.transcripts,
    }
}
