//! `--fix`, `--split` and the file of errors.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
};

use super::{found, run};
use crate::cli::{Place, Ran};

const LIST: &str = "email,n\r\n\" jane@ACME-corp.com\",\"a, b\"\r\njoe@acme-corp.com.,2\r\njane@acme-corp.com,\"a, b\"\r\nbob@gmial.com,3\r\nx@@y,4\r\n";

#[test]
fn repairs_are_made_in_place_and_shown() {
    let place = Place::new();
    place.write("list.csv", LIST);
    let ran = run(&place, &["--fix", "--diff", "-o", "jsonl", "list.csv"]);
    assert_eq!(place.read("list.csv"), LIST, "only shown");
    assert!(
        ran.err
            .contains("@@ list.csv:2\n- j***@ACME-corp.com\n+ j***@acme-corp.com"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("2 would be repaired, 1 would be dropped") || ran.err.contains("2 rows would be repaired"),
        "{}",
        ran.err
    );
    let ran = run(&place, &["--fix", "--fix-output", "new.csv", "-o", "jsonl", "list.csv"]);
    let fixed = "email,n\r\n\"jane@acme-corp.com\",\"a, b\"\r\njoe@acme-corp.com,2\r\nbob@gmial.com,3\r\nx@@y,4\r\n";
    assert_eq!(
        (place.read("list.csv").as_str(), place.read("new.csv").as_str()),
        (LIST, fixed)
    );
    assert_eq!(found(&ran), ["4 typo-domain", "5 syntax-fault"]);
    let ran = run(&place, &["--fix", "-o", "jsonl", "list.csv"]);
    assert_eq!((ran.code, place.read("list.csv").as_str()), (1, fixed));
    run(&place, &["--fix", "--fix-suggested", "list.csv"]);
    assert_eq!(place.read("list.csv"), fixed.replace("gmial", "gmail"));
    let folder: Vec<_> = std::fs::read_dir(place.0.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(folder.len(), 2, "nothing is left beside: {folder:?}");
}

#[test]
fn what_cannot_be_written_back_is_2_and_stays() {
    let place = Place::new();
    let wide: Vec<u8> = " a@ACME-corp.com\n b@acme-corp.com\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    place.write("list.txt", &wide);
    place.write("good.txt", " a@ACME-corp.com\n");
    let ran = run(&place, &["--fix", "list.txt", "good.txt"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("`list.txt` is in UTF-16LE"), "{}", ran.err);
    assert_eq!(std::fs::read(place.0.path().join("list.txt")).unwrap(), wide);
    assert_eq!(place.read("good.txt"), "a@acme-corp.com\n", "the others are repaired");
    let ran = run(&place, &["--fix", "--fix-output", "x", "list.txt", "good.txt"]);
    assert_eq!(ran.code, 2);
}

#[test]
fn rows_are_sorted_into_files() {
    let place = Place::new();
    place.write(
        "list.csv",
        "email;n\njane@acme-corp.com;\"a;b\"\ninfo@acme-corp.com;2\nx@@y;3\nshort\n",
    );
    let ran = run(
        &place,
        &["--split", "--errors-file", "errors.csv", "-o", "jsonl", "list.csv"],
    );
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert_eq!(place.read("list.csv.valid"), "email;n\njane@acme-corp.com;\"a;b\"\n");
    assert_eq!(place.read("list.csv.review"), "email;n\ninfo@acme-corp.com;2\n");
    assert_eq!(place.read("list.csv.invalid"), "email;n\nx@@y;3\nshort\n");
    let errors = place.read("errors.csv");
    assert_eq!(errors.lines().next(), Some("file,row,line,column,rule,message"));
    assert!(
        errors.contains("list.csv,3,4,1,syntax-fault,") && !errors.contains("x@@y") && !errors.contains("info@"),
        "{errors}"
    );
    place.write("list.txt", "# head\njane@acme-corp.com\nx@@y\n");
    run(&place, &["--split", "list.txt"]);
    assert_eq!(
        (
            place.read("list.txt.valid").as_str(),
            place.read("list.txt.invalid").as_str()
        ),
        ("jane@acme-corp.com\n", "x@@y\n")
    );
}

/// Runs with a list on standard input.
fn piped(place: &Place, text: &[u8], arguments: &[&str]) -> Ran {
    let mut command = place.command(&[&["lint", "--level", "syntax"], arguments].concat());
    Ran::from(command.write_stdin(text).output().unwrap())
}

#[test]
fn a_stream_goes_to_standard_output_and_all_else_beside() {
    let place = Place::new();
    let text = LIST.as_bytes();
    let fixed = "email,n\r\n\"jane@acme-corp.com\",\"a, b\"\r\njoe@acme-corp.com,2\r\nbob@gmial.com,3\r\nx@@y,4\r\n";
    let ran = piped(&place, text, &["--fix", "-"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, fixed), "{}", ran.err);
    assert!(
        ran.err
            .contains("@@ stdin:2\n- j***@ACME-corp.com\n+ j***@acme-corp.com"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("stdin:5:1: error: "),
        "the repaired list is checked: {}",
        ran.err
    );
    assert!(!ran.err.contains("[PS204"), "{}", ran.err);
    let ran = piped(&place, text, &["--fix", "-", "-o", "jsonl=found.jsonl"]);
    assert_eq!(
        (ran.out.as_str(), place.read("found.jsonl").lines().count()),
        (fixed, 3)
    );
    let ran = piped(&place, text, &["--fix", "--fix-output", "new.csv", "-o", "jsonl"]);
    assert_eq!(place.read("new.csv"), fixed);
    assert_eq!(found(&ran), ["4 typo-domain", "5 syntax-fault"]);
    let ran = piped(&place, text, &["--diff", "-o", "jsonl", "-"]);
    assert!(
        ran.err.contains("2 rows would be repaired, 1 would be dropped"),
        "{}",
        ran.err
    );
    assert_eq!(found(&ran).len(), 5, "the list is checked as it is: {}", ran.out);
}

#[test]
fn a_stream_that_cannot_be_repaired_is_2_and_still_checked() {
    let place = Place::new();
    let wide: Vec<u8> = "info@acme-corp.com\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let ran = piped(&place, &wide, &["--fix", "-o", "jsonl=found.jsonl", "-"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    assert!(ran.err.contains("`stdin` is in UTF-16LE"), "{}", ran.err);
    assert!(place.read("found.jsonl").contains("\"role\""), "{}", ran.err);
    for (text, said) in [
        ("", "`stdin` is empty"),
        ("a,b\n1,2\n", "no column that holds addresses"),
    ] {
        let ran = piped(&place, text.as_bytes(), &["--fix", "-"]);
        assert!(ran.code > 0 && ran.out.is_empty(), "{}", ran.out);
        assert!(ran.err.contains(said), "{}", ran.err);
    }
}

#[test]
fn a_stream_is_repaired_less_than_a_megabyte_behind() {
    const AHEAD: usize = 1 << 20;
    let place = Place::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_presend"))
        .args([
            "lint",
            "--level",
            "syntax",
            "--fix",
            "-q",
            "-o",
            "jsonl=found.jsonl",
            "-",
        ])
        .current_dir(place.0.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let rows = 3 * AHEAD / "user1000000@ACME-corp.com\n".len();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let row = |number| format!("user{}@ACME-corp.com\n", 1_000_000 + number);
        let rows = (0..rows).map(row).collect::<Vec<_>>().concat();
        input.write_all(rows.as_bytes()).unwrap();
        // Nobody sends: it ends with its sender.
        let _ = ended.recv();
    });
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let enough = rows - AHEAD / "user1000000@ACME-corp.com\n".len();
    for number in 0..enough {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, format!("user{}@acme-corp.com\n", 1_000_000 + number));
    }
    // Only now the input ends.
    drop(end);
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest.lines().count(), rows - enough);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(place.read("found.jsonl").contains(&format!("\"rows\":{rows}")));
}
