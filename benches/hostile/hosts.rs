//! The hosts and their name server: listeners for the whole of 127/8, where the second byte of an address says what kind of
//! host it is and the others which one.

use std::{
    io::{self, BufRead as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket},
    sync::watch,
    time::sleep,
};

/// Before each reply of a healthy host: a continent away.
const LATENCY: Duration = Duration::from_millis(200);

/// Between a hundred lines of an endless reply: 4 Mbit a second from each host. As fast as memory is, two thirds of the hosts' own
/// processor time went into megabytes that nobody reads, on the cores that are measured.
const ENDLESS: Duration = Duration::from_millis(5);
/// Each with a queue of its own: a single one (4,096 connections, net.core.somaxconn) overflows, and then connections are tried
/// again a second later, which ten thousand hosts would not make anybody do.
const LISTENERS: usize = 8;

/// What a host does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Healthy,
    Silent,
    Slow,
    Endless,
    Reset,
    Garbage,
}

const KINDS: [Kind; 6] = [
    Kind::Healthy,
    Kind::Silent,
    Kind::Slow,
    Kind::Endless,
    Kind::Reset,
    Kind::Garbage,
];

impl Kind {
    /// The kinds in turn.
    pub(crate) fn hostile(number: usize) -> Self {
        KINDS[1 + number % 5]
    }

    /// The domain of a host, with its address in it: `h-2-0-17.test` is at 127.2.0.17.
    pub(crate) fn domain(self, number: usize) -> String {
        let kind = KINDS.iter().position(|kind| *kind == self).unwrap_or_default();
        format!("h-{}-{}-{}.test", kind + 1, number / 250, number % 250 + 1)
    }

    fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => KINDS
                .get(usize::from(ip.octets()[1]).wrapping_sub(1))
                .copied()
                .unwrap_or(Self::Reset),
            IpAddr::V6(_) => Self::Reset,
        }
    }
}

/// What was seen since `reset`.
struct Seen {
    /// When the last healthy session ended, in milliseconds since 1970.
    ended: u128,
    /// Connections at this moment, and the most at once.
    open: i64,
    most_open: i64,
}

/// Serves until the input ends. Each line of it is answered with what was seen; before that, `hold` lets the hostile hosts say and do
/// nothing until `loose`, and `reset` begins to count anew.
pub(crate) fn serve() -> anyhow::Result<()> {
    let (loose, _) = watch::channel(true);
    let seen = Arc::new(Mutex::new(Seen {
        ended: 0,
        open: 0,
        most_open: 0,
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let (dns, port) = runtime.block_on(async {
        let udp = UdpSocket::bind("127.0.0.1:0").await?;
        let mut port = 0;
        for _ in 0..LISTENERS {
            let listener = listen(port)?;
            port = listener.local_addr()?.port();
            let (seen, loose) = (Arc::clone(&seen), loose.subscribe());
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(connection(stream, Arc::clone(&seen), loose.clone()));
                }
            });
        }
        let places = (udp.local_addr()?, port);
        tokio::spawn(names(udp));
        anyhow::Ok(places)
    })?;
    let mut out = io::stdout().lock();
    writeln!(out, "{dns} {port}")?;
    for order in io::stdin().lock().lines() {
        let order = order?;
        let mut seen = lock(&seen);
        match order.as_str() {
            "hold" => drop(loose.send_replace(false)),
            "loose" => drop(loose.send_replace(true)),
            "reset" => (seen.ended, seen.most_open) = (0, seen.open),
            _ => {}
        }
        writeln!(out, "{} {} {}", seen.ended, seen.open, seen.most_open)?;
    }
    Ok(())
}

/// One of several listeners at a port, for every address of 127/8.
fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(SocketAddr::from(([0, 0, 0, 0], port)))?;
    socket.listen(4_096)
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn connection(stream: TcpStream, seen: Arc<Mutex<Seen>>, mut loose: watch::Receiver<bool>) {
    let Ok(local) = stream.local_addr() else { return };
    let kind = Kind::of(local.ip());
    {
        let mut seen = lock(&seen);
        seen.open += 1;
        seen.most_open = seen.most_open.max(seen.open);
    }
    if kind != Kind::Healthy {
        // Nobody speaks before the greeting: who can be read has gone away.
        let mut first = [0];
        tokio::select! {
            _ = loose.wait_for(|loose| *loose) => {}
            _ = stream.peek(&mut first) => {}
        }
    }
    // A peer that goes away ends the conversation.
    let _ = match kind {
        Kind::Healthy => healthy(stream, &seen).await,
        Kind::Silent => swallow(stream).await,
        Kind::Slow => slow(stream).await,
        Kind::Endless => endless(stream).await,
        Kind::Reset => reset(&stream),
        Kind::Garbage => garbage(stream).await,
    };
    lock(&seen).open -= 1;
}

async fn healthy(mut stream: TcpStream, seen: &Mutex<Seen>) -> io::Result<()> {
    sleep(LATENCY).await;
    stream.write_all(b"220 mx.test ESMTP\r\n").await?;
    let mut line = Vec::new();
    loop {
        let mut part = [0; 512];
        let count = stream.read(&mut part).await?;
        line.extend_from_slice(&part[..count]);
        if count == 0 {
            return Ok(());
        }
        if !line.ends_with(b"\n") {
            continue;
        }
        sleep(LATENCY).await;
        let text = String::from_utf8_lossy(&line).into_owned();
        line.clear();
        let reply = match text.get(..4) {
            Some("EHLO") => "250 mx.test\r\n",
            Some("RCPT") if !text.contains("<ann.") => "550 5.1.1 User unknown\r\n",
            Some("QUIT") => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                lock(seen).ended = now.as_millis();
                "221 bye\r\n"
            }
            _ => "250 ok\r\n",
        };
        stream.write_all(reply.as_bytes()).await?;
    }
}

async fn swallow(mut stream: TcpStream) -> io::Result<()> {
    let mut part = [0; 512];
    while stream.read(&mut part).await? > 0 {}
    Ok(())
}

async fn slow(mut stream: TcpStream) -> io::Result<()> {
    for byte in b"220 a greeting of a host that takes all the time in the world to say who it is\r\n"
        .iter()
        .cycle()
    {
        sleep(Duration::from_secs(1)).await;
        stream.write_all(&[*byte]).await?;
    }
    Ok(())
}

async fn endless(mut stream: TcpStream) -> io::Result<()> {
    loop {
        stream.write_all(&b"220-and another thing\r\n".repeat(100)).await?;
        sleep(ENDLESS).await;
    }
}

fn reset(stream: &TcpStream) -> io::Result<()> {
    stream.set_zero_linger()
}

async fn garbage(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(b"220 mx.test ESMTP\r\n").await?;
    let mut part = [0; 2048];
    loop {
        let count = stream.read(&mut part).await?;
        match part.get(..4.min(count)) {
            Some(b"EHLO") => stream.write_all(b"250-mx.test\r\n250 STARTTLS\r\n").await?,
            Some(b"STAR") => stream.write_all(b"220 go ahead\r\n").await?,
            Some([]) | None => return Ok(()),
            Some(_) => stream.write_all(&[0x16; 4096]).await?,
        }
    }
}

/// Answers for `h-A-B-C.test` (MX `mx.` of it) and `mx.h-A-B-C.test` (127.A.B.C); no other name exists.
async fn names(udp: UdpSocket) -> io::Result<()> {
    let mut question = [0; 1024];
    loop {
        let (count, from) = udp.recv_from(&mut question).await?;
        if let Some(answer) = answer(&question[..count]) {
            udp.send_to(&answer, from).await?;
        }
    }
}

fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    while let Some(length @ 1..) = question.get(at).copied().map(usize::from) {
        labels.push(
            str::from_utf8(question.get(at + 1..at + 1 + length)?)
                .ok()?
                .to_ascii_lowercase(),
        );
        at += length + 1;
    }
    let asked = question.get(12..at + 5)?;
    let kind = u16::from_be_bytes([*question.get(at + 1)?, *question.get(at + 2)?]);
    let is_host = labels.first().is_some_and(|label| label == "mx");
    let place = labels.get(usize::from(is_host)).and_then(|label| place(label));
    let (code, record) = match (kind, place, is_host) {
        (_, None, _) => (3, None),
        (15, Some(_), false) => (0, Some((15_u16, b"\0\x0a\x02mx\xc0\x0c".to_vec()))),
        (1, Some(ip), true) => (0, Some((1, ip.octets().to_vec()))),
        _ => (0, None),
    };
    let mut answer = question.get(..2)?.to_vec();
    answer.extend([
        0x81,
        0x80 | code,
        0,
        1,
        0,
        u8::from(record.is_some()),
        0,
        u8::from(record.is_none()),
        0,
        0,
    ]);
    answer.extend(asked);
    let soa = || (6, [&[0_u8, 0][..], &[0; 19], &[60]].concat());
    let (kind, data) = record.unwrap_or_else(soa);
    answer.extend([0xc0, 0x0c]);
    answer.extend(kind.to_be_bytes());
    answer.extend([0, 1, 0, 0, 1, 0]);
    answer.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
    answer.extend(data);
    Some(answer)
}

fn place(label: &str) -> Option<Ipv4Addr> {
    let mut bytes = label.strip_prefix("h-")?.split('-').map(|byte| byte.parse().ok());
    Some(Ipv4Addr::new(127, bytes.next()??, bytes.next()??, bytes.next()??))
}
