//! Several files as one input.

use std::path::PathBuf;

use presend::input::{Cells, InputFormat, InputOptions, Row, Table};
use tempfile::TempDir;

use super::{packed::gzip, write};

fn open_all(files: &[(&str, &[u8])]) -> (TempDir, Result<Table, String>) {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = files.iter().map(|(name, content)| write(&dir, name, content)).collect();
    let table = Table::open_all(&paths, &InputOptions::default()).map_err(|error| error.to_string());
    (dir, table)
}

/// `file:line:address|cells`, and `!message` for a fault.
fn show(row: &Row) -> String {
    let file = row.file.as_deref().unwrap_or("-");
    let file = file.rsplit('/').next().unwrap();
    let cells: Vec<String> = match &row.cells {
        Cells::Record { record, .. } => record.iter().map(str::to_owned).collect(),
        Cells::Object { object, .. } => vec![serde_json::to_string(object).unwrap()],
    };
    let fault = row
        .fault
        .as_ref()
        .map_or(String::new(), |fault| format!(" !{}", fault.message));
    format!("{file}:{}:{}|{}{fault}", row.line, row.address(), cells.join(","))
}

/// All rows, read twice; the second pass begins where the first one stopped half-way.
fn rows(table: &mut Table) -> Vec<String> {
    let mut row = Row::default();
    let mut first = Vec::new();
    while table.read_row(&mut row).unwrap() {
        first.push(show(&row));
    }
    assert!(!table.read_row(&mut row).unwrap());
    for stop in [0, 1, first.len().saturating_sub(1), first.len()] {
        table.rewind().unwrap();
        for _ in 0..stop {
            assert!(table.read_row(&mut row).unwrap());
        }
        table.rewind().unwrap();
        let mut again = Vec::new();
        while let Some(row) = table.next_row().unwrap() {
            again.push(show(&row));
        }
        assert_eq!(first, again, "after {stop} rows");
    }
    first
}

#[test]
fn columns_are_joined_by_name_and_every_file_has_its_own_address_column() {
    let (_dir, table) = open_all(&[
        ("a.csv", b"id,Email,Email\n1,a@x.org,second\n"),
        ("b.txt.gz", &gzip(b"# from the fair\nb@x.org\n")),
        ("c.csv", b"Name;Email;id\nC;c@x.org;3\n\nD;d@x.org\nE;e@x.org;5;6;7\n"),
        ("d.ndjson", b"{\"mail\":\"f@x.org\",\"n\":1}\n"),
    ]);
    let mut table = table.unwrap();
    assert_eq!(
        table.layout().columns,
        ["id", "Email", "Email", "address", "Name", "row"]
    );
    assert_eq!(table.layout().format, InputFormat::Csv);
    assert_eq!(table.files().len(), 4);
    assert_eq!(
        rows(&mut table),
        [
            "a.csv:2:a@x.org|1,a@x.org,second,,,",
            "b.txt.gz:2:b@x.org|,,,b@x.org,,",
            "c.csv:2:c@x.org|3,c@x.org,,,C,",
            "c.csv:4:d@x.org|,d@x.org,,,D, !the row has 2 cells, expected 3",
            "c.csv:5:e@x.org|5,6,7,e@x.org,,,E, !the row has 5 cells, expected 3",
            "d.ndjson:1:f@x.org|,,,f@x.org,,{\"mail\":\"f@x.org\",\"n\":1}",
        ]
    );
}

#[test]
fn files_of_one_form_keep_it() {
    let (_dir, table) = open_all(&[("a.csv", b"n;email\n1;a@x.org\n"), ("b.csv", b"n,email\n2,b@x.org\n")]);
    let mut table = table.unwrap();
    assert_eq!(
        (table.layout().delimiter, table.layout().columns.len()),
        (Some(b';'), 2)
    );
    assert_eq!(
        rows(&mut table),
        ["a.csv:2:a@x.org|1,a@x.org", "b.csv:2:b@x.org|2,b@x.org"]
    );
    let (_dir, table) = open_all(&[
        ("a.ndjson", b"{\"email\":\"a@x.org\"}\n"),
        ("b.ndjson", b"{\"mail\":\"b@x.org\"}\n"),
    ]);
    let mut table = table.unwrap();
    assert_eq!(table.layout().format, InputFormat::Ndjson);
    assert_eq!(
        rows(&mut table),
        [
            "a.ndjson:1:a@x.org|{\"email\":\"a@x.org\"}",
            "b.ndjson:1:b@x.org|{\"mail\":\"b@x.org\"}"
        ]
    );
    let (_dir, table) = open_all(&[("a.txt", b"a@x.org\n"), ("b.txt", b"b@x.org\n")]);
    assert_eq!(table.unwrap().layout().format, InputFormat::Text);
}

#[test]
fn one_file_has_no_file_name_in_its_rows() {
    let (_dir, table) = open_all(&[("a.csv", b"email\na@x.org\n")]);
    assert_eq!(rows(&mut table.unwrap()), ["-:2:a@x.org|a@x.org"]);
}

#[test]
fn a_bad_file_among_good_ones_is_found_at_once() {
    let good = b"email\na@x.org\n".as_slice();
    let bad: [(&str, Vec<u8>, &str); 3] = [
        ("b.csv", b"x,y\n1,2\n".to_vec(), "no column that holds addresses"),
        ("b.csv.gz", gzip(good)[..20].to_vec(), "cut off"),
        ("b.csv", Vec::new(), "is empty"),
    ];
    for (name, content, expected) in bad {
        let (_dir, table) = open_all(&[("a.csv", good), (name, &content), ("c.csv", good)]);
        let error = table.unwrap_err();
        assert!(error.contains(name) && error.contains(expected), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let paths = [write(&dir, "a.csv", good), dir.path().join("none.csv")];
    let error = Table::open_all(&paths, &InputOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("none.csv"), "{error}");
    let error = Table::open_all(&["-", "-"], &InputOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("named twice"), "{error}");
    let error = Table::open_all(&vec![&paths[0]; 201], &InputOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("200 files"), "{error}");
}

#[test]
fn a_file_that_changes_before_its_turn_is_refused() {
    let (dir, table) = open_all(&[("a.txt", b"a@x.org\n"), ("b.txt", b"b@x.org\n")]);
    let mut table = table.unwrap();
    assert!(table.next_row().unwrap().is_some());
    write(&dir, "b.txt", b"b@x.org\nc@x.org\n");
    let error = table.next_row().unwrap_err().to_string();
    assert!(error.contains("b.txt") && error.contains("changed"), "{error}");
}

/// A header has as many columns as fit into its line; compared with each other, these took a minute.
#[test]
fn p5_wide_headers_of_several_files_are_joined_in_linear_time() {
    let wide = |name: &str| {
        let names: Vec<String> = (0..20_000).map(|number| format!("{name}{}", number % 15_000)).collect();
        format!("email,{}\na@x.org\n", names.join(",")).into_bytes()
    };
    let (_dir, table) = open_all(&[("a.csv", &wide("a")), ("b.csv", &wide("b")), ("c.csv", &wide("a"))]);
    let table = table.unwrap();
    assert_eq!(table.layout().columns.len(), 40_001);
}
