//! The HTTP API: `presend serve`. Routes, limits, keys, problems, and the description of them all.
//!
//! Owns everything that a caller can see and every limit that he meets. Must not probe, judge or keep answers itself: it asks
//! [`crate::job::Engine`], whose results it shows as they are.

mod body;
mod connection;
mod cors;
mod document;
mod events;
mod gate;
mod happening;
mod health;
mod idempotency;
mod jobs;
mod key;
mod knowledge;
mod limits;
mod log;
mod metrics;
mod problem;
mod proxy;
mod quota;
mod receive;
mod reload;
mod sandbox;
mod suppressions;
mod tls;
mod verification;
mod verify;
mod webhook;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRequestParts, Path, Request},
    http::request::Parts,
    middleware::{from_fn_with_state, map_request},
    response::Response,
    routing::get,
};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{MissedTickBehavior, interval},
};
use tower::{Service as _, util::option_layer};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use cors::{NotAnOrigin, PageOrigin};
pub use key::{Allowance, ApiKey, NotAKey, NotAnAllowance, Scope};
pub use limits::Limits;
pub use problem::Code;
pub use proxy::{Cidr, NotACidr, TrustedProxies};
pub use receive::{NotAProof, Proofs};
pub use reload::Reloader;
pub use sandbox::{Sandbox, SandboxError};
pub use tls::{Tls, TlsError};
pub use webhook::WebhookOptions;

use self::{gate::Gate, metrics::Metrics, problem::Problem, verification::Verifications};
use crate::{
    dns::ResolverError,
    job::{Engine, Level, Stop},
    store::{SqliteStore, StoreError},
    suppress::{BouncePolicy, Lookup, Mailing},
};

/// A server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Whoever reaches the address could ask without a key.
    #[error("there are no keys, and `{0}` can be reached by others: without keys only this machine is served")]
    Open(SocketAddr),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The socket cannot be used.
    #[error("cannot listen: {0}")]
    Listen(#[from] std::io::Error),
    /// There is nobody to ask about the names of webhooks' targets.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    /// The system has no random numbers.
    #[error("the system has no random numbers: {0}")]
    Random(#[from] rand::rand_core::OsError),
}

/// How long it is remembered what happened, for those who must be told.
const TOLD: Duration = Duration::from_hours(7 * 24);
/// Requests that read rows from the store at one time.
const READS: usize = 8;
/// How the server is reached.
#[derive(Debug, Default)]
pub struct Options {
    /// Certificate and key; without them requests come in clear.
    pub tls: Option<Arc<Tls>>,
    /// Whose word about callers counts.
    pub trusted_proxies: TrustedProxies,
    /// Web pages of others that may ask.
    pub cors: Vec<PageOrigin>,
    /// How events are sent.
    pub webhooks: WebhookOptions,
    /// What is done about bounces.
    pub bounces: Bounces,
}

/// What is done about bounces that callers report.
#[derive(Debug, Default)]
pub struct Bounces {
    /// When they suppress.
    pub policy: BouncePolicy,
    /// What calls of sending services are checked against.
    pub proofs: Proofs,
}

/// What every request can see.
struct State {
    engines: Engines,
    received: receive::Received,
    gate: Gate,
    quotas: Arc<quota::Quotas>,
    verifications: Arc<Verifications>,
    metrics: Metrics,
    limits: Limits,
    options: Options,
    proxies: Arc<TrustedProxies>,
    places: Semaphore,
    salt: [u8; 32],
    webhook_secret: [u8; 32],
    document: Vec<u8>,
    store: Arc<SqliteStore>,
    stop: Stop,
    /// Requested before `stop`: nothing new is begun, and streams end.
    closing: Stop,
    runner: jobs::Runner,
    /// Lists on their way in or out.
    transfers: Arc<Semaphore>,
    /// Rows being read for pages and events.
    reads: Semaphore,
    /// Rung when something happened to a job or a verification.
    bell: happening::Bell,
}

type Shared = Arc<State>;

/// An engine for each way of asking, all over the same hosts and the same store.
struct Engines(RwLock<Ways>);

/// Tenants whose engines are kept.
const TENANTS: usize = 1_000;

struct Ways {
    all: Vec<(Level, bool, Arc<Engine>)>,
    /// The one that was given.
    first: Arc<Engine>,
    /// By tenant, for what was suppressed for each of them.
    of_tenants: HashMap<(Arc<str>, Level, bool), Arc<Engine>>,
}

impl Ways {
    fn new(engine: Engine) -> Self {
        let levels = [Level::Smtp, Level::Dns, Level::Syntax];
        let ways = levels.into_iter().flat_map(|level| [(level, false), (level, true)]);
        let way = |(level, transcript)| (level, transcript, Arc::new(engine.variant(level, transcript)));
        Self {
            all: ways.map(way).collect(),
            first: Arc::new(engine),
            of_tenants: HashMap::new(),
        }
    }
}

impl Engines {
    fn new(engine: Engine) -> Self {
        Self(RwLock::new(Ways::new(engine)))
    }

    fn ways(&self) -> RwLockReadGuard<'_, Ways> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, level: Level, transcript: bool) -> Arc<Engine> {
        let all = self.ways();
        let found = all.all.iter().find(|way| (way.0, way.1) == (level, transcript));
        Arc::clone(found.map_or(&all.first, |(.., engine)| engine))
    }

    /// The same for mail of a tenant.
    fn of(&self, tenant: &Arc<str>, level: Level, transcript: bool) -> Arc<Engine> {
        let all = self.get(level, transcript);
        let owner = gate::owner(tenant);
        if owner.is_empty() {
            return all;
        }
        let key = (Arc::clone(tenant), level, transcript);
        if let Some(engine) = self.ways().of_tenants.get(&key) {
            return Arc::clone(engine);
        }
        let mailing = Mailing {
            tenant: owner.into(),
            list: None,
        };
        let engine = Arc::new(all.variant(level, transcript).for_mailing(mailing));
        let mut ways = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if ways.of_tenants.len() >= TENANTS {
            ways.of_tenants.clear();
        }
        ways.of_tenants.insert(key, Arc::clone(&engine));
        engine
    }

    fn any(&self) -> Arc<Engine> {
        Arc::clone(&self.ways().first)
    }

    /// Asks by another engine from now on.
    fn replace(&self, engine: Engine) {
        let ways = Ways::new(engine);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = ways;
    }
}

/// A server that listens and has not begun to answer.
pub struct Server {
    shared: Shared,
    listener: TcpListener,
    router: Router,
}

impl Server {
    /// Prepares to answer on `listener` with the engine's answers, which must be kept in `store`.
    ///
    /// # Errors
    /// There are no keys and others can reach the address, or the database cannot be used.
    pub fn new(
        listener: TcpListener,
        engine: Engine,
        store: Arc<SqliteStore>,
        limits: Limits,
    ) -> Result<Self, ServeError> {
        Self::with_options(listener, engine, store, limits, Options::default())
    }

    /// The same, reached in another way.
    ///
    /// # Errors
    /// There are no keys and others can reach the address, or the database cannot be used.
    pub fn with_options(
        listener: TcpListener,
        engine: Engine,
        store: Arc<SqliteStore>,
        limits: Limits,
        options: Options,
    ) -> Result<Self, ServeError> {
        use rand::TryRngCore as _;
        let address = listener.local_addr()?;
        let ring = store.key_ring()?;
        if !address.ip().is_loopback() && !store.keys()?.iter().any(|key| key.revoked_at.is_none()) {
            return Err(ServeError::Open(address));
        }
        // What is suppressed while the server runs counts at once.
        let engine = engine.with_lookup(Lookup::live(Arc::clone(&store), Mailing::default())?);
        let secret = |name| -> Result<[u8; 32], ServeError> {
            let mut fresh = [0; 32];
            rand::rngs::OsRng.try_fill_bytes(&mut fresh)?;
            Ok(store.secret(name, fresh)?)
        };
        let (salt, webhook_secret) = (secret("log")?, secret("webhook")?);
        let quotas = Arc::new(quota::Quotas::load(Arc::clone(&store))?);
        let (stop, bell) = (Stop::new(), happening::Bell::new());
        let (open, description) = OpenApiRouter::with_openapi(<document::Description as utoipa::OpenApi>::openapi())
            .routes(routes!(health::healthz))
            .routes(routes!(health::readyz))
            .routes(routes!(document::openapi))
            .routes(routes!(receive::ses))
            .routes(routes!(receive::sendgrid))
            .routes(routes!(receive::mailgun))
            .routes(routes!(receive::postmark))
            .split_for_parts();
        let (verify, verify_description) = OpenApiRouter::new()
            .routes(routes!(verify::verify))
            .routes(routes!(verify::batch))
            .routes(routes!(verify::verification))
            .routes(routes!(webhook::secret))
            .routes(routes!(knowledge::classify))
            .routes(routes!(knowledge::reasons))
            .split_for_parts();
        let (lists, lists_description) = jobs::routes().split_for_parts();
        let (events, events_description) = OpenApiRouter::new()
            .routes(routes!(events::events))
            .routes(routes!(
                suppressions::list,
                suppressions::suppress,
                suppressions::let_go
            ))
            .routes(routes!(suppressions::after))
            .routes(routes!(suppressions::lookup))
            .split_for_parts();
        let (admin, admin_description) = OpenApiRouter::new().routes(routes!(metrics::metrics)).split_for_parts();
        let description = description
            .merge_from(verify_description)
            .merge_from(lists_description)
            .merge_from(events_description)
            .merge_from(admin_description);
        let shared = Arc::new(State {
            gate: Gate::new(ring, address, &limits, Arc::clone(&quotas)),
            quotas,
            verifications: Arc::new(Verifications::new(
                &limits,
                stop.clone(),
                (Arc::clone(&store), bell.clone()),
            )),
            metrics: Metrics::new(engine.meter(), store.timing()),
            places: Semaphore::new(limits.max_requests),
            proxies: Arc::new(options.trusted_proxies.clone()),
            options,
            salt,
            webhook_secret,
            engines: Engines::new(engine),
            received: receive::Received::default(),
            document: document::complete(description, env!("CARGO_PKG_VERSION")),
            store,
            stop,
            closing: Stop::new(),
            runner: jobs::Runner::new(limits.max_running),
            transfers: Arc::new(Semaphore::new(limits.max_transfers)),
            limits,
            reads: Semaphore::new(READS),
            bell,
        });
        let guarded = |router: Router<Shared>, scope| {
            router.route_layer(from_fn_with_state((Arc::clone(&shared), scope), gate::guard))
        };
        let router = open
            .merge(guarded(verify, Scope::Verify))
            .merge(guarded(events, Scope::Events))
            .merge(guarded(lists, Scope::Jobs))
            .merge(guarded(admin, Scope::Admin))
            .route("/docs", get(document::docs))
            .route("/docs/page.js", get(document::script))
            .route("/docs/page.css", get(document::style))
            .fallback(nothing_here)
            // The bodies' size is limited where they are read.
            .layer(DefaultBodyLimit::disable())
            .layer(map_request(no_query))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(option_layer(cors::layer(&shared.options.cors)))
            .layer(from_fn_with_state(Arc::clone(&shared), log::watch))
            .with_state(Arc::clone(&shared));
        Ok(Self {
            shared,
            listener,
            router,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers one request as if it came over a connection from `peer`. [`Server::run`] does so with every request, within the
    /// limits of connections and headers.
    pub async fn answer(&self, peer: IpAddr, mut request: Request) -> Response {
        let client = self.shared.proxies.client(peer, request.headers());
        request.extensions_mut().insert(client);
        match self.router.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// What can change it while it runs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        Reloader(Arc::clone(&self.shared))
    }

    /// Answers until `stop` is requested; then requests under way get their time, sessions are closed politely, and what is known
    /// is kept.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn run(self, stop: Stop) -> Result<(), ServeError> {
        let Self {
            shared,
            listener,
            router,
        } = self;
        if let Some(tls) = &shared.options.tls {
            tokio::spawn(tls::watch(Arc::clone(tls), stop.clone()));
        }
        webhook::forget(&shared.store)?;
        let resolver = shared.engines.any().resolver()?;
        let delivering = tokio::spawn(webhook::deliver(Arc::clone(&shared), resolver, stop.clone()));
        shared.store.forget_cut_off()?;
        jobs::resume_all(&shared)?;
        shared.verifications.resume(&shared.engines)?;
        tokio::spawn(look_after(Arc::clone(&shared)));
        let closing = {
            let (shared, stop) = (Arc::clone(&shared), stop.clone());
            tokio::spawn(async move {
                stop.requested().await;
                shared.closing.request();
                shared.runner.close(shared.limits.drain).await;
            })
        };
        connection::accept(listener, router, &shared, stop).await;
        delivering.abort();
        // Sessions with mail hosts end with QUIT; who still waits hears that it was interrupted.
        shared.stop.request();
        let began = tokio::time::Instant::now();
        while shared.verifications.pending() > 0 && began.elapsed() < shared.limits.drain {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        shared.quotas.write();
        // Lists go on at the next start.
        let _ = closing.await;
        let flushed = crate::store::Store::flush(&*shared.store).await;
        match flushed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::error!(%error, "not everything could be kept");
                Err(StoreError::Ended.into())
            }
            Err(_) => Err(StoreError::Ended.into()),
        }
    }
}

/// Writes down what may be a second old, and forgets what is too old, until the server ends.
async fn look_after(shared: Shared) {
    const SECONDS_OF_AN_HOUR: u32 = 3600;
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut passed = 0_u32;
    loop {
        tokio::select! {
            _ = seconds.tick() => {}
            () = shared.stop.requested() => return,
        }
        shared.quotas.write();
        if passed.is_multiple_of(SECONDS_OF_AN_HOUR)
            && let Some(before) = SystemTime::now().checked_sub(TOLD)
        {
            shared.store.forget_happenings_soon(before);
        }
        passed = passed.wrapping_add(1);
    }
}

/// The part of a request's address that names a thing. One that is not UTF-8 names nothing.
struct Named(String);

impl FromRequestParts<Shared> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        let name = Path::<String>::from_request_parts(parts, state).await;
        name.map(|Path(name)| Self(name))
            .map_err(|_| problem::Code::NotFound.into())
    }
}

async fn nothing_here() -> Problem {
    problem::Code::NotFound.into()
}

/// Only requests about lists have parameters in their address, none of which is an address of a person: those must not get into
/// anybody's logs.
async fn no_query(request: Request) -> Result<Request, Problem> {
    let path = request.uri().path();
    let has_some = path == "/docs" || path == "/v1/jobs" || path.starts_with("/v1/jobs/");
    if request.uri().query().is_some_and(|query| !query.is_empty()) && !has_some {
        return Err(problem::Code::InvalidQuery.into());
    }
    Ok(request)
}

#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    use axum::response::IntoResponse as _;
    let said = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(said, "a request ended by a fault of ours");
    Problem::from(problem::Code::Internal).into_response()
}
