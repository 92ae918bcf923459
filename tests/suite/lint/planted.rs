//! Two hundred rows with a problem of every rule among them: exactly those are found, and every report of them is as it was.
//!
//! A presend server asks a miniature internet, so that what is reserved is a finding here and may be asked about there.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use presend::lint::Rule;
use serde_json::Value;

use crate::cli::{Place, Ran, against_lab::Lab};

/// What is planted: the row after its number, and the rules that find it.
const PLANTED: [(&str, &[&str]); 31] = [
    ("stranger@quay-and-sons.com,x", &["mailbox-refused"]),
    ("anyone@takes-all-here.com,x", &["catch-all"]),
    ("stuffed@quay-and-sons.com,x", &["mailbox-full"]),
    ("jane@null-mx-here.com,x", &["null-mx"]),
    ("jane@no-mail-host-here.com,x", &["no-mail-host"]),
    ("jane@gone-domain-here.com,x", &["no-such-domain"]),
    ("jane@junk-mx-here.com,x", &["junk-mx"]),
    ("jane@servfail-here.com,x", &["unknown"]),
    ("blocked@quay-and-sons.com,x", &["suppressed"]),
    ("jane@mailinator.com,x", &["disposable"]),
    ("info@quay-and-sons.com,x", &["role"]),
    ("jdoe@gmail.com,x", &["free"]),
    ("j.doe+news@gmail.com,x", &["duplicate-provider", "free"]),
    ("bob@gmial.com,x", &["typo-domain"]),
    ("twice@quay-and-sons.com,x", &[]),
    ("twice@quay-and-sons.com,y", &["duplicate"]),
    ("Twice@quay-and-sons.com,z", &["duplicate-case"]),
    (" spaced@quay-and-sons.com,x", &["normalisation-needed"]),
    ("upper@QUAY-and-sons.com,x", &["normalisation-needed"]),
    ("wow!@quay-and-sons.com,x", &["unusual-local-part"]),
    ("jane@example.com,x", &["special-use-domain"]),
    ("jane@@quay-and-sons.com,x", &["syntax-fault"]),
    ("jane.quay-and-sons.com,x", &["syntax-fault"]),
    ("jane@quay-and-sons.com.,x", &["syntax-fault"]),
    (",x", &["syntax-fault"]),
    ("ja\u{200b}ne@quay-and-sons.com,x", &["unsafe-character"]),
    ("named@quay-and-sons.com,MÃ¼ller", &["encoding-damage"]),
    ("sums@quay-and-sons.com,=1+1", &["formula-cell"]),
    ("ragged@quay-and-sons.com", &["ragged-row"]),
    ("quote@quay-and-sons.com,\"open", &["unreadable-row"]),
    ("<b>|`::error::`@quay-and-sons.com,x", &["syntax-fault"]),
];

/// The rows of the table; every sixth is planted.
fn rows() -> Vec<(String, Vec<&'static str>)> {
    let mut planted = PLANTED.iter();
    let mut row = |number: usize| match planted.next_if_due(number) {
        Some((text, rules)) => (format!("{number},{text}"), rules.to_vec()),
        None => (format!("{number},person{number}@quay-and-sons.com,x"), Vec::new()),
    };
    (1..=197).map(&mut row).collect()
}

trait Due {
    fn next_if_due(&mut self, number: usize) -> Option<&'static (&'static str, &'static [&'static str])>;
}

impl Due for std::slice::Iter<'static, (&'static str, &'static [&'static str])> {
    fn next_if_due(&mut self, number: usize) -> Option<&'static (&'static str, &'static [&'static str])> {
        number.is_multiple_of(6).then(|| self.next()).flatten()
    }
}

const OBJECTS: &str = "{\"email\":\"person500@quay-and-sons.com\"}\n{\"mail\":\"person501@quay-and-sons.com\"}\n\
    {\"email\":\"person502@quay-and-sons.com\"}\n";

fn world() -> String {
    let mut people: Vec<String> = (1..=600).map(|number| format!("\"person{number}\"")).collect();
    let others = [
        "info",
        "twice",
        "spaced",
        "upper",
        "wow!",
        "named",
        "sums",
        "jane",
        "jdoe",
        "j.doe+news",
        "bob",
        "Twice",
    ];
    people.extend(others.iter().map(|name| format!("\"{name}\"")));
    let mut world = format!(
        "[[host]]\nname = \"mx.quay-and-sons.com\"\nserves = [\"quay-and-sons.com\", \"mailinator.com\", \"gmail.com\", \"gmial.com\"]\n\
         mailboxes = [{}]\nfull = [\"stuffed\"]\n[[host]]\nname = \"mx.takes-all-here.com\"\nserves = [\"takes-all-here.com\"]\n\
         catch_all = true\n",
        people.join(", ")
    );
    for (name, rest) in [
        ("null-mx-here", "mx = \"0 .\""),
        ("no-mail-host-here", ""),
        ("junk-mx-here", "mx = \"10 192.0.2.1\""),
        ("servfail-here", "fail = \"servfail\""),
    ] {
        let _ = write!(world, "[[domain]]\nname = \"{name}.com\"\n{rest}\n");
    }
    world
}

/// A presend server over a lab.
pub(super) struct Server {
    process: Child,
    pub(super) url: String,
    _lab: Lab,
}

impl Server {
    pub(super) fn over(lab: Lab, trusted: &str) -> Self {
        let arguments = [
            "serve",
            "--bind",
            "127.0.0.1:0",
            "--helo-name",
            "probe.example",
            "--mail-from",
            "probe@probe.example",
            "--trusted-host",
            trusted,
        ];
        let mut process = Command::new(assert_cmd::cargo::cargo_bin!("presend"))
            .args(lab.arguments(&arguments))
            .env("PRESEND_DB", lab.place.0.path().join("server.db"))
            .current_dir(lab.place.0.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).unwrap_or_else(|| panic!("{line}"));
        let url = format!("http://{}", address.split(';').next().unwrap());
        // Somebody must read what it logs.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self {
            process,
            url,
            _lab: lab,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora/lint")
}

/// The text of a report, as it was when it was last blessed.
fn assert_as_before(name: &str, text: &str) {
    let path = corpora().join(name);
    if std::env::var_os("PRESEND_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let before = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        before == text,
        "{name} is not as it was: run with PRESEND_BLESS=1\n{text}"
    );
}

const FORMATS: [&str; 9] = [
    "text", "json", "jsonl", "junit", "sarif", "github", "gitlab", "markdown", "csv",
];

#[test]
fn exactly_what_was_planted_is_found_and_reported_as_before() {
    let rows = rows();
    let text: Vec<&str> = rows.iter().map(|(row, _)| row.as_str()).collect();
    let text = text.join("\n");
    let place = Place::new();
    place.write("planted.csv", format!("n,email,note\n{text}\n"));
    place.write("planted.ndjson", OBJECTS);
    place.write("blocked.txt", "blocked@quay-and-sons.com\n");
    let server = Server::over(Lab::of(&world()), "quay-and-sons.com,takes-all-here.com");
    let lint = |threads: &str| {
        let mut arguments = vec![
            "lint",
            "--level",
            "smtp",
            "--select",
            "all",
            "--api",
            &server.url,
            "--threads",
            threads,
        ];
        arguments.extend([
            "--block-list",
            "blocked.txt",
            "--max-invalid",
            "20%",
            "--max-bounces",
            "20%",
            "--no-wait",
        ]);
        let outputs = FORMATS.map(|format| format!("--output={format}=out.{format}"));
        arguments.extend(outputs.iter().map(String::as_str));
        arguments.extend(["planted.csv", "planted.ndjson"]);
        Ran::from(place.command(&arguments).output().unwrap())
    };
    let ran = lint("1");
    assert_eq!(ran.code, 1, "{}", ran.err);
    let mut expected: BTreeSet<String> = BTreeSet::from(["planted.ndjson 2 missing-column".to_owned()]);
    for (index, (_, rules)) in rows.iter().enumerate() {
        expected.extend(rules.iter().map(|rule| format!("planted.csv {} {rule}", index + 2)));
    }
    let lines = place.read("out.jsonl");
    let findings = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found: BTreeSet<String> = findings
        .filter(|line| line["type"] == "finding")
        .map(|one| {
            format!(
                "{} {} {}",
                one["file"].as_str().unwrap(),
                one["line"],
                one["rule"].as_str().unwrap()
            )
        })
        .collect();
    let difference: Vec<_> = found.symmetric_difference(&expected).collect();
    assert!(difference.is_empty(), "{difference:?}\n{}", ran.err);
    let all: BTreeSet<&str> = expected.iter().filter_map(|one| one.split(' ').nth(2)).collect();
    let rules: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    assert_eq!(all, rules, "one of every rule is planted");
    assert_eq!(rows.len() + OBJECTS.lines().count(), 200);
    let first: Vec<String> = FORMATS
        .iter()
        .map(|format| place.read(&format!("out.{format}")))
        .collect();
    for (format, text) in FORMATS.iter().zip(&first) {
        assert_as_before(&format!("planted.{format}"), text);
        assert!(
            !text.contains("person5") && !text.contains("jdoe@"),
            "{format} shows an address"
        );
    }
    for threads in ["1", "2", "7"] {
        lint(threads);
        for (format, text) in FORMATS.iter().zip(&first) {
            assert!(
                place.read(&format!("out.{format}")) == *text,
                "{format} differs with {threads} threads"
            );
        }
    }
}
