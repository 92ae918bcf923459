//! Hostile lists and requests about lists.

use std::net::TcpStream;

use super::*;

fn head(length: &str) -> String {
    format!(
        "POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/csv\r\nconnection: close\r\n{length}\r\n\r\n"
    )
}

fn form(parts: &[(&str, &str)]) -> String {
    let part = |(head, text): &(&str, &str)| format!("--b\r\ncontent-disposition: form-data; {head}\r\n\r\n{text}\r\n");
    parts.iter().map(part).collect::<String>() + "--b--\r\n"
}

#[test]
fn p10_lists_are_bounded_in_size_and_time() {
    let limits = Limits {
        max_upload: 100_000,
        timeout_body: Duration::from_millis(300),
        timeout_upload: Duration::from_millis(700),
        ..Limits::default()
    };
    let api = Api::start(limits);
    let said = raw(&api, &[head("content-length: 1073741824").as_bytes(), b"email\n"]);
    assert!(
        said.starts_with("HTTP/1.1 413") && said.contains("body_too_large"),
        "{said}"
    );
    let chunk = format!("4000\r\n{}\r\n", "a".repeat(0x4000));
    let first = head("transfer-encoding: chunked");
    let mut chunks = vec![first.as_bytes()];
    chunks.extend(std::iter::repeat_n(chunk.as_bytes(), 64));
    let said = raw(&api, &chunks);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 413"), "{said}");
    let began = Instant::now();
    let said = raw(&api, &[head("content-length: 100").as_bytes(), b"email\n"]);
    assert!(
        said.starts_with("HTTP/1.1 408") && said.contains("body_timeout"),
        "{said}"
    );
    assert!(began.elapsed() < Duration::from_secs(20));
    // One that drips is not let drip for ever.
    let mut dripping = TcpStream::connect(api.address).unwrap();
    dripping.write_all(head("content-length: 100000").as_bytes()).unwrap();
    let began = Instant::now();
    while dripping.write_all(b"aaaaaaaaaaaaaaaaaaaa").is_ok() {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody stops it");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(
        api.get("/v1/jobs").json()["jobs"],
        json!([]),
        "nothing half made is left"
    );
}

#[test]
fn lists_that_are_none_are_named_problems() {
    let api = Api::start(Limits::default());
    let deep = format!("[{}", "[".repeat(100_000));
    let json = "application/json";
    for (kind, query, body, problem, pointer) in [
        (json, "", &b"{}"[..], (400, "invalid_json"), None),
        (json, "", b"", (400, "invalid_json"), None),
        (json, "", b"[\"a@b.test\"", (400, "invalid_json"), Some("/0")),
        (json, "", b"[\"a@b.test\",NaN]", (400, "invalid_json"), Some("/1")),
        (json, "", b"[\"\xff\"]", (400, "invalid_json"), Some("/0")),
        (json, "", deep.as_bytes(), (400, "too_deep"), Some("/0")),
        (json, "", b"[]", (422, "invalid_list"), None),
        ("text/csv", "", b"", (422, "invalid_list"), None),
        ("text/csv", "", b"email\n", (422, "invalid_list"), None),
        ("text/csv", "", b"name,city\nAnn,Bonn\n", (422, "invalid_list"), None),
        (
            "text/csv",
            "?column=mail",
            CSV.as_bytes(),
            (422, "invalid_list"),
            Some("/column"),
        ),
        (
            "text/csv",
            "?column=9",
            CSV.as_bytes(),
            (422, "invalid_list"),
            Some("/column"),
        ),
        (
            "text/csv",
            "?sheet=x",
            CSV.as_bytes(),
            (422, "invalid_list"),
            Some("/sheet"),
        ),
        (XLSX, "", b"PK\x03\x04nothing", (422, "invalid_list"), None),
        ("text/csv", "", b"\x1f\x8b\x08\0\0\0", (422, "invalid_list"), None),
        (
            "application/octet-stream",
            "",
            b"\0\0\x01\x02\x03\0\0",
            (422, "invalid_list"),
            None,
        ),
        ("image/png", "", b"x", (415, "unsupported_media_type"), None),
        ("text/csv", "?helo=x", CSV.as_bytes(), (400, "invalid_query"), None),
        ("text/csv", "?level=all", CSV.as_bytes(), (400, "invalid_query"), None),
        (
            "text/csv",
            "?name=a%0d%0aX-Evil:1",
            CSV.as_bytes(),
            (400, "invalid_query"),
            None,
        ),
        ("text/csv", "?name=%ff", CSV.as_bytes(), (400, "invalid_query"), None),
        ("multipart/form-data", "", b"x", (400, "invalid_form"), None),
        ("multipart/form-data; boundary=b", "", b"x", (400, "invalid_form"), None),
    ] {
        let answer = api.upload(&format!("/v1/jobs{query}"), body, kind);
        let (status, code) = answer.problem();
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        assert_eq!(
            (status, code.as_str()),
            problem,
            "{kind} {query} {shown}: {}",
            answer.text
        );
        let found = answer.json()["errors"][0]["pointer"].as_str().map(str::to_owned);
        assert_eq!(found.as_deref(), pointer, "{kind} {query} {shown}: {}", answer.text);
        assert!(!answer.text.contains("--column"), "{}", answer.text);
    }
    assert_eq!(api.get("/v1/jobs").json()["jobs"], json!([]));
}

#[test]
fn forms_that_are_none_are_named_problems() {
    let api = Api::start(Limits::default());
    let file = ("name=\"file\"; filename=\"l.csv\"", CSV);
    let long = "x".repeat(5_000);
    for (parts, problem, pointer) in [
        (
            vec![("name=\"column\"", "email")],
            (400, "missing_field"),
            Some("/file"),
        ),
        (vec![file, file], (400, "duplicate_key"), Some("/file")),
        (
            vec![("name=\"helo/name\"", "x"), file],
            (400, "unknown_field"),
            Some("/helo~1name"),
        ),
        (
            vec![("name=\"level\"", "all"), file],
            (400, "invalid_value"),
            Some("/level"),
        ),
        (
            vec![("name=\"name\"", "a\r\nb"), file],
            (400, "invalid_value"),
            Some("/name"),
        ),
        (vec![("name=\"name\"", &long), file], (413, "body_too_large"), None),
    ] {
        let answer = api.upload("/v1/jobs", form(&parts).as_bytes(), "multipart/form-data; boundary=b");
        let (status, code) = answer.problem();
        assert_eq!((status, code.as_str()), problem, "{parts:?}");
        let found = answer.json()["errors"][0]["pointer"].as_str().map(str::to_owned);
        assert_eq!(found.as_deref(), pointer, "{parts:?}");
    }
    // A name with anything in it harms nobody.
    let evil = ("name=\"file\"; filename=\"a\u{202e}b.csv\"", CSV);
    let id = api.accepted(&api.upload("/v1/jobs", form(&[evil]).as_bytes(), "multipart/form-data; boundary=b"));
    let name = api.when(&id, "done")["name"].as_str().unwrap().to_owned();
    assert!(!name.contains('\u{202e}'), "{name:?}");
}

#[test]
fn rows_that_are_wrong_are_rows_with_a_fault() {
    let api = Api::start(Limits::default());
    let rows =
        "[5, null, {\"mail\": 7}, {\"email\": \"a@b.test\\r\\nDATA\"}, {\"email\": \"valid@sandbox.test\"}, [\"x\"]]";
    let id = api.accepted(&api.upload("/v1/jobs?column=email", rows.as_bytes(), "application/json"));
    api.when(&id, "done");
    let page = api.get(&format!("/v1/jobs/{id}/results")).json();
    let found: Vec<String> = labels(&page).into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(
        found,
        [
            "row_error",
            "row_error",
            "row_error",
            "syntax_line_break",
            "mailbox_exists",
            "row_error"
        ]
    );
}

#[test]
fn strange_ids_and_parameters_find_nothing() {
    let api = Api::start(Limits::default());
    let id = api.job(CSV);
    for (path, status) in [
        ("/v1/jobs/nothing1", 404),
        ("/v1/jobs/%00", 404),
        ("/v1/jobs/..%2f..%2fetc", 404),
        ("/v1/jobs/a'%20or%201=1--", 404),
        ("/v1/jobs?limit=101", 400),
        ("/v1/jobs?cursor=0", 400),
        ("/v1/jobs?tenant=two", 400),
    ] {
        assert_eq!(api.get(path).status, status, "{path}");
    }
    for query in [
        "?label=all",
        "?limit=0",
        "?cursor=x",
        "?limit=1&limit=1",
        "?address=a@b.test",
    ] {
        let answer = api.get(&format!("/v1/jobs/{id}/results{query}"));
        assert_eq!(answer.problem(), (400, "invalid_query".to_owned()), "{query}");
    }
    assert_eq!(api.get("/v1/reasons?x=1").status, 400);
}
