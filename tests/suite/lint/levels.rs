//! Domains and mailboxes asked about in a miniature internet, and what a cache answers later without anybody.

use std::fs;

use super::{found, summary};
use crate::cli::{
    Place, Ran,
    against_lab::{IDENTITY, Lab},
};

const WORLD: &str = r#"
[[host]]
name = "mx.known.example"
serves = ["known.example"]
mailboxes = ["jane", "joe"]

[[domain]]
name = "null.example"
mx = "0 ."

[[domain]]
name = "failing.example"
fail = "servfail"
"#;

const LIST: &str = "jane@known.example\nstranger@known.example\nx@null.example\ny@null.example\nz@gone.example\n";

fn lint(lab: &Lab, arguments: &[&str]) -> Ran {
    lab.run(&[&["lint", "-o", "jsonl", "list.txt"], arguments].concat())
}

#[test]
fn the_dns_is_asked_once_for_each_domain_and_a_restored_cache_asks_nobody() {
    let lab = Lab::of(WORLD);
    lab.place.write("list.txt", LIST);
    let expected = ["3 null-mx", "4 null-mx", "5 no-such-domain"];
    let ran = lint(&lab, &["--cache", "cache.db"]);
    assert_eq!(
        (ran.code, found(&ran)),
        (1, expected.map(String::from).to_vec()),
        "{}",
        ran.err
    );
    assert_eq!(summary(&ran)["hard_bounces"], 3);
    // One file is all that a pipeline restores, and no name server is there.
    let other = Place::new();
    other.write("list.txt", LIST);
    fs::copy(lab.place.0.path().join("cache.db"), other.0.path().join("cache.db")).unwrap();
    let offline = |more: &[&str]| {
        let arguments = [
            "lint",
            "-o",
            "jsonl",
            "list.txt",
            "--allow-special-use",
            "--cache",
            "cache.db",
            "--offline",
        ];
        other.run(&[&arguments, more].concat())
    };
    let ran = offline(&[]);
    assert_eq!(
        (ran.code, found(&ran)),
        (1, expected.map(String::from).to_vec()),
        "{}",
        ran.err
    );
    // What is too old is not known, and what is not known does not pass.
    let ran = offline(&["--max-cache-age", "0s"]);
    assert_eq!((ran.code, found(&ran).len()), (3, 5), "{}", ran.out);
    assert!(ran.out.contains("\"reason\":\"offline\""), "{}", ran.out);
}

#[test]
fn mail_hosts_are_asked_and_answers_serve_later() {
    let lab = Lab::of(WORLD);
    lab.place.write("list.txt", LIST);
    let smtp = ["--level", "smtp", "--cache", "cache.db"];
    let ran = lint(&lab, &smtp);
    assert_eq!(ran.code, 2, "nobody says as whom to ask: {}", ran.err);
    let expected = ["2 mailbox-refused", "3 null-mx", "4 null-mx", "5 no-such-domain"];
    let ran = lint(&lab, &[&smtp, &IDENTITY[..]].concat());
    assert_eq!(
        (ran.code, found(&ran)),
        (1, expected.map(String::from).to_vec()),
        "{}",
        ran.err
    );
    let ran = lint(&lab, &[&smtp, &IDENTITY[..], &["--offline"]].concat());
    assert_eq!(
        (ran.code, found(&ran)),
        (1, expected.map(String::from).to_vec()),
        "{}",
        ran.err
    );
}

#[test]
fn a_network_that_is_down_is_3_and_never_a_pass() {
    let place = Place::new();
    place.write("list.txt", "jane@known.example\njoe@other.example\n");
    // Nobody listens there.
    let arguments = [
        "lint",
        "-o",
        "jsonl",
        "list.txt",
        "--nameserver",
        "127.0.0.1:1",
        "--allow-special-use",
    ];
    let ran = place.run(&arguments);
    assert_eq!(
        (ran.code, found(&ran)),
        (3, vec!["1 unknown".to_owned(), "2 unknown".to_owned()]),
        "{}",
        ran.err
    );
}

#[test]
fn one_reason_can_be_let_pass() {
    let lab = Lab::of(WORLD);
    lab.place.write("list.txt", "jane@known.example\nx@failing.example\n");
    let ran = lint(&lab, &[]);
    assert_eq!(
        (ran.code, found(&ran)),
        (3, vec!["2 unknown".to_owned()]),
        "{}",
        ran.err
    );
    let ran = lint(&lab, &["--ignore", "unknown/dns_servfail"]);
    assert_eq!((ran.code, found(&ran).len()), (0, 0), "{}", ran.out);
    for (more, code) in [
        (&["--ignore", "unknown/timeout"][..], 3),
        (&["--ignore", "unknown"], 3),
        (&["--fail-on", "unknown"], 1),
        (&["--max-unknown", "100%"], 0),
    ] {
        assert_eq!(lint(&lab, more).code, code, "{more:?}");
    }
}

#[test]
fn who_is_suppressed_is_found_at_every_level() {
    let lab = Lab::of(WORLD);
    lab.place.write("list.txt", "Joe@known.example\njane@known.example\n");
    let add = [
        "suppress",
        "add",
        "joe@known.example",
        "--reason",
        "unsubscribed",
        "--db",
        "people.db",
    ];
    let added = lab.place.run(&add);
    assert_eq!(added.code, 0, "{}", added.err);
    for level in ["syntax", "dns"] {
        let ran = lint(&lab, &["--db", "people.db", "--level", level]);
        assert_eq!(
            (ran.code, found(&ran)),
            (1, vec!["1 suppressed".to_owned()]),
            "{level}: {}",
            ran.err
        );
        assert!(
            ran.out.contains("\"reason\":\"suppressed_unsubscribed\""),
            "{}",
            ran.out
        );
    }
    let smtp = ["--db", "people.db", "--level", "smtp"];
    let ran = lint(&lab, &[&smtp, &IDENTITY[..]].concat());
    assert_eq!(
        (ran.code, found(&ran)),
        (1, vec!["1 suppressed".to_owned()]),
        "{}",
        ran.err
    );
    let ran = lint(&lab, &["--level", "syntax"]);
    assert_eq!((ran.code, found(&ran).len()), (0, 0), "another database knows nobody");
}
