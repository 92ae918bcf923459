//! What strangers wrote, in lists and in replies, is harmless wherever it is shown; and what is private stays out of logs.

use serde_json::Value;

use super::{super::cli::columns, Net};

/// A host whose words are an attack on whoever reads them.
const RUDE: &str = "[[host]]\nname = \"mx.rude.test\"\nserves = [\"rude.test\"]\n\
    script = [{ on = \"rcpt\", reply = \"550 5.1.1 =cmd|'/c calc'!A1 \\u001b]0;owned\\u0007\\u001b[31m<script>alert(1)</script>\\u202e {client} user unknown\" }]\n";

fn is_harmless(text: &str) -> bool {
    !text.contains(|c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c))
}

#[test]
fn s8_p15_escapes_in_replies_and_lists_are_neutralised_everywhere() {
    let net = Net::new(RUDE);
    net.place.write(
        "list.csv",
        "name,email\n\u{1b}[31mred,jane@rude.test\n\u{202e}x,ja\u{1b}[2Jne\n",
    );
    for format in ["csv", "ndjson", "json", "table"] {
        let ran = net.run(&["verify", "list.csv", "--format", format, "--transcript", "--verbose"]);
        assert!(is_harmless(&ran.err), "{format}: {:?}", ran.err);
        match format {
            // The original cells are kept; what presend adds is clean.
            "csv" => {
                let added = columns(&ran.out, b',', &["presend_text", "presend_address"]);
                assert!(is_harmless(&added) && added.contains("user unknown"), "{added:?}");
            }
            "table" => assert!(is_harmless(&ran.out), "{:?}", ran.out),
            // JSON escapes by itself, but whoever prints the decoded text should be safe as well.
            _ => {
                let text = ran.out.trim_end().trim_start_matches('[').trim_end_matches(']');
                let lines = text.lines().filter(|line| !line.is_empty());
                for line in lines {
                    let row: Value = serde_json::from_str(line.trim_end_matches(',')).unwrap();
                    let evidence = &row["presend"]["evidence"]["text"];
                    assert!(evidence.as_str().is_none_or(is_harmless), "{format}: {evidence:?}");
                    for entry in row["presend"]["transcript"].as_array().into_iter().flatten() {
                        for line in entry["entries"].as_array().into_iter().flatten() {
                            assert!(line["text"].as_str().is_none_or(is_harmless), "{format}: {line:?}");
                        }
                    }
                }
            }
        }
    }
    let ran = net.run(&["check", "-v", "jane@rude.test", "ja\u{1b}[2Jne"]);
    assert!(
        is_harmless(&ran.out) && is_harmless(&ran.err),
        "{:?}{:?}",
        ran.out,
        ran.err
    );
    assert!(ran.out.contains("user unknown"), "{}", ran.out);
}

#[test]
fn p6_cells_that_a_spreadsheet_would_run_are_disarmed() {
    let net = Net::new(
        "[[host]]\nname = \"mx.rude.test\"\nserves = [\"rude.test\"]\nunknown = \"550 5.1.1 =HYPERLINK(1) user unknown\"\nmailboxes = [\"jane\"]\n",
    );
    let list = "=1+1,email\n=cmd|' /C calc'!A0,nobody@rude.test\n@sum(1),jane@rude.test\n+A1,jane@rude.test\n-A1,jane@rude.test\n";
    let ran = net.verify(list, &["--column", "email"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let armed = |text: &str| -> Vec<String> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(text.as_bytes());
        let cells = reader
            .records()
            .flat_map(|row| row.unwrap().iter().map(str::to_owned).collect::<Vec<_>>());
        cells
            .filter(|cell| cell.starts_with(['=', '+', '-', '@', '\t', '\r']))
            .collect()
    };
    assert_eq!(armed(&ran.out), [""; 0]);
    assert_eq!(
        armed(&net.verify(list, &["--column", "email", "--raw"]).out).len(),
        6,
        "five cells and the reply"
    );
}

#[test]
fn local_parts_stay_out_of_what_is_said_to_people_and_logs() {
    let net = Net::new(
        "[[host]]\nname = \"mx.known.test\"\nserves = [\"known.test\"]\nmailboxes = [\"secret.jane\"]\n\
         [[host]]\nname = \"mx.odd.test\"\nserves = [\"odd.test\"]\nscript = [{ on = \"rcpt\", then = \"reset\" }]\n\
         [[domain]]\nname = \"inside.test\"\na = \"240.0.0.1\"\n",
    );
    net.place.write(
        "list.csv",
        "email\nsecret.jane@known.test\nsecret.joe@known.test\nsecret.jim@odd.test\nsecret.jo@inside.test\nsecret..x@known.test\n",
    );
    let mut command = net.command(&[
        "verify",
        "list.csv",
        "--no-wait",
        "--output",
        "out.csv",
        "--progress",
        "always",
    ]);
    for log in [None, Some("info"), Some("debug")] {
        if let Some(log) = log {
            command.env("PRESEND_LOG", log);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("5 rows"), "{said}");
        assert!(!said.contains("secret"), "{log:?}: {said}");
    }
}
