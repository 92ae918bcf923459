//! Reads every part of an XLSX archive once, before the parser may: how many there are, how large they become, how much a single
//! cell holds, how many shared strings are kept.

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufReader, Read},
};

use quick_xml::events::{BytesStart, Event};
use zip::{ZipArchive, result::ZipError};

use super::{
    budget::{Budget, Metered, megabytes, spent},
    workbook::Failure,
};

/// Parts of one archive; a workbook of a hundred sheets has a few hundred.
const PARTS: usize = 10_000;
/// Bytes of one part. A full sheet of ten columns has about 500 MiB.
const PART: u64 = 8 << 30;
/// Bytes of a part that the parser keeps whole: shared strings, styles.
const KEPT: u64 = 512 << 20;
/// Shared strings, each of which costs memory however short it is.
const STRINGS: u64 = 8_000_000;
/// Bytes of one cell or one piece of markup. A cell holds 32,767 characters by Excel's specification.
const PIECE: usize = 4 << 20;

/// Reads every part; nothing is kept.
pub(super) fn check(file: &File) -> Result<(), Failure> {
    let packed = file.metadata()?.len();
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(zip)?;
    if archive.len() > PARTS {
        return Err(Failure::Workbook(format!(
            "it has {} parts, more than {PARTS}",
            archive.len()
        )));
    }
    let budget = &mut Budget::of(packed);
    for index in 0..archive.len() {
        let part = archive.by_index(index).map_err(zip)?;
        let name = part.name().map_err(zip)?.to_ascii_lowercase();
        let limit = if name.contains("/worksheets/") { PART } else { KEPT };
        let part = Metered {
            inner: part.take(limit + 1),
            budget,
        };
        let is_markup = matches!(name.rsplit_once('.'), Some((_, "xml" | "rels")));
        let size = if is_markup {
            markup(part)?
        } else {
            io::copy(&mut { part }, &mut io::sink()).map_err(|error| unpacking(&error))?
        };
        if size > limit {
            return Err(Failure::TooLarge(limit));
        }
    }
    Ok(())
}

fn zip(error: ZipError) -> Failure {
    if let ZipError::Io(error) = error {
        return Failure::from(error);
    }
    if let ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) = error {
        return Failure::Workbook("it is protected by a password".into());
    }
    Failure::Workbook(error.to_string())
}

fn unpacking(error: &io::Error) -> Failure {
    match spent(error) {
        Some(spent) => Failure::TooLarge(spent.limit),
        // The file was opened and found to be an archive: what fails now is what it holds.
        None => Failure::Workbook(error.to_string()),
    }
}

/// Reads XML with the parser that `calamine` uses, so that both see the same pieces; the length of the part. Stricter about the
/// names of end tags: what is well-formed cannot make a cell end here and go on there.
fn markup(part: impl Read) -> Result<u64, Failure> {
    let (since, total) = (Cell::new(0), Cell::new(0));
    let counted = Counted {
        inner: part,
        since: &since,
        total: &total,
    };
    let mut xml = quick_xml::Reader::from_reader(BufReader::new(counted));
    xml.config_mut().expand_empty_elements = true;
    let mut buffer = Vec::new();
    let (mut strings, mut inside) = (0, false);
    loop {
        if !inside {
            since.set(0);
        }
        buffer.clear();
        match xml.read_event_into(&mut buffer) {
            Ok(Event::Eof) => return Ok(total.get()),
            Ok(Event::Start(tag)) => match tag.local_name().as_ref() {
                "c" => inside = true,
                "si" => {
                    inside = true;
                    strings += 1;
                }
                "sst" => claimed(&tag)?,
                _ => {}
            },
            Ok(Event::End(tag)) if matches!(tag.local_name().as_ref(), "c" | "si") => inside = false,
            Ok(_) => {}
            Err(quick_xml::Error::Io(error)) => return Err(unpacking(&error)),
            Err(error) => return Err(Failure::Workbook(error.to_string())),
        }
        if strings > STRINGS {
            return Err(Failure::Workbook(format!(
                "it has more than {STRINGS} different strings"
            )));
        }
    }
}

/// The parser reserves memory for as many strings as the part claims to hold.
fn claimed(tag: &BytesStart<'_>) -> Result<(), Failure> {
    for attribute in tag.attributes().with_checks(false).flatten() {
        let claimed = attribute.value.trim().parse::<u64>();
        let counts = attribute.key.local_name().as_ref() == "uniqueCount";
        if counts && claimed.is_ok_and(|claimed| claimed > STRINGS) {
            return Err(Failure::Workbook(format!(
                "it claims more than {STRINGS} different strings"
            )));
        }
    }
    Ok(())
}

/// Counts what is read, as a whole and since a cell or a piece of markup began.
struct Counted<'a, R> {
    inner: R,
    since: &'a Cell<usize>,
    total: &'a Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.total.set(self.total.get() + read as u64);
        self.since.set(self.since.get() + read);
        if self.since.get() > PIECE {
            let piece = megabytes(PIECE as u64);
            return Err(io::Error::other(format!(
                "one cell or one piece of markup is longer than {piece}"
            )));
        }
        Ok(read)
    }
}
