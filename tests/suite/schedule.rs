//! The scheduler against hosts in memory, on a paused clock: what is asked, when, how often, and what comes back.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use presend::{
    address::{Address, Rules},
    clock::SystemClock,
    dns::{Exchanger, MailRoute},
    net::{Dial, vet},
    schedule::{
        Asker, Errand, Finding, Ladder, Limits, Manners, RetryProfile, Scheduler, Seams, Target, TrustedHosts, Work,
    },
    smtp::{Identity, Tally, Timeouts},
    stop::Stop,
    verdict::{Label, Policy, judge},
};

use crate::fake::{Act, FakeNet, MINUTE, SECOND, mailboxes, say};

const RULES: Rules = Rules {
    allow_special_use: true,
};

mod ban;
mod egress;
mod families;
mod guard;
mod judgement;
mod patience;
mod peers;
mod shapes;
mod silence;
mod strict;
mod world;

pub(crate) fn manners() -> Manners {
    Manners {
        identity: Identity::new("probe.example.org", "check@example.org").unwrap(),
        timeouts: Timeouts::BULK,
        smtp_port: 25,
        transcript: false,
        ladder: Ladder::default(),
        max_wait: Duration::MAX,
        limits: Limits::POLITE,
        trusted: TrustedHosts::default(),
        probe_forbidden: false,
        probe_providers: Vec::new(),
        owned: Vec::new(),
    }
}

pub(crate) fn impatient() -> Manners {
    Manners {
        max_wait: Duration::ZERO,
        ..manners()
    }
}

/// A run that nobody stops and nothing outlives.
fn errand() -> Errand {
    Errand {
        stop: Stop::new(),
        ledger: None,
        tally: Arc::default(),
        hurried: false,
    }
}

fn trusted() -> Manners {
    Manners {
        trusted: TrustedHosts::new([".fake.test"]),
        ..manners()
    }
}

pub(crate) fn exchanger(host: &str, preference: u16, ip: &str, backup: bool) -> Exchanger {
    let ip: IpAddr = ip.parse().unwrap();
    Exchanger {
        host: host.into(),
        preference,
        addresses: vec![vet(ip, true).unwrap()],
        backup,
    }
}

/// Label and reason of every address, after everything was asked.
pub(crate) struct Run {
    pub(crate) net: FakeNet,
    pub(crate) findings: BTreeMap<String, Finding>,
    tally: Arc<Tally>,
}

impl Run {
    pub(crate) async fn of(net: FakeNet, manners: Manners, addresses: &[&str]) -> Self {
        let route = MailRoute::Exchangers(vec![exchanger("mx.fake.test", 10, "127.9.0.1", false)]);
        Self::over(net, manners, route, addresses, Stop::new()).await
    }

    pub(crate) async fn over(net: FakeNet, manners: Manners, route: MailRoute, addresses: &[&str], stop: Stop) -> Self {
        Self::through(net.clone(), net, (manners, stop), route, addresses).await
    }

    /// As [`Self::over`], where `dial` leads to `net` or elsewhere.
    pub(crate) async fn through(
        dial: impl Dial,
        net: FakeNet,
        (manners, stop): (Manners, Stop),
        route: MailRoute,
        addresses: &[&str],
    ) -> Self {
        let seams = Seams {
            meter: presend::meter::Meter::default(),
            dial: Arc::new(dial),
            clock: Arc::new(SystemClock),
            classifier: None,
        };
        net.allows(if manners.trusted.contain("mx.fake.test") {
            &Limits::TRUSTED
        } else {
            &manners.limits
        });
        let tally = Arc::new(Tally::default());
        let errand = Errand {
            stop,
            ledger: None,
            tally: Arc::clone(&tally),
            hurried: false,
        };
        let (mut scheduler, mut receiver) = Scheduler::new(manners.clone(), seams).run(manners, errand);
        let route = Arc::new(route);
        let mut domains: BTreeMap<String, Vec<Target>> = BTreeMap::new();
        for (id, address) in addresses.iter().enumerate() {
            let address = Address::parse(address, RULES).unwrap();
            let id = u32::try_from(id).unwrap();
            domains.entry(address.domain().to_owned()).or_default().push(Target {
                id,
                address,
                history: None,
            });
        }
        for targets in domains.into_values() {
            let domain = targets[0].address.to_domain();
            scheduler.add(Work {
                domain,
                route: Arc::clone(&route),
                wildcard_zone: false,
                targets: targets.into(),
                memory: None,
            });
        }
        scheduler.finish().await;
        let mut findings = BTreeMap::new();
        while let Some(batch) = receiver.recv().await {
            for finding in batch {
                let address = addresses[finding.id as usize].to_owned();
                assert!(findings.insert(address, finding).is_none(), "answered twice");
            }
        }
        assert_eq!(findings.len(), addresses.len(), "every target comes back");
        Self { net, findings, tally }
    }

    pub(crate) fn reason(&self, address: &str) -> &'static str {
        judge(&self.findings[address].evidence, &Policy::default())
            .reason
            .name()
    }

    pub(crate) fn label(&self, address: &str) -> Label {
        judge(&self.findings[address].evidence, &Policy::default()).label
    }

    /// Recipients asked about that are none of the addresses.
    fn controls(&self) -> Vec<String> {
        let asked = self.net.recipients().into_iter().map(|(_, rcpt)| rcpt);
        asked.filter(|rcpt| !self.findings.contains_key(rcpt)).collect()
    }

    fn connections(&self) -> usize {
        self.net.connections().len()
    }
}

#[tokio::test(start_paused = true)]
async fn one_session_serves_many_recipients_and_domains() {
    let known = &["ann@one.test", "bob@one.test", "cid@two.test"];
    let run = Run::of(FakeNet::new("", mailboxes(known)), manners(), known).await;
    assert_eq!(run.connections(), 1);
    for address in known {
        assert_eq!(run.reason(address), "mailbox_exists");
    }
    let lines = run.net.lines();
    assert_eq!(lines.last().unwrap(), "QUIT");
    let transactions = lines.iter().filter(|line| line.starts_with("MAIL")).count();
    assert_eq!(
        transactions, 4,
        "one for each domain and one for each control recipient: {lines:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn r2_a_host_that_accepts_the_control_is_a_catch_all() {
    let run = Run::of(FakeNet::new("", |_| None), manners(), &["ann@one.test", "bob@one.test"]).await;
    assert_eq!(run.label("ann@one.test"), Label::CatchAll);
    assert_eq!(run.label("bob@one.test"), Label::CatchAll);
    let controls = run.controls();
    assert_eq!(controls.len(), 2, "of two shapes: {controls:?}");
    assert!(controls.iter().all(|control| control.ends_with("@one.test")));
    assert!(
        controls[0].matches('.').count() > controls[1].matches('.').count(),
        "{controls:?}"
    );
    let lines = run.net.lines();
    let control = lines.iter().position(|line| line.contains(&controls[0])).unwrap();
    assert_eq!(
        lines[control - 1],
        "MAIL FROM:<check@example.org>",
        "in its own transaction"
    );
    assert_eq!(lines[control - 2], "RSET");
}

#[tokio::test(start_paused = true)]
async fn r4_a_sibling_refused_as_unknown_spares_the_control() {
    let run = Run::of(
        FakeNet::new("", mailboxes(&["ann@one.test"])),
        manners(),
        &["ann@one.test", "bob@one.test"],
    )
    .await;
    assert_eq!(run.reason("ann@one.test"), "mailbox_exists");
    assert_eq!(run.reason("bob@one.test"), "mailbox_unknown");
    assert_eq!(run.controls(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn nobody_accepted_means_no_control() {
    let run = Run::of(FakeNet::new("", mailboxes(&[])), manners(), &["bob@one.test"]).await;
    assert_eq!(run.reason("bob@one.test"), "mailbox_unknown");
    assert_eq!(run.controls(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_one_session_was_denied_one_session_asks_again() {
    let start = tokio::time::Instant::now();
    let script = move |heard: &crate::fake::Heard<'_>| {
        if heard.rcpt().is_some() && start.elapsed() < 5 * MINUTE {
            Some(say("451 4.7.1 Greylisted, see you later"))
        } else {
            mailboxes(&["ann@one.test", "bob@one.test"])(heard)
        }
    };
    let addresses = ["ann@one.test", "bob@one.test", "cid@one.test"];
    let run = Run::of(FakeNet::new("", script), manners(), &addresses).await;
    assert_eq!(
        addresses.map(|address| run.reason(address)),
        ["mailbox_exists", "mailbox_exists", "mailbox_unknown"]
    );
    assert_eq!(run.connections(), 2);
    assert_eq!(run.controls(), [""; 0], "the refused sibling is enough");
}

#[tokio::test(start_paused = true)]
async fn a_session_takes_what_became_ready_while_it_waited() {
    let start = tokio::time::Instant::now();
    let script = move |heard: &crate::fake::Heard<'_>| {
        let busy = heard.rcpt().is_some() && start.elapsed() < 3 * SECOND;
        busy.then(|| say("451 4.7.1 Greylisted, see you later"))
            .or_else(|| mailboxes(&[])(heard))
    };
    let hasty = Manners {
        ladder: vec![3 * SECOND].into(),
        ..manners()
    };
    let run = Run::of(FakeNet::new("", script), hasty, &["ann@one.test", "bob@two.test"]).await;
    assert_eq!(run.reason("bob@two.test"), "mailbox_unknown");
    assert_eq!(run.connections(), 2);
}

#[tokio::test(start_paused = true)]
async fn s10_a_lost_connection_is_tried_once_more() {
    let script = |heard: &crate::fake::Heard<'_>| heard.rcpt().map(|_| Act::Drop);
    let run = Run::of(FakeNet::new("", script), impatient(), &["ann@one.test"]).await;
    assert_eq!(run.reason("ann@one.test"), "connection_lost");
    assert_eq!(run.connections(), 2);
}

#[tokio::test(start_paused = true)]
async fn r13_a_first_session_test_gets_its_second_session() {
    let script = |heard: &crate::fake::Heard<'_>| match heard.connection {
        0 => heard.rcpt().map(|_| say("450 4.3.2 Service currently unavailable")),
        _ => mailboxes(&["ann@one.test"])(heard),
    };
    let run = Run::of(FakeNet::new("", script), impatient(), &["ann@one.test"]).await;
    assert_eq!(run.reason("ann@one.test"), "mailbox_exists");
}

#[tokio::test(start_paused = true)]
async fn trusted_hosts_are_asked_in_one_burst() {
    let addresses: Vec<String> = (0..40).map(|n| format!("user{n}@d{}.test", n % 2)).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let net = FakeNet::new("PIPELINING", |heard| {
        (!heard.rcpt()?.starts_with("user")).then(|| say("550 5.1.1 User unknown"))
    });
    let start = tokio::time::Instant::now();
    let run = Run::of(net, trusted(), &addresses).await;
    assert!(addresses.iter().all(|address| run.reason(address) == "mailbox_exists"));
    assert_eq!(run.connections(), 1);
    assert!(start.elapsed() < 2 * SECOND, "nothing but the wait for more domains");
    let commands = run.tally.commands.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(usize::try_from(commands).unwrap(), run.net.lines().len());
    assert_eq!(
        commands,
        1 + 2 * (1 + 20) + 1 + 2 * 3 + 1,
        "EHLO, two transactions, two controls, QUIT"
    );
}

#[tokio::test(start_paused = true)]
async fn t3_a_host_deaf_to_bursts_is_spoken_to_in_lockstep() {
    // It hears only the first command of what arrives together.
    let script = |heard: &crate::fake::Heard<'_>| {
        let bursting = heard.connection == 0 && heard.before.iter().any(|line| line.starts_with("MAIL"));
        if bursting && heard.line != "QUIT" {
            Some(Act::Hang)
        } else {
            mailboxes(&["ann@one.test", "bob@one.test"])(heard)
        }
    };
    let net = FakeNet::new("PIPELINING", script);
    let run = Run::of(net, trusted(), &["ann@one.test", "bob@one.test"]).await;
    assert_eq!(run.reason("ann@one.test"), "mailbox_exists");
    assert_eq!(
        run.findings["ann@one.test"].evidence.attempts, 1,
        "the deaf session does not count"
    );
}

#[tokio::test(start_paused = true)]
async fn r15_too_many_recipients_makes_a_new_transaction() {
    for manners in [manners(), trusted()] {
        let script = |heard: &crate::fake::Heard<'_>| {
            let rcpt = heard.rcpt()?;
            let in_transaction = heard
                .before
                .iter()
                .rev()
                .take_while(|line| !line.starts_with("MAIL"))
                .count();
            if in_transaction >= 2 {
                return Some(say("452 4.5.3 Error: too many recipients"));
            }
            (!rcpt.starts_with("user")).then(|| say("550 5.1.1 User unknown"))
        };
        let addresses = [
            "user1@one.test",
            "user2@one.test",
            "user3@one.test",
            "user4@one.test",
            "user5@one.test",
        ];
        let run = Run::of(FakeNet::new("PIPELINING", script), manners, &addresses).await;
        for address in addresses {
            assert_eq!(run.reason(address), "mailbox_exists", "{address}");
        }
        assert_eq!(run.connections(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn t5_limits_of_the_host_are_obeyed() {
    let addresses = ["user1@one.test", "user2@one.test", "user3@one.test"];
    let net = FakeNet::new("PIPELINING;LIMITS RCPTMAX=1 MAILMAX=2", |heard| {
        (!heard.rcpt()?.starts_with("user")).then(|| say("550 5.1.1 User unknown"))
    });
    let run = Run::of(net, trusted(), &addresses).await;
    assert!(addresses.iter().all(|address| run.reason(address) == "mailbox_exists"));
    for connection in run.net.connections() {
        let count = |verb: &str| {
            connection
                .lines
                .iter()
                .filter(|(_, line)| line.starts_with(verb))
                .count()
        };
        assert!(
            count("MAIL") <= 2 && count("RCPT") <= count("MAIL"),
            "{:?}",
            connection.lines
        );
    }
}

#[tokio::test(start_paused = true)]
async fn t8_whose_tls_breaks_is_left_alone_for_a_gap_and_asked_in_clear() {
    for (manners, gap) in [(manners(), Duration::from_secs(1)), (trusted(), Duration::ZERO)] {
        let net = FakeNet::new("STARTTLS", |heard| match heard.line {
            "STARTTLS" => Some(Act::Bye("220 2.0.0 Ready to start TLS".to_owned())),
            _ => (!heard.rcpt()?.starts_with("ann@")).then(|| say("550 5.1.1 User unknown")),
        });
        let run = Run::of(net, manners, &["ann@one.test"]).await;
        let [first, second] = &*run.net.connections() else {
            panic!("{} {:?}", run.reason("ann@one.test"), run.net.lines());
        };
        assert_eq!(run.reason("ann@one.test"), "mailbox_exists");
        let waited = second.opened - first.lines.last().unwrap().0;
        assert!((gap..gap + Duration::from_millis(2)).contains(&waited), "{waited:?}");
        assert!(second.lines.iter().all(|(_, line)| line != "STARTTLS"));
        assert!(second.lines.iter().any(|(_, line)| line.starts_with("RCPT TO:<ann@")));
    }
}

#[tokio::test(start_paused = true)]
async fn r29_an_address_that_needs_smtputf8_does_not_spoil_its_siblings() {
    let addresses = ["jörg@one.test", "ann@one.test"];
    let run = Run::of(FakeNet::new("", mailboxes(&["ann@one.test"])), manners(), &addresses).await;
    assert_eq!(run.reason("jörg@one.test"), "needs_smtputf8");
    assert_eq!(run.reason("ann@one.test"), "mailbox_exists");
    let run = Run::of(
        FakeNet::new("SMTPUTF8", mailboxes(&["ann@one.test", "jörg@one.test"])),
        manners(),
        &addresses,
    )
    .await;
    assert_eq!(run.reason("jörg@one.test"), "mailbox_exists");
    assert!(
        run.net
            .lines()
            .contains(&"MAIL FROM:<check@example.org> SMTPUTF8".to_owned())
    );
    assert!(run.net.lines().contains(&"MAIL FROM:<check@example.org>".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn r19_a_reply_too_many_voids_the_whole_session() {
    let script = |heard: &crate::fake::Heard<'_>| match heard.rcpt()? {
        "ann@one.test" => Some(Act::Raw(b"250 2.1.5 Ok\r\n250 2.1.5 Ok\r\n".to_vec())),
        _ => Some(say("550 5.1.1 User unknown")),
    };
    let addresses = ["ann@one.test", "bob@one.test"];
    let run = Run::of(FakeNet::new("", script), impatient(), &addresses).await;
    assert_eq!(run.reason("ann@one.test"), "desynchronised");
    assert_ne!(run.label("bob@one.test"), Label::Valid);
    assert_ne!(run.label("bob@one.test"), Label::Invalid);
}

#[tokio::test(start_paused = true)]
async fn r19_a_reply_too_many_at_the_very_end_voids_the_session_too() {
    for manners in [impatient(), trusted()] {
        // The control recipient is asked about last, and nothing but QUIT is said after it.
        let script = |heard: &crate::fake::Heard<'_>| match heard.rcpt()? {
            "ann@one.test" => None,
            _ => Some(Act::Raw(b"550 5.1.1 User unknown\r\n250 2.1.5 Ok\r\n".to_vec())),
        };
        let run = Run::of(FakeNet::new("PIPELINING", script), manners, &["ann@one.test"]).await;
        assert_eq!(run.reason("ann@one.test"), "desynchronised");
    }
    // A host that says at last that it closes takes nothing back.
    let script = |heard: &crate::fake::Heard<'_>| match heard.rcpt()? {
        "ann@one.test" => None,
        _ => Some(Act::Raw(b"550 5.1.1 User unknown\r\n421 4.4.2 Bye\r\n".to_vec())),
    };
    let run = Run::of(FakeNet::new("", script), impatient(), &["ann@one.test"]).await;
    assert_eq!(run.reason("ann@one.test"), "mailbox_exists");
}

#[tokio::test(start_paused = true)]
async fn r17_garbage_after_rcpt_is_a_protocol_fault() {
    for garbage in ["25", "250text", "650 what", "250-a\r\n550 b"] {
        let script =
            move |heard: &crate::fake::Heard<'_>| heard.rcpt().map(|_| Act::Raw(format!("{garbage}\r\n").into_bytes()));
        let run = Run::of(FakeNet::new("", script), impatient(), &["ann@one.test"]).await;
        assert_eq!(run.reason("ann@one.test"), "protocol", "{garbage}");
    }
}

#[tokio::test(start_paused = true)]
async fn r18_a_refused_reverse_path_is_about_us() {
    let script = |heard: &crate::fake::Heard<'_>| {
        heard
            .line
            .starts_with("MAIL")
            .then(|| say("550 5.1.8 Sender address rejected: Domain not found"))
    };
    let run = Run::of(FakeNet::new("", script), impatient(), &["ann@one.test", "bob@two.test"]).await;
    assert_eq!(run.label("ann@one.test"), Label::Unknown);
    assert_eq!(run.label("bob@two.test"), Label::Unknown);
    assert!(run.net.recipients().is_empty());
}

#[tokio::test(start_paused = true)]
async fn s13_a_backup_that_takes_everything_proves_nothing() {
    let route = MailRoute::Exchangers(vec![exchanger("mx2.fake.test", 20, "127.9.0.2", true)]);
    let net = FakeNet::new("", |_| None);
    let stop = Stop::new();
    let run = Run::over(net, manners(), route.clone(), &["ann@one.test"], stop.clone()).await;
    assert_eq!(run.reason("ann@one.test"), "backup_mx_only");
    let run = Run::over(
        FakeNet::new("", mailboxes(&["ann@one.test"])),
        manners(),
        route,
        &["ann@one.test"],
        stop,
    )
    .await;
    assert_eq!(
        run.reason("ann@one.test"),
        "mailbox_exists",
        "a second MX that knows its recipients (HOSTILE S12)"
    );
}

#[tokio::test(start_paused = true)]
async fn s1_silence_is_a_timeout_and_the_next_host_is_tried() {
    let silent = |heard: &crate::fake::Heard<'_>| match heard.connection {
        0 => Some(Act::Hang),
        _ => mailboxes(&["ann@one.test"])(heard),
    };
    let route = MailRoute::Exchangers(vec![
        exchanger("mx1.fake.test", 10, "127.9.0.1", false),
        exchanger("mx2.fake.test", 20, "127.9.0.2", true),
    ]);
    let stop = Stop::new();
    let run = Run::over(FakeNet::new("", silent), impatient(), route, &["ann@one.test"], stop).await;
    assert_eq!(run.reason("ann@one.test"), "mailbox_exists");
    let run = Run::of(FakeNet::new("", |_| Some(Act::Hang)), impatient(), &["ann@one.test"]).await;
    assert_eq!(run.reason("ann@one.test"), "timeout");
}

#[tokio::test(start_paused = true)]
async fn t1_hosts_without_ehlo_hear_helo() {
    let script = |heard: &crate::fake::Heard<'_>| match heard.line {
        line if line.starts_with("EHLO") => Some(say("502 5.5.1 Command not implemented")),
        _ => mailboxes(&["ann@one.test"])(heard),
    };
    let run = Run::of(FakeNet::new("", script), impatient(), &["ann@one.test"]).await;
    assert_eq!(run.reason("ann@one.test"), "mailbox_exists");
    assert!(run.net.lines().contains(&"HELO probe.example.org".to_owned()));
}
