//! Input made to hurt: deep, long, cut, forged.

use std::time::{Duration, Instant};

use presend::bounce::report::{self, Other, Reading};

/// Far above what any of these takes, and far below what a quadratic reader would.
const SOON: Duration = Duration::from_secs(20);

fn soon(what: &str, bytes: &[u8]) -> Reading {
    let begun = Instant::now();
    let reading = report::read(bytes, None);
    assert!(begun.elapsed() < SOON, "{what} took {:?}", begun.elapsed());
    reading
}

const HEAD: &str = "From: MAILER-DAEMON@gw.example\nTo: news@sender.example\nSubject: Undelivered Mail\nDate: Tue, 3 Nov 2026 10:00:00 +0000\nMIME-Version: 1.0\n";

#[test]
fn ten_thousand_nested_parts_are_cut() {
    let messages = format!("{HEAD}{}", "Content-Type: message/rfc822\n\n".repeat(10_000));
    let digests = format!(
        "{HEAD}{}",
        "Content-Type: multipart/digest; boundary=b\n\n--b\n".repeat(10_000)
    );
    let mut multiparts = HEAD.to_owned();
    for depth in 0..10_000 {
        multiparts.push_str(&format!(
            "Content-Type: multipart/mixed; boundary=b{depth}\n\n--b{depth}\n"
        ));
    }
    let mut unfound = format!("{HEAD}Content-Type: multipart/mixed; boundary=a\n\n");
    for part in 0..10_000 {
        unfound.push_str(&format!("--a\nContent-Type: multipart/mixed; boundary=x{part}\n\nx\n"));
    }
    for (what, text) in [
        ("messages", messages),
        ("digests", digests),
        ("parts", multiparts),
        ("borders", unfound),
    ] {
        soon(what, text.as_bytes());
    }
}

/// Inside an encoded part there may be as much again.
#[test]
fn an_encoded_message_is_not_parsed_again() {
    let inner = format!("{HEAD}{}", "Content-Type: message/rfc822\n\n".repeat(6_000));
    let packer = |bytes: &[u8]| {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut out = String::new();
        for chunk in bytes.chunks(3) {
            let mut word = 0_u32;
            for index in 0..3 {
                word = word << 8 | u32::from(chunk.get(index).copied().unwrap_or(b' '));
            }
            for shift in [18, 12, 6, 0] {
                out.push(char::from(DIGITS[(word >> shift & 63) as usize]));
            }
        }
        out
    };
    let text = format!(
        "{HEAD}Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n{}\n",
        packer(inner.as_bytes())
    );
    soon("encoded", text.as_bytes());
}

#[test]
fn endless_lines_words_and_addresses_are_bounded() {
    let line = format!("{HEAD}\n{}", "x".repeat(1 << 20));
    let addresses = format!(
        "{HEAD}\n{}",
        "<a@mail.example>: 550 5.1.1 User unknown\n".repeat(12_000)
    );
    let ats = format!("{HEAD}\n{}", "@".repeat(1 << 20));
    let dotted = format!("{HEAD}\n{}", "a.".repeat(200_000) + "@b.example");
    let fields = format!(
        "{}\n{}",
        HEAD,
        "Final-Recipient: rfc822; a@mail.example\nAction: failed\nStatus: 5.1.1\n\n".repeat(6_000)
    );
    let headers = format!("{}{}\n\nbody", HEAD, "X-A: b\n".repeat(60_000));
    let codes = format!("{HEAD}\n{}", "550 ".repeat(100_000));
    for (what, text) in [
        ("line", line),
        ("addresses", addresses),
        ("ats", ats),
        ("dotted", dotted),
        ("fields", fields),
        ("headers", headers),
        ("codes", codes),
    ] {
        if let Reading::Events(_, events) = soon(what, text.as_bytes()) {
            assert!(events.len() <= 5_000, "{what}: {}", events.len());
            for event in events {
                assert!(event.reply.as_deref().unwrap_or_default().len() <= 1024, "{what}");
            }
        }
    }
}

#[test]
fn every_cut_of_a_report_is_read_without_a_panic() {
    let report = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/corpora/bounces/gmail-not-found.eml"
    ))
    .unwrap();
    for end in 0..report.len() {
        let _ = report::read(&report[..end], None);
    }
}

#[test]
fn escapes_in_replies_are_taken_out() {
    let text = format!("{HEAD}\n<a@mail.example>:\n550 5.1.1 \x1b[31mred\u{202e}evil\x07 no such user\n");
    let Reading::Events(_, events) = report::read(text.as_bytes(), None) else {
        panic!("no event");
    };
    let reply = events[0].reply.as_deref().unwrap();
    assert!(!reply.contains(['\x1b', '\u{202e}', '\x07']), "{reply:?}");
}

#[test]
fn nothing_at_all_is_no_mail() {
    for bytes in [&b""[..], b"\n\n", b"\x00\x00\x00"] {
        assert!(matches!(
            report::read(bytes, None),
            Reading::Other(Other::NotMail | Other::Ordinary)
        ));
    }
}
