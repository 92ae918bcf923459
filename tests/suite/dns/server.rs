//! A DNS server on loopback, UDP and TCP, that answers as a test scripts it and writes down what it was asked.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use hickory_resolver::proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, CNAME, MX, SOA},
    },
};
use presend::{
    dns::{HickoryResolver, NameServers, ResolverOptions, Router, RouterOptions},
    net::Families,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

/// One question as the server sees it.
pub(crate) struct Asked {
    pub(crate) message: Message,
    pub(crate) query: Query,
    /// `a.test`
    pub(crate) name: String,
    pub(crate) tcp: bool,
}

impl Asked {
    pub(crate) fn is(&self, kind: RecordType) -> bool {
        self.query.query_type() == kind
    }

    pub(crate) fn reply(&self, code: ResponseCode, answers: impl IntoIterator<Item = Record>) -> Message {
        let mut reply = Message::new(self.message.metadata.id, MessageType::Response, OpCode::Query);
        reply.add_query(self.query.clone());
        reply.metadata.response_code = code;
        for record in answers {
            reply.add_answer(record);
        }
        reply
    }

    pub(crate) fn answer(&self, data: impl IntoIterator<Item = RData>) -> Message {
        let records = data
            .into_iter()
            .map(|data| Record::from_rdata(self.query.name().clone(), 300, data));
        self.reply(ResponseCode::NoError, records)
    }

    /// NXDOMAIN or NODATA with its proof.
    pub(crate) fn nothing(&self, code: ResponseCode) -> Message {
        let mut reply = self.reply(code, []);
        let soa = SOA::new(name("ns.test"), name("host.test"), 1, 2, 3, 4, 120);
        reply.add_authority(Record::from_rdata(name("test"), 120, RData::SOA(soa)));
        reply
    }

    /// The bytes of the question section's end onwards are the caller's.
    pub(crate) fn raw(&self, answers: u16, rest: &[u8]) -> Vec<u8> {
        let mut bytes = self.reply(ResponseCode::NoError, []).to_vec().unwrap();
        bytes[6..8].copy_from_slice(&answers.to_be_bytes());
        bytes.extend_from_slice(rest);
        bytes
    }
}

/// What goes back for one question.
pub(crate) enum Sent {
    Back(Vec<u8>),
    /// From another port than the one asked.
    Elsewhere(Vec<u8>),
}

impl From<Message> for Sent {
    fn from(message: Message) -> Self {
        Self::Back(message.to_vec().unwrap())
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// `udp MX a.test` per question.
    pub(crate) log: Arc<Mutex<Vec<String>>>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// How long the TCP side collects answers.
const BURST: Duration = Duration::from_millis(60);

type Script = Arc<dyn Fn(&Asked) -> Vec<Sent> + Send + Sync>;

impl Server {
    pub(crate) async fn start(script: impl Fn(&Asked) -> Vec<Sent> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = tcp.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let script: Script = Arc::new(script);
        let tasks = [
            tokio::spawn(serve_udp(udp, script.clone(), log.clone())),
            tokio::spawn(serve_tcp(tcp, script, log.clone())),
        ];
        Self { address, log, tasks }
    }

    pub(crate) fn resolver(&self) -> HickoryResolver {
        self.resolver_with(ResolverOptions {
            timeout: Duration::from_millis(2500),
            ..patience()
        })
    }

    pub(crate) fn resolver_with(&self, options: ResolverOptions) -> HickoryResolver {
        HickoryResolver::new(&NameServers::from(self.address), options).unwrap()
    }

    pub(crate) fn router(&self) -> Router {
        Router::new(Arc::new(self.resolver()), RouterOptions::default())
    }

    /// Questions whose log line (`udp MX a.test`) holds `what`.
    pub(crate) fn count(&self, what: &str) -> usize {
        self.log
            .lock()
            .unwrap()
            .iter()
            .filter(|line| line.contains(what))
            .count()
    }
}

/// Short waits for servers that stay silent; hickory itself resends a question after a third of a second.
pub(crate) fn patience() -> ResolverOptions {
    ResolverOptions {
        timeout: Duration::from_millis(300),
        attempts: 2,
        in_flight: 64,
        families: Families::V6AndV4,
    }
}

async fn serve_udp(socket: UdpSocket, script: Script, log: Arc<Mutex<Vec<String>>>) {
    let elsewhere = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buffer = vec![0; 4096];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
        for sent in take(&buffer[..length], false, &script, &log) {
            let (socket, bytes) = match sent {
                Sent::Back(bytes) => (&socket, bytes),
                Sent::Elsewhere(bytes) => (&elsewhere, bytes),
            };
            socket.send_to(&bytes, peer).await.unwrap();
        }
    }
}

async fn serve_tcp(listener: TcpListener, script: Script, log: Arc<Mutex<Vec<String>>>) {
    let mut connections = JoinSet::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (script, log) = (script.clone(), log.clone());
        connections.spawn(async move {
            // Answers come in bursts, as over a long round trip.
            let mut late = Vec::new();
            loop {
                let Ok(length) = timeout(BURST, stream.read_u16()).await else {
                    stream.write_all(&late).await.unwrap();
                    late.clear();
                    continue;
                };
                let Ok(length) = length else { break };
                let mut buffer = vec![0; length.into()];
                stream.read_exact(&mut buffer).await.unwrap();
                for sent in take(&buffer, true, &script, &log) {
                    let (Sent::Back(bytes) | Sent::Elsewhere(bytes)) = sent;
                    late.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
                    late.extend(bytes);
                }
            }
        });
    }
}

fn take(bytes: &[u8], tcp: bool, script: &Script, log: &Mutex<Vec<String>>) -> Vec<Sent> {
    let message = Message::from_vec(bytes).unwrap();
    let query = message.queries[0].clone();
    let name = query.name().to_ascii().trim_end_matches('.').to_owned();
    let transport = if tcp { "tcp" } else { "udp" };
    log.lock()
        .unwrap()
        .push(format!("{transport} {} {name}", query.query_type()));
    let asked = Asked {
        message,
        query,
        name,
        tcp,
    };
    script(&asked)
}

pub(crate) fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).unwrap();
    name.set_fqdn(true);
    name
}

pub(crate) fn mx(preference: u16, host: &str) -> RData {
    RData::MX(MX::new(preference, name(host)))
}

pub(crate) fn a(last: u8) -> RData {
    RData::A(A::new(8, 8, 8, last))
}

pub(crate) fn cname(from: &str, to: &str) -> Record {
    Record::from_rdata(name(from), 300, RData::CNAME(CNAME(name(to))))
}
