//! The user's allow and block lists: addresses, domains and mail hosts, read from text files.
//!
//! Owns the format and which entry wins. Must not say what a decision means: the verdict does.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    str,
};

use hashbrown::HashMap;

use super::check::is_domain;
use crate::{
    address::{Address, Domain, Rules},
    verdict::ListDecision,
};

/// Largest list file: a million addresses are about 30 MB.
const LARGEST_FILE: u64 = 256 << 20;

/// What the operator decided about addresses, domains and mail hosts.
///
/// One entry a line: `jane@example.com`, `example.com` (its sub-domains too) or `mx:mail.example.net` (hosts below it too).
/// Blank lines and `#` comments are skipped. The most specific entry wins: address, then the longest domain, then the mail
/// host; when one entry is on both lists, block wins.
#[derive(Debug, Clone, Default)]
pub struct UserLists {
    addresses: HashMap<Box<str>, ListDecision>,
    domains: HashMap<Box<str>, ListDecision>,
    hosts: HashMap<Box<str>, ListDecision>,
}

/// A user list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UserListError {
    /// The file cannot be opened or read.
    #[error("cannot read the list `{path}`: {source}")]
    Read {
        /// The file.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is larger than 256 MiB.
    #[error("the list `{path}` is larger than 256 MiB; split it")]
    TooLarge {
        /// The file.
        path: String,
    },
    /// A line is no entry.
    #[error("{path}:{line}: {message}; write an address, a domain or `mx:` and a host name")]
    Entry {
        /// The file.
        path: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
}

impl UserLists {
    /// Reads allow and block lists.
    ///
    /// # Errors
    /// A file is unreadable, too large, or has a line that is no entry (named with file and line).
    pub fn load(allow: &[PathBuf], block: &[PathBuf]) -> Result<Self, UserListError> {
        let mut lists = Self::default();
        for path in allow {
            lists.read(path, ListDecision::Allow)?;
        }
        for path in block {
            lists.read(path, ListDecision::Block)?;
        }
        Ok(lists)
    }

    /// Adds the entries of one file.
    ///
    /// # Errors
    /// As [`UserLists::load`].
    pub fn read(&mut self, path: &Path, decision: ListDecision) -> Result<(), UserListError> {
        let name = path.display().to_string();
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes));
        if let Err(source) = read {
            return Err(UserListError::Read { path: name, source });
        }
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(UserListError::TooLarge { path: name });
        }
        let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
        for (index, line) in text.split(|&b| b == b'\n').enumerate() {
            self.add_line(line, decision).map_err(|message| UserListError::Entry {
                path: name.clone(),
                line: index + 1,
                message,
            })?;
        }
        Ok(())
    }

    /// Nothing is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.domains.is_empty() && self.hosts.is_empty()
    }

    /// What the lists decide about an address by itself or its domain.
    #[must_use]
    pub fn decide(&self, address: &Address) -> Option<ListDecision> {
        if !self.addresses.is_empty() {
            let key = address.mailbox().to_ascii_lowercase();
            if let Some(decision) = self.addresses.get(key.as_str()) {
                return Some(*decision);
            }
        }
        longest(&self.domains, address.domain())
    }

    /// What the lists decide about mail that goes to this MX host; asked only when [`UserLists::decide`] has no answer.
    #[must_use]
    pub fn decide_mx(&self, host: &str) -> Option<ListDecision> {
        if self.hosts.is_empty() {
            return None;
        }
        longest(&self.hosts, host.trim_end_matches('.').to_ascii_lowercase().as_str())
    }

    fn add_line(&mut self, line: &[u8], decision: ListDecision) -> Result<(), String> {
        let line = str::from_utf8(line).map_err(|_| String::from("the line is not UTF-8"))?;
        // `#` may stand inside a local-part; a comment follows white space.
        let comment = line.match_indices('#').find(|(at, _)| {
            line.get(..*at)
                .is_some_and(|before| before.trim_end().len() < before.len() || *at == 0)
        });
        let entry = comment
            .map_or(Some(line), |(at, _)| line.get(..at))
            .unwrap_or_default()
            .trim();
        if entry.is_empty() {
            return Ok(());
        }
        let rules = Rules {
            allow_special_use: true,
        };
        let (index, key) = if let Some(host) = entry.strip_prefix("mx:") {
            (&mut self.hosts, domain(host.trim(), rules)?)
        } else if entry.contains('@') {
            let address = Address::parse(entry, rules).map_err(|error| error.fault.sentence().to_owned())?;
            domain(address.domain(), rules)?;
            (&mut self.addresses, address.mailbox().to_ascii_lowercase().into())
        } else {
            (&mut self.domains, domain(entry, rules)?)
        };
        let slot = index.entry(key).or_insert(decision);
        if decision == ListDecision::Block {
            *slot = decision;
        }
        Ok(())
    }
}

fn domain(text: &str, rules: Rules) -> Result<Box<str>, String> {
    let domain = Domain::parse(text.trim_end_matches('.'), rules).map_err(|error| error.fault.sentence().to_owned())?;
    if !is_domain(domain.as_str()) {
        return Err(format!("`{}` is not a domain name", text.escape_debug()));
    }
    Ok(domain.as_str().into())
}

fn longest(index: &HashMap<Box<str>, ListDecision>, name: &str) -> Option<ListDecision> {
    super::bundled::parents(name).find_map(|name| index.get(name).copied())
}
