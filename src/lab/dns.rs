//! The DNS of the world: one handler that answers like a recursive resolver, from memory, and fails where the world says so.

use std::{
    collections::BTreeMap,
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use hashbrown::{HashMap, HashSet};
use hickory_server::{
    Server,
    net::runtime::Time,
    proto::{
        ProtoError,
        op::{Edns, Header, HeaderCounts, Metadata, ResponseCode},
        rr::{
            Name, RData, Record, RecordType,
            rdata::{CNAME, MX, PTR, SOA, TXT},
        },
    },
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};
use tokio::net::{TcpListener, UdpSocket};

use super::{
    counters::lock,
    world::{DnsFault, Domain, World, canonical},
};

/// Time to live where the world gives none.
const TTL: u32 = 300;
/// How long "there is no such thing" may be kept.
const NEGATIVE_TTL: u32 = 60;
/// Aliases followed for one question; the client asks on from there.
const ALIASES_MAX: usize = 16;
/// Names counted; a flood of random names must not grow the table without bound.
const COUNTED_MAX: usize = 100_000;
/// What fits into one UDP answer without fragments (DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;

/// Everything the DNS knows.
#[derive(Debug, Default)]
pub(super) struct Zone {
    names: HashMap<String, Entry>,
    /// Parents of names: they exist and have nothing.
    parents: HashSet<String>,
    latency: Duration,
    asked: Mutex<BTreeMap<String, u64>>,
}

#[derive(Debug, Default)]
struct Entry {
    records: Vec<Record>,
    fault: Option<DnsFault>,
    fault_times: u64,
    faults_given: std::sync::atomic::AtomicU64,
    wildcard: bool,
}

/// What the zone says.
enum Answer {
    Records(Vec<Record>),
    NoData,
    Failure(DnsFault),
}

impl Zone {
    /// The zone of a world whose hosts have these addresses.
    ///
    /// # Errors
    /// A name that cannot be one.
    pub(super) fn new(world: &World, addresses: &[IpAddr]) -> Result<Self, String> {
        let mut zone = Self {
            latency: Duration::from_millis(world.dns_latency_ms),
            ..Self::default()
        };
        let by_name: HashMap<&str, IpAddr> = world
            .hosts
            .iter()
            .zip(addresses)
            .map(|(host, address)| (&*host.name, *address))
            .collect();
        let listed: HashSet<&str> = world.domains.iter().map(|domain| &*domain.name).collect();
        for (host, address) in world.hosts.iter().zip(addresses) {
            zone.add(&host.name, TTL, RData::from(*address))?;
            for domain in host.serves.iter().filter(|domain| !listed.contains(&***domain)) {
                let exchange = absolute(&host.name)?;
                zone.add(domain, TTL, RData::MX(MX::new(host.preference, exchange)))?;
            }
        }
        for domain in &world.domains {
            zone.add_domain(domain, &by_name)?;
        }
        for name in zone.names.keys() {
            let parents = name.match_indices('.').filter_map(|(dot, _)| name.get(dot + 1..));
            zone.parents.extend(parents.map(str::to_owned));
        }
        Ok(zone)
    }

    fn add(&mut self, name: &str, ttl: u32, data: RData) -> Result<(), String> {
        let record = Record::from_rdata(absolute(name)?, ttl, data);
        self.names.entry_ref(name).or_default().records.push(record);
        Ok(())
    }

    fn add_domain(&mut self, domain: &Domain, hosts: &HashMap<&str, IpAddr>) -> Result<(), String> {
        let ttl = domain.ttl.unwrap_or(TTL);
        let mut data = Vec::new();
        for mx in &domain.mx {
            data.push(RData::MX(MX::new(mx.preference, absolute(&mx.host)?)));
        }
        for text in &domain.a {
            let address = text
                .parse()
                .ok()
                .or_else(|| hosts.get(&*canonical(text).ok()?).copied());
            data.push(RData::from(address.ok_or_else(|| {
                format!(
                    "`{text}` (a of {}) is neither an address nor a host of this world",
                    domain.name
                )
            })?));
        }
        if let Some(target) = &domain.cname {
            data.push(RData::CNAME(CNAME(absolute(&canonical(target)?)?)));
        }
        if let Some(target) = &domain.ptr {
            data.push(RData::PTR(PTR(absolute(&canonical(target)?)?)));
        }
        data.extend(domain.txt.iter().map(|text| RData::TXT(TXT::new(vec![text.clone()]))));
        for data in data {
            self.add(&domain.name, ttl, data)?;
        }
        let entry = self.names.entry_ref(&domain.name).or_default();
        entry.fault = domain.fail;
        entry.fault_times = domain.fail_times;
        entry.wildcard = domain.wildcard;
        Ok(())
    }

    /// Questions so far, by `"MX acme.test"`.
    pub(super) fn asked(&self) -> BTreeMap<String, u64> {
        lock(&self.asked).clone()
    }

    fn count(&self, kind: RecordType, name: &str) {
        let mut asked = lock(&self.asked);
        let question = format!("{kind} {name}");
        if asked.len() < COUNTED_MAX || asked.contains_key(&question) {
            *asked.entry(question).or_default() += 1;
        }
    }

    /// The entry of a name, or of the nearest wildcard above it.
    fn entry(&self, name: &str) -> Option<&Entry> {
        self.names.get(name).or_else(|| {
            let above = name.match_indices('.').filter_map(|(dot, _)| name.get(dot + 1..));
            above
                .filter_map(|parent| self.names.get(parent))
                .find(|entry| entry.wildcard)
        })
    }

    fn answer(&self, name: &str, kind: RecordType) -> Answer {
        let mut found = Vec::new();
        let mut name = name.to_owned();
        for _ in 0..ALIASES_MAX {
            let Some(entry) = self.entry(&name) else {
                return match found.is_empty() {
                    true if self.parents.contains(&name) => Answer::NoData,
                    true => Answer::Failure(DnsFault::Nxdomain),
                    false => Answer::Records(found),
                };
            };
            if let Some(fault) = entry.fails() {
                return Answer::Failure(fault);
            }
            let owner = || absolute(&name).unwrap_or_else(|_| Name::root());
            let matching = entry
                .records
                .iter()
                .filter(|record| record.record_type() == kind || kind == RecordType::ANY);
            let before = found.len();
            found.extend(matching.map(|record| Record::from_rdata(owner(), record.ttl, record.data.clone())));
            if found.len() > before {
                return Answer::Records(found);
            }
            let alias = entry.records.iter().find_map(|record| match &record.data {
                RData::CNAME(target) => Some((record.ttl, target.0.clone())),
                _ => None,
            });
            let Some((ttl, target)) = alias else {
                break;
            };
            found.push(Record::from_rdata(owner(), ttl, RData::CNAME(CNAME(target.clone()))));
            name = plain(&target);
        }
        if found.is_empty() {
            Answer::NoData
        } else {
            Answer::Records(found)
        }
    }

    /// SOA of the zone that denies `name`: its top-level domain if the world has it, else the root.
    fn denial(&self, name: &str) -> Vec<Record> {
        let top = name.rsplit('.').next().unwrap_or_default();
        let owner = if self.parents.contains(top) { top } else { "" };
        let root = Name::root;
        let soa = SOA::new(root(), root(), 1, 3600, 600, 86_400, NEGATIVE_TTL);
        let owner = absolute(owner).unwrap_or_else(|_| root());
        vec![Record::from_rdata(owner, NEGATIVE_TTL, RData::SOA(soa))]
    }

    async fn respond(&self, request: &Request, mut handle: impl ResponseHandler) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.authoritative = true;
        metadata.recursion_available = true;
        let (mut answers, mut denial) = (Vec::new(), Vec::new());
        match request.request_info() {
            Err(_) => metadata.response_code = ResponseCode::FormErr,
            Ok(info) => {
                let name = plain(info.query.name());
                let kind = info.query.query_type();
                self.count(kind, &name);
                if !self.latency.is_zero() {
                    tokio::time::sleep(self.latency).await;
                }
                match self.answer(&name, kind) {
                    Answer::Records(records) => answers = records,
                    Answer::NoData => denial = self.denial(&name),
                    Answer::Failure(DnsFault::Nxdomain) => {
                        metadata.response_code = ResponseCode::NXDomain;
                        denial = self.denial(&name);
                    }
                    Answer::Failure(DnsFault::Servfail) => metadata.response_code = ResponseCode::ServFail,
                    Answer::Failure(DnsFault::Refused) => metadata.response_code = ResponseCode::Refused,
                    Answer::Failure(DnsFault::Truncate) => metadata.truncation = true,
                    Answer::Failure(DnsFault::Timeout) => return unsent(metadata),
                }
            }
        }
        let edns = request.edns.as_ref().map(|theirs| {
            let mut ours = Edns::new();
            ours.set_max_payload(theirs.max_payload().min(UDP_PAYLOAD));
            ours
        });
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let response = builder.build(metadata, &answers, &[], &denial, &[]);
        handle
            .send_response(response)
            .await
            .unwrap_or_else(|_| unsent(metadata))
    }
}

impl Entry {
    /// The fault of this question, if it has one.
    fn fails(&self) -> Option<DnsFault> {
        let given = self.faults_given.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.fault.filter(|_| self.fault_times == 0 || given < self.fault_times)
    }
}

fn unsent(metadata: Metadata) -> ResponseInfo {
    ResponseInfo::from(Header {
        metadata,
        counts: HeaderCounts::default(),
    })
}

/// Lower case, no final dot.
fn plain(name: &Name) -> String {
    let mut text = name.to_ascii();
    text.make_ascii_lowercase();
    if text.ends_with('.') {
        text.pop();
    }
    text
}

fn absolute(name: &str) -> Result<Name, String> {
    Name::from_ascii(format!("{name}.")).map_err(|error: ProtoError| format!("`{name}` is no domain name: {error}"))
}

/// The handler that hickory's server calls; written out because the trait is an `async_trait`.
#[derive(Debug)]
struct Handler(Arc<Zone>);

impl RequestHandler for Handler {
    fn handle_request<'s, 'r, 'f, R, T>(
        &'s self,
        request: &'r Request,
        handle: R,
    ) -> Pin<Box<dyn Future<Output = ResponseInfo> + Send + 'f>>
    where
        R: ResponseHandler + 'f,
        T: Time + 'f,
        's: 'f,
        'r: 'f,
        Self: 'f,
    {
        Box::pin(self.0.respond(request, handle))
    }
}

/// A DNS server that stops when it is dropped.
pub(super) struct DnsServer {
    pub(super) address: SocketAddr,
    server: Server<Handler>,
}

impl DnsServer {
    /// Listens on 127.0.0.1, UDP and TCP on one port.
    ///
    /// # Errors
    /// No port is free for both, or the one that was asked for is taken.
    pub(super) async fn start(zone: Arc<Zone>, port: u16) -> std::io::Result<Self> {
        let mut attempts = 0;
        let (socket, listener) = loop {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).await?;
            match TcpListener::bind(socket.local_addr()?).await {
                Ok(listener) => break (socket, listener),
                Err(error) if port != 0 || attempts >= super::PORT_ATTEMPTS => return Err(error),
                Err(_) => attempts += 1,
            }
        };
        let address = socket.local_addr()?;
        let mut server = Server::new(Handler(zone));
        server.register_socket(socket);
        server.register_listener(listener, Duration::from_secs(30), 1024);
        Ok(Self { address, server })
    }

    pub(super) async fn stop(mut self) {
        let _ = self.server.shutdown_gracefully().await;
    }
}
