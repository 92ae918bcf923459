//! `presend demo`, the first thing that anybody sees: every row is what the story of its world says.

use std::{collections::BTreeSet, time::Duration};

use super::super::cli::{Place, Ran};

/// Local-part (of an address with several homes: the whole address), label, reason.
const EXPECTED: &str = include_str!("demo.txt");

#[test]
fn the_demo_shows_every_label_and_most_reasons_and_ends_soon() {
    let place = Place::new();
    let mut command = place.command(&["demo", "--json"]);
    let ran = Ran::from(command.timeout(Duration::from_secs(30)).output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&ran.out).unwrap();
    let came: Vec<String> = rows
        .iter()
        .map(|row| {
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let result = &row["presend"];
            [&row["row"]["email"], &result["label"], &result["reason"]]
                .map(text)
                .join(" | ")
        })
        .collect();
    let expected: Vec<&str> = EXPECTED.lines().filter(|line| !line.starts_with('#')).collect();
    let wrong: Vec<_> = expected
        .iter()
        .zip(&came)
        .filter(|(one, other)| *one != other)
        .collect();
    assert!(wrong.is_empty(), "expected and came: {wrong:#?}");
    assert_eq!(expected.len(), came.len());

    let of = |key: &str| -> BTreeSet<&str> {
        let values = rows.iter().map(|row| row["presend"][key].as_str().unwrap());
        values.collect()
    };
    assert_eq!(of("label").len(), 4);
    assert!(of("reason").len() >= 45, "{:?}", of("reason"));
    let hints = rows.iter().filter(|row| !row["presend"]["did_you_mean"].is_null());
    assert!(hints.count() >= 3);
    for said in ["76 rows, 66 different addresses, 2 repeated", "try next"] {
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
}

#[test]
fn the_demo_says_nothing_but_the_table_when_it_is_told_to_be_quiet() {
    let place = Place::new();
    let mut command = place.command(&["demo", "--quiet"]);
    command.env("TMPDIR", place.0.path());
    let ran = Ran::from(command.timeout(Duration::from_secs(30)).output().unwrap());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(ran.out.lines().count(), 77);
    // The sample list is gone.
    assert_eq!(std::fs::read_dir(place.0.path()).unwrap().count(), 0);
}
