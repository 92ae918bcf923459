//! Mail hosts in memory: they follow a script, record every line with its time, and obey tokio's paused clock. What a verifier
//! must never do fails the test by itself.

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use presend::{
    lab::{Allowance, Monitor, Violations, complaints},
    net::{BoxFuture, Call, Dial, DialError, Stream},
    schedule::Limits,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

/// What a host does after a line.
pub(crate) enum Act {
    /// Says this; CRLF is added to each line.
    Say(String),
    /// Says these bytes as they are.
    Raw(Vec<u8>),
    /// Says this and closes.
    Bye(String),
    /// Closes without a word.
    Drop,
    /// Says nothing.
    Hang,
}

pub(crate) fn say(text: &str) -> Act {
    Act::Say(text.to_owned())
}

/// One line of a client, and which connection it came on (from 0).
pub(crate) struct Heard<'a> {
    pub(crate) line: &'a str,
    pub(crate) connection: usize,
    /// Lines heard on this connection before.
    pub(crate) before: &'a [String],
}

impl Heard<'_> {
    /// The recipient of a RCPT.
    pub(crate) fn rcpt(&self) -> Option<&str> {
        self.line.strip_prefix("RCPT TO:<")?.strip_suffix('>')
    }
}

type Script = dyn Fn(&Heard<'_>) -> Option<Act> + Send + Sync;

/// A network of one host at every address.
#[derive(Clone)]
pub(crate) struct FakeNet {
    script: Arc<Script>,
    offers: &'static str,
    log: Arc<Mutex<Log>>,
    bursts: Arc<AtomicUsize>,
}

/// What the host saw.
struct Log {
    start: Instant,
    connections: Vec<Connection>,
    violations: Violations,
    /// By the address that was dialled: most refusals of one connection, and when each was.
    refused: BTreeMap<IpAddr, (u64, Vec<u64>)>,
    allowance: Option<Allowance>,
}

/// One connection as the host saw it.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) opened: Instant,
    pub(crate) lines: Vec<(Instant, String)>,
}

/// What these limits allow a client at a host that is not its own.
pub(crate) fn allowance(limits: &Limits) -> Allowance {
    Allowance {
        per_session: limits.refusals_per_session.into(),
        per_minute: limits.refusals_per_minute.into(),
        per_hour: limits.refusals_per_hour.into(),
    }
}

impl Drop for FakeNet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let found = {
            let log = self.log.lock().unwrap();
            let of = |most, at: &[u64]| complaints(log.violations, most, at, log.allowance);
            let by_host = log.refused.values().flat_map(|(most, at)| of(*most, at));
            of(0, &[]).into_iter().chain(by_host).collect::<Vec<_>>()
        };
        assert!(found.is_empty(), "{found:?}");
    }
}

impl FakeNet {
    /// A host that greets, takes EHLO and every command, unless `script` says otherwise. `offers` are EHLO keywords.
    pub(crate) fn new(
        offers: &'static str,
        script: impl Fn(&Heard<'_>) -> Option<Act> + Send + Sync + 'static,
    ) -> Self {
        Self {
            script: Arc::new(script),
            offers,
            log: Arc::new(Mutex::new(Log {
                start: Instant::now(),
                connections: Vec::new(),
                violations: Violations::default(),
                refused: BTreeMap::new(),
                allowance: Some(allowance(&Limits::POLITE)),
            })),
            bursts: Arc::default(),
        }
    }

    /// More refusals than these limits allow fail the test; without it, than the polite ones.
    pub(crate) fn allows(&self, limits: &Limits) {
        self.log.lock().unwrap().allowance = Some(allowance(limits));
    }

    pub(crate) fn connections(&self) -> Vec<Connection> {
        self.log.lock().unwrap().connections.clone()
    }

    /// Commands that lay there already when the one before them was about to be answered.
    pub(crate) fn bursts(&self) -> usize {
        self.bursts.load(Ordering::Relaxed)
    }

    /// Every line of every connection.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.connections()
            .into_iter()
            .flat_map(|connection| connection.lines)
            .map(|(_, line)| line)
            .collect()
    }

    /// Every recipient asked about, in order, with the time.
    pub(crate) fn recipients(&self) -> Vec<(Instant, String)> {
        let rcpt =
            |(at, line): (Instant, String)| Some((at, line.strip_prefix("RCPT TO:<")?.strip_suffix('>')?.to_owned()));
        self.connections()
            .into_iter()
            .flat_map(|connection| connection.lines)
            .filter_map(rcpt)
            .collect()
    }
}

impl Dial for FakeNet {
    fn dial<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        let number = {
            let connections = &mut self.log.lock().unwrap().connections;
            connections.push(Connection {
                opened: Instant::now(),
                lines: Vec::new(),
            });
            connections.len() - 1
        };
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(serve(self.clone(), (call.to.ip(), number), theirs));
        Box::pin(async move { Ok(Box::new(ours) as Box<dyn Stream>) })
    }
}

async fn serve(net: FakeNet, (ip, number): (IpAddr, usize), stream: tokio::io::DuplexStream) -> io::Result<()> {
    let mut wire = Wire {
        ip,
        stream,
        input: Vec::new(),
        monitor: Monitor::new(),
        log: Arc::clone(&net.log),
        refused: 0,
    };
    let mut before = Vec::new();
    let mut heard = Some(String::new());
    while let Some(line) = heard {
        let act = (net.script)(&Heard {
            line: &line,
            connection: number,
            before: &before,
        });
        let act = act.unwrap_or_else(|| default_answer(&line, net.offers));
        before.push(line);
        if !wire.input.is_empty() {
            net.bursts.fetch_add(1, Ordering::Relaxed);
        }
        match act {
            Act::Say(text) => wire.say(crlf(&text).as_bytes()).await?,
            Act::Raw(bytes) => wire.say(&bytes).await?,
            Act::Bye(text) => {
                wire.say(crlf(&text).as_bytes()).await?;
                return wire.drain().await;
            }
            Act::Drop => return Ok(()),
            Act::Hang => {}
        }
        heard = wire.line().await?;
        if let Some(line) = &heard {
            let mut log = net.log.lock().unwrap();
            log.connections[number].lines.push((Instant::now(), line.clone()));
        }
    }
    Ok(())
}

/// One connection, with the monitor between the host and the client.
struct Wire {
    ip: IpAddr,
    stream: tokio::io::DuplexStream,
    input: Vec<u8>,
    monitor: Monitor,
    log: Arc<Mutex<Log>>,
    refused: u32,
}

impl Wire {
    async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.monitor.said(bytes);
        self.report();
        self.stream.write_all(bytes).await
    }

    /// The next line without its end.
    async fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).into_owned();
                return Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()));
            }
            if self.read().await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn read(&mut self) -> io::Result<usize> {
        let count = self.stream.read_buf(&mut self.input).await?;
        let old = self.input.len() - count;
        self.monitor.heard(&self.input[old..]);
        self.report();
        Ok(count)
    }

    /// Whatever still comes must not come.
    async fn drain(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        while self.read().await? > 0 {}
        Ok(())
    }

    fn report(&mut self) {
        let mut log = self.log.lock().unwrap();
        log.violations.add(self.monitor.take());
        let at = u64::try_from(log.start.elapsed().as_micros()).unwrap();
        let (most, times) = log.refused.entry(self.ip).or_default();
        while self.refused < self.monitor.refused() {
            self.refused += 1;
            times.push(at);
        }
        *most = (*most).max(self.refused.into());
    }
}

fn crlf(text: &str) -> String {
    text.lines().flat_map(|line| [line, "\r\n"]).collect()
}

/// The empty line stands for the connection itself: the greeting.
fn default_answer(line: &str, offers: &str) -> Act {
    match line.split([' ', ':']).next().unwrap_or_default() {
        "" => say("220 mx.fake.test ESMTP"),
        "EHLO" if offers.is_empty() => say("250 mx.fake.test"),
        "EHLO" => {
            let words: Vec<&str> = std::iter::once("mx.fake.test").chain(offers.split(';')).collect();
            let (last, others) = words.split_last().unwrap();
            let others: String = others.iter().flat_map(|word| ["250-", word, "\n"]).collect();
            Act::Say(format!("{others}250 {last}"))
        }
        "QUIT" => Act::Bye("221 2.0.0 Bye".into()),
        _ => say("250 2.0.0 Ok"),
    }
}

/// A host with mailboxes: everything else is refused as unknown.
pub(crate) fn mailboxes(known: &'static [&'static str]) -> impl Fn(&Heard<'_>) -> Option<Act> + Send + Sync {
    move |heard| {
        let rcpt = heard.rcpt()?;
        (!known.contains(&rcpt)).then(|| say(&format!("550 5.1.1 <{rcpt}>: Recipient address rejected: User unknown")))
    }
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_mins(1);
