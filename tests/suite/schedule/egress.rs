//! A machine from which nothing gets out: the run stops early and accuses no mail host (HOSTILE S16).

use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use presend::{
    address::Address,
    clock::SystemClock,
    dns::MailRoute,
    net::{BoxFuture, Call, Dial, DialError, Stream},
    schedule::{Finding, Manners, Scheduler, Seams, Target, TrustedHosts, Work},
    verdict::{Label, Policy, judge},
};
use tokio::time::Instant;

use super::{RULES, errand, exchanger, impatient, manners};
use crate::fake::{FakeNet, MINUTE, mailboxes};

/// A network that swallows every SYN, except to the hosts that `open` reaches, or answers with an error.
#[derive(Clone)]
struct Dark {
    error: Option<io::ErrorKind>,
    open: Vec<IpAddr>,
    world: FakeNet,
    dialled: Arc<Mutex<Vec<IpAddr>>>,
}

impl Dark {
    fn new(error: Option<io::ErrorKind>, open: &[&str]) -> Self {
        Self {
            error,
            open: open.iter().map(|ip| ip.parse().unwrap()).collect(),
            world: FakeNet::new("", mailboxes(&[])),
            dialled: Arc::default(),
        }
    }

    fn groups_dialled(&self) -> usize {
        let mut dialled = self.dialled.lock().unwrap().clone();
        dialled.sort_unstable();
        dialled.dedup();
        dialled.len()
    }
}

impl Dial for Dark {
    fn dial<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        self.dialled.lock().unwrap().push(call.to.ip());
        if self.open.contains(&call.to.ip()) {
            return self.world.dial(call);
        }
        match self.error {
            Some(kind) => Box::pin(async move { Err(DialError::Host(kind.into())) }),
            None => Box::pin(async move {
                tokio::time::sleep(call.within).await;
                Err(DialError::Host(io::ErrorKind::TimedOut.into()))
            }),
        }
    }
}

/// One address at each of `count` domains, whose host's address `place` tells; labels and reasons by domain.
async fn run(
    net: &Dark,
    manners: Manners,
    place: impl Fn(usize) -> String,
    count: usize,
) -> Vec<(Label, &'static str)> {
    let seams = Seams {
        meter: presend::meter::Meter::default(),
        dial: Arc::new(net.clone()),
        clock: Arc::new(SystemClock),
        classifier: None,
    };
    let (mut scheduler, mut receiver) = Scheduler::new(manners.clone(), seams).run(manners, errand());
    for id in 0..count {
        let address = Address::parse(&format!("ann@d{id}.test"), RULES).unwrap();
        let host = exchanger(&format!("mx.d{id}.test"), 10, &place(id), false);
        scheduler.add(Work {
            domain: address.to_domain(),
            route: Arc::new(MailRoute::Exchangers(vec![host])),
            wildcard_zone: false,
            targets: vec![Target {
                id: u32::try_from(id).unwrap(),
                address,
                history: None,
            }]
            .into(),
            memory: None,
        });
    }
    scheduler.finish().await;
    let mut findings = Vec::new();
    while let Some(batch) = receiver.recv().await {
        findings.extend(batch);
    }
    findings.sort_by_key(|finding| finding.id);
    assert_eq!(findings.len(), count, "every target comes back");
    let judged = |finding: &Finding| {
        let verdict = judge(&finding.evidence, &Policy::default());
        (verdict.label, verdict.reason.name())
    };
    findings.iter().map(judged).collect()
}

/// A network of its own for every host.
fn apart(id: usize) -> String {
    format!("52.40.{id}.1")
}

const BLOCKED: (Label, &str) = (Label::Unknown, "port_25_blocked");
const UNREACHABLE: (Label, &str) = (Label::Unknown, "unreachable");

#[tokio::test(start_paused = true)]
async fn s16_a_run_that_reaches_nobody_stops_early() {
    for error in [
        None,
        Some(io::ErrorKind::HostUnreachable),
        Some(io::ErrorKind::ConnectionRefused),
    ] {
        let started = Instant::now();
        let net = Dark::new(error, &[]);
        let verdicts = run(&net, manners(), apart, 40).await;
        assert_eq!(verdicts, [BLOCKED; 40], "{error:?}");
        assert!(
            started.elapsed() < MINUTE,
            "no retry is waited for: {:?}",
            started.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn s16_one_success_shows_that_the_way_is_open() {
    let net = Dark::new(None, &["52.40.17.1"]);
    let verdicts = run(&net, impatient(), apart, 40).await;
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == UNREACHABLE).count(), 39);
    assert_eq!(verdicts[17], (Label::Invalid, "mailbox_unknown"));
    assert_eq!(net.groups_dialled(), 40);
}

#[tokio::test(start_paused = true)]
async fn s16_nine_dead_hosts_are_nine_dead_hosts() {
    let verdicts = run(&Dark::new(None, &[]), impatient(), apart, 9).await;
    assert_eq!(verdicts, [UNREACHABLE; 9]);
}

#[tokio::test(start_paused = true)]
async fn s16_one_network_is_one_witness() {
    let verdicts = run(&Dark::new(None, &[]), impatient(), |id| format!("52.40.9.{id}"), 30).await;
    assert_eq!(verdicts, [UNREACHABLE; 30]);
}

#[tokio::test(start_paused = true)]
async fn s16_refusals_of_this_machine_and_of_our_own_hosts_accuse_nobody() {
    let refused = Dark::new(Some(io::ErrorKind::ConnectionRefused), &[]);
    let verdicts = run(&refused, impatient(), |id| format!("127.40.{id}.1"), 40).await;
    assert_eq!(verdicts, [UNREACHABLE; 40], "loopback");
    let ours = Manners {
        trusted: TrustedHosts::new([".test"]),
        ..impatient()
    };
    let verdicts = run(&Dark::new(None, &[]), ours, apart, 40).await;
    assert_eq!(verdicts, [UNREACHABLE; 40], "trusted");
}
