//! The database: what goes in comes out, whatever happens to the process, the file, the disk or the neighbours.

mod damage;
mod deletion;
mod format;
mod sharing;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use presend::{
    store::{
        Entry, JobNumber, JobRecord, JobState, Kept, Lease, NewJob, Place, Progress, Reading, Record, Source,
        SqliteStore, Store, StoreError, Write,
    },
    verdict::{Evidence, NotTried, Policy, judge},
};
use tempfile::TempDir;

/// A folder with a database in it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn database(&self) -> PathBuf {
        self.0.path().join("presend.db")
    }

    fn open(&self) -> SqliteStore {
        open(&self.database())
    }

    /// Names of what is in the folder, without what tells who is alive.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.retain(|name| name != "presend.db.runs");
        names.sort();
        names
    }

    /// The job of a database with some answers.
    fn filled(&self, answers: u32) -> Lease {
        let store = self.open();
        let lease = store.create(&new_job("leads.csv")).unwrap();
        for from in (0..answers).step_by(100) {
            write(&store, &lease, numbered(from..answers.min(from + 100))).unwrap();
        }
        lease
    }
}

fn open(path: &Path) -> SqliteStore {
    let opened = SqliteStore::open(path).unwrap();
    assert_eq!(opened.moved, None);
    opened.store
}

fn new_job(source: &str) -> NewJob {
    NewJob {
        source: source.to_owned(),
        settings: "{\"level\":\"smtp\"}".to_owned(),
        layout: "{}".to_owned(),
    }
}

/// Times are kept to the millisecond.
fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

fn kept(mailbox: &str, evidence: Evidence) -> Kept {
    Kept {
        mailbox: mailbox.into(),
        evidence,
        first_asked: None,
        due: None,
        throttled: false,
        requeued: false,
        retry_at: None,
        checked_at: at(1_790_000_000_000),
        elapsed: Duration::from_millis(412),
        transcripts: Vec::new(),
        source: Source::Live,
        judged: None,
    }
}

fn record(address: u32, kept: Kept) -> Record {
    let verdict = judge(&kept.evidence, &Policy::default());
    Record {
        address,
        key: (7, i64::from(address)),
        progress: Progress::Settled,
        kept,
        verdict: Some(verdict),
    }
}

fn mailbox(number: u32) -> String {
    format!("person.{number}@example.com")
}

fn numbered(numbers: std::ops::Range<u32>) -> Vec<Record> {
    let kept = |number| kept(&mailbox(number), Evidence::not_tried(NotTried::Budget));
    numbers.map(|number| record(number, kept(number))).collect()
}

/// Writes records and waits until they are in the database.
fn write(store: &SqliteStore, lease: &Lease, records: Vec<Record>) -> Result<Vec<Entry>, Arc<StoreError>> {
    let (tell, told) = mpsc::channel();
    store.submit(Write::Records {
        lease: lease.clone(),
        records,
        done: Box::new(move |result| tell.send(result).unwrap()),
    });
    told.recv().unwrap()
}

fn flush(store: &SqliteStore) -> Result<(), Arc<StoreError>> {
    store.flush().blocking_recv().unwrap()
}

fn read(store: &SqliteStore, job: JobNumber, place: Place) -> Kept {
    store.record(job, place, Reading::default()).unwrap()
}

fn job(store: &SqliteStore, number: JobNumber) -> JobRecord {
    store
        .jobs()
        .unwrap()
        .into_iter()
        .find(|job| job.number == number)
        .unwrap()
}

/// Every answer that `filled` wrote is there and says what it said.
fn assert_filled(store: &SqliteStore, job: JobNumber, answers: u32) {
    let entries = store.entries(job).unwrap();
    assert_eq!(entries.len(), answers as usize);
    for (entry, number) in entries.iter().zip(0..) {
        assert_eq!(entry.address, number);
        assert_eq!(*read(store, job, entry.place).mailbox, *mailbox(number));
    }
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let folder = Folder::new();
    let lease = {
        let store = folder.open();
        let lease = store.create(&new_job("leads.csv")).unwrap();
        store.submit(Write::Chunk {
            lease: lease.clone(),
            number: 0,
            rows: vec![1, 2, 3],
        });
        assert_eq!(store.imported(&lease, 250, b"digest").unwrap(), None);
        write(&store, &lease, numbered(0..250)).unwrap();
        store.submit(Write::Job {
            lease: lease.clone(),
            summary: "{\"answered\":250}".into(),
            state: JobState::Done,
            released: true,
        });
        // Nothing waits for the last write: dropping the store does.
        lease
    };
    assert_eq!(
        folder.names(),
        ["presend.db"],
        "nothing is left beside a closed database"
    );
    let store = folder.open();
    assert_filled(&store, lease.job, 250);
    assert_eq!(store.chunk(lease.job, 0).unwrap(), Some(vec![1, 2, 3]));
    assert_eq!(store.chunk(lease.job, 1).unwrap(), None);
    let job = job(&store, lease.job);
    assert_eq!((job.id, job.state, job.rows), (lease.id, JobState::Done, 250));
    assert_eq!((job.summary.as_str(), job.taken), ("{\"answered\":250}", false));
}

#[test]
fn an_equal_list_with_equal_settings_is_the_same_job() {
    let folder = Folder::new();
    let store = folder.open();
    let import = |settings: &str, digest: &[u8]| {
        let job = NewJob {
            settings: settings.into(),
            ..new_job("leads.csv")
        };
        let lease = store.create(&job).unwrap();
        let twin = store.imported(&lease, 3, digest).unwrap();
        (lease, twin.map(|twin| twin.number))
    };
    let (first, none) = import("a", b"rows");
    assert_eq!(none, None);
    assert_eq!(import("a", b"other rows").1, None);
    assert_eq!(import("b", b"rows").1, None);
    let (second, twin) = import("a", b"rows");
    assert_eq!(twin, Some(first.job));
    store.delete(second.job).unwrap();
    store.submit(Write::Job {
        lease: first,
        summary: "{}".into(),
        state: JobState::Done,
        released: true,
    });
    assert_eq!(import("a", b"rows").1, None, "what is done is not gone on with");
}

#[test]
fn a_private_database_leaves_nothing_behind() {
    let store = SqliteStore::private().unwrap();
    let path = store.path().to_owned();
    let lease = store.create(&new_job("-")).unwrap();
    write(&store, &lease, numbered(0..10)).unwrap();
    assert_filled(&store, lease.job, 10);
    drop(store);
    assert!(!path.parent().unwrap().exists());
}

#[test]
fn the_last_reference_may_end_on_the_writers_thread() {
    let folder = Folder::new();
    let store = Arc::new(folder.open());
    let lease = store.create(&new_job("leads.csv")).unwrap();
    let (tell, told) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let held = Arc::clone(&store);
    store.submit(Write::Records {
        lease: lease.clone(),
        records: numbered(0..3),
        done: Box::new(move |result| {
            gone.recv().unwrap();
            drop(held);
            tell.send(result.map(|entries| entries.len())).unwrap();
        }),
    });
    drop(store);
    go.send(()).unwrap();
    assert_eq!(told.recv().unwrap().unwrap(), 3);
}
