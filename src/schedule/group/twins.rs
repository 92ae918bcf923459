//! Addresses that several runs ask about at the same time: one question, and its answer serves them all.

use std::{hash::BuildHasher as _, sync::Arc};

use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};

use super::{ControlAnswer, ControlNeed, DomainState, Phase, Slice, SliceReport, Tracked};
use crate::{
    address::Domain,
    schedule::{probe::asked, scheduler::Run},
    verdict::UnknownRecipients,
};

/// What sessions are asking about, by address. One that differs in its case may be another mailbox, so it is asked about.
#[derive(Default)]
pub(super) struct Asking {
    /// Behind the hashes of addresses.
    open: HashTable<(u64, Vec<Twin>)>,
    hash: DefaultHashBuilder,
}

/// A target whose address is being asked about for another run.
struct Twin {
    domain: usize,
    tracked: Tracked,
}

impl Asking {
    fn key(&self, tracked: &Tracked) -> u64 {
        self.hash.hash_one(tracked.target.address.mailbox())
    }

    /// Leaves in `slice` what is not being asked about yet; the rest waits for the answers to come.
    pub(super) fn part(&mut self, slice: &mut Slice, state: &mut DomainState) {
        let domain = slice.domain;
        let mut mine = Vec::with_capacity(slice.targets.len());
        self.open.reserve(slice.targets.len(), |(key, _)| *key);
        for tracked in slice.targets.drain(..) {
            let key = self.key(&tracked);
            match self.open.entry(key, |(other, _)| *other == key, |(key, _)| *key) {
                Entry::Vacant(free) => {
                    free.insert((key, Vec::new()));
                    mine.push(tracked);
                }
                Entry::Occupied(mut asked) => asked.get_mut().1.push(Twin { domain, tracked }),
            }
        }
        slice.targets = mine;
        if slice.targets.is_empty() && slice.need.may_be_none() {
            slice.need = ControlNeed::No;
            state.control.phase = Phase::Idle;
        }
    }

    /// What a session's report says to other runs.
    pub(super) fn told(&mut self, report: &SliceReport) -> Vec<SliceReport> {
        let mut told = Vec::new();
        // What another host of the same preference says is for the run that asked it alone.
        let owners = report.answered.iter().filter(|(owner, _)| owner.before.is_none());
        for (owner, observation) in owners {
            for Twin { domain, mut tracked } in self.close(owner) {
                if let Some(at) = owner.first_asked {
                    tracked = asked(tracked, at);
                }
                told.push(SliceReport {
                    answered: vec![(tracked, observation.clone())],
                    ..nothing(domain)
                });
            }
        }
        for owner in report.again.iter().filter(|owner| owner.before.is_none()) {
            for Twin { domain, tracked } in self.close(owner) {
                told.push(SliceReport {
                    again: vec![tracked],
                    ..nothing(domain)
                });
            }
        }
        told
    }

    fn close(&mut self, owner: &Tracked) -> Vec<Twin> {
        let key = self.key(owner);
        let found = self.open.find_entry(key, |(other, _)| *other == key);
        found.map(|found| found.remove().0.1).unwrap_or_default()
    }
}

/// Runs that ask about the same domain in one session: the first of them asks about the control recipient for all.
#[derive(Default)]
pub(super) struct Kin {
    /// Domains of the session, and what is known of their hosts.
    domains: Vec<(Domain, Option<UnknownRecipients>)>,
    first: Option<Arc<Run>>,
    /// Within one run every domain is there once.
    several: bool,
}

impl Kin {
    fn find(&mut self, state: &DomainState) -> Option<&(Domain, Option<UnknownRecipients>)> {
        let first = self.first.get_or_insert_with(|| Arc::clone(&state.run));
        self.several |= !Arc::ptr_eq(first, &state.run);
        let mut before = self.domains.iter().filter(|_| self.several);
        before.find(|(name, _)| *name == state.name)
    }

    /// A domain that another run asks about before needs no control recipient of its own, unless it is due.
    pub(super) fn plan(&mut self, slice: &mut Slice, state: &mut DomainState) {
        if self.find(state).is_none() {
            self.domains.push((state.name.clone(), None));
        } else if slice.need.may_be_none() {
            slice.need = ControlNeed::No;
            state.control.phase = Phase::Idle;
        }
    }

    /// Tells a state what the session showed to another.
    pub(super) fn teach(&mut self, state: &mut DomainState) {
        if let Some((_, Some(unknown))) = self.find(state) {
            state.learn(*unknown);
        }
    }

    /// Keeps what the session showed about a domain.
    pub(super) fn learn(&mut self, domain: Domain, unknown: Option<UnknownRecipients>) {
        self.domains.push((domain, unknown));
    }
}

fn nothing(domain: usize) -> SliceReport {
    SliceReport {
        domain,
        answered: Vec::new(),
        again: Vec::new(),
        need: ControlNeed::No,
        control: ControlAnswer::NotAsked,
        control_name: None,
        control_words: None,
    }
}
