//! A miniature internet on loopback: a DNS server and SMTP hosts whose behaviour one TOML file describes.
//!
//! Owns its format (`docs/lab.md`), its servers and what they count. Must not know how presend verifies; it is what
//! presend, its tests and its benches are pointed at.

mod counters;
mod dns;
mod host;
mod monitor;
mod serve;
mod session;
mod smtp;
mod tls;
mod world;

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hashbrown::HashMap;
use rand::Rng;
use tokio::{net::TcpListener, task::JoinSet, time::Instant};
use tokio_rustls::TlsAcceptor;

pub use self::{
    counters::{Counters, HostCounters, Line},
    monitor::{Allowance, Monitor, Violations, complaints},
    serve::serve,
    world::{
        DnsFault, Domain, Forged, Forgery, Hex, Host, Mx, On, Pipelining, Replies, Script, StartTls, Then, World,
        WorldError,
    },
};
use self::{
    dns::{DnsServer, Zone},
    host::Behaviour,
};

/// Attempts to find a port that is free everywhere.
const PORT_ATTEMPTS: u32 = 20;

/// The world of `presend demo`; a test makes sure that it parses.
#[must_use]
pub fn demo_world() -> World {
    World::parse(include_str!("demo.toml"), "demo.toml").unwrap_or_default()
}

/// The list of `presend demo`: CSV with a header.
#[must_use]
pub fn demo_list() -> &'static str {
    include_str!("demo.csv")
}

/// A lab that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The world contradicts itself.
    #[error("the world cannot be: {0}")]
    World(String),
    /// A socket cannot be had.
    #[error("cannot listen on {address}: {source}; on this machine 127.0.0.0/8 must be local and the port free")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate of the hosts cannot be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(String),
    /// The report cannot be written.
    #[error("cannot write the report: {0}")]
    Report(#[from] io::Error),
}

/// A running miniature internet; dropping it stops it.
pub struct Lab {
    dns: DnsServer,
    zone: Arc<Zone>,
    smtp_port: u16,
    hosts: Vec<Arc<Behaviour>>,
    shared: Arc<Shared>,
    listeners: JoinSet<()>,
}

/// What all connections share.
struct Shared {
    start: Instant,
    idle: Duration,
    record_lines: bool,
    /// For those kinds of STARTTLS that are a handshake.
    tls: HashMap<StartTls, TlsAcceptor>,
    open: AtomicU64,
    peak: AtomicU64,
}

impl Lab {
    /// Starts DNS and hosts on the current tokio runtime.
    ///
    /// # Errors
    /// The world contradicts itself, or an address or port cannot be had.
    pub async fn start(mut world: World) -> Result<Self, LabError> {
        world.settle().map_err(LabError::World)?;
        let addresses = allot(&world)?;
        let zone = Arc::new(Zone::new(&world, &addresses).map_err(LabError::World)?);
        let listening: Vec<_> = world
            .hosts
            .iter()
            .zip(&addresses)
            .filter(|(host, _)| !host.down)
            .collect();
        let places: Vec<_> = listening.iter().map(|(_, address)| **address).collect();
        let (sockets, smtp_port) = listen(&places, world.smtp_port).await?;
        let dns = DnsServer::start(zone.clone(), world.dns_port)
            .await
            .map_err(|source| LabError::Listen {
                address: (Ipv4Addr::LOCALHOST, world.dns_port).into(),
                source,
            })?;
        let shared = Arc::new(Shared {
            start: Instant::now(),
            idle: Duration::from_millis(world.idle_timeout_ms),
            record_lines: world.record_lines,
            tls: tls::acceptors(world.hosts.iter().map(|host| host.starttls))?,
            open: AtomicU64::new(0),
            peak: AtomicU64::new(0),
        });
        let mut sockets = sockets.into_iter();
        let mut listeners = JoinSet::new();
        let mut hosts = Vec::with_capacity(world.hosts.len());
        for (keys, address) in world.hosts.into_iter().zip(addresses) {
            let socket = if keys.down { None } else { sockets.next() };
            let host = Arc::new(Behaviour::new(keys, address));
            if let Some(socket) = socket {
                listeners.spawn(accept(socket, host.clone(), shared.clone()));
            }
            hosts.push(host);
        }
        Ok(Self {
            dns,
            zone,
            smtp_port,
            hosts,
            shared,
            listeners,
        })
    }

    /// Where the DNS listens, UDP and TCP.
    #[must_use]
    pub fn dns(&self) -> SocketAddr {
        self.dns.address
    }

    /// The one port of all hosts.
    #[must_use]
    pub fn smtp_port(&self) -> u16 {
        self.smtp_port
    }

    /// Where a host listens, or would listen if it were not down.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<SocketAddr> {
        let host = self.hosts.iter().find(|host| host.keys.name == name)?;
        Some(SocketAddr::new(host.ip, self.smtp_port))
    }

    /// Everything counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let hosts = self.hosts.iter().map(|host| (host.keys.name.clone(), host.seen()));
        Counters {
            hosts: hosts.collect(),
            dns: self.zone.asked(),
            concurrent_peak: self.shared.peak.load(Relaxed),
        }
    }

    /// Commands by verb over all hosts; verbs never said are absent.
    #[must_use]
    pub fn verbs(&self) -> BTreeMap<&'static str, u64> {
        self.counters().verbs()
    }

    /// Stops everything; returns when the ports are free again.
    pub async fn stop(mut self) {
        self.listeners.shutdown().await;
        self.dns.stop().await;
    }
}

/// Gives every host its address.
fn allot(world: &World) -> Result<Vec<IpAddr>, LabError> {
    let mut taken = std::collections::HashSet::new();
    for host in &world.hosts {
        match host.ip {
            Some(ip) if !ip.is_loopback() => {
                return Err(LabError::World(format!(
                    "host {} cannot listen on {ip}, which is not loopback; write it as `a` of a `[[domain]]`",
                    host.name
                )));
            }
            Some(ip) if !taken.insert(ip) => return Err(LabError::World(format!("two hosts have the address {ip}"))),
            Some(_) | None => {}
        }
    }
    let mut places = places(world.base)?;
    let mut addresses = Vec::with_capacity(world.hosts.len());
    for host in &world.hosts {
        let place = host.ip.or_else(|| places.find(|place| !taken.contains(place)));
        let exhausted = || {
            LabError::World(format!(
                "host {} gets no address: too many hosts for this `base`",
                host.name
            ))
        };
        addresses.push(place.ok_or_else(exhausted)?);
    }
    Ok(addresses)
}

/// Addresses for hosts, each in a /24 of its own as long as there are any: like hosts of different companies, they must not
/// share a budget that is kept by network.
fn places(base: Option<Ipv4Addr>) -> Result<impl Iterator<Item = IpAddr>, LabError> {
    // 127.0.x.y and 127.1.x.y hold well-known services (127.0.0.1, 127.0.0.53, 127.0.1.1) on many machines.
    let mut random = rand::rng();
    let base =
        base.unwrap_or_else(|| Ipv4Addr::new(127, random.random_range(2..=254), 0, random.random_range(1..=200)));
    if !base.is_loopback() {
        return Err(LabError::World(format!("base {base} is not in 127.0.0.0/8")));
    }
    let [first, second, third, last] = base.octets();
    let networks =
        move |last| (0..=255u8).map(move |step| Ipv4Addr::new(first, second, third.wrapping_add(step), last));
    Ok((last.max(1)..=254).flat_map(networks).map(IpAddr::from))
}

/// Listens at every place on one port; a free port is taken from the first place and tried at the others. Without a place the
/// port is one on which nobody listens: hosts that are down refuse there.
async fn listen(places: &[IpAddr], port: u16) -> Result<(Vec<TcpListener>, u16), LabError> {
    if places.is_empty() && port == 0 {
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let taken = TcpListener::bind(address).await.and_then(|socket| socket.local_addr());
        let port = taken.map_err(|source| LabError::Listen { address, source })?.port();
        return Ok((Vec::new(), port));
    }
    let mut attempts = 0;
    'ports: loop {
        let mut chosen = port;
        let mut sockets = Vec::with_capacity(places.len());
        for place in places {
            let address = SocketAddr::new(*place, chosen);
            let bound = TcpListener::bind(address)
                .await
                .and_then(|socket| Ok((socket.local_addr()?.port(), socket)));
            match bound {
                Ok((port, socket)) => {
                    chosen = port;
                    sockets.push(socket);
                }
                Err(error) if port == 0 && attempts < PORT_ATTEMPTS && error.kind() == io::ErrorKind::AddrInUse => {
                    attempts += 1;
                    continue 'ports;
                }
                Err(source) => return Err(LabError::Listen { address, source }),
            }
        }
        return Ok((sockets, chosen));
    }
}

async fn accept(socket: TcpListener, host: Arc<Behaviour>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        match socket.accept().await {
            Ok((stream, client)) => {
                connections.spawn(smtp::serve(stream, client.ip(), host.clone(), shared.clone()));
            }
            // Out of file descriptors: the connections that are open must end first.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}
