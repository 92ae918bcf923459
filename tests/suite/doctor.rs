//! `presend doctor`: every check against a scripted name server and scripted mail hosts, and as a program in the miniature
//! internet.

mod fake_dns;
mod port;
mod program;
mod sender;
mod spf;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use presend::{
    address::Rules,
    clock::Clock,
    doctor::{Blocklists, Check, Machine, Plan, Report, Seams, Status, examine},
    net::Dial,
    smtp::Timeouts,
};
use tokio::time::Instant;

use crate::fake::FakeNet;
use fake_dns::FakeDns;

/// Wall time that goes with tokio's, so that a paused clock looks steady.
struct Steady(Instant);

impl Clock for Steady {
    fn now(&self) -> SystemTime {
        // The 22nd of November 2026.
        SystemTime::UNIX_EPOCH + Duration::from_hours(498_696) + self.0.elapsed()
    }
}

/// A machine with everything in order, on the real internet's terms.
const SOUND: &str = "\
org.example.net MX 10 mx.org.example.net
mx.org.example.net A 52.40.1.1
org.example.net TXT v=spf1 ip4:52.40.0.7 -all
probe.org.example.net A 52.40.0.7
7.0.40.52.in-addr.arpa PTR probe.org.example.net
2.0.0.127.bl.example A 127.0.0.2
test.dbl.example A 127.0.1.2
";

const LISTS: &str = r#"
[[blocklist]]
zone = "bl.example"
name = "Addresses"
of = "address"
grave = true
terms = "tests"
listed = "127.0.0.2"
unlisted = "127.0.0.1"
removal = "https://bl.example/?{subject}"
source = "here"
meanings = { "127.0.0.4" = "a bot" }

[[blocklist]]
zone = "dbl.example"
name = "Domains"
of = "domain"
grave = false
terms = "tests"
listed = "test"
unlisted = "invalid"
refused = ["127.0.1.255"]
removal = "https://dbl.example/?{subject}"
source = "here"
"#;

fn plan() -> Plan {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lists.toml");
    std::fs::write(&file, LISTS).unwrap();
    Plan {
        helo_name: Some("probe.org.example.net".into()),
        mail_from: Some("bounces@org.example.net".into()),
        hosts: Vec::new(),
        sources: vec!["52.40.0.7".parse().unwrap()],
        public: Vec::new(),
        families: presend::net::Families::V6AndV4,
        smtp_port: 25,
        timeouts: Timeouts::INTERACTIVE,
        rules: Rules {
            allow_special_use: true,
        },
        blocklists: Blocklists::load(&file).unwrap(),
        machine: Machine {
            settings: "tests".into(),
            open_files: 4096,
            ipv6_route: false,
            time_source: None,
        },
    }
}

async fn run(plan: &Plan, zone: &str) -> Report {
    over(plan, zone, FakeNet::new("", |_| None)).await
}

async fn over(plan: &Plan, zone: &str, net: impl Dial) -> Report {
    let seams = Seams {
        dns: Arc::new(FakeDns::new(zone)),
        dial: Arc::new(net),
        clock: Arc::new(Steady(Instant::now())),
        classifier: None,
    };
    examine(plan, &seams).await
}

/// The checks with this name.
fn of<'a>(report: &'a Report, check: &str) -> Vec<&'a Check> {
    let found: Vec<&Check> = report.checks.iter().filter(|found| found.check == check).collect();
    assert!(!found.is_empty(), "no `{check}` in {report:#?}");
    found
}

/// The one check with this name.
fn one<'a>(report: &'a Report, check: &str) -> &'a Check {
    let found = of(report, check);
    assert_eq!(found.len(), 1, "{found:#?}");
    found[0]
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_machine_in_order_passes_every_check() {
    let report = run(&plan(), SOUND).await;
    let bad: Vec<&Check> = report
        .checks
        .iter()
        .filter(|check| check.status != Status::Pass)
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
    let names: Vec<&str> = report.checks.iter().map(|check| check.check).collect();
    assert_eq!(
        names,
        [
            "identity",
            "helo_name",
            "reverse_path",
            "settings",
            "open_files",
            "ipv6",
            "resolver",
            "source_address",
            "reverse_dns",
            "helo_address",
            "spf",
            "reverse_path_mail",
            "port_25",
            "blocklist",
            "blocklist",
            "resolver_answers",
            "clock"
        ]
    );
    assert!(report.network && !report.failed());
}

#[tokio::test(start_paused = true)]
async fn without_an_identity_the_rest_is_still_examined() {
    for (helo, from, said) in [
        (None, None, "neither HELO name nor reverse-path"),
        (Some("probe.org.example.net"), None, "the reverse-path is not set"),
        (None, Some("bounces@org.example.net"), "the HELO name is not set"),
        (
            Some("localhost"),
            Some("bounces@org.example.net"),
            "`localhost` is not a fully qualified",
        ),
        (
            Some("[192.0.2.1]"),
            Some("bounces@org.example.net"),
            "is not a fully qualified",
        ),
        (
            Some("probe.org.example.net"),
            Some("nobody"),
            "`nobody` is not a plain ASCII address",
        ),
    ] {
        let plan = Plan {
            helo_name: helo.map(str::to_owned),
            mail_from: from.map(str::to_owned),
            hosts: vec!["org.example.net".into()],
            ..plan()
        };
        let report = run(&plan, SOUND).await;
        let identity = one(&report, "identity");
        assert_eq!(identity.status, Status::Fail);
        assert!(identity.seen.contains(said), "{}", identity.seen);
        assert_eq!(one(&report, "reverse_dns").status, Status::Pass);
        assert_eq!(one(&report, "port_25").status, Status::Pass);
        assert_eq!(of(&report, "blocklist")[1].status, Status::Skip, "no domain is known");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_resolver_is_told_once_and_nothing_waits_for_it() {
    let started = Instant::now();
    let report = run(&plan(), "* SILENT").await;
    assert!(!report.network);
    assert_eq!(one(&report, "resolver").status, Status::Fail);
    for check in ["reverse_dns", "spf", "reverse_path_mail", "port_25", "blocklist"] {
        assert_eq!(one(&report, check).status, Status::Skip, "{check}");
    }
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    // A host named by its address can be tried all the same, and shows that there is a network.
    let plan = Plan {
        hosts: vec!["52.40.1.1".into()],
        ..plan()
    };
    let report = run(&plan, "* SILENT").await;
    assert_eq!(one(&report, "port_25").status, Status::Pass);
    assert!(report.network && report.failed());
}

#[tokio::test(start_paused = true)]
async fn d21_a_resolver_that_invents_answers_fails_and_lists_nobody() {
    let report = run(&plan(), "* A 52.40.9.9").await;
    let resolver = one(&report, "resolver");
    assert_eq!(resolver.status, Status::Fail);
    assert!(resolver.seen.contains("invents"), "{}", resolver.seen);
    assert_eq!(one(&report, "blocklist").status, Status::Skip);
    assert_eq!(one(&report, "reverse_dns").status, Status::Skip);
}

#[tokio::test(start_paused = true)]
async fn failures_of_the_resolver_are_counted() {
    let zone = format!("{SOUND}org.example.net SERVFAIL\n");
    let report = run(&plan(), &zone).await;
    let answers = one(&report, "resolver_answers");
    assert_eq!(answers.status, Status::Warn);
    assert!(answers.seen.contains("SERVFAIL"), "{}", answers.seen);
    for check in ["spf", "reverse_path_mail"] {
        let check = one(&report, check);
        assert_eq!(
            check.status,
            Status::Skip,
            "what could not be found out is never a failure"
        );
        assert!(check.seen.contains("SERVFAIL"), "{}", check.seen);
    }
    let slow = run(&plan(), &format!("{SOUND}* DELAY 700")).await;
    assert_eq!(one(&slow, "resolver_answers").status, Status::Warn);
}

#[tokio::test(start_paused = true)]
async fn listings_weigh_what_the_list_weighs() {
    let zone = format!(
        "{SOUND}7.0.40.52.bl.example A 127.0.0.4\n7.0.40.52.bl.example TXT see \x1b[31mhttps://bl.example\norg.example.net.dbl.example A 127.0.1.2\n"
    );
    // `org.example.net` is below the public suffix `net`: `example.net` is the registered domain.
    let zone = zone.replace("org.example.net.dbl", "example.net.dbl");
    let report = run(&plan(), &zone).await;
    let lists = of(&report, "blocklist");
    assert_eq!((lists[0].status, lists[1].status), (Status::Fail, Status::Warn));
    assert_eq!(
        &*lists[0].seen,
        "52.40.0.7 is listed: 127.0.0.4 a bot \"see  [31mhttps://bl.example\""
    );
    assert_eq!(
        lists[0].advice.as_deref(),
        Some("mend the cause first, then https://bl.example/?52.40.0.7")
    );
    assert!(
        lists[1].seen.starts_with("example.net is listed: 127.0.1.2"),
        "{}",
        lists[1].seen
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_that_fails_its_test_points_is_not_believed() {
    let listed = "7.0.40.52.bl.example A 127.0.0.4\n";
    let without = SOUND.replace("2.0.0.127.bl.example A 127.0.0.2\n", "");
    for (zone, said) in [
        (format!("{without}{listed}"), "does not list its test point"),
        (
            format!("{SOUND}{listed}1.0.0.127.bl.example A 127.0.0.2\n"),
            "it lists everything",
        ),
        (
            format!("{without}{listed}2.0.0.127.bl.example A 127.255.255.254\n"),
            "does not answer this name server (127.255.255.254: a public or open resolver)",
        ),
        (
            format!("{without}{listed}2.0.0.127.bl.example A 52.40.3.3\n"),
            "as no blocklist does",
        ),
        (
            format!("{without}{listed}2.0.0.127.bl.example SERVFAIL\n"),
            "not found out",
        ),
    ] {
        let report = run(&plan(), &zone).await;
        let list = of(&report, "blocklist")[0];
        assert_eq!(list.status, Status::Skip, "{zone}");
        assert!(list.seen.contains(said), "{}", list.seen);
    }
    // The test point answers and the question does not.
    let report = run(&plan(), &format!("{SOUND}7.0.40.52.bl.example A 127.255.255.255\n")).await;
    let list = of(&report, "blocklist")[0];
    assert_eq!(list.status, Status::Skip);
    assert!(list.seen.contains("refuses to answer"), "{}", list.seen);
}
