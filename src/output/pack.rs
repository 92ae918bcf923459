//! Compression of what is written, chosen by the name of the file.

use std::{
    io::{self, Write},
    mem,
};

use flate2::{Compression, write::GzEncoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::input::Packing;

/// Bytes of one zstd frame. Frames follow each other in a file (RFC 8878 section 3), and the encoder takes a whole one at once.
const FRAME: usize = 4 << 20;

type Sink = Box<dyn Write + Send>;

/// A writer that may compress.
pub(super) enum Packer {
    Plain(Sink),
    Gzip(Box<GzEncoder<Sink>>),
    Zstd { to: Sink, frame: Vec<u8> },
}

impl Packer {
    pub(super) fn plain(to: impl Write + Send + 'static) -> Self {
        Self::Plain(Box::new(to))
    }

    pub(super) fn new(to: impl Write + Send + 'static, packing: Option<Packing>) -> Self {
        let to: Sink = Box::new(to);
        match packing {
            None => Self::Plain(to),
            Some(Packing::Gzip) => Self::Gzip(Box::new(GzEncoder::new(to, Compression::default()))),
            Some(Packing::Zstd) => Self::Zstd { to, frame: Vec::new() },
        }
    }

    /// Writes what is held back and the end of the stream. An empty zstd file is one empty frame.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(to) => to.flush(),
            Self::Gzip(packer) => packer.try_finish(),
            Self::Zstd { to, frame } => {
                to.write_all(&compress_to_vec(mem::take(frame).as_slice(), CompressionLevel::Fastest))?;
                to.flush()
            }
        }
    }
}

impl Write for Packer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(to) => to.write(bytes),
            Self::Gzip(packer) => packer.write(bytes),
            Self::Zstd { to, frame } => {
                frame.extend_from_slice(bytes);
                if frame.len() >= FRAME {
                    to.write_all(&compress_to_vec(frame.as_slice(), CompressionLevel::Fastest))?;
                    frame.clear();
                }
                Ok(bytes.len())
            }
        }
    }

    /// Nobody reads a compressed file before it is finished, and every flush costs compression.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(to) => to.flush(),
            Self::Gzip(_) | Self::Zstd { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn packed(packing: Packing, content: &[u8]) -> Vec<u8> {
        let memory = Memory::default();
        let mut packer = Packer::new(memory.clone(), Some(packing));
        for chunk in content.chunks(100_000) {
            packer.write_all(chunk).unwrap();
            packer.flush().unwrap();
        }
        packer.finish().unwrap();
        memory.0.lock().unwrap().clone()
    }

    #[test]
    fn what_is_packed_unpacks_to_the_same() {
        let long: Vec<u8> = (0..600_000_u32)
            .flat_map(u32::to_le_bytes)
            .chain(vec![b'x'; FRAME])
            .collect();
        for content in [&b""[..], b"a@x.org\n", &long] {
            let mut gz = Vec::new();
            let packed_gz = packed(Packing::Gzip, content);
            flate2::read::GzDecoder::new(packed_gz.as_slice())
                .read_to_end(&mut gz)
                .unwrap();
            assert!(gz == content, "gzip of {} bytes", content.len());
            let packed_zst = packed(Packing::Zstd, content);
            let (mut rest, mut zst) = (packed_zst.as_slice(), Vec::new());
            while !rest.is_empty() {
                let mut frame = ruzstd::decoding::StreamingDecoder::new(&mut rest).unwrap();
                frame.read_to_end(&mut zst).unwrap();
            }
            assert!(zst == content, "zstd of {} bytes", content.len());
        }
    }
}
