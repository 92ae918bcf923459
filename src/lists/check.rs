//! Whether the bundled lists keep the promises the look-ups rely on; behind `presend lists check` and a test.

use std::fmt;

use hashbrown::HashMap;

use super::bundled::{self, DISPOSABLE, FREE, ListFile, ROLE, TYPOS, TypoEntry};

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

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Checks the lists of this module; no problem is expected in a release.
#[must_use]
pub fn check() -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in bundled::ALL {
        check_frame(file, &mut problems);
    }
    check_domains(&DISPOSABLE, &mut problems);
    check_domains(&FREE, &mut problems);
    check_roles(&ROLE, &mut problems);
    check_typos(&TYPOS, &mut problems);
    problems.extend(super::exports::check());
    problems
}

/// Calls back with every entry and turns the message it returns into a problem.
fn each(file: &ListFile, problems: &mut Vec<Problem>, mut fault: impl FnMut(&'static str) -> Option<String>) {
    problems.extend(file.entries().filter_map(|(line, entry)| {
        let message = fault(entry)?;
        Some(Problem {
            path: file.path,
            line,
            message,
        })
    }));
}

/// Header and order.
fn check_frame(file: &ListFile, problems: &mut Vec<Problem>) {
    let path = file.path;
    let count = |key| file.headers().filter(|(k, _)| *k == key).count();
    let mut header = |message| problems.push(Problem { path, line: 1, message });
    for key in ["about", "count"] {
        if count(key) != 1 {
            header(format!("the header needs one `# {key}: ` line"));
        }
    }
    let sources = count("source");
    if sources == 0 || sources != count("licence") || sources != count("retrieved") {
        header("the header needs `# source: `, `# licence: ` and `# retrieved: ` lines, one of each a source".into());
    }
    let entries = file.entries().count();
    for (_, said) in file.headers().filter(|(key, _)| *key == "count") {
        if said != entries.to_string() {
            header(format!("the header says {said} entries, there are {entries}"));
        }
    }
    let mut last = "";
    each(file, problems, |entry| {
        let previous = std::mem::replace(&mut last, entry);
        (previous >= entry).then(|| format!("`{entry}` is not sorted after `{previous}`, or twice in the list"))
    });
}

fn check_domains(file: &ListFile, problems: &mut Vec<Problem>) {
    each(file, problems, |entry| {
        if !is_domain(entry) {
            return Some(format!("`{entry}` is not a lower-case domain name in A-label form"));
        }
        if !psl::suffix(entry.as_bytes()).is_some_and(|suffix| suffix.is_known()) {
            return Some(format!("`{entry}` has no public top-level domain"));
        }
        if file.name == FREE.name && bundled::is_disposable(entry) {
            return Some(format!("`{entry}` is disposable as well"));
        }
        None
    });
}

fn check_roles(file: &ListFile, problems: &mut Vec<Problem>) {
    let mut seen = HashMap::new();
    each(file, problems, |line| {
        let (word, role) = bundled::role_entry(line);
        let plain = word
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b));
        if word.is_empty() || word.len() > bundled::LONGEST_ROLE || !plain {
            return Some(format!("`{word}` is not a lower-case local-part"));
        }
        seen.insert(word, role)
            .map(|_| format!("`{word}` is in the list with and without `weak`"))
    });
}

fn check_typos(file: &ListFile, problems: &mut Vec<Problem>) {
    let listed = |domain: &str| bundled::is_free(domain) || bundled::is_disposable(domain);
    each(file, problems, |line| match TypoEntry::parse(line) {
        None => Some("expected `typo`, `tld`, `near` or `keep` and two more cells".into()),
        Some(TypoEntry::Typo { typed, meant }) => {
            if !is_domain(typed) || listed(typed) {
                Some(format!("`{typed}` is no domain, or on the free or disposable list"))
            } else {
                (!bundled::is_free(meant)).then(|| format!("`{meant}` is not on the free list"))
            }
        }
        Some(TypoEntry::Tld { typed, meant }) => {
            let known = |tld: &str| psl::suffix(tld.as_bytes()).is_some_and(|suffix| suffix.is_known());
            if !is_label(typed) || known(typed) {
                return Some(format!("`{typed}` exists, or is no label"));
            }
            (!known(meant)).then(|| format!("`{meant}` does not exist"))
        }
        Some(TypoEntry::Near { domain, edits }) => {
            let name = domain.split('.').next().unwrap_or_default();
            let most = if name.len() >= 8 { 2 } else { 1 };
            if edits == 0 || edits > most || name.len() < 5 {
                return Some(format!("{edits} edits are too many, or none, for `{domain}`"));
            }
            (!bundled::is_free(domain)).then(|| format!("`{domain}` is not on the free list"))
        }
        Some(TypoEntry::Keep { domain }) => {
            (!is_domain(domain) || listed(domain)).then(|| format!("`{domain}` is no domain, or listed already"))
        }
    });
}

/// Two or more LDH labels in lower case (RFC 1123 section 2.1), 253 octets.
pub(super) fn is_domain(name: &str) -> bool {
    name.len() <= 253 && name.contains('.') && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(name: &'static str, text: &'static str, check: fn(&ListFile, &mut Vec<Problem>)) -> Vec<String> {
        let file = ListFile {
            name,
            path: "lists/x",
            text,
        };
        let mut problems = Vec::new();
        check(&file, &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_bundled_lists_are_in_order() {
        let problems: Vec<String> = check().iter().map(ToString::to_string).collect();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    #[test]
    fn broken_lists_are_named_by_line() {
        type Check = fn(&ListFile, &mut Vec<Problem>);
        let cases: [(&'static str, &'static str, Check, &[&str]); 8] = [
            (
                "x",
                "# about: x\n# source: s\n# licence: l\n# retrieved: 2026\n# count: 1\na.com\n",
                check_frame,
                &[],
            ),
            (
                "x",
                "# about: x\n# source: s\n# count: 2\na.com\n",
                check_frame,
                &["x:1: the header needs `# source", "x:1: the header says 2"],
            ),
            (
                "x",
                "# source: s\n# licence: l\n# retrieved: 2026\n# count: 3\nb.com\na.com\na.com\n",
                check_frame,
                &["x:1: the header needs one `# about", "x:6: `a.com`", "x:7: `a.com`"],
            ),
            (
                "free",
                "A.com\nlocalhost\nx.nosuchtld\nmailinator.com\nok.com\n",
                check_domains,
                &["x:1:", "x:2:", "x:3:", "x:4: `mailinator.com` is disposable"],
            ),
            (
                "role",
                "Info\nhello\nhello weak\n",
                check_roles,
                &["x:1: `Info`", "x:3: `hello`"],
            ),
            (
                "typos",
                "typo\tmail.com\tgmail.com\ntypo\tgmaail.com\tnowhere.example\n",
                check_typos,
                &["x:1: `mail.com`", "x:2: `nowhere.example`"],
            ),
            (
                "typos",
                "tld\tcm\tcom\ntld\tcon\tkom\ntld\tcon\tcom\n",
                check_typos,
                &["x:1: `cm`", "x:2: `kom`"],
            ),
            (
                "typos",
                "near\tgmx.de\t1\nnear\tgmail.com\t2\nkeep\tgmail.com\t-\nhuh\ta\tb\n",
                check_typos,
                &["x:1: 1 edits", "x:2: 2 edits", "x:3:", "x:4: expected"],
            ),
        ];
        for (name, text, check, want) in cases {
            let got = problems(name, text, check);
            assert_eq!(got.len(), want.len(), "{text:?}: {got:#?}");
            for (got, want) in got.iter().zip(want) {
                assert!(got.contains(want), "{got} does not contain {want}");
            }
        }
    }
}
