//! Lists in, lists out: duplicates, columns, formats, encodings, levels and the operator's own lists.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    super::cli::{Ran, columns},
    Net, labels, sessions,
};

const LABELS: [&str; 2] = ["presend_label", "presend_reason"];

#[test]
fn p8_equal_addresses_are_one_probe_and_every_row_is_answered_in_order() {
    let net = Net::plain();
    let list = "id,email\n1,jane@known.test\n2,nobody@known.test\n3,JANE@Known.Test\n4,jane@known.test\n5,jane\n6,Jane@known.test\n";
    let ran = net.verify(list, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        columns(&ran.out, b',', &["id", "presend_label"]),
        "1,valid/2,invalid/3,valid/4,valid/5,invalid/6,valid"
    );
    assert_eq!(net.seen("mx.known.test").recipients, 2);
    assert!(
        ran.err.contains("6 rows, 2 different addresses, 3 repeated"),
        "{}",
        ran.err
    );

    let exact = net.verify(list, &["--exact"]);
    assert!(
        exact.err.contains("6 rows, 4 different addresses, 1 repeated"),
        "{}",
        exact.err
    );
    // The last who were accepted come after the one who is unknown, so a stranger follows them.
    assert_eq!(net.seen("mx.known.test").recipients, 2 + 4 + 1);
}

#[test]
fn ten_thousand_copies_cost_one_question() {
    let net = Net::plain();
    let ran = net.verify(&"jane@known.test\n".repeat(10_000), &[]);
    assert_eq!(ran.out.matches(",valid,").count(), 10_000);
    assert_eq!(
        net.seen("mx.known.test").recipients,
        2,
        "jane and the control recipient"
    );
}

#[test]
fn r24_exact_tells_cases_apart() {
    let net = Net::new(
        "[[host]]\nname = \"mx.known.test\"\nserves = [\"known.test\"]\nmailboxes = [\"jane\"]\ncase_sensitive = true\n",
    );
    let ran = net.verify("jane@known.test\nJane@known.test\n", &["--exact"]);
    let expected = [
        ("jane@known.test", "valid mailbox_exists"),
        ("Jane@known.test", "invalid mailbox_unknown"),
    ];
    assert_eq!(super::differences(expected, &labels(&ran)), [""; 0]);
}

/// The same two people in every form a list may have; what must be kept, as bytes of the output.
#[test]
fn every_format_and_encoding_keeps_what_it_held() {
    let net = Net::plain();
    let utf16 = |text: &str, bom: bool| -> Vec<u8> {
        let bom = if bom { "\u{feff}" } else { "" };
        format!("{bom}{text}")
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect()
    };
    let table = "name;email;note\nJürgen;jane@known.test;\"two\nlines; one \"\"cell\"\"\"\nZoë;nobody@known.test;\n";
    let windows: Vec<u8> = table.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let forms: [(&str, Vec<u8>); 5] = [
        ("UTF-8", table.into()),
        ("UTF-8 with BOM", format!("\u{feff}{table}").into()),
        ("UTF-16LE", utf16(table, true)),
        ("windows-1252", windows),
        (
            "tabs",
            table.replace("lines; one", "lines, one").replace(';', "\t").into(),
        ),
    ];
    for (form, bytes) in forms {
        net.place.write("leads", bytes);
        let ran = net.run(&["verify", "leads"]);
        assert_eq!(ran.code, 0, "{form}: {}", ran.err);
        let delimiter = if form == "tabs" { b'\t' } else { b';' };
        let note = if form == "tabs" {
            "two\nlines, one \"cell\""
        } else {
            "two\nlines; one \"cell\""
        };
        let cells = columns(&ran.out, delimiter, &["name", "email", "note", "presend_label"]);
        assert_eq!(
            cells,
            format!("Jürgen,jane@known.test,{note},valid/Zoë,nobody@known.test,,invalid"),
            "{form}: {}",
            ran.err
        );
    }
}

#[test]
fn ndjson_objects_come_back_whole() {
    let net = Net::plain();
    let lines = "{\"n\":1.50,\"email\":\"jane@known.test\",\"deep\":{\"a\":[1,null]}}\n{\"email\":\"nobody@known.test\",\"n\":12345678901234567890123}\nnot json\n";
    net.place.write("leads.ndjson", lines);
    let ran = net.run(&["verify", "leads.ndjson"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let out: Vec<&str> = ran.out.lines().collect();
    assert!(
        out[0].starts_with("{\"n\":1.50,\"email\":\"jane@known.test\",\"deep\":{\"a\":[1,null]},"),
        "{}",
        out[0]
    );
    assert!(
        out[1].starts_with("{\"email\":\"nobody@known.test\",\"n\":12345678901234567890123,"),
        "{}",
        out[1]
    );
    let result = |line: &str| serde_json::from_str::<Value>(line).unwrap()["presend"].clone();
    let came: Vec<String> = out
        .iter()
        .map(|line| result(line)["reason"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(came, ["mailbox_exists", "mailbox_unknown", "row_error"]);
}

#[test]
fn json_rows_hold_the_original_and_the_result() {
    let net = Net::plain();
    let ran = net.verify("name,email\nJane,jane@known.test\n", &["--json", "--transcript"]);
    let rows: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
    let result = &rows[0]["presend"];
    assert_eq!(rows[0]["row"]["name"], "Jane");
    assert_eq!(
        (&result["schema"], &result["label"]),
        (&"presend/1".into(), &"valid".into())
    );
    assert_eq!(result["mail_host"]["name"], "mx.known.test");
    assert_eq!(
        (&result["evidence"]["code"], &result["evidence"]["control"]),
        (&250.into(), &"refused".into())
    );
    let dialogue = result["transcript"].to_string();
    assert!(
        dialogue.contains("RCPT TO:<jane@known.test>") && dialogue.contains("QUIT"),
        "{dialogue}"
    );
}

#[test]
fn rows_are_filtered_split_and_written() {
    let net = Net::new(
        "[[host]]\nname = \"mx.known.test\"\nserves = [\"known.test\"]\nmailboxes = [\"jane\"]\nfull = [\"full\"]\n
         [[host]]\nname = \"mx.all.test\"\nserves = [\"all.test\"]\ncatch_all = true\n",
    );
    let list = "jane@known.test\nnobody@known.test\nfull@known.test\nany@all.test\n";
    let some = |arguments: &[&str]| {
        let ran = net.verify(list, &[arguments, &["--no-wait"]].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        labels(&ran).into_keys().collect::<Vec<_>>().join(" ")
    };
    for (only, expected) in [
        ("send", "jane@known.test"),
        ("hold", "any@all.test full@known.test"),
        ("drop", "nobody@known.test"),
        ("catch-all", "any@all.test"),
        ("valid,invalid", "jane@known.test nobody@known.test"),
    ] {
        assert_eq!(some(&["--only", only]), expected, "{only}");
    }
    assert_eq!(
        some(&["--only", "send", "--send-catch-all"]),
        "any@all.test jane@known.test"
    );

    let ran = net.verify(list, &["--no-wait", "--split", "out"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    let lines = |name: &str| net.place.read(name).lines().skip(1).count();
    assert_eq!(
        (lines("out/send.csv"), lines("out/hold.csv"), lines("out/drop.csv")),
        (1, 2, 1)
    );

    let ran = net.verify(list, &["--no-wait", "--output", "checked.ndjson"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert_eq!(net.place.read("checked.ndjson").lines().count(), 4);
}

#[test]
fn a_list_from_standard_input_is_read_once_and_answered_whole() {
    let net = Net::plain();
    for arguments in [&["verify", "-"][..], &["verify"]] {
        let output = net
            .command(arguments)
            .write_stdin("jane@known.test\nnobody@known.test\n")
            .output()
            .unwrap();
        let ran = Ran::from(output);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert_eq!(labels(&ran).len(), 2);
        assert!(ran.err.contains("standard input"), "{}", ran.err);
    }
}

#[test]
fn levels_stop_where_they_say() {
    let net = Net::plain();
    let list = "jane@known.test\njane@gone.test\njane\n";
    for (level, expected) in [
        (
            "syntax",
            "unknown,level_stop/unknown,level_stop/invalid,syntax_no_at_sign",
        ),
        (
            "dns",
            "unknown,level_stop/invalid,no_such_domain/invalid,syntax_no_at_sign",
        ),
    ] {
        let ran = net.verify(list, &["--level", level]);
        assert_eq!(
            (ran.code, columns(&ran.out, b',', &LABELS).as_str()),
            (0, expected),
            "{level}"
        );
        assert_eq!(sessions(&net.lab.counters()), (0, 0));
        assert_eq!(net.lab.counters().dns.is_empty(), level == "syntax");
    }
}

#[test]
fn without_an_identity_nobody_is_asked_and_a_hint_names_both_options() {
    let net = Net::plain();
    net.place.write("list.csv", "jane@known.test\njane@gone.test\n");
    let flags = net.flags();
    let mut arguments = vec!["verify", "list.csv"];
    arguments.extend(flags.iter().map(String::as_str));
    let ran = net.place.run(&arguments);
    assert_eq!(
        columns(&ran.out, b',', &LABELS),
        "unknown,no_identity/invalid,no_such_domain"
    );
    for said in ["hint: ", "`--helo-name` and `--mail-from`", "presend.toml"] {
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
    assert_eq!(ran.code, 0, "the SMTP level was only the default");
    assert_eq!(net.place.run(&[&arguments[..], &["--level", "smtp"]].concat()).code, 3);
    assert_eq!(sessions(&net.lab.counters()), (0, 0));
}

#[test]
fn the_operators_lists_decide_and_nobody_is_asked() {
    let net = Net::new(
        "[[host]]\nname = \"mx.known.test\"\nserves = [\"known.test\", \"friend.test\"]\nmailboxes = [\"jane\"]\n
         [[host]]\nname = \"mx.spam.test\"\nserves = [\"one.test\", \"two.test\"]\ncatch_all = true\n
         [[host]]\nname = \"in.partner.test\"\nserves = [\"three.test\"]\ncatch_all = true\n",
    );
    net.place.write(
        "allow.txt",
        "# friends\nfriend.test\njane@two.test\n\nmx:partner.test\n",
    );
    net.place.write("block.txt", "Jane@Known.Test\r\nmx:mx.spam.test\r\n");
    let list = "jane@known.test\njoe@known.test\nanybody@friend.test\nany@one.test\njane@two.test\nany@three.test\n";
    let ran = net.verify(list, &["--allow-list", "allow.txt", "--block-list", "block.txt"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let expected = BTreeMap::from([
        ("jane@known.test", "invalid block_listed"),
        ("joe@known.test", "invalid mailbox_unknown"),
        ("anybody@friend.test", "unknown allow_listed"),
        ("any@one.test", "invalid block_listed"),
        ("jane@two.test", "unknown allow_listed"),
        ("any@three.test", "unknown allow_listed"),
    ]);
    assert_eq!(super::differences(expected, &labels(&ran)), [""; 0]);
    assert_eq!(
        columns(&ran.out, b',', &["presend_action"]),
        "drop/drop/send/drop/send/send"
    );
    assert_eq!(net.seen("mx.known.test").recipients, 1);
    assert_eq!(
        (
            net.seen("mx.spam.test").connections,
            net.seen("in.partner.test").connections
        ),
        (0, 0)
    );
}

#[test]
fn rules_of_the_operator_come_first() {
    let net = Net::new(
        "[[host]]\nname = \"mx.odd.test\"\nserves = [\"odd.test\"]\nmailboxes = [\"jane\"]\nunknown = \"550 Computer says no\"\n",
    );
    let list = "jane@odd.test\nnobody@odd.test\n";
    let without = labels(&net.verify(list, &[]));
    assert_eq!(without["nobody@odd.test"], "unknown unclassified_reply");
    net.place.write(
        "mine.toml",
        "[[rule]]\nid = \"odd/unknown\"\nlayer = \"unknown\"\ncode = [\"550\"]\nall = [\"computer says no\"]\nclass = \"user_unknown\"\nexample = [\"550 Computer says no\"]\nsource = \"seen\"\n",
    );
    let with = net.verify(list, &["--replies", "mine.toml"]);
    assert_eq!(with.code, 0, "{}", with.err);
    assert_eq!(labels(&with)["nobody@odd.test"], "invalid mailbox_unknown");
}

#[test]
fn hosts_of_our_own_are_asked_in_bursts() {
    let net = Net::new(
        "[[host]]\nname = \"mx.known.test\"\nserves = [\"known.test\"]\nmailboxes = [\"jane\"]\nlatency_ms = 50\n",
    );
    let list = super::users(200, "known.test");
    let ran = net.verify(&list, &[]);
    assert_eq!(ran.out.matches("mailbox_unknown").count(), 200);
    let host = net.seen("mx.known.test");
    let span = host.rcpt_at_us.last().unwrap() - host.rcpt_at_us[0];
    // Alone, 200 questions at 50 ms would take 10 s.
    assert!(span < 4_000_000, "{span} us");
    assert_eq!((host.connections, host.without_quit), (1, 0));
}
