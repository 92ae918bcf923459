//! Lists about domains and local-parts: bundled (`lists/*`) and the user's own. Facts and advice only: a list never says
//! whether a mailbox exists.

use std::path::PathBuf;

use crate::address::Address;

/// What the lists know about an address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListHits {
    /// The local-part names a function, not a person (RFC 2142 names and the usual info/sales/support).
    pub role: bool,
    /// The registered domain, or a parent of it, is a throw-away mail service.
    pub disposable: bool,
    /// The domain is a free mail provider.
    pub free: bool,
    /// The whole address with the domain that was probably meant.
    pub did_you_mean: Option<Box<str>>,
}

/// Looks an address up in every bundled list.
#[must_use]
pub fn look_up(address: &Address) -> ListHits {
    let _ = address;
    ListHits::default()
}

/// The operator's allow and block lists.
#[derive(Debug, Clone, Default)]
pub struct UserLists {
    allow: Vec<PathBuf>,
    block: Vec<PathBuf>,
}

impl UserLists {
    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read, or a line is not an entry.
    pub fn load(allow: &[PathBuf], block: &[PathBuf]) -> Result<Self, UserListError> {
        Ok(Self {
            allow: allow.to_vec(),
            block: block.to_vec(),
        })
    }
}

/// A list of the operator cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UserListError {}

/// What `presend lists show` tells about a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListInfo {
    /// Short name.
    pub name: &'static str,
    /// File in the source tree.
    pub path: &'static str,
    /// What an entry means.
    pub about: &'static str,
    /// Number of entries.
    pub entries: usize,
    /// Where they come from; the three lists run in parallel.
    pub sources: Vec<&'static str>,
    /// Their licences.
    pub licences: Vec<&'static str>,
    /// When they were retrieved, `YYYY-MM` or `YYYY-MM-DD`.
    pub retrieved: Vec<&'static str>,
}

/// The bundled lists of this module with their provenance.
#[must_use]
pub fn catalogue() -> Vec<ListInfo> {
    Vec::new()
}

/// Something wrong in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The list's file.
    pub path: &'static str,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Checks the lists of this module; no problem is expected in a release.
#[must_use]
pub fn check() -> Vec<Problem> {
    Vec::new()
}
