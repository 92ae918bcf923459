//! Requests to `presend serve`, answered in process: every route with bodies, parameters and headers of a stranger.
//!
//! There is no network: routes and mail hosts are made up here.

mod service;

use axum::http::StatusCode;
use presend::serve::Code;
use serde_json::Value;

use self::service::{Answer, Asked, assert_quiet, with_service};
use super::sinks;

/// Requests of one input.
const MOST: usize = 4;
/// Bytes of a problem, whatever was asked.
const LARGEST_PROBLEM: usize = 2_500;

/// Routes by the first byte of a request; the last takes method and path from the input.
const ROUTES: [(&str, &str); 22] = [
    ("POST", "/v1/verify"),
    ("POST", "/v1/verify/batch"),
    ("POST", "/v1/jobs"),
    ("POST", "/v1/classify"),
    ("POST", "/v1/suppressions"),
    ("DELETE", "/v1/suppressions"),
    ("POST", "/v1/suppressions/lookup"),
    ("POST", "/v1/events"),
    ("POST", "/v1/receive/ses"),
    ("POST", "/v1/receive/sendgrid"),
    ("POST", "/v1/receive/mailgun"),
    ("POST", "/v1/receive/postmark"),
    ("GET", "/v1/jobs"),
    ("GET", "JOB"),
    ("GET", "JOB/results"),
    ("GET", "JOB/events"),
    ("POST", "JOB/cancel"),
    ("POST", "JOB/pause"),
    ("POST", "JOB/resume"),
    ("GET", "/v1/suppressions"),
    ("GET", "/v1/verifications"),
    ("", ""),
];

/// Content types by the second byte.
const KINDS: [&str; 10] = [
    "application/json",
    "application/x-ndjson",
    "text/csv",
    "text/tab-separated-values",
    "text/plain",
    "multipart/form-data; boundary=B",
    "application/octet-stream",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/gzip",
    "",
];
/// And with these bits: sent twice with an `Idempotency-Key`; proven to be of the sending service.
const TWICE: u8 = 0x80;
const PROVEN: u8 = 0x40;

/// Every request is answered, never with a fault of ours; a problem is one of the known ones and short; what is accepted twice is
/// done once; nothing acts in a terminal; no address is in the log.
pub(super) fn body(bytes: &[u8]) -> bool {
    let pieces = super::pieces(bytes);
    with_service(|service| {
        let mut taken = false;
        let mut job = None;
        for request in pieces.chunks(2).take(MOST) {
            let (head, body) = (request[0], request.get(1).copied().unwrap_or_default());
            let Some(asked) = asked(head, body, job.as_deref()) else {
                continue;
            };
            let asked = service.prepared(asked);
            let Some(answer) = service.ask(&asked) else { continue };
            sound(&asked, &answer);
            taken |= answer.status.is_success();
            if asked.twice
                && let Some(again) = service.ask(&asked)
            {
                sound(&asked, &again);
                once(&asked, &answer, &again);
            }
            if asked.path == "/v1/jobs" && answer.status == StatusCode::ACCEPTED {
                let place = answer.header("location").to_owned();
                done(service, &place, body.len());
                job = Some(place);
            }
        }
        assert_quiet();
        taken
    })
}

/// What a head asks for: two bytes, what follows the path in a line, and lines of headers.
fn asked(head: &[u8], body: &[u8], job: Option<&str>) -> Option<Asked> {
    let ([route, kind], text) = head.split_first_chunk::<2>()?;
    let (method, path) = ROUTES[usize::from(*route) % ROUTES.len()];
    let text = String::from_utf8_lossy(text);
    let mut lines = text.split('\n');
    let rest = lines.next().unwrap_or_default();
    let (method, path, rest) = if path.is_empty() {
        let (method, target) = rest.split_once(' ')?;
        (method, target, "")
    } else {
        (method, path, rest)
    };
    let headers = lines.filter_map(|line| line.split_once(':'));
    Some(Asked {
        method: method.to_owned(),
        path: path.replacen("JOB", job.unwrap_or("/v1/jobs/k7mqab2x"), 1),
        rest: rest.to_owned(),
        kind: KINDS[usize::from(kind & 0x3f) % KINDS.len()],
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect(),
        body: body.to_vec(),
        twice: kind & TWICE != 0,
        proven: kind & PROVEN != 0,
    })
}

/// What every answer keeps to.
fn sound(asked: &Asked, answer: &Answer) {
    let text = String::from_utf8_lossy(&answer.body);
    let status = answer.status;
    assert!(
        !status.is_server_error(),
        "{} {}: {status} {text}",
        asked.method,
        asked.path
    );
    let kind = answer.header("content-type");
    if status.is_client_error() {
        assert_eq!(kind, "application/problem+json", "{status} {text}");
        problem(status, answer);
    } else if kind == "application/json" && asked.path != "/openapi.json" {
        let value: Value = serde_json::from_slice(&answer.body).expect("JSON");
        match value["results"].as_array() {
            // Beside the caller's own cells, which come back as they were.
            Some(rows) if asked.path.ends_with("/results") => {
                for row in rows {
                    sinks::strings(&row["presend"]);
                }
            }
            _ => sinks::strings(&value),
        }
    }
    if asked.method != "GET" {
        let most = 4_096 + 1_024 * asked.size();
        assert!(
            answer.body.len() <= most,
            "{} bytes of {}",
            answer.body.len(),
            asked.size()
        );
    }
}

fn problem(status: StatusCode, answer: &Answer) {
    let size = answer.body.len();
    assert!(size <= LARGEST_PROBLEM, "a problem of {size} bytes");
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let name = body["code"].as_str().expect("a code");
    let code = Code::ALL.iter().find(|code| code.name() == name).expect("a known code");
    assert_eq!(code.status(), status, "{name}");
    assert_eq!(body["status"], status.as_u16());
    assert_eq!(body["title"], code.title());
    assert_eq!(body["type"], format!("urn:presend:problem:{name}"));
    assert_eq!(body["request_id"], answer.header("x-request-id"));
    let detail = body["detail"].as_str().expect("a detail");
    assert!(!detail.is_empty() && detail.chars().count() <= 300, "{detail}");
    sinks::strings(&body);
}

/// The second of two equal requests changes nothing.
fn once(asked: &Asked, first: &Answer, second: &Answer) {
    assert_eq!(first.status, second.status, "{} {}", asked.method, asked.path);
    let read = |answer: &Answer| -> Value { serde_json::from_slice(&answer.body).unwrap_or_default() };
    let (one, two) = (read(first), read(second));
    if !first.status.is_success() {
        assert_eq!(one["code"], two["code"]);
    } else if asked.has_key() {
        assert_eq!(first.body, second.body);
        assert_eq!(first.header("location"), second.header("location"));
        assert_eq!(second.header("idempotency-replayed"), "true");
    } else if asked.method == "POST" && one.get("new").is_some() {
        assert_eq!(two["new"], 0, "{one}, then {two}");
        let count = |value: &Value| {
            value["new"]
                .as_u64()
                .zip(value["known"].as_u64())
                .map(|(new, known)| new + known)
        };
        assert_eq!(count(&one), count(&two), "{one}, then {two}");
    }
}

/// A job comes to its end, and its rows can be fetched in every form.
fn done(service: &service::Service, place: &str, size: usize) {
    let job = service.finished(place);
    assert_eq!(job["state"], "done", "{job}");
    let rows = usize::try_from(job["rows"].as_u64().expect("a number")).expect("few rows");
    let get = |path: &str, accept: &str| {
        let asked = Asked::get(&format!("{place}{path}"), accept);
        let answer = service.ask(&asked).expect("a request");
        assert_eq!(answer.status, StatusCode::OK, "{path} {accept}");
        let most = 16_384 + 2_048 * rows + 16 * rows * 300 + 64 * size;
        assert!(answer.body.len() <= most, "{} bytes of {rows} rows", answer.body.len());
        String::from_utf8(answer.body).expect("UTF-8")
    };
    let page: Value = serde_json::from_str(&get("/results?limit=1000", "application/json")).expect("JSON");
    let results = page["results"].as_array().expect("results");
    assert_eq!(results.len(), rows.min(1000));
    for result in results {
        sinks::strings(&result["presend"]);
    }
    let lines = get("/results", "application/x-ndjson");
    assert_eq!(lines.split_terminator('\n').count(), rows, "{lines:?}");
    assert!(!get("/results", "text/csv").is_empty());
    let events = get("/events", "text/event-stream");
    assert!(events.contains("event: end\n"), "{events:?}");
    assert!(!events.contains(|c: char| c < ' ' && c != '\n'), "{events:?}");
}
