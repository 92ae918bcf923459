//! A stream that is kept as it passes: what was read of it can be read again, from an unlinked temporary file.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    sync::{Arc, Mutex, PoisonError},
};

use crate::input::unnamed;

/// What has passed.
pub(super) struct Passed(Arc<Mutex<File>>);

impl Passed {
    /// Nothing yet.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(unnamed()?))))
    }

    /// Keeps what is read of a stream.
    pub(super) fn tee<R: Read>(&self, from: R) -> Tee<R> {
        Tee {
            from,
            kept: Arc::clone(&self.0),
        }
    }

    /// Reads what has passed, from the start; its end is not the end before the stream has ended.
    pub(super) fn reader(&self) -> Again {
        Again {
            kept: Arc::clone(&self.0),
            at: 0,
        }
    }

    /// Everything that passed.
    pub(super) fn file(&self) -> io::Result<File> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).try_clone()
    }
}

/// Reads a stream.
pub(super) struct Tee<R> {
    from: R,
    kept: Arc<Mutex<File>>,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.from.read(buffer)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.seek(SeekFrom::End(0))?;
        kept.write_all(buffer.get(..len).unwrap_or_default())?;
        Ok(len)
    }
}

/// Reads what has passed.
pub(super) struct Again {
    kept: Arc<Mutex<File>>,
    at: u64,
}

impl Read for Again {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.seek(SeekFrom::Start(self.at))?;
        let len = kept.read(buffer)?;
        self.at += len as u64;
        Ok(len)
    }
}

/// Writes to two places, and keeps the second.
pub(super) struct Both<W: Write> {
    out: BufWriter<W>,
    kept: BufWriter<File>,
}

impl<W: Write> Both<W> {
    pub(super) fn new(out: W) -> io::Result<Self> {
        Ok(Self {
            out: BufWriter::new(out),
            kept: BufWriter::new(unnamed()?),
        })
    }

    /// What was written.
    pub(super) fn finish(self) -> io::Result<File> {
        self.kept.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl<W: Write> Write for Both<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.kept.write_all(bytes)?;
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.kept.flush()?;
        self.out.flush()
    }
}
