//! DNS blocklists (RFC 5782): which are asked, how their answers are read, and when they are not believed.
//!
//! A refusal to answer is never a listing, and a list that fails its own test points says nothing.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::{Arc, LazyLock},
};

use psl::domain_str;
use serde::Deserialize;
use tokio::task::JoinSet;

use super::{Check, Status, resolver::Watched};
use crate::{
    dns::{AddressAnswer, DnsFailure, Found, Records, Resolve},
    output::clean,
    smtp::Identity,
};

/// Lists that are asked in one run at most.
const MOST: usize = 50;
/// Characters shown of a list's reason.
const SHOWN: usize = 200;

/// The lists to ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blocklists {
    /// In the order in which they are told.
    #[serde(rename = "blocklist", default)]
    lists: Vec<Blocklist>,
}

/// One list; `lists/blocklists.toml` explains every key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blocklist {
    /// The zone that is asked.
    pub zone: Box<str>,
    /// Its name, for people.
    pub name: Box<str>,
    /// What it lists.
    of: Of,
    /// It lists IPv6 addresses too.
    #[serde(default)]
    ipv6: bool,
    /// Most receivers act on it.
    grave: bool,
    /// Who may ask.
    pub terms: Box<str>,
    listed: Box<str>,
    unlisted: Box<str>,
    #[serde(default)]
    refused: Vec<Ipv4Addr>,
    #[serde(default)]
    meanings: BTreeMap<Ipv4Addr, Box<str>>,
    removal: Box<str>,
    /// Where the facts come from.
    pub source: Box<str>,
}

/// What a list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Of {
    Address,
    Domain,
}

/// Lists that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BlocklistError {
    /// The file cannot be read.
    #[error("cannot read `{origin}`: {source}")]
    Unreadable {
        /// The file.
        origin: String,
        /// Why.
        source: std::io::Error,
    },
    /// The text is no such file.
    #[error("{origin}: {source}")]
    Format {
        /// The file.
        origin: String,
        /// Line, column and what is wrong there.
        source: Box<toml::de::Error>,
    },
    /// A list could not be asked like this.
    #[error("{origin}: {message}")]
    Entry {
        /// The file.
        origin: String,
        /// Which list, and what is wrong.
        message: String,
    },
}

static BUNDLED: LazyLock<Result<Blocklists, String>> = LazyLock::new(|| {
    Blocklists::parse(include_str!("../../lists/blocklists.toml"), Blocklists::FILE).map_err(|error| error.to_string())
});

impl Blocklists {
    /// The file of the bundled ones.
    pub const FILE: &str = "lists/blocklists.toml";

    /// The bundled ones.
    #[must_use]
    pub fn bundled() -> Self {
        BUNDLED.clone().unwrap_or_default()
    }

    /// What is wrong with the bundled ones; nothing, in a release.
    #[must_use]
    pub fn fault() -> Option<&'static str> {
        BUNDLED.as_ref().err().map(String::as_str)
    }

    /// Those of a file.
    ///
    /// # Errors
    /// The file cannot be read; the message names file, line and column.
    pub fn load(path: &Path) -> Result<Self, BlocklistError> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| BlocklistError::Unreadable {
            origin: origin.clone(),
            source,
        })?;
        Self::parse(&text, &origin)
    }

    fn parse(text: &str, origin: &str) -> Result<Self, BlocklistError> {
        let lists: Self = toml::from_str(text).map_err(|source| BlocklistError::Format {
            origin: origin.to_owned(),
            source: Box::new(source),
        })?;
        let wrong = |message: String| {
            Err(BlocklistError::Entry {
                origin: origin.to_owned(),
                message,
            })
        };
        if lists.lists.len() > MOST {
            return wrong(format!("{} lists are more than {MOST}", lists.lists.len()));
        }
        for list in &lists.lists {
            if list.zone.is_empty() || list.zone.len() > 180 || list.zone.starts_with('.') || list.zone.ends_with('.') {
                return wrong(format!("`{}` is no zone; write it as `dnsbl.example.net`", list.zone));
            }
            if let Err(message) = list.question(&list.listed).and(list.question(&list.unlisted)) {
                return wrong(format!("{}: {message}", list.zone));
            }
        }
        Ok(lists)
    }

    /// The lists.
    pub fn iter(&self) -> impl Iterator<Item = &Blocklist> {
        self.lists.iter()
    }
}

/// What a list answered.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Listed(Ipv4Addr),
    NotListed,
    /// It does not answer this resolver.
    Refused(Ipv4Addr),
    /// No blocklist answers like this.
    Nonsense(IpAddr),
    Failed(DnsFailure),
}

impl Blocklist {
    /// The name to ask for.
    fn question(&self, subject: &str) -> Result<String, String> {
        match self.of {
            Of::Domain => Ok(format!("{subject}.{}", self.zone)),
            Of::Address => match subject.parse() {
                Ok(ip) => Ok(format!("{}.{}", reversed(ip), self.zone)),
                Err(_) => Err(format!("`{subject}` is no address")),
            },
        }
    }

    fn read(&self, answer: Result<AddressAnswer, DnsFailure>) -> Answer {
        let addresses = match answer {
            Ok(AddressAnswer::Addresses { addresses, .. }) => addresses,
            Ok(AddressAnswer::None { .. } | AddressAnswer::NoSuchDomain { .. }) => return Answer::NotListed,
            Err(failure) => return Answer::Failed(failure),
        };
        let mut listed = None;
        for address in addresses {
            match address {
                IpAddr::V4(code) if is_refusal(code) || self.refused.contains(&code) => return Answer::Refused(code),
                // RFC 5782 section 2.1: answers are in 127.0.0.0/8. Others come from a zone that was sold, or from a portal.
                IpAddr::V4(code) if code.is_loopback() => listed = listed.or(Some(code)),
                IpAddr::V4(_) | IpAddr::V6(_) => return Answer::Nonsense(address),
            }
        }
        listed.map_or(Answer::NotListed, Answer::Listed)
    }

    async fn ask(&self, dns: &Watched, subject: &str) -> Answer {
        match self.question(subject) {
            Ok(name) => self.read(dns.addresses(&name).await),
            Err(_) => Answer::NotListed,
        }
    }

    /// One line: what the list says about every subject.
    async fn check(&self, dns: &Watched, subjects: &[String]) -> Check {
        if subjects.is_empty() {
            return Check::new("blocklist", Status::Skip, "not asked: nothing of ours for it is known")
                .about(&*self.zone);
        }
        let listed = self.ask(dns, &self.listed).await;
        let unlisted = self.ask(dns, &self.unlisted).await;
        if let Some(check) = self.disbelieve(&listed, &unlisted) {
            return check.about(&*self.zone);
        }
        let mut seen = String::new();
        let mut removal = None;
        let mut unclear = false;
        for subject in subjects {
            let said = match self.ask(dns, subject).await {
                Answer::NotListed => format!("{subject} is not listed"),
                Answer::Listed(code) => {
                    removal.get_or_insert_with(|| self.removal.replace("{subject}", subject));
                    format!("{subject} is listed: {}", self.why(dns, subject, code).await)
                }
                Answer::Refused(code) => {
                    unclear = true;
                    format!("{subject} not found out: it refuses to answer ({code})")
                }
                Answer::Nonsense(address) => {
                    unclear = true;
                    format!("{subject} not found out: it answers {address}")
                }
                Answer::Failed(failure) => {
                    unclear = true;
                    format!("{subject} not found out: {failure}")
                }
            };
            let gap = if seen.is_empty() { "" } else { ", " };
            let _ = write!(seen, "{gap}{said}");
        }
        match removal {
            Some(removal) => {
                let status = if self.grave { Status::Fail } else { Status::Warn };
                Check::new("blocklist", status, seen).advice(format!("mend the cause first, then {removal}"))
            }
            None if unclear => Check::new("blocklist", Status::Skip, seen),
            None => Check::new("blocklist", Status::Pass, seen),
        }
        .about(&*self.zone)
    }

    /// Why the list's answers count for nothing, if they do.
    fn disbelieve(&self, listed: &Answer, unlisted: &Answer) -> Option<Check> {
        let own = "ask it through a name server of your own: `--nameserver`";
        let skip = |seen: String| Some(Check::new("blocklist", Status::Skip, seen));
        match (listed, unlisted) {
            (Answer::Refused(code), _) | (_, Answer::Refused(code)) => {
                let seen = format!("it does not answer this name server ({code}: {})", refusal(*code));
                skip(seen).map(|check| check.advice(own))
            }
            (Answer::Nonsense(address), _) | (_, Answer::Nonsense(address)) => {
                skip(format!("it answers {address}, as no blocklist does"))
            }
            (Answer::Failed(failure), _) | (_, Answer::Failed(failure)) => skip(format!("not found out: {failure}")),
            (_, Answer::Listed(_)) => skip(format!("it lists everything, {} too", self.unlisted)),
            (Answer::NotListed, _) => {
                let seen = format!(
                    "it does not list its test point {}: it is closed, or kept from us",
                    self.listed
                );
                skip(seen).map(|check| check.advice(own))
            }
            (Answer::Listed(_), Answer::NotListed) => None,
        }
    }

    /// The list's own words, else what its code means.
    async fn why(&self, dns: &Watched, subject: &str, code: Ipv4Addr) -> String {
        let mut why = code.to_string();
        if let Some(meaning) = self.meanings.get(&code) {
            let _ = write!(why, " {meaning}");
        }
        if let Ok(name) = self.question(subject)
            && let Ok(Found::Records(texts)) = dns.text(&name).await
            && let Some(text) = texts.first()
        {
            let _ = write!(why, " \"{}\"", clean(text, SHOWN));
        }
        why
    }
}

/// Every list, all at once; a line for each, in the order of the file.
pub(super) async fn checks(
    lists: &Blocklists,
    dns: &Arc<Watched>,
    addresses: &[IpAddr],
    identity: Option<&Identity>,
) -> Vec<Check> {
    let domains = identity.map(domains).unwrap_or_default();
    let mut tasks = JoinSet::new();
    for (index, list) in lists.lists.iter().enumerate() {
        let subjects = match list.of {
            Of::Domain => domains.clone(),
            Of::Address => addresses
                .iter()
                .filter(|ip| ip.is_ipv4() || list.ipv6)
                .map(ToString::to_string)
                .collect(),
        };
        let (list, dns) = (list.clone(), Arc::clone(dns));
        tasks.spawn(async move { (index, list.check(&dns, &subjects).await) });
    }
    let mut checks = tasks.join_all().await;
    checks.sort_unstable_by_key(|(index, _)| *index);
    checks.into_iter().map(|(_, check)| check).collect()
}

/// The registered domains of HELO name and reverse-path: domain lists know no hosts.
fn domains(identity: &Identity) -> Vec<String> {
    let helo = identity.helo_name();
    let from = identity.reverse_path().domain();
    let mut domains: Vec<String> = [from, &helo]
        .map(|name| domain_str(name).unwrap_or(name).to_ascii_lowercase())
        .to_vec();
    domains.dedup();
    domains
}

/// `127.255.255.0/24` is kept for "you may not ask" (spamhaus.org news 788).
fn is_refusal(code: Ipv4Addr) -> bool {
    matches!(code.octets(), [127, 255, 255, _])
}

fn refusal(code: Ipv4Addr) -> &'static str {
    match code.octets() {
        [127, 255, 255, 252] => "the zone's name is mistyped",
        [127, 255, 255, 254] => "a public or open resolver",
        [127, 255, 255, 255] => "too many questions",
        _ => "it may not ask",
    }
}

/// Octets or nibbles, last first (RFC 5782 sections 2.1 and 2.4).
fn reversed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}")
        }
        IpAddr::V6(ip) => {
            let digits = format!("{:032x}", u128::from(ip));
            let nibbles: Vec<String> = digits.chars().rev().map(String::from).collect();
            nibbles.join(".")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_bundled_lists_can_be_asked() {
        assert_eq!(Blocklists::fault(), None);
        let lists = Blocklists::bundled();
        assert!(lists.iter().count() >= 5);
        for list in lists.iter() {
            assert!(
                list.removal.starts_with("https://") && list.removal.contains("{subject}"),
                "{}",
                list.zone
            );
        }
    }

    #[test]
    fn names_are_asked_as_rfc_5782_says() {
        assert_eq!(reversed("192.0.2.99".parse().unwrap()), "99.2.0.192");
        assert_eq!(
            reversed("2001:db8:1:2:3:4:567:89ab".parse().unwrap()),
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2"
        );
    }

    #[test]
    fn answers_are_read_without_taking_refusals_for_listings() {
        let lists = Blocklists::bundled();
        let list = |zone: &str| lists.iter().find(|list| &*list.zone == zone).unwrap();
        let answers = |addresses: &[&str]| {
            Ok(AddressAnswer::Addresses {
                addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
                ttl: Duration::ZERO,
            })
        };
        let code = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        for (zone, addresses, expected) in [
            (
                "zen.spamhaus.org",
                &["127.0.0.4"][..],
                Answer::Listed(code("127.0.0.4")),
            ),
            (
                "zen.spamhaus.org",
                &["127.255.255.254"],
                Answer::Refused(code("127.255.255.254")),
            ),
            (
                "zen.spamhaus.org",
                &["127.0.0.2", "127.255.255.255"],
                Answer::Refused(code("127.255.255.255")),
            ),
            (
                "psbl.surriel.com",
                &["127.255.255.252"],
                Answer::Refused(code("127.255.255.252")),
            ),
            ("multi.uribl.com", &["127.0.0.1"], Answer::Refused(code("127.0.0.1"))),
            (
                "dbl.spamhaus.org",
                &["127.0.1.255"],
                Answer::Refused(code("127.0.1.255")),
            ),
            (
                "bl.spamcop.net",
                &["203.0.113.9"],
                Answer::Nonsense("203.0.113.9".parse().unwrap()),
            ),
            (
                "bl.spamcop.net",
                &["127.0.0.2", "::1"],
                Answer::Nonsense("::1".parse().unwrap()),
            ),
        ] {
            assert_eq!(list(zone).read(answers(addresses)), expected, "{zone} {addresses:?}");
        }
        let nothing = AddressAnswer::NoSuchDomain { ttl: Duration::ZERO };
        assert_eq!(list("bl.spamcop.net").read(Ok(nothing)), Answer::NotListed);
        assert_eq!(
            list("bl.spamcop.net").read(Err(DnsFailure::ServFail)),
            Answer::Failed(DnsFailure::ServFail)
        );
    }

    #[test]
    fn a_file_that_cannot_be_used_says_where() {
        let entry = "[[blocklist]]\nzone = \"z.example\"\nname = \"Z\"\nof = \"address\"\ngrave = true\nterms = \"\"\nlisted = \"LISTED\"\nunlisted = \"127.0.0.1\"\nremoval = \"\"\nsource = \"\"\n";
        for (text, expected) in [
            ("[[blocklist]]\nzone = 1", "own.toml: TOML parse error at line 2"),
            ("[[blocklists]]", "own.toml: TOML parse error at line 1"),
            (entry, "own.toml: z.example: `LISTED` is no address"),
            (&entry.replace("z.example", ".x"), "own.toml: `.x` is no zone"),
        ] {
            let error = Blocklists::parse(text, "own.toml").unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(Blocklists::parse(&entry.replace("LISTED", "127.0.0.2"), "own.toml").is_ok());
        assert_eq!(Blocklists::parse("", "own.toml").unwrap(), Blocklists::default());
    }
}
