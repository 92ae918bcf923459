//! Reaching a mail host: every exchanger and address in order, TLS where it is offered, once more in clear where it breaks.

use std::{collections::VecDeque, io::ErrorKind, net::SocketAddr, sync::Arc};

use tokio::time::{Instant, sleep};

use super::{
    egress::{NoConnection, Way},
    places::Place,
    scheduler::{GroupContext, Shared},
};
use crate::{
    dns::Exchanger,
    net::{Call, DialError, ProxyFault, Vetted},
    replies::providers::Truthful,
    smtp::{Ended, Fault, Ready, Session, Stage, Transcript, Why, WireParts},
    verdict::{Answer, HostFacts, Observed, ProbeFailure},
};

/// Addresses tried for one domain (Postfix: `smtp_mx_address_limit`).
const MAX_ADDRESSES: usize = 5;
/// Sessions that may fail after the connection stood (Postfix: `smtp_mx_session_limit`).
const MAX_SESSIONS: usize = 2;

/// A session that is ready for MAIL FROM.
pub(super) struct Opened {
    pub(super) session: Session<Ready>,
    pub(super) host: Arc<HostFacts>,
    /// Dialogues that failed before.
    pub(super) transcripts: Vec<Arc<Transcript>>,
    /// The session is over IPv6, and the hosts have IPv4 addresses too.
    pub(super) may_leave_v6: bool,
}

/// No session could be opened; the most telling failure.
pub(super) struct NotOpened {
    pub(super) host: Option<Arc<HostFacts>>,
    pub(super) answer: Observed<Arc<Answer>, ProbeFailure>,
    pub(super) transcripts: Vec<Arc<Transcript>>,
}

/// Why an address led to no session.
enum Failed {
    /// There was no connection.
    Connection(NoConnection),
    /// There was none because of the proxy.
    Proxy(ProxyFault),
    /// We were asked to stop.
    Stopped,
    /// It was reset before a word was said.
    Reset,
    /// The dialogue ended.
    Dialogue(Ended),
}

/// Where a session may go.
pub(super) struct Reach<'a> {
    pub(super) exchangers: &'a [Exchanger],
    /// The only exchanger is an implicit MX.
    pub(super) implicit: bool,
    /// The hosts do not want us over IPv6.
    pub(super) only_v4: bool,
}

/// The addresses to try, in order.
fn candidates<'a>(reach: &Reach<'a>) -> VecDeque<(&'a Exchanger, Vetted)> {
    let all = reach
        .exchangers
        .iter()
        .flat_map(|exchanger| exchanger.addresses.iter().map(move |ip| (exchanger, *ip)));
    all.filter(|(_, ip)| !reach.only_v4 || ip.ip().is_ipv4())
        .take(MAX_ADDRESSES)
        .collect()
}

/// Tries the exchangers in order.
pub(super) async fn open(
    reach: Reach<'_>,
    (group, shared, place): (&GroupContext, &Shared, &Place),
) -> Result<Opened, NotOpened> {
    let Reach {
        exchangers, implicit, ..
    } = reach;
    let mut candidates = candidates(&reach);
    let mut failure = NotOpened {
        host: None,
        answer: Observed::Failed(ProbeFailure::Unreachable),
        transcripts: Vec::new(),
    };
    let mut sessions = 0;
    let mut blocked = !candidates.is_empty();
    let (mut proxy_failed, mut proxy_dead) = (false, false);
    while let Some((exchanger, ip)) = candidates.pop_front() {
        let facts = |tls| HostFacts {
            provider: shared.provider(&exchanger.host).map(|provider| &*provider.id),
            name: Arc::clone(&exchanger.host),
            ip: Some(ip.ip()),
            preference: exchanger.preference,
            implicit,
            tls,
            backup: exchanger.backup,
            untruthful: shared
                .provider(&exchanger.host)
                .is_some_and(|provider| provider.truthful == Truthful::No),
        };
        match try_address(exchanger, ip, (group, shared, place), &mut failure.transcripts).await {
            Ok(session) => {
                let host = Arc::new(facts(Some(session.encrypted())));
                let v4 = |exchanger: &Exchanger| exchanger.addresses.iter().any(|ip| ip.ip().is_ipv4());
                return Ok(Opened {
                    session,
                    host,
                    transcripts: failure.transcripts,
                    may_leave_v6: ip.ip().is_ipv6() && exchangers.iter().any(v4),
                });
            }
            Err(Failed::Connection(why)) => blocked &= why == NoConnection::Blocked,
            Err(Failed::Stopped) => {
                blocked = false;
                break;
            }
            Err(Failed::Reset) => {
                blocked = false;
                failure.host = Some(Arc::new(facts(None)));
                failure.answer = Observed::Failed(ProbeFailure::ConnectionLost);
                sessions += 1;
                if sessions == MAX_SESSIONS {
                    break;
                }
            }
            Err(Failed::Proxy(fault)) => {
                (blocked, proxy_failed) = (false, true);
                if !fault.is_about_one_target() {
                    proxy_dead = true;
                    break;
                }
            }
            Err(Failed::Dialogue(ended)) => {
                failure.host = Some(Arc::new(facts(None)));
                failure.answer = observe(ended, failure.host.as_deref(), shared);
                sessions += 1;
                if sessions == MAX_SESSIONS {
                    break;
                }
                if ip.ip().is_ipv6() && failure.answer.known().is_some() {
                    // It may mean our IPv6 address (HOSTILE S15): its other ones would hear the same.
                    candidates.make_contiguous().sort_by_key(|(_, ip)| ip.ip().is_ipv6());
                }
            }
        }
    }
    // Our own hosts may stand behind a way out of their own, or be switched off.
    if blocked && failure.host.is_none() && !group.trusted && shared.over().is_none() {
        shared.egress.lost(&group.name, Way::Direct);
    }
    if proxy_dead && shared.over().is_none() {
        shared.egress.lost(&group.name, Way::Proxy);
    }
    if proxy_failed {
        // Whatever other addresses said, the one that the proxy kept from us might have answered.
        failure.answer = Observed::Failed(ProbeFailure::Proxy);
    }
    if failure.host.is_none()
        && let Some(exchanger) = exchangers.first()
    {
        let ip = exchanger.addresses.first().map(|ip| ip.ip());
        failure.host = Some(Arc::new(HostFacts {
            provider: shared.provider(&exchanger.host).map(|provider| &*provider.id),
            name: Arc::clone(&exchanger.host),
            ip,
            preference: exchanger.preference,
            implicit,
            tls: None,
            backup: exchanger.backup,
            untruthful: false,
        }));
    }
    Err(failure)
}

/// One address: with TLS, and a gap later once more without when TLS breaks.
async fn try_address(
    exchanger: &Exchanger,
    ip: Vetted,
    run: (&GroupContext, &Shared, &Place),
    transcripts: &mut Vec<Arc<Transcript>>,
) -> Result<Session<Ready>, Failed> {
    let first = attempt(exchanger, ip, run, true).await;
    let Err(Failed::Dialogue(ended)) = first else {
        return first;
    };
    let broken = ended.why == Why::Fault(Fault::TlsBroken);
    if broken {
        transcripts.extend(ended.transcript.map(Arc::new));
        // The handshake itself failed; opportunistic TLS never changes a verdict (RFC 7435).
        let (group, shared, _) = run;
        tokio::select! {
            () = sleep(group.limits.gap) => {}
            () = shared.ended() => return Err(Failed::Stopped),
        }
        return attempt(exchanger, ip, run, false).await;
    }
    transcripts.extend(ended.transcript.clone().map(Arc::new));
    Err(Failed::Dialogue(ended))
}

async fn attempt(
    exchanger: &Exchanger,
    ip: Vetted,
    (group, shared, place): (&GroupContext, &Shared, &Place),
    tls: bool,
) -> Result<Session<Ready>, Failed> {
    let manners = &shared.manners;
    let call = Call {
        to: ip,
        port: manners.smtp_port,
        group: &group.name,
        within: manners.timeouts.connect,
    };
    let began = Instant::now();
    let dialled = tokio::select! {
        dialled = shared.dial.dial(call) => dialled,
        () = shared.ended() => return Err(Failed::Stopped),
    };
    let stream = dialled.map_err(|error| match error {
        // It was there, and is heard of so when the reset comes before we look.
        DialError::Host(error) if error.kind() == ErrorKind::ConnectionReset => Failed::Reset,
        DialError::Host(error) => Failed::Connection(NoConnection::new(Some(&error), ip.ip())),
        DialError::Proxy(fault) => Failed::Proxy(fault),
    })?;
    shared.egress.reached();
    shared.meter.took("connect", began.elapsed());
    let began = Instant::now();
    let parts = WireParts {
        stream,
        host: Arc::clone(&exchanger.host),
        peer: SocketAddr::new(ip.ip(), manners.smtp_port),
        timeouts: manners.timeouts,
        transcript: manners.transcript,
        tally: Arc::clone(&shared.tally),
        stop: shared.stop.clone(),
    };
    let greeted = Session::new(parts).greeting(&manners.identity).await;
    let greeted = greeted.map_err(Failed::Dialogue)?;
    shared.meter.took("greeting", began.elapsed());
    place.heard();
    greeted.hello(&manners.identity, tls).await.map_err(Failed::Dialogue)
}

/// A failed dialogue as evidence.
pub(super) fn observe(ended: Ended, host: Option<&HostFacts>, shared: &Shared) -> Observed<Arc<Answer>, ProbeFailure> {
    let Ended { stage, why, .. } = ended;
    match why {
        Why::Refused(reply) => {
            let meaning = shared.classify(stage, &reply, host.and_then(|host| host.provider));
            Observed::Known(Arc::new(Answer { stage, reply, meaning }))
        }
        Why::Fault(fault) => Observed::Failed(match fault {
            Fault::Closed | Fault::TlsBroken => ProbeFailure::ConnectionLost,
            Fault::Timeout => ProbeFailure::Timeout,
            Fault::Tarpit => ProbeFailure::Tarpit,
            Fault::Malformed(_) if stage == Stage::Greeting => ProbeFailure::NotSmtp,
            Fault::Malformed(_) => ProbeFailure::Protocol,
            Fault::Desynchronised => ProbeFailure::Desynchronised,
            Fault::TlsInjection => ProbeFailure::TlsInjection,
            Fault::Loop => ProbeFailure::Loop,
            Fault::Unsayable => ProbeFailure::Internal,
        }),
    }
}
