//! What can go wrong with the database, in words that say what to do.

use std::{io, path::PathBuf};

/// The database could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened or made.
    #[error("cannot open the database `{}`: {reason}; `--db FILE` names another, `--no-store` does without", path.display())]
    Open {
        /// Where it is.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
    /// A newer presend made it.
    #[error(
        "the database `{}` has layout {found}, this presend knows {known}: use the presend that made it, or `--db FILE` for another one",
        path.display()
    )]
    Newer {
        /// Where it is.
        path: PathBuf,
        /// Its layout.
        found: i64,
        /// The newest layout this presend knows.
        known: i64,
    },
    /// It cannot be written.
    #[error("cannot write to the database `{}`: it is read-only; mend its permissions, or `--db FILE` names another", path.display())]
    ReadOnly {
        /// Where it is.
        path: PathBuf,
    },
    /// No space left.
    #[error("no space left for the database `{}`; make room and run the same command again, nothing is lost", path.display())]
    Full {
        /// Where it is.
        path: PathBuf,
    },
    /// Another process holds it all the time.
    #[error("the database `{}` stays locked by another program; try again when that has ended", path.display())]
    Locked {
        /// Where it is.
        path: PathBuf,
    },
    /// Another process works on the job.
    #[error("another presend works on job {id}{}; wait for it, or stop it first", process.map(|process| format!(" (process {process})")).unwrap_or_default())]
    Busy {
        /// The job.
        id: String,
        /// Whose.
        process: Option<u32>,
    },
    /// No such job.
    #[error("there is no such job; `presend jobs list` names them")]
    NoSuchJob,
    /// Another process took the job over.
    #[error("another presend took the job over; this one stops")]
    LostLease,
    /// The record was deleted, with its job, by another process.
    #[error("an answer was deleted while it was being read; run the same command again")]
    Gone,
    /// The writer stopped by a fault of ours.
    #[error("the database's writer stopped by a fault of presend; run the same command again, nothing is lost")]
    Ended,
    /// Something in it cannot be read.
    #[error("the database is damaged: {0}; move it away, and presend starts a new one")]
    Damaged(&'static str),
    /// The file beside it that shows who is alive cannot be written.
    #[error("cannot mark this run beside the database `{}`: {source}", path.display())]
    Presence {
        /// Where the database is.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Something else, in SQLite's words.
    #[error("the database failed: {0}")]
    Sql(#[from] rusqlite::Error),
}

impl StoreError {
    /// With the cases that people can mend in words of ours.
    pub(super) fn explain(error: rusqlite::Error, path: &std::path::Path) -> Self {
        use rusqlite::ErrorCode;
        let extended = error.sqlite_extended_error_code();
        match error.sqlite_error_code() {
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { path: path.to_owned() },
            Some(ErrorCode::DiskFull) => Self::Full { path: path.to_owned() },
            // The log's index could not grow.
            Some(ErrorCode::SystemIoFailure) if extended == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => {
                Self::Full { path: path.to_owned() }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked { path: path.to_owned() },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged("SQLite cannot read it"),
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Self::Open {
                path: path.to_owned(),
                reason: error.to_string(),
            },
            Some(_) | None => Self::Sql(error),
        }
    }

    /// The same error in words of ours, where there are any.
    pub(super) fn explained(self, path: &std::path::Path) -> Self {
        if let Self::Sql(error) = self {
            return Self::explain(error, path);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rusqlite::ffi;

    use super::*;

    #[test]
    fn failures_that_people_can_mend_are_said_in_words() {
        for (code, said) in [
            (ffi::SQLITE_READONLY, "it is read-only"),
            (ffi::SQLITE_READONLY_DIRECTORY, "it is read-only"),
            (ffi::SQLITE_FULL, "no space left"),
            (ffi::SQLITE_IOERR_SHMSIZE, "no space left"),
            (ffi::SQLITE_CORRUPT, "move it away"),
            (ffi::SQLITE_NOTADB, "move it away"),
            (ffi::SQLITE_CANTOPEN, "`--db FILE` names another"),
            (ffi::SQLITE_PERM, "`--db FILE` names another"),
            (ffi::SQLITE_BUSY, "stays locked by another program"),
            (ffi::SQLITE_IOERR_READ, "the database failed"),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let words = StoreError::explain(error, Path::new("presend.db")).to_string();
            assert!(words.contains(said), "{code}: {words}");
        }
    }
}
