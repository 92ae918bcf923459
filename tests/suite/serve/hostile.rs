//! Hostile callers (HOSTILE P10 to P16): every one hears a documented problem, and nobody else notices.

use std::{io::Write, net::TcpStream};

use super::*;

fn head(length: &str) -> String {
    format!(
        "POST /v1/verify HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n{length}\r\n\r\n"
    )
}

fn quick() -> Limits {
    Limits {
        timeout_header: Duration::from_millis(300),
        timeout_body: Duration::from_millis(300),
        ..Limits::default()
    }
}

#[test]
fn faults_of_the_body_are_named() {
    let api = Api::start(Limits::default());
    let long = format!("{{\"address\":\"{}\"}}", "a".repeat(1001));
    let many = json!({ "addresses": vec!["a@sandbox.test"; 101] }).to_string();
    let deep = format!("{{\"address\":{}", "[".repeat(50_000));
    for (path, body, code, pointer) in [
        ("/v1/verify", "", "invalid_json", None),
        ("/v1/verify", "nonsense", "invalid_json", None),
        ("/v1/verify", "{\"address\":NaN}", "invalid_json", None),
        ("/v1/verify", "{\"address\":\"a\"}{}", "invalid_json", None),
        ("/v1/verify", "{}", "missing_field", Some("/address")),
        ("/v1/verify", "[\"a\",null,null,null,null]", "wrong_type", Some("")),
        ("/v1/verify", "{\"address\":null}", "wrong_type", Some("/address")),
        ("/v1/verify", &deep, "wrong_type", Some("/address")),
        (
            "/v1/verify",
            "{\"address\":\"a\",\"address\":\"b\"}",
            "duplicate_key",
            Some("/address"),
        ),
        (
            "/v1/verify",
            "{\"address\":\"a\",\"helo_name\":\"x\"}",
            "unknown_field",
            Some("/helo_name"),
        ),
        (
            "/v1/verify",
            "{\"address\":\"a\",\"level\":\"data\"}",
            "invalid_value",
            Some("/level"),
        ),
        (
            "/v1/verify",
            "{\"address\":\"a\",\"wait_ms\":-1}",
            "invalid_value",
            Some("/wait_ms"),
        ),
        (
            "/v1/verify",
            "{\"address\":\"a\",\"wait_ms\":600001}",
            "invalid_value",
            Some("/wait_ms"),
        ),
        (
            "/v1/verify",
            "{\"address\":\"a\",\"max_age\":99999999999}",
            "invalid_value",
            Some("/max_age"),
        ),
        ("/v1/verify", &long, "invalid_value", Some("/address")),
        (
            "/v1/verify/batch",
            "{\"addresses\":[]}",
            "invalid_value",
            Some("/addresses"),
        ),
        ("/v1/verify/batch", &many, "invalid_value", Some("/addresses")),
        (
            "/v1/verify/batch",
            "{\"addresses\":[\"a\",1]}",
            "wrong_type",
            Some("/addresses/1"),
        ),
    ] {
        let answer = api.send(path, body.as_bytes(), "application/json", None);
        assert_eq!(answer.problem(), (400, code.to_owned()), "{body:.100}");
        let first = answer.json()["errors"][0]["pointer"].as_str().map(str::to_owned);
        assert_eq!(first.as_deref(), pointer, "{body:.100}");
        assert!(answer.text.len() < 2_000, "what was sent is not sent back");
    }
    let answer = api.send("/v1/verify", b"{\"address\":\"\xff\"}", "application/json", None);
    assert_eq!(answer.problem(), (400, "invalid_utf8".to_owned()));
    let answer = api.send("/v1/verify", b"address=a", "application/x-www-form-urlencoded", None);
    assert_eq!(answer.problem(), (415, "unsupported_media_type".to_owned()));
}

#[test]
fn p14_no_request_says_as_whom_or_by_which_way_hosts_are_asked() {
    let api = Api::start(Limits::default());
    for member in [
        "helo_name",
        "mail_from",
        "nameserver",
        "smtp_port",
        "proxy",
        "source_ip",
        "trusted_host",
        "limits",
    ] {
        for (path, asked) in [
            ("/v1/verify", "address"),
            ("/v1/verify/batch", "addresses"),
            ("/v1/classify", "reply"),
        ] {
            let mut body = json!({ asked: "250 valid@sandbox.test" });
            body[member] = json!("evil.test");
            let answer = api.post(path, &body);
            let (status, code) = answer.problem();
            assert_eq!(status, 400, "{path} {member}");
            // A batch's text is of the wrong type before its member is of no kind.
            assert!(
                ["unknown_field", "wrong_type"].contains(&&*code),
                "{path} {member}: {code}"
            );
        }
    }
}

#[test]
fn what_is_not_there_is_a_problem_too() {
    let api = Api::start(Limits::default());
    assert_eq!(api.get("/v1/nothing").problem(), (404, "not_found".to_owned()));
    assert_eq!(
        api.get("/v1/verifications/0123456789abcdef0123456789abcdef").problem(),
        (404, "not_found".to_owned())
    );
    assert_eq!(
        api.get("/v1/verifications/..%2f..%2fetc").problem(),
        (404, "not_found".to_owned())
    );
    for place in ["/v1/verifications/%ff", "/v1/jobs/%ff", "/v1/suppressions/after/%ff"] {
        assert_eq!(api.get(place).problem(), (404, "not_found".to_owned()), "not UTF-8");
    }
    let answer = api.get("/v1/verify");
    assert_eq!(answer.problem(), (405, "method_not_allowed".to_owned()));
    assert_eq!(answer.header("allow"), "POST");
    assert_eq!(
        api.get("/v1/reasons?address=a@b.test").problem(),
        (400, "invalid_query".to_owned())
    );
    let told = api.get("/v1/reasons");
    assert_eq!(
        told.header("access-control-allow-origin"),
        "",
        "no page of others may read"
    );
}

#[test]
fn p10_an_endless_body_is_refused_before_it_is_read() {
    let api = Api::start(Limits::default());
    let said = raw(
        &api,
        &[head("content-length: 1073741824").as_bytes(), b"{\"address\":\""],
    );
    assert!(
        said.starts_with("HTTP/1.1 413") && said.contains("body_too_large"),
        "{said}"
    );
    let chunk = format!("4000\r\n{}\r\n", "a".repeat(0x4000));
    let first = head("transfer-encoding: chunked");
    let mut chunks = vec![first.as_bytes()];
    chunks.extend(std::iter::repeat_n(chunk.as_bytes(), 64));
    let said = raw(&api, &chunks);
    // The rest of the body may have reset the connection before the answer was read.
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 413"), "{said}");
    assert_eq!(api.get("/healthz").status, 200);
}

#[test]
fn p10_slow_callers_lose_their_connection() {
    let api = Api::start(quick());
    let began = Instant::now();
    let said = raw(&api, &[head("content-length: 100").as_bytes(), b"{\"addr"]);
    assert!(
        said.starts_with("HTTP/1.1 408") && said.contains("body_timeout"),
        "{said}"
    );
    let said = raw(&api, &[b"POST /v1/verify HTTP/1.1\r\nhost: loc"]);
    assert!(!said.contains("200"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(20), "both were let go of");
}

#[test]
fn headers_are_bounded() {
    let api = Api::start(Limits::default());
    let many: String = ["x-one: 1\r\n"; 200].concat();
    let said = raw(
        &api,
        &[format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{many}\r\n").as_bytes()],
    );
    assert!(said.starts_with("HTTP/1.1 431"), "{said}");
    let large = format!(
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-large: {}\r\n\r\n",
        "a".repeat(64 * 1024)
    );
    let said = raw(&api, &[large.as_bytes()]);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"EHLO there\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let said = raw(&api, &[garbage]);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 400"), "{said}");
    }
    assert_eq!(api.get("/healthz").status, 200);
}

#[test]
fn line_ends_in_an_address_reach_no_mail_host() {
    let api = Api::start(Limits::default());
    for address in [
        "valid@sandbox.test\r\nDATA",
        "a\r\nRCPT TO:<valid@sandbox.test>",
        "valid@sandbox.test\0",
    ] {
        let result = api.verify(&json!({ "address": address, "transcript": true }));
        assert_eq!(result["label"], "invalid", "{result}");
        assert_eq!(result["transcript"], json!([]));
    }
}

#[test]
fn only_so_many_requests_are_answered_at_one_time() {
    let limits = Limits {
        max_requests: 1,
        ..quick()
    };
    let api = Api::start(limits);
    // It waits for its body and holds the only place.
    let mut holder = TcpStream::connect(api.address).unwrap();
    holder.write_all(head("content-length: 100").as_bytes()).unwrap();
    let late = Instant::now() + Duration::from_secs(10);
    let refused = loop {
        let answer = api.get("/v1/reasons");
        if answer.status != 200 {
            break answer;
        }
        assert!(Instant::now() < late);
        holder = TcpStream::connect(api.address).unwrap();
        holder.write_all(head("content-length: 100").as_bytes()).unwrap();
    };
    assert_eq!(refused.problem(), (503, "overloaded".to_owned()));
    assert_eq!(api.get("/healthz").status, 200, "who asks for the health is answered");
}

#[test]
fn only_so_many_verifications_may_be_open() {
    let limits = Limits {
        max_pending: 2,
        ..Limits::default()
    };
    let api = Api::start(limits);
    let slow = |number: u32| json!({ "address": format!("user{number}@greylisted.test"), "wait_ms": 0 });
    assert_eq!(api.post("/v1/verify", &slow(1)).status, 202);
    assert_eq!(api.post("/v1/verify", &slow(2)).status, 202);
    let refused = api.post("/v1/verify", &slow(3));
    assert_eq!(refused.problem(), (429, "too_many_pending".to_owned()));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
}

#[test]
fn a_page_that_points_its_name_here_is_not_served() {
    let api = Api::start(Limits::default());
    let asking = |host: &str| {
        raw(
            &api,
            &[format!("GET /v1/reasons HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes()],
        )
    };
    assert!(asking("localhost:1234").starts_with("HTTP/1.1 200"));
    let said = asking("evil.example");
    assert!(
        said.starts_with("HTTP/1.1 403") && said.contains("host_not_allowed"),
        "{said}"
    );
}
