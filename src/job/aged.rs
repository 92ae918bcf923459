//! Which addresses are worth asking about again: the oldest answers first, and those that most mail goes to.
//!
//! Reads every record twice and keeps twelve bytes of each address between; what is chosen is bounded by the caller.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    ops::ControlFlow,
    time::{Duration, SystemTime},
};

use crate::{
    address::{Address, Rules},
    bounce::EventKind,
    store::{Events, Kept, Reading, SqliteStore, Store, StoreError, stable_hash},
    verdict::{Label, Policy, judge},
};

const DAY: Duration = Duration::from_hours(24);
/// Mail of so long ago still counts.
const SENT: u32 = 90;
/// Records that are read together.
const TOGETHER: usize = 8_192;

/// What is worth asking about.
#[derive(Debug, Clone, Copy)]
pub struct Aged {
    /// Answers older than that.
    pub older_than: Duration,
    /// So many addresses.
    pub most: usize,
    /// Today.
    pub now: SystemTime,
}

/// The mailboxes that are worth asking about again, the most worth first. Those that were found dead are not among them: they
/// do not come back.
///
/// # Errors
/// The database cannot be read.
pub fn aged(store: &SqliteStore, wanted: &Aged) -> Result<Vec<String>, StoreError> {
    let mut newest: HashMap<u64, u32> = HashMap::new();
    each_record(store, |kept| {
        let at = newest.entry(hash(&kept.mailbox)).or_default();
        *at = (*at).max(seconds(kept.checked_at));
    })?;
    let sent = sent(store, wanted)?;
    let mut chosen: BinaryHeap<Reverse<(u64, String)>> = BinaryHeap::new();
    let rules = Rules {
        allow_special_use: true,
    };
    each_record(store, |kept| {
        let key = hash(&kept.mailbox);
        let age = wanted.now.duration_since(kept.checked_at).unwrap_or_default();
        let last = newest.get(&key) == Some(&seconds(kept.checked_at));
        if !last || age < wanted.older_than || judge(&kept.evidence, &Policy::default()).label == Label::Invalid {
            return;
        }
        // The same second twice is one answer.
        newest.remove(&key);
        let Ok(address) = Address::parse(&kept.mailbox, rules) else {
            return;
        };
        let mails = sent.get(&key).copied().unwrap_or(0);
        let worth = (age.as_secs() / DAY.as_secs()).saturating_mul(1 + u64::from(mails));
        chosen.push(Reverse((worth, address.mailbox().to_owned())));
        if chosen.len() > wanted.most {
            chosen.pop();
        }
    })?;
    let mut chosen: Vec<(u64, String)> = chosen.into_iter().map(|Reverse(chosen)| chosen).collect();
    chosen.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
    Ok(chosen.into_iter().map(|(_, mailbox)| mailbox).collect())
}

/// How often each was mailed lately.
fn sent(store: &SqliteStore, wanted: &Aged) -> Result<HashMap<u64, u16>, StoreError> {
    let mut sent: HashMap<u64, u16> = HashMap::new();
    let since = wanted.now.checked_sub(DAY * SENT).unwrap_or(SystemTime::UNIX_EPOCH);
    store.each_event(&Events::Within(since..wanted.now), |kept| {
        if matches!(kept.event.kind, EventKind::Delivered | EventKind::Bounced { .. }) && !kept.apart {
            let count = sent.entry(hash(&kept.event.recipient)).or_default();
            *count = count.saturating_add(1);
        }
        Ok::<_, StoreError>(ControlFlow::Continue(()))
    })?;
    Ok(sent)
}

fn each_record(store: &SqliteStore, mut see: impl FnMut(&Kept)) -> Result<(), StoreError> {
    for job in store.jobs()? {
        let places: Vec<_> = store.entries(job.number)?.iter().map(|entry| entry.place).collect();
        for places in places.chunks(TOGETHER) {
            match store.records(job.number, places, Reading::default()) {
                // The job was deleted a moment ago, by another process.
                Err(StoreError::Gone) => break,
                records => records?.iter().for_each(&mut see),
            }
        }
    }
    Ok(())
}

fn hash(mailbox: &str) -> u64 {
    stable_hash(mailbox.to_ascii_lowercase().as_bytes(), 4)
}

fn seconds(at: SystemTime) -> u32 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
