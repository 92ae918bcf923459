//! Where a domain's mail goes: MX, implicit MX, null MX, or no mail at all, and the difference between "no" and "could not
//! find out".
//!
//! Owns resolution and its caches. Must not open connections to mail hosts.

mod cache;
mod canary;
mod direct;
mod local;
mod records;
mod resolver;
mod route;
mod selection;
mod server;
mod wildcard;

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::{
    address::Domain,
    net::{BoxFuture, SpecialUse, Vetted},
};

pub use canary::{Canary, canary};
pub use records::{Found, Records};
pub use resolver::{HickoryResolver, ResolverError, ResolverOptions};
pub use route::{Router, RouterOptions};
pub use server::{NameServers, NameServersError};

/// Answers DNS questions; one implementation asks the network, tests bring their own.
pub trait Resolve: Send + Sync + 'static {
    /// The MX records of `domain`, any order.
    fn mx<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<MxAnswer, DnsFailure>>;
    /// The IPv4 and IPv6 addresses of `host`, CNAMEs followed.
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<AddressAnswer, DnsFailure>>;
}

/// What the zone says about MX records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MxAnswer {
    /// At least one record: preference, exchanger (lower-case, no trailing dot; empty for the root of RFC 7505).
    Records {
        /// Preference and exchanger, at most 100, those of best preference.
        records: Vec<(u16, Box<str>)>,
        /// The smallest TTL among them.
        ttl: Duration,
    },
    /// The name exists and has no MX (NODATA).
    None {
        /// How long the zone wants this kept (RFC 2308); zero when it did not say.
        ttl: Duration,
    },
    /// The name does not exist (NXDOMAIN).
    NoSuchDomain {
        /// How long the zone wants this kept (RFC 2308); zero when it did not say.
        ttl: Duration,
    },
}

/// What the zone says about addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressAnswer {
    /// At least one address.
    Addresses {
        /// IPv4 and IPv6, any order.
        addresses: Vec<IpAddr>,
        /// The smallest TTL among them.
        ttl: Duration,
    },
    /// The name exists and has none.
    None {
        /// How long the zone wants this kept (RFC 2308); zero when it did not say.
        ttl: Duration,
    },
    /// The name does not exist.
    NoSuchDomain {
        /// How long the zone wants this kept (RFC 2308); zero when it did not say.
        ttl: Duration,
    },
}

/// We could not find out. Never "no".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum DnsFailure {
    /// The server answered SERVFAIL.
    #[error("the DNS server answered SERVFAIL")]
    ServFail,
    /// No answer in time.
    #[error("no DNS answer in time")]
    Timeout,
    /// The server refused the question.
    #[error("the DNS server refused the question")]
    Refused,
    /// DNSSEC validation failed.
    #[error("the DNSSEC signatures are bogus")]
    Bogus,
    /// A CNAME loop or a chain that is too long.
    #[error("the names point at each other in a loop")]
    Loop,
    /// The answer could not be read, or the transport failed.
    #[error("the DNS answer could not be read")]
    Malformed,
}

/// Where mail for a domain goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailRoute {
    /// MX hosts in the order to try them: by preference, equal ones shuffled. Never empty; every host has an address.
    Exchangers(Vec<Exchanger>),
    /// No MX, but the domain itself has addresses (RFC 5321 section 5.1).
    ImplicitMx(Exchanger),
    /// `MX 0 .`: the domain takes no mail (RFC 7505).
    NullMx,
    /// NXDOMAIN.
    NoSuchDomain,
    /// The domain exists and nothing of it can take mail; certain.
    NoMailHost(NoMailHost),
    /// We could not find out, or every exchanger is junk that proves nothing.
    Failure(RouteFailure),
}

/// Why a domain certainly has no mail host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum NoMailHost {
    /// Neither MX nor address records.
    NoRecords,
    /// Every MX is `localhost` or a loopback address.
    LoopbackMx,
}

/// Why no route could be found, without proving that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum RouteFailure {
    /// A lookup failed.
    Dns(DnsFailure),
    /// Every MX (or implicit MX) address is special-use.
    PrivateMx(SpecialUse),
    /// Every MX is an address literal instead of a name (RFC 5321 section 5.1 forbids it).
    MxIsAddress,
    /// MX records exist and none of their names has an address.
    MxUnresolvable,
    /// The resolver answers for names that cannot exist, so its answers prove nothing.
    ResolverRewrites,
    /// The hosts have addresses, all of an IP version that this run does not use.
    OtherFamily,
}

/// One host to try.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Exchanger {
    /// Host name, lower-case, no trailing dot.
    pub host: Arc<str>,
    /// MX preference; 0 for an implicit MX.
    pub preference: u16,
    /// A host of better preference exists in the MX set, whether or not it could be resolved: an answer from this one
    /// does not stand for the domain.
    pub backup: bool,
    /// Addresses that may be dialled, IPv6 and IPv4 mixed, at most five in the whole route.
    pub addresses: Vec<Vetted>,
}

/// The router: MX records, then addresses, vetted; concurrent questions for one name joined; kept for its TTL.
pub trait Route: Send + Sync + 'static {
    /// The route of `domain`.
    fn route<'a>(&'a self, domain: &'a Domain) -> BoxFuture<'a, Arc<MailRoute>>;

    /// Whether any other name beside `domain`, a sub-domain whose route is `found`, would have the same route: the name may be a
    /// typing error or made up. Costs a question for each registrable domain; `false` when that could not be found out.
    fn in_wildcard_zone<'a>(&'a self, domain: &'a Domain, found: &'a MailRoute) -> BoxFuture<'a, bool> {
        let _ = (domain, found);
        Box::pin(std::future::ready(false))
    }
}
