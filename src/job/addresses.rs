//! The different addresses of a list, one behind the other in large blocks: a million of them take 42 MB, as values of their own
//! 90 MB.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::address::Address;

/// Bytes of a block; an address has at most [`Address::PACKED`].
const BLOCK: usize = 1 << 16;

/// Addresses by their numbers, from 0.
#[derive(Default)]
pub(super) struct Addresses {
    blocks: Vec<Vec<u8>>,
    /// Number of the block and place in it.
    places: Vec<u32>,
}

impl Addresses {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn get(&self, id: u32) -> Option<Address> {
        Address::unpack(self.bytes(id)?)
    }

    fn mailbox(&self, id: u32) -> Option<&str> {
        Address::packed_mailbox(self.bytes(id)?)
    }

    fn bytes(&self, id: u32) -> Option<&[u8]> {
        let place = *self.places.get(id as usize)? as usize;
        self.blocks.get(place / BLOCK)?.get(place % BLOCK..)
    }

    /// Keeps another address; `None` when there is no room for more.
    fn push(&mut self, address: &Address) -> Option<u32> {
        let id = u32::try_from(self.places.len()).ok()?;
        if self
            .blocks
            .last()
            .is_none_or(|block| block.len() > BLOCK - Address::PACKED)
        {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        let number = self.blocks.len() - 1;
        let block = self.blocks.last_mut()?;
        let place = u32::try_from(number * BLOCK + block.len()).ok()?;
        address.pack(block);
        self.places.push(place);
        Some(id)
    }
}

/// Finds equal addresses while a list is read.
#[derive(Default)]
pub(super) struct Joining {
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    pub(super) addresses: Addresses,
}

impl Joining {
    /// The number of an address, and whether it is new; `None` when there is no room for more.
    pub(super) fn join(&mut self, address: &Address, exact: bool) -> Option<(u32, bool)> {
        let Self {
            index,
            hasher,
            addresses,
        } = self;
        let mailbox = address.mailbox();
        // What differs in the case of other letters than ASCII's is not the same, as in `Address::join_eq_key`.
        let same = |id: &u32| {
            let known = addresses.mailbox(*id);
            known.is_some_and(|known| known == mailbox || !exact && known.eq_ignore_ascii_case(mailbox))
        };
        let key = |mailbox: &str| {
            if exact || !mailbox.bytes().any(|byte| byte.is_ascii_uppercase()) {
                hasher.hash_one(mailbox)
            } else {
                hasher.hash_one(mailbox.to_ascii_lowercase())
            }
        };
        let hash = key(mailbox);
        if let Some(id) = index.find(hash, same) {
            return Some((*id, false));
        }
        let id = addresses.push(address)?;
        index.insert_unique(hash, id, |id| addresses.mailbox(*id).map_or(0, key));
        Some((id, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Rules;

    #[test]
    fn equal_addresses_share_a_number_and_come_back_as_they_were() {
        let parse = |text: &str| Address::parse(text, Rules::default()).unwrap();
        for exact in [false, true] {
            let mut joining = Joining::default();
            let texts: Vec<String> = (0..5_000)
                .map(|number| format!("Jane.Doe+{number}@acme-corp.com"))
                .collect();
            for (id, text) in (0..).zip(&texts) {
                assert_eq!(joining.join(&parse(text), exact), Some((id, true)));
            }
            let upper = parse("JANE.DOE+17@acme-corp.com");
            let expected = if exact { (5_000, true) } else { (17, false) };
            assert_eq!(joining.join(&upper, exact), Some(expected));
            assert_eq!(joining.join(&parse(&texts[4_999]), exact), Some((4_999, false)));
            assert!(joining.addresses.blocks.len() > 1);
            for (id, text) in (0..).zip(&texts) {
                assert_eq!(joining.addresses.get(id), Some(parse(text)));
            }
            assert_eq!(joining.addresses.get(5_001), None);
        }
    }
}
