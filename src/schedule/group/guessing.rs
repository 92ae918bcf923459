//! What the abuse guard does to a group's domains.

use super::{
    super::{domain::Observation, guard::Tally},
    Group,
};
use crate::{
    lists,
    store::domain_key,
    verdict::{NotTried, Observed::Known},
};

impl Group {
    /// Counts what a session was answered about targets of one domain, from the done ones that came after `from`.
    pub(super) fn count_guesses(&mut self, index: usize, from: usize) {
        let Some(Some(state)) = self.domains.get_mut(index).filter(|_| !self.context.trusted) else {
            return;
        };
        let before = state.tally;
        for (_, observation) in state.done.iter().skip(from) {
            count(&mut state.tally, observation);
        }
        if state.tally.refused > before.refused {
            let at = self.shared.times();
            self.guesses
                .note(domain_key(state.name.as_str()), state.tally, at.millis(at.now));
            self.stop_guessing(index);
        }
    }

    /// Leaves a domain alone whose answers look like those to guesses.
    pub(super) fn stop_guessing(&mut self, index: usize) {
        let Some(Some(state)) = self.domains.get_mut(index).filter(|_| !self.context.trusted) else {
            return;
        };
        let limits = self.context.limits.guard;
        // A lookup only for the few that may be stopped.
        if state.left() == 0 || !state.tally.looks_guessed(limits, false) {
            return;
        }
        let name = state.name.as_str();
        let owned = state.run.manners.owned.iter().any(|owned| is_within(name, owned));
        if owned || !state.tally.looks_guessed(limits, lists::is_free(name)) {
            return;
        }
        tracing::warn!(
            domain = name,
            "most addresses are refused, as guesses are: nobody else is asked about"
        );
        self.left = self.left.saturating_sub(state.left());
        self.delayed = self.delayed.saturating_sub(state.delayed.len());
        state.give_up(&Observation::not_tried(NotTried::AbuseGuard));
    }
}

fn count(tally: &mut Tally, observation: &Observation) {
    if observation.throttled {
    } else if observation.accepted() {
        tally.accepted = tally.accepted.saturating_add(1);
    } else if let Known(answer) = &observation.answer {
        let dead = answer.meaning.dead_recipient().is_some();
        tally.refused = tally.refused.saturating_add(u32::from(dead));
    }
}

/// Whether a domain is `owned` or below it.
fn is_within(name: &str, owned: &str) -> bool {
    name.strip_suffix(owned)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
