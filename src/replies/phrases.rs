//! The phrases of all rules, and which of them stand in a text. Whole words are a tree that is walked from every word of the
//! text; open words and parts of host names go through an automaton.
//!
//! An automaton over everything would find the same; with the 7,600 phrases of the bundled rules it took 13 ms to build.

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use hashbrown::HashMap;

use super::text::phrase_words;

/// A group of phrases, any of which counts.
pub(super) type Term = u32;

/// A phrase with sets must not expand beyond this.
const MAX_EXPANSION: usize = 5_000;
/// The end of a list in [`Tree::ends`].
const NONE: u32 = u32::MAX;

/// Room for the words, and for the nodes, of the bundled rules: growing would hash each of them again.
const WORDS: usize = 1 << 12;
const NODES: usize = 1 << 14;

/// Words and phrases.
#[derive(Debug)]
struct Tree {
    words: HashMap<String, u32>,
    /// From a node over a word to the next; the root is 0.
    next: HashMap<(u32, u32), u32>,
    /// For each node, where the list of the terms that end there begins.
    ends: Vec<u32>,
    lists: Vec<(Term, u32)>,
}

impl Tree {
    fn new() -> Self {
        Self {
            words: HashMap::with_capacity(WORDS),
            next: HashMap::with_capacity(NODES),
            ends: vec![NONE],
            lists: Vec::new(),
        }
    }

    fn word(&mut self, word: &str) -> u32 {
        let id = self.words.len();
        *self
            .words
            .entry_ref(word)
            .or_insert_with(|| u32::try_from(id).unwrap_or(NONE))
    }

    fn step(&mut self, from: u32, word: u32) -> u32 {
        let ends = &mut self.ends;
        *self.next.entry((from, word)).or_insert_with(|| {
            ends.push(NONE);
            u32::try_from(ends.len() - 1).unwrap_or(NONE)
        })
    }

    fn end(&mut self, node: u32, term: Term) {
        if self.terms(node).any(|known| known == term) {
            return;
        }
        let list = u32::try_from(self.lists.len()).unwrap_or(NONE);
        if let Some(end) = self.ends.get_mut(node as usize) {
            self.lists.push((term, *end));
            *end = list;
        }
    }

    fn terms(&self, node: u32) -> impl Iterator<Item = Term> {
        let mut list = self.ends.get(node as usize).copied().unwrap_or(NONE);
        std::iter::from_fn(move || {
            let (term, rest) = *self.lists.get(list as usize)?;
            list = rest;
            Some(term)
        })
    }
}

/// Phrases to terms, each kept once.
pub(super) struct Builder<'a> {
    sets: &'a BTreeMap<&'a str, &'a [String]>,
    /// The words of each set's phrases, where every phrase is whole words.
    plain_sets: HashMap<&'a str, Option<Vec<Vec<u32>>>>,
    tree: Tree,
    patterns: Vec<String>,
    owners: Vec<Vec<Term>>,
    known: HashMap<String, usize>,
    groups: HashMap<Vec<String>, Term>,
    count: u32,
}

/// A piece of a phrase that can be put together from words.
enum Part<'a> {
    Words(Vec<u32>),
    Set(&'a str),
}

impl<'a> Builder<'a> {
    pub(super) fn new(sets: &'a BTreeMap<&'a str, &'a [String]>) -> Self {
        Self {
            sets,
            plain_sets: HashMap::new(),
            tree: Tree::new(),
            patterns: Vec::new(),
            owners: Vec::new(),
            known: HashMap::new(),
            groups: HashMap::new(),
            count: 0,
        }
    }

    /// The term for "any of these phrases".
    pub(super) fn term(&mut self, phrases: &[String]) -> Result<Term, String> {
        let mut key = phrases.to_vec();
        key.sort();
        if let Some(term) = self.groups.get(&key) {
            return Ok(*term);
        }
        let term = self.count;
        self.count += 1;
        self.groups.insert(key, term);
        let mut expanded = 0;
        let mut todo: Vec<String> = Vec::new();
        for phrase in phrases {
            if self.put_together(phrase, term, &mut expanded)? {
                continue;
            }
            todo.push(phrase.clone());
            while let Some(phrase) = todo.pop() {
                count(&mut expanded, 1, &phrase)?;
                let Some((before, name, after)) = placeholder(&phrase) else {
                    self.pattern(&phrase, term);
                    continue;
                };
                let set = self.set(name)?;
                todo.extend(set.iter().map(|phrase| format!("{before}{phrase}{after}")));
            }
        }
        Ok(term)
    }

    fn set(&self, name: &str) -> Result<&'a [String], String> {
        self.sets
            .get(name)
            .copied()
            .ok_or_else(|| format!("no set is called `{name}`"))
    }

    /// Adds whole words and plain sets with space between them without writing out every combination; false if the phrase is
    /// anything else.
    fn put_together(&mut self, phrase: &str, term: Term, expanded: &mut usize) -> Result<bool, String> {
        if phrase.starts_with('~') || phrase.ends_with('*') || !phrase.contains('{') {
            return Ok(false);
        }
        let mut parts = Vec::new();
        let mut combinations = 1_usize;
        let mut rest = phrase;
        while let Some((before, name, after)) = placeholder(rest) {
            let apart =
                |side: &str, touching: Option<char>| side.is_empty() || touching.is_some_and(char::is_whitespace);
            if !apart(before, before.chars().next_back()) || !apart(after, after.chars().next()) {
                return Ok(false);
            }
            let Some((name, set)) = self.sets.get_key_value(name).map(|(name, set)| (*name, *set)) else {
                return Err(format!("no set is called `{name}`"));
            };
            if !self.is_plain(name, set) {
                return Ok(false);
            }
            combinations = combinations.saturating_mul(set.len());
            parts.push(Part::Words(self.words(before)));
            parts.push(Part::Set(name));
            rest = after;
        }
        parts.push(Part::Words(self.words(rest)));
        count(expanded, combinations, phrase)?;
        grow(&mut self.tree, &self.plain_sets, 0, &parts, term);
        Ok(true)
    }

    fn is_plain(&mut self, name: &'a str, set: &[String]) -> bool {
        if !self.plain_sets.contains_key(name) {
            let plain = |phrase: &String| !phrase.contains(['~', '*', '{']);
            let words = set
                .iter()
                .all(plain)
                .then(|| set.iter().map(|phrase| self.words(phrase)).collect());
            self.plain_sets.insert(name, words);
        }
        self.plain_sets.get(name).is_some_and(Option::is_some)
    }

    fn words(&mut self, phrase: &str) -> Vec<u32> {
        let words = phrase_words(phrase);
        words
            .split_ascii_whitespace()
            .map(|word| self.tree.word(word))
            .collect()
    }

    fn pattern(&mut self, phrase: &str, term: Term) {
        let text = match (phrase.strip_prefix('~'), phrase.strip_suffix('*')) {
            (Some(raw), _) => raw.to_lowercase(),
            (None, Some(stem)) => phrase_words(stem).trim_end().to_owned(),
            (None, None) => {
                let words = self.words(phrase);
                return grow(&mut self.tree, &self.plain_sets, 0, &[Part::Words(words)], term);
            }
        };
        let index = *self.known.entry(text).or_insert_with_key(|text| {
            self.patterns.push(text.clone());
            self.owners.push(Vec::new());
            self.patterns.len() - 1
        });
        if let Some(terms) = self.owners.get_mut(index)
            && !terms.contains(&term)
        {
            terms.push(term);
        }
    }

    /// All phrases, ready to be looked for.
    pub(super) fn build(self) -> Result<Phrases, String> {
        let parts = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&self.patterns)
            .map_err(|error| error.to_string())?;
        Ok(Phrases {
            tree: self.tree,
            parts,
            owners: self.owners,
            terms: self.count as usize,
        })
    }
}

/// Adds every combination of `parts` below `node`.
fn grow(tree: &mut Tree, sets: &HashMap<&str, Option<Vec<Vec<u32>>>>, node: u32, parts: &[Part<'_>], term: Term) {
    let Some((part, rest)) = parts.split_first() else {
        return tree.end(node, term);
    };
    let mut along = |words: &[u32]| {
        let end = words.iter().fold(node, |node, word| tree.step(node, *word));
        grow(tree, sets, end, rest, term);
    };
    match part {
        Part::Words(words) => along(words),
        Part::Set(name) => sets
            .get(name)
            .into_iter()
            .flatten()
            .flatten()
            .for_each(|words| along(words)),
    }
}

fn count(expanded: &mut usize, more: usize, phrase: &str) -> Result<(), String> {
    *expanded = expanded.saturating_add(more);
    if *expanded > MAX_EXPANSION {
        return Err(format!("`{phrase}` expands to more than {MAX_EXPANSION} phrases"));
    }
    Ok(())
}

/// `a {b} c` to `("a ", "b", " c")`.
fn placeholder(phrase: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = phrase.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

/// A term in a text: from the space before its first word to the space behind its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Occurrence {
    pub(super) term: Term,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// All phrases, ready to be looked for.
#[derive(Debug)]
pub(super) struct Phrases {
    tree: Tree,
    parts: AhoCorasick,
    /// For each pattern of `parts`: its terms.
    owners: Vec<Vec<Term>>,
    terms: usize,
}

impl Phrases {
    /// How many terms there are; they are numbered from 0.
    pub(super) fn terms(&self) -> usize {
        self.terms
    }

    /// Every occurrence of every term in `text`, words with one space before and after each, in no order. `tokens` is room to
    /// work in.
    pub(super) fn find(&self, text: &str, tokens: &mut Vec<(usize, u32)>, mut found: impl FnMut(Occurrence)) {
        tokens.clear();
        let mut start = 1;
        for end in memchr::memchr_iter(b' ', text.as_bytes()).skip(1) {
            let word = text.get(start..end).unwrap_or_default();
            tokens.push((start, self.tree.words.get(word).copied().unwrap_or(NONE)));
            start = end + 1;
        }
        let mut rest = &**tokens;
        while let [(first, _), others @ ..] = rest {
            let mut node = 0;
            let starts = others.iter().map(|(start, _)| *start).chain([text.len()]);
            for ((_, word), next) in rest.iter().zip(starts) {
                let Some(below) = self.tree.next.get(&(node, *word)) else {
                    break;
                };
                node = *below;
                for term in self.tree.terms(node) {
                    found(Occurrence {
                        term,
                        start: first - 1,
                        end: next - 1,
                    });
                }
            }
            rest = others;
        }
        for part in self.parts.find_overlapping_iter(text) {
            for term in self.owners.get(part.pattern().as_usize()).into_iter().flatten() {
                found(Occurrence {
                    term: *term,
                    start: part.start(),
                    end: part.end(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    /// What stands where, by plain search for every phrase written out.
    fn by_search(text: &str, terms: &[Vec<String>]) -> Vec<(u32, usize, usize)> {
        let mut found = Vec::new();
        for (term, phrases) in (0..).zip(terms) {
            for phrase in phrases {
                let (pattern, spaced) = match (phrase.strip_prefix('~'), phrase.strip_suffix('*')) {
                    (Some(raw), _) => (raw.to_owned(), 0),
                    (None, Some(stem)) => (format!(" {stem}"), 0),
                    (None, None) => (format!(" {phrase} "), 1),
                };
                let starts =
                    (0..text.len()).filter(|at| text.get(*at..).is_some_and(|rest| rest.starts_with(&pattern)));
                found.extend(starts.map(|at| (term, at, at + pattern.len() - spaced)));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    #[test]
    fn the_tree_finds_what_a_search_for_every_phrase_finds() {
        let (who, what) = (strings(&["user", "mail box"]), strings(&["is not", "not", "box not"]));
        let sets = BTreeMap::from([("who", who.as_slice()), ("what", what.as_slice())]);
        let mut builder = Builder::new(&sets);
        let rules = [
            (
                vec!["{who} {what} known"],
                vec![
                    "user is not known",
                    "user not known",
                    "user box not known",
                    "mail box is not known",
                    "mail box not known",
                    "mail box box not known",
                ],
            ),
            (vec!["no {who}", "not"], vec!["no user", "no mail box", "not"]),
            (vec!["~ox n", "us*"], vec!["~ox n", "us*"]),
            (vec!["non{who}s"], vec!["nonusers", "nonmail boxs"]),
            (vec!["{what}"], vec!["is not", "not", "box not"]),
        ];
        let mut written_out = Vec::new();
        for (number, (phrases, expanded)) in (0..).zip(rules) {
            assert_eq!(builder.term(&strings(&phrases)), Ok(number));
            written_out.push(strings(&expanded));
        }
        let phrases = builder.build().unwrap();
        assert_eq!(phrases.terms(), 5);
        for text in [
            " ",
            " user ",
            " no user no mail box not ",
            " the mail box box not known user is not known is not ",
            " mail box not known to nonusers  not usable nonmail boxs no no user ",
        ] {
            let mut found = Vec::new();
            phrases.find(text, &mut Vec::new(), |one| found.push((one.term, one.start, one.end)));
            found.sort_unstable();
            assert_eq!(found, by_search(text, &written_out), "{text:?}");
        }
    }

    #[test]
    fn what_expands_too_far_or_names_no_set_is_refused() {
        let many: Vec<String> = (0..80).map(|number| format!("word{number}")).collect();
        let sets = BTreeMap::from([("many", many.as_slice())]);
        let mut builder = Builder::new(&sets);
        for phrase in ["{many} {many}", "x{many} {many}", "{many} {many}*"] {
            let error = builder.term(&strings(&[phrase])).unwrap_err();
            assert!(error.contains("expands to more than 5000 phrases"), "{error}");
        }
        for phrase in ["{none}", "x{none}"] {
            let error = builder.term(&strings(&[phrase])).unwrap_err();
            assert_eq!(error, "no set is called `none`");
        }
    }
}
