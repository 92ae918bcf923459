//! Names, addresses, SPF and the way back.

use presend::{
    address::Rules,
    doctor::{Plan, Status},
};

use super::{SOUND, ip, of, one, plan, run};

/// The zone without the lines that begin so, and with these.
fn zone(without: &str, with: &str) -> String {
    let kept = SOUND
        .lines()
        .filter(|line| without.is_empty() || !line.starts_with(without));
    kept.chain(with.lines()).flat_map(|line| [line, "\n"]).collect()
}

#[tokio::test(start_paused = true)]
async fn names_must_agree_with_the_address() {
    let ptr = "7.0.40.52.in-addr.arpa PTR";
    let a = "probe.org.example.net A";
    for (without, with, check, status, said) in [
        (ptr, "", "reverse_dns", Status::Fail, "no PTR record"),
        (
            ptr,
            "7.0.40.52.in-addr.arpa NODATA",
            "reverse_dns",
            Status::Fail,
            "no PTR record",
        ),
        (
            ptr,
            "7.0.40.52.in-addr.arpa SERVFAIL",
            "reverse_dns",
            Status::Skip,
            "SERVFAIL",
        ),
        (
            ptr,
            "7.0.40.52.in-addr.arpa PTR host7.isp.example",
            "reverse_dns",
            Status::Fail,
            "does not point back",
        ),
        (
            ptr,
            "7.0.40.52.in-addr.arpa PTR host7.isp.example\nhost7.isp.example A 52.40.0.8",
            "reverse_dns",
            Status::Fail,
            "does not point back",
        ),
        (
            ptr,
            "7.0.40.52.in-addr.arpa PTR host7.isp.example\nhost7.isp.example A 52.40.0.7",
            "reverse_dns",
            Status::Warn,
            "its name is host7.isp.example, and it says HELO probe.org.example.net",
        ),
        (
            ptr,
            "7.0.40.52.in-addr.arpa PTR evil\u{1b}[31m.example",
            "reverse_dns",
            Status::Fail,
            "evil [31m.example",
        ),
        (
            ptr,
            "7.0.40.52.in-addr.arpa PTR host7.isp.example\n7.0.40.52.in-addr.arpa PTR probe.org.example.net",
            "reverse_dns",
            Status::Pass,
            "is the HELO name",
        ),
        (a, "", "helo_address", Status::Fail, "has no address"),
        (
            a,
            "probe.org.example.net NODATA",
            "helo_address",
            Status::Fail,
            "has no address",
        ),
        (
            a,
            "probe.org.example.net A 52.40.0.8",
            "helo_address",
            Status::Warn,
            "has other addresses",
        ),
        (
            a,
            "probe.org.example.net SILENT",
            "helo_address",
            Status::Skip,
            "no DNS answer in time",
        ),
    ] {
        let report = run(&plan(), &zone(without, with)).await;
        let found = one(&report, check);
        assert_eq!(found.status, status, "{with}: {found:?}");
        assert!(found.seen.contains(said), "{with}: {}", found.seen);
        assert_eq!(found.subject.as_deref(), Some("52.40.0.7"));
        let wants_advice = matches!(status, Status::Warn | Status::Fail);
        assert_eq!(found.advice.is_some(), wants_advice, "{with}");
    }
}

#[tokio::test(start_paused = true)]
async fn spf_must_cover_the_address() {
    for (record, status, said) in [
        (
            "v=spf1 a:probe.org.example.net -all",
            Status::Pass,
            "pass (a:probe.org.example.net)",
        ),
        ("v=spf1 mx -all", Status::Fail, "fail (-all)"),
        ("v=spf1 mx ~all", Status::Fail, "softfail (~all)"),
        ("v=spf1 mx ?all", Status::Warn, "neutral (?all)"),
        ("v=spf1 mx", Status::Warn, "neutral (no term matches)"),
        ("v=spf1 +all", Status::Warn, "lets every address send"),
        (
            "v=spf1 ip4:52.40.0.777 -all",
            Status::Fail,
            "permerror: `ip4:52.40.0.777` cannot be read",
        ),
        (
            "v=spf1 include:nowhere.example -all",
            Status::Fail,
            "which has no SPF record",
        ),
        ("some other text", Status::Warn, "has no SPF record"),
    ] {
        let zone = zone("org.example.net TXT", &format!("org.example.net TXT {record}"));
        let report = run(&plan(), &zone).await;
        let spf = one(&report, "spf");
        assert_eq!(spf.status, status, "{record}: {spf:?}");
        assert!(spf.seen.contains(said), "{record}: {}", spf.seen);
        assert_eq!(spf.advice.is_some(), status != Status::Pass);
    }
}

#[tokio::test(start_paused = true)]
async fn bounces_must_be_able_to_come_back() {
    for (with, status, said) in [
        (
            "org.example.net MX 10 mx.org.example.net",
            Status::Pass,
            "bounces go to mx.org.example.net",
        ),
        ("org.example.net A 52.40.1.1", Status::Warn, "no MX record"),
        ("org.example.net MX 0 .", Status::Fail, "null MX"),
        (
            "org.example.net MX 10 localhost",
            Status::Fail,
            "its MX is the local machine",
        ),
        (
            "org.example.net MX 10 nowhere.example",
            Status::Fail,
            "none of its MX hosts has an address",
        ),
        ("org.example.net NODATA", Status::Fail, "neither MX nor address"),
        ("", Status::Fail, "does not exist"),
    ] {
        let report = run(&plan(), &zone("org.example.net", with)).await;
        let found = one(&report, "reverse_path_mail");
        assert_eq!(found.status, status, "{with}: {found:?}");
        assert!(found.seen.contains(said), "{with}: {}", found.seen);
    }
}

#[tokio::test(start_paused = true)]
async fn every_address_is_examined_and_private_ones_only_named() {
    let mut plan = plan();
    plan.sources = vec![ip("52.40.0.7"), ip("10.0.0.7"), ip("2600:1f00::7")];
    let report = run(&plan, SOUND).await;
    let sources: Vec<_> = of(&report, "source_address").iter().map(|check| check.status).collect();
    assert_eq!(sources, [Status::Pass, Status::Warn, Status::Pass]);
    let examined: Vec<_> = of(&report, "reverse_dns")
        .iter()
        .map(|check| (check.subject.clone().unwrap(), check.status))
        .collect();
    assert_eq!(
        examined,
        [
            ("52.40.0.7".into(), Status::Pass),
            ("2600:1f00::7".into(), Status::Fail)
        ]
    );
    let lists = of(&report, "blocklist");
    assert_eq!(&*lists[0].seen, "52.40.0.7 is not listed", "the list knows no IPv6");

    plan.sources = vec![ip("10.0.0.7")];
    let report = run(&plan, SOUND).await;
    for check in ["reverse_dns", "helo_address", "spf"] {
        assert_eq!(one(&report, check).status, Status::Skip);
    }
    plan.public = vec![ip("52.40.0.7")];
    let report = run(&plan, SOUND).await;
    assert_eq!(one(&report, "spf").status, Status::Pass);
    plan.sources.clear();
    plan.public.clear();
    let report = run(&plan, SOUND).await;
    assert!(one(&report, "source_address").seen.contains("no route"));
}

#[tokio::test(start_paused = true)]
async fn reserved_names_and_addresses_are_for_labs() {
    let strict = Plan {
        rules: Rules {
            allow_special_use: false,
        },
        helo_name: Some("probe.test".into()),
        public: vec![ip("192.0.2.1")],
        ..plan()
    };
    let report = run(&strict, SOUND).await;
    for check in ["helo_name", "source_address", "reverse_path"] {
        // example.net is reserved too (RFC 6761).
        assert_eq!(one(&report, check).status, Status::Fail, "{check}");
    }
    let lab = Plan {
        public: vec![ip("192.0.2.1")],
        helo_name: Some("probe.test".into()),
        ..plan()
    };
    let report = run(&lab, SOUND).await;
    for check in ["helo_name", "source_address", "reverse_path"] {
        assert_eq!(one(&report, check).status, Status::Pass, "{check}");
    }
}
