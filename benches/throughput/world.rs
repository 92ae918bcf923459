//! The measured list and the miniature internet that answers it: 20 % unknown users, every tenth domain a catch-all.

use std::fmt::Write as _;

use presend::{
    lab::{Host, Pipelining, World},
    verdict::Label,
};

/// All mail hosts are below this name, for `--trusted-host`.
pub(crate) const TRUSTED: &str = ".hosts.test";

/// How much there is of everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) addresses: usize,
    pub(crate) domains: usize,
    pub(crate) hosts: usize,
}

/// One address of the list.
pub(crate) struct Entry {
    pub(crate) address: String,
    /// Number of the mail host.
    pub(crate) host: usize,
    /// Number of the domain.
    pub(crate) domain: usize,
    /// What presend must say.
    pub(crate) label: Label,
}

impl Size {
    /// The list, its domains mixed as in a real one.
    pub(crate) fn list(self) -> Vec<Entry> {
        let entry = |number| {
            let (domain, user) = (number % self.domains, number / self.domains);
            let host = domain % self.hosts;
            let unknown = user % 5 == 4;
            let local_part = if unknown { "former.colleague" } else { "given.family" };
            Entry {
                address: format!("{local_part}{user}@company{domain}.test"),
                host,
                domain,
                label: match (is_catch_all(host), unknown) {
                    (true, _) => Label::CatchAll,
                    (false, true) => Label::Invalid,
                    (false, false) => Label::Valid,
                },
            }
        };
        (0..self.addresses).map(entry).collect()
    }

    /// The internet of [`Self::list`].
    pub(crate) fn world(self, latency_ms: u64, pipelining: bool) -> World {
        let users = self.addresses.div_ceil(self.domains);
        let mailboxes: Vec<String> = (0..users).map(|user| format!("given.family{user}")).collect();
        let host = |host| Host {
            name: format!("mx{host}{TRUSTED}"),
            serves: (host..self.domains)
                .step_by(self.hosts)
                .map(|domain| format!("company{domain}.test"))
                .collect(),
            mailboxes: mailboxes.clone(),
            catch_all: is_catch_all(host),
            pipelining: if pipelining { Pipelining::On } else { Pipelining::Off },
            latency_ms,
            ..Host::default()
        };
        World {
            hosts: (0..self.hosts).map(host).collect(),
            ..World::default()
        }
    }
}

fn is_catch_all(host: usize) -> bool {
    host.is_multiple_of(10)
}

/// The list as a CSV file with other columns around the address.
pub(crate) fn csv(list: &[Entry]) -> String {
    let mut text = String::from("id,email,company\n");
    for (number, entry) in list.iter().enumerate() {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{number},{},Company {}", entry.address, entry.domain);
    }
    text
}

/// Rows of presend's CSV output whose label is not the expected one, missing ones included.
pub(crate) fn wrong(list: &[Entry], csv: &str) -> usize {
    let mut lines = csv.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split(',').position(|name| name == "presend_label");
    let label = |line: &str| Some(line.split(',').nth(column?)?.to_owned());
    let mut wrong = 0;
    for (number, entry) in list.iter().enumerate() {
        let line = lines.next().unwrap_or_default();
        let in_place = line.starts_with(&format!("{number},{},", entry.address));
        wrong += usize::from(!in_place || label(line).as_deref() != Some(entry.label.name()));
    }
    wrong + lines.count()
}
