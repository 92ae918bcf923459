//! `presend classify`: replies in, meanings out.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Place, Ran, run};
use crate::replies::corpus;

fn piped(arguments: &[&str], input: impl Into<Vec<u8>>) -> Ran {
    let place = Place::new();
    let mut command = place.command(arguments);
    Ran::from(command.write_stdin(input).output().unwrap())
}

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn one_reply_is_explained_to_a_person() {
    let ran = run(&[
        "classify",
        "--provider",
        "gmail",
        r"550-5.1.1 The email account that you tried to reach\n550 5.1.1 does not exist.",
    ]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    insta::assert_snapshot!(ran.out, @r"
    550-5.1.1 The email account that you tried to reach
    550 5.1.1 does not exist.
      provider      Gmail / Google Workspace
      says          user_unknown: No such mailbox.
      about         the recipient
      proves        the mailbox does not exist
      rule          unknown/noun-first (high confidence)
      label         invalid, if nothing else is known
      to do         Remove the address; mail to it bounces and costs reputation.
      bounce        hard
      elsewhere     HubSpot UNKNOWN_USER, Mailpro bad-mailbox, ZeroBounce invalid/mailbox_not_found, NeverBounce invalid, RFC 3463 5.1.1
    ");
    let ran = run(&[
        "classify",
        "554 5.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org",
    ]);
    insta::assert_snapshot!(ran.out, @r"
    554 5.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org
      says          ip_blocklisted: A blocklist names our address.
      about         us, the sender
      rule          ip/listed (medium confidence)
      label         unknown, if nothing else is known
      to do         Ask the blocklist to remove your IP address; use another one until then.
      bounce        soft
      blocklist     Spamhaus ZEN
      elsewhere     HubSpot IP_REPUTATION, Mailpro spam-related, ZeroBounce unknown/antispam_system, NeverBounce unknown, RFC 3463 5.7.1
    ");
}

#[test]
fn one_reply_is_one_object() {
    let ran = run(&["classify", "--json", "451 4.7.1 Greylisted, try again in 300 seconds"]);
    insta::assert_snapshot!(ran.out, @r#"{"reply":"451 4.7.1 Greylisted, try again in 300 seconds","stage":"rcpt","provider":null,"mx":null,"class":"greylisted","about":"sender","persistence":"transient","evidence":"none","confidence":"medium","rule":"greylist","retry_after_s":300,"blocklist":null,"bounce":{"kind":"pending","class":"greylisted"},"label":"unknown"}"#);
    let of = |arguments: &[&str]| rows(&run(&[&["classify", "--json"], arguments].concat()).out).remove(0);
    let unknown = "550 5.7.1 No such user!";
    for (arguments, label, rule) in [
        (&["250 2.1.5 Ok"][..], "accepted", "positive"),
        (&["--stage", "mail", "250 2.1.0 Ok"], "unknown", "positive"),
        (&["--provider", "yandex", unknown], "invalid", "yandex/unknown"),
        (&["--mx", "MX.Yandex.ru.", unknown], "invalid", "yandex/unknown"),
        (&["--provider", "AOL", "250 Ok"], "unknown", "positive"),
        (&["--stage", "greeting", "554 5.1.1 User unknown"], "unknown", ""),
        (&["HTTP/1.1 400 Bad Request"], "unknown", "not_smtp"),
        (&["550-5.1.1 User unknown\n250 Ok"], "unknown", "not_smtp"),
        (
            &[r#"{"reply":"550 5.7.1 No such user!","provider":"yandex"}"#],
            "invalid",
            "yandex/unknown",
        ),
    ] {
        let answer = of(arguments);
        assert_eq!(answer["label"], label, "{arguments:?}: {answer}");
        assert!(rule.is_empty() || answer["rule"] == rule, "{arguments:?}: {answer}");
    }
}

#[test]
fn a_pipe_may_mix_text_and_objects() {
    let input = concat!(
        "550-5.1.1 No such\r\n550 5.1.1 user\r\n\r\n",
        r#"{"reply":"550 5.1.1 User unknown","stage":"mail","provider":null,"mx":null}"#,
        "\n",
        r#"{"id":7,"reply":"451-4.7.1 Greylisted\r\n451 4.7.1 for 5 minutes","label":"theirs","nested":{"a":[1]}}"#,
        "\n550-torn\n{\"reply\":\"250 Ok\",\"mx\":\"mta5.am0.yahoodns.net\"}\n",
    );
    for arguments in [&["classify", "--json"][..], &["classify", "--json", "-"]] {
        let ran = piped(arguments, input);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        let rows = rows(&ran.out);
        let of = |key: &str| rows.iter().map(|row| row[key].clone()).collect::<Vec<_>>();
        assert_eq!(of("label"), ["invalid", "unknown", "unknown", "unknown", "unknown"]);
        assert_eq!(of("stage"), ["rcpt", "mail", "rcpt", "rcpt", "rcpt"]);
        assert_eq!(rows[0]["reply"], "550-5.1.1 No such\n550 5.1.1 user");
        assert_eq!((&rows[2]["id"], &rows[2]["nested"]), (&json!(7), &json!({ "a": [1] })));
        assert_eq!(rows[2]["retry_after_s"], 300);
        let third = ran.out.lines().nth(2).unwrap();
        assert_eq!(third.matches("\"label\":").count(), 1, "ours replaces theirs: {third}");
        assert_eq!(
            rows[4]["class"], "accepted",
            "a provider that accepts everybody says nothing by it"
        );
    }
    let place = Place::new();
    place.write("replies.txt", input);
    assert_eq!(rows(&place.run(&["classify", "--json", "replies.txt"]).out).len(), 5);
}

#[test]
fn a_line_that_cannot_be_used_is_answered_and_the_run_goes_on() {
    let input = format!(
        "{{\"reply\":1}}\n{{bad\n{{}}\n{}\n{}\n{}\n550 {}\n\u{0}\n250 Ok\n",
        r#"{"reply":"250 Ok","stage":"dat"}"#,
        r#"{"reply":"250 Ok","provider":"gogle"}"#,
        format_args!("{{\"reply\":\"{}\"}}", "x".repeat(100_000)),
        "no such user ".repeat(20_000),
    );
    let ran = piped(&["classify", "--json"], input.clone());
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(
        ran.err.starts_with("error: 6 lines of 9 could not be read"),
        "{}",
        ran.err
    );
    let rows = rows(&ran.out);
    assert_eq!(rows.len(), 9);
    for (row, said) in rows.iter().zip([
        "`reply` must be a text",
        "not a JSON object",
        "`reply` is missing",
        "the stages are `connect`",
        "no provider is called `gogle`; did you mean `google`",
        "the line is longer than 65536 bytes",
    ]) {
        assert!(row["error"].as_str().unwrap().contains(said), "{row}");
    }
    assert_eq!((&rows[0]["line"], &rows[5]["line"]), (&json!(1), &json!(6)));
    assert_eq!(rows[7]["rule"], "not_smtp");
    assert_eq!(rows[8]["label"], "accepted");
    let people = piped(&["classify"], input);
    assert_eq!(people.code, 2);
    assert!(people.err.contains("line 2: not a JSON object"), "{}", people.err);
    assert!(!people.out.contains(['\u{1b}', '\0']));
}

#[test]
fn wrong_use_of_classify_says_what_to_do() {
    let place = Place::new();
    place.write("rules.toml", "[[rule]]\nid = \"x\"\ncolour = 1\n");
    for (arguments, said) in [
        (
            &["classify", "--provider", "gmial", "250 Ok"][..],
            "did you mean `gmail`",
        ),
        (
            &["classify", "--provider", "zzz", "250 Ok"],
            "the providers are `google`, ",
        ),
        (
            &["classify", "--provider", "gmail", "--mx", "x.example", "250 Ok"],
            "cannot be used with",
        ),
        (&["classify", "--stage", "body", "250 Ok"], "the stages are `connect`"),
        (&["classify", "  "], "the reply is empty"),
        (
            &["classify", "--replies", "rules.toml", "250 Ok"],
            "rules.toml:3: unknown field `colour`",
        ),
        (&["classify", "--replies", "none.toml", "250 Ok"], "none.toml"),
        (
            &["classify", "--bounce", "polcy=hard", "250 Ok"],
            "no reply class has this name",
        ),
        (
            &[
                "check",
                "--level",
                "syntax",
                "--probe-provider",
                "outlok",
                "a@b.example",
            ],
            "did you mean `outlook`",
        ),
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.out);
        assert!(ran.err.contains(said), "{arguments:?}: {}", ran.err);
    }
    let ran = piped(&["classify"], "\n\n");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("there is no reply in the input"), "{}", ran.err);
}

#[test]
fn the_operators_rules_and_bounce_table_are_obeyed_and_no_label_changes() {
    let place = Place::new();
    place.write(
        "mine.toml",
        "[[rule]]\nid = \"mine\"\nlayer = \"provider\"\nclass = \"user_unknown\"\nsource = \"us\"\nall = [\"purple haze\"]\nexample = [\"550 Purple haze\"]\n",
    );
    let of = |arguments: &[&str]| {
        let ran = place.run(&[&["classify", "--json"], arguments].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        rows(&ran.out).remove(0)
    };
    assert_eq!(
        of(&["550 purple haze"])["bounce"],
        json!({ "kind": "soft", "class": "unknown" })
    );
    place.write(
        "presend.toml",
        "replies = \"mine.toml\"\n[bounce]\npolicy = \"hard\"\nuser_unknown = \"soft\"\nmailbox_full = \"none\"\n",
    );
    for (reply, label, kind, class) in [
        ("550 purple haze", "invalid", "soft", json!("user_unknown")),
        ("550 rejected by policy", "unknown", "hard", json!("policy")),
        ("450 rejected by policy", "unknown", "pending", json!("policy")),
        ("552 5.2.2 Mailbox full", "unknown", "none", Value::Null),
        ("550 5.2.1 Account disabled", "invalid", "hard", json!("user_disabled")),
    ] {
        let answer = of(&[reply]);
        assert_eq!(answer["label"], label, "{reply}");
        assert_eq!(answer["bounce"], json!({ "kind": kind, "class": class }), "{reply}");
    }
    assert_eq!(
        of(&["--bounce", "policy=pending", "550 rejected by policy"])["bounce"]["kind"],
        "pending"
    );
    for (text, said) in [
        (
            "[bounce]\npolicy = \"harsh\"\n",
            "presend.toml:2:10: unknown variant `harsh`, expected one of `hard`",
        ),
        (
            "\n[bounce]\npolicies = \"hard\"\n",
            "presend.toml:3:1: no reply class is called `policies`",
        ),
    ] {
        place.write("presend.toml", text);
        let ran = place.run(&["config", "check"]);
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains(said), "{}", ran.err);
    }
}

#[test]
fn every_row_of_the_corpora_passes_through_and_none_about_us_is_invalid() {
    let mut about_us = HashMap::new();
    let mut input = String::new();
    for (id, row) in corpus::providers().iter().chain(corpus::sisimai()).enumerate() {
        about_us.insert(id as u64, row.is_about_us());
        let reply = row.reply();
        let text = format!("{} {}", reply.code(), reply.lines().join("\n"));
        let line = json!({ "id": id, "reply": text, "stage": row.stage, "provider": row.provider(), "mx": null });
        input += &line.to_string();
        input.push('\n');
    }
    let ran = piped(&["classify", "--json"], input);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let rows = rows(&ran.out);
    assert_eq!(rows.len(), about_us.len());
    let (mut invalid, mut fatal) = (0, 0);
    for row in &rows {
        if row["label"] == "invalid" {
            invalid += 1;
            fatal += usize::from(about_us[&row["id"].as_u64().unwrap()]);
            assert_eq!(row["about"], "recipient", "{row}");
            assert_eq!(row["bounce"]["kind"], "hard", "{row}");
        }
    }
    assert_eq!(fatal, 0);
    assert!(invalid > 50, "{invalid}");
}
