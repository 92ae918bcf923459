//! The wire of one connection: reads batches of lines, sends batches of replies, and does all the waiting (round trips,
//! tarpits, silence) and TLS. What is said is the business of `session`.

use std::{
    collections::VecDeque,
    io,
    net::IpAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

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
    let (connection, open) = host.meter.opened();
    let all = shared.open.fetch_add(1, Relaxed) + 1;
    shared.peak.fetch_max(all, Relaxed);
    let _closed = Closed {
        host: &host,
        shared: &shared,
    };
    let _ = stream.set_nodelay(true);
    let mut session = Session::new(&host, &shared, client, connection);
    let end = talk(&mut stream, &mut session, open).await;
    session.report();
    match end {
        Ok(Next::Reset) => {
            let _ = stream.set_zero_linger();
        }
        Ok(Next::Close) => linger(&mut stream).await,
        Ok(Next::Continue | Next::Hang | Next::StartTls) | Err(_) => {
            if !session.quit {
                host.meter.left_without_quit();
            }
        }
    }
}

/// Counts the end of a connection, also when its task is aborted.
struct Closed<'c> {
    host: &'c Behaviour,
    shared: &'c Shared,
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.host.meter.closed();
        self.shared.open.fetch_sub(1, Relaxed);
    }
}

/// Greeting, clear dialogue, TLS dialogue. `Continue` at the end means that the client left.
async fn talk(stream: &mut TcpStream, session: &mut Session<'_>, open: u64) -> io::Result<Next> {
    let keys = &session.host.keys;
    let mut next = greet(stream, session, open, keys.greeting_delay_ms + keys.latency_ms).await?;
    if next == Next::Continue {
        next = converse(stream, session).await?;
    }
    if next == Next::Hang {
        silence(stream, session).await?;
    }
    if next != Next::StartTls {
        return Ok(next);
    }
    match (keys.starttls, &session.shared.tls) {
        (StartTls::Stall, _) => silence(stream, session).await.map(|()| Next::Hang),
        (StartTls::On | StartTls::Required | StartTls::Inject, Some(acceptor)) => {
            let mut tls = timeout(session.shared.idle, acceptor.accept(stream)).await??;
            session.secured();
            next = converse(&mut tls, session).await?;
            if next == Next::Hang {
                silence(&mut tls, session).await?;
            } else if next == Next::Close {
                let _ = timeout(LINGER, tls.shutdown()).await;
            }
            Ok(next)
        }
        _ => {
            // The client's hello must have arrived, or the garbage would look like an injected reply.
            let mut hello = Vec::with_capacity(BATCH_BYTES);
            timeout(session.shared.idle, stream.read_buf(&mut hello)).await??;
            stream.write_all(b"\x16\x03\x01\x00\x04oops").await?;
            Ok(Next::Close)
        }
    }
}

async fn greet(stream: &mut TcpStream, session: &mut Session<'_>, open: u64, wait_ms: u64) -> io::Result<Next> {
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
    let next = session.greet(open, early);
    let wait = session.wait_before(0);
    session.report();
    send_slowly(stream, session, 0, wait).await?;
    Ok(next)
}

/// Reads and answers until somebody ends it.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut S, session: &mut Session<'_>) -> io::Result<Next> {
    let keys = &session.host.keys;
    let latency = Duration::from_millis(keys.latency_ms);
    let mut input = Vec::with_capacity(BATCH_BYTES);
    let mut queue = VecDeque::new();
    let mut skipping = false;
    let mut carried = false;
    loop {
        match fill(wire, &mut queue, &mut input, session.shared.idle).await {
            Ok(0) => return Ok(Next::Continue),
            Ok(count) => session.tally.bytes_in += count as u64,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                session.idle();
                session.report();
                wire.write_all(&session.out).await?;
                session.out.clear();
                return Ok(Next::Close);
            }
            Err(error) => return Err(error),
        }
        let due = Instant::now() + latency;
        let mut next = Next::Continue;
        let mut start = 0;
        let mut follows = carried;
        let mut lines = 0;
        while let Some(length) = input.get(start..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let line = input.get(start..start + length).unwrap_or_default();
            start += length + 1;
            if std::mem::take(&mut skipping) {
                continue;
            }
            lines += 1;
            if lines > 1 && keys.pipelining == Pipelining::Broken {
                continue;
            }
            let mark = session.out.len();
            let bare = line.strip_suffix(b"\r");
            session.tally.violations.line += u64::from(bare.is_none());
            next = session.line(bare.unwrap_or(line), follows);
            follows = true;
            let wait = session.wait_before(mark);
            if !wait.is_zero() || keys.byte_delay_ms > 0 {
                session.report();
                drain(wire, &mut queue).await?;
                send_slowly(wire, session, mark, wait + latency).await?;
            }
            if next != Next::Continue {
                break;
            }
        }
        input.drain(..start);
        carried = lines > 0 && !input.is_empty();
        if input.len() >= LINE_MAX {
            if !std::mem::replace(&mut skipping, true) {
                session.too_long();
            }
            input.clear();
        }
        session.report();
        if latency.is_zero() {
            wire.write_all(&session.out).await?;
            session.out.clear();
        } else if !session.out.is_empty() {
            queue.push_back((due, std::mem::take(&mut session.out)));
        }
        if next != Next::Continue {
            drain(wire, &mut queue).await?;
            return Ok(next);
        }
        wire.flush().await?;
    }
}

/// Sends everything that waits for its round trip, each batch when it is due.
async fn drain<S: AsyncWrite + Unpin>(wire: &mut S, queue: &mut VecDeque<(Instant, Vec<u8>)>) -> io::Result<()> {
    for (due, replies) in queue.drain(..) {
        sleep_until(due).await;
        wire.write_all(&replies).await?;
    }
    wire.flush().await
}

/// Waits for input; sends what falls due meanwhile.
async fn fill<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut S,
    queue: &mut VecDeque<(Instant, Vec<u8>)>,
    input: &mut Vec<u8>,
    idle: Duration,
) -> io::Result<usize> {
    while let Some((due, _)) = queue.front() {
        tokio::select! {
            biased;
            () = sleep_until(*due) => {}
            read = wire.read_buf(input) => return read,
        }
        if let Some((_, replies)) = queue.pop_front() {
            wire.write_all(&replies).await?;
            wire.flush().await?;
        }
    }
    timeout(idle, wire.read_buf(input)).await?
}

/// Sends everything up to `mark` at once, waits, and sends the rest, byte by byte if the host trickles.
async fn send_slowly<S: AsyncWrite + Unpin>(
    wire: &mut S,
    session: &mut Session<'_>,
    mark: usize,
    wait: Duration,
) -> io::Result<()> {
    let slow = session.out.split_off(mark);
    wire.write_all(&session.out).await?;
    session.out.clear();
    wire.flush().await?;
    if !wait.is_zero() {
        sleep(wait).await;
    }
    let gap = Duration::from_millis(session.host.keys.byte_delay_ms);
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
async fn silence<S: AsyncRead + Unpin>(wire: &mut S, session: &Session<'_>) -> io::Result<()> {
    let mut waste = Vec::with_capacity(BATCH_BYTES);
    let drained = async {
        while wire.read_buf(&mut waste).await? > 0 {
            waste.clear();
        }
        Ok(())
    };
    timeout(session.shared.idle, drained).await?
}

async fn linger(stream: &mut TcpStream) {
    if stream.shutdown().await.is_ok() {
        let mut waste = Vec::with_capacity(LINE_MAX);
        let drained = async {
            while matches!(stream.read_buf(&mut waste).await, Ok(1..)) {
                waste.clear()
            }
        };
        let _ = timeout(LINGER, drained).await;
    }
}
