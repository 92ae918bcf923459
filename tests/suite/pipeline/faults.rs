//! Bad input: what cannot be used is an error that names file, line, column or option and ends with 2 before anybody is
//! asked; a bad row is a row of the result.

use std::fmt::Write as _;

use super::{super::cli::columns, Net, labels, sessions};

#[test]
fn what_cannot_be_used_is_named_and_nobody_is_asked() {
    let net = Net::plain();
    let place = &net.place;
    place.write("good.csv", "email\njane@known.test\n");
    place.write("empty.csv", "");
    place.write("blank.csv", "\n\n\n");
    place.write("header.csv", "name,email\n");
    place.write("numbers.csv", "a,b\n1,2\n3,4\n");
    place.write("array.json", "[{\"email\":\"jane@known.test\"}]");
    place.write(
        "picture.csv",
        b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\njane@known.test\n",
    );
    place.write("book.xlsx", b"PK\x03\x04\x14\x00\x00\x00\x08\x00xl/worksheets");
    place.write("unknown-key.toml", "level = \"smtp\"\nhelo_nam = \"x\"\n");
    place.write("bad.toml", "level = \"smtp\"\n\n[oops\n");
    place.write("bad-replies.toml", "[[rule]]\nid = \"x\"\nclass = \"no_such_class\"\n");
    place.write("broken-replies.toml", "[[rule]\n");
    place.write("bad-list.txt", "friend.test\nnot an entry\n");
    let on_good = |arguments: &'static [&str]| [&["verify", "good.csv"], arguments].concat();
    let cases: Vec<(Vec<&str>, &[&str])> = vec![
        (vec!["verify", "none.csv"], &["none.csv", "No such file"]),
        (vec!["verify", "."], &["`.` is a directory"]),
        (vec!["verify", "empty.csv"], &["`empty.csv` is empty"]),
        (vec!["verify", "blank.csv"], &["blank.csv"]),
        (vec!["verify", "header.csv"], &["`header.csv` is empty"]),
        (
            vec!["verify", "numbers.csv"],
            &["`numbers.csv` has no column that holds addresses", "`--column`"],
        ),
        (vec!["verify", "array.json"], &["array.json", "JSON array", "jq"]),
        (vec!["verify", "book.xlsx"], &["book.xlsx"]),
        (vec!["verify", "picture.csv"], &["`picture.csv` is binary"]),
        (
            on_good(&["--column", "Mail"]),
            &["good.csv", "no column `Mail`", "`email`"],
        ),
        (
            on_good(&["--column", "7"]),
            &["good.csv", "`--column 7`", "out of range"],
        ),
        (on_good(&["--wat"]), &["--wat"]),
        (on_good(&["--level", "deep"]), &["--level", "syntax, dns, smtp"]),
        (
            on_good(&["--config", "unknown-key.toml"]),
            &["unknown-key.toml:2:1", "`helo_nam`", "did you mean `helo_name`"],
        ),
        (on_good(&["--config", "bad.toml"]), &["bad.toml:3:"]),
        (on_good(&["--config", "none.toml"]), &["none.toml"]),
        (
            on_good(&["--replies", "bad-replies.toml"]),
            &["bad-replies.toml", "no_such_class"],
        ),
        (
            on_good(&["--replies", "broken-replies.toml"]),
            &["broken-replies.toml:1:"],
        ),
        (on_good(&["--replies", "none.toml"]), &["none.toml"]),
        (on_good(&["--allow-list", "none.txt"]), &["none.txt"]),
        (on_good(&["--block-list", "bad-list.txt"]), &["bad-list.txt:2", "mx:"]),
        (on_good(&["--output", "no/folder/out.csv"]), &["no/folder/out.csv"]),
        (on_good(&["--split", "good.csv"]), &["good.csv"]),
        (on_good(&["--probe-provider", "nobody"]), &["`nobody`"]),
    ];
    for (arguments, said) in cases {
        let ran = net.run(&arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}: {}", ran.err);
        for said in said {
            assert!(ran.err.contains(said), "{arguments:?}: {said}: {}", ran.err);
        }
        assert!(
            ran.err.lines().any(|line| line.starts_with("error: ")),
            "{arguments:?}: {}",
            ran.err
        );
        assert!(!ran.err.ends_with("\n\n"), "{arguments:?}: {}", ran.err);
    }
    let output = net.command(&["verify", "-"]).write_stdin("").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("`standard input` is empty"));
    assert_eq!(sessions(&net.lab.counters()), (0, 0));
}

#[test]
fn p5_bad_rows_are_rows_and_the_run_goes_on() {
    let net = Net::plain();
    let list =
        "name,email\nJane,jane@known.test\nshort\nlong,joe@known.test,more,cells\n,\n\"never closed,x@known.test\n";
    let ran = net.verify(list, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let rows = columns(&ran.out, b',', &["name", "presend_label", "presend_reason"]);
    let rows: Vec<&str> = rows.split('/').collect();
    assert_eq!(rows[0], "Jane,valid,mailbox_exists");
    assert!(rows.len() >= 5, "{rows:?}");
    assert!(ran.err.contains("unreadable"), "{}", ran.err);
    for row in &rows[1..] {
        assert!(
            row.contains("row_error") || row.contains("syntax_") || row.contains("mailbox_unknown"),
            "{row}"
        );
    }
}

#[test]
fn p5_a_line_that_is_no_json_is_in_the_output_as_it_was() {
    let net = Net::plain();
    let list = "{\"email\":\"jane@known.test\"}\n{\"email\":\"jane@known.test\",\n\"jane\" <jane@known.test>\n";
    net.place.write("list.ndjson", list);
    let ran = net.run(&["verify", "list.ndjson", "--format", "ndjson"]);
    let rows: Vec<serde_json::Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 3, "{}", ran.out);
    for (row, line) in rows.iter().zip(list.lines()).skip(1) {
        assert_eq!(
            (row["line"].as_str(), &row["presend"]["reason"]),
            (Some(line), &"row_error".into())
        );
    }
    let ran = net.run(&["verify", "list.ndjson", "--format", "csv"]);
    let rows: Vec<csv::StringRecord> = csv::Reader::from_reader(ran.out.as_bytes())
        .records()
        .map(Result::unwrap)
        .collect();
    let kept: serde_json::Value = serde_json::from_str(&rows[2][1]).unwrap();
    assert_eq!(kept["line"], "\"jane\" <jane@known.test>");
}

#[test]
fn p1_p2_what_is_no_address_never_reaches_the_wire() {
    let net = Net::new(
        "record_lines = true\n[[host]]\nname = \"mx.known.test\"\nserves = [\"known.test\"]\nmailboxes = [\"jane\"]\n",
    );
    let long = "x".repeat(65);
    let texts = [
        "jane@known.test>\\r\\nDATA".to_owned(),
        "\"a\nRCPT TO:<b@known.test>\"@known.test".to_owned(),
        "<jane@known.test>\tRSET".to_owned(),
        "jane\u{0}@known.test".to_owned(),
        "@relay.test:jane@known.test".to_owned(),
        "jane%other.test@known.test".to_owned(),
        "other.test!jane@known.test".to_owned(),
        "jane(comment)@known.test".to_owned(),
        format!("{long}@known.test"),
        format!("jane@{}known.test", "a.".repeat(130)),
        "jane\u{200b}@known.test".to_owned(),
        "jane\u{202e}@known.test".to_owned(),
        "jane@-known.test".to_owned(),
        "jane@xn--a.test".to_owned(),
    ];
    let mut list = String::from("address\njane@known.test\n");
    for text in &texts {
        let _ = writeln!(list, "\"{}\"", text.replace('"', "\"\""));
    }
    let ran = net.verify(&list, &[]);
    let rows = columns(&ran.out, b',', &["presend_label"]);
    assert_eq!(rows, format!("valid{}", "/invalid".repeat(texts.len())), "{}", ran.out);
    let lines = net.seen("mx.known.test").lines;
    let recipients: Vec<&str> = lines
        .iter()
        .map(|line| line.text.as_str())
        .filter(|line| line.starts_with("RCPT"))
        .collect();
    assert_eq!(recipients.len(), 2, "{recipients:?}");
    assert_eq!(recipients[0], "RCPT TO:<jane@known.test>");
}

#[test]
fn a_huge_cell_is_a_row_error_and_costs_little() {
    let net = Net::plain();
    let mut list = String::from("email,note\njane@known.test,");
    list.push_str(&"x".repeat(8 << 20));
    list.push_str("\njane@known.test,ok\n");
    let ran = net.verify(&list, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let came = columns(&ran.out, b',', &["presend_reason"]);
    assert_eq!(came, "row_error/mailbox_exists", "{}", ran.err);
    assert_eq!(labels(&ran).len(), 2);
}
