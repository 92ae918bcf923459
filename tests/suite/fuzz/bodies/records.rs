//! A database that somebody else wrote: records, directories, rows and what is known of domains.

use std::{cell::RefCell, sync::Arc};

use presend::{
    address::{Domain, Rules},
    dns::MailRoute,
    input::Row,
    store::{Entry, JobNumber, Kept, NewJob, Reading, SqliteStore, Store as _},
};
use rusqlite::{Connection, params};
use tempfile::TempDir;

use super::sinks;

/// Records of one input that are read.
const READ: usize = 16;
const DOMAIN: &str = "acme.com";

struct Database {
    store: SqliteStore,
    writer: Connection,
    job: JobNumber,
    batch: u32,
    _folder: TempDir,
}

thread_local!(static DATABASE: RefCell<Database> = RefCell::new(Database::new()));

impl Database {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("presend.db");
        let store = SqliteStore::open(&path).expect("a new database").store;
        let job = NewJob {
            source: "list.csv".into(),
            settings: "{}".into(),
            layout: "{}".into(),
        };
        let job = store.create(&job).expect("a new database").job;
        let writer = Connection::open(path).expect("a database");
        writer.pragma_update(None, "synchronous", "OFF").expect("a database");
        Self {
            store,
            writer,
            job,
            batch: 0,
            _folder: folder,
        }
    }

    /// Puts the pieces where a run reads them. Each input has a number of its own: batches never change, so the store keeps them.
    fn write(&mut self, directory: &[u8], records: &[u8], memory: &[u8]) {
        self.batch += 1;
        let write = |sql: &str, values: &[&dyn rusqlite::ToSql]| self.writer.execute(sql, values).expect("a database");
        write("BEGIN", &[]);
        write("DELETE FROM batch", &[]);
        write(
            "INSERT INTO batch (job, number, created_at, directory, records) VALUES (?1, ?2, 0, ?3, ?4)",
            params![self.job, self.batch, directory, records],
        );
        write(
            "INSERT OR REPLACE INTO mail_domain (job, name, memory, checked_at) VALUES (0, ?1, ?2, -1)",
            params![DOMAIN, memory],
        );
        write("COMMIT", &[]);
    }
}

/// Everything is read or refused; what is read is bounded by what was stored, cannot be dialled, and is harmless in every sink.
pub(super) fn body(bytes: &[u8]) -> bool {
    let pieces = super::pieces(bytes);
    let piece = |number: usize| pieces.get(number).copied().unwrap_or_default();
    let (directory, records, memory) = (piece(0), piece(1), piece(2));
    rows(piece(3));
    DATABASE.with_borrow_mut(|database| {
        database.write(directory, records, memory);
        let Database { store, job, .. } = database;
        let name = Domain::parse(DOMAIN, Rules::default()).expect("a domain");
        let domain = store.domain(None, &name).is_ok_and(|known| known.is_some());
        let entries = store.entries(*job).expect("the database is whole");
        assert_eq!(entries.len(), directory.len() / 9);
        let mut read = false;
        for entry in entries.iter().take(READ) {
            if let Ok(kept) = store.record(*job, entry.place, Reading::default()) {
                sound(&kept, *entry, records);
                let history = store.history(&kept.mailbox, Reading::default());
                assert!(history.is_err() || history.is_ok_and(|all| !all.is_empty()));
                sinks::kept(kept);
                read = true;
            }
        }
        read || domain
    })
}

fn sound(kept: &Kept, entry: Entry, records: &[u8]) {
    assert!((entry.place.offset as usize) < records.len());
    let mut size = kept.mailbox.len();
    if let Some(answer) = kept.evidence.answer.known() {
        size += answer.reply.lines().iter().map(|line| line.len()).sum::<usize>();
    }
    for transcript in &kept.transcripts {
        size += transcript
            .entries
            .iter()
            .map(|entry| entry.text.len() + 1)
            .sum::<usize>();
    }
    assert!(size <= 100 * records.len(), "{size} bytes of {}", records.len());
    let route: Option<&Arc<MailRoute>> = kept.evidence.route.known();
    match route.map(|route| &**route) {
        Some(MailRoute::Exchangers(exchangers)) => {
            assert!(exchangers.iter().all(|exchanger| exchanger.addresses.is_empty()));
        }
        Some(MailRoute::ImplicitMx(exchanger)) => assert!(exchanger.addresses.is_empty()),
        Some(MailRoute::NullMx | MailRoute::NoSuchDomain | MailRoute::NoMailHost(_) | MailRoute::Failure(_)) | None => {
        }
    }
}

/// Rows that can be read are written again as they were.
fn rows(mut bytes: &[u8]) {
    let mut row = Row::default();
    loop {
        let before = bytes;
        match row.decode(&mut bytes) {
            Ok(true) => assert!(bytes.len() < before.len(), "a row of nothing"),
            Ok(false) | Err(_) => return,
        }
        let mut written = Vec::new();
        row.encode(&mut written).expect("a row can be kept");
        let mut again = Row::default();
        assert!(again.decode(&mut written.as_slice()).expect("what was kept"));
        assert_eq!(format!("{again:?}"), format!("{row:?}"));
    }
}
