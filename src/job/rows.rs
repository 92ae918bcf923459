//! The rows of a job: kept in the store while they are imported, read back from there in the same order, so that a job needs
//! its input file only once.

use std::sync::Arc;

use super::VerifyError;
use crate::{
    input::{Row, Table},
    store::{JobNumber, JobRecord, Lease, Store, StoreError, Write, stable_hash},
};

/// Bytes of rows kept together.
const CHUNK: usize = 256 << 10;
/// Chunks on their way to the file before the import waits for it: bounds the memory.
const AHEAD: u32 = 16;

/// Rows on their way into the store.
pub(super) struct Import<'a> {
    store: &'a dyn Store,
    lease: &'a Lease,
    bytes: Vec<u8>,
    number: u32,
    rows: u64,
    digest: [u64; 2],
    /// Another run may have the same rows.
    lasts: bool,
}

impl<'a> Import<'a> {
    pub(super) fn new(store: &'a dyn Store, lease: &'a Lease) -> Self {
        Self {
            store,
            lease,
            bytes: Vec::with_capacity(CHUNK + (CHUNK >> 2)),
            number: 0,
            rows: 0,
            digest: [1, 2],
            lasts: store.outlives_the_run(),
        }
    }

    pub(super) async fn add(&mut self, row: &Row) -> Result<(), VerifyError> {
        let broken = |_| StoreError::Damaged("a row cannot be kept");
        row.encode(&mut self.bytes).map_err(broken).map_err(Arc::new)?;
        self.rows += 1;
        if self.bytes.len() >= CHUNK {
            self.keep();
            if self.number.is_multiple_of(AHEAD) {
                flushed(self.store).await?;
            }
        }
        Ok(())
    }

    /// The number of rows and what tells equal lists, if any other can be equal.
    pub(super) fn finish(mut self) -> (u64, [u8; 16]) {
        if !self.bytes.is_empty() {
            self.keep();
        }
        let [high, low] = self.digest.map(u128::from);
        (self.rows, ((high << 64) | low).to_be_bytes())
    }

    fn keep(&mut self) {
        let rows = std::mem::replace(&mut self.bytes, Vec::with_capacity(CHUNK + (CHUNK >> 2)));
        // A chain: each chunk's number depends on all before it.
        if self.lasts {
            self.digest = self.digest.map(|so_far| stable_hash(&rows, so_far));
        }
        self.store.submit(Write::Chunk {
            lease: self.lease.clone(),
            number: self.number,
            rows,
        });
        self.number += 1;
    }
}

/// Waits until everything that was submitted is in the file.
pub(super) async fn flushed(store: &dyn Store) -> Result<(), VerifyError> {
    let ended = || Arc::new(StoreError::Ended);
    Ok(store.flush().await.map_err(|_| ended())??)
}

/// Reads the rows of a job in order.
pub(super) struct Cursor {
    store: Arc<dyn Store>,
    job: JobNumber,
    number: u32,
    bytes: Vec<u8>,
    at: usize,
}

impl Cursor {
    pub(super) fn new(store: Arc<dyn Store>, job: JobNumber) -> Self {
        Self::from_block(store, job, 0)
    }

    /// Reads from the first row of a block on.
    pub(super) fn from_block(store: Arc<dyn Store>, job: JobNumber, number: u32) -> Self {
        Self {
            store,
            job,
            number,
            bytes: Vec::new(),
            at: 0,
        }
    }

    /// Blocks that were begun.
    pub(super) fn blocks(&self) -> u32 {
        self.number
    }

    /// Reads the next row into `row`; `false` after the last.
    pub(super) fn read(&mut self, row: &mut Row) -> Result<bool, VerifyError> {
        loop {
            let mut rest = self.bytes.get(self.at..).unwrap_or_default();
            let broken = |_| Arc::new(StoreError::Damaged("a row cannot be read"));
            if row.decode(&mut rest).map_err(broken)? {
                self.at = self.bytes.len() - rest.len();
                return Ok(true);
            }
            let Some(bytes) = self.store.chunk(self.job, self.number).map_err(Arc::new)? else {
                return Ok(false);
            };
            (self.bytes, self.at) = (bytes, 0);
            self.number += 1;
        }
    }
}

/// Whether the rows of `table` are those of a job.
///
/// # Errors
/// The table or the store cannot be read.
pub fn is_list_of(table: &mut Table, job: &JobRecord, store: &Arc<dyn Store>) -> Result<bool, VerifyError> {
    let mut kept = Cursor::new(Arc::clone(store), job.number);
    let (mut theirs, mut ours) = (Row::default(), Row::default());
    let (mut read, mut known) = (Vec::new(), Vec::new());
    loop {
        let more = table.read_row(&mut theirs)?;
        if more != kept.read(&mut ours)? {
            return Ok(false);
        }
        if !more {
            return Ok(true);
        }
        read.clear();
        known.clear();
        let broken = |_| Arc::new(StoreError::Damaged("a row cannot be kept"));
        theirs.encode(&mut read).map_err(broken)?;
        ours.encode(&mut known).map_err(broken)?;
        if read != known {
            return Ok(false);
        }
    }
}
