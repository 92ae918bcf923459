//! A raw client: what it sends and what it reads is the test's business.

use std::time::Duration;

use presend::lab::{HostCounters, Lab, World};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// A client that sends what it is told and reads replies, nothing more.
pub(super) struct Client<S = TcpStream>(pub(super) BufReader<S>);

impl Client {
    pub(super) async fn connect(lab: &Lab, host: &str) -> Self {
        let address = lab.host(host).unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        Self(BufReader::new(stream))
    }

    /// Connects, reads the greeting, says EHLO and MAIL.
    pub(super) async fn ready(lab: &Lab, host: &str) -> Self {
        let mut client = Self::connect(lab, host).await;
        assert!(client.reply().await.starts_with("220 "));
        client.say("EHLO us.test").await;
        assert_eq!(client.say("MAIL FROM:<probe@us.test>").await, "250 2.1.0 Ok");
        client
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// One reply, lines joined by `|`; empty when the connection ended.
    pub(super) async fn reply(&mut self) -> String {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            match tokio::time::timeout(Duration::from_secs(10), self.0.read_line(&mut line))
                .await
                .unwrap()
            {
                Ok(0) => break,
                Err(error) => return format!("{:?}", error.kind()),
                Ok(_) => {}
            }
            let line = line.trim_end().to_owned();
            let last = line.as_bytes().get(3) != Some(&b'-') || line.starts_with("SSH");
            lines.push(line);
            if last {
                break;
            }
        }
        lines.join("|")
    }

    pub(super) async fn say(&mut self, command: &str) -> String {
        self.send(&format!("{command}\r\n")).await;
        self.reply().await
    }

    pub(super) async fn rcpt(&mut self, address: &str) -> String {
        self.say(&format!("RCPT TO:<{address}>")).await
    }
}

pub(super) async fn start(world: &str) -> Lab {
    Lab::start(World::parse(world, "test").unwrap()).await.unwrap()
}

pub(super) fn counts(lab: &Lab, host: &str) -> HostCounters {
    lab.counters().hosts[host].clone()
}

/// Commands and the beginning of the replies to them. An empty command only reads; an empty reply is the end.
pub(super) async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut Client<S>,
    host: &str,
    dialogue: &[(&str, &str)],
) {
    for (command, expected) in dialogue {
        let reply = if command.is_empty() {
            client.reply().await
        } else {
            client.say(command).await
        };
        let as_said = if expected.is_empty() {
            reply.is_empty()
        } else {
            reply.starts_with(expected)
        };
        assert!(as_said, "{host}, {command}: got {reply:?}, expected {expected:?}");
    }
}

pub(super) const EHLO: (&str, &str) = ("EHLO us.test", "250");
pub(super) const MAIL: (&str, &str) = ("MAIL FROM:<p@us.test>", "250");
