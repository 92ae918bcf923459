//! How often what presend called valid bounced later: accuracy in the field, measured.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    time::SystemTime,
};

use serde::Serialize;

use super::{NAMELESS, Rate, Wanted};
use crate::{
    address::{Address, Rules},
    bounce::EventKind,
    replies::Hardness,
    store::{Events, Known, Reading, SqliteStore, Store, StoreError, address_key, domain_key},
};

/// Recipients that are looked at, the last ones first to go: a hundred bytes each.
const MOST: usize = 200_000;

/// Addresses of which presend said one thing, and what came of mail to them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibrated {
    /// Who runs the mail hosts that were asked.
    pub provider: String,
    /// What presend said.
    pub label: &'static str,
    /// And why.
    pub reason: String,
    /// Mail to so many of them had an end.
    pub mailed: u64,
    /// So many bounced hard.
    pub bounced: u64,
    /// Their share.
    pub rate: Rate,
}

/// What happened to mail for one recipient.
struct Mailed {
    domain: Box<str>,
    mailbox: Box<str>,
    key: i64,
    /// The last end that mail had.
    at: SystemTime,
    /// The last hard bounce.
    bounced: Option<SystemTime>,
}

/// Compares what was said before with what happened within the time of a report.
///
/// # Errors
/// The database cannot be read.
pub fn calibrate(store: &SqliteStore, wanted: &Wanted) -> Result<Vec<Calibrated>, StoreError> {
    let mut all = mailed(store, wanted)?;
    all.sort_unstable_by(|one, other| one.domain.cmp(&other.domain));
    let mut counted: BTreeMap<(String, &'static str, String), (u64, u64)> = BTreeMap::new();
    for of_domain in all.chunk_by(|one, other| one.domain == other.domain) {
        let Some(first) = of_domain.first() else { continue };
        let mut keys: Vec<i64> = of_domain.iter().map(|mailed| mailed.key).collect();
        keys.sort_unstable();
        let mut known: HashMap<i64, Vec<Known>> = HashMap::new();
        for found in store.known_of(domain_key(&first.domain), &keys)? {
            known.entry(found.address).or_default().push(found);
        }
        for mailed in of_domain {
            let probes = known.get(&mailed.key).map(Vec::as_slice).unwrap_or_default();
            let last_before = |at: SystemTime| {
                let before = probes.iter().filter(move |known| known.checked_at <= at);
                before.max_by_key(|known| known.checked_at)
            };
            // What happened before anybody asked says nothing about the answer.
            let foretold = mailed.bounced.and_then(last_before);
            let bounced = foretold.is_some();
            let Some(last) = foretold.or_else(|| last_before(mailed.at)) else {
                continue;
            };
            let kept = match store.record(last.job, last.place, Reading::default()) {
                Err(StoreError::Gone) => continue,
                kept => kept?,
            };
            let Some(said) = kept
                .judged
                .filter(|_| kept.mailbox.eq_ignore_ascii_case(&mailed.mailbox))
            else {
                continue;
            };
            let provider = kept
                .evidence
                .host
                .as_ref()
                .and_then(|host| host.provider)
                .unwrap_or(NAMELESS);
            let (all, of_them) = counted
                .entry((provider.to_owned(), said.label.name(), said.reason.into_owned()))
                .or_default();
            *all += 1;
            *of_them += u64::from(bounced);
        }
    }
    let calibrated = counted
        .into_iter()
        .map(|((provider, label, reason), (mailed, bounced))| Calibrated {
            provider,
            label,
            reason,
            mailed,
            bounced,
            rate: Rate::of(bounced, mailed),
        });
    let mut calibrated: Vec<Calibrated> = calibrated.collect();
    calibrated.sort_by(|one, other| (one.label != "valid", other.mailed).cmp(&(other.label != "valid", one.mailed)));
    Ok(calibrated)
}

/// Each recipient whose mail had an end, once.
fn mailed(store: &SqliteStore, wanted: &Wanted) -> Result<Vec<Mailed>, StoreError> {
    let mut all: HashMap<[u8; 16], Mailed> = HashMap::new();
    let rules = Rules {
        allow_special_use: true,
    };
    store.each_event(&Events::Within(wanted.since..wanted.until), |kept| {
        let bounced = match kept.event.kind {
            EventKind::Delivered => false,
            EventKind::Bounced { .. } if kept.event.kind.hardness() == Hardness::Hard => true,
            EventKind::Bounced { .. }
            | EventKind::Deferred { .. }
            | EventKind::Complained
            | EventKind::Unsubscribed => return Ok(ControlFlow::Continue(())),
        };
        if kept.apart || *kept.tenant != *wanted.tenant {
            return Ok(ControlFlow::Continue(()));
        }
        if let Some(known) = all.get_mut(&kept.person.0) {
            known.at = known.at.max(kept.event.at);
            known.bounced = known.bounced.max(bounced.then_some(kept.event.at));
        } else if all.len() < MOST
            && let Ok(address) = Address::parse(&kept.event.recipient, rules)
        {
            let mailed = Mailed {
                domain: address.domain().into(),
                mailbox: address.mailbox().into(),
                key: address_key(address.join_hash(false)),
                at: kept.event.at,
                bounced: bounced.then_some(kept.event.at),
            };
            all.insert(kept.person.0, mailed);
        }
        Ok::<_, StoreError>(ControlFlow::Continue(()))
    })?;
    Ok(all.into_values().collect())
}
