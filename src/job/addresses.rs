//! The different addresses of a list, one behind the other in large blocks, each domain once: a million of them take 25 MB, as
//! values of their own 90 MB.

use std::hash::{BuildHasher as _, Hasher as _};

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::address::{Address, Domain};

/// Bytes of a block; an address has at most [`Address::PACKED`], and before it the number of its domain.
const BLOCK: usize = 1 << 16;
/// Bytes of the number of a domain.
const NUMBER: usize = size_of::<u32>();

/// Addresses by their numbers, from 0.
#[derive(Default)]
pub(super) struct Addresses {
    blocks: Vec<Vec<u8>>,
    /// Number of the block and place in it.
    places: Vec<u32>,
    /// By their numbers, in the order of the list.
    domains: Vec<Domain>,
}

impl Addresses {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn get(&self, id: u32) -> Option<Address> {
        let (domain, packed) = self.parts(id)?;
        Address::unpack(packed, self.domains.get(domain as usize)?)
    }

    /// Looks at addresses that are wanted next, all over the list: the processor fetches them side by side here, while later each
    /// would be waited for by itself (a seventh of the time of a million rows).
    pub(super) fn expect(&self, ids: impl Iterator<Item = u32>) {
        let domains = ids.filter_map(|id| self.parts(id)).map(|(domain, _)| domain);
        std::hint::black_box(domains.fold(0, u32::wrapping_add));
    }

    /// By their numbers.
    pub(super) fn domains(&self) -> &[Domain] {
        &self.domains
    }

    /// The number of its domain, and the rest of an address.
    fn parts(&self, id: u32) -> Option<(u32, &[u8])> {
        let place = *self.places.get(id as usize)? as usize;
        let bytes = self.blocks.get(place / BLOCK)?.get(place % BLOCK..)?;
        let (domain, packed) = bytes.split_first_chunk::<NUMBER>()?;
        Some((u32::from_le_bytes(*domain), packed))
    }

    fn local_part(&self, id: u32) -> Option<(u32, &str)> {
        let (domain, packed) = self.parts(id)?;
        Some((domain, Address::packed_local_part(packed)?))
    }

    /// Keeps another address; `None` when there is no room for more.
    fn push(&mut self, address: &Address, domain: u32) -> Option<u32> {
        let id = u32::try_from(self.places.len()).ok()?;
        if self
            .blocks
            .last()
            .is_none_or(|block| block.len() > BLOCK - Address::PACKED - NUMBER)
        {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        let number = self.blocks.len() - 1;
        let block = self.blocks.last_mut()?;
        let place = u32::try_from(number * BLOCK + block.len()).ok()?;
        block.extend_from_slice(&domain.to_le_bytes());
        address.pack(block);
        self.places.push(place);
        Some(id)
    }
}

/// Finds equal addresses while a list is read.
#[derive(Default)]
pub(super) struct Joining {
    /// Numbers of addresses behind their hashes: for those the addresses need not be looked at again.
    index: HashTable<(u32, u32)>,
    hasher: DefaultHashBuilder,
    numbers: HashMap<Domain, u32>,
    pub(super) addresses: Addresses,
}

/// What an address was joined to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Joined {
    /// Its number.
    pub(super) id: u32,
    /// No equal one came before.
    pub(super) new: bool,
    /// The number of its domain.
    pub(super) domain: u32,
    /// The domain, if that is new.
    pub(super) new_domain: Option<Domain>,
}

/// An address with the number of its domain, on its way to be joined.
pub(super) struct Hashed {
    pub(super) address: Address,
    domain: u32,
    new_domain: Option<Domain>,
    hash: u32,
}

impl Joining {
    /// Finds the domain of an address, and what equal ones are found by; `None` when there is no room for more.
    pub(super) fn hash(&mut self, address: Address, exact: bool) -> Option<Hashed> {
        let (domain, new_domain) = self.number(&address)?;
        let local_part = address.local_part();
        let mut hash = self.hasher.build_hasher();
        hash.write_u32(domain);
        if exact || !local_part.bytes().any(|byte| byte.is_ascii_uppercase()) {
            hash.write(local_part.as_bytes());
        } else {
            hash.write(local_part.to_ascii_lowercase().as_bytes());
        }
        #[expect(clippy::cast_possible_truncation, reason = "half of a hash is one")]
        let hash = hash.finish() as u32;
        Some(Hashed {
            address,
            domain,
            new_domain,
            hash,
        })
    }

    /// Looks where addresses will be joined: the processor fetches the places side by side here, while later each would be waited
    /// for by itself.
    pub(super) fn expect<'a>(&self, hashed: impl Iterator<Item = &'a Hashed>) {
        let places = hashed.filter(|hashed| self.index.find(spread(hashed.hash), |_| false).is_some());
        std::hint::black_box(places.count());
    }

    /// Joins an address to an equal one; `None` when there is no room for more.
    pub(super) fn join(&mut self, hashed: &mut Hashed, exact: bool) -> Option<Joined> {
        let Self { index, addresses, .. } = self;
        let Hashed {
            address,
            domain,
            new_domain,
            hash,
        } = hashed;
        let (local_part, domain, hash, new_domain) = (address.local_part(), *domain, *hash, new_domain.take());
        // What differs in the case of other letters than ASCII's is not the same, as in `Address::join_eq_key`.
        let same = |(known, id): &(u32, u32)| {
            *known == hash
                && addresses.local_part(*id).is_some_and(|(at, known)| {
                    at == domain && (known == local_part || !exact && known.eq_ignore_ascii_case(local_part))
                })
        };
        if let Some((_, id)) = index.find(spread(hash), same) {
            return Some(Joined {
                id: *id,
                new: false,
                domain,
                new_domain,
            });
        }
        let id = addresses.push(address, domain)?;
        index.insert_unique(spread(hash), (hash, id), |(hash, _)| spread(*hash));
        Some(Joined {
            id,
            new: true,
            domain,
            new_domain,
        })
    }

    /// The number of an address's domain, and the domain if it is new.
    fn number(&mut self, address: &Address) -> Option<(u32, Option<Domain>)> {
        if let Some(number) = self.numbers.get(address.domain()) {
            return Some((*number, None));
        }
        let number = u32::try_from(self.addresses.domains.len()).ok()?;
        let domain = address.to_domain();
        self.addresses.domains.push(domain.clone());
        self.numbers.insert(domain.clone(), number);
        Some((number, Some(domain)))
    }
}

/// The table takes the lowest bits of a hash for the place and the highest to tell neighbours apart.
fn spread(hash: u32) -> u64 {
    (u64::from(hash) << 32) | u64::from(hash)
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
                .map(|number| format!("Jane.Doe+{number}@acme-corp{}.com", number % 7))
                .collect();
            for (id, text) in (0..).zip(&texts) {
                let mut hashed = joining.hash(parse(text), exact).unwrap();
                joining.expect([&hashed].into_iter());
                let joined = joining.join(&mut hashed, exact).unwrap();
                assert_eq!((joined.id, joined.new, joined.domain), (id, true, id % 7));
                assert_eq!(joined.new_domain.is_some(), id < 7);
            }
            let mut join = |text: &str| {
                let mut hashed = joining.hash(parse(text), exact)?;
                joining.join(&mut hashed, exact).map(|joined| (joined.id, joined.new))
            };
            let expected = if exact { (5_000, true) } else { (17, false) };
            assert_eq!(join("JANE.DOE+17@acme-corp3.com"), Some(expected));
            assert_eq!(join(&texts[4_999]), Some((4_999, false)));
            let elsewhere = if exact { 5_001 } else { 5_000 };
            assert_eq!(join("Jane.Doe+17@acme-corp4.com"), Some((elsewhere, true)));
            assert!(joining.addresses.blocks.len() > 1);
            for (id, text) in (0..).zip(&texts) {
                assert_eq!(joining.addresses.get(id), Some(parse(text)));
            }
            assert_eq!(joining.addresses.get(5_002), None);
            assert_eq!(joining.addresses.domains().len(), 7);
        }
    }
}
