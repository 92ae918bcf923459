//! What one message of a peer may cost in memory: never a megabyte (HOSTILE D16, S3, S4, T2, T10). A binary of its own, because
//! the allocator is counted. One test after the other: they share the count.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::allow_attributes,
    missing_docs,
    reason = "a test that meets the unexpected must stop"
)]

use std::{sync::Arc, time::Duration};

use peak_alloc::PeakAlloc;
use presend::{
    bounce::source,
    dns::{HickoryResolver, Resolve, ResolverOptions},
    smtp::{
        Ended, Extensions, Fault, Identity, MalformedReply, Reply, ReplyReader, Session, Tally, Timeouts, Why,
        WireParts,
    },
    stop::Stop,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

#[global_allocator]
static COUNTED: PeakAlloc = PeakAlloc;

const MEGABYTE: usize = 1 << 20;

/// What came on top of what was there.
fn growth(before: usize) -> usize {
    COUNTED.peak_usage().saturating_sub(before)
}

fn reset() -> usize {
    COUNTED.reset_peak_usage();
    COUNTED.current_usage()
}

#[test]
fn no_message_of_a_peer_costs_a_megabyte() {
    replies();
    ehlo();
    fifty_megabytes_in_a_mailbox();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        sessions().await;
        d16_dns().await;
    });
}

/// A mailbox whose second message carries 50 MB: the report behind the attachment is read, and so are its neighbours, in the
/// memory of a few messages for each processor. On one line as well, and where a message never ends.
fn fifty_megabytes_in_a_mailbox() {
    const ATTACHED: usize = 50 << 20;
    let report = |name: &str| {
        format!(
            "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; gw.example\n\n\
             Final-Recipient: rfc822; {name}@mail.example\nAction: failed\nStatus: 5.1.1\n\
             Diagnostic-Code: smtp; 550 5.1.1 No such user\n\n"
        )
    };
    let head = "From MAILER-DAEMON Tue Nov 10 09:12:44 2026\nFrom: MAILER-DAEMON@gw.example\nTo: news@sender.example\n\
                Subject: Undelivered Mail\nDate: Tue, 10 Nov 2026 09:12:44 +0000\nMIME-Version: 1.0\n\
                Content-Type: multipart/report; boundary=b\n\n";
    let folder = tempfile::tempdir().unwrap();
    for (what, line) in [
        ("lines", format!("{}\n", "QUJD".repeat(19))),
        ("one line", "QUJD".repeat(256)),
    ] {
        let path = folder.path().join("bounces.mbox");
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
        let mut write = |text: &str| std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        write(&format!("{head}{}--b--\n\n", report("first")));
        write(&format!(
            "{head}--b\nContent-Type: application/zip\nContent-Transfer-Encoding: base64\n\n"
        ));
        for _ in 0..=ATTACHED / line.len() {
            write(&line);
        }
        write(&format!("\n{}--b--\n\n", report("second")));
        write(&format!("{head}{}--b--\n\n", report("third")));
        drop(file);
        assert!(std::fs::metadata(&path).unwrap().len() > ATTACHED as u64);
        let before = reset();
        let mut found = Vec::new();
        let read: Result<(), std::convert::Infallible> = source::read(&[path], &source::Options::default(), |step| {
            if let source::What::Events(_, events) = step.what {
                found.extend(events.iter().map(|event| event.recipient.to_string()));
            }
            Ok(())
        });
        read.unwrap();
        let peak = growth(before);
        assert_eq!(
            found,
            ["first@mail.example", "second@mail.example", "third@mail.example"],
            "{what}"
        );
        assert!(peak < 8 * MEGABYTE, "{what}: {peak} bytes");
    }
}

/// Bytes in pieces of a socket's size, until the reader has had enough.
fn feed(piece: &[u8], times: usize) -> Result<(), MalformedReply> {
    let mut reader = ReplyReader::default();
    for _ in 0..times {
        reader.buffer().extend_from_slice(piece);
        while reader.next_reply()?.is_some() {}
    }
    Ok(())
}

fn replies() {
    let teaser = b"220-teaser\r\n".repeat(700);
    let wide = [b"250-", &[b'x'; 2000][..], b"\r\n"].concat().repeat(4);
    for (what, piece, expected) in [
        (
            "10 MB without a line end",
            &[b'2'; 8192][..],
            MalformedReply::LineTooLong,
        ),
        ("endless short lines", &teaser, MalformedReply::TooLarge),
        ("endless long lines", &wide, MalformedReply::TooLarge),
    ] {
        let before = reset();
        assert_eq!(feed(piece, 1_280), Err(expected), "{what}");
        assert!(growth(before) < MEGABYTE / 4, "{what}: {} bytes", growth(before));
    }
}

fn ehlo() {
    let lines: Vec<Box<str>> = (0..200).map(|n| format!("X{n} LIMITS RCPTMAX={n}").into()).collect();
    let reply = Reply::new(presend::smtp::ReplyCode::new(250).unwrap(), lines);
    let before = reset();
    let _ = Extensions::parse(&reply);
    assert!(growth(before) < 1024, "{} bytes", growth(before));
}

/// A peer that says this and then repeats that without an end.
async fn endless(said: &'static [u8], repeated: &'static [u8]) -> (Result<(), Ended>, usize) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let parts = WireParts {
        stream: Box::new(ours),
        host: "mx.peer.test".into(),
        peer: "192.0.2.1:25".parse().unwrap(),
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            reply: Duration::from_secs(5),
            session: Duration::from_secs(5),
        },
        transcript: false,
        tally: Arc::new(Tally::default()),
        stop: Stop::new(),
    };
    let identity = Identity::new("probe.example.org", "check@example.org").unwrap();
    let peer = tokio::spawn(async move {
        let (mut reader, mut writer) = tokio::io::split(theirs);
        let drain = async {
            let mut sink = [0; 4096];
            while matches!(reader.read(&mut sink).await, Ok(1..)) {}
        };
        let talk = async {
            writer.write_all(said).await?;
            for _ in 0..100_000 {
                writer.write_all(repeated).await?;
            }
            std::io::Result::Ok(())
        };
        let _ = tokio::join!(drain, talk);
    });
    let before = reset();
    let met = match Session::new(parts).greeting(&identity).await {
        Ok(session) => session.hello(&identity, true).await.map(drop),
        Err(ended) => Err(ended),
    };
    let grown = growth(before);
    peer.abort();
    (met, grown)
}

async fn sessions() {
    const RECORD: [u8; 5] = [0x16, 3, 3, 0x40, 0];
    // A server hello that claims sixteen megabytes, in records of the largest size.
    static HELLO: std::sync::LazyLock<Vec<u8>> =
        std::sync::LazyLock::new(|| [&RECORD[..], &[2, 0xff, 0xff, 0xff], &[0; 0x4000 - 4]].concat());
    static OFFER: &[u8] = b"220 mx.peer.test ESMTP\r\n";
    let (met, grown) = endless(b"", b"220-teaser\r\n").await;
    assert!(met.is_err() && grown < MEGABYTE, "greeting: {grown} bytes");
    let (met, grown) = endless(OFFER, b"250-X-KEYWORD\r\n").await;
    assert!(met.is_err() && grown < MEGABYTE, "EHLO: {grown} bytes");
    let (met, grown) = tls(&HELLO).await;
    assert_eq!(met.unwrap_err().why, Why::Fault(Fault::TlsBroken));
    assert!(grown < MEGABYTE, "TLS: {grown} bytes");
}

/// A peer that answers the TLS handshake with these bytes for ever.
async fn tls(repeated: &'static [u8]) -> (Result<(), Ended>, usize) {
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let parts = WireParts {
        stream: Box::new(ours),
        host: "mx.peer.test".into(),
        peer: "192.0.2.1:25".parse().unwrap(),
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            reply: Duration::from_secs(5),
            session: Duration::from_secs(5),
        },
        transcript: false,
        tally: Arc::new(Tally::default()),
        stop: Stop::new(),
    };
    let identity = Identity::new("probe.example.org", "check@example.org").unwrap();
    let peer = tokio::spawn(async move {
        let mut heard = [0; 4096];
        theirs.write_all(b"220 mx.peer.test ESMTP\r\n").await?;
        let _ = theirs.read(&mut heard).await?;
        theirs.write_all(b"250-mx.peer.test\r\n250 STARTTLS\r\n").await?;
        let _ = theirs.read(&mut heard).await?;
        theirs.write_all(b"220 go\r\n").await?;
        let _ = theirs.read(&mut heard).await?;
        loop {
            theirs.write_all(repeated).await?;
        }
        #[expect(unreachable_code, reason = "it says of what type the block is")]
        std::io::Result::Ok(())
    });
    let before = reset();
    let met = Session::new(parts).greeting(&identity).await;
    let met = match met {
        Ok(session) => session.hello(&identity, true).await.map(drop),
        Err(ended) => Err(ended),
    };
    let grown = growth(before);
    peer.abort();
    (met, grown)
}

/// A name server whose answers claim 65,535 records and hold none, over UDP and in 64 KiB over TCP.
async fn d16_dns() {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = udp.local_addr().unwrap();
    let tcp = TcpListener::bind(at).await.unwrap();
    // The question back, a header that claims, and nothing behind it.
    let forged = |question: &[u8], truncated: bool| {
        let mut answer = question.to_vec();
        answer[2] = 0x81 | u8::from(truncated) << 1;
        answer[3] = 0x80;
        answer[6..12].copy_from_slice(&[0xff; 6]);
        answer
    };
    let over_udp = tokio::spawn(async move {
        let mut question = [0; 1500];
        loop {
            let (size, from) = udp.recv_from(&mut question).await.unwrap();
            let truncated = question[12] % 2 == 0;
            udp.send_to(&forged(&question[..size], truncated), from).await.unwrap();
        }
    });
    let over_tcp = tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let mut question = [0; 1500];
            let size = stream.read(&mut question).await.unwrap_or_default().max(14);
            let mut answer = forged(&question[2..size], false);
            answer.resize(65_535, 0);
            let _ = stream.write_all(&[0xff, 0xff]).await;
            let _ = stream.write_all(&answer).await;
        }
    });
    let resolver = HickoryResolver::of(
        &[at],
        ResolverOptions {
            timeout: Duration::from_secs(2),
            ..ResolverOptions::default()
        },
    )
    .unwrap();
    // Whatever a resolver needs for its first question.
    let _ = resolver.mx("warm.test").await;
    for name in ["a.test", "bb.test"] {
        let before = reset();
        let answer = resolver.mx(name).await;
        assert!(answer.is_err(), "{answer:?}");
        assert!(growth(before) < MEGABYTE, "{name}: {} bytes", growth(before));
    }
    over_udp.abort();
    over_tcp.abort();
}
