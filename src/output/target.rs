//! Where results go: standard output, or a file that appears whole or not at all.

use std::{
    fmt, fs,
    io::{self, IsTerminal, Write},
    panic::resume_unwind,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::pack::Packer;
use crate::input::Packing;

/// Bytes from which on the disk gets what is there, while more is being made: who waits for all of it at the end, waits long.
const PORTION: usize = 16 << 20;

/// One open destination.
pub struct Target {
    writer: Packer,
    file: Option<Pending>,
    /// Somebody waits for every line.
    interactive: bool,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// A file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`: {source}", path.display())]
pub struct TargetError {
    /// The file as it was named.
    pub path: PathBuf,
    /// The system's reason.
    pub source: io::Error,
}

/// A temporary file beside its destination; removed unless it was renamed.
#[derive(Debug)]
struct Pending {
    file: fs::File,
    temporary: PathBuf,
    destination: PathBuf,
    /// Bytes written since the last portion.
    behind: usize,
    portion: Option<JoinHandle<io::Result<()>>>,
}

impl Pending {
    /// Counts what was written, and brings a portion to the disk beside the work.
    fn wrote(&mut self, count: usize) -> io::Result<()> {
        self.behind = self.behind.saturating_add(count);
        let busy = |portion: &JoinHandle<_>| !portion.is_finished();
        if self.behind < PORTION || self.portion.as_ref().is_some_and(busy) {
            return Ok(());
        }
        self.portion_ended()?;
        self.behind = 0;
        let file = self.file.try_clone()?;
        // Without a thread for it everything goes there at the end.
        let thread = thread::Builder::new().name("sync".into());
        self.portion = thread.spawn(move || file.sync_data()).ok();
        Ok(())
    }

    /// Waits for the last portion. The system tells of a failed write once, so whoever heard of it must pass it on.
    fn portion_ended(&mut self) -> io::Result<()> {
        let ended = self.portion.take().map(JoinHandle::join);
        ended.map_or(Ok(()), |ended| ended.unwrap_or_else(|fault| resume_unwind(fault)))
    }

    /// Puts the file in its place, all of it on the disk.
    fn finish(&mut self) -> io::Result<()> {
        self.portion_ended()?;
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.destination)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // After the rename there is nothing of this name, and an error has nobody to tell.
        let _ = fs::remove_file(&self.temporary);
    }
}

impl Target {
    /// Standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self::new(io::stdout(), io::stdout().is_terminal())
    }

    /// Any writer; `interactive` ones are flushed with every row.
    pub fn new(writer: impl Write + Send + 'static, interactive: bool) -> Self {
        Self {
            writer: Packer::plain(writer),
            file: None,
            interactive,
        }
    }

    /// A file that replaces `path` when it is finished, compressed if the name ends in `.gz` or `.zst`. Pipes, terminals and
    /// devices are written directly.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub fn file(path: &Path) -> Result<Self, TargetError> {
        let fail = |source| TargetError {
            path: path.to_owned(),
            source,
        };
        // A link is followed, so that it still points there afterwards.
        let destination = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let existing = fs::metadata(&destination).ok();
        if existing.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(fail(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        if existing.as_ref().is_some_and(|metadata| !metadata.is_file()) {
            let device = fs::OpenOptions::new().write(true).open(&destination).map_err(fail)?;
            let interactive = device.is_terminal();
            return Ok(Self::new(device, interactive));
        }
        let temporary = temporary_name(&destination).ok_or_else(|| fail(io::ErrorKind::InvalidInput.into()))?;
        sweep(&destination);
        let file = create(&temporary).map_err(fail)?;
        let pending = Pending {
            file,
            temporary,
            destination,
            behind: 0,
            portion: None,
        };
        if let Some(metadata) = existing {
            pending.file.set_permissions(metadata.permissions()).map_err(fail)?;
        }
        let writer = pending.file.try_clone().map_err(fail)?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let packing = extension.and_then(Packing::by_extension);
        Ok(Self {
            writer: Packer::new(writer, packing),
            file: Some(pending),
            interactive: false,
        })
    }

    /// The file, unless it is a device or standard output.
    pub(super) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.destination.as_path())
    }

    pub(super) fn is_interactive(&self) -> bool {
        self.interactive
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)?;
        self.writer.flush()?;
        self.wrote(bytes.len())
    }

    fn wrote(&mut self, count: usize) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.wrote(count))
    }

    /// Puts a file in its place; returns where it is.
    pub(crate) fn finish(mut self) -> Result<Option<PathBuf>, TargetError> {
        let closed = self.writer.finish();
        let Some(mut pending) = self.file.take() else {
            return closed.map(|()| None).map_err(|source| TargetError {
                path: PathBuf::from("standard output"),
                source,
            });
        };
        match closed.and_then(|()| pending.finish()) {
            Ok(()) => Ok(Some(pending.destination.clone())),
            Err(source) => Err(TargetError {
                path: pending.destination.clone(),
                source,
            }),
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.writer.write(bytes)?;
        self.wrote(count)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// `.NAME.presend-PID` in the same folder: a rename across file systems would not be atomic.
/// A new file, locked for as long as it is open.
fn create(path: &Path) -> io::Result<fs::File> {
    let new = || fs::OpenOptions::new().write(true).create_new(true).open(path);
    let file = match new() {
        // A process that was killed had our number: in a container it may be the same each time.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            new()?
        }
        file => file?,
    };
    // A file system without locks is no reason not to write.
    let _ = file.try_lock();
    Ok(file)
}

/// Removes what killed processes left beside the destination: it holds whole rows.
fn sweep(destination: &Path) {
    let Some(prefix) = temporary_prefix(destination) else {
        return;
    };
    let folder = destination.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Ok(entries) = fs::read_dir(folder.unwrap_or(Path::new("."))) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        if number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
            && let Ok(file) = fs::OpenOptions::new().append(true).open(entry.path())
            && file.try_lock().is_ok()
            && file.metadata().is_ok_and(|metadata| is_left(&metadata))
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// One that was made a moment ago may not be locked yet.
fn is_left(metadata: &fs::Metadata) -> bool {
    let age = metadata.modified().ok().and_then(|at| at.elapsed().ok());
    metadata.is_file() && (metadata.len() > 0 || age.is_some_and(|age| age > Duration::from_mins(1)))
}

fn temporary_prefix(destination: &Path) -> Option<std::ffi::OsString> {
    let mut name = std::ffi::OsString::from(".");
    name.push(destination.file_name()?);
    name.push(".presend-");
    Some(name)
}

fn temporary_name(destination: &Path) -> Option<PathBuf> {
    let mut name = temporary_prefix(destination)?;
    name.push(std::process::id().to_string());
    Some(destination.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_goes_to_the_disk_in_portions_and_all_of_it_is_there_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        let mut target = Target::file(&path).unwrap();
        let part: Vec<u8> = (0..=u8::MAX).cycle().take(PORTION / 4).collect();
        let begun = |target: &Target| target.file.as_ref().is_some_and(|file| file.portion.is_some());
        for number in 0..12 {
            assert_eq!(begun(&target), number >= 4, "{number}");
            if number % 2 == 0 {
                target.write(&part).unwrap();
            } else {
                target.write_all(&part).unwrap();
            }
        }
        target.finish().unwrap();
        assert!(fs::read(&path).unwrap() == part.repeat(12));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_portion_was_refused_is_told_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        let mut target = Target::file(&path).unwrap();
        let refused = || Err(io::Error::from(io::ErrorKind::StorageFull));
        target.file.as_mut().unwrap().portion = Some(thread::spawn(refused));
        let error = target.finish().unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::StorageFull);
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
