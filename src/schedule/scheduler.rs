//! The entry: takes domains with their routes from every run, forms mail-host groups, hands out findings.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    backlog::{self, Findings, Reports},
    egress::Egress,
    gathering::{Gathering, Gatherings},
    group::Group,
    ladder::Ladder,
    limits::{Limits, TrustedHosts},
    memory::Times,
    outlook::Outlook,
    own::Own,
    pace::Pacer,
    placement::{Placement, place},
    places::Places,
    view::WaitingView,
    work::Work,
};
use crate::{
    address::Address,
    clock::Clock,
    meter::Meter,
    net::Dial,
    replies::{
        Classifier, Meaning,
        providers::{Provider, recognise},
    },
    smtp::{Identity, Reply, Stage, Tally, Timeouts, Transcript},
    stop::Stop,
    store::{Kept, Ledger, Source},
    verdict::{Evidence, NotTried, Observed},
};

/// How a run behaves towards mail hosts.
#[derive(Debug, Clone)]
pub struct Manners {
    /// Who we say we are.
    pub identity: Identity,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// 25, or a lab's port.
    pub smtp_port: u16,
    /// Keep dialogues.
    pub transcript: bool,
    /// When to ask again after an attempt that settled nothing.
    pub ladder: Ladder,
    /// The longest wait for a retry or a budget; what needs longer is reported with the time to ask again.
    pub max_wait: Duration,
    /// The budget of hosts that are not ours.
    pub limits: Limits,
    /// Our own hosts.
    pub trusted: TrustedHosts,
    /// Domains that were proven to be the operator's: the abuse guard does not look there, nor below them.
    pub owned: Vec<Box<str>>,
    /// Ask every provider whose published policy forbids it.
    pub probe_forbidden: bool,
    /// Ask these providers (ids or aliases) although their published policy forbids it.
    pub probe_providers: Vec<String>,
}

/// How far a finding goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// An answer came and the domain is not concluded: no finding yet, but worth keeping.
    Attempt,
    /// The last word of this run, because it ends: asking goes on in the next.
    Provisional,
    /// The last word.
    Final,
}

/// What was found out about one target.
#[derive(Debug)]
pub struct Finding {
    /// The target's number.
    pub id: u32,
    /// The target, where it is at hand.
    pub address: Option<Address>,
    /// How far it goes.
    pub standing: Standing,
    /// When the target was asked about for the first time.
    pub first_asked: Option<SystemTime>,
    /// It waits for its next question until then.
    pub due: Option<SystemTime>,
    /// A rate or harvest reply of the same session voids the answer.
    pub throttled: bool,
    /// It was put back once already after a lost connection.
    pub requeued: bool,
    /// Where it was found.
    pub source: Source,
    /// What was observed.
    pub evidence: Evidence,
    /// When asking again can help.
    pub retry_at: Option<SystemTime>,
    /// When it was observed.
    pub checked_at: SystemTime,
    /// How long the last attempt took.
    pub elapsed: Duration,
    /// The dialogues, when they are kept.
    pub transcripts: Vec<Arc<Transcript>>,
}

impl Finding {
    /// What was found before, by another run.
    pub(crate) fn kept(id: u32, kept: Kept) -> Self {
        Self {
            id,
            address: None,
            standing: Standing::Final,
            first_asked: kept.first_asked,
            due: None,
            throttled: kept.throttled,
            requeued: kept.requeued,
            source: kept.source,
            evidence: kept.evidence,
            retry_at: kept.retry_at,
            checked_at: kept.checked_at,
            elapsed: kept.elapsed,
            transcripts: kept.transcripts,
        }
    }
}

/// What a session sees of whoever it serves, and of what all groups share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) manners: Arc<Manners>,
    classifier: Arc<RwLock<Option<Arc<Classifier>>>>,
    pub(super) meter: Meter,
    pub(super) dial: Arc<dyn Dial>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tally: Arc<Tally>,
    pub(super) stop: Stop,
    pub(super) places: Places,
    pub(super) egress: Arc<Egress>,
    /// The operator's own hosts.
    pub(super) own: Own,
    pub(super) outlooks: Arc<Mutex<HashMap<Arc<str>, Outlook>>>,
}

impl Shared {
    /// The same on behalf of other runs: one that stops ends a session only if it has it for itself.
    pub(super) fn on_behalf_of<'a>(&self, mut runs: impl Iterator<Item = &'a Arc<Run>>) -> Self {
        let Some(first) = runs.next() else { return self.clone() };
        let (mut alone, mut transcript) = (true, first.manners.transcript);
        for other in runs {
            alone &= Arc::ptr_eq(first, other);
            transcript |= other.manners.transcript;
        }
        let manners = if transcript == first.manners.transcript {
            Arc::clone(&first.manners)
        } else {
            let manners = Manners::clone(&first.manners);
            Arc::new(Manners { transcript, ..manners })
        };
        Self {
            manners,
            tally: Arc::clone(&first.tally),
            stop: if alone { first.stop.clone() } else { Stop::new() },
            ..self.clone()
        }
    }

    pub(super) fn stopping(&self) -> bool {
        self.stop.is_requested()
    }

    /// Why nobody is asked any more.
    pub(super) fn over(&self) -> Option<NotTried> {
        if self.stopping() {
            Some(NotTried::Interrupted)
        } else {
            self.egress.closed()
        }
    }

    /// Waits until nobody is to be asked any more.
    pub(super) async fn ended(&self) {
        tokio::select! {
            () = self.stop.requested() => {}
            () = self.egress.blocked() => {}
        }
    }

    pub(super) fn classify(&self, stage: Stage, reply: &Reply, provider: Option<&'static str>) -> Meaning {
        let classifier = self.classifier.read().unwrap_or_else(PoisonError::into_inner).clone();
        let classifier = classifier.as_deref().unwrap_or_else(|| Classifier::built_in());
        let meaning = classifier.classify(stage, reply, provider);
        self.meter.understood(&meaning, provider);
        meaning
    }

    #[expect(clippy::unused_self, reason = "operators will be able to add providers to a run")]
    pub(super) fn provider(&self, host: &str) -> Option<&'static Provider> {
        recognise(host)
    }

    /// Now, on both clocks.
    pub(super) fn times(&self) -> Times {
        Times {
            now: Instant::now(),
            wall: self.clock.now(),
        }
    }

    /// The wall-clock time of an instant ahead.
    pub(super) fn wall(&self, at: Instant) -> SystemTime {
        self.clock.now() + at.saturating_duration_since(Instant::now())
    }

    /// Where a group stands; `None` when there is nothing to tell.
    pub(super) fn show(&self, group: &Arc<str>, outlook: Option<Outlook>) {
        let mut outlooks = self.outlooks.lock().unwrap_or_else(PoisonError::into_inner);
        match outlook {
            Some(outlook) => outlooks.insert(Arc::clone(group), outlook),
            None => outlooks.remove(group),
        };
    }
}

/// Whoever has addresses asked about: a list, or one request.
pub(super) struct Run {
    pub(super) manners: Arc<Manners>,
    pub(super) ledger: Option<Ledger>,
    pub(super) hurried: bool,
    tally: Arc<Tally>,
    stop: Stop,
    findings: Reports,
    /// No more work comes.
    routed: watch::Sender<bool>,
    gatherings: Gatherings,
    /// Nothing of it is left in any group.
    ended: Stop,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.ended.request();
    }
}

impl Run {
    /// Nobody waits for its answers any more.
    pub(super) fn is_over(&self) -> bool {
        self.stop.is_requested() || self.findings.is_unheard()
    }

    /// Findings of one domain at once: each send may wake the receiver.
    pub(super) fn report(&self, findings: Vec<Finding>) {
        self.findings.send(findings);
    }

    /// Waits until it keeps up with its findings.
    pub(super) async fn room(&self) {
        self.findings.room().await;
    }

    /// Tells when no more work comes.
    pub(super) fn routed(&self) -> watch::Receiver<bool> {
        self.routed.subscribe()
    }
}

/// A domain on its way into a group, with the run that wants to know.
pub(super) struct Order {
    /// Boxed: the channel makes room for 32 at once.
    pub(super) work: Box<Work>,
    pub(super) run: Arc<Run>,
}

/// What the sessions of one group share.
pub(super) struct GroupContext {
    pub(super) name: Arc<str>,
    pub(super) limits: Limits,
    pub(super) trusted: bool,
    /// The control recipient needs a session of its own.
    pub(super) control_apart: bool,
    /// Between two recipients.
    pub(super) questions: Pacer,
    /// Between two connections.
    pub(super) connects: Pacer,
}

/// Runs the groups for every run of a process: a host sees one budget, however many lists and requests ask it.
#[derive(Clone)]
pub struct Scheduler(Arc<Inner>);

struct Inner {
    shared: Shared,
    groups: Mutex<Groups>,
    /// Counts runs that stopped.
    stirred: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct Groups {
    ways: HashMap<Arc<str>, Way>,
    tasks: JoinSet<()>,
}

/// The way to a group.
struct Way {
    orders: mpsc::UnboundedSender<Order>,
    gathering: Arc<Gathering>,
}

/// What a scheduler needs from its maker.
pub struct Seams {
    /// Opens connections.
    pub dial: Arc<dyn Dial>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Understands replies; `None` is the bundled classifier.
    pub classifier: Option<Arc<Classifier>>,
    /// Counts and times.
    pub meter: Meter,
}

/// What a run brings with it.
pub struct Errand {
    /// The request to stop politely.
    pub stop: Stop,
    /// What outlives the process; `None` forgets with it.
    pub ledger: Option<Ledger>,
    /// Counts connections and commands; those of a session that serves several runs are the first one's.
    pub tally: Arc<Tally>,
    /// Somebody waits for the answer: it goes before lists.
    pub hurried: bool,
}

impl Scheduler {
    /// A scheduler without work.
    #[must_use]
    pub fn new(manners: Manners, seams: Seams) -> Self {
        let Seams {
            dial,
            clock,
            classifier,
            meter,
        } = seams;
        // Never more than the dialler has sockets for: a wait for one would look like a dead host.
        let places = Places::new(dial.sockets());
        let shared = Shared {
            manners: Arc::new(manners),
            classifier: Arc::new(RwLock::new(classifier)),
            meter,
            dial,
            clock,
            tally: Arc::default(),
            stop: Stop::new(),
            places,
            egress: Arc::new(Egress::new()),
            own: Own::new(),
            outlooks: Arc::default(),
        };
        let (stirred, _) = watch::channel(0);
        Self(Arc::new(Inner {
            shared,
            groups: Mutex::default(),
            stirred: Arc::new(stirred),
        }))
    }

    /// A run with its own patience, and the channel on which each of its targets comes back exactly once. Who it says it is,
    /// how long it waits for hosts and what it may ask of them must be the same for all runs.
    #[must_use]
    pub fn run(&self, manners: Manners, errand: Errand) -> (Asker, Findings) {
        let Errand {
            stop,
            ledger,
            tally,
            hurried,
        } = errand;
        self.0.shared.egress.try_again();
        let (reports, findings) = backlog::channel();
        let (unheard, stirred, stopped) = (reports.unheard(), Arc::clone(&self.0.stirred), stop.clone());
        let ended = Stop::new();
        let over = ended.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.requested() => {}
                () = unheard.requested() => {}
                () = over.requested() => return,
            }
            stirred.send_modify(|count| *count += 1);
        });
        let run = Arc::new(Run {
            manners: Arc::new(manners),
            ledger,
            hurried,
            tally,
            stop,
            findings: reports,
            routed: watch::Sender::new(false),
            gatherings: Gatherings::default(),
            ended,
        });
        let scheduler = self.clone();
        (Asker { scheduler, run }, findings)
    }

    /// What can be seen of its groups.
    #[must_use]
    pub fn view(&self) -> WaitingView {
        WaitingView {
            shared: self.0.shared.clone(),
        }
    }

    /// Understands replies by other rules from now on, in sessions under way too.
    pub fn understand_by(&self, classifier: Option<Arc<Classifier>>) {
        *self.0.shared.classifier.write().unwrap_or_else(PoisonError::into_inner) = classifier;
    }

    /// Hands a domain to its group; makes the group if there is none.
    fn hand_over(&self, order: Order, placement: Placement) {
        let mut groups = self.groups();
        while groups.tasks.try_join_next().is_some() {}
        let addresses = order.work.targets.count();
        let order = match groups.ways.get(&placement.name) {
            Some(way) => match way.orders.send(order) {
                Ok(()) => return way.gathering.add(addresses),
                // The group ended by a fault of ours.
                Err(unsent) => unsent.0,
            },
            None => order,
        };
        let Placement {
            name,
            limits,
            trusted,
            control_apart,
        } = placement;
        let context = GroupContext {
            name: Arc::clone(&name),
            questions: Pacer::new(limits.gap),
            connects: Pacer::new(limits.reconnect),
            limits,
            trusted,
            control_apart,
        };
        let (orders, receiver) = mpsc::unbounded_channel();
        let (routed, gathering) = (order.run.routed(), order.run.gatherings.begin());
        gathering.add(addresses);
        let _ = orders.send(order);
        let way = Way {
            orders,
            gathering: Arc::clone(&gathering),
        };
        groups.ways.insert(name, way);
        let closing = Closing(Arc::downgrade(&self.0));
        let group = Box::new(Group::new(
            context,
            self.0.shared.clone(),
            receiver,
            self.0.stirred.subscribe(),
        ));
        groups.tasks.spawn(group.run((routed, gathering), closing));
    }

    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.0.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a group ends so that no domain is on its way to it.
pub(super) struct Closing(Weak<Inner>);

impl Closing {
    /// Takes the group off the list if nothing more is in `work`; `last` is done before another may take its place.
    pub(super) fn close(&self, name: &Arc<str>, work: &mpsc::UnboundedReceiver<Order>, last: impl FnOnce()) -> bool {
        let Some(inner) = self.0.upgrade() else {
            last();
            return true;
        };
        let mut groups = inner.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if !work.is_empty() {
            return false;
        }
        groups.ways.remove(name);
        last();
        true
    }
}

/// One run's way to the scheduler.
pub struct Asker {
    scheduler: Scheduler,
    run: Arc<Run>,
}

impl Asker {
    /// Adds a domain. Targets that must not be asked about come back at once.
    pub fn add(&mut self, work: Work) {
        match place(&work.route, &self.run.manners) {
            Ok(placement) => {
                let (work, run) = (Box::new(work), Arc::clone(&self.run));
                self.scheduler.hand_over(Order { work, run }, placement);
            }
            Err(why) => self.answer_unasked(work, why),
        }
    }

    /// Until when the group that waits least will wait, and how many wait.
    #[must_use]
    pub fn waiting(&self) -> WaitingView {
        self.scheduler.view()
    }

    /// Says that no more work comes, and waits until every target has come back.
    pub async fn finish(self) {
        let ended = self.run.ended.clone();
        self.run.gatherings.end();
        self.run.routed.send_replace(true);
        // Groups end with the last scheduler.
        let scheduler = self.scheduler.clone();
        drop(self);
        ended.requested().await;
        drop(scheduler);
    }

    fn answer_unasked(&self, work: Work, why: NotTried) {
        let checked_at = self.scheduler.0.shared.clock.now();
        let work = work.make();
        let findings = work.targets.into_iter().map(|target| Finding {
            id: target.id,
            address: Some(target.address),
            standing: Standing::Final,
            first_asked: None,
            due: None,
            throttled: false,
            requeued: false,
            source: Source::Live,
            evidence: Evidence {
                route: Observed::Known(Arc::clone(&work.route)),
                wildcard_zone: work.wildcard_zone,
                ..Evidence::not_tried(why)
            },
            retry_at: None,
            checked_at,
            elapsed: Duration::ZERO,
            transcripts: Vec::new(),
        });
        self.run.report(findings.collect());
    }
}
