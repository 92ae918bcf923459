//! People of one kind, as a list for other systems.

use std::{
    collections::HashMap,
    io::Write as _,
    ops::{ControlFlow, Range},
    path::Path,
    time::SystemTime,
};

use crate::{
    bounce::EventKind,
    cli::{
        fault::note,
        paint::{DIM, counted, paint},
        suppress::{quoted, target},
    },
    replies::Hardness,
    store::{Events, Person, SqliteStore, SuppressionState, Suppressions},
    suppress::{self, SuppressionRecord},
};

/// People that are kept in mind, a hundred bytes each.
const MOST: usize = 1_000_000;

/// Which people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Segment {
    /// Suppressed within the time, and still.
    Suppressed,
    /// Waiting for a person.
    Review,
    /// Bounced softly within the time, never hard, and not suppressed.
    Reengage,
}

pub(super) fn write(
    segment: Segment,
    store: &SqliteStore,
    time: Range<SystemTime>,
    path: Option<&Path>,
) -> anyhow::Result<()> {
    let mut out = target(path)?;
    let mut count = 0_u64;
    let wanted = match segment {
        Segment::Suppressed => Suppressions {
            state: Some(SuppressionState::Active),
            since: Some(time.start),
            ..Suppressions::default()
        },
        Segment::Review => Suppressions {
            state: Some(SuppressionState::Review),
            ..Suppressions::default()
        },
        Segment::Reengage => return reengage(store, time, path),
    };
    writeln!(out, "{}", SuppressionRecord::COLUMNS.join(","))?;
    store.each_suppression(&wanted, |kept| {
        count += 1;
        let record = SuppressionRecord::from(kept);
        writeln!(out, "{}", record.cells().map(quoted).join(","))?;
        anyhow::Ok(ControlFlow::Continue(()))
    })?;
    out.flush()?;
    note(&paint(DIM, counted(count, "entry", "entries")));
    Ok(())
}

/// Somebody whose mail bounced softly.
struct Soft {
    address: std::sync::Arc<str>,
    bounced: u32,
    last: SystemTime,
    class: &'static str,
    delivered_since: bool,
    hard: bool,
}

fn reengage(store: &SqliteStore, time: Range<SystemTime>, path: Option<&Path>) -> anyhow::Result<()> {
    let mut people: HashMap<Person, Soft> = HashMap::new();
    store.each_event(&Events::Within(time.clone()), |kept| {
        if kept.apart || !kept.tenant.is_empty() {
            return anyhow::Ok(ControlFlow::Continue(()));
        }
        let hardness = kept.event.kind.hardness();
        let room = people.len() < MOST;
        match (kept.event.kind, people.get_mut(&kept.person)) {
            (EventKind::Bounced { .. }, Some(soft)) => {
                soft.bounced += 1;
                (soft.last, soft.delivered_since) = (kept.event.at, false);
                soft.hard |= hardness == Hardness::Hard;
            }
            (EventKind::Delivered, Some(soft)) => soft.delivered_since = true,
            (EventKind::Bounced { class, .. }, None) if room => {
                let soft = Soft {
                    address: kept.event.recipient,
                    bounced: 1,
                    last: kept.event.at,
                    class: class.name(),
                    delivered_since: false,
                    hard: hardness == Hardness::Hard,
                };
                people.insert(kept.person, soft);
            }
            (
                EventKind::Bounced { .. }
                | EventKind::Delivered
                | EventKind::Deferred { .. }
                | EventKind::Complained
                | EventKind::Unsubscribed,
                _,
            ) => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let mut people: Vec<(Person, Soft)> = people.into_iter().filter(|(_, soft)| !soft.hard).collect();
    people.sort_by(|(_, one), (_, other)| one.address.cmp(&other.address));
    let mut out = target(path)?;
    writeln!(out, "address,soft_bounces,last_bounce,class,delivered_since")?;
    let mut count = 0_u64;
    for (person, soft) in people {
        if store.suppressions_of(person)?.iter().any(|kept| kept.ended.is_none()) {
            continue;
        }
        count += 1;
        writeln!(
            out,
            "{},{},{},{},{}",
            quoted(&soft.address),
            soft.bounced,
            suppress::day(soft.last),
            soft.class,
            soft.delivered_since
        )?;
    }
    out.flush()?;
    note(&paint(DIM, counted(count, "address", "addresses")));
    Ok(())
}
