//! The table of jobs.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::{
    JobNumber, JobRecord, JobState, Lease, NewJob, StoreError,
    heap::{millis, time},
    presence::Presence,
};

pub(super) const COLUMNS: &str =
    "number, id, state, created_at, updated_at, source, settings, layout, rows, summary, run";
pub(super) const COLUMN_COUNT: usize = 11;

pub(super) fn create(connection: &mut Connection, job: &NewJob, id: &str, run: &str) -> Result<Lease, StoreError> {
    let now = millis(SystemTime::now()).cast_signed();
    let sql = "INSERT INTO job (id, state, created_at, updated_at, source, settings, layout, run)
        VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7)";
    let state = JobState::Importing.name();
    connection.execute(sql, params![id, state, now, job.source, job.settings, job.layout, run])?;
    Ok(Lease {
        job: connection.last_insert_rowid(),
        id: id.to_owned(),
        epoch: 0,
    })
}

pub(super) fn take(connection: &mut Connection, job: JobNumber, presence: &Presence) -> Result<Lease, StoreError> {
    let transaction = begin(connection)?;
    let id = free(&transaction, job, presence)?;
    let epoch = {
        let sql = "UPDATE job SET run = ?2, epoch = epoch + 1 WHERE number = ?1 RETURNING epoch";
        transaction.query_row(sql, params![job, presence.run()], |row| row.get(0))?
    };
    transaction.commit()?;
    Ok(Lease { job, id, epoch })
}

pub(super) fn all(connection: &Connection, presence: &Presence) -> Result<Vec<JobRecord>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM job ORDER BY number DESC");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next()? {
        jobs.push(record(row, presence)?);
    }
    Ok(jobs)
}

/// Closes the import, and looks for the job that it repeats.
pub(super) fn imported(
    connection: &mut Connection,
    lease: &Lease,
    (rows, digest): (u64, &[u8]),
    presence: &Presence,
) -> Result<Option<JobRecord>, StoreError> {
    let transaction = begin(connection)?;
    let state = JobState::Open.name();
    let sql = format!(
        "SELECT {COLUMNS} FROM job WHERE digest = ?2 AND state = ?3 AND number <> ?1
         AND settings = (SELECT settings FROM job WHERE number = ?1)
         AND number NOT IN (SELECT job FROM api_job) ORDER BY number DESC LIMIT 1"
    );
    let twin = transaction
        .prepare(&sql)?
        .query_row(params![lease.job, digest, state], |row| Ok(record(row, presence)))
        .optional()?
        .transpose()?;
    if twin.is_some() {
        // The import is dropped. It never becomes open: a process that is killed before it drops it would leave an open job
        // without answers, newer than the one that has them.
        return Ok(twin);
    }
    let sql = "UPDATE job SET state = ?2, rows = ?3, digest = ?4 WHERE number = ?1 AND epoch = ?5";
    let changed = transaction.execute(sql, params![lease.job, state, rows.cast_signed(), digest, lease.epoch])?;
    if changed == 0 {
        return Err(StoreError::LostLease);
    }
    transaction.commit()?;
    Ok(None)
}

/// Drops an import: its rows are in another job as well, or nothing was done with them.
pub(super) fn discard(connection: &mut Connection, lease: &Lease) -> Result<(), StoreError> {
    let transaction = begin(connection)?;
    let sql = "DELETE FROM job WHERE number = ?1 AND epoch = ?2";
    if transaction.execute(sql, params![lease.job, lease.epoch])? == 0 {
        return Err(StoreError::LostLease);
    }
    transaction.execute("DELETE FROM chunk WHERE job = ?1", [lease.job])?;
    Ok(transaction.commit()?)
}

/// Removes a job whose import was cut off. It has rows of its list and nothing else: their bytes are overwritten in place, and
/// no answer about anybody is left to look for. One that does hold answers is deleted.
pub(super) fn abandon(connection: &mut Connection, job: JobNumber, presence: &Presence) -> Result<(), StoreError> {
    let transaction = begin(connection)?;
    free(&transaction, job, presence)?;
    let sql = "SELECT EXISTS (SELECT 1 FROM batch WHERE job = ?1) OR EXISTS (SELECT 1 FROM mail_domain WHERE job = ?1)";
    if transaction.query_row(sql, [job], |row| row.get(0))? {
        drop(transaction);
        return delete(connection, job, presence);
    }
    transaction.execute("DELETE FROM chunk WHERE job = ?1", [job])?;
    transaction.execute("DELETE FROM job WHERE number = ?1", [job])?;
    Ok(transaction.commit()?)
}

pub(super) fn delete(connection: &mut Connection, job: JobNumber, presence: &Presence) -> Result<(), StoreError> {
    let transaction = begin(connection)?;
    free(&transaction, job, presence)?;
    empty(&transaction, job)?;
    transaction.commit()?;
    // The empty job stays until nothing is left of it, so that a deletion that was cut off can be repeated.
    clean(connection)?;
    remove(connection, &[job])
}

/// Removes jobs that nobody worked on since a time, and what is left over of the others' knowledge.
pub(super) fn forget(
    connection: &mut Connection,
    before: SystemTime,
    presence: &Presence,
) -> Result<Vec<JobNumber>, StoreError> {
    let before = millis(before).cast_signed();
    let transaction = begin(connection)?;
    let owned = |table: &str, what: &str| -> Result<Vec<_>, StoreError> {
        let sql = format!("SELECT {what}, run FROM {table} WHERE updated_at < ?1");
        let mut statement = transaction.prepare(&sql)?;
        let all = statement.query_map([before], |row| {
            Ok((
                row.get::<_, rusqlite::types::Value>(0)?,
                row.get::<_, Option<String>>(1)?,
            ))
        })?;
        let mut idle = Vec::new();
        for one in all {
            let (what, run) = one?;
            if run.is_none_or(|run| !presence.is_alive(&run)) {
                idle.push(what);
            }
        }
        Ok(idle)
    };
    let mut old = Vec::new();
    for number in owned("job", "number")? {
        if let rusqlite::types::Value::Integer(number) = number {
            empty(&transaction, number)?;
            old.push(number);
        }
    }
    for group in owned("host_group", "name")? {
        transaction.execute("DELETE FROM host_group WHERE name = ?1", [group])?;
    }
    transaction.execute("DELETE FROM mail_domain WHERE job = 0 AND checked_at < ?1", [before])?;
    transaction.commit()?;
    if !old.is_empty() {
        clean(connection)?;
        remove(connection, &old)?;
    }
    Ok(old)
}

pub(super) fn begin(connection: &mut Connection) -> Result<Transaction<'_>, StoreError> {
    Ok(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

/// The job's name, if nobody else works on it.
pub(super) fn free(transaction: &Transaction<'_>, job: JobNumber, presence: &Presence) -> Result<String, StoreError> {
    let sql = "SELECT id, run FROM job WHERE number = ?1";
    let found: Option<(String, Option<String>)> = transaction
        .query_row(sql, [job], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (id, run) = found.ok_or(StoreError::NoSuchJob)?;
    match run.filter(|run| run != presence.run() && presence.is_alive(run)) {
        Some(run) => Err(StoreError::Busy {
            id,
            process: presence.process(&run),
        }),
        None => Ok(id),
    }
}

/// Removes what a job holds, and what it was about.
fn empty(transaction: &Transaction<'_>, job: JobNumber) -> Result<(), StoreError> {
    for table in ["chunk", "batch", "pointer", "mail_domain"] {
        transaction.execute(&format!("DELETE FROM {table} WHERE job = ?1"), [job])?;
    }
    let sql =
        "UPDATE job SET state = ?2, source = '(deleted)', settings = '{}', layout = '{}', digest = NULL, rows = 0,
        summary = '{}', run = NULL, epoch = epoch + 1 WHERE number = ?1";
    transaction.execute(sql, params![job, JobState::Cancelled.name()])?;
    Ok(())
}

fn remove(connection: &mut Connection, jobs: &[JobNumber]) -> Result<(), StoreError> {
    let transaction = begin(connection)?;
    for job in jobs {
        transaction.execute("DELETE FROM job WHERE number = ?1", [job])?;
    }
    Ok(transaction.commit()?)
}

/// Nothing of what was deleted stays in the file. `secure_delete` overwrites what is deleted, but it does not promise to reach
/// copies left behind when rows move to another page (SQLite 3.40 left about one in three hundred, 3.54 none that we found);
/// writing the file anew does, and gives the space back. A million answers take 0.8 to 2.6 s.
fn clean(connection: &Connection) -> Result<(), StoreError> {
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); VACUUM;")?;
    let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy {
        return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None).into());
    }
    Ok(())
}

pub(super) fn record(row: &Row<'_>, presence: &Presence) -> Result<JobRecord, StoreError> {
    let at = |index| Ok::<_, rusqlite::Error>(time(row.get::<_, i64>(index)?.cast_unsigned()));
    let state: String = row.get(2)?;
    let run: Option<String> = row.get(10)?;
    let run = run.filter(|run| presence.is_alive(run));
    Ok(JobRecord {
        number: row.get(0)?,
        id: row.get(1)?,
        state: JobState::named(&state).ok_or(StoreError::Damaged("a job is in a state that is none"))?,
        created_at: at(3)?,
        updated_at: at(4)?,
        source: row.get(5)?,
        settings: row.get(6)?,
        layout: row.get(7)?,
        rows: row.get::<_, i64>(8)?.cast_unsigned(),
        summary: row.get(9)?,
        process: run.as_deref().and_then(|run| presence.process(run)),
        taken: run.is_some(),
    })
}
