//! What can be seen of the groups from outside: who waits, for what, and what is left of budgets.
//!
//! For displays and numbers. Must not change anything.

use std::{collections::BTreeMap, sync::PoisonError, time::SystemTime};

use super::{
    outlook::{Critical, WaitsFor},
    scheduler::Shared,
};

/// A view of the groups that wait, for progress displays.
#[derive(Clone)]
pub struct WaitingView {
    pub(super) shared: Shared,
}

impl WaitingView {
    /// The next time a waiting group goes on, and how many groups wait.
    #[must_use]
    pub fn next(&self) -> Option<(SystemTime, usize)> {
        let outlooks = self.shared.outlooks.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = outlooks.values().filter_map(|outlook| outlook.until);
        let count = waits.clone().count();
        Some((self.shared.wall(waits.min()?), count))
    }

    /// The group that will be done last.
    #[must_use]
    pub fn critical(&self) -> Option<Critical> {
        let outlooks = self.shared.outlooks.lock().unwrap_or_else(PoisonError::into_inner);
        let (group, outlook) = outlooks.iter().max_by_key(|(_, outlook)| outlook.done_at)?;
        Some(Critical {
            group: group.clone(),
            waits_for: outlook.waits_for,
            done_at: self.shared.wall(outlook.done_at),
        })
    }

    /// What there is in all groups together.
    #[must_use]
    pub fn stock(&self) -> Stock {
        let outlooks = self.shared.outlooks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stock = Stock::default();
        for (name, outlook) in outlooks.iter() {
            let delayed = outlook.delayed.min(outlook.targets);
            stock.retries += delayed;
            stock.queue += outlook.targets - delayed;
            *stock.groups.entry(outlook.waits_for.name()).or_default() += 1;
            let Some(left) = outlook.refusals_left else { continue };
            // Groups of hosts that nobody knows are one in the numbers: their names are addresses.
            let of = name.strip_prefix("provider ").unwrap_or("other");
            let least = stock.refusals_left.entry(of.to_owned()).or_insert(left);
            *least = left.min(*least);
        }
        stock
    }
}

/// What is to be asked, and what may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stock {
    /// Addresses that were not asked about yet, of hosts that are not the operator's own.
    pub queue: usize,
    /// Addresses that wait for another question.
    pub retries: usize,
    /// Groups by what they wait for.
    pub groups: BTreeMap<&'static str, usize>,
    /// Refusals that a provider's hosts may still give now; the least of all other groups is `other`.
    pub refusals_left: BTreeMap<String, u32>,
}

impl WaitsFor {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Answers => "answers",
            Self::Session => "session",
            Self::Retry => "retry",
            Self::Refusals => "refusals",
            Self::Block => "block",
            Self::OtherProcess => "other_process",
        }
    }
}
