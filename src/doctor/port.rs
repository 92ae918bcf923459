//! Does anything leave through port 25, and what do mail hosts say when we come? A connection, the greeting, QUIT: never more.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{Check, Plan, Seams, Status, resolver::Health};
use crate::{
    address::{Domain, Rules},
    dns::{MailRoute, NoMailHost, Route, RouteFailure},
    net::{Call, DialError, Vetted, vet},
    output::clean,
    replies::{About, Classifier, Meaning},
    smtp::{Ended, Fault, Identity, Session, Speaker, Stage, Tally, Transcript, Why, WireParts},
    stop::Stop,
};

/// Addresses tried of one host.
const ADDRESSES: usize = 2;
/// Characters shown of a greeting.
const SHOWN: usize = 200;

/// What knocking at doors needs.
pub(super) struct Knock<'a> {
    pub(super) plan: &'a Plan,
    pub(super) seams: &'a Seams,
    pub(super) route: &'a dyn Route,
    pub(super) identity: Option<&'a Identity>,
    pub(super) health: Health,
}

/// What a host did.
enum Door {
    /// It greeted.
    Greeted { banner: String, took: Duration },
    /// It greeted and turned us away.
    Refused { words: String, meaning: Box<Meaning> },
    /// A connection stood and no greeting came of it.
    Mute(Fault),
    /// It is this machine itself.
    Ourselves,
    /// There was no connection.
    Closed(Closed),
}

/// Why there was no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closed {
    Silence(Duration),
    Refused,
    NoRoute,
    Forbidden,
    Proxy,
    Other(io::ErrorKind),
}

impl Closed {
    fn new(error: &io::Error, waited: Duration) -> Self {
        use io::ErrorKind as Kind;
        let kind = error.kind();
        if kind == Kind::TimedOut {
            Self::Silence(waited)
        } else if kind == Kind::ConnectionRefused {
            Self::Refused
        } else if matches!(
            kind,
            Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown
        ) {
            Self::NoRoute
        } else if kind == Kind::PermissionDenied {
            Self::Forbidden
        } else {
            Self::Other(kind)
        }
    }

    fn seen(self) -> String {
        match self {
            Self::Silence(waited) => format!("no answer in {} s", waited.as_secs()),
            Self::Refused => "the connection was refused".into(),
            Self::NoRoute => "there is no route to it".into(),
            Self::Forbidden => "this machine's firewall forbids it".into(),
            Self::Proxy => "the proxy did not connect".into(),
            Self::Other(kind) => format!("no connection: {kind}"),
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Silence(_) => {
                "port 25 seems blocked on the way out: ask the provider to open it, or run presend on a machine where it is open"
            }
            Self::Refused => {
                "name a host that surely listens; if all refuse, something on the way out answers for them"
            }
            Self::NoRoute => "mend the network",
            Self::Forbidden => "permit outgoing connections to port 25",
            Self::Proxy => "see whether the proxy of `--proxy` runs, knows us, and may use port 25",
            Self::Other(_) => "see the system's log",
        }
    }
}

impl Knock<'_> {
    /// One line for each host, and whether any of them was reached.
    pub(super) async fn checks(&self) -> (Vec<Check>, bool) {
        let named: Vec<String> = match (&*self.plan.hosts, self.identity) {
            ([], Some(identity)) => vec![identity.reverse_path().domain().to_owned()],
            ([], None) => {
                let check = Check::new("port_25", Status::Skip, "not tried: no host is named");
                return (
                    vec![check.advice("name a mail host of yours or of a friend with `--host`")],
                    false,
                );
            }
            (hosts, _) => hosts.to_vec(),
        };
        let mut found = Vec::new();
        for name in named {
            let door = match self.find(&name).await {
                Ok((host, addresses)) => Ok(self.open(&host, &addresses).await),
                Err(check) => Err(check),
            };
            found.push((name, door));
        }
        let stood = |door: &Result<(IpAddr, Door), Check>| match door {
            Ok((_, Door::Greeted { .. } | Door::Refused { .. } | Door::Mute(_))) => true,
            Ok((_, Door::Ourselves | Door::Closed(_))) | Err(_) => false,
        };
        let open = found.iter().any(|(_, door)| stood(door));
        let line = |(name, door): (String, Result<(IpAddr, Door), Check>)| match door {
            Ok((ip, door)) => self.line(ip, door, open).about(&*clean(&name, 255)),
            Err(check) => check.about(&*clean(&name, 255)),
        };
        (found.into_iter().map(line).collect(), open)
    }

    /// The first mail host of a name, with its addresses.
    async fn find(&self, name: &str) -> Result<(Arc<str>, Vec<Vetted>), Check> {
        let lab = self.plan.rules.allow_special_use;
        let skip = |seen: String| Check::new("port_25", Status::Skip, seen);
        if let Ok(ip) = name.parse::<IpAddr>() {
            let special =
                |special: crate::net::SpecialUse| format!("not tried: a special-use address ({})", special.name());
            return vet(ip, lab)
                .map(|ip| (Arc::from(name), vec![ip]))
                .map_err(|refused| skip(special(refused)));
        }
        match self.health {
            Health::Honest => {}
            Health::Rewrites => return Err(skip("not tried: the resolver invents answers".into())),
            Health::Silent => return Err(skip("not tried: the resolver does not answer".into())),
        }
        // A machine's own name needs no public suffix.
        let rules = Rules {
            allow_special_use: true,
        };
        let domain = Domain::parse(name, rules).map_err(|error| {
            Check::new("port_25", Status::Fail, format!("not a host name: {error}")).advice("mend `--host`")
        })?;
        let route = self.route.route(&domain).await;
        let seen = match &*route {
            MailRoute::Exchangers(exchangers) => match exchangers.first() {
                Some(first) => return Ok((Arc::clone(&first.host), first.addresses.clone())),
                None => "not tried: it has no mail host",
            },
            MailRoute::ImplicitMx(only) => return Ok((Arc::clone(&only.host), only.addresses.clone())),
            MailRoute::NullMx => "not tried: it takes no mail (null MX)",
            MailRoute::NoSuchDomain => "not tried: the name does not exist",
            MailRoute::NoMailHost(NoMailHost::NoRecords) => "not tried: it has neither MX nor address",
            MailRoute::NoMailHost(NoMailHost::LoopbackMx) => "not tried: its MX is the local machine",
            MailRoute::Failure(RouteFailure::Dns(failure)) => {
                return Err(skip(format!("not tried: {failure}")));
            }
            MailRoute::Failure(RouteFailure::PrivateMx(_)) => "not tried: its addresses are private or reserved",
            MailRoute::Failure(RouteFailure::OtherFamily) => "not tried: no address of an IP version that is used",
            MailRoute::Failure(
                RouteFailure::MxIsAddress | RouteFailure::MxUnresolvable | RouteFailure::ResolverRewrites,
            ) => "not tried: none of its mail hosts can be found",
        };
        Err(skip(seen.into()).advice("name another host with `--host`"))
    }

    /// Tries the addresses in turn; the first failure is told when none answers.
    async fn open(&self, host: &Arc<str>, addresses: &[Vetted]) -> (IpAddr, Door) {
        let mut first = None;
        for address in addresses.iter().take(ADDRESSES) {
            let door = self.knock(host, *address).await;
            if !matches!(door, Door::Closed(_)) {
                return (address.ip(), door);
            }
            first.get_or_insert((address.ip(), door));
        }
        first.unwrap_or((IpAddr::from([0, 0, 0, 0]), Door::Closed(Closed::NoRoute)))
    }

    async fn knock(&self, host: &Arc<str>, address: Vetted) -> Door {
        let plan = self.plan;
        let ours = plan.sources.iter().chain(&plan.public);
        if ours.into_iter().any(|ip| ip.to_canonical() == address.ip()) && !plan.rules.allow_special_use {
            return Door::Ourselves;
        }
        let started = Instant::now();
        let call = Call {
            to: address,
            port: plan.smtp_port,
            group: host,
            within: plan.timeouts.connect,
        };
        let stream = match self.seams.dial.dial(call).await {
            Ok(stream) => stream,
            Err(DialError::Host(error)) => return Door::Closed(Closed::new(&error, started.elapsed())),
            Err(DialError::Proxy(_)) => return Door::Closed(Closed::Proxy),
        };
        let session = Session::new(WireParts {
            stream,
            host: Arc::clone(host),
            peer: SocketAddr::new(address.ip(), plan.smtp_port),
            timeouts: plan.timeouts,
            transcript: true,
            tally: Arc::new(Tally::default()),
            stop: Stop::new(),
        });
        // The name is only compared with the greeting; nothing but QUIT is said.
        let nobody = Identity::new("doctor.invalid", "doctor@doctor.invalid").ok();
        let Some(identity) = self.identity.or(nobody.as_ref()) else {
            return Door::Mute(Fault::Unsayable);
        };
        match session.greeting(identity).await {
            Ok(greeted) => {
                let took = started.elapsed();
                let banner = greeted
                    .quit()
                    .await
                    .ok()
                    .flatten()
                    .map(|said| greeting(&said))
                    .unwrap_or_default();
                Door::Greeted { banner, took }
            }
            Err(Ended {
                why: Why::Fault(Fault::Loop),
                ..
            }) => Door::Ourselves,
            Err(Ended {
                why: Why::Fault(fault), ..
            }) => Door::Mute(fault),
            Err(Ended {
                why: Why::Refused(reply),
                ..
            }) => {
                let classifier = self
                    .seams
                    .classifier
                    .as_deref()
                    .unwrap_or_else(|| Classifier::built_in());
                let provider = crate::replies::providers::recognise(host).map(|provider| &*provider.id);
                let meaning = classifier.classify(Stage::Greeting, &reply, provider);
                Door::Refused {
                    words: format!("{} {}", reply.code(), reply.text()),
                    meaning: Box::new(meaning),
                }
            }
        }
    }

    fn line(&self, ip: IpAddr, door: Door, open: bool) -> Check {
        let port = self.plan.smtp_port;
        let check =
            |status, seen: String| Check::new("port_25", status, format!("{} {seen}", SocketAddr::new(ip, port)));
        match door {
            Door::Greeted { banner, took } => {
                let seen = format!("greets in {} ms: {}", took.as_millis(), clean(&banner, SHOWN));
                check(Status::Pass, seen)
            }
            Door::Refused { words, meaning } => {
                let listed = meaning
                    .blocklist
                    .as_deref()
                    .map(|list| format!(", blocklist {}", clean(list, 100)));
                let seen = format!(
                    "turns us away ({}{}): {}",
                    meaning.class.name(),
                    listed.unwrap_or_default(),
                    clean(&words, SHOWN)
                );
                let status = if meaning.about == About::Sender {
                    Status::Fail
                } else {
                    Status::Warn
                };
                check(status, seen).advice(meaning.class.advice())
            }
            Door::Mute(fault) => check(Status::Warn, format!("takes the connection, and then: {fault}"))
                .advice("name another host with `--host`"),
            Door::Ourselves => check(Status::Warn, "is this machine itself, which proves nothing".into())
                .advice("name a mail host elsewhere with `--host`"),
            Door::Closed(closed) if open => {
                check(Status::Warn, format!("{}; other hosts can be reached", closed.seen()))
                    .advice("that host may be down")
            }
            Door::Closed(closed) => check(Status::Fail, closed.seen()).advice(closed.advice()),
        }
    }
}

/// The host's first words.
fn greeting(said: &Transcript) -> String {
    let first = said.entries.iter().find(|entry| entry.who == Speaker::Server);
    first.map(|entry| entry.text.clone().into_string()).unwrap_or_default()
}
