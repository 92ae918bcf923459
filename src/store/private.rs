//! What a run keeps when nothing outlives it: rows and records, in memory as long as they are few, then in a file without a
//! name. No SQLite: nobody else looks in, and nothing has to survive.
//!
//! Keeps no evidence for later, no domains and no groups: within one run nobody asks for them.

use std::{
    collections::HashMap,
    env,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write as _},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::SystemTime,
};

use tokio::sync::{oneshot, watch};

use super::{
    Claim, DomainMemory, Entry, Excerpt, JobNumber, JobRecord, Kept, Known, Lease, NewJob, Offset, Place, Reading,
    Record, Store, StoreError, Write, cache::Cache, heap,
};
use crate::{address::Domain, input::unnamed};

/// Bytes of rows that stay in memory.
const ROWS: usize = 4 << 20;
/// Records that stay in memory as they are, 400 bytes each: neither encoded nor read again.
const RECORDS: usize = 32_768;

/// A store that ends with the run.
#[derive(Debug)]
pub struct PrivateStore {
    inner: RwLock<Inner>,
    /// Blocks that were read lately.
    cache: Cache,
    failure: watch::Sender<Option<Arc<StoreError>>>,
}

#[derive(Debug, Default)]
struct Inner {
    jobs: HashMap<JobNumber, Pile>,
    created: JobNumber,
    rows: usize,
    records: usize,
    file: Option<File>,
    /// Where the file ends.
    end: u64,
}

/// What belongs to one job.
#[derive(Debug, Default)]
struct Pile {
    chunks: Vec<Block>,
    batches: Vec<Batch>,
}

#[derive(Debug, Clone)]
enum Block {
    Here(Arc<Vec<u8>>),
    File { at: u64, length: usize },
}

#[derive(Debug)]
enum Batch {
    /// As they came; an offset is a record's number.
    Here(Box<[Kept]>),
    Encoded(Block),
}

impl Default for PrivateStore {
    fn default() -> Self {
        let (failure, _) = watch::channel(None);
        Self {
            inner: RwLock::default(),
            cache: Cache::default(),
            failure,
        }
    }
}

impl PrivateStore {
    fn inner(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry_out(&self, write: Write) {
        match write {
            Write::Chunk { lease, rows, .. } => {
                let mut inner = self.change();
                let block = inner.block(rows);
                match block {
                    Ok(block) => inner.jobs.entry(lease.job).or_default().chunks.push(block),
                    Err(error) => drop(self.fail(error)),
                }
            }
            Write::Records { lease, records, done } => {
                let kept = self.change().keep(lease.job, records).map_err(|error| self.fail(error));
                done(kept);
            }
            Write::Domain { .. } | Write::Group { .. } | Write::Job { .. } => {}
        }
    }

    fn fail(&self, error: StoreError) -> Arc<StoreError> {
        let error = Arc::new(error);
        self.failure.send_replace(Some(Arc::clone(&error)));
        error
    }

    fn batch(&self, job: JobNumber, number: u32, block: &Block) -> Result<Arc<[u8]>, StoreError> {
        match block {
            Block::Here(bytes) => Ok(bytes.as_slice().into()),
            Block::File { at, length } => {
                if let Some(bytes) = self.cache.find((job, number)) {
                    return Ok(bytes);
                }
                let bytes: Arc<[u8]> = self.change().read(*at, *length)?.into();
                self.cache.keep((job, number), Arc::clone(&bytes));
                Ok(bytes)
            }
        }
    }
}

impl Inner {
    /// Keeps bytes in memory while there is room, then in the file.
    fn block(&mut self, bytes: Vec<u8>) -> Result<Block, StoreError> {
        if self.rows + bytes.len() <= ROWS {
            self.rows += bytes.len();
            return Ok(Block::Here(Arc::new(bytes)));
        }
        self.append(&bytes).map_err(|error| no_file(&error))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<Block> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(unnamed()?),
        };
        file.seek(SeekFrom::Start(self.end))?;
        file.write_all(bytes)?;
        let (at, length) = (self.end, bytes.len());
        self.end += length as u64;
        Ok(Block::File { at, length })
    }

    fn read(&mut self, at: u64, length: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; length];
        let file = self.file.as_mut().ok_or(StoreError::Gone)?;
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|error| no_file(&error))?;
        Ok(bytes)
    }

    fn keep(&mut self, job: JobNumber, records: Vec<Record>) -> Result<Vec<Entry>, StoreError> {
        let number = self.jobs.get(&job).map_or(0, |pile| pile.batches.len());
        let batch = u32::try_from(number).map_err(|_| StoreError::Damaged("too many batches"))?;
        let entry = |record: &Record, offset: Offset| Entry {
            address: record.address,
            place: Place { batch, offset },
            progress: record.progress,
        };
        let (entries, batch) = if self.records + records.len() <= RECORDS {
            self.records += records.len();
            let entries = records.iter().zip(0..).map(|(record, at)| entry(record, at)).collect();
            // Collecting would work in the memory of the records, and copy all of it once more to make it smaller.
            let mut kept = Vec::with_capacity(records.len());
            kept.extend(records.into_iter().map(|record| record.kept));
            (entries, Batch::Here(kept.into()))
        } else {
            let mut builder = heap::Builder::default();
            let add = |record: &Record| Ok(entry(record, builder.add(&record.kept)?));
            let entries = records.iter().map(add).collect::<Result<_, StoreError>>()?;
            let block = self.append(&builder.finish()).map_err(|error| no_file(&error))?;
            (entries, Batch::Encoded(block))
        };
        self.jobs.entry(job).or_default().batches.push(batch);
        Ok(entries)
    }
}

fn no_file(error: &io::Error) -> StoreError {
    let path = env::temp_dir();
    if error.kind() == io::ErrorKind::StorageFull {
        return StoreError::Full { path };
    }
    StoreError::Open {
        path,
        reason: error.to_string(),
    }
}

impl Store for PrivateStore {
    fn create(&self, _: &NewJob) -> Result<Lease, StoreError> {
        let mut inner = self.change();
        inner.created += 1;
        Ok(Lease {
            job: inner.created,
            id: String::new(),
            epoch: 0,
        })
    }

    fn take(&self, _: JobNumber) -> Result<Lease, StoreError> {
        Err(StoreError::NoSuchJob)
    }

    fn jobs(&self) -> Result<Vec<JobRecord>, StoreError> {
        Ok(Vec::new())
    }

    fn imported(&self, _: &Lease, _: u64, _: &[u8]) -> Result<Option<JobRecord>, StoreError> {
        Ok(None)
    }

    fn discard(&self, lease: &Lease) -> Result<(), StoreError> {
        self.delete(lease.job)
    }

    fn delete(&self, job: JobNumber) -> Result<(), StoreError> {
        self.cache.forget(job);
        let pile = self.change().jobs.remove(&job);
        drop(pile);
        Ok(())
    }

    fn forget(&self, _: SystemTime) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn chunk(&self, job: JobNumber, number: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let mut inner = self.change();
        let chunks = inner.jobs.get(&job).map(|pile| &pile.chunks);
        match chunks.and_then(|chunks| chunks.get(number as usize)).cloned() {
            Some(Block::Here(bytes)) => Ok(Some(bytes.to_vec())),
            Some(Block::File { at, length }) => inner.read(at, length).map(Some),
            None => Ok(None),
        }
    }

    fn entries(&self, _: JobNumber) -> Result<Vec<Entry>, StoreError> {
        // Nobody goes on with a job that ends with its process.
        Ok(Vec::new())
    }

    fn record(&self, job: JobNumber, place: Place, reading: Reading<'_>) -> Result<Kept, StoreError> {
        let inner = self.inner();
        let batches = inner.jobs.get(&job).map(|pile| &pile.batches);
        let block = match batches.and_then(|batches| batches.get(place.batch as usize)) {
            Some(Batch::Here(records)) => {
                return records.get(place.offset as usize).cloned().ok_or(StoreError::Gone);
            }
            Some(Batch::Encoded(block)) => block.clone(),
            None => return Err(StoreError::Gone),
        };
        drop(inner);
        heap::read(&self.batch(job, place.batch, &block)?, place.offset, reading)
    }

    fn excerpt(&self, job: JobNumber, places: &[Place], most: usize) -> Result<Option<Excerpt>, StoreError> {
        let mut taking = heap::Taking::new(places.len());
        for places in places.chunk_by(|one, next| one.batch == next.batch) {
            let Some(number) = places.first().map(|place| place.batch) else {
                continue;
            };
            let inner = self.inner();
            let batches = inner.jobs.get(&job).map(|pile| &pile.batches);
            match batches.and_then(|batches| batches.get(number as usize)) {
                Some(Batch::Here(records)) => {
                    for place in places {
                        taking.add(records.get(place.offset as usize).ok_or(StoreError::Gone)?)?;
                    }
                }
                Some(Batch::Encoded(block)) => {
                    let block = block.clone();
                    drop(inner);
                    taking.take_all(&self.batch(job, number, &block)?, places)?;
                }
                None => return Err(StoreError::Gone),
            }
            if taking.size() > most {
                return Ok(None);
            }
        }
        Ok(Some(taking.finish()))
    }

    fn with_record(
        &self,
        job: JobNumber,
        place: Place,
        reading: Reading<'_>,
        see: &mut dyn FnMut(&Kept),
    ) -> Result<(), StoreError> {
        let inner = self.inner();
        let batches = inner.jobs.get(&job).map(|pile| &pile.batches);
        if let Some(Batch::Here(records)) = batches.and_then(|batches| batches.get(place.batch as usize)) {
            see(records.get(place.offset as usize).ok_or(StoreError::Gone)?);
            return Ok(());
        }
        drop(inner);
        see(&self.record(job, place, reading)?);
        Ok(())
    }

    fn history(&self, _: &str, _: Reading<'_>) -> Result<Vec<(JobNumber, Entry, Kept)>, StoreError> {
        Ok(Vec::new())
    }

    fn known(&self, _: i64) -> Result<Vec<Known>, StoreError> {
        Ok(Vec::new())
    }

    fn knows_anything(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn domain(&self, _: Option<JobNumber>, _: &Domain) -> Result<Option<(DomainMemory, SystemTime)>, StoreError> {
        Ok(None)
    }

    fn outlives_the_run(&self) -> bool {
        false
    }

    fn claim(&self, _: &Arc<str>) -> oneshot::Receiver<Result<Claim, Arc<StoreError>>> {
        let (reply, answer) = oneshot::channel();
        let _ = reply.send(Ok(Claim::Ours(None)));
        answer
    }

    fn submit(&self, write: Write) {
        self.carry_out(write);
    }

    fn flush(&self) -> oneshot::Receiver<Result<(), Arc<StoreError>>> {
        let (reply, answer) = oneshot::channel();
        let failed = self.failure.borrow().clone();
        let _ = reply.send(failed.map_or(Ok(()), Err));
        answer
    }

    fn failure(&self) -> watch::Receiver<Option<Arc<StoreError>>> {
        self.failure.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::{
        store::{Progress, Source, Understanding},
        verdict::{Evidence, NotTried},
    };

    fn record(address: u32) -> Record {
        Record {
            address,
            key: (0, 0),
            progress: Progress::Settled,
            kept: Kept {
                mailbox: format!("user{address}@a.example").into(),
                evidence: Evidence::not_tried(NotTried::Level),
                first_asked: None,
                due: None,
                throttled: false,
                requeued: false,
                retry_at: None,
                judged: None,
                checked_at: UNIX_EPOCH + Duration::from_secs(address.into()),
                elapsed: Duration::ZERO,
                transcripts: Vec::new(),
                source: Source::Live,
            },
            verdict: None,
        }
    }

    #[test]
    fn what_does_not_stay_in_memory_comes_back_all_the_same() {
        let store = PrivateStore::default();
        let lease = store.create(&NewJob::unlisted()).unwrap();
        let chunk = |number: u32| vec![u8::try_from(number % 251).unwrap(); ROWS / 3];
        for number in 0..5 {
            let (lease, rows) = (lease.clone(), chunk(number));
            store.submit(Write::Chunk { lease, number, rows });
        }
        let (sender, told) = std::sync::mpsc::channel();
        for batch in 0..3 {
            let first = batch * u32::try_from(RECORDS).unwrap() / 2;
            let sender = sender.clone();
            store.submit(Write::Records {
                lease: lease.clone(),
                records: (first..first + u32::try_from(RECORDS).unwrap() / 2)
                    .map(record)
                    .collect(),
                done: Box::new(move |entries| sender.send(entries.unwrap()).unwrap()),
            });
        }
        assert!(store.inner().end > 0, "nothing is in the file");
        for number in 0..5 {
            assert_eq!(store.chunk(lease.job, number).unwrap(), Some(chunk(number)));
        }
        assert_eq!(store.chunk(lease.job, 5).unwrap(), None);
        let entries: Vec<Entry> = told.try_iter().flatten().step_by(997).collect();
        let places: Vec<Place> = entries.iter().map(|entry| entry.place).collect();
        let excerpt = store.excerpt(lease.job, &places, usize::MAX).unwrap().unwrap();
        let mut understanding = Understanding::new(Reading::default());
        for (number, entry) in entries.iter().enumerate() {
            let kept = store.record(lease.job, entry.place, Reading::default()).unwrap();
            assert_eq!(kept, record(entry.address).kept);
            let taken = excerpt.read(number, &mut understanding).unwrap();
            assert_eq!((taken.checked_at, taken.evidence), (kept.checked_at, kept.evidence));
        }
        assert!(store.excerpt(lease.job, &places, 1_000).unwrap().is_none());
        store.delete(lease.job).unwrap();
        assert_eq!(store.chunk(lease.job, 0).unwrap(), None);
    }
}
