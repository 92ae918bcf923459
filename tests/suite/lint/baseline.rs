//! Known findings: kept without addresses, counted, with reasons and days; another key is an error.

use serde_json::Value;

use super::{found, summary};
use crate::cli::{Place, Ran};

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn run(place: &Place, key: &str, arguments: &[&str]) -> Ran {
    let mut command = place.command(&[&["lint"], arguments].concat());
    command.env("PRESEND_BASELINE_KEY", key).env("PRESEND_LEVEL", "syntax");
    Ran::from(command.output().unwrap())
}

fn check(place: &Place) -> Ran {
    run(place, KEY, &["-o", "jsonl", "--baseline", "known.json", "list.txt"])
}

#[test]
fn only_new_findings_fail() {
    let place = Place::new();
    place.write("list.txt", "x@@y\ninfo@acme-corp.com\nx@@y\njane@acme-corp.com\n");
    let with = ["--baseline", "known.json", "list.txt"];
    let ran = run(
        &place,
        KEY,
        &[&["baseline", "create", "--reason", "from the old CRM"], &with[..]].concat(),
    );
    assert_eq!((ran.code, ran.err.as_str()), (0, "wrote 3 findings to known.json\n"));
    let text = place.read("known.json");
    assert!(
        !text.contains('@') && !text.contains("acme") && text.contains("from the old CRM"),
        "{text}"
    );
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        document["entries"].as_array().unwrap().len(),
        2,
        "equal findings are one entry"
    );
    let ran = check(&place);
    assert_eq!(
        (ran.code, found(&ran).len(), summary(&ran)["known"].as_u64()),
        (0, 0, Some(3)),
        "{}",
        ran.out
    );
    // Rows may move; what is new, or there more often, fails.
    place.write("list.txt", "# head\nnew@@y\nx@@y\nx@@y\nx@@y\ninfo@acme-corp.com\n");
    let ran = check(&place);
    assert_eq!(
        (ran.code, found(&ran)),
        (1, vec!["2 syntax-fault".to_owned(), "5 syntax-fault".to_owned()])
    );
    let ran = run(&place, KEY, &[&["baseline", "update"], &with[..]].concat());
    assert_eq!((ran.code, ran.err.as_str()), (0, "added 2 findings to known.json\n"));
    assert!(place.read("known.json").contains("from the old CRM"), "reasons stay");
    assert_eq!(check(&place).code, 0);
    // What is gone is told, and removed on request.
    place.write("list.txt", "x@@y\njane@acme-corp.com\n");
    let ran = check(&place);
    assert_eq!((ran.code, summary(&ran)["stale"].as_u64()), (0, Some(2)), "{}", ran.out);
    let text = run(
        &place,
        KEY,
        &[&["--baseline", "known.json"], &["list.txt"][..]].concat(),
    )
    .out;
    assert!(text.contains("nothing was found for 2 entries"), "{text}");
    let ran = run(&place, KEY, &[&["baseline", "prune"], &with[..]].concat());
    assert_eq!(ran.err, "removed 2 entries from known.json\n");
    assert_eq!(summary(&check(&place))["stale"], 0);
    place.write("list.txt", "x@@y\nx@@y\n");
    assert_eq!(check(&place).code, 1, "prune lowers the number too");
}

#[test]
fn entries_expire() {
    let place = Place::new();
    place.write("list.txt", "x@@y\n");
    for (day, code, expired) in [("2001-01-01", 1, 1), ("2999-12-31", 0, 0)] {
        let create = [
            "baseline",
            "create",
            "--force",
            "--expires",
            day,
            "--baseline",
            "known.json",
            "list.txt",
        ];
        assert_eq!(run(&place, KEY, &create).code, 0);
        let ran = check(&place);
        assert_eq!(
            (ran.code, summary(&ran)["expired"].as_u64()),
            (code, Some(expired)),
            "{day}"
        );
    }
}

#[test]
fn what_is_no_baseline_of_this_key_is_2() {
    let place = Place::new();
    place.write("list.txt", "x@@y\n");
    let create = ["baseline", "create", "--baseline", "known.json", "list.txt"];
    assert_eq!(run(&place, KEY, &create).code, 0);
    place.write("broken.json", "{\"schema\":\"presend-baseline/1\"");
    place.write("other.json", "{\"schema\":\"x\",\"key\":\"\",\"entries\":[]}");
    let day = place
        .read("known.json")
        .replace("\"count\": 1", "\"count\": 1, \"expires\": \"soon\"");
    place.write("day.json", day);
    place.write("key", format!("{KEY}\n"));
    let with = |file: &'static str| vec!["--baseline", file, "list.txt"];
    for (key, arguments, said) in [
        (
            "another key of some length",
            with("known.json"),
            "was made with another key",
        ),
        ("short", with("known.json"), "shorter than 16 characters"),
        ("", with("known.json"), "PRESEND_BASELINE_KEY"),
        (KEY, with("none.json"), "none.json"),
        (KEY, with("broken.json"), "broken.json"),
        (KEY, with("other.json"), "presend-baseline/1"),
        (KEY, with("day.json"), "2026-12-31"),
        (KEY, create.to_vec(), "is there already"),
        (KEY, vec!["baseline", "prune", "list.txt"], "--baseline FILE"),
        (
            KEY,
            vec![
                "baseline",
                "create",
                "--expires",
                "soon",
                "--baseline",
                "n.json",
                "list.txt",
            ],
            "no day of the calendar",
        ),
        (
            KEY,
            vec!["--baseline-key-file", "nokey", "--baseline", "known.json", "list.txt"],
            "nokey",
        ),
    ] {
        let ran = run(&place, key, &arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(said), "{arguments:?}: {}", ran.err);
        assert!(!ran.err.contains(KEY));
    }
    let ran = run(
        &place,
        "",
        &["--baseline-key-file", "key", "--baseline", "known.json", "list.txt"],
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
    // A file that cannot be read may be why something was not found.
    let before = place.read("known.json");
    let ran = run(
        &place,
        KEY,
        &["baseline", "prune", "--baseline", "known.json", "none.txt"],
    );
    assert_eq!((ran.code, place.read("known.json")), (2, before));
}
