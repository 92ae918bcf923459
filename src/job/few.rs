//! A few addresses of somebody who waits: what is known already is said at once, the rest is asked about without a list.

use std::{collections::HashMap, sync::Arc};

use super::{
    Engine, Outcome, Progress, Stop, VerifyError,
    answers::Answers,
    list::List,
    open::Open,
    resolve::{Probing, Settled, Start},
    rows::flushed,
    run::keep_few,
};
use crate::{
    schedule::Standing,
    store::{Lease, NewJob, Patience},
};

/// A few addresses, with what is known about them.
struct Few<'a> {
    engine: &'a Engine,
    typed: &'a [String],
    memory: Patience,
    list: List,
    open: Open,
}

impl<'a> Few<'a> {
    fn new(engine: &'a Engine, typed: &'a [String], memory: Patience) -> Result<Self, VerifyError> {
        let mut list = List::default();
        for typed in typed {
            list.add_typed(engine, typed)?;
        }
        list.close();
        let domains = list.take_domains();
        let mut open = Open::default();
        match &engine.store {
            Some(store) => {
                let known = engine.ledger_for(store, Lease::nobody(), memory)?;
                let answers = Answers::new(list.addresses.len());
                for domain in domains {
                    open.add(engine, &known, (&list, &answers), domain)?;
                }
            }
            None => open.asked = domains,
        }
        Ok(Self {
            engine,
            typed,
            memory,
            list,
            open,
        })
    }

    /// Asks about what is not known, and keeps the answers; `heard` is told of those that another question may better.
    async fn ask(
        &mut self,
        stop: &Stop,
        heard: &mut (dyn FnMut(usize, Outcome) + Send),
    ) -> Result<Vec<Settled>, VerifyError> {
        let (engine, typed, list) = (self.engine, self.typed, &self.list);
        // Nothing is written about what is known already.
        let ledger = match &engine.store {
            Some(store) => {
                let lease = store.create(&NewJob::unlisted()).map_err(Arc::new)?;
                Some(engine.ledger_for(store, lease, self.memory)?)
            }
            None => None,
        };
        let start = Start {
            domains: std::mem::take(&mut self.open.asked),
            addresses: Arc::clone(&list.addresses),
            tally: Arc::default(),
            stop,
            ledger: ledger.as_ref(),
            histories: std::mem::take(&mut self.open.histories),
            hurried: true,
        };
        let attempt = |settled: &Settled| {
            for (typed, (index, id)) in typed.iter().zip(list.rows.iter().enumerate()) {
                if *id == settled.id {
                    heard(index, engine.settled(typed, settled.clone()));
                }
            }
        };
        let asked = until_settled(Probing::start(engine, start), attempt).await;
        if let Some(ledger) = &ledger {
            keep_few(ledger, list, asked.clone());
            flushed(&**ledger.store()).await?;
        }
        Ok(asked)
    }

    /// What is reported, in the order of the texts.
    fn outcomes(self, asked: Vec<Settled>) -> Vec<Outcome> {
        let answers = self.open.known.into_iter().chain(asked);
        let results: HashMap<u32, Settled> = answers.map(|settled| (settled.id, settled)).collect();
        let outcome = |(typed, id): (&String, &u32)| match results.get(id) {
            Some(settled) => self.engine.settled(typed, settled.clone()),
            None => match self.list.told.get(id) {
                Some(told) => self.engine.testified(typed, told),
                None => self.engine.read(typed),
            },
        };
        self.typed.iter().zip(&self.list.rows).map(outcome).collect()
    }
}

/// Answers that need nobody to be asked; `None` when somebody must be.
pub(super) fn at_hand(
    engine: &Engine,
    typed: &[String],
    memory: Patience,
) -> Result<Option<Vec<Outcome>>, VerifyError> {
    let few = Few::new(engine, typed, memory)?;
    Ok(few.open.asked.is_empty().then(|| few.outcomes(Vec::new())))
}

/// Answers a few addresses.
pub(super) async fn answer(
    engine: &Engine,
    (typed, memory): (&[String], Patience),
    stop: &Stop,
    heard: &mut (dyn FnMut(usize, Outcome) + Send),
) -> Result<Vec<Outcome>, VerifyError> {
    let mut few = Few::new(engine, typed, memory)?;
    let asked = if few.open.asked.is_empty() {
        Vec::new()
    } else {
        few.ask(stop, heard).await?
    };
    Ok(few.outcomes(asked))
}

/// Asks until every address is settled; `attempt` hears of answers that another question may better.
async fn until_settled(mut probing: Probing<'_>, mut attempt: impl FnMut(&Settled)) -> Vec<Settled> {
    let mut asked = Vec::new();
    while let Some(settled) = probing.next(&Progress::default()).await {
        let (attempts, settled): (Vec<_>, Vec<_>) = settled
            .into_iter()
            .partition(|settled| settled.standing == Standing::Attempt);
        attempts.iter().for_each(&mut attempt);
        asked.extend(settled);
    }
    asked
}
