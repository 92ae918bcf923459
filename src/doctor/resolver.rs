//! The name server: does it answer, does it tell the truth, how long does it take?

use std::{
    fmt::Write as _,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Check, Status};
use crate::{
    dns::{AddressAnswer, Canary, DnsFailure, Found, MxAnswer, Records, Resolve, canary},
    net::BoxFuture,
};

/// A name server on this machine or beside it answers in milliseconds; half a second is far away or overloaded.
const SLOW: Duration = Duration::from_millis(500);
/// Blocklists and the sender's own zones fail now and then; one question in ten is more than that.
const FAILURES_PERCENT: usize = 10;

/// Whether its answers can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Honest,
    Rewrites,
    Silent,
}

/// A resolver with a record of how each question went.
pub(super) struct Watched {
    inner: Arc<dyn Records>,
    asked: Mutex<Vec<(Duration, Option<DnsFailure>)>>,
}

impl Watched {
    pub(super) fn new(inner: Arc<dyn Records>) -> Self {
        Self {
            inner,
            asked: Mutex::default(),
        }
    }

    async fn watch<T>(&self, question: BoxFuture<'_, Result<T, DnsFailure>>) -> Result<T, DnsFailure> {
        let started = Instant::now();
        let answer = question.await;
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push((started.elapsed(), answer.as_ref().err().copied()));
        answer
    }

    /// How the questions of this examination went.
    pub(super) fn check(&self) -> Option<Check> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        asked.sort_unstable_by_key(|(took, _)| *took);
        let median = asked.get(asked.len() / 2)?.0;
        let slowest = asked.last()?.0;
        let failures: Vec<DnsFailure> = asked.iter().filter_map(|(_, failure)| *failure).collect();
        let mut seen = format!(
            "{} questions, half of them within {} ms, the slowest {} ms",
            asked.len(),
            median.as_millis(),
            slowest.as_millis()
        );
        if let Some(first) = failures.first() {
            let _ = write!(seen, ", {} failed ({first})", failures.len());
        }
        let check = |status| Check::new("resolver_answers", status, seen.as_str());
        Some(if failures.len() * 100 > asked.len() * FAILURES_PERCENT {
            check(Status::Warn).advice("domains would stay `unknown` for that: name another server with `--nameserver`")
        } else if median > SLOW {
            check(Status::Warn)
                .advice("run a caching name server on this machine, or name a nearer one with `--nameserver`")
        } else {
            check(Status::Pass)
        })
    }
}

impl Resolve for Watched {
    fn mx<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<MxAnswer, DnsFailure>> {
        Box::pin(self.watch(self.inner.mx(domain)))
    }

    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<AddressAnswer, DnsFailure>> {
        Box::pin(self.watch(self.inner.addresses(host)))
    }
}

impl Records for Watched {
    fn text<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Found<Box<str>>, DnsFailure>> {
        Box::pin(self.watch(self.inner.text(name)))
    }

    fn pointers(&self, address: IpAddr) -> BoxFuture<'_, Result<Found<Box<str>>, DnsFailure>> {
        Box::pin(self.watch(self.inner.pointers(address)))
    }
}

/// Asks for names that nobody has.
pub(super) async fn canary_check(dns: &dyn Resolve) -> (Health, Check) {
    match canary(dns).await {
        Canary::Honest => {
            let check = Check::new(
                "resolver",
                Status::Pass,
                "it answers, and denies names that do not exist",
            );
            (Health::Honest, check)
        }
        Canary::Rewrites => {
            let check = Check::new(
                "resolver",
                Status::Fail,
                "it invents addresses for names that do not exist",
            );
            let advice = "name one that tells the truth with `--nameserver`, best of all on this machine";
            (Health::Rewrites, check.advice(advice))
        }
        Canary::Unreachable(failure) => {
            let check = Check::new("resolver", Status::Fail, failure.to_string());
            let advice = "mend the network or the system's DNS configuration, or name a server with `--nameserver IP`";
            (Health::Silent, check.advice(advice))
        }
    }
}
