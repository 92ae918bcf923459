//! Events, suppressions and calls of sending services over HTTP.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use presend::serve::{Bounces, Proofs};

use super::*;

fn event(id: &str, address: &str, kind: &str, reply: &str) -> Value {
    json!({"id": id, "address": address, "type": kind, "at": "2026-11-20T10:00:00Z", "reply": reply})
}

fn whom(address: &str) -> Value {
    json!({ "address": address })
}

#[test]
fn events_suppress_and_the_same_ones_again_change_nothing() {
    let api = Api::start(Limits::default());
    let body = json!({"events": [
        event("1", "valid@sandbox.test", "bounced", "550 5.1.1 No such user"),
        event("2", "other@sandbox.test", "delivered", ""),
    ]});
    let taken = api.post("/v1/events", &body);
    assert_eq!(
        (taken.status, taken.json()),
        (200, json!({"new": 2, "known": 0, "suppressed": 1, "review": 0}))
    );
    assert_eq!(
        api.post("/v1/events", &body).json(),
        json!({"new": 0, "known": 2, "suppressed": 0, "review": 0})
    );
    let result = api.verify(&ask("valid@sandbox.test"));
    assert_eq!(
        (&result["label"], &result["reason"]),
        (&"invalid".into(), &"suppressed_hard_bounce".into())
    );
    assert_eq!(result["source"], "suppression");
    assert!(
        result["evidence"]["text"]
            .as_str()
            .unwrap()
            .contains("hard bounced on 2026-11-20")
    );
    let found = api.post("/v1/suppressions/lookup", &whom("VALID@sandbox.test")).json();
    assert_eq!(
        (&found["suppressed"], &found["reason"]),
        (&true.into(), &"hard_bounce".into())
    );
    for (body, pointer) in [
        (json!({"events": []}), "/events"),
        (
            json!({"events": [{"address": "a@b.example", "type": "bounced", "at": "yesterday"}]}),
            "/events/0",
        ),
        (
            json!({"events": [event("3", "no address", "bounced", "550 no")]}),
            "/events/0",
        ),
        (
            json!({"events": [event("3", "a@b.example", "opened", "")]}),
            "/events/0/type",
        ),
        (
            json!({"events": [event("3", "a@b.example", "bounced", &"x".repeat(3000))]}),
            "/events/0/reply",
        ),
    ] {
        let refused = api.post("/v1/events", &body);
        assert_eq!(refused.status, 400, "{body}");
        assert_eq!(refused.json()["errors"][0]["pointer"], pointer, "{body}");
    }
}

#[test]
fn a_thousand_events_come_together() {
    let api = Api::start(Limits::default());
    let reply = format!("550 5.1.1 No such user {}", "x".repeat(200));
    let event = |n: usize| event(&n.to_string(), &format!("user{n}@sandbox.test"), "bounced", &reply);
    let body = |count: usize| json!({"events": (0..count).map(event).collect::<Vec<_>>()});
    let taken = api.post("/v1/events", &body(1_000));
    assert_eq!((taken.status, &taken.json()["new"]), (200, &1_000.into()));
    let refused = api.post("/v1/events", &body(1_001));
    assert_eq!(
        (refused.status, &refused.json()["errors"][0]["pointer"]),
        (400, &"/events".into())
    );
}

#[test]
fn notes_and_lists_come_back_without_what_would_act_in_a_terminal() {
    let api = Api::start(Limits::default());
    let new = json!({"suppressions": [
        {"address": "valid@sandbox.test", "reason": "manual", "note": "by\u{1b}[31m phone\u{202e}", "list": "ne\u{7f}ws"},
    ]});
    assert_eq!(api.post("/v1/suppressions", &new).json(), json!({"new": 1, "known": 0}));
    let page = api.get("/v1/suppressions").json();
    let (note, list) = (&page["suppressions"][0]["note"], &page["suppressions"][0]["list"]);
    assert_eq!((note, list), (&"by [31m phone ".into(), &"ne ws".into()));
    let asked = json!({"address": "valid@sandbox.test", "list": "ne\u{7f}ws"});
    assert_eq!(api.post("/v1/suppressions/lookup", &asked).json()["suppressed"], true);
    let gone = agent().delete(api.url("/v1/suppressions")).force_send_body();
    let gone = gone.header("content-type", "application/json");
    assert_eq!(
        read(gone.send(asked.to_string().as_bytes())).json(),
        json!({"ended": 1})
    );
}

#[test]
fn suppressions_are_a_tenants_own() {
    let (ours, one) = key("one", "verify,events", None, None);
    let (theirs, two) = key("two", "verify,events", None, None);
    let (asks, three) = key("three", "verify", None, None);
    let api = Api::with_keys(Limits::default(), &[one, two, three]);
    let new = json!({"suppressions": [
        {"address": "valid@sandbox.test", "reason": "unsubscribed", "note": "by phone"},
        {"address": "valid2@sandbox.test", "reason": "manual", "list": "news", "expires_at": "2100-01-01T00:00:00Z"},
    ]});
    let made = api.post_as("/v1/suppressions", &new, Some(&ours));
    assert_eq!(made.json(), json!({"new": 2, "known": 0}));
    assert_eq!(
        api.post_as("/v1/suppressions", &new, Some(&ours)).json(),
        json!({"new": 0, "known": 2})
    );
    let page = api.get_as("/v1/suppressions", Some(&ours)).json();
    assert_eq!(
        (page["suppressions"].as_array().unwrap().len(), &page["next"]),
        (2, &Value::Null)
    );
    assert_eq!(page["suppressions"][0]["note"], "by phone");
    assert_eq!(
        api.get_as("/v1/suppressions", Some(&theirs)).json()["suppressions"],
        json!([])
    );
    let reason = |key: &str| {
        let asked = json!({"address": "valid@sandbox.test", "wait_ms": 20000, "level": "syntax"});
        api.post_as("/v1/verify", &asked, Some(key)).json()["reason"].clone()
    };
    assert_eq!(reason(&ours), "suppressed_unsubscribed");
    assert_ne!(reason(&theirs), "suppressed_unsubscribed");
    assert_ne!(reason(&asks), "suppressed_unsubscribed");
    let refused = api.post_as("/v1/suppressions", &new, Some(&asks));
    assert_eq!(refused.problem(), (403, "forbidden".to_owned()));
    let delete = |key: &str| {
        let request = agent().delete(api.url("/v1/suppressions")).force_send_body();
        let request = request
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json");
        read(request.send(whom("valid@sandbox.test").to_string().as_bytes())).json()
    };
    assert_eq!(delete(&theirs), json!({"ended": 0}));
    assert_eq!(delete(&ours), json!({"ended": 1}));
    assert_ne!(reason(&ours), "suppressed_unsubscribed", "at once");
    let history = api
        .post_as("/v1/suppressions/lookup", &whom("valid@sandbox.test"), Some(&ours))
        .json();
    assert_eq!(
        (&history["suppressed"], &history["suppressions"][0]["ended_by"]),
        (&false.into(), &"api".into())
    );
    for (body, pointer) in [
        (json!({"suppressions": []}), "/suppressions"),
        (
            json!({"suppressions": [{"address": "nobody", "reason": "manual"}]}),
            "/suppressions/0/address",
        ),
        (
            json!({"suppressions": [{"address": "a@b.example", "reason": "hard_bounce"}]}),
            "/suppressions/0/reason",
        ),
        (
            json!({"suppressions": [{"address": "a@b.example", "reason": "manual", "expires_at": "2020-01-01T00:00:00Z"}]}),
            "/suppressions/0/expires_at",
        ),
    ] {
        let refused = api.post_as("/v1/suppressions", &body, Some(&ours));
        assert_eq!(
            (refused.status, &refused.json()["errors"][0]["pointer"]),
            (400, &pointer.into()),
            "{body}"
        );
    }
}

fn receiving() -> Api {
    let proofs = Proofs::default()
        .ses(&["tests/corpora/receive/sns.pem".into()], Vec::new())
        .unwrap()
        .postmark("hook:long-password")
        .unwrap();
    let options = Options {
        bounces: Bounces {
            proofs,
            ..Bounces::default()
        },
        ..Options::default()
    };
    let (_, record) = key("one", "verify", None, None);
    Api::with_options(Limits::default(), &[record], options)
}

#[test]
fn services_prove_themselves_or_are_not_heard() {
    let api = receiving();
    let messages: Value =
        serde_json::from_str(&std::fs::read_to_string("tests/corpora/receive/sns.json").unwrap()).unwrap();
    let send = |message: &Value| {
        api.send(
            "/v1/receive/ses",
            message.to_string().as_bytes(),
            "text/plain; charset=UTF-8",
            None,
        )
    };
    let taken = send(&messages["v2"]);
    assert_eq!(
        (taken.status, &taken.json()["new"], &taken.json()["suppressed"]),
        (200, &1.into(), &1.into()),
        "{taken:?}"
    );
    assert_eq!(
        send(&messages["v1"]).json()["new"],
        0,
        "the same event in another envelope"
    );
    assert_eq!(send(&messages["confirm"]).status, 200);
    let mut forged = messages["v2"].clone();
    forged["Message"] = "{}".into();
    assert_eq!(send(&forged).problem(), (403, "forbidden".to_owned()));
    let call = json!({"RecordType": "Bounce", "ID": 42, "Type": "HardBounce", "TypeCode": 1, "Email": "dead@acme-corp.com",
        "BouncedAt": "2026-11-20T10:00:00Z", "Details": "550 5.1.1 no such user", "MessageID": "m"});
    let postmark = |login: &str| {
        let request = agent()
            .post(api.url("/v1/receive/postmark"))
            .header("content-type", "application/json");
        let request = request.header("authorization", format!("Basic {}", BASE64_STANDARD.encode(login)));
        read(request.send(call.to_string().as_bytes()))
    };
    assert_eq!(postmark("hook:wrong-password").problem(), (403, "forbidden".to_owned()));
    assert_eq!(postmark("hook:long-password").json()["suppressed"], 1);
    for other in ["sendgrid", "mailgun"] {
        let answer = api.send(&format!("/v1/receive/{other}"), b"[]", "application/json", None);
        assert_eq!(
            answer.problem(),
            (404, "not_found".to_owned()),
            "{other} is not configured"
        );
    }
}
