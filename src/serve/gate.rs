//! Who may come in, how often, and about how many addresses: keys, rates, quotas, and the request that comes without a key.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use governor::{
    DefaultDirectRateLimiter, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::{StateInformationMiddleware, StateSnapshot},
};

use super::{
    Shared,
    key::{Allowance, ApiKey, Scope},
    problem::{Code, Problem, whole_seconds},
    proxy::Client,
    quota::{self, Quotas, UsedUp},
};
use crate::store::{KeyRecord, KeyRing, stable_hash};

type Limiter = DefaultDirectRateLimiter<StateInformationMiddleware>;

/// Who asks where there are no keys.
const LOCAL: &str = "local";

/// What one key has used up: its rate for as long as the server lives, its quotas for good.
pub(super) struct Account {
    key: Arc<str>,
    tenant: Arc<str>,
    scopes: Vec<Scope>,
    rate: Option<(Allowance, Limiter)>,
    quota: Option<Allowance>,
    domain_quota: Option<Allowance>,
    quotas: Arc<Quotas>,
    requests: AtomicUsize,
    streams: AtomicUsize,
    uploads: AtomicUsize,
    /// What the limits were made of.
    record: Option<KeyRecord>,
}

impl Account {
    fn of_key(record: KeyRecord, domain_quota: Option<NonZeroU32>, quotas: &Arc<Quotas>) -> Self {
        let read = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<Allowance>().ok());
        let limited = |allowance: Allowance| {
            let limiter = RateLimiter::direct(allowance.quota()).with_middleware();
            (allowance, limiter)
        };
        let per_domain = domain_quota.map(|count| Allowance {
            count,
            period: Duration::from_hours(24),
        });
        Self {
            key: record.id.as_str().into(),
            tenant: record.tenant.as_str().into(),
            scopes: Scope::parse_all(&record.scopes),
            rate: read(&record.rate).map(limited),
            quota: read(&record.quota),
            domain_quota: per_domain,
            quotas: Arc::clone(quotas),
            requests: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            uploads: AtomicUsize::new(0),
            record: Some(record),
        }
    }

    fn local(quotas: &Arc<Quotas>) -> Self {
        Self {
            key: LOCAL.into(),
            tenant: LOCAL.into(),
            scopes: vec![Scope::Verify, Scope::Jobs, Scope::Events, Scope::Admin],
            rate: None,
            quota: None,
            domain_quota: None,
            quotas: Arc::clone(quotas),
            requests: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            uploads: AtomicUsize::new(0),
            record: None,
        }
    }
}

/// Whose events and suppressions a tenant means: his own, or where there are no keys the operator's.
pub(super) fn owner(tenant: &str) -> &str {
    if tenant == LOCAL { "" } else { tenant }
}

/// Whoever sent a request.
#[derive(Clone)]
pub(super) struct Caller(Arc<Account>);

impl Caller {
    pub(super) fn tenant(&self) -> &Arc<str> {
        &self.0.tenant
    }

    /// Whose events and suppressions are meant.
    pub(super) fn owner(&self) -> &str {
        owner(&self.0.tenant)
    }

    pub(super) fn key(&self) -> &str {
        &self.0.key
    }

    /// Whether it sees what the operator of this machine sees.
    pub(super) fn is_operator(&self) -> bool {
        self.0.scopes.contains(&Scope::Admin)
    }

    /// The right to hold a response open; one of so many.
    pub(super) fn stream(&self, most: usize) -> Result<Stream, Problem> {
        self.hold((|account| &account.streams, most), "downloads and event streams open")
    }

    /// The right to send a list; one of so many.
    pub(super) fn upload(&self, most: usize) -> Result<Stream, Problem> {
        self.hold((|account| &account.uploads, most), "lists on their way")
    }

    fn hold(&self, (counter, most): (Counter, usize), what: &str) -> Result<Stream, Problem> {
        let before = counter(&self.0).fetch_add(1, Ordering::Relaxed);
        let stream = Stream(Arc::clone(&self.0), counter);
        if before >= most {
            let said = format!("The key has {most} {what}.");
            return Err(limited(Code::TooManyStreams, &said, Duration::from_secs(5)));
        }
        Ok(stream)
    }

    /// Counts the addresses of a request against the key's quotas; nobody has been asked yet.
    pub(super) fn spend<'a>(&self, addresses: usize, domains: impl Iterator<Item = &'a str>) -> Result<(), Problem> {
        let account = &*self.0;
        let spend = |what, many, allowance| account.quotas.spend(&account.key, what, many, allowance);
        let refused = |code, UsedUp(wait): UsedUp, said: String| match wait {
            Some(wait) => limited(code, &said, wait),
            None => Problem::new(code, said),
        };
        if let Some(allowance) = account.quota {
            let said = || format!("The key may ask about {allowance} addresses.");
            spend(quota::ALL, addresses, allowance).map_err(|used| refused(Code::QuotaExceeded, used, said()))?;
        }
        let Some(allowance) = account.domain_quota else {
            return Ok(());
        };
        for domain in domains {
            let what = stable_hash(domain.to_ascii_lowercase().as_bytes(), 1)
                .max(1)
                .cast_signed();
            let said = || format!("The key has asked about enough addresses of `{domain}` for now.");
            spend(what, 1, allowance).map_err(|used| refused(Code::DomainQuotaExceeded, used, said()))?;
        }
        Ok(())
    }
}

fn limited(code: Code, said: &str, wait: Duration) -> Problem {
    Problem::new(code, said).after(wait.max(Duration::from_secs(1)))
}

/// The right to be answered now; given back when it is dropped.
struct Turn(Arc<Account>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is counted of an account.
type Counter = fn(&Account) -> &AtomicUsize;

/// The right to hold a response open, or to send a list; given back when it is dropped.
pub(super) struct Stream(Arc<Account>, Counter);

impl Drop for Stream {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Ordering::Relaxed);
    }
}

/// Lets callers in.
pub(super) struct Gate {
    ring: KeyRing,
    /// Only requests from this machine come here, so a key is not needed while there is none.
    loopback: bool,
    accounts: Mutex<HashMap<String, Arc<Account>>>,
    local: Arc<Account>,
    domain_quota: Option<NonZeroU32>,
    quotas: Arc<Quotas>,
    most_requests: usize,
}

impl Gate {
    pub(super) fn new(ring: KeyRing, listens: SocketAddr, limits: &super::Limits, quotas: Arc<Quotas>) -> Self {
        Self {
            ring,
            loopback: listens.ip().is_loopback(),
            accounts: Mutex::default(),
            local: Arc::new(Account::local(&quotas)),
            domain_quota: NonZeroU32::new(limits.domain_quota),
            quotas,
            most_requests: limits.max_requests_per_key,
        }
    }

    fn account(&self, request: &Request) -> Result<Arc<Account>, Problem> {
        let given = request.headers().get(header::AUTHORIZATION);
        let Some(given) = given else {
            if self.loopback && !self.ring.was_used().map_err(failed)? {
                return from_here(request).map(|()| Arc::clone(&self.local));
            }
            return Err(Problem::new(
                Code::Unauthorized,
                "Send `Authorization: Bearer KEY`; `presend keys add` makes one.",
            ));
        };
        let wrong = || Problem::new(Code::Unauthorized, "The key is wrong or revoked.");
        let key = bearer(given)
            .and_then(|key| key.parse::<ApiKey>().ok())
            .ok_or_else(wrong)?;
        let record = self.ring.find(key.id()).map_err(failed)?;
        // One that nobody has takes as long as one with a wrong secret.
        let hash = record.as_ref().map_or([0; 32], |record| record.hash);
        let matches = key.matches(&hash);
        let record = record
            .filter(|record| matches && record.revoked_at.is_none())
            .ok_or_else(wrong)?;
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = accounts
            .get(&record.id)
            .filter(|account| account.record.as_ref() == Some(&record));
        if let Some(account) = known {
            return Ok(Arc::clone(account));
        }
        let id = record.id.clone();
        let account = Arc::new(Account::of_key(record, self.domain_quota, &self.quotas));
        accounts.insert(id, Arc::clone(&account));
        Ok(account)
    }

    /// Whether a caller who came in would still be let in; one that cannot be told is.
    pub(super) fn still_counts(&self, caller: &Caller) -> bool {
        match &caller.0.record {
            Some(record) => self
                .ring
                .find(&record.id)
                .map_or(true, |found| found.is_some_and(|found| found.revoked_at.is_none())),
            None => !self.ring.was_used().unwrap_or_default(),
        }
    }

    /// Lets a request in that has this scope, or says why not.
    fn admit(&self, request: &Request, scope: Scope) -> Result<(Turn, HeaderMap), Problem> {
        let account = self.account(request)?;
        if !account.scopes.contains(&scope) {
            let said = format!("This takes a key with the scope `{}`.", scope.name());
            return Err(Problem::new(Code::Forbidden, said));
        }
        let mut headers = HeaderMap::new();
        if let Some((allowance, limiter)) = &account.rate {
            match limiter.check() {
                Ok(left) => {
                    let told = tell(*allowance, &left).map(|(name, value)| (HeaderName::from_static(name), value));
                    headers.extend(told);
                }
                Err(early) => {
                    let wait = early.wait_time_from(DefaultClock::default().now());
                    let said = format!("The key may send {allowance} requests.");
                    let problem = limited(Code::RateLimited, &said, wait);
                    let [(policy, most), (now, left)] = told(*allowance, 0, wait);
                    return Err(problem.header(policy, most).header(now, left));
                }
            }
        }
        let before = account.requests.fetch_add(1, Ordering::Relaxed);
        let turn = Turn(account);
        if before >= self.most_requests {
            let said = format!("The key has {} requests under way.", self.most_requests);
            return Err(limited(Code::RateLimited, &said, Duration::from_secs(1)));
        }
        Ok((turn, headers))
    }
}

/// What is left, for callers that keep count (draft-ietf-httpapi-ratelimit-headers).
fn tell(allowance: Allowance, left: &StateSnapshot) -> [(&'static str, HeaderValue); 2] {
    told(allowance, left.remaining_burst_capacity(), allowance.period)
}

fn told(allowance: Allowance, left: u32, until: Duration) -> [(&'static str, HeaderValue); 2] {
    let policy = format!("\"requests\";q={};w={}", allowance.count, allowance.period.as_secs());
    let now = format!("\"requests\";r={left};t={}", whole_seconds(until));
    // Digits and the letters above are what a header may hold.
    let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    [("ratelimit-policy", value(&policy)), ("ratelimit", value(&now))]
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn failed(error: impl std::fmt::Display) -> Problem {
    tracing::error!(%error, "keys cannot be read");
    Code::StoreFailed.into()
}

/// A web page that had its own name point at this machine (DNS rebinding) is not a caller from this machine, nor is whoever comes
/// through a proxy on it.
fn from_here(request: &Request) -> Result<(), Problem> {
    if !request.extensions().get::<Client>().is_some_and(|client| client.here) {
        let said = "Without keys only this machine is served, and the request came through a proxy.";
        return Err(Problem::new(Code::HostNotAllowed, said));
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().host()).unwrap_or_default();
    let authority = format!("http://{host}/").parse::<Uri>();
    let name = authority.as_ref().ok().and_then(Uri::host).unwrap_or_default();
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let here = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if here { Ok(()) } else { Err(Code::HostNotAllowed.into()) }
}

/// Lets requests with this scope through.
pub(super) async fn guard(
    State((shared, scope)): State<(Shared, Scope)>,
    mut request: Request,
    next: Next,
) -> Response {
    match shared.gate.admit(&request, scope) {
        Ok((turn, headers)) => {
            let caller = Caller(Arc::clone(&turn.0));
            request.extensions_mut().insert(caller.clone());
            let mut response = next.run(request).await;
            response.headers_mut().extend(headers);
            response.extensions_mut().insert(caller);
            drop(turn);
            response
        }
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn asking(host: &str) -> Request {
        let client = Client {
            ip: IpAddr::from([127, 0, 0, 1]),
            here: true,
        };
        let request = Request::get("/v1/reasons").header("host", host).extension(client);
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn only_names_of_this_machine_are_from_here() {
        for (host, expected) in [
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("127.0.0.1:8080", true),
            ("127.9.8.7", true),
            ("[::1]:8080", true),
            ("evil.example", false),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("192.0.2.1", false),
            ("", false),
            ("a b", false),
        ] {
            assert_eq!(from_here(&asking(host)).is_ok(), expected, "{host}");
        }
    }

    #[test]
    fn a_bearer_is_read_whatever_its_case() {
        let read = |text: &str| bearer(&HeaderValue::from_str(text).unwrap()).map(str::to_owned);
        assert_eq!(read("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(read("bearer  abc ").as_deref(), Some("abc"));
        assert_eq!(read("Basic abc"), None);
        assert_eq!(read("Bearer"), None);
    }
}
