//! A set of small entries that is kept nearly full: what it costs is what its entries cost, and a tenth more.
//!
//! It has many parts. Each grows by an eighth when eleven twelfths of it are taken, and different parts do so at different times, so
//! that never more than a part is there twice. Entries are in order, so that a search ends soon in so full a table and growing is one
//! pass; evenly spread, each is a few slots from where it belongs.
//!
//! Knows nothing of what its entries mean but that they begin with evenly spread bits.

use std::{hint::black_box, mem};

/// How many parts there are; which one an entry belongs to is worth eight bits of its fingerprint.
const PARTS: usize = 256;
/// Bits of the number that chooses a part.
const CHOICE: u32 = 28;
/// Slots of a part from which it grows by an eighth, before by a quarter: little memory is not worth the time.
const LARGE: usize = 8 << 10;
/// Slots behind the last home.
const TAIL: usize = 256;

/// Entries of `SIZE` bytes, eight at least; those are equal whose first `BITS` bits are. One whose first eight bytes are zero is none.
#[derive(Debug)]
pub(super) struct Packed<const SIZE: usize, const BITS: u32> {
    parts: Vec<Part<SIZE, BITS>>,
}

#[derive(Debug)]
struct Part<const SIZE: usize, const BITS: u32> {
    /// In the order of their heads, each behind its home and no free slot between them; then a tail that is nobody's home.
    slots: Vec<[u8; SIZE]>,
    homes: usize,
    taken: usize,
}

impl<const SIZE: usize, const BITS: u32> Default for Packed<SIZE, BITS> {
    fn default() -> Self {
        let part = |_| Part {
            slots: Vec::new(),
            homes: 0,
            taken: 0,
        };
        Self {
            parts: (0..PARTS).map(part).collect(),
        }
    }
}

impl<const SIZE: usize, const BITS: u32> Packed<SIZE, BITS> {
    /// The entry that was there, or nothing and it is now. Equal entries come with the same `choice`, evenly spread too.
    pub(super) fn insert(&mut self, choice: u32, entry: [u8; SIZE]) -> Option<[u8; SIZE]> {
        self.parts.get_mut(part(choice))?.insert(entry)
    }

    /// Has the memory of an entry fetched, while others are still on their way.
    pub(super) fn touch(&self, choice: u32, entry: [u8; SIZE]) {
        if let Some(part) = self.parts.get(part(choice)) {
            black_box(part.slots.get(part.home(&entry)).map(head));
        }
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.taken).sum()
    }

    /// Bytes of all slots, taken or not.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.slots.capacity() * SIZE).sum()
    }
}

/// The last part gets four fifths of what the first one gets: they grow one after the other.
fn part(choice: u32) -> usize {
    let choice = u64::from(choice >> (32 - CHOICE));
    let curved = (choice * ((9 << CHOICE) - choice)) >> (CHOICE + 3);
    ((curved * PARTS as u64) >> CHOICE) as usize
}

impl<const SIZE: usize, const BITS: u32> Part<SIZE, BITS> {
    fn insert(&mut self, entry: [u8; SIZE]) -> Option<[u8; SIZE]> {
        loop {
            if (self.taken + 1) * 12 <= self.homes * 11
                && let Some(place) = self.place(&entry)
            {
                if let Place::Taken(there) = place {
                    return Some(there);
                }
                self.taken += 1;
                return None;
            }
            self.grow();
        }
    }

    /// Where an entry is, or was put just now; nothing if there is no room behind those before it.
    fn place(&mut self, entry: &[u8; SIZE]) -> Option<Place<SIZE>> {
        let mut at = self.home(entry);
        loop {
            let slot = self.slots.get_mut(at)?;
            let there = head(slot);
            if there == 0 {
                *slot = *entry;
                return Some(Place::New);
            }
            if equal::<SIZE, BITS>(slot, entry) {
                return Some(Place::Taken(*slot));
            }
            if there > head(entry) {
                break;
            }
            at += 1;
        }
        let rest = self.slots.get_mut(at..)?;
        let free = rest.iter().position(|slot| head(slot) == 0)?;
        rest.copy_within(..free, 1);
        *rest.first_mut()? = *entry;
        Some(Place::New)
    }

    fn home(&self, entry: &[u8; SIZE]) -> usize {
        let start = head(entry) >> (64 - BITS.min(64)) << (64 - BITS.min(64));
        usize::try_from((u128::from(start) * self.homes as u128) >> 64).unwrap_or_default()
    }

    fn grow(&mut self) {
        let old = mem::take(&mut self.slots);
        loop {
            let more = if self.homes < LARGE {
                self.homes / 2
            } else {
                self.homes / 8
            };
            self.homes += more.max(16);
            self.slots = vec![[0; SIZE]; self.homes + TAIL.min(self.homes)];
            if self.fill(&old).is_some() {
                return;
            }
        }
    }

    /// Puts entries into empty slots, in the same order.
    fn fill(&mut self, old: &[[u8; SIZE]]) -> Option<()> {
        let mut next = 0;
        for entry in old.iter().filter(|entry| head(entry) != 0) {
            next = self.home(entry).max(next);
            *self.slots.get_mut(next)? = *entry;
            next += 1;
        }
        Some(())
    }
}

enum Place<const SIZE: usize> {
    New,
    Taken([u8; SIZE]),
}

/// The first eight bytes.
fn head<const SIZE: usize>(entry: &[u8; SIZE]) -> u64 {
    entry.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

fn equal<const SIZE: usize, const BITS: u32>(one: &[u8; SIZE], other: &[u8; SIZE]) -> bool {
    if BITS <= 64 {
        (head(one) ^ head(other)) >> (64 - BITS.min(64)) == 0
    } else {
        one == other
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Evenly spread numbers, the same in every run (`SplitMix64`).
    fn spread(number: u64) -> u64 {
        let mut z = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn entry(number: u64, payload: u8) -> (u32, [u8; 13]) {
        let mut entry = [payload; 13];
        entry[..8].copy_from_slice(&(spread(number) & !0xF).to_be_bytes());
        ((spread(number + (1 << 40)) >> 32) as u32, entry)
    }

    #[test]
    fn the_first_of_equals_stays() {
        let mut packed = Packed::<13, 60>::default();
        for number in 0..30_000 {
            let (choice, first) = entry(number, 1);
            assert_eq!(packed.insert(choice, first), None, "{number}");
        }
        for number in 0..30_000 {
            let ((choice, first), (_, second)) = (entry(number, 1), entry(number, 2));
            assert_eq!(packed.insert(choice, second), Some(first), "{number}");
        }
        assert_eq!(packed.len(), 30_000);
    }

    #[test]
    fn it_says_what_a_set_says() {
        let (mut packed, mut set) = (Packed::<16, 128>::default(), HashSet::new());
        for number in 0..20_000 {
            // Many share their first eight bytes, and all the part.
            let number = spread(number % 7001) % 3000;
            let wide = u128::from(spread(number % 100)) << 64 | u128::from(number);
            assert_eq!(packed.insert(7, wide.to_be_bytes()).is_none(), set.insert(wide));
        }
        assert_eq!(packed.len(), set.len());
    }

    #[test]
    fn an_entry_takes_little_more_than_its_bytes_at_any_time() {
        let mut packed = Packed::<13, 60>::default();
        for number in 0..3_000_000 {
            let (choice, entry) = entry(number, 1);
            packed.insert(choice, entry);
            if number > 2_400_000 && number % 20_000 == 0 {
                let (bytes, entries) = (packed.bytes(), packed.len());
                assert!(bytes * 10 < entries * 156, "{bytes} bytes for {entries}");
            }
        }
    }

    #[test]
    fn every_part_is_reached() {
        let parts: HashSet<usize> = (0..=u32::MAX).step_by(1 << 20).map(part).collect();
        assert_eq!(parts.len(), PARTS);
        assert_eq!((part(0), part(u32::MAX)), (0, PARTS - 1));
    }
}
