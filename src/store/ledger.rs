//! What one run uses of the store: its lease, and how old an answer may be to serve it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Claim, DomainMemory, JobNumber, Kept, Known, Lease, REFUSAL_REST, Reading, Source, Store, StoreError, Write,
    address_key, domain_key,
};
use crate::{
    address::{Address, Domain},
    clock::Clock,
    replies::{Classifier, Existence},
    verdict::{Observed, UnknownRecipients},
};

/// How long what a domain does with unknown recipients is believed (DESIGN section 7).
const DOMAIN: Duration = Duration::from_hours(7 * 24);
/// An answer may come from a clock that ran ahead by so much; one from further in the future is not believed.
const CLOCKS_DIFFER: Duration = Duration::from_mins(5);

/// How old answers may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Patience {
    /// No older than that, whatever their own age allows.
    pub max_age: Option<Duration>,
    /// Ask again whatever is known; only refusals of the last hours stand ([`REFUSAL_REST`]).
    pub refresh: bool,
    /// Nobody is asked; answers of any age serve, unless `max_age` forbids it.
    pub offline: bool,
}

/// A run's view of the store.
#[derive(Clone)]
pub struct Ledger {
    store: Arc<dyn Store>,
    lease: Lease,
    patience: Patience,
    exact: bool,
    classifier: Option<Arc<Classifier>>,
    clock: Arc<dyn Clock>,
    /// There was evidence when the run began.
    some: bool,
}

impl Ledger {
    /// The ledger of a run that holds `lease`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn new(
        store: Arc<dyn Store>,
        lease: Lease,
        (patience, exact): (Patience, bool),
        classifier: Option<Arc<Classifier>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let some = lease.is_resumed() || store.knows_anything()?;
        Ok(Self {
            store,
            lease,
            patience,
            exact,
            classifier,
            clock,
            some,
        })
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The right to write about the job.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> JobNumber {
        self.lease.job
    }

    /// The keys of an address.
    #[must_use]
    pub fn key(&self, address: &Address) -> (i64, i64) {
        (domain_key(address.domain()), address_key(address.join_hash(self.exact)))
    }

    /// How replies are understood when they are read again.
    #[must_use]
    pub fn reading(&self) -> Reading<'_> {
        Reading {
            classifier: self.classifier.as_deref(),
        }
    }

    /// What is known about addresses of one domain and may stand for asking again, with the caller's numbers for them.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn fresh<'a>(
        &self,
        domain: &Domain,
        addresses: impl Iterator<Item = (u32, &'a Address)>,
    ) -> Result<Vec<(u32, Kept)>, StoreError> {
        if !self.some {
            return Ok(Vec::new());
        }
        let known = self.store.known(domain_key(domain.as_str()))?;
        if known.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let mut sorted: Vec<&Known> = known.iter().filter(|known| self.serves(known, now)).collect();
        // Stable: a good answer comes before another.
        sorted.sort_by_key(|known| known.address);
        let mut fresh = Vec::new();
        for (id, address) in addresses {
            let key = address_key(address.join_hash(self.exact));
            let first = sorted.partition_point(|known| known.address < key);
            let mine = sorted.get(first..).unwrap_or_default();
            let mut mine = mine.iter().take_while(|known| known.address == key);
            let kept = mine.find_map(|known| self.read(known, address, now).transpose());
            fresh.extend(kept.transpose()?.map(|kept| (id, kept)));
        }
        Ok(fresh)
    }

    /// Evidence found while this run goes on counts from now on.
    pub fn look_again(&mut self) {
        self.some = true;
    }

    fn serves(&self, known: &Known, now: SystemTime) -> bool {
        let age = match now.duration_since(known.checked_at) {
            Ok(age) => age,
            Err(ahead) if ahead.duration() <= CLOCKS_DIFFER => Duration::ZERO,
            Err(_) => return false,
        };
        let Patience {
            max_age,
            refresh,
            offline,
        } = self.patience;
        max_age.is_none_or(|most| age <= most)
            && (offline || known.expires_at > now)
            && (!refresh || offline || age < REFUSAL_REST)
    }

    fn read(&self, known: &Known, address: &Address, now: SystemTime) -> Result<Option<Kept>, StoreError> {
        let mut kept = match self.store.record(known.job, known.place, self.reading()) {
            // Its job was deleted a moment ago, by another process.
            Err(StoreError::Gone) => return Ok(None),
            kept => kept?,
        };
        let same = if self.exact {
            *kept.mailbox == *address.mailbox()
        } else {
            kept.mailbox.eq_ignore_ascii_case(address.mailbox())
        };
        let refused = |answer: &Arc<crate::verdict::Answer>| answer.meaning.existence == Existence::DoesNotExist;
        let may_stand =
            !self.patience.refresh || self.patience.offline || kept.evidence.answer.known().is_some_and(refused);
        if !same || !may_stand {
            return Ok(None);
        }
        // A time to ask again that has come is no reason to believe an old answer.
        if kept.retry_at.is_some_and(|at| at <= now) && !self.patience.offline {
            return Ok(None);
        }
        kept.source = Source::Store;
        Ok(Some(kept))
    }

    /// What is known about a domain: in this job, or by an earlier one that is still believed.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn domain(&self, domain: &Domain, resumed: bool) -> Result<Option<DomainMemory>, StoreError> {
        if !self.some && !resumed {
            return Ok(None);
        }
        let Some((mut memory, at)) = self.store.domain(Some(self.job()), domain)? else {
            return Ok(None);
        };
        let age = self.clock.now().duration_since(at).unwrap_or_default();
        if age > DOMAIN || (self.patience.refresh && !resumed) || self.patience.max_age.is_some_and(|most| age > most) {
            memory.unknown = Observed::NotTried(crate::verdict::NotTried::NotNeeded);
        }
        Ok(Some(memory))
    }

    /// Keeps what is known about a domain; `concluded` for every job.
    pub fn keep_domain(&self, name: &Domain, memory: DomainMemory, concluded: bool) {
        let known = matches!(
            memory.unknown,
            Observed::Known(UnknownRecipients::Refused | UnknownRecipients::Accepted)
        );
        if !concluded || known {
            self.store.submit(Write::Domain {
                lease: (!concluded).then(|| self.lease.clone()),
                name: name.clone(),
                memory,
            });
        }
    }

    /// Claims a mail-host group: what was spent of its budget before, or `None` while another process asks it.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn claim(&self, group: &Arc<str>) -> Result<Option<Option<(String, SystemTime)>>, Arc<StoreError>> {
        let ended = || Arc::new(StoreError::Ended);
        match self.store.claim(group).await.map_err(|_| ended())?? {
            Claim::Ours(spent) => Ok(Some(spent)),
            Claim::Theirs => Ok(None),
        }
    }

    /// Keeps what was spent of a group's budget.
    pub fn keep_group(&self, name: &Arc<str>, memory: String, released: bool) {
        self.store.submit(Write::Group {
            name: Arc::clone(name),
            memory,
            released,
        });
    }
}
