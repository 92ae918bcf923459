//! One question to the only name server, below hickory's pool: no choice of servers, no second table of answers, no task
//! between the question and its socket. Measured, that is half of what a lookup costs us.
//!
//! Must not follow an answer to other names: whatever is not plain is left to the whole resolver.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hickory_resolver::{
    MAX_TTL,
    net::{
        DnsError, NetError,
        runtime::{DnsUdpSocket, RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime},
        udp::UdpClientStream,
        xfer::{DnsRequestSender, FirstAnswer},
    },
    proto::{
        op::{DnsRequest, DnsRequestOptions, Query, ResponseCode},
        rr::{DNSClass, Name, Record, RecordData, RecordType, rdata::CNAME},
    },
};
use tokio::{io::ReadBuf, net::UdpSocket};

/// Sockets kept open for the next questions.
const IDLE_SOCKETS: usize = 64;

/// Asks one name server over UDP.
pub(super) struct Direct {
    stream: Mutex<UdpClientStream<Provider>>,
}

impl Direct {
    pub(super) fn new(server: SocketAddr, timeout: Duration) -> Self {
        let provider = Provider {
            tokio: TokioRuntimeProvider::new(),
            // A new random port for each question is what makes answers hard to forge (RFC 5452). Nobody else can send from a
            // loopback address, so a server on this machine may be asked from a socket that was used before.
            idle: server.ip().is_loopback().then(Arc::default),
        };
        let stream = UdpClientStream::builder(server, provider)
            .with_timeout(Some(timeout))
            .build();
        Self {
            stream: Mutex::new(stream),
        }
    }

    /// What the server says to one question.
    pub(super) async fn ask(&self, name: &Name, kind: RecordType) -> Said {
        let request = DnsRequest::from_query(Query::query(name.clone(), kind), DnsRequestOptions::default());
        let answer = {
            let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
            stream.send_message(request)
        };
        let response = match answer.first_answer().await {
            Ok(response) if response.truncation => return Said::TooMuch,
            Ok(response) => response,
            Err(error) => return Said::Failure(error),
        };
        let message = match DnsError::from_response(response) {
            Ok(response) => response.into_message(),
            Err(error) => return Said::Failure(NetError::Dns(error)),
        };
        let plain = message.response_code == ResponseCode::NoError
            && message.all_sections().all(|record| record.dns_class == DNSClass::IN)
            && is_reached(name, kind, &message.answers);
        if !plain {
            return Said::Otherwise;
        }
        let mut records = message.answers;
        for record in &mut records {
            record.ttl = record.ttl.min(MAX_TTL);
        }
        Said::Records(records)
    }
}

/// What the server says.
pub(super) enum Said {
    Records(Vec<Record>),
    /// What hickory's resolver would report.
    Failure(NetError),
    /// It does not fit into a datagram.
    TooMuch,
    /// Something that takes more questions.
    Otherwise,
}

/// Whether the answer holds a record of this kind for `name` or for the name that its aliases lead to.
fn is_reached(name: &Name, kind: RecordType, answers: &[Record]) -> bool {
    let mut owner = name;
    for _ in 0..answers.len() {
        let alias = answers
            .iter()
            .filter(|record| record.name == *owner)
            .find_map(|record| CNAME::try_borrow(&record.data));
        let Some(alias) = alias else { break };
        owner = &alias.0;
    }
    answers
        .iter()
        .any(|record| record.record_type() == kind && record.name == *owner)
}

impl std::fmt::Debug for Direct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Direct").finish_non_exhaustive()
    }
}

type Idle = Arc<Mutex<Vec<UdpSocket>>>;

/// tokio's sockets, kept for the next question where that is safe.
#[derive(Clone)]
struct Provider {
    tokio: TokioRuntimeProvider,
    idle: Option<Idle>,
}

impl RuntimeProvider for Provider {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = Socket;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> Self::Handle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = Result<Self::Tcp, io::Error>>>> {
        self.tokio.connect_tcp(server, local, timeout)
    }

    fn bind_udp(
        &self,
        local: SocketAddr,
        _server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = Result<Self::Udp, io::Error>>>> {
        let idle = self.idle.clone();
        Box::pin(async move {
            let kept = idle.as_ref().and_then(|idle| lock(idle).pop());
            let udp = match kept {
                Some(udp) => udp,
                None => UdpSocket::bind(local).await?,
            };
            Ok(Socket {
                udp: Some(udp),
                idle,
                answered: AtomicBool::new(false),
            })
        })
    }
}

/// A socket for one question. It is kept when its answer came: one that waits in vain may still get a late one.
struct Socket {
    udp: Option<UdpSocket>,
    idle: Option<Idle>,
    answered: AtomicBool,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let (Some(idle), Some(udp), true) = (&self.idle, self.udp.take(), *self.answered.get_mut()) {
            let mut idle = lock(idle);
            if idle.len() < IDLE_SOCKETS {
                idle.push(udp);
            }
        }
    }
}

impl DnsUdpSocket for Socket {
    type Time = TokioTime;

    fn poll_recv_from(&self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        let Some(udp) = &self.udp else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let mut buffer = ReadBuf::new(bytes);
        udp.poll_recv_from(cx, &mut buffer).map_ok(|from| {
            self.answered.store(true, Ordering::Relaxed);
            (buffer.filled().len(), from)
        })
    }

    fn poll_send_to(&self, cx: &mut Context<'_>, bytes: &[u8], to: SocketAddr) -> Poll<io::Result<usize>> {
        match &self.udp {
            Some(udp) => udp.poll_send_to(cx, bytes, to),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

fn lock(idle: &Mutex<Vec<UdpSocket>>) -> std::sync::MutexGuard<'_, Vec<UdpSocket>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
