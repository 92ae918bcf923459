//! Which rules are looked at in a file and how much their findings weigh: selections, severities, overrides for files, and what a
//! list says beside its rows.

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

use super::{Rule, RuleSet, Severity};
use crate::verdict::Reason;

/// What rules are chosen by one layer of settings: names, codes, groups, `all`, and `unknown/REASON` to ignore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Only these; `None` takes those that are on by default.
    pub select: Option<Vec<String>>,
    /// Not these.
    pub ignore: Vec<String>,
    /// Other severities; a rule that has one is looked at.
    pub severity: Vec<(String, Weight)>,
}

/// A severity, or none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Mail would bounce, or the row is no row.
    Error,
    /// Worth a look before a mailing.
    Warning,
    /// Good to know.
    Note,
    /// Not looked at.
    Off,
}

impl Weight {
    fn severity(self) -> Option<Severity> {
        match self {
            Self::Error => Some(Severity::Error),
            Self::Warning => Some(Severity::Warning),
            Self::Note => Some(Severity::Note),
            Self::Off => None,
        }
    }
}

/// Settings of some files.
#[derive(Debug, Clone)]
pub struct Override {
    files: Vec<GlobMatcher>,
    choice: Choice,
}

/// A word that names no rule, or a pattern that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No rule, group or reason is called so.
    #[error("no rule is called `{0}`; `presend lint --rules` lists them")]
    UnknownRule(String),
    /// A pattern for files cannot be read.
    #[error("`{pattern}` is no pattern for files: {reason}")]
    Pattern {
        /// As given.
        pattern: String,
        /// Why.
        reason: String,
    },
}

impl Override {
    /// Settings of the files that one of the patterns matches: `seeds/**/*.csv`, relative to the configuration file.
    ///
    /// # Errors
    /// A pattern is none.
    pub fn new(patterns: &[String], choice: Choice) -> Result<Self, PolicyError> {
        let files = patterns.iter().map(|pattern| glob(pattern)).collect::<Result<_, _>>()?;
        Ok(Self { files, choice })
    }
}

/// A pattern in which `*` stays inside a folder and `**` does not.
pub(super) fn glob(pattern: &str) -> Result<GlobMatcher, PolicyError> {
    let built = GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .build();
    built
        .map(|glob| glob.compile_matcher())
        .map_err(|error| PolicyError::Pattern {
            pattern: pattern.to_owned(),
            reason: error.kind().to_string(),
        })
}

/// What holds for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    active: RuleSet,
    severities: Vec<Severity>,
    /// Reasons that are no finding.
    reasons: Vec<&'static str>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            active: Rule::ALL.iter().copied().filter(|rule| rule.is_on()).collect(),
            severities: Rule::ALL.iter().map(|rule| rule.severity()).collect(),
            reasons: Vec::new(),
        }
    }
}

impl Policy {
    /// The layers over one another, then the overrides that match `file` in their order.
    ///
    /// # Errors
    /// A word names no rule.
    pub fn new(layers: &[Choice], overrides: &[Override], file: &str) -> Result<Self, PolicyError> {
        let mut policy = Self::default();
        for layer in layers {
            policy.apply(layer)?;
        }
        for one in overrides {
            if one.files.iter().any(|glob| glob.is_match(file)) {
                policy.apply(&one.choice)?;
            }
        }
        Ok(policy)
    }

    fn apply(&mut self, choice: &Choice) -> Result<(), PolicyError> {
        if let Some(select) = &choice.select {
            self.active = RuleSet::default();
            for word in select {
                rules(word)?.into_iter().for_each(|rule| self.active.add(rule));
            }
        }
        for (word, weight) in &choice.severity {
            for rule in rules(word)? {
                match weight.severity() {
                    Some(severity) => {
                        self.active.add(rule);
                        if let Some(slot) = self.severities.get_mut(rule as usize) {
                            *slot = severity;
                        }
                    }
                    None => self.active.remove(rule),
                }
            }
        }
        for word in &choice.ignore {
            match word.strip_prefix("unknown/").or_else(|| word.strip_prefix("PS605/")) {
                Some(reason) => self.reasons.push(reason_named(word, reason)?),
                None => rules(word)?.into_iter().for_each(|rule| self.active.remove(rule)),
            }
        }
        Ok(())
    }

    /// The rules that are looked at.
    #[must_use]
    pub fn active(&self) -> RuleSet {
        self.active
    }

    /// How much a finding weighs.
    #[must_use]
    pub fn severity(&self, rule: Rule) -> Severity {
        self.severities.get(rule as usize).copied().unwrap_or(rule.severity())
    }

    /// Whether an unknown answer for this reason is no finding.
    #[must_use]
    pub fn lets_pass(&self, reason: &str) -> bool {
        self.reasons.contains(&reason)
    }
}

/// The rules that a word names.
pub(super) fn rules(word: &str) -> Result<Vec<Rule>, PolicyError> {
    let found = Rule::matching(word.trim());
    if found.is_empty() {
        return Err(PolicyError::UnknownRule(word.chars().take(60).collect()));
    }
    Ok(found)
}

fn reason_named(word: &str, reason: &str) -> Result<&'static str, PolicyError> {
    let known = Reason::all().map(Reason::name).chain(["api_unreachable"]);
    let unknown = || PolicyError::UnknownRule(word.chars().take(60).collect());
    known.into_iter().find(|name| *name == reason).ok_or_else(unknown)
}

/// What a list says beside a row: `ignore`, or `ignore[role, PS2]`; several one after the other.
pub(super) fn directive(said: &str) -> Result<RuleSet, PolicyError> {
    let mut ignored = RuleSet::default();
    let mut rest = said.trim();
    while !rest.is_empty() {
        let Some(after) = rest.strip_prefix("ignore") else {
            return Err(PolicyError::UnknownRule(rest.chars().take(60).collect()));
        };
        let after = after.trim_start();
        let Some(inside) = after.strip_prefix('[') else {
            ignored = RuleSet::ALL;
            rest = after;
            continue;
        };
        let Some((words, after)) = inside.split_once(']') else {
            return Err(PolicyError::UnknownRule(inside.chars().take(60).collect()));
        };
        for word in words.split(',') {
            rules(word)?.into_iter().for_each(|rule| ignored.add(rule));
        }
        rest = after.trim_start();
    }
    Ok(ignored)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn layers_and_overrides_lie_over_one_another() {
        let base = Choice {
            select: None,
            ignore: words(&["role", "unknown/greylisted"]),
            severity: vec![("free".into(), Weight::Note), ("duplicate".into(), Weight::Error)],
        };
        let seeds = Choice {
            severity: vec![("role".into(), Weight::Error), ("PS2".into(), Weight::Off)],
            ..Choice::default()
        };
        let overrides = [Override::new(&words(&["seeds/**", "*.seed"]), seeds).unwrap()];
        let plain = Policy::new(std::slice::from_ref(&base), &overrides, "lists/a.csv").unwrap();
        assert!(!plain.active().has(Rule::RoleAddress) && plain.active().has(Rule::FreeProvider));
        assert!(plain.active().has(Rule::SyntaxFault));
        assert_eq!(plain.severity(Rule::Duplicate), Severity::Error);
        assert!(plain.lets_pass("greylisted") && !plain.lets_pass("timeout"));
        for file in ["seeds/de/a.csv", "b.seed"] {
            let seed = Policy::new(std::slice::from_ref(&base), &overrides, file).unwrap();
            assert!(seed.active().has(Rule::RoleAddress), "{file}");
            assert!(!seed.active().has(Rule::SyntaxFault), "{file}");
        }
        let only = Choice {
            select: Some(words(&["PS3", "unknown"])),
            ..Choice::default()
        };
        let only = Policy::new(&[base, only], &overrides, "x/b.seed").unwrap();
        assert!(only.active().has(Rule::DuplicateProvider) && !only.active().has(Rule::FreeProvider));
    }

    #[test]
    fn wrong_words_are_named() {
        for ignore in ["roles", "unknown/perhaps", ""] {
            let choice = Choice {
                ignore: words(&[ignore]),
                ..Choice::default()
            };
            let error = Policy::new(&[choice], &[], "a").unwrap_err();
            assert_eq!(error, PolicyError::UnknownRule(ignore.into()));
        }
        assert!(Override::new(&words(&["a[b"]), Choice::default()).is_err());
    }

    #[test]
    fn directives_name_rules() {
        let of = |rules: &[Rule]| Ok(rules.iter().copied().collect::<RuleSet>());
        for (said, ignored) in [
            ("ignore[role]", of(&[Rule::RoleAddress])),
            ("ignore[role, PS402] ignore[free] ", {
                of(&[Rule::RoleAddress, Rule::DisposableDomain, Rule::FreeProvider])
            }),
            ("ignore", Ok(RuleSet::ALL)),
            ("", of(&[])),
        ] {
            assert_eq!(directive(said), ignored, "{said}");
        }
        for wrong in ["ignore[rolle]", "ignore[role", "skip", "ignore[]"] {
            assert!(directive(wrong).is_err(), "{wrong}");
        }
    }
}
