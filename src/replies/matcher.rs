//! Compiles rules and finds the first rule that a reply satisfies, in linear time.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    Class, Confidence, Existence, Persistence,
    phrases::{Builder, Phrases, Term},
    rules::{EnhancedPattern, Layer, Problem, Rule, Rules},
    text::Text,
};
use crate::{
    replies::About,
    smtp::{EnhancedStatusCode, Reply, Stage},
};

/// One rule ready to be tried.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) id: Arc<str>,
    pub(super) layer: Layer,
    pub(super) class: Class,
    pub(super) about: About,
    pub(super) existence: Existence,
    pub(super) persistence: Option<Persistence>,
    pub(super) confidence: Confidence,
    pub(super) overrules_veto: bool,
    stages: u16,
    codes: Vec<(u16, u16)>,
    enhanced: Vec<EnhancedPattern>,
    providers: Vec<u16>,
    all: Vec<Term>,
    not: Option<Term>,
    seq: Option<(Term, Term)>,
}

/// What the words of a reply are matched against.
#[derive(Debug)]
pub(super) struct Matcher {
    /// Tells it from others of the process.
    number: u64,
    rules: Vec<Compiled>,
    phrases: Phrases,
    /// For each term: the rules it makes worth trying, as a bit set over `rules`.
    wakes: Vec<Vec<u64>>,
    /// The rules that need no words.
    always: Vec<u64>,
    blocklists: Vec<(Term, Arc<str>)>,
    retry: Term,
    providers: HashMap<Box<str>, u16>,
}

/// What was found in one text; kept between replies.
#[derive(Debug, Default)]
struct Scratch {
    text: Text,
    generation: u32,
    /// For each term.
    seen: Vec<Seen>,
    tokens: Vec<(usize, u32)>,
    candidates: Vec<u64>,
    /// What was found last, and whose turn it is to be forgotten.
    known: Vec<Known>,
    oldest: usize,
}

/// Matchers that were made.
static MATCHERS: AtomicU64 = AtomicU64::new(0);

/// Texts of which is remembered what was found: a host says the same of many recipients, and their addresses are no part of the
/// text.
const KNOWN: usize = 8;
/// Bytes of a text that is remembered.
const SHORT: usize = 512;

/// What was found in a text.
#[derive(Debug)]
struct Known {
    matcher: u64,
    query: Query,
    words: Box<str>,
    /// By their places in the matcher.
    rule: Option<usize>,
    blocklist: Option<usize>,
    vetoed: bool,
    asks_to_wait: bool,
}

/// Where a term stands in the text of a generation.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    generation: u32,
    /// The end of the occurrence that ends first.
    first_end: usize,
    /// The end and the start of the occurrence that ends last.
    last: (usize, usize),
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The first rule that a reply satisfies, and what else its text says.
pub(super) struct Found<'a> {
    pub(super) rule: Option<&'a Compiled>,
    /// A veto word stands in the text, whatever rule decided.
    pub(super) vetoed: bool,
    pub(super) blocklist: Option<&'a Arc<str>>,
    /// The text asks to come back, so that a time in it is worth reading.
    pub(super) asks_to_wait: bool,
    pub(super) enhanced: Option<EnhancedStatusCode>,
}

/// Words beside which a span of time is a request to wait.
const RETRY_WORDS: &[&str] = &[
    "try",
    "retry",
    "retried",
    "retrying",
    "again",
    "wait",
    "later",
    "greylist*",
    "graylist*",
    "grey listed",
    "deferred",
    "defer",
    "come back",
    "resend",
    "temporarily",
    "persist",
    "reconnect",
    "postponed",
    "throttled",
];

impl Matcher {
    /// Compiles rule sets; earlier sets come first.
    pub(super) fn new(sets: &[&Rules]) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let named = name_sets(sets, &mut problems);
        let mut phrases = Builder::new(&named);
        let mut providers = super::providers::interned();
        let mut compiled = Vec::new();
        let mut blocklists = Vec::new();
        for rules in sets {
            let mut ordered: Vec<&Rule> = rules.list.iter().collect();
            ordered.sort_by_key(|rule| rule.layer);
            for rule in ordered {
                match compile(rule, &mut phrases, &mut providers) {
                    Ok(rule) => compiled.push(rule),
                    Err(message) => problems.push(Problem {
                        file: rules.file.clone(),
                        line: rule.line,
                        message,
                    }),
                }
            }
            for list in &rules.blocklists {
                match phrases.term(&list.any) {
                    Ok(term) => blocklists.push((term, Arc::from(list.name.as_str()))),
                    Err(message) => problems.push(Problem {
                        file: rules.file.clone(),
                        line: 1,
                        message: format!("blocklist {}: {message}", list.name),
                    }),
                }
            }
        }
        let retry_words: Vec<String> = RETRY_WORDS.iter().map(ToString::to_string).collect();
        let retry = phrases.term(&retry_words).unwrap_or_default();
        let problem = |message: String| Problem {
            file: sets.first().map_or_else(|| "rules".into(), |rules| rules.file.clone()),
            line: 1,
            message,
        };
        let phrases = phrases.build().map_err(|message| vec![problem(message)])?;
        if !problems.is_empty() {
            return Err(problems);
        }
        let (wakes, always) = index(&compiled, phrases.terms());
        Ok(Self {
            number: MATCHERS.fetch_add(1, Ordering::Relaxed),
            rules: compiled,
            phrases,
            wakes,
            always,
            blocklists,
            retry,
            providers,
        })
    }

    /// The first rule that `reply` satisfies at `stage`.
    pub(super) fn find(&self, stage: Stage, reply: &Reply, provider: Option<&str>) -> Found<'_> {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.text.read(reply);
            let query = Query {
                stage,
                code: reply.code().number(),
                enhanced: scratch.text.enhanced(),
                provider: provider.and_then(|name| self.providers.get(name).copied()),
            };
            let same = |known: &&Known| {
                (known.matcher, known.query) == (self.number, query) && *known.words == *scratch.text.words()
            };
            if let Some(known) = scratch.known.iter().find(same) {
                return self.found(known);
            }
            self.scan(scratch);
            let known = self.decide(query, scratch);
            let found = self.found(&known);
            if known.words.len() <= SHORT {
                scratch.oldest = (scratch.oldest + 1) % KNOWN;
                match scratch.known.get_mut(scratch.oldest) {
                    Some(place) => *place = known,
                    None => scratch.known.push(known),
                }
            }
            found
        })
    }

    fn found(&self, known: &Known) -> Found<'_> {
        let blocklist = known.blocklist.and_then(|place| self.blocklists.get(place));
        Found {
            rule: known.rule.and_then(|place| self.rules.get(place)),
            vetoed: known.vetoed,
            blocklist: blocklist.map(|(_, name)| name),
            asks_to_wait: known.asks_to_wait,
            enhanced: known.query.enhanced,
        }
    }

    /// What the terms of a text come to.
    fn decide(&self, query: Query, scratch: &Scratch) -> Known {
        let mut rule = None;
        let mut vetoed = false;
        let candidates = bits(&scratch.candidates).filter_map(|place| Some((place, self.rules.get(place)?)));
        for (place, candidate) in candidates {
            // "Try again later" unsays "disabled" and "moved" as surely as a word about us does.
            let veto = candidate.layer == Layer::Temporary
                || candidate.layer == Layer::Veto && candidate.about != About::Recipient;
            if rule.is_some() && !veto || !candidate.satisfied(&query, scratch) {
                continue;
            }
            vetoed |= veto;
            let (_, decided) = *rule.get_or_insert((place, candidate));
            // Only a rule that would declare a mailbox dead needs the vetoes behind it looked at.
            if vetoed || decided.overrules_veto || !decided.is_deadly() {
                break;
            }
        }
        Known {
            matcher: self.number,
            query,
            words: scratch.text.words().into(),
            rule: rule.map(|(place, _)| place),
            blocklist: self.blocklists.iter().position(|(term, _)| scratch.has(*term)),
            vetoed,
            asks_to_wait: scratch.has(self.retry),
        }
    }

    /// Marks every term that occurs in the text.
    fn scan(&self, scratch: &mut Scratch) {
        scratch.generation = scratch.generation.wrapping_add(1);
        if scratch.generation == 0 {
            scratch.seen.clear();
            scratch.generation = 1;
        }
        if scratch.seen.len() < self.wakes.len() {
            scratch.seen.resize(self.wakes.len(), Seen::default());
        }
        scratch.candidates.clear();
        scratch.candidates.extend_from_slice(&self.always);
        let Scratch {
            text,
            generation,
            seen,
            tokens,
            candidates,
            ..
        } = scratch;
        self.phrases.find(text.words(), tokens, |found| {
            let Some(seen) = seen.get_mut(found.term as usize) else {
                return;
            };
            if seen.generation == *generation {
                seen.first_end = seen.first_end.min(found.end);
                seen.last = seen.last.max((found.end, found.start));
                return;
            }
            *seen = Seen {
                generation: *generation,
                first_end: found.end,
                last: (found.end, found.start),
            };
            if let Some(wakes) = self.wakes.get(found.term as usize) {
                candidates.iter_mut().zip(wakes).for_each(|(all, new)| *all |= new);
            }
        });
    }
}

impl Scratch {
    fn has(&self, term: Term) -> bool {
        self.seen
            .get(term as usize)
            .is_some_and(|seen| seen.generation == self.generation)
    }

    fn in_order(&self, first: Term, second: Term) -> bool {
        let seen = |term: Term| {
            let seen = self.seen.get(term as usize);
            seen.filter(|seen| seen.generation == self.generation)
        };
        seen(first)
            .zip(seen(second))
            .is_some_and(|(first, second)| first.first_end <= second.last.1)
    }
}

/// Everything about a reply but its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Query {
    stage: Stage,
    code: u16,
    enhanced: Option<EnhancedStatusCode>,
    provider: Option<u16>,
}

impl Compiled {
    pub(super) fn is_deadly(&self) -> bool {
        matches!(self.existence, Existence::DoesNotExist | Existence::Undeliverable)
    }

    fn satisfied(&self, query: &Query, scratch: &Scratch) -> bool {
        self.stages & stage_bit(query.stage) != 0
            && (self.codes.is_empty() || self.codes.iter().any(|(low, high)| (low..=high).contains(&&query.code)))
            && (self.enhanced.is_empty()
                || query
                    .enhanced
                    .is_some_and(|code| self.enhanced.iter().any(|p| p.matches(code))))
            && (self.providers.is_empty()
                || query
                    .provider
                    .is_some_and(|provider| self.providers.contains(&provider)))
            && self.all.iter().all(|term| scratch.has(*term))
            && self.seq.is_none_or(|(first, second)| scratch.in_order(first, second))
            && self.not.is_none_or(|term| !scratch.has(term))
    }
}

impl EnhancedPattern {
    fn matches(self, code: EnhancedStatusCode) -> bool {
        self.class.is_none_or(|class| class == code.class)
            && self.subject == code.subject
            && (self.detail.0..=self.detail.1).contains(&code.detail)
    }
}

fn stage_bit(stage: Stage) -> u16 {
    match stage {
        Stage::Connect => 1,
        Stage::Greeting => 2,
        Stage::Ehlo => 4,
        Stage::StartTls => 8,
        Stage::Mail => 16,
        Stage::Rcpt => 32,
        Stage::Rset => 64,
        Stage::Quit => 128,
        Stage::Data => 256,
    }
}

/// The stage gate: only RCPT and DATA can say anything about a recipient, or leave open whom they mean.
fn stage_mask(rule: &Rule) -> u16 {
    let wanted = rule.stages.iter().fold(0, |mask, stage| mask | stage_bit(*stage));
    let wanted = if wanted == 0 { u16::MAX } else { wanted };
    match rule.about {
        About::Recipient | About::Unclear => wanted & (stage_bit(Stage::Rcpt) | stage_bit(Stage::Data)),
        About::Sender | About::Server => wanted,
    }
}

/// Every phrase set by name. The user's sets add to ours and cannot replace them: ours guard the vetoes.
fn name_sets<'a>(sets: &[&'a Rules], problems: &mut Vec<Problem>) -> BTreeMap<&'a str, &'a [String]> {
    let mut named = BTreeMap::new();
    for rules in sets.iter().rev() {
        for (name, phrases) in &rules.sets {
            if named.insert(name.as_str(), phrases.as_slice()).is_some() {
                problems.push(Problem {
                    file: rules.file.clone(),
                    line: 1,
                    message: format!("a bundled set is called `{name}` already: choose another name"),
                });
            }
        }
    }
    named
}

fn compile(rule: &Rule, phrases: &mut Builder<'_>, providers: &mut HashMap<Box<str>, u16>) -> Result<Compiled, String> {
    let mut all = rule
        .all
        .iter()
        .map(|phrase| phrases.term(std::slice::from_ref(phrase)))
        .collect::<Result<Vec<_>, _>>()?;
    if !rule.any.is_empty() {
        all.push(phrases.term(&rule.any)?);
    }
    let seq = match rule.seq.as_slice() {
        [first, second] => Some((
            phrases.term(std::slice::from_ref(first))?,
            phrases.term(std::slice::from_ref(second))?,
        )),
        _ => None,
    };
    let not = if rule.not.is_empty() {
        None
    } else {
        Some(phrases.term(&rule.not)?)
    };
    let providers = rule
        .provider
        .iter()
        .map(|name| {
            providers
                .get(name.as_str())
                .copied()
                .ok_or_else(|| format!("no provider is called `{name}`; `lists/providers.toml` has the names"))
        })
        .collect::<Result<_, _>>()?;
    let stages = stage_mask(rule);
    if stages == 0 {
        return Err("only RCPT and DATA can speak of a recipient".to_owned());
    }
    Ok(Compiled {
        id: Arc::from(rule.id.as_str()),
        layer: rule.layer,
        class: rule.class,
        about: rule.about,
        existence: rule.existence,
        persistence: rule.persistence,
        confidence: rule.confidence,
        overrules_veto: rule.overrules_veto,
        stages,
        codes: rule.codes.clone(),
        enhanced: rule.enhanced.clone(),
        providers,
        all,
        not,
        seq,
    })
}

/// The bit sets: which term makes which rule worth trying.
fn index(rules: &[Compiled], terms: usize) -> (Vec<Vec<u64>>, Vec<u64>) {
    let width = rules.len().div_ceil(64);
    let mut wakes = vec![Vec::new(); terms];
    let mut always = vec![0; width];
    for (number, rule) in rules.iter().enumerate() {
        // The last of `all` is `any`, the widest; waking on the first keeps candidates few.
        let key = rule.all.first().copied().or(rule.seq.map(|(_, second)| second));
        let bits = match key.and_then(|term| wakes.get_mut(term as usize)) {
            Some(bits) => bits,
            None => &mut always,
        };
        if bits.is_empty() {
            bits.resize(width, 0);
        }
        if let Some(word) = bits.get_mut(number / 64) {
            *word |= 1 << (number % 64);
        }
    }
    (wakes, always)
}

fn bits(words: &[u64]) -> impl Iterator<Item = usize> {
    words.iter().enumerate().flat_map(|(index, word)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            (rest != 0).then(|| {
                let bit = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                index * 64 + bit
            })
        })
    })
}
