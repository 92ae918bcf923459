//! Standard input to standard output: what comes in is answered before the end is there.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
};

use super::{found, run, summary};
use crate::cli::{Place, Ran};

/// Bytes that may be read ahead.
const AHEAD: usize = 1 << 20;

#[test]
fn less_than_a_megabyte_is_read_ahead() {
    let place = Place::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_presend"))
        .args(["lint", "--level", "syntax", "-o", "jsonl", "-"])
        .current_dir(place.0.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let row = "wrong..one@acme-corp.com\n";
    let rows = 3 * AHEAD / row.len();
    // A pipe that is full must not stop the writer before the reader has begun.
    let (end, ended) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        input.write_all(row.repeat(rows).as_bytes()).unwrap();
        input.flush().unwrap();
        // Nobody sends: it ends with its sender.
        let _ = ended.recv();
    });
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    let enough = rows - AHEAD / row.len();
    for number in 0..enough {
        let line = answers.next().unwrap().unwrap();
        assert!(
            line.contains("syntax-fault") || line.contains("duplicate"),
            "{number}: {line}"
        );
    }
    // Only now the input ends.
    drop(end);
    assert_eq!(answers.count(), rows - enough + 1);
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_stream_is_understood_by_its_start() {
    let place = Place::new();
    let late: Vec<u8> = [
        b"name,email\n".to_vec(),
        b"Jane,jane@acme-corp.com\n".repeat(20_000),
        b"M\xfcller,x@acme-corp.com\n".to_vec(),
    ]
    .concat();
    for (text, expected) in [
        (b"email;n\ninfo@acme-corp.com;1\n".to_vec(), vec!["2 role"]),
        ("\u{feff}info@acme-corp.com\n".as_bytes().to_vec(), vec!["1 role"]),
        (
            "info@acme-corp.com\n"
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect(),
            vec!["1 role"],
        ),
        (b"{\"email\":\"info@acme-corp.com\"}".to_vec(), vec!["1 role"]),
        (late, vec!["20002 encoding-damage"]),
    ] {
        let mut command = place.command(&["lint", "--level", "syntax", "-o", "jsonl", "--ignore", "PS3"]);
        let ran = Ran::from(command.write_stdin(text).output().unwrap());
        assert_eq!(found(&ran), expected, "{}", ran.err);
    }
    let mut command = place.command(&["lint", "--level", "syntax", "-"]);
    let ran = Ran::from(command.write_stdin("").output().unwrap());
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.err.contains("`stdin` is empty"), "{}", ran.err);
}

#[test]
fn many_files_are_one_list() {
    let place = Place::new();
    for number in 0..300 {
        place.write(
            &format!("lists/{number:03}.txt"),
            format!("user{number}@acme-corp.com\n"),
        );
    }
    place.write("lists/again.csv", "email,n\nx@acme-corp.com,1\nuser7@acme-corp.com,2\n");
    let ran = run(&place, &["-o", "jsonl", "lists"]);
    assert_eq!(
        (ran.code, found(&ran)),
        (0, vec!["3 duplicate".to_owned()]),
        "{}",
        ran.err
    );
    assert!(ran.out.contains("\"first\":\"lists/007.txt:1\""), "{}", ran.out);
    let summary = summary(&ran);
    assert_eq!(
        (summary["files"].as_u64(), summary["distinct"].as_u64()),
        (Some(301), Some(301))
    );
}

#[test]
fn whoever_is_interrupted_leaves_nothing_half_done() {
    for arguments in [
        &["-o", "text", "-o", "jsonl=found.jsonl", "--split", "-"][..],
        &["--fix", "--fix-output", "new.txt", "-o", "jsonl=found.jsonl", "-"],
    ] {
        let place = Place::new();
        let mut child = Command::new(env!("CARGO_BIN_EXE_presend"))
            .args([&["lint", "--level", "syntax"], arguments].concat())
            .current_dir(place.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || {
            // Until nobody reads any more.
            while input.write_all("user@ACME-corp.com\n".repeat(4000).as_bytes()).is_ok() {}
        });
        let mut err = BufReader::new(child.stderr.take().unwrap());
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        if arguments.contains(&"--fix") {
            err.read_line(&mut said).unwrap();
        } else {
            out.read_line(&mut said).unwrap();
        }
        let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let reader = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        err.read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
        writer.join().unwrap();
        reader.join().unwrap().unwrap();
        assert!(said.contains("interrupted"), "{said}");
        let mut left: Vec<_> = std::fs::read_dir(place.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["found.jsonl"], "{said}");
        let found = place.read("found.jsonl");
        let last = found.lines().last().unwrap();
        assert!(
            last.contains("\"exit_code\":130") && last.contains("were not looked at"),
            "{last}"
        );
    }
}

/// Whoever wants the rows themselves has each of them made; nothing else differs.
#[test]
fn the_same_is_found_with_rows_and_without() {
    let place = Place::new();
    let addresses = [
        "jane@acme-corp.com",
        "Jane@acme-corp.com",
        "info@gmail.com",
        "a..b@gmial.com",
        " x@ACME-corp.com",
        "team@mailinator.com",
        "m\u{fc}ller@b\u{fc}cher.de",
        "jane@example.org",
        "=x@acme-corp.com",
        "j@acme.nosuchtld",
        "<y@yahoo.co>",
        "M\u{c3}\u{bc}@acme-corp.com",
    ];
    let (mut text, mut table) = (String::new(), String::from("id,email,note\n"));
    for number in 0..9000 {
        let address = addresses[number * 7 % addresses.len()].replacen('@', &format!("{}@", number % 900), number % 2);
        let end = ["\n", "\r\n", "\n", "\n\n", "\n \n", "\r"][number % 301 % 6];
        text.push_str(&address);
        let row = match number % 97 {
            3 => format!("{number},{address}"),
            4 => format!("{number},{address},=1+1"),
            5 if number > 4000 => format!("{number},\"{address}\",\"a\nb\""),
            _ => format!("{number},{address},x"),
        };
        table.push_str(&row);
        if number % 1501 == 5 {
            text.push_str(" # presend: ignore\n# presend: ignore[role]");
        }
        text.push_str(end);
        table.push_str(end);
    }
    for (name, list) in [("list.txt", text), ("list.csv", table)] {
        place.write(name, list);
        let plain = run(&place, &["-o", "jsonl", name]);
        let split = run(&place, &["-o", "jsonl", "--split", name]);
        assert!(found(&plain).len() > 9000, "{}", plain.err);
        for (one, other) in plain.out.lines().zip(split.out.lines()) {
            assert_eq!(one, other);
        }
        assert_eq!(plain.out.len(), split.out.len());
    }
}
