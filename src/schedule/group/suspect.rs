//! What the suspicion of a silent ban does to a group: domains wait for a proof, get it or not.

use super::{
    super::{
        ban::Effect,
        domain::{DomainState, Held},
        plan::{ControlAnswer, Sentinel, SliceReport},
    },
    Group, SessionReport,
};
use crate::{address::Address, verdict::UnknownRecipients};

impl Group {
    /// Whom a session at these hosts asks about first.
    pub(super) fn sentinel(&self, lane: usize, others: bool) -> Option<Address> {
        let suspicion = &self.lanes.get(lane).filter(|_| !self.context.trusted)?.suspicion;
        suspicion.ask_first(others).cloned()
    }

    /// Weighs what a session heard, before it is filed. Domains that wait no longer are to be concluded then.
    pub(super) fn weigh(&mut self, lane: usize, report: &SessionReport) -> Vec<usize> {
        let Some(lane) = self.lanes.get_mut(lane).filter(|_| !self.context.trusted) else {
            return Vec::new();
        };
        let mut free = match report.sentinel {
            None => Vec::new(),
            Some(Sentinel::Accepted) => lane.suspicion.cleared(),
            Some(Sentinel::Open | Sentinel::Refused) => {
                let doubted = lane.suspicion.not_cleared(report.sentinel == Some(Sentinel::Refused));
                for domain in &doubted {
                    if let Some(Some(state)) = self.domains.get_mut(*domain) {
                        state.doubt_held(true);
                    }
                }
                doubted
            }
        };
        for slice in &report.slices {
            // Another host's word is no sign of this one's.
            for (tracked, observation) in slice.answered.iter().filter(|(tracked, _)| tracked.before.is_none()) {
                match lane.suspicion.heard(slice.domain, &tracked.target.address, observation) {
                    Effect::None => {}
                    Effect::Holds => hold(&mut self.domains, slice.domain, (false, false)),
                    Effect::HoldsBack => hold(&mut self.domains, slice.domain, (true, false)),
                    Effect::Proves(domains) => free.extend(domains),
                }
            }
        }
        let refused = |slice: &&SliceReport| {
            slice.control_words.is_some() && slice.control == ControlAnswer::Known(UnknownRecipients::Refused)
        };
        for slice in report.slices.iter().filter(refused) {
            if lane.suspicion.refused_vaguely(slice.domain) == Effect::Holds {
                hold(&mut self.domains, slice.domain, (false, true));
            }
        }
        let waiting = |domain: &usize| lane.suspicion.is_held(*domain);
        free.retain(|domain| !waiting(domain));
        for domain in &free {
            if let Some(Some(state)) = self.domains.get_mut(*domain) {
                state.held = None;
            }
        }
        free
    }

    /// What another run's domain waits for, one that was told the same waits for too.
    pub(super) fn hold_with(&mut self, owner: usize, twin: usize) {
        let Some(Some(state)) = self.domains.get(owner).filter(|_| !self.context.trusted) else {
            return;
        };
        if let Some(held) = state.held
            && let Some(lane) = self.lanes.get_mut(state.lane)
        {
            lane.suspicion.hold(twin);
            hold(&mut self.domains, twin, (held.certain, false));
        }
    }

    /// After a session was filed: concludes whoever waits no longer, and sees to it that the others get their proof.
    pub(super) fn set_free(&mut self, lane: usize, free: Vec<usize>) {
        for domain in free {
            self.conclude_if_complete(domain);
            if self.domains.get(domain).is_some_and(Option::is_some) {
                // Who refuses strangers is an open question again.
                self.make_ready(domain);
            }
        }
        let waits = self.lanes.get(lane).and_then(|lane| lane.suspicion.waits());
        if let Some(domain) = waits.filter(|_| !self.context.trusted) {
            self.make_ready(domain);
        }
    }

    /// What an earlier run heard, and was killed before it had the proof.
    pub(super) fn suspect_again(&mut self, index: usize) {
        let Some(Some(state)) = self.domains.get_mut(index).filter(|_| !self.context.trusted) else {
            return;
        };
        let Some(lane) = self.lanes.get_mut(state.lane) else {
            return;
        };
        let mut held = None;
        for (tracked, observation) in &state.done {
            match lane.suspicion.heard(index, &tracked.target.address, observation) {
                Effect::None => {}
                Effect::Holds => held = held.or(Some(false)),
                Effect::HoldsBack => held = Some(true),
                Effect::Proves(domains) => {
                    if domains.contains(&index) {
                        held = None;
                    }
                }
            }
        }
        state.held = held.map(|certain| Held {
            from: 0,
            certain,
            control: false,
        });
    }
}

fn hold(domains: &mut [Option<DomainState>], index: usize, (certain, control): (bool, bool)) {
    if let Some(Some(state)) = domains.get_mut(index) {
        state.hold(certain, control);
    }
}
