//! input: formats, encodings, bounds, and every way a list can be wrong.

mod packed;
mod several;
mod workbook;

use std::{
    fmt::Write as _,
    fs,
    io::{Seek, SeekFrom, Write as _},
    path::PathBuf,
};

use presend::input::{Cells, InputFormat, InputOptions, Row, Table};
use proptest::prelude::*;
use tempfile::TempDir;

fn write(dir: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn open(name: &str, content: &[u8], options: &InputOptions) -> Result<Table, String> {
    let dir = tempfile::tempdir().unwrap();
    Table::open(&write(&dir, name, content), options).map_err(|error| error.to_string())
}

/// `line:address`, and `!column message` for a fault.
fn show(row: &Row) -> String {
    let mut text = format!("{}:{}", row.line, row.address());
    if let Some(fault) = &row.fault {
        let column = fault.column.map_or("?".into(), |column| column.to_string());
        write!(text, " !{column} {}", fault.message).unwrap();
    }
    text
}

/// All rows, read twice, once with memory used again.
fn rows(table: &mut Table) -> Vec<String> {
    let mut first = Vec::new();
    while let Some(row) = table.next_row().unwrap() {
        first.push(show(&row));
    }
    table.rewind().unwrap();
    let (mut second, mut row) = (Vec::new(), Row::default());
    while table.read_row(&mut row).unwrap() {
        second.push(show(&row));
    }
    assert_eq!(first, second, "the second pass differs");
    first
}

fn read(name: &str, content: &[u8]) -> Vec<String> {
    let mut table = open(name, content, &InputOptions::default()).unwrap();
    rows(&mut table)
}

fn column(column: &str) -> InputOptions {
    InputOptions {
        column: Some(column.into()),
        ..InputOptions::default()
    }
}

#[test]
fn rows_of_every_format_and_line_end() {
    let cases: &[(&str, &[u8], &[&str])] = &[
        ("a.txt", b"a@x.org\nb@x.org\n", &["1:a@x.org", "2:b@x.org"]),
        (
            "a.txt",
            b"a@x.org\r\n\t\r\n# no\r\n  # no\r\nb@x.org",
            &["1:a@x.org", "5:b@x.org"],
        ),
        (
            "a.txt",
            b"a@x.org\rb@x.org\r\rc@x.org\r",
            &["1:a@x.org", "2:b@x.org", "4:c@x.org"],
        ),
        ("a", b"not an address\nb@x.org", &["1:not an address", "2:b@x.org"]),
        ("a", b"john.gmail.com\nb@x.org", &["1:john.gmail.com", "2:b@x.org"]),
        ("a", b"E-Mail\na@x.org\n", &["2:a@x.org"]),
        ("a.csv", b"a@x.org\n", &["1:a@x.org"]),
        (
            "a.csv",
            b"email\na@x.org\n\n   \nb@x.org\n",
            &["2:a@x.org", "5:b@x.org"],
        ),
        ("a.csv", b"email\r\"a@x.org\"\rb@x.org\r", &["2:a@x.org", "3:b@x.org"]),
        ("a.csv", b"\"email\"\r\n\"a@x.org\"\r\n", &["2:a@x.org"]),
        ("a", b"\"a@x.org\"\n\"b@x.org\"", &["1:a@x.org", "2:b@x.org"]),
        (
            "a.csv",
            b"id,name,email\n1,A,a@x.org\n2,B,b@x.org",
            &["2:a@x.org", "3:b@x.org"],
        ),
        ("a.csv", b"1,A,a@x.org\n2,B,b@x.org", &["1:a@x.org", "2:b@x.org"]),
        (
            "a",
            b"name;mail\nDoe, Jane;a@x.org\nDoe, John;b@x.org\n",
            &["2:a@x.org", "3:b@x.org"],
        ),
        ("a.tsv", b"name\te-mail\nJ, D\ta@x.org\n", &["2:a@x.org"]),
        ("a", b"1|a@x.org\n2|b@x.org\n", &["1:a@x.org", "2:b@x.org"]),
        ("a.csv", b"sep=;\r\nname;email\r\nA;a@x.org\r\n", &["3:a@x.org"]),
        ("a.csv", b"sep=:\nA:a@x.org\n", &["2:a@x.org"]),
        (
            "a.csv",
            b"name,email\n\"two\nlines\",a@x.org\n\"say \"\"hi\"\"\",b@x.org\n",
            &["2:a@x.org", "4:b@x.org"],
        ),
        (
            "a.csv",
            b"name,email\n\"A\"x,a@x.org\nB\"y,b@x.org\n",
            &["2:a@x.org", "3:b@x.org"],
        ),
        // Two columns hold addresses: the name decides, else the first.
        ("a.csv", b"referrer,email\nr@x.org,a@x.org\n", &["2:a@x.org"]),
        ("a.csv", b"r@x.org,a@x.org\n", &["1:r@x.org"]),
        // Mostly filled with something else.
        (
            "a.csv",
            b"note,to\nx@y,a@x.org\nn,b@x.org\nn,c@x.org\n",
            &["2:a@x.org", "3:b@x.org", "4:c@x.org"],
        ),
        (
            "a.ndjson",
            b"{\"id\":1,\"mail\":\"a@x.org\"}\n\n\"b@x.org\"\n",
            &["1:a@x.org", "3: !? the object has no key `mail`"],
        ),
        ("a.jsonl", b"\"a@x.org\"\r\n\"b@x.org\"", &["1:a@x.org", "2:b@x.org"]),
        ("a", b"{\"email\":\"a@x.org\",\"from\":\"z@x.org\"}\n", &["1:a@x.org"]),
        (
            "a.ndjson",
            b"{\"email\":\"a@x.org\"}\n{\"email\":1}\n{\"email\" 1}\n[1]\n{\"email\":\"b@x.org\"}",
            &[
                "1:a@x.org",
                "2: !? `email` is not a string",
                "3: !10 the line is not JSON: expected `:`",
                "4: !1 the line is neither a JSON object nor a string",
                "5:b@x.org",
            ],
        ),
    ];
    for (name, content, want) in cases {
        assert_eq!(&read(name, content), want, "{}", String::from_utf8_lossy(content));
    }
}

#[test]
fn encodings_are_recognised() {
    let utf16 = |text: &str, big: bool| -> Vec<u8> {
        let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        text.encode_utf16().flat_map(bytes).collect()
    };
    let text = "name,email\r\nJosé,josé@x.org\r\n";
    let want = ["2:josé@x.org"];
    let with = |mark: &[u8], rest: Vec<u8>| [mark, &rest].concat();
    let latin: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let cases = [
        ("UTF-8", text.as_bytes().to_vec()),
        ("UTF-8", with(b"\xEF\xBB\xBF", text.into())),
        ("UTF-16LE", with(b"\xFF\xFE", utf16(text, false))),
        ("UTF-16BE", with(b"\xFE\xFF", utf16(text, true))),
        ("UTF-16LE", utf16(text, false)),
        ("UTF-16BE", utf16(text, true)),
        ("windows-1252", latin),
    ];
    for (encoding, content) in cases {
        let mut table = open("a.csv", &content, &InputOptions::default()).unwrap();
        assert_eq!(table.layout().encoding, encoding);
        assert_eq!(table.layout().columns, ["name", "email"]);
        assert_eq!(rows(&mut table), want, "{encoding}");
    }
}

#[test]
fn a_line_end_across_a_read_is_one() {
    // CR and LF on every offset around 256 KiB, where the first window ends.
    for pad in 0..12 {
        let content = format!("{}{}@x.org\r\nb@x.org\r\n", "a@x.org\n".repeat(32_766), "a".repeat(pad));
        let rows = read("a.txt", content.as_bytes());
        assert_eq!(rows.last().unwrap(), "32768:b@x.org", "{pad}");
    }
}

#[test]
fn a_character_cut_by_the_end_is_replaced() {
    let rows = read("a.txt", b"\xFF\xFEa\0@\0b\0\n\0c");
    assert_eq!(rows, ["1:a@b", "2:\u{FFFD}"]);
}

#[test]
fn one_late_letter_decides_the_encoding() {
    let mut content = "a@x.org\n".repeat(100_000).into_bytes();
    content.extend(b"jos\xE9@x.org\n");
    let mut table = open("a.txt", &content, &InputOptions::default()).unwrap();
    assert_eq!(table.layout().encoding, "windows-1252");
    assert_eq!(rows(&mut table).last().unwrap(), "100001:josé@x.org");
}

#[test]
fn damage_in_utf8_is_a_fault_of_its_row() {
    for filler in [0, 70_000] {
        let mut content = "name,email\nJosé,a@x.org\nÉva,e@x.org\n".as_bytes().to_vec();
        content.extend("xxxxxx,b@x.org\n".repeat(filler).bytes());
        content.extend(b"n,b\xE9@x.org\nn,c@x.org\n");
        let mut table = open("a.csv", &content, &InputOptions::default()).unwrap();
        assert_eq!(table.layout().encoding, "UTF-8");
        let rows = rows(&mut table);
        let tail = &rows[rows.len() - 2..];
        assert_eq!(
            tail,
            [
                format!(
                    "{}:b\u{FFFD}@x.org !2 the text is not valid UTF-8, unlike the rest of the file",
                    filler + 4
                ),
                format!("{}:c@x.org", filler + 5)
            ]
        );
    }
}

#[test]
fn a_character_across_a_read_is_whole() {
    // é on every offset around the first 64 KiB.
    for pad in 65_520..65_540 {
        let content = format!("{}\né@x.org\n", "a".repeat(pad - 6) + "@x.org");
        let mut table = open("a.txt", content.as_bytes(), &InputOptions::default()).unwrap();
        assert_eq!(table.layout().encoding, "UTF-8");
        assert_eq!(
            table.next_row().unwrap().map(|row| row.fault.is_some()),
            Some(pad > 65_536),
            "{pad}"
        );
        assert_eq!(show(&table.next_row().unwrap().unwrap()), "2:é@x.org", "{pad}");
    }
}

#[test]
fn the_column_is_named_numbered_or_guessed() {
    let content = b"id,Work Email,2\n1,a@x.org,b@x.org\n";
    let cases = [
        (InputOptions::default(), "2:a@x.org", true),
        (column("work email"), "2:a@x.org", false),
        (column("2"), "2:b@x.org", false),
        (column("3"), "2:b@x.org", false),
        (column("1"), "2:1", false),
    ];
    for (options, want, guessed) in cases {
        let mut table = open("a.csv", content, &options).unwrap();
        assert_eq!(table.layout().guessed, guessed);
        assert!(table.layout().header);
        assert_eq!(rows(&mut table), [want], "{options:?}");
    }
    let mut table = open("a.ndjson", b"{\"a\":\"x@x.org\",\"B\":\"y@x.org\"}", &column("b")).unwrap();
    assert_eq!(rows(&mut table), ["1:y@x.org"]);
    assert_eq!(table.layout().address_key.as_deref(), Some("B"));
}

#[test]
fn the_header_can_be_told() {
    let header = |header| InputOptions {
        header: Some(header),
        ..InputOptions::default()
    };
    let mut table = open("a.csv", b"x@y.org,b\n1,a@x.org\n2,b@x.org\n3,c@x.org\n", &header(true)).unwrap();
    assert_eq!(table.layout().columns, ["x@y.org", "b"]);
    assert_eq!(rows(&mut table), ["2:a@x.org", "3:b@x.org", "4:c@x.org"]);
    let mut table = open("a.csv", b"id,email\n1,a@x.org\n2,b@x.org\n3,c@x.org\n", &header(false)).unwrap();
    assert_eq!(table.layout().columns, ["column_1", "column_2"]);
    assert_eq!(rows(&mut table).first().unwrap(), "1:email");
}

#[test]
fn the_layout_is_told() {
    let layout = |name: &str, content: &[u8]| {
        let table = open(name, content, &InputOptions::default()).unwrap();
        let layout = table.layout();
        (layout.format, layout.delimiter, layout.header)
    };
    assert_eq!(layout("a.txt", b"a@x.org"), (InputFormat::Text, None, false));
    assert_eq!(layout("a.csv", b"a@x.org\nb@x.org"), (InputFormat::Csv, None, false));
    assert_eq!(
        layout("a", b"email\ta\na@x.org\t1"),
        (InputFormat::Csv, Some(b'\t'), true)
    );
    assert_eq!(layout("a", b"{\"a\":\"a@x.org\"}"), (InputFormat::Ndjson, None, false));
}

#[test]
fn unusable_inputs_are_named() {
    let none = InputOptions::default;
    let cases: Vec<(&str, &[u8], InputOptions, &[&str])> = vec![
        ("a.txt", b"", none(), &["a.txt", "empty"]),
        ("a.csv", b" \r\n\n", none(), &["empty"]),
        ("a.csv", b"\xEF\xBB\xBF", none(), &["empty"]),
        ("a.txt", b"# only\n", none(), &["empty", "comments"]),
        ("a.csv", b"id,email\n", none(), &["empty", "header"]),
        (
            "a.csv",
            b"id,email\n1,a@x.org\n",
            column("phone"),
            &["no column `phone`", "`id`, `email`"],
        ),
        (
            "a.csv",
            b"id,email\n1,a@x.org\n",
            column("9"),
            &["2 column(s)", "9", "out of range"],
        ),
        ("a.csv", b"id,email\n1,a@x.org\n", column("0"), &["out of range"]),
        (
            "a.csv",
            b"1,a@x.org\n",
            column("email"),
            &["no column `email`", "`column_1`, `column_2`"],
        ),
        (
            "a.ndjson",
            b"{\"a\":\"a@x.org\"}",
            column("b"),
            &["no column `b`", "`a`"],
        ),
        (
            "a.csv",
            b"id,name\n1,A\n2,B\n",
            none(),
            &["no column that holds addresses", "`id`, `name`", "`--column`"],
        ),
        (
            "a.ndjson",
            b"{\"a\":1}\n",
            none(),
            &["no column that holds addresses", "`a`"],
        ),
        (
            "a.ndjson",
            b"what\n",
            none(),
            &["no column that holds addresses", "JSON"],
        ),
        (
            "a.txt",
            b"to be or not\nto be\n",
            none(),
            &["no column that holds addresses", "plain text"],
        ),
        ("a.xlsx", b"PK\x03\x04\0\0\0\0", none(), &["XLSX workbook", "CSV"]),
        ("a.csv.gz", b"\x1F\x8B\x08\0", none(), &["gzip", "cut off"]),
        ("a.csv.zst", b"\x28\xB5\x2F\xFD", none(), &["zstd", "cut off"]),
        (
            "a.csv",
            b"email\na@x.org\n",
            InputOptions {
                sheet: Some("1".into()),
                ..none()
            },
            &["no workbook", "--sheet"],
        ),
        (
            "a.json",
            b"[{\"email\":\"a@x.org\"}]",
            none(),
            &["JSON array", "NDJSON"],
        ),
    ];
    for (name, content, options, want) in cases {
        let error = open(name, content, &options).unwrap_err();
        assert!(error.contains(&format!("{name}`")), "{error}");
        for want in want {
            assert!(error.contains(want), "{error:?} does not say {want:?}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let error = Table::open(dir.path(), &none()).unwrap_err().to_string();
    assert!(error.contains("is a directory"), "{error}");
    let error = Table::open(&dir.path().join("none.csv"), &none())
        .unwrap_err()
        .to_string();
    assert!(error.contains("none.csv") && error.contains("cannot read"), "{error}");
}

#[test]
fn binary_files_are_refused_and_a_lone_nul_is_not() {
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\x0bIDATx\xdac``\0\0\0\x02\0\x01 a@b.org";
    let sqlite = [
        b"SQLite format 3\0\x10\0\x01\x01\0@  \0\0\0\x02".as_slice(),
        &[0; 100],
        b"a@x.org\nb@x.org\n",
    ]
    .concat();
    let program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0>\0\x01\0\0\0 a@x.org\n";
    // No two NULs stand together, and every row has an address.
    let packed = b"\x01\x02\0a@x.org\n\x03\0\x04b@x.org\n\x05\0\x06c@x.org\n";
    for content in [png.as_slice(), &sqlite, program, packed] {
        for name in ["a.csv", "a.txt", "a.ndjson", "a", "a.png"] {
            for format in [None, Some(InputFormat::Text), Some(InputFormat::Csv)] {
                let options = InputOptions {
                    format,
                    ..InputOptions::default()
                };
                let error = open(name, content, &options).unwrap_err();
                assert!(error.contains(&format!("{name}` is binary")), "{error}");
                assert!(error.contains("CSV"), "{error}");
            }
        }
    }
    assert_eq!(
        read("a.csv", b"id,email\n1,a@x.org\n2,b\0@x.org\n"),
        ["2:a@x.org", "3:b\0@x.org"]
    );
    assert_eq!(read("a.txt", b"a@x.org\n\0b@x.org\nc@x.org\0\n").len(), 3);
    for text in [b"a\0@\0b\0.\0c\0\n\0".as_slice(), b"\0a\0@\0b\0.\0c\0\n"] {
        assert_eq!(read("a.txt", text), ["1:a@b.c"]);
    }
}

#[test]
fn a_line_that_is_no_json_object_keeps_its_text() {
    let lines = ["{\"email\":\"b@x.org\"", "[1, 2]", "7", "b@x.org; Bob", "\"\u{fffd}"];
    let list = format!("{{\"email\":\"Zoë é é <a@x.org>\"}}\n{}", lines.join("\n"));
    let mut content = list.into_bytes();
    // One byte that is not UTF-8 in place of the three of U+FFFD.
    content.truncate(content.len() - 3);
    content.push(0xFF);
    let mut table = open("a.ndjson", &content, &InputOptions::default()).unwrap();
    let mut kept = Vec::new();
    while let Some(row) = table.next_row().unwrap() {
        let Cells::Object { object, address } = row.cells else {
            panic!("{:?}", row.cells)
        };
        if row.fault.is_some() {
            assert_eq!((object.len(), &*address), (1, ""));
            kept.push(object["line"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(kept, lines);
}

#[test]
fn text_without_an_at_sign_is_read_when_the_format_is_told() {
    let options = InputOptions {
        format: Some(InputFormat::Text),
        ..InputOptions::default()
    };
    let mut table = open("a", b"one\ntwo\n", &options).unwrap();
    assert_eq!(rows(&mut table), ["1:one", "2:two"]);
}

#[test]
fn a_file_that_changes_between_passes_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(&dir, "a.txt", b"a@x.org\nb@x.org\n");
    let mut table = Table::open(&path, &InputOptions::default()).unwrap();
    table.next_row().unwrap();
    table.rewind().unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"c@x.org\n").unwrap();
    let error = table.rewind().unwrap_err().to_string();
    assert!(error.contains("a.txt") && error.contains("changed"), "{error}");
}

#[test]
fn a_stream_can_be_read_twice() {
    let mut stream: &[u8] = b"id;email\n1;a@x.org\n";
    let mut table = Table::from_reader(&mut stream, "standard input", &InputOptions::default()).unwrap();
    assert_eq!(rows(&mut table), ["2:a@x.org"]);
    let error = Table::from_reader(&mut &b""[..], "standard input", &InputOptions::default()).unwrap_err();
    assert!(error.to_string().contains("`standard input` is empty"), "{error}");
}

#[test]
fn p5_ragged_rows_keep_their_cells() {
    let mut table = open(
        "a.csv",
        b"id,email,name\n1,a@x.org,A\n2,b@x.org\n3,c@x.org,C,D\n4,\n5,e@x.org,E",
        &column("email"),
    )
    .unwrap();
    assert_eq!(
        rows(&mut table),
        [
            "2:a@x.org",
            "3:b@x.org !3 the row has 2 cells, expected 3",
            "4:c@x.org !4 the row has 4 cells, expected 3",
            "5: !3 the row has 2 cells, expected 3",
            "6:e@x.org",
        ]
    );
    table.rewind().unwrap();
    let row = std::iter::from_fn(|| table.next_row().unwrap()).nth(2).unwrap();
    let Cells::Record { record, .. } = row.cells else {
        panic!("a record")
    };
    assert_eq!(record.iter().collect::<Vec<_>>(), ["3", "c@x.org", "C", "D"]);
}

#[test]
fn p5_an_unclosed_quote_costs_one_row() {
    let unclosed = "a quote is opened and not closed where a cell can end";
    let long = "a quoted cell is longer than 64 KiB, or its quote is not closed";
    // To the end of the file; up to the next quoted row; over more than a cell can hold.
    let filler = "n,f@x.org\n".repeat(20_000);
    for (rest, message, count) in [
        ("n,b@x.org\nn,c@x.org\n", unclosed, 2),
        ("n,b@x.org\n\"n\",c@x.org\n", unclosed, 2),
        (filler.as_str(), long, 20_000),
    ] {
        let content = format!("name,email\nn,a@x.org\n\"open,q@x.org\n{rest}");
        let rows = read("a.csv", content.as_bytes());
        assert_eq!(rows[0], "2:a@x.org");
        assert_eq!(rows[1], format!("3:q@x.org !1 {message}"));
        assert_eq!(rows.len(), 2 + count);
        assert!(rows[2..].iter().all(|row| !row.contains('!')), "{:?}", &rows[2..4]);
    }
}

#[test]
fn p5_long_cells_and_rows_are_faults_and_reading_goes_on() {
    let cell = "x".repeat(70_000);
    let row = "y,".repeat(600_000);
    let huge = "z".repeat(5_000_000);
    for bad in [
        format!("{cell},b@x.org"),
        format!("\"{cell}\",b@x.org"),
        row,
        huge.clone(),
        format!("\"{huge}\",b@x.org"),
    ] {
        for end in ["\n", "\r\n", "\r"] {
            let content = format!("name,email{end}n,a@x.org{end}{bad}{end}n,c@x.org{end}");
            let rows = read("a.csv", content.as_bytes());
            assert_eq!(
                rows.len(),
                3,
                "{:?}",
                rows.iter().map(|row| &row[..row.len().min(80)]).collect::<Vec<_>>()
            );
            assert_eq!(rows[0], "2:a@x.org");
            assert!(
                rows[1].starts_with("3: !") && rows[1].contains("longer than"),
                "{}",
                rows[1]
            );
            assert_eq!(rows[2], "4:c@x.org");
        }
    }
    let text = format!("a@x.org\n{huge}\nb@x.org\n");
    assert_eq!(
        read("a.txt", text.as_bytes()),
        ["1:a@x.org", "2: !? a cell is longer than 64 KiB", "3:b@x.org"]
    );
    let json = format!("\"a@x.org\"\n\"{huge}\"\n\"{cell}\"\n\"b@x.org\"\n");
    let rows = read("a.ndjson", json.as_bytes());
    assert_eq!(rows.len(), 4);
    assert!(
        rows[1].contains("1 MiB") && rows[2].contains("64 KiB"),
        "{} {}",
        rows[1],
        rows[2]
    );
}

/// The unit test in `src/input/mod.rs` watches the memory.
#[test]
fn p5_a_huge_field_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(&dir, "a.csv", b"email\na@x.org\n");
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.set_len(64 << 20).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(b"\nb@x.org\n").unwrap();
    let mut table = Table::open(&path, &InputOptions::default()).unwrap();
    let rows = rows(&mut table);
    assert_eq!(rows, ["2:a@x.org", "3: !? the row is longer than 1 MiB", "4:b@x.org"]);
}

/// Every line opens a quote that the next line does not close: quadratic without a budget.
#[test]
fn p5_quotes_that_never_close_stay_linear() {
    for line in ["x\",\"\n", "\"a\",\"b\n", "\"\"\"\n", "x,\"y\"\"\n", "\",\n"] {
        let content = format!("a@x.org,b\n{}", line.repeat(200_000));
        let mut table = open("a.csv", content.as_bytes(), &column("1")).unwrap();
        let start = std::time::Instant::now();
        let mut row = Row::default();
        while table.read_row(&mut row).unwrap() {}
        assert!(start.elapsed().as_secs() < 20, "{line:?} took {:?}", start.elapsed());
    }
}

#[test]
fn p5_a_key_with_control_characters_is_named_without_them() {
    let mut table = open(
        "a.ndjson",
        "{\"e\u{8f}\u{202e}mail\":\"ann@x.org\"}\n{\"other\":1}\n".as_bytes(),
        &InputOptions::default(),
    )
    .unwrap();
    let mut row = Row::default();
    assert!(table.read_row(&mut row).unwrap() && row.fault.is_none());
    assert!(table.read_row(&mut row).unwrap());
    let fault = row.fault.unwrap();
    assert_eq!(&*fault.message, "the object has no key `e\\u{8f}\\u{202e}mail`");
}

proptest! {
    #[test]
    fn p5_arbitrary_bytes_never_panic(
        content in proptest::collection::vec(prop_oneof![4 => any::<u8>(), 6 => prop::sample::select(&b"\",;\t|\r\n@a{}[]:#\0\xFF\xFE"[..])], 0..400),
        name in prop::sample::select(&["a.txt", "a.csv", "a.ndjson", "a"][..]),
        wanted in prop::option::of("[a0-2]"),
    ) {
        let options = InputOptions { column: wanted, ..InputOptions::default() };
        if let Ok(mut table) = open(name, &content, &options) {
            let shown = rows(&mut table);
            prop_assert!(shown.len() <= content.len() + 1);
        }
    }

    #[test]
    fn written_csv_is_read_back(
        cells in proptest::collection::vec(("[^\u{0}]{0,12}", "[a-z]{1,8}@[a-z]{1,8}\\.org"), 1..20),
        delimiter in prop::sample::select(&b",;\t|"[..]),
    ) {
        let mut writer = csv::WriterBuilder::new().delimiter(delimiter).quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
        writer.write_record(["name", "email"]).unwrap();
        for (name, email) in &cells {
            writer.write_record([name, email]).unwrap();
        }
        let mut table = open("a.csv", &writer.into_inner().unwrap(), &InputOptions::default()).unwrap();
        for (name, email) in &cells {
            let row = table.next_row().unwrap().unwrap();
            prop_assert_eq!(&row.fault, &None);
            prop_assert_eq!(row.address(), email);
            let Cells::Record { record, .. } = &row.cells else { panic!("a record") };
            prop_assert_eq!(record.get(0), Some(name.as_str()));
        }
        prop_assert!(table.next_row().unwrap().is_none());
    }
}
