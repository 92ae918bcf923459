//! The program against `presend lab`: what is asked, what is said, how a run is interrupted.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use super::{Place, Ran, columns};

const WORLD: &str = r#"
[[host]]
name = "mx.known.example"
serves = ["known.example"]
mailboxes = ["jane", "joe"]

[[host]]
name = "mx.slow.example"
serves = ["slow.example"]
greeting_delay_ms = 60000

[[host]]
name = "mx.down.example"
serves = ["down.example"]
down = true
"#;

/// A running `presend lab`.
struct Lab {
    process: Child,
    place: Place,
    flags: Vec<String>,
}

impl Lab {
    fn start() -> Self {
        let place = Place::new();
        place.write("world.toml", WORLD);
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

    fn arguments<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        arguments
            .iter()
            .copied()
            .chain(self.flags.iter().map(String::as_str))
            .collect()
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.place.run(&self.arguments(arguments))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const IDENTITY: [&str; 4] = ["--helo-name", "probe.example", "--mail-from", "probe@probe.example"];

fn results(ran: &Ran) -> Vec<Value> {
    ran.out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
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
    let arguments = ["verify", "list.txt", "--output", "out.csv", "--progress", "always"];
    let arguments = [&arguments[..], &IDENTITY].concat();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("presend"))
        .args(lab.arguments(&arguments))
        .current_dir(lab.place.0.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Handlers are in place before the first words.
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    said.read_line(&mut first).unwrap();
    assert!(first.starts_with("reading `list.txt`"), "{first}");
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupt.success());
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    assert!(rest.contains("stopping: ") && rest.contains("(interrupted)"), "{rest}");
    let rows = columns(&lab.place.read("out.csv"), b',', &["address", "presend_reason"]);
    assert!(rows.contains("jane@slow.example,interrupted"), "{rows}");
    assert_eq!(rows.split('/').count(), 3, "{rows}");
}
