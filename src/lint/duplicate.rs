//! Which addresses came before, and where: 13 bytes for each different one, 16 with the room that their table keeps.
//!
//! An entry is 68 bits of the address's fingerprint (8 of them by its place), 12 bits that tell its very form, and 32 bits for where it
//! first stood. The fingerprint's key is another in each run, so that nobody makes two addresses share one: among ten million addresses
//! two differ and share it with odds of 2e-7, among a hundred million with 2e-5. Then the second is said to be a duplicate; repairs compare
//! more (`fix`).

use std::hash::{BuildHasher, Hasher, RandomState};

use super::{Place, packed::Packed};
use crate::address::Address;

/// Bytes of an entry.
const SIZE: usize = 13;
/// Bits of the fingerprint in it.
const PRINT: u32 = 60;
/// Bits for the form.
const FORM: u32 = 12;
/// Bits for where it stood: lines of all files together.
const AT: u32 = 32;

/// How an address was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Not yet.
    New,
    /// In the same form.
    Same(Place),
    /// In other letter case.
    OtherCase(Place),
}

/// Makes the keys of a run: another makes others.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys(RandomState);

/// An address as the table has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    first: u64,
    second: u32,
    form: u16,
}

/// A domain in lower case, on the way to a key.
pub(super) struct Half {
    hasher: std::hash::DefaultHasher,
    /// The fingerprint of the domain.
    pub(super) domain: u64,
}

impl Keys {
    /// The key of an address.
    pub(super) fn of(&self, address: &Address) -> Key {
        self.of_domain(address.domain().as_bytes())
            .with(address.local_part().as_bytes())
    }

    /// The first half of the way.
    pub(super) fn of_domain(&self, domain: &[u8]) -> Half {
        let mut hasher = self.0.build_hasher();
        hasher.write(domain);
        let domain = hasher.finish();
        Half { hasher, domain }
    }
}

impl Half {
    /// The key of a local-part at the domain, ASCII case ignored; the case is told by the form.
    pub(super) fn with(self, local: &[u8]) -> Key {
        let mut hasher = self.hasher;
        // No local-part holds an `@` at its end, so that parts do not run together.
        hasher.write_u8(b'@');
        let has_upper = local.iter().any(u8::is_ascii_uppercase);
        if has_upper {
            hasher.write(&local.to_ascii_lowercase());
        } else {
            hasher.write(local);
        }
        let first = hasher.finish();
        hasher.write_u8(b'@');
        #[expect(clippy::cast_possible_truncation, reason = "32 bits are wanted")]
        let second = hasher.finish() as u32;
        let form = if has_upper { form(local, hasher) } else { 0 };
        Key { first, second, form }
    }
}

/// Which letters are upper-case: a bit for each of the first eleven characters, a hash where there are more.
#[expect(clippy::cast_possible_truncation, reason = "11 bits are wanted")]
fn form(local: &[u8], mut hasher: std::hash::DefaultHasher) -> u16 {
    const SHORT: usize = FORM as usize - 1;
    let (start, rest) = local.split_at(SHORT.min(local.len()));
    if rest.iter().any(u8::is_ascii_uppercase) {
        hasher.write(local);
        return 1 << SHORT | (hasher.finish() as u16 & ((1 << SHORT) - 1));
    }
    start
        .iter()
        .fold(0, |bits, byte| bits << 1 | u16::from(byte.is_ascii_uppercase()))
}

impl Key {
    #[expect(clippy::cast_possible_truncation, reason = "the upper bytes are empty")]
    fn entry(self, at: u64) -> [u8; SIZE] {
        // None is zero: that is a free place.
        let print = (self.first >> (64 - PRINT)).max(1 << 8);
        let whole = u128::from(print) << (FORM + AT) | u128::from(self.form) << AT | u128::from(at);
        let mut entry = [0; SIZE];
        let mut left = whole;
        for byte in entry.iter_mut().rev() {
            *byte = left as u8;
            left >>= 8;
        }
        entry
    }
}

/// The addresses seen so far.
#[derive(Debug, Default)]
pub(super) struct Register {
    entries: Packed<SIZE, PRINT>,
    /// How many lines the files before each one had, so that one number is a file and a line.
    bases: Vec<u64>,
    /// How many lines there were when the last file ended.
    lines: u64,
}

impl Register {
    /// The file of this number begins; those before it that were not begun have no lines.
    pub(super) fn begin(&mut self, file: usize) {
        self.bases.resize(file + 1, self.lines);
    }

    /// The current file ended with this line.
    pub(super) fn end(&mut self, line: u64) {
        self.lines += line;
    }

    /// How many different addresses there were.
    pub(super) fn distinct(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Has the memory fetched that [`see`](Self::see) will look at.
    pub(super) fn touch(&self, key: Key) {
        self.entries.touch(key.second, key.entry(0));
    }

    /// Looks an address of the current file up, and remembers it.
    pub(super) fn see(&mut self, key: Key, line: u64) -> Seen {
        let base = self.bases.last().copied().unwrap_or_default();
        // Lines beyond four thousand million are one place.
        let entry = key.entry((base + line).min((1 << AT) - 1));
        let Some(found) = self.entries.insert(key.second, entry) else {
            return Seen::New;
        };
        let number = |entry: &[u8]| entry.iter().fold(0, |number, byte| number << 8 | u128::from(*byte));
        let (entry, found) = (number(&entry), number(&found));
        let place = self.place(u64::try_from(found & ((1 << AT) - 1)).unwrap_or_default());
        if found >> AT == entry >> AT {
            Seen::Same(place)
        } else {
            Seen::OtherCase(place)
        }
    }

    fn place(&self, at: u64) -> Place {
        // Lines count from 1, so the line that ends a file is at the next file's base.
        let file = self.bases.partition_point(|base| *base < at).saturating_sub(1);
        let base = self.bases.get(file).copied().unwrap_or_default();
        Place { file, line: at - base }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Rules;

    #[test]
    fn forms_and_places_are_told() {
        let (mut register, keys) = (Register::default(), Keys::default());
        let key = |text: &str| keys.of(&Address::parse(text, Rules::default()).unwrap());
        register.begin(0);
        let at = |file, line| Place { file, line };
        assert_eq!(register.see(key("Jane@acme-corp.com"), 1), Seen::New);
        assert_eq!(register.see(key("joe@acme-corp.com"), 7), Seen::New);
        assert_eq!(register.see(key("Jane@acme-corp.com"), 8), Seen::Same(at(0, 1)));
        assert_eq!(register.see(key("jane@acme-corp.com"), 9), Seen::OtherCase(at(0, 1)));
        register.end(9);
        register.begin(1);
        assert_eq!(register.see(key("joe@acme-corp.com"), 1), Seen::Same(at(0, 7)));
        assert_eq!(register.see(key("ann@acme-corp.com"), 1), Seen::New);
        register.end(3);
        register.begin(3);
        assert_eq!(register.see(key("ann@acme-corp.com"), 2), Seen::Same(at(1, 1)));
        assert_eq!(register.distinct(), 3);
    }

    #[test]
    fn forms_are_told_apart() {
        let keys = Keys::default();
        let form = |local: &str| keys.of_domain(b"acme-corp.com").with(local.as_bytes());
        let forms = ["jane.doe", "Jane.doe", "Jane.Doe", "JANE.DOE", "jane.doE", "jane.Doe"];
        for (one, other) in forms.iter().flat_map(|one| forms.map(|other| (*one, other))) {
            let (a, b) = (form(one), form(other));
            assert_eq!((a.first, a.second), (b.first, b.second));
            assert_eq!(a.form == b.form, one == other, "{one} {other}");
        }
        for (long, is_hashed) in [
            ("christopher.smith", false),
            ("Christopher.smith", false),
            ("christopher.Smith", true),
            ("CHRISTOPHER.SMITH", true),
        ] {
            assert_eq!(form(long).form >> (FORM - 1) == 1, is_hashed, "{long}");
            assert_eq!(form(long), form(long));
            assert_ne!(form(long).form == 0, long.bytes().any(|b| b.is_ascii_uppercase()));
        }
    }

    #[test]
    fn another_run_has_other_keys() {
        let key = |keys: &Keys| keys.of_domain(b"acme-corp.com").with(b"jane");
        let keys = Keys::default();
        assert_eq!(key(&keys), key(&keys.clone()));
        assert_ne!(key(&keys), key(&Keys::default()));
    }
}
