//! Where a domain belongs: the group of mail hosts that it is asked at, that group's budget, and whether it may be asked at all.
//!
//! Pure: for a run and for what is only said about one. Must not ask anybody.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{limits::Limits, scheduler::Manners};
use crate::{
    dns::{Exchanger, MailRoute},
    replies::providers::{Provider, named, recognise},
    verdict::NotTried,
};

/// The group of mail hosts that a domain is asked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Its name, the same in every run.
    pub name: Arc<str>,
    /// Its budget.
    pub limits: Limits,
    /// Its hosts are the operator's own.
    pub trusted: bool,
    /// The control recipient needs a session of its own.
    pub control_apart: bool,
}

/// The group of a domain with this route.
///
/// # Errors
/// Why nobody is asked: there is no mail host, or its provider's published policy forbids it.
pub fn place(route: &MailRoute, manners: &Manners) -> Result<Placement, NotTried> {
    let exchangers: &[Exchanger] = match route {
        MailRoute::Exchangers(exchangers) => exchangers,
        MailRoute::ImplicitMx(exchanger) => std::slice::from_ref(exchanger),
        MailRoute::NullMx | MailRoute::NoSuchDomain | MailRoute::NoMailHost(_) | MailRoute::Failure(_) => &[],
    };
    let first = exchangers.first().ok_or(NotTried::NotNeeded)?;
    let trusted = exchangers
        .iter()
        .all(|exchanger| manners.trusted.contain(&exchanger.host));
    let provider = recognise(&first.host);
    if !trusted && !provider.is_none_or(|provider| permitted(provider, manners)) {
        return Err(NotTried::ProviderPolicy);
    }
    Ok(Placement {
        name: group_name(first, trusted, provider),
        limits: limits(manners, trusted, provider),
        trusted,
        control_apart: provider.is_some_and(|provider| provider.control_own_session),
    })
}

/// Whether a provider's published policy, or else the operator, lets it be asked.
fn permitted(provider: &Provider, manners: &Manners) -> bool {
    !provider.probing_forbidden
        || manners.probe_forbidden
        || manners
            .probe_providers
            .iter()
            .any(|name| named(name).is_some_and(|named| named.id == provider.id))
}

/// Hosts that share a budget: a provider's, else those of one network. Loopback hosts (labs) stand for machines of their own.
///
/// The name outlives the run (the source address follows it), so it must not depend on the order of a DNS answer.
fn group_name(first: &Exchanger, trusted: bool, provider: Option<&Provider>) -> Arc<str> {
    if trusted {
        return Arc::from(format!("host {}", first.host));
    }
    if let Some(provider) = provider {
        return Arc::from(format!("provider {}", provider.id));
    }
    let addresses = first.addresses.iter().map(|ip| ip.ip());
    let v6 = first.addresses.first().is_some_and(|ip| ip.ip().is_ipv6());
    match addresses.filter(|ip| ip.is_ipv6() == v6).min() {
        Some(ip) if ip.is_loopback() => Arc::from(format!("host {ip}")),
        Some(IpAddr::V4(ip)) => {
            let [a, b, c, _] = ip.octets();
            Arc::from(format!("network {a}.{b}.{c}.0/24"))
        }
        Some(IpAddr::V6(ip)) => {
            let [a, b, c, ..] = ip.segments();
            Arc::from(format!("network {a:x}:{b:x}:{c:x}::/48"))
        }
        None => Arc::from(format!("host {}", first.host)),
    }
}

/// The group's budget: ours, narrowed or widened by what the provider is known to take.
fn limits(manners: &Manners, trusted: bool, provider: Option<&Provider>) -> Limits {
    if trusted {
        return Limits::TRUSTED;
    }
    let mut limits = manners.limits.clone();
    if let Some(provider) = provider {
        if let Some(connections) = provider.connections {
            limits.connections = limits.connections.max(connections.min(3));
        }
        if let Some(most) = provider.recipients_per_session {
            limits.recipients_per_session = limits.recipients_per_session.min(most);
        }
        if let Some(most) = provider.recipients_per_transaction {
            limits.recipients_per_transaction = limits.recipients_per_transaction.min(most);
        }
        if let Some(pace) = provider.pace_s {
            limits.gap = limits.gap.max(Duration::from_secs(pace.into()));
        }
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        schedule::{Ladder, TrustedHosts},
        smtp::{Identity, Timeouts},
    };

    fn manners() -> Manners {
        Manners {
            identity: Identity::new("probe.example.org", "check@example.org").unwrap(),
            timeouts: Timeouts::BULK,
            smtp_port: 25,
            transcript: false,
            ladder: Ladder::default(),
            max_wait: Duration::ZERO,
            limits: Limits::POLITE,
            trusted: TrustedHosts::default(),
            probe_forbidden: false,
            probe_providers: Vec::new(),
            owned: Vec::new(),
        }
    }

    #[test]
    fn what_a_provider_is_known_to_take_narrows_the_budget() {
        let manners = manners();
        let slow = Provider {
            recipients_per_transaction: Some(2),
            recipients_per_session: Some(5),
            connections: Some(25),
            pace_s: Some(7),
            ..named("gmx").unwrap().clone()
        };
        let found = limits(&manners, false, Some(&slow));
        assert_eq!((found.recipients_per_transaction, found.recipients_per_session), (2, 5));
        assert_eq!((found.gap, found.connections), (Duration::from_secs(7), 3));
        let lavish = Provider {
            recipients_per_transaction: Some(500),
            recipients_per_session: Some(500),
            connections: None,
            pace_s: Some(0),
            ..slow.clone()
        };
        assert_eq!(
            limits(&manners, false, Some(&lavish)),
            Limits::POLITE,
            "never less polite"
        );
        assert_eq!(limits(&manners, true, Some(&slow)), Limits::TRUSTED);
    }

    #[test]
    fn the_name_of_a_group_does_not_hang_on_the_order_of_an_answer() {
        let name = |addresses: &[&str]| {
            let vetted = |ip: &&str| crate::net::vet(ip.parse().unwrap(), true).unwrap();
            let exchanger = Exchanger {
                host: "mx.a.test".into(),
                preference: 10,
                backup: false,
                addresses: addresses.iter().map(vetted).collect(),
            };
            group_name(&exchanger, false, None)
        };
        for (addresses, expected) in [
            (&["9.9.9.9", "8.8.8.8", "2a00::1"][..], "network 8.8.8.0/24"),
            (&["8.8.8.8", "2a00::1", "9.9.9.9"], "network 8.8.8.0/24"),
            (&["2a01::1", "8.8.8.8", "2a00:1:2::1"], "network 2a00:1:2::/48"),
            (&["127.0.0.3", "127.0.0.2"], "host 127.0.0.2"),
            (&[], "host mx.a.test"),
        ] {
            assert_eq!(&*name(addresses), expected, "{addresses:?}");
        }
    }

    #[test]
    fn a_domain_belongs_to_its_hosts() {
        let exchanger = |host: &str, preference| Exchanger {
            host: host.into(),
            preference,
            backup: false,
            addresses: vec![crate::net::vet("9.9.9.9".parse().unwrap(), true).unwrap()],
        };
        let route = |hosts: &[&str]| MailRoute::Exchangers(hosts.iter().map(|host| exchanger(host, 10)).collect());
        let ours = Manners {
            trusted: TrustedHosts::new(["ours.test"]),
            ..manners()
        };
        let name = |route: &MailRoute| place(route, &ours).map(|found| (found.name.to_string(), found.trusted));
        for (hosts, expected) in [
            (&["mx.ours.test"][..], Ok(("host mx.ours.test".to_owned(), true))),
            (
                &["mx.ours.test", "mx.a.test"],
                Ok(("network 9.9.9.0/24".to_owned(), false)),
            ),
            (&["mx.a.test"], Ok(("network 9.9.9.0/24".to_owned(), false))),
            (&["a.olc.protection.outlook.com"], Err(NotTried::ProviderPolicy)),
            (&[], Err(NotTried::NotNeeded)),
        ] {
            assert_eq!(name(&route(hosts)), expected, "{hosts:?}");
        }
        assert_eq!(place(&MailRoute::NullMx, &ours), Err(NotTried::NotNeeded));
        let implicit = MailRoute::ImplicitMx(exchanger("mx.ours.test", 0));
        assert_eq!(place(&implicit, &ours).unwrap().limits, Limits::TRUSTED);
        let asked = |manners: Manners| place(&route(&["a.olc.protection.outlook.com"]), &manners).is_ok();
        assert!(asked(Manners {
            probe_forbidden: true,
            ..manners()
        }));
        assert!(asked(Manners {
            probe_providers: vec!["outlook.com".to_owned()],
            ..manners()
        }));
        assert!(!asked(Manners {
            probe_providers: vec!["gmx".to_owned()],
            ..manners()
        }));
    }
}
