//! The sockets of the DNS: questions come in, what the zone says goes out, well formed or not.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_resolver::proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        Name, Record,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{Answer, Zone, absolute, plain};
use crate::lab::{
    PORT_ATTEMPTS,
    world::{DnsFault, Forgery},
};

/// What fits into one UDP answer without fragments (DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;
/// A client that says nothing over TCP is closed.
const IDLE: Duration = Duration::from_secs(30);
/// Longest question.
const QUESTION_MAX: usize = 4096;
/// Extended DNS error 6, "DNSSEC bogus" (RFC 8914).
const BOGUS: [u8; 2] = [0, 6];

/// A DNS server that stops when it is dropped.
pub(in crate::lab) struct DnsServer {
    pub(in crate::lab) address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl DnsServer {
    /// Listens on 127.0.0.1, UDP and TCP on one port.
    ///
    /// # Errors
    /// No port is free for both, or the one that was asked for is taken.
    pub(in crate::lab) async fn start(zone: Arc<Zone>, port: u16) -> io::Result<Self> {
        let mut attempts = 0;
        let (socket, listener) = loop {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).await?;
            match TcpListener::bind(socket.local_addr()?).await {
                Ok(listener) => break (socket, listener),
                Err(error) if port != 0 || attempts >= PORT_ATTEMPTS => return Err(error),
                Err(_) => attempts += 1,
            }
        };
        let elsewhere = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = socket.local_addr()?;
        let ports = Arc::new(Ports { socket, elsewhere });
        let tasks = [
            tokio::spawn(serve_udp(ports, Arc::clone(&zone))),
            tokio::spawn(serve_tcp(listener, zone)),
        ];
        Ok(Self { address, tasks })
    }

    /// Stops; returns when the port is free again.
    pub(in crate::lab) async fn stop(mut self) {
        for task in &mut self.tasks {
            task.abort();
            let _ = task.await;
        }
    }
}

/// Where UDP answers come from.
struct Ports {
    socket: UdpSocket,
    /// For answers from a port that nobody asked.
    elsewhere: UdpSocket,
}

/// One answer on its way.
struct Sent {
    bytes: Vec<u8>,
    /// From another port than the one asked.
    elsewhere: bool,
}

async fn serve_udp(ports: Arc<Ports>, zone: Arc<Zone>) {
    let mut late = JoinSet::new();
    let mut buffer = vec![0; QUESTION_MAX];
    loop {
        // An error is about an earlier answer to somebody who left.
        let Ok((length, peer)) = ports.socket.recv_from(&mut buffer).await else {
            continue;
        };
        let answers = zone.respond(buffer.get(..length).unwrap_or_default(), true);
        if zone.latency.is_zero() {
            ports.send(answers, peer).await;
        } else {
            let (ports, latency) = (Arc::clone(&ports), zone.latency);
            late.spawn(async move {
                sleep(latency).await;
                ports.send(answers, peer).await;
            });
            while late.try_join_next().is_some() {}
        }
    }
}

impl Ports {
    async fn send(&self, answers: Vec<Sent>, peer: SocketAddr) {
        for Sent { bytes, elsewhere } in answers {
            let socket = if elsewhere { &self.elsewhere } else { &self.socket };
            let _ = socket.send_to(&bytes, peer).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Zone>) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(converse(stream, Arc::clone(&zone)));
            }
            // Out of file descriptors: the connections that are open must end first.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(mut stream: TcpStream, zone: Arc<Zone>) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    loop {
        let length = timeout(IDLE, stream.read_u16()).await??;
        let mut question = vec![0; length.into()];
        timeout(IDLE, stream.read_exact(&mut question)).await??;
        sleep(zone.latency).await;
        let mut out = Vec::new();
        for Sent { bytes, .. } in zone.respond(&question, false) {
            let Ok(length) = u16::try_from(bytes.len()) else {
                continue;
            };
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&bytes);
        }
        stream.write_all(&out).await?;
    }
}

impl Zone {
    /// Every answer to one question, in the order they are sent; none where there is silence.
    fn respond(&self, question: &[u8], udp: bool) -> Vec<Sent> {
        let Ok(asked) = Message::from_vec(question) else {
            return Vec::new();
        };
        let Some(query) = asked.queries.first() else {
            return reply(&asked, ResponseCode::FormErr).sent(udp);
        };
        let (name, kind) = (plain(query.name()), query.query_type());
        self.count(kind, &name);
        let mut sent = Vec::new();
        if let Some((ways, records)) = self.forged(&name, kind).filter(|_| udp) {
            sent.extend(ways.iter().filter_map(|way| forge(&asked, *way, &records)));
        }
        let failure = |code| reply(&asked, code).sent(udp);
        sent.extend(match self.answer(&name, kind, udp) {
            Answer::Records(records) => reply(&asked, ResponseCode::NoError).with(records).sent(udp),
            Answer::NoData => reply(&asked, ResponseCode::NoError)
                .denying(self.denial(&name))
                .sent(udp),
            Answer::Failure(DnsFault::Nxdomain) => reply(&asked, ResponseCode::NXDomain)
                .denying(self.denial(&name))
                .sent(udp),
            Answer::Failure(DnsFault::Servfail) => failure(ResponseCode::ServFail),
            Answer::Failure(DnsFault::Refused) => failure(ResponseCode::Refused),
            Answer::Failure(DnsFault::Bogus) => reply(&asked, ResponseCode::ServFail).because(BOGUS).sent(udp),
            Answer::Failure(DnsFault::Timeout) => Vec::new(),
            Answer::Failure(DnsFault::Truncate | DnsFault::TruncateUdp) => {
                let mut cut = reply(&asked, ResponseCode::NoError);
                cut.message.metadata.truncation = true;
                cut.sent(udp)
            }
            Answer::Raw(count, bytes) => reply(&asked, ResponseCode::NoError).raw(count, &bytes),
            Answer::Message(bytes) => {
                let id = asked.metadata.id.to_be_bytes();
                back([&id[..], &bytes].concat())
            }
        });
        sent
    }
}

/// An answer being made.
struct Reply {
    message: Message,
    /// What the client can take over UDP.
    room: u16,
}

fn reply(asked: &Message, code: ResponseCode) -> Reply {
    let mut message = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.recursion_desired = asked.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.authoritative = true;
    message.metadata.response_code = code;
    if let Some(query) = asked.queries.first() {
        message.add_query(query.clone());
    }
    let theirs = asked
        .edns
        .as_ref()
        .map(|edns| edns.max_payload().clamp(512, UDP_PAYLOAD));
    if let Some(room) = theirs {
        let mut ours = Edns::new();
        ours.set_max_payload(room);
        message.edns = Some(ours);
    }
    Reply {
        message,
        room: theirs.unwrap_or(512),
    }
}

impl Reply {
    fn with(mut self, records: Vec<Record>) -> Self {
        for record in records {
            self.message.add_answer(record);
        }
        self
    }

    fn denying(mut self, proof: Vec<Record>) -> Self {
        for record in proof {
            self.message.add_authority(record);
        }
        self
    }

    /// With an extended error, for who knows EDNS.
    fn because(mut self, code: [u8; 2]) -> Self {
        if let Some(edns) = &mut self.message.edns {
            let error = EdnsOption::Unknown(15, code.to_vec());
            edns.options_mut().options.push((EdnsCode::Unknown(15), error));
        }
        self
    }

    /// As it is, or cut where it does not fit.
    fn sent(mut self, udp: bool) -> Vec<Sent> {
        let Ok(bytes) = self.message.to_vec() else {
            return Vec::new();
        };
        if !udp || bytes.len() <= self.room.into() {
            return back(bytes);
        }
        self.message.answers.clear();
        self.message.authorities.clear();
        self.message.metadata.truncation = true;
        self.message.to_vec().map(back).unwrap_or_default()
    }

    /// Header and question as they should be, a count that is promised, and bytes.
    fn raw(mut self, count: u16, answers: &[u8]) -> Vec<Sent> {
        self.message.edns = None;
        let Ok(mut bytes) = self.message.to_vec() else {
            return Vec::new();
        };
        if let Some(promised) = bytes.get_mut(6..8) {
            promised.copy_from_slice(&count.to_be_bytes());
        }
        bytes.extend_from_slice(answers);
        back(bytes)
    }
}

fn back(bytes: Vec<u8>) -> Vec<Sent> {
    vec![Sent {
        bytes,
        elsewhere: false,
    }]
}

/// An answer of somebody who could not see the question, or cannot send from where it was asked.
fn forge(asked: &Message, way: Forgery, records: &[Record]) -> Option<Sent> {
    let Reply { mut message, .. } = reply(asked, ResponseCode::NoError).with(records.to_vec());
    match way {
        Forgery::Id => message.metadata.id = !message.metadata.id,
        Forgery::Question => {
            let kind = asked.queries.first()?.query_type();
            let other = absolute("other.test").unwrap_or_else(|_| Name::root());
            message.queries = vec![Query::query(other, kind)];
        }
        Forgery::Port => {}
        Forgery::Noise => {
            return Some(Sent {
                bytes: vec![0],
                elsewhere: false,
            });
        }
    }
    Some(Sent {
        bytes: message.to_vec().ok()?,
        elsewhere: way == Forgery::Port,
    })
}
