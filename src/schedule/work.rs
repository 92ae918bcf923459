//! What is to be asked: a domain with its mail hosts and its addresses.

use std::{fmt, sync::Arc};

use super::domain::Target;
use crate::{address::Domain, dns::MailRoute, store::DomainMemory};

/// A domain with its mail hosts and the addresses to ask about.
#[derive(Debug)]
pub struct Work<T = Targets> {
    /// The domain.
    pub domain: Domain,
    /// Its route; must name exchangers.
    pub route: Arc<MailRoute>,
    /// Every name beside the domain has this route.
    pub wildcard_zone: bool,
    /// The addresses.
    pub targets: T,
    /// What is known about the domain from before.
    pub memory: Option<Box<DomainMemory>>,
}

impl Work {
    /// Its turn has come.
    pub(super) fn make(self) -> Work<Vec<Target>> {
        Work {
            domain: self.domain,
            route: self.route,
            wildcard_zone: self.wildcard_zone,
            targets: (self.targets.make)(),
            memory: self.memory,
        }
    }
}

/// The addresses of a domain. Those of a large list are made when it is their turn: each takes a hundred bytes from then on.
pub struct Targets {
    count: usize,
    make: Box<dyn FnOnce() -> Vec<Target> + Send>,
}

impl Targets {
    /// So many, made later.
    pub fn later(count: usize, make: impl FnOnce() -> Vec<Target> + Send + 'static) -> Self {
        let make = Box::new(make);
        Self { count, make }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }
}

impl From<Vec<Target>> for Targets {
    fn from(targets: Vec<Target>) -> Self {
        Self::later(targets.len(), || targets)
    }
}

impl fmt::Debug for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Targets")
    }
}
