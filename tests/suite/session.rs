//! One SMTP session, whatever the host says: which bytes leave us, and that nothing hangs or panics.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use presend::{
    address::{Address, Rules},
    smtp::{Fault, Identity, Mail, Session, Stage, Tally, Timeouts, Transaction, Why, WireParts},
    stop::Stop,
};
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

const RULES: Rules = Rules {
    allow_special_use: true,
};

fn identity() -> Identity {
    Identity::new("probe.example.org", "check@example.org").unwrap()
}

fn parts(stream: tokio::io::DuplexStream) -> WireParts {
    WireParts {
        stream: Box::new(stream),
        host: "mx.fake.test".into(),
        peer: SocketAddr::from(([127, 9, 0, 1], 25)),
        timeouts: Timeouts::INTERACTIVE,
        transcript: true,
        tally: Arc::new(Tally::default()),
        stop: Stop::new(),
    }
}

/// A host that says `replies` one after the other, each as soon as something arrives, and records every byte it hears.
async fn host(mut stream: tokio::io::DuplexStream, replies: Vec<Vec<u8>>, heard: Arc<Mutex<Vec<u8>>>) {
    let mut replies = replies.into_iter();
    let mut buffer = [0; 4096];
    if let Some(greeting) = replies.next() {
        let _ = stream.write_all(&greeting).await;
    }
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        heard.lock().unwrap().extend_from_slice(&buffer[..count]);
        match replies.next() {
            Some(reply) => {
                if stream.write_all(&reply).await.is_err() {
                    return;
                }
            }
            None => return,
        }
    }
}

/// Talks to such a host as far as it lets us: greeting, EHLO, a transaction, RSET, a burst, QUIT.
async fn talk(replies: Vec<Vec<u8>>) -> (Vec<u8>, Option<(Stage, Why)>) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let host = tokio::spawn(host(theirs, replies, Arc::clone(&heard)));
    let end = converse(ours).await.err();
    host.abort();
    let heard = heard.lock().unwrap().clone();
    (heard, end.map(|ended| (ended.stage, ended.why)))
}

async fn converse(ours: tokio::io::DuplexStream) -> Result<(), presend::smtp::Ended> {
    let identity = identity();
    let ann = Address::parse("ann@one.test", RULES).unwrap();
    let quoted = Address::parse("\"a b\"@one.test", RULES).unwrap();
    let session = Session::new(parts(ours))
        .greeting(&identity)
        .await?
        .hello(&identity, false)
        .await?;
    let session = match session.mail_from(&identity, false).await? {
        Mail::Accepted(session) => session.rcpt_to(&ann).await?.0.rset().await?,
        Mail::Refused(session, _) => session,
    };
    let recipients = [&ann, &quoted];
    let transaction = Transaction {
        recipients: &recipients,
        smtputf8: false,
    };
    let mut answered = Vec::new();
    let session = session
        .burst(&identity, &[transaction, transaction], &mut answered)
        .await?;
    session.quit().await?;
    Ok(())
}

/// Fails unless the bytes are whole lines, one CRLF each, of the seven verbs presend may say.
fn assert_polite(heard: &[u8]) {
    let text = std::str::from_utf8(heard).expect("ASCII in these dialogues");
    assert!(text.is_empty() || text.ends_with("\r\n"), "{text:?}");
    for line in text.split_terminator("\r\n") {
        assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
        let verb = line.split([' ', ':']).next().unwrap_or_default();
        assert!(
            ["EHLO", "HELO", "STARTTLS", "MAIL", "RCPT", "RSET", "QUIT"].contains(&verb),
            "said {line:?}"
        );
    }
}

/// Replies as hosts give them, and worse.
fn reply() -> impl Strategy<Value = Vec<u8>> {
    let ordinary = (200..600_u16, "[ -~]{0,60}").prop_map(|(code, text)| format!("{code} {text}\r\n").into_bytes());
    let lines = (200..600_u16, prop::collection::vec("[ -~]{0,40}", 1..6)).prop_map(|(code, lines)| {
        let lines = lines.join(&format!("\r\n{code}-"));
        format!("{code}-{lines}\r\n{code} end\r\n").into_bytes()
    });
    let tempting = prop::sample::select(vec![
        &b"354 Go ahead, send DATA\r\n"[..],
        b"250 ok\r\n250 ok\r\n",
        b"250-PIPELINING\r\n250 STARTTLS\r\n",
        b"220 ready\r\n250 injected\r\n",
        b"550 5.1.1 see <x@y>\rDATA\r\n",
        b"421 bye\r\n",
    ])
    .prop_map(<[u8]>::to_vec);
    let soup = prop::collection::vec(any::<u8>(), 0..80);
    prop_oneof![4 => Just(b"250 ok\r\n".to_vec()), 3 => ordinary, 2 => lines, 1 => tempting, 1 => soup]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_reply_makes_us_say_data(replies in prop::collection::vec(reply(), 0..14), honest in any::<bool>()) {
        let replies = if honest { [vec![b"220 hello\r\n".to_vec(), b"250 hello\r\n".to_vec()], replies].concat() } else { replies };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (heard, _) = runtime.block_on(talk(replies));
        assert_polite(&heard);
    }
}

fn bytes(lines: &[&str]) -> Vec<Vec<u8>> {
    lines.iter().map(|line| format!("{line}\r\n").into_bytes()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_whole_dialogue_in_order() {
    let burst = "250 reset\r\n250 mail\r\n250 a\r\n250 b\r\n250 reset\r\n250 mail\r\n250 a\r\n550 b";
    let burst = burst.strip_prefix("250 reset\r\n").unwrap();
    let (heard, end) = talk(bytes(&[
        "220 mx",
        "250 mx",
        "250 mail",
        "250 rcpt",
        "250 reset",
        burst,
        "221 bye",
    ]))
    .await;
    assert!(end.is_none(), "{end:?}");
    let expected = "EHLO probe.example.org\r\nMAIL FROM:<check@example.org>\r\nRCPT TO:<ann@one.test>\r\nRSET\r\n\
         MAIL FROM:<check@example.org>\r\nRCPT TO:<ann@one.test>\r\nRCPT TO:<\"a b\"@one.test>\r\nRSET\r\n\
         MAIL FROM:<check@example.org>\r\nRCPT TO:<ann@one.test>\r\nRCPT TO:<\"a b\"@one.test>\r\nQUIT\r\n";
    assert_eq!(String::from_utf8(heard).unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn s2_a_byte_a_second_ends_at_the_absolute_deadline() {
    // Bytes, and whole lines of one reply: neither begins a new wait.
    for piece in [&b"2"[..], b"220-a greeting that takes its time\r\n"] {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if theirs.write_all(piece).await.is_err() {
                    return;
                }
            }
        });
        let start = Instant::now();
        let ended = Session::new(parts(ours)).greeting(&identity()).await.unwrap_err();
        assert_eq!(ended.why, Why::Fault(Fault::Tarpit));
        let took = start.elapsed();
        assert!(took <= Timeouts::INTERACTIVE.reply + Duration::from_secs(3), "{took:?}");
    }
}

/// Each reply is in time; together they are not.
#[tokio::test(start_paused = true)]
async fn s2_patient_replies_end_at_the_deadline_of_the_session() {
    let (ours, mut theirs) = tokio::io::duplex(1024);
    let pause = Timeouts::INTERACTIVE.reply * 2 / 3;
    tokio::spawn(async move {
        let mut buffer = [0; 1024];
        for reply in std::iter::once("220 mx.fake.test\r\n").chain(std::iter::repeat("250 in time\r\n")) {
            tokio::time::sleep(pause).await;
            if theirs.write_all(reply.as_bytes()).await.is_err() || !matches!(theirs.read(&mut buffer).await, Ok(1..)) {
                return;
            }
        }
    });
    let start = Instant::now();
    let ended = converse(ours).await.unwrap_err();
    assert_eq!(ended.why, Why::Fault(Fault::Tarpit), "{:?}", ended.stage);
    let took = start.elapsed();
    let longest = Timeouts::INTERACTIVE.session;
    assert!(took >= longest && took <= longest + Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_silent_at_quit_is_left_after_two_seconds() {
    let (ours, mut theirs) = tokio::io::duplex(1024);
    tokio::spawn(async move {
        theirs.write_all(b"220 mx.fake.test\r\n").await.unwrap();
        let mut buffer = [0; 1024];
        assert_ne!(theirs.read(&mut buffer).await.unwrap(), 0);
        theirs.write_all(b"250 mx.fake.test\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    let identity = identity();
    let greeted = Session::new(parts(ours)).greeting(&identity).await.unwrap();
    let session = greeted.hello(&identity, false).await.unwrap();
    let start = Instant::now();
    session.quit().await.unwrap();
    let took = start.elapsed();
    assert!(took <= Duration::from_secs(2) + Duration::from_millis(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn s5_we_never_speak_before_the_greeting_is_complete() {
    let (ours, mut theirs) = tokio::io::duplex(1024);
    let early = tokio::spawn(async move {
        theirs.write_all(b"220-wait for it\r\n").await.unwrap();
        let mut buffer = [0; 64];
        let pause = tokio::time::timeout(Duration::from_secs(6), theirs.read(&mut buffer)).await;
        theirs.write_all(b"220 now\r\n").await.unwrap();
        let count = theirs.read(&mut buffer).await.unwrap();
        (pause.is_err(), buffer[..count].to_vec())
    });
    let identity = identity();
    let greeted = Session::new(parts(ours)).greeting(&identity).await.unwrap();
    let _ = tokio::time::timeout(Duration::from_secs(1), greeted.hello(&identity, false)).await;
    let (silent, first) = early.await.unwrap();
    assert!(silent, "we spoke into the pause");
    assert_eq!(first, b"EHLO probe.example.org\r\n");
}

#[tokio::test(start_paused = true)]
async fn s8_s9_what_is_no_greeting() {
    for (greeting, expected) in [
        ("HTTP/1.1 400 Bad Request", true),
        ("SSH-2.0-OpenSSH_9.2", true),
        ("220 probe.example.org ESMTP", false),
    ] {
        let (_, end) = talk(bytes(&[greeting])).await;
        let (stage, why) = end.unwrap();
        assert_eq!(stage, Stage::Greeting);
        assert_eq!(matches!(why, Why::Fault(Fault::Malformed(_))), expected, "{greeting}");
        assert_eq!(why == Why::Fault(Fault::Loop), !expected, "{greeting}");
    }
}

#[tokio::test(start_paused = true)]
async fn t6_bytes_after_the_reply_to_starttls_end_the_session() {
    let injected = b"220 go ahead\r\n250 injected\r\n".to_vec();
    let replies = vec![b"220 mx\r\n".to_vec(), b"250-mx\r\n250 STARTTLS\r\n".to_vec(), injected];
    let (ours, theirs) = tokio::io::duplex(1024);
    let heard = Arc::new(Mutex::new(Vec::new()));
    tokio::spawn(host(theirs, replies, Arc::clone(&heard)));
    let identity = identity();
    let greeted = Session::new(parts(ours)).greeting(&identity).await.unwrap();
    let ended = greeted.hello(&identity, true).await.unwrap_err();
    assert_eq!(
        (ended.stage, ended.why),
        (Stage::StartTls, Why::Fault(Fault::TlsInjection))
    );
    let heard = heard.lock().unwrap().clone();
    assert_polite(&heard);
}

#[tokio::test(start_paused = true)]
async fn t8_a_refused_starttls_goes_on_in_clear() {
    let replies = bytes(&["220 mx", "250-mx\r\n250 STARTTLS", "454 4.7.0 TLS not available"]);
    let (ours, theirs) = tokio::io::duplex(1024);
    tokio::spawn(host(theirs, replies, Arc::default()));
    let identity = identity();
    let greeted = Session::new(parts(ours)).greeting(&identity).await.unwrap();
    let ready = greeted.hello(&identity, true).await.unwrap();
    assert!(!ready.encrypted());
}

#[tokio::test(start_paused = true)]
async fn replies_before_our_command_are_a_fault_and_a_421_is_a_goodbye() {
    for (extra, fault) in [
        ("250 too early", Fault::Desynchronised),
        ("421 4.4.2 timeout", Fault::Closed),
    ] {
        let (_, end) = talk(bytes(&["220 mx", &format!("250 mx\r\n{extra}")])).await;
        assert_eq!(end.unwrap().1, Why::Fault(fault), "{extra}");
    }
}
