//! Lists of the API's tenants: accepted, listed, and what is to become of them.
//!
//! Must not know requests; options are its caller's JSON.

use std::time::SystemTime;

use rusqlite::{Connection, Row, named_params, params};

use super::{
    JobNumber, JobRecord, JobState, Lease, SqliteStore, StoreError,
    heap::millis,
    jobs::{self, begin},
    presence::Presence,
    request::{self, Response},
    webhook,
};

/// What is to become of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wish {
    /// It is asked about when its turn comes.
    Run,
    /// It waits until somebody wants it to go on.
    Pause,
    /// It is given up.
    Cancel,
    /// It could not go on; somebody must look at it.
    Fail,
}

impl Wish {
    const ALL: [Self; 4] = [Self::Run, Self::Pause, Self::Cancel, Self::Fail];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Pause => "pause",
            Self::Cancel => "cancel",
            Self::Fail => "fail",
        }
    }
}

/// Who looks at jobs.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// Sees its own jobs.
    pub tenant: String,
    /// And those of the command line.
    pub operator: bool,
}

/// A list that is accepted.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Whose it is.
    pub tenant: String,
    /// What its owner calls it.
    pub name: Option<String>,
    /// JSON: how it is asked.
    pub options: String,
    /// Whom to tell of what happens to it.
    pub webhook: Option<webhook::Webhook>,
    /// The request that it came with, when that has a key, and what is answered.
    pub request: Option<(request::Claim, Response)>,
}

/// A job, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiJob {
    /// The job.
    pub record: JobRecord,
    /// Whose it is; nobody's for one of the command line.
    pub tenant: Option<String>,
    /// What its owner calls it.
    pub name: Option<String>,
    /// JSON: how it is asked.
    pub options: String,
    /// What is to become of it.
    pub wish: Wish,
}

/// After the columns of the job.
const COLUMNS: &str = "tenant, name, options, wish";
const JOINED: &str = "job LEFT JOIN api_job ON api_job.job = job.number";
const VISIBLE: &str =
    "(tenant = :tenant OR (:operator AND tenant IS NULL AND source <> '')) AND job.state <> 'importing'";

fn api_job(row: &Row<'_>, presence: &Presence) -> Result<ApiJob, StoreError> {
    let first = jobs::COLUMN_COUNT;
    let wish: Option<String> = row.get(first + 3)?;
    let wish = wish.and_then(|wish| Wish::ALL.into_iter().find(|known| known.name() == wish));
    Ok(ApiJob {
        record: jobs::record(row, presence)?,
        tenant: row.get(first)?,
        name: row.get(first + 1)?,
        options: row.get::<_, Option<String>>(first + 2)?.unwrap_or_default(),
        wish: wish.unwrap_or(Wish::Run),
    })
}

/// Runs a `SELECT` of jobs.
fn select(
    connection: &Connection,
    presence: &Presence,
    rest: &str,
    values: &[(&str, &dyn rusqlite::ToSql)],
) -> Result<Vec<ApiJob>, StoreError> {
    let sql = format!("SELECT {}, {COLUMNS} FROM {JOINED} WHERE {rest}", jobs::COLUMNS);
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(api_job(row, presence)?);
    }
    Ok(found)
}

impl SqliteStore {
    /// Makes a job of what was taken in; from now on it survives whatever happens.
    ///
    /// # Errors
    /// The database cannot be written, or another process took the job.
    pub async fn accept(&self, lease: &Lease, imported: (u64, [u8; 16]), job: Accepted) -> Result<(), StoreError> {
        let (lease, (rows, digest)) = (lease.clone(), imported);
        self.later(move |connection| {
            let transaction = begin(connection)?;
            let sql = "UPDATE job SET state = ?2, rows = ?3, digest = ?4, run = NULL WHERE number = ?1 AND epoch = ?5";
            let state = JobState::Open.name();
            let changed =
                transaction.execute(sql, params![lease.job, state, rows.cast_signed(), digest, lease.epoch])?;
            if changed == 0 {
                return Err(StoreError::LostLease);
            }
            if let Some(webhook) = &job.webhook {
                webhook::add(&transaction, webhook)?;
            }
            let sql = "INSERT INTO api_job (job, tenant, name, options, wish) VALUES (?1, ?2, ?3, ?4, ?5)";
            let wish = Wish::Run.name();
            transaction.execute(sql, params![lease.job, job.tenant, job.name, job.options, wish])?;
            if let Some((claim, response)) = &job.request {
                request::answered(&transaction, claim, response)?;
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Jobs that `viewer` may see, newest first, from before a job on.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn api_jobs(&self, viewer: &Viewer, before: Option<JobNumber>, most: u32) -> Result<Vec<ApiJob>, StoreError> {
        let before = before.unwrap_or(JobNumber::MAX);
        // SQLite finds a tenant's few jobs among many by their own index only when it is not asked for others as well.
        let which = if viewer.operator {
            format!("number < :before AND {VISIBLE} ORDER BY number DESC LIMIT :most")
        } else {
            format!(
                "api_job.job < :before AND api_job.tenant = :tenant AND :operator = 0 AND {VISIBLE} ORDER BY api_job.job DESC LIMIT :most"
            )
        };
        let values =
            named_params! { ":tenant": viewer.tenant, ":operator": viewer.operator, ":before": before, ":most": most };
        self.read(|connection| select(connection, self.presence(), &which, values))
    }

    /// The job of this id, if `viewer` may see it.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn api_job(&self, viewer: &Viewer, id: &str) -> Result<Option<ApiJob>, StoreError> {
        let which = format!("id = :id AND {VISIBLE}");
        let values = named_params! { ":tenant": viewer.tenant, ":operator": viewer.operator, ":id": id };
        let found = self.read(|connection| select(connection, self.presence(), &which, values))?;
        Ok(found.into_iter().next())
    }

    /// Every list that is to be asked about or given up, oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn unfinished(&self) -> Result<Vec<ApiJob>, StoreError> {
        let which = "job.state = 'open' AND wish IN ('run', 'cancel') ORDER BY number";
        self.read(|connection| select(connection, self.presence(), which, &[]))
    }

    /// The job of this number, if the API made it.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn api_job_numbered(&self, number: JobNumber) -> Result<Option<ApiJob>, StoreError> {
        let values = named_params! { ":number": number };
        let which = "number = :number AND tenant IS NOT NULL";
        let found = self.read(|connection| select(connection, self.presence(), which, values))?;
        Ok(found.into_iter().next())
    }

    /// How many lists of a tenant are not done.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn open_api_jobs(&self, tenant: &str) -> Result<usize, StoreError> {
        self.read(|connection| {
            let sql = "SELECT count(*) FROM api_job JOIN job ON number = job WHERE tenant = ?1 AND state = 'open'";
            Ok(connection
                .prepare_cached(sql)?
                .query_row([tenant], |row| row.get::<_, i64>(0))?)
        })
        .map(|count| usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Says what is to become of a list that is not done.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn wish(&self, number: JobNumber, wish: Wish) -> Result<(), StoreError> {
        self.later(move |connection| {
            let sql = "UPDATE api_job SET wish = ?2 WHERE job = ?1";
            connection.execute(sql, params![number, wish.name()])?;
            Ok(())
        })
        .await
    }

    /// The same, if it was to become of it what it no longer is.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn wish_instead(&self, number: JobNumber, was: Wish, wish: Wish) -> Result<(), StoreError> {
        self.later(move |connection| {
            let sql = "UPDATE api_job SET wish = ?2 WHERE job = ?1 AND wish = ?3";
            connection.execute(sql, params![number, wish.name(), was.name()])?;
            Ok(())
        })
        .await
    }

    /// Gives a job up for good, if it is not done; what was answered stays.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while another process works on it, or the database cannot be written.
    pub async fn give_up(&self, number: JobNumber) -> Result<(), StoreError> {
        let presence = self.shared_presence();
        self.later(move |connection| {
            let transaction = begin(connection)?;
            jobs::free(&transaction, number, &presence)?;
            let sql = "UPDATE job SET state = ?2, run = NULL, epoch = epoch + 1, updated_at = ?3
                WHERE number = ?1 AND state = 'open'";
            let now = millis(SystemTime::now()).cast_signed();
            transaction.execute(sql, params![number, JobState::Cancelled.name(), now])?;
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Removes what uploads left that were cut off by the end of their process.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn forget_cut_off(&self) -> Result<(), StoreError> {
        let which = "job.state = 'importing'";
        for job in self.read(|connection| select(connection, self.presence(), which, &[]))? {
            if job.record.taken {
                continue;
            }
            match super::Store::abandon(self, job.record.number) {
                // Another process was faster.
                Ok(()) | Err(StoreError::NoSuchJob | StoreError::Busy { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
