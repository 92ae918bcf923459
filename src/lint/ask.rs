//! What has to be asked about lists: each different domain, or each different address, once for all files.
//!
//! Must not judge: what comes back is [`Answers`].

use std::{
    collections::HashSet,
    io::{self, Seek, Write},
};

use super::{Answer, Answers, Changed};
use crate::{
    address::{Address, Rules},
    input::{InputError, InputFormat, InputOptions, Row, Table, unnamed},
    job::{Engine, Outcome, Progress, Sink, Stop, VerifyError},
    lists::UserLists,
};

/// The local-part of addresses that stand for their domain, in nobody's list.
const ANYBODY: &str = "presend-lint-asks-for-the-domain";

/// What questions are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Each domain: its DNS is the same for all its addresses.
    Domains,
    /// Each address.
    Addresses,
}

/// Asks about some addresses, and tells of each in order.
pub type Each<'a, E> = dyn FnMut(&[String]) -> Result<Vec<Answer>, E> + 'a;

/// What has to be asked, each once.
pub struct Questions {
    about: About,
    rules: Rules,
    domains: HashSet<Box<str>>,
    addresses: HashSet<u128>,
    /// The addresses, a JSON string a line, in the order in which they first stood.
    spool: io::BufWriter<std::fs::File>,
    /// What each of them stands for, in the same order.
    asked_domains: Vec<Box<str>>,
    asked_addresses: Vec<u128>,
}

impl Questions {
    /// Nothing to ask yet.
    ///
    /// # Errors
    /// There is no place for a temporary file.
    pub fn new(about: About, rules: Rules) -> io::Result<Self> {
        Ok(Self {
            about,
            rules,
            domains: HashSet::new(),
            addresses: HashSet::new(),
            spool: io::BufWriter::new(unnamed()?),
            asked_domains: Vec::new(),
            asked_addresses: Vec::new(),
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.asked_domains.len() + self.asked_addresses.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The domains to ask about.
    #[must_use]
    pub fn domains(&self) -> &[Box<str>] {
        &self.asked_domains
    }

    /// Adds what the rows of a table need, from the first row to the last.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn gather(
        &mut self,
        table: &mut Table,
        changed: Option<&Changed>,
        known: &dyn Fn(&Address) -> bool,
    ) -> Result<(), InputError> {
        let mut row = Row::default();
        while table.read_row(&mut row)? {
            if row.fault.is_some() || changed.is_some_and(|changed| !changed.has(&row)) {
                continue;
            }
            if let Ok(address) = Address::parse(row.address(), self.rules)
                && !known(&address)
            {
                self.add(&address).map_err(|source| InputError::Read {
                    name: "temporary file".into(),
                    source,
                })?;
            }
        }
        Ok(())
    }

    fn add(&mut self, address: &Address) -> io::Result<()> {
        match self.about {
            About::Domains => {
                if self.domains.insert(address.domain().into()) {
                    self.asked_domains.push(address.domain().into());
                    self.write(&format!("{ANYBODY}@{}", address.domain()))?;
                }
            }
            About::Addresses => {
                let key = address.join_hash(false);
                if self.addresses.insert(key) {
                    self.asked_addresses.push(key);
                    self.write(address.mailbox())?;
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, mailbox: &str) -> io::Result<()> {
        serde_json::to_writer(&mut self.spool, mailbox)?;
        self.spool.write_all(b"\n")
    }

    /// Leaves out domains that are known already.
    ///
    /// # Errors
    /// The temporary file cannot be written.
    pub fn without(self, known: &dyn Fn(&str) -> bool) -> io::Result<Self> {
        let mut left = Self::new(self.about, self.rules)?;
        for domain in self.asked_domains.into_iter().filter(|domain| !known(domain)) {
            left.write(&format!("{ANYBODY}@{domain}"))?;
            left.asked_domains.push(domain);
        }
        left.asked_addresses = self.asked_addresses;
        Ok(left)
    }

    /// The questions as a list that can be asked about.
    fn table(mut self) -> Result<(Table, Asked), InputError> {
        let name = "what presend lint asks about";
        let read = |source| InputError::Read {
            name: name.into(),
            source,
        };
        self.spool.flush().map_err(read)?;
        let mut file = self.spool.into_inner().map_err(|error| read(error.into_error()))?;
        file.rewind().map_err(read)?;
        let options = InputOptions {
            format: Some(InputFormat::Ndjson),
            ..InputOptions::default()
        };
        let table = Table::from_reader(&mut file, name, &options)?;
        let asked = Asked {
            domains: self.asked_domains,
            addresses: self.asked_addresses,
        };
        Ok((table, asked))
    }

    /// Calls `each` with so many addresses at once, and keeps what it says of each.
    ///
    /// # Errors
    /// The temporary file cannot be read, or `each` fails.
    pub fn in_portions<E: From<InputError>>(
        self,
        most: usize,
        answers: &mut Answers,
        each: &mut Each<'_, E>,
    ) -> Result<(), E> {
        if self.is_empty() {
            return Ok(());
        }
        let (mut table, asked) = self.table()?;
        let (mut portion, mut said) = (Vec::new(), Vec::new());
        while let Some(row) = table.next_row()? {
            portion.push(row.address().to_owned());
            if portion.len() == most {
                said.extend(each(&portion)?);
                portion.clear();
            }
        }
        if !portion.is_empty() {
            said.extend(each(&portion)?);
        }
        asked.join(&said, answers);
        Ok(())
    }

    /// Asks by way of an engine.
    ///
    /// # Errors
    /// The engine failed.
    pub async fn ask(
        self,
        engine: &Engine,
        answers: &mut Answers,
        (progress, stop): (&Progress, Stop),
    ) -> Result<Vec<(Box<str>, Answer)>, VerifyError> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let (table, asked) = self.table()?;
        let mut heard = Heard(Vec::with_capacity(asked.domains.len() + asked.addresses.len()));
        engine.verify(table, &mut heard, progress, stop).await?;
        asked.join(&heard.0, answers);
        Ok(asked.domains.into_iter().zip(heard.0).collect())
    }
}

/// What was asked about, in order.
struct Asked {
    domains: Vec<Box<str>>,
    addresses: Vec<u128>,
}

impl Asked {
    fn join(&self, said: &[Answer], answers: &mut Answers) {
        for (domain, answer) in self.domains.iter().zip(said) {
            answers.of_domain(domain, *answer);
        }
        for (key, answer) in self.addresses.iter().zip(said) {
            answers.of_address(*key, *answer);
        }
    }
}

/// Hears the answers, in order.
struct Heard(Vec<Answer>);

impl Sink for Heard {
    fn write(&mut self, _: &Row, outcome: &Outcome) -> io::Result<()> {
        self.0.push(Answer::from(&outcome.verdict));
        Ok(())
    }
}

/// Whether the operator's lists decide about an address, so that nobody is asked.
#[must_use]
pub fn is_decided(lists: &UserLists, address: &Address) -> bool {
    lists.decide(address).is_some()
}
