//! Lists that are no lists: the right words, the right code, and the other files are checked all the same.

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
};

use super::{found, lint, run, summary};
use crate::cli::Place;

const GOOD: (&str, &[u8]) = ("good.txt", b"jane@acme-corp.com\ninfo@acme-corp.com\n");

#[test]
fn what_cannot_be_read_is_2_and_the_rest_is_checked() {
    let binary: Vec<u8> = (0..=255_u8).cycle().take(4096).collect();
    for (name, bytes, said) in [
        ("bad.csv", binary.as_slice(), "is binary"),
        ("bad.csv", b"", "is empty"),
        ("bad.csv", b"email,name\n", "holds a header and no rows"),
        ("bad.txt", b"# nothing\n\n", "nothing but blank lines and comments"),
        ("bad.csv.gz", b"\x1f\x8b\x08\x00broken", "damaged or cut off"),
    ] {
        let ran = lint(&[GOOD, (name, bytes)], &["-o", "jsonl", name, "good.txt"]);
        assert_eq!(ran.code, 2, "{said}: {}", ran.err);
        assert!(ran.err.contains(said) && ran.err.contains(name), "{said}: {}", ran.err);
        assert_eq!(found(&ran), ["2 role"], "{said}");
        let problems = summary(&ran)["problems"].to_string();
        assert!(problems.contains(said), "{problems}");
    }
}

#[test]
fn what_is_not_there_is_2() {
    for (arguments, said) in [
        (&["none.csv"][..], "cannot read `none.csv`"),
        (&["*.xlsx"], "`*.xlsx` matches no file"),
        (&["folder"], "`folder` holds no list"),
        (&["-", "-"], "`-` is named twice"),
    ] {
        let place = Place::new();
        place.write("folder/readme.md", "x");
        place.write(GOOD.0, GOOD.1);
        let ran = run(&place, &[arguments, &["good.txt"]].concat());
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(said), "{arguments:?}: {}", ran.err);
    }
}

#[cfg(unix)]
#[test]
fn an_unreadable_file_is_2_and_a_loop_of_folders_ends() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let place = Place::new();
    place.write("lists/a.txt", GOOD.1);
    place.write("lists/b.txt", GOOD.1);
    let folder = place.0.path().join("lists");
    symlink(&folder, folder.join("again")).unwrap();
    symlink("nowhere", folder.join("c.txt")).unwrap();
    let ran = run(&place, &["-o", "jsonl", "lists"]);
    assert_eq!((ran.code, summary(&ran)["files"].as_u64()), (0, Some(2)), "{}", ran.err);
    // Root reads everything; a folder in the place of a file does not.
    std::fs::set_permissions(folder.join("b.txt"), PermissionsExt::from_mode(0o000)).unwrap();
    symlink("c.txt", folder.join("d.txt")).unwrap();
    let ran = run(&place, &["-o", "jsonl", "lists/a.txt", "lists/c.txt", "lists/b.txt"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("cannot read `lists/c.txt`"), "{}", ran.err);
    assert_eq!(found(&ran)[0], "2 role");
}

#[test]
fn other_encodings_and_line_ends_are_read() {
    let text = "a@acme-corp.com\r\ninfo@acme-corp.com\nb@@x.org\rc@acme-corp.com";
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let swapped: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for bytes in [text.as_bytes(), &wide, &swapped] {
        let ran = lint(&[("list.txt", bytes)], &["-o", "jsonl", "list.txt"]);
        assert_eq!(found(&ran), ["2 role", "3 syntax-fault"], "{}", ran.err);
        assert_eq!(ran.code, 1);
    }
}

/// A sparse file: nobody writes a gigabyte, and the reader must not hold it.
#[test]
fn a_field_of_a_gigabyte_is_one_finding() {
    let place = Place::new();
    let mut file = File::create(place.0.path().join("big.csv")).unwrap();
    file.write_all(b"email,note\na@acme-corp.com,x\n").unwrap();
    file.seek(SeekFrom::Start(1 << 30)).unwrap();
    file.write_all(b"\ninfo@acme-corp.com,y\n").unwrap();
    drop(file);
    let ran = run(&place, &["-o", "jsonl", "big.csv"]);
    assert_eq!(found(&ran), ["3 unreadable-row", "4 role"], "{}", ran.err);
    assert_eq!(ran.code, 1);
}

#[test]
fn wrong_words_are_2_and_named() {
    for (arguments, said) in [
        (&["--ignore", "roles"][..], "no rule is called `roles`"),
        (&["--select", "PS9"], "no rule is called `PS9`"),
        (&["--ignore", "unknown/perhaps"], "unknown/perhaps"),
        (&["--severity", "role=fatal"], "`error`, `warning`, `note`, `off`"),
        (
            &["--fail-on", "everything"],
            "`everything` is neither a rule nor a severity",
        ),
        (&["--max-invalid", "two"], "`2%` or `0.5%`"),
        (&["--max-invalid", "101%"], "--max-invalid"),
        (&["--max-unknown=-1"], "--max-unknown"),
        (&["--output", "html"], "there is no format `html`"),
        (&["--output", "json="], "name a file"),
        (&["--output", "json", "--output", "csv"], "two reports"),
        (&["--redact", "some"], "possible values"),
        (&["--changed-since", "HEAD"], "git cannot tell"),
        (&["--offline", "--level", "dns"], "--cache FILE"),
    ] {
        let place = Place::new();
        place.write(GOOD.0, GOOD.1);
        let level: &[&str] = if arguments.contains(&"--level") {
            &["lint"]
        } else {
            &["lint", "--level", "syntax"]
        };
        let ran = place.run(&[level, arguments, &["good.txt"]].concat());
        assert_eq!(ran.code, 2, "{arguments:?}: {} {}", ran.out, ran.err);
        assert!(ran.err.contains(said), "{arguments:?}: {}", ran.err);
    }
    let ran = lint(
        &[("list.txt", b"a@acme-corp.com # presend: ignore[roles]\n")],
        &["list.txt"],
    );
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(
        ran.err
            .contains("list.txt:1: what the comment says to presend names no rule"),
        "{}",
        ran.err
    );
}

#[test]
fn a_file_without_its_column_is_a_finding_and_never_passes() {
    let files: &[(&str, &[u8])] = &[("a.csv", b"name,city\nJane,Bonn\n"), GOOD];
    let ran = lint(files, &["-o", "jsonl", "a.csv", "good.txt"]);
    assert_eq!(
        (ran.code, found(&ran)),
        (1, vec!["1 missing-column".into(), "2 role".into()]),
        "{}",
        ran.err
    );
    for arguments in [
        &["--column", "Mail", "a.csv"][..],
        &["--ignore", "missing-column", "a.csv", "good.txt"],
        &["--fail-on", "none", "a.csv", "good.txt"],
    ] {
        let ran = lint(files, arguments);
        assert!(matches!(ran.code, 1 | 2), "{arguments:?}: {}", ran.err);
    }
}
