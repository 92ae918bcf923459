//! The named reference: does nothing but send RCPTs and count. One connection per mail host, no judgement, and no DNS: what
//! the same questions cost on one socket, unread, can be added with [`look_up`].

use std::{fmt::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::bail;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    task::JoinSet,
};

use crate::world::Entry;

/// Commands in one write.
const BURST: usize = 50;

/// A mail host and what to ask it: the recipients of each of its domains.
pub(crate) struct Questions {
    pub(crate) host: SocketAddr,
    pub(crate) domains: Vec<Vec<String>>,
}

/// The list, by host and domain.
pub(crate) fn questions(list: &[Entry], hosts: &[SocketAddr]) -> Vec<Arc<Questions>> {
    let empty = |host: &SocketAddr| Questions {
        host: *host,
        domains: Vec::new(),
    };
    let mut asked: Vec<Questions> = hosts.iter().map(empty).collect();
    for entry in list {
        let Some(questions) = asked.get_mut(entry.host) else {
            continue;
        };
        let place = entry.domain / hosts.len();
        if questions.domains.len() <= place {
            questions.domains.resize_with(place + 1, Vec::new);
        }
        if let Some(domain) = questions.domains.get_mut(place) {
            domain.push(entry.address.clone());
        }
    }
    asked.into_iter().map(Arc::new).collect()
}

/// Asks all hosts at once; says how many recipients were accepted and how many refused.
pub(crate) async fn run(hosts: &[Arc<Questions>], pipelining: bool) -> anyhow::Result<(usize, usize)> {
    let mut tasks = JoinSet::new();
    for questions in hosts {
        tasks.spawn(ask(Arc::clone(questions), pipelining));
    }
    let mut sums = (0, 0);
    while let Some(counts) = tasks.join_next().await {
        let (accepted, refused) = counts??;
        sums = (sums.0 + accepted, sums.1 + refused);
    }
    Ok(sums)
}

/// DNS questions that wait for their answers at one time; more overflow a socket's receive buffer.
const WINDOW: usize = 100;

/// Asks every question once and counts answers without reading them.
pub(crate) async fn look_up(server: SocketAddr, questions: &[(String, u16)]) -> anyhow::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(server).await?;
    let (mut asked, mut answered) = (0, 0);
    let mut answer = [0; 1500];
    while answered < questions.len() {
        while asked - answered < WINDOW
            && let Some((name, kind)) = questions.get(asked)
        {
            socket.send(&question(u16::try_from(asked)?, name, *kind)).await?;
            asked += 1;
        }
        let receive = socket.recv(&mut answer);
        tokio::time::timeout(Duration::from_secs(5), receive).await??;
        answered += 1;
    }
    Ok(())
}

/// RFC 1035 section 4.1: a header with one question and recursion desired, the name, the type, class IN.
fn question(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap_or(63));
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message
}

async fn ask(questions: Arc<Questions>, pipelining: bool) -> anyhow::Result<(usize, usize)> {
    #[expect(clippy::disallowed_methods, reason = "the reference dials the lab only")]
    let stream = TcpStream::connect(questions.host).await?;
    stream.set_nodelay(true)?;
    let mut wire = Wire {
        stream,
        input: Vec::with_capacity(8192),
        accepted: 0,
        refused: 0,
    };
    wire.replies(1).await?;
    wire.say("EHLO bare.bench.test\r\n", 1).await?;
    (wire.accepted, wire.refused) = (0, 0);
    let most = if pipelining { BURST } else { 1 };
    let (mut out, mut commands, mut others) = (String::new(), 0, 0);
    for (index, domain) in questions.domains.iter().enumerate() {
        let reset = (index > 0).then_some("RSET\r\n".to_owned());
        let mail = "MAIL FROM:<probe@bare.bench.test>\r\n".to_owned();
        others += usize::from(reset.is_some()) + 1;
        let rcpt = domain.iter().map(|address| {
            let mut command = String::with_capacity(64);
            let _ = write!(command, "RCPT TO:<{address}>\r\n");
            command
        });
        for command in reset.into_iter().chain([mail]).chain(rcpt) {
            out.push_str(&command);
            commands += 1;
            if commands == most {
                wire.say(&out, std::mem::take(&mut commands)).await?;
                out.clear();
            }
        }
    }
    wire.say(&out, commands).await?;
    let counts = (wire.accepted - others, wire.refused);
    wire.say("QUIT\r\n", 1).await?;
    Ok(counts)
}

struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
    accepted: usize,
    refused: usize,
}

impl Wire {
    async fn say(&mut self, out: &str, commands: usize) -> anyhow::Result<()> {
        self.stream.write_all(out.as_bytes()).await?;
        self.replies(commands).await
    }

    /// Waits for so many replies.
    async fn replies(&mut self, mut left: usize) -> anyhow::Result<()> {
        while left > 0 {
            if self.stream.read_buf(&mut self.input).await? == 0 {
                bail!("the host closed");
            }
            let mut read = 0;
            while let Some(end) = memchr::memchr(b'\n', self.input.get(read..).unwrap_or_default()) {
                let line = self.input.get(read..read + end).unwrap_or_default();
                if line.get(3) == Some(&b' ') {
                    left -= 1;
                    let accepted = line.first() == Some(&b'2');
                    self.accepted += usize::from(accepted);
                    self.refused += usize::from(!accepted);
                }
                read += end + 1;
            }
            self.input.drain(..read);
        }
        Ok(())
    }
}
