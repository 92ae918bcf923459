//! The engine: everything a run shares, made once, and the two ways in, one address or a list.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Level, NotOwned, Outcome, Plan, Progress, Settings, Stop, Summary, few, forecast, ownership,
    resolve::{Settled, found},
    run, syntax,
};
use crate::{
    address::{Address, Rules},
    clock::{Clock, SystemClock},
    dns::{Canary, HickoryResolver, Resolve, ResolverError, ResolverOptions, Route, Router, RouterOptions, canary},
    input::{InputError, Row, Table},
    lists::{self, ListHits},
    meter::{Meter, Timed},
    net::{Dial, NoSource, TcpDialler},
    output::{Chunk, Renderer},
    replies::{Classifier, RulesError},
    schedule::{Finding, Manners, Scheduler, Seams, Standing, Stock, TrustedHosts},
    smtp::Identity,
    store::{JobRecord, Kept, Lease, Ledger, NewJob, Patience, PrivateStore, Source, Store, StoreError},
    suppress::{Feedback, Lookup, Mailing},
    verdict::{Evidence, NotTried, Policy, Told, judge},
};

/// Takes the answered rows, in input order.
pub trait Sink: Send {
    /// One row and what is known about its address.
    ///
    /// # Errors
    /// Writing failed; the run ends.
    fn write(&mut self, row: &Row, outcome: &Outcome) -> io::Result<()>;

    /// Called when no further row is ready, so that readers of a pipe see what is known.
    ///
    /// # Errors
    /// Writing failed; the run ends.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// A renderer for threads that fill chunks; `None` if rows must come one by one.
    fn renderer(&self) -> Option<Arc<Renderer>> {
        None
    }

    /// Takes rows that [`Sink::renderer`] rendered.
    ///
    /// # Errors
    /// Writing failed; the run ends.
    fn append(&mut self, chunk: &Chunk) -> io::Result<()> {
        let _ = chunk;
        Ok(())
    }
}

/// The engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is nobody to ask about DNS.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    /// The user's reply rules cannot be used.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// Source addresses and IP versions leave nothing to ask with.
    #[error(transparent)]
    Sources(#[from] NoSource),
    /// A domain is claimed and not proven.
    #[error(transparent)]
    NotOwned(#[from] Box<NotOwned>),
}

/// A run ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The input failed.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The output failed.
    #[error("cannot write the results: {0}")]
    Output(#[from] io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
    /// More different addresses than a run can number.
    #[error("the list holds more than {} different addresses; split it", u32::MAX)]
    TooManyAddresses,
}

/// What tests and labs put in the place of the network and the clock.
pub struct EngineSeams {
    /// Finds routes.
    pub route: Arc<dyn Route>,
    /// Opens connections.
    pub dial: Arc<dyn Dial>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// Answers addresses.
pub struct Engine {
    pub(super) settings: Settings,
    pub(super) route: Option<Arc<dyn Route>>,
    pub(super) clock: Arc<dyn Clock>,
    /// With the user's rules; `None` is the bundled classifier.
    pub(super) classifier: Option<Arc<Classifier>>,
    /// How mail hosts are asked; `None` below the SMTP level and without an identity.
    pub(super) manners: Option<Manners>,
    /// Asks them, for every run at once.
    pub(super) scheduler: Option<Scheduler>,
    /// Counts and times.
    pub(super) meter: Meter,
    /// What outlives the process; lists use a private one without it.
    pub(super) store: Option<Arc<dyn Store>>,
    /// What past mailings and people say, asked before anybody else.
    pub(super) told: Option<Arc<Lookup>>,
}

impl Engine {
    /// Starts what the settings need: below [`Level::Dns`] nothing, else the resolver, with its canary asked.
    ///
    /// # Errors
    /// The resolver's configuration or the user's rules cannot be read, or a claimed domain is not proven.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        if settings.level == Level::Smtp && settings.identity.is_some() && settings.replies.is_none() {
            // Compiling the rules takes longer than a lookup; mail hosts are not kept waiting for it.
            tokio::task::spawn_blocking(Classifier::built_in);
        }
        if settings.level != Level::Syntax {
            // They are needed when the first rows are written, by all threads at once.
            tokio::task::spawn_blocking(lists::prepare);
        }
        let dial = TcpDialler::new(&settings.network);
        let meter = Meter::default();
        let route = match settings.level {
            Level::Syntax => None,
            Level::Dns | Level::Smtp => Some(router(&settings, &meter).await?),
        };
        if settings.level == Level::Smtp {
            ownership::prove(&settings).await?;
        }
        Self::assemble(settings, route, (Arc::new(dial), Arc::new(SystemClock)), meter)
    }

    /// An engine that asks nobody: for what is known already.
    ///
    /// # Errors
    /// The user's rules or the settings of the network cannot be used.
    pub fn without_network(settings: Settings) -> Result<Self, StartError> {
        let dial = Arc::new(TcpDialler::new(&settings.network));
        Self::assemble(settings, None, (dial, Arc::new(SystemClock)), Meter::default())
    }

    /// An engine over other seams than the network's.
    ///
    /// # Errors
    /// The user's rules cannot be read.
    pub fn with_seams(settings: Settings, seams: EngineSeams) -> Result<Self, StartError> {
        Self::assemble(settings, Some(seams.route), (seams.dial, seams.clock), Meter::default())
    }

    fn assemble(
        settings: Settings,
        route: Option<Arc<dyn Route>>,
        (dial, clock): (Arc<dyn Dial>, Arc<dyn Clock>),
        meter: Meter,
    ) -> Result<Self, StartError> {
        let classifier = own_rules(&settings)?;
        let manners = manners(&settings);
        let scheduler = manners.clone().map(|manners| {
            let seams = Seams {
                dial,
                clock: Arc::clone(&clock),
                classifier: classifier.clone(),
                meter: meter.clone(),
            };
            Scheduler::new(manners, seams)
        });
        Ok(Self {
            settings,
            route,
            clock,
            classifier,
            manners,
            scheduler,
            meter,
            store: None,
            told: None,
        })
    }

    /// The same engine with other lists, reply rules and decisions about verdicts; whoever is being asked goes on being asked, and
    /// replies are understood by the new rules from now on. As whom, how far and by which way hosts are asked stays as it is.
    ///
    /// # Errors
    /// The new reply rules cannot be used; nothing has changed then.
    pub fn reload(&self, new: Settings) -> Result<Self, StartError> {
        let classifier = own_rules(&new)?;
        let settings = Settings {
            user_lists: new.user_lists,
            policy: new.policy,
            replies: new.replies,
            memory: new.memory,
            description: new.description,
            ..self.settings.clone()
        };
        if let Some(scheduler) = &self.scheduler {
            scheduler.understand_by(classifier.clone());
        }
        Ok(Self {
            classifier,
            ..self.told_otherwise(settings)
        })
    }

    /// The same engine with other settings.
    fn told_otherwise(&self, settings: Settings) -> Self {
        Self {
            route: self.route.clone(),
            clock: Arc::clone(&self.clock),
            classifier: self.classifier.clone(),
            manners: manners(&settings),
            scheduler: self.scheduler.clone(),
            meter: self.meter.clone(),
            store: self.store.clone(),
            told: self.told.clone(),
            settings,
        }
    }

    /// Keeps jobs and answers in `store`, and uses what is there.
    #[must_use]
    pub fn with_store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Looks addresses up before anybody is asked.
    #[must_use]
    pub fn with_lookup(mut self, lookup: Lookup) -> Self {
        self.told = Some(Arc::new(lookup)).filter(|lookup| !lookup.is_empty());
        self
    }

    /// The same engine for mail of a tenant, or to one list.
    #[must_use]
    pub fn for_mailing(mut self, mailing: Mailing) -> Self {
        self.told = self.told.map(|lookup| Arc::new(lookup.of(mailing)));
        self
    }

    /// What was told about an address: it needs nobody to be asked. A list that cannot be read keeps nobody from being asked,
    /// and is told in the log.
    pub(super) fn told(&self, address: &Address) -> Option<Arc<Told>> {
        let lookup = self.told.as_deref()?;
        let memory = self.settings.memory;
        let feedback = match (self.settings.level, memory.refresh) {
            (Level::Smtp, false) => Feedback::Within(memory.max_age.unwrap_or(Duration::MAX)),
            (Level::Smtp, true) | (Level::Syntax | Level::Dns, _) => Feedback::Ignored,
        };
        match lookup.told(address, feedback, self.clock.now()) {
            Ok(told) => told.map(Arc::new),
            Err(error) => {
                tracing::error!(%error, "the suppression list cannot be read");
                None
            }
        }
    }

    /// What is reported about an address of which something was told.
    pub(super) fn testified(&self, typed: &str, told: &Arc<Told>) -> Outcome {
        let mut outcome = self.read_without(typed);
        if outcome.evidence.syntax.is_none() {
            outcome.testify(Arc::clone(told), self.settings.policy);
        }
        outcome
    }

    /// The store, or one that ends with the run.
    pub(super) fn store(&self) -> Arc<dyn Store> {
        match &self.store {
            Some(store) => Arc::clone(store),
            None => Arc::new(PrivateStore::default()),
        }
    }

    pub(super) fn ledger(&self, store: &Arc<dyn Store>, lease: Lease) -> Result<Ledger, Arc<StoreError>> {
        self.ledger_for(store, lease, self.settings.memory)
    }

    /// The ledger of a run that takes answers of another age than the settings say.
    pub(super) fn ledger_for(
        &self,
        store: &Arc<dyn Store>,
        lease: Lease,
        memory: Patience,
    ) -> Result<Ledger, Arc<StoreError>> {
        let how = (memory, self.settings.exact);
        let clock = Arc::clone(&self.clock);
        Ok(Ledger::new(
            Arc::clone(store),
            lease,
            how,
            self.classifier.clone(),
            clock,
        )?)
    }

    /// What is kept about a job over `table`.
    pub(super) fn description(&self, table: &Table) -> NewJob {
        NewJob {
            source: table.files().map(|(name, _)| name).collect::<Vec<_>>().join(", "),
            settings: self.settings.description.clone(),
            layout: serde_json::to_string(&**table.layout()).unwrap_or_default(),
        }
    }

    /// An address that is answered from the store.
    pub(super) fn known(&self, id: u32, kept: Kept) -> Settled {
        found(self, Finding::kept(id, kept))
    }

    /// An address of which the store knows nothing, when nobody may be asked.
    pub(super) fn offline(&self, id: u32) -> Settled {
        let evidence = Evidence::not_tried(NotTried::Offline);
        Settled {
            id,
            address: None,
            standing: Standing::Final,
            first_asked: None,
            due: None,
            throttled: false,
            requeued: false,
            source: Source::Live,
            verdict: judge(&evidence, &self.settings.policy),
            evidence,
            retry_at: None,
            checked_at: self.clock.now(),
            elapsed: Duration::ZERO,
            transcripts: Vec::new(),
        }
    }

    /// What can be said about a text without asking anybody.
    pub(super) fn read(&self, typed: &str) -> Outcome {
        let mut outcome = self.read_without(typed);
        if let Some(told) = outcome.address.as_ref().and_then(|address| self.told(address)) {
            outcome.testify(told, self.settings.policy);
        }
        outcome
    }

    /// The same without what was told.
    fn read_without(&self, typed: &str) -> Outcome {
        let checked_at = self.clock.now();
        let settings = &self.settings;
        let why = match (settings.level, &self.manners) {
            (Level::Smtp, None) => NotTried::NoIdentity,
            (Level::Syntax | Level::Dns | Level::Smtp, _) => NotTried::Level,
        };
        match Address::parse(typed, settings.rules) {
            Ok(address) => {
                let list = settings.user_lists.decide(&address);
                let evidence = Evidence {
                    list,
                    ..Evidence::not_tried(why)
                };
                let hits = lists::look_up(&address);
                Outcome::new(typed, Some(address), hits, evidence, (&settings.policy, checked_at))
            }
            Err(error) => {
                let did_you_mean = error.suggestion.clone().or_else(|| suggest(typed, self.settings.rules));
                let hits = ListHits {
                    did_you_mean,
                    ..ListHits::default()
                };
                Outcome::new(
                    typed,
                    None,
                    hits,
                    Evidence::not_an_address(error),
                    (&settings.policy, checked_at),
                )
            }
        }
    }

    /// What was found out about a text, an address that was asked about.
    pub(super) fn settled(&self, typed: &str, settled: Settled) -> Outcome {
        match Address::parse(typed, self.settings.rules) {
            Ok(address) => {
                let hits = lists::look_up(&address);
                Outcome::settled(typed, address, hits, settled)
            }
            Err(_) => self.read(typed),
        }
    }

    /// What is reported about a text, an address of which something is kept.
    pub(super) fn reported(&self, typed: &str, kept: Kept) -> Outcome {
        match Address::parse(typed, self.settings.rules) {
            Ok(address) => {
                let hits = lists::look_up(&address);
                Outcome::kept(typed, (address, hits), kept, self.settings.policy)
            }
            Err(_) => self.read(typed),
        }
    }

    /// Answers a few addresses, in the order given; equal ones, and those of one mail host, share questions and sessions.
    ///
    /// When `stop` is requested, open sessions are closed politely and what is still open is `unknown/interrupted`.
    ///
    /// # Errors
    /// The store failed.
    pub async fn check(&self, typed: &[String], stop: &Stop) -> Result<Vec<Outcome>, VerifyError> {
        self.ask(typed, stop, self.settings.memory, &mut |_, _| {}).await
    }

    /// The same with answers no older than `memory` allows; `heard` is told of answers that may be bettered by asking again,
    /// with the number of their text.
    ///
    /// # Errors
    /// The store failed.
    pub async fn ask(
        &self,
        typed: &[String],
        stop: &Stop,
        memory: Patience,
        heard: &mut (dyn FnMut(usize, Outcome) + Send),
    ) -> Result<Vec<Outcome>, VerifyError> {
        match &self.route {
            None => Ok(self.read_all(typed)),
            Some(_) => few::answer(self, (typed, memory), stop, heard).await,
        }
    }

    /// The same answers if nobody need be asked for them.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn at_hand(&self, typed: &[String], memory: Patience) -> Result<Option<Vec<Outcome>>, VerifyError> {
        match &self.route {
            None => Ok(Some(self.read_all(typed))),
            Some(_) => few::at_hand(self, typed, memory),
        }
    }

    fn read_all(&self, typed: &[String]) -> Vec<Outcome> {
        typed.iter().map(|typed| self.read(typed)).collect()
    }

    /// The same engine, asking less far or keeping dialogues: routes, mail hosts, budgets and the store are shared with it.
    #[must_use]
    pub fn variant(&self, level: Level, transcript: bool) -> Self {
        let level = level.min(self.settings.level);
        let settings = Settings {
            level,
            transcript,
            ..self.settings.clone()
        };
        let mut engine = self.told_otherwise(settings);
        engine.route = engine.route.filter(|_| level > Level::Syntax);
        engine
    }

    /// The same engine, taking answers of another age.
    #[must_use]
    pub fn remembering(&self, memory: Patience) -> Self {
        let mut engine = self.variant(self.settings.level, self.settings.transcript);
        engine.settings.memory = memory;
        engine
    }

    /// What the text itself says before anybody answered. What was told about it is not looked up: that is an answer.
    #[must_use]
    pub fn pending(&self, typed: &str) -> Outcome {
        let mut outcome = self.read_without(typed);
        let evidence = &outcome.evidence;
        if evidence.syntax.is_none() && evidence.list.is_none() {
            outcome.conclude(Evidence::not_tried(NotTried::Budget), self.settings.policy);
        }
        outcome
    }

    /// What is to be asked, and what may be.
    #[must_use]
    pub fn stock(&self) -> Stock {
        self.scheduler
            .as_ref()
            .map(|scheduler| scheduler.view().stock())
            .unwrap_or_default()
    }

    /// A resolver that asks whom the engine asks, for names that are no mail hosts'.
    ///
    /// # Errors
    /// There is nobody to ask.
    pub fn resolver(&self) -> Result<Arc<dyn Resolve>, ResolverError> {
        let resolver = HickoryResolver::of(&self.settings.nameservers, ResolverOptions::default())?;
        Ok(Arc::new(Timed::new(resolver, self.meter.clone())))
    }

    /// What was counted and timed.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// How replies are understood.
    #[must_use]
    pub fn classifier(&self) -> &Classifier {
        self.classifier.as_deref().unwrap_or_else(|| Classifier::built_in())
    }

    /// What the operator decided about verdicts.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.settings.policy
    }

    /// How old answers may be when nobody says.
    #[must_use]
    pub fn memory(&self) -> Patience {
        self.settings.memory
    }

    /// Answers every row of `table`, in input order; equal addresses are asked about once.
    ///
    /// When `stop` is requested, open sessions are closed politely and every row that is still open is written as
    /// `unknown/interrupted`.
    ///
    /// # Errors
    /// Reading or writing failed.
    pub async fn verify(
        &self,
        table: Table,
        sink: &mut dyn Sink,
        progress: &Progress,
        stop: Stop,
    ) -> Result<Summary, VerifyError> {
        let started = Instant::now();
        let mut summary = match &self.route {
            None => syntax::run(self, table, sink, progress, &stop)?,
            Some(_) => run::table(self, table, sink, progress, &stop).await?,
        };
        sink.flush()?;
        summary.interrupted = stop.is_requested();
        summary.elapsed = started.elapsed();
        Ok(summary)
    }

    /// What [`Self::verify`] would do, from the list, what is kept, and DNS: no mail host is asked, nothing is kept.
    ///
    /// # Errors
    /// The list or the store cannot be read.
    pub async fn plan(&self, mut table: Table) -> Result<Plan, VerifyError> {
        forecast::plan(self, &mut table).await
    }

    /// Goes on with a job: rows that are answered are written again, the others are asked about.
    ///
    /// # Errors
    /// Writing failed, or another process works on the job.
    pub async fn resume(
        &self,
        job: &JobRecord,
        sink: &mut dyn Sink,
        progress: &Progress,
        stop: Stop,
    ) -> Result<Summary, VerifyError> {
        let started = Instant::now();
        let mut summary = run::resume(self, job, sink, progress, &stop).await?;
        sink.flush()?;
        summary.interrupted = stop.is_requested();
        summary.elapsed = started.elapsed();
        Ok(summary)
    }

    /// Writes every row of a job with what is known so far; nobody is asked.
    ///
    /// # Errors
    /// Writing failed, or the store cannot be read.
    pub fn export(&self, job: &JobRecord, sink: &mut dyn Sink) -> Result<Summary, VerifyError> {
        let view = self.view(job)?;
        self.write_out((&view, job), 0, sink)
    }
}

/// How mail hosts are asked, if they are.
fn manners(settings: &Settings) -> Option<Manners> {
    if settings.level != Level::Smtp {
        return None;
    }
    Some(Manners {
        identity: settings.identity.clone()?,
        timeouts: settings.timeouts,
        smtp_port: settings.smtp_port,
        transcript: settings.transcript,
        ladder: settings.retry_ladder.clone(),
        max_wait: settings.max_wait,
        limits: settings.limits.clone(),
        trusted: TrustedHosts::new(&settings.trusted),
        probe_forbidden: settings.probe_forbidden,
        probe_providers: settings.probe_providers.clone(),
        owned: settings.owned.iter().map(|claim| claim.domain.clone()).collect(),
    })
}

/// The operator's own reply rules over the bundled ones.
fn own_rules(settings: &Settings) -> Result<Option<Arc<Classifier>>, StartError> {
    let loaded = settings.replies.as_deref().map(Classifier::load).transpose()?;
    Ok(loaded.map(Arc::new))
}

async fn router(settings: &Settings, meter: &Meter) -> Result<Arc<dyn Route>, StartError> {
    let families = settings.network.families()?;
    let options = ResolverOptions {
        families,
        ..ResolverOptions::default()
    };
    let resolver = HickoryResolver::of(&settings.nameservers, options)?;
    let resolver: Arc<dyn Resolve> = Arc::new(Timed::new(resolver, meter.clone()));
    let resolver_rewrites = match canary(&*resolver).await {
        Canary::Rewrites => true,
        Canary::Honest | Canary::Unreachable(_) => false,
    };
    let allow_special_use = settings.rules.allow_special_use;
    let options = RouterOptions {
        allow_special_use,
        families,
        resolver_rewrites,
        seed: seed(settings),
    };
    Ok(Arc::new(Router::new(resolver, options)))
}

/// Senders spread over hosts of equal preference, and each keeps to its own: greylisting knows it by its visits, and what a
/// group has spent is known by the group's name, in the next run too.
fn seed(settings: &Settings) -> u64 {
    let name = settings.identity.as_ref().map(Identity::helo_name);
    name.map_or(0, |name| BuildHasherDefault::<DefaultHasher>::default().hash_one(name))
}

/// What was probably meant by a text that is not an address: the same local-part at a domain that exists.
pub(crate) fn suggest(typed: &str, rules: Rules) -> Option<Box<str>> {
    let (local_part, domain) = typed.trim().rsplit_once('@')?;
    let domain = lists::suggest_domain(&domain.to_ascii_lowercase())?.into_owned();
    let plain = local_part
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte));
    let meant = format!("{local_part}@{domain}");
    // The local-part may be what is wrong.
    (plain && Address::parse(&meant, rules).is_ok()).then(|| meant.into())
}
