//! The program in the miniature internet: lines, JSON, exit codes.

use presend::lab::World;
use serde_json::Value;

use crate::{
    cli::{Place, Ran},
    watch::Watched,
};

const WORLD: &str = r#"
[[host]]
name = "mx.org.example"
serves = ["org.example"]

[[host]]
name = "mx.strict.example"
serves = ["strict.example"]
script = [{ on = "greeting", reply = "554 5.7.1 Client host [192.0.2.7] blocked using zen.spamhaus.org", then = "close" }]

[[host]]
name = "mx.down.example"
serves = ["down.example"]
down = true

[[domain]]
name = "org.example"
mx = "10 mx.org.example"
txt = ["some other text", "v=spf1 include:_spf.org.example -all"]

[[domain]]
name = "_spf.org.example"
txt = "v=spf1 a:probe.org.example -all"

[[domain]]
name = "probe.org.example"
a = "192.0.2.7"

[[domain]]
name = "7.2.0.192.in-addr.arpa"
ptr = "probe.org.example"

[[domain]]
name = "9.2.0.192.in-addr.arpa"
ptr = "elsewhere.example"

[[domain]]
name = "2.0.0.127.bl.example"
a = "127.0.0.2"

[[domain]]
name = "8.2.0.192.bl.example"
a = "127.0.0.4"
txt = "Dynamic address"
"#;

const LISTS: &str = r#"
[[blocklist]]
zone = "bl.example"
name = "A list"
of = "address"
grave = true
terms = "tests"
listed = "127.0.0.2"
unlisted = "127.0.0.1"
removal = "https://bl.example/{subject}"
source = "here"
"#;

const IDENTITY: [&str; 4] = ["--helo-name", "probe.org.example", "--mail-from", "bounces@org.example"];

struct Scene {
    lab: Watched,
    place: Place,
}

impl Scene {
    async fn start() -> Self {
        Self::of(WORLD).await
    }

    async fn of(world: &str) -> Self {
        let lab = Watched::start(World::parse(world, "doctor.toml").unwrap(), |_| false)
            .await
            .unwrap();
        let place = Place::new();
        place.write("lists.toml", LISTS);
        Self { lab, place }
    }

    async fn doctor(&self, arguments: &[&str]) -> Ran {
        let (dns, port) = (self.lab.dns().to_string(), self.lab.smtp_port().to_string());
        let flags = [
            "--nameserver",
            &dns,
            "--smtp-port",
            &port,
            "--allow-special-use",
            "--blocklists",
            "lists.toml",
        ];
        let all: Vec<&str> = ["doctor"].iter().chain(&flags).chain(arguments).copied().collect();
        let mut command = self.place.command(&all);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        Ran::from(output.await.unwrap())
    }
}

fn statuses(ran: &Ran, check: &str) -> Vec<String> {
    let report: Value = serde_json::from_str(&ran.out).expect(&ran.out);
    let checks = report["checks"].as_array().unwrap();
    let of = checks.iter().filter(|found| found["check"] == check);
    of.map(|check| check["status"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_in_order_may_probe() {
    let world = Scene::start().await;
    let ran = world
        .doctor(&[&IDENTITY[..], &["--public-ip", "192.0.2.7"]].concat())
        .await;
    assert_eq!((ran.code, &*ran.err), (0, ""), "{}", ran.out);
    let lines: Vec<&str> = ran.out.lines().collect();
    for (line, starts, holds) in [
        (
            0,
            "pass  identity ",
            "HELO probe.org.example, reverse-path bounces@org.example",
        ),
        (
            8,
            "pass  reverse_dns ",
            "192.0.2.7: probe.org.example, which points back and is the HELO name",
        ),
        (
            10,
            "pass  spf ",
            "192.0.2.7: org.example: pass (include:_spf.org.example)",
        ),
        (12, "pass  port_25 ", ": 220 mx.org.example"),
        (13, "pass  blocklist ", "bl.example: 192.0.2.7 is not listed"),
    ] {
        assert!(
            lines[line].starts_with(starts) && lines[line].contains(holds),
            "{}",
            ran.out
        );
    }
    assert!(ran.out.contains("0 failed"), "{}", ran.out);
    // The greeting was read and QUIT was said; nothing else.
    let verbs = world.lab.verbs();
    assert_eq!(verbs.into_iter().collect::<Vec<_>>(), [("QUIT", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_exit_1_in_lines_and_in_json() {
    let world = Scene::start().await;
    let arguments = [
        "--public-ip",
        "192.0.2.8",
        "--host",
        "strict.example,down.example,org.example",
        "--json",
    ];
    let ran = world.doctor(&[&IDENTITY[..], &arguments].concat()).await;
    assert_eq!((ran.code, &*ran.err), (1, ""), "{}", ran.out);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&report["schema"], &report["failed"], &report["network"]),
        (&"presend-doctor/1".into(), &true.into(), &true.into())
    );
    assert_eq!(statuses(&ran, "port_25"), ["fail", "warn", "pass"]);
    assert_eq!(statuses(&ran, "reverse_dns"), ["fail"]);
    assert_eq!(statuses(&ran, "helo_address"), ["warn"]);
    assert_eq!(statuses(&ran, "spf"), ["fail"]);
    assert_eq!(statuses(&ran, "blocklist"), ["fail"]);
    assert!(
        ran.out.contains("Dynamic address") && ran.out.contains("blocklist Spamhaus ZEN"),
        "{}",
        ran.out
    );
    let ran = world.doctor(&["--public-ip", "192.0.2.9"]).await;
    assert_eq!(ran.code, 1, "no identity: {}", ran.out);
    assert!(
        ran.out.contains("its name elsewhere.example does not point back"),
        "{}",
        ran.out
    );
    assert!(
        ran.out
            .ends_with("do not probe from here before the failed checks are mended\n"),
        "{}",
        ran.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_nobody_answers_is_exit_3() {
    // SERVFAIL for every name of the world outside.
    let broken =
        ["com", "org"].map(|name| format!("[[domain]]\nname = \"{name}\"\nfail = \"servfail\"\nwildcard = true\n"));
    let host = "[[host]]\nname = \"mx.org.example\"\n";
    let world = Scene::of(&format!("{}{host}", broken.concat())).await;
    let ran = world.doctor(&IDENTITY).await;
    assert_eq!((ran.code, &*ran.err), (3, ""), "{}", ran.out);
    assert!(ran.out.contains("fail  resolver "), "{}", ran.out);
    assert!(
        ran.out
            .ends_with("nothing could be found out: the network does not answer\n"),
        "{}",
        ran.out
    );
}

#[test]
fn what_cannot_be_used_is_exit_2() {
    let place = Place::new();
    place.write("lists.toml", "[[blocklist]]\nzone = 7\n");
    place.write("presend.toml", "helo_name = \"probe.org.example\"\nretry_lader = []\n");
    place.write("good.toml", "");
    for (arguments, said) in [
        (
            &["--config", "good.toml", "--blocklists", "lists.toml"][..],
            "lists.toml: TOML parse error at line 2",
        ),
        (
            &["--config", "good.toml", "--blocklists", "missing.toml"],
            "cannot read `missing.toml`",
        ),
        (&["--config", "good.toml", "--public-ip", "here"], "--public-ip"),
        (&[], "presend.toml:2:1: unknown key `retry_lader`"),
    ] {
        let ran = place.run(&[&["doctor"], arguments].concat());
        assert_eq!((ran.code, &*ran.out), (2, ""), "{}", ran.err);
        assert!(ran.err.contains(said), "{}", ran.err);
    }
}
