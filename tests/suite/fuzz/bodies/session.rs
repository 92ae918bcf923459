//! Whole sessions with a mail host that says anything at all, from the first byte to the label.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use presend::{
    address::Domain,
    clock::SystemClock,
    dns::{Exchanger, MailRoute, Route},
    job::{Engine, EngineSeams, Outcome, Settings, Stop},
    net::{BoxFuture, Call, Dial, DialError, Stream, vet},
    replies::classify,
    smtp::{Identity, MAX_REPLY, ReplyReader, Stage, Timeouts},
    verdict::Label,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    runtime::Builder,
    time::{Instant, sleep},
};

use super::sinks;

/// Two connections with a retry each, and the control recipient's own.
const CONNECTIONS: usize = 8;
const ADDRESS: &str = "ann@one.test";

/// How the host behaves, by the first piece of the input.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent bits of the input")]
struct Manners {
    /// The script goes on in the next connection.
    goes_on: bool,
    /// A byte a second.
    slowly: bool,
    /// Silence at the end of the script, not the end of the connection.
    stays: bool,
    /// Everything in one write, as soon as there is a connection.
    at_once: bool,
}

/// One connection.
#[derive(Default)]
struct Heard {
    /// What we said.
    bytes: Vec<u8>,
    /// What the host said, as far as we took it.
    said: Vec<u8>,
}

#[derive(Clone)]
struct Host {
    manners: Manners,
    script: Arc<Vec<Vec<u8>>>,
    next: Arc<Mutex<usize>>,
    connections: Arc<Mutex<Vec<Heard>>>,
}

impl Dial for Host {
    fn dial<'a>(&'a self, _call: Call<'a>) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        let (ours, theirs) = duplex(4 * 1024);
        let number = {
            let mut connections = lock(&self.connections);
            connections.push(Heard::default());
            connections.len() - 1
        };
        tokio::spawn(self.clone().serve(theirs, number));
        Box::pin(async move { Ok(Box::new(ours) as Box<dyn Stream>) })
    }
}

impl Host {
    async fn serve(self, mut stream: DuplexStream, number: usize) {
        let mut place = 0;
        let mut buffer = [0; 2048];
        loop {
            while let Some(piece) = self.piece(&mut place) {
                if !self.say(&mut stream, &piece, number).await {
                    return;
                }
                if !self.manners.at_once {
                    break;
                }
            }
            if self.is_over(place) && !self.manners.stays {
                return;
            }
            match stream.read(&mut buffer).await {
                Ok(count @ 1..) => lock(&self.connections)[number]
                    .bytes
                    .extend_from_slice(&buffer[..count]),
                _ => return,
            }
        }
    }

    fn piece(&self, place: &mut usize) -> Option<Vec<u8>> {
        let mut next = lock(&self.next);
        let at = if self.manners.goes_on { &mut *next } else { place };
        let piece = self.script.get(*at).cloned();
        *at += 1;
        piece
    }

    fn is_over(&self, place: usize) -> bool {
        let at = if self.manners.goes_on { *lock(&self.next) } else { place };
        at > self.script.len()
    }

    async fn say(&self, stream: &mut DuplexStream, piece: &[u8], number: usize) -> bool {
        let size = if self.manners.slowly { 1 } else { 512 };
        for part in piece.chunks(size) {
            if self.manners.slowly {
                sleep(Duration::from_secs(1)).await;
            }
            if stream.write_all(part).await.is_err() {
                return false;
            }
            lock(&self.connections)[number].said.extend_from_slice(part);
        }
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The route of every domain: one public address.
pub(super) struct OneHost;

impl Route for OneHost {
    fn route<'a>(&'a self, _domain: &'a Domain) -> BoxFuture<'a, Arc<MailRoute>> {
        let ip = IpAddr::from(Ipv4Addr::new(8, 8, 8, 8));
        let route = MailRoute::Exchangers(vec![Exchanger {
            host: "mx.one.test".into(),
            preference: 10,
            backup: false,
            addresses: vec![vet(ip, false).expect("public")],
        }]);
        Box::pin(async move { Arc::new(route) })
    }
}

fn settings(pipelined: bool) -> Settings {
    Settings {
        trusted: if pipelined { vec!["test".into()] } else { Vec::new() },
        transcript: true,
        ..Settings::for_lab(
            Identity::new("probe.example.org", "check@example.org").expect("an identity"),
            Vec::new(),
            25,
        )
    }
}

/// Whatever the host says, we say seven verbs in whole lines, take no more than we can use, end in time, and call nobody valid or
/// invalid without the replies for it.
pub(super) fn body(bytes: &[u8]) -> bool {
    let mut pieces = super::pieces(bytes).into_iter();
    let mode = pieces
        .next()
        .and_then(|piece| piece.first().copied())
        .unwrap_or_default();
    let host = Host {
        manners: Manners {
            goes_on: mode & 1 != 0,
            slowly: mode & 2 != 0,
            stays: mode & 4 != 0,
            at_once: mode & 8 != 0,
        },
        script: Arc::new(pieces.map(<[u8]>::to_vec).collect()),
        next: Arc::default(),
        connections: Arc::default(),
    };
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let (outcome, took) = runtime.block_on(ask(host.clone(), mode & 16 != 0));
    drop(runtime);
    let connections = std::mem::take(&mut *lock(&host.connections));
    assert!(connections.len() <= CONNECTIONS, "{} connections", connections.len());
    let most = Timeouts::INTERACTIVE.session + Duration::from_secs(10);
    let count = u32::try_from(connections.len()).expect("few");
    assert!(took <= most * count.max(1), "{took:?} in {count} connections");
    for connection in &connections {
        polite(&connection.bytes);
        // What fits into the pipe was not taken by us.
        assert!(
            connection.said.len() <= 40 * MAX_REPLY,
            "{} bytes",
            connection.said.len()
        );
    }
    earned(&outcome, &connections);
    sinks::shown(&outcome);
    connections
        .iter()
        .any(|connection| contains(&connection.bytes, b"RCPT TO:<ann@one.test>"))
}

async fn ask(host: Host, pipelined: bool) -> (Outcome, Duration) {
    let seams = EngineSeams {
        route: Arc::new(OneHost),
        dial: Arc::new(host),
        clock: Arc::new(SystemClock),
    };
    let engine = Engine::with_seams(settings(pipelined), seams).expect("settings");
    let started = Instant::now();
    let outcomes = engine.check(&[ADDRESS.to_owned()], &Stop::new()).await.expect("memory");
    let [outcome] = <[Outcome; 1]>::try_from(outcomes).expect("one answer");
    (outcome, started.elapsed())
}

/// Whole lines, one CRLF each, of the seven verbs that presend may say; until TLS begins.
fn polite(heard: &[u8]) {
    let clear = match heard.windows(10).position(|bytes| bytes == b"STARTTLS\r\n") {
        Some(at) if heard.get(at + 10) == Some(&0x16) => &heard[..at + 10],
        _ => heard,
    };
    let text = std::str::from_utf8(clear).expect("ASCII in these dialogues");
    assert!(text.is_empty() || text.ends_with("\r\n"), "{text:?}");
    for line in text.split_terminator("\r\n") {
        assert!(!line.contains(['\r', '\n', '\0']) && line.len() <= 510, "{line:?}");
        let verb = line.split([' ', ':']).next().unwrap_or_default();
        assert!(
            ["EHLO", "HELO", "STARTTLS", "MAIL", "RCPT", "RSET", "QUIT"].contains(&verb),
            "said {line:?}"
        );
    }
    assert!(text.matches("RCPT TO:").count() <= 4, "{text}");
}

/// `valid` needs an acceptance and a refused stranger, `invalid` a refusal of the recipient.
fn earned(outcome: &Outcome, connections: &[Heard]) {
    let asked = |name: &[u8]| connections.iter().any(|connection| contains(&connection.bytes, name));
    let (mut accepted, mut dead) = (false, false);
    for connection in connections {
        let mut reader = ReplyReader::default();
        reader.buffer().extend_from_slice(&connection.said);
        while let Ok(Some(reply)) = reader.next_reply() {
            accepted |= reply.code().is_positive();
            dead |= classify(Stage::Rcpt, &reply, None).dead_recipient().is_some();
        }
    }
    let label = outcome.verdict.label;
    let earned = match label {
        Label::Valid => accepted && dead && asked(b"RCPT TO:<ann@one.test>"),
        Label::Invalid => dead && asked(b"RCPT TO:<ann@one.test>"),
        Label::CatchAll => accepted && asked(b"RCPT TO:<"),
        Label::Unknown => true,
    };
    assert!(earned, "{label:?} {:?}", outcome.verdict.reason);
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
