//! Batches: many records in one block of bytes that refer to each other by offset, so that a host, a route or a reply that
//! many addresses share is kept once, and one record can be read without reading the others.
//!
//! A batch never changes once it is written. Must not know SQL.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hashbrown::{HashMap, hash_map::Entry};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _},
};

use super::{
    StoreError,
    record::{Judged, Kept, Reading, Source},
};
use crate::{
    dns::{Exchanger, MailRoute, NoMailHost, RouteFailure},
    replies::providers,
    smtp::{Entry as Line, Reply, ReplyCode, Speaker, Stage, Transcript},
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
    block: Block,
    /// Values that were kept already, by the memory they are in.
    routes: HashMap<*const MailRoute, Offset>,
    hosts: HashMap<*const HostFacts, Offset>,
    answers: HashMap<*const Answer, Offset>,
    transcripts: HashMap<*const Transcript, Offset>,
    /// What was said of the record before.
    judged: Option<(Judged, Offset)>,
}

impl Builder {
    /// Adds a record; says where it is. The records of one batch must stay in memory until it is finished.
    pub(super) fn add(&mut self, kept: &Kept) -> Result<Offset, StoreError> {
        let Self {
            block,
            routes,
            hosts,
            answers,
            transcripts,
            ..
        } = self;
        let evidence = &kept.evidence;
        let route = match &evidence.route {
            Observed::Known(route) => {
                let offset = once(routes, route, |route| block.value(&StoredRoute::from(route)))?;
                Observed::Known(if evidence.wildcard_zone {
                    block.value(&StoredRoute::InWildcardZone(offset))?
                } else {
                    offset
                })
            }
            Observed::Failed(why) => Observed::Failed(*why),
            Observed::NotTried(why) => Observed::NotTried(*why),
        };
        let host = evidence.host.as_ref();
        let host = host.map(|host| once(hosts, host, |host| block.value(&StoredHost::from(host))));
        let answer = match &evidence.answer {
            Observed::Known(answer) => {
                Observed::Known(once(answers, answer, |answer| block.value(&StoredReply::from(answer)))?)
            }
            Observed::Failed(why) => Observed::Failed(*why),
            Observed::NotTried(why) => Observed::NotTried(*why),
        };
        let doubt = match &evidence.second {
            Some(second) => Some(StoredDoubt::Contradicted {
                doubt: evidence.doubt,
                host: once(hosts, &second.host, |host| block.value(&StoredHost::from(host)))?,
                answer: once(answers, &second.answer, |answer| {
                    block.value(&StoredReply::from(answer))
                })?,
            }),
            None => evidence.doubt.map(StoredDoubt::from),
        };
        let dialogues = kept.transcripts.iter().map(|dialogue| {
            once(transcripts, dialogue, |dialogue| {
                block.append(&StoredTranscript::from(dialogue))
            })
        });
        let stored = StoredRecord {
            transcripts: dialogues.collect::<Result<_, _>>()?,
            mailbox: &kept.mailbox,
            list: evidence.list,
            route,
            host: host.transpose()?,
            answer,
            unknown_recipients: evidence.unknown_recipients.clone(),
            doubt,
            attempts: evidence.attempts,
            first_asked: kept.first_asked.map(millis),
            due: kept.due.map(millis),
            throttled: kept.throttled,
            requeued: kept.requeued,
            retry_at: kept.retry_at.map(millis),
            checked_at: millis(kept.checked_at),
            elapsed_ms: u32::try_from(kept.elapsed.as_millis()).unwrap_or(u32::MAX),
            source: kept.source,
            judged: kept.judged.as_ref().map(|judged| self.judged(judged)).transpose()?,
        };
        self.block.append(&stored)
    }

    /// Neighbours were mostly called the same.
    fn judged(&mut self, judged: &Judged) -> Result<Offset, StoreError> {
        if let Some((_, offset)) = self.judged.as_ref().filter(|(before, _)| before == judged) {
            return Ok(*offset);
        }
        let offset = self.block.value(judged)?;
        self.judged = Some((judged.clone(), offset));
        Ok(offset)
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.block.bytes
    }
}

/// Where a value is that many records share; `keep` is called for the first of them.
fn once<T>(
    known: &mut HashMap<*const T, Offset>,
    shared: &Arc<T>,
    keep: impl FnOnce(&T) -> Result<Offset, StoreError>,
) -> Result<Offset, StoreError> {
    if let Some(known) = known.get(&Arc::as_ptr(shared)) {
        return Ok(*known);
    }
    let offset = keep(shared)?;
    known.insert(Arc::as_ptr(shared), offset);
    Ok(offset)
}

/// The bytes of a batch.
#[derive(Debug, Default)]
struct Block {
    bytes: Vec<u8>,
    /// Values by their bytes.
    values: HashMap<Box<[u8]>, Offset>,
}

impl Block {
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
    Reader::new(reading).read(bytes, offset)
}

/// Replies that are remembered from one batch to the next: most hosts say the same.
const UNDERSTOOD: usize = 256;

/// The bytes of a reply, and its host's provider.
type Words = (Box<[u8]>, Option<&'static str>);

/// Reads records of one batch after the other: what they share is read, and replies are understood, once.
pub(super) struct Reader<'a> {
    reading: Reading<'a>,
    understood: HashMap<Words, Arc<Answer>>,
    /// And whether every name beside the domain has the route.
    routes: HashMap<Offset, (Arc<MailRoute>, bool)>,
    hosts: HashMap<Offset, Arc<HostFacts>>,
    /// By reply and host: some words mean something else where their provider is known.
    answers: HashMap<(Offset, Option<Offset>), Arc<Answer>>,
    /// Stands for every mailbox that is not wanted.
    nobody: Arc<str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(reading: Reading<'a>) -> Self {
        Self {
            reading,
            understood: HashMap::new(),
            routes: HashMap::new(),
            hosts: HashMap::new(),
            answers: HashMap::new(),
            nobody: Arc::default(),
        }
    }

    /// Another batch follows.
    pub(super) fn turn(&mut self) {
        self.routes.clear();
        self.hosts.clear();
        self.answers.clear();
    }

    /// Reads a record of the batch that is being read.
    pub(super) fn read(&mut self, bytes: &[u8], offset: Offset) -> Result<Kept, StoreError> {
        let stored: StoredRecord<'_> = at(bytes, offset)?;
        if stored.transcripts.len() > TRANSCRIPTS {
            return Err(StoreError::Damaged("a record has too many dialogues"));
        }
        let host = stored
            .host
            .map(|offset| shared(&mut self.hosts, offset, || read_host(bytes, offset)));
        let host = host.transpose()?;
        let (route, wildcard_zone) = match stored.route {
            Observed::Known(offset) => {
                let (route, wildcard_zone) = shared(&mut self.routes, offset, || read_route(bytes, offset))?;
                (Observed::Known(route), wildcard_zone)
            }
            Observed::Failed(why) => (Observed::Failed(why), false),
            Observed::NotTried(why) => (Observed::NotTried(why), false),
        };
        let provider = host.as_ref().and_then(|host| host.provider);
        let answer = match stored.answer {
            Observed::Known(offset) => Observed::Known(self.answer(bytes, (offset, stored.host), provider)?),
            Observed::Failed(why) => Observed::Failed(why),
            Observed::NotTried(why) => Observed::NotTried(why),
        };
        let (doubt, second) = match stored.doubt {
            None => (None, None),
            Some(StoredDoubt::BlanketRefusal) => (Some(SessionDoubt::BlanketRefusal), None),
            Some(StoredDoubt::Throttled) => (Some(SessionDoubt::Throttled), None),
            Some(StoredDoubt::Inconsistent) => (Some(SessionDoubt::Inconsistent), None),
            Some(StoredDoubt::UnusualForm) => (Some(SessionDoubt::UnusualForm), None),
            Some(StoredDoubt::Contradicted {
                doubt,
                host: at,
                answer,
            }) => {
                let host = shared(&mut self.hosts, at, || read_host(bytes, at))?;
                let answer = self.answer(bytes, (answer, Some(at)), host.provider)?;
                (doubt, Some(Arc::new(SecondAnswer { host, answer })))
            }
        };
        let transcripts = stored.transcripts.iter().map(|offset| {
            let transcript: StoredTranscript = at(bytes, *offset)?;
            Ok(Arc::new(transcript.into()))
        });
        let judged = stored.judged.filter(|_| !self.reading.for_row);
        Ok(Kept {
            mailbox: if self.reading.for_row {
                Arc::clone(&self.nobody)
            } else {
                stored.mailbox.into()
            },
            evidence: Evidence {
                syntax: None,
                list: stored.list,
                // What was told is told anew for each run: it may have been taken back.
                told: None,
                route,
                wildcard_zone,
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
            judged: judged.map(|offset| at(bytes, offset)).transpose()?,
        })
    }

    /// Kept is what was said; what it means is for the rules of today.
    fn answer(
        &mut self,
        bytes: &[u8],
        (offset, host): (Offset, Option<Offset>),
        provider: Option<&'static str>,
    ) -> Result<Arc<Answer>, StoreError> {
        if let Some(known) = self.answers.get(&(offset, host)) {
            return Ok(Arc::clone(known));
        }
        let answer = self.understand(bytes, offset, provider)?;
        self.answers.insert((offset, host), Arc::clone(&answer));
        Ok(answer)
    }

    fn understand(
        &mut self,
        bytes: &[u8],
        offset: Offset,
        provider: Option<&'static str>,
    ) -> Result<Arc<Answer>, StoreError> {
        let from = bytes.get(offset as usize..).unwrap_or_default();
        let broken = |_| StoreError::Damaged("a record cannot be read");
        let (said, rest): (StoredReply, _) = postcard::take_from_bytes(from).map_err(broken)?;
        let words = from.get(..from.len() - rest.len()).unwrap_or_default();
        let key = (Box::from(words), provider);
        if let Some(known) = self.understood.get(&key) {
            return Ok(Arc::clone(known));
        }
        let code = ReplyCode::new(said.code).ok_or(StoreError::Damaged("a reply code is out of range"))?;
        let reply = Reply::new(code, said.lines);
        let meaning = self.reading.classify(said.stage, &reply, provider);
        let answer = Arc::new(Answer {
            stage: said.stage,
            reply,
            meaning,
        });
        if self.understood.len() == UNDERSTOOD {
            self.understood.clear();
        }
        self.understood.insert(key, Arc::clone(&answer));
        Ok(answer)
    }
}

/// The value of a key; `read` when it is met first.
fn shared<T: Clone>(
    known: &mut HashMap<Offset, T>,
    offset: Offset,
    read: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    match known.entry(offset) {
        Entry::Occupied(known) => Ok(known.get().clone()),
        Entry::Vacant(new) => Ok(new.insert(read()?).clone()),
    }
}

fn read_host(bytes: &[u8], offset: Offset) -> Result<Arc<HostFacts>, StoreError> {
    Ok(Arc::new(at::<StoredHost>(bytes, offset)?.into()))
}

/// A route, and whether every name beside the domain has it.
fn read_route(bytes: &[u8], offset: Offset) -> Result<(Arc<MailRoute>, bool), StoreError> {
    let stored: StoredRoute = at(bytes, offset)?;
    let (stored, wildcard_zone) = match stored {
        StoredRoute::InWildcardZone(of) => (at(bytes, of)?, true),
        StoredRoute::Exchangers(_)
        | StoredRoute::ImplicitMx(_)
        | StoredRoute::NullMx
        | StoredRoute::NoSuchDomain
        | StoredRoute::NoMailHost(_)
        | StoredRoute::Failure(_) => (stored, false),
    };
    Ok((Arc::new(stored.try_into()?), wildcard_zone))
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
    #[serde(deserialize_with = "host_name")]
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
    /// Where the route is that every name beside the domain has too; one step, so that no damage leads in a circle.
    InWildcardZone(Offset),
}

#[derive(Serialize, Deserialize)]
struct StoredExchanger {
    #[serde(deserialize_with = "host_name")]
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
struct StoredTranscript {
    #[serde(deserialize_with = "host_name")]
    host: Box<str>,
    peer: std::net::SocketAddr,
    /// Milliseconds; 0 presend, 1 the host, 2 a note; the line.
    entries: Vec<(u32, u8, Box<str>)>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_no_resolver_named_is_damage() {
        for (name, sound) in [
            ("mx1.example.com", true),
            (r"mx\0321.example.com", true),
            ("mx\u{11}.example.com", false),
            ("mx1.example.c\u{7f}m", false),
            ("mx1.ex\u{202e}ample.com", false),
        ] {
            let exchanger = StoredExchanger {
                host: name.into(),
                preference: 10,
                backup: false,
            };
            let mut block = Block::default();
            let offset = block.value(&StoredRoute::ImplicitMx(exchanger)).unwrap();
            assert_eq!(read_route(&block.bytes, offset).is_ok(), sound, "{name:?}");
        }
    }

    #[test]
    fn a_wildcard_zone_leads_to_a_route_in_one_step() {
        let mut block = Block::default();
        let plain = block.value(&StoredRoute::NullMx).unwrap();
        let wild = block.value(&StoredRoute::InWildcardZone(plain)).unwrap();
        let circle = block.value(&StoredRoute::InWildcardZone(wild)).unwrap();
        let null = Arc::new(MailRoute::NullMx);
        let read = |offset| read_route(&block.bytes, offset);
        assert_eq!(read(plain).unwrap(), (Arc::clone(&null), false));
        assert_eq!(read(wild).unwrap(), (null, true));
        assert!(read(circle).is_err());
    }
}
