//! What must be made once, and what must outlive a server.

use std::{io::Read, net::TcpStream};

use super::*;

fn post(api: &Api, (path, kind): (&str, &str), body: &[u8], (key, request): (Option<&str>, &str)) -> Answer {
    let mut sent = agent()
        .post(api.url(path))
        .header("content-type", kind)
        .header("idempotency-key", request);
    if let Some(key) = key {
        sent = sent.header("authorization", format!("Bearer {key}"));
    }
    read(sent.send(body))
}

#[test]
fn p16_a_request_that_comes_twice_makes_one_job() {
    let (ours, one) = key("one", "jobs,verify", None, None);
    let (theirs, two) = key("two", "jobs,verify", None, None);
    let api = Api::with_keys(Limits::default(), &[one, two]);
    let list = ("/v1/jobs?name=x", "text/csv");
    let first = post(&api, list, CSV.as_bytes(), (Some(&ours), "k-1"));
    let id = api.accepted(&first);
    for _ in 0..2 {
        let again = post(&api, list, CSV.as_bytes(), (Some(&ours), "k-1"));
        assert_eq!(api.accepted(&again), id);
        assert_eq!(
            (again.text.as_str(), again.header("idempotency-replayed")),
            (first.text.as_str(), "true")
        );
    }
    let mismatch = (422, "idempotency_mismatch".to_owned());
    for (place, body) in [
        (list, &CSV.as_bytes()[1..]),
        (("/v1/jobs?name=y", "text/csv"), CSV.as_bytes()),
        (("/v1/jobs?name=x", "text/plain"), CSV.as_bytes()),
        (
            ("/v1/verify", "application/json"),
            b"{\"address\":\"valid@sandbox.test\"}",
        ),
    ] {
        assert_eq!(
            post(&api, place, body, (Some(&ours), "k-1")).problem(),
            mismatch,
            "{place:?}"
        );
    }
    // Another tenant's key is another key, and another key is another job.
    assert_ne!(
        api.accepted(&post(&api, list, CSV.as_bytes(), (Some(&theirs), "k-1"))),
        id
    );
    assert_ne!(
        api.accepted(&post(&api, list, CSV.as_bytes(), (Some(&ours), "k-2"))),
        id
    );
    let page = api.get_as("/v1/jobs", Some(&ours)).json();
    assert_eq!(page["jobs"].as_array().unwrap().len(), 2);
    // A form is the same whatever its boundary is.
    let form = |boundary: &str| {
        let head = "content-disposition: form-data; name=\"file\"; filename=\"l.csv\"\r\ncontent-type: text/csv";
        let body = format!("--{boundary}\r\n{head}\r\n\r\n{CSV}\r\n--{boundary}--\r\n");
        let kind = format!("multipart/form-data; boundary={boundary}");
        api.accepted(&post(&api, ("/v1/jobs", &kind), body.as_bytes(), (Some(&ours), "form")))
    };
    assert_eq!(form("one"), form("two"));
    for wrong in ["", "a b", &"x".repeat(256)] {
        let refused = post(&api, list, CSV.as_bytes(), (Some(&ours), wrong));
        assert_eq!(refused.problem(), (400, "invalid_value".to_owned()), "{wrong}");
    }
}

#[test]
fn p16_what_failed_may_be_tried_again_with_the_same_key() {
    let api = Api::start(Limits::default());
    let list = ("/v1/jobs", "text/csv");
    assert_eq!(post(&api, list, b"name\n1\n", (None, "k")).status, 422);
    let id = api.accepted(&post(&api, list, CSV.as_bytes(), (None, "k")));
    assert_eq!(api.accepted(&post(&api, list, CSV.as_bytes(), (None, "k"))), id);
}

#[test]
fn p16_the_second_hears_that_the_first_is_under_way() {
    let api = Api::start(Limits::default());
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/csv\r\nidempotency-key: k\r\ncontent-length: {}\r\n\
        connection: close\r\n\r\nemail\n",
        CSV.len()
    );
    let hold = || {
        let mut holder = TcpStream::connect(api.address).unwrap();
        holder.write_all(head.as_bytes()).unwrap();
        while !api.get("/metrics").text.contains("requests_under_way 2") {
            std::thread::yield_now();
        }
        holder
    };
    let late = Instant::now() + Duration::from_mins(2);
    // The other one may be the first of the two, and is a list that is refused: then both try again.
    let (holder, refused) = loop {
        let holder = hold();
        let refused = post(&api, ("/v1/jobs", "text/csv"), b"x", (None, "k"));
        if refused.status == 409 {
            break (holder, refused);
        }
        assert!(Instant::now() < late, "{refused:?}");
    };
    assert_eq!(refused.problem(), (409, "idempotency_in_progress".to_owned()));
    assert!(!refused.header("retry-after").is_empty());
    // The first one leaves without its end: the key is free again.
    drop(holder);
    loop {
        let answer = post(&api, ("/v1/jobs", "text/csv"), CSV.as_bytes(), (None, "k"));
        if answer.status == 202 {
            break;
        }
        assert!(answer.status == 409 && Instant::now() < late, "{answer:?}");
    }
}

#[test]
fn a_verification_is_answered_once_too() {
    let api = Api::start(Limits::default());
    let ask = |address: &str, wait: u32| {
        let body = json!({ "address": address, "wait_ms": wait }).to_string();
        post(&api, ("/v1/verify", "application/json"), body.as_bytes(), (None, "k"))
    };
    let first = ask("greylisted@sandbox.test", 100);
    assert_eq!(first.status, 202);
    let again = ask("greylisted@sandbox.test", 100);
    assert_eq!((again.status, again.text.as_str()), (202, first.text.as_str()));
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(
        ask("valid@sandbox.test", 100).problem(),
        (422, "idempotency_mismatch".to_owned())
    );
}

#[test]
fn a_restart_loses_no_job_no_verification_and_no_quota() {
    let (key, record) = key("one", "jobs,verify", None, Some("10/day"));
    let api = Api::with_keys(Limits::default(), &[record]);
    let place = |answer: &Answer| answer.header("location").to_owned();
    let asked = json!({ "address": "greylisted@sandbox.test", "wait_ms": 0 });
    let first = api.post_as("/v1/verify", &asked, Some(&key));
    let verification = place(&first);
    assert_eq!(first.status, 202);
    let list = "email\ngreylisted@sandbox.test\nvalid@sandbox.test\nanyone@greylisted.test\n";
    let running = place(&api.send("/v1/jobs", list.as_bytes(), "text/csv", Some(&key)));
    let kept = post(&api, ("/v1/jobs", "text/csv"), list.as_bytes(), (Some(&key), "k"));
    let store = Arc::clone(&api.store);
    drop(api);

    let api = Api::again(&store);
    let late = Instant::now() + Duration::from_secs(30);
    let final_answer = loop {
        let answer = api.get_as(&verification, Some(&key));
        if answer.status == 200 {
            break answer.json();
        }
        assert!(answer.status == 202 && Instant::now() < late, "{answer:?}");
    };
    assert_eq!(final_answer["label"], "valid", "{final_answer}");
    for job in [&running, &place(&kept)] {
        loop {
            let shown = api.get_as(job, Some(&key)).json();
            if shown["state"] == "done" {
                break;
            }
            assert!(Instant::now() < late, "{shown}");
        }
    }
    let again = post(&api, ("/v1/jobs", "text/csv"), list.as_bytes(), (Some(&key), "k"));
    assert_eq!(again.text, kept.text, "the key is remembered");
    // 1 + 3 + 3 of 10 are used up.
    let refused = api.send(
        "/v1/jobs",
        b"a@b.test\nb@b.test\nc@b.test\nd@b.test\n",
        "text/plain",
        Some(&key),
    );
    assert_eq!(refused.problem(), (429, "quota_exceeded".to_owned()));
    let rest = api.send("/v1/jobs", b"a@b.test\nb@b.test\nc@b.test\n", "text/plain", Some(&key));
    assert_eq!(rest.status, 202, "{rest:?}");
    drop(api);
    // Answered a server ago, and still there.
    let api = Api::again(&store);
    let answer = api.get_as(&verification, Some(&key));
    assert_eq!((answer.status, answer.json()), (200, final_answer));
    let told = store.happenings(0, 100).unwrap();
    let verified = told
        .iter()
        .filter(|told| told.kind.name() == "verification_done")
        .count();
    assert_eq!(verified, 1);
}

#[test]
fn a_slow_reader_is_let_go_of_and_holds_nobody_up() {
    let limits = Limits {
        timeout_body: Duration::from_millis(300),
        max_transfers: 2,
        ..Limits::default()
    };
    let api = Api::start(limits);
    let row = format!("{},{}\n", "x".repeat(40), "y".repeat(400));
    let list = format!("email,text\n{}", row.repeat(20_000));
    let id = api.accepted(&api.upload("/v1/jobs?level=syntax", list.as_bytes(), "text/csv"));
    api.when(&id, "done");
    let mut reader = TcpStream::connect(api.address).unwrap();
    let head = format!(
        "GET /v1/jobs/{id}/results HTTP/1.1\r\nhost: localhost\r\naccept: text/csv\r\nconnection: close\r\n\r\n"
    );
    reader.write_all(head.as_bytes()).unwrap();
    // It takes nothing; meanwhile the other place is free, and afterwards both are.
    let late = Instant::now() + Duration::from_mins(1);
    let place = format!("/v1/jobs/{id}/results");
    let whole = api.fetch(&place, "text/csv").text;
    assert_eq!(whole.lines().count(), 20_001);
    let mut said = Vec::new();
    std::thread::sleep(Duration::from_millis(600));
    let _ = reader.read_to_end(&mut said);
    assert!(
        said.len() < whole.len() && Instant::now() < late,
        "{} of {}",
        said.len(),
        whole.len()
    );
    assert!(!said.ends_with(b"0\r\n\r\n"), "a part must not look like the whole");
}
