//! What outlives a process: jobs with their rows, answers with their evidence, what is known about domains and mail-host
//! groups. Evidence is kept, verdicts are derived from it again.
//!
//! One writer, transactions of whatever is waiting, nothing half written. Must not judge, schedule or ask anybody.

mod api;
mod bounce;
mod cache;
mod domains;
mod error;
mod evidence;
mod happening;
mod heap;
mod jobs;
mod keys;
mod ledger;
mod presence;
mod private;
mod record;
mod request;
mod sqlite;
mod suppression;
mod verification;
mod webhook;
mod writer;

use std::{sync::Arc, time::SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

pub use api::{Accepted, ApiJob, Viewer, Wish};
pub use bounce::{Added, Events, KeptEvent, Person, Recipients, Unknown, Wave};
pub use error::StoreError;
pub use happening::{Happening, HappeningKind};
pub use heap::{Excerpt, Offset, Understanding};
pub use keys::{KeyRecord, KeyRing};
pub use ledger::{Ledger, Patience};
pub use private::PrivateStore;
pub use record::{DomainMemory, Judged, Kept, Progress, REFUSAL_REST, Reading, Source, keep_for};
pub use request::{Claim as RequestClaim, Claimed, Response};
pub use sqlite::{Opened, SqliteStore};
pub use suppression::{
    Applied, Author, ByRule, NewSuppression, Scope, Suppression, SuppressionState, Suppressions, Verdicts,
};
pub use verification::{KeptVerification, Spent};
pub use webhook::{Attempt, Delivery, Webhook};

use crate::{address::Domain, verdict::Verdict};

/// A job's number within its database.
pub type JobNumber = i64;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Its rows are being read. Killed now, it starts again from its input.
    Importing,
    /// It has all its rows and not all its answers.
    Open,
    /// Every row is answered.
    Done,
    /// Somebody gave it up; what was answered stays.
    Cancelled,
}

impl JobState {
    const ALL: [Self; 4] = [Self::Importing, Self::Open, Self::Done, Self::Cancelled];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Importing => "importing",
            Self::Open => "open",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A job to be made.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// What is read, for people.
    pub source: String,
    /// JSON of whatever changes the answers: two jobs with the same rows and the same settings are the same.
    pub settings: String,
    /// JSON of how the input was understood.
    pub layout: String,
}

impl NewJob {
    /// A job that holds the answers about a few addresses and is no list that anybody goes on with.
    #[must_use]
    pub fn unlisted() -> Self {
        Self {
            source: String::new(),
            settings: String::new(),
            layout: String::new(),
        }
    }
}

/// A job as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// Its number.
    pub number: JobNumber,
    /// Its name: eight letters and digits.
    pub id: String,
    /// How far it is.
    pub state: JobState,
    /// When it was made.
    pub created_at: SystemTime,
    /// When it last got on.
    pub updated_at: SystemTime,
    /// What was read.
    pub source: String,
    /// JSON of whatever changes the answers.
    pub settings: String,
    /// JSON of how the input was understood.
    pub layout: String,
    /// Rows imported.
    pub rows: u64,
    /// JSON of the counts so far.
    pub summary: String,
    /// The process that works on it, when one does.
    pub process: Option<u32>,
    /// A process works on it.
    pub taken: bool,
}

/// The right to write about a job. Another process that takes the job afterwards ends it: writes then fail with
/// [`StoreError::LostLease`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub job: JobNumber,
    /// Its name.
    pub id: String,
    epoch: i64,
}

impl Lease {
    /// No right at all: enough for reading a job.
    #[must_use]
    pub fn none(job: &JobRecord) -> Self {
        Self {
            job: job.number,
            id: job.id.clone(),
            epoch: -1,
        }
    }

    /// No right, and no job: enough for reading what is known to all.
    #[must_use]
    pub fn nobody() -> Self {
        Self {
            job: JobNumber::default(),
            id: String::new(),
            epoch: -1,
        }
    }

    /// Whether an earlier run worked on the job.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.epoch > 0
    }
}

/// A record on its way in.
#[derive(Debug)]
pub struct Record {
    /// The address's number within the job.
    pub address: u32,
    /// Hash of its domain, see [`domain_key`], and of itself.
    pub key: (i64, i64),
    /// How far it is.
    pub progress: Progress,
    /// What is kept.
    pub kept: Kept,
    /// What follows; decides how long the evidence serves others.
    pub verdict: Option<Verdict>,
}

/// Where a record is within its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The batch.
    pub batch: u32,
    /// Where in it.
    pub offset: Offset,
}

/// A record's owner and place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The address's number within the job.
    pub address: u32,
    /// Where its record is.
    pub place: Place,
    /// How far it is.
    pub progress: Progress,
}

/// Evidence that may answer an address without asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Hash of the address.
    pub address: i64,
    /// The job whose record it is.
    pub job: JobNumber,
    /// Where it is.
    pub place: Place,
    /// When it was observed.
    pub checked_at: SystemTime,
    /// Until when it serves.
    pub expires_at: SystemTime,
}

/// Called once, on the writer's thread, when something is in the database for good or failed for good.
pub type Done<T> = Box<dyn FnOnce(Result<T, Arc<StoreError>>) + Send>;

/// Something to be written. Writes are carried out in the order in which they are submitted.
pub enum Write {
    /// Rows as they were read.
    Chunk {
        /// Whose.
        lease: Lease,
        /// From 0.
        number: u32,
        /// See `crate::input::Row::encode`.
        rows: Vec<u8>,
    },
    /// Records; all or none.
    Records {
        /// Whose.
        lease: Lease,
        /// What.
        records: Vec<Record>,
        /// Hears where they are.
        done: Done<Vec<Entry>>,
    },
    /// What is known about a domain; with a lease within its job, without one for all.
    Domain {
        /// Within this job, while the domain is being asked about.
        lease: Option<Lease>,
        /// The domain.
        name: Domain,
        /// What is known.
        memory: DomainMemory,
    },
    /// What a mail-host group has spent, as JSON.
    Group {
        /// Its name.
        name: Arc<str>,
        /// What was spent.
        memory: String,
        /// This run asks it no longer.
        released: bool,
    },
    /// Counts, and how far the job is.
    Job {
        /// Whose.
        lease: Lease,
        /// JSON of the counts.
        summary: String,
        /// How far.
        state: JobState,
        /// Nobody works on it any longer.
        released: bool,
    },
}

/// Who may ask a mail-host group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// This run; what was spent before, as JSON, and when that was written.
    Ours(Option<(String, SystemTime)>),
    /// Another process asks it now.
    Theirs,
}

/// Where everything is kept.
pub trait Store: Send + Sync + 'static {
    /// Makes a job that this run works on.
    ///
    /// # Errors
    /// The database cannot be written.
    fn create(&self, job: &NewJob) -> Result<Lease, StoreError>;

    /// Takes an existing job.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while another process works on it, or the database cannot be written.
    fn take(&self, job: JobNumber) -> Result<Lease, StoreError>;

    /// Every job, newest first.
    ///
    /// # Errors
    /// The database cannot be read.
    fn jobs(&self) -> Result<Vec<JobRecord>, StoreError>;

    /// The rows of a job are complete: `digest` tells equal lists. If there is an open job with the same settings and rows, that
    /// one is returned, and the import should be dropped.
    ///
    /// # Errors
    /// The database cannot be written.
    fn imported(&self, lease: &Lease, rows: u64, digest: &[u8]) -> Result<Option<JobRecord>, StoreError>;

    /// Removes a job whose import repeats another or failed; nobody was asked for it.
    ///
    /// # Errors
    /// The database cannot be written.
    fn discard(&self, lease: &Lease) -> Result<(), StoreError>;

    /// Removes a job with all it holds, evidence included, and overwrites the space.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while another process works on it, or the database cannot be written.
    fn delete(&self, job: JobNumber) -> Result<(), StoreError>;

    /// Removes a job that was killed while its list was read: quickly, for it holds no answers.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while another process works on it, or the database cannot be written.
    fn abandon(&self, job: JobNumber) -> Result<(), StoreError> {
        self.delete(job)
    }

    /// Removes what is older: jobs that nobody works on, with their evidence, and the domains and groups that no job holds. Says
    /// how many jobs went.
    ///
    /// # Errors
    /// The database cannot be written.
    fn forget(&self, before: SystemTime) -> Result<u64, StoreError>;

    /// Rows of a job; `None` after the last chunk.
    ///
    /// # Errors
    /// The database cannot be read.
    fn chunk(&self, job: JobNumber, number: u32) -> Result<Option<Vec<u8>>, StoreError>;

    /// Every record of a job, oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    fn entries(&self, job: JobNumber) -> Result<Vec<Entry>, StoreError>;

    /// One record.
    ///
    /// # Errors
    /// The database cannot be read, or the record is gone.
    fn record(&self, job: JobNumber, place: Place, reading: Reading<'_>) -> Result<Kept, StoreError>;

    /// Many records of one job, in the order of `places`: quickest when that is the order of the store.
    ///
    /// # Errors
    /// The database cannot be read, or a record is gone.
    fn records(&self, job: JobNumber, places: &[Place], reading: Reading<'_>) -> Result<Vec<Kept>, StoreError> {
        places.iter().map(|place| self.record(job, *place, reading)).collect()
    }

    /// Many records of one job, `places` in the order of the store, to be read in any order: `None` if they take more than `most`
    /// bytes, about.
    ///
    /// # Errors
    /// The database cannot be read, or a record is gone.
    fn excerpt(&self, job: JobNumber, places: &[Place], most: usize) -> Result<Option<Excerpt>, StoreError>;

    /// Shows one record, where it is if it need not be made first. `see` must not ask the store.
    ///
    /// # Errors
    /// The database cannot be read, or the record is gone.
    fn with_record(
        &self,
        job: JobNumber,
        place: Place,
        reading: Reading<'_>,
        see: &mut dyn FnMut(&Kept),
    ) -> Result<(), StoreError> {
        see(&self.record(job, place, reading)?);
        Ok(())
    }

    /// Every record about an address in every job, oldest first: the audit trail. Reads the whole store, about a second for a
    /// million records.
    ///
    /// # Errors
    /// The database cannot be read.
    fn history(&self, mailbox: &str, reading: Reading<'_>) -> Result<Vec<(JobNumber, Entry, Kept)>, StoreError>;

    /// Evidence about the addresses of a domain, good answers before others.
    ///
    /// # Errors
    /// The database cannot be read.
    fn known(&self, domain: i64) -> Result<Vec<Known>, StoreError>;

    /// The same about some of its addresses only, by their hashes in order: a provider's domain may have millions.
    ///
    /// # Errors
    /// The database cannot be read.
    fn known_of(&self, domain: i64, addresses: &[i64]) -> Result<Vec<Known>, StoreError> {
        let mut known = self.known(domain)?;
        known.retain(|known| addresses.binary_search(&known.address).is_ok());
        Ok(known)
    }

    /// The job and the batch of some evidence about a domain: what lies together is quickly read together.
    ///
    /// # Errors
    /// The database cannot be read.
    fn whereabouts(&self, domain: i64) -> Result<Option<(JobNumber, u32)>, StoreError> {
        Ok(self.known(domain)?.first().map(|known| (known.job, known.place.batch)))
    }

    /// Whether what is kept can serve another run or tell of this one afterwards.
    fn outlives_the_run(&self) -> bool {
        true
    }

    /// Whether there is any evidence at all: nobody needs to look for some otherwise.
    ///
    /// # Errors
    /// The database cannot be read.
    fn knows_anything(&self) -> Result<bool, StoreError>;

    /// What is known about a domain: within the job if it is being asked about there, else what every job may use, with the
    /// time it was found.
    ///
    /// # Errors
    /// The database cannot be read.
    fn domain(&self, job: Option<JobNumber>, name: &Domain) -> Result<Option<(DomainMemory, SystemTime)>, StoreError>;

    /// Claims a mail-host group for this run.
    fn claim(&self, group: &Arc<str>) -> oneshot::Receiver<Result<Claim, Arc<StoreError>>>;

    /// Writes something, soon.
    fn submit(&self, write: Write);

    /// Everything submitted before is in the database when this is heard.
    fn flush(&self) -> oneshot::Receiver<Result<(), Arc<StoreError>>>;

    /// The first write that failed; nothing is written after it.
    fn failure(&self) -> watch::Receiver<Option<Arc<StoreError>>>;
}

/// A number for bytes that is the same in every run and every release; `salt` makes it another one.
#[must_use]
#[expect(
    deprecated,
    reason = "the one std hasher whose algorithm (SipHash 2-4) is documented and so stable between releases"
)]
pub fn stable_hash(bytes: &[u8], salt: u64) -> u64 {
    use std::hash::{Hasher, SipHasher};

    let mut hasher = SipHasher::new_with_keys(0x7072_6573_656e_6433, salt);
    hasher.write(bytes);
    hasher.finish()
}

/// A number for a domain that is the same in every run, for [`Store::known`].
#[must_use]
pub fn domain_key(domain: &str) -> i64 {
    stable_hash(domain.as_bytes(), 0).cast_signed()
}

/// A number for an address within its domain, the same in every run.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
pub fn address_key(join_hash: u128) -> i64 {
    (join_hash as u64).cast_signed()
}
