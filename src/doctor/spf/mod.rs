//! Does a domain let this address send its mail? (RFC 7208, `check_host`)
//!
//! Owns the evaluation and its limits. Asks through [`Records`] only. `exp=` is read and never fetched: nobody is told.

mod expand;
mod term;

use std::{fmt, net::IpAddr};

use crate::{
    dns::{AddressAnswer, DnsFailure, Found, MxAnswer, Records},
    net::BoxFuture,
};
use expand::Names;
use term::{Mechanism, Qualifier, Record, Where};

/// Terms that may ask the DNS, and of those the ones that may find nothing (RFC 7208 section 4.6.4).
const LOOKUPS: usize = 10;
const VOID_LOOKUPS: usize = 2;
/// Names looked up for one `mx`, one `ptr` and one `%{p}` (RFC 7208 section 4.6.4).
const HOSTS: usize = 10;
/// Longest name in presentation form.
const NAME: usize = 253;

/// Who wants to send.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    /// The address that connects.
    pub ip: IpAddr,
    /// Its HELO name.
    pub helo: &'a str,
    /// The local-part of its reverse-path.
    pub local_part: &'a str,
    /// The domain of its reverse-path.
    pub domain: &'a str,
}

/// What a record says about a sender (RFC 7208 section 2.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpfResult {
    /// There is no record.
    None,
    /// The record says nothing about this address.
    Neutral,
    /// It may send.
    Pass,
    /// It must not.
    Fail,
    /// It probably must not.
    SoftFail,
    /// The DNS did not answer.
    TempError(DnsFailure),
    /// The record is wrong, in these words.
    PermError(Box<str>),
}

/// The result, and what led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The result.
    pub result: SpfResult,
    /// The term that matched, as it is written; `None` when no term did.
    pub term: Option<Box<str>>,
}

impl SpfResult {
    /// The result's name in RFC 7208.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::TempError(_) => "temperror",
            Self::PermError(_) => "permerror",
        }
    }
}

impl fmt::Display for SpfResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TempError(failure) => write!(f, "temperror: {failure}"),
            Self::PermError(words) => write!(f, "permerror: {words}"),
            Self::None | Self::Neutral | Self::Pass | Self::Fail | Self::SoftFail => f.write_str(self.name()),
        }
    }
}

/// Evaluates the record of the sender's domain.
pub async fn check_host(dns: &dyn Records, sender: Sender<'_>) -> Checked {
    let mut evaluation = Evaluation {
        dns,
        sender: Sender {
            ip: sender.ip.to_canonical(),
            ..sender
        },
        lookups: 0,
        voids: 0,
        validated: None,
    };
    let domain = sender.domain.trim_end_matches('.').to_ascii_lowercase();
    if !is_name(&domain) || !domain.contains('.') {
        return Checked {
            result: SpfResult::None,
            term: None,
        };
    }
    evaluation.check(&domain).await.unwrap_or_else(|stop| Checked {
        result: stop.into(),
        term: None,
    })
}

/// The evaluation ends here, whatever terms are left.
enum Stop {
    Dns(DnsFailure),
    Wrong(Box<str>),
}

impl From<Stop> for SpfResult {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Dns(failure) => Self::TempError(failure),
            Stop::Wrong(words) => Self::PermError(words),
        }
    }
}

impl From<DnsFailure> for Stop {
    fn from(failure: DnsFailure) -> Self {
        Self::Dns(failure)
    }
}

impl From<term::SyntaxError> for Stop {
    fn from(error: term::SyntaxError) -> Self {
        Self::Wrong(error.to_string().into())
    }
}

/// One `check_host` with every `include` and `redirect` below it: they share the limits.
struct Evaluation<'a> {
    dns: &'a dyn Records,
    sender: Sender<'a>,
    lookups: usize,
    voids: usize,
    /// Names that point at the sender and back; asked once.
    validated: Option<Vec<Box<str>>>,
}

impl Evaluation<'_> {
    fn check<'a>(&'a mut self, domain: &'a str) -> BoxFuture<'a, Result<Checked, Stop>> {
        Box::pin(async move {
            let Some(text) = self.record(domain).await? else {
                return Ok(Checked {
                    result: SpfResult::None,
                    term: None,
                });
            };
            let record = Record::parse(&text)?;
            for directive in &record.directives {
                if self.matches(&directive.mechanism, domain).await? {
                    let result = match directive.qualifier {
                        Qualifier::Pass => SpfResult::Pass,
                        Qualifier::Fail => SpfResult::Fail,
                        Qualifier::SoftFail => SpfResult::SoftFail,
                        Qualifier::Neutral => SpfResult::Neutral,
                    };
                    let term = Some(directive.text.into());
                    return Ok(Checked { result, term });
                }
            }
            let Some(target) = &record.redirect else {
                return Ok(Checked {
                    result: SpfResult::Neutral,
                    term: None,
                });
            };
            self.count_lookup()?;
            let target = self.expand(target, domain).await?;
            match self.check(&target).await? {
                Checked {
                    result: SpfResult::None,
                    ..
                } => Err(Stop::Wrong(
                    format!("redirect={target}, which has no SPF record").into(),
                )),
                checked => Ok(checked),
            }
        })
    }

    /// The one record of a domain (RFC 7208 section 4.5).
    async fn record(&self, domain: &str) -> Result<Option<Box<str>>, Stop> {
        if !is_name(domain) {
            return Ok(None);
        }
        let texts = match self.dns.text(domain).await? {
            Found::Records(texts) => texts,
            Found::None | Found::NoSuchDomain => return Ok(None),
        };
        let mut records = texts.into_iter().filter(|text| Record::is_one(text));
        let first = records.next();
        if records.next().is_some() {
            return Err(Stop::Wrong(format!("{domain} has more than one SPF record").into()));
        }
        Ok(first)
    }

    async fn matches(&mut self, mechanism: &Mechanism<'_>, domain: &str) -> Result<bool, Stop> {
        let ip = self.sender.ip;
        if mechanism.asks() {
            self.count_lookup()?;
        }
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip(network) => Ok(network.contains(ip)),
            Mechanism::Include(target) => {
                let target = self.expand(target, domain).await?;
                match self.check(&target).await?.result {
                    SpfResult::Pass => Ok(true),
                    SpfResult::Fail | SpfResult::SoftFail | SpfResult::Neutral => Ok(false),
                    SpfResult::None => Err(Stop::Wrong(format!("include:{target}, which has no SPF record").into())),
                    SpfResult::TempError(failure) => Err(Stop::Dns(failure)),
                    SpfResult::PermError(words) => Err(Stop::Wrong(words)),
                }
            }
            Mechanism::A(place) => {
                let target = self.target(place, domain).await?;
                let addresses = self.addresses(&target).await?;
                self.count_void(addresses.is_empty())?;
                Ok(place.any(&addresses, ip))
            }
            Mechanism::Mx(place) => {
                let target = self.target(place, domain).await?;
                self.mx(&target, place).await
            }
            Mechanism::Exists(target) => {
                let target = self.expand(target, domain).await?;
                let found = self.any_address(&target).await?;
                let found = found.iter().any(IpAddr::is_ipv4);
                self.count_void(!found)?;
                Ok(found)
            }
            Mechanism::Ptr(target) => {
                let target = match target {
                    Some(target) => self.expand(target, domain).await?,
                    None => domain.to_owned(),
                };
                let names = self.validated().await?;
                Ok(names.iter().any(|name| is_within(name, &target)))
            }
        }
    }

    async fn mx(&mut self, target: &str, place: &Where<'_>) -> Result<bool, Stop> {
        let records = if is_name(target) {
            self.dns.mx(target).await?
        } else {
            MxAnswer::None {
                ttl: std::time::Duration::ZERO,
            }
        };
        let MxAnswer::Records { records, .. } = records else {
            self.count_void(true)?;
            return Ok(false);
        };
        if records.len() > HOSTS {
            return Err(Stop::Wrong(format!("mx:{target} names more than {HOSTS} hosts").into()));
        }
        for (_, host) in &records {
            if place.any(&self.addresses(host).await?, self.sender.ip) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Addresses of the family in which the sender connects.
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Stop> {
        let mut addresses = self.any_address(name).await?;
        addresses.retain(|address| address.is_ipv4() == self.sender.ip.is_ipv4());
        Ok(addresses)
    }

    async fn any_address(&self, name: &str) -> Result<Vec<IpAddr>, Stop> {
        // What macros make need not be a name; it exists nowhere.
        if !is_name(name) {
            return Ok(Vec::new());
        }
        Ok(match self.dns.addresses(name).await? {
            AddressAnswer::Addresses { addresses, .. } => addresses,
            AddressAnswer::None { .. } | AddressAnswer::NoSuchDomain { .. } => Vec::new(),
        })
    }

    /// The sender's names that point back at it (RFC 7208 section 5.5); a failure is no name.
    async fn validated(&mut self) -> Result<Vec<Box<str>>, Stop> {
        if let Some(names) = &self.validated {
            return Ok(names.clone());
        }
        let found = self.dns.pointers(self.sender.ip).await;
        let pointers = match found {
            Ok(Found::Records(names)) => names,
            Ok(Found::None | Found::NoSuchDomain) => {
                self.count_void(true)?;
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        let mut names = Vec::new();
        for name in pointers.into_iter().take(HOSTS) {
            let addresses = self.any_address(&name).await.unwrap_or_default();
            if addresses.contains(&self.sender.ip) {
                names.push(name);
            }
        }
        self.validated = Some(names.clone());
        Ok(names)
    }

    async fn target(&mut self, place: &Where<'_>, domain: &str) -> Result<String, Stop> {
        match &place.name {
            Some(name) => self.expand(name, domain).await,
            None => Ok(domain.to_owned()),
        }
    }

    /// The name that a domain-spec stands for, at most 253 characters of its end (RFC 7208 section 7.3).
    async fn expand(&mut self, spec: &expand::MacroString<'_>, domain: &str) -> Result<String, Stop> {
        let validated = if spec.wants_validated() {
            let names = self.validated().await?;
            // The sender's own domain first, then names below it, then any.
            let best = names.iter().find(|name| &***name == domain);
            let best = best.or_else(|| names.iter().find(|name| is_within(name, domain)));
            best.or_else(|| names.first()).cloned()
        } else {
            None
        };
        let text = spec.expand(&Names {
            sender: &self.sender,
            domain,
            validated: validated.as_deref().unwrap_or("unknown"),
        });
        let mut name = text.strip_suffix('.').unwrap_or(&text);
        while name.len() > NAME {
            let Some((_, rest)) = name.split_once('.') else { break };
            name = rest;
        }
        Ok(name.to_ascii_lowercase())
    }

    fn count_lookup(&mut self) -> Result<(), Stop> {
        self.lookups += 1;
        if self.lookups > LOOKUPS {
            return Err(Stop::Wrong(
                format!("more than {LOOKUPS} terms that ask the DNS").into(),
            ));
        }
        Ok(())
    }

    fn count_void(&mut self, void: bool) -> Result<(), Stop> {
        self.voids += usize::from(void);
        if self.voids > VOID_LOOKUPS {
            return Err(Stop::Wrong(
                format!("more than {VOID_LOOKUPS} terms that name what does not exist").into(),
            ));
        }
        Ok(())
    }
}

/// Whether `name` is `domain` or below it.
fn is_within(name: &str, domain: &str) -> bool {
    name == domain || name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

/// Whether the DNS can be asked about it.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\')
    };
    name.len() <= NAME && name.split('.').all(label)
}
