//! What a group takes over from other runs and leaves to them: the right to ask it, what was spent, what was found out.

use super::{
    Arc, CLAIM_AGAIN, Counts, Duration, Finding, Group, Instant, Outlook, SHORT_WAIT, Target, WaitsFor,
    deafness::deaf_still, sleep_until,
};
use crate::schedule::{memory::GroupMemory, scheduler::Run, work::Work};

impl Group {
    /// Makes the group this run's own; while another process asks its hosts, waits. What is remembered of it is spent. Without
    /// the claim nobody may be asked; then says when to try again.
    pub(super) async fn claim(&mut self) -> Result<(), Instant> {
        let Some(ledger) = self.gathered.iter().find_map(|order| order.run.ledger.clone()) else {
            return Ok(());
        };
        let patience = self.gathered.iter().map(|order| order.run.manners.max_wait).max();
        let began = Instant::now();
        let mut waited = false;
        let spent = loop {
            match ledger.claim(&self.context.name).await {
                Ok(Some(spent)) => break spent,
                Ok(None) => {}
                Err(error) => {
                    // The job hears of it too, and ends.
                    tracing::error!(%error, "a mail-host group could not be claimed");
                    return Err(Instant::now());
                }
            }
            waited = true;
            let until = Instant::now() + CLAIM_AGAIN;
            if began.elapsed() > patience.unwrap_or(Duration::ZERO).max(SHORT_WAIT) {
                return Err(until);
            }
            let outlook = Outlook {
                until: Some(until),
                waits_for: WaitsFor::OtherProcess,
                done_at: until + self.context.limits.least_time(self.left, 0),
                targets: self.gathered.len(),
                delayed: 0,
                refusals_left: None,
            };
            self.shared.show(&self.context.name, Some(outlook));
            tokio::select! {
                () = sleep_until(until) => {},
                _ = self.stirred.changed() => {
                    if self.gathered.iter().all(|order| order.run.is_over()) {
                        return Err(until);
                    }
                }
                () = self.shared.egress.blocked() => return Err(until),
            }
        };
        self.claimed = Some(ledger);
        if let Some(memory) = spent.and_then(|(memory, _)| serde_json::from_str::<GroupMemory>(&memory).ok()) {
            let times = self.shared.times();
            self.deaf = deaf_still(&memory.lockstep, times.millis(times.now));
            if !self.context.trusted {
                self.budget.recall(&memory, times);
                let latest = times.now + self.context.limits.reconnect;
                self.connect_after = times
                    .at_millis(memory.connect_after)
                    .min(latest)
                    .max(self.connect_after);
                self.guesses = Counts::recall(memory.guesses, times.millis(times.now));
            }
        }
        // The other process may have found out what this one wants to know.
        self.found_by_others = waited;
        Ok(())
    }

    /// Writes down what was spent; `released`: others may ask the group.
    pub(super) fn remember(&self, released: bool) {
        let Some(ledger) = &self.claimed else {
            return;
        };
        if self.context.trusted {
            if released {
                // One's own hosts have no budget, and may be deaf all the same.
                let lockstep = self.deaf.clone();
                let memory = GroupMemory {
                    lockstep,
                    ..GroupMemory::default()
                };
                let memory = if self.deaf.is_empty() {
                    None
                } else {
                    serde_json::to_string(&memory).ok()
                };
                ledger.keep_group(&self.context.name, memory.unwrap_or_default(), true);
            }
            return;
        }
        let mut memory = self.budget.memory(self.connect_after, self.shared.times());
        memory.guesses = self.guesses.to_kept();
        memory.lockstep.clone_from(&self.deaf);
        ledger.keep_group(
            &self.context.name,
            serde_json::to_string(&memory).unwrap_or_default(),
            released,
        );
    }

    /// Takes from the store what another process found out while this one waited for it.
    pub(super) fn skip_known(&self, work: &mut Work<Vec<Target>>, run: &Arc<Run>) {
        let Some(mut ledger) = run.ledger.clone().filter(|_| self.found_by_others) else {
            return;
        };
        ledger.look_again();
        let addresses = work.targets.iter().map(|target| (target.id, &target.address));
        let known = ledger.fresh(&work.domain, addresses).unwrap_or_default();
        work.targets
            .retain(|target| known.iter().all(|(id, _)| *id != target.id));
        run.report(known.into_iter().map(|(id, kept)| Finding::kept(id, kept)).collect());
        if work.memory.is_none() {
            work.memory = ledger.domain(&work.domain, false).ok().flatten().map(Box::new);
        }
    }
}
