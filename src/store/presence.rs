//! Who is alive: each process that works with a database holds a lock on a file of its own, which the system releases
//! when the process ends, however it ends.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// How often the folder may vanish while it is being used.
const TRIES: u32 = 100;

/// This process, seen by others that use the same database.
#[derive(Debug)]
pub(super) struct Presence {
    run: String,
    folder: Option<PathBuf>,
    /// Locked as long as it is open.
    _locked: Option<File>,
}

impl Presence {
    /// Announces this process beside `database`; nobody else can see a private one (`None`).
    pub(super) fn announce(database: Option<&Path>, run: String) -> io::Result<Self> {
        let Some(database) = database else {
            return Ok(Self {
                run,
                folder: None,
                _locked: None,
            });
        };
        let folder = beside(database);
        let mut tries = 0;
        let mut file = loop {
            fs::create_dir_all(&folder)?;
            sweep(&folder);
            match File::options().write(true).create_new(true).open(folder.join(&run)) {
                // The last of the others has just ended and taken the folder with it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
                made => break made?,
            }
        };
        file.lock()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self {
            run,
            folder: Some(folder),
            _locked: Some(file),
        })
    }

    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// Whether the process that calls itself `run` lives; one that cannot be told counts as alive.
    pub(super) fn is_alive(&self, run: &str) -> bool {
        if run == self.run {
            return true;
        }
        let Some(folder) = &self.folder else { return false };
        match File::open(folder.join(run)) {
            Ok(file) => matches!(
                file.try_lock_shared(),
                Err(TryLockError::WouldBlock | TryLockError::Error(_))
            ),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// The process number of `run`, for people.
    pub(super) fn process(&self, run: &str) -> Option<u32> {
        let text = fs::read_to_string(self.folder.as_ref()?.join(run)).ok()?;
        text.trim().parse().ok()
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            // Nobody can be told, and a file that stays is swept by the next one.
            let _ = fs::remove_file(folder.join(&self.run));
            let _ = fs::remove_dir(folder);
        }
    }
}

fn beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".runs");
    PathBuf::from(name)
}

/// Removes the files of processes that ended without a word.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if let Ok(file) = File::open(entry.path())
            // Shared: whoever asks at the same time whether it is alive must not take this for its lock.
            && file.try_lock_shared().is_ok()
            // One that was made and not locked yet is empty.
            && file.metadata().is_ok_and(|metadata| metadata.len() > 0)
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_alive_until_its_file_is_released() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("presend.db");
        let first = Presence::announce(Some(&database), "first".into()).unwrap();
        let second = Presence::announce(Some(&database), "second".into()).unwrap();
        assert!(second.is_alive("first") && first.is_alive("second") && first.is_alive("first"));
        assert_eq!(second.process("first"), Some(std::process::id()));
        assert!(!second.is_alive("nobody"));
        drop(first);
        assert!(!second.is_alive("first"));
    }

    #[test]
    fn what_a_killed_process_left_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("presend.db");
        fs::create_dir_all(beside(&database)).unwrap();
        let left = beside(&database).join("killed");
        fs::write(&left, "1\n").unwrap();
        let here = Presence::announce(Some(&database), "here".into()).unwrap();
        assert!(!left.exists() && !here.is_alive("killed"));
    }
}
