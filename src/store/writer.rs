//! The one writer: a thread that takes whatever waits, writes it in one transaction, and says so.
//!
//! Under load a transaction holds many writes; when little happens each is written at once, so that a killed process loses
//! nothing that was answered more than moments ago.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    time::{Instant, SystemTime},
};

use prometheus_client::metrics::histogram::Histogram;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tokio::sync::{oneshot, watch};

use super::{
    Claim, Done, Entry, JobNumber, Lease, Place, Progress, Record, StoreError, Write,
    cache::Cache,
    evidence::{self, Pointer},
    heap::{self, millis, time},
    presence::Presence,
    record::{is_good, keep_for},
};

/// How much is written together at most, in rows of a table: what one transaction writes stays in the log until it ends.
const TOGETHER: usize = 20_000;

/// Rows of a table that a command writes.
fn weight(command: &Command) -> usize {
    match command {
        Command::Write(Write::Records { records, .. }) => records.len() + 1,
        // A hundred bytes are about what a record takes.
        Command::Write(Write::Chunk { rows, .. }) => rows.len() / 100 + 1,
        Command::Write(Write::Domain { .. } | Write::Group { .. } | Write::Job { .. })
        | Command::Claim(..)
        | Command::Flush(_)
        | Command::Call(_) => 20,
    }
}

pub(super) enum Command {
    Write(Write),
    Claim(Arc<str>, oneshot::Sender<Result<Claim, Arc<StoreError>>>),
    Flush(oneshot::Sender<Result<(), Arc<StoreError>>>),
    /// Something of its own, with nothing else in its transaction.
    Call(Box<dyn FnOnce(&mut Connection) + Send>),
}

/// The thread's state.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) presence: Arc<Presence>,
    pub(super) cache: Arc<Cache>,
    pub(super) failure: watch::Sender<Option<Arc<StoreError>>>,
    /// The number of the next batch of each lease.
    pub(super) batches: HashMap<(JobNumber, i64), u32>,
    /// How long it takes.
    pub(super) timing: Histogram,
}

/// To be told when the transaction is committed.
type Told = Box<dyn FnOnce(Result<(), Arc<StoreError>>) + Send>;

impl Writer {
    /// Runs until nobody can send any longer.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        while let Ok(first) = commands.recv() {
            let mut waiting = vec![first];
            let mut weight = waiting.iter().map(weight).sum::<usize>();
            while weight < TOGETHER
                && let Ok(next) = commands.try_recv()
            {
                weight += self::weight(&next);
                waiting.push(next);
            }
            let mut together = Vec::new();
            for command in waiting {
                match command {
                    Command::Call(call) => {
                        self.write(std::mem::take(&mut together));
                        let began = Instant::now();
                        call(&mut self.connection);
                        self.timing.observe(began.elapsed().as_secs_f64());
                    }
                    Command::Write(_) | Command::Claim(..) | Command::Flush(_) => together.push(command),
                }
            }
            self.write(together);
        }
        // Readers of the file then need no log beside it.
        let _ = self
            .connection
            .execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);");
    }

    fn write(&mut self, commands: Vec<Command>) {
        if commands.is_empty() {
            return;
        }
        let began = Instant::now();
        let mut told: Vec<Told> = Vec::with_capacity(commands.len());
        let before = self.failure.borrow().clone();
        let result = match before {
            Some(error) => {
                for command in commands {
                    told.push(failing(command));
                }
                Err(error)
            }
            None => self.transact(commands, &mut told).map_err(|error| {
                let error = Arc::new(error);
                self.failure.send_replace(Some(Arc::clone(&error)));
                error
            }),
        };
        self.timing.observe(began.elapsed().as_secs_f64());
        for tell in told {
            tell(result.clone());
        }
    }

    fn transact(&mut self, commands: Vec<Command>, told: &mut Vec<Told>) -> Result<(), StoreError> {
        let path = self.path.clone();
        let explain = |error| StoreError::explain(error, &path);
        let mut fresh = Vec::new();
        let Self {
            connection,
            presence,
            batches,
            ..
        } = self;
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(explain)?;
        let mut inside = Inside {
            transaction: &transaction,
            presence,
            batches,
            fresh: &mut fresh,
            epochs: HashMap::new(),
            now: millis(SystemTime::now()),
        };
        let (mut failed, mut lost) = (None, Vec::new());
        for command in commands {
            if failed.is_some() {
                told.push(failing(command));
                continue;
            }
            match inside.carry_out(command) {
                Ok(tell) => told.extend(tell),
                // Nothing of it was written, and the others have nothing to do with it.
                Err((error @ StoreError::LostLease, tell)) => lost.extend(tell.map(|tell| (tell, error))),
                Err((error, tell)) => {
                    failed = Some(error);
                    told.extend(tell);
                }
            }
        }
        for (tell, error) in lost {
            tell(Err(Arc::new(error)));
        }
        if let Some(error) = failed {
            return Err(error.explained(&path));
        }
        transaction.commit().map_err(explain)?;
        for (key, bytes) in fresh {
            self.cache.keep(key, bytes);
        }
        Ok(())
    }
}

/// What hears of a failure.
fn failing(command: Command) -> Told {
    match command {
        Command::Write(Write::Records { done, .. }) => Box::new(|result| done(result.map(|()| Vec::new()))),
        Command::Claim(_, reply) => Box::new(|result| {
            let _ = reply.send(result.map(|()| Claim::Theirs));
        }),
        Command::Flush(reply) => Box::new(|result| {
            let _ = reply.send(result);
        }),
        Command::Write(Write::Chunk { .. } | Write::Domain { .. } | Write::Group { .. } | Write::Job { .. })
        | Command::Call(_) => Box::new(|_| {}),
    }
}

/// A batch that is kept in memory once it is committed.
type Fresh = ((JobNumber, u32), Arc<[u8]>);

/// One transaction.
struct Inside<'a> {
    transaction: &'a Transaction<'a>,
    presence: &'a Presence,
    batches: &'a mut HashMap<(JobNumber, i64), u32>,
    fresh: &'a mut Vec<Fresh>,
    /// Jobs whose lease was looked at.
    epochs: HashMap<JobNumber, i64>,
    now: u64,
}

type CarriedOut = Result<Option<Told>, (StoreError, Option<Told>)>;

impl Inside<'_> {
    fn carry_out(&mut self, command: Command) -> CarriedOut {
        match command {
            Command::Write(Write::Records { lease, records, done }) => match self.records(&lease, &records) {
                Ok(entries) => Ok(Some(Box::new(|result| done(result.map(|()| entries))))),
                Err(error) => Err((error, Some(told_nothing(done)))),
            },
            Command::Claim(group, reply) => match self.claim(&group) {
                Ok(claim) => Ok(Some(Box::new(|result| {
                    let _ = reply.send(result.map(|()| claim));
                }))),
                Err(error) => Err((error, Some(failing(Command::Claim(group, reply))))),
            },
            Command::Write(write) => self.small(write).map(|()| None).map_err(|error| (error, None)),
            flush @ Command::Flush(_) => Ok(Some(failing(flush))),
            Command::Call(_) => Ok(None),
        }
    }

    fn small(&mut self, write: Write) -> Result<(), StoreError> {
        match write {
            Write::Chunk { lease, number, rows } => {
                self.check(&lease)?;
                let sql = "INSERT INTO chunk (job, number, rows) VALUES (?1, ?2, ?3)";
                self.transaction
                    .prepare_cached(sql)?
                    .execute(params![lease.job, number, rows])?;
            }
            Write::Domain { lease, name, memory } => {
                if let Some(lease) = &lease {
                    self.check(lease)?;
                }
                let sql = "INSERT OR REPLACE INTO mail_domain (job, name, memory, checked_at) VALUES (?1, ?2, ?3, ?4)";
                let job = lease.map_or(0, |lease| lease.job);
                self.transaction.prepare_cached(sql)?.execute(params![
                    job,
                    name.as_str(),
                    heap::encode(&memory)?,
                    self.now.cast_signed()
                ])?;
            }
            Write::Group { name, memory, released } => {
                let sql = "INSERT INTO host_group (name, memory, run, updated_at) VALUES (?1, ?2, ?3, ?4)
                    ON CONFLICT (name) DO UPDATE SET memory = ?2, run = ?3, updated_at = ?4";
                let run = (!released).then(|| self.presence.run());
                self.transaction
                    .prepare_cached(sql)?
                    .execute(params![&*name, memory, run, self.now.cast_signed()])?;
            }
            Write::Job {
                lease,
                summary,
                state,
                released,
            } => {
                self.check(&lease)?;
                let sql = "UPDATE job SET summary = ?2, state = ?3, run = ?4, updated_at = ?5 WHERE number = ?1";
                let run = (!released).then(|| self.presence.run());
                self.transaction.prepare_cached(sql)?.execute(params![
                    lease.job,
                    summary,
                    state.name(),
                    run,
                    self.now.cast_signed()
                ])?;
            }
            Write::Records { .. } => {}
        }
        Ok(())
    }

    /// Refuses whoever lost the job to another process.
    fn check(&mut self, lease: &Lease) -> Result<(), StoreError> {
        let epoch = if let Some(epoch) = self.epochs.get(&lease.job) {
            *epoch
        } else {
            let sql = "SELECT epoch FROM job WHERE number = ?1";
            let epoch = self
                .transaction
                .prepare_cached(sql)?
                .query_row([lease.job], |row| row.get(0))
                .optional()?
                .ok_or(StoreError::LostLease)?;
            self.epochs.insert(lease.job, epoch);
            epoch
        };
        if epoch == lease.epoch {
            Ok(())
        } else {
            Err(StoreError::LostLease)
        }
    }

    fn records(&mut self, lease: &Lease, records: &[Record]) -> Result<Vec<Entry>, StoreError> {
        self.check(lease)?;
        let batch = self.next_batch(lease)?;
        let mut builder = heap::Builder::default();
        let mut entries = Vec::with_capacity(records.len());
        let mut directory = Vec::with_capacity(records.len() * ENTRY);
        for record in records {
            let place = Place {
                batch,
                offset: builder.add(&record.kept)?,
            };
            let entry = Entry {
                address: record.address,
                place,
                progress: record.progress,
            };
            write_entry(&entry, &mut directory);
            entries.push(entry);
        }
        let bytes: Arc<[u8]> = builder.finish().into();
        let sql = "INSERT INTO batch (job, number, created_at, directory, records) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.transaction.prepare_cached(sql)?.execute(params![
            lease.job,
            batch,
            self.now.cast_signed(),
            directory,
            &*bytes
        ])?;
        self.evidence(lease.job, records, &entries)?;
        self.fresh.push(((lease.job, batch), bytes));
        Ok(entries)
    }

    /// Points to what others may use.
    fn evidence(&self, job: JobNumber, records: &[Record], entries: &[Entry]) -> Result<(), StoreError> {
        let pointer = |(record, entry): (&Record, &Entry)| {
            let verdict = record.verdict.as_ref()?;
            Some(Pointer {
                key: record.key,
                place: entry.place,
                good: is_good(*verdict),
                checked_at: record.kept.checked_at,
                keep: keep_for(&record.kept.evidence, verdict)?,
            })
        };
        let pointers = records.iter().zip(entries).filter_map(pointer).collect();
        evidence::add(self.transaction, job, pointers)
    }

    fn next_batch(&mut self, lease: &Lease) -> Result<u32, StoreError> {
        let key = (lease.job, lease.epoch);
        let next = if let Some(next) = self.batches.get(&key) {
            *next
        } else {
            let sql = "SELECT coalesce(max(number) + 1, 0) FROM batch WHERE job = ?1";
            self.transaction.query_row(sql, [lease.job], |row| row.get(0))?
        };
        self.batches.insert(key, next + 1);
        Ok(next)
    }

    fn claim(&self, group: &str) -> Result<Claim, StoreError> {
        let sql = "SELECT memory, run, updated_at FROM host_group WHERE name = ?1";
        let found: Option<(String, Option<String>, i64)> = self
            .transaction
            .prepare_cached(sql)?
            .query_row([group], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        if let Some((_, Some(run), _)) = &found
            && run != self.presence.run()
            && self.presence.is_alive(run)
        {
            return Ok(Claim::Theirs);
        }
        let sql = "INSERT INTO host_group (name, memory, run, updated_at) VALUES (?1, '', ?2, ?3)
            ON CONFLICT (name) DO UPDATE SET run = ?2";
        self.transaction
            .prepare_cached(sql)?
            .execute(params![group, self.presence.run(), self.now.cast_signed()])?;
        let spent = found.map(|(memory, _, at)| (memory, time(at.cast_unsigned())));
        Ok(Claim::Ours(spent.filter(|(memory, _)| !memory.is_empty())))
    }
}

fn told_nothing(done: Done<Vec<Entry>>) -> Told {
    Box::new(|result| done(result.map(|()| Vec::new())))
}

/// Bytes of an entry in a directory: the address, the offset, and how far it is.
pub(super) const ENTRY: usize = 9;

fn write_entry(entry: &Entry, directory: &mut Vec<u8>) {
    directory.extend_from_slice(&entry.address.to_le_bytes());
    directory.extend_from_slice(&entry.place.offset.to_le_bytes());
    directory.push(u8::from(entry.progress == Progress::Settled));
}

/// Reads a directory; what is cut off at its end is not there.
pub(super) fn read_entries(batch: u32, directory: &[u8], entries: &mut Vec<Entry>) {
    let (whole, _) = directory.as_chunks::<ENTRY>();
    entries.extend(whole.iter().map(|[a0, a1, a2, a3, o0, o1, o2, o3, settled]| Entry {
        address: u32::from_le_bytes([*a0, *a1, *a2, *a3]),
        place: Place {
            batch,
            offset: u32::from_le_bytes([*o0, *o1, *o2, *o3]),
        },
        progress: if *settled == 1 {
            Progress::Settled
        } else {
            Progress::Attempted
        },
    }));
}

/// Starts the writer's thread.
pub(super) fn start(writer: Writer) -> std::io::Result<(mpsc::Sender<Command>, std::thread::JoinHandle<()>)> {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name("store".into())
        .spawn(move || writer.run(&receiver))?;
    Ok((sender, thread))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::{
        store::{Kept, NewJob, Source, SqliteStore, Store},
        verdict::{Evidence, NotTried},
    };

    fn records(numbers: std::ops::Range<u32>) -> Vec<Record> {
        let kept = |number: u32| Kept {
            mailbox: format!("person.{number}@example.com").into(),
            evidence: Evidence::not_tried(NotTried::Budget),
            first_asked: None,
            due: None,
            throttled: false,
            requeued: false,
            retry_at: None,
            checked_at: SystemTime::now(),
            elapsed: std::time::Duration::ZERO,
            transcripts: Vec::new(),
            source: Source::Live,
            judged: None,
        };
        let record = |number| Record {
            address: number,
            key: (1, number.into()),
            progress: Progress::Attempted,
            kept: kept(number),
            verdict: None,
        };
        numbers.map(record).collect()
    }

    fn write(store: &SqliteStore, lease: &Lease, numbers: std::ops::Range<u32>) -> Result<usize, Arc<StoreError>> {
        let (tell, told) = channel();
        store.submit(Write::Records {
            lease: lease.clone(),
            records: records(numbers),
            done: Box::new(move |result| tell.send(result.map(|entries| entries.len())).unwrap()),
        });
        told.recv().unwrap()
    }

    /// A database that may not grow fails as one on a full disk does.
    #[test]
    fn a_full_database_stops_writing_and_keeps_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("presend.db");
        let store = SqliteStore::open(&path).unwrap().store;
        let job = NewJob {
            source: "leads.csv".into(),
            settings: "{}".into(),
            layout: "{}".into(),
        };
        let lease = store.create(&job).unwrap();
        assert_eq!(write(&store, &lease, 0..100).unwrap(), 100);
        store
            .call(|connection| Ok(connection.execute_batch("PRAGMA max_page_count = 30")?))
            .unwrap();
        let error = write(&store, &lease, 100..20_000).unwrap_err();
        assert!(matches!(*error, StoreError::Full { .. }), "{error:?}");
        // Whoever asks later hears of the same failure, though this would fit.
        let error = write(&store, &lease, 100..101).unwrap_err();
        assert!(matches!(*error, StoreError::Full { .. }), "{error:?}");
        let failure = store.failure().borrow().clone();
        assert!(failure.is_some_and(|failure| failure.to_string().contains("make room")));
        let claim = store.claim(&"group".into()).blocking_recv().unwrap();
        assert!(claim.is_err() && store.flush().blocking_recv().unwrap().is_err());
        assert_eq!(store.entries(lease.job).unwrap().len(), 100);
        drop(store);
        let store = SqliteStore::open(&path).unwrap().store;
        let lease = store.take(lease.job).unwrap();
        assert_eq!(write(&store, &lease, 100..20_000).unwrap(), 19_900);
        let entries = store.entries(lease.job).unwrap();
        assert!(entries.iter().map(|entry| entry.address).eq(0..20_000));
    }

    #[test]
    fn a_writer_that_died_is_told_of() {
        let store = SqliteStore::private().unwrap();
        let error = store.call(|_| -> Result<(), StoreError> { panic!("the test wants a dead writer") });
        assert!(matches!(error, Err(StoreError::Ended)), "{error:?}");
        assert!(matches!(store.take(1), Err(StoreError::Ended)));
        assert!(store.claim(&"group".into()).blocking_recv().is_err());
    }

    #[test]
    fn a_directory_that_is_cut_off_ends_earlier() {
        let entry = Entry {
            address: 0x0102_0304,
            place: Place {
                batch: 7,
                offset: 0xfffe_fdfc,
            },
            progress: Progress::Settled,
        };
        let mut bytes = Vec::new();
        write_entry(&entry, &mut bytes);
        assert_eq!(bytes, [4, 3, 2, 1, 0xfc, 0xfd, 0xfe, 0xff, 1]);
        for cut in 0..=bytes.len() {
            let mut entries = Vec::new();
            read_entries(7, &bytes[..cut], &mut entries);
            assert_eq!(entries.len(), usize::from(cut == ENTRY));
        }
        let mut entries = Vec::new();
        read_entries(7, &bytes, &mut entries);
        assert_eq!(entries, [entry]);
    }
}
