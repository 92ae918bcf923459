//! What a reply says, and about whom. Pure: no clock, no network.
//!
//! All rules are data (`lists/replies.toml`, `lists/providers.toml`). Must not decide labels: that is `verdict`.
//!
//! Only a 5yz at RCPT whose rule speaks of the recipient yields a [`DeadRecipient`], and nothing else can make one:
//!
//! ```compile_fail
//! use presend::replies::{DeadKind, DeadRecipient};
//! let forged = DeadRecipient { kind: DeadKind::Unknown };
//! ```
//!
//! ```
//! use presend::{replies::{classify, DeadKind}, smtp::{Reply, Stage}};
//! let reply = Reply::parse("550 5.1.1 <jane@example.com>: User unknown").unwrap();
//! assert_eq!(classify(Stage::Rcpt, &reply, None).dead_recipient().unwrap().kind(), DeadKind::Unknown);
//! assert!(classify(Stage::Mail, &reply, None).dead_recipient().is_none());
//! ```

mod class;
mod hint;
mod matcher;
mod phrases;
pub mod providers;
mod rules;
mod taxonomy;
mod text;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    sync::{Arc, LazyLock},
};

pub use class::Class;
pub use hint::RetryHint;
pub use rules::{Problem, Rules, RulesError};
pub use taxonomy::{Hardness, ZeroBounce};

use crate::smtp::{Reply, Stage};
use matcher::{Compiled, Found, Matcher};

/// What one reply means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// What it says.
    pub class: Class,
    /// About whom.
    pub about: About,
    /// Whether asking again later can change the answer.
    pub persistence: Persistence,
    /// What it proves about the mailbox.
    pub existence: Existence,
    /// How sure the rule is.
    pub confidence: Confidence,
    /// The rule that decided.
    pub rule: Arc<str>,
    /// How long the reply asks us to wait.
    pub retry_after: Option<RetryHint>,
    /// The blocklist named in the text.
    pub blocklist: Option<Arc<str>>,
    /// Set by the classifier alone.
    dead: Option<DeadRecipient>,
}

impl Meaning {
    /// The proof that the recipient is dead, if the reply gives one.
    #[must_use]
    pub fn dead_recipient(&self) -> Option<DeadRecipient> {
        self.dead
    }

    /// The meaning of something that is no reply at all.
    #[must_use]
    pub fn not_smtp() -> Self {
        Self {
            class: Class::ProtocolError,
            about: About::Server,
            persistence: Persistence::Permanent,
            existence: Existence::None,
            confidence: Confidence::High,
            rule: NOT_SMTP.clone(),
            retry_after: None,
            blocklist: None,
            dead: None,
        }
    }
}

/// Proof, from a 5yz at RCPT, that mail to a recipient cannot arrive. Only the classifier makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeadRecipient {
    kind: DeadKind,
}

impl DeadRecipient {
    /// In which way.
    #[must_use]
    pub fn kind(self) -> DeadKind {
        self.kind
    }

    /// The gate: a 5yz at RCPT, about the recipient, of one of the five classes.
    fn prove(stage: Stage, reply: &Reply, meaning: &Meaning) -> Option<Self> {
        let proven = stage == Stage::Rcpt
            && reply.code().is_permanent()
            && meaning.about == About::Recipient
            && meaning.persistence == Persistence::Permanent
            && matches!(meaning.existence, Existence::DoesNotExist | Existence::Undeliverable);
        let kind = DeadKind::of(meaning.class)?;
        proven.then_some(Self { kind })
    }
}

/// In which way a recipient is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeadKind {
    /// No such mailbox.
    Unknown,
    /// The mailbox existed and cannot receive.
    Disabled,
    /// The mailbox moved.
    Moved,
    /// The server refuses the form of the address.
    BadSyntax,
    /// The domain takes no mail.
    DomainNoMail,
}

impl DeadKind {
    fn of(class: Class) -> Option<Self> {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "a class added later must not kill recipients"
        )]
        match class {
            Class::UserUnknown => Some(Self::Unknown),
            Class::UserDisabled => Some(Self::Disabled),
            Class::UserMoved => Some(Self::Moved),
            Class::BadAddressSyntax => Some(Self::BadSyntax),
            Class::DomainNoMail => Some(Self::DomainNoMail),
            _ => None,
        }
    }
}

/// About whom a reply speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// The recipient address or its domain.
    Recipient,
    /// Us: our IP, HELO, reverse-path, rate.
    Sender,
    /// The server: its load, configuration, protocol.
    Server,
    /// It does not say.
    Unclear,
}

/// Transient or permanent, by the basic code and the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Persistence {
    /// A retry may succeed.
    Transient,
    /// A retry will not.
    Permanent,
}

/// What a reply proves about the mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Existence {
    /// There is no such mailbox.
    DoesNotExist,
    /// It is known and dead: disabled, moved, or the domain takes no mail.
    Undeliverable,
    /// It exists.
    Exists,
    /// Nothing.
    None,
}

/// How sure a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// A bare code.
    Low,
    /// Words alone.
    Medium,
    /// Words and code agree, or a provider's own documented text.
    High,
}

/// The meaning of `reply` given at `stage` by a host of `provider` (an id or alias of `lists/providers.toml`).
///
/// Total and deterministic; linear in the length of the reply.
#[must_use]
pub fn classify(stage: Stage, reply: &Reply, provider: Option<&str>) -> Meaning {
    Classifier::built_in().classify(stage, reply, provider)
}

/// A number that is the same for replies with the same words: addresses, hosts and anything with a digit do not count.
///
/// It shows that every recipient of a session, the control included, got the same text.
#[must_use]
pub fn fingerprint(reply: &Reply) -> u64 {
    let mut text = text::Text::default();
    text.read(reply);
    let mut hasher = DefaultHasher::new();
    reply.code().number().hash(&mut hasher);
    for word in text.words().split_ascii_whitespace() {
        if !word.bytes().any(|b| b.is_ascii_digit() || b == b'.') {
            word.hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// How many rules are bundled.
#[must_use]
pub fn rule_count() -> usize {
    bundled().map_or(0, |rules| rules.list.len())
}

/// Checks the bundled rules: each decides its own examples, and no other rule shadows it.
#[must_use]
pub fn check() -> Vec<Problem> {
    match (BUILT_IN.as_ref(), bundled()) {
        (Ok(classifier), Ok(rules)) => classifier.check(&rules),
        (Err(problems), _) => problems.clone(),
        (_, Err(RulesError::Invalid(problems))) => problems,
        (_, Err(RulesError::Read { file, source })) => vec![Problem {
            file,
            line: 1,
            message: source.to_string(),
        }],
    }
}

static BUILT_IN: LazyLock<Result<Classifier, Vec<Problem>>> = LazyLock::new(|| {
    let rules = bundled().map_err(|error| match error {
        RulesError::Invalid(problems) => problems,
        RulesError::Read { .. } => Vec::new(),
    })?;
    Classifier::new(&[&rules])
});

/// A classifier without rules: everything but 2yz is unknown.
static EMPTY: LazyLock<Classifier> = LazyLock::new(|| Classifier { matcher: None });

fn bundled() -> Result<Rules, RulesError> {
    Rules::parse(include_str!("../../lists/replies.toml"), "lists/replies.toml")
}

/// Compiled rules.
#[derive(Debug)]
pub struct Classifier {
    matcher: Option<Matcher>,
}

impl Classifier {
    /// The bundled rules, compiled on first use.
    #[must_use]
    pub fn built_in() -> &'static Self {
        // A test keeps the bundled rules compiling; without them everything is unknown, which is the safe side.
        BUILT_IN.as_ref().unwrap_or(&EMPTY)
    }

    /// The user's rules from `path`, tried before the bundled ones.
    ///
    /// # Errors
    /// [`RulesError`] when the file cannot be read, or with file and line for each fault, an example that its rule does not
    /// decide included.
    pub fn load(path: &Path) -> Result<Self, RulesError> {
        Self::with_rules(&Rules::load(path)?)
    }

    /// The user's rules, tried before the bundled ones.
    ///
    /// # Errors
    /// [`RulesError::Invalid`] with file and line for each fault.
    pub fn with_rules(rules: &Rules) -> Result<Self, RulesError> {
        let classifier = Self::new(&[rules, &bundled()?]).map_err(RulesError::Invalid)?;
        let problems = classifier.check(rules);
        if problems.is_empty() {
            Ok(classifier)
        } else {
            Err(RulesError::Invalid(problems))
        }
    }

    pub(crate) fn new(sets: &[&Rules]) -> Result<Self, Vec<Problem>> {
        Ok(Self {
            matcher: Some(Matcher::new(sets)?),
        })
    }

    /// The meaning of `reply` given at `stage` by a host of `provider`.
    #[must_use]
    pub fn classify(&self, stage: Stage, reply: &Reply, provider: Option<&str>) -> Meaning {
        if reply.code().number() < 400 {
            return positive(stage, reply);
        }
        let Some(found) = self
            .matcher
            .as_ref()
            .map(|matcher| matcher.find(stage, reply, provider))
        else {
            return bare(stage, reply);
        };
        let mut meaning = match found.rule {
            Some(rule) => from_rule(stage, reply, rule, &found),
            None => bare(stage, reply),
        };
        if let Some(list) = found.blocklist {
            meaning.blocklist = Some(list.clone());
            if meaning.about == About::Unclear || DeadKind::of(meaning.class).is_some() {
                listed(&mut meaning);
            }
        }
        if found.asks_to_wait && meaning.persistence == Persistence::Transient {
            meaning.retry_after = hint::retry_after(reply);
        }
        meaning.dead = DeadRecipient::prove(stage, reply, &meaning);
        let claims_death = matches!(meaning.existence, Existence::DoesNotExist | Existence::Undeliverable);
        if claims_death && meaning.dead.is_none() {
            meaning.existence = Existence::None;
        }
        meaning
    }

    /// Every example that its own rule does not decide.
    pub(crate) fn check(&self, rules: &Rules) -> Vec<Problem> {
        let mut problems = Vec::new();
        for rule in &rules.list {
            let stage = match rule.stages.as_slice() {
                [] => Stage::Rcpt,
                stages if stages.contains(&Stage::Rcpt) => Stage::Rcpt,
                [first, ..] => *first,
            };
            for example in &rule.examples {
                let meaning = self.classify(stage, example, rule.provider.first().map(String::as_str));
                if *meaning.rule != *rule.id {
                    problems.push(Problem {
                        file: rules.file.clone(),
                        line: rule.line,
                        message: format!(
                            "the example `{} {}` of `{}` is decided by `{}`: mend the words, or move the rule before that one",
                            example.code(),
                            example.lines().join(" "),
                            rule.id,
                            meaning.rule
                        ),
                    });
                }
            }
        }
        problems
    }
}

static POSITIVE: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("positive"));
static NO_RULE: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("none"));
static VETOED: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("vetoed"));
static NOT_SMTP: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("not_smtp"));
static LISTED: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("blocklist"));

/// 2yz and 3yz need no rules: the text of an acceptance is never read (it may hold anything).
fn positive(stage: Stage, reply: &Reply) -> Meaning {
    let class = match (reply.code().number(), stage) {
        (251, Stage::Rcpt) => Class::Forwarded,
        (252, Stage::Rcpt) => Class::CannotVerify,
        (300.., Stage::Rcpt | Stage::Mail | Stage::Ehlo | Stage::Greeting) => Class::ProtocolError,
        _ => Class::Accepted,
    };
    let about = if stage == Stage::Rcpt && class != Class::ProtocolError {
        About::Recipient
    } else {
        About::Server
    };
    Meaning {
        class,
        about,
        persistence: Persistence::Permanent,
        existence: Existence::None,
        confidence: Confidence::High,
        rule: POSITIVE.clone(),
        retry_after: None,
        blocklist: None,
        dead: None,
    }
}

/// A blocklist is named, and nothing says about whom: about us.
fn listed(meaning: &mut Meaning) {
    meaning.class = Class::IpBlocklisted;
    meaning.about = About::Sender;
    meaning.existence = Existence::None;
    meaning.confidence = Confidence::Medium;
    meaning.rule = LISTED.clone();
}

/// A refusal that no rule knows.
fn bare(stage: Stage, reply: &Reply) -> Meaning {
    let speaks_of_recipients = matches!(stage, Stage::Rcpt | Stage::Data);
    Meaning {
        class: Class::Unknown,
        about: if speaks_of_recipients {
            About::Unclear
        } else {
            About::Server
        },
        persistence: if reply.code().is_transient() {
            Persistence::Transient
        } else {
            Persistence::Permanent
        },
        existence: Existence::None,
        confidence: Confidence::Low,
        rule: NO_RULE.clone(),
        retry_after: None,
        blocklist: None,
        dead: None,
    }
}

fn from_rule(stage: Stage, reply: &Reply, rule: &Compiled, found: &Found<'_>) -> Meaning {
    let mut meaning = bare(stage, reply);
    if found.vetoed && rule.is_deadly() && !rule.overrules_veto {
        meaning.class = Class::AmbiguousDenied;
        meaning.rule = VETOED.clone();
        return meaning;
    }
    meaning.class = rule.class;
    meaning.about = rule.about;
    meaning.existence = rule.existence;
    meaning.confidence = rule.confidence;
    meaning.rule = rule.id.clone();
    if rule.class.passes() {
        meaning.persistence = Persistence::Transient;
    }
    if let Some(persistence) = rule.persistence {
        meaning.persistence = persistence;
    }
    if rule.layer == rules::Layer::Unknown {
        if stage == Stage::Data {
            meaning.class = Class::Filtered;
        }
        meaning.confidence = match found.enhanced.map(|code| code.subject) {
            Some(1) => Confidence::High,
            Some(3..) => Confidence::Low,
            _ => rule.confidence,
        };
    }
    meaning
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bundled_rule_decides_its_own_examples() {
        let problems = check();
        assert!(
            problems.is_empty(),
            "{}",
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        );
    }

    #[test]
    fn what_is_remembered_of_a_text_is_what_a_fresh_look_finds() {
        let mut asked = Vec::new();
        for stage in [Stage::Greeting, Stage::Mail, Stage::Rcpt] {
            for (code, enhanced) in [(450, ""), (550, ""), (550, "5.1.1 "), (550, "5.7.1 "), (554, "5.1.1 ")] {
                for words in [
                    "user unknown",
                    "blocked using zen.spamhaus.org",
                    "mailbox disabled, try again later",
                ] {
                    for address in ["ann@x.test", "bob@x.test"] {
                        let reply = Reply::parse(&format!("{code} {enhanced}<{address}>: {words}")).unwrap();
                        asked.extend(
                            [None, Some("google"), Some("outlook")].map(|provider| (stage, reply.clone(), provider)),
                        );
                    }
                }
            }
        }
        let fresh = |(stage, reply, provider): (Stage, Reply, Option<&'static str>)| {
            // Another thread remembers nothing.
            std::thread::spawn(move || classify(stage, &reply, provider))
                .join()
                .unwrap()
        };
        let mut seen = std::collections::HashSet::new();
        for _ in 0..2 {
            for question in &asked {
                let (stage, reply, provider) = question;
                let meaning = classify(*stage, reply, *provider);
                assert_eq!(meaning, fresh(question.clone()), "{question:?}");
                seen.insert(meaning.class);
            }
        }
        assert!(seen.len() > 3, "{seen:?}");
    }
}
