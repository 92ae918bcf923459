//! The reply reader beside async-smtp's, on well-formed replies, which is all that one can be given: it is neither bounded nor
//! linear.

use std::io::Cursor;

use async_smtp::{SmtpClient, SmtpTransport, response::Code};
use presend::smtp::ReplyReader;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::io::{BufReader, join, sink};

const REPLIES: usize = 2_000;

const TEXTS: [&str; 12] = [
    "ok",
    "",
    "5.1.1 <ann@example.com>: Recipient address rejected: User unknown",
    "2.1.5 Ok 250 ok",
    "4.7.1 Greylisted - try again",
    "mx.example.com at your service",
    "SIZE 35882577",
    "-dashes- and  blanks ",
    "Bo\u{ee}te pleine \u{4f60}\u{597d}",
    "550 5.1.1 not a reply",
    "tab\there",
    "!\"#$%&'()*+,./:;<=>?@[]^_`{|}~",
];

/// A code of RFC 5321 as async-smtp knows them, and the text of each line.
fn reply(random: &mut StdRng) -> (u16, Vec<&'static str>) {
    let code =
        [2_u16, 4, 5].choose(random).unwrap() * 100 + random.random_range(0..6) * 10 + random.random_range(0..10);
    let count = if random.random_bool(0.7) {
        1
    } else {
        random.random_range(2..=20)
    };
    (code, (0..count).map(|_| *TEXTS.choose(random).unwrap()).collect())
}

fn wire((code, lines): &(u16, Vec<&str>)) -> String {
    let last = lines.len() - 1;
    let line = |(index, text): (usize, &&str)| format!("{code}{}{text}\r\n", if index == last { ' ' } else { '-' });
    lines.iter().enumerate().map(line).collect()
}

fn number(code: Code) -> u16 {
    code.to_string().parse().unwrap()
}

#[tokio::test]
async fn well_formed_replies_are_read_alike() {
    let mut random = StdRng::seed_from_u64(5321);
    let replies: Vec<_> = (0..REPLIES).map(|_| reply(&mut random)).collect();
    let bytes: String = replies.iter().map(wire).collect();
    let greeting = "220 mx.example.com\r\n250 mx.example.com\r\n";
    let stream = BufReader::new(join(Cursor::new(format!("{greeting}{bytes}").into_bytes()), sink()));
    let mut theirs = SmtpTransport::new(SmtpClient::new(), stream).await.unwrap();
    let mut ours = ReplyReader::default();
    ours.buffer().extend_from_slice(bytes.as_bytes());
    for (code, lines) in replies {
        // Its commands return refusals as errors, which hold the same reply.
        let their = match theirs.get_mut().command("NOOP\r\n").await {
            Ok(reply)
            | Err(async_smtp::error::Error::Transient(reply) | async_smtp::error::Error::Permanent(reply)) => reply,
            Err(error) => panic!("{code} {lines:?}: {error}"),
        };
        let our = ours.next_reply().unwrap().unwrap();
        assert_eq!((our.code().number(), number(their.code)), (code, code));
        let texts: Vec<String> = our.lines().iter().map(ToString::to_string).collect();
        // Ours has no control characters any more.
        let their: Vec<String> = their.message.iter().map(|line| line.replace('\t', " ")).collect();
        assert_eq!(texts, their, "{code} {lines:?}");
    }
    assert!(!ours.has_unread());
}
