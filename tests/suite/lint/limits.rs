//! Thresholds, what fails, and the exit codes that follow.

use super::{found, lint, summary};

fn list(rows: usize, bad: &[&str]) -> Vec<u8> {
    let good = (bad.len()..rows).map(|number| format!("user{number}@acme-corp.com"));
    let all: Vec<String> = bad.iter().map(|row| (*row).to_owned()).chain(good).collect();
    all.join("\n").into_bytes()
}

#[test]
fn limits_decide_about_the_exit_code() {
    let invalid = ["a@@x.org", "b@@x.org"];
    let twice = ["user50@acme-corp.com", "user51@acme-corp.com"];
    for (bad, arguments, code, settings) in [
        (&[][..], &[][..], 0, &[][..]),
        (&["info@acme-corp.com"], &[], 0, &[]),
        (&invalid, &[], 1, &["fail_on", "warn_bounces"]),
        (&invalid, &["--max-invalid", "1%"], 0, &["warn_bounces"]),
        (&invalid, &["--max-invalid", "2"], 0, &["warn_bounces"]),
        (
            &invalid,
            &["--max-invalid", "0.99%"],
            1,
            &["max_invalid", "warn_bounces"],
        ),
        (&invalid, &["--max-invalid", "1"], 1, &["max_invalid", "warn_bounces"]),
        (
            &invalid,
            &["--max-invalid", "5%", "--max-bounces", "1%"],
            1,
            &["max_bounces"],
        ),
        (&invalid, &["--fail-on", "none"], 0, &["warn_bounces"]),
        (&invalid, &["--fail-on", "none", "--warn-bounces", "3%"], 0, &[]),
        (
            &invalid,
            &["--max-invalid", "5%", "--fail-on", "syntax-fault"],
            1,
            &["fail_on", "warn_bounces"],
        ),
        (&twice, &[], 0, &[]),
        (&twice, &["--max-duplicates", "1"], 1, &["max_duplicates"]),
        (&twice, &["--fail-on", "warning"], 1, &["fail_on"]),
        (&twice, &["--fail-on", "duplicate"], 1, &["fail_on"]),
        (&twice, &["--fail-on", "PS4"], 0, &[]),
        (&twice, &["--severity", "duplicate=error"], 1, &["fail_on"]),
        (&[], &["--min-rows", "200"], 0, &[]),
        (&[], &["--min-rows", "201"], 1, &["min_rows"]),
    ] {
        let list = list(200, bad);
        let ran = lint(
            &[("list.txt", &list)],
            &[arguments, &["-o", "jsonl", "list.txt"]].concat(),
        );
        assert_eq!(ran.code, code, "{bad:?} {arguments:?}: {}", ran.out);
        let summary = summary(&ran);
        let breaches = summary["breaches"].as_array().unwrap();
        let breaches: Vec<_> = breaches
            .iter()
            .map(|breach| breach["setting"].as_str().unwrap())
            .collect();
        assert_eq!(breaches, settings, "{bad:?} {arguments:?}");
        assert_eq!(summary["exit_code"], code);
    }
}

#[test]
fn rules_are_chosen_by_name_code_and_group_and_beside_the_row() {
    let list = b"info@acme-corp.com\njane@mailinator.com\njoe@gmail.com\nx@@y\ninfo@acme-corp.com\n";
    for (arguments, expected) in [
        (
            &[][..],
            &["1 role", "2 disposable", "4 syntax-fault", "5 duplicate", "5 role"][..],
        ),
        (&["--ignore", "role,PS3"], &["2 disposable", "4 syntax-fault"]),
        (&["--select", "PS402"], &["2 disposable"]),
        (
            &["--select", "all", "--ignore", "PS2"],
            &["1 role", "2 disposable", "3 free", "5 duplicate", "5 role"],
        ),
        (
            &["--severity", "free=note,role=off"],
            &["2 disposable", "3 free", "4 syntax-fault", "5 duplicate"],
        ),
    ] {
        let ran = lint(
            &[("list.txt", list)],
            &[arguments, &["-o", "jsonl", "list.txt"]].concat(),
        );
        assert_eq!(found(&ran), expected, "{arguments:?}");
    }
    let list = b"info@acme-corp.com # presend: ignore[role]\n# presend: ignore[PS4]\n# a word\njane@mailinator.com\n\
        # presend: ignore\nx@@y\njoe@mailinator.com # presend: ignore[role]\n";
    let ran = lint(&[("list.txt", list)], &["-o", "jsonl", "list.txt"]);
    assert_eq!(found(&ran), ["7 disposable"]);
}

#[test]
fn every_row_of_a_table_is_told_by_line_and_cell() {
    let list = "name,email,note\n\"a\nb\",info@acme-corp.com,=1+1\nMÃ¼ller,x@@y,ok\nc,d\nd,\"e@acme-corp.com,f\n";
    let ran = lint(&[("list.csv", list.as_bytes())], &["-o", "csv", "list.csv"]);
    let rows: Vec<String> = ran
        .out
        .lines()
        .skip(1)
        .map(|line| line.split(',').take(5).collect::<Vec<_>>().join(" "))
        .collect();
    let expected = [
        "list.csv 2 3 PS105 formula-cell",
        "list.csv 2 2 PS403 role",
        "list.csv 4 1 PS103 encoding-damage",
        "list.csv 4 2 PS201 syntax-fault",
        "list.csv 5 3 PS102 ragged-row",
        "list.csv 6 2 PS101 unreadable-row",
    ];
    assert_eq!(rows, expected, "{}", ran.out);
}
