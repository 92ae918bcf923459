//! Batches: many records in one block of bytes that refer to each other by offset, so that a host, a route or a reply that
//! many addresses share is kept once, and one record can be read without reading the others.
//!
//! A batch never changes once it is written. Must not know SQL.

mod excerpt;
mod stored;

use std::{
    hash::Hash,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hashbrown::{Equivalent, HashMap, hash_map::Entry};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use self::excerpt::Excerpt;
pub(super) use self::excerpt::Taking;
use self::stored::{StoredDoubt, StoredHost, StoredRecord, StoredReply, StoredRoute, StoredTranscript};
use super::{
    StoreError,
    record::{Judged, Kept, Reading},
};
use crate::{
    dns::MailRoute,
    smtp::{Reply, ReplyCode, Transcript},
    verdict::{Answer, Evidence, HostFacts, Observed, SecondAnswer, SessionDoubt},
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

/// What a record refers to.
trait Parts {
    /// A route, and whether every name beside the domain has it.
    fn route(&mut self, at: Offset) -> Result<(Arc<MailRoute>, bool), StoreError>;
    fn host(&mut self, at: Offset) -> Result<Arc<HostFacts>, StoreError>;
    /// A reply of a host.
    fn answer(&mut self, at: Offset, host: Option<(Offset, &HostFacts)>) -> Result<Arc<Answer>, StoreError>;
    fn transcript(&mut self, at: Offset) -> Result<Arc<Transcript>, StoreError>;
}

impl StoredRecord<'_> {
    /// The record with its parts, but for its mailbox and what was said of it.
    fn assemble(&self, parts: &mut impl Parts, mailbox: Arc<str>) -> Result<Kept, StoreError> {
        if self.transcripts.len() > TRANSCRIPTS {
            return Err(StoreError::Damaged("a record has too many dialogues"));
        }
        let host = self.host.map(|at| parts.host(at)).transpose()?;
        let (route, wildcard_zone) = match self.route {
            Observed::Known(at) => {
                let (route, wildcard_zone) = parts.route(at)?;
                (Observed::Known(route), wildcard_zone)
            }
            Observed::Failed(why) => (Observed::Failed(why), false),
            Observed::NotTried(why) => (Observed::NotTried(why), false),
        };
        let answer = match self.answer {
            Observed::Known(at) => Observed::Known(parts.answer(at, self.host.zip(host.as_deref()))?),
            Observed::Failed(why) => Observed::Failed(why),
            Observed::NotTried(why) => Observed::NotTried(why),
        };
        let (doubt, second) = match self.doubt {
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
                let host = parts.host(at)?;
                let answer = parts.answer(answer, Some((at, &host)))?;
                (doubt, Some(Arc::new(SecondAnswer { host, answer })))
            }
        };
        let transcripts = self.transcripts.iter().map(|at| parts.transcript(*at));
        Ok(Kept {
            mailbox,
            evidence: Evidence {
                syntax: None,
                list: self.list,
                // What was told is told anew for each run: it may have been taken back.
                told: None,
                route,
                wildcard_zone,
                host,
                answer,
                second,
                unknown_recipients: self.unknown_recipients.clone(),
                doubt,
                attempts: self.attempts,
            },
            first_asked: self.first_asked.map(time),
            due: self.due.map(time),
            throttled: self.throttled,
            requeued: self.requeued,
            retry_at: self.retry_at.map(time),
            checked_at: time(self.checked_at),
            elapsed: Duration::from_millis(self.elapsed_ms.into()),
            transcripts: transcripts.collect::<Result<_, StoreError>>()?,
            source: self.source,
            judged: None,
        })
    }
}

/// Replies that are remembered: most hosts say the same.
const UNDERSTOOD: usize = 256;

/// The bytes of a reply, and its host's provider.
type Words = (Box<[u8]>, Option<&'static str>);

/// The same while they are looked for.
#[derive(Hash)]
struct Heard<'a>(&'a [u8], Option<&'static str>);

impl Equivalent<Words> for Heard<'_> {
    fn equivalent(&self, known: &Words) -> bool {
        (self.0, self.1) == (&*known.0, known.1)
    }
}

/// Turns what was kept of replies into what they mean by the rules of today, equal ones once.
pub struct Understanding<'a> {
    reading: Reading<'a>,
    understood: HashMap<Words, Arc<Answer>>,
    /// Stands for every mailbox that is not wanted.
    nobody: Arc<str>,
}

impl<'a> Understanding<'a> {
    /// Nothing was read yet.
    #[must_use]
    pub fn new(reading: Reading<'a>) -> Self {
        Self {
            reading,
            understood: HashMap::new(),
            nobody: Arc::default(),
        }
    }

    fn answer(
        &mut self,
        bytes: &[u8],
        offset: Offset,
        provider: Option<&'static str>,
    ) -> Result<Arc<Answer>, StoreError> {
        let (said, words) = with_bytes::<StoredReply<'_>>(bytes, offset)?;
        if let Some(known) = self.understood.get(&Heard(words, provider)) {
            return Ok(Arc::clone(known));
        }
        let code = ReplyCode::new(said.code).ok_or(StoreError::Damaged("a reply code is out of range"))?;
        let reply = Reply::new(code, said.lines.into_iter().map(Box::from).collect());
        let meaning = self.reading.classify(said.stage, &reply, provider);
        let answer = Arc::new(Answer {
            stage: said.stage,
            reply,
            meaning,
        });
        if self.understood.len() == UNDERSTOOD {
            self.understood.clear();
        }
        self.understood
            .insert((Box::from(words), provider), Arc::clone(&answer));
        Ok(answer)
    }
}

/// Reads records of one batch after the other: what they share is read, and replies are understood, once.
pub(super) struct Reader<'a> {
    understanding: Understanding<'a>,
    shared: Shared,
}

/// What records of one batch share.
#[derive(Default)]
struct Shared {
    /// And whether every name beside the domain has the route.
    routes: HashMap<Offset, (Arc<MailRoute>, bool)>,
    hosts: HashMap<Offset, Arc<HostFacts>>,
    /// By reply and host: some words mean something else where their provider is known.
    answers: HashMap<(Offset, Option<Offset>), Arc<Answer>>,
}

/// A batch that is being read.
struct InBatch<'r, 'a> {
    bytes: &'r [u8],
    understanding: &'r mut Understanding<'a>,
    shared: &'r mut Shared,
}

impl<'a> Reader<'a> {
    pub(super) fn new(reading: Reading<'a>) -> Self {
        Self {
            understanding: Understanding::new(reading),
            shared: Shared::default(),
        }
    }

    /// Another batch follows.
    pub(super) fn turn(&mut self) {
        self.shared.routes.clear();
        self.shared.hosts.clear();
        self.shared.answers.clear();
    }

    /// Reads a record of the batch that is being read.
    pub(super) fn read(&mut self, bytes: &[u8], offset: Offset) -> Result<Kept, StoreError> {
        let stored: StoredRecord<'_> = at(bytes, offset)?;
        let Self { understanding, shared } = self;
        let for_row = understanding.reading.for_row;
        let mailbox = if for_row {
            Arc::clone(&understanding.nobody)
        } else {
            stored.mailbox.into()
        };
        let mut parts = InBatch {
            bytes,
            understanding,
            shared,
        };
        let mut kept = stored.assemble(&mut parts, mailbox)?;
        let judged = stored.judged.filter(|_| !for_row);
        kept.judged = judged.map(|offset| self::at(bytes, offset)).transpose()?;
        Ok(kept)
    }
}

impl Parts for InBatch<'_, '_> {
    fn route(&mut self, at: Offset) -> Result<(Arc<MailRoute>, bool), StoreError> {
        shared(&mut self.shared.routes, at, || read_route(self.bytes, at))
    }

    fn host(&mut self, at: Offset) -> Result<Arc<HostFacts>, StoreError> {
        shared(&mut self.shared.hosts, at, || read_host(self.bytes, at))
    }

    fn answer(&mut self, at: Offset, host: Option<(Offset, &HostFacts)>) -> Result<Arc<Answer>, StoreError> {
        let key = (at, host.map(|(at, _)| at));
        let provider = host.and_then(|(_, host)| host.provider);
        let Self {
            bytes,
            understanding,
            shared: known,
        } = self;
        shared(&mut known.answers, key, || understanding.answer(bytes, at, provider))
    }

    fn transcript(&mut self, at: Offset) -> Result<Arc<Transcript>, StoreError> {
        let transcript: StoredTranscript = self::at(self.bytes, at)?;
        Ok(Arc::new(transcript.into()))
    }
}

/// The value of a key; `read` when it is met first.
fn shared<K: Eq + Hash, T: Clone>(
    known: &mut HashMap<K, T>,
    key: K,
    read: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    match known.entry(key) {
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
    with_bytes(bytes, offset).map(|(value, _)| value)
}

/// A value and the bytes in which it lies.
fn with_bytes<'a, T: Deserialize<'a>>(bytes: &'a [u8], offset: Offset) -> Result<(T, &'a [u8]), StoreError> {
    let from = bytes.get(offset as usize..).unwrap_or_default();
    let broken = |_| StoreError::Damaged("a record cannot be read");
    let (value, rest) = postcard::take_from_bytes(from).map_err(broken)?;
    Ok((value, from.get(..from.len() - rest.len()).unwrap_or_default()))
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

#[cfg(test)]
mod tests {
    use super::{stored::StoredExchanger, *};

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
