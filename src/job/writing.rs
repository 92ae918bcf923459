//! Rows out: read back from the store in input order, answered, rendered on every core when many are ready.

use std::{
    collections::{BTreeMap, VecDeque},
    iter,
    num::NonZeroUsize,
    panic::resume_unwind,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use super::{Engine, Sink, Summary, VerifyError, View, answers::Answers, list::NOBODY, rows::Cursor};
use crate::{
    input::Row,
    output::{Chunk, Renderer},
    store::{Kept, Ledger, Place, StoreError},
};

/// Rows written before the run looks at anything else; in memory with their records, a kilobyte each.
const WRITE_AHEAD: usize = 16_384;
/// From so many rows on that are ready at once, threads pay.
const MANY: usize = 512;
/// Rows that a thread takes at once: they and what they become stay in its cache, and its memory is used again.
const BLOCK: usize = 256;
/// From so many rows on that are ready their records are read in the order in which they lie in the store: the rows of a large
/// list are all over it, and each batch is read once for all of them.
const SCATTERED: usize = WRITE_AHEAD;
/// Rows whose records are read together then, 300 bytes each: the whole store is read once for each so many rows.
const READ_AHEAD: usize = 3 * WRITE_AHEAD;
/// Rows of those that are in memory at once, and what they become.
const WRITE_SCATTERED: usize = 4_096;
/// Rows whose records one thread reads at once.
const SHARE: usize = 4_096;

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

    /// Begins at a later row.
    pub(super) fn begin_at(&mut self, view: &View, from: usize) -> Result<(), VerifyError> {
        self.rows = view.cursor(self.ledger.store(), from)?;
        self.next = from;
        Ok(())
    }

    /// Writes rows while they are known; true if there may be more at once.
    pub(super) fn advance(&mut self, ids: &[u32], answers: &Answers) -> Result<bool, VerifyError> {
        let open = ids.get(self.next..).unwrap_or_default();
        let known = |id: &&u32| **id == NOBODY || answers.is_known(**id);
        let mut ready = open.iter().take(WRITE_AHEAD).take_while(known).count();
        let renderer = self.sink.renderer();
        if renderer.is_some() && self.ahead.is_empty() && ready >= SCATTERED {
            let scattered = open.iter().take(READ_AHEAD).take_while(known).count();
            let scattered = open.get(..scattered).unwrap_or_default();
            self.ahead = self.records(scattered, answers).map_err(Arc::new)?.into();
        }
        let mut more = ready == WRITE_AHEAD;
        if !self.ahead.is_empty() {
            let now = ready.min(self.ahead.len()).min(WRITE_SCATTERED);
            more |= now < ready;
            ready = now;
        }
        let ids = open.get(..ready).unwrap_or_default();
        match renderer {
            Some(renderer) if !self.ahead.is_empty() => self.write_scattered(ids, answers, &renderer)?,
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
            read(&mut self.rows, &mut row)?;
            let outcome = answers.outcome(self.engine, self.ledger, &row, *id).map_err(Arc::new)?;
            self.summary.count(&outcome.verdict);
            self.summary.row_errors += u64::from(row.fault.is_some());
            self.sink.write(&row, &outcome).map_err(VerifyError::Output)?;
        }
        Ok(())
    }

    /// Renders rows on every core and writes them in order meanwhile: the first row of a list may be the last to be known, and
    /// then all are ready at once.
    fn write_together(&mut self, ids: &[u32], answers: &Answers, renderer: &Renderer) -> Result<(), VerifyError> {
        // What was written row by row before comes first.
        self.sink.flush()?;
        let (engine, ledger) = (self.engine, self.ledger);
        let source = Mutex::new((&mut self.rows, ids.chunks(BLOCK).enumerate()));
        let order = Mutex::new(Order::new(&mut *self.sink));
        let work = || -> Result<Summary, VerifyError> {
            let (mut rows, mut summary) = (Vec::new(), Summary::default());
            loop {
                let (number, ids) = {
                    let mut source = lock(&source);
                    let (cursor, blocks) = &mut *source;
                    let Some((number, ids)) = blocks.next() else {
                        return Ok(summary);
                    };
                    rows.resize_with(ids.len(), Row::default);
                    rows.iter_mut().try_for_each(|row| read(cursor, row))?;
                    (number, ids)
                };
                let mut chunk = lock(&order).empty();
                for (row, id) in rows.iter().zip(ids) {
                    let outcome = answers.outcome(engine, ledger, row, *id).map_err(Arc::new)?;
                    renderer.row(row, &outcome, &mut chunk);
                    summary.count(&outcome.verdict);
                    summary.row_errors += u64::from(row.fault.is_some());
                }
                lock(&order).write(number, chunk)?;
            }
        };
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let shares: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (1..cores).map(|_| scope.spawn(work)).collect();
            let mine = work();
            iter::once(mine).chain(threads.into_iter().map(join)).collect()
        });
        for share in shares {
            self.summary.add(&share?);
        }
        Ok(())
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

    /// As [`Self::write_together`], the records read first.
    fn write_scattered(&mut self, ids: &[u32], answers: &Answers, renderer: &Renderer) -> Result<(), VerifyError> {
        let mut rows = Vec::with_capacity(ids.len());
        rows.resize_with(ids.len(), Row::default);
        rows.iter_mut().try_for_each(|row| read(&mut self.rows, row))?;
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let share = rows.len().div_ceil(cores).max(1);
        let engine = self.engine;
        let read = self.ahead.len().min(rows.len());
        let kept: Vec<_> = self.ahead.drain(..read).collect();
        let render = |rows: &[Row], ids: &[u32], kept: &[Option<Kept>]| {
            let (mut chunk, mut summary) = (Chunk::default(), Summary::default());
            for ((row, id), kept) in rows.iter().zip(ids).zip(kept) {
                let outcome = answers.outcome_of(engine, row, *id, kept.as_ref());
                renderer.row(row, &outcome, &mut chunk);
                summary.count(&outcome.verdict);
                summary.row_errors += u64::from(row.fault.is_some());
            }
            (chunk, summary)
        };
        let finished: Vec<_> = thread::scope(|scope| {
            let render = &render;
            let shares = rows.chunks(share).zip(ids.chunks(share)).zip(kept.chunks(share));
            let threads: Vec<_> = shares
                .map(|((rows, ids), kept)| scope.spawn(move || render(rows, ids, kept)))
                .collect();
            threads.into_iter().map(join).collect()
        });
        // What was written row by row before comes first.
        self.sink.flush()?;
        for (chunk, summary) in finished {
            self.sink.append(&chunk)?;
            self.summary.add(&summary);
        }
        Ok(())
    }
}

/// Chunks that were rendered in any order, on their way to the sink.
struct Order<'a> {
    sink: &'a mut dyn Sink,
    next: usize,
    early: BTreeMap<usize, Chunk>,
    /// Written ones, whose memory is used again.
    spare: Vec<Chunk>,
}

impl<'a> Order<'a> {
    fn new(sink: &'a mut dyn Sink) -> Self {
        Self {
            sink,
            next: 0,
            early: BTreeMap::new(),
            spare: Vec::new(),
        }
    }

    fn empty(&mut self) -> Chunk {
        self.spare.pop().unwrap_or_default()
    }

    /// Writes a chunk when its turn has come, and those that waited for it.
    fn write(&mut self, number: usize, chunk: Chunk) -> Result<(), VerifyError> {
        self.early.insert(number, chunk);
        while let Some(mut chunk) = self.early.remove(&self.next) {
            self.sink.append(&chunk)?;
            chunk.clear();
            self.spare.push(chunk);
            self.next += 1;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(rows: &mut Cursor, row: &mut Row) -> Result<(), VerifyError> {
    if rows.read(row)? {
        Ok(())
    } else {
        Err(Arc::new(StoreError::Damaged("rows of the job are gone")).into())
    }
}

/// The result of a thread; its panic goes on here.
pub(super) fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|fault| resume_unwind(fault))
}
