//! Everybody who was ever mailed: reports about others prove nothing, for a stranger can write one.

use std::{
    hash::{BuildHasher, RandomState},
    path::PathBuf,
};

use hashbrown::HashSet;

use super::super::fault::fault;
use crate::{
    address::{Address, Rules},
    input::{InputOptions, Row, Table},
};

/// A set of mailboxes, as keyed hashes of eight bytes.
#[derive(Debug)]
pub(super) struct Known {
    /// `None`: nobody said, so everybody counts as known.
    hashes: Option<HashSet<u64>>,
    state: RandomState,
}

impl Known {
    /// Reads lists in any form that `presend verify` reads.
    pub(super) fn read(lists: &[PathBuf]) -> anyhow::Result<Self> {
        let state = RandomState::new();
        if lists.is_empty() {
            return Ok(Self { hashes: None, state });
        }
        let mut hashes = HashSet::new();
        let mut table = Table::open_all(lists, &InputOptions::default())?;
        let mut row = Row::default();
        let rules = Rules {
            allow_special_use: true,
        };
        while table.read_row(&mut row)? {
            let typed = row.address();
            let mailbox = Address::parse(typed, rules)
                .map_or_else(|_| typed.trim().to_owned(), |address| address.mailbox().to_owned());
            if !mailbox.is_empty() {
                hashes.insert(hash(&state, &mailbox));
            }
        }
        if hashes.is_empty() {
            return Err(fault(
                "`--known` names nobody",
                "give the lists that were mailed, one address a row",
            ));
        }
        Ok(Self {
            hashes: Some(hashes),
            state,
        })
    }

    /// Whether somebody was mailed, or nobody said who was. The case of letters does not matter.
    pub(super) fn has(&self, mailbox: &str) -> bool {
        self.hashes
            .as_ref()
            .is_none_or(|hashes| hashes.contains(&hash(&self.state, mailbox)))
    }
}

fn hash(state: &RandomState, mailbox: &str) -> u64 {
    state.hash_one(mailbox.to_ascii_lowercase())
}
