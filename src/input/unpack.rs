//! Compressed lists: known by their first bytes, unpacked to an unnamed temporary file within a [`Budget`].
//!
//! Not streamed to the parser, because the encoding is known only when the whole text was seen, and a damaged end must be
//! found before anybody is asked.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, Write},
};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    FrameDecoder, StreamingDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

use super::{
    InputError,
    budget::{Budget, Metered, spent},
    spool,
};

const CHUNK: usize = 64 << 10;

/// What a file is wrapped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Packing {
    /// The name of the format.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// By the extension of a file name.
    #[must_use]
    pub fn by_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "gz" | "gzip" => Some(Self::Gzip),
            "zst" | "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// By the first bytes of a file. A zstd file may begin with a skippable frame (RFC 8878 section 3.1.2).
    fn by_magic(magic: [u8; 4]) -> Option<Self> {
        match magic {
            [0x1F, 0x8B, ..] => Some(Self::Gzip),
            [0x28, 0xB5, 0x2F, 0xFD] | [0x50..=0x5F, 0x2A, 0x4D, 0x18] => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// The first four bytes; fewer are filled with NUL.
pub(super) fn magic(file: &mut File) -> io::Result<[u8; 4]> {
    let mut magic = Vec::with_capacity(4);
    file.rewind()?;
    Read::take(&mut *file, 4).read_to_end(&mut magic)?;
    file.rewind()?;
    magic.resize(4, 0);
    Ok(magic.try_into().unwrap_or_default())
}

/// Unpacks a compressed file; what is not compressed comes back as it is.
pub(crate) fn unpack(mut file: File, name: &str) -> Result<(File, Option<Packing>), InputError> {
    let read = |source| InputError::Read {
        name: name.into(),
        source,
    };
    let Some(packing) = Packing::by_magic(magic(&mut file).map_err(read)?) else {
        return Ok((file, None));
    };
    let budget = &mut Budget::of(file.metadata().map_err(read)?.len());
    let mut to = spool::unnamed().map_err(read)?;
    let packed = BufReader::with_capacity(CHUNK, file);
    let unpacked = match packing {
        Packing::Gzip => copy(MultiGzDecoder::new(packed), &mut to, budget),
        Packing::Zstd => frames(packed, &mut to, budget),
    };
    unpacked.map_err(|source| match spent(&source) {
        Some(limit) => InputError::TooLarge {
            name: name.into(),
            limit: limit.limit,
        },
        None => InputError::Damaged {
            name: name.into(),
            what: packing.name(),
            source,
        },
    })?;
    let twice = magic(&mut to).map_err(read)?;
    if Packing::by_magic(twice).is_some() {
        return Err(InputError::Unsupported {
            name: name.into(),
            what: "compressed twice; unpack it once",
        });
    }
    Ok((to, Some(packing)))
}

fn copy(inner: impl Read, to: &mut File, budget: &mut Budget) -> io::Result<()> {
    let mut from = Metered { inner, budget };
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(chunk.get(..read).unwrap_or_default())?;
    }
}

/// The frames of a zstd file one after the other. A window of more than 128 MiB is refused, as the `zstd` tool does.
fn frames(mut packed: impl BufRead, to: &mut File, budget: &mut Budget) -> io::Result<()> {
    let mut decoder = FrameDecoder::new();
    while !packed.fill_buf()?.is_empty() {
        match StreamingDecoder::new_with_decoder(&mut packed, &mut decoder) {
            Ok(frame) => {
                copy(frame, to, budget)?;
                let told = decoder.get_checksum_from_data();
                if told.is_some() && told != decoder.get_calculated_checksum() {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "the checksum is wrong"));
                }
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let skipped = io::copy(&mut packed.by_ref().take(length.into()), &mut io::sink())?;
                if skipped < length.into() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = spool::unnamed().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let (mut file, _) = unpack(file(bytes), "list.gz").map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        Ok(bytes)
    }

    #[test]
    fn members_and_frames_follow_each_other() {
        let skippable = [&[0x53, 0x2A, 0x4D, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let cases = [
            (b"plain".to_vec(), &b"plain"[..]),
            (b"".to_vec(), b""),
            (b"\x1F".to_vec(), b"\x1F"),
            (gzip(b""), b""),
            (gzip(b"one"), b"one"),
            ([gzip(b"one"), gzip(b"two")].concat(), b"onetwo"),
            (zstd(b"one"), b"one"),
            ([zstd(b"one"), skippable.clone(), zstd(b"two")].concat(), b"onetwo"),
            ([skippable, zstd(b"one")].concat(), b"one"),
        ];
        for (packed, expected) in cases {
            assert_eq!(unpacked(&packed).as_deref(), Ok(expected), "{packed:X?}");
        }
    }

    #[test]
    fn damage_is_an_error_that_names_the_file() {
        let text = b"a@example.org\n".repeat(100);
        let (gz, zst) = (gzip(&text), zstd(&text));
        let flip = |bytes: &[u8], from_end: usize| {
            let mut bytes = bytes.to_vec();
            let at = bytes.len() - from_end;
            bytes[at] ^= 0x55;
            bytes
        };
        let cases = [
            ("cut off", gz[..gz.len() - 9].to_vec(), "gzip"),
            ("no trailer", gz[..gz.len() - 2].to_vec(), "gzip"),
            ("a wrong sum", flip(&gz, 6), "gzip"),
            ("garbage after it", [gz.clone(), b"xyz".to_vec()].concat(), "gzip"),
            ("cut off", zst[..zst.len() - 9].to_vec(), "zstd"),
            ("a wrong sum", flip(&zst, 1), "zstd"),
            ("garbage after it", [zst.clone(), b"xyzxyz".to_vec()].concat(), "zstd"),
            ("packed twice", gzip(&gz), "twice"),
        ];
        for (what, packed, expected) in cases {
            let error = unpacked(&packed).unwrap_err();
            assert!(
                error.contains("`list.gz`") && error.contains(expected),
                "{what}: {error}"
            );
        }
    }

    #[test]
    fn a_bomb_stops_at_its_budget() {
        let zeros = vec![0; 1 << 20];
        for packed in [gzip(&zeros), zstd(&zeros)] {
            let error = unpacked(&packed.repeat(65)).unwrap_err();
            assert!(error.contains("`list.gz`") && error.contains("64 MiB"), "{error}");
        }
    }

    /// The window is memory that a few bytes ask for.
    #[test]
    fn a_huge_window_is_refused() {
        // No single segment, a window descriptor of 2^(10 + 30).
        let error = unpacked(&[0x28, 0xB5, 0x2F, 0xFD, 0, 30 << 3, 1, 0, 0]).unwrap_err();
        assert!(error.contains("zstd"), "{error}");
    }
}
