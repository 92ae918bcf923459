//! The list as it was imported: each different address once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use hashbrown::HashMap as QuickMap;

use super::{
    Engine, VerifyError,
    addresses::{Addresses, Hashed, Joined, Joining},
};
use crate::{
    address::{Address, Domain},
    input::Row,
    verdict::Told,
};

/// In [`List::rows`]: the row needs no answer from outside, it is judged when it is written.
pub(super) const NOBODY: u32 = u32::MAX;

/// The list as it was imported: each different address once.
#[derive(Default)]
pub(super) struct List {
    joining: Joining,
    /// There when the list is closed.
    pub(super) addresses: Arc<Addresses>,
    /// How many rows repeat an address that has several.
    repeats: QuickMap<u32, u32>,
    repeated: u64,
    /// For each row the number of its address, or [`NOBODY`].
    pub(super) rows: Vec<u32>,
    /// The first row of each block of the store, when they were read from there.
    pub(super) firsts: Vec<usize>,
    /// Of which something was told, so that nobody is asked.
    pub(super) told: HashMap<u32, Arc<Told>>,
    /// About which the operator's lists decide.
    pub(super) listed: HashSet<u32>,
    /// For each address the number of its domain, or [`NOBODY`] if nobody is asked about it.
    domains: Vec<u32>,
}

impl List {
    /// Adds rows; gives the domains of which they are the first.
    pub(super) fn add_all(&mut self, engine: &Engine, rows: &[Row]) -> Result<Vec<Domain>, VerifyError> {
        let hashed = rows.iter().map(|row| self.hash(engine, row));
        let hashed = hashed.collect::<Result<Vec<_>, _>>()?;
        self.joining.expect(hashed.iter().flatten());
        let mut new = Vec::new();
        for hashed in hashed {
            new.extend(self.add_hashed(engine, hashed)?);
        }
        Ok(new)
    }

    /// Adds a row; gives its domain when it is the first one of it.
    pub(super) fn add(&mut self, engine: &Engine, row: &Row) -> Result<Option<Domain>, VerifyError> {
        let hashed = self.hash(engine, row)?;
        self.add_hashed(engine, hashed)
    }

    pub(super) fn add_typed(&mut self, engine: &Engine, typed: &str) -> Result<Option<Domain>, VerifyError> {
        let hashed = self.hash_typed(engine, typed)?;
        self.add_hashed(engine, hashed)
    }

    fn hash(&mut self, engine: &Engine, row: &Row) -> Result<Option<Hashed>, VerifyError> {
        if row.fault.is_some() {
            return Ok(None);
        }
        self.hash_typed(engine, row.address())
    }

    /// What an address is joined by; `None` if the text is none.
    fn hash_typed(&mut self, engine: &Engine, typed: &str) -> Result<Option<Hashed>, VerifyError> {
        let Ok(address) = Address::parse(typed, engine.settings.rules) else {
            return Ok(None);
        };
        let hashed = self.joining.hash(address, engine.settings.exact);
        hashed.map(Some).ok_or(VerifyError::TooManyAddresses)
    }

    fn add_hashed(&mut self, engine: &Engine, hashed: Option<Hashed>) -> Result<Option<Domain>, VerifyError> {
        let (id, new) = match hashed {
            Some(hashed) => self.join(engine, hashed)?,
            None => (NOBODY, None),
        };
        self.rows.push(id);
        Ok(new)
    }

    /// The number of an address, and its domain if that is new; equal addresses share a number.
    fn join(&mut self, engine: &Engine, mut hashed: Hashed) -> Result<(u32, Option<Domain>), VerifyError> {
        let joined = self
            .joining
            .join(&mut hashed, engine.settings.exact)
            .filter(|joined| joined.id != NOBODY);
        let address = &hashed.address;
        let Joined {
            id,
            new,
            domain,
            new_domain,
        } = joined.ok_or(VerifyError::TooManyAddresses)?;
        if !new {
            *self.repeats.entry(id).or_default() += 1;
            self.repeated += 1;
            return Ok((id, None));
        }
        // It has a number all the same: what is told and listed may differ from one run of a job to the next, its records do not.
        let listed = engine.settings.user_lists.decide(address).is_some();
        let told = if listed { None } else { engine.told(address) };
        let asked = !listed && told.is_none();
        self.domains.push(if asked { domain } else { NOBODY });
        if listed {
            self.listed.insert(id);
        }
        if let Some(told) = told {
            self.told.insert(id, told);
        }
        Ok((id, new_domain.filter(|_| asked)))
    }

    /// No more rows come: what only joining needed is given back.
    pub(super) fn close(&mut self) {
        self.addresses = Arc::new(std::mem::take(&mut self.joining).addresses);
    }

    /// The domains with their addresses, which the list then has no longer.
    pub(super) fn take_domains(&mut self) -> Vec<(Domain, Vec<u32>)> {
        // Counted first: filling vectors that grow while the list is read takes four times as long.
        let (all, numbers) = (self.addresses.domains(), std::mem::take(&mut self.domains));
        let mut counts = vec![0; all.len()];
        for number in &numbers {
            if let Some(count) = counts.get_mut(*number as usize) {
                *count += 1;
            }
        }
        let mut of_domains: Vec<Vec<u32>> = counts.into_iter().map(Vec::with_capacity).collect();
        for (id, number) in (0..).zip(numbers) {
            if let Some(ids) = of_domains.get_mut(number as usize) {
                ids.push(id);
            }
        }
        let domains = all.iter().cloned().zip(of_domains);
        domains.filter(|(_, ids)| !ids.is_empty()).collect()
    }

    /// How many rows hold an address.
    pub(super) fn copies(&self, id: u32) -> u64 {
        1 + self.repeats.get(&id).copied().map_or(0, u64::from)
    }

    /// Rows that repeat an earlier address.
    pub(super) fn duplicates(&self) -> u64 {
        self.repeated
    }

    /// The row that was added last is judged by itself, or by the operator's lists.
    pub(super) fn last_needs_nobody(&self) -> bool {
        self.rows
            .last()
            .is_some_and(|id| *id == NOBODY || self.listed.contains(id))
    }

    /// Rows that are judged without asking anybody.
    pub(super) fn unasked(&self) -> usize {
        self.rows.iter().filter(|row| **row == NOBODY).count()
    }
}
