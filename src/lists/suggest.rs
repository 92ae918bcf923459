//! What a mistyped domain was probably meant to be: a table, top-level domains that do not exist, and a short edit distance to
//! a fixed list of providers.
//!
//! Advice only, made without the network. Must never suggest away a name that a list knows, nor towards a name outside the list
//! except by repairing a top-level domain that does not exist.

use std::{borrow::Cow, sync::LazyLock};

use hashbrown::{HashMap, HashSet};
use strsim::osa_distance;

use super::bundled::{self, TypoEntry};
use crate::address::{Domain, Rules};

/// Longest domain name (RFC 1035 section 2.3.4).
const LONGEST_DOMAIN: usize = 253;

/// A provider split at its first dot.
struct Provider {
    domain: &'static str,
    name: &'static str,
    edits: usize,
}

#[derive(Default)]
struct Table {
    typos: HashMap<&'static str, &'static str>,
    tlds: HashMap<&'static str, &'static str>,
    keep: HashSet<&'static str>,
    /// By what follows the first dot.
    near: HashMap<&'static str, Vec<Provider>>,
    /// Provider name (`gmail`) to its main domain; `.com` where it has one.
    main: HashMap<&'static str, &'static str>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::default();
    for entry in bundled::TYPOS.entries().filter_map(|(_, line)| TypoEntry::parse(line)) {
        match entry {
            TypoEntry::Typo { typed, meant } => drop(table.typos.insert(typed, meant)),
            TypoEntry::Tld { typed, meant } => drop(table.tlds.insert(typed, meant)),
            TypoEntry::Keep { domain } => drop(table.keep.insert(domain)),
            TypoEntry::Near { domain, edits } => {
                let Some((name, suffix)) = domain.split_once('.') else {
                    continue;
                };
                let main = table.main.entry(name).or_insert(domain);
                if suffix == "com" {
                    *main = domain;
                }
                let provider = Provider { domain, name, edits };
                table.near.entry(suffix).or_default().push(provider);
            }
        }
    }
    table
});

/// The domain that was probably meant by `domain`, ASCII-lower-cased text as typed after the `@`: it may be a name that the
/// address parser refuses (`gmail.con`, `gmail`, `gmail.com'`).
///
/// `None` for every free or disposable domain and for whatever is not close to a known provider.
#[must_use]
pub fn suggest_domain(domain: &str) -> Option<Cow<'static, str>> {
    if domain.len() > LONGEST_DOMAIN || bundled::is_free(domain) || bundled::is_disposable(domain) {
        return None;
    }
    let clean = domain.trim_end_matches(|c: char| c.is_ascii_punctuation());
    let plain = clean
        .split('.')
        .all(|label| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    if !plain {
        return None;
    }
    if clean != domain {
        // Only stray punctuation behind a provider's name; a full stop there is the parser's business.
        if let Some(provider) = provider(clean) {
            return Some(provider.into());
        }
    }
    // A repaired end does not mend the labels before it.
    let rules = Rules {
        allow_special_use: true,
    };
    for_unlisted(clean).filter(|meant| Domain::parse(meant, rules).is_ok())
}

/// As [`suggest_domain`] for a well-formed domain that is neither free nor disposable.
pub(super) fn for_unlisted(domain: &str) -> Option<Cow<'static, str>> {
    let table = &*TABLE;
    if let Some(meant) = table.typos.get(domain) {
        return Some((*meant).into());
    }
    let Some((head, tld)) = domain.rsplit_once('.') else {
        return dotless(domain).map(Cow::Borrowed);
    };
    if let Some(meant) = table.tlds.get(tld) {
        let repaired = format!("{head}.{meant}");
        if bundled::is_disposable(&repaired) {
            return None;
        }
        if bundled::is_free(&repaired) {
            return Some(repaired.into());
        }
        let closer = table.typos.get(repaired.as_str()).copied().or_else(|| near(&repaired));
        return Some(closer.map_or(repaired.into(), Cow::Borrowed));
    }
    near(domain).or_else(|| unknown_tld(domain)).map(Cow::Borrowed)
}

fn provider(domain: &str) -> Option<&'static str> {
    let (_, suffix) = domain.split_once('.')?;
    let group = TABLE.near.get(suffix)?;
    group.iter().find(|p| p.domain == domain).map(|p| p.domain)
}

/// `gmail`, `gmailcom`: no mail host has a name without a dot.
fn dotless(name: &str) -> Option<&'static str> {
    let whole = |name| TABLE.main.get(name).copied();
    whole(name).or_else(|| {
        ["com", "net"].iter().find_map(|suffix| {
            let main = whole(name.strip_suffix(suffix)?)?;
            main.split_once('.')
                .is_some_and(|(_, meant)| meant == *suffix)
                .then_some(main)
        })
    })
}

/// The provider with the same ending whose name is within its number of edits.
///
/// The first letter must be right, or be swapped with the second: `qmail.com`, `hmail.com`, `ymail.com` and `mail.com` are other
/// people's. Short names (`aol`, `gmx`, `live`, `me`) are no candidates: at one edit they attract everything.
fn near(domain: &str) -> Option<&'static str> {
    let (name, suffix) = domain.split_once('.')?;
    let group = TABLE.near.get(suffix)?;
    if TABLE.keep.contains(domain) {
        return None;
    }
    group
        .iter()
        .filter(|p| name.len().abs_diff(p.name.len()) <= p.edits && same_start(name, p.name))
        .map(|p| (osa_distance(name, p.name), p))
        .filter(|(distance, p)| *distance <= p.edits)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, p)| p.domain)
}

fn same_start(typed: &str, meant: &str) -> bool {
    let (mut typed, mut meant) = (typed.bytes(), meant.bytes());
    let (t1, m1) = (typed.next(), meant.next());
    t1 == m1 || (t1 == meant.next() && typed.next() == m1)
}

/// A provider's very name under a top-level domain that does not exist (`gmail.acm`, `comcast.nry`).
fn unknown_tld(domain: &str) -> Option<&'static str> {
    let (name, tld) = domain.split_once('.')?;
    let main = *TABLE.main.get(name)?;
    let (_, meant) = main.split_once('.')?;
    let exists = psl::suffix(domain.as_bytes()).is_some_and(|suffix| suffix.is_known());
    (!exists && osa_distance(tld, meant) <= 2).then_some(main)
}

#[cfg(test)]
mod tests {
    use super::suggest_domain;

    #[test]
    fn mistyped_providers_are_recognised() {
        for (typed, meant) in [
            ("gmial.com", "gmail.com"),
            ("gamil.com", "gmail.com"),
            ("gmail.con", "gmail.com"),
            ("gnail.con", "gmail.com"),
            ("gmail.co", "gmail.com"),
            ("gmail.acm", "gmail.com"),
            ("gmail", "gmail.com"),
            ("gmailcom", "gmail.com"),
            ("comcastnet", "comcast.net"),
            ("gmail.com'", "gmail.com"),
            ("gmail.comm", "gmail.com"),
            ("yaho.com", "yahoo.com"),
            ("ayhoo.com", "yahoo.com"),
            ("yahoo.co.ukk", "yahoo.co.uk"),
            ("yaho.couk", "yahoo.co.uk"),
            ("hotmial.com", "hotmail.com"),
            ("hotmai.fr", "hotmail.fr"),
            ("goggelmail.com", "googlemail.com"),
            ("comcast.nry", "comcast.net"),
            ("aol.con", "aol.com"),
            ("gmx.ed", "gmx.edu"),
            ("acme-corp.con", "acme-corp.com"),
            ("acme.ogr", "acme.org"),
        ] {
            assert_eq!(suggest_domain(typed).as_deref(), Some(meant), "{typed}");
        }
    }

    #[test]
    fn other_peoples_names_are_left_alone() {
        for typed in [
            // Free or disposable themselves.
            "gmail.com",
            "ymail.com",
            "mail.com",
            "me.com",
            "gmx.de",
            "gmx.at",
            "gmx.com",
            "aol.com",
            "email.com",
            "hitmail.com",
            "yahoo.fr",
            "hotmail.be",
            "mailinator.com",
            "x.mailinator.com",
            "mailinator.con",
            // Real names one letter away.
            "qmail.com",
            "hmail.com",
            "tmail.com",
            "fmail.com",
            "gail.com",
            "grail.com",
            "cloud.com",
            "gm.com",
            "overlook.com",
            "horizon.net",
            "version.net",
            "libera.it",
            "live.co",
            "me.co",
            "mac.cm",
            "web.com",
            "sol.com",
            "gmx.es",
            "gms.de",
            // Existing top-level domains.
            "gmail.org",
            "acme.co",
            "acme.cm",
            "acme.om",
            "acme.ne",
            "acme.et",
            "acme.cam",
            "hotmail.cl",
            "gmail.xyz",
            // Nothing to go by.
            "",
            ".",
            "..",
            "com",
            "con",
            "x",
            "exämple.con",
            "a b.con",
            ".con",
            "gmail..con",
            "mail.gmial.com",
            "gmail.internal",
            // A repaired end makes no name of these.
            "-acme.con",
            "acme-.con",
            "xn--zz--zz.con",
        ] {
            assert_eq!(suggest_domain(typed), None, "{typed}");
        }
        assert_eq!(suggest_domain(&"g".repeat(100_000)), None);
    }
}
