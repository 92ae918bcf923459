//! The HTTP API over real connections on loopback, against the sandbox.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use presend::{
    job::{Engine, Stop},
    serve::{ApiKey, Limits, Options, Sandbox, Server},
    store::{KeyRecord, SqliteStore, Store},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};

mod answers;
mod bounces;
mod clients;
mod contract;
mod deploy;
mod hostile;
mod jobs;
mod keys;
mod program;
mod reach;
#[cfg(target_os = "linux")]
mod reload;
mod webhook;

/// A running server with a sandbox of its own; it stops when it is dropped.
struct Api {
    address: SocketAddr,
    store: Arc<SqliteStore>,
    stop: Stop,
    runtime: Option<Runtime>,
    serving: Option<tokio::task::JoinHandle<()>>,
}

/// A response, read.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status and code of a problem.
    fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status);
        assert_eq!(body["request_id"], self.header("x-request-id"));
        (self.status, body["code"].as_str().unwrap().to_owned())
    }
}

impl Api {
    fn start(limits: Limits) -> Self {
        Self::with_keys(limits, &[])
    }

    fn with_keys(limits: Limits, keys: &[KeyRecord]) -> Self {
        Self::with_options(limits, keys, Options::default())
    }

    fn with_options(limits: Limits, keys: &[KeyRecord], options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let store = Arc::new(SqliteStore::private().unwrap());
        for key in keys {
            store.add_key(key.clone()).unwrap();
        }
        Self::over(store, runtime, limits, options)
    }

    /// A server over what another one left.
    fn again(store: &Arc<SqliteStore>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Self::over(Arc::clone(store), runtime, Limits::default(), Options::default())
    }

    fn over(store: Arc<SqliteStore>, runtime: Runtime, limits: Limits, options: Options) -> Self {
        let stop = Stop::new();
        let (kept, stopping) = (Arc::clone(&store), stop.clone());
        let (address, serving) = runtime.block_on(async move {
            let sandbox = Sandbox::start().await.unwrap();
            let engine = Engine::start(sandbox.settings().unwrap()).await.unwrap();
            let engine = engine.with_store(Arc::clone(&kept) as Arc<dyn Store>);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let server = Server::with_options(listener, engine, kept, limits, options).unwrap();
            let address = server.address().unwrap();
            let serving = tokio::spawn(async move {
                let _sandbox = sandbox;
                server.run(stopping).await.unwrap();
            });
            (address, serving)
        });
        Self {
            address,
            store,
            stop,
            runtime: Some(runtime),
            serving: Some(serving),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn get(&self, path: &str) -> Answer {
        self.get_as(path, None)
    }

    fn get_as(&self, path: &str, key: Option<&str>) -> Answer {
        let mut request = agent().get(self.url(path));
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        read(request.call())
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_as(path, body, None)
    }

    fn post_as(&self, path: &str, body: &Value, key: Option<&str>) -> Answer {
        self.send(path, body.to_string().as_bytes(), "application/json", key)
    }

    fn send(&self, path: &str, body: &[u8], kind: &str, key: Option<&str>) -> Answer {
        let mut request = agent().post(self.url(path)).header("content-type", kind);
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        read(request.send(body))
    }

    /// The final answer about an address.
    fn verify(&self, body: &Value) -> Value {
        let answer = self.post("/v1/verify", body);
        let late = Instant::now() + Duration::from_secs(30);
        let mut answer = answer;
        let place = answer.header("location").to_owned();
        while answer.status == 202 {
            assert!(Instant::now() < late, "{answer:?}");
            answer = self.get(&place);
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stop.request();
        if let (Some(runtime), Some(serving)) = (self.runtime.take(), self.serving.take()) {
            let ended = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), serving).await });
            runtime.shutdown_background();
            if !std::thread::panicking() {
                ended.expect("the server stops").expect("in peace");
            }
        }
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_mins(1)))
        .proxy(None)
        .build()
        .new_agent()
}

fn read(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut response = result.unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response
            .body_mut()
            .with_config()
            .limit(1 << 30)
            .read_to_string()
            .unwrap(),
    }
}

/// A key of a tenant, and how it is kept.
fn key(tenant: &str, scopes: &str, rate: Option<&str>, quota: Option<&str>) -> (String, KeyRecord) {
    let key = ApiKey::generate().unwrap();
    let record = KeyRecord {
        id: key.id().to_owned(),
        name: tenant.to_owned(),
        tenant: tenant.to_owned(),
        hash: key.hash(),
        scopes: scopes.to_owned(),
        rate: rate.map(str::to_owned),
        quota: quota.map(str::to_owned),
        created_at: SystemTime::now(),
        revoked_at: None,
    };
    (key.reveal(), record)
}

fn ask(address: &str) -> Value {
    json!({ "address": address })
}

/// Writes bytes as they are and reads until the other side closes.
fn raw(api: &Api, chunks: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(api.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    for chunk in chunks {
        // The server may have closed already.
        if stream.write_all(chunk).is_err() {
            break;
        }
    }
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}
