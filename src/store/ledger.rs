//! What one run uses of the store: its lease, and how old an answer may be to serve it.

use std::{
    borrow::Borrow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Claim, DomainMemory, JobNumber, Kept, Known, Lease, Place, REFUSAL_REST, Reading, Source, Store, StoreError, Write,
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

/// An address with what is known about it, good answers first; never nothing.
type Candidates<'a, A> = (u32, A, &'a [&'a Known]);

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
            for_row: false,
        }
    }

    /// The same for records that are shown in a row.
    #[must_use]
    pub fn reading_for_row(&self) -> Reading<'_> {
        Reading {
            for_row: true,
            ..self.reading()
        }
    }

    /// What is known about addresses of one domain and may stand for asking again, with the caller's numbers for them.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn fresh<A: Borrow<Address>>(
        &self,
        domain: &Domain,
        addresses: impl Iterator<Item = (u32, A)>,
    ) -> Result<Vec<(u32, Kept)>, StoreError> {
        if !self.some {
            return Ok(Vec::new());
        }
        let key = |address: &A| address_key(address.borrow().join_hash(self.exact));
        let addresses: Vec<_> = addresses.map(|(id, address)| (id, key(&address), address)).collect();
        let mut keys: Vec<i64> = addresses.iter().map(|(_, key, _)| *key).collect();
        keys.sort_unstable();
        let known = self.store.known_of(domain_key(domain.as_str()), &keys)?;
        if known.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let mut sorted: Vec<&Known> = known.iter().filter(|known| self.serves(known, now)).collect();
        // Stable: a good answer comes before another.
        sorted.sort_by_key(|known| known.address);
        let candidates = |(id, key, address): (u32, i64, A)| {
            let first = sorted.partition_point(|known| known.address < key);
            let mine = sorted.get(first..).unwrap_or_default();
            let count = mine.iter().take_while(|known| known.address == key).count();
            let mine = mine.get(..count).unwrap_or_default();
            (!mine.is_empty()).then_some((id, address, mine))
        };
        let mut found: Vec<_> = addresses.into_iter().filter_map(candidates).collect();
        let place = |mine: &[&Known]| {
            mine.first()
                .map(|known| (known.job, known.place.batch, known.place.offset))
        };
        found.sort_unstable_by_key(|(.., mine)| place(mine));
        let mut fresh = Vec::with_capacity(found.len());
        for found in found.chunk_by(|(.., one), (.., next)| place(one).map(|at| at.0) == place(next).map(|at| at.0)) {
            self.fresh_of(found, now, &mut fresh)?;
        }
        Ok(fresh)
    }

    /// The first candidates of addresses, all of one job, are read together.
    fn fresh_of<A: Borrow<Address>>(
        &self,
        found: &[Candidates<'_, A>],
        now: SystemTime,
        fresh: &mut Vec<(u32, Kept)>,
    ) -> Result<(), StoreError> {
        let places: Vec<Place> = found
            .iter()
            .filter_map(|(.., mine)| Some(mine.first()?.place))
            .collect();
        let job = found
            .first()
            .and_then(|(.., mine)| mine.first())
            .map_or(0, |known| known.job);
        let records = match self.store.records(job, &places, self.reading()) {
            // The job was deleted a moment ago, by another process.
            Err(StoreError::Gone) => Vec::new(),
            records => records?,
        };
        let mut records = records.into_iter();
        for (id, address, mine) in found {
            let first = records.next().and_then(|kept| self.stands(kept, address.borrow(), now));
            let mut others = mine.iter().skip(1);
            let other = || others.find_map(|known| self.read(known, address.borrow(), now).transpose());
            let kept = first.map(Ok).or_else(other).transpose()?;
            fresh.extend(kept.map(|kept| (*id, kept)));
        }
        Ok(())
    }

    /// Sorts domains so that their evidence is met in the order of the store.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn in_order_of_evidence<T>(&self, domains: &mut [(Domain, T)]) -> Result<(), StoreError> {
        if !self.some {
            return Ok(());
        }
        let mut failed = Ok(());
        domains.sort_by_cached_key(|(domain, _)| {
            let place = self.store.whereabouts(domain_key(domain.as_str()));
            place.unwrap_or_else(|error| {
                failed = Err(error);
                None
            })
        });
        failed
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
        match self.store.record(known.job, known.place, self.reading()) {
            // Its job was deleted a moment ago, by another process.
            Err(StoreError::Gone) => Ok(None),
            kept => Ok(self.stands(kept?, address, now)),
        }
    }

    /// What is kept, if it is about this address and may stand for asking again.
    fn stands(&self, mut kept: Kept, address: &Address, now: SystemTime) -> Option<Kept> {
        let same = if self.exact {
            *kept.mailbox == *address.mailbox()
        } else {
            kept.mailbox.eq_ignore_ascii_case(address.mailbox())
        };
        let refused = |answer: &Arc<crate::verdict::Answer>| answer.meaning.existence == Existence::DoesNotExist;
        let may_stand =
            !self.patience.refresh || self.patience.offline || kept.evidence.answer.known().is_some_and(refused);
        if !same || !may_stand {
            return None;
        }
        // A time to ask again that has come is no reason to believe an old answer.
        if kept.retry_at.is_some_and(|at| at <= now) && !self.patience.offline {
            return None;
        }
        kept.source = Source::Store;
        Some(kept)
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
