//! From a domain to the addresses that take its mail (RFC 5321 section 5.1, RFC 7505).
//!
//! Owns the tables of routes and hosts. Asks through [`Resolve`] only, once per name: the addresses in a route are the ones
//! that were vetted, so a name that changes its mind (DNS rebinding) changes nothing.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use super::{
    AddressAnswer, MailRoute, MxAnswer, Resolve, Route, RouteFailure,
    cache::Cache,
    selection::{Host, Junk, Selection, in_order},
    wildcard,
};
use crate::{
    address::Domain,
    net::{BoxFuture, Families},
};

/// Hosts looked up before a domain counts as having none; Exim stops at 50, no working domain needs more than a few.
const HOST_LIMIT: usize = 20;
/// Kept this long at least and at most, whatever the zone says (HOSTILE.md D23).
const SHORTEST: Duration = Duration::from_mins(1);
const LONGEST: Duration = Duration::from_hours(24);
/// One dead domain costs one wait in this time, and a hiccup is soon forgotten.
const FAILURE_KEPT: Duration = Duration::from_secs(30);
/// Domains, and hosts, remembered at a time.
const NAMES_KEPT: usize = 1 << 16;

/// Finds routes with a resolver and remembers them.
pub struct Router {
    resolver: Arc<dyn Resolve>,
    options: RouterOptions,
    routes: Cache<Arc<MailRoute>>,
    /// Of a random name below each registrable domain.
    siblings: Cache<Arc<MailRoute>>,
    hosts: Cache<Arc<Host>>,
    /// By their first host, the last routes that were found.
    equal: Mutex<HashMap<Arc<str>, Arc<MailRoute>>>,
}

/// What the router must know about the machine and the run.
#[derive(Debug, Clone, Copy, Default)]
pub struct RouterOptions {
    /// Loopback and private addresses are mail hosts too: labs only.
    pub allow_special_use: bool,
    /// Which addresses are used, and in which order.
    pub families: Families,
    /// The canary found that the resolver invents answers: no route is found at all.
    pub resolver_rewrites: bool,
    /// Shuffles hosts of equal preference, in the same way all through a run.
    pub seed: u64,
}

impl Router {
    /// A router that knows nothing yet.
    #[must_use]
    pub fn new(resolver: Arc<dyn Resolve>, options: RouterOptions) -> Self {
        Self {
            resolver,
            options,
            routes: Cache::new(NAMES_KEPT),
            siblings: Cache::new(NAMES_KEPT),
            hosts: Cache::new(NAMES_KEPT),
            equal: Mutex::default(),
        }
    }

    /// The route, and how long it may be kept; `None` when a lookup failed.
    async fn find(&self, domain: &str) -> (MailRoute, Option<Duration>) {
        match self.resolver.mx(domain).await {
            Ok(MxAnswer::Records { records, ttl }) => self.by_records(domain, &records, ttl).await,
            Ok(MxAnswer::None { ttl }) => {
                let hosts = [(0, domain)];
                let (selection, _) = self.select(&hosts, ttl).await;
                warn_of_special_use(domain, &selection);
                let ttl = selection.ttl();
                (selection.into_implicit_route(), ttl)
            }
            Ok(MxAnswer::NoSuchDomain { ttl }) => (MailRoute::NoSuchDomain, Some(ttl)),
            Err(failure) => (MailRoute::Failure(RouteFailure::Dns(failure)), None),
        }
    }

    /// Most domains go where others go: equal routes are kept once, 200 bytes each.
    fn share(&self, route: MailRoute) -> Arc<MailRoute> {
        let first = match &route {
            MailRoute::Exchangers(exchangers) => exchangers.first().map(|first| Arc::clone(&first.host)),
            MailRoute::ImplicitMx(_)
            | MailRoute::NullMx
            | MailRoute::NoSuchDomain
            | MailRoute::NoMailHost(_)
            | MailRoute::Failure(_) => None,
        };
        let Some(first) = first else { return Arc::new(route) };
        let mut equal = self.equal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = equal.get(&first).filter(|known| ***known == route) {
            return Arc::clone(known);
        }
        if equal.len() >= NAMES_KEPT {
            equal.clear();
        }
        let route = Arc::new(route);
        equal.insert(first, Arc::clone(&route));
        route
    }

    async fn by_records(
        &self,
        domain: &str,
        records: &[(u16, Box<str>)],
        ttl: Duration,
    ) -> (MailRoute, Option<Duration>) {
        let hosts = in_order(records, self.options.seed);
        if hosts.is_empty() {
            return (MailRoute::NullMx, Some(ttl));
        }
        if records.iter().any(|(_, host)| host.is_empty()) {
            tracing::warn!(
                domain,
                "a null MX beside other MX records is ignored (RFC 7505 section 3)"
            );
        }
        let (selection, all) = self.select(&hosts, ttl).await;
        warn_of_special_use(domain, &selection);
        let ttl = selection.ttl();
        (selection.into_mx_route(all), ttl)
    }

    /// Looks up hosts in their order, several at once, until the route is full; tells whether all were looked up.
    async fn select(&self, hosts: &[(u16, &str)], ttl: Duration) -> (Selection, bool) {
        let mut selection = Selection::new(hosts, ttl, self.options.families);
        let mut left = hosts.get(..HOST_LIMIT).unwrap_or(hosts);
        while !left.is_empty() && selection.hosts_wanted() > 0 {
            let (wave, rest) = left.split_at(selection.hosts_wanted().min(left.len()));
            let answers = all(wave.iter().map(|(_, host)| self.host(host)).collect()).await;
            for (record, host) in wave.iter().zip(&answers) {
                selection.add(*record, host);
            }
            left = rest;
        }
        (selection, left.is_empty() && hosts.len() <= HOST_LIMIT)
    }

    fn host<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Arc<Host>> {
        let RouterOptions {
            allow_special_use: lab,
            families,
            ..
        } = self.options;
        Box::pin(async move {
            if let Some(host) = Host::by_name(name) {
                return Arc::new(host);
            }
            let ask = async || {
                let (host, keep) = match self.resolver.addresses(name).await {
                    Ok(AddressAnswer::Addresses { addresses, ttl }) => {
                        (Host::by_addresses(&addresses, ttl, families, lab), Some(ttl))
                    }
                    Ok(AddressAnswer::None { ttl } | AddressAnswer::NoSuchDomain { ttl }) => {
                        let why = Junk::Absent;
                        (Host::Junk { why, ttl }, Some(ttl))
                    }
                    Err(failure) => {
                        let (why, ttl) = (Junk::Failed(failure), FAILURE_KEPT);
                        (Host::Junk { why, ttl }, None)
                    }
                };
                (Arc::new(host), kept(keep))
            };
            self.hosts.get(name, ask).await
        })
    }
}

impl Route for Router {
    fn route<'a>(&'a self, domain: &'a Domain) -> BoxFuture<'a, Arc<MailRoute>> {
        Box::pin(async move {
            if self.options.resolver_rewrites {
                return Arc::new(MailRoute::Failure(RouteFailure::ResolverRewrites));
            }
            let find = async || {
                let (route, keep) = self.find(domain.as_str()).await;
                (self.share(route), kept(keep))
            };
            self.routes.get(domain.as_str(), find).await
        })
    }

    fn in_wildcard_zone<'a>(&'a self, domain: &'a Domain, found: &'a MailRoute) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let registered = domain.registered();
            let leads_to_hosts = matches!(found, MailRoute::Exchangers(_) | MailRoute::ImplicitMx(_));
            if domain.as_str() == registered || !leads_to_hosts {
                return false;
            }
            let find = async || {
                let (route, keep) = match wildcard::sibling(registered) {
                    Some(name) => self.find(&name).await,
                    None => (MailRoute::NoSuchDomain, Some(LONGEST)),
                };
                (Arc::new(route), kept(keep))
            };
            wildcard::same_way(found, &*self.siblings.get(registered, find).await)
        })
    }
}

fn kept(ttl: Option<Duration>) -> Duration {
    ttl.map_or(FAILURE_KEPT, |ttl| ttl.clamp(SHORTEST, LONGEST))
}

/// An operator wants to know that a zone points our sockets at inside addresses (HOSTILE.md D2).
fn warn_of_special_use(domain: &str, selection: &Selection) {
    for special in selection.special_uses() {
        tracing::warn!(
            domain,
            special_use = special.name(),
            "a mail host has a special-use address; it is not dialled"
        );
    }
}

/// Drives a handful of futures at once and keeps their order.
async fn all<T: Unpin>(mut futures: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    let mut values: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut open = false;
        for (future, value) in futures.iter_mut().zip(&mut values) {
            if value.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(ready) => *value = Some(ready),
                    Poll::Pending => open = true,
                }
            }
        }
        if open { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    values.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write, net::IpAddr};

    use tokio::task::JoinSet;

    use super::*;
    use crate::{
        address::Rules,
        dns::{DnsFailure, Exchanger, NoMailHost},
    };

    /// A zone in memory: `NAME MX PREFERENCE HOST`, `NAME IP`, `NAME mx|ip FAILURE`, `NAME exists`; the rest is NXDOMAIN.
    #[derive(Default)]
    struct Zone {
        mx: HashMap<String, Vec<(u16, Box<str>)>>,
        addresses: HashMap<String, Vec<IpAddr>>,
        failures: HashMap<(String, &'static str), DnsFailure>,
        exists: Vec<String>,
        asked: Mutex<Vec<String>>,
        ttl: Duration,
    }

    impl Zone {
        fn parse(text: &str) -> Self {
            let mut zone = Self {
                ttl: Duration::from_mins(5),
                ..Self::default()
            };
            for line in text.split(';') {
                let words: Vec<&str> = line.split_whitespace().collect();
                match words.as_slice() {
                    [] => {}
                    [name, "MX", preference, host] => {
                        let host = host.trim_end_matches('.').into();
                        zone.mx
                            .entry((*name).into())
                            .or_default()
                            .push((preference.parse().unwrap(), host));
                    }
                    [name, "exists"] => zone.exists.push((*name).into()),
                    [name, kind, "servfail"] => zone.fail(name, kind, DnsFailure::ServFail),
                    [name, kind, "timeout"] => zone.fail(name, kind, DnsFailure::Timeout),
                    [name, address] => {
                        let address = address.parse().unwrap();
                        zone.addresses.entry((*name).into()).or_default().push(address);
                    }
                    other => panic!("{other:?}"),
                }
            }
            zone
        }

        fn fail(&mut self, name: &str, kind: &str, failure: DnsFailure) {
            let kind = if kind == "mx" { "mx" } else { "ip" };
            self.failures.insert((name.into(), kind), failure);
        }

        fn exists(&self, name: &str) -> bool {
            self.mx.contains_key(name) || self.addresses.contains_key(name) || self.exists.iter().any(|n| n == name)
        }

        fn note(&self, kind: &'static str, name: &str) -> Result<(), DnsFailure> {
            self.asked.lock().unwrap().push(format!("{kind} {name}"));
            self.failures
                .get(&(name.into(), kind))
                .map_or(Ok(()), |failure| Err(*failure))
        }

        fn asked(&self, kind: &str) -> usize {
            self.asked
                .lock()
                .unwrap()
                .iter()
                .filter(|asked| asked.starts_with(kind))
                .count()
        }
    }

    impl Resolve for Zone {
        fn mx<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<MxAnswer, DnsFailure>> {
            Box::pin(async move {
                self.note("mx", domain)?;
                tokio::task::yield_now().await;
                let ttl = self.ttl;
                Ok(match self.mx.get(domain) {
                    Some(records) => MxAnswer::Records {
                        records: records.clone(),
                        ttl,
                    },
                    None if self.exists(domain) => MxAnswer::None { ttl },
                    None => MxAnswer::NoSuchDomain { ttl },
                })
            })
        }

        fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<AddressAnswer, DnsFailure>> {
            Box::pin(async move {
                self.note("ip", host)?;
                tokio::task::yield_now().await;
                let ttl = self.ttl;
                Ok(match self.addresses.get(host) {
                    Some(addresses) => AddressAnswer::Addresses {
                        addresses: addresses.clone(),
                        ttl,
                    },
                    None if self.exists(host) => AddressAnswer::None { ttl },
                    None => AddressAnswer::NoSuchDomain { ttl },
                })
            })
        }
    }

    fn router(zone: &Arc<Zone>, options: RouterOptions) -> Arc<Router> {
        Arc::new(Router::new(zone.clone(), options))
    }

    fn domain(name: &str) -> Domain {
        Domain::parse(
            name,
            Rules {
                allow_special_use: true,
            },
        )
        .unwrap()
    }

    /// `10 mx.test 8.8.8.8,...` per exchanger, `backup` in front where it is one.
    fn show(route: &MailRoute) -> String {
        let exchanger = |mx: &Exchanger| {
            let addresses: Vec<String> = mx.addresses.iter().map(|address| address.ip().to_string()).collect();
            let backup = if mx.backup { "backup " } else { "" };
            format!("{backup}{} {} {}", mx.preference, mx.host, addresses.join(","))
        };
        match route {
            MailRoute::Exchangers(all) => all.iter().map(exchanger).collect::<Vec<_>>().join("; "),
            MailRoute::ImplicitMx(mx) => format!("implicit {}", exchanger(mx)),
            MailRoute::NullMx | MailRoute::NoSuchDomain | MailRoute::NoMailHost(_) | MailRoute::Failure(_) => {
                format!("{route:?}")
            }
        }
    }

    /// Checks lines of `case | zone | route of a.test`.
    async fn check(table: &str, options: RouterOptions) {
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let columns: Vec<&str> = line.split('|').map(str::trim).collect();
            let [case, zone, expected] = columns.as_slice() else {
                panic!("{line}")
            };
            let zone = Arc::new(Zone::parse(zone));
            let route = router(&zone, options).route(&domain("a.test")).await;
            assert_eq!(show(&route), *expected, "{case}");
        }
    }

    #[tokio::test]
    async fn every_row_about_routes() {
        let table = "
            plain | a.test MX 10 m.test; m.test 8.8.8.8 | 10 m.test 8.8.8.8
            d1 localhost | a.test MX 0 localhost. | NoMailHost(LoopbackMx)
            d1 sub | a.test MX 0 mx.localhost | NoMailHost(LoopbackMx)
            d1 address | a.test MX 0 m.test; m.test 127.0.0.1; m.test ::1 | NoMailHost(LoopbackMx)
            d1 implicit | a.test 127.0.0.1 | NoMailHost(LoopbackMx)
            d1 and one unknown | a.test MX 0 localhost; a.test MX 5 m.test | Failure(PrivateMx(Loopback))
            d2 | a.test MX 0 m.test; m.test 10.0.0.1 | Failure(PrivateMx(Private))
            d2 metadata | a.test MX 0 m.test; m.test 169.254.169.254 | Failure(PrivateMx(LinkLocal))
            d2 implicit | a.test 192.168.0.1 | Failure(PrivateMx(Private))
            d2 beside loopback | a.test MX 0 m.test; m.test 127.0.0.1; m.test 10.0.0.1 | Failure(PrivateMx(Private))
            d3 | a.test MX 0 m.test; m.test ::ffff:127.0.0.1 | NoMailHost(LoopbackMx)
            d3 nat64 | a.test MX 0 m.test; m.test 64:ff9b::10.0.0.1 | Failure(PrivateMx(Private))
            d4 | a.test MX 0 m.test; m.test 0.0.0.0 | Failure(PrivateMx(Unspecified))
            d5 | a.test MX 0 m.test; m.test 10.0.0.1; m.test 8.8.8.8 | 0 m.test 8.8.8.8
            d5 hosts | a.test MX 0 m.test; m.test 10.0.0.1; a.test MX 5 n.test; n.test 8.8.8.8 | backup 5 n.test 8.8.8.8
            d7 | a.test MX 10 192.0.2.1; 192.0.2.1 8.8.8.8 | Failure(MxIsAddress)
            d7 dot | a.test MX 10 127.0.0.1.; a.test MX 20 [8.8.8.8] | Failure(MxIsAddress)
            d7 and host | a.test MX 10 8.8.8.8; a.test MX 20 m.test; m.test 8.8.4.4 | backup 20 m.test 8.8.4.4
            d9 | a.test MX 0 .; a.test 8.8.8.8 | NullMx
            d10 | a.test MX 0 .; a.test MX 10 m.test; m.test 8.8.8.8 | 10 m.test 8.8.8.8
            d11 | a.test MX 0 m.test; m.test 8.8.8.8 | 0 m.test 8.8.8.8
            d12 | a.test 8.8.8.8; a.test 2a00::1 | implicit 0 a.test 8.8.8.8,2a00::1
            d12 none | a.test exists | NoMailHost(NoRecords)
            d13 | a.test MX 10 m.test; a.test 8.8.8.8 | Failure(MxUnresolvable)
            d13 nodata | a.test MX 10 m.test; m.test exists; a.test 8.8.8.8 | Failure(MxUnresolvable)
            d13 failed | a.test MX 10 m.test; a.test MX 20 n.test; n.test ip timeout | Failure(Dns(Timeout))
            d14 nxdomain | | NoSuchDomain
            d14 servfail | a.test mx servfail | Failure(Dns(ServFail))
            d14 timeout | a.test mx timeout | Failure(Dns(Timeout))
            d14 implicit | a.test exists; a.test ip servfail | Failure(Dns(ServFail))
            s13 | a.test MX 1 m.test; m.test ip servfail; a.test MX 2 n.test; n.test 8.8.8.8 | backup 2 n.test 8.8.8.8
            s13 worse fails | a.test MX 1 m.test; m.test 8.8.8.8; a.test MX 2 n.test; n.test ip servfail | 1 m.test 8.8.8.8
            twice | a.test MX 1 m.test; a.test MX 9 m.test; m.test 8.8.8.8 | 1 m.test 8.8.8.8
            one machine | a.test MX 1 m.test; a.test MX 9 n.test; m.test 8.8.8.8; n.test 8.8.8.8 | 1 m.test 8.8.8.8
        ";
        check(table, RouterOptions::default()).await;
    }

    #[tokio::test]
    async fn a_lab_routes_to_loopback() {
        let table = "
            mx | a.test MX 10 m.test; m.test 127.0.0.2 | 10 m.test 127.0.0.2
            localhost | a.test MX 10 localhost; localhost 127.0.0.1 | NoMailHost(LoopbackMx)
            never | a.test MX 10 m.test; m.test 0.0.0.0 | Failure(PrivateMx(Unspecified))
            reserved | a.test MX 10 m.test; m.test 240.0.0.1 | Failure(PrivateMx(Reserved))
        ";
        let options = RouterOptions {
            allow_special_use: true,
            ..Default::default()
        };
        check(table, options).await;
    }

    #[tokio::test]
    async fn families_are_mixed_and_five_addresses_are_enough() {
        let six = "m.test 8.8.8.1; m.test 8.8.8.2; m.test 8.8.8.3; m.test 2a00::1; m.test 2a00::2; m.test 2a00::3";
        let alone = format!("a.test MX 1 m.test; {six}");
        let backup = "a.test MX 2 n.test; n.test 8.8.4.1; n.test 2a00::4; n.test 8.8.4.2";
        let table = format!(
            "alone | {alone} | 1 m.test 2a00::1,8.8.8.1,2a00::2,8.8.8.2,2a00::3
             listed twice | a.test MX 9 m.test; {alone} | 1 m.test 2a00::1,8.8.8.1,2a00::2,8.8.8.2,2a00::3
             s12 | {alone}; {backup} | 1 m.test 2a00::1,8.8.8.1,2a00::2; backup 2 n.test 2a00::4,8.8.4.1"
        );
        let of = |families| RouterOptions {
            families,
            ..Default::default()
        };
        check(&table, of(Families::V6AndV4)).await;
        let table = format!("alone | {alone} | 1 m.test 8.8.8.1,2a00::1,8.8.8.2,2a00::2,8.8.8.3");
        check(&table, of(Families::V4AndV6)).await;
        let table = format!(
            "alone | {alone} | 1 m.test 8.8.8.1,8.8.8.2,8.8.8.3,2a00::1,2a00::2
             s12 | {alone}; {backup} | 1 m.test 8.8.8.1,8.8.8.2,8.8.8.3; backup 2 n.test 8.8.4.1,8.8.4.2"
        );
        check(&table, RouterOptions::default()).await;
    }

    #[tokio::test]
    async fn a_family_that_is_not_used_is_no_proof_of_anything() {
        let four = "a.test MX 1 m.test; m.test 8.8.8.1";
        let both = "a.test MX 1 m.test; m.test 8.8.8.1; m.test 2a00::1";
        let table = format!(
            "mx | {four} | Failure(OtherFamily)
             implicit | a.test 8.8.8.1 | Failure(OtherFamily)
             implicit none | a.test exists | NoMailHost(NoRecords)
             both | {both} | 1 m.test 2a00::1
             beside loopback | a.test MX 1 m.test; m.test 8.8.8.1; m.test ::1 | Failure(OtherFamily)
             beside localhost | {four}; a.test MX 2 localhost | Failure(OtherFamily)
             beside private | {four}; a.test MX 2 n.test; n.test fd00::1 | Failure(OtherFamily)
             beside failure | {four}; a.test MX 2 n.test; n.test ip servfail | Failure(Dns(ServFail))
             backup | {four}; a.test MX 2 n.test; n.test 2a00::2 | backup 2 n.test 2a00::2"
        );
        let options = RouterOptions {
            families: Families::OnlyV6,
            ..Default::default()
        };
        check(&table, options).await;
        let table = "six | a.test MX 1 m.test; m.test 2a00::1 | Failure(OtherFamily)
                     four | a.test MX 1 m.test; m.test 2a00::1; m.test 8.8.8.1 | 1 m.test 8.8.8.1";
        let options = RouterOptions {
            families: Families::OnlyV4,
            ..Default::default()
        };
        check(table, options).await;
    }

    #[tokio::test]
    async fn d15_a_hundred_hosts_cost_few_questions() {
        let mut text = String::new();
        for host in 0..100 {
            write!(text, "a.test MX {host} m{host}.test; m{host}.test 8.8.8.{host};").unwrap();
        }
        let zone = Arc::new(Zone::parse(&text));
        let route = router(&zone, RouterOptions::default()).route(&domain("a.test")).await;
        let MailRoute::Exchangers(exchangers) = &*route else {
            panic!("{route:?}")
        };
        let preferences: Vec<u16> = exchangers.iter().map(|mx| mx.preference).collect();
        assert_eq!(preferences, [0, 1, 2, 3, 4]);
        assert_eq!(zone.asked("ip"), 5);

        let dead = Arc::new(Zone::parse(&text.replace("8.8.8.", "127.0.0.")));
        let route = router(&dead, RouterOptions::default()).route(&domain("a.test")).await;
        assert_eq!(dead.asked("ip"), HOST_LIMIT);
        assert_eq!(
            show(&route),
            "Failure(PrivateMx(Loopback))",
            "the hosts not looked up may be better"
        );
    }

    #[tokio::test]
    async fn equal_preferences_are_shuffled_by_seed_alike_for_all_domains() {
        let hosts = (0..4)
            .map(|host| format!("a.test MX 5 m{host}.test; b.test MX 5 m{host}.test; m{host}.test 8.8.8.{host};"));
        let zone = Arc::new(Zone::parse(&hosts.collect::<String>()));
        let mut orders = Vec::new();
        for seed in 0..8 {
            let router = router(
                &zone,
                RouterOptions {
                    seed,
                    ..Default::default()
                },
            );
            let (a, b) = (
                router.route(&domain("a.test")).await,
                router.route(&domain("b.test")).await,
            );
            assert!(Arc::ptr_eq(&a, &b), "one route for both");
            orders.push(show(&a));
        }
        orders.sort();
        orders.dedup();
        assert!(orders.len() > 2, "{orders:?}");
    }

    #[tokio::test]
    async fn a_resolver_that_rewrites_is_not_asked() {
        let zone = Arc::new(Zone::parse("a.test 8.8.8.8"));
        let options = RouterOptions {
            resolver_rewrites: true,
            ..Default::default()
        };
        let route = router(&zone, options).route(&domain("a.test")).await;
        assert_eq!(*route, MailRoute::Failure(RouteFailure::ResolverRewrites));
        assert!(zone.asked.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn d23_ttls_are_clamped_and_failures_soon_forgotten() {
        for (text, ttl, keeps) in [
            ("a.test MX 1 m.test; m.test 8.8.8.8", 0, 60),
            ("a.test MX 1 m.test; m.test 8.8.8.8", 300, 300),
            ("a.test MX 1 m.test; m.test 8.8.8.8", 1 << 31, 86_400),
            ("", 1 << 31, 86_400),
            ("a.test mx servfail", 300, 30),
            (
                "a.test MX 1 m.test; m.test ip servfail; a.test MX 2 n.test; n.test 8.8.8.8",
                300,
                30,
            ),
        ] {
            let mut zone = Zone::parse(text);
            zone.ttl = Duration::from_secs(ttl);
            let zone = Arc::new(zone);
            let router = router(&zone, RouterOptions::default());
            router.route(&domain("a.test")).await;
            tokio::time::advance(Duration::from_millis(keeps * 1000 - 1)).await;
            router.route(&domain("a.test")).await;
            assert_eq!(zone.asked("mx"), 1, "{text:?} ttl {ttl}");
            tokio::time::advance(Duration::from_millis(1)).await;
            router.route(&domain("a.test")).await;
            assert_eq!(zone.asked("mx"), 2, "{text:?} ttl {ttl}");
        }
    }

    #[tokio::test]
    async fn concurrent_routes_share_questions() {
        let mut text = String::new();
        for name in 0..50 {
            let host = name % 25;
            write!(text, "d{name}.test MX 1 m{host}.test; m{host}.test 8.8.8.{host};").unwrap();
        }
        let zone = Arc::new(Zone::parse(&text));
        let router = router(&zone, RouterOptions::default());
        let mut tasks = JoinSet::new();
        for turn in 0..1000 {
            let router = router.clone();
            tasks.spawn(async move { router.route(&domain(&format!("d{}.test", turn % 50))).await });
        }
        let found = tasks.join_all().await;
        assert!(found.iter().all(|route| matches!(**route, MailRoute::Exchangers(_))));
        assert_eq!((zone.asked("mx"), zone.asked("ip")), (50, 25));
    }

    #[tokio::test]
    async fn no_route_without_records_is_certain_only_when_both_answers_say_so() {
        let zone = Arc::new(Zone::parse("a.test exists"));
        let route = router(&zone, RouterOptions::default()).route(&domain("a.test")).await;
        assert_eq!(*route, MailRoute::NoMailHost(NoMailHost::NoRecords));
        assert_eq!(*zone.asked.lock().unwrap(), ["mx a.test", "ip a.test"]);
    }
}
