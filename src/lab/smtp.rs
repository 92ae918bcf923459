//! The wire of one connection: reads batches of lines, sends batches of replies, and does all the waiting (round trips,
//! tarpits, silence) and TLS. What is said is the business of `session`.

use std::{collections::VecDeque, io, net::IpAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Shared,
    host::Behaviour,
    session::{Next, Session},
    world::{Pipelining, StartTls},
};

/// Longest command line; RFC 5321 section 4.5.3.1.4 asks for 512.
const LINE_MAX: usize = 4096;
/// A burst of 50 RCPTs has about 2 KiB.
const BATCH_BYTES: usize = 16 << 10;
/// How long a closed connection is read, so that unread input does not turn the last reply into a reset.
const LINGER: Duration = Duration::from_secs(1);

/// Serves one connection to its end.
pub(super) async fn serve(mut stream: TcpStream, client: IpAddr, host: Arc<Behaviour>, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut session = Session::new(&host, &shared, client);
    let end = talk(&mut stream, &mut session).await;
    session.report();
    match end {
        Ok(Next::Reset) => {
            let _ = stream.set_zero_linger();
        }
        Ok(Next::Close) => linger(&mut stream).await,
        Ok(Next::Continue | Next::Hang | Next::Flood | Next::StartTls) | Err(_) => {
            if !session.quit {
                host.meter.left_without_quit();
            }
        }
    }
}

/// Greeting, clear dialogue, TLS dialogue. `Continue` at the end means that the client left.
async fn talk(stream: &mut TcpStream, session: &mut Session<'_>) -> io::Result<Next> {
    let keys = &session.host.keys;
    let mut next = greet(stream, session, keys.greeting_delay_ms + keys.latency_ms).await?;
    if next == Next::Continue {
        next = converse(stream, session).await?;
    }
    if next != Next::StartTls {
        last_words(stream, session, next).await?;
        return Ok(next);
    }
    match session.shared.tls.get(&keys.starttls) {
        Some(acceptor) => {
            let mut tls = timeout(session.shared.idle, acceptor.accept(stream)).await??;
            session.secured();
            next = converse(&mut tls, session).await?;
            last_words(&mut tls, session, next).await?;
            if next == Next::Close {
                let _ = timeout(LINGER, tls.shutdown()).await;
            }
            Ok(next)
        }
        None => no_handshake(stream, session).await,
    }
}

/// What a host does that says nothing, or the same for ever.
async fn last_words<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut S,
    session: &mut Session<'_>,
    next: Next,
) -> io::Result<()> {
    match next {
        Next::Hang => silence(wire, session).await,
        Next::Flood => flood(wire, session).await,
        Next::Continue | Next::Close | Next::Reset | Next::StartTls => Ok(()),
    }
}

/// Instead of a handshake.
async fn no_handshake(stream: &mut TcpStream, session: &mut Session<'_>) -> io::Result<Next> {
    let kind = session.host.keys.starttls;
    if kind == StartTls::Stall {
        return silence(stream, session).await.map(|()| Next::Hang);
    }
    // The client's hello must have arrived, or the garbage would look like an injected reply.
    let mut hello = Vec::with_capacity(BATCH_BYTES);
    timeout(session.shared.idle, stream.read_buf(&mut hello)).await??;
    if kind == StartTls::Endless {
        // A handshake message of 16 MiB, in records of one byte.
        stream.write_all(b"\x16\x03\x03\x00\x04\x02\xff\xff\xff").await?;
        session.flood = b"\x16\x03\x03\x00\x01\x00".to_vec();
        flood(stream, session).await?;
        return Ok(Next::Flood);
    }
    let words: &[u8] = match kind {
        // Fatal alert: protocol_version.
        StartTls::OnlyOld => b"\x15\x03\x01\x00\x02\x02\x46",
        StartTls::Broken
        | StartTls::Off
        | StartTls::On
        | StartTls::Required
        | StartTls::Expired
        | StartTls::HugeChain
        | StartTls::Stall
        | StartTls::Endless
        | StartTls::Refused
        | StartTls::Inject => b"\x16\x03\x01\x00\x04oops",
    };
    stream.write_all(words).await?;
    Ok(Next::Close)
}

/// Says the same until the client has enough of it.
async fn flood<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut S, session: &mut Session<'_>) -> io::Result<()> {
    let gap = session.gap();
    let until = Instant::now() + session.shared.idle;
    while Instant::now() < until {
        if gap.is_zero() {
            let sent = timeout(session.shared.idle, wire.write(&session.flood)).await??;
            session.tally.bytes_out += sent as u64;
        } else {
            for byte in session.flood.clone() {
                sleep(gap).await;
                wire.write_all(&[byte]).await?;
                wire.flush().await?;
                session.tally.bytes_out += 1;
            }
        }
        wire.flush().await?;
        session.report();
    }
    Ok(())
}

async fn greet(stream: &mut TcpStream, session: &mut Session<'_>, wait_ms: u64) -> io::Result<Next> {
    let due = Instant::now() + Duration::from_millis(wait_ms);
    let mut byte = [0];
    let early = tokio::select! {
        biased;
        peeked = stream.peek(&mut byte) => {
            if peeked? == 0 {
                return Ok(Next::Continue);
            }
            sleep_until(due).await;
            true
        }
        () = sleep_until(due) => false,
    };
    let next = session.greet(early);
    let (wait, gap) = (session.wait_before(0), session.gap());
    session.report();
    send_slowly(stream, session, 0, (wait, gap)).await?;
    Ok(next)
}

/// Reads and answers until somebody ends it.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut S, session: &mut Session<'_>) -> io::Result<Next> {
    let mut conversation = Conversation {
        latency: Duration::from_millis(session.host.keys.latency_ms),
        input: Vec::with_capacity(BATCH_BYTES),
        queue: VecDeque::new(),
        skipping: false,
    };
    loop {
        match conversation.fill(wire, session.shared.idle).await {
            Ok(0) => return Ok(Next::Continue),
            Ok(count) => {
                session.tally.bytes_in += count as u64;
                let read = conversation.input.len() - count;
                session.heard(conversation.input.get(read..).unwrap_or_default());
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                session.idle();
                session.report();
                wire.write_all(&session.out).await?;
                wire.flush().await?;
                return Ok(Next::Close);
            }
            Err(error) => return Err(error),
        }
        let due = Instant::now() + conversation.latency;
        let next = conversation.answer(wire, session).await?;
        session.answered();
        session.report();
        if conversation.latency.is_zero() {
            wire.write_all(&session.out).await?;
            wire.flush().await?;
            session.out.clear();
        } else if !session.out.is_empty() {
            conversation.queue.push_back((due, std::mem::take(&mut session.out)));
        }
        if next != Next::Continue {
            conversation.drain(wire).await?;
            return Ok(next);
        }
    }
}

/// What is between the wire and the session.
struct Conversation {
    /// Emulated round trip.
    latency: Duration,
    /// Read and not answered yet.
    input: Vec<u8>,
    /// Replies on their way, with the time they arrive.
    queue: VecDeque<(Instant, Vec<u8>)>,
    /// Inside a line that was refused as too long.
    skipping: bool,
}

impl Conversation {
    /// Waits for input; sends what falls due meanwhile.
    async fn fill<S: AsyncRead + AsyncWrite + Unpin>(&mut self, wire: &mut S, idle: Duration) -> io::Result<usize> {
        while let Some((due, _)) = self.queue.front() {
            tokio::select! {
                biased;
                () = sleep_until(*due) => {}
                read = wire.read_buf(&mut self.input) => return read,
            }
            if let Some((_, replies)) = self.queue.pop_front() {
                wire.write_all(&replies).await?;
                wire.flush().await?;
            }
        }
        timeout(idle, wire.read_buf(&mut self.input)).await?
    }

    /// Answers every complete line.
    async fn answer<S>(&mut self, wire: &mut S, session: &mut Session<'_>) -> io::Result<Next>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let keys = &session.host.keys;
        let mut next = Next::Continue;
        let (mut start, mut lines) = (0, 0);
        while let Some(length) = self.input.get(start..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let line = self.input.get(start..start + length).unwrap_or_default();
            start += length + 1;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            lines += 1;
            if lines > 1 && keys.pipelining == Pipelining::Broken {
                continue;
            }
            let mark = session.out.len();
            next = session.line(line.strip_suffix(b"\r").unwrap_or(line));
            let (wait, gap) = (session.wait_before(mark), session.gap());
            if !wait.is_zero() || !gap.is_zero() {
                session.report();
                self.drain(wire).await?;
                send_slowly(wire, session, mark, (wait + self.latency, gap)).await?;
            }
            if next != Next::Continue {
                break;
            }
        }
        self.input.drain(..start);
        if self.input.len() >= LINE_MAX {
            if !std::mem::replace(&mut self.skipping, true) {
                session.too_long();
            }
            self.input.clear();
        }
        Ok(next)
    }

    /// Sends everything that waits for its round trip, each batch when it is due.
    async fn drain<S: AsyncWrite + Unpin>(&mut self, wire: &mut S) -> io::Result<()> {
        for (due, replies) in self.queue.drain(..) {
            sleep_until(due).await;
            wire.write_all(&replies).await?;
        }
        wire.flush().await
    }
}

/// Sends everything up to `mark` at once, waits, and sends the rest, byte by byte if the host trickles.
async fn send_slowly<S: AsyncWrite + Unpin>(
    wire: &mut S,
    session: &mut Session<'_>,
    mark: usize,
    (wait, gap): (Duration, Duration),
) -> io::Result<()> {
    let slow = session.out.split_off(mark);
    wire.write_all(&session.out).await?;
    session.out.clear();
    wire.flush().await?;
    if !wait.is_zero() {
        sleep(wait).await;
    }
    if gap.is_zero() {
        wire.write_all(&slow).await?;
    } else {
        for byte in slow {
            sleep(gap).await;
            wire.write_all(&[byte]).await?;
            wire.flush().await?;
        }
    }
    wire.flush().await
}

/// Reads and says nothing until the client leaves or the idle limit is over.
async fn silence<S: AsyncRead + Unpin>(wire: &mut S, session: &mut Session<'_>) -> io::Result<()> {
    let mut waste = Vec::with_capacity(BATCH_BYTES);
    let idle = session.shared.idle;
    let drained = async {
        while wire.read_buf(&mut waste).await? > 0 {
            session.heard(&waste);
            waste.clear();
        }
        Ok(())
    };
    timeout(idle, drained).await?
}

async fn linger(stream: &mut TcpStream) {
    if stream.shutdown().await.is_ok() {
        let mut waste = Vec::with_capacity(LINE_MAX);
        let drained = async {
            while matches!(stream.read_buf(&mut waste).await, Ok(1..)) {
                waste.clear();
            }
        };
        let _ = timeout(LINGER, drained).await;
    }
}
