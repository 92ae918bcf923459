//! The program against `presend lab`: what is asked, what is said, how a run is interrupted.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use super::{Place, Ran, columns};

// Networks of their own: hosts of one network share one budget.
const WORLD: &str = r#"
[[host]]
name = "mx.known.example"
ip = "127.31.1.1"
serves = ["known.example"]
mailboxes = ["jane", "joe"]

[[host]]
name = "mx.slow.example"
ip = "127.31.2.1"
serves = ["slow.example"]
greeting_delay_ms = 60000

[[host]]
name = "mx.down.example"
ip = "127.31.3.1"
serves = ["down.example"]
down = true
"#;

/// A running `presend lab`.
pub(crate) struct Lab {
    process: Child,
    pub(crate) place: Place,
    pub(crate) flags: Vec<String>,
}

impl Lab {
    fn start() -> Self {
        Self::of(WORLD)
    }

    pub(crate) fn of(world: &str) -> Self {
        let place = Place::new();
        place.write("world.toml", world);
        let mut process = Command::new(assert_cmd::cargo::cargo_bin!("presend"))
            .args(["lab", "world.toml"])
            .current_dir(place.0.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The lab itself says how to reach it.
        let mut said = BufReader::new(process.stdout.as_mut().unwrap());
        let mut text = String::new();
        while !text.contains("Ctrl-C") {
            assert!(said.read_line(&mut text).unwrap() > 0, "the lab ended: {text}");
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let value = |flag: &str| {
            let at = words.iter().position(|word| *word == flag).unwrap();
            words[at + 1].to_owned()
        };
        let flags = [
            "--nameserver".to_owned(),
            value("--nameserver"),
            "--smtp-port".into(),
            value("--smtp-port"),
        ];
        let mut flags = flags.to_vec();
        flags.extend(["--allow-special-use", "--trusted-host", "known.example", "--no-wait"].map(String::from));
        Self { process, place, flags }
    }

    pub(crate) fn arguments<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        arguments
            .iter()
            .copied()
            .chain(self.flags.iter().map(String::as_str))
            .collect()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.place.run(&self.arguments(arguments))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) const IDENTITY: [&str; 4] = ["--helo-name", "probe.example", "--mail-from", "probe@probe.example"];

fn results(ran: &Ran) -> Vec<Value> {
    ran.out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn p9_a_domain_that_is_claimed_must_prove_it_in_its_zone() {
    let ask = |lab: &Lab, secret: &str| {
        let claim = ["--i-own", "known.example", "--owner-secret", secret];
        lab.run(&[&["check", "--json", "jane@known.example"][..], &IDENTITY, &claim].concat())
    };
    let secret = "correct horse battery staple";
    let ran = ask(&Lab::start(), secret);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("`--i-own known.example` is not proven"), "{}", ran.err);
    let (_, record) = ran.err.split_once("publish `").unwrap();
    let (record, _) = record.split_once('`').unwrap();
    let (name, value) = record.split_once(" IN TXT ").unwrap();
    assert_eq!(name, "_presend.known.example.");
    let zone = format!("[[domain]]\nname = \"_presend.known.example\"\ntxt = [\"v=other\", {value}]\n");
    let lab = Lab::of(&format!("{WORLD}{zone}"));
    let ran = ask(&lab, secret);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(results(&ran)[0]["label"], "valid");
    // Another installation finds the record, and has no use for it.
    let ran = ask(&lab, "somebody else's secret");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("another installation's token"), "{}", ran.err);
}

#[test]
fn check_asks_the_mail_host_and_shows_the_dialogue() {
    let lab = Lab::start();
    let ran = lab.run(
        &[
            &["check", "--json", "jane@known.example", "nobody@known.example"][..],
            &IDENTITY,
        ]
        .concat(),
    );
    let results = results(&ran);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(
        (&results[0]["label"], &results[1]["label"]),
        (&"valid".into(), &"invalid".into())
    );
    assert_eq!(results[0]["mail_host"]["name"], "mx.known.example");
    assert_eq!(
        (&results[1]["evidence"]["code"], &results[1]["evidence"]["stage"]),
        (&550.into(), &"rcpt".into())
    );
    let shown = lab
        .run(&[&["check", "-v", "jane@known.example"][..], &IDENTITY].concat())
        .out;
    for said in [
        "> EHLO probe.example",
        "> MAIL FROM:<probe@probe.example>",
        "> RCPT TO:<jane@known.example>",
        "> QUIT",
        "rule",
    ] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
    assert!(!shown.contains("DATA"), "{shown}");
}

#[test]
fn without_an_identity_the_route_is_found_and_a_hint_says_what_is_missing() {
    let lab = Lab::start();
    let check = ["check", "--json", "jane@known.example"];
    let ran = lab.run(&check);
    let result = &results(&ran)[0];
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        (&result["label"], &result["reason"]),
        (&"unknown".into(), &"no_identity".into())
    );
    assert_eq!(
        (&result["mail_host"]["name"], &result["mail_host"]["ip"]),
        (&"mx.known.example".into(), &Value::Null)
    );
    assert!(
        ran.err.starts_with("hint: `--helo-name` and `--mail-from` are missing"),
        "{}",
        ran.err
    );
    // Asked for by name it is incomplete.
    assert_eq!(lab.run(&[&check[..], &["--level", "smtp"]].concat()).code, 3);
    let ran = lab.run(&[&check[..], &["--level", "dns"]].concat());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let ran = lab.run(&[&check[..], &["--helo-name", "probe.example"]].concat());
    assert!(ran.err.starts_with("hint: `--mail-from` is missing"), "{}", ran.err);
}

#[test]
fn a_host_that_cannot_be_reached_is_incomplete() {
    let lab = Lab::start();
    let ran = lab.run(&[&["check", "--json", "jane@down.example"][..], &IDENTITY].concat());
    assert_eq!((ran.code, &results(&ran)[0]["reason"]), (3, &"unreachable".into()));
}

#[test]
fn verify_labels_a_list_and_forecasts_its_bounces() {
    let lab = Lab::start();
    lab.place.write(
        "leads.csv",
        "email,name\njane@known.example,Jane\nnobody@known.example,No\nJANE@known.example,J\n",
    );
    let ran = lab.run(&[&["verify", "leads.csv"][..], &IDENTITY].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        columns(
            &ran.out,
            b',',
            &["name", "presend_label", "presend_action", "presend_mail_host"]
        ),
        "Jane,valid,send,mx.known.example/No,invalid,drop,mx.known.example/J,valid,send,mx.known.example"
    );
    for said in [
        "3 rows, 2 different addresses, 1 repeated",
        "if every row were mailed: 33.3 %, over the 2 %",
    ] {
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
}

#[test]
#[cfg(unix)]
fn an_interrupted_run_writes_what_is_known_and_is_130() {
    let lab = Lab::start();
    lab.place
        .write("list.txt", "jane@known.example\njane@slow.example\njoe@known.example\n");
    let arguments = [&["verify", "list.txt", "--timeout-reply", "3s"][..], &IDENTITY].concat();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("presend"))
        .args(lab.arguments(&arguments))
        .env("HOME", lab.place.0.path())
        .env_remove("XDG_STATE_HOME")
        .current_dir(lab.place.0.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first row is written as soon as it is known; the second takes longer.
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while text.lines().count() < 2 {
        assert!(out.read_line(&mut text).unwrap() > 0, "the run ended: {text}");
    }
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupt.success());
    out.read_to_string(&mut text).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
    assert!(said.contains("stopping: ") && said.contains("(interrupted)"), "{said}");
    let rows = columns(&text, b',', &["address", "presend_reason"]);
    let rows: Vec<&str> = rows.split('/').collect();
    assert_eq!(
        (rows.len(), rows[0]),
        (3, "jane@known.example,mailbox_exists"),
        "{rows:?}"
    );
    // A session that waits for its greeting may be left at once or at its deadline.
    assert!(
        ["jane@slow.example,interrupted", "jane@slow.example,timeout"].contains(&rows[1]),
        "{rows:?}"
    );
}
