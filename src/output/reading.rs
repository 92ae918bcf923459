//! What a single reply means, as JSON: the same members on the command line and in the API.

use std::time::SystemTime;

use serde::Serialize;

use crate::{
    replies::{About, Class, Confidence, Existence, Meaning, Persistence},
    verdict::{Alone, BounceKind},
};

/// What is said about a reply.
#[derive(Debug, Serialize)]
pub struct ReplyReading<'a> {
    class: Class,
    about: About,
    persistence: Persistence,
    evidence: Existence,
    confidence: Confidence,
    rule: &'a str,
    retry_after_s: Option<u64>,
    blocklist: Option<&'a str>,
    bounce: Bounce,
    label: &'a str,
}

#[derive(Debug, Serialize)]
struct Bounce {
    kind: BounceKind,
    class: Option<Class>,
}

impl<'a> ReplyReading<'a> {
    /// Of a reply that was read alone.
    #[must_use]
    pub fn of(alone: &'a Alone) -> Self {
        let Meaning {
            class,
            about,
            persistence,
            existence,
            confidence,
            ref rule,
            ..
        } = alone.meaning;
        let wait = alone.meaning.retry_after.and_then(|hint| hint.wait(SystemTime::now()));
        Self {
            class,
            about,
            persistence,
            evidence: existence,
            confidence,
            rule,
            retry_after_s: wait.map(|after| after.as_secs()),
            blocklist: alone.meaning.blocklist.as_deref(),
            bounce: Bounce {
                kind: alone.verdict.bounce.kind,
                class: alone.verdict.bounce.class,
            },
            label: alone.label(),
        }
    }
}
