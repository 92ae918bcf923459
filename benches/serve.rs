//! The HTTP API: known answers against a bare responder that sends the same bytes, and single live answers against the SMTP dialogue
//! alone, in the same run.
//!
//! `cargo bench --bench serve -- --quick` sees that both answer, and skips the timing.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::allow_attributes,
    reason = "a measurement that meets the unexpected must stop; it dials only what it started"
)]

use std::{
    env,
    io::{self, Write},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::{Router, routing::post};
use presend::{
    job::{Engine, Stop},
    serve::{Limits, Sandbox, Server},
    store::{SqliteStore, Store},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    task::JoinSet,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: usize = 64;
const DIALOGUES: usize = 300;
const ADDRESS: &str = "valid@sandbox.test";

fn main() -> anyhow::Result<()> {
    let quick = env::args().any(|argument| argument == "--quick");
    let time = Duration::from_secs(if quick { 0 } else { 5 });
    let serving = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (presend, stop) = serving.block_on(serve())?;
    let asking = Builder::new_current_thread().enable_all().build()?;
    let known = json!({ "address": ADDRESS });
    let answer = asking.block_on(ask_once(presend, &known))?;
    let bare = serving.block_on(respond(answer.to_string()))?;

    let mut out = io::stdout();
    writeln!(
        out,
        "known answers, {CONNECTIONS} connections, client and server in one process\n"
    )?;
    writeln!(out, "{:>10}{:>14}{:>10}{:>10}", "", "requests/s", "p50 ms", "p99 ms")?;
    let request = request(&known);
    let (mut rates, rounds) = (Vec::new(), [("bare", bare), ("presend", presend)]);
    for (name, address) in rounds {
        let mut times = asking.block_on(load(address, &request, time))?;
        times.sort_unstable();
        let rate = times.len() as f64 / time.as_secs_f64().max(1e-3);
        let part = |share: f64| {
            ms(times
                .get((times.len() as f64 * share) as usize)
                .copied()
                .unwrap_or_default())
        };
        writeln!(out, "{name:>10}{rate:14.0}{:10.2}{:10.2}", part(0.5), part(0.99))?;
        rates.push(rate);
    }
    if let [bare, presend] = rates[..] {
        writeln!(out, "{:>10}{:14.2}\n", "ratio", presend / bare)?;
    }

    let rounds = if quick { 2 } else { DIALOGUES };
    let (alone, whole) = asking.block_on(dialogues(presend, rounds))?;
    writeln!(out, "live answers, one after the other; medians of {rounds}\n")?;
    writeln!(
        out,
        "{:>14}{:>14}{:>14}{:>10}",
        "dialogue ms", "answer ms", "overhead ms", "reach ms"
    )?;
    let (alone, whole) = (median(alone), median(whole));
    let over = ms(whole) - ms(alone);
    writeln!(out, "{:14.2}{:14.2}{over:14.2}{:10.1}", ms(alone), ms(whole), 2.0)?;
    stop.request();
    finish(serving);
    Ok(())
}

fn finish(runtime: Runtime) {
    runtime.shutdown_timeout(Duration::from_secs(5));
}

async fn serve() -> anyhow::Result<(SocketAddr, Stop)> {
    let sandbox = Sandbox::start().await?;
    let store = Arc::new(SqliteStore::private()?);
    let engine = Engine::start(sandbox.settings()?).await?;
    let engine = engine.with_store(Arc::clone(&store) as Arc<dyn Store>);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = Server::new(listener, engine, store, Limits::default())?;
    let (address, stop) = (server.address()?, Stop::new());
    let stopping = stop.clone();
    tokio::spawn(async move {
        let _sandbox = sandbox;
        server.run(stopping).await
    });
    Ok((address, stop))
}

/// A responder that does nothing but send the same answer.
async fn respond(answer: String) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router: Router = Router::new().route("/v1/verify", post(move |_: axum::body::Bytes| async move { answer }));
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            let _ = stream.set_nodelay(true);
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            let stream = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(stream, service));
        }
    });
    Ok(address)
}

fn request(body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST /v1/verify HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends a request and reads the answer's body.
async fn ask(stream: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) -> anyhow::Result<usize> {
    stream.write_all(request).await?;
    buffer.clear();
    loop {
        anyhow::ensure!(stream.read_buf(buffer).await? > 0, "the server closed the connection");
        let Some(head) = memchr::memmem::find(buffer, b"\r\n\r\n") else {
            continue;
        };
        let text = std::str::from_utf8(&buffer[..head])?;
        anyhow::ensure!(text.starts_with("HTTP/1.1 200"), "{text}");
        let mut lines = text.lines();
        let length = lines
            .find_map(|line| line.strip_prefix("content-length: "))
            .context("no length")?;
        let whole = head + 4 + length.parse::<usize>()?;
        if buffer.len() >= whole {
            return Ok(head + 4);
        }
    }
}

async fn ask_once(address: SocketAddr, body: &Value) -> anyhow::Result<Value> {
    let mut stream = TcpStream::connect(address).await?;
    let mut buffer = Vec::new();
    let start = ask(&mut stream, &request(body), &mut buffer).await?;
    Ok(serde_json::from_slice(&buffer[start..])?)
}

/// Asks over all connections for so long; how long each answer took.
async fn load(address: SocketAddr, request: &[u8], time: Duration) -> anyhow::Result<Vec<Duration>> {
    let mut clients = JoinSet::new();
    let until = Instant::now() + time;
    for _ in 0..CONNECTIONS {
        let request = request.to_vec();
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (mut times, mut buffer) = (Vec::new(), Vec::with_capacity(4096));
            loop {
                let began = Instant::now();
                ask(&mut stream, &request, &mut buffer).await?;
                times.push(began.elapsed());
                if Instant::now() >= until {
                    return anyhow::Ok(times);
                }
            }
        });
    }
    let mut all = Vec::new();
    while let Some(times) = clients.join_next().await {
        all.extend(times??);
    }
    Ok(all)
}

/// The time of the dialogue alone, said by a client that only counts lines, and of live answers; in turn.
async fn dialogues(server: SocketAddr, rounds: usize) -> anyhow::Result<(Vec<Duration>, Vec<Duration>)> {
    let body = json!({ "address": ADDRESS, "transcript": true });
    // The first knows nothing of the domain.
    ask_once(server, &body).await?;
    let said = ask_once(server, &body).await?;
    let dialogue = &said["transcript"][0];
    let host: SocketAddr = dialogue["peer"].as_str().context("a peer")?.parse()?;
    let bursts = bursts(dialogue["entries"].as_array().context("entries")?);
    let live = request(&json!({ "address": ADDRESS, "max_age": 0 }));
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let (mut alone, mut whole, mut buffer) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let began = Instant::now();
        talk(host, &bursts).await?;
        alone.push(began.elapsed());
        let began = Instant::now();
        ask(&mut stream, &live, &mut buffer).await?;
        whole.push(began.elapsed());
    }
    Ok((alone, whole))
}

/// What the client says in one go, and how many lines answer it; the first is the greeting.
fn bursts(entries: &[Value]) -> Vec<(String, usize)> {
    let mut all = vec![(String::new(), 0)];
    let mut answered = true;
    for entry in entries {
        let text = entry["text"].as_str().unwrap_or_default();
        match (entry["who"].as_str(), all.last_mut()) {
            (Some("client"), Some(last)) if !answered => last.0.extend([text, "\r\n"]),
            (Some("client"), _) => {
                all.push((format!("{text}\r\n"), 0));
                answered = false;
            }
            (Some("server"), Some(last)) => {
                last.1 += 1;
                answered = true;
            }
            _ => {}
        }
    }
    // QUIT is nobody's answer.
    all.pop();
    all
}

async fn talk(host: SocketAddr, bursts: &[(String, usize)]) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(4096);
    for (said, lines) in bursts {
        stream.write_all(said.as_bytes()).await?;
        buffer.clear();
        while memchr::memchr_iter(b'\n', &buffer).count() < *lines {
            anyhow::ensure!(
                stream.read_buf(&mut buffer).await? > 0,
                "the host closed the connection"
            );
        }
    }
    stream.write_all(b"QUIT\r\n").await?;
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median(mut rounds: Vec<Duration>) -> Duration {
    rounds.sort_unstable();
    rounds.get(rounds.len() / 2).copied().unwrap_or_default()
}
