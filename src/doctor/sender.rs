//! Who we say we are, and whether the DNS agrees: HELO name, source addresses, PTR, SPF, the way back for bounces.

use std::net::IpAddr;

use super::{
    Check, Plan, Status,
    spf::{SpfResult, check_host},
};
use crate::{
    address::{Domain, Rules},
    dns::{AddressAnswer, DnsFailure, Found, MailRoute, NoMailHost, Records, Route, RouteFailure},
    net::{SpecialUse, vet},
    output::clean,
    smtp::Identity,
};

/// PTR names looked at; receivers look at no more (RFC 7208 section 5.5 says the same of `ptr`).
const NAMES: usize = 10;
/// Characters of a stranger's name or record that are shown.
const SHOWN: usize = 255;

/// The identity, if there is one, and what is to be said about it.
pub(super) fn identity(plan: &Plan) -> (Option<Identity>, Vec<Check>) {
    let set_both = "set `--helo-name` to this machine's own name and `--mail-from` to a mailbox that somebody reads";
    let (Some(helo), Some(from)) = (&plan.helo_name, &plan.mail_from) else {
        let missing = match (&plan.helo_name, &plan.mail_from) {
            (None, None) => "neither HELO name nor reverse-path is set, so no mail host is ever asked",
            (None, Some(_)) => "the HELO name is not set, so no mail host is ever asked",
            (Some(_), _) => "the reverse-path is not set, so no mail host is ever asked",
        };
        return (
            None,
            vec![Check::new("identity", Status::Fail, missing).advice(set_both)],
        );
    };
    let identity = match Identity::new(helo, from) {
        Ok(identity) => identity,
        Err(error) => {
            let seen = clean(&error.to_string(), SHOWN).into_owned();
            return (None, vec![Check::new("identity", Status::Fail, seen).advice(set_both)]);
        }
    };
    let seen = format!(
        "HELO {}, reverse-path {}",
        identity.helo_name(),
        identity.reverse_path().display()
    );
    let checks = vec![
        Check::new("identity", Status::Pass, seen),
        name("helo_name", &identity.helo_name(), plan.rules),
        name("reverse_path", identity.reverse_path().domain(), plan.rules),
    ];
    (Some(identity), checks)
}

/// Whether a name of ours is one that the internet can have.
fn name(check: &'static str, name: &str, rules: Rules) -> Check {
    let strict = Rules {
        allow_special_use: false,
    };
    match Domain::parse(name, strict) {
        Ok(_) => Check::new(check, Status::Pass, "a full domain name").about(name),
        Err(_) if rules.allow_special_use => {
            Check::new(check, Status::Pass, "a reserved name, as labs have").about(name)
        }
        Err(error) => Check::new(check, Status::Fail, format!("the internet cannot know it: {error}"))
            .about(name)
            .advice("use a name below a domain of yours that is in the public DNS"),
    }
}

/// The addresses that mail hosts see.
pub(super) struct Sources(Vec<Source>);

struct Source {
    ip: IpAddr,
    special: Option<SpecialUse>,
    /// The operator says that this is how the internet sees the machine.
    named: bool,
    lab: bool,
}

impl Sources {
    pub(super) fn of(plan: &Plan) -> Self {
        let named = !plan.public.is_empty();
        let all = if named { &plan.public } else { &plan.sources };
        let source = |ip: &IpAddr| Source {
            ip: ip.to_canonical(),
            special: vet(*ip, false).err(),
            named,
            lab: plan.rules.allow_special_use,
        };
        Self(all.iter().map(source).collect())
    }

    /// Those about which the DNS can be asked.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let usable = self.0.iter().filter(|source| source.is_usable());
        usable.map(|source| source.ip).collect()
    }

    pub(super) fn checks(&self) -> Vec<Check> {
        if self.0.is_empty() {
            let check = Check::new("source_address", Status::Fail, "there is no route to the internet");
            return vec![check.advice("connect this machine, or name its address with `--public-ip`")];
        }
        self.0.iter().map(Source::check).collect()
    }
}

impl Source {
    fn is_usable(&self) -> bool {
        self.special.is_none() || (self.named && self.lab)
    }

    fn check(&self) -> Check {
        let whose = if self.named {
            "named with `--public-ip`"
        } else {
            "connections leave from it"
        };
        let check = match self.special {
            None => Check::new("source_address", Status::Pass, whose),
            Some(_) if self.is_usable() => Check::new("source_address", Status::Pass, format!("{whose}, for a lab")),
            Some(special) if self.named => {
                let seen = format!("no address of the internet ({})", special.name());
                Check::new("source_address", Status::Fail, seen).advice("name the address that the internet sees")
            }
            Some(special) => {
                let seen = format!("not public ({}): mail hosts see another address", special.name());
                Check::new("source_address", Status::Warn, seen)
                    .advice("name the address that the internet sees with `--public-ip`, so that it can be examined")
            }
        };
        check.about(&self.ip)
    }
}

/// PTR, HELO and SPF of every address.
pub(super) async fn names(dns: &dyn Records, sources: &Sources, identity: Option<&Identity>) -> Vec<Check> {
    let addresses = sources.addresses();
    if addresses.is_empty() {
        let seen = "not asked: no public address is known";
        return ["reverse_dns", "helo_address", "spf"]
            .map(|check| Check::new(check, Status::Skip, seen))
            .to_vec();
    }
    let mut checks = Vec::new();
    for ip in addresses {
        checks.push(reverse_dns(dns, ip, identity).await);
        if let Some(identity) = identity {
            checks.push(helo_address(dns, ip, identity).await);
            checks.push(spf(dns, ip, identity).await);
        }
    }
    checks
}

fn not_found_out(check: &'static str, failure: DnsFailure) -> Check {
    Check::new(check, Status::Skip, format!("not found out: {failure}"))
}

/// Forward-confirmed reverse DNS (RFC 8601 section 3): many hosts refuse whoever has none.
async fn reverse_dns(dns: &dyn Records, ip: IpAddr, identity: Option<&Identity>) -> Check {
    let names = match dns.pointers(ip).await {
        Ok(Found::Records(names)) => names,
        Ok(Found::None | Found::NoSuchDomain) => Vec::new(),
        Err(failure) => return not_found_out("reverse_dns", failure).about(&ip),
    };
    let wanted = identity.map(Identity::helo_name);
    let set = match &wanted {
        Some(helo) => format!("have whoever owns the address set its PTR record to {helo}"),
        None => "have whoever owns the address set its PTR record to this machine's name".into(),
    };
    let Some(first) = names.first() else {
        return Check::new("reverse_dns", Status::Fail, "no PTR record")
            .about(&ip)
            .advice(set);
    };
    let mut confirmed: Vec<&str> = Vec::new();
    let mut failed = None;
    for name in names.iter().take(NAMES) {
        match dns.addresses(name).await {
            Ok(AddressAnswer::Addresses { addresses, .. }) if addresses.contains(&ip) => confirmed.push(name),
            Ok(_) => {}
            Err(failure) => failed = Some(failure),
        }
    }
    let shown = clean(confirmed.first().copied().unwrap_or(first), SHOWN).into_owned();
    if confirmed.is_empty() {
        if let Some(failure) = failed {
            return not_found_out("reverse_dns", failure).about(&ip);
        }
        let seen = format!("its name {shown} does not point back at it");
        let advice = format!("give {shown} an address record with {ip}, or {set}");
        return Check::new("reverse_dns", Status::Fail, seen).about(&ip).advice(advice);
    }
    match wanted {
        Some(helo) if !confirmed.iter().any(|name| name.eq_ignore_ascii_case(&helo)) => {
            let seen = format!("its name is {shown}, and it says HELO {helo}");
            let advice = format!("use `--helo-name {shown}`, or {set}");
            Check::new("reverse_dns", Status::Warn, seen).about(&ip).advice(advice)
        }
        Some(_) => Check::new(
            "reverse_dns",
            Status::Pass,
            format!("{shown}, which points back and is the HELO name"),
        )
        .about(&ip),
        None => Check::new("reverse_dns", Status::Pass, format!("{shown}, which points back")).about(&ip),
    }
}

/// The HELO name should be this machine's (RFC 5321 section 4.1.4); hosts refuse names that do not exist.
async fn helo_address(dns: &dyn Records, ip: IpAddr, identity: &Identity) -> Check {
    let helo = identity.helo_name();
    let advice = format!("give {helo} an address record with {ip}");
    match dns.addresses(&helo).await {
        Err(failure) => not_found_out("helo_address", failure),
        Ok(AddressAnswer::Addresses { addresses, .. }) if addresses.contains(&ip) => {
            Check::new("helo_address", Status::Pass, format!("{helo} has this address"))
        }
        Ok(AddressAnswer::Addresses { .. }) => {
            Check::new("helo_address", Status::Warn, format!("{helo} has other addresses")).advice(advice)
        }
        Ok(AddressAnswer::None { .. } | AddressAnswer::NoSuchDomain { .. }) => {
            Check::new("helo_address", Status::Fail, format!("{helo} has no address")).advice(advice)
        }
    }
    .about(&ip)
}

async fn spf(dns: &dyn Records, ip: IpAddr, identity: &Identity) -> Check {
    let helo = identity.helo_name();
    let from = identity.reverse_path();
    let domain = from.domain();
    let checked = check_host(
        dns,
        super::spf::Sender {
            ip,
            helo: &helo,
            local_part: from.local_part(),
            domain,
        },
    )
    .await;
    let kind = if ip.is_ipv4() { "ip4" } else { "ip6" };
    let term = checked.term.as_deref().unwrap_or("no term matches");
    let said = format!("{domain}: {} ({})", checked.result.name(), clean(term, 100));
    let add = format!("add `{kind}:{ip}` to the SPF record of {domain}");
    match checked.result {
        SpfResult::Pass if term.trim_start_matches('+').eq_ignore_ascii_case("all") => {
            let advice = format!("name this address instead: `{kind}:{ip} -all`; receivers distrust such records");
            Check::new("spf", Status::Warn, format!("{domain} lets every address send")).advice(advice)
        }
        SpfResult::Pass => Check::new("spf", Status::Pass, said),
        SpfResult::None => {
            let advice = format!("publish one: `v=spf1 {kind}:{ip} -all` as TXT record of {domain}");
            Check::new("spf", Status::Warn, format!("{domain} has no SPF record")).advice(advice)
        }
        SpfResult::Neutral => Check::new("spf", Status::Warn, said).advice(add),
        SpfResult::Fail | SpfResult::SoftFail => Check::new("spf", Status::Fail, said).advice(add),
        SpfResult::TempError(failure) => not_found_out("spf", failure),
        SpfResult::PermError(words) => {
            let seen = format!("{domain}: permerror: {}", clean(&words, SHOWN));
            Check::new("spf", Status::Fail, seen).advice("mend the record; receivers take it for none, or refuse")
        }
    }
    .about(&ip)
}

/// Can what bounces come back?
pub(super) async fn reverse_path(route: &dyn Route, identity: Option<&Identity>) -> Option<Check> {
    let domain = identity?.reverse_path().to_domain();
    let route = route.route(&domain).await;
    let advice = "use a reverse-path whose domain takes mail: hosts refuse senders that cannot be answered";
    let fail = |seen: &str| Check::new("reverse_path_mail", Status::Fail, seen).advice(advice);
    let check = match &*route {
        MailRoute::Exchangers(hosts) => {
            let first = hosts.first().map_or("", |exchanger| &exchanger.host);
            let seen = format!("bounces go to {}", clean(first, SHOWN));
            Check::new("reverse_path_mail", Status::Pass, seen)
        }
        MailRoute::ImplicitMx(_) => {
            let check = Check::new("reverse_path_mail", Status::Warn, "it has an address and no MX record");
            check.advice("publish an MX record: some hosts take a domain without one for invented")
        }
        MailRoute::NullMx => fail("null MX: it takes no mail"),
        MailRoute::NoSuchDomain => fail("the domain does not exist"),
        MailRoute::NoMailHost(NoMailHost::NoRecords) => fail("it has neither MX nor address"),
        MailRoute::NoMailHost(NoMailHost::LoopbackMx) => fail("its MX is the local machine"),
        MailRoute::Failure(RouteFailure::Dns(failure)) => not_found_out("reverse_path_mail", *failure),
        MailRoute::Failure(RouteFailure::PrivateMx(_)) => fail("its mail hosts have private or reserved addresses"),
        MailRoute::Failure(RouteFailure::MxIsAddress) => fail("its MX is an address instead of a name"),
        // Who looks for bounces may use another IP version than this machine.
        MailRoute::Failure(RouteFailure::OtherFamily) => Check::new(
            "reverse_path_mail",
            Status::Pass,
            "its mail hosts have addresses of an IP version that is not used here",
        ),
        MailRoute::Failure(RouteFailure::MxUnresolvable) => fail("none of its MX hosts has an address"),
        MailRoute::Failure(RouteFailure::ResolverRewrites) => Check::new(
            "reverse_path_mail",
            Status::Skip,
            "not asked: the resolver invents answers",
        ),
    };
    Some(check.about(&domain))
}
