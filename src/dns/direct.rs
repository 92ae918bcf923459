//! One question to the only name server, below hickory's pool: no choice of servers, no second table of answers, no task
//! between the question and its socket. Measured, that is half of what a lookup costs us.
//!
//! Must not follow an answer to other names: whatever is not plain is left to the whole resolver.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hickory_resolver::{
    MAX_TTL,
    net::{
        DnsError, NetError,
        runtime::TokioRuntimeProvider,
        udp::UdpClientStream,
        xfer::{DnsRequestSender, FirstAnswer},
    },
    proto::{
        op::{DnsRequest, DnsRequestOptions, DnsResponse, Query, ResponseCode},
        rr::{DNSClass, Name, Record, RecordData, RecordType, rdata::CNAME},
    },
};

use super::local::Local;

/// Asks one name server over UDP.
pub(super) struct Direct {
    way: Way,
    timeout: Duration,
}

enum Way {
    /// To this machine.
    Local(Local),
    /// Anywhere else, with a new random port for each question.
    Remote(Mutex<UdpClientStream<TokioRuntimeProvider>>),
}

impl Direct {
    pub(super) fn new(server: SocketAddr, timeout: Duration) -> Self {
        let way = if server.ip().is_loopback() {
            Way::Local(Local::new(server))
        } else {
            let stream = UdpClientStream::builder(server, TokioRuntimeProvider::new());
            Way::Remote(Mutex::new(stream.with_timeout(Some(timeout)).build()))
        };
        Self { way, timeout }
    }

    async fn exchange(&self, request: DnsRequest) -> Result<DnsResponse, NetError> {
        let answer = match &self.way {
            Way::Local(local) => return local.ask(request, self.timeout).await,
            Way::Remote(stream) => {
                let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
                stream.send_message(request)
            }
        };
        Box::pin(answer.first_answer()).await
    }

    /// What the server says to one question.
    pub(super) async fn ask(&self, name: &Name, kind: RecordType) -> Said {
        let request = DnsRequest::from_query(Query::query(name.clone(), kind), DnsRequestOptions::default());
        let response = match self.exchange(request).await {
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
