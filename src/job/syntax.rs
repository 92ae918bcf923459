//! A list below the DNS level: rows are parsed, judged and rendered on every core and written in input order.
//!
//! The target is a million addresses a second, so nothing is looked up twice and a row costs no channel of its own.

use std::{
    collections::HashSet,
    hash::{BuildHasherDefault, Hasher},
    num::NonZeroUsize,
    sync::Arc,
    thread,
};

use super::{Engine, Progress, Sink, Stop, Summary, VerifyError, answers, conveyor::Conveyor};
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

/// Runs the list.
pub(super) fn run(
    engine: &Engine,
    mut table: Table,
    sink: &mut dyn Sink,
    progress: &Progress,
    stop: &Stop,
) -> Result<Summary, VerifyError> {
    let parallel = sink.renderer();
    let renderer = parallel.clone();
    let mut writer = Writer {
        engine,
        sink,
        progress,
        parallel,
        joined: HashSet::default(),
        summary: Summary::default(),
    };
    let conveyor = Conveyor {
        threads: thread::available_parallelism().map_or(1, NonZeroUsize::get),
        ahead: AHEAD,
    };
    conveyor.run(
        |batch: &mut Batch| batch.fill(&mut table),
        |batch| work(engine, renderer.as_deref(), stop, batch),
        |batch| writer.write(batch),
    )?;
    progress.input_ended();
    writer.summary.unique = writer.joined.len() as u64;
    Ok(writer.summary)
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
    fn write(&mut self, batch: &Batch) -> Result<(), VerifyError> {
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
        Ok(())
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
