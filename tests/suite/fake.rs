//! Mail hosts in memory: they follow a script, record every line with its time, and obey tokio's paused clock.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use presend::net::{BoxFuture, Call, Dial, DialError, Stream};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
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
    log: Arc<Mutex<Vec<Connection>>>,
    bursts: Arc<AtomicUsize>,
}

/// One connection as the host saw it.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) opened: Instant,
    pub(crate) lines: Vec<(Instant, String)>,
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
            log: Arc::default(),
            bursts: Arc::default(),
        }
    }

    pub(crate) fn connections(&self) -> Vec<Connection> {
        self.log.lock().unwrap().clone()
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

    /// Fails if anything but the seven permitted verbs was said.
    pub(crate) fn assert_verbs(&self) {
        for line in self.lines() {
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_owned();
            assert!(
                ["EHLO", "HELO", "STARTTLS", "MAIL", "RCPT", "RSET", "QUIT"].contains(&&*verb),
                "said {line}"
            );
        }
    }
}

impl Dial for FakeNet {
    fn dial<'a>(&'a self, _call: Call<'a>) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        let number = {
            let mut log = self.log.lock().unwrap();
            log.push(Connection {
                opened: Instant::now(),
                lines: Vec::new(),
            });
            log.len() - 1
        };
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(serve(self.clone(), number, theirs));
        Box::pin(async move { Ok(Box::new(ours) as Box<dyn Stream>) })
    }
}

async fn serve(net: FakeNet, number: usize, stream: tokio::io::DuplexStream) -> io::Result<()> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut lines = BufReader::new(reader).lines();
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
        if !lines.get_ref().buffer().is_empty() {
            net.bursts.fetch_add(1, Ordering::Relaxed);
        }
        match act {
            Act::Say(text) => writer.write_all(crlf(&text).as_bytes()).await?,
            Act::Raw(bytes) => writer.write_all(&bytes).await?,
            Act::Bye(text) => {
                writer.write_all(crlf(&text).as_bytes()).await?;
                return Ok(());
            }
            Act::Drop => return Ok(()),
            Act::Hang => {}
        }
        heard = lines.next_line().await?;
        if let Some(line) = &heard {
            net.log.lock().unwrap()[number]
                .lines
                .push((Instant::now(), line.clone()));
        }
    }
    Ok(())
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
