//! What is answered: every address of the sandbox, late answers, batches, levels, dialogues.

use super::*;

/// The table of docs/api.md.
fn documented() -> Vec<(String, String, String)> {
    let page = include_str!("../../../docs/api.md");
    let (_, sandbox) = page.split_once("## The sandbox").unwrap();
    let quoted = |cell: &str| cell.split('`').nth(1).unwrap_or_default().to_owned();
    let rows = sandbox.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        (quoted(cells[1]), quoted(cells[2]), quoted(cells[3]))
    })
    .collect()
}

#[test]
fn every_documented_address_of_the_sandbox_is_answered_as_documented() {
    let api = Api::start(Limits::default());
    let documented = documented();
    assert!(documented.len() > 20);
    let addresses: Vec<&str> = documented.iter().map(|(address, ..)| address.as_str()).collect();
    // All at once, so that those which take seconds take them together.
    let answer = api.post("/v1/verify/batch", &json!({ "addresses": addresses, "wait_ms": 0 }));
    assert_eq!(answer.status, 202);
    let place = answer.header("location").to_owned();
    let late = Instant::now() + Duration::from_mins(1);
    let last = loop {
        let answer = api.get(&place);
        if answer.status == 200 {
            break answer.json();
        }
        assert!(Instant::now() < late, "{answer:?}");
        std::thread::yield_now();
    };
    let results = last["results"].as_array().unwrap();
    let found: Vec<_> = results
        .iter()
        .map(|result| {
            let text = |key: &str| result[key].as_str().unwrap().to_owned();
            (text("address"), text("label"), text("reason"))
        })
        .collect();
    assert_eq!(found, documented);
}

#[test]
fn what_takes_longer_is_fetched_later() {
    let api = Api::start(Limits::default());
    let first = api.post(
        "/v1/verify",
        &json!({ "address": "greylisted@sandbox.test", "wait_ms": 500 }),
    );
    assert_eq!(
        (first.status, first.json()["reason"].as_str()),
        (202, Some("greylisted"))
    );
    assert!(first.json()["retry_at"].is_string());
    assert!(first.header("retry-after").parse::<u64>().unwrap() >= 1);
    let place = first.header("location").to_owned();
    assert!(place.starts_with("/v1/verifications/"));
    assert_eq!(api.get(&place).status, 202);
    let last = api.verify(&ask("greylisted@sandbox.test"));
    assert_eq!(last["label"], "valid");
    // The other question goes on by itself.
    let late = Instant::now() + Duration::from_secs(20);
    while api.get(&place).status == 202 {
        assert!(Instant::now() < late);
    }
    assert_eq!(api.get(&place).json()["label"], "valid");
}

#[test]
fn known_answers_are_used_unless_a_younger_one_is_wanted() {
    let api = Api::start(Limits::default());
    assert_eq!(api.verify(&ask("valid@sandbox.test"))["source"], "live");
    assert_eq!(api.verify(&ask("valid@sandbox.test"))["source"], "store");
    assert_eq!(
        api.verify(&json!({ "address": "valid@sandbox.test", "max_age": 0 }))["source"],
        "live"
    );
    assert_eq!(
        api.verify(&json!({ "address": "valid@sandbox.test", "max_age": 3600 }))["source"],
        "store"
    );
}

#[test]
fn levels_and_dialogues_are_chosen_by_the_request() {
    let api = Api::start(Limits::default());
    let syntax = api.verify(&json!({ "address": "valid@sandbox.test", "level": "syntax" }));
    assert_eq!(
        (&syntax["reason"], &syntax["mail_host"]),
        (&json!("level_stop"), &Value::Null)
    );
    let dns = api.verify(&json!({ "address": "valid@sandbox.test", "level": "dns" }));
    assert_eq!(
        (&dns["reason"], &dns["mail_host"]["name"]),
        (&json!("level_stop"), &json!("mx.sandbox.test"))
    );
    let smtp = api.verify(&json!({ "address": "valid@sandbox.test", "transcript": true }));
    let said = smtp["transcript"][0]["entries"].as_array().unwrap();
    assert!(
        said.iter().any(|line| line["text"] == "RCPT TO:<valid@sandbox.test>"),
        "{said:?}"
    );
    let without = api.verify(&ask("valid@sandbox.test"));
    assert_eq!(without.get("transcript"), None);
}

#[test]
fn a_batch_keeps_its_order_and_asks_equal_addresses_once() {
    let api = Api::start(Limits::default());
    let addresses = [
        "nobody@sandbox.test",
        "no address",
        "valid@sandbox.test",
        "nobody@sandbox.test",
    ];
    let answer = api.post("/v1/verify/batch", &json!({ "addresses": addresses }));
    assert_eq!(answer.status, 200);
    let results = answer.json();
    let results = results["results"].as_array().unwrap();
    let found: Vec<_> = results
        .iter()
        .map(|result| result["address"].as_str().unwrap())
        .collect();
    assert_eq!(found, addresses);
    let labels: Vec<_> = results.iter().map(|result| result["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["invalid", "invalid", "valid", "invalid"]);
}

#[test]
fn replies_and_reasons_are_explained() {
    let api = Api::start(Limits::default());
    let answer = api.post("/v1/classify", &json!({ "reply": "550 5.1.1 User unknown" }));
    assert_eq!((answer.status, &answer.json()["label"]), (200, &json!("invalid")));
    let answer = api.post(
        "/v1/classify",
        &json!({ "reply": "550 5.7.1 No such user!", "provider": "yandex" }),
    );
    assert_eq!(answer.json()["label"], "invalid");
    for (body, pointer) in [
        (json!({ "reply": "250 ok", "provider": "nobody" }), "/provider"),
        (json!({ "reply": "250 ok", "stage": "nowhere" }), "/stage"),
        (json!({ "reply": "" }), "/reply"),
    ] {
        let answer = api.post("/v1/classify", &body);
        assert_eq!(answer.problem(), (400, "invalid_value".to_owned()));
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer);
    }
    let reasons = api.get("/v1/reasons").json();
    let names: Vec<&str> = reasons["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["reason"].as_str())
        .collect();
    assert!(names.contains(&"mailbox_exists") && names.contains(&"greylisted"));
    assert!(
        reasons["classes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["class"] == "user_unknown")
    );
}

#[test]
fn health_and_numbers_name_nobody() {
    let api = Api::start(Limits::default());
    assert_eq!(api.get("/healthz").json(), json!({ "status": "ok" }));
    assert_eq!(api.get("/readyz").json(), json!({ "status": "ok" }));
    api.verify(&ask("valid@sandbox.test"));
    api.get("/someone@secret.test");
    let metrics = api.get("/metrics");
    assert!(
        metrics
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    let text = metrics.text;
    assert!(
        text.contains("presend_results_total{label=\"valid\",reason=\"mailbox_exists\",source=\"live\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("presend_requests_total{route=\"unknown\",status=\"404\"} 1"),
        "{text}"
    );
    for line in [
        "presend_probes_total{label=\"valid\",reason=\"mailbox_exists\",provider=\"other\"} 1",
        "presend_replies_total{class=\"accepted\",provider=\"other\"} ",
        "presend_rule_hits_total{rule=\"positive\"} ",
        "presend_dns_seconds_count{kind=\"mx\",result=\"records\"} ",
        "presend_smtp_seconds_count{part=\"session\"} 1",
        "presend_smtp_seconds_count{part=\"burst\"} ",
        "presend_sessions 0",
        "presend_queue 0",
        "presend_retries 0",
        "presend_store_seconds_count ",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains('@') && !text.contains("sandbox"), "{text}");
}

#[test]
fn what_waits_is_in_the_numbers_without_its_name() {
    let api = Api::start(Limits::default());
    api.post(
        "/v1/verify",
        &json!({ "address": "someone@greylisted.test", "wait_ms": 500 }),
    );
    let late = Instant::now() + Duration::from_secs(20);
    loop {
        let text = api.get("/metrics").text;
        let waits =
            text.contains("presend_retries 1\n") || text.contains("presend_mail_host_groups{waits_for=\"retry\"} 1\n");
        if waits {
            assert!(!text.contains("127.0.0") && !text.contains("greylisted.test"), "{text}");
            break;
        }
        assert!(Instant::now() < late, "{text}");
    }
}

#[test]
fn who_waits_when_the_server_stops_hears_of_it() {
    let limits = Limits {
        drain: Duration::from_millis(300),
        ..Limits::default()
    };
    let api = Api::start(limits);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            api.post(
                "/v1/verify",
                &json!({ "address": "someone@greylisted.test", "wait_ms": 60_000 }),
            )
        });
        let late = Instant::now() + Duration::from_secs(20);
        while !api.get("/metrics").text.contains("verifications_pending 1") {
            assert!(Instant::now() < late);
        }
        api.stop.request();
        let answer = asking.join().unwrap();
        assert_eq!(answer.problem(), (503, "stopping".to_owned()));
        assert!(!answer.header("retry-after").is_empty());
    });
}
