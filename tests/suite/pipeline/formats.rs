//! Formats through the program: workbooks, compression, several files, known exports, masks.

use std::{fs, io::Read};

use super::{Net, labels};

/// The program below the DNS level: nothing is asked.
fn verify(net: &Net, arguments: &[&str]) -> super::Ran {
    net.run(&[&["verify", "--level", "syntax"][..], arguments].concat())
}

fn workbook(rows: &[&[&str]]) -> Vec<u8> {
    let mut workbook = rust_xlsxwriter::Workbook::new();
    let sheet = workbook.add_worksheet();
    for (row, cells) in rows.iter().enumerate() {
        for (column, cell) in cells.iter().enumerate() {
            let (row, column) = (u32::try_from(row).unwrap(), u16::try_from(column).unwrap());
            sheet.write(row, column, *cell).unwrap();
        }
    }
    workbook.save_to_buffer().unwrap()
}

#[test]
fn several_files_are_one_job_and_equal_addresses_are_asked_once() {
    let net = Net::plain();
    net.place.write("a.csv", "name,email\nJane,jane@known.test\n");
    net.place.write("b.txt", "JANE@known.test\nnobody@known.test\n");
    net.place.write(
        "c.xlsx",
        workbook(&[&["Email"], &["jane@known.test"], &["not an address"]]),
    );
    let ran = net.run(&["verify", "a.csv", "b.txt", "c.xlsx"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let mut reader = csv::Reader::from_reader(ran.out.as_bytes());
    let header = reader.headers().unwrap().clone();
    assert_eq!(
        header.iter().take(4).collect::<Vec<_>>(),
        ["name", "email", "address", "Email"]
    );
    let column = |name: &str| header.iter().position(|cell| cell == name).unwrap();
    let rows: Vec<String> = reader
        .records()
        .map(|row| {
            let row = row.unwrap();
            ["presend_file", "presend_address", "presend_label"]
                .map(|name| row[column(name)].to_owned())
                .join(" ")
        })
        .collect();
    assert_eq!(
        rows,
        [
            "a.csv jane@known.test valid",
            "b.txt JANE@known.test valid",
            "b.txt nobody@known.test invalid",
            "c.xlsx jane@known.test valid",
            "c.xlsx  invalid"
        ]
    );
    for name in ["`a.csv`", "`b.txt`", "`c.xlsx`: XLSX, sheet `Sheet1`"] {
        assert!(ran.err.contains(&format!("reading {name}")), "{}", ran.err);
    }
    // Jane and nobody; that nobody is refused says what a control recipient would.
    assert_eq!(net.seen("mx.known.test").recipients, 2);
}

#[test]
fn an_unreadable_file_is_found_before_anybody_is_asked() {
    let net = Net::plain();
    net.place.write("a.txt", "jane@known.test\n");
    net.place.write("b.csv.gz", [0x1F, 0x8B, 8, 0, 0]);
    let ran = net.run(&["verify", "a.txt", "b.csv.gz", "--output", "out.csv"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    assert!(ran.err.contains("b.csv.gz"), "{}", ran.err);
    assert!(!net.place.has("out.csv"));
    assert_eq!(net.lab.counters().sum(|host| host.connections), 0);
}

#[test]
fn the_name_of_the_output_tells_format_and_compression() {
    let net = Net::plain();
    net.place.write("a.csv", "id,email\n1,jane@known.test\n");
    for name in ["out.csv", "out.csv.gz", "out.csv.zst", "out.xlsx", "out.gz"] {
        let ran = verify(&net, &["a.csv", "--output", name]);
        assert_eq!(ran.code, 0, "{name}: {}", ran.err);
        // What was written is a list again, and holds the same address.
        let ran = verify(&net, &[name, "--format", "csv", "--quiet"]);
        assert!(ran.out.contains("jane@known.test"), "{name}: {}{}", ran.out, ran.err);
    }
    let unpacked = |name: &str| {
        let mut text = String::new();
        let file = fs::File::open(net.place.0.path().join(name)).unwrap();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        text
    };
    let text = unpacked("out.csv.gz");
    assert!(
        text.starts_with("id,email,presend_label,") && !text.contains("presend_file"),
        "{text}"
    );
    assert_eq!(verify(&net, &["a.csv", "--output", "out.ndjson.gz"]).code, 0);
    assert!(unpacked("out.ndjson.gz").starts_with("{\"row\":{\"id\":\"1\""));
    let piped = net
        .command(&["verify", "a.csv", "--level", "syntax", "--format", "xlsx"])
        .output()
        .unwrap();
    assert!(
        piped.status.success() && piped.stdout.starts_with(b"PK"),
        "{:?}",
        piped.stderr
    );
    let ran = verify(&net, &["a.csv", "--format", "xlsx", "--split", "parts"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(net.place.has("parts/hold.xlsx"));
}

#[test]
fn known_exports_are_named_and_their_column_is_taken() {
    let net = Net::plain();
    net.place.write(
        "lgm.csv",
        "firstname,persoEmail,proEmail\nA,a@private.test,a@work.test\nB,b@private.test,\nC,,\n",
    );
    let ran = verify(&net, &["lgm.csv"]);
    let expected = "La Growth Machine leads, CSV with `,`, UTF-8, addresses in column 3 `proEmail`, or `persoEmail` where that is empty\n";
    assert!(ran.err.contains(expected), "{}", ran.err);
    let addresses: Vec<&str> = ran
        .out
        .lines()
        .skip(1)
        .map(|line| line.split(',').nth(9).unwrap())
        .collect();
    assert_eq!(addresses, ["a@work.test", "b@private.test", ""]);
    net.place.write(
        "zb.csv",
        "\"Email Address\",\"ZB Status\",\"ZB Sub Status\",\"ZB Did You Mean\"\na@x.test,valid,,b@x.test\n",
    );
    let ran = verify(&net, &["zb.csv"]);
    assert!(
        ran.err.contains("ZeroBounce results") && ran.err.contains("column 1 `Email Address`\n"),
        "{}",
        ran.err
    );
    let ran = verify(&net, &["lgm.csv", "--column", "persoEmail"]);
    assert!(
        ran.err.contains("column 2 `persoEmail`\n") && !ran.err.contains("La Growth"),
        "{}",
        ran.err
    );
}

#[test]
fn a_redacted_run_writes_no_local_part() {
    let net = Net::plain();
    net.place.write(
        "a.csv",
        "email,cc\njane@known.test,Secret <jane.private@known.test>\njane.without.at,\n",
    );
    for format in ["csv", "ndjson", "json", "table"] {
        let ran = net.run(&[
            "verify",
            "a.csv",
            "--column",
            "email",
            "--redact",
            "--transcript",
            "--format",
            format,
        ]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(!ran.out.contains("jane"), "{format}: {}", ran.out);
        assert!(ran.out.contains("j***@known.test"), "{format}: {}", ran.out);
    }
    let labels = labels(&net.run(&["verify", "a.csv", "--column", "email", "--redact"]));
    assert_eq!(labels["j***@known.test"], "valid mailbox_exists");
}
