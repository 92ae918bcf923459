//! The rule file: its form, and every complaint about it with file and line. Does not match anything itself.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::Path,
};

use serde::Deserialize;
use toml::Spanned;

use super::{About, Class, Confidence, Existence, Persistence};
use crate::smtp::{Reply, Stage};

/// A set of reply rules, read but not compiled.
#[derive(Debug, Clone)]
pub struct Rules {
    pub(super) file: Box<str>,
    pub(super) sets: BTreeMap<String, Vec<String>>,
    pub(super) blocklists: Vec<Blocklist>,
    pub(super) list: Vec<Rule>,
}

/// A complaint about a list: where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: Box<str>,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and how to mend it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// A rule file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The file could not be read.
    #[error("cannot read {file}: {source}")]
    Read {
        /// The file.
        file: Box<str>,
        /// Why.
        source: std::io::Error,
    },
    /// The file was read and is wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Problem>),
}

/// Rules of the user are small; anything larger is a mistake.
const MAX_FILE: u64 = 4 << 20;

impl Rules {
    /// Reads the user's rules from `path`.
    ///
    /// # Errors
    /// [`RulesError::Read`] when the file cannot be read, [`RulesError::Invalid`] with a line for each fault otherwise.
    pub fn load(path: &Path) -> Result<Self, RulesError> {
        let file: Box<str> = path.display().to_string().into();
        let failed = |source| RulesError::Read {
            file: file.clone(),
            source,
        };
        if std::fs::metadata(path).map_err(failed)?.len() > MAX_FILE {
            return Err(failed(std::io::Error::other("larger than 4 MiB")));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Self::parse(&text, &file)
    }

    /// Reads rules from `text`; `file` names it in complaints.
    ///
    /// # Errors
    /// [`RulesError::Invalid`] with a line for each fault.
    pub fn parse(text: &str, file: &str) -> Result<Self, RulesError> {
        let lines = Lines::new(text, file);
        let raw: RawFile = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            RulesError::Invalid(vec![lines.problem(at, error.message().to_owned())])
        })?;
        let mut problems = Vec::new();
        let mut rules: Vec<Rule> = Vec::with_capacity(raw.rule.len());
        let mut ids = HashMap::new();
        for raw in raw.rule {
            let at = raw.span().start;
            match raw.into_inner().check(lines.line(at)) {
                Ok(rule) => {
                    // Ids are looked up: compared with each other, those of a file of 4 MiB would take minutes.
                    if let Some(other) = ids.get(&rule.id).and_then(|index: &usize| rules.get(*index)) {
                        let message = format!("the id `{}` is taken by the rule at line {}", rule.id, other.line);
                        problems.push(lines.problem(at, message));
                    }
                    ids.entry(rule.id.clone()).or_insert(rules.len());
                    rules.push(rule);
                }
                Err(message) => problems.push(lines.problem(at, message)),
            }
        }
        for phrase in raw.sets.values().flatten() {
            problems.extend(complain(phrase).map(|message| lines.problem(0, message)));
        }
        if problems.is_empty() {
            Ok(Self {
                file: file.into(),
                sets: raw.sets,
                blocklists: raw.blocklist,
                list: rules,
            })
        } else {
            Err(RulesError::Invalid(problems))
        }
    }
}

/// Byte offsets to line numbers.
struct Lines<'a> {
    /// Where each line ends.
    ends: Vec<usize>,
    file: &'a str,
}

impl<'a> Lines<'a> {
    fn new(text: &str, file: &'a str) -> Self {
        let ends = memchr::memchr_iter(b'\n', text.as_bytes()).collect();
        Self { ends, file }
    }

    fn line(&self, at: usize) -> usize {
        1 + self.ends.partition_point(|end| *end < at)
    }

    fn problem(&self, at: usize, message: String) -> Problem {
        Problem {
            file: self.file.into(),
            line: self.line(at),
            message,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    sets: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    blocklist: Vec<Blocklist>,
    #[serde(default)]
    rule: Vec<Spanned<RawRule>>,
}

/// A blocklist and the words that name it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Blocklist {
    pub(super) name: String,
    pub(super) any: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: String,
    layer: Layer,
    class: Class,
    #[serde(default)]
    stage: Vec<Stage>,
    #[serde(default)]
    code: Vec<String>,
    #[serde(default)]
    enhanced: Vec<String>,
    #[serde(default)]
    provider: Vec<String>,
    #[serde(default)]
    all: Vec<String>,
    #[serde(default)]
    any: Vec<String>,
    #[serde(default)]
    not: Vec<String>,
    #[serde(default)]
    seq: Vec<String>,
    about: Option<About>,
    existence: Option<Existence>,
    persistence: Option<Persistence>,
    confidence: Option<Confidence>,
    #[serde(default)]
    overrules_veto: bool,
    #[serde(default)]
    example: Vec<String>,
    source: String,
}

/// The order in which rules are tried (REPLIES.md 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Layer {
    /// Texts that only one house writes; with `provider`, only where it is known to answer.
    Provider,
    /// Words about the sender or the server.
    Veto,
    /// Words that prove the mailbox.
    Exists,
    /// "Try again": what follows is not to be read as final.
    Temporary,
    /// Words for an unknown mailbox.
    Unknown,
    /// The enhanced code alone.
    Enhanced,
    /// The basic code alone.
    Bare,
}

/// One rule, checked.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) line: usize,
    pub(super) layer: Layer,
    pub(super) class: Class,
    pub(super) stages: Vec<Stage>,
    pub(super) codes: Vec<(u16, u16)>,
    pub(super) enhanced: Vec<EnhancedPattern>,
    pub(super) provider: Vec<String>,
    pub(super) all: Vec<String>,
    pub(super) any: Vec<String>,
    pub(super) not: Vec<String>,
    pub(super) seq: Vec<String>,
    pub(super) about: About,
    pub(super) existence: Existence,
    pub(super) persistence: Option<Persistence>,
    pub(super) confidence: Confidence,
    pub(super) overrules_veto: bool,
    pub(super) examples: Vec<Reply>,
}

/// `5.1.1`, `x.7.*`, `x.7.500-699`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EnhancedPattern {
    pub(super) class: Option<u8>,
    pub(super) subject: u16,
    pub(super) detail: (u16, u16),
}

impl RawRule {
    fn check(self, line: usize) -> Result<Rule, String> {
        let about = self.about.unwrap_or_else(|| self.class.about());
        let existence = self.existence.unwrap_or_else(|| self.class.existence());
        if matches!(existence, Existence::DoesNotExist | Existence::Undeliverable) && about != About::Recipient {
            return Err("only a rule about the recipient can prove that a mailbox is dead".to_owned());
        }
        if let Some(message) = self.phrases().find_map(|phrase| complain(phrase)) {
            return Err(message);
        }
        let wordless = self.all.is_empty() && self.any.is_empty() && self.seq.is_empty();
        if wordless && self.code.is_empty() && self.enhanced.is_empty() {
            return Err("the rule matches every reply: give `all`, `any`, `seq`, `code` or `enhanced`".to_owned());
        }
        if !self.seq.is_empty() && self.seq.len() != 2 {
            return Err("`seq` holds two phrases, the first before the second".to_owned());
        }
        if self.example.is_empty() {
            return Err("give at least one `example`: a whole reply that the rule decides".to_owned());
        }
        if self.source.trim().is_empty() {
            return Err("`source` is empty: say where the reply was seen or documented".to_owned());
        }
        let examples = self
            .example
            .iter()
            .map(|text| {
                Reply::parse(text).ok_or_else(|| format!("the example `{text}` does not begin with a reply code"))
            })
            .collect::<Result<_, _>>()?;
        Ok(Rule {
            codes: self
                .code
                .iter()
                .map(|code| parse_code(code))
                .collect::<Result<_, _>>()?,
            enhanced: self
                .enhanced
                .iter()
                .map(|e| parse_enhanced(e))
                .collect::<Result<_, _>>()?,
            stages: self.stage,
            id: self.id,
            line,
            layer: self.layer,
            class: self.class,
            provider: self.provider,
            all: self.all,
            any: self.any,
            not: self.not,
            seq: self.seq,
            about,
            existence,
            persistence: self.persistence,
            confidence: self.confidence.unwrap_or(match self.layer {
                Layer::Provider => Confidence::High,
                Layer::Bare | Layer::Enhanced => Confidence::Low,
                Layer::Veto | Layer::Exists | Layer::Temporary | Layer::Unknown => Confidence::Medium,
            }),
            overrules_veto: self.overrules_veto,
            examples,
        })
    }

    fn phrases(&self) -> impl Iterator<Item = &String> {
        [&self.all, &self.any, &self.not, &self.seq].into_iter().flatten()
    }
}

/// What is wrong with a phrase, if anything.
fn complain(phrase: &str) -> Option<String> {
    let body = phrase.strip_prefix('~').unwrap_or(phrase);
    let body = body.strip_suffix('*').unwrap_or(body);
    if body.chars().filter(|c| c.is_alphanumeric()).count() < 2 {
        Some(format!(
            "the phrase `{phrase}` would match almost anything: give at least two letters"
        ))
    } else if body.contains(['*', '+', '\\', '^', '$', '|', '[', ']', '(', ')']) {
        Some(format!(
            "the phrase `{phrase}` looks like a regular expression: phrases are words, with `{{set}}`, a final `*` or a leading `~`"
        ))
    } else {
        None
    }
}

/// `550`, `5xx`, `45x`, `500-504`.
fn parse_code(text: &str) -> Result<(u16, u16), String> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|n| (200..=599).contains(n));
    let range = if let Some(prefix) = text.strip_suffix("xx").and_then(|p| p.parse::<u16>().ok()) {
        Some((prefix * 100, prefix * 100 + 99)).filter(|_| (2..=5).contains(&prefix))
    } else if let Some(prefix) = text.strip_suffix('x') {
        number(&format!("{prefix}0")).map(|low| (low, low + 9))
    } else if let Some((low, high)) = text.split_once('-') {
        number(low).zip(number(high))
    } else {
        number(text).map(|n| (n, n))
    };
    range.ok_or_else(|| format!("`{text}` is no reply code: write `550`, `55x`, `5xx` or `500-504`"))
}

fn parse_enhanced(text: &str) -> Result<EnhancedPattern, String> {
    let parse = || {
        let mut parts = text.split('.');
        let class = match parts.next()? {
            "x" => None,
            "4" => Some(4),
            "5" => Some(5),
            _ => return None,
        };
        let subject = parts.next()?.parse().ok()?;
        let detail = match parts.next()? {
            "*" => (0, 999),
            detail => match detail.split_once('-') {
                Some((low, high)) => (low.parse().ok()?, high.parse().ok()?),
                None => detail.parse().ok().map(|n| (n, n))?,
            },
        };
        parts
            .next()
            .is_none()
            .then_some(EnhancedPattern { class, subject, detail })
    };
    parse().ok_or_else(|| format!("`{text}` is no enhanced code: write `5.1.1`, `x.7.*` or `x.7.500-699`"))
}
