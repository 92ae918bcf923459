//! What is reported about one address.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::resolve::Settled;
use crate::{
    address::Address,
    lists::ListHits,
    smtp::Transcript,
    store::{Kept, Source},
    verdict::{Evidence, Policy, Testimony, Told, Verdict, judge},
};

/// Everything a report can say about one address.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The address as typed.
    pub typed: Box<str>,
    /// The address, when it is one.
    pub address: Option<Address>,
    /// What the lists know.
    pub hits: ListHits,
    /// What was observed.
    pub evidence: Evidence,
    /// What follows.
    pub verdict: Verdict,
    /// When asking again can help.
    pub retry_at: Option<SystemTime>,
    /// Where the evidence comes from.
    pub source: Source,
    /// When the evidence was observed.
    pub checked_at: SystemTime,
    /// How long it took.
    pub elapsed: Duration,
    /// The dialogues, when they were asked for.
    pub transcripts: Vec<Arc<Transcript>>,
}

impl Outcome {
    /// An outcome that nobody was asked about.
    pub(super) fn new(
        typed: &str,
        address: Option<Address>,
        hits: ListHits,
        evidence: Evidence,
        (policy, checked_at): (&Policy, SystemTime),
    ) -> Self {
        Self {
            typed: typed.into(),
            address,
            hits,
            verdict: judge(&evidence, policy),
            evidence,
            retry_at: None,
            source: Source::Live,
            checked_at,
            elapsed: Duration::ZERO,
            transcripts: Vec::new(),
        }
    }

    /// What was found out about the address.
    pub(super) fn settled(typed: &str, address: Address, hits: ListHits, settled: Settled) -> Self {
        Self {
            typed: typed.into(),
            address: Some(address),
            hits,
            evidence: settled.evidence,
            verdict: settled.verdict,
            retry_at: settled.retry_at,
            source: settled.source,
            checked_at: settled.checked_at,
            elapsed: settled.elapsed,
            transcripts: settled.transcripts,
        }
    }

    /// What is kept about the address.
    pub(super) fn kept(typed: &str, (address, hits): (Address, ListHits), kept: Kept, policy: Policy) -> Self {
        Self {
            typed: typed.into(),
            address: Some(address),
            hits,
            verdict: judge(&kept.evidence, &policy),
            evidence: kept.evidence,
            retry_at: kept.retry_at,
            source: kept.source,
            checked_at: kept.checked_at,
            elapsed: kept.elapsed,
            transcripts: kept.transcripts,
        }
    }

    /// Something was told about it that needs nobody to be asked.
    pub(super) fn testify(&mut self, told: Arc<Told>, policy: Policy) {
        (self.source, self.checked_at) = match told.what {
            // The decision is today's, whenever what led to it happened.
            Testimony::Suppressed(_) => (Source::Suppression, self.checked_at),
            Testimony::Delivered => (Source::Delivery, told.at),
            Testimony::Bounced(_) => (Source::Bounce, told.at),
        };
        self.evidence.told = Some(told);
        self.verdict = judge(&self.evidence, &policy);
    }

    /// Puts other evidence in the place of what was known, and judges it.
    pub(super) fn conclude(&mut self, evidence: Evidence, policy: Policy) {
        self.verdict = judge(&evidence, &policy);
        self.evidence = evidence;
    }
}
