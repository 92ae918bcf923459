//! The parts of a batch as they lie there.

use std::{net::IpAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::{
    super::{Source, StoreError},
    Offset,
};
use crate::{
    dns::{Exchanger, MailRoute, NoMailHost, RouteFailure},
    replies::providers,
    smtp::{Entry as Line, Speaker, Stage, Transcript},
    verdict::{Answer, HostFacts, ListDecision, NotTried, Observed, ProbeFailure, SessionDoubt, UnknownRecipients},
};

/// A host's name, which the resolver escaped before it was kept: anything else is damage, and reaches no terminal.
fn host_name<'de, D: Deserializer<'de>>(from: D) -> Result<Box<str>, D::Error> {
    let name = Box::<str>::deserialize(from)?;
    if name.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(name)
    } else {
        Err(D::Error::custom("no name of a host"))
    }
}

/// A [`Kept`] whose parts are elsewhere in the batch.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredRecord<'a> {
    pub(super) mailbox: &'a str,
    pub(super) list: Option<ListDecision>,
    pub(super) route: Observed<Offset, NotTried>,
    pub(super) host: Option<Offset>,
    pub(super) answer: Observed<Offset, ProbeFailure>,
    pub(super) unknown_recipients: Observed<UnknownRecipients, Stage>,
    pub(super) doubt: Option<StoredDoubt>,
    pub(super) attempts: u32,
    pub(super) first_asked: Option<u64>,
    pub(super) due: Option<u64>,
    pub(super) throttled: bool,
    pub(super) requeued: bool,
    pub(super) retry_at: Option<u64>,
    pub(super) checked_at: u64,
    pub(super) elapsed_ms: u32,
    pub(super) transcripts: Vec<Offset>,
    pub(super) source: Source,
    pub(super) judged: Option<Offset>,
}

/// A [`SessionDoubt`], or the answer that contradicts the record's.
#[derive(Serialize, Deserialize)]
pub(super) enum StoredDoubt {
    BlanketRefusal,
    Throttled,
    Inconsistent,
    UnusualForm,
    Contradicted {
        doubt: Option<SessionDoubt>,
        host: Offset,
        answer: Offset,
    },
}

impl From<SessionDoubt> for StoredDoubt {
    fn from(doubt: SessionDoubt) -> Self {
        match doubt {
            SessionDoubt::BlanketRefusal => Self::BlanketRefusal,
            SessionDoubt::Throttled => Self::Throttled,
            SessionDoubt::Inconsistent => Self::Inconsistent,
            SessionDoubt::UnusualForm => Self::UnusualForm,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredReply<'a> {
    pub(super) stage: Stage,
    pub(super) code: u16,
    #[serde(borrow)]
    pub(super) lines: Vec<&'a str>,
}

impl<'a> From<&'a Answer> for StoredReply<'a> {
    fn from(answer: &'a Answer) -> Self {
        Self {
            stage: answer.stage,
            code: answer.reply.code().number(),
            lines: answer.reply.lines().iter().map(|line| &**line).collect(),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredHost {
    pub(super) provider: Option<Box<str>>,
    #[serde(deserialize_with = "host_name")]
    pub(super) name: Box<str>,
    pub(super) ip: Option<IpAddr>,
    pub(super) preference: u16,
    pub(super) implicit: bool,
    pub(super) tls: Option<bool>,
    pub(super) backup: bool,
    pub(super) untruthful: bool,
}

impl From<&HostFacts> for StoredHost {
    fn from(host: &HostFacts) -> Self {
        Self {
            provider: host.provider.map(Box::from),
            name: Box::from(&*host.name),
            ip: host.ip,
            preference: host.preference,
            implicit: host.implicit,
            tls: host.tls,
            backup: host.backup,
            untruthful: host.untruthful,
        }
    }
}

impl From<StoredHost> for HostFacts {
    fn from(host: StoredHost) -> Self {
        let provider = host.provider.and_then(|id| providers::named(&id));
        Self {
            provider: provider.map(|provider| &*provider.id),
            name: Arc::from(host.name),
            ip: host.ip,
            preference: host.preference,
            implicit: host.implicit,
            tls: host.tls,
            backup: host.backup,
            untruthful: host.untruthful,
        }
    }
}

/// A route without its addresses: only what was vetted in this process may be dialled.
#[derive(Serialize, Deserialize)]
pub(super) enum StoredRoute {
    Exchangers(Vec<StoredExchanger>),
    ImplicitMx(StoredExchanger),
    NullMx,
    NoSuchDomain,
    NoMailHost(NoMailHost),
    Failure(RouteFailure),
    /// Where the route is that every name beside the domain has too; one step, so that no damage leads in a circle.
    InWildcardZone(Offset),
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredExchanger {
    #[serde(deserialize_with = "host_name")]
    pub(super) host: Box<str>,
    pub(super) preference: u16,
    pub(super) backup: bool,
}

impl From<&Exchanger> for StoredExchanger {
    fn from(exchanger: &Exchanger) -> Self {
        Self {
            host: Box::from(&*exchanger.host),
            preference: exchanger.preference,
            backup: exchanger.backup,
        }
    }
}

impl From<StoredExchanger> for Exchanger {
    fn from(exchanger: StoredExchanger) -> Self {
        Self {
            host: Arc::from(exchanger.host),
            preference: exchanger.preference,
            backup: exchanger.backup,
            addresses: Vec::new(),
        }
    }
}

impl From<&MailRoute> for StoredRoute {
    fn from(route: &MailRoute) -> Self {
        match route {
            MailRoute::Exchangers(exchangers) => Self::Exchangers(exchangers.iter().map(Into::into).collect()),
            MailRoute::ImplicitMx(exchanger) => Self::ImplicitMx(exchanger.into()),
            MailRoute::NullMx => Self::NullMx,
            MailRoute::NoSuchDomain => Self::NoSuchDomain,
            MailRoute::NoMailHost(why) => Self::NoMailHost(*why),
            MailRoute::Failure(why) => Self::Failure(*why),
        }
    }
}

impl TryFrom<StoredRoute> for MailRoute {
    type Error = StoreError;

    fn try_from(route: StoredRoute) -> Result<Self, StoreError> {
        Ok(match route {
            StoredRoute::Exchangers(exchangers) => Self::Exchangers(exchangers.into_iter().map(Into::into).collect()),
            StoredRoute::ImplicitMx(exchanger) => Self::ImplicitMx(exchanger.into()),
            StoredRoute::NullMx => Self::NullMx,
            StoredRoute::NoSuchDomain => Self::NoSuchDomain,
            StoredRoute::NoMailHost(why) => Self::NoMailHost(why),
            StoredRoute::Failure(why) => Self::Failure(why),
            StoredRoute::InWildcardZone(_) => return Err(StoreError::Damaged("a record cannot be read")),
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredTranscript {
    #[serde(deserialize_with = "host_name")]
    pub(super) host: Box<str>,
    pub(super) peer: std::net::SocketAddr,
    /// Milliseconds; 0 presend, 1 the host, 2 a note; the line.
    pub(super) entries: Vec<(u32, u8, Box<str>)>,
}

impl From<&Transcript> for StoredTranscript {
    fn from(transcript: &Transcript) -> Self {
        let entry = |entry: &Line| {
            let who = match entry.who {
                Speaker::Client => 0,
                Speaker::Server => 1,
                Speaker::Note => 2,
            };
            let at = u32::try_from(entry.at.as_millis()).unwrap_or(u32::MAX);
            (at, who, entry.text.clone())
        };
        Self {
            host: Box::from(&*transcript.host),
            peer: transcript.peer,
            entries: transcript.entries.iter().map(entry).collect(),
        }
    }
}

impl From<StoredTranscript> for Transcript {
    fn from(transcript: StoredTranscript) -> Self {
        let entry = |(at, who, text): (u32, u8, Box<str>)| Line {
            at: Duration::from_millis(at.into()),
            who: match who {
                0 => Speaker::Client,
                1 => Speaker::Server,
                _ => Speaker::Note,
            },
            text,
        };
        Self {
            host: Arc::from(transcript.host),
            peer: transcript.peer,
            entries: transcript.entries.into_iter().map(entry).collect(),
        }
    }
}
