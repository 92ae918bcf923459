//! Which addresses came before, and where: 16 bytes for each different one.
//!
//! An entry is 68 bits of the address's fingerprint, 24 bits that tell its very form, and 36 bits for where it first stood. Among ten
//! million addresses two differ and share the 68 bits with odds of 2e-7; of two that differ in case only the 24 bits say that
//! they are equal with odds of 6e-8.

use hashbrown::{HashTable, hash_table::Entry};

use super::Place;
use crate::address::Address;

const FORM: u32 = 24;
const AT: u32 = 36;
/// Parts of the table: each grows for itself, so that the whole never has to be copied at once.
const PARTS: usize = 256;

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

/// An address as the table has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Key {
    folded: u128,
    form: u32,
}

impl Key {
    /// The key of an address; `exact` keeps addresses apart that differ in case.
    pub(super) fn of(address: &Address) -> Self {
        let folded = address.join_hash(false);
        let has_upper = address.mailbox().bytes().any(|b| b.is_ascii_uppercase());
        let form = if has_upper { address.join_hash(true) } else { folded };
        Self {
            folded,
            #[expect(clippy::cast_possible_truncation, reason = "24 bits are wanted")]
            form: (form as u32) & ((1 << FORM) - 1),
        }
    }

    /// The key of any text.
    pub(super) fn of_hash(hash: u128) -> Self {
        Self { folded: hash, form: 0 }
    }

    fn fingerprint(self) -> u128 {
        self.folded >> (FORM + AT) << (FORM + AT)
    }

    /// The fingerprint of the whole, for looking answers up.
    pub(super) fn whole(self) -> u128 {
        self.folded
    }
}

/// The addresses seen so far.
#[derive(Debug)]
pub(super) struct Register {
    parts: Vec<HashTable<u128>>,
    /// How many lines the files before each one had, so that one number is a file and a line.
    bases: Vec<u64>,
    /// How many lines there were when the last file ended.
    lines: u64,
    distinct: u64,
}

impl Default for Register {
    fn default() -> Self {
        Self {
            parts: (0..PARTS).map(|_| HashTable::new()).collect(),
            bases: Vec::new(),
            lines: 0,
            distinct: 0,
        }
    }
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
        self.distinct
    }

    /// Looks an address of the current file up, and remembers it.
    pub(super) fn see(&mut self, key: Key, line: u64) -> Seen {
        let base = self.bases.last().copied().unwrap_or_default();
        let fingerprint = key.fingerprint();
        let at = u128::from(base + line) & ((1 << AT) - 1);
        let entry = fingerprint | u128::from(key.form) << AT | at;
        let part = usize::from((key.folded >> 120) as u8);
        let Some(part) = self.parts.get_mut(part) else {
            return Seen::New;
        };
        let same = |other: &u128| other >> (FORM + AT) == entry >> (FORM + AT);
        let found = match part.entry(hash(entry), same, |entry| hash(*entry)) {
            Entry::Vacant(vacant) => {
                vacant.insert(entry);
                self.distinct += 1;
                return Seen::New;
            }
            Entry::Occupied(occupied) => *occupied.get(),
        };
        let place = self.place(found);
        if found >> AT == entry >> AT {
            Seen::Same(place)
        } else {
            Seen::OtherCase(place)
        }
    }

    fn place(&self, entry: u128) -> Place {
        let at = u64::try_from(entry & ((1 << AT) - 1)).unwrap_or_default();
        // Lines count from 1, so the line that ends a file is at the next file's base.
        let file = self.bases.partition_point(|base| *base < at).saturating_sub(1);
        let base = self.bases.get(file).copied().unwrap_or_default();
        Place { file, line: at - base }
    }
}

/// The fingerprint is a hash already.
#[expect(clippy::cast_possible_truncation, reason = "64 of its bits are wanted")]
fn hash(entry: u128) -> u64 {
    (entry >> (FORM + AT)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Rules;

    fn key(text: &str) -> Key {
        Key::of(&Address::parse(text, Rules::default()).unwrap())
    }

    #[test]
    fn forms_and_places_are_told() {
        let mut register = Register::default();
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
    fn an_entry_has_sixteen_bytes() {
        let mut register = Register::default();
        for line in 1..=100_000 {
            register.see(key(&format!("user{line}@acme-corp.com")), line);
        }
        assert_eq!(register.distinct(), 100_000);
        let room: usize = register.parts.iter().map(HashTable::capacity).sum();
        assert!(room < 230_000, "{room}");
        assert_eq!(size_of::<u128>(), 16);
    }
}
