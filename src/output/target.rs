//! Where results go: standard output, or a file that appears whole or not at all.

use std::{
    fmt, fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use super::pack::Packer;
use crate::input::Packing;

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
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .map_err(fail)?;
        let pending = Pending {
            file,
            temporary,
            destination,
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
        self.writer.flush()
    }

    /// Puts a file in its place; returns where it is.
    pub(super) fn finish(mut self) -> Result<Option<PathBuf>, TargetError> {
        let closed = self.writer.finish();
        let Some(pending) = self.file.take() else {
            return closed.map(|()| None).map_err(|source| TargetError {
                path: PathBuf::from("standard output"),
                source,
            });
        };
        let moved = closed
            .and_then(|()| pending.file.sync_all())
            .and_then(|()| fs::rename(&pending.temporary, &pending.destination));
        match moved {
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
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// `.NAME.presend-PID` in the same folder: a rename across file systems would not be atomic.
fn temporary_name(destination: &Path) -> Option<PathBuf> {
    let mut name = std::ffi::OsString::from(".");
    name.push(destination.file_name()?);
    name.push(format!(".presend-{}", std::process::id()));
    Some(destination.with_file_name(name))
}
