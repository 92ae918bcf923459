//! Mail providers, recognised by the names of their MX hosts, and what is known about asking them.
//!
//! All facts are in `lists/providers.toml`, each with its source. Must not decide whether to ask: that is `schedule`.

use std::{collections::HashMap, sync::LazyLock};

use serde::{Deserialize, Serialize};

/// A provider of mail.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// The stable name, as rules and results use it.
    pub id: Box<str>,
    /// Other names that mean the same.
    #[serde(default)]
    pub aliases: Vec<Box<str>>,
    /// For people.
    pub name: Box<str>,
    /// Endings of MX host names, whole labels.
    #[serde(default)]
    pub mx: Vec<Box<str>>,
    /// Whether what it says at RCPT is the truth.
    pub truthful: Truthful,
    /// Its published policy forbids asking without sending.
    #[serde(default)]
    pub probing_forbidden: bool,
    /// Recipients it takes in one transaction.
    pub recipients_per_transaction: Option<u32>,
    /// Recipients, or messages, it takes in one connection.
    pub recipients_per_session: Option<u32>,
    /// Connections at the same time.
    pub connections: Option<u32>,
    /// Seconds between two recipients, where it is known to matter.
    pub pace_s: Option<u32>,
    /// The control recipient needs a session of its own.
    #[serde(default)]
    pub control_own_session: bool,
    /// Where each fact comes from.
    pub source: Box<str>,
}

/// Whether a provider tells the truth at RCPT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truthful {
    /// It refuses unknown recipients at RCPT.
    Yes,
    /// It accepts every recipient at RCPT and bounces later.
    No,
    /// It depends on how the customer set it up.
    Conditional,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    provider: Vec<Provider>,
}

struct Table {
    providers: Vec<Provider>,
    suffixes: HashMap<Box<str>, usize>,
    names: HashMap<Box<str>, usize>,
    fault: Option<String>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let (providers, fault) = match toml::from_str::<File>(include_str!("../../lists/providers.toml")) {
        Ok(file) => (file.provider, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let mut suffixes = HashMap::new();
    let mut names = HashMap::new();
    for (index, provider) in providers.iter().enumerate() {
        suffixes.extend(provider.mx.iter().map(|suffix| (suffix.clone(), index)));
        names.extend(
            provider
                .aliases
                .iter()
                .chain([&provider.id])
                .map(|name| (name.clone(), index)),
        );
    }
    Table {
        providers,
        suffixes,
        names,
        fault,
    }
});

/// Every provider.
pub fn all() -> &'static [Provider] {
    &TABLE.providers
}

/// The provider that runs this MX host, if one is known.
#[must_use]
pub fn recognise(mx_host: &str) -> Option<&'static Provider> {
    // RFC 1035 section 2.3.4: no name is longer, so the copy is bounded.
    let mut lower = [0_u8; 255];
    let host = mx_host.strip_suffix('.').unwrap_or(mx_host);
    let lower = lower.get_mut(..host.len())?;
    lower.copy_from_slice(host.as_bytes());
    lower.make_ascii_lowercase();
    let mut rest = std::str::from_utf8(lower).ok()?;
    loop {
        if let Some(index) = TABLE.suffixes.get(rest) {
            return TABLE.providers.get(*index);
        }
        rest = rest.split_once('.')?.1;
    }
}

/// The provider with this id or alias.
#[must_use]
pub fn named(name: &str) -> Option<&'static Provider> {
    TABLE.names.get(name).and_then(|index| TABLE.providers.get(*index))
}

/// What is wrong with the bundled list; empty when nothing is.
#[must_use]
pub fn check() -> Vec<super::Problem> {
    let problem = |message: String| super::Problem {
        file: "lists/providers.toml".into(),
        line: 1,
        message,
    };
    let mut problems: Vec<_> = TABLE.fault.iter().cloned().map(problem).collect();
    let suffixes: usize = TABLE.providers.iter().map(|provider| provider.mx.len()).sum();
    let names: usize = TABLE.providers.iter().map(|provider| provider.aliases.len() + 1).sum();
    if suffixes != TABLE.suffixes.len() {
        problems.push(problem("two providers claim the same MX suffix".to_owned()));
    }
    if names != TABLE.names.len() {
        problems.push(problem("two providers share a name".to_owned()));
    }
    for provider in &TABLE.providers {
        if provider
            .mx
            .iter()
            .any(|suffix| suffix.starts_with('.') || suffix.bytes().any(|b| b.is_ascii_uppercase()))
        {
            problems.push(problem(format!(
                "{}: write MX suffixes in lower case, without a leading dot",
                provider.id
            )));
        }
        if provider.source.trim().is_empty() {
            problems.push(problem(format!("{}: `source` is empty", provider.id)));
        }
    }
    problems
}

/// Names to numbers, for the rule compiler.
pub(super) fn interned() -> HashMap<Box<str>, u16> {
    TABLE
        .names
        .iter()
        .filter_map(|(name, index)| Some((name.clone(), u16::try_from(*index).ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_recognised_by_whole_labels() {
        for (host, id) in [
            ("aspmx.l.google.com", Some("google")),
            ("ALT1.ASPMX.L.GOOGLE.COM.", Some("google")),
            ("outlook-com.olc.protection.outlook.com", Some("outlook.com")),
            ("contoso-com.mail.protection.outlook.com", Some("exchangeonline")),
            ("contoso-com.v-v1.mx.microsoft", Some("exchangeonline")),
            ("mta7.am0.yahoodns.net", Some("yahoo")),
            ("notgoogle.com", None),
            ("mail.example.com", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(recognise(host).map(|provider| &*provider.id), id, "{host}");
        }
        assert_eq!(recognise(&"a.".repeat(400)), None);
    }

    #[test]
    fn the_bundled_list_is_sound() {
        assert_eq!(check(), []);
        assert!(all().len() > 30, "{}", all().len());
    }

    #[test]
    fn who_must_not_be_asked_or_believed() {
        assert!(named("outlook.com").unwrap().probing_forbidden);
        assert!(named("outlook.com").unwrap().control_own_session);
        assert_eq!(named("yahoo").unwrap().truthful, Truthful::No);
        assert_eq!(named("exchangeonline").unwrap().truthful, Truthful::Conditional);
        assert_eq!(named("gmail"), named("google"));
    }
}
