//! Lists: taken in every form, answered row by row, seen by their tenant only, made once for each key of a request.

mod hostile;
mod killed;
mod once;

use std::io::Write as _;

use presend::store::{NewJob, Write};

use super::*;

/// A list of three rows and a broken one, in CSV.
const CSV: &str =
    "email,name\nvalid@sandbox.test,Ann\nnobody@sandbox.test,Bob\nno address,Cleo\nanyone@catch-all.test,Dan\n";

impl Api {
    fn upload(&self, path: &str, body: &[u8], kind: &str) -> Answer {
        self.send(path, body, kind, None)
    }

    /// The id of a job that was accepted.
    fn accepted(&self, answer: &Answer) -> String {
        assert_eq!(answer.status, 202, "{answer:?}");
        let job = answer.json();
        let id = job["id"].as_str().unwrap().to_owned();
        assert_eq!(answer.header("location"), format!("/v1/jobs/{id}"));
        assert_eq!(self.address.ip().to_string(), "127.0.0.1");
        id
    }

    /// Makes a job of a CSV list.
    fn job(&self, list: &str) -> String {
        self.accepted(&self.upload("/v1/jobs", list.as_bytes(), "text/csv"))
    }

    /// The job, once it is in this state.
    fn when(&self, id: &str, state: &str) -> Value {
        let late = Instant::now() + Duration::from_secs(30);
        loop {
            let job = self.get(&format!("/v1/jobs/{id}")).json();
            if job["state"] == state {
                return job;
            }
            assert!(Instant::now() < late, "{job}");
            std::thread::yield_now();
        }
    }

    fn fetch(&self, path: &str, accept: &str) -> Answer {
        read(agent().get(self.url(path)).header("accept", accept).call())
    }

    fn act(&self, path: &str) -> Answer {
        read(agent().post(self.url(path)).send_empty())
    }

    fn delete(&self, path: &str) -> Answer {
        read(agent().delete(self.url(path)).call())
    }
}

/// Label and reason of each result of a page.
fn labels(page: &Value) -> Vec<(String, String)> {
    let text = |result: &Value, key: &str| result["presend"][key].as_str().unwrap().to_owned();
    let results = page["results"].as_array().unwrap().iter();
    results
        .map(|result| (text(result, "label"), text(result, "reason")))
        .collect()
}

fn expected() -> Vec<(String, String)> {
    [
        ("valid", "mailbox_exists"),
        ("invalid", "mailbox_unknown"),
        ("invalid", "syntax_no_at_sign"),
        ("catch-all", "accepts_all"),
    ]
    .map(|(label, reason)| (label.to_owned(), reason.to_owned()))
    .to_vec()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn workbook() -> Vec<u8> {
    let mut book = rust_xlsxwriter::Workbook::new();
    let sheet = book.add_worksheet();
    for (row, line) in (0..).zip(CSV.lines()) {
        for (column, cell) in (0..).zip(line.split(',')) {
            sheet.write_string(row, column, cell).unwrap();
        }
    }
    book.save_to_buffer().unwrap()
}

const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

#[test]
fn a_list_is_taken_in_every_form() {
    let api = Api::start(Limits::default());
    let addresses: Vec<&str> = CSV
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap())
        .collect();
    let array = json!(addresses).to_string();
    let objects: Vec<Value> = addresses.iter().map(|one| json!({ "id": 1, "mail": one })).collect();
    let lines: String = objects
        .iter()
        .fold(String::new(), |lines, one| format!("{lines}{one}\n"));
    let form = |kind: &str, name: &str, list: &str| {
        format!(
            "--b\r\ncontent-disposition: form-data; name=\"column\"\r\n\r\nemail\r\n--b\r\ncontent-disposition: form-data; \
            name=\"file\"; filename=\"{name}\"\r\ncontent-type: {kind}\r\n\r\n{list}\r\n--b--\r\n"
        )
        .into_bytes()
    };
    let multipart = "multipart/form-data; boundary=b";
    for (kind, body, query) in [
        ("application/json", array.clone().into_bytes(), ""),
        (
            "application/json",
            json!(objects).to_string().into_bytes(),
            "?column=mail",
        ),
        ("application/json", gzip(array.as_bytes()), ""),
        ("application/x-ndjson", lines.into_bytes(), ""),
        ("text/csv", CSV.as_bytes().to_vec(), "?column=1&header=true"),
        ("text/csv; charset=utf-8", gzip(CSV.as_bytes()), ""),
        ("text/tab-separated-values", CSV.replace(',', "\t").into_bytes(), ""),
        ("text/plain", addresses.join("\n").into_bytes(), ""),
        ("application/octet-stream", CSV.as_bytes().to_vec(), ""),
        (XLSX, workbook(), "?sheet=1"),
        (multipart, form("text/csv", "leads.csv", CSV), ""),
        (multipart, form("application/x-unknown", "leads.csv", CSV), ""),
    ] {
        let answer = api.upload(&format!("/v1/jobs{query}"), &body, kind);
        let id = api.accepted(&answer);
        assert_eq!(answer.json()["rows"], 4, "{kind}");
        api.when(&id, "done");
        let page = api.get(&format!("/v1/jobs/{id}/results")).json();
        assert_eq!(labels(&page), expected(), "{kind}: {page}");
    }
}

#[test]
fn a_job_tells_how_far_it_is_and_what_would_bounce() {
    let api = Api::start(Limits::default());
    let answer = api.upload("/v1/jobs?name=spring&level=smtp&max_age=60", CSV.as_bytes(), "text/csv");
    let id = api.accepted(&answer);
    let job = api.when(&id, "done");
    for (member, value) in [
        ("name", json!("spring")),
        ("origin", json!("api")),
        ("rows", json!(4)),
        ("done", json!(4)),
        ("unique", json!(3)),
        ("answered", json!(4)),
        ("level", json!("smtp")),
        ("max_age", json!(60)),
        ("by_label", json!({ "valid": 1, "catch-all": 1, "invalid": 2 })),
        ("by_action", json!({ "send": 1, "hold": 1, "drop": 2 })),
        ("forecast", json!({ "bounce_rate": 0.5, "bounce_rate_if_sent": 0.0 })),
        ("eta", Value::Null),
    ] {
        assert_eq!(job[member], value, "{member}: {job}");
    }
    assert_eq!(job["by_reason"]["mailbox_exists"], 1);
    let syntax = api.accepted(&api.upload("/v1/jobs?level=syntax", CSV.as_bytes(), "text/csv"));
    let job = api.when(&syntax, "done");
    assert_eq!(
        job["by_reason"],
        json!({ "level_stop": 3, "syntax_no_at_sign": 1 }),
        "{job}"
    );
    // A job is done a moment before its place is free.
    let late = Instant::now() + Duration::from_secs(30);
    loop {
        let metrics = api.get("/metrics").text;
        if metrics.contains("presend_jobs_running 0") && metrics.contains("presend_jobs_queued 0") {
            break;
        }
        assert!(Instant::now() < late, "{metrics}");
        std::thread::yield_now();
    }
}

#[test]
fn pages_show_each_row_once_and_filters_leave_rows_out() {
    let api = Api::start(Limits::default());
    let id = api.job(CSV);
    api.when(&id, "done");
    let pages = |query: &str| {
        let (mut found, mut cursor, mut sizes) = (Vec::new(), String::new(), Vec::new());
        loop {
            let page = api.get(&format!("/v1/jobs/{id}/results?{query}{cursor}")).json();
            sizes.push(page["results"].as_array().unwrap().len());
            found.extend(labels(&page));
            assert_eq!(page["complete"], true);
            let Some(next) = page["next"].as_str() else {
                return (found, sizes);
            };
            cursor = format!("&cursor={next}");
        }
    };
    assert_eq!(pages("limit=1"), (expected(), vec![1, 1, 1, 1]));
    assert_eq!(pages("limit=3"), (expected(), vec![3, 1]));
    let some = |wanted: &[usize]| {
        wanted
            .iter()
            .map(|index| expected()[*index].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(pages("limit=1&label=invalid").0, some(&[1, 2]));
    assert_eq!(pages("action=hold").0, some(&[3]));
    assert_eq!(pages("label=invalid&action=send").0, some(&[]));
    let past = api.get(&format!("/v1/jobs/{id}/results?cursor=4000000000")).json();
    assert_eq!((&past["results"], &past["next"]), (&json!([]), &Value::Null));
}

#[test]
fn the_whole_list_comes_in_the_form_that_is_wanted() {
    let api = Api::start(Limits::default());
    let id = api.job(CSV);
    api.when(&id, "done");
    let place = format!("/v1/jobs/{id}/results");
    let csv = api.fetch(&place, "text/csv");
    assert!(csv.header("content-disposition").contains(&format!("presend-{id}.csv")));
    let lines: Vec<&str> = csv.text.lines().collect();
    assert!(
        lines.len() == 5 && lines[0].starts_with("email,name,presend_label,"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("valid@sandbox.test,Ann,valid,"), "{lines:?}");
    let ndjson = api.fetch(&place, "application/x-ndjson");
    let rows: Vec<Value> = ndjson
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        rows[3]["row"],
        json!({ "email": "anyone@catch-all.test", "name": "Dan" })
    );
    let rest = api.fetch(&format!("{place}?cursor=3"), "application/x-ndjson");
    assert_eq!(
        rest.text.lines().next(),
        ndjson.text.lines().nth(3),
        "a cut-off download goes on"
    );
    let some = api
        .fetch(&format!("{place}?label=invalid&action=drop"), "text/csv")
        .text;
    assert_eq!(some.lines().count(), 3, "{some}");
    let mut book = agent().get(api.url(&place)).header("accept", XLSX).call().unwrap();
    assert_eq!(book.headers()["content-type"], XLSX);
    let book = book.body_mut().read_to_vec().unwrap();
    assert!(book.starts_with(b"PK"));
    let refused = api.fetch(&format!("{place}?limit=1"), "text/csv");
    assert_eq!(refused.problem(), (400, "invalid_query".to_owned()));
}

/// Reads events until one of this kind is there: (kind, id, data).
fn events(api: &Api, id: &str, last: Option<&str>, until: &str) -> Vec<(String, String, Value)> {
    use std::io::BufRead;
    let mut request = agent().get(api.url(&format!("/v1/jobs/{id}/events")));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let mut response = request.call().unwrap();
    assert_eq!(response.status(), 200, "{response:?}");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut events = Vec::new();
    let (mut kind, mut number) = (String::new(), String::new());
    for line in std::io::BufReader::new(response.body_mut().as_reader()).lines() {
        let line = line.unwrap();
        match line.split_once(": ") {
            Some(("event", said)) => said.clone_into(&mut kind),
            Some(("id", said)) => said.clone_into(&mut number),
            Some(("data", said)) => {
                events.push((kind.clone(), number.clone(), serde_json::from_str(said).unwrap()));
            }
            _ if line.is_empty() && kind == until => break,
            _ => {}
        }
    }
    events
}

#[test]
fn events_tell_each_result_once_and_go_on_where_they_were_cut_off() {
    let api = Api::start(Limits::default());
    let id = api.job("email\nvalid@sandbox.test\nno address\ngreylisted@sandbox.test\nnobody@sandbox.test\n");
    let first = events(&api, &id, None, "result");
    assert_eq!(first.last().map(|(_, id, _)| id.as_str()), Some("1"), "{first:?}");
    assert_eq!(first[0].0, "progress", "who comes hears at once how it is: {first:?}");
    let rest = events(&api, &id, Some("1"), "end");
    let results: Vec<(&str, &str)> = rest
        .iter()
        .filter(|(kind, ..)| kind == "result")
        .map(|(_, id, data)| (id.as_str(), data["presend"]["label"].as_str().unwrap()))
        .collect();
    assert_eq!(results, [("2", "invalid"), ("3", "valid"), ("4", "invalid")]);
    let (kind, _, job) = rest.last().unwrap();
    assert_eq!(
        (kind.as_str(), &job["state"], &job["answered"]),
        ("end", &json!("done"), &json!(4))
    );
    // Of a job that is done everything comes at once.
    assert_eq!(events(&api, &id, None, "end").len(), 5);
    for wrong in ["x", "-1", "99999999999"] {
        let answer = read(
            agent()
                .get(api.url(&format!("/v1/jobs/{id}/events")))
                .header("last-event-id", wrong)
                .call(),
        );
        assert_eq!(answer.problem(), (400, "invalid_value".to_owned()));
    }
}

#[test]
fn a_stream_says_something_when_nothing_happens_and_ends_with_the_server() {
    let limits = Limits {
        heartbeat: Duration::from_millis(50),
        ..Limits::default()
    };
    let api = Api::start(limits);
    let id = api.job("email\nanyone@greylisted.test\n");
    assert_eq!(api.act(&format!("/v1/jobs/{id}/pause")).json()["state"], "paused");
    let mut response = agent().get(api.url(&format!("/v1/jobs/{id}/events"))).call().unwrap();
    let mut reader = response.body_mut().as_reader();
    let (mut said, mut piece) = (String::new(), [0; 512]);
    while !said.contains("\n:\n\n:\n") {
        let read = std::io::Read::read(&mut reader, &mut piece).unwrap();
        assert!(read > 0, "{said}");
        said += std::str::from_utf8(&piece[..read]).unwrap();
    }
    api.stop.request();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut reader, &mut rest).unwrap();
}

#[test]
fn a_key_that_is_revoked_hears_nothing_more() {
    let (key, record) = key("one", "jobs", None, None);
    let limits = Limits {
        heartbeat: Duration::from_millis(50),
        max_streams: 1,
        ..Limits::default()
    };
    let api = Api::with_keys(limits, std::slice::from_ref(&record));
    let slow = b"email\nanyone@greylisted.test\n";
    let id = api.accepted(&api.send("/v1/jobs", slow, "text/csv", Some(&key)));
    let place = format!("/v1/jobs/{id}/events");
    let watch = || {
        let request = agent().get(api.url(&place));
        request.header("authorization", format!("Bearer {key}")).call()
    };
    let mut stream = watch().unwrap();
    assert_eq!(read(watch()).problem(), (429, "too_many_streams".to_owned()));
    assert!(api.store.revoke_key(&record.id).unwrap());
    let mut said = String::new();
    std::io::Read::read_to_string(&mut stream.body_mut().as_reader(), &mut said).unwrap();
    assert!(
        said.starts_with("event: progress") && !said.contains("event: end"),
        "{said}"
    );
}

#[test]
fn a_job_waits_goes_on_is_given_up_and_deleted() {
    let api = Api::start(Limits::default());
    let slow = "email\nvalid@sandbox.test\nanyone@greylisted.test\nuser@timeout.test\n";
    let id = api.job(slow);
    api.when(&id, "running");
    let paused = api.act(&format!("/v1/jobs/{id}/pause"));
    assert_eq!((paused.status, &paused.json()["state"]), (200, &json!("paused")));
    assert_eq!(api.act(&format!("/v1/jobs/{id}/pause")).json()["state"], "paused");
    // What is known is shown, up to the first open row, and a download has them all.
    let page = api.get(&format!("/v1/jobs/{id}/results")).json();
    let known = page["results"].as_array().unwrap().len();
    assert!(known < 3 && page["complete"] == false, "{page}");
    assert_eq!(page["next"], known.to_string());
    assert_eq!(
        api.fetch(&format!("/v1/jobs/{id}/results"), "application/x-ndjson")
            .text
            .lines()
            .count(),
        3
    );
    let resumed = api.act(&format!("/v1/jobs/{id}/resume"));
    assert!(["queued", "running"].contains(&resumed.json()["state"].as_str().unwrap()));
    api.when(&id, "done");
    assert_eq!(
        api.act(&format!("/v1/jobs/{id}/cancel")).problem(),
        (409, "job_ended".to_owned())
    );
    assert_eq!(
        api.act(&format!("/v1/jobs/{id}/resume")).problem(),
        (409, "job_ended".to_owned())
    );

    // Nobody is answered by what is known from the first one.
    let again = || api.accepted(&api.upload("/v1/jobs?max_age=0", slow.as_bytes(), "text/csv"));
    let other = again();
    assert_eq!(
        api.act(&format!("/v1/jobs/{other}/cancel")).json()["state"],
        "cancelled"
    );
    assert_eq!(api.act(&format!("/v1/jobs/{other}/cancel")).status, 200);
    let page = api.get(&format!("/v1/jobs/{other}/results")).json();
    assert_eq!(
        (page["results"].as_array().unwrap().len(), &page["complete"]),
        (3, &json!(true))
    );

    let third = again();
    for gone in [&id, &other, &third] {
        assert_eq!(api.delete(&format!("/v1/jobs/{gone}")).status, 204);
        let missing = api.get(&format!("/v1/jobs/{gone}"));
        assert_eq!(missing.problem(), (404, "not_found".to_owned()));
        assert_eq!(api.delete(&format!("/v1/jobs/{gone}")).status, 404);
    }
    assert_eq!(api.get("/v1/jobs").json(), json!({ "jobs": [], "next": null }));
    let told: Vec<_> = api
        .store
        .happenings(0, 100)
        .unwrap()
        .into_iter()
        .map(|told| (told.kind.name(), told.subject))
        .collect();
    for (kind, job) in [("job_started", &id), ("job_done", &id), ("job_cancelled", &other)] {
        assert!(told.contains(&(kind, job.clone())), "{told:?}");
    }
}

#[test]
fn only_so_many_run_and_the_others_wait_their_turn() {
    let limits = Limits {
        max_running: 1,
        max_jobs: 3,
        ..Limits::default()
    };
    let api = Api::start(limits);
    let slow = "email\nanyone@greylisted.test\n";
    let ids: Vec<String> = (0..3).map(|_| api.job(slow)).collect();
    let refused = api.upload("/v1/jobs", slow.as_bytes(), "text/csv");
    assert_eq!(refused.problem(), (429, "too_many_jobs".to_owned()));
    api.when(&ids[0], "running");
    assert_eq!(api.get(&format!("/v1/jobs/{}", ids[1])).json()["state"], "queued");
    assert!(api.get("/metrics").text.contains("presend_jobs_queued 2"));
    // Newest first, in pages.
    let first = api.get("/v1/jobs?limit=2").json();
    let next = first["next"].as_str().unwrap();
    let second = api.get(&format!("/v1/jobs?limit=2&cursor={next}")).json();
    let listed: Vec<&Value> = [&first, &second]
        .iter()
        .flat_map(|page| page["jobs"].as_array().unwrap())
        .map(|job| &job["id"])
        .collect();
    assert_eq!(listed, [&json!(ids[2]), &json!(ids[1]), &json!(ids[0])]);
    assert_eq!(second["next"], Value::Null);
    for id in &ids {
        api.when(id, "done");
    }
}

#[test]
fn p11_a_job_is_its_tenants_and_nobody_elses() {
    let (ours, one) = key("one", "jobs", None, None);
    let (theirs, two) = key("two", "jobs", None, None);
    let (operator, three) = key("three", "jobs,admin", None, None);
    let (narrow, four) = key("one", "verify", None, None);
    let api = Api::with_keys(Limits::default(), &[one, two, three, four]);
    let made = api.send("/v1/jobs", CSV.as_bytes(), "text/csv", Some(&ours));
    let id = api.accepted(&made);
    // One of the command line, in the same database.
    let line = NewJob {
        source: "leads.csv".to_owned(),
        settings: "{}".to_owned(),
        layout: "{\"columns\":[\"email\"]}".to_owned(),
    };
    let lease = api.store.create(&line).unwrap();
    api.store.imported(&lease, 0, b"x").unwrap();
    let state = presend::store::JobState::Open;
    api.store.submit(Write::Job {
        lease: lease.clone(),
        summary: "{}".to_owned(),
        state,
        released: true,
    });
    api.store.flush().blocking_recv().unwrap().unwrap();
    // And a question about one address, which is no list.
    api.store.create(&NewJob::unlisted()).unwrap();

    let listed = |key: &str| -> Vec<String> {
        let page = api.get_as("/v1/jobs", Some(key)).json();
        let jobs = page["jobs"].as_array().unwrap();
        jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed(&ours), std::slice::from_ref(&id));
    assert_eq!(listed(&theirs), [""; 0]);
    assert_eq!(listed(&operator), std::slice::from_ref(&lease.id));
    let send = |method: &str, path: &str, key: &str| {
        let key = format!("Bearer {key}");
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(api.url(path))
            .header("authorization", key);
        read(agent().run(request.body(()).unwrap()))
    };
    for stranger in [&theirs, &operator] {
        for (method, what) in [
            ("GET", ""),
            ("GET", "/results"),
            ("GET", "/events"),
            ("POST", "/cancel"),
            ("POST", "/pause"),
            ("POST", "/resume"),
            ("DELETE", ""),
        ] {
            let answer = send(method, &format!("/v1/jobs/{id}{what}"), stranger);
            assert_eq!(answer.problem(), (404, "not_found".to_owned()), "{method} {what}");
        }
    }
    assert_eq!(
        send("GET", "/v1/jobs", &narrow).problem(),
        (403, "forbidden".to_owned())
    );
    assert_eq!(send("GET", &format!("/v1/jobs/{}", lease.id), &ours).status, 404);
    let line = format!("/v1/jobs/{}", lease.id);
    let shown = send("GET", &line, &operator).json();
    assert_eq!(
        (&shown["origin"], &shown["name"]),
        (&json!("command_line"), &json!("leads.csv"))
    );
    assert_eq!(
        send("POST", &format!("{line}/resume"), &operator).problem(),
        (409, "job_busy".to_owned())
    );
    assert_eq!(
        send("POST", &format!("{line}/cancel"), &operator).json()["state"],
        "cancelled"
    );
}
