//! The network's answers, by hickory: system configuration or given name servers, never the hosts file, never a search list.
//!
//! Owns timeouts, the number of questions in flight and the reading of every answer and error. Must not decide what an
//! answer means for mail.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{
    Resolver, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    net::{
        DnsError, NetError, NoRecords,
        runtime::TokioRuntimeProvider,
        udp::UdpClientStream,
        xfer::{DnsHandle, FirstAnswer},
    },
    proto::{
        op::{DnsRequestOptions, DnsResponse, Message, Query, ResponseCode},
        rr::{Name, RData, Record, RecordType, rdata::opt::EdnsOption},
    },
    system_conf::read_system_conf,
};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    AddressAnswer, DnsFailure, MxAnswer, NameServers, Resolve,
    direct::{Direct, Said},
};
use crate::net::{BoxFuture, Families, open_file_limit};

/// MX records kept per domain; 398 have been seen (HOSTILE.md D15), no sender tries more than a handful.
const MX_LIMIT: usize = 100;
/// Addresses kept per host.
const ADDRESS_LIMIT: usize = 32;
/// Answers kept by hickory below the router's own table, for names asked again after a short-lived failure.
const CACHED_ANSWERS: u64 = 1024;

/// Aliases in a row that are followed, whether in one answer or in several.
const ALIASES_MAX: usize = 8;

/// Asks recursive name servers over UDP, and over TCP what does not fit.
#[derive(Debug)]
pub struct HickoryResolver {
    hickory: TokioResolver,
    /// The short way, where there is only one server to ask, and hickory over TCP only for what does not fit.
    direct: Option<(Direct, TokioResolver)>,
    /// Asked again when hickory dropped the message that a failure came in.
    witness: SocketAddr,
    options: ResolverOptions,
    in_flight: Semaphore,
}

/// How patiently and how widely to ask.
#[derive(Debug, Clone, Copy)]
pub struct ResolverOptions {
    /// Time for one attempt.
    pub timeout: Duration,
    /// Attempts when there is no answer; a lookup never takes longer than `timeout` times `attempts`.
    pub attempts: u32,
    /// Questions in flight, each with a socket of its own.
    pub in_flight: usize,
    /// Which addresses to ask for. Of a single family, or one that is the last resort, the other one is asked about only where
    /// there is nothing: "no address" and "none that we use" are two things.
    pub families: Families,
}

impl Default for ResolverOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            attempts: 2,
            // Resend after resend a question holds up to three sockets. More than 200 answers at once overflow the
            // default receive buffer of a name server's single socket (measured).
            in_flight: (open_file_limit() / 8).clamp(8, 192),
            families: Families::V6AndV4,
        }
    }
}

/// No resolver can be made.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    /// The system does not say whom to ask.
    #[error(
        "the system's DNS configuration cannot be used ({0}); name servers can be given with `--nameserver IP[:PORT]`"
    )]
    System(NetError),
    /// Hickory refuses the configuration.
    #[error("the DNS resolver cannot be set up: {0}")]
    Setup(NetError),
}

/// What came back for one question.
pub(super) enum Reply {
    Records(Vec<Record>),
    Nothing { ttl: Duration },
    NoSuchName { ttl: Duration },
}

impl HickoryResolver {
    /// Asks the servers of the system's configuration.
    ///
    /// # Errors
    /// When that configuration cannot be read or names no server.
    pub fn from_system(options: ResolverOptions) -> Result<Self, ResolverError> {
        let (system, _) = read_system_conf().map_err(ResolverError::System)?;
        let servers = system.name_servers().iter().map(|server| {
            let port = server.connections.first().map_or(53, |connection| connection.port);
            NameServers::from(SocketAddr::new(server.ip, port))
        });
        let none = || ResolverError::System(io::Error::other("no name server in it").into());
        Self::new(&servers.reduce(NameServers::and).ok_or_else(none)?, options)
    }

    /// Asks `servers`, or those of the system's configuration when there are none.
    ///
    /// # Errors
    /// As the one or the other.
    pub fn of(servers: &[SocketAddr], options: ResolverOptions) -> Result<Self, ResolverError> {
        match servers.iter().copied().map(NameServers::from).reduce(NameServers::and) {
            Some(servers) => Self::new(&servers, options),
            None => Self::from_system(options),
        }
    }

    /// Asks `servers` only.
    ///
    /// # Errors
    /// When hickory refuses the configuration.
    pub fn new(servers: &NameServers, options: ResolverOptions) -> Result<Self, ResolverError> {
        let (udp, tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
        let hickory = hickory(servers, &[udp, tcp.clone()], options)?;
        let direct = match servers.addresses() {
            [only] => Some((
                Direct::new(*only, options.timeout),
                self::hickory(servers, &[tcp], options)?,
            )),
            _ => None,
        };
        let witness = servers.addresses().first().copied();
        let none = || ResolverError::Setup(NetError::NoConnections);
        Ok(Self {
            hickory,
            direct,
            witness: witness.ok_or_else(none)?,
            options,
            in_flight: Semaphore::new(options.in_flight.max(1)),
        })
    }

    pub(super) async fn ask(&self, name: &str, kind: RecordType) -> Result<Reply, DnsFailure> {
        let mut name = Name::from_ascii(name).map_err(|_| DnsFailure::Malformed)?;
        name.set_fqdn(true);
        let _permit = self.in_flight.acquire().await;
        let deadline = self.options.timeout * self.options.attempts.max(1);
        let answer = timeout(deadline, self.ask_patiently(&name, kind)).await;
        answer.unwrap_or(Err(DnsFailure::Timeout))
    }

    async fn ask_patiently(&self, name: &Name, kind: RecordType) -> Result<Reply, DnsFailure> {
        let mut left = self.options.attempts.max(1);
        loop {
            left -= 1;
            let error = match self.look_up(name, kind).await {
                Ok(records) if aliases(&records) > ALIASES_MAX => return Err(DnsFailure::Loop),
                Ok(records) => return Ok(Reply::Records(records)),
                Err(error) => error,
            };
            if let NetError::Dns(DnsError::NoRecordsFound(nothing)) = &error {
                return Box::pin(self.read_nothing(nothing, kind)).await;
            }
            let failure = failure(&error);
            if failure == DnsFailure::ServFail {
                return Err(Box::pin(self.why_servfail(name, kind)).await);
            }
            if left == 0 || !is_silence(&error) {
                return Err(failure);
            }
        }
    }

    async fn look_up(&self, name: &Name, kind: RecordType) -> Result<Vec<Record>, NetError> {
        let mut hickory = &self.hickory;
        // PTR names of loopback addresses are among those that hickory answers itself.
        let asks = kind != RecordType::PTR && !is_answered_locally(name);
        if let Some((direct, over_tcp)) = self.direct.as_ref().filter(|_| asks) {
            match direct.ask(name, kind).await {
                Said::Records(records) => return Ok(records),
                Said::Failure(error) => return Err(error),
                Said::TooMuch => hickory = over_tcp,
                Said::Otherwise => {}
            }
        }
        // Boxed, as all that is seldom needed: a question's future is as large as the largest it may wait for.
        let lookup = Box::pin(hickory.lookup(name.clone(), kind)).await?;
        Ok(lookup.answers().to_vec())
    }

    /// NXDOMAIN and NODATA prove themselves with a SOA record (RFC 2308). Without one it may be a weak forwarder, a
    /// referral, or the place where hickory stopped to follow CNAMEs, which it reports as NODATA.
    async fn read_nothing(&self, nothing: &NoRecords, kind: RecordType) -> Result<Reply, DnsFailure> {
        // Hickory takes an answer with a code it does not know for one without records.
        if !matches!(nothing.response_code, ResponseCode::NoError | ResponseCode::NXDomain) {
            return Err(refusal(nothing.response_code));
        }
        let asked_last = nothing.query.name();
        if nothing.soa.is_none() && !is_answered_locally(asked_last) {
            if nothing.ns.is_some() && nothing.response_code == ResponseCode::NoError {
                return Err(DnsFailure::Refused);
            }
            let message = self.testify(asked_last, kind).await?;
            if message.response_code != nothing.response_code {
                return Err(refusal(message.response_code));
            }
            if message
                .answers
                .iter()
                .any(|record| matches!(record.data, RData::CNAME(_)))
            {
                return Err(DnsFailure::Loop);
            }
        }
        let ttl = seconds(nothing.negative_ttl.unwrap_or(0));
        if nothing.response_code == ResponseCode::NXDomain {
            Ok(Reply::NoSuchName { ttl })
        } else {
            Ok(Reply::Nothing { ttl })
        }
    }

    /// A validating resolver says in an extended error (RFC 8914, codes 6 to 12) that signatures are wrong.
    async fn why_servfail(&self, name: &Name, kind: RecordType) -> DnsFailure {
        let Ok(message) = self.testify(name, kind).await else {
            return DnsFailure::ServFail;
        };
        let mut options = message.edns.iter().flat_map(|edns| &edns.options().options);
        let bogus = options.any(|(_, option)| {
            matches!(option, EdnsOption::Unknown(EXTENDED_ERROR, data) if matches!(data.as_slice(), [0, 6..=12, ..]))
        });
        if bogus { DnsFailure::Bogus } else { DnsFailure::ServFail }
    }

    /// The whole message of one answer, from below hickory's resolver.
    async fn testify(&self, name: &Name, kind: RecordType) -> Result<Message, DnsFailure> {
        let stream = UdpClientStream::builder(self.witness, TokioRuntimeProvider::default())
            .with_timeout(Some(self.options.timeout))
            .exchange();
        let query = Query::query(name.clone(), kind);
        let answer = stream.lookup(query, DnsRequestOptions::default()).first_answer().await;
        answer.map(DnsResponse::into_message).map_err(|error| failure(&error))
    }

    async fn find_mx(&self, domain: &str) -> Result<MxAnswer, DnsFailure> {
        let found = match self.ask(domain, RecordType::MX).await? {
            Reply::Records(found) => found,
            Reply::Nothing { ttl } => return Ok(MxAnswer::None { ttl }),
            Reply::NoSuchName { ttl } => return Ok(MxAnswer::NoSuchDomain { ttl }),
        };
        let mut ttl = u32::MAX;
        let mut records = Vec::new();
        for record in &found {
            if let RData::MX(mx) = &record.data {
                ttl = ttl.min(record.ttl);
                records.push((mx.preference, host_text(&mx.exchange)));
            }
        }
        if records.is_empty() {
            return Err(DnsFailure::Malformed);
        }
        records.sort_unstable();
        records.truncate(MX_LIMIT);
        let ttl = seconds(ttl);
        Ok(MxAnswer::Records { records, ttl })
    }

    async fn find_addresses(&self, host: &str) -> Result<AddressAnswer, DnsFailure> {
        let nothing = || Reply::Nothing { ttl: Duration::MAX };
        let (first, second, alone) = match self.options.families {
            Families::V6AndV4 | Families::V4AndV6 => {
                let (v4, v6) = tokio::join!(self.ask(host, RecordType::A), self.ask(host, RecordType::AAAA));
                return both(v4, v6);
            }
            Families::V4ThenV6 => (RecordType::A, RecordType::AAAA, false),
            Families::OnlyV4 => (RecordType::A, RecordType::AAAA, true),
            Families::OnlyV6 => (RecordType::AAAA, RecordType::A, true),
        };
        match self.ask(host, first).await {
            Ok(found @ (Reply::Records(_) | Reply::NoSuchName { .. })) => both(Ok(found), Ok(nothing())),
            Err(failure) if alone => Err(failure),
            found => both(found, self.ask(host, second).await),
        }
    }
}

impl Resolve for HickoryResolver {
    fn mx<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<MxAnswer, DnsFailure>> {
        Box::pin(self.find_mx(domain))
    }

    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<AddressAnswer, DnsFailure>> {
        Box::pin(self.find_addresses(host))
    }
}

fn hickory(
    servers: &NameServers,
    connections: &[ConnectionConfig],
    options: ResolverOptions,
) -> Result<TokioResolver, ResolverError> {
    let configs = servers.addresses().iter().map(|server| {
        let mut connections = connections.to_vec();
        for connection in &mut connections {
            connection.port = server.port();
        }
        NameServerConfig::new(server.ip(), true, connections)
    });
    let config = ResolverConfig::from_parts(None, Vec::new(), configs.collect());
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    let hickory = builder.options_mut();
    hickory.use_hosts_file = ResolveHosts::Never;
    hickory.timeout = options.timeout;
    // Hickory repeats SERVFAIL and unreadable answers too; we repeat silence only.
    hickory.attempts = 0;
    hickory.cache_size = CACHED_ANSWERS;
    builder.build().map_err(ResolverError::Setup)
}

/// A host has what either question found; it has nothing only when both say so.
fn both(first: Result<Reply, DnsFailure>, second: Result<Reply, DnsFailure>) -> Result<AddressAnswer, DnsFailure> {
    let mut ttl = u32::MAX;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for reply in [&first, &second] {
        let Ok(Reply::Records(found)) = reply else { continue };
        for record in found {
            if let Some(address) = record.data.ip_addr() {
                ttl = ttl.min(record.ttl);
                addresses.push(address);
            }
        }
    }
    if !addresses.is_empty() {
        addresses.truncate(ADDRESS_LIMIT);
        let ttl = seconds(ttl);
        return Ok(AddressAnswer::Addresses { addresses, ttl });
    }
    match (first?, second?) {
        (Reply::NoSuchName { ttl }, _) | (_, Reply::NoSuchName { ttl }) => Ok(AddressAnswer::NoSuchDomain { ttl }),
        (Reply::Nothing { ttl }, Reply::Nothing { ttl: other }) => Ok(AddressAnswer::None { ttl: ttl.min(other) }),
        (Reply::Records(_), _) | (_, Reply::Records(_)) => Err(DnsFailure::Malformed),
    }
}

/// Lower-case, without the final dot; bytes that are no host name stay escaped (`\032`).
pub(super) fn host_text(name: &Name) -> Box<str> {
    let mut text = name.to_ascii();
    text.make_ascii_lowercase();
    text.strip_suffix('.').unwrap_or(&text).into()
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl.into())
}

fn aliases(records: &[Record]) -> usize {
    let is_alias = |record: &&Record| matches!(record.data, RData::CNAME(_));
    records.iter().filter(is_alias).count()
}

/// RFC 6761 names that hickory never asks anybody about, so there is nobody to testify.
fn is_answered_locally(name: &Name) -> bool {
    let last = name.iter().next_back().unwrap_or_default();
    [b"localhost".as_slice(), b"invalid", b"onion"]
        .iter()
        .any(|local| last.eq_ignore_ascii_case(local))
}

/// No answer was read, so asking again may help.
fn is_silence(error: &NetError) -> bool {
    matches!(
        error,
        NetError::Timeout | NetError::Io(_) | NetError::Busy | NetError::NoConnections
    )
}

/// What a response code says that is neither "here it is" nor "there is none".
fn refusal(code: ResponseCode) -> DnsFailure {
    if code == ResponseCode::ServFail {
        DnsFailure::ServFail
    } else if matches!(code, ResponseCode::Refused | ResponseCode::NotAuth) {
        DnsFailure::Refused
    } else {
        DnsFailure::Malformed
    }
}

fn failure(error: &NetError) -> DnsFailure {
    if let NetError::Dns(DnsError::ResponseCode(code)) = error {
        refusal(*code)
    } else if matches!(error, NetError::Timeout | NetError::Busy | NetError::NoConnections) {
        DnsFailure::Timeout
    } else {
        DnsFailure::Malformed
    }
}

/// EDNS option 15 (RFC 8914).
const EXTENDED_ERROR: u16 = 15;
