//! The entry: takes domains with their routes, forms mail-host groups, hands out findings.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    backlog::{self, Findings, Reports},
    domain::Target,
    egress::Egress,
    group::Group,
    ladder::Ladder,
    limits::{Limits, TrustedHosts},
    memory::Times,
    outlook::{Critical, Outlook},
    pace::Pacer,
    placement::{Placement, place},
    places::Places,
};
use crate::{
    address::Domain,
    clock::Clock,
    dns::MailRoute,
    net::Dial,
    replies::{
        Classifier, Meaning,
        providers::{Provider, recognise},
    },
    smtp::{Identity, Reply, Stage, Tally, Timeouts, Transcript},
    stop::Stop,
    store::{DomainMemory, Kept, Ledger, Source},
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

/// A domain with its mail hosts and the addresses to ask about.
#[derive(Debug)]
pub struct Work {
    /// The domain.
    pub domain: Domain,
    /// Its route; must name exchangers.
    pub route: Arc<MailRoute>,
    /// The addresses.
    pub targets: Vec<Target>,
    /// What is known about the domain from before.
    pub memory: Option<DomainMemory>,
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

/// What all groups share.
pub(super) struct Shared {
    pub(super) manners: Manners,
    pub(super) classifier: Option<Arc<Classifier>>,
    pub(super) dial: Arc<dyn Dial>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tally: Arc<Tally>,
    pub(super) stop: Stop,
    pub(super) ledger: Option<Ledger>,
    pub(super) places: Places,
    pub(super) egress: Egress,
    findings: Reports,
    outlooks: Mutex<HashMap<Arc<str>, Outlook>>,
}

impl Shared {
    pub(super) fn stopping(&self) -> bool {
        self.stop.is_requested()
    }

    /// Why nobody is asked any more.
    pub(super) fn over(&self) -> Option<NotTried> {
        if self.stopping() {
            Some(NotTried::Interrupted)
        } else {
            self.egress.is_blocked().then_some(NotTried::PortBlocked)
        }
    }

    /// Waits until nobody is to be asked any more.
    pub(super) async fn ended(&self) {
        tokio::select! {
            () = self.stop.requested() => {}
            () = self.egress.blocked() => {}
        }
    }

    pub(super) fn classify(&self, stage: Stage, reply: &Reply, provider: Option<&str>) -> Meaning {
        let classifier = self.classifier.as_deref().unwrap_or_else(|| Classifier::built_in());
        classifier.classify(stage, reply, provider)
    }

    #[expect(clippy::unused_self, reason = "operators will be able to add providers to a run")]
    pub(super) fn provider(&self, host: &str) -> Option<&'static Provider> {
        recognise(host)
    }

    /// Findings of one domain at once: each send may wake the receiver.
    pub(super) fn report(&self, findings: Vec<Finding>) {
        self.findings.send(findings);
    }

    /// Waits until the caller keeps up.
    pub(super) async fn room(&self) {
        self.findings.backlog.room().await;
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

/// Takes work and runs the groups.
pub struct Scheduler {
    shared: Arc<Shared>,
    groups: HashMap<Arc<str>, mpsc::UnboundedSender<Work>>,
    tasks: JoinSet<()>,
    routed: watch::Sender<bool>,
}

/// What a scheduler needs from its caller.
pub struct Seams {
    /// Opens connections.
    pub dial: Arc<dyn Dial>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Understands replies; `None` is the bundled classifier.
    pub classifier: Option<Arc<Classifier>>,
    /// The request to stop politely.
    pub stop: Stop,
    /// What outlives the process; `None` forgets with it.
    pub ledger: Option<Ledger>,
}

impl Scheduler {
    /// A scheduler and the channel on which every target comes back exactly once.
    #[must_use]
    pub fn new(manners: Manners, seams: Seams, tally: Arc<Tally>) -> (Self, Findings) {
        let (findings, receiver) = backlog::channel();
        let Seams {
            dial,
            clock,
            classifier,
            stop,
            ledger,
        } = seams;
        // Never more than the dialler has sockets for: a wait for one would look like a dead host.
        let places = Places::new(dial.sockets());
        let shared = Arc::new(Shared {
            manners,
            classifier,
            dial,
            clock,
            tally,
            stop,
            ledger,
            places,
            egress: Egress::new(),
            findings,
            outlooks: Mutex::default(),
        });
        let (routed, _) = watch::channel(false);
        (
            Self {
                shared,
                groups: HashMap::new(),
                tasks: JoinSet::new(),
                routed,
            },
            receiver,
        )
    }

    /// Adds a domain. Targets that must not be asked about come back at once.
    pub fn add(&mut self, work: Work) {
        let placement = match place(&work.route, &self.shared.manners) {
            Ok(placement) => placement,
            Err(why) => return self.answer_unasked(work, why),
        };
        let sender = self.groups.entry(Arc::clone(&placement.name)).or_insert_with(|| {
            let Placement {
                name,
                limits,
                trusted,
                control_apart,
            } = placement;
            let context = GroupContext {
                name,
                questions: Pacer::new(limits.gap),
                connects: Pacer::new(limits.reconnect),
                limits,
                trusted,
                control_apart,
            };
            let (sender, receiver) = mpsc::unbounded_channel();
            let group = Group::new(context, Arc::clone(&self.shared), receiver);
            self.tasks.spawn(group.run(self.routed.subscribe()));
            sender
        });
        // A group ends only after its sender is dropped.
        let _ = sender.send(work);
    }

    /// Until when the group that waits least will wait, and how many wait.
    #[must_use]
    pub fn waiting(&self) -> WaitingView {
        WaitingView {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Says that no more work comes, and waits for every group.
    pub async fn finish(mut self) {
        self.groups.clear();
        self.routed.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a mail-host group ended by a fault of ours");
            }
        }
    }

    fn answer_unasked(&self, work: Work, why: NotTried) {
        let checked_at = self.shared.clock.now();
        let findings = work.targets.into_iter().map(|target| Finding {
            id: target.id,
            standing: Standing::Final,
            first_asked: None,
            due: None,
            throttled: false,
            requeued: false,
            source: Source::Live,
            evidence: Evidence {
                route: Observed::Known(Arc::clone(&work.route)),
                ..Evidence::not_tried(why)
            },
            retry_at: None,
            checked_at,
            elapsed: Duration::ZERO,
            transcripts: Vec::new(),
        });
        self.shared.report(findings.collect());
    }
}

/// A view of the groups that wait, for progress displays.
#[derive(Clone)]
pub struct WaitingView {
    shared: Arc<Shared>,
}

impl WaitingView {
    /// The next time a waiting group goes on, and how many groups wait.
    #[must_use]
    pub fn next(&self) -> Option<(SystemTime, usize)> {
        let outlooks = self.shared.outlooks.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = outlooks.values().filter_map(|outlook| outlook.until);
        let count = waits.clone().count();
        Some((self.shared.wall(waits.min()?), count))
    }

    /// The group that will be done last.
    #[must_use]
    pub fn critical(&self) -> Option<Critical> {
        let outlooks = self.shared.outlooks.lock().unwrap_or_else(PoisonError::into_inner);
        let (group, outlook) = outlooks.iter().max_by_key(|(_, outlook)| outlook.done_at)?;
        Some(Critical {
            group: Arc::clone(group),
            waits_for: outlook.waits_for,
            done_at: self.shared.wall(outlook.done_at),
        })
    }
}
