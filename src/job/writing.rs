//! Rows out: read back from the store in input order, answered, rendered on every core when many are ready.

use std::{
    collections::BTreeMap,
    iter,
    num::NonZeroUsize,
    panic::resume_unwind,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use super::{Engine, Sink, Summary, VerifyError, View, ahead::Ahead, answers::Answers, list::NOBODY, rows::Cursor};
use crate::{
    input::Row,
    output::{Chunk, Renderer},
    store::{Ledger, StoreError, Understanding},
};

/// Rows written before the run looks at anything else.
const WRITE_AHEAD: usize = 65_536;
/// From so many rows on that are ready their records are taken out of the store together.
const SCATTERED: usize = 16_384;
/// From so many rows on that are ready at once, threads pay.
const MANY: usize = 512;
/// Rows that a thread takes at once: they and what they become stay in its cache, and its memory is used again.
const BLOCK: usize = 512;

/// Writes every row whose address is known.
pub(super) struct Writer<'a> {
    engine: &'a Engine,
    ledger: &'a Ledger,
    rows: Cursor,
    sink: &'a mut dyn Sink,
    /// The next row to write.
    next: usize,
    /// Records of the next rows, when many are ready.
    ahead: Option<Ahead>,
    /// Rows whose records are taken together.
    most: usize,
    /// What threads before understood.
    understood: Mutex<Vec<Understanding<'a>>>,
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
            ahead: None,
            most: usize::MAX,
            understood: Mutex::default(),
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
        let mut more = ready == WRITE_AHEAD;
        let renderer = self.sink.renderer();
        if self.ahead.as_ref().is_some_and(|ahead| !ahead.has(self.next)) {
            self.ahead = None;
        }
        if renderer.is_some() && self.ahead.is_none() && ready >= SCATTERED {
            let scattered = Ahead::share(open.iter().take_while(known).count()).min(self.most);
            let scattered = open.get(..scattered).unwrap_or_default();
            let place = |id: &u32| answers.place(*id);
            let ahead = Ahead::take(self.ledger, (self.next, scattered), &place).map_err(Arc::new)?;
            if ahead.rows() < scattered.len() {
                self.most = ahead.rows();
            }
            self.ahead = Some(ahead);
        }
        if let Some(ahead) = &self.ahead {
            let held = ahead.end().saturating_sub(self.next);
            more |= held < ready;
            ready = ready.min(held);
        }
        let ids = open.get(..ready).unwrap_or_default();
        match renderer {
            Some(renderer) if ready >= MANY || self.ahead.is_some() => self.write_together(ids, answers, &renderer)?,
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
        let (engine, ledger, ahead, from) = (self.engine, self.ledger, &self.ahead, self.next);
        let spare = &self.understood;
        let outcome = |row: &Row, (index, id): (usize, u32), understanding: &mut Understanding<'a>| match ahead {
            None => answers.outcome(engine, ledger, row, id),
            Some(ahead) => {
                let kept = ahead.record(index, understanding)?;
                Ok(answers.outcome_of(engine, row, id, kept.filter(|_| row.fault.is_none())))
            }
        };
        let source = Mutex::new((&mut self.rows, ids.chunks(BLOCK).enumerate()));
        let order = Mutex::new(Order::new(&mut *self.sink));
        let work = || -> Result<Summary, VerifyError> {
            let (mut rows, mut summary) = (Vec::new(), Summary::default());
            let known = lock(spare).pop();
            let mut understanding = known.unwrap_or_else(|| Understanding::new(ledger.reading_for_row()));
            loop {
                let (number, ids) = {
                    let mut source = lock(&source);
                    let (cursor, blocks) = &mut *source;
                    let Some((number, ids)) = blocks.next() else {
                        lock(spare).push(understanding);
                        return Ok(summary);
                    };
                    rows.resize_with(ids.len(), Row::default);
                    rows.iter_mut().try_for_each(|row| read(cursor, row))?;
                    (number, ids)
                };
                let first = from + number * BLOCK;
                if let Some(ahead) = ahead {
                    ahead.expect(first..first + ids.len());
                }
                let mut chunk = lock(&order).empty();
                for (row, place) in rows.iter().zip((first..).zip(ids.iter().copied())) {
                    let outcome = outcome(row, place, &mut understanding).map_err(Arc::new)?;
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
