//! `presend bounces import` as people run it.

use std::{fs, path::Path};

use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::Value;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpora/bounces");

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn import(folder: &Path, arguments: &[&str]) -> Ran {
    let output = cargo_bin_cmd!("presend")
        .args(["bounces", "import"])
        .args(arguments)
        .env_clear()
        .env("PRESEND_DB", folder.join("presend.db"))
        .current_dir(folder)
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}\n{}", ran.out, ran.err))
}

#[test]
fn the_same_files_again_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let first = json(&import(folder.path(), &[CORPUS, "--json"]));
    assert!(first["new"].as_u64().unwrap() > 130, "{first}");
    assert_eq!(first["already_known"], 0);
    let again = json(&import(folder.path(), &[CORPUS, "--json"]));
    assert_eq!(again["new"], 0);
    assert_eq!(again["already_known"], first["new"]);
    assert_eq!(again["events"], first["events"]);
}

#[test]
fn a_dry_run_shows_every_event_and_keeps_none() {
    let folder = tempfile::tempdir().unwrap();
    let report = format!("{CORPUS}/postfix-unknown.eml");
    let ran = import(folder.path(), &[&report, "--dry-run", "--json"]);
    let event = json(&ran);
    for (key, value) in [
        ("recipient", "jane.roe@mail.example"),
        ("event", "bounced"),
        ("class", "user_unknown"),
        ("hardness", "hard"),
        ("status", "5.1.1"),
        ("remote_mta", "mx1.mail.example"),
        ("message_id", "issue1@sender.example"),
        ("list", "monthly.sender.example"),
        ("origin", "report"),
    ] {
        assert_eq!(event[key], value, "{key}");
    }
    assert!(!folder.path().join("presend.db").exists());
    assert!(ran.err.contains("nothing was kept"), "{}", ran.err);
}

#[test]
fn reports_about_strangers_are_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("mailed.txt"),
        "Jane.Roe@mail.example\nother@mail.example\n",
    )
    .unwrap();
    let arguments = [
        &format!("{CORPUS}/postfix-unknown.eml"),
        &format!("{CORPUS}/postfix-full.eml"),
        "--known",
        "mailed.txt",
        "--json",
    ];
    let summary = json(&import(folder.path(), &arguments));
    assert_eq!((&summary["new"], &summary["kept_apart"]), (&2.into(), &1.into()));
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mails.zip"), b"PK\x03\x04x").unwrap();
    let alone = import(folder.path(), &["mails.zip"]);
    assert_eq!(alone.code, 2);
    assert!(alone.err.contains("mails.zip: is a zip archive"), "{}", alone.err);
    let report = format!("{CORPUS}/postfix-unknown.eml");
    let beside = import(folder.path(), &["mails.zip", &report]);
    assert_eq!(beside.code, 0, "{}", beside.err);
    assert!(
        beside.err.contains("mails.zip: is a zip archive") && beside.err.contains("1 new"),
        "{}",
        beside.err
    );
    let missing = import(folder.path(), &["nowhere.mbox"]);
    assert_eq!(missing.code, 2);
    assert!(missing.err.contains("`nowhere.mbox`"), "{}", missing.err);
    for arguments in [
        &["x.csv", "--map", "colour=red"][..],
        &["x.log", "--utc-offset", "noon"],
    ] {
        assert_eq!(import(folder.path(), arguments).code, 2);
    }
}

#[test]
fn a_report_may_come_through_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let output = cargo_bin_cmd!("presend")
        .args(["bounces", "import", "-", "--dry-run", "--json", "--list", "spring"])
        .write_stdin(fs::read(format!("{CORPUS}/qmail-unknown.eml")).unwrap())
        .current_dir(folder.path())
        .output()
        .unwrap();
    let event: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(event["recipient"], "quentin@mail.example");
    assert_eq!(event["file"], "standard input");
    assert_eq!(
        event["list"], "monthly.sender.example",
        "the message names its list itself"
    );
}
