//! Findings that are known already: kept as keyed fingerprints, so that no address is in the repository.
//!
//! A fingerprint is HMAC-SHA256 over rule, file and address; whoever lacks the key learns nothing from it, and cannot try addresses.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Finding, Masking, Showing};

/// Name and version of the file's form.
const SCHEMA: &str = "presend-baseline/1";
/// Bytes of a key at least: shorter ones can be tried.
const SHORTEST: usize = 16;
/// Bytes of a baseline: a million entries.
const LARGEST: u64 = 256 << 20;

/// The key of fingerprints.
#[derive(Clone)]
pub struct Key(Vec<u8>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

impl Key {
    /// A key; white space around it is no part of it.
    ///
    /// # Errors
    /// It is shorter than 16 bytes.
    pub fn new(text: &str) -> Result<Self, BaselineError> {
        let text = text.trim();
        if text.len() < SHORTEST {
            return Err(BaselineError::ShortKey);
        }
        Ok(Self(text.as_bytes().to_vec()))
    }

    /// RFC 2104 over SHA-256.
    fn hmac(&self, parts: &[&[u8]]) -> [u8; 32] {
        // A key may have any length; a MAC without one is never compared with another.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return [0; 32];
        };
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Tells keys apart without telling anything else.
    fn id(&self) -> String {
        let Fingerprint(bytes) = Fingerprint::of(&self.hmac(&[b"presend baseline key"]));
        Fingerprint(bytes).to_string().chars().take(16).collect()
    }
}

/// What tells a finding from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    fn of(digest: &[u8; 32]) -> Self {
        let mut half = [0; 16];
        for (to, from) in half.iter_mut().zip(digest) {
            *to = *from;
        }
        Self(half)
    }

    fn parse(text: &str) -> Option<Self> {
        let number = u128::from_str_radix(text, 16).ok();
        number
            .filter(|_| text.len() == 32)
            .map(|number| Self(number.to_be_bytes()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// How findings are told from one another.
#[derive(Debug, Clone, Default)]
pub struct Fingerprints {
    key: Option<Key>,
}

impl Fingerprints {
    /// With a key, fingerprints follow an address through its file; without one they hold the line and nothing of the local-part.
    #[must_use]
    pub fn new(key: Option<Key>) -> Self {
        Self { key }
    }

    /// The fingerprint of a finding.
    #[must_use]
    pub fn of(&self, finding: &Finding, showing: &Showing) -> Fingerprint {
        let file = showing.file(finding.place.file);
        let line = finding.place.line.to_string();
        let code = finding.rule.code();
        let Some(key) = &self.key else {
            let masked = Masking::Local.shown(&finding.subject);
            let text = format!("{code}\0{file}\0{line}\0{masked}");
            return Fingerprint::of(&Sha256::digest(text.as_bytes()).into());
        };
        let subject = match finding.subject.trim() {
            // Without an address only the line tells rows apart.
            "" => line.as_str(),
            subject => subject,
        };
        Fingerprint::of(&key.hmac(&[code.as_bytes(), b"\0", file.as_bytes(), b"\0", subject.as_bytes()]))
    }
}

/// A baseline cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The key is too short.
    #[error("the key of the baseline is shorter than {SHORTEST} characters; make one with `openssl rand -hex 32`")]
    ShortKey,
    /// There is no key.
    #[error("a baseline needs a key: set `PRESEND_BASELINE_KEY`, or name a file with `--baseline-key-file`")]
    NoKey,
    /// The file cannot be read or written.
    #[error("cannot use the baseline `{path}`: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It was made with another key.
    #[error(
        "the baseline `{path}` was made with another key ({theirs}, this one is {ours}), so it knows none of these findings; use its \
         key, or make it anew with `presend lint baseline create --force`"
    )]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// Its key's number.
        theirs: String,
        /// The number of the key that was given.
        ours: String,
    },
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: String,
    /// Tells keys apart.
    key: String,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    fingerprint: String,
    /// For people: the rule's name and the file.
    rule: String,
    file: String,
    /// How many such findings are known.
    count: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    reason: Option<String>,
    /// The day after which the entry counts no more: `2026-12-31`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    expires: Option<String>,
}

/// One known finding.
#[derive(Debug, Clone)]
struct Known {
    entry: Entry,
    expired: bool,
    /// How often it was found in this run.
    found: u32,
}

/// What is known.
#[derive(Debug, Clone)]
pub struct Baseline {
    path: PathBuf,
    key: Key,
    known: BTreeMap<Fingerprint, Known>,
    /// Findings that are not known, while a baseline is made.
    new: Option<BTreeMap<Fingerprint, Entry>>,
}

impl Baseline {
    /// Reads a baseline; `today` decides what has expired.
    ///
    /// # Errors
    /// The file cannot be read, is no baseline, or was made with another key.
    pub fn read(path: &Path, key: Key, today: SystemTime) -> Result<Self, BaselineError> {
        let fail = |reason: String| BaselineError::File {
            path: path.to_owned(),
            reason,
        };
        let size = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?.len();
        if size > LARGEST {
            return Err(fail("it is larger than 256 MiB".into()));
        }
        let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        let document: Document = serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?;
        if document.schema != SCHEMA {
            return Err(fail(format!("its schema is not `{SCHEMA}`")));
        }
        let ours = key.id();
        if document.key != ours {
            return Err(BaselineError::OtherKey {
                path: path.to_owned(),
                theirs: document.key.chars().take(16).filter(char::is_ascii_hexdigit).collect(),
                ours,
            });
        }
        let today = day(today);
        let mut known = BTreeMap::new();
        for (index, entry) in document.entries.into_iter().enumerate() {
            let number = index + 1;
            let print = Fingerprint::parse(&entry.fingerprint);
            let print =
                print.ok_or_else(|| fail(format!("entry {number} has no fingerprint of 32 hexadecimal digits")))?;
            if entry.expires.as_ref().is_some_and(|expires| !is_day(expires)) {
                return Err(fail(format!(
                    "`expires` of entry {number} is no day such as `2026-12-31`"
                )));
            }
            let expired = entry.expires.as_ref().is_some_and(|expires| *expires < today);
            let known_one = Known {
                entry,
                expired,
                found: 0,
            };
            known.insert(print, known_one);
        }
        Ok(Self {
            path: path.to_owned(),
            key,
            known,
            new: None,
        })
    }

    /// A baseline that knows nothing yet.
    #[must_use]
    pub fn empty(path: &Path, key: Key) -> Self {
        Self {
            path: path.to_owned(),
            key,
            known: BTreeMap::new(),
            new: None,
        }
    }

    /// Remembers what it does not know, to write it down later.
    #[must_use]
    pub fn learning(mut self) -> Self {
        self.new = Some(BTreeMap::new());
        self
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a finding is known; each is as often as it was when the baseline was made.
    pub(super) fn takes(&mut self, print: &Fingerprint) -> bool {
        self.known.get_mut(print).is_some_and(|known| {
            known.found = known.found.saturating_add(1);
            !known.expired && known.found <= known.entry.count
        })
    }

    /// Remembers a finding that was not taken.
    pub(super) fn learn(&mut self, print: &Fingerprint, finding: &Finding, showing: &Showing) {
        if let Some(new) = &mut self.new {
            let entry = new.entry(*print).or_insert_with(|| Entry {
                fingerprint: print.to_string(),
                rule: finding.rule.name().to_owned(),
                file: showing.file(finding.place.file).to_owned(),
                count: 0,
                reason: None,
                expires: None,
            });
            entry.count += 1;
        }
    }

    /// How many entries nothing was found for, and how many have expired.
    pub(super) fn left(&self) -> (u64, u64) {
        let count = |which: fn(&&Known) -> bool| self.known.values().filter(which).count() as u64;
        (
            count(|known| known.found == 0 && !known.expired),
            count(|known| known.expired),
        )
    }

    /// Adds what was learned; what is known keeps its reason and its day. The number of findings that were added.
    pub fn add_learned(&mut self, reason: Option<&str>, expires: Option<&str>) -> u64 {
        let mut added = 0;
        for (print, mut entry) in self.new.take().unwrap_or_default() {
            added += u64::from(entry.count);
            if let Some(known) = self.known.get_mut(&print) {
                let more = if known.expired { 0 } else { known.entry.count };
                known.entry.count = entry.count + more;
                if known.expired {
                    known.entry.expires = expires.map(str::to_owned);
                    known.expired = false;
                }
                continue;
            }
            entry.reason = reason.map(str::to_owned);
            entry.expires = expires.map(str::to_owned);
            let found = entry.count;
            let known = Known {
                entry,
                expired: false,
                found,
            };
            self.known.insert(print, known);
        }
        added
    }

    /// Drops entries that nothing was found for, and expired ones; lowers the count of those that were found less often. The
    /// number of entries that are gone.
    pub fn prune(&mut self) -> u64 {
        let before = self.known.len();
        self.known.retain(|_, known| known.found > 0 && !known.expired);
        for known in self.known.values_mut() {
            known.entry.count = known.entry.count.min(known.found);
        }
        (before - self.known.len()) as u64
    }

    /// The file's text: the same findings give the same text.
    ///
    /// # Errors
    /// Never: everything is text.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        let mut entries: Vec<Entry> = self.known.values().map(|known| known.entry.clone()).collect();
        entries.sort_by(|a, b| (&a.file, &a.rule, &a.fingerprint).cmp(&(&b.file, &b.rule, &b.fingerprint)));
        let document = Document {
            schema: SCHEMA.to_owned(),
            key: self.key.id(),
            entries,
        };
        serde_json::to_string_pretty(&document).map(|text| text + "\n")
    }
}

/// `2026-12-31`.
fn day(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time)
        .to_string()
        .chars()
        .take(10)
        .collect()
}

/// Whether the text is a day of the calendar.
#[must_use]
pub fn is_day(text: &str) -> bool {
    text.len() == 10 && humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test cases 2 and 6.
    #[test]
    fn hmac_is_that_of_the_rfc() {
        let hex = |bytes: [u8; 32]| {
            let (high, low) = bytes.split_at(16);
            let number = |half: &[u8]| u128::from_be_bytes(half.try_into().unwrap());
            format!("{:032x}{:032x}", number(high), number(low))
        };
        assert_eq!(
            hex(Key(b"Jefe".to_vec()).hmac(&[b"what do ya want ", b"for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(Key(vec![0xaa; 131]).hmac(&[b"Test Using Larger Than Block-Size Key - Hash Key First"])),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn a_key_is_never_shown_and_not_short() {
        let key = Key::new(" 0123456789abcdef\n").unwrap();
        assert_eq!(format!("{key:?}"), "Key(***)");
        assert!(Key::new("0123456789abcde").is_err());
        assert_ne!(key.id(), Key::new("0123456789abcdeg").unwrap().id());
    }

    #[test]
    fn known_findings_are_counted_and_expire() {
        let key = Key::new("0123456789abcdef").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.json");
        let print = |byte: u8| Fingerprint([byte; 16]);
        let entry = |byte: u8, count, expires: Option<&str>| Entry {
            fingerprint: print(byte).to_string(),
            rule: "role".into(),
            file: "a.txt".into(),
            count,
            reason: None,
            expires: expires.map(str::to_owned),
        };
        let document = Document {
            schema: SCHEMA.into(),
            key: key.id(),
            entries: vec![
                entry(1, 2, None),
                entry(2, 1, Some("2001-01-01")),
                entry(3, 1, Some("2999-01-01")),
            ],
        };
        std::fs::write(&path, serde_json::to_string(&document).unwrap()).unwrap();
        let today = SystemTime::UNIX_EPOCH + std::time::Duration::from_hours(24 * 365 * 50);
        let mut baseline = Baseline::read(&path, key, today).unwrap();
        let taken = [1, 1, 1, 2, 4].map(|byte| baseline.takes(&print(byte)));
        assert_eq!(taken, [true, true, false, false, false]);
        assert_eq!(baseline.left(), (1, 1));
        assert_eq!(baseline.prune(), 2);
        assert_eq!(baseline.to_text().unwrap(), baseline.clone().to_text().unwrap());
        let other = Key::new("another key that is long").unwrap();
        assert!(matches!(
            Baseline::read(&path, other, today),
            Err(BaselineError::OtherKey { .. })
        ));
        for (day, is) in [
            ("2026-12-31", true),
            ("2026-13-01", false),
            ("soon", false),
            ("2026-02-30", false),
        ] {
            assert_eq!(is_day(day), is, "{day}");
        }
    }
}
