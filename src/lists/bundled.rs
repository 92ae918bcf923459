//! The lists shipped in the binary: `lists/*.txt` and `lists/typos.tsv`, indexed on first use.
//!
//! Owns the file format and the indexes. Must not judge what is in the lists: that is [`super::check`].

use std::sync::LazyLock;

use hashbrown::{HashMap, HashSet};

/// One bundled list as text.
pub(super) struct ListFile {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) text: &'static str,
}

pub(super) const DISPOSABLE: ListFile = ListFile {
    name: "disposable",
    path: "lists/disposable.txt",
    text: include_str!("../../lists/disposable.txt"),
};
pub(super) const FREE: ListFile = ListFile {
    name: "free",
    path: "lists/free.txt",
    text: include_str!("../../lists/free.txt"),
};
pub(super) const ROLE: ListFile = ListFile {
    name: "role",
    path: "lists/role.txt",
    text: include_str!("../../lists/role.txt"),
};
pub(super) const TYPOS: ListFile = ListFile {
    name: "typos",
    path: "lists/typos.tsv",
    text: include_str!("../../lists/typos.tsv"),
};
pub(super) const ALL: [&ListFile; 4] = [&DISPOSABLE, &FREE, &ROLE, &TYPOS];

impl ListFile {
    /// `# key: value` lines at the top.
    pub(super) fn headers(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.text
            .lines()
            .map_while(|line| line.strip_prefix("# "))
            .filter_map(|line| line.split_once(": "))
    }

    /// The entries with their line numbers, from 1.
    pub(super) fn entries(&self) -> impl Iterator<Item = (usize, &'static str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .skip_while(|(_, line)| line.starts_with("# "))
    }
}

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
    ALL.iter()
        .map(|file| {
            let all = |key| file.headers().filter(move |(k, _)| *k == key).map(|(_, value)| value);
            ListInfo {
                name: file.name,
                path: file.path,
                about: all("about").next().unwrap_or_default(),
                entries: file.entries().count(),
                sources: all("source").collect(),
                licences: all("licence").collect(),
                retrieved: all("retrieved").collect(),
            }
        })
        .collect()
}

fn index(file: &ListFile) -> HashSet<&'static str> {
    // Room for all of it at once: growing would hash each entry twice more.
    let mut set = HashSet::with_capacity(memchr::memchr_iter(b'\n', file.text.as_bytes()).count());
    set.extend(file.entries().map(|(_, entry)| entry));
    set
}

static DISPOSABLE_SET: LazyLock<HashSet<&str>> = LazyLock::new(|| index(&DISPOSABLE));
static FREE_SET: LazyLock<HashSet<&str>> = LazyLock::new(|| index(&FREE));

/// The domain or one of its parents is on the list.
pub(super) fn is_disposable(domain: &str) -> bool {
    parents(domain).any(|name| DISPOSABLE_SET.contains(name))
}

/// The domain itself is on the list.
pub(super) fn is_free(domain: &str) -> bool {
    FREE_SET.contains(domain)
}

/// `a.b.c`, `b.c`: the name and its parents that still hold a dot.
pub(super) fn parents(domain: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(domain), |name| name.split_once('.').map(|(_, parent)| parent))
        .take_while(|name| name.contains('.'))
}

/// How surely a local-part names a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Strong,
    Weak,
}

/// A line of `role.txt`: the word, and whether it is only a hint.
pub(super) fn role_entry(line: &str) -> (&str, Role) {
    match line.strip_suffix(" weak") {
        Some(word) => (word, Role::Weak),
        None => (line, Role::Strong),
    }
}

static ROLES: LazyLock<HashMap<&str, Role>> =
    LazyLock::new(|| ROLE.entries().map(|(_, line)| role_entry(line)).collect());

/// Longest word worth lower-casing; `check` keeps the list below it.
pub(super) const LONGEST_ROLE: usize = 48;

/// For each first letter: how long such words are, a bit for each length. Most names are no word by that alone.
static ROLE_LENGTHS: LazyLock<[u64; 256]> = LazyLock::new(|| {
    let mut lengths = [0; 256];
    for word in ROLES.keys() {
        let first = word.bytes().next().map(usize::from);
        if let Some(of_first) = first.and_then(|first| lengths.get_mut(first)) {
            *of_first |= 1 << word.len().min(63);
        }
    }
    lengths
});

/// Looks up a local-part without its `+tag`, ASCII case ignored (RFC 2142 section 2).
pub(super) fn role(local_part: &str) -> Option<Role> {
    let base = local_part.split_once('+').map_or(local_part, |(base, _)| base);
    let first = base.bytes().next()?.to_ascii_lowercase();
    if ROLE_LENGTHS.get(usize::from(first))? >> base.len().min(63) & 1 == 0 {
        return None;
    }
    let mut buffer = [0; LONGEST_ROLE];
    let lower = buffer.get_mut(..base.len())?;
    lower.copy_from_slice(base.as_bytes());
    lower.make_ascii_lowercase();
    ROLES.get(std::str::from_utf8(lower).ok()?).copied()
}

/// A line of `typos.tsv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TypoEntry {
    /// A mistyped domain, and the one that was meant.
    Typo { typed: &'static str, meant: &'static str },
    /// A mistyped top-level domain that does not exist.
    Tld { typed: &'static str, meant: &'static str },
    /// A provider that a name within `edits` is taken for.
    Near { domain: &'static str, edits: usize },
    /// A real name close to a provider.
    Keep { domain: &'static str },
}

impl TypoEntry {
    pub(super) fn parse(line: &'static str) -> Option<Self> {
        let mut fields = line.split('\t');
        let (kind, from, to) = (fields.next()?, fields.next()?, fields.next()?);
        match (kind, fields.next()) {
            ("typo", None) => Some(Self::Typo { typed: from, meant: to }),
            ("tld", None) => Some(Self::Tld { typed: from, meant: to }),
            ("near", None) => Some(Self::Near {
                domain: from,
                edits: to.parse().ok()?,
            }),
            ("keep", None) if to == "-" => Some(Self::Keep { domain: from }),
            _ => None,
        }
    }
}
