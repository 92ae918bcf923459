//! Real bounces: the test sends mail through Postfix and Exim to itself, refuses it, takes what they return, and imports that.
//!
//! Only the test says DATA; presend never does.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::Value;

use super::{
    client::Client,
    servers::{Servers, loopback},
};

/// Recipient, what the test's host says of it, status and class. What stands behind `DATA` is said after the message.
const REFUSED: [(&str, &str, &str, &str); 3] = [
    (
        "nobody@returns.test",
        "550 5.1.1 <nobody@returns.test>: User unknown",
        "5.1.1",
        "user_unknown",
    ),
    ("full@returns.test", "552 5.2.2 Mailbox full", "5.2.2", "mailbox_full"),
    (
        "picky@returns.test",
        "DATA 554 5.7.1 This message looks like spam",
        "5.7.1",
        "spam_content",
    ),
];

/// What comes back: everything from both, and from Exim a domain that it cannot route.
const BOUNCES: usize = 2 * REFUSED.len() + 1;

#[test]
#[ignore = "needs real servers: tests/run unpacks and starts them"]
fn what_real_servers_return_is_read() {
    let servers = Servers::start();
    let returned = sink(SocketAddr::from((loopback(24), servers.smtp_port)));
    for network in [23, 38] {
        for (recipient, ..) in REFUSED {
            send(&servers, network, recipient);
        }
    }
    send(&servers, 38, "jane@gone.test");
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..BOUNCES {
        let message = returned.recv_timeout(Duration::from_secs(60)).expect("a bounce");
        fs::write(folder.path().join(format!("{number}.eml")), message).expect("written");
    }
    let events = import(&[folder.path().to_str().expect("text")]);
    assert_eq!(events.len(), BOUNCES, "{events:?}");
    for (recipient, _, status, class) in REFUSED {
        let of = |event: &&Value| event["recipient"] == recipient;
        let found: Vec<&Value> = events.iter().filter(of).collect();
        assert_eq!(found.len(), 2, "{recipient}: {events:?}");
        for event in found {
            let told = (&event["event"], &event["status"], &event["class"]);
            assert_eq!(told, (&"bounced".into(), &status.into(), &class.into()), "{event}");
            assert!(
                event["message_id"]
                    .as_str()
                    .is_some_and(|id| id.ends_with("@sender.test")),
                "{event}"
            );
        }
    }
    let gone: Vec<&Value> = events
        .iter()
        .filter(|event| event["recipient"] == "jane@gone.test")
        .collect();
    assert!(
        gone.iter().all(|event| event["class"] == "domain_not_found") && gone.len() == 1,
        "{gone:?}"
    );
    for log in servers.return_logs() {
        let events = import(&[log.to_str().expect("text")]);
        for (recipient, _, status, class) in REFUSED {
            let told =
                |event: &Value| event["recipient"] == recipient && event["status"] == status && event["class"] == class;
            assert!(events.iter().any(told), "{}: {recipient}: {events:?}", log.display());
        }
    }
}

fn send(servers: &Servers, network: u8, recipient: &str) {
    let mut client = Client::connect(loopback(network), servers.smtp_port);
    assert!(client.say("MAIL FROM:<sender@returns.test>").starts_with("250"));
    assert!(client.rcpt(recipient).starts_with("250"), "{recipient}");
    assert!(client.say("DATA").starts_with("354"));
    let local = recipient.split('@').next().unwrap_or_default();
    let text = format!(
        "From: <news@sender.test>\r\nTo: <{recipient}>\r\nSubject: a test\r\nMessage-ID: <{local}.{network}@sender.test>\r\n\r\nHello.\r\n."
    );
    assert!(client.say(&text).starts_with("250"));
    client.say("QUIT");
}

fn import(paths: &[&str]) -> Vec<Value> {
    let output = cargo_bin_cmd!("presend")
        .args(["bounces", "import", "--dry-run", "--json"])
        .args(paths)
        .output()
        .expect("presend runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// A mail host that refuses as [`REFUSED`] says, and passes on what it takes.
fn sink(address: SocketAddr) -> Receiver<String> {
    let listener = TcpListener::bind(address).expect("a free port");
    let (send, receive) = channel();
    let send = Arc::new(Mutex::new(send));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let send = Arc::clone(&send);
            thread::spawn(move || {
                let taken = send.lock().expect("nobody panics").clone();
                // A server that goes away in the middle is no fault of the test.
                let _ = session(&stream, &taken);
            });
        }
    });
    receive
}

fn session(stream: &TcpStream, taken: &Sender<String>) -> std::io::Result<()> {
    let mut out = stream;
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    let mut after_data = None;
    out.write_all(b"220 sink.returns.test ESMTP\r\n")?;
    loop {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let command = line.trim().to_ascii_lowercase();
        let mut reply = "250 2.0.0 Ok".to_owned();
        if command.starts_with("rcpt") {
            let refused = REFUSED.iter().find(|(recipient, ..)| command.contains(recipient));
            match refused.map(|(_, said, ..)| *said) {
                Some(said) => match said.strip_prefix("DATA ") {
                    Some(later) => after_data = Some(later),
                    None => reply = said.to_owned(),
                },
                None => after_data = None,
            }
        } else if command == "data" {
            out.write_all(b"354 go on\r\n")?;
            let mut message = String::new();
            loop {
                line.clear();
                if lines.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                if line.trim_end() == "." {
                    break;
                }
                message.push_str(line.strip_prefix('.').unwrap_or(&line));
            }
            match after_data.take() {
                Some(said) => reply = said.to_owned(),
                None => drop(taken.send(message)),
            }
        } else if command == "quit" {
            return out.write_all(b"221 2.0.0 bye\r\n");
        }
        out.write_all(format!("{reply}\r\n").as_bytes())?;
    }
}
