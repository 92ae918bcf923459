//! One connection: commands out through one buffer, replies in through the bounded reader, every wait under a deadline.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadBuf},
    time::{Instant, timeout_at},
};

use super::{
    Command, Entry, MalformedReply, Reply, Speaker, Transcript,
    reader::ReplyReader,
    reply::printable,
    tls::{self, TlsFault},
};
use crate::{net::Stream, stop::Stop};

/// Bytes asked from the socket at once: the replies to a burst, mostly.
const READ_CHUNK: usize = 2 * 1024;
/// Bytes of commands in one write, mostly.
const WRITE_CHUNK: usize = 2 * 1024;
/// Most transcript entries kept of one session.
const MAX_ENTRIES: usize = 2000;

/// How long we wait. RFC 5321 section 4.5.3.2 asks senders for five minutes; we send nothing and say so in the README.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the TCP connection.
    pub connect: Duration,
    /// For one whole reply, absolute: a host that sends a byte a second does not extend it.
    pub reply: Duration,
    /// For the whole session, absolute.
    pub session: Duration,
}

impl Timeouts {
    /// For lists: 30 s, 60 s, 180 s.
    pub const BULK: Self = Self {
        connect: Duration::from_secs(30),
        reply: Duration::from_mins(1),
        session: Duration::from_mins(3),
    };
    /// For a person who waits: 10 s, 15 s, 25 s.
    pub const INTERACTIVE: Self = Self {
        connect: Duration::from_secs(10),
        reply: Duration::from_secs(15),
        session: Duration::from_secs(25),
    };
    /// QUIT's reply is not needed; waiting a little lets the peer close first.
    pub(super) const QUIT: Duration = Duration::from_secs(2);
}

/// How long a reply may still take once the run was asked to stop.
const GRACE: Duration = Duration::from_secs(3);

/// What all sessions of a run cost together.
#[derive(Debug, Default)]
pub struct Tally {
    /// Connections that were opened.
    pub connections: AtomicU64,
    /// Commands that were sent.
    pub commands: AtomicU64,
}

/// Why a connection ended without a usable reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// The peer closed or reset the connection.
    #[error("the connection was closed")]
    Closed,
    /// Not one byte of the reply came in time.
    #[error("no reply in time")]
    Timeout,
    /// Bytes came, but the reply was not finished in time.
    #[error("the reply came too slowly")]
    Tarpit,
    /// What came is not a reply.
    #[error(transparent)]
    Malformed(#[from] MalformedReply),
    /// Bytes were there before we asked: replies and commands no longer match.
    #[error("the peer sent a reply that nobody asked for")]
    Desynchronised,
    /// The TLS handshake failed.
    #[error("the TLS handshake failed")]
    TlsBroken,
    /// Bytes followed the reply to STARTTLS in clear (RFC 3207 section 4.2, CVE-2011-0411).
    #[error("bytes were injected after STARTTLS")]
    TlsInjection,
    /// The greeting names ourselves.
    #[error("the peer greets with our own name")]
    Loop,
    /// A command could not be rendered; our own fault.
    #[error("a command could not be rendered")]
    Unsayable,
}

/// What is at the peer's end before we speak.
enum Unread {
    Nothing,
    Bytes,
    Closed,
}

/// A connection with its limits.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    reader: ReplyReader,
    out: Vec<u8>,
    started: Instant,
    deadline: Instant,
    timeouts: Timeouts,
    host: Arc<str>,
    peer: SocketAddr,
    entries: Option<Vec<Entry>>,
    tally: Arc<Tally>,
    stop: Stop,
}

/// What a wire is made of.
pub struct WireParts {
    /// The connected stream.
    pub stream: Box<dyn Stream>,
    /// MX host name, for TLS and transcripts.
    pub host: Arc<str>,
    /// Where it is connected to.
    pub peer: SocketAddr,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// Keep a transcript.
    pub transcript: bool,
    /// Where connections and commands are counted.
    pub tally: Arc<Tally>,
    /// The request to stop, which cuts waits short.
    pub stop: Stop,
}

impl Wire {
    pub(super) fn new(parts: WireParts) -> Self {
        let WireParts {
            stream,
            host,
            peer,
            timeouts,
            transcript,
            tally,
            stop,
        } = parts;
        tally.connections.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        let entries = transcript.then(Vec::new);
        let deadline = started + timeouts.session;
        let reader = ReplyReader::default();
        let mut wire = Self {
            stream,
            reader,
            out: Vec::with_capacity(WRITE_CHUNK),
            started,
            deadline,
            timeouts,
            host,
            peer,
            entries,
            tally,
            stop,
        };
        wire.note(&format!("connected to {peer}"));
        wire
    }

    /// Puts a command into the buffer.
    pub(super) fn queue(&mut self, command: Command<'_>) -> Result<(), Fault> {
        let start = self.out.len();
        command.render(&mut self.out).map_err(|_| Fault::Unsayable)?;
        self.tally.commands.fetch_add(1, Ordering::Relaxed);
        if self.entries.is_some() {
            let line = String::from_utf8_lossy(self.out.get(start..).unwrap_or_default())
                .trim_end()
                .to_owned();
            self.record(Speaker::Client, &line);
        }
        Ok(())
    }

    /// Writes the buffer in one go. Bytes that already wait to be read mean that replies and commands no longer match.
    pub(super) async fn flush(&mut self) -> Result<(), Fault> {
        match self.poll_unread() {
            Unread::Nothing => {}
            Unread::Closed => return Err(Fault::Closed),
            Unread::Bytes => {
                self.note("unexpected bytes before our command");
                return Err(self.explain_unread());
            }
        }
        let by = self.reply_deadline();
        let written = timeout_at(by, async {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await
        })
        .await;
        self.out.clear();
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Fault::Closed),
            Err(_) => Err(Fault::Timeout),
        }
    }

    /// Says one command and waits for its reply.
    pub(super) async fn ask(&mut self, command: Command<'_>) -> Result<Reply, Fault> {
        self.queue(command)?;
        self.flush().await?;
        self.reply().await
    }

    /// The next reply, whole, before the deadline.
    pub(super) async fn reply(&mut self) -> Result<Reply, Fault> {
        if let Some(reply) = self.buffered_reply()? {
            return Ok(reply);
        }
        let mut by = self.reply_deadline();
        let mut hurried = false;
        loop {
            let buffer = self.reader.buffer();
            buffer.reserve(READ_CHUNK);
            let read = tokio::select! {
                read = timeout_at(by, self.stream.read_buf(buffer)) => read,
                () = self.stop.requested(), if !hurried => {
                    hurried = true;
                    by = by.min(Instant::now() + GRACE);
                    continue;
                }
            };
            match read {
                Ok(Ok(0) | Err(_)) => {
                    self.note("the connection was closed");
                    return Err(Fault::Closed);
                }
                Ok(Ok(_)) => {
                    if let Some(reply) = self.buffered_reply()? {
                        return Ok(reply);
                    }
                }
                Err(_) => {
                    self.note("no complete reply in time");
                    let slow = self.reader.has_unread() || by == self.deadline;
                    return Err(if slow { Fault::Tarpit } else { Fault::Timeout });
                }
            }
        }
    }

    /// The next reply, if all of it was read already: most of a burst's are.
    fn buffered_reply(&mut self) -> Result<Option<Reply>, Fault> {
        let reply = self.reader.next_reply()?;
        if let Some(reply) = &reply {
            self.record_reply(reply);
        }
        Ok(reply)
    }

    /// Encrypts the connection; nothing received before counts afterwards.
    pub(super) async fn start_tls(&mut self) -> Result<(), Fault> {
        match self.poll_unread() {
            Unread::Nothing => {}
            Unread::Closed => {
                self.note("TLS failed: the connection was closed");
                return Err(Fault::TlsBroken);
            }
            Unread::Bytes => return Err(Fault::TlsInjection),
        }
        let clear = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        match timeout_at(self.reply_deadline(), tls::connect(clear, &self.host)).await {
            Ok(Ok(stream)) => {
                self.stream = stream;
                self.reader = ReplyReader::default();
                self.note("TLS agreed");
                Ok(())
            }
            Ok(Err(TlsFault(message))) => {
                self.note(&format!("TLS failed: {message}"));
                Err(Fault::TlsBroken)
            }
            Err(_) => {
                self.note("TLS failed: no handshake in time");
                Err(Fault::TlsBroken)
            }
        }
    }

    /// Says QUIT and gives the peer a moment to answer; whatever happens, the connection is over. Answers that were read
    /// already stay what they are if it fails, but not if a reply turns up that nobody asked for: then one of them was it.
    pub(super) async fn quit(&mut self) -> Result<(), Fault> {
        let unasked = match self.poll_unread() {
            Unread::Nothing | Unread::Closed => None,
            Unread::Bytes => {
                self.note("unexpected bytes before our command");
                Some(self.explain_unread()).filter(|fault| *fault != Fault::Closed)
            }
        };
        let late = self.say_quit().await;
        unasked.or(late).map_or(Ok(()), Err)
    }

    async fn say_quit(&mut self) -> Option<Fault> {
        self.out.clear();
        self.queue(Command::Quit).ok()?;
        let by = Instant::now() + Timeouts::QUIT;
        let out = std::mem::take(&mut self.out);
        let said = timeout_at(by, async {
            self.stream.write_all(&out).await?;
            self.stream.flush().await
        });
        if !matches!(said.await, Ok(Ok(()))) {
            return None;
        }
        self.deadline = self.deadline.min(by);
        // No reply, or garbage, is the business of a host that hangs up.
        let reply = self.reply().await.ok()?;
        // 5yz is never the answer to QUIT, and two replies to one command are one too many.
        let shifted = reply.code().number() >= 500 || self.reader.has_unread();
        shifted.then(|| {
            self.note("QUIT got another command's reply");
            Fault::Desynchronised
        })
    }

    /// What was said, if it was kept.
    pub(super) fn transcript(&mut self) -> Option<Transcript> {
        let entries = self.entries.take()?;
        Some(Transcript {
            host: Arc::clone(&self.host),
            peer: self.peer,
            entries,
        })
    }

    /// A note for the transcript.
    pub(super) fn note(&mut self, text: &str) {
        self.record(Speaker::Note, text);
    }

    fn reply_deadline(&self) -> Instant {
        self.deadline.min(Instant::now() + self.timeouts.reply)
    }

    /// Bytes that came unasked are a fault, unless they are the 421 by which a host announces that it closes.
    fn explain_unread(&mut self) -> Fault {
        match self.reader.next_reply() {
            Ok(Some(reply)) => {
                self.record_reply(&reply);
                if reply.code().number() == 421 {
                    Fault::Closed
                } else {
                    Fault::Desynchronised
                }
            }
            Ok(None) => Fault::Desynchronised,
            Err(malformed) => Fault::Malformed(malformed),
        }
    }

    /// Looks for bytes without waiting.
    fn poll_unread(&mut self) -> Unread {
        if self.reader.has_unread() {
            return Unread::Bytes;
        }
        let mut bytes = [0; 512];
        let mut buffer = ReadBuf::new(&mut bytes);
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut *self.stream).poll_read(&mut context, &mut buffer) {
            Poll::Pending => Unread::Nothing,
            Poll::Ready(Err(_)) => Unread::Closed,
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Unread::Closed,
            Poll::Ready(Ok(())) => {
                self.reader.buffer().extend_from_slice(buffer.filled());
                Unread::Bytes
            }
        }
    }

    fn record_reply(&mut self, reply: &Reply) {
        if self.entries.is_none() {
            return;
        }
        let last = reply.lines().len().saturating_sub(1);
        for (index, line) in reply.lines().iter().enumerate() {
            let separator = if index == last { ' ' } else { '-' };
            self.record(Speaker::Server, format!("{}{separator}{line}", reply.code()).trim_end());
        }
    }

    fn record(&mut self, who: Speaker, text: &str) {
        let at = self.started.elapsed();
        if let Some(entries) = self.entries.as_mut().filter(|entries| entries.len() < MAX_ENTRIES) {
            entries.push(Entry {
                at,
                who,
                text: printable(text),
            });
        }
    }
}
