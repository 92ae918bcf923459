//! A server that is killed while it takes a list, asks about it, or sends it: what it accepted is complete afterwards.

use std::{
    io::Read,
    net::{TcpListener as Listener, TcpStream},
    process::Child,
};

use super::*;
use crate::crash::{Net, WORLD};

/// A server as a process of its own, over a database that outlives it.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(net: &Net) -> Self {
        let address = Listener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = net.spawn(&["serve", "--bind", &address.to_string(), "--retry-ladder", "1s,2s,4s"]);
        let server = Self { child, address };
        let late = Instant::now() + Duration::from_secs(30);
        while agent().get(server.url("/readyz")).call().is_err() {
            assert!(Instant::now() < late, "the server does not start");
            std::thread::yield_now();
        }
        server
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn get(&self, path: &str, accept: &str) -> Answer {
        read(agent().get(self.url(path)).header("accept", accept).call())
    }

    fn jobs(&self) -> Vec<Value> {
        let page = self.get("/v1/jobs", "*/*").json();
        page["jobs"].as_array().unwrap().clone()
    }

    /// Sends a list; nothing when the server is killed meanwhile.
    fn upload(&self, path: &str, body: &[u8], key: &str) -> Option<Value> {
        let sent = agent()
            .post(self.url(path))
            .header("content-type", "text/csv")
            .header("idempotency-key", key)
            .send(body);
        let mut response = sent.ok()?;
        assert_eq!(response.status(), 202);
        serde_json::from_str(&response.body_mut().read_to_string().ok()?).ok()
    }

    fn until_done(&self, id: &str) -> Value {
        let late = Instant::now() + Duration::from_mins(1);
        loop {
            let job = self.get(&format!("/v1/jobs/{id}"), "*/*").json();
            if job["state"] == "done" {
                return job;
            }
            assert!(Instant::now() < late, "{job}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rows(count: usize) -> String {
    (0..count).fold("email\n".to_owned(), |list, number| {
        list + &format!("no address {number}\n")
    })
}

#[test]
fn p16_a_kill_during_an_upload_leaves_a_whole_job_or_none() {
    let net = Net::new(WORLD);
    let list = rows(20_000);
    // Cut off in the middle of the body.
    let server = Server::start(&net);
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/csv\r\nidempotency-key: cut\r\ncontent-length: {}\r\n\r\n",
        list.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&list.as_bytes()[..list.len() / 2]).unwrap();
    server.kill();
    let mut server = Server::start(&net);
    assert_eq!(server.jobs(), [Value::Null; 0]);
    let whole = server
        .upload("/v1/jobs?level=syntax", list.as_bytes(), "cut")
        .expect("the key is free again");
    assert_eq!(whole["rows"], 20_000);
    // At any moment of it.
    for (count, wait) in (2..).zip([0, 5, 15, 30, 60, 120]) {
        let key = format!("k{count}");
        let told = std::thread::scope(|scope| {
            let uploading = scope.spawn(|| server.upload("/v1/jobs?level=syntax", list.as_bytes(), &key));
            std::thread::sleep(Duration::from_millis(wait));
            let killed = std::process::Command::new("kill")
                .args(["-KILL", &server.child.id().to_string()])
                .status()
                .unwrap();
            assert!(killed.success());
            uploading.join().unwrap()
        });
        drop(server);
        server = Server::start(&net);
        let left = server.jobs();
        assert!([count - 1, count].contains(&left.len()), "{left:?}");
        assert!(left.iter().all(|job| job["rows"] == 20_000), "{left:?}");
        let again = server.upload("/v1/jobs?level=syntax", list.as_bytes(), &key).unwrap();
        if let Some(told) = told {
            assert_eq!(again["id"], told["id"], "what was accepted is there");
        }
        assert_eq!(server.jobs().len(), count, "one job for one key");
        server.until_done(again["id"].as_str().unwrap());
    }
    let left = net.place.run(&["jobs", "list", "--db", "jobs.db"]).out;
    assert!(left.contains("done") && !left.contains("importing"), "{left}");
}

#[test]
fn a_job_goes_on_after_a_kill_and_answers_every_row_once() {
    let list = "email\nuser0@plain.test\nuser1@plain.test\nuser0@grey.test\nuser1@slow.test\nuser2@slow.test\nx@all.test\nno address\n\
        user0@second.test\nUSER0@plain.test\n";
    let expected = [
        "valid",
        "invalid",
        "valid",
        "valid",
        "invalid",
        "catch-all",
        "invalid",
        "valid",
        "valid",
    ];
    let net = Net::new(WORLD);
    let mut server = Server::start(&net);
    let id = server.upload("/v1/jobs", list.as_bytes(), "k").unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let kills = 4;
    for wait in (0..kills).map(|kill| 60 * kill) {
        std::thread::sleep(Duration::from_millis(wait));
        server.kill();
        server = Server::start(&net);
    }
    let job = server.until_done(&id);
    assert_eq!((&job["answered"], &job["done"]), (&json!(9), &json!(9)), "{job}");
    let page = server.get(&format!("/v1/jobs/{id}/results"), "*/*").json();
    let found: Vec<String> = labels(&page).into_iter().map(|(label, _)| label).collect();
    assert_eq!(found, expected);
    assert_eq!(server.jobs().len(), 1);
    for (recipient, times) in net.asked() {
        let usual = if recipient.ends_with("@grey.test") { 2 } else { 1 };
        assert!(
            times <= usual + usize::try_from(kills).unwrap(),
            "{recipient} was asked {times} times"
        );
    }
}

#[test]
fn a_download_that_a_kill_cut_off_goes_on_by_its_cursor() {
    let net = Net::new(WORLD);
    let server = Server::start(&net);
    let list = rows(30_000);
    let id = server.upload("/v1/jobs?level=syntax", list.as_bytes(), "k").unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    server.until_done(&id);
    let place = format!("/v1/jobs/{id}/results");
    let mut response = agent()
        .get(server.url(&place))
        .header("accept", "application/x-ndjson")
        .call()
        .unwrap();
    let mut reader = response.body_mut().with_config().limit(1 << 30).reader();
    let mut got = vec![0; 300_000];
    reader.read_exact(&mut got).unwrap();
    server.kill();
    // Whatever was on its way still comes, and then an error: no end that looks like one.
    let ended = reader.read_to_end(&mut got);
    assert!(ended.is_err(), "a part must not look like the whole");
    let whole: Vec<&[u8]> = got
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line.ends_with(b"\n"))
        .collect();
    let server = Server::start(&net);
    let rest = server
        .get(&format!("{place}?cursor={}", whole.len()), "application/x-ndjson")
        .text;
    let all = server.get(&place, "application/x-ndjson").text;
    let strip = |line: &str| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        row["presend"]["checked_at"] = Value::Null;
        row
    };
    let first = whole.iter().map(|line| strip(std::str::from_utf8(line).unwrap()));
    let joined: Vec<Value> = first.chain(rest.lines().map(strip)).collect();
    assert!(
        whole.len() < 30_000 && joined.len() == 30_000,
        "{} and {}",
        whole.len(),
        joined.len()
    );
    assert!(joined.iter().eq(all.lines().map(strip).collect::<Vec<_>>().iter()));
}
