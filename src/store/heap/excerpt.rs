//! Records taken out of many batches in one pass, in the memory of few: the rows of a large list are all over the store, and
//! without it each batch would be read once for each handful of rows.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{
    super::{Place, StoreError},
    Kept, Offset, Parts, StoredDoubt, StoredHost, StoredRecord, StoredReply, StoredRoute, StoredTranscript,
    Understanding, at, read_host, read_route, with_bytes,
};
use crate::{
    dns::MailRoute,
    smtp::Transcript,
    verdict::{Answer, HostFacts, Observed},
};

/// Bytes that a route or a host takes, about: names of 20 letters, two exchangers.
const PART: usize = 384;
/// Bytes of a record that is kept as it is, with a reply of its own.
const WHOLE: usize = 512;
/// Bytes of a record, with a reply of its own: room that is not used costs nothing, and growing would copy.
const RECORD: usize = 128;

/// Records by the order in which they were added: 60 bytes each, and their replies where these differ.
#[derive(Debug, Default)]
pub struct Excerpt {
    /// Replies, dialogues, and records that refer to them by offset, and to routes and hosts by number.
    bytes: Vec<u8>,
    /// And whether every name beside the domain has the route.
    routes: Vec<(Arc<MailRoute>, bool)>,
    hosts: Vec<Arc<HostFacts>>,
    whole: Vec<Kept>,
    records: Vec<Held>,
}

/// Where a record is.
#[derive(Debug, Clone, Copy)]
enum Held {
    Bytes(Offset),
    Whole(u32),
}

/// An excerpt that is being made.
#[derive(Debug, Default)]
pub(in super::super) struct Taking {
    excerpt: Excerpt,
    routes: Numbers,
    hosts: Numbers,
    /// Where replies and dialogues of the batch went.
    copies: HashMap<Offset, Offset>,
}

/// The numbers of parts.
#[derive(Debug, Default)]
struct Numbers {
    /// By their places in the batch that is being read.
    here: HashMap<Offset, Offset>,
    /// By their bytes, in any batch: many domains have the same route, and many routes the same host.
    all: HashMap<Box<[u8]>, Offset>,
}

impl Taking {
    /// With room for so many records.
    pub(in super::super) fn new(records: usize) -> Self {
        let mut taking = Self::default();
        taking.excerpt.bytes.reserve(records.saturating_mul(RECORD));
        taking.excerpt.records.reserve_exact(records);
        taking
    }

    /// Bytes of memory so far, about.
    pub(in super::super) fn size(&self) -> usize {
        let Excerpt {
            bytes,
            routes,
            hosts,
            whole,
            records,
        } = &self.excerpt;
        let parts = (routes.len() + hosts.len()) * PART + whole.len() * WHOLE;
        bytes.len() + parts + size_of_val(records.as_slice())
    }

    /// Adds a record that is in memory.
    pub(in super::super) fn add(&mut self, kept: &Kept) -> Result<(), StoreError> {
        let Excerpt { whole, records, .. } = &mut self.excerpt;
        let number = u32::try_from(whole.len()).map_err(|_| TOO_LARGE)?;
        whole.push(kept.clone());
        records.push(Held::Whole(number));
        Ok(())
    }

    /// Adds records of one batch, without their mailboxes and what was said of them.
    pub(in super::super) fn take_all(&mut self, batch: &[u8], places: &[Place]) -> Result<(), StoreError> {
        self.routes.here.clear();
        self.hosts.here.clear();
        self.copies.clear();
        places.iter().try_for_each(|place| self.take(batch, place.offset))
    }

    fn take(&mut self, batch: &[u8], offset: Offset) -> Result<(), StoreError> {
        let Self {
            excerpt,
            routes,
            hosts,
            copies,
        } = self;
        let mut stored: StoredRecord<'_> = at(batch, offset)?;
        (stored.mailbox, stored.judged) = ("", None);
        if let Observed::Known(route) = &mut stored.route {
            let bytes = |at| match with_bytes(batch, at)? {
                // What it refers to is elsewhere in each batch.
                (StoredRoute::InWildcardZone(_), _) => Ok(None),
                (_, bytes) => Ok(Some(bytes)),
            };
            *route = routes.number(&mut excerpt.routes, *route, bytes, |at| read_route(batch, at))?;
        }
        let mut host = |host: &mut Offset| -> Result<(), StoreError> {
            let bytes = |at| with_bytes::<StoredHost>(batch, at).map(|(_, bytes)| Some(bytes));
            *host = hosts.number(&mut excerpt.hosts, *host, bytes, |at| read_host(batch, at))?;
            Ok(())
        };
        stored.host.as_mut().map(&mut host).transpose()?;
        if let Some(StoredDoubt::Contradicted { host: second, .. }) = &mut stored.doubt {
            host(second)?;
        }
        let mut bytes = |at: &mut Offset, find: Find| copy(&mut excerpt.bytes, copies, at, |at| find(batch, at));
        if let Observed::Known(answer) = &mut stored.answer {
            bytes(answer, |batch, at| Ok(with_bytes::<StoredReply<'_>>(batch, at)?.1))?;
        }
        if let Some(StoredDoubt::Contradicted { answer, .. }) = &mut stored.doubt {
            bytes(answer, |batch, at| Ok(with_bytes::<StoredReply<'_>>(batch, at)?.1))?;
        }
        for transcript in &mut stored.transcripts {
            bytes(transcript, |batch, at| Ok(with_bytes::<StoredTranscript>(batch, at)?.1))?;
        }
        let place = end(&excerpt.bytes)?;
        let all = std::mem::take(&mut excerpt.bytes);
        excerpt.bytes = postcard::to_extend(&stored, all).map_err(|_| StoreError::Damaged("a value cannot be kept"))?;
        excerpt.records.push(Held::Bytes(place));
        Ok(())
    }

    pub(in super::super) fn finish(self) -> Excerpt {
        self.excerpt
    }
}

impl Numbers {
    /// The number of a part among `all`; `read` when it is met first.
    fn number<'a, T>(
        &mut self,
        all: &mut Vec<T>,
        at: Offset,
        bytes: impl FnOnce(Offset) -> Result<Option<&'a [u8]>, StoreError>,
        read: impl FnOnce(Offset) -> Result<T, StoreError>,
    ) -> Result<Offset, StoreError> {
        if let Some(known) = self.here.get(&at) {
            return Ok(*known);
        }
        let bytes = bytes(at)?;
        let number = match bytes.and_then(|bytes| self.all.get(bytes)) {
            Some(known) => *known,
            None => Offset::try_from(all.len()).map_err(|_| TOO_LARGE)?,
        };
        if number as usize == all.len() {
            all.push(read(at)?);
            if let Some(bytes) = bytes {
                self.all.insert(bytes.into(), number);
            }
        }
        self.here.insert(at, number);
        Ok(number)
    }
}

impl Excerpt {
    /// Looks at a record that is wanted next: records that are wanted together are fetched side by side by the processor, and are
    /// at hand when they are read one after the other.
    pub fn expect(&self, number: usize) {
        if let Some(Held::Bytes(offset)) = self.records.get(number) {
            std::hint::black_box(self.bytes.get(*offset as usize).copied());
        }
    }

    /// The record that was added as the `number`th, from 0.
    ///
    /// # Errors
    /// There is none, or its batch was damaged.
    pub fn read(&self, number: usize, understanding: &mut Understanding<'_>) -> Result<Kept, StoreError> {
        match self.records.get(number).ok_or(StoreError::Gone)? {
            Held::Whole(number) => self.whole.get(*number as usize).cloned().ok_or(StoreError::Gone),
            Held::Bytes(offset) => {
                let stored: StoredRecord<'_> = at(&self.bytes, *offset)?;
                let nobody = Arc::clone(&understanding.nobody);
                let mut parts = InExcerpt {
                    excerpt: self,
                    understanding,
                };
                stored.assemble(&mut parts, nobody)
            }
        }
    }
}

const TOO_LARGE: StoreError = StoreError::Damaged("an excerpt is too large");

/// Finds the bytes of a value that is at an offset of a batch.
type Find = for<'a> fn(&'a [u8], Offset) -> Result<&'a [u8], StoreError>;

fn end(bytes: &[u8]) -> Result<Offset, StoreError> {
    Offset::try_from(bytes.len()).map_err(|_| TOO_LARGE)
}

/// Puts the offset of a copy in the place of the offset in a batch.
fn copy<'a>(
    to: &mut Vec<u8>,
    moved: &mut HashMap<Offset, Offset>,
    at: &mut Offset,
    find: impl FnOnce(Offset) -> Result<&'a [u8], StoreError>,
) -> Result<(), StoreError> {
    if let Some(known) = moved.get(at) {
        *at = *known;
        return Ok(());
    }
    let (from, place) = (*at, end(to)?);
    to.extend_from_slice(find(from)?);
    moved.insert(from, place);
    *at = place;
    Ok(())
}

/// An excerpt that is being read.
struct InExcerpt<'r, 'a> {
    excerpt: &'r Excerpt,
    understanding: &'r mut Understanding<'a>,
}

impl Parts for InExcerpt<'_, '_> {
    fn route(&mut self, at: Offset) -> Result<(Arc<MailRoute>, bool), StoreError> {
        self.excerpt.routes.get(at as usize).cloned().ok_or(StoreError::Gone)
    }

    fn host(&mut self, at: Offset) -> Result<Arc<HostFacts>, StoreError> {
        self.excerpt.hosts.get(at as usize).cloned().ok_or(StoreError::Gone)
    }

    fn answer(&mut self, at: Offset, host: Option<(Offset, &HostFacts)>) -> Result<Arc<Answer>, StoreError> {
        let provider = host.and_then(|(_, host)| host.provider);
        self.understanding.answer(&self.excerpt.bytes, at, provider)
    }

    fn transcript(&mut self, at: Offset) -> Result<Arc<Transcript>, StoreError> {
        let transcript: StoredTranscript = self::at(&self.excerpt.bytes, at)?;
        Ok(Arc::new(transcript.into()))
    }
}
