//! Formats, safety and files of the output, on outcomes made by hand.

mod privacy;
mod workbook;

use std::{
    io,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use presend::{
    address::{Address, Fault, Rules, SyntaxError},
    dns::MailRoute,
    input::{Cells, InputFormat, Layout, Row, RowFault},
    job::{Outcome, Sink, Source},
    lists::ListHits,
    output::{self, Chunk, Detail, Format, Options, Output, Renderer, Target, Terminal},
    replies::classify,
    smtp::{Entry, Reply, Speaker, Stage, Transcript},
    verdict::{Answer, Evidence, HostFacts, NotTried, Observed, Policy, UnknownRecipients, judge},
};

/// 2026-11-21T10:00:00Z.
fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(498_682)
}

/// An outcome nobody was asked about.
fn outcome(typed: &str, evidence: Evidence) -> Outcome {
    let rules = Rules {
        allow_special_use: true,
    };
    Outcome {
        typed: typed.into(),
        address: Address::parse(typed, rules).ok(),
        hits: ListHits::default(),
        verdict: judge(&evidence, &Policy::default()),
        evidence,
        retry_at: None,
        source: Source::Live,
        checked_at: noon(),
        elapsed: Duration::from_millis(412),
        transcripts: Vec::new(),
    }
}

/// An outcome whose mail host said `reply` at RCPT, and refuses strangers.
fn answered(typed: &str, reply: &str) -> Outcome {
    let positive = reply.starts_with('2');
    let reply = Reply::parse(reply).unwrap();
    let meaning = classify(Stage::Rcpt, &reply, None);
    let host = HostFacts {
        provider: None,
        name: "mx1.acme.example".into(),
        ip: Some("192.0.2.7".parse().unwrap()),
        preference: 10,
        implicit: false,
        tls: Some(true),
        backup: false,
        untruthful: false,
    };
    let mut evidence = Evidence {
        route: Observed::Known(Arc::new(MailRoute::Exchangers(Vec::new()))),
        host: Some(Arc::new(host)),
        answer: Observed::Known(Arc::new(Answer {
            stage: Stage::Rcpt,
            reply,
            meaning,
        })),
        attempts: 1,
        ..Evidence::not_tried(NotTried::NotNeeded)
    };
    if positive {
        evidence.unknown_recipients = Observed::Known(UnknownRecipients::Refused);
    }
    outcome(typed, evidence)
}

fn greylisted() -> Outcome {
    let mut outcome = answered("Jane.Doe@acme.example", "451 4.7.1 Greylisted, try later");
    outcome.retry_at = Some(noon() + Duration::from_mins(6));
    outcome
}

fn valid(typed: &str) -> Outcome {
    answered(typed, "250 2.1.5 Ok")
}

fn broken(typed: &str) -> Outcome {
    let mut outcome = outcome(
        typed,
        Evidence::not_an_address(SyntaxError {
            fault: Fault::NoAtSign,
            position: 4,
            suggestion: Some("jane@acme.example".into()),
        }),
    );
    outcome.address = None;
    outcome
}

fn layout(format: InputFormat, delimiter: Option<u8>, columns: &[&str], address_column: usize) -> Layout {
    Layout {
        format,
        delimiter,
        encoding: "UTF-8".into(),
        columns: columns.iter().map(ToString::to_string).collect(),
        header: true,
        address_column,
        ..Layout::default()
    }
}

fn record(cells: &[&str], address: usize) -> Row {
    Row {
        file: None,
        line: 2,
        cells: Cells::Record {
            record: cells.to_vec().into(),
            address,
        },
        fault: None,
    }
}

fn object(json: &str, address: &str) -> Row {
    Row {
        file: None,
        line: 1,
        cells: Cells::Object {
            object: serde_json::from_str(json).unwrap(),
            address: address.into(),
        },
        fault: None,
    }
}

fn with_transcript() -> Detail {
    Detail {
        transcript: true,
        ..Detail::default()
    }
}

fn options(format: Format) -> Options {
    Options {
        format,
        only: Vec::new(),
        raw: false,
        detail: Detail::default(),
        terminal: Terminal {
            width: 110,
            color: false,
        },
    }
}

/// A target whose bytes can be looked at.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn written(layout: &Layout, options: &Options, rows: &[(Row, Outcome)]) -> String {
    let shared = Shared::default();
    let mut output = Output::single(layout, options, Target::new(shared.clone(), false));
    for (row, outcome) in rows {
        output.write(row, outcome).unwrap();
    }
    output.finish().unwrap();
    shared.text()
}

fn csv(delimiter: u8, columns: &[&str], rows: &[(&[&str], Outcome)]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|(cells, outcome)| (record(cells, 0), outcome.clone()))
        .collect();
    written(
        &layout(InputFormat::Csv, Some(delimiter), columns, 0),
        &options(Format::Csv),
        &rows,
    )
}

fn result(outcome: &Outcome) -> String {
    let mut json = Vec::new();
    output::write_result(outcome, None, Detail::default(), &mut json).unwrap();
    String::from_utf8(json).unwrap()
}

#[test]
fn the_result_has_the_published_fields_in_their_order() {
    insta::assert_snapshot!(result(&greylisted()), @r#"{"schema":"presend/1","address":"Jane.Doe@acme.example","ascii":"Jane.Doe@acme.example","label":"unknown","reason":"greylisted","action":"hold","bounce":{"kind":"pending","class":"greylisted"},"retry_at":"2026-11-21T10:06:00Z","did_you_mean":null,"flags":{"role":false,"disposable":false,"free":false,"subaddress":false,"smtputf8":false,"wildcard_zone":false},"mail_host":{"provider":null,"name":"mx1.acme.example","ip":"192.0.2.7","preference":10,"implicit":false,"tls":true},"evidence":{"stage":"rcpt","code":451,"enhanced":"4.7.1","text":"Greylisted, try later","control":"not_sent","attempts":1},"source":"live","checked_at":"2026-11-21T10:00:00Z","expires_at":"2026-11-21T11:00:00Z","elapsed_ms":412}"#);
}

#[test]
fn a_syntax_fault_has_its_position_and_suggestion() {
    insta::assert_snapshot!(result(&broken("jane")), @r#"{"schema":"presend/1","address":"jane","ascii":null,"label":"invalid","reason":"syntax_no_at_sign","action":"drop","bounce":{"kind":"hard","class":"bad_address_syntax"},"retry_at":null,"did_you_mean":"jane@acme.example","flags":{"role":false,"disposable":false,"free":false,"subaddress":false,"smtputf8":false,"wildcard_zone":false},"mail_host":null,"evidence":{"stage":null,"code":null,"enhanced":null,"text":"at character 5: There is no `@` in the address.","control":"not_sent","attempts":0},"source":"live","checked_at":"2026-11-21T10:00:00Z","expires_at":null,"elapsed_ms":412}"#);
}

#[test]
fn the_dialogue_is_there_when_it_was_asked_for() {
    let mut outcome = valid("a@b.example");
    outcome.transcripts = vec![Arc::new(Transcript {
        host: "mx1.b.example".into(),
        peer: "127.0.0.1:25".parse().unwrap(),
        entries: vec![Entry {
            at: Duration::from_millis(7),
            who: Speaker::Server,
            text: "220 \u{1b}[2J hi".into(),
        }],
    })];
    assert!(!result(&outcome).contains("transcript"));
    let mut json = Vec::new();
    output::write_result(&outcome, None, with_transcript(), &mut json).unwrap();
    let result: serde_json::Value = serde_json::from_slice(&json).unwrap();
    insta::assert_snapshot!(result["transcript"], @r#"[{"host":"mx1.b.example","peer":"127.0.0.1:25","entries":[{"at_ms":7,"who":"server","text":"220  [2J hi"}]}]"#);
}

#[test]
fn csv_keeps_columns_and_delimiter_and_replaces_an_earlier_run() {
    let columns = &["email", "presend_label", "note"];
    let rows: &[(&[&str], Outcome)] = &[
        (&["Jane.Doe@acme.example", "valid", "a;b"], greylisted()),
        (&["jane", "", "say \"hi\""], broken("jane")),
        (&["x@y.example", "", "two\nlines"], valid("x@y.example")),
    ];
    insta::assert_snapshot!(csv(b';', columns, rows), @r#"
    email;note;presend_label;presend_reason;presend_action;presend_bounce;presend_bounce_class;presend_did_you_mean;presend_address;presend_role;presend_disposable;presend_free;presend_mail_host;presend_provider;presend_code;presend_enhanced;presend_text;presend_retry_at;presend_checked_at
    Jane.Doe@acme.example;"a;b";unknown;greylisted;hold;pending;greylisted;;Jane.Doe@acme.example;false;false;false;mx1.acme.example;;451;4.7.1;Greylisted, try later;2026-11-21T10:06:00Z;2026-11-21T10:00:00Z
    jane;"say ""hi""";invalid;syntax_no_at_sign;drop;hard;bad_address_syntax;jane@acme.example;;;;;;;;;at character 5: There is no `@` in the address.;;2026-11-21T10:00:00Z
    x@y.example;"two
    lines";valid;mailbox_exists;send;none;;;x@y.example;false;false;false;mx1.acme.example;;250;2.1.5;Ok;;2026-11-21T10:00:00Z
    "#);
}

/// Excel's `sep=` can name marks that stand in dates and reasons.
#[test]
fn an_unusual_delimiter_is_read_and_not_written() {
    for delimiter in [b':', b'_', b'"', b'-', b'.'] {
        let text = csv(
            delimiter,
            &["email", "note"],
            &[(&["a@b.example", "a,b"], valid("a@b.example"))],
        );
        let (head, row) = text.split_once('\n').unwrap();
        assert!(head.starts_with("email,note,presend_label"), "{head}");
        assert!(row.starts_with("a@b.example,\"a,b\",valid,mailbox_exists,"), "{row}");
    }
}

#[test]
fn a_ragged_row_keeps_the_results_in_their_columns() {
    let columns = &["email", "note"];
    let rows: &[(&[&str], Outcome)] = &[
        (&["a@b.example"], valid("a@b.example")),
        (&["a@b.example", "x", "y", "z"], valid("a@b.example")),
    ];
    let text = csv(b',', columns, rows);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(&records[0][1], "");
    assert_eq!(&records[1][1], "x,y,z");
    assert!(records.iter().all(|record| &record[2] == "valid"));
}

#[test]
fn cells_a_spreadsheet_would_run_are_guarded() {
    // HOSTILE P6; CWE-1236.
    for (cell, expected) in [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("=1+1", "'=1+1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("+SUM(1)", "'+SUM(1)"),
        ("-2+cmd|x", "'-2+cmd|x"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("\0x", "'\0x"),
        ("＝1", "'＝1"),
        ("=a@b.example", "'=a@b.example"),
        ("-12.50", "-12.50"),
        ("+49 (170) 123-45", "+49 (170) 123-45"),
        ("a=b", "a=b"),
        ("", ""),
    ] {
        let columns = &["email", "note"];
        let rows: &[(&[&str], Outcome)] = &[(&["a@b.example", cell], valid("a@b.example"))];
        let text = csv(b',', columns, rows);
        let record = csv::Reader::from_reader(text.as_bytes())
            .records()
            .next()
            .unwrap()
            .unwrap();
        assert_eq!(&record[1], expected, "{cell:?}");
        let mut raw = options(Format::Csv);
        raw.raw = true;
        let rows = [(record_of(cell), valid("a@b.example"))];
        let text = written(&layout(InputFormat::Csv, Some(b','), columns, 0), &raw, &rows);
        let record = csv::Reader::from_reader(text.as_bytes())
            .records()
            .next()
            .unwrap()
            .unwrap();
        assert_eq!(&record[1], cell, "--raw {cell:?}");
    }
}

fn record_of(cell: &str) -> Row {
    record(&["a@b.example", cell], 0)
}

#[test]
fn reply_text_is_guarded_cleaned_and_cut_in_every_format() {
    // HOSTILE S8 and P6: the reply wants to clear the screen, to turn text around and to run a formula.
    let hostile = format!(
        "550 5.1.1 =HYPERLINK(\"x\")\u{1b}[2J\u{9b}31m\u{202e}abc{}",
        "y".repeat(5_000)
    );
    let outcome = answered("a@b.example", &hostile);
    let columns = &["email"];
    let layout = layout(InputFormat::Csv, Some(b','), columns, 0);
    for format in [Format::Csv, Format::Ndjson, Format::Json, Format::Table] {
        let text = written(
            &layout,
            &options(format),
            &[(record(&["a@b.example"], 0), outcome.clone())],
        );
        assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{format:?}: {text}");
        assert!(text.len() < 1_500, "{format:?}: {}", text.len());
    }
    let text = written(
        &layout,
        &options(Format::Csv),
        &[(record(&["a@b.example"], 0), outcome)],
    );
    let record = csv::Reader::from_reader(text.as_bytes())
        .records()
        .next()
        .unwrap()
        .unwrap();
    assert!(record[15].starts_with("'=HYPERLINK"), "{}", &record[15]);
}

#[test]
fn ndjson_keeps_the_object_and_its_order() {
    let layout = layout(InputFormat::Ndjson, None, &[], 0);
    let row = object(
        r#"{"z":1,"email":"a@b.example","presend":{"old":true},"a":[null,"=1"]}"#,
        "a@b.example",
    );
    let text = written(&layout, &options(Format::Ndjson), &[(row, valid("a@b.example"))]);
    assert!(
        text.starts_with(r#"{"z":1,"email":"a@b.example","a":[null,"=1"],"presend":{"schema":"presend/1","#),
        "{text}"
    );
    assert!(!text.contains("old"));
    let empty = written(
        &layout,
        &options(Format::Ndjson),
        &[(object("{}", "a@b.example"), valid("a@b.example"))],
    );
    assert!(empty.starts_with(r#"{"presend":{"#), "{empty}");
}

#[test]
fn cells_become_a_row_object_with_unique_keys() {
    let columns = &["email", "name", "name", "presend_label"];
    let layout = layout(InputFormat::Csv, Some(b','), columns, 0);
    let row = record(&["a@b.example", "A", "B", "valid", "extra"], 0);
    let text = written(&layout, &options(Format::Ndjson), &[(row, valid("a@b.example"))]);
    let expected = r#"{"row":{"email":"a@b.example","name":"A","name_2":"B","column_5":"extra"},"presend":{"#;
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn json_is_one_array_of_any_length() {
    let layout = layout(InputFormat::Csv, Some(b','), &["email"], 0);
    for count in 0..4 {
        let rows: Vec<_> = (0..count)
            .map(|_| (record(&["a@b.example"], 0), valid("a@b.example")))
            .collect();
        let text = written(&layout, &options(Format::Json), &rows);
        let array: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(array.len(), count, "{text}");
    }
}

#[test]
fn ndjson_to_csv_keeps_the_object_in_a_column() {
    let layout = layout(InputFormat::Ndjson, None, &[], 0);
    let row = object(r#"{"email":"a@b.example","n":1}"#, "a@b.example");
    let text = written(&layout, &options(Format::Csv), &[(row, valid("a@b.example"))]);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(&reader.headers().unwrap()[1], "row");
    let record = reader.records().next().unwrap().unwrap();
    assert_eq!(
        (&record[0], &record[1], &record[2]),
        ("a@b.example", r#"{"email":"a@b.example","n":1}"#, "valid")
    );
}

#[test]
fn the_table_is_aligned_and_bounded() {
    let layout = layout(InputFormat::Text, None, &["address"], 0);
    let rows = [
        (record(&["Jane.Doe@acme.example"], 0), greylisted()),
        (record(&["jane"], 0), broken("jane")),
        (
            record(&["x"], 0),
            broken("你好你好你好你好你好你好你好你好你好你好你好你好你好"),
        ),
        (record(&["x@y.example"], 0), valid("x@y.example")),
    ];
    let text = written(&layout, &options(Format::Table), &rows);
    assert!(text.lines().all(|line| output::width(line) <= 110), "{text}");
    insta::assert_snapshot!(text, @r#"
    ADDRESS                         LABEL      ACTION  REASON                    WHAT WAS SAID
    Jane.Doe@acme.example           unknown    hold    greylisted                451 Greylisted, try later
    jane                            invalid    drop    syntax_no_at_sign         did you mean jane@acme.example?
    你好你好你好你好你好你好你好…   invalid    drop    syntax_no_at_sign         did you mean jane@acme.example?
    x@y.example                     valid      send    mailbox_exists            250 Ok
    "#);
    let mut colored = options(Format::Table);
    colored.terminal.color = true;
    assert!(written(&layout, &colored, &rows).contains("\u{1b}[32mvalid\u{1b}[0m"));
}

#[test]
fn an_unreadable_row_says_where() {
    let layout = layout(InputFormat::Csv, Some(b','), &["email"], 0);
    let mut row = record(&[""], 0);
    row.line = 17;
    row.fault = Some(RowFault {
        column: Some(3),
        message: "the cell is longer than 64 KiB".into(),
    });
    let mut unreadable = outcome("", Evidence::not_tried(NotTried::RowUnreadable));
    unreadable.address = None;
    let text = written(&layout, &options(Format::Csv), &[(row, unreadable)]);
    assert!(
        text.contains(",\"line 17, column 3: the cell is longer than 64 KiB\","),
        "{text}"
    );
}

#[test]
fn only_takes_actions_and_labels() {
    let layout = layout(InputFormat::Text, None, &["address"], 0);
    let rows = [
        (record(&["a"], 0), greylisted()),
        (record(&["b"], 0), broken("b")),
        (record(&["c"], 0), valid("c@d.example")),
    ];
    for (only, expected) in [
        (vec![], "a b c"),
        (vec!["send"], "c"),
        (vec!["drop", "valid"], "b c"),
        (vec!["unknown"], "a"),
        (vec!["catch-all"], ""),
    ] {
        let mut options = options(Format::Csv);
        options.only = only.iter().map(|word| word.parse().unwrap()).collect();
        let text = written(&layout, &options, &rows);
        let firsts: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
        assert_eq!(firsts.join(" "), expected, "{only:?}");
    }
    assert!(
        "perhaps"
            .parse::<output::Only>()
            .unwrap_err()
            .to_string()
            .contains("`send`")
    );
}

#[test]
fn split_writes_one_whole_file_for_each_action() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("new").join("out");
    let layout = layout(InputFormat::Text, None, &["address"], 0);
    let mut output = Output::split(&layout, &options(Format::Json), &into).unwrap();
    for outcome in [greylisted(), broken("b"), valid("c@d.example"), valid("e@d.example")] {
        output.write(&record(&[&outcome.typed], 0), &outcome).unwrap();
    }
    assert!(
        !into.join("send.json").exists(),
        "a file appeared before it was complete"
    );
    assert_eq!(output.finish().unwrap().len(), 3);
    for (name, count) in [("send", 2), ("hold", 1), ("drop", 1)] {
        let text = std::fs::read(into.join(format!("{name}.json"))).unwrap();
        assert_eq!(
            serde_json::from_slice::<Vec<serde_json::Value>>(&text).unwrap().len(),
            count,
            "{name}"
        );
    }
    assert_eq!(std::fs::read_dir(&into).unwrap().count(), 3, "a temporary file stayed");
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.csv");
    std::fs::write(&path, "old").unwrap();
    let layout = layout(InputFormat::Text, None, &["address"], 0);
    let begin = || Output::single(&layout, &options(Format::Csv), Target::file(&path).unwrap());
    drop(begin());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "a temporary file stayed"
    );
    begin().finish().unwrap();
    assert!(
        std::fs::read_to_string(&path)
            .unwrap()
            .starts_with("address,presend_label,")
    );
    let missing = Target::file(&folder.path().join("no/such/out.csv")).unwrap_err();
    assert!(missing.to_string().contains("out.csv"), "{missing}");
}

#[test]
#[cfg(unix)]
fn devices_are_written_and_not_replaced() {
    let layout = layout(InputFormat::Text, None, &["address"], 0);
    let target = Target::file(std::path::Path::new("/dev/null")).unwrap();
    let files = Output::single(&layout, &options(Format::Csv), target).finish().unwrap();
    assert!(files.is_empty());
}

#[test]
fn chunks_rendered_elsewhere_are_written_in_order() {
    let layout = layout(InputFormat::Text, None, &["address"], 0);
    let shared = Shared::default();
    let mut output = Output::single(&layout, &options(Format::Json), Target::new(shared.clone(), false));
    let renderer: Arc<Renderer> = output.renderer();
    let chunks: Vec<Chunk> = std::thread::scope(|scope| {
        let render = |from: usize| {
            let mut chunk = Chunk::default();
            for number in from..from + 3 {
                let address = format!("a{number}@b.example");
                renderer.row(&record(&[&address], 0), &valid(&address), &mut chunk);
            }
            chunk
        };
        let threads: Vec<_> = [0, 3, 6].map(|from| scope.spawn(move || render(from))).into();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    output.append(&Chunk::default()).unwrap();
    for chunk in &chunks {
        output.append(chunk).unwrap();
    }
    output.finish().unwrap();
    let array: Vec<serde_json::Value> = serde_json::from_str(&shared.text()).unwrap();
    let order: Vec<&str> = array
        .iter()
        .map(|row| row["row"]["address"].as_str().unwrap())
        .collect();
    assert_eq!(order.len(), 9);
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn a_reader_that_is_gone_is_a_broken_pipe() {
    struct Gone;
    impl io::Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let layout = layout(InputFormat::Text, None, &["address"], 0);
    let mut output = Output::single(&layout, &options(Format::Csv), Target::new(Gone, true));
    let error = output.write(&record(&["a"], 0), &valid("a@b.example")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    let error = output.finish().unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::BrokenPipe);
}

/// Not an assertion: prints nanoseconds per row.
#[test]
#[ignore = "a measurement; run it alone and in release"]
fn measure() {
    let plain = outcome("jane.doe@acme-corp.com", Evidence::not_tried(NotTried::Level));
    let layout = layout(InputFormat::Csv, Some(b','), &["name", "email", "company"], 1);
    let row = record(&["Jane Doe", "jane.doe@acme-corp.com", "Acme Corp"], 1);
    for format in [Format::Csv, Format::Ndjson] {
        for outcome in [&plain, &greylisted()] {
            let renderer = Renderer::new(&layout, &options(format), false);
            let mut chunk = Chunk::default();
            let start = std::time::Instant::now();
            for count in 0..1_000_000 {
                renderer.row(&row, std::hint::black_box(outcome), &mut chunk);
                if count % 1_000 == 0 {
                    chunk.clear();
                }
            }
            eprintln!(
                "{format:?} {}: {} ns a row",
                outcome.verdict.reason.name(),
                start.elapsed().as_nanos() / 1_000_000
            );
        }
    }
}
