//! A list below the DNS level: rows are parsed, judged and rendered on every core and written in input order.
//!
//! The target is a million addresses a second, so nothing is looked up twice and a row costs no channel of its own.

use std::{
    collections::HashSet,
    hash::{BuildHasherDefault, Hasher},
    num::NonZeroUsize,
    sync::{Arc, mpsc},
    thread,
};

use super::{Engine, Progress, Sink, Stop, Summary, VerifyError, answers};
use crate::{
    input::{Row, Table},
    output::{Chunk, Renderer},
    verdict::{Evidence, NotTried, Verdict},
};

/// Rows handed to a thread at once.
const BATCH: usize = 1024;
/// Batches on their way for each thread; bounds the memory.
const AHEAD: usize = 3;

/// Rows in, and what became of them.
#[derive(Default)]
struct Batch {
    rows: Vec<Row>,
    used: usize,
    chunk: Chunk,
    verdicts: Vec<Verdict>,
    /// Fingerprints of the addresses, for counting duplicates.
    joined: Vec<u128>,
    faults: u64,
}

/// A thread that works on batches, one at a time, in the order they come.
struct Worker {
    to: mpsc::SyncSender<Batch>,
    from: mpsc::Receiver<Batch>,
}

/// Runs the list.
pub(super) fn run(
    engine: &Engine,
    mut table: Table,
    sink: &mut dyn Sink,
    progress: &Progress,
    stop: &Stop,
) -> Result<Summary, VerifyError> {
    let renderer = sink.renderer();
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    thread::scope(|scope| {
        let workers: Vec<Worker> = (0..cores)
            .map(|_| {
                let (to, batches) = mpsc::sync_channel::<Batch>(AHEAD);
                let (done, from) = mpsc::sync_channel(AHEAD);
                let renderer = renderer.clone();
                scope.spawn(move || {
                    for mut batch in batches {
                        work(engine, renderer.as_deref(), stop, &mut batch);
                        if done.send(batch).is_err() {
                            return;
                        }
                    }
                });
                Worker { to, from }
            })
            .collect();
        let mut writer = Writer {
            engine,
            sink,
            progress,
            parallel: renderer,
            joined: HashSet::default(),
            summary: Summary::default(),
        };
        feed(&mut table, &workers, &mut writer)?;
        drop(workers);
        progress.input_ended();
        writer.summary.unique = writer.joined.len() as u64;
        Ok(writer.summary)
    })
}

/// Reads batches to the threads in turn and takes them back in the same turn, so that the order holds.
fn feed(table: &mut Table, workers: &[Worker], writer: &mut Writer<'_>) -> Result<(), VerifyError> {
    let mut spare: Vec<Batch> = Vec::new();
    let mut on_their_way = 0;
    let mut turns = workers.iter().cycle();
    let mut returns = workers.iter().cycle();
    let mut take = |writer: &mut Writer<'_>| -> Result<Option<Batch>, VerifyError> {
        let Some(Ok(batch)) = returns.next().map(|worker| worker.from.recv()) else {
            return Ok(None);
        };
        writer.write(batch).map(Some)
    };
    loop {
        let mut batch = spare.pop().unwrap_or_default();
        if !batch.fill(table)? {
            break;
        }
        if on_their_way == workers.len() * AHEAD {
            spare.extend(take(writer)?);
            on_their_way -= 1;
        }
        let Some(worker) = turns.next() else { break };
        if worker.to.send(batch).is_err() {
            break;
        }
        on_their_way += 1;
    }
    for _ in 0..on_their_way {
        take(writer)?;
    }
    Ok(())
}

impl Batch {
    /// Reads rows into place; false at the end of the table.
    fn fill(&mut self, table: &mut Table) -> Result<bool, VerifyError> {
        self.used = 0;
        self.rows.resize_with(BATCH, Row::default);
        for row in &mut self.rows {
            if !table.read_row(row)? {
                break;
            }
            self.used += 1;
        }
        Ok(self.used > 0)
    }
}

/// Parses, judges and renders a batch; once the run is asked to stop, rows are only passed through.
fn work(engine: &Engine, renderer: Option<&Renderer>, stop: &Stop, batch: &mut Batch) {
    batch.chunk.clear();
    batch.verdicts.clear();
    batch.joined.clear();
    batch.faults = 0;
    let stopped = stop.is_requested();
    for row in batch.rows.iter().take(batch.used) {
        let mut outcome = answers::unasked(engine, row);
        if stopped {
            outcome.conclude(Evidence::not_tried(NotTried::Interrupted), engine.settings.policy);
        }
        batch.verdicts.push(outcome.verdict);
        batch.faults += u64::from(row.fault.is_some());
        batch.joined.extend(
            outcome
                .address
                .as_ref()
                .map(|address| address.join_hash(engine.settings.exact)),
        );
        if let Some(renderer) = renderer {
            renderer.row(row, &outcome, &mut batch.chunk);
        }
    }
}

/// Takes finished batches in order.
struct Writer<'a> {
    engine: &'a Engine,
    sink: &'a mut dyn Sink,
    progress: &'a Progress,
    parallel: Option<Arc<Renderer>>,
    /// The set used to join duplicates.
    joined: HashSet<u128, BuildHasherDefault<Folded>>,
    summary: Summary,
}

impl Writer<'_> {
    fn write(&mut self, batch: Batch) -> Result<Batch, VerifyError> {
        if self.parallel.is_some() {
            self.sink.append(&batch.chunk)?;
        } else {
            for row in batch.rows.iter().take(batch.used) {
                self.sink.write(row, &answers::unasked(self.engine, row))?;
            }
        }
        for verdict in &batch.verdicts {
            self.summary.count(verdict);
            self.progress.row_read();
            self.progress.settled(verdict.label, 1);
        }
        for joined in &batch.joined {
            self.summary.duplicates += u64::from(!self.joined.insert(*joined));
        }
        self.summary.row_errors += batch.faults;
        Ok(batch)
    }
}

/// The addresses' fingerprints are hashes already.
#[derive(Default)]
struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
    fn write_u128(&mut self, fingerprint: u128) {
        self.0 = fingerprint as u64;
    }
}
