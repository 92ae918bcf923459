//! Which hosts and addresses become a route, in which order, and what it means when none does. Pure: no questions asked.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    net::IpAddr,
    time::Duration,
};

use super::{DnsFailure, Exchanger, MailRoute, NoMailHost, RouteFailure};
use crate::net::{Families, SpecialUse, Vetted, vet};

/// Addresses in one route, as in Postfix (`smtp_mx_address_limit`).
const ADDRESS_LIMIT: usize = 5;
/// Addresses of one host when there are several, so that a dead first host leaves room for the second (HOSTILE.md S12).
const ADDRESSES_PER_HOST: usize = 3;

/// What is known about one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// It has addresses that may be dialled; never empty.
    Usable { addresses: Vec<Vetted>, ttl: Duration },
    /// It has none.
    Junk { why: Junk, ttl: Duration },
}

/// Why a host has no address to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Junk {
    /// Its name is an address.
    Literal,
    /// It is this machine.
    Loopback,
    /// Its addresses are all special-use.
    Special(SpecialUse),
    /// Its addresses are all of a family that the run does not use.
    OtherFamily,
    /// Its name has no address or does not exist.
    Absent,
    /// It could not be looked up.
    Failed(DnsFailure),
}

impl Host {
    /// What the name alone tells; such hosts are never looked up (HOSTILE.md D1, D7). `localhost` is the asker's own machine
    /// in a lab too (RFC 6761 section 6.3).
    pub(super) fn by_name(host: &str) -> Option<Self> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let why = if bare.parse::<IpAddr>().is_ok() {
            Junk::Literal
        } else if is_localhost(host) {
            Junk::Loopback
        } else {
            return None;
        };
        let ttl = Duration::MAX;
        Some(Self::Junk { why, ttl })
    }

    /// Vets addresses; one that may be dialled is enough (HOSTILE.md D5).
    pub(super) fn by_addresses(
        addresses: &[IpAddr],
        ttl: Duration,
        families: Families,
        allow_special_use: bool,
    ) -> Self {
        let mut usable: Vec<Vetted> = Vec::with_capacity(addresses.len());
        let mut why = Junk::Absent;
        for address in addresses {
            match vet(*address, allow_special_use) {
                Ok(vetted) if usable.contains(&vetted) => {}
                Ok(vetted) if families.take(vetted.ip()) => usable.push(vetted),
                Ok(_) => why = Junk::OtherFamily,
                Err(_) if why == Junk::OtherFamily => {}
                Err(SpecialUse::Loopback) if why == Junk::Absent => why = Junk::Loopback,
                Err(SpecialUse::Loopback) => {}
                Err(special) => why = Junk::Special(special),
            }
        }
        if usable.is_empty() {
            return Self::Junk { why, ttl };
        }
        Self::Usable { addresses: usable, ttl }
    }
}

fn is_localhost(host: &str) -> bool {
    matches!(host, "localhost" | "localhost.localdomain") || host.ends_with(".localhost")
}

/// Hosts by preference, null MX records left out (HOSTILE.md D10), each name once.
///
/// Equal preferences are shuffled (RFC 5321 section 5.1) by seed and name alone: all domains of a run that share hosts take
/// them in the same order and can share their sessions; the next run spreads otherwise.
pub(super) fn in_order(records: &[(u16, Box<str>)], seed: u64) -> Vec<(u16, &str)> {
    let shuffle = BuildHasherDefault::<DefaultHasher>::default();
    let mut hosts: Vec<(u16, &str)> = records
        .iter()
        .map(|(preference, host)| (*preference, &**host))
        .collect();
    hosts.retain(|(_, host)| !host.is_empty());
    hosts.sort_unstable_by_key(|(preference, host)| (*host, *preference));
    hosts.dedup_by_key(|(_, host)| *host);
    hosts.sort_by_cached_key(|(preference, host)| (*preference, shuffle.hash_one((seed, host))));
    hosts
}

/// The route as far as it is known.
#[derive(Debug)]
pub(super) struct Selection {
    families: Families,
    per_host: usize,
    best: u16,
    exchangers: Vec<Exchanger>,
    junk: Vec<Junk>,
    room: usize,
    ttl: Duration,
}

impl Selection {
    /// Nothing chosen yet out of `hosts`.
    pub(super) fn new(hosts: &[(u16, &str)], ttl: Duration, families: Families) -> Self {
        Self {
            families,
            per_host: if hosts.len() == 1 {
                ADDRESS_LIMIT
            } else {
                ADDRESSES_PER_HOST
            },
            best: hosts.first().map_or(0, |(preference, _)| *preference),
            exchangers: Vec::new(),
            junk: Vec::new(),
            room: ADDRESS_LIMIT,
            ttl,
        }
    }

    /// How many more hosts are likely to be needed: most have one address of each family. 0 when the route is full.
    pub(super) fn hosts_wanted(&self) -> usize {
        self.room.div_ceil(if self.families.are_two() { 2 } else { 1 })
    }

    /// Takes what fits of the next host in order; addresses that a better host brought are not dialled twice.
    pub(super) fn add(&mut self, (preference, name): (u16, &str), host: &Host) {
        let (addresses, ttl) = match host {
            Host::Usable { addresses, ttl } => (addresses, *ttl),
            Host::Junk { why, ttl } => {
                self.junk.push(*why);
                self.ttl = self.ttl.min(*ttl);
                return;
            }
        };
        let known = |address: &Vetted| self.exchangers.iter().any(|before| before.addresses.contains(address));
        let fresh: Vec<Vetted> = addresses.iter().copied().filter(|address| !known(address)).collect();
        let mut addresses = ordered(&fresh, self.families);
        addresses.truncate(self.room.min(self.per_host));
        if addresses.is_empty() {
            return;
        }
        self.room -= addresses.len();
        self.ttl = self.ttl.min(ttl);
        self.exchangers.push(Exchanger {
            host: name.into(),
            preference,
            backup: preference > self.best,
            addresses,
        });
    }

    /// The special uses met, for the security log.
    pub(super) fn special_uses(&self) -> impl Iterator<Item = SpecialUse> {
        self.junk.iter().filter_map(|junk| match junk {
            Junk::Special(special) => Some(*special),
            Junk::Literal | Junk::Loopback | Junk::OtherFamily | Junk::Absent | Junk::Failed(_) => None,
        })
    }

    /// How long the zones let this be kept; `None` when a lookup failed, so that it is only good for a moment.
    pub(super) fn ttl(&self) -> Option<Duration> {
        let failed = self.junk.iter().any(|junk| matches!(junk, Junk::Failed(_)));
        (!failed).then_some(self.ttl)
    }

    /// The MX hosts chosen; `all` tells that no host was left out.
    pub(super) fn into_mx_route(self, all: bool) -> MailRoute {
        if self.exchangers.is_empty() {
            return without_address(&self.junk, all, RouteFailure::MxUnresolvable);
        }
        MailRoute::Exchangers(self.exchangers)
    }

    /// The domain itself as its only host.
    pub(super) fn into_implicit_route(mut self) -> MailRoute {
        match (self.exchangers.pop(), self.junk.as_slice()) {
            (Some(exchanger), _) => MailRoute::ImplicitMx(exchanger),
            (None, [Junk::Absent]) => MailRoute::NoMailHost(NoMailHost::NoRecords),
            (None, junk) => without_address(junk, true, RouteFailure::MxUnresolvable),
        }
    }
}

/// Only loopback everywhere is certain; a failed lookup outweighs all else because it may have hidden the good host, and so
/// may a family that is not used.
fn without_address(junk: &[Junk], all: bool, otherwise: RouteFailure) -> MailRoute {
    let mut special = None;
    let mut loopback = false;
    let mut other_family = false;
    for junk in junk {
        match junk {
            Junk::Failed(failure) => return MailRoute::Failure(RouteFailure::Dns(*failure)),
            Junk::Special(found) => special = special.or(Some(*found)),
            Junk::Loopback => loopback = true,
            Junk::OtherFamily => other_family = true,
            Junk::Literal | Junk::Absent => {}
        }
    }
    if other_family {
        return MailRoute::Failure(RouteFailure::OtherFamily);
    }
    if all && junk.iter().all(|junk| *junk == Junk::Loopback) {
        return MailRoute::NoMailHost(NoMailHost::LoopbackMx);
    }
    MailRoute::Failure(match special.or(loopback.then_some(SpecialUse::Loopback)) {
        Some(special) => RouteFailure::PrivateMx(special),
        None if junk.iter().all(|junk| *junk == Junk::Literal) => RouteFailure::MxIsAddress,
        None => otherwise,
    })
}

/// The families in turn, or one after the other.
fn ordered(addresses: &[Vetted], families: Families) -> Vec<Vetted> {
    let (v6, v4): (Vec<Vetted>, Vec<Vetted>) = addresses.iter().partition(|address| address.ip().is_ipv6());
    let (first, second) = match families {
        Families::V4ThenV6 | Families::OnlyV4 | Families::OnlyV6 => return [v4, v6].concat(),
        Families::V6AndV4 => (v6, v4),
        Families::V4AndV6 => (v4, v6),
    };
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::with_capacity(addresses.len());
    loop {
        let (one, other) = (first.next(), second.next());
        if one.is_none() && other.is_none() {
            return mixed;
        }
        mixed.extend(one.into_iter().chain(other));
    }
}
