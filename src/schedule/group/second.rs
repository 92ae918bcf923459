//! Asking another mail host of the same preference about one who was refused (HOSTILE S14).
//!
//! A domain's hosts may not know the same recipients. One refused recipient of a set of hosts shows whether they do, in a run;
//! where they do not, one of every domain is asked about again. Never more: a question that a host refuses costs budget.

use std::sync::Arc;

use super::{
    super::domain::DomainState, ControlNeed, Group, Hosts, Lane, Observation, SessionPlan, Slice, SliceReport, Tracked,
    Ways,
};
use crate::{
    dns::Exchanger,
    replies::Class,
    verdict::{HostFacts, SecondAnswer},
};

/// The other hosts of the same preference; none for a provider's, which are one system.
fn peers<'a>(exchangers: &'a [Exchanger], host: &'a HostFacts) -> impl Iterator<Item = &'a Exchanger> {
    let known = host.backup || host.untruthful || host.provider.is_some();
    exchangers
        .iter()
        .filter(move |other| !known && other.preference == host.preference && other.host != host.name)
}

/// Whether a refusal is worth a question to another host.
pub(super) fn is_wanted(state: &DomainState, lane: &Lane, observation: &Observation) -> bool {
    let open = match lane.hosts {
        Hosts::NotCompared => true,
        Hosts::Compared => false,
        Hosts::Disagree => state.hosts == Hosts::NotCompared,
    };
    let refused = || {
        observation
            .known()
            .is_some_and(|answer| answer.meaning.dead_recipient().is_some())
    };
    let peer = |host: &Arc<HostFacts>| peers(&lane.exchangers, host).next().is_some();
    open && !observation.throttled && refused() && observation.host.as_ref().is_some_and(peer)
}

/// Takes out of a report whoever another host was asked about, with what is to be kept of him: what the first host said, and
/// what the other said against it.
pub(super) fn compared(
    state: &mut DomainState,
    lane: &mut Lane,
    report: &mut SliceReport,
) -> Vec<(Tracked, Observation)> {
    let mut settled = Vec::new();
    for (mut tracked, second) in report.answered.extract_if(.., |(tracked, _)| tracked.before.is_some()) {
        let Some(mut first) = tracked.before.take() else {
            continue;
        };
        let accepts = |class| class != Class::CannotVerify;
        if second.accepted()
            && !second.throttled
            && let (Some(host), Some(answer)) = (second.host, second.answer.known())
            && accepts(answer.meaning.class)
        {
            let answer = Arc::clone(answer);
            first.second = Some(Arc::new(SecondAnswer { host, answer }));
            lane.hosts = Hosts::Disagree;
            state.hosts_disagree();
        }
        settled.push((tracked, *first));
    }
    // Whoever could not be asked about keeps what is known.
    for mut tracked in report.again.extract_if(.., |tracked| tracked.before.is_some()) {
        settled.extend(tracked.before.take().map(|first| (tracked, *first)));
    }
    settled
}

impl Group {
    /// A session with the other hosts, about one recipient alone.
    pub(super) fn plan_second(
        &mut self,
        (index, domain): (usize, usize),
        (mut tracked, first): (Tracked, Observation),
        refusals: u32,
    ) -> Option<(usize, SessionPlan)> {
        let lane = self.lanes.get(index)?;
        let state = self.domains.get_mut(domain)?.as_mut()?;
        let goes_on = !state.waiting.is_empty() || state.wants_control();
        let exchangers: Vec<Exchanger> = first
            .host
            .iter()
            .flat_map(|host| peers(&lane.exchangers, host))
            .cloned()
            .collect();
        tracked.before = Some(Box::new(first));
        state.in_flight += 1;
        let slice = Slice {
            domain,
            targets: vec![tracked],
            control: None,
            need: ControlNeed::No,
        };
        let plan = SessionPlan {
            exchangers: exchangers.into(),
            implicit: false,
            slices: vec![slice],
            sentinel: None,
            refusals,
            // What is known of one host is not known of the others.
            ways: Ways {
                lockstep: true,
                tested: false,
                ..lane.ways
            },
            life: self.life,
            size: self.left,
        };
        if goes_on {
            self.make_ready(domain);
        }
        Some((index, plan))
    }
}
