//! The labelled rows under `tests/corpora`.

use std::sync::LazyLock;

use presend::{
    replies::{About, Class},
    smtp::{Reply, Stage},
};

/// One labelled reply.
pub(crate) struct Row {
    pub(crate) provider: &'static str,
    pub(crate) text: &'static str,
    pub(crate) note: &'static str,
    pub(crate) stage: Stage,
    /// The classes that agree with the label; the first is the label's own.
    pub(crate) classes: Vec<Class>,
    /// `None` where the corpus is not certain.
    pub(crate) about: Option<About>,
    code: &'static str,
    enhanced: &'static str,
}

impl Row {
    pub(crate) fn reply(&self) -> Reply {
        Reply::parse(&with_code(self.text, self.code, self.enhanced)).unwrap()
    }

    pub(crate) fn provider(&self) -> Option<&'static str> {
        Some(self.provider).filter(|provider| !provider.is_empty())
    }

    /// The label says that the mailbox does not exist or is disabled, and a verifier could have heard it.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.classes.first(), Some(Class::UserUnknown | Class::UserDisabled))
            && self.stage == Stage::Rcpt
            && self.reply().code().is_permanent()
    }

    /// Every class that the label covers is about the sender or the server.
    pub(crate) fn is_about_us(&self) -> bool {
        matches!(self.about, Some(About::Sender | About::Server))
            || self
                .classes
                .iter()
                .all(|class| matches!(class.about(), About::Sender | About::Server))
    }

    /// Another row gives the same text another label, or the corpus disputes its own label.
    pub(crate) fn is_double(&self) -> bool {
        self.note.contains("SAME-TEXT-OTHER-LABEL") || self.note.contains("LABEL-DISPUTED")
    }
}

/// Some rows hold a fragment: give it the code of its column, or one that fits its enhanced code.
pub(crate) fn with_code(text: &str, code: &str, enhanced: &str) -> String {
    let text = text.trim_start_matches('#');
    if Reply::parse(text).is_some() {
        text.to_owned()
    } else if code.is_empty() {
        let transient = enhanced.starts_with('4') || enhanced.is_empty() && text.starts_with("4.");
        format!("{} {text}", if transient { "450" } else { "550" })
    } else {
        format!("{code} {text}")
    }
}

fn stage(note: &str) -> Stage {
    match note.split_once("stage=").map(|(_, rest)| rest.get(..4)) {
        Some(Some("MAIL")) => Stage::Mail,
        Some(Some("DATA")) => Stage::Data,
        _ => Stage::Rcpt,
    }
}

fn fields(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().skip(1).map(|line| line.split('\t').collect())
}

pub(crate) fn providers() -> &'static [Row] {
    static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
        fields(include_str!("../../corpora/replies-providers.tsv"))
            .map(|f| {
                let note = f.get(7).copied().unwrap_or_default();
                Row {
                    provider: f[1],
                    code: f[2],
                    enhanced: f[3],
                    text: f[4],
                    classes: same_class(f[5]),
                    about: match f[6] {
                        "address" => Some(About::Recipient),
                        "sender" => Some(About::Sender),
                        "server" => Some(About::Server),
                        _ => None,
                    },
                    note,
                    stage: stage(note),
                }
            })
            .collect()
    });
    &ROWS
}

/// The corpus's class and the ones that only draw a finer line.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other class stands alone")]
fn same_class(name: &str) -> Vec<Class> {
    let class = serde_json::from_value(name.into()).unwrap();
    let finer = match class {
        Class::RateLimited => Some(Class::TooManyRecipients),
        Class::Timeout => Some(Class::QueueExpired),
        Class::ServerTemporary => Some(Class::Network),
        _ => None,
    };
    [class].into_iter().chain(finer).collect()
}

pub(crate) fn sisimai() -> &'static [Row] {
    static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
        fields(include_str!("../../corpora/replies-sisimai.tsv"))
            .map(|f| {
                let note = f.get(5).copied().unwrap_or_default();
                let classes = reason(f[4]);
                Row {
                    provider: house(f[0]),
                    code: f[1],
                    enhanced: f[2],
                    text: f[3],
                    about: same_subject(&classes),
                    classes,
                    note,
                    stage: stage(note),
                }
            })
            .collect()
    });
    &ROWS
}

pub(crate) fn all() -> Vec<&'static Row> {
    providers().iter().chain(sisimai()).collect()
}

/// About whom, where every class that the reason covers agrees.
fn same_subject(classes: &[Class]) -> Option<About> {
    let about = classes.first()?.about();
    classes.iter().all(|class| class.about() == about).then_some(about)
}

/// The provider whose rule table a Sisimai row comes from.
fn house(source: &str) -> &'static str {
    [
        ("for-apple", "apple"),
        ("for-cox", "cox"),
        ("for-facebook", "facebook"),
        ("for-franceptt", "orange-laposte"),
        ("for-godaddy", "godaddy"),
        ("for-google", "google"),
        ("for-iua", "i.ua"),
        ("for-microsoft", "exchangeonline"),
        ("for-yahooinc", "yahoo"),
        ("for-zoho", "zoho"),
    ]
    .iter()
    .find(|(file, _)| source.contains(file))
    .map_or("", |(_, provider)| provider)
}

/// Sisimai's reasons are wider than our classes: every class that a reason covers (REPLIES.md 2.3).
fn reason(name: &str) -> Vec<Class> {
    use Class::*;
    match name {
        "authfailure" => vec![SenderAuth],
        "badreputation" => vec![IpReputation, DomainReputation],
        "blocked" => vec![
            IpBlocklisted,
            IpReputation,
            DomainReputation,
            HarvestProtection,
            Greylisted,
            RateLimited,
            SenderDns,
            Policy,
            AddressVerificationPending,
            ServerTemporary,
            ProtocolError,
        ],
        "contenterror" | "notcompliantrfc" | "virusdetected" => vec![ContentRejected, SenderRejected],
        "emailtoolarge" | "exceedlimit" | "mesgtoobig" => vec![MessageTooBig],
        "expired" => vec![QueueExpired, Timeout],
        "failedstarttls" => vec![AuthOrTlsRequired],
        "filtered" => vec![RecipientRestricted, Filtered],
        "hasmoved" => vec![UserMoved],
        "hostunknown" => vec![DomainNotFound],
        "mailboxfull" => vec![MailboxFull],
        "networkerror" => vec![Network, RoutingLoop],
        "norelaying" => vec![RelayDenied, AuthOrTlsRequired, IpReputation],
        "notaccept" => vec![DomainNoMail],
        "policyviolation" => vec![Policy, ContentRejected, SpamContent, RateLimited],
        "ratelimited" | "speeding" => vec![RateLimited, RecipientThrottled, TooManyConnections],
        "rejected" => vec![SenderRejected, SenderDns, IpReputation, DomainReputation, Policy],
        "requireptr" => vec![SenderDns],
        "securityerror" => vec![AuthOrTlsRequired, SenderRejected, ProtocolError],
        "spamdetected" => vec![SpamContent],
        "suspend" => vec![UserDisabled],
        "syntaxerror" => vec![ProtocolError],
        "systemerror" => vec![
            ServerTemporary,
            ServerMisconfigured,
            TooManyRecipients,
            IpReputation,
            AuthOrTlsRequired,
        ],
        "systemfull" => vec![ServerFull],
        "toomanyconn" => vec![TooManyConnections, TooManyRecipients, RateLimited],
        "userunknown" => vec![UserUnknown, BadAddressSyntax],
        other => panic!("no class for the reason {other}"),
    }
}
