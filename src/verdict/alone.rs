//! What one reply says when it is all that is known: a log line, a pasted bounce. The same `judge` as for a session.

use std::sync::{Arc, LazyLock};

use super::{Answer, Evidence, HostFacts, Label, NotTried, Observed, Policy, ProbeFailure, Reason, Verdict, judge};
use crate::{
    dns::MailRoute,
    replies::{
        Classifier, Meaning,
        providers::{Provider, Truthful},
    },
    smtp::{Reply, Stage},
};

/// One reply, read.
#[derive(Debug, Clone)]
pub struct Alone {
    /// What it says.
    pub meaning: Meaning,
    /// What follows, if nothing else is known.
    pub verdict: Verdict,
    stage: Stage,
}

impl Alone {
    /// `invalid`, `accepted` or `unknown`: whether an acceptance makes an address `valid` depends on what the host does with
    /// strangers, which one reply cannot tell.
    #[must_use]
    pub fn label(&self) -> &'static str {
        let of_recipient = matches!(self.stage, Stage::Rcpt | Stage::Data);
        if self.verdict.label == Label::Unknown && self.verdict.reason == Reason::CatchAllUndetermined && of_recipient {
            "accepted"
        } else {
            self.verdict.label.name()
        }
    }
}

static ROUTE: LazyLock<Arc<MailRoute>> = LazyLock::new(|| Arc::new(MailRoute::Exchangers(Vec::new())));
static LIAR: LazyLock<Arc<HostFacts>> = LazyLock::new(|| {
    Arc::new(HostFacts {
        provider: None,
        name: Arc::from(""),
        ip: None,
        preference: 0,
        implicit: false,
        tls: None,
        backup: false,
        untruthful: true,
    })
});

/// Reads `text`, one whole reply of one or more lines, given at `stage` by a host of `provider`. Text that is not SMTP is a
/// protocol error, as it would be in a session.
#[must_use]
pub fn read_alone(
    classifier: &Classifier,
    (stage, text): (Stage, &str),
    provider: Option<&Provider>,
    policy: &Policy,
) -> Alone {
    let (meaning, answer) = match Reply::parse_whole(text) {
        Some(reply) => {
            let meaning = classifier.classify(stage, &reply, provider.map(|provider| &*provider.id));
            let answer = Answer {
                stage,
                reply,
                meaning: meaning.clone(),
            };
            (meaning, Observed::Known(Arc::new(answer)))
        }
        None => (Meaning::not_smtp(), Observed::Failed(ProbeFailure::NotSmtp)),
    };
    let untruthful = provider.is_some_and(|provider| provider.truthful == Truthful::No);
    let evidence = Evidence {
        route: Observed::Known(Arc::clone(&ROUTE)),
        host: untruthful.then(|| Arc::clone(&LIAR)),
        answer,
        attempts: 1,
        ..Evidence::not_tried(NotTried::NotNeeded)
    };
    let verdict = judge(&evidence, policy);
    Alone {
        meaning,
        verdict,
        stage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replies::{Class, providers::named};

    #[test]
    fn one_reply_is_invalid_accepted_or_unknown() {
        for (stage, text, provider, label, reason) in [
            (
                Stage::Rcpt,
                "550 5.1.1 User unknown",
                None,
                "invalid",
                "mailbox_unknown",
            ),
            (
                Stage::Rcpt,
                "550-5.1.1 User\n550 5.1.1 unknown",
                None,
                "invalid",
                "mailbox_unknown",
            ),
            (
                Stage::Mail,
                "550 5.1.1 User unknown",
                None,
                "unknown",
                "sender_rejected",
            ),
            (Stage::Rcpt, "250 Ok", None, "accepted", "catchall_undetermined"),
            (
                Stage::Rcpt,
                "251 will forward",
                None,
                "accepted",
                "catchall_undetermined",
            ),
            (Stage::Rcpt, "252 will try", None, "unknown", "cannot_verify"),
            (Stage::Mail, "250 Ok", None, "unknown", "catchall_undetermined"),
            (Stage::Rcpt, "250 Ok", Some("aol"), "unknown", "provider_untruthful"),
            (
                Stage::Rcpt,
                "550 5.7.1 No such user!",
                Some("yandex"),
                "invalid",
                "mailbox_unknown",
            ),
        ] {
            let alone = read_alone(
                Classifier::built_in(),
                (stage, text),
                provider.map(|name| named(name).unwrap()),
                &Policy::default(),
            );
            assert_eq!(alone.label(), label, "{stage:?} {text}");
            assert_eq!(alone.verdict.reason.name(), reason, "{stage:?} {text}");
        }
    }

    #[test]
    fn what_is_not_smtp_is_a_protocol_error() {
        for text in [
            "",
            "\n",
            "HTTP/1.1 400 Bad Request",
            "5.1.1 User unknown",
            "999 no",
            "550text",
            "User unknown",
            "\u{0}\u{1b}[31m",
            "250-Ok\n550 5.1.1 User unknown",
            "550-5.1.1 User unknown\n551 moved",
            "550 5.1.1 User unknown\n250 Ok",
        ] {
            let alone = read_alone(Classifier::built_in(), (Stage::Rcpt, text), None, &Policy::default());
            assert_eq!(
                (alone.meaning.class, &*alone.meaning.rule),
                (Class::ProtocolError, "not_smtp"),
                "{text:?}"
            );
            assert_eq!(
                (alone.label(), alone.verdict.reason.name()),
                ("unknown", "not_smtp"),
                "{text:?}"
            );
        }
        let wrapped = "451 4.7.1 Greylisted, come back in\n300 seconds";
        let alone = read_alone(Classifier::built_in(), (Stage::Rcpt, wrapped), None, &Policy::default());
        assert_eq!(alone.meaning.class, Class::Greylisted);
    }
}
