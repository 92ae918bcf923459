//! `--api`: a presend server asks; it is obeyed when it wants patience, and never taken for a pass when it is gone.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
    thread,
};

use super::{found, planted::Server};
use crate::cli::{Place, Ran, against_lab::Lab};

const WORLD: &str = r#"
[[host]]
name = "mx.known.example"
serves = ["known.example"]
mailboxes = ["jane", "joe"]
"#;

fn lint(place: &Place, url: &str, arguments: &[&str]) -> Ran {
    let all = ["lint", "-o", "jsonl", "--allow-special-use", "--api", url, "list.txt"];
    place.run(&[&all, arguments].concat())
}

#[test]
fn a_server_answers_a_hundred_at_a_time() {
    let server = Server::over(Lab::of(WORLD), "known.example");
    let place = Place::new();
    let rows: Vec<String> = (0..250).map(|number| format!("user{number}@known.example")).collect();
    let rows = rows.join("\n");
    place.write("list.txt", format!("jane@known.example\n{rows}\njoe@known.example\n"));
    let ran = lint(
        &place,
        &server.url,
        &[
            "--level",
            "smtp",
            "--max-invalid",
            "100%",
            "--max-bounces",
            "100%",
            "--no-wait",
        ],
    );
    assert!(ran.code == 0 || ran.code == 1, "{}", ran.err);
    let refused = found(&ran)
        .iter()
        .filter(|found| found.ends_with("mailbox-refused"))
        .count();
    assert_eq!(
        (refused, found(&ran).len()),
        (250, 250),
        "{}",
        ran.out.lines().last().unwrap()
    );
    let ran = lint(&place, &server.url, &[]);
    assert_eq!((ran.code, found(&ran).len()), (0, 0), "{}", ran.err);
}

/// A server that says these responses, one after the other, to one connection each; returns its address and what it was asked.
fn scripted(responses: Vec<String>) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let mut heard = Vec::new();
        for response in responses {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut request, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
                request.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            heard.push(format!("{request}{}", String::from_utf8(body).unwrap()));
            stream.write_all(response.as_bytes()).unwrap();
        }
        heard
    });
    (url, asked)
}

fn response(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}")
}

fn results(label: &str, reason: &str, kind: &str) -> String {
    format!("{{\"results\":[{{\"label\":\"{label}\",\"reason\":\"{reason}\",\"bounce\":{{\"kind\":\"{kind}\"}}}}]}}")
}

#[test]
fn patience_that_a_server_asks_for_is_given() {
    let place = Place::new();
    place.write("list.txt", "x@known.example\n");
    let so_far = results("unknown", "greylisted", "pending");
    let (url, asked) = scripted(vec![
        response("429 Too Many Requests", "retry-after: 0\r\n", "{}"),
        response(
            "202 Accepted",
            "retry-after: 0\r\nlocation: /v1/verifications/0123\r\n",
            &so_far,
        ),
        response(
            "202 Accepted",
            "retry-after: 0\r\nlocation: http://elsewhere.example/v1\r\n",
            &so_far,
        ),
        response("200 OK", "", &results("invalid", "no_such_domain", "hard")),
    ]);
    let mut command = place.command(&["lint", "-o", "jsonl", "--allow-special-use", "--api", &url, "list.txt"]);
    let ran = Ran::from(command.env("PRESEND_API_KEY", "presend_key").output().unwrap());
    assert_eq!(
        (ran.code, found(&ran)),
        (1, vec!["1 no-such-domain".to_owned()]),
        "{}",
        ran.err
    );
    let asked = asked.join().unwrap();
    assert!(asked[0].starts_with("POST /v1/verify/batch "), "{}", asked[0]);
    assert!(asked[0].contains("\"level\": \"dns\""), "{}", asked[0]);
    assert!(
        asked
            .iter()
            .all(|asked| asked.to_lowercase().contains("authorization: bearer presend_key"))
    );
    assert!(asked[2].starts_with("GET /v1/verifications/0123 ") && asked[3].starts_with("GET /v1/verifications/0123 "));
}

#[test]
fn a_server_that_is_gone_is_3_and_one_that_refuses_is_2() {
    let place = Place::new();
    place.write("list.txt", "x@known.example\ny@@z\n");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let arguments = ["--max-invalid", "100%", "--max-bounces", "100%"];
    let ran = lint(&place, &nobody, &arguments);
    let expected = vec!["1 unknown".to_owned(), "2 syntax-fault".to_owned()];
    assert_eq!((ran.code, found(&ran)), (3, expected), "{}", ran.err);
    assert!(ran.err.contains("the presend server does not answer"), "{}", ran.err);
    // Not even when anything may stay unknown.
    assert_eq!(
        lint(&place, &nobody, &[&arguments[..], &["--max-unknown", "100%"]].concat()).code,
        3
    );
    let problem = "{\"detail\":\"This key is not known.\\u001b[31m\",\"code\":\"unauthorized\"}";
    let (url, asked) = scripted(vec![response("401 Unauthorized", "", problem)]);
    let ran = lint(&place, &url, &[]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("This key is not known. [31m (HTTP 401)"),
        "{}",
        ran.err
    );
    asked.join().unwrap();
    for url in ["http://presend.example.com", "presend.example.com"] {
        let mut command = place.command(&["lint", "--api", url, "list.txt"]);
        let ran = Ran::from(command.env("PRESEND_API_KEY", "k").output().unwrap());
        assert_eq!(ran.code, 2, "{url}: {}", ran.err);
    }
}

#[test]
fn whoever_is_interrupted_while_a_server_thinks_is_told_what_is_known() {
    for signal in ["-INT", "-TERM"] {
        let place = Place::new();
        place.write("list.txt", "x@known.example\ny@@z\n");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_presend"))
            .args([
                "lint",
                "-o",
                "jsonl",
                "--split",
                "--allow-special-use",
                "--api",
                &url,
                "list.txt",
            ])
            .current_dir(place.0.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It was asked, and never answers.
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 20]).unwrap();
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!(ran.code, 130, "{}", ran.err);
        assert!(ran.err.contains("stopping: "), "{}", ran.err);
        assert_eq!(found(&ran), ["1 unknown", "2 syntax-fault"], "{}", ran.err);
        assert!(ran.out.contains("\"reason\":\"interrupted\""), "{}", ran.out);
        assert!(ran.out.contains("\"exit_code\":130"), "{}", ran.out);
    }
}
