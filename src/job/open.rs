//! What of a list is still to be asked, and what an earlier run, of this job or another, found out already.

use std::{
    collections::{HashMap, HashSet},
    iter,
    num::NonZeroUsize,
    sync::Arc,
    thread, vec,
};

use super::{Engine, VerifyError, answers::Answers, list::List, progress::Later, resolve::Settled, writing::join};
use crate::{
    address::Domain,
    store::{Kept, Ledger, Place, StoreError},
    verdict::{Label, judge},
};

/// From so many domains on threads pay.
const MANY: usize = 64;
/// Domains looked up together.
const DOMAINS: usize = 256;
/// Addresses looked up together, a kilobyte each: a domain that has more, a provider's, is looked up in parts.
const ADDRESSES: usize = 16_384;

/// Domains in portions that are looked up together.
pub(super) struct Portions {
    domains: vec::IntoIter<(Domain, Vec<u32>)>,
    /// What the last portion had no room for.
    rest: Option<(Domain, Vec<u32>)>,
}

impl Portions {
    pub(super) fn new(domains: Vec<(Domain, Vec<u32>)>) -> Self {
        Self {
            domains: domains.into_iter(),
            rest: None,
        }
    }
}

impl Iterator for Portions {
    type Item = Vec<(Domain, Vec<u32>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut portion, mut room) = (Vec::new(), ADDRESSES);
        while portion.len() < DOMAINS
            && let Some((domain, mut ids)) = self.rest.take().or_else(|| self.domains.next())
        {
            if ids.len() > room {
                if portion.is_empty() {
                    portion.push((domain.clone(), ids.drain(..room).collect()));
                }
                self.rest = Some((domain, ids));
                break;
            }
            room -= ids.len();
            portion.push((domain, ids));
        }
        (!portion.is_empty()).then_some(portion)
    }
}

/// What is to be asked, and what need not be.
#[derive(Default)]
pub(super) struct Open {
    pub(super) asked: Vec<(Domain, Vec<u32>)>,
    pub(super) known: Vec<Settled>,
    /// What an earlier run of the job found stands until a later one: this one may not wait so long, or asks nobody.
    pub(super) left: Vec<u32>,
    pub(super) later: Later,
    /// How far earlier runs came with what is asked again.
    pub(super) histories: HashMap<u32, Box<Kept>>,
}

impl Open {
    /// Adds the addresses of many domains, on every core.
    pub(super) fn add_all(
        &mut self,
        engine: &Engine,
        ledger: &Ledger,
        before: (&List, &Answers),
        domains: Vec<(Domain, Vec<u32>)>,
    ) -> Result<(), VerifyError> {
        if domains.len() < MANY {
            let mut domains = domains.into_iter();
            return domains.try_for_each(|domain| self.add(engine, ledger, before, domain));
        }
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let share = domains.len().div_ceil(cores).max(1);
        let mut domains = domains.into_iter();
        let shares: Vec<Vec<_>> = iter::repeat_with(|| domains.by_ref().take(share).collect::<Vec<_>>())
            .take_while(|share| !share.is_empty())
            .collect();
        let opened: Vec<_> = thread::scope(|scope| {
            let open = |domains: Vec<_>| -> Result<Self, VerifyError> {
                let mut open = Self::default();
                for domain in domains {
                    open.add(engine, ledger, before, domain)?;
                }
                Ok(open)
            };
            let threads: Vec<_> = shares
                .into_iter()
                .map(|share| scope.spawn(move || open(share)))
                .collect();
            threads.into_iter().map(join).collect()
        });
        for opened in opened {
            let opened = opened?;
            self.asked.extend(opened.asked);
            self.known.extend(opened.known);
            self.left.extend(opened.left);
            self.later.join(opened.later);
            self.histories.extend(opened.histories);
        }
        Ok(())
    }

    /// What is to be asked, once everything was added: the parts of a domain become one again.
    pub(super) fn take_asked(&mut self) -> Vec<(Domain, Vec<u32>)> {
        let mut asked = std::mem::take(&mut self.asked);
        asked.dedup_by(|(next, more), (domain, ids)| {
            let same = next == domain;
            if same {
                ids.append(more);
            }
            same
        });
        asked
    }

    /// Adds the addresses of one domain.
    pub(super) fn add(
        &mut self,
        engine: &Engine,
        ledger: &Ledger,
        (list, answers): (&List, &Answers),
        (domain, mut ids): (Domain, Vec<u32>),
    ) -> Result<(), VerifyError> {
        ids.retain(|id| !answers.is_settled(*id));
        // What this job began it goes on with.
        let (begun, mut unasked): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| answers.attempt(*id).is_some());
        let mut asked = Vec::with_capacity(begun.len() + unasked.len());
        let mut left = Vec::new();
        for id in begun {
            let Some(place) = answers.attempt(id) else { continue };
            if self.goes_on(engine, ledger, (id, place)).map_err(Arc::new)? {
                asked.push(id);
            } else {
                left.push(id);
            }
        }
        let address = |id: &u32| Some((*id, list.addresses.get(*id)?));
        if engine.settings.memory.offline && !left.is_empty() {
            let older = ledger
                .fresh(&domain, left.iter().filter_map(address))
                .map_err(Arc::new)?;
            // One that says something says more than a question that failed.
            let good = |kept: &Kept| judge(&kept.evidence, &engine.settings.policy).label != Label::Unknown;
            let older: Vec<_> = older.into_iter().filter(|(_, kept)| good(kept)).collect();
            self.use_fresh(engine, older, &mut left);
        }
        self.left.append(&mut left);
        let fresh = ledger
            .fresh(&domain, unasked.iter().filter_map(address))
            .map_err(Arc::new)?;
        if !fresh.is_empty() {
            self.use_fresh(engine, fresh, &mut unasked);
        }
        if engine.settings.memory.offline {
            self.known.extend(unasked.drain(..).map(|id| engine.offline(id)));
        }
        asked.append(&mut unasked);
        if !asked.is_empty() {
            self.asked.push((domain, asked));
        }
        Ok(())
    }

    /// Whether an address that this job asked about before is asked again in this run.
    fn goes_on(&mut self, engine: &Engine, ledger: &Ledger, (id, place): (u32, Place)) -> Result<bool, StoreError> {
        let kept = ledger.store().record(ledger.job(), place, ledger.reading())?;
        if engine.settings.memory.offline || waits_too_long(engine, &kept) {
            self.later.add(kept.due);
            return Ok(false);
        }
        self.histories.insert(id, Box::new(kept));
        Ok(true)
    }

    /// Takes the answers of other jobs; what they wait for is waited for here, if this run may.
    fn use_fresh(&mut self, engine: &Engine, fresh: Vec<(u32, Kept)>, unasked: &mut Vec<u32>) {
        let settings = &engine.settings;
        let waits = |kept: &Kept| kept.due.is_some() && !settings.max_wait.is_zero() && !settings.memory.offline;
        let (begun, fresh): (Vec<_>, Vec<_>) = fresh.into_iter().partition(|(_, kept)| waits(kept));
        let begun = begun.into_iter().map(|(id, kept)| (id, Box::new(kept)));
        self.histories.extend(begun);
        let known: HashSet<u32> = fresh.iter().map(|(id, _)| *id).collect();
        unasked.retain(|id| !known.contains(id));
        let fresh = fresh.into_iter().map(|(id, kept)| engine.known(id, kept));
        self.known.extend(fresh);
    }
}

/// Whether an address is asked about again only after this run has ended.
fn waits_too_long(engine: &Engine, kept: &Kept) -> bool {
    let wait = kept.due.and_then(|due| due.duration_since(engine.clock.now()).ok());
    wait.is_some_and(|wait| wait > engine.settings.max_wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Rules;

    #[test]
    fn a_large_domain_comes_in_parts_and_is_whole_again() {
        let domain = |name: &str| Domain::parse(name, Rules::default()).unwrap();
        let most = u32::try_from(ADDRESSES).unwrap();
        let all = vec![
            (domain("acme-corp.com"), vec![0, 1]),
            (domain("webmail-corp.com"), (2..3 * most).collect()),
            (domain("other-corp.com"), vec![3 * most]),
        ];
        let portions: Vec<_> = Portions::new(all.clone()).collect();
        let sizes: Vec<Vec<usize>> = portions
            .iter()
            .map(|portion| portion.iter().map(|(_, ids)| ids.len()).collect())
            .collect();
        assert_eq!(
            sizes,
            [vec![2], vec![ADDRESSES], vec![ADDRESSES], vec![ADDRESSES - 2, 1]]
        );
        let mut open = Open {
            asked: portions.into_iter().flatten().collect(),
            ..Open::default()
        };
        assert_eq!(open.take_asked(), all);

        let many: Vec<_> = (0..=DOMAINS)
            .map(|number| (domain(&format!("acme{number}.com")), vec![0]))
            .collect();
        let sizes: Vec<usize> = Portions::new(many).map(|portion| portion.len()).collect();
        assert_eq!(sizes, [DOMAINS, 1]);
    }
}
