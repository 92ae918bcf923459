//! The list as it was imported: each different address once.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{
    Engine, VerifyError,
    addresses::{Addresses, Joining},
};
use crate::{
    address::{Address, Domain},
    input::Row,
};

/// In [`List::rows`]: the row needs no answer from outside, it is judged when it is written.
pub(super) const NOBODY: u32 = u32::MAX;

/// The list as it was imported: each different address once.
#[derive(Default)]
pub(super) struct List {
    joining: Joining,
    /// There when the list is closed.
    pub(super) addresses: Arc<Addresses>,
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
            Some(address) => self.join(&address, settings.exact)?,
            None => NOBODY,
        };
        self.rows.push(id);
        Ok(())
    }

    /// The number of an address; equal ones share it.
    fn join(&mut self, address: &Address, exact: bool) -> Result<u32, VerifyError> {
        let joined = self.joining.join(address, exact).filter(|(id, _)| *id != NOBODY);
        let (id, new) = joined.ok_or(VerifyError::TooManyAddresses)?;
        if !new {
            if let Some(copies) = self.copies.get_mut(id as usize) {
                *copies += 1;
            }
            return Ok(id);
        }
        match self.domains.get_mut(address.domain()) {
            Some(ids) => ids.push(id),
            None => drop(self.domains.insert(address.to_domain(), vec![id])),
        }
        self.copies.push(1);
        Ok(id)
    }

    /// No more rows come: what only joining needed is given back.
    pub(super) fn close(&mut self) {
        self.addresses = Arc::new(std::mem::take(&mut self.joining).addresses);
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
