//! Which files there are, and what is in each: by its first bytes, unless the operator says.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Seek},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use crate::{
    bounce::log::{self, Server},
    input::{spool, unpack},
};

/// Folders inside folders that are looked into.
const DEPTH: usize = 16;
/// How much of a file decides what it is.
const SAMPLE: usize = 64 << 10;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// One message.
    Mail,
    /// An mbox.
    Mbox,
    /// Rows of events: CSV, TSV or a workbook.
    Csv,
    /// Objects of events: NDJSON, an array, or objects one after the other.
    Json,
    /// A log of Postfix.
    Postfix,
    /// A main log of Exim.
    Exim,
}

impl Format {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Mbox => "mbox",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Postfix => "postfix",
            Self::Exim => "exim",
        }
    }
}

/// Calls `each` for every file under `path`: the file itself, or what is in a folder, in the order of names.
///
/// Of a Maildir the messages in `cur` and `new`; names that begin with a point are left out, but for folders of a Maildir.
pub(super) fn walk(path: &Path, each: &mut dyn FnMut(&Path, io::Result<()>) -> bool) -> bool {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => folder(path, DEPTH, each),
        Ok(_) => each(path, Ok(())),
        Err(error) => each(path, Err(error)),
    }
}

fn folder(path: &Path, depth: usize, each: &mut dyn FnMut(&Path, io::Result<()>) -> bool) -> bool {
    let Some(depth) = depth.checked_sub(1) else {
        return each(path, Err(io::Error::other("too many folders inside each other")));
    };
    let mut inside: Vec<(PathBuf, bool)> = Vec::new();
    match fs::read_dir(path) {
        Ok(entries) => {
            for entry in entries.flatten() {
                // A link to a folder may lead back.
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                inside.push((entry.path(), is_folder));
            }
        }
        Err(error) => return each(path, Err(error)),
    }
    inside.sort();
    let is_maildir = is_maildir(path);
    for (path, is_folder) in inside {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let goes_on = if is_folder {
            let hidden = name.starts_with('.') && !self::is_maildir(&path);
            hidden || is_maildir && name == "tmp" || folder(&path, depth, each)
        } else {
            // Beside the messages of a Maildir lie the indexes of its server.
            name.starts_with('.') || is_maildir || each(&path, Ok(()))
        };
        if !goes_on {
            return false;
        }
    }
    true
}

fn is_maildir(path: &Path) -> bool {
    path.join("cur").is_dir() && path.join("new").is_dir()
}

/// A file ready to be read from its start.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) written: SystemTime,
    pub(super) sample: Vec<u8>,
}

/// Opens a file, `-` for standard input, unpacked when it is compressed.
pub(super) fn open(path: &Path, name: &str) -> Result<Opened, String> {
    let failed = |error: io::Error| format!("cannot be read: {error}");
    let (file, written) = if path.as_os_str() == "-" {
        (
            spool::spool(&mut io::stdin().lock()).map_err(failed)?,
            SystemTime::now(),
        )
    } else {
        let mut file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_file() {
            let written = metadata.modified().unwrap_or_else(|_| SystemTime::now());
            (file, written)
        } else {
            (spool::spool(&mut file).map_err(failed)?, SystemTime::now())
        }
    };
    let (mut file, _) = unpack(file, name).map_err(|error| error.to_string())?;
    file.rewind().map_err(failed)?;
    let mut sample = Vec::new();
    Read::take(&mut file, SAMPLE as u64)
        .read_to_end(&mut sample)
        .map_err(failed)?;
    file.rewind().map_err(failed)?;
    Ok(Opened { file, written, sample })
}

/// What a file holds, by its first bytes.
pub(super) fn detect(sample: &[u8], path: &Path) -> Result<Format, String> {
    let named = |extensions: &[&str]| {
        let name = path.to_str().unwrap_or_default().to_ascii_lowercase();
        let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
        extensions.iter().any(|extension| name.ends_with(extension))
    };
    if sample.starts_with(b"PK\x03\x04") || sample.starts_with(b"PK\x05\x06") {
        let is_workbook = memchr::memmem::find(sample, b"[Content_Types].xml").is_some() || named(&[".xlsx"]);
        return if is_workbook {
            Ok(Format::Csv)
        } else {
            Err("is a zip archive; unpack it and name the folder".to_owned())
        };
    }
    let body = sample.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(sample);
    let text = body.trim_ascii_start();
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.starts_with(b"From ") {
        return Ok(Format::Mbox);
    }
    if text.starts_with(b"{") || text.starts_with(b"[") {
        return Ok(Format::Json);
    }
    if named(&[".csv", ".tsv"]) {
        return Ok(Format::Csv);
    }
    let lossy = String::from_utf8_lossy(text);
    if is_mail(&lossy) || named(&[".eml"]) {
        return Ok(Format::Mail);
    }
    match log::of(&lossy) {
        Some(Server::Postfix) => return Ok(Format::Postfix),
        Some(Server::Exim) => return Ok(Format::Exim),
        None => {}
    }
    let first = lossy.lines().next().unwrap_or_default();
    if first.contains([',', ';', '\t', '|']) && lossy.contains('@') {
        return Ok(Format::Csv);
    }
    Err(
        "is neither mail, nor a log of Postfix or Exim, nor a list of events; say what it is with `--format`"
            .to_owned(),
    )
}

/// Fields of a message at the start.
fn is_mail(text: &str) -> bool {
    const KNOWN: [&str; 14] = [
        "received",
        "from",
        "to",
        "subject",
        "date",
        "message-id",
        "return-path",
        "mime-version",
        "delivered-to",
        "content-type",
        "x-original-to",
        "dkim-signature",
        "envelope-to",
        "auto-submitted",
    ];
    let separators: &[char] = if text.contains('\n') { &['\n'] } else { &['\r'] };
    let mut known = 0;
    for line in text.split(separators).take(60) {
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if line.starts_with([' ', '\t']) {
            continue;
        }
        let Some((name, _)) = line.split_once(':') else {
            return known > 1;
        };
        let name = name.trim_end();
        if name.contains([' ', ',', ';', '/']) {
            return known > 1;
        }
        known += usize::from(KNOWN.iter().any(|known| known.eq_ignore_ascii_case(name)));
    }
    known > 0
}

/// A file as lines, each bounded.
pub(super) struct Lines {
    reader: BufReader<File>,
    line: Vec<u8>,
    pub(super) number: u64,
    limit: usize,
}

impl Lines {
    pub(super) fn new(file: File, limit: usize) -> Self {
        Self {
            reader: BufReader::with_capacity(SAMPLE, file),
            line: Vec::new(),
            number: 0,
            limit,
        }
    }

    /// The next line without its end; an error when it is longer than the limit, which skips it.
    pub(super) fn next_line(&mut self) -> io::Result<Option<Result<&[u8], ()>>> {
        use io::BufRead;
        self.line.clear();
        let mut too_long = false;
        let mut any = false;
        loop {
            let available = self.reader.fill_buf()?;
            if available.is_empty() {
                break;
            }
            any = true;
            let end = memchr::memchr(b'\n', available);
            let length = end.map_or(available.len(), |at| at + 1);
            if self.line.len() + length > self.limit {
                too_long = true;
            } else {
                self.line.extend_from_slice(available.get(..length).unwrap_or_default());
            }
            self.reader.consume(length);
            if end.is_some() {
                break;
            }
        }
        if !any {
            return Ok(None);
        }
        self.number += 1;
        if too_long {
            return Ok(Some(Err(())));
        }
        Ok(Some(Ok(self.line.trim_ascii_end())))
    }
}

/// The name of a file as it is shown.
pub(super) fn shown(path: &Path) -> Arc<str> {
    if path.as_os_str() == "-" {
        return "standard input".into();
    }
    path.display().to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_first_bytes() {
        for (sample, name, expected) in [
            (
                &b"From jane@example.com Fri Oct  1 19:15:24 2010\n"[..],
                "x",
                Some(Format::Mbox),
            ),
            (b"Return-Path: <>\nReceived: from a\n by b\n\n", "x", Some(Format::Mail)),
            (b"Return-Path: <>\rSubject: a\r\rtext", "x", Some(Format::Mail)),
            (b"\xEF\xBB\xBF{\"event\":\"bounce\"}\n", "x", Some(Format::Json)),
            (b"email,date\na@example.com,2026-11-22\n", "x", Some(Format::Csv)),
            (
                b"Nov 22 10:00:00 mx postfix/qmgr[3]: 4F2Qx12345: removed\n",
                "x",
                Some(Format::Postfix),
            ),
            (
                b"2026-11-22 10:00:00 1P1ceB-000FL1-4q Completed\n",
                "x",
                Some(Format::Exim),
            ),
            (b"PK\x03\x04mail.eml", "x.zip", None),
            (b"PK\x03\x04....[Content_Types].xml", "x", Some(Format::Csv)),
            (b"hello world\n", "x", None),
            (b"  \n", "x", None),
        ] {
            assert_eq!(
                detect(sample, Path::new(name)).ok(),
                expected,
                "{}",
                String::from_utf8_lossy(sample)
            );
        }
    }
}
