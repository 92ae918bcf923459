//! The database of a command: where it is, and what people hear when it is opened.

use std::{
    env, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    fault::{hint, note},
    paint::{DIM, counted, paint},
    settings::Resolved,
};
use crate::{
    job::Engine,
    store::{SqliteStore, Store, StoreError},
    suppress::{Lookup, Mailing},
};

/// Where the database is when nobody says: `presend/presend.db` in the XDG state folder. `None` without a home, or with one that
/// no setting can name.
pub(super) fn by_default() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local").join("state")))?;
    Some(folder.join("presend").join("presend.db")).filter(|path| path.to_str().is_some())
}

/// Opens the database of a run and forgets what is too old; `None` for `--no-store`.
pub(super) fn open_for_run(resolved: &Resolved) -> anyhow::Result<Option<Arc<SqliteStore>>> {
    if resolved.database()?.is_none() {
        return Ok(None);
    }
    let store = open(resolved)?;
    let keep = resolved.keep();
    if let Some(mut before) = SystemTime::now().checked_sub(keep) {
        // The file is written anew when jobs go: those of one day together.
        if store.jobs()?.iter().any(|job| job.updated_at < before) {
            before += (keep / 10).min(Duration::from_hours(24));
        }
        let forgotten = match store.forget(before) {
            // Another process deletes or forgets; what is too old can wait for the next run.
            Err(StoreError::Locked { .. }) => 0,
            forgotten => forgotten?,
        };
        if forgotten > 0 {
            let days = keep.as_secs() / Duration::from_hours(24).as_secs();
            let jobs = counted(forgotten, "job", "jobs");
            note(&paint(
                DIM,
                format!("forgot {jobs} older than {}", counted(days, "day", "days")),
            ));
        }
    }
    Ok(Some(Arc::new(store)))
}

/// Opens the database of a command that keeps nothing; `None` where there is none.
pub(super) fn open_to_look_up(resolved: &Resolved) -> anyhow::Result<Option<Arc<SqliteStore>>> {
    let missing = |path: &Path| {
        let found = path.symlink_metadata();
        found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    match resolved.database()? {
        // A link that leads nowhere is for the store to complain about.
        Some(path) if !missing(path) => Ok(Some(Arc::new(open(resolved)?))),
        Some(_) | None => Ok(None),
    }
}

/// An engine that keeps to a database, and asks what it tells of each address before anybody else.
pub(super) fn attach(mut engine: Engine, store: Option<Arc<SqliteStore>>, mailing: Mailing) -> anyhow::Result<Engine> {
    if let Some(store) = store {
        engine = engine
            .with_lookup(Lookup::for_run(Arc::clone(&store), mailing)?)
            .with_store(store);
    }
    Ok(engine)
}

/// Opens the database, and says where a damaged one was moved.
pub(super) fn open(resolved: &Resolved) -> anyhow::Result<SqliteStore> {
    let Some(path) = resolved.database()? else {
        return Ok(SqliteStore::private()?);
    };
    let opened = SqliteStore::open(path)?;
    if let Some(moved) = &opened.moved {
        note(&format!(
            "\x1b[1;33mwarning:\x1b[0m the database `{}` is damaged; it was moved to `{}`, and a new one was made",
            path.display(),
            moved.display()
        ));
        hint("what it knew is asked again; `sqlite3 FILE .recover` may read what is left of it");
    }
    Ok(opened.store)
}
