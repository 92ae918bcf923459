//! `[lint]` in `presend.toml`: where it is found, what it may say, and its schema.

use std::{fs, path::Path};

use serde_json::Value;

use super::{found, run};
use crate::cli::{Place, run as presend};

const CONFIG: &str = r#"
helo_name = "probe.example.com"

[lint]
level = "syntax"
files = ["lists"]
ignore = ["role"]
max_invalid = "50%"
max_bounces = 3
output = ["jsonl"]

[lint.severity]
free = "note"

[[lint.override]]
files = ["lists/seeds/**"]
select = ["role"]
"#;

#[test]
fn the_file_is_found_above_and_holds_for_every_folder() {
    let place = Place::new();
    place.write("presend.toml", CONFIG);
    place.write("lists/a.txt", "info@acme-corp.com\njoe@gmail.com\n");
    place.write("lists/seeds/b.txt", "info@acme-corp.net\njoe@gmail.org\nx@@y\n");
    place.write("deep/er/x", "");
    for folder in ["", "deep/er"] {
        let mut command = place.command(&["lint"]);
        let output = command.current_dir(place.0.path().join(folder)).output().unwrap();
        let ran = crate::cli::Ran::from(output);
        assert_eq!(
            (ran.code, found(&ran)),
            (0, vec!["2 free".to_owned(), "1 role".to_owned()]),
            "{folder}: {}",
            ran.err
        );
    }
    // A repository ends the way up.
    place.write("deep/.git/HEAD", "");
    place.write("deep/er/list.txt", "info@acme-corp.com\n");
    let mut command = place.command(&["lint", "--level", "syntax", "-o", "jsonl", "list.txt"]);
    let ran = crate::cli::Ran::from(command.current_dir(place.0.path().join("deep/er")).output().unwrap());
    assert_eq!(found(&ran), ["1 role"]);
    // Flags and variables go before the file.
    let ran = run(&place, &["--ignore", "free", "lists/a.txt"]);
    assert_eq!(found(&ran), ["1 role"], "{}", ran.err);
    let mut command = place.command(&["lint", "lists/a.txt"]);
    let ran = crate::cli::Ran::from(command.env("PRESEND_LINT_IGNORE", "free").output().unwrap());
    assert_eq!(found(&ran), ["1 role"]);
}

#[test]
fn what_holds_is_shown_as_a_file_has_it() {
    let place = Place::new();
    place.write("presend.toml", CONFIG);
    let shown = place.run(&["lint", "--show-config", "--max-unknown", "5"]);
    assert_eq!(shown.code, 0, "{}", shown.err);
    for line in [
        "max_unknown = \"5\"",
        "max_invalid = \"50%\"",
        "level = \"syntax\"",
        "ignore = [\"role\"]",
        "redact = \"local\"",
    ] {
        assert!(shown.out.contains(line), "{line}: {}", shown.out);
    }
    place.write("again/presend.toml", &shown.out);
    let again = place.run(&["lint", "--show-config", "--config", "again/presend.toml"]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(
        again.out.contains("max_unknown = \"5\"") && again.out.contains("[[lint.override]]"),
        "{}",
        again.out
    );
}

fn checked_in(path: &str, arguments: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let now = presend(arguments).out;
    if std::env::var_os("PRESEND_BLESS").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let before = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        before == now,
        "{} is out of date: run with PRESEND_BLESS=1",
        path.display()
    );
    now
}

#[test]
fn the_pages_of_the_rules_are_those_of_the_program() {
    let page = checked_in("docs/rules.md", &["lint", "--rules", "--markdown"]);
    let rules: Vec<Value> = serde_json::from_str(&presend(&["lint", "--rules", "--json"]).out).unwrap();
    let listed = presend(&["lint", "--rules"]).out;
    assert_eq!(listed.lines().count(), rules.len());
    for rule in rules {
        let (code, name) = (rule["code"].as_str().unwrap(), rule["name"].as_str().unwrap());
        assert!(
            page.contains(&format!("\n## {code} `{name}`\n")) && listed.contains(name),
            "{name}"
        );
    }
}

#[test]
fn the_schema_knows_what_the_program_knows() {
    let schema = checked_in("docs/presend.schema.json", &["config", "schema"]);
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let place = Place::new();
    for (text, valid) in [
        (CONFIG, true),
        (
            "level = \"dns\"\n[serve]\nmax_batch = 10\n[retry]\nprofile = \"patient\"\ngreylisted = [\"6m\"]\n[bounce]\npolicy = \"hard\"\n",
            true,
        ),
        ("nameserver = [\"192.0.2.1\"]\nexact = true\nsmtp_port = 26\n", true),
        (
            "[lint]\nmax_unknown = 5\nfail_on = [\"none\"]\nmin_rows = 3\nredact = \"all\"\n",
            true,
        ),
        ("levle = \"dns\"\n", false),
        ("level = \"all\"\n", false),
        ("exact = \"yes\"\n", false),
        ("[lint]\nmax_unknown = \"two\"\n", false),
        ("[lint]\nignroe = [\"role\"]\n", false),
        ("[lint]\nignore = \"role\"\n", false),
        ("[lint.severity]\nrole = \"fatal\"\n", false),
        ("[lint]\nredact = \"some\"\n", false),
        ("[[lint.override]]\nfile = [\"a\"]\n", false),
        ("[bounce]\npolicy = \"loud\"\n", false),
    ] {
        let document: Value = toml::from_str(text).unwrap();
        assert_eq!(validator.is_valid(&document), valid, "the schema: {text}");
        place.write("presend.toml", text);
        place.write("a.txt", "a@acme-corp.com\n");
        let ran = place.run(&["lint", "--show-config"]);
        assert_eq!(ran.code == 0, valid, "the program: {text} {}", ran.err);
    }
    place.write("presend.toml", "[lint]\nignroe = [\"role\"]\n");
    let ran = run(&place, &["a.txt"]);
    assert!(
        ran.err.contains("presend.toml:2:1: unknown key `ignroe`") && ran.err.contains("did you mean `ignore`?"),
        "{}",
        ran.err
    );
}
