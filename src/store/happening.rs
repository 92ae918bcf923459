//! What happened to jobs and verifications, in order, for whoever must hear of each of it once at least.
//!
//! The rows are written by triggers (`api.sql`), in the transaction in which it happens. Must not know who reads them.

use std::time::SystemTime;

use rusqlite::{Row, params};

use super::{SqliteStore, StoreError, heap::millis, heap::time};

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HappeningKind {
    /// A list was taken and is going to be asked about.
    JobStarted,
    /// Every row of it is answered.
    JobDone,
    /// Somebody gave it up.
    JobCancelled,
    /// It cannot go on by itself.
    JobFailed,
    /// A question that took longer has its final answer.
    VerificationDone,
}

impl HappeningKind {
    const ALL: [Self; 5] = [
        Self::JobStarted,
        Self::JobDone,
        Self::JobCancelled,
        Self::JobFailed,
        Self::VerificationDone,
    ];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::JobStarted => "job_started",
            Self::JobDone => "job_done",
            Self::JobCancelled => "job_cancelled",
            Self::JobFailed => "job_failed",
            Self::VerificationDone => "verification_done",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// Its place among all, from 1, never given twice: whoever keeps the last one that he took misses none.
    pub number: i64,
    /// When.
    pub at: SystemTime,
    /// To whom.
    pub tenant: String,
    /// What.
    pub kind: HappeningKind,
    /// The id of the job or the verification.
    pub subject: String,
    /// JSON: the counts of a job as they are kept with it, the answer of a verification as it is sent.
    pub body: String,
}

fn happening(row: &Row<'_>) -> rusqlite::Result<Option<Happening>> {
    let kind: String = row.get(3)?;
    let kind = HappeningKind::ALL.into_iter().find(|known| known.name() == kind);
    let Some(kind) = kind else { return Ok(None) };
    Ok(Some(Happening {
        number: row.get(0)?,
        at: time(row.get::<_, i64>(1)?.cast_unsigned()),
        tenant: row.get(2)?,
        kind,
        subject: row.get(4)?,
        body: row.get(5)?,
    }))
}

impl SqliteStore {
    /// What happened after number `after`, oldest first, so many at most.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn happenings(&self, after: i64, most: u32) -> Result<Vec<Happening>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT number, at, tenant, kind, subject, body FROM happening WHERE number > ?1 ORDER BY number LIMIT ?2";
            let mut select = connection.prepare_cached(sql)?;
            let rows = select.query_map(params![after, most], happening)?;
            let found: Vec<_> = rows.collect::<Result<_, _>>()?;
            Ok(found.into_iter().flatten().collect())
        })
    }

    /// Forgets what happened before: whoever wanted to hear of it has had the time.
    pub fn forget_happenings_soon(&self, before: SystemTime) {
        let before = millis(before).cast_signed();
        self.soon(move |connection| {
            connection.execute("DELETE FROM happening WHERE at < ?1", [before])?;
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{JobState, Lease, NewJob, Store, Write};

    fn write(store: &SqliteStore, lease: &Lease, state: JobState) {
        store.submit(Write::Job {
            lease: lease.clone(),
            summary: "{\"answered\":3}".to_owned(),
            state,
            released: true,
        });
        store.flush().blocking_recv().unwrap().unwrap();
    }

    fn kinds(store: &SqliteStore, after: i64) -> Vec<(&'static str, String)> {
        let found = store.happenings(after, 100).unwrap();
        found
            .into_iter()
            .map(|happening| (happening.kind.name(), happening.subject))
            .collect()
    }

    #[test]
    fn what_happens_is_told_once_and_in_order() {
        let store = SqliteStore::private().unwrap();
        let job = NewJob {
            source: "leads.csv".to_owned(),
            settings: "{}".to_owned(),
            layout: "{\"format\":\"csv\"}".to_owned(),
        };
        let (first, second, theirs) = (
            store.create(&job).unwrap(),
            store.create(&job).unwrap(),
            store.create(&job).unwrap(),
        );
        let numbers = [first.job, second.job];
        store
            .call(move |connection| {
                for number in numbers {
                    let sql = "INSERT INTO api_job (job, tenant, options, wish) VALUES (?1, 'sales', '{}', 'run')";
                    connection.execute(sql, [number])?;
                }
                Ok(())
            })
            .unwrap();
        write(&store, &theirs, JobState::Done);
        write(&store, &first, JobState::Open);
        write(&store, &first, JobState::Done);
        write(&store, &first, JobState::Done);
        write(&store, &second, JobState::Cancelled);
        let expected = [
            ("job_started", first.id.clone()),
            ("job_started", second.id.clone()),
            ("job_done", first.id.clone()),
            ("job_cancelled", second.id.clone()),
        ];
        assert_eq!(kinds(&store, 0), expected);
        let done = store.happenings(2, 1).unwrap();
        assert_eq!(
            (done[0].number, &*done[0].tenant, &*done[0].body),
            (3, "sales", "{\"answered\":3}")
        );
        // A deleted job says nothing more, and its row goes with it.
        let third = store.create(&job).unwrap();
        store.delete(third.job).unwrap();
        store.delete(first.job).unwrap();
        assert_eq!(kinds(&store, 0).len(), 4);
        let left: i64 = store
            .read(|connection| Ok(connection.query_row("SELECT count(*) FROM api_job", [], |row| row.get(0))?))
            .unwrap();
        assert_eq!(left, 1);
        store.forget_happenings_soon(SystemTime::now() + std::time::Duration::from_secs(1));
        store.flush().blocking_recv().unwrap().unwrap();
        assert_eq!(kinds(&store, 0), []);
        write(&store, &second, JobState::Open);
        write(&store, &second, JobState::Done);
        assert_eq!(
            store.happenings(0, 9).unwrap()[0].number,
            5,
            "a number is never given twice"
        );
    }
}
