//! Which encoding a file is in: byte order mark, UTF-16 by its NULs, UTF-8 when it is, else a guess.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

const CHUNK: usize = 64 << 10;
/// How much the guess looks at, around the first byte that is not UTF-8.
const GUESS: u64 = 256 << 10;

/// An encoding, and how many bytes of byte order mark to skip.
#[derive(Debug, Clone, Copy)]
pub(super) struct Detected {
    pub(super) encoding: &'static Encoding,
    pub(super) mark: u64,
}

impl Detected {
    /// UTF-8 without a mark.
    pub(super) const UTF_8: Self = Self {
        encoding: UTF_8,
        mark: 0,
    };
}

/// Reads the whole file once, in constant memory: one late `é` decides between UTF-8 and Windows-1252.
pub(super) fn detect(file: &mut File) -> io::Result<Detected> {
    file.rewind()?;
    let mut chunk = vec![0; CHUNK];
    let head_len = fill(file, &mut chunk)?;
    let head = chunk.get(..head_len).unwrap_or_default();
    let plain = |encoding| Detected { encoding, mark: 0 };
    if let Some((encoding, mark)) = Encoding::for_bom(head) {
        let mark = mark as u64;
        return Ok(Detected { encoding, mark });
    }
    if let Some(encoding) = by_nuls(head.get(..head.len().min(4096)).unwrap_or_default()) {
        return Ok(plain(encoding));
    }
    let Some(damage) = utf8_damage(file, &mut chunk, head_len)? else {
        return Ok(plain(UTF_8));
    };
    file.seek(SeekFrom::Start(damage.saturating_sub(GUESS / 4)))?;
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    let mut limited = file.take(GUESS);
    loop {
        let read = fill(&mut limited, &mut chunk)?;
        detector.feed(chunk.get(..read).unwrap_or_default(), read == 0);
        if read == 0 {
            return Ok(plain(detector.guess(None, Utf8Detection::Deny)));
        }
    }
}

/// Judges by the start of a stream, of which no more is read first: what is not UTF-8 later is damage.
pub(super) fn detect_start(head: &[u8], whole: bool) -> Detected {
    let plain = |encoding| Detected { encoding, mark: 0 };
    if let Some((encoding, mark)) = Encoding::for_bom(head) {
        let mark = mark as u64;
        return Detected { encoding, mark };
    }
    if let Some(encoding) = by_nuls(head.get(..head.len().min(4096)).unwrap_or_default()) {
        return plain(encoding);
    }
    let (mut good, mut bad) = (0_u64, 0_u64);
    for part in head.utf8_chunks() {
        good += part.valid().bytes().filter(|&b| b >= 0xC0).count() as u64;
        bad += u64::from(!part.invalid().is_empty());
    }
    // The last character may be cut by the end of the start.
    if !whole && str::from_utf8(head).is_err_and(|error| error.error_len().is_none()) {
        bad -= 1;
    }
    if bad == 0 || good >= bad {
        return plain(UTF_8);
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(head, whole);
    plain(detector.guess(None, Utf8Detection::Deny))
}

pub(super) fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Addresses are ASCII: every second byte of UTF-16 is NUL.
fn by_nuls(head: &[u8]) -> Option<&'static Encoding> {
    let pairs = head.len() / 2;
    let nuls = |offset: usize| head.iter().skip(offset).step_by(2).filter(|&&b| b == 0).count();
    let (even, odd) = (nuls(0), nuls(1));
    if pairs < 2 {
        None
    } else if odd * 2 > pairs && even * 10 < pairs {
        Some(UTF_16LE)
    } else if even * 2 > pairs && odd * 10 < pairs {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// Where the first byte is that is not UTF-8, unless there is none, or so much good UTF-8 beside it that it is mere damage.
fn utf8_damage(file: &mut File, chunk: &mut [u8], mut len: usize) -> io::Result<Option<u64>> {
    const ENOUGH: u64 = 1000;
    let (mut good, mut bad, mut first_bad, mut offset) = (0_u64, 0_u64, None, 0_u64);
    while len > 0 && bad < ENOUGH {
        let last = len < chunk.len();
        let bytes = chunk.get(..len).unwrap_or_default();
        let mut used = 0;
        if bytes.is_ascii() {
            used = len;
        } else {
            for part in bytes.utf8_chunks() {
                good += part.valid().bytes().filter(|&b| b >= 0xC0).count() as u64;
                used += part.valid().len();
                if part.invalid().is_empty() {
                    continue;
                }
                // A character cut by the chunk's end is looked at again with the next chunk.
                if !last && used + part.invalid().len() == len {
                    break;
                }
                bad += 1;
                first_bad.get_or_insert(offset + used as u64);
                used += part.invalid().len();
            }
        }
        if last {
            break;
        }
        offset += used as u64;
        let rest = len - used;
        chunk.copy_within(used..len, 0);
        let free = chunk.get_mut(rest..).unwrap_or_default();
        len = rest + fill(file, free)?;
    }
    Ok(first_bad.filter(|_| good < bad))
}
