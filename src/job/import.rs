//! A list with DNS and mail hosts: read once to join equal addresses, asked domain by domain, read again to write the rows
//! in input order with all their columns, as soon as each is known.

use std::{collections::HashMap, panic::resume_unwind, sync::Arc, thread};

use hashbrown::HashTable;

use super::{
    Engine, Outcome, Progress, Sink, Stop, Summary, VerifyError,
    resolve::{Probing, Settled},
};
use crate::{
    address::{Address, Domain},
    input::{Row, Table},
    output::{Chunk, Renderer},
    smtp::Tally,
    verdict::{Evidence, NotTried},
};

/// In [`List::rows`]: the row needs no answer from outside, it is judged when it is written.
const NOBODY: u32 = u32::MAX;
/// Rows written before the channel is looked at again.
const WRITE_AHEAD: usize = 4096;
/// From so many rows on that are ready at once, threads pay.
const MANY: usize = 512;
/// Rows that one thread renders.
const SHARE: usize = 1024;

/// The list as it was imported: each different address once.
#[derive(Default)]
pub(super) struct List {
    index: HashTable<u32>,
    pub(super) addresses: Vec<Address>,
    /// How many rows hold each address.
    copies: Vec<u32>,
    /// For each row the number of its address, or [`NOBODY`].
    rows: Vec<u32>,
    /// The addresses of each domain.
    pub(super) domains: HashMap<Domain, Vec<u32>>,
}

impl List {
    /// Reads the whole table; nothing is asked yet. Even a run that is stopped now must know its rows to answer them.
    fn read(engine: &Engine, table: &mut Table, progress: &Progress) -> Result<Self, VerifyError> {
        let mut list = Self::default();
        let mut row = Row::default();
        while table.read_row(&mut row)? {
            progress.row_read();
            list.add(engine, &row)?;
        }
        progress.input_ended();
        Ok(list)
    }

    fn add(&mut self, engine: &Engine, row: &Row) -> Result<(), VerifyError> {
        if row.fault.is_some() {
            self.rows.push(NOBODY);
            return Ok(());
        }
        self.add_typed(engine, row.address())
    }

    fn add_typed(&mut self, engine: &Engine, typed: &str) -> Result<(), VerifyError> {
        let settings = &engine.settings;
        let parsed = Address::parse(typed, settings.rules).ok();
        let id = match parsed.filter(|address| settings.user_lists.decide(address).is_none()) {
            Some(address) => self.join(address, settings.exact)?,
            None => NOBODY,
        };
        self.rows.push(id);
        Ok(())
    }

    /// The number of an address; equal ones share it.
    fn join(&mut self, address: Address, exact: bool) -> Result<u32, VerifyError> {
        let addresses = &self.addresses;
        let same = |id: &u32| {
            let known = addresses.get(*id as usize);
            known.is_some_and(|known| known.join_eq_key(exact) == address.join_eq_key(exact))
        };
        let hash = fold(address.join_hash(exact));
        if let Some(id) = self.index.find(hash, same).copied() {
            if let Some(copies) = self.copies.get_mut(id as usize) {
                *copies += 1;
            }
            return Ok(id);
        }
        let id = u32::try_from(self.addresses.len()).ok().filter(|id| *id != NOBODY);
        let id = id.ok_or(VerifyError::TooManyAddresses)?;
        let rehash = |id: &u32| {
            addresses
                .get(*id as usize)
                .map_or(0, |known| fold(known.join_hash(exact)))
        };
        self.index.insert_unique(hash, id, rehash);
        self.domains.entry(address.to_domain()).or_default().push(id);
        self.addresses.push(address);
        self.copies.push(1);
        Ok(id)
    }

    pub(super) fn copies(&self, id: u32) -> u64 {
        self.copies.get(id as usize).copied().map_or(0, u64::from)
    }
}

/// A fingerprint's lower half: hash tables want 64 bits.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
fn fold(hash: u128) -> u64 {
    hash as u64
}

/// Runs the list.
pub(super) async fn run(
    engine: &Engine,
    mut table: Table,
    sink: &mut dyn Sink,
    progress: &Progress,
    stop: &Stop,
) -> Result<Summary, VerifyError> {
    let mut list = List::read(engine, &mut table, progress)?;
    let tally = Arc::new(Tally::default());
    let domains = std::mem::take(&mut list.domains);
    for row in &list.rows {
        if *row == NOBODY {
            progress.row_needs_nobody();
        }
    }
    table.rewind()?;
    let mut writer = Writer {
        engine,
        table,
        sink,
        next: 0,
        results: Vec::new(),
        summary: Summary::default(),
    };
    writer.results.resize_with(list.addresses.len(), || None);
    let mut probing = Probing::start(engine, domains, &list, Arc::clone(&tally), stop);
    writer.advance(&list)?;
    while let Some(settled) = probing.next(progress).await {
        for settled in settled {
            progress.settled(settled.verdict.label, list.copies(settled.id));
            let id = settled.id as usize;
            if let Some(slot) = writer.results.get_mut(id) {
                *slot = Some(Box::new(settled));
            }
        }
        while writer.advance(&list)? {
            tokio::task::yield_now().await;
        }
    }
    while writer.advance(&list)? {}
    let mut summary = writer.summary;
    summary.unique = list.addresses.len() as u64;
    summary.duplicates = list.copies.iter().map(|copies| u64::from(*copies) - 1).sum();
    summary.cost(&tally);
    Ok(summary)
}

/// Answers a few addresses.
pub(super) async fn few(engine: &Engine, typed: &[String], stop: &Stop) -> Vec<Outcome> {
    let mut list = List::default();
    for typed in typed {
        if list.add_typed(engine, typed).is_err() {
            break;
        }
    }
    let domains = std::mem::take(&mut list.domains);
    let mut probing = Probing::start(engine, domains, &list, Arc::default(), stop);
    let mut results: Vec<Option<Settled>> = Vec::new();
    results.resize_with(list.addresses.len(), || None);
    while let Some(settled) = probing.next(&Progress::default()).await {
        for settled in settled {
            if let Some(slot) = results.get_mut(settled.id as usize) {
                *slot = Some(settled);
            }
        }
    }
    let outcome = |(typed, id): (&String, &u32)| match results.get(*id as usize) {
        Some(Some(settled)) => engine.settled(typed, settled.clone()),
        Some(None) | None => engine.read(typed),
    };
    typed.iter().zip(&list.rows).map(outcome).collect()
}

/// Reads the table a second time and writes every row whose address is settled.
struct Writer<'a> {
    engine: &'a Engine,
    table: Table,
    sink: &'a mut dyn Sink,
    /// The next row to write.
    next: usize,
    results: Vec<Option<Box<Settled>>>,
    summary: Summary,
}

impl Writer<'_> {
    /// Writes rows while they are known; true if there may be more at once.
    fn advance(&mut self, list: &List) -> Result<bool, VerifyError> {
        let open = list.rows.get(self.next..).unwrap_or_default();
        let known = |id: &&u32| **id == NOBODY || matches!(self.results.get(**id as usize), Some(Some(_)));
        let ready = open.iter().take(WRITE_AHEAD).take_while(known).count();
        let ids = open.get(..ready).unwrap_or_default();
        match self.sink.renderer() {
            Some(renderer) if ready >= MANY => self.write_together(list, ids, &renderer)?,
            Some(_) | None => self.write_each(list, ids)?,
        }
        self.next += ready;
        if ready < WRITE_AHEAD && ready < open.len() {
            self.sink.flush()?;
        }
        Ok(ready == WRITE_AHEAD)
    }

    /// What is known of an address; what only one row waits for is not kept.
    fn take(&mut self, list: &List, id: u32) -> Option<Box<Settled>> {
        let known = self.results.get_mut(id as usize)?;
        if list.copies(id) == 1 {
            known.take()
        } else {
            known.clone()
        }
    }

    fn write_each(&mut self, list: &List, ids: &[u32]) -> Result<(), VerifyError> {
        let mut row = Row::default();
        for id in ids {
            if !self.table.read_row(&mut row)? {
                break;
            }
            let settled = self.take(list, *id);
            let outcome = answer(self.engine, &row, settled);
            self.summary.count(&outcome.verdict);
            self.summary.row_errors += u64::from(row.fault.is_some());
            self.sink.write(&row, &outcome).map_err(VerifyError::Output)?;
        }
        Ok(())
    }

    /// Renders rows on every core while the next are read: the first row of a list may be the last to be known, and then all are
    /// ready at once.
    fn write_together(&mut self, list: &List, ids: &[u32], renderer: &Renderer) -> Result<(), VerifyError> {
        let engine = self.engine;
        let render = |rows: Vec<Row>, settled: Vec<Option<Box<Settled>>>| {
            let (mut chunk, mut verdicts, mut faults) = (Chunk::default(), Vec::with_capacity(rows.len()), 0);
            for (row, settled) in rows.iter().zip(settled) {
                let outcome = answer(engine, row, settled);
                renderer.row(row, &outcome, &mut chunk);
                verdicts.push(outcome.verdict);
                faults += u64::from(row.fault.is_some());
            }
            (chunk, verdicts, faults)
        };
        let finished: Vec<_> = thread::scope(|scope| {
            let render = &render;
            let mut threads = Vec::new();
            for ids in ids.chunks(SHARE) {
                let mut rows = Vec::with_capacity(ids.len());
                while rows.len() < ids.len()
                    && let Some(row) = self.table.next_row()?
                {
                    rows.push(row);
                }
                let settled = ids.iter().map(|id| self.take(list, *id)).collect();
                threads.push(scope.spawn(move || render(rows, settled)));
            }
            let join =
                |thread: thread::ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|fault| resume_unwind(fault));
            Ok::<_, VerifyError>(threads.into_iter().map(join).collect())
        })?;
        // What was written row by row before comes first.
        self.sink.flush()?;
        for (chunk, verdicts, faults) in finished {
            self.sink.append(&chunk)?;
            for verdict in &verdicts {
                self.summary.count(verdict);
            }
            self.summary.row_errors += faults;
        }
        Ok(())
    }
}

/// What is reported about a row.
pub(super) fn answer(engine: &Engine, row: &Row, settled: Option<Box<Settled>>) -> Outcome {
    if let Some(settled) = settled {
        return engine.settled(row.address(), *settled);
    }
    let mut outcome = engine.read(row.address());
    if row.fault.is_some() {
        outcome.conclude(Evidence::not_tried(NotTried::RowUnreadable), engine.settings.policy);
    }
    outcome
}
