//! Rows out: read back from the store in input order, answered, rendered on every core when many are ready.

use std::{collections::VecDeque, iter, num::NonZeroUsize, panic::resume_unwind, sync::Arc, thread};

use super::{Engine, Outcome, Sink, Summary, VerifyError, answers::Answers, list::NOBODY, rows::Cursor};
use crate::{
    input::Row,
    output::{Chunk, Renderer},
    store::{Kept, Ledger, Place, StoreError},
};

/// Rows written before the run looks at anything else; in memory with their records, a kilobyte each.
const WRITE_AHEAD: usize = 16_384;
/// From so many rows on that are ready at once, threads pay.
const MANY: usize = 512;
/// From so many rows on that are ready their records are read in the order in which they lie in the store: the rows of a large
/// list are all over it, and each batch is read once for all of them.
const SCATTERED: usize = WRITE_AHEAD;
/// Rows whose records are read together then, 300 bytes each: the whole store is read once for each so many rows.
const READ_AHEAD: usize = 3 * WRITE_AHEAD;
/// Rows whose records one thread reads at once.
const SHARE: usize = 8_192;

/// Writes every row whose address is known.
pub(super) struct Writer<'a> {
    engine: &'a Engine,
    ledger: &'a Ledger,
    rows: Cursor,
    sink: &'a mut dyn Sink,
    /// The next row to write.
    next: usize,
    /// Records of the next rows, as far as they were read together.
    ahead: VecDeque<Option<Kept>>,
    pub(super) summary: Summary,
}

impl<'a> Writer<'a> {
    pub(super) fn new(engine: &'a Engine, ledger: &'a Ledger, sink: &'a mut dyn Sink) -> Self {
        Self {
            engine,
            ledger,
            rows: Cursor::new(Arc::clone(ledger.store()), ledger.job()),
            sink,
            next: 0,
            ahead: VecDeque::new(),
            summary: Summary::default(),
        }
    }

    /// Writes rows while they are known; true if there may be more at once.
    pub(super) fn advance(&mut self, ids: &[u32], answers: &Answers) -> Result<bool, VerifyError> {
        let open = ids.get(self.next..).unwrap_or_default();
        let known = |id: &&u32| **id == NOBODY || answers.is_known(**id);
        let mut ready = open.iter().take(WRITE_AHEAD).take_while(known).count();
        if self.ahead.is_empty() && ready >= SCATTERED {
            let scattered = open.iter().take(READ_AHEAD).take_while(known).count();
            let scattered = open.get(..scattered).unwrap_or_default();
            self.ahead = self.records(scattered, answers).map_err(Arc::new)?.into();
        }
        let more = ready == WRITE_AHEAD || (1..ready).contains(&self.ahead.len());
        if !self.ahead.is_empty() {
            ready = ready.min(self.ahead.len());
        }
        let ids = open.get(..ready).unwrap_or_default();
        match self.sink.renderer() {
            Some(renderer) if ready >= MANY => self.write_together(ids, answers, &renderer)?,
            Some(_) | None => self.write_each(ids, answers)?,
        }
        self.next += ready;
        if !more && ready < open.len() {
            self.sink.flush()?;
        }
        Ok(more)
    }

    fn write_each(&mut self, ids: &[u32], answers: &Answers) -> Result<(), VerifyError> {
        let mut row = Row::default();
        for id in ids {
            self.read(&mut row)?;
            let outcome = match self.ahead.pop_front() {
                Some(kept) => answers.outcome_of(self.engine, &row, *id, kept),
                None => answers.outcome(self.engine, self.ledger, &row, *id).map_err(Arc::new)?,
            };
            self.summary.count(&outcome.verdict);
            self.summary.row_errors += u64::from(row.fault.is_some());
            self.sink.write(&row, &outcome).map_err(VerifyError::Output)?;
        }
        Ok(())
    }

    fn read(&mut self, row: &mut Row) -> Result<(), VerifyError> {
        if self.rows.read(row)? {
            Ok(())
        } else {
            Err(Arc::new(StoreError::Damaged("rows of the job are gone")).into())
        }
    }

    /// The records of rows, read in the order of their places.
    fn records(&self, ids: &[u32], answers: &Answers) -> Result<Vec<Option<Kept>>, StoreError> {
        let place = |(index, id): (usize, &u32)| Some((answers.place(*id)?, index));
        let mut places: Vec<_> = ids.iter().enumerate().filter_map(place).collect();
        places.sort_unstable_by_key(|(place, _)| (place.batch, place.offset));
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let ledger = self.ledger;
        let read = |places: &[(Place, usize)]| -> Result<Vec<Kept>, StoreError> {
            let places: Vec<Place> = places.iter().map(|(place, _)| *place).collect();
            ledger.store().records(ledger.job(), &places, ledger.reading_for_row())
        };
        let mut kept = Vec::new();
        kept.resize_with(ids.len(), || None);
        for places in places.chunks(cores * SHARE) {
            let shares: Vec<_> = thread::scope(|scope| {
                let read = &read;
                let shares = places.chunks(places.len().div_ceil(cores).max(1));
                let threads: Vec<_> = shares.map(|places| scope.spawn(move || read(places))).collect();
                threads.into_iter().map(join).collect()
            });
            let records = shares.into_iter().collect::<Result<Vec<_>, _>>()?;
            for ((_, index), record) in places.iter().zip(records.into_iter().flatten()) {
                if let Some(kept) = kept.get_mut(*index) {
                    *kept = Some(record);
                }
            }
        }
        Ok(kept)
    }

    /// Renders rows on every core: the first row of a list may be the last to be known, and then all are ready at once.
    fn write_together(&mut self, ids: &[u32], answers: &Answers, renderer: &Renderer) -> Result<(), VerifyError> {
        let mut rows = Vec::with_capacity(ids.len());
        rows.resize_with(ids.len(), Row::default);
        rows.iter_mut().try_for_each(|row| self.read(row))?;
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let share = rows.len().div_ceil(cores).max(1);
        let (engine, ledger) = (self.engine, self.ledger);
        let read = self.ahead.len().min(rows.len());
        let mut kept: Vec<_> = self.ahead.drain(..read).collect();
        let render = |rows: &[Row], ids: &[u32], kept: &mut [Option<Kept>]| -> Result<_, StoreError> {
            let (mut chunk, mut verdicts) = (Chunk::default(), Vec::with_capacity(rows.len()));
            let mut kept = kept.iter_mut();
            for (row, id) in rows.iter().zip(ids) {
                let outcome: Outcome = match kept.next() {
                    Some(kept) => answers.outcome_of(engine, row, *id, kept.take()),
                    None => answers.outcome(engine, ledger, row, *id)?,
                };
                renderer.row(row, &outcome, &mut chunk);
                verdicts.push(outcome.verdict);
            }
            Ok((chunk, verdicts))
        };
        let finished: Vec<_> = thread::scope(|scope| {
            let render = &render;
            let shares = rows.chunks(share).zip(ids.chunks(share));
            let kept = kept.chunks_mut(share).map(Some).chain(iter::repeat_with(|| None));
            let threads: Vec<_> = shares
                .zip(kept)
                .map(|((rows, ids), kept)| scope.spawn(move || render(rows, ids, kept.unwrap_or_default())))
                .collect();
            threads.into_iter().map(join).collect()
        });
        // What was written row by row before comes first.
        self.sink.flush()?;
        for finished in finished {
            let (chunk, verdicts) = finished.map_err(Arc::new)?;
            self.sink.append(&chunk)?;
            for verdict in &verdicts {
                self.summary.count(verdict);
            }
        }
        self.summary.row_errors += rows.iter().filter(|row| row.fault.is_some()).count() as u64;
        Ok(())
    }
}

/// The result of a thread; its panic goes on here.
pub(super) fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|fault| resume_unwind(fault))
}
