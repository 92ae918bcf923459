//! What the hosts and the DNS saw: counted in batches while serving, given out as a snapshot.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde::Serialize;
use tokio::time::Instant;

use super::monitor::{Allowance, Verb, Violations, complaints};

/// RCPT arrival times and lines kept per host: a bench of millions must not grow without bound.
const KEPT_MAX: usize = 100_000;

/// Everything counted since the lab started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// By host name.
    pub hosts: BTreeMap<String, HostCounters>,
    /// DNS questions by `"MX acme.test"`.
    pub dns: BTreeMap<String, u64>,
    /// Most connections open at one time, over all hosts.
    pub concurrent_peak: u64,
}

impl Counters {
    /// Commands by verb over all hosts; verbs never said are absent.
    #[must_use]
    pub fn verbs(&self) -> BTreeMap<&'static str, u64> {
        let mut verbs = BTreeMap::new();
        for (verb, count) in self.hosts.values().flat_map(|host| &host.commands) {
            *verbs.entry(*verb).or_default() += count;
        }
        verbs
    }

    /// The sum over all hosts of one count: `counters.sum(|host| host.connections)`.
    #[must_use]
    pub fn sum(&self, count: impl Fn(&HostCounters) -> u64) -> u64 {
        self.hosts.values().map(count).sum()
    }

    /// All violations of all hosts.
    #[must_use]
    pub fn violations(&self) -> u64 {
        self.sum(|host| host.violations.total())
    }
}

/// What one host saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostCounters {
    /// Its address.
    pub ip: IpAddr,
    /// Connections accepted.
    pub connections: u64,
    /// ... of them by each client address.
    pub clients: BTreeMap<IpAddr, u64>,
    /// Most connections open at one time.
    pub concurrent_peak: u64,
    /// Sessions that ended without QUIT, the host's own closing not counted.
    pub without_quit: u64,
    /// Sessions that went through a TLS handshake.
    pub tls: u64,
    /// Commands by verb; verbs never said are absent.
    pub commands: BTreeMap<&'static str, u64>,
    /// RCPT commands answered.
    pub recipients: u64,
    /// ... of them with 4yz.
    pub deferred: u64,
    /// ... of them with 5yz.
    pub refused: u64,
    /// ... of them in one session, at most.
    pub refused_most: u64,
    /// When each of them was, in microseconds since the lab started; the first 100,000.
    pub refused_at_us: Vec<u64>,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// What a verifier must never do.
    pub violations: Violations,
    /// When each RCPT came, in microseconds since the lab started; the first 100,000.
    pub rcpt_at_us: Vec<u64>,
    /// Every line, when the world says `record_lines`; the first 100,000.
    pub lines: Vec<Line>,
}

impl HostCounters {
    /// What the host has to complain about; with an allowance also refusals beyond it.
    #[must_use]
    pub fn complaints(&self, allowance: Option<Allowance>) -> Vec<String> {
        complaints(self.violations, self.refused_most, &self.refused_at_us, allowance)
    }
}

/// A line that a host received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Number of the connection at this host, from 1.
    pub connection: u64,
    /// When, in microseconds since the lab started.
    pub at_us: u64,
    /// The line without its end; bytes that are not UTF-8 replaced.
    pub text: String,
}

/// What one batch of lines added; taken over by the host's meter before the replies leave.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) commands: [u64; Verb::NAMES.len()],
    pub(super) deferred: u64,
    pub(super) refused: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) violations: Violations,
    pub(super) lines: Vec<Line>,
}

impl Tally {
    pub(super) fn command(&mut self, verb: Verb) {
        if let Some(count) = self.commands.get_mut(verb as usize) {
            *count += 1;
        }
    }
}

/// The live counts of one host.
#[derive(Debug, Default)]
pub(super) struct Meter {
    connections: AtomicU64,
    open: AtomicU64,
    peak: AtomicU64,
    without_quit: AtomicU64,
    tls: AtomicU64,
    refused_most: AtomicU64,
    sums: Mutex<Sums>,
}

#[derive(Debug, Default)]
struct Sums {
    tally: Tally,
    rcpt_at_us: Vec<u64>,
    refused_at_us: Vec<u64>,
}

impl Meter {
    /// A connection came: its number and how many are open now.
    pub(super) fn opened(&self) -> (u64, u64) {
        let open = self.open.fetch_add(1, Relaxed) + 1;
        self.peak.fetch_max(open, Relaxed);
        (self.connections.fetch_add(1, Relaxed) + 1, open)
    }

    pub(super) fn closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    pub(super) fn left_without_quit(&self) {
        self.without_quit.fetch_add(1, Relaxed);
    }

    /// A session had so many recipients refused up to now.
    pub(super) fn refused(&self, in_session: u32) {
        self.refused_most.fetch_max(in_session.into(), Relaxed);
    }

    pub(super) fn secured(&self) {
        self.tls.fetch_add(1, Relaxed);
    }

    /// Takes a batch over and empties it.
    pub(super) fn take(&self, batch: &mut Tally, at_us: u64) {
        let mut sums = lock(&self.sums);
        let recipients = batch.commands.get(Verb::Rcpt as usize).copied().unwrap_or(0);
        note(&mut sums.rcpt_at_us, recipients, at_us);
        note(&mut sums.refused_at_us, batch.refused, at_us);
        let tally = &mut sums.tally;
        for (sum, count) in tally.commands.iter_mut().zip(&mut batch.commands) {
            *sum += std::mem::take(count);
        }
        tally.deferred += std::mem::take(&mut batch.deferred);
        tally.refused += std::mem::take(&mut batch.refused);
        tally.bytes_in += std::mem::take(&mut batch.bytes_in);
        tally.bytes_out += std::mem::take(&mut batch.bytes_out);
        tally.violations.add(std::mem::take(&mut batch.violations));
        let room = KEPT_MAX - tally.lines.len().min(KEPT_MAX);
        tally.lines.extend(batch.lines.drain(..).take(room));
    }

    pub(super) fn snapshot(&self, ip: IpAddr) -> HostCounters {
        let sums = lock(&self.sums);
        let tally = &sums.tally;
        HostCounters {
            ip,
            connections: self.connections.load(Relaxed),
            clients: BTreeMap::new(),
            concurrent_peak: self.peak.load(Relaxed),
            without_quit: self.without_quit.load(Relaxed),
            tls: self.tls.load(Relaxed),
            commands: Verb::NAMES
                .into_iter()
                .zip(tally.commands)
                .filter(|(_, count)| *count > 0)
                .collect(),
            recipients: tally.commands.get(Verb::Rcpt as usize).copied().unwrap_or(0),
            deferred: tally.deferred,
            refused: tally.refused,
            refused_most: self.refused_most.load(Relaxed),
            refused_at_us: sums.refused_at_us.clone(),
            bytes_in: tally.bytes_in,
            bytes_out: tally.bytes_out,
            violations: tally.violations,
            rcpt_at_us: sums.rcpt_at_us.clone(),
            lines: tally.lines.clone(),
        }
    }
}

/// So many things were at this time, as far as there is room.
fn note(times: &mut Vec<u64>, count: u64, at_us: u64) {
    let room = KEPT_MAX - times.len().min(KEPT_MAX);
    let kept = usize::try_from(count).unwrap_or(room).min(room);
    times.resize(times.len() + kept, at_us);
}

/// Locks whatever a panicked holder left: counts stay counts.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Microseconds since `start`.
pub(super) fn micros(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_read_in_any_case_and_whole() {
        for (line, verb) in [
            ("rcpt TO:<a@b.test>", Verb::Rcpt),
            ("EHLO me", Verb::Ehlo),
            ("starttls", Verb::Starttls),
            ("DATA", Verb::Data),
            ("DATAS", Verb::Other),
            ("", Verb::Other),
            ("RCPT\tTO:<a@b.test>", Verb::Other),
        ] {
            assert_eq!(Verb::of(line.as_bytes()), verb, "{line}");
            assert!(
                verb == Verb::Other
                    || Verb::NAMES.contains(&&*line[..line.find(' ').unwrap_or(line.len())].to_uppercase())
            );
        }
    }

    #[test]
    fn a_batch_is_taken_over_once() {
        let meter = Meter::default();
        let mut batch = Tally::default();
        batch.command(Verb::Rcpt);
        batch.command(Verb::Rcpt);
        batch.refused = 1;
        batch.violations.forbidden = 1;
        meter.take(&mut batch, 7);
        meter.take(&mut batch, 9);
        let seen = meter.snapshot(IpAddr::from([127, 0, 0, 2]));
        assert_eq!((seen.recipients, seen.refused, seen.violations.total()), (2, 1, 1));
        assert_eq!(seen.rcpt_at_us, [7, 7]);
        assert_eq!(seen.commands, BTreeMap::from([("RCPT", 2)]));
    }
}
