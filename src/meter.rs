//! What a process times and counts while it works: lookups, dialogues, replies, answers, writes.
//!
//! Labels are closed sets, ids of providers and of reply rules. Must never hold a name, an address or a host.

use std::{
    fmt,
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};

use crate::{
    dns::{AddressAnswer, DnsFailure, MxAnswer, Resolve},
    net::BoxFuture,
    replies::Meaning,
    verdict::Verdict,
};

/// A counter that all threads share.
pub type Count = Counter<u64, AtomicU64>;
/// A number that goes up and down.
pub type Level = Gauge<i64, AtomicI64>;
/// Histograms by label.
pub type Timings<L> = Family<L, Histogram, fn() -> Histogram>;

/// Seconds, from a cached answer to a host that is slow on purpose.
#[must_use]
pub fn seconds() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 30.0, 60.0,
    ])
}

/// A question to the name server and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DnsLabels {
    kind: &'static str,
    result: &'static str,
}

/// A part of a dialogue: `connect`, `greeting`, `recipient`, `burst`, `session`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SmtpLabels {
    part: &'static str,
}

/// A reply's class, and the provider whose host said it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReplyLabels {
    class: &'static str,
    provider: &'static str,
}

/// A reply rule, the operator's own ones too.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RuleLabels {
    rule: String,
}

/// What came of asking, and whose hosts were asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProbeLabels {
    label: &'static str,
    reason: &'static str,
    provider: &'static str,
}

/// Where the provider is none of the known ones.
const OTHER: &str = "other";

/// Everything that is measured. Clones share the numbers.
#[derive(Clone)]
pub struct Meter {
    /// How long lookups take.
    pub dns: Timings<DnsLabels>,
    /// How long the parts of dialogues take.
    pub smtp: Timings<SmtpLabels>,
    /// Dialogues under way.
    pub sessions: Level,
    /// Replies that were understood.
    pub replies: Family<ReplyLabels, Count>,
    /// By which rules.
    pub rules: Family<RuleLabels, Count>,
    /// Addresses that were asked about, to the last word.
    pub probes: Family<ProbeLabels, Count>,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            dns: Family::new_with_constructor(seconds),
            smtp: Family::new_with_constructor(seconds),
            sessions: Level::default(),
            replies: Family::default(),
            rules: Family::default(),
            probes: Family::default(),
        }
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter")
    }
}

impl Meter {
    /// A part of a dialogue took so long.
    pub fn took(&self, part: &'static str, time: Duration) {
        let part = self.smtp.get_or_create(&SmtpLabels { part });
        part.observe(time.as_secs_f64());
    }

    /// A reply was understood.
    pub fn understood(&self, meaning: &Meaning, provider: Option<&'static str>) {
        let labels = ReplyLabels {
            class: meaning.class.name(),
            provider: provider.unwrap_or(OTHER),
        };
        self.replies.get_or_create(&labels).inc();
        let rule = meaning.rule.as_ref().to_owned();
        self.rules.get_or_create(&RuleLabels { rule }).inc();
    }

    /// Counts addresses that have their verdicts.
    #[must_use]
    pub fn conclusions(&self) -> Conclusions {
        Conclusions {
            probes: self.probes.clone(),
            last: None,
        }
    }

    fn looked_up(&self, kind: &'static str, result: &'static str, time: Duration) {
        let timing = self.dns.get_or_create(&DnsLabels { kind, result });
        timing.observe(time.as_secs_f64());
    }
}

/// Counts verdicts: the count of the last is at hand, and most addresses of a domain have the same.
#[derive(Debug)]
pub struct Conclusions {
    probes: Family<ProbeLabels, Count>,
    last: Option<(ProbeLabels, Count)>,
}

impl Conclusions {
    /// An address has its verdict.
    pub fn add(&mut self, verdict: &Verdict, provider: Option<&'static str>) {
        let labels = ProbeLabels {
            label: verdict.label.name(),
            reason: verdict.reason.name(),
            provider: provider.unwrap_or(OTHER),
        };
        if let Some((_, count)) = self.last.as_ref().filter(|(before, _)| *before == labels) {
            count.inc();
            return;
        }
        let count = self.probes.get_or_create_owned(&labels);
        count.inc();
        self.last = Some((labels, count));
    }
}

/// A dialogue under way, until it is dropped.
pub struct Talk<'a>(&'a Meter, tokio::time::Instant);

impl<'a> Talk<'a> {
    /// It begins.
    #[must_use]
    pub fn begin(meter: &'a Meter) -> Self {
        meter.sessions.inc();
        Self(meter, tokio::time::Instant::now())
    }
}

impl Drop for Talk<'_> {
    fn drop(&mut self) {
        self.0.sessions.dec();
        self.0.took("session", self.1.elapsed());
    }
}

/// A resolver whose answers are timed.
pub struct Timed<R> {
    resolver: R,
    meter: Meter,
}

impl<R> Timed<R> {
    /// Times the answers of `resolver`.
    pub fn new(resolver: R, meter: Meter) -> Self {
        Self { resolver, meter }
    }
}

impl<R: Resolve> Resolve for Timed<R> {
    fn mx<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<MxAnswer, DnsFailure>> {
        Box::pin(async move {
            let began = tokio::time::Instant::now();
            let answer = self.resolver.mx(domain).await;
            let result = match &answer {
                Ok(MxAnswer::Records { .. }) => "records",
                Ok(MxAnswer::None { .. }) => "none",
                Ok(MxAnswer::NoSuchDomain { .. }) => "no_such_domain",
                Err(failure) => failed(*failure),
            };
            self.meter.looked_up("mx", result, began.elapsed());
            answer
        })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<AddressAnswer, DnsFailure>> {
        Box::pin(async move {
            let began = tokio::time::Instant::now();
            let answer = self.resolver.addresses(host).await;
            let result = match &answer {
                Ok(AddressAnswer::Addresses { .. }) => "records",
                Ok(AddressAnswer::None { .. }) => "none",
                Ok(AddressAnswer::NoSuchDomain { .. }) => "no_such_domain",
                Err(failure) => failed(*failure),
            };
            self.meter.looked_up("address", result, began.elapsed());
            answer
        })
    }
}

fn failed(failure: DnsFailure) -> &'static str {
    match failure {
        DnsFailure::ServFail => "servfail",
        DnsFailure::Timeout => "timeout",
        DnsFailure::Refused => "refused",
        DnsFailure::Bogus => "bogus",
        DnsFailure::Loop => "loop",
        DnsFailure::Malformed => "malformed",
    }
}
