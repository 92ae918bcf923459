//! The answers of a run: where each address's record is in the store, and records made of what was found out.

use std::{collections::HashMap, sync::Arc};

use super::{Engine, Outcome, list::List, resolve::Settled};
use crate::{
    input::Row,
    schedule::Standing,
    store::{Entry, Judged, Kept, Ledger, Place, Progress, Record, StoreError},
    verdict::{Evidence, NotTried, Observed, Told},
};

/// How far an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Open,
    /// The run ended before it was asked about.
    Unasked,
    /// Its last record; no verdict of this run yet.
    Attempted(Place),
    /// Its row can be written; the next run asks again.
    Provisional(Place),
    Settled(Place),
    /// Something was told about it, and nobody is asked.
    Told,
}

/// A slot in eight bytes, because a list may have ten million: its kind, the batch and the offset of its record.
#[derive(Debug, Clone, Copy)]
struct Packed(u64);

/// Bits of a batch's number: a store of half a billion batches would be beyond SQLite's largest.
const BATCH: u32 = 29;
/// In a forged database a larger one is another batch, and its records are gone.
const BATCHES: u32 = (1 << BATCH) - 1;

impl From<Slot> for Packed {
    fn from(slot: Slot) -> Self {
        let (kind, place) = match slot {
            Slot::Open => (0, None),
            Slot::Unasked => (1, None),
            Slot::Attempted(place) => (2, Some(place)),
            Slot::Provisional(place) => (3, Some(place)),
            Slot::Settled(place) => (4, Some(place)),
            Slot::Told => (5, None),
        };
        let place = place.map_or(0, |place| {
            (u64::from(place.batch & BATCHES) << 32) | u64::from(place.offset)
        });
        Self((kind << (32 + BATCH)) | place)
    }
}

impl From<Packed> for Slot {
    fn from(Packed(bits): Packed) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the parts of the number")]
        let place = Place {
            batch: (bits >> 32) as u32 & BATCHES,
            offset: bits as u32,
        };
        match bits >> (32 + BATCH) {
            0 => Self::Open,
            1 => Self::Unasked,
            2 => Self::Attempted(place),
            3 => Self::Provisional(place),
            4 => Self::Settled(place),
            _ => Self::Told,
        }
    }
}

/// Every address's answer.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    slots: Vec<Packed>,
    settled: u64,
    told: HashMap<u32, Arc<Told>>,
    /// Why nobody was asked about the rest, once the run is over.
    over: NotTried,
}

impl Answers {
    pub(super) fn new(addresses: usize) -> Self {
        Self {
            slots: vec![Slot::Open.into(); addresses],
            settled: 0,
            told: HashMap::new(),
            over: NotTried::Interrupted,
        }
    }

    fn slot(&self, address: u32) -> Option<Slot> {
        self.slots.get(address as usize).copied().map(Slot::from)
    }

    /// What was told about some addresses, and what the operator's lists say of others, stands, whatever an earlier run found.
    pub(super) fn tell(&mut self, list: &mut List) {
        self.told = std::mem::take(&mut list.told);
        let told: Vec<u32> = self.told.keys().copied().chain(list.listed.drain()).collect();
        for id in told {
            self.set(id, Slot::Told);
        }
    }

    /// Why nobody was asked about the rest.
    pub(super) fn ended(&mut self, why: NotTried) {
        self.over = why;
    }

    /// Whether its row can be written.
    pub(super) fn is_known(&self, address: u32) -> bool {
        matches!(
            self.slot(address),
            Some(Slot::Unasked | Slot::Provisional(_) | Slot::Settled(_) | Slot::Told)
        )
    }

    pub(super) fn is_settled(&self, address: u32) -> bool {
        matches!(self.slot(address), Some(Slot::Settled(_) | Slot::Told))
    }

    /// Nothing is left for a later run.
    pub(super) fn is_complete(&self) -> bool {
        self.settled == self.slots.len() as u64
    }

    /// A record that an earlier run left.
    pub(super) fn restore(&mut self, entry: &Entry) {
        let slot = match entry.progress {
            Progress::Attempted => Slot::Attempted(entry.place),
            Progress::Settled => Slot::Settled(entry.place),
        };
        self.set(entry.address, slot);
    }

    /// Where an earlier run's attempt is.
    pub(super) fn attempt(&self, address: u32) -> Option<Place> {
        match self.slot(address) {
            Some(Slot::Attempted(place)) => Some(place),
            Some(Slot::Open | Slot::Unasked | Slot::Provisional(_) | Slot::Settled(_) | Slot::Told) | None => None,
        }
    }

    /// The record is in the file.
    pub(super) fn kept(&mut self, entry: &Entry, standing: Standing) {
        let slot = match standing {
            // The run may have ended for the address while its attempt was on its way into the file.
            Standing::Attempt if self.is_known(entry.address) => Slot::Provisional(entry.place),
            Standing::Attempt => Slot::Attempted(entry.place),
            Standing::Provisional => Slot::Provisional(entry.place),
            Standing::Final => Slot::Settled(entry.place),
        };
        self.set(entry.address, slot);
    }

    /// The run ends, and nothing new is known of the address: what an earlier attempt found is shown.
    pub(super) fn leave(&mut self, address: u32) {
        let slot = match self.attempt(address) {
            Some(place) => Slot::Provisional(place),
            None => Slot::Unasked,
        };
        self.set(address, slot);
    }

    /// The run ends: every address that is not known is left.
    pub(super) fn leave_open(&mut self) {
        for slot in &mut self.slots {
            let left = match Slot::from(*slot) {
                Slot::Open => Slot::Unasked,
                Slot::Attempted(place) => Slot::Provisional(place),
                known @ (Slot::Unasked | Slot::Provisional(_) | Slot::Settled(_) | Slot::Told) => known,
            };
            *slot = left.into();
        }
    }

    fn set(&mut self, address: u32, slot: Slot) {
        if let Some(known) = self.slots.get_mut(address as usize) {
            let counts = |slot: Slot| u64::from(matches!(slot, Slot::Settled(_) | Slot::Told));
            self.settled += counts(slot);
            self.settled -= counts((*known).into());
            *known = slot.into();
        }
    }

    /// Where the record about an address is.
    pub(super) fn place(&self, address: u32) -> Option<Place> {
        match self.slot(address) {
            Some(Slot::Provisional(place) | Slot::Settled(place) | Slot::Attempted(place)) => Some(place),
            Some(Slot::Open | Slot::Unasked | Slot::Told) | None => None,
        }
    }

    /// What is reported about a row.
    pub(super) fn outcome(
        &self,
        engine: &Engine,
        ledger: &Ledger,
        row: &Row,
        address: u32,
    ) -> Result<Outcome, StoreError> {
        let Some(place) = self.place(address).filter(|_| row.fault.is_none()) else {
            return Ok(self.outcome_of(engine, row, address, None));
        };
        let mut outcome = None;
        let mut report = |kept: &Kept| outcome = Some(self.outcome_of(engine, row, address, Some(kept.clone())));
        let store = ledger.store();
        store.with_record(ledger.job(), place, ledger.reading_for_row(), &mut report)?;
        outcome.ok_or(StoreError::Gone)
    }

    /// What is reported about a row whose record was read.
    pub(super) fn outcome_of(&self, engine: &Engine, row: &Row, address: u32, kept: Option<Kept>) -> Outcome {
        match (kept, self.slot(address)) {
            (Some(kept), _) => engine.reported(row.address(), kept),
            (None, Some(Slot::Open | Slot::Unasked)) if row.fault.is_none() => {
                let mut outcome = engine.read(row.address());
                outcome.conclude(Evidence::not_tried(self.over), engine.settings.policy);
                outcome
            }
            (None, Some(Slot::Told)) if row.fault.is_none() => match self.told.get(&address) {
                Some(told) => engine.testified(row.address(), told),
                None => unasked(engine, row),
            },
            (None, _) => unasked(engine, row),
        }
    }
}

/// What is reported about a row that nobody was asked about.
pub(super) fn unasked(engine: &Engine, row: &Row) -> Outcome {
    let mut outcome = engine.read(row.address());
    if row.fault.is_some() {
        outcome.conclude(Evidence::not_tried(NotTried::RowUnreadable), engine.settings.policy);
    }
    outcome
}

/// A record of what was found out, with the address and the key by which a later run finds it, if there can be one.
pub(super) fn record(settled: Settled, found_by: Option<(Arc<str>, (i64, i64))>) -> Record {
    let judged = found_by
        .as_ref()
        .map(|_| Judged::new(&settled.evidence, &settled.verdict));
    let (mailbox, key) = found_by.unwrap_or_default();
    let from_here = settled.source == crate::store::Source::Live;
    Record {
        address: settled.id,
        key,
        progress: match settled.standing {
            Standing::Attempt | Standing::Provisional => Progress::Attempted,
            Standing::Final => Progress::Settled,
        },
        // An attempt is no answer for others, and what came from another job is known already.
        verdict: (settled.standing != Standing::Attempt && from_here).then_some(settled.verdict),
        kept: Kept {
            judged,
            mailbox,
            evidence: settled.evidence,
            first_asked: settled.first_asked,
            due: settled.due,
            throttled: settled.throttled,
            requeued: settled.requeued,
            retry_at: settled.retry_at,
            checked_at: settled.checked_at,
            elapsed: settled.elapsed,
            transcripts: settled.transcripts,
            source: settled.source,
        },
    }
}

/// Why nothing at all was learned about the address, so that there is nothing to keep.
pub(super) fn nothing_learned(settled: &Settled) -> Option<NotTried> {
    let Observed::NotTried(why) = settled.evidence.answer else {
        return None;
    };
    let over = matches!(
        why,
        NotTried::Interrupted | NotTried::Budget | NotTried::PortBlocked | NotTried::ProxyDead
    );
    (over && settled.standing == Standing::Provisional && settled.retry_at.is_none()).then_some(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_takes_eight_bytes_and_loses_nothing() {
        let far = Place {
            batch: BATCHES,
            offset: u32::MAX,
        };
        let near = Place { batch: 0, offset: 0 };
        for slot in [Slot::Open, Slot::Unasked, Slot::Told] {
            assert_eq!(Slot::from(Packed::from(slot)), slot);
        }
        for place in [far, near] {
            for slot in [Slot::Attempted(place), Slot::Provisional(place), Slot::Settled(place)] {
                assert_eq!(Slot::from(Packed::from(slot)), slot);
            }
        }
        assert_eq!(size_of::<Packed>(), 8);
    }
}
