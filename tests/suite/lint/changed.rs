//! `--changed-since`: only rows added since a revision, whatever files are called.

use super::{found, hosts::git, run, summary};
use crate::cli::Place;

#[test]
fn only_added_rows_count() {
    let place = Place::new();
    let hostile = "-x --output=y :(glob)*.txt";
    place.write("list.csv", "email,n\na@@x,1\njane@acme-corp.com,1\n");
    place.write(hostile, "old@@x\n");
    git(&place, ".", &["init", "-q"]);
    git(&place, ".", &["add", "-A"]);
    git(&place, ".", &["commit", "-qm", "one"]);
    place.write(
        "list.csv",
        "email,n\na@@x,1\nnew@@x,1\njane@acme-corp.com,1\n\"jane@acme-corp.com\",\"1\n2\"\n",
    );
    place.write(hostile, "old@@x\nnew@@x\n");
    place.write("fresh.txt", "info@acme-corp.com\n");
    let named = format!("./{hostile}");
    let ran = run(
        &place,
        &[
            "--changed-since",
            "HEAD",
            "-o",
            "jsonl",
            "list.csv",
            &named,
            "fresh.txt",
        ],
    );
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert_eq!(
        found(&ran),
        ["3 syntax-fault", "5 duplicate", "2 syntax-fault", "1 role"],
        "{}",
        ran.out
    );
    assert_eq!(summary(&ran)["rows"], 4);
    // Committed or not; with nothing added there is nothing to find.
    git(&place, ".", &["add", "-A"]);
    git(&place, ".", &["commit", "-qm", "two"]);
    let ran = run(&place, &["--changed-since", "HEAD~1", "-o", "jsonl", "list.csv"]);
    assert_eq!(found(&ran), ["3 syntax-fault", "5 duplicate"]);
    let ran = run(&place, &["--changed-since", "HEAD", "-o", "jsonl", "list.csv"]);
    assert_eq!((ran.code, summary(&ran)["rows"].as_u64()), (0, Some(0)));
}

#[test]
fn what_git_cannot_tell_is_2() {
    let place = Place::new();
    place.write("repo/list.txt", "a@acme-corp.com\n");
    place.write("list.txt", "a@acme-corp.com\n");
    git(&place, "repo", &["init", "-q"]);
    git(&place, "repo", &["add", "-A"]);
    git(&place, "repo", &["commit", "-qm", "one"]);
    for (revision, file) in [
        ("HEAD", "list.txt"),
        ("none", "repo/list.txt"),
        ("--output=pwned", "repo/list.txt"),
        ("HEAD\nx", "repo/list.txt"),
        ("", "repo/list.txt"),
        ("HEAD", "-"),
    ] {
        let ran = run(&place, &[&format!("--changed-since={revision}"), file]);
        assert_eq!(ran.code, 2, "{revision:?} {file}: {}", ran.out);
        assert!(ran.err.contains("git"), "{revision:?}: {}", ran.err);
        assert!(!place.has("pwned") && !place.has("repo/pwned"));
    }
}
