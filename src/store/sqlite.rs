//! The SQLite file: opening it, keeping it whole, reading from it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Sender},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use prometheus_client::metrics::histogram::Histogram;
use rand::Rng as _;
use rusqlite::{Connection, OpenFlags, OptionalExtension, config::DbConfig, params};
use tokio::sync::{oneshot, watch};

use super::{
    Claim, DomainMemory, Entry, Excerpt, JobNumber, JobRecord, Kept, Known, Lease, NewJob, Place, Reading, Store,
    StoreError, Write,
    cache::Cache,
    evidence,
    heap::{self, time},
    jobs,
    presence::Presence,
    writer::{self, Command, Writer, read_entries},
};
use crate::{address::Domain, meter};

/// Steps from one layout to the next; the first makes an empty file ours.
const LAYOUTS: [&str; 4] = [
    include_str!("schema.sql"),
    include_str!("keys.sql"),
    include_str!("evidence.sql"),
    concat!(
        include_str!("api.sql"),
        include_str!("webhook.sql"),
        include_str!("bounce.sql"),
        include_str!("lint.sql")
    ),
];
/// The newest layout.
const LAYOUT: i64 = LAYOUTS.len().cast_signed() as i64;
/// `presend` in a file's header, so that nobody takes another program's database for ours.
const APPLICATION: i64 = 0x5072_736e;
/// Bytes of SQLite's smallest page.
const SMALLEST: u64 = 512;
/// How long to wait for another process that writes.
/// It may be deleting a job from a large file (ten million answers: about a minute).
const PATIENCE: Duration = Duration::from_mins(5);
/// How long to wait where SQLite refuses to wait itself.
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// A store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    reader: Mutex<Connection>,
    presence: Arc<Presence>,
    cache: Arc<Cache>,
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    failure: watch::Receiver<Option<Arc<StoreError>>>,
    timing: Histogram,
    /// A private database vanishes with the process.
    _private: Option<tempfile::TempDir>,
}

/// An opened store, and what happened to the file.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: SqliteStore,
    /// The file that was there could not be read and was moved here.
    pub moved: Option<PathBuf>,
}

impl SqliteStore {
    /// Opens the database, makes it if there is none, and brings an older one up to date. One that cannot be read is moved
    /// aside, whole.
    ///
    /// # Errors
    /// It cannot be opened, or a newer presend made it.
    pub fn open(path: &Path) -> Result<Opened, StoreError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(|error| cannot_open(path, &error))?;
        }
        match Self::assemble(path, None) {
            Err(StoreError::Damaged(_)) => {
                let moved = move_aside(path).map_err(|error| cannot_open(path, &error))?;
                let store = Self::assemble(path, None)?;
                Ok(Opened {
                    store,
                    moved: Some(moved),
                })
            }
            opened => Ok(Opened {
                store: opened?,
                moved: None,
            }),
        }
    }

    /// A database that nobody else sees and that is gone afterwards.
    ///
    /// # Errors
    /// The folder for temporary files cannot be written.
    pub fn private() -> Result<Self, StoreError> {
        let folder = tempfile::tempdir().map_err(|error| cannot_open(&std::env::temp_dir(), &error))?;
        Self::assemble(&folder.path().join("presend.db"), Some(folder))
    }

    fn assemble(path: &Path, private: Option<tempfile::TempDir>) -> Result<Self, StoreError> {
        let explain = |error| StoreError::explain(error, path);
        let logged = size(&suffixed(path, "-wal")) > 0;
        match size(path) {
            // SQLite would take these for new databases, and throw the log away.
            0 if logged => return Err(StoreError::Damaged("only its log is left")),
            1..SMALLEST => return Err(StoreError::Damaged("its end is missing")),
            _ => {}
        }
        make_private(path);
        let mut connection = connect(path).map_err(explain)?;
        // Until we know that it is ours and whole, not even what is in its log is moved.
        let as_it_is = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        connection.set_db_config(as_it_is, logged).map_err(explain)?;
        connection.busy_timeout(PATIENCE).map_err(explain)?;
        inspect(&mut connection, path)?;
        // SQLite opens it anyway and complains at the first write, after the work is done.
        if connection.is_readonly("main").map_err(explain)? {
            return Err(StoreError::ReadOnly { path: path.to_owned() });
        }
        patiently(|| prepare(&connection, private.is_some())).map_err(explain)?;
        migrate(&mut connection, path)?;
        connection.set_db_config(as_it_is, false).map_err(explain)?;
        // It may write so that it can put the log away when it is the last to close the file.
        let reader = reader(path)?;
        let visible = private.is_none().then_some(path);
        let presence = Presence::announce(visible, name(16)).map_err(|source| StoreError::Presence {
            path: path.to_owned(),
            source,
        })?;
        let (presence, cache) = (Arc::new(presence), Arc::new(Cache::default()));
        let (sender, failure) = watch::channel(None);
        let timing = meter::seconds();
        let (commands, thread) = writer::start(Writer {
            connection,
            path: path.to_owned(),
            presence: Arc::clone(&presence),
            cache: Arc::clone(&cache),
            failure: sender,
            batches: std::collections::HashMap::new(),
            timing: timing.clone(),
        })
        .map_err(|error| cannot_open(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            reader: Mutex::new(reader),
            presence,
            cache,
            commands: Some(commands),
            thread: Some(thread),
            failure,
            timing,
            _private: private,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long writes take, in seconds.
    #[must_use]
    pub fn timing(&self) -> Histogram {
        self.timing.clone()
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // The thread ends only when this sender is dropped, or by a fault of ours: then `failure` is closed.
            let _ = commands.send(command);
        }
    }

    /// A connection that only reads.
    pub(super) fn another_reader(&self) -> Result<Connection, StoreError> {
        reader(&self.path)
    }

    /// Lets the writer do something, and waits for it.
    pub(super) fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.send(Command::Call(Box::new(move |connection| {
            let _ = reply.send(work(connection));
        })));
        let answer = answer.recv().unwrap_or(Err(StoreError::Ended));
        answer.map_err(|error| error.explained(&self.path))
    }

    /// Lets the writer do something, and waits for it without holding a thread up.
    pub(super) async fn later<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Call(Box::new(move |connection| {
            let _ = reply.send(work(connection));
        })));
        let answer = answer.await.unwrap_or(Err(StoreError::Ended));
        answer.map_err(|error| error.explained(&self.path))
    }

    /// Lets the writer do something that nobody waits for; that it failed is in the log.
    pub(super) fn soon(&self, work: impl FnOnce(&mut Connection) -> Result<(), StoreError> + Send + 'static) {
        self.send(Command::Call(Box::new(move |connection| {
            if let Err(error) = work(connection) {
                tracing::warn!(%error, "something was not written");
            }
        })));
    }

    pub(super) fn presence(&self) -> &Presence {
        &self.presence
    }

    pub(super) fn shared_presence(&self) -> Arc<Presence> {
        Arc::clone(&self.presence)
    }

    /// Reads, while nobody else of this process does.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        work(&self.reader()).map_err(|error| error.explained(&self.path))
    }

    fn batch(&self, job: JobNumber, number: u32) -> Result<Arc<[u8]>, StoreError> {
        if let Some(batch) = self.cache.find((job, number)) {
            return Ok(batch);
        }
        let batch: Arc<[u8]> =
            self.read(|connection| with_batch(connection, (job, number), |bytes| Arc::from(bytes)))?;
        self.cache.keep((job, number), Arc::clone(&batch));
        Ok(batch)
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.commands = None;
        // The last reference may go on the writer's thread itself, with what it was to tell.
        let here = std::thread::current().id();
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != here) {
            // What was submitted is written before the file is closed.
            let _ = thread.join();
        }
    }
}

impl Store for SqliteStore {
    fn create(&self, job: &NewJob) -> Result<Lease, StoreError> {
        let (job, presence) = (job.clone(), Arc::clone(&self.presence));
        self.call(move |connection| jobs::create(connection, &job, &name(8), presence.run()))
    }

    fn take(&self, job: JobNumber) -> Result<Lease, StoreError> {
        let presence = Arc::clone(&self.presence);
        self.call(move |connection| jobs::take(connection, job, &presence))
    }

    fn jobs(&self) -> Result<Vec<JobRecord>, StoreError> {
        self.read(|connection| jobs::all(connection, &self.presence))
    }

    fn imported(&self, lease: &Lease, rows: u64, digest: &[u8]) -> Result<Option<JobRecord>, StoreError> {
        let (lease, digest, presence) = (lease.clone(), digest.to_vec(), Arc::clone(&self.presence));
        self.call(move |connection| jobs::imported(connection, &lease, (rows, &digest), &presence))
    }

    fn discard(&self, lease: &Lease) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.call(move |connection| jobs::discard(connection, &lease))
    }

    fn delete(&self, job: JobNumber) -> Result<(), StoreError> {
        let (presence, cache) = (Arc::clone(&self.presence), Arc::clone(&self.cache));
        self.call(move |connection| {
            jobs::delete(connection, job, &presence)?;
            cache.forget(job);
            Ok(())
        })
    }

    fn abandon(&self, job: JobNumber) -> Result<(), StoreError> {
        let presence = Arc::clone(&self.presence);
        self.call(move |connection| jobs::abandon(connection, job, &presence))
    }

    fn forget(&self, before: SystemTime) -> Result<u64, StoreError> {
        let (presence, cache) = (Arc::clone(&self.presence), Arc::clone(&self.cache));
        self.call(move |connection| {
            let forgotten = jobs::forget(connection, before, &presence)?;
            for job in &forgotten {
                cache.forget(*job);
            }
            Ok(u64::try_from(forgotten.len()).unwrap_or(u64::MAX))
        })
    }

    fn chunk(&self, job: JobNumber, number: u32) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT rows FROM chunk WHERE job = ?1 AND number = ?2";
            let mut statement = connection.prepare_cached(sql)?;
            Ok(statement.query_row(params![job, number], |row| row.get(0)).optional()?)
        })
    }

    fn entries(&self, job: JobNumber) -> Result<Vec<Entry>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT number, directory FROM batch WHERE job = ?1 ORDER BY number";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([job])?;
            let mut entries = Vec::new();
            while let Some(row) = rows.next()? {
                let directory = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
                read_entries(row.get(0)?, directory, &mut entries);
            }
            Ok(entries)
        })
    }

    fn record(&self, job: JobNumber, place: Place, reading: Reading<'_>) -> Result<Kept, StoreError> {
        heap::read(&self.batch(job, place.batch)?, place.offset, reading)
    }

    fn records(&self, job: JobNumber, places: &[Place], reading: Reading<'_>) -> Result<Vec<Kept>, StoreError> {
        let mut records = Vec::with_capacity(places.len());
        let mut reader = heap::Reader::new(reading);
        for places in places.chunk_by(|one, next| one.batch == next.batch) {
            let batch = places.first().map(|first| self.batch(job, first.batch)).transpose()?;
            reader.turn();
            for place in places {
                records.push(reader.read(batch.as_deref().unwrap_or_default(), place.offset)?);
            }
        }
        Ok(records)
    }

    fn excerpt(&self, job: JobNumber, places: &[Place], most: usize) -> Result<Option<Excerpt>, StoreError> {
        let mut taking = heap::Taking::new(places.len());
        // One after the other, and none again: they are no news for the cache. Others do the same beside this one.
        let (connection, mut batch) = (self.another_reader()?, Vec::new());
        connection
            .pragma_update(None, "cache_size", 64)
            .map_err(|error| StoreError::explain(error, &self.path))?;
        for places in places.chunk_by(|one, next| one.batch == next.batch) {
            batch.clear();
            if let Some(first) = places.first() {
                with_batch(&connection, (job, first.batch), |bytes| batch.extend_from_slice(bytes))
                    .map_err(|error| error.explained(&self.path))?;
            }
            taking.take_all(&batch, places)?;
            if taking.size() > most {
                return Ok(None);
            }
        }
        Ok(Some(taking.finish()))
    }

    fn history(&self, mailbox: &str, reading: Reading<'_>) -> Result<Vec<(JobNumber, Entry, Kept)>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT job, number, directory, records FROM batch ORDER BY created_at, job, number";
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            let (mut found, mut entries) = (Vec::new(), Vec::new());
            while let Some(row) = rows.next()? {
                entries.clear();
                let blob = |index| Ok::<_, StoreError>(row.get_ref(index)?.as_blob().map_err(rusqlite::Error::from)?);
                read_entries(row.get(1)?, blob(2)?, &mut entries);
                let records = blob(3)?;
                for entry in &entries {
                    if heap::mailbox(records, entry.place.offset)?.eq_ignore_ascii_case(mailbox) {
                        let kept = heap::read(records, entry.place.offset, reading)?;
                        found.push((row.get(0)?, *entry, kept));
                    }
                }
            }
            Ok(found)
        })
    }

    fn known(&self, domain: i64) -> Result<Vec<Known>, StoreError> {
        self.read(|connection| evidence::known(connection, domain, |_| true))
    }

    fn known_of(&self, domain: i64, addresses: &[i64]) -> Result<Vec<Known>, StoreError> {
        let wanted = |address| addresses.binary_search(&address).is_ok();
        self.read(|connection| evidence::known(connection, domain, wanted))
    }

    fn whereabouts(&self, domain: i64) -> Result<Option<(JobNumber, u32)>, StoreError> {
        self.read(|connection| evidence::whereabouts(connection, domain))
    }

    fn knows_anything(&self) -> Result<bool, StoreError> {
        self.read(evidence::is_some)
    }

    fn domain(&self, job: Option<JobNumber>, name: &Domain) -> Result<Option<(DomainMemory, SystemTime)>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT memory, checked_at FROM mail_domain WHERE name = ?2 AND job IN (?1, 0) ORDER BY job DESC LIMIT 1";
            let found: Option<(Vec<u8>, i64)> = connection
                .prepare_cached(sql)?
                .query_row(params![job.unwrap_or(0), name.as_str()], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()?;
            let read = |(memory, at): (Vec<u8>, i64)| Ok((heap::decode(&memory)?, time(at.cast_unsigned())));
            found.map(read).transpose()
        })
    }

    fn claim(&self, group: &Arc<str>) -> oneshot::Receiver<Result<Claim, Arc<StoreError>>> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Claim(Arc::clone(group), reply));
        answer
    }

    fn submit(&self, write: Write) {
        self.send(Command::Write(write));
    }

    fn flush(&self) -> oneshot::Receiver<Result<(), Arc<StoreError>>> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Flush(reply));
        answer
    }

    fn failure(&self) -> watch::Receiver<Option<Arc<StoreError>>> {
        self.failure.clone()
    }
}

/// A new database is its owner's alone: it holds addresses and secrets. SQLite gives the files beside it the same rights.
fn make_private(path: &Path) {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // Whatever is wrong with the place, SQLite says it.
    let _ = options.open(path);
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // No URI: `--db file:x?mode=memory` is a file of that name.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(32);
    // Else a statement is planned again whenever a value in it changes: two of three parts of the time of a lookup.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// The write-ahead log lets readers read while the writer writes, and a killed process leaves whole transactions behind; only a
/// power cut may lose the last ones (`synchronous = NORMAL`).
fn prepare(connection: &Connection, private: bool) -> rusqlite::Result<()> {
    let synchronous = if private { "OFF" } else { "NORMAL" };
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA secure_delete = ON;
         PRAGMA cache_size = -8192; PRAGMA wal_autocheckpoint = 8000; PRAGMA journal_size_limit = 33554432;"
    ))
}

/// Tries again as long as the file is locked. SQLite itself waits nowhere while it holds a lock that another may be waiting for:
/// of two processes that set up one new file, the second is refused the log at once (`journal_mode` in
/// <https://www.sqlite.org/pragma.html>, `SQLITE_BUSY` in <https://www.sqlite.org/c3ref/busy_handler.html>).
fn patiently(mut work: impl FnMut() -> rusqlite::Result<()>) -> rusqlite::Result<()> {
    let begun = Instant::now();
    loop {
        match work() {
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
                    && begun.elapsed() < PATIENCE =>
            {
                std::thread::sleep(BETWEEN_TRIES);
            }
            ended => return ended,
        }
    }
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
}

/// Only looks: whether the file is ours, not too new, and not cut off. A file that lost its end is damaged even where nobody
/// has read yet.
fn inspect(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let explain = |error| StoreError::explain(error, path);
    // Within one transaction nobody can shorten the file.
    let transaction = connection.transaction().map_err(explain)?;
    check_owner(&transaction, path)?;
    let pages = number(&transaction, "page_count").map_err(explain)?.cast_unsigned();
    let needed = pages.saturating_mul(number(&transaction, "page_size").map_err(explain)?.cast_unsigned());
    // Pages that are only in the log are missing from the file and no loss. The log first: it is emptied into the file.
    let there = size(&suffixed(path, "-wal")).saturating_add(size(path));
    if there < needed {
        return Err(StoreError::Damaged("its end is missing"));
    }
    Ok(())
}

/// Whether the file is ours or empty, and of a layout that we know; says which.
fn check_owner(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let explain = |error| StoreError::explain(error, path);
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(explain)?;
    let application = number(connection, "application_id").map_err(explain)?;
    if application != APPLICATION && (tables > 0 || application != 0) {
        return Err(StoreError::Open {
            path: path.to_owned(),
            reason: "it belongs to another program".into(),
        });
    }
    let found = number(connection, "user_version").map_err(explain)?;
    if found > LAYOUT {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known: LAYOUT,
        });
    }
    Ok(found)
}

fn reader(path: &Path) -> Result<Connection, StoreError> {
    let explain = |error| StoreError::explain(error, path);
    let reader = connect(path).map_err(explain)?;
    reader.busy_timeout(PATIENCE).map_err(explain)?;
    reader.pragma_update(None, "query_only", true).map_err(explain)?;
    Ok(reader)
}

/// A batch, as it comes from the file.
fn with_batch<T>(
    connection: &Connection,
    (job, number): (JobNumber, u32),
    see: impl FnOnce(&[u8]) -> T,
) -> Result<T, StoreError> {
    let sql = "SELECT records FROM batch WHERE job = ?1 AND number = ?2";
    let found = connection
        .prepare_cached(sql)?
        .query_row(params![job, number], |row| Ok(see(row.get_ref(0)?.as_blob()?)))
        .optional()?;
    found.ok_or(StoreError::Gone)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let explain = |error| StoreError::explain(error, path);
    if check_owner(connection, path)? == LAYOUT {
        return Ok(());
    }
    let transaction = connection
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(explain)?;
    // Another process may have done it meanwhile.
    let found = check_owner(&transaction, path)?;
    for layout in LAYOUTS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(layout).map_err(explain)?;
    }
    if found < 3 {
        evidence::take_over(&transaction).map_err(|error| error.explained(path))?;
    }
    transaction
        .execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {LAYOUT};"
        ))
        .map_err(explain)?;
    transaction.commit().map_err(explain)
}

/// The name of a file that belongs to the database.
fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Bytes of a file; of none, nothing.
fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Renames the database and what belongs to it; returns its new name.
fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let stamp = humantime::format_rfc3339_seconds(SystemTime::now())
        .to_string()
        .replace(':', "");
    let names = (1..).map(|count| match count {
        1 => suffixed(path, &format!(".damaged-{stamp}")),
        _ => suffixed(path, &format!(".damaged-{stamp}-{count}")),
    });
    let mut free = names.filter(|name| !name.exists());
    let aside = free.next().ok_or(io::ErrorKind::AlreadyExists)?;
    // The database last: a log that stayed would be taken for the new one's.
    for suffix in ["-wal", "-shm", "-journal", ""] {
        match fs::rename(suffixed(path, suffix), suffixed(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(aside)
}

fn cannot_open(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Open {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// Random letters and digits, none of which looks like another.
fn name(length: usize) -> String {
    const ALPHABET: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
    let mut random = rand::rng();
    let pick = |_| {
        let index = random.random_range(0..ALPHABET.len());
        ALPHABET.get(index).copied().map_or('x', char::from)
    };
    (0..length).map(pick).collect()
}
