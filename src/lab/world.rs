//! The world format: which domains exist, which hosts listen and how they behave. Data only; `docs/lab.md` explains every key.

mod domain;
mod script;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use serde::{Deserialize, Deserializer, de};

pub use self::{
    domain::{DnsFault, Domain, Forged, Forgery, Mx},
    script::{On, Script, Then},
};

/// A miniature internet.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct World {
    /// First address of the hosts, in 127.0.0.0/8; the next host has the next /24. Random when absent, so that parallel worlds
    /// do not clash.
    pub base: Option<Ipv4Addr>,
    /// The one port of all hosts; 0 takes a free one.
    pub smtp_port: u16,
    /// Port of the DNS server on 127.0.0.1; 0 takes a free one.
    pub dns_port: u16,
    /// Every DNS answer waits this long.
    pub dns_latency_ms: u64,
    /// A session that says nothing for so long is closed with 421.
    pub idle_timeout_ms: u64,
    /// Keep every line received, for [`super::HostCounters::lines`].
    pub record_lines: bool,
    /// Names in the DNS.
    #[serde(rename = "domain")]
    pub domains: Vec<Domain>,
    /// Machines that listen for SMTP.
    #[serde(rename = "host")]
    pub hosts: Vec<Host>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            base: None,
            smtp_port: 0,
            dns_port: 0,
            dns_latency_ms: 0,
            idle_timeout_ms: 60_000,
            record_lines: false,
            domains: Vec::new(),
            hosts: Vec::new(),
        }
    }
}

impl World {
    /// Reads a world from TOML.
    ///
    /// # Errors
    /// The message names `origin`, line and column.
    pub fn parse(text: &str, origin: &str) -> Result<Self, WorldError> {
        toml::from_str(text).map_err(|source| WorldError::Format {
            origin: origin.into(),
            source: Box::new(source),
        })
    }

    /// Reads a world from a file.
    ///
    /// # Errors
    /// The file cannot be read, or is not a world; the message names file, line and column.
    pub fn load(path: &Path) -> Result<Self, WorldError> {
        let origin = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &origin),
            Err(source) => Err(WorldError::Unreadable { origin, source }),
        }
    }

    /// Brings the names of a world that was made in code into the form that a file's have, and refuses equal ones.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        let (mut hosts, mut domains) = (HashSet::new(), HashSet::new());
        for host in &mut self.hosts {
            host.name = canonical(&host.name).map_err(|error| format!("name of a host: {error}"))?;
            for domain in &mut host.serves {
                *domain = canonical(domain).map_err(|error| format!("serves of {}: {error}", host.name))?;
            }
            if !hosts.insert(&*host.name) {
                return Err(format!("two hosts have the name {}", host.name));
            }
        }
        for domain in &mut self.domains {
            domain.name = canonical(&domain.name).map_err(|error| format!("name of a domain: {error}"))?;
            if !domains.insert(&*domain.name) {
                return Err(format!("two domains have the name {}", domain.name));
            }
        }
        Ok(())
    }
}

/// A world that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The file cannot be read.
    #[error("{origin}: {source}")]
    Unreadable {
        /// The file.
        origin: String,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not a world.
    #[error("{origin}: {source}")]
    Format {
        /// The file.
        origin: String,
        /// Line, column and what is wrong there.
        source: Box<toml::de::Error>,
    },
}

/// A machine that listens for SMTP on its own loopback address.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "keys of a file, each with its own name")]
pub struct Host {
    /// Its name; the DNS has its address.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// A loopback address; allotted when absent.
    pub ip: Option<IpAddr>,
    /// The address exists and nobody listens: connections are refused.
    pub down: bool,
    /// Domains it takes mail for. One that is not under `[[domain]]` gets an MX record to this host.
    #[serde(deserialize_with = "names")]
    pub serves: Vec<String>,
    /// Preference of that MX record.
    pub preference: u16,

    /// Mailboxes: `"jane"` at every served domain, `"jane@acme.test"` at one.
    #[serde(deserialize_with = "one_or_many")]
    pub mailboxes: Vec<String>,
    /// Mailboxes over quota (452 4.2.2).
    #[serde(deserialize_with = "one_or_many")]
    pub full: Vec<String>,
    /// Mailboxes that are disabled (550 5.2.1).
    #[serde(deserialize_with = "one_or_many")]
    pub disabled: Vec<String>,
    /// Mailboxes that get too much mail (450 4.2.1).
    #[serde(deserialize_with = "one_or_many")]
    pub throttled: Vec<String>,
    /// Mailboxes that moved (551 5.1.6).
    #[serde(deserialize_with = "one_or_many")]
    pub moved: Vec<String>,
    /// Mailboxes that are forwarded (251).
    #[serde(deserialize_with = "one_or_many")]
    pub forwarded: Vec<String>,
    /// Replies to single mailboxes; of several, one per question and the last for ever.
    pub reply: BTreeMap<String, Replies>,
    /// Every local-part is accepted.
    pub catch_all: bool,
    /// In clear every recipient is accepted; unknown ones are refused after STARTTLS only.
    pub refuse_only_in_tls: bool,
    /// Upper and lower case differ in local-parts.
    pub case_sensitive: bool,
    /// `jane+tag` is `jane`.
    pub plus_tags: bool,
    /// Reply for a mailbox that is not there. `{rcpt}`, `{from}`, `{helo}`, `{client}` and `{host}` are replaced, in every reply.
    pub unknown: String,
    /// Reply for a domain that is not served.
    pub relay_denied: String,

    /// PIPELINING offered, not offered, or offered and broken.
    pub pipelining: Pipelining,
    /// SMTPUTF8 offered.
    pub smtputf8: bool,
    /// 8BITMIME offered.
    pub eightbitmime: bool,
    /// SIZE offered, with this limit; 0 does not offer it.
    pub size: u64,
    /// Enhanced status codes in our own replies, and ENHANCEDSTATUSCODES.
    pub enhanced: bool,
    /// Further EHLO lines, such as `"LIMITS RCPTMAX=10"`.
    #[serde(deserialize_with = "one_or_many")]
    pub extensions: Vec<String>,
    /// STARTTLS.
    pub starttls: StartTls,
    /// EHLO is not known, only HELO.
    pub helo_only: bool,

    /// Emulated round trip: replies leave this much later than what caused them came; connecting pays one.
    pub latency_ms: u64,
    /// Wait before the greeting.
    pub greeting_delay_ms: u64,
    /// Wait before every reply.
    pub reply_delay_ms: u64,
    /// Wait before every 4yz and 5yz reply.
    pub error_delay_ms: u64,
    /// Wait before every byte.
    pub byte_delay_ms: u64,

    /// First questions about client, sender and recipient are put off until so long after the first.
    pub greylist_ms: Option<u64>,
    /// Only these recipients are greylisted; empty is all.
    #[serde(deserialize_with = "one_or_many")]
    pub greylist_only: Vec<String>,
    /// Reply while greylisted.
    pub greylist_reply: String,
    /// Every recipient of a client's sessions is put off (450 4.3.2) until one that came to RCPT is over, as postscreen's deep
    /// tests do.
    pub first_session_test: bool,
    /// Recipients in one transaction before 452 4.5.3.
    pub recipients_max: u32,
    /// Recipient domains in one transaction before 451 4.3.0; 0 is any number.
    pub domains_max: u32,
    /// Refusals in one session before 421 and the end; 0 is any number.
    pub errors_max: u32,
    /// Connections at one time before 421 4.7.0; 0 is any number.
    pub connections_max: u32,
    /// Refusals to one client, over all its sessions, before it is banned; 0 is never.
    pub ban_after: u32,
    /// Reply to a banned client, at RCPT and in the greeting.
    pub ban_reply: String,
    /// Commands in one burst without PIPELINING, and commands before the greeting, end the session with 554.
    pub enforce_sync: bool,
    /// What is said or done instead of the usual reply.
    pub script: Vec<Script>,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            name: String::new(),
            ip: None,
            down: false,
            serves: Vec::new(),
            preference: 10,
            mailboxes: Vec::new(),
            full: Vec::new(),
            disabled: Vec::new(),
            throttled: Vec::new(),
            moved: Vec::new(),
            forwarded: Vec::new(),
            reply: BTreeMap::new(),
            catch_all: false,
            refuse_only_in_tls: false,
            case_sensitive: false,
            plus_tags: false,
            unknown: "550 5.1.1 <{rcpt}>: Recipient address rejected: User unknown".into(),
            relay_denied: "554 5.7.1 <{rcpt}>: Relay access denied".into(),
            pipelining: Pipelining::On,
            smtputf8: true,
            eightbitmime: true,
            size: 36_700_160,
            enhanced: true,
            extensions: Vec::new(),
            starttls: StartTls::Off,
            helo_only: false,
            latency_ms: 0,
            greeting_delay_ms: 0,
            reply_delay_ms: 0,
            error_delay_ms: 0,
            byte_delay_ms: 0,
            greylist_ms: None,
            greylist_only: Vec::new(),
            greylist_reply: "451 4.7.1 <{rcpt}>: Recipient address rejected: Greylisted, please try again later".into(),
            first_session_test: false,
            recipients_max: 1000,
            domains_max: 0,
            errors_max: 0,
            connections_max: 0,
            ban_after: 0,
            ban_reply: "550 5.7.1 Too many invalid recipients from {client}, access denied".into(),
            enforce_sync: false,
            script: Vec::new(),
        }
    }
}

impl Host {
    /// A host with these mailboxes at these domains, and the defaults.
    #[must_use]
    pub fn serving(name: &str, domains: &[&str], mailboxes: &[&str]) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            name: name.to_owned(),
            serves: owned(domains),
            mailboxes: owned(mailboxes),
            ..Self::default()
        }
    }
}

/// One reply for ever, or one per question with the last for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Replies(#[serde(deserialize_with = "one_or_many")] pub Vec<String>);

/// How commands in one burst are treated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pipelining {
    /// Offered and works.
    #[default]
    On,
    /// Not offered; works, and counts as a violation.
    Off,
    /// Offered, and everything after the first command of a burst is lost.
    Broken,
}

/// How STARTTLS is treated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartTls {
    /// Not offered.
    #[default]
    Off,
    /// Works, with a self-signed certificate.
    On,
    /// Works, and MAIL without it is refused (530 5.7.0).
    Required,
    /// Works, with a certificate that expired long ago.
    Expired,
    /// The handshake has a certificate chain of more than 1 MB.
    HugeChain,
    /// 220, then the alert of a host that knows TLS 1.0 at most.
    OnlyOld,
    /// 220, then garbage instead of a handshake, and the end.
    Broken,
    /// 220, then silence.
    Stall,
    /// 220, then handshake records without end.
    Endless,
    /// 454.
    Refused,
    /// 220 with a further reply in clear behind it.
    Inject,
}

/// A name in lower-case A-labels without final dot.
pub(super) fn canonical(text: &str) -> Result<String, String> {
    let trimmed = text.strip_suffix('.').unwrap_or(text);
    let ascii = idna::domain_to_ascii(trimmed).map_err(|_| format!("`{text}` is no domain name"))?;
    let fits = ascii.len() <= 253 && ascii.split('.').all(|label| (1..=63).contains(&label.len()));
    if fits {
        Ok(ascii)
    } else {
        Err(format!("`{text}` is no domain name"))
    }
}

fn name<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    canonical(&String::deserialize(input)?).map_err(de::Error::custom)
}

fn names<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    let texts = one_or_many(input)?;
    texts
        .iter()
        .map(|text| canonical(text).map_err(de::Error::custom))
        .collect()
}

fn exchangers<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Mx>, D::Error> {
    let texts = one_or_many(input)?;
    texts
        .iter()
        .map(|text| text.parse().map_err(de::Error::custom))
        .collect()
}

fn one_or_many<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    struct OneOrMany;
    impl<'de> de::Visitor<'de> for OneOrMany {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text or a list of texts")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = items.next_element()? {
                texts.push(text);
            }
            Ok(texts)
        }
    }
    input.deserialize_any(OneOrMany)
}

/// Bytes, written as hexadecimal digits; spaces may stand between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hex(pub Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        let digits: Option<Vec<u8>> = text
            .chars()
            .filter(|c| !c.is_whitespace())
            .map(|c| u8::try_from(c.to_digit(16)?).ok())
            .collect();
        let wrong = || de::Error::custom(format!("`{text}` is not hexadecimal: write two digits for each byte"));
        let digits = digits.ok_or_else(wrong)?;
        let (pairs, []) = digits.as_chunks::<2>() else {
            return Err(wrong());
        };
        Ok(Self(pairs.iter().map(|[high, low]| high << 4 | low).collect()))
    }
}
