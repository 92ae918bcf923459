//! XLSX out, read back by presend's own reader and by `calamine`.

use std::io::Cursor;

use calamine::{Data, Reader, Xlsx};
use presend::{
    input::{InputFormat, Layout},
    job::Sink,
    output::{Format, Output, Target},
};

use super::{Shared, answered, broken, layout, object, options, record, valid};

fn written(layout: &Layout, rows: &[(presend::input::Row, presend::job::Outcome)]) -> Vec<u8> {
    let shared = Shared::default();
    let mut output = Output::single(layout, &options(Format::Xlsx), Target::new(shared.clone(), false));
    for (row, outcome) in rows {
        output.write(row, outcome).unwrap();
    }
    output.finish().unwrap();
    std::mem::take(&mut *shared.0.lock().unwrap())
}

/// The cells of a sheet.
fn cells(bytes: &[u8], sheet: &str) -> Vec<Vec<Data>> {
    let mut workbook = Xlsx::new(Cursor::new(bytes)).unwrap();
    let range = workbook.worksheet_range(sheet).unwrap();
    range.rows().map(<[Data]>::to_vec).collect()
}

fn text(text: &str) -> Data {
    Data::String(text.into())
}

#[test]
fn columns_are_those_of_csv_and_every_text_stays_text() {
    let nasty = [
        "=1+1",
        "=HYPERLINK(\"http://evil\",\"x\")",
        "+cmd|' /C calc'!A0",
        "@SUM(1)",
        "-1-1",
        "http://x.org",
        "0012",
        "1e5",
        "a\nb",
        " x ",
        "<&>\"",
        "_x0041_",
    ];
    let layout = layout(InputFormat::Csv, Some(b';'), &["email", "presend_label", "note"], 0);
    let rows: Vec<_> = nasty
        .iter()
        .map(|note| (record(&["x@y.example", "old", note], 0), valid("x@y.example")))
        .collect();
    let bytes = written(&layout, &rows);
    let cells = cells(&bytes, "presend");
    assert_eq!(cells[0][..3], [text("email"), text("note"), text("presend_label")]);
    assert_eq!(cells[0].len(), 2 + presend::output::COLUMNS.len());
    assert_eq!(cells.len(), nasty.len() + 1);
    for (row, note) in cells[1..].iter().zip(nasty) {
        assert_eq!(row[..3], [text("x@y.example"), text(note), text("valid")], "{note}");
        assert_eq!((&row[9], &row[14]), (&Data::Bool(false), &Data::Float(250.0)));
    }
    // No formula and no link anywhere in the archive.
    let mut archive = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
    let mut sheet = String::new();
    let mut part = archive.by_name("xl/worksheets/sheet1.xml").unwrap();
    std::io::Read::read_to_string(&mut part, &mut sheet).unwrap();
    assert!(!sheet.contains("<f>") && !sheet.contains("hyperlink"), "{sheet}");
}

#[test]
fn ragged_rows_objects_and_long_cells_fit() {
    let ragged = layout(InputFormat::Csv, Some(b','), &["email", "note"], 0);
    let long = "é".repeat(40_000);
    let rows = [
        (record(&["a@b.example"], 0), valid("a@b.example")),
        (record(&["a@b.example", "x", "y"], 0), valid("a@b.example")),
        (record(&["jane", &long], 0), broken("jane")),
        (
            record(&["a@b.example", "\u{1b}[2J\0"], 0),
            answered("a@b.example", "550 5.1.1 User unknown"),
        ),
    ];
    let cells = cells(&written(&ragged, &rows), "presend");
    assert_eq!(cells[1][1], Data::Empty);
    assert_eq!(cells[2][1], text("x,y"));
    let Data::String(cut) = &cells[3][1] else {
        panic!("text")
    };
    assert_eq!((cut.chars().count(), cut.ends_with('…')), (32_767, true));
    assert_eq!(cells[4][2], text("invalid"));
    let objects = layout(InputFormat::Ndjson, None, &[], 0);
    let row = (
        object("{\"email\":\"a@b.example\"}", "a@b.example"),
        valid("a@b.example"),
    );
    let cells = super::workbook::cells(&written(&objects, &[row]), "presend");
    assert_eq!(
        cells[1][..2],
        [text("a@b.example"), text("{\"email\":\"a@b.example\"}")]
    );
}

#[test]
fn a_list_without_rows_is_a_workbook_with_a_header() {
    let layout = layout(InputFormat::Csv, Some(b','), &["email"], 0);
    assert_eq!(cells(&written(&layout, &[]), "presend").len(), 1);
}
