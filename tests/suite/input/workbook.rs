//! XLSX: what people's workbooks hold, and what hostile ones try.

use std::io::{Cursor, Read, Write};

use presend::input::{Cells, InputFormat, InputOptions, Row, Table};
use rust_xlsxwriter::{ExcelDateTime, Format, Workbook};
use zip::{ZipArchive, ZipWriter, write::SimpleFileOptions};

use super::{open, rows};

/// A workbook of a cover and a sheet of leads.
fn leads() -> Vec<u8> {
    let mut workbook = Workbook::new();
    let cover = workbook.add_worksheet();
    cover.set_name("Cover").unwrap();
    cover.write(0, 0, "Leads of 2026").unwrap();
    let sheet = workbook.add_worksheet();
    sheet.set_name("Leads").unwrap();
    for (column, name) in ["Name", "Email", "Since", "Seats"].into_iter().enumerate() {
        sheet.write(0, u16::try_from(column).unwrap(), name).unwrap();
    }
    let day = Format::new().set_num_format("yyyy-mm-dd");
    let date = ExcelDateTime::parse_from_str("2026-11-21").unwrap();
    sheet.write(1, 0, "Doe, \"Jane\"\nsecond line").unwrap();
    sheet.write(1, 1, "jane@x.org").unwrap();
    sheet.write_with_format(1, 2, &date, &day).unwrap();
    sheet.write(1, 3, 12).unwrap();
    // Row 3 is left out.
    sheet.write(3, 1, "joe@x.org").unwrap();
    sheet.write(4, 1, "eve@x.org").unwrap();
    sheet.write(4, 5, "a note beside the table").unwrap();
    workbook.save_to_buffer().unwrap()
}

fn sheet(name: &str) -> InputOptions {
    InputOptions {
        sheet: Some(name.into()),
        ..InputOptions::default()
    }
}

#[test]
fn a_sheet_is_read_row_by_row_with_its_own_line_numbers() {
    for wanted in ["Leads", "leads", "2"] {
        let mut table = open("a.xlsx", &leads(), &sheet(wanted)).unwrap();
        let layout = table.layout();
        assert_eq!(layout.format, InputFormat::Xlsx);
        assert_eq!(layout.sheet.as_deref(), Some("Leads"));
        assert_eq!(
            layout.columns,
            ["Name", "Email", "Since", "Seats", "column_5", "column_6"]
        );
        assert_eq!(layout.address_column, 1);
        assert_eq!(rows(&mut table), ["2:jane@x.org", "4:joe@x.org", "5:eve@x.org"]);
        table.rewind().unwrap();
        let row = table.next_row().unwrap().unwrap();
        let Cells::Record { record, .. } = &row.cells else {
            panic!("a record")
        };
        assert_eq!(
            record.iter().collect::<Vec<_>>(),
            ["Doe, \"Jane\"\nsecond line", "jane@x.org", "2026-11-21", "12", "", ""]
        );
    }
}

#[test]
fn a_workbook_is_recognised_by_its_content_even_in_a_stream() {
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet_with_constant_memory().unwrap();
    sheet.write(0, 0, "a@x.org").unwrap();
    sheet.write(1, 0, "b@x.org").unwrap();
    let bytes = workbook.save_to_buffer().unwrap();
    let mut table = Table::from_reader(&mut bytes.as_slice(), "standard input", &InputOptions::default()).unwrap();
    assert_eq!(rows(&mut table), ["1:a@x.org", "2:b@x.org"]);
    let packed = super::packed::gzip(&bytes);
    let mut table = open("a.xlsx.gz", &packed, &InputOptions::default()).unwrap();
    assert_eq!(rows(&mut table), ["1:a@x.org", "2:b@x.org"]);
}

#[test]
fn the_wrong_sheet_is_named_with_the_others() {
    let error = open("a.xlsx", &leads(), &InputOptions::default()).unwrap_err();
    for word in ["a.xlsx`", "`Cover`", "`Leads`", "--sheet"] {
        assert!(error.contains(word), "{error}");
    }
    let error = open("a.xlsx", &leads(), &sheet("Nobody")).unwrap_err();
    assert!(
        error.contains("no sheet `Nobody`") && error.contains("`Leads`"),
        "{error}"
    );
}

/// A workbook of one sheet with this XML, and these shared strings.
fn made(sheet: &[u8], strings: &[u8]) -> Vec<u8> {
    let mut workbook = Workbook::new();
    workbook.add_worksheet().write(0, 0, "a@x.org").unwrap();
    changed(&workbook.save_to_buffer().unwrap(), |name| match name {
        "xl/worksheets/sheet1.xml" => Some(sheet),
        "xl/sharedStrings.xml" => Some(strings),
        _ => None,
    })
}

/// The archive with some of its parts replaced.
fn changed<'a>(archive: &[u8], replace: impl Fn(&str) -> Option<&'a [u8]>) -> Vec<u8> {
    let mut from = ZipArchive::new(Cursor::new(archive)).unwrap();
    let mut to = ZipWriter::new(Cursor::new(Vec::new()));
    for index in 0..from.len() {
        let mut part = from.by_index(index).unwrap();
        let name = part.name().unwrap().into_owned();
        to.start_file(name.as_str(), SimpleFileOptions::default()).unwrap();
        let mut content = Vec::new();
        part.read_to_end(&mut content).unwrap();
        to.write_all(replace(&name).unwrap_or(&content)).unwrap();
    }
    to.finish().unwrap().into_inner()
}

/// The archive with one part more, which nobody parses.
fn with_picture(archive: &[u8], picture: &[u8]) -> Vec<u8> {
    let mut archive = ZipWriter::new_append(Cursor::new(archive.to_vec())).unwrap();
    archive
        .start_file("xl/media/image1.png", SimpleFileOptions::default())
        .unwrap();
    archive.write_all(picture).unwrap();
    archive.finish().unwrap().into_inner()
}

fn sheet_of(rows: &str) -> Vec<u8> {
    format!("<worksheet><sheetData>{rows}</sheetData></worksheet>").into_bytes()
}

fn strings_of(strings: &str) -> Vec<u8> {
    format!("<sst uniqueCount=\"1\">{strings}</sst>").into_bytes()
}

#[test]
fn cells_of_every_kind_are_read() {
    let rows_xml = "<row r=\"1\"><c r=\"A1\" t=\"s\"><v>0</v></c><c t=\"inlineStr\"><is><t>in&amp;line</t></is></c>\
        <c t=\"str\"><f>A1</f><v>formula</v></c><c t=\"b\"><v>1</v></c><c t=\"e\"><v>#N/A</v></c><c><v>1.5</v></c></row>";
    let strings = strings_of("<si><r><t>rich</t></r><r><t>@x.org</t></r></si>");
    let mut table = open("a.xlsx", &made(&sheet_of(rows_xml), &strings), &InputOptions::default()).unwrap();
    let row = table.next_row().unwrap().unwrap();
    let Cells::Record { record, .. } = row.cells else {
        panic!("a record")
    };
    assert_eq!(
        record.iter().collect::<Vec<_>>(),
        ["rich@x.org", "in&line", "formula", "TRUE", "#N/A", "1.5"]
    );
}

#[test]
fn p7_hostile_workbooks_end_in_an_error_that_names_them() {
    let one = sheet_of("<row><c t=\"s\"><v>0</v></c></row>");
    let string = strings_of("<si><t>a@x.org</t></si>");
    let long = "x".repeat(5 << 20);
    let huge_text = format!("<si><t>{long}</t></si>");
    let many_pieces = format!("<si><t>{}</t></si>", "<x/>".repeat(5 << 18));
    let comment = [b"<!--".as_slice(), long.as_bytes(), b"-->", &one].concat();
    let cases: [(&str, Vec<u8>, &str); 11] = [
        (
            "a bomb",
            with_picture(&made(&one, &string), &vec![0; 65 << 20]),
            "more than 64 MiB",
        ),
        (
            "a huge string",
            made(&one, &strings_of(&huge_text)),
            "longer than 4 MiB",
        ),
        (
            "a string of pieces",
            made(&one, &strings_of(&many_pieces)),
            "longer than 4 MiB",
        ),
        ("a huge comment", made(&comment, &string), "longer than 4 MiB"),
        (
            "a claim",
            made(
                &one,
                b"<sst uniqueCount=\"99999999999999\"><si><t>a@x.org</t></si></sst>",
            ),
            "claims more than",
        ),
        (
            "tags that do not match",
            made(&one, &strings_of("<si><t>a</si>b</t></si>")),
            "cannot be read as an XLSX workbook",
        ),
        (
            "a far row",
            made(&sheet_of("<row><c r=\"A1048577\"><v>1</v></c></row>"), &string),
            "out of place",
        ),
        (
            "a far column",
            made(&sheet_of("<row><c r=\"XFE1\"><v>1</v></c></row>"), &string),
            "out of place",
        ),
        (
            "rows backwards",
            made(
                &sheet_of("<row><c r=\"A9\"><v>1</v></c><c r=\"A8\"><v>1</v></c></row>"),
                &string,
            ),
            "out of place",
        ),
        (
            // `calamine` 0.38 counts the column past 32 bits, which panics in this build.
            "an endless column",
            made(&sheet_of("<row><c r=\"ZZZZZZZZ1\"><v>1</v></c></row>"), &string),
            "cannot be read as an XLSX workbook",
        ),
        (
            "no workbook",
            changed(&made(&one, &string), |name| (name == "_rels/.rels").then_some(b"<x/>")),
            "cannot be read as an XLSX workbook",
        ),
    ];
    for (what, content, expected) in cases {
        let error = open("a.xlsx", &content, &InputOptions::default()).unwrap_err();
        assert!(error.contains("a.xlsx`") && error.contains(expected), "{what}: {error}");
    }
}

/// A string that stands in every cell makes a sheet that is larger than all of its parts.
#[test]
fn p7_a_sheet_that_repeats_one_string_keeps_to_the_budget() {
    let string = strings_of(&format!("<si><t>a@x.org{}</t></si>", " ".repeat(30_000)));
    let rows_xml = "<row><c t=\"s\"><v>0</v></c></row>".repeat(10_000);
    let string = String::from_utf8(string)
        .unwrap()
        .replace("<t>", "<t xml:space=\"preserve\">");
    let content = made(&sheet_of(&rows_xml), string.as_bytes());
    let error = open("a.xlsx", &content, &InputOptions::default()).unwrap_err();
    assert!(error.contains("more than 64 MiB"), "{error}");
}

#[test]
fn rows_and_cells_over_the_limit_are_faults() {
    let cell = |text: &str| format!("<c t=\"inlineStr\"><is><t>{text}</t></is></c>");
    let long = "x\n".repeat(40_000);
    let wide = cell(&"x,\n".repeat(10_000)).repeat(40);
    let rows_xml = format!(
        "<row>{}</row><row>{}</row><row>{wide}</row><row>{}</row>",
        cell("a@x.org"),
        cell(&long),
        cell("b@x.org")
    );
    let mut table = open(
        "a.xlsx",
        &made(&sheet_of(&rows_xml), b"<sst></sst>"),
        &InputOptions::default(),
    )
    .unwrap();
    let mut row = Row::default();
    let mut got = Vec::new();
    while table.read_row(&mut row).unwrap() {
        let fault = row.fault.as_ref().map_or("", |fault| &fault.message);
        got.push(format!("{}:{}:{fault}", row.line, row.address()));
    }
    assert_eq!(
        got,
        [
            "1:a@x.org:",
            "2::a cell is longer than 64 KiB",
            "3::the row is longer than 1 MiB",
            "4:b@x.org:"
        ]
    );
}
