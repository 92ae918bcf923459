//! What a case file says. Data only; docs/hostile.md explains every key.

use std::{collections::BTreeMap, fs, path::Path};

use presend::lab::{Domain, Host, World};
use serde::Deserialize;

/// One file: a world, a list, and what must come of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// Row of docs/hostile.md, or any name.
    pub(crate) id: String,
    /// What the peer does, in a few words.
    #[expect(dead_code, reason = "for readers")]
    title: String,
    /// As in a world of `presend lab`.
    #[serde(default)]
    domain: Vec<Domain>,
    #[serde(default)]
    host: Vec<Host>,
    #[serde(default = "idle")]
    idle_timeout_ms: u64,
    /// presend.toml, over the runner's own.
    #[serde(default)]
    pub(crate) settings: toml::Table,
    /// Further arguments of `presend verify`.
    #[serde(default)]
    pub(crate) arguments: Vec<String>,
    /// The list, one address each, and the answers.
    pub(crate) row: Vec<Row>,
    /// What hosts saw.
    #[serde(default)]
    pub(crate) seen: Vec<Seen>,
    #[serde(default)]
    pub(crate) expect: Expect,
}

/// Longer than any case may take.
fn idle() -> u64 {
    20_000
}

/// An address, or several that differ in a number, and its answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) address: String,
    /// So many rows, `{n}` in the address is 1 and so on.
    #[serde(default)]
    pub(crate) count: u32,
    pub(crate) label: OneOf,
    pub(crate) reason: OneOf,
    pub(crate) action: Option<String>,
    /// Members of the JSON result by their path: `{ "evidence.code" = 550 }`.
    #[serde(default)]
    pub(crate) result: BTreeMap<String, toml::Value>,
    /// Texts that the JSON result holds.
    #[serde(default)]
    pub(crate) has: Vec<String>,
    /// Texts that it must not hold.
    #[serde(default)]
    pub(crate) lacks: Vec<String>,
}

/// One value, or a list of values of which any will do.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOf {
    Only(String),
    Any(Vec<String>),
}

impl OneOf {
    pub(crate) fn allows(&self, came: &str) -> bool {
        match self {
            Self::Only(only) => only == came,
            Self::Any(any) => any.iter().any(|one| one == came),
        }
    }
}

impl std::fmt::Display for OneOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Only(only) => f.write_str(only),
            Self::Any(any) => f.write_str(&any.join(" or ")),
        }
    }
}

/// What one host saw; what is absent is not looked at, but for `without_quit`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seen {
    pub(crate) host: String,
    pub(crate) connections: Option<u64>,
    pub(crate) connections_max: Option<u64>,
    /// Commands in all sessions.
    pub(crate) commands_max: Option<u64>,
    /// Commands of each verb; verbs that are not named were not said.
    pub(crate) verbs: Option<BTreeMap<String, u64>>,
    pub(crate) recipients: Option<u64>,
    pub(crate) recipients_max: Option<u64>,
    pub(crate) refused_max: Option<u64>,
    /// Sessions that went through a TLS handshake.
    pub(crate) tls: Option<u64>,
    /// Bytes that left the host; what lies in the kernel's buffers counts.
    pub(crate) bytes_max: Option<u64>,
    /// Sessions that may end without QUIT.
    #[serde(default)]
    pub(crate) without_quit: u64,
    /// Lines that it heard, whole.
    #[serde(default)]
    pub(crate) hears: Vec<String>,
    /// Texts that no line had.
    #[serde(default)]
    pub(crate) never_hears: Vec<String>,
}

/// What the whole run must show.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expect {
    /// Exit codes, any of them.
    pub(crate) exit: Vec<i32>,
    pub(crate) seconds: f64,
    /// Most memory of the process.
    pub(crate) memory_mib: Option<u64>,
    /// Texts on standard error.
    pub(crate) says: Vec<String>,
    /// Names about which, and below which, nothing was asked of the DNS.
    pub(crate) never_asked: Vec<String>,
    /// DNS questions and how often, `"MX acme.test" = 1`.
    pub(crate) asked: BTreeMap<String, u64>,
    /// DNS questions and how often at most.
    pub(crate) asked_max: BTreeMap<String, u64>,
    /// DNS questions in all.
    pub(crate) questions_max: Option<u64>,
    /// Every address that was dialled, or the name of a host of this world. Makes the run go through a proxy that records
    /// them, so that nothing else can have been dialled.
    pub(crate) dialled: Option<Vec<String>>,
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            exit: vec![0, 3],
            seconds: 5.0,
            memory_mib: None,
            says: Vec::new(),
            never_asked: Vec::new(),
            asked: BTreeMap::new(),
            asked_max: BTreeMap::new(),
            questions_max: None,
            dialled: None,
        }
    }
}

impl Case {
    /// Reads a case; the message names file, line and column.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
        let case: Self = toml::from_str(&text).map_err(|error| wrong(&error))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if stem != case.id && !stem.starts_with(&format!("{}-", case.id)) {
            return Err(wrong(&format!("the id `{}` does not begin the file's name", case.id)));
        }
        if let Some(seen) = case
            .seen
            .iter()
            .find(|seen| !case.host.iter().any(|host| host.name == seen.host))
        {
            return Err(wrong(&format!("`seen`: there is no host {}", seen.host)));
        }
        Ok(case)
    }

    pub(crate) fn world(&self) -> World {
        World {
            domains: self.domain.clone(),
            hosts: self.host.clone(),
            idle_timeout_ms: self.idle_timeout_ms,
            record_lines: true,
            ..World::default()
        }
    }

    /// Every row of the list.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let numbered = |row: &Row, number: u32| Row {
            address: row.address.replace("{n}", &number.to_string()),
            ..row.clone()
        };
        let all = self
            .row
            .iter()
            .flat_map(|row| (1..=row.count.max(1)).map(|number| numbered(row, number)));
        all.collect()
    }
}
