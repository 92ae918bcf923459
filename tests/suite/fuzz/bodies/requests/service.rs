//! A service without a network: made-up routes and hosts, a private store, and its log.

use std::{
    cell::RefCell,
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode, header},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac as _};
use presend::{
    address::Domain,
    clock::SystemClock,
    dns::{Exchanger, MailRoute, Route},
    job::{Engine, EngineSeams, Settings},
    net::{BoxFuture, Call, Dial, DialError, Stream, vet},
    serve::{Bounces, Limits, Options, Proofs, Server},
    smtp::Identity,
    store::{SqliteStore, Store},
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex},
    net::TcpListener,
    runtime::{Builder, Runtime},
    time::timeout,
};
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt as _};

use super::super::assert_printable;

/// Inputs that one service answers: what they leave in its store must not slow the next ones down.
const SERVED: usize = 400;
/// For an answer, and for a job of a few rows.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer that is looked at.
const LARGEST: usize = 64 << 20;
const MAILGUN: &str = "key-123";
const POSTMARK: &str = "hook:long-password";
/// What stands before the point of a P-256 key in its DER form (RFC 5480).
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A request to be made.
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    /// What follows the path.
    pub(super) rest: String,
    pub(super) kind: &'static str,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) twice: bool,
    pub(super) proven: bool,
}

impl Asked {
    pub(super) fn get(path: &str, accept: &str) -> Self {
        Self {
            method: "GET".to_owned(),
            path: path.to_owned(),
            rest: String::new(),
            kind: "",
            headers: vec![("accept".to_owned(), accept.to_owned())],
            body: Vec::new(),
            twice: false,
            proven: false,
        }
    }

    /// Bytes of all that is sent.
    pub(super) fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        self.path.len() + self.rest.len() + self.body.len() + headers.sum::<usize>()
    }

    /// Whether it is answered once for each `Idempotency-Key`.
    pub(super) fn has_key(&self) -> bool {
        self.twice && self.method == "POST" && ["/v1/verify", "/v1/verify/batch", "/v1/jobs"].contains(&&*self.path)
    }

    fn set(&mut self, name: &str, value: String) {
        self.headers
            .retain(|(known, _)| !known.trim().eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value));
    }

    fn request(&self) -> Option<Request<Body>> {
        let target = format!("{}{}", self.path, self.rest);
        let mut request = Request::builder().method(self.method.as_bytes()).uri(target);
        for (name, value) in &self.headers {
            request = request.header(name.trim(), value.as_str());
        }
        let mut request = request.body(Body::from(self.body.clone())).ok()?;
        let headers = request.headers_mut();
        headers
            .entry(header::HOST)
            .or_insert_with(|| "localhost".parse().expect("a host"));
        if !self.kind.is_empty() {
            let kind = self.kind.parse().expect("a content type");
            headers.entry(header::CONTENT_TYPE).or_insert(kind);
        }
        Some(request)
    }
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("ASCII"))
    }
}

/// A server, and what runs it.
pub(super) struct Service {
    server: Server,
    runtime: Runtime,
    signs: EcdsaKeyPair,
    served: usize,
    keys: RefCell<u64>,
}

thread_local!(static SERVICE: RefCell<Option<Service>> = const { RefCell::new(None) });

/// Lends the service, which is made anew when it has served for long.
pub(super) fn with_service<T>(use_it: impl FnOnce(&Service) -> T) -> T {
    SERVICE.with_borrow_mut(|service| {
        if service.as_ref().is_none_or(|service| service.served >= SERVED) {
            *service = None;
            *service = Some(Service::new());
        }
        let service = service.as_mut().expect("it was made");
        service.served += 1;
        let _heard = log().dispatch.clone().set_default();
        use_it(service)
    })
}

impl Service {
    fn new() -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            // Threads that wait for the store write to the same log.
            .on_thread_start(|| std::mem::forget(log().dispatch.clone().set_default()))
            .build()
            .expect("a runtime");
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).expect("a key");
        let signs = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pair.as_ref(), &random).expect("a key");
        let key = BASE64_STANDARD.encode([&P256[..], signs.public_key().as_ref()].concat());
        let certificate = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(&certificate, include_bytes!("../../../../corpora/receive/sns.pem")).expect("a file");
        let proofs = Proofs::default()
            .ses(&[certificate.path().into()], Vec::new())
            .and_then(|proofs| proofs.sendgrid(&key))
            .and_then(|proofs| proofs.mailgun(MAILGUN).postmark(POSTMARK))
            .expect("keys");
        let server = runtime.block_on(serving(proofs));
        Self {
            server,
            runtime,
            signs,
            served: 0,
            keys: RefCell::new(0),
        }
    }

    /// Adds what only the service's own programs know: a key of the request, the proof of a sending service.
    pub(super) fn prepared(&self, mut asked: Asked) -> Asked {
        if asked.has_key() {
            let mut keys = self.keys.borrow_mut();
            *keys += 1;
            asked.set("idempotency-key", format!("key-{keys}"));
        }
        if asked.proven {
            match asked.path.as_str() {
                "/v1/receive/sendgrid" => self.sign(&mut asked),
                "/v1/receive/mailgun" => vouch(&mut asked),
                "/v1/receive/postmark" => {
                    asked.set("authorization", format!("Basic {}", BASE64_STANDARD.encode(POSTMARK)));
                }
                _ => {}
            }
        }
        asked
    }

    fn sign(&self, asked: &mut Asked) {
        let signed = [b"1700000000", asked.body.as_slice()].concat();
        let signature = self.signs.sign(&SystemRandom::new(), &signed).expect("a signature");
        asked.set("x-twilio-email-event-webhook-timestamp", "1700000000".to_owned());
        asked.set(
            "x-twilio-email-event-webhook-signature",
            BASE64_STANDARD.encode(signature),
        );
    }

    /// The answer; `None` for what is no request.
    pub(super) fn ask(&self, asked: &Asked) -> Option<Answer> {
        let request = asked.request()?;
        let answer = async {
            let response = self.server.answer(IpAddr::from(Ipv4Addr::LOCALHOST), request).await;
            let (parts, body) = response.into_parts();
            let body = to_bytes(body, LARGEST).await.expect("an answer to its end");
            Answer {
                status: parts.status,
                headers: parts.headers,
                body: body.to_vec(),
            }
        };
        let answer = self.runtime.block_on(async { timeout(PATIENCE, answer).await });
        Some(answer.expect("an answer in time"))
    }

    /// The job, when nothing more will come of it.
    pub(super) fn finished(&self, place: &str) -> Value {
        let began = std::time::Instant::now();
        loop {
            let answer = self.ask(&Asked::get(place, "application/json")).expect("a request");
            let job: Value = serde_json::from_slice(&answer.body).expect("JSON");
            if job["state"] != "queued" && job["state"] != "running" {
                return job;
            }
            assert!(began.elapsed() < PATIENCE, "{job}");
            let while_it_runs = async { tokio::time::sleep(Duration::from_millis(1)).await };
            self.runtime.block_on(while_it_runs);
        }
    }
}

/// No address is in the log, and nothing that acts in a terminal.
pub(super) fn assert_quiet() {
    let said = std::mem::take(&mut *lock(&log().said));
    let said = String::from_utf8(said).expect("UTF-8");
    assert!(!said.contains('@'), "{said}");
    for line in said.lines() {
        assert!(line.len() <= 2_000, "{} bytes in the log", line.len());
        assert_printable(line);
    }
}

/// Mailgun signs a time and a token inside of the body.
fn vouch(asked: &mut Asked) {
    let Ok(Value::Object(mut call)) = serde_json::from_slice(&asked.body) else {
        return;
    };
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    let time = now.as_secs().to_string();
    let token = now.as_nanos().to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(MAILGUN.as_bytes()).expect("any key");
    mac.update(format!("{time}{token}").as_bytes());
    let signature = format!("{:x}", mac.finalize().into_bytes());
    call.insert(
        "signature".to_owned(),
        json!({ "timestamp": time, "token": token, "signature": signature }),
    );
    asked.body = Value::Object(call).to_string().into_bytes();
}

async fn serving(proofs: Proofs) -> Server {
    let identity = Identity::new("probe.example.org", "check@example.org").expect("an identity");
    let settings = Settings {
        trusted: vec!["test".into()],
        ..Settings::for_lab(identity, Vec::new(), 25)
    };
    let seams = EngineSeams {
        route: Arc::new(World),
        dial: Arc::new(World),
        clock: Arc::new(SystemClock),
    };
    let store = Arc::new(SqliteStore::private().expect("a database"));
    let engine = Engine::with_seams(settings, seams).expect("settings");
    let engine = engine.with_store(Arc::clone(&store) as Arc<dyn Store>);
    let limits = Limits {
        wait: Duration::from_secs(5),
        max_rows: 20_000,
        max_upload: 1 << 20,
        ..Limits::default()
    };
    let options = Options {
        bounces: Bounces {
            proofs,
            ..Bounces::default()
        },
        ..Options::default()
    };
    // Nobody connects to it.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
    Server::with_options(listener, engine, store, limits, options).expect("a server")
}

/// Every name below `test` has one mail host, `null.test` none on purpose; nothing else exists.
struct World;

impl Route for World {
    fn route<'a>(&'a self, domain: &'a Domain) -> BoxFuture<'a, Arc<MailRoute>> {
        let name = domain.as_str();
        let route = if name == "null.test" {
            MailRoute::NullMx
        } else if name.rsplit('.').next() == Some("test") {
            let ip = IpAddr::from(Ipv4Addr::new(8, 8, 8, 8));
            MailRoute::Exchangers(vec![Exchanger {
                host: "mx.one.test".into(),
                preference: 10,
                backup: false,
                addresses: vec![vet(ip, false).expect("public")],
            }])
        } else {
            MailRoute::NoSuchDomain
        };
        Box::pin(async move { Arc::new(route) })
    }
}

impl Dial for World {
    fn dial<'a>(&'a self, _call: Call<'a>) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        let (ours, theirs) = duplex(16 * 1024);
        tokio::spawn(host(theirs));
        Box::pin(async move { Ok(Box::new(ours) as Box<dyn Stream>) })
    }
}

/// Knows whoever begins with `a`, has no time for those with `b`, and says odd things about those with `c`.
async fn host(stream: DuplexStream) -> Option<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mx.one.test\r\n").await.ok()?;
    let mut line = String::new();
    while stream.read_line(&mut line).await.ok()? > 0 {
        let said: &[u8] = match line.split(':').nth(1).filter(|_| line.starts_with("RCPT")) {
            Some(to) if to.starts_with("<a") => b"250 2.1.5 Ok\r\n",
            Some(to) if to.starts_with("<b") => b"451 4.7.1 Try again later\r\n",
            Some(to) if to.starts_with("<c") => b"550-\x1b[31m\r\n550 5.7.1 =cmd \xe2\x80\xae\xff\r\n",
            Some(_) => b"550 5.1.1 No such user\r\n",
            None if line.starts_with("EHLO") => b"250-mx.one.test\r\n250 PIPELINING\r\n",
            None if line.starts_with("QUIT") => b"221 Bye\r\n",
            None => b"250 Ok\r\n",
        };
        stream.write_all(said).await.ok()?;
        line.clear();
    }
    Some(())
}

/// Everything that services of this process log.
struct Log {
    dispatch: tracing::Dispatch,
    said: Arc<Mutex<Vec<u8>>>,
}

fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let said = Arc::<Mutex<Vec<u8>>>::default();
        let writer = Writer(Arc::clone(&said));
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_env_filter(EnvFilter::new("presend=info"))
            .with_writer(move || writer.clone())
            .finish();
        Log {
            dispatch: subscriber.into(),
            said,
        }
    })
}

#[derive(Clone)]
struct Writer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
