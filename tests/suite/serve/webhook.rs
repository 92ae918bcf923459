//! Webhooks over real sockets: signed, tried again, sent to nobody but vetted addresses, and not lost by a kill.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use presend::serve::WebhookOptions;
use sha2::Sha256;

use super::{
    program::{presend, start},
    *,
};

/// A request as it arrived.
#[derive(Debug)]
struct Heard {
    line: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Heard {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Checks the signature as a receiver does.
    fn is_signed_by(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        let (id, time) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        mac.update(format!("{id}.{time}.{}", self.body).as_bytes());
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        now.abs_diff(time.parse().unwrap()) < 60 && self.header("webhook-signature") == expected
    }
}

trait Both: Read + Write + Send {}
impl<T: Read + Write + Send> Both for T {}

/// A receiver that answers its requests with these bytes, in turn; the last ones again and again.
struct Receiving {
    address: SocketAddr,
    heard: Receiver<Heard>,
    most_open: Arc<AtomicUsize>,
}

impl Receiving {
    fn start(answers: Vec<Vec<u8>>) -> Self {
        Self::over(answers, |stream| Some(Box::new(stream)))
    }

    fn over(answers: Vec<Vec<u8>>, wrap: impl Fn(TcpStream) -> Option<Box<dyn Both>> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, heard) = channel();
        let (open, most_open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let most = Arc::clone(&most_open);
        thread::spawn(move || {
            for (turn, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let Some(mut stream) = wrap(stream) else { continue };
                let Some(one) = read_request(&mut *stream) else {
                    continue;
                };
                if tell.send(one).is_err() {
                    return;
                }
                let answer = &answers[turn.min(answers.len() - 1)];
                thread::spawn({
                    let (answer, open) = (answer.clone(), Arc::clone(&open));
                    most.fetch_max(open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    move || {
                        answer_with(stream, &answer);
                        open.fetch_sub(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Self {
            address,
            heard,
            most_open,
        }
    }

    fn url(&self) -> String {
        format!("http://{}/hook?key=hidden", self.address)
    }

    fn next(&self) -> Heard {
        self.heard.recv_timeout(Duration::from_mins(1)).unwrap()
    }
}

/// An empty answer is none at all; one that ends with `...` never ends.
fn answer_with(mut stream: Box<dyn Both>, answer: &[u8]) {
    if answer.is_empty() {
        // It is open as long as the other side wants.
        let _ = stream.read(&mut [0]);
        return;
    }
    let (answer, endless) = answer
        .strip_suffix(b"...")
        .map_or((answer, false), |answer| (answer, true));
    let _ = stream.write_all(answer);
    while endless && stream.write_all(&[b'x'; 4096]).is_ok() {}
}

fn read_request(stream: &mut dyn Both) -> Option<Heard> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
            None => break,
        }
    }
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")?
        .1
        .parse()
        .ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Heard {
        line: line.trim_end().to_owned(),
        headers,
        body: String::from_utf8(body).ok()?,
    })
}

fn status(status: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").into_bytes()
}

fn lab() -> Options {
    Options {
        webhooks: WebhookOptions {
            allow_http: true,
            allow_special_use: true,
            timeout: Duration::from_secs(1),
            first_pause: Duration::from_millis(50),
            ..WebhookOptions::default()
        },
        ..Options::default()
    }
}

/// Something happens to a verification that has a webhook.
fn happens(database: &std::path::Path, subject: &str, (url, secret): (&str, Option<&[u8]>)) {
    let database = rusqlite::Connection::open(database).unwrap();
    database.busy_timeout(Duration::from_secs(20)).unwrap();
    let sql = "INSERT INTO webhook (subject, tenant, url, secret, created_at) VALUES (?1, 'local', ?2, ?3, ?4)";
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let now = i64::try_from(now).unwrap();
    database
        .execute(sql, rusqlite::params![subject, url, secret, now])
        .unwrap();
    let sql =
        "INSERT INTO happening (at, tenant, kind, subject, body) VALUES (?1, 'local', 'verification_done', ?2, ?3)";
    let body = "{\"address\":\"jane@example.com\",\"label\":\"valid\"}";
    database.execute(sql, rusqlite::params![now, subject, body]).unwrap();
}

fn waiting(api: &Api, expected: (u64, u64)) {
    let late = Instant::now() + Duration::from_secs(20);
    while api.store.deliveries().unwrap() != expected {
        assert!(Instant::now() < late, "{:?}", api.store.deliveries());
        thread::yield_now();
    }
}

/// Waits until a number is at least as large.
fn counted(api: &Api, line: &str) {
    let (name, least) = line.rsplit_once(' ').unwrap();
    let least: u64 = least.parse().unwrap();
    let late = Instant::now() + Duration::from_secs(20);
    loop {
        let text = api.get("/metrics").text;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        if value.is_some_and(|value: u64| value >= least) {
            return;
        }
        assert!(Instant::now() < late, "{line}: {text}");
    }
}

#[test]
fn an_event_is_signed_and_sent_once() {
    let receiver = Receiving::start(vec![status("204 No Content")]);
    let api = Api::with_options(Limits::default(), &[], lab());
    happens(api.store.path(), "one", (&receiver.url(), None));
    let heard = receiver.next();
    assert_eq!(heard.line, "POST /hook?key=hidden HTTP/1.1");
    assert_eq!(heard.header("content-type"), "application/json");
    assert_eq!(heard.header("host"), receiver.address.to_string());
    let secret = api.get("/v1/webhooks/secret").json()["secret"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(heard.is_signed_by(&secret), "{heard:?}");
    let event = heard.json();
    assert_eq!(
        (&event["type"], &event["data"]["id"]),
        (&json!("verification.done"), &json!("one"))
    );
    assert_eq!(event["data"]["answer"]["label"], "valid");
    waiting(&api, (0, 0));
    let own = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    happens(api.store.path(), "two", (&receiver.url(), Some(&[0; 32])));
    let heard = receiver.next();
    assert!(heard.is_signed_by(own) && !heard.is_signed_by(&secret));
    assert!(receiver.heard.try_recv().is_err());
    counted(&api, "presend_webhooks_total{result=\"delivered\"} 2");
}

#[test]
fn a_late_answer_is_told() {
    let receiver = Receiving::start(vec![status("200 OK")]);
    let api = Api::with_options(Limits::default(), &[], lab());
    let webhook = json!({ "url": receiver.url() });
    let known = json!({ "address": "valid@sandbox.test", "webhook": webhook });
    assert_eq!(api.post("/v1/verify", &known).status, 200);
    let body = json!({ "address": "greylisted@sandbox.test", "wait_ms": 500, "webhook": webhook });
    let first = api.post("/v1/verify", &body);
    assert_eq!(first.status, 202);
    let heard = receiver.next();
    let event = heard.json();
    assert_eq!(event["type"], "verification.done");
    let place = first.header("location");
    assert!(
        place.ends_with(event["data"]["id"].as_str().unwrap()),
        "{place} {event}"
    );
    assert_eq!(event["data"]["answer"], api.get(place).json());
    assert_eq!(event["data"]["answer"]["label"], "valid");
    waiting(&api, (0, 0));
    assert!(
        receiver.heard.try_recv().is_err(),
        "what was answered at once is not told again"
    );
}

#[test]
fn a_list_tells_when_it_begins_and_when_it_is_done() {
    let receiver = Receiving::start(vec![status("200 OK")]);
    let api = Api::with_options(Limits::default(), &[], lab());
    let url = format!("/v1/jobs?webhook=http://{}/hook", receiver.address);
    let made = api.send(&url, b"email\nvalid@sandbox.test\n", "text/csv", None);
    assert_eq!(made.status, 202, "{made:?}");
    let id = made.json()["id"].clone();
    let events: Vec<Value> = (0..2).map(|_| receiver.next().json()).collect();
    let mut kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["job.done", "job.started"]);
    assert!(events.iter().all(|event| event["data"]["id"] == id), "{events:?}");
    let done = events.iter().find(|event| event["type"] == "job.done").unwrap();
    assert!(done["data"]["summary"].is_object(), "{done}");
    waiting(&api, (0, 0));
    for nowhere in ["http://0.0.0.0/", ""] {
        let place = format!("/v1/jobs?webhook={nowhere}");
        let refused = api.send(&place, b"a@b.test\n", "text/csv", None);
        assert_eq!(refused.problem(), (400, "invalid_value".to_owned()), "{nowhere}");
    }
}

#[test]
fn what_is_not_taken_is_sent_again_with_the_same_id() {
    let receiver = Receiving::start(vec![
        status("500 Broken"),
        status("302 Found\r\nlocation: http://127.0.0.1:1/elsewhere"),
        Vec::new(),
        b"HTTP/1.1 200 OK\r\nx: ...".to_vec(),
        b"nonsense\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\n\r\n...".to_vec(),
    ]);
    let api = Api::with_options(Limits::default(), &[], lab());
    happens(api.store.path(), "one", (&receiver.url(), None));
    let all: Vec<Heard> = (0..6).map(|_| receiver.next()).collect();
    for heard in &all {
        assert_eq!(
            (heard.header("webhook-id"), &heard.body),
            (all[0].header("webhook-id"), &all[0].body)
        );
    }
    waiting(&api, (0, 0));
    counted(&api, "presend_webhooks_total{result=\"failed\"} 5");
    // An endless body is not read.
    counted(&api, "presend_webhooks_total{result=\"delivered\"} 1");
}

#[test]
fn a_tenant_has_few_attempts_at_one_time() {
    let receiver = Receiving::start(vec![Vec::new()]);
    let mut options = lab();
    options.webhooks.give_up = Duration::ZERO;
    let api = Api::with_options(Limits::default(), &[], options);
    let subjects: Vec<String> = (0..16).map(|number| format!("subject {number}")).collect();
    for subject in &subjects {
        happens(api.store.path(), subject, (&receiver.url(), None));
    }
    for _ in &subjects {
        receiver.next();
    }
    waiting(&api, (0, 16));
    let most = receiver.most_open.load(Ordering::Relaxed);
    // The receiver sees the end of one a moment after the next has begun.
    assert!((2..8).contains(&most), "{most}");
}

#[test]
fn a_dead_target_is_given_up() {
    let gone = Receiving::start(vec![status("410 Gone")]);
    let dead = Receiving::start(vec![status("503 Never")]);
    let mut options = lab();
    options.webhooks.give_up = Duration::ZERO;
    let api = Api::with_options(Limits::default(), &[], options);
    for subject in ["one", "two", "three"] {
        happens(api.store.path(), subject, (&dead.url(), None));
    }
    waiting(&api, (0, 3));
    happens(api.store.path(), "four", (&gone.url(), None));
    waiting(&api, (0, 4));
    assert_eq!(dead.heard.try_iter().count(), 3);
    assert_eq!(gone.heard.try_iter().count(), 1);
}

#[test]
fn p13_no_event_goes_to_special_use_space() {
    let receiver = Receiving::start(vec![status("200 OK")]);
    let mut options = lab();
    options.webhooks.allow_special_use = false;
    let api = Api::with_options(Limits::default(), &[], options);
    for (url, words) in [
        ("http://169.254.169.254/latest/meta-data/", "link_local"),
        ("http://[::ffff:169.254.169.254]/", "link_local"),
        (&*receiver.url(), "loopback"),
        ("http://0x7f.1/", "loopback"),
        ("ftp://hooks.example.com/", "https"),
        ("http://me:you@hooks.example.com/", "login"),
        ("http://hooks.example.com:25/", "port"),
        ("http://hooks.example.com/\r\nx", ""),
    ] {
        let answer = api.post(
            "/v1/verify",
            &json!({ "address": "someone@greylisted.test", "wait_ms": 0, "webhook": { "url": url } }),
        );
        if words.is_empty() {
            assert_eq!(answer.status, 202, "line ends are no part of a URL");
            continue;
        }
        assert_eq!(answer.problem(), (400, "invalid_value".to_owned()), "{url}");
        let fault = &answer.json()["errors"][0];
        assert_eq!(fault["pointer"], "/webhook/url");
        assert!(fault["detail"].as_str().unwrap().contains(words), "{url}: {fault}");
    }
    // A name that led elsewhere when it was asked for, and a row that somebody wrote.
    happens(api.store.path(), "one", (&receiver.url(), None));
    happens(
        api.store.path(),
        "two",
        (&format!("http://sandbox.test:{}/", receiver.address.port()), None),
    );
    counted(&api, "presend_webhooks_total{result=\"failed\"} 4");
    assert!(receiver.heard.try_recv().is_err(), "nobody came");
}

#[test]
fn a_secret_is_read_or_refused() {
    let api = Api::with_options(Limits::default(), &[], lab());
    let asking = |webhook: Value| {
        let body = json!({ "address": "someone@greylisted.test", "wait_ms": 0, "webhook": webhook });
        api.post("/v1/verify", &body)
    };
    let url = "http://127.0.0.1:4999/";
    let good = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert_eq!(asking(json!({ "url": url, "secret": good })).status, 202);
    for (webhook, code, pointer) in [
        (
            json!({ "url": url, "secret": "short" }),
            "invalid_value",
            "/webhook/secret",
        ),
        (
            json!({ "url": url, "secret": "whsec_AAAA" }),
            "invalid_value",
            "/webhook/secret",
        ),
        (json!({ "url": url, "secret": 1 }), "wrong_type", "/webhook/secret"),
        (
            json!({ "url": url, "method": "GET" }),
            "unknown_field",
            "/webhook/method",
        ),
        (json!({}), "missing_field", "/webhook/url"),
        (json!(url), "wrong_type", "/webhook"),
    ] {
        let answer = asking(webhook.clone());
        assert_eq!(answer.problem(), (400, code.to_owned()), "{webhook}");
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{webhook}");
    }
    let (mine, a) = key("sales", "verify", None, None);
    let (theirs, b) = key("support", "verify", None, None);
    let api = Api::with_options(Limits::default(), &[a, b], lab());
    let secret = |key: &str| api.get_as("/v1/webhooks/secret", Some(key)).json()["secret"].clone();
    assert_eq!(secret(&mine), secret(&mine));
    assert_ne!(secret(&mine), secret(&theirs));
}

#[test]
fn events_go_by_tls_to_whom_a_believed_certificate_names() {
    let [made, other] = [(); 2].map(|()| rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap());
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let receiver = Receiving::over(vec![status("200 OK")], move |stream| {
        let session = rustls::ServerConnection::new(Arc::clone(&config)).ok()?;
        Some(Box::new(rustls::StreamOwned::new(session, stream)))
    });
    for (believed, expected) in [(&other, (0, 1)), (&made, (0, 0))] {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(believed.cert.der().clone()).unwrap();
        let mut options = lab();
        options.webhooks.roots = Some(roots);
        options.webhooks.give_up = Duration::ZERO;
        let api = Api::with_options(Limits::default(), &[], options);
        happens(
            api.store.path(),
            "one",
            (&format!("https://{}/", receiver.address), None),
        );
        waiting(&api, expected);
    }
    assert_eq!(receiver.heard.try_iter().count(), 1);
}

/// `presend serve` as a program, with a database that outlives it.
fn server(folder: &std::path::Path) -> std::process::Command {
    let mut command = presend(
        &[
            "serve",
            "--level",
            "syntax",
            "--bind",
            "127.0.0.1:0",
            "--allow-special-use",
        ],
        &folder.join("presend.db"),
    );
    command.args(["--webhook-allow-http", "--webhook-timeout", "1s"]);
    command
}

#[test]
fn a_kill_between_sending_and_the_answer_loses_no_event() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiving::start(vec![Vec::new(), status("200 OK")]);
    let (mut child, _log, _) = start(&mut server(folder.path()));
    happens(&folder.path().join("presend.db"), "one", (&receiver.url(), None));
    let first = receiver.next();
    child.kill().unwrap();
    child.wait().unwrap();
    let (mut child, mut log, _) = start(&mut server(folder.path()));
    let second = receiver.next();
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_eq!(first.body, second.body);
    let mut said = String::new();
    while !said.contains("delivered") {
        assert_ne!(log.read_line(&mut said).unwrap(), 0, "{said}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!said.contains("hidden") && !said.contains("jane"), "{said}");
    let database = rusqlite::Connection::open(folder.path().join("presend.db")).unwrap();
    let left: i64 = database
        .query_row("SELECT count(*) FROM delivery", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(folder.path().join("presend.db"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
