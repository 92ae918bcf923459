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
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::{StateInformationMiddleware, StateSnapshot},
};

use super::{
    Shared,
    key::{Allowance, ApiKey, Scope},
    problem::{Code, Problem, whole_seconds},
    proxy::Client,
};
use crate::store::{KeyRecord, KeyRing, stable_hash};

type Limiter = DefaultDirectRateLimiter<StateInformationMiddleware>;

/// Domains of one key that are counted before those that were left alone long enough are forgotten.
const DOMAINS: usize = 50_000;
/// Who asks where there are no keys.
const LOCAL: &str = "local";

/// What one key has used up. Lives as long as the server: limits begin anew with it.
pub(super) struct Account {
    key: Arc<str>,
    tenant: Arc<str>,
    scopes: Vec<Scope>,
    rate: Option<(Allowance, Limiter)>,
    quota: Option<(Allowance, Limiter)>,
    domains: Option<DefaultKeyedRateLimiter<u64>>,
    requests: AtomicUsize,
    /// What the limits were made of.
    record: Option<KeyRecord>,
}

impl Account {
    fn of_key(record: KeyRecord, domain_quota: Option<NonZeroU32>) -> Self {
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
            quota: read(&record.quota).map(limited),
            domains: per_domain.map(|allowance| RateLimiter::keyed(allowance.quota())),
            requests: AtomicUsize::new(0),
            record: Some(record),
        }
    }

    fn local() -> Self {
        Self {
            key: LOCAL.into(),
            tenant: LOCAL.into(),
            scopes: vec![Scope::Verify, Scope::Jobs, Scope::Events, Scope::Admin],
            rate: None,
            quota: None,
            domains: None,
            requests: AtomicUsize::new(0),
            record: None,
        }
    }
}

/// Whoever sent a request.
#[derive(Clone)]
pub(super) struct Caller(Arc<Account>);

impl Caller {
    pub(super) fn tenant(&self) -> &Arc<str> {
        &self.0.tenant
    }

    /// Whose events and suppressions are meant: the tenant's, or where there are no keys the operator's.
    pub(super) fn owner(&self) -> &str {
        if self.0.record.is_some() { &self.0.tenant } else { "" }
    }

    pub(super) fn key(&self) -> &str {
        &self.0.key
    }

    /// Counts the addresses of a request against the key's quotas; nobody has been asked yet.
    pub(super) fn spend<'a>(&self, addresses: usize, domains: impl Iterator<Item = &'a str>) -> Result<(), Problem> {
        let account = &*self.0;
        if let Some((allowance, limiter)) = &account.quota {
            let many = NonZeroU32::new(u32::try_from(addresses).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN);
            let said = format!("The key may ask about {allowance} addresses.");
            match limiter.check_n(many) {
                Ok(Ok(_)) => {}
                Ok(Err(early)) => {
                    let wait = early.wait_time_from(DefaultClock::default().now());
                    return Err(limited(Code::QuotaExceeded, &said, wait));
                }
                Err(_) => return Err(Problem::new(Code::QuotaExceeded, said)),
            }
        }
        let Some(limiter) = &account.domains else {
            return Ok(());
        };
        if limiter.len() > DOMAINS {
            limiter.retain_recent();
        }
        for domain in domains {
            let key = stable_hash(domain.to_ascii_lowercase().as_bytes(), 1);
            if let Err(early) = limiter.check_key(&key) {
                let wait = early.wait_time_from(DefaultClock::default().now());
                let said = format!("The key has asked about enough addresses of `{domain}` for now.");
                return Err(limited(Code::DomainQuotaExceeded, &said, wait));
            }
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

/// Lets callers in.
pub(super) struct Gate {
    ring: KeyRing,
    /// Only requests from this machine come here, so a key is not needed while there is none.
    loopback: bool,
    accounts: Mutex<HashMap<String, Arc<Account>>>,
    local: Arc<Account>,
    domain_quota: Option<NonZeroU32>,
    most_requests: usize,
}

impl Gate {
    pub(super) fn new(ring: KeyRing, listens: SocketAddr, limits: &super::Limits) -> Self {
        Self {
            ring,
            loopback: listens.ip().is_loopback(),
            accounts: Mutex::default(),
            local: Arc::new(Account::local()),
            domain_quota: NonZeroU32::new(limits.domain_quota),
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
        let account = Arc::new(Account::of_key(record, self.domain_quota));
        accounts.insert(id, Arc::clone(&account));
        Ok(account)
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
