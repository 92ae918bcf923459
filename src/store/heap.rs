//! Batches: many records in one block of bytes that refer to each other by offset, so that a host, a route or a reply that
//! many addresses share is kept once, and one record can be read without reading the others.
//!
//! A batch never changes once it is written. Must not know SQL.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    StoreError,
    record::{Kept, Reading, Source},
};
use crate::{
    dns::{Exchanger, MailRoute, NoMailHost, RouteFailure},
    replies::providers,
    smtp::{Entry, Reply, ReplyCode, Speaker, Stage, Transcript},
    verdict::{
        Answer, Evidence, HostFacts, ListDecision, NotTried, Observed, ProbeFailure, SecondAnswer, SessionDoubt,
        UnknownRecipients,
    },
};

/// Where a record is within its batch.
pub type Offset = u32;

/// A batch being built.
#[derive(Debug, Default)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    /// Values that were kept already, by the memory they are in.
    routes: HashMap<*const MailRoute, Offset>,
    hosts: HashMap<*const HostFacts, Offset>,
    transcripts: HashMap<*const Transcript, Offset>,
    /// And by their bytes.
    values: HashMap<Box<[u8]>, Offset>,
}

impl Builder {
    /// Adds a record; says where it is. The records of one batch must stay in memory until it is finished.
    pub(super) fn add(&mut self, kept: &Kept) -> Result<Offset, StoreError> {
        let evidence = &kept.evidence;
        let route = match &evidence.route {
            Observed::Known(route) => Observed::Known(self.route(route)?),
            Observed::Failed(why) => Observed::Failed(*why),
            Observed::NotTried(why) => Observed::NotTried(*why),
        };
        let host = evidence.host.as_ref().map(|host| self.host(host)).transpose()?;
        let answer = match &evidence.answer {
            Observed::Known(answer) => Observed::Known(self.value(&StoredReply::from(&**answer))?),
            Observed::Failed(why) => Observed::Failed(*why),
            Observed::NotTried(why) => Observed::NotTried(*why),
        };
        let transcripts = kept.transcripts.iter().map(|transcript| self.transcript(transcript));
        let stored = StoredRecord {
            transcripts: transcripts.collect::<Result<_, _>>()?,
            mailbox: &kept.mailbox,
            list: evidence.list,
            route,
            host,
            answer,
            unknown_recipients: evidence.unknown_recipients.clone(),
            doubt: self.doubt(evidence)?,
            attempts: evidence.attempts,
            first_asked: kept.first_asked.map(millis),
            due: kept.due.map(millis),
            throttled: kept.throttled,
            requeued: kept.requeued,
            retry_at: kept.retry_at.map(millis),
            checked_at: millis(kept.checked_at),
            elapsed_ms: u32::try_from(kept.elapsed.as_millis()).unwrap_or(u32::MAX),
            source: kept.source,
            judged: kept.judged.as_ref().map(|judged| self.value(judged)).transpose()?,
        };
        self.append(&stored)
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn route(&mut self, route: &Arc<MailRoute>) -> Result<Offset, StoreError> {
        if let Some(known) = self.routes.get(&Arc::as_ptr(route)) {
            return Ok(*known);
        }
        let offset = self.value(&StoredRoute::from(&**route))?;
        self.routes.insert(Arc::as_ptr(route), offset);
        Ok(offset)
    }

    fn host(&mut self, host: &Arc<HostFacts>) -> Result<Offset, StoreError> {
        if let Some(known) = self.hosts.get(&Arc::as_ptr(host)) {
            return Ok(*known);
        }
        let offset = self.value(&StoredHost::from(&**host))?;
        self.hosts.insert(Arc::as_ptr(host), offset);
        Ok(offset)
    }

    fn doubt(&mut self, evidence: &Evidence) -> Result<Option<StoredDoubt>, StoreError> {
        if let Some(second) = &evidence.second {
            return Ok(Some(StoredDoubt::Contradicted {
                doubt: evidence.doubt,
                host: self.host(&second.host)?,
                answer: self.value(&StoredReply::from(&*second.answer))?,
            }));
        }
        Ok(evidence.doubt.map(|doubt| match doubt {
            SessionDoubt::BlanketRefusal => StoredDoubt::BlanketRefusal,
            SessionDoubt::Throttled => StoredDoubt::Throttled,
            SessionDoubt::Inconsistent => StoredDoubt::Inconsistent,
            SessionDoubt::UnusualForm => StoredDoubt::UnusualForm,
        }))
    }

    fn transcript(&mut self, transcript: &Arc<Transcript>) -> Result<Offset, StoreError> {
        if let Some(known) = self.transcripts.get(&Arc::as_ptr(transcript)) {
            return Ok(*known);
        }
        let offset = self.append(&StoredTranscript::from(&**transcript))?;
        self.transcripts.insert(Arc::as_ptr(transcript), offset);
        Ok(offset)
    }

    /// Keeps equal values once.
    fn value<T: Serialize>(&mut self, value: &T) -> Result<Offset, StoreError> {
        let start = self.bytes.len();
        let offset = self.append(value)?;
        let bytes = self.bytes.get(start..).unwrap_or_default();
        if let Some(known) = self.values.get(bytes).copied() {
            self.bytes.truncate(start);
            return Ok(known);
        }
        self.values.insert(bytes.into(), offset);
        Ok(offset)
    }

    fn append<T: Serialize>(&mut self, value: &T) -> Result<Offset, StoreError> {
        let offset = Offset::try_from(self.bytes.len()).map_err(|_| StoreError::Damaged("a batch is too large"))?;
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes = postcard::to_extend(value, bytes).map_err(|_| StoreError::Damaged("a value cannot be kept"))?;
        Ok(offset)
    }
}

/// Dialogues of one record: an address is asked about a few times. Without a limit a record of a megabyte could name one large
/// dialogue a million times.
const TRANSCRIPTS: usize = 100;

/// Reads the record at `offset` of a batch.
pub(super) fn read(bytes: &[u8], offset: Offset, reading: Reading<'_>) -> Result<Kept, StoreError> {
    let stored: StoredRecord<'_> = at(bytes, offset)?;
    if stored.transcripts.len() > TRANSCRIPTS {
        return Err(StoreError::Damaged("a record has too many dialogues"));
    }
    let host = stored.host.map(|offset| at::<StoredHost>(bytes, offset)).transpose()?;
    let host = host.map(|host| Arc::new(HostFacts::from(host)));
    let provider = host.as_ref().and_then(|host| host.provider);
    let route = match stored.route {
        Observed::Known(offset) => Observed::Known(Arc::new(at::<StoredRoute>(bytes, offset)?.into())),
        Observed::Failed(why) => Observed::Failed(why),
        Observed::NotTried(why) => Observed::NotTried(why),
    };
    let answer = match stored.answer {
        Observed::Known(offset) => Observed::Known(said(bytes, offset, (reading, provider))?),
        Observed::Failed(why) => Observed::Failed(why),
        Observed::NotTried(why) => Observed::NotTried(why),
    };
    let (doubt, second) = match stored.doubt {
        None => (None, None),
        Some(StoredDoubt::BlanketRefusal) => (Some(SessionDoubt::BlanketRefusal), None),
        Some(StoredDoubt::Throttled) => (Some(SessionDoubt::Throttled), None),
        Some(StoredDoubt::Inconsistent) => (Some(SessionDoubt::Inconsistent), None),
        Some(StoredDoubt::UnusualForm) => (Some(SessionDoubt::UnusualForm), None),
        Some(StoredDoubt::Contradicted { doubt, host, answer }) => {
            let host = Arc::new(HostFacts::from(at::<StoredHost>(bytes, host)?));
            let answer = said(bytes, answer, (reading, host.provider))?;
            (doubt, Some(Arc::new(SecondAnswer { host, answer })))
        }
    };
    let transcripts = stored.transcripts.iter().map(|offset| {
        let transcript: StoredTranscript = at(bytes, *offset)?;
        Ok(Arc::new(transcript.into()))
    });
    Ok(Kept {
        mailbox: stored.mailbox.into(),
        evidence: Evidence {
            syntax: None,
            list: stored.list,
            route,
            host,
            answer,
            second,
            unknown_recipients: stored.unknown_recipients,
            doubt,
            attempts: stored.attempts,
        },
        first_asked: stored.first_asked.map(time),
        due: stored.due.map(time),
        throttled: stored.throttled,
        requeued: stored.requeued,
        retry_at: stored.retry_at.map(time),
        checked_at: time(stored.checked_at),
        elapsed: Duration::from_millis(stored.elapsed_ms.into()),
        transcripts: transcripts.collect::<Result<_, StoreError>>()?,
        source: stored.source,
        judged: stored.judged.map(|offset| at(bytes, offset)).transpose()?,
    })
}

/// A reply and what it means: kept is what was said, what it means is for the rules of today.
fn said(
    bytes: &[u8],
    offset: Offset,
    (reading, provider): (Reading<'_>, Option<&str>),
) -> Result<Arc<Answer>, StoreError> {
    let kept: StoredReply = at(bytes, offset)?;
    let code = ReplyCode::new(kept.code).ok_or(StoreError::Damaged("a reply code is out of range"))?;
    let reply = Reply::new(code, kept.lines);
    let meaning = reading.classify(kept.stage, &reply, provider);
    Ok(Arc::new(Answer {
        stage: kept.stage,
        reply,
        meaning,
    }))
}

/// The address of the record at `offset`, without the rest of it.
pub(super) fn mailbox(bytes: &[u8], offset: Offset) -> Result<&str, StoreError> {
    at(bytes, offset)
}

fn at<'a, T: Deserialize<'a>>(bytes: &'a [u8], offset: Offset) -> Result<T, StoreError> {
    let bytes = bytes.get(offset as usize..).unwrap_or_default();
    let read = postcard::take_from_bytes(bytes);
    read.map(|(value, _)| value)
        .map_err(|_| StoreError::Damaged("a record cannot be read"))
}

/// Milliseconds since 1970; times before that are 1970.
pub(super) fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The time of so many milliseconds since 1970; 1970 itself for a time after the year 9999, which no date can show and only a
/// damaged database holds.
pub(super) fn time(millis: u64) -> SystemTime {
    let shown = Some(millis)
        .filter(|millis| *millis < 253_402_300_800_000)
        .unwrap_or_default();
    UNIX_EPOCH + Duration::from_millis(shown)
}

/// Bytes for a value that stands alone.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    postcard::to_allocvec(value).map_err(|_| StoreError::Damaged("a value cannot be kept"))
}

/// The value again.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|_| StoreError::Damaged("a value cannot be read"))
}

/// A [`Kept`] whose parts are elsewhere in the batch.
#[derive(Serialize, Deserialize)]
struct StoredRecord<'a> {
    mailbox: &'a str,
    list: Option<ListDecision>,
    route: Observed<Offset, NotTried>,
    host: Option<Offset>,
    answer: Observed<Offset, ProbeFailure>,
    unknown_recipients: Observed<UnknownRecipients, Stage>,
    doubt: Option<StoredDoubt>,
    attempts: u32,
    first_asked: Option<u64>,
    due: Option<u64>,
    throttled: bool,
    requeued: bool,
    retry_at: Option<u64>,
    checked_at: u64,
    elapsed_ms: u32,
    transcripts: Vec<Offset>,
    source: Source,
    judged: Option<Offset>,
}

/// A [`SessionDoubt`], or the answer that contradicts the record's.
#[derive(Serialize, Deserialize)]
enum StoredDoubt {
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

#[derive(Serialize, Deserialize)]
struct StoredReply {
    stage: Stage,
    code: u16,
    lines: Vec<Box<str>>,
}

impl From<&Answer> for StoredReply {
    fn from(answer: &Answer) -> Self {
        Self {
            stage: answer.stage,
            code: answer.reply.code().number(),
            lines: answer.reply.lines().to_vec(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredHost {
    provider: Option<Box<str>>,
    name: Box<str>,
    ip: Option<IpAddr>,
    preference: u16,
    implicit: bool,
    tls: Option<bool>,
    backup: bool,
    untruthful: bool,
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
enum StoredRoute {
    Exchangers(Vec<StoredExchanger>),
    ImplicitMx(StoredExchanger),
    NullMx,
    NoSuchDomain,
    NoMailHost(NoMailHost),
    Failure(RouteFailure),
}

#[derive(Serialize, Deserialize)]
struct StoredExchanger {
    host: Box<str>,
    preference: u16,
    backup: bool,
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

impl From<StoredRoute> for MailRoute {
    fn from(route: StoredRoute) -> Self {
        match route {
            StoredRoute::Exchangers(exchangers) => Self::Exchangers(exchangers.into_iter().map(Into::into).collect()),
            StoredRoute::ImplicitMx(exchanger) => Self::ImplicitMx(exchanger.into()),
            StoredRoute::NullMx => Self::NullMx,
            StoredRoute::NoSuchDomain => Self::NoSuchDomain,
            StoredRoute::NoMailHost(why) => Self::NoMailHost(why),
            StoredRoute::Failure(why) => Self::Failure(why),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredTranscript {
    host: Box<str>,
    peer: std::net::SocketAddr,
    /// Milliseconds; 0 presend, 1 the host, 2 a note; the line.
    entries: Vec<(u32, u8, Box<str>)>,
}

impl From<&Transcript> for StoredTranscript {
    fn from(transcript: &Transcript) -> Self {
        let entry = |entry: &Entry| {
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
        let entry = |(at, who, text): (u32, u8, Box<str>)| Entry {
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
