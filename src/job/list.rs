//! The list as it was imported: each different address once.

use std::collections::HashMap;

use hashbrown::HashTable;

use super::{Engine, VerifyError};
use crate::{
    address::{Address, Domain},
    input::Row,
};

/// In [`List::rows`]: the row needs no answer from outside, it is judged when it is written.
pub(super) const NOBODY: u32 = u32::MAX;

/// The list as it was imported: each different address once.
#[derive(Default)]
pub(super) struct List {
    index: HashTable<u32>,
    pub(super) addresses: Vec<Address>,
    /// How many rows hold each address.
    copies: Vec<u32>,
    /// For each row the number of its address, or [`NOBODY`].
    pub(super) rows: Vec<u32>,
    /// The addresses of each domain.
    pub(super) domains: HashMap<Domain, Vec<u32>>,
}

impl List {
    pub(super) fn add(&mut self, engine: &Engine, row: &Row) -> Result<(), VerifyError> {
        if row.fault.is_some() {
            self.rows.push(NOBODY);
            return Ok(());
        }
        self.add_typed(engine, row.address())
    }

    pub(super) fn add_typed(&mut self, engine: &Engine, typed: &str) -> Result<(), VerifyError> {
        let settings = &engine.settings;
        let parsed = Address::parse(typed, settings.rules).ok();
        let id = match parsed.filter(|address| settings.user_lists.decide(address).is_none()) {
            Some(address) => self.join(address, settings.exact)?,
            None => NOBODY,
        };
        self.rows.push(id);
        Ok(())
    }

    /// The number of an address; equal ones share it.
    fn join(&mut self, address: Address, exact: bool) -> Result<u32, VerifyError> {
        let addresses = &self.addresses;
        let same = |id: &u32| {
            let known = addresses.get(*id as usize);
            known.is_some_and(|known| known.join_eq_key(exact) == address.join_eq_key(exact))
        };
        let hash = fold(address.join_hash(exact));
        if let Some(id) = self.index.find(hash, same).copied() {
            if let Some(copies) = self.copies.get_mut(id as usize) {
                *copies += 1;
            }
            return Ok(id);
        }
        let id = u32::try_from(self.addresses.len()).ok().filter(|id| *id != NOBODY);
        let id = id.ok_or(VerifyError::TooManyAddresses)?;
        let rehash = |id: &u32| {
            addresses
                .get(*id as usize)
                .map_or(0, |known| fold(known.join_hash(exact)))
        };
        self.index.insert_unique(hash, id, rehash);
        match self.domains.get_mut(address.domain()) {
            Some(ids) => ids.push(id),
            None => drop(self.domains.insert(address.to_domain(), vec![id])),
        }
        self.addresses.push(address);
        self.copies.push(1);
        Ok(id)
    }

    /// No more rows come: what only joining needed is given back.
    pub(super) fn close(&mut self) {
        self.index = HashTable::new();
    }

    pub(super) fn copies(&self, id: u32) -> u64 {
        self.copies.get(id as usize).copied().map_or(0, u64::from)
    }

    /// Rows that repeat an earlier address.
    pub(super) fn duplicates(&self) -> u64 {
        self.copies.iter().map(|copies| u64::from(*copies) - 1).sum()
    }

    /// Rows that are judged without asking anybody.
    pub(super) fn unasked(&self) -> usize {
        self.rows.iter().filter(|row| **row == NOBODY).count()
    }
}

/// A fingerprint's lower half: hash tables want 64 bits.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
fn fold(hash: u128) -> u64 {
    hash as u64
}
