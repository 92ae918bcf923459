//! `--dry-run`: what a run would do is said before anybody is asked, and nobody is.

use serde_json::{Value, json};

use super::{super::cli::Ran, Net};

const WORLD: &str = r#"
[[host]]
name = "mx.ours.test"
serves = ["ours.test", "second.test"]
mailboxes = ["jane"]

[[host]]
name = "mx.stranger.example"
serves = ["stranger.example", "stranger-two.example"]
mailboxes = ["u1"]

[[host]]
name = "mx.all.test"
serves = ["all.test"]
catch_all = true

[[host]]
name = "a.olc.protection.outlook.com"
serves = ["forbidden.example"]
mailboxes = ["jane"]
"#;

fn list() -> String {
    let mut list = "jane@ours.test\nnobody@ours.test\nJANE@ours.test\njane@second.test\nx@all.test\n\
                    jane@forbidden.example\nno address\nx@nowhere.test\n"
        .to_owned();
    list.extend((0..25).map(|user| format!("u{user}@stranger.example\n")));
    list + "u@stranger-two.example\n"
}

fn plan(ran: &Ran) -> Value {
    assert_eq!(ran.code, 0, "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
}

fn assert_nobody_was_asked(net: &Net) {
    for (name, host) in &net.lab.counters().hosts {
        assert_eq!(host.connections, 0, "{name}");
    }
}

#[test]
fn the_plan_of_a_list_is_told_and_nobody_is_asked() {
    let net = Net::new(WORLD);
    let found = plan(&net.verify(&list(), &["--dry-run", "--json"]));
    for (key, expected) in [
        ("schema", json!("presend/1")),
        ("rows", json!(34)),
        ("unique", json!(32)),
        ("duplicates", json!(1)),
        ("known", json!(0)),
        ("probes", json!(30)),
        ("domains", json!(5)),
        ("groups", json!(3)),
        ("control_questions", json!(5)),
        ("sessions", json!(1 + 1 + 3)),
        ("assumed_refused_percent", json!(20)),
        // 26 questions: two pauses of 30 s between sessions, and 5 s.
        ("at_least_ms", json!(65_000)),
    ] {
        assert_eq!(found[key], expected, "{key}: {found}");
    }
    assert_eq!(
        found["unasked"],
        json!({"provider_policy": 1, "syntax_no_at_sign": 1, "no_such_domain": 1}),
    );
    let largest = &found["largest"][0];
    assert_eq!(largest["group"], found["critical"]);
    assert_eq!((&largest["probes"], &largest["domains"]), (&json!(26), &json!(2)));
    assert_eq!(found["largest"][1]["trusted"], json!(true));
    assert_eq!(found["largest"][1]["expected_ms"], json!(0));
    // Six of 26 refused and a control recipient of each domain, at two a minute.
    assert!(found["expected_ms"].as_u64().unwrap() >= 3 * 60_000, "{found}");
    assert_nobody_was_asked(&net);

    let words = net.verify(&list(), &["--dry-run"]);
    assert_eq!(words.code, 0, "{}", words.err);
    for said in [
        "34 rows, 32 different addresses, 1 repeated",
        "30  to ask about at 5 domains in 3 groups of mail hosts, with at most 5 control questions and at least 5 sessions",
        "at least 1 min 5 s; expected ",
        "if 20 % are refused",
        "provider_policy",
    ] {
        assert!(words.out.contains(said), "{said}: {}", words.out);
    }
    assert_nobody_was_asked(&net);
}

#[test]
fn what_is_remembered_is_not_planned_and_a_dry_run_keeps_nothing() {
    let net = Net::new(WORLD);
    let text = "jane@ours.test\nnobody@ours.test\njane@second.test\nx@all.test\n";
    let verify = |arguments: &[&str]| {
        net.place.write("list.csv", text);
        let all = [&["verify", "list.csv", "--db", "kept.db"][..], arguments].concat();
        let mut command = net.place.command(&all);
        Ran::from(command.args(net.flags()).args(super::IDENTITY).output().unwrap())
    };
    let before = plan(&verify(&["--dry-run", "--json"]));
    assert_eq!((&before["known"], &before["probes"]), (&json!(0), &json!(4)));
    assert!(!net.place.has("kept.db"), "no database is made");
    assert_nobody_was_asked(&net);

    let ran = verify(&[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let asked = net.seen("mx.ours.test").recipients;
    let jobs = || net.place.run(&["jobs", "list", "--json", "--db", "kept.db"]).out;
    let kept = jobs();
    let after = plan(&verify(&["--dry-run", "--json"]));
    assert_eq!((&after["known"], &after["probes"]), (&json!(4), &json!(0)), "{after}");
    let again = plan(&verify(&["--dry-run", "--json", "--refresh"]));
    assert_eq!(again["probes"], json!(3), "a refusal of a moment ago stands: {again}");
    assert_eq!(net.seen("mx.ours.test").recipients, asked);
    assert_eq!(jobs(), kept);
}

#[test]
fn below_the_smtp_level_nobody_would_be_asked() {
    let net = Net::new(WORLD);
    for level in ["syntax", "dns"] {
        let found = plan(&net.verify(&list(), &["--dry-run", "--json", "--level", level]));
        assert_eq!(
            (&found["probes"], &found["critical"]),
            (&json!(0), &Value::Null),
            "{found}"
        );
        let unasked: u64 = found["unasked"]
            .as_object()
            .unwrap()
            .values()
            .filter_map(Value::as_u64)
            .sum();
        assert_eq!(unasked, 33, "every row but the repeated one: {found}");
    }
    assert_nobody_was_asked(&net);
}
