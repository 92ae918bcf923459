//! Questions to a name server on this machine: all through one socket, each answer handed to whoever asked.
//!
//! For loopback addresses only. A new random port for each question is what makes answers hard to forge (RFC 5452), but nobody
//! else can send from a loopback address. Must not read more of an answer than tells whose it is.

use std::{
    collections::{HashMap, hash_map},
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hickory_resolver::{
    net::NetError,
    proto::op::{DEFAULT_MAX_PAYLOAD_LEN, DEFAULT_RETRY_FLOOR, DnsRequest, DnsResponse, Message},
};
use tokio::{
    net::UdpSocket,
    sync::{OnceCell, Semaphore, oneshot},
    task::AbortHandle,
    time::{Instant, timeout_at},
};

/// How often a question is sent, a third of a second apart, as hickory does.
const SENDS: usize = 3;
/// Questions open at one time: the answers to 200 may overflow a socket's default receive buffer (measured).
const WINDOW: usize = 96;
/// Bytes of a message's header (RFC 1035 section 4.1.1).
const HEADER: usize = 12;
/// Bytes of a question after its name: type and class.
const TYPE_AND_CLASS: usize = 4;

/// The way to a name server on this machine.
pub(super) struct Local {
    server: SocketAddr,
    /// Opened with the first question.
    socket: OnceCell<(Arc<Socket>, Receiver)>,
    window: Semaphore,
}

/// The task that receives; it ends with the last asker.
struct Receiver(AbortHandle);

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Socket {
    udp: UdpSocket,
    server: SocketAddr,
    open: Mutex<HashMap<u16, Open>>,
}

/// A question without an answer.
struct Open {
    /// As it was sent: name, type, class.
    question: Box<[u8]>,
    asker: oneshot::Sender<Vec<u8>>,
}

impl Local {
    pub(super) fn new(server: SocketAddr) -> Self {
        Self {
            server,
            socket: OnceCell::new(),
            window: Semaphore::new(WINDOW),
        }
    }

    /// What the server says within `patience`.
    pub(super) async fn ask(&self, request: DnsRequest, patience: Duration) -> Result<DnsResponse, NetError> {
        let (socket, _) = self.socket.get_or_try_init(|| self.open()).await?;
        let _place = self.window.acquire().await;
        let until = Instant::now() + patience;
        let (message, _) = request.into_parts();
        let mut ticket = socket.take_ticket(&message)?;
        let mut sent = 0;
        loop {
            if sent < SENDS {
                sent += 1;
                socket.udp.send_to(&ticket.bytes, self.server).await?;
            }
            let next = match sent {
                SENDS => until,
                _ => until.min(Instant::now() + DEFAULT_RETRY_FLOOR),
            };
            match timeout_at(next, &mut ticket.answer).await {
                Ok(Ok(bytes)) => return Ok(DnsResponse::from_buffer(bytes)?),
                Ok(Err(_)) => return Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
                Err(_) if next == until => return Err(NetError::Timeout),
                Err(_) => {}
            }
        }
    }

    async fn open(&self) -> io::Result<(Arc<Socket>, Receiver)> {
        let any = match self.server {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = Arc::new(Socket {
            udp: UdpSocket::bind(any).await?,
            server: self.server,
            open: Mutex::default(),
        });
        let receiver = tokio::spawn(Arc::clone(&socket).receive());
        Ok((socket, Receiver(receiver.abort_handle())))
    }
}

/// An open question's place in the table, given back when nobody waits any more.
struct Ticket<'a> {
    socket: &'a Socket,
    id: u16,
    /// The whole message.
    bytes: Vec<u8>,
    answer: oneshot::Receiver<Vec<u8>>,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.answer.close();
        // The answer may have come, and somebody else have taken the number since.
        if let hash_map::Entry::Occupied(open) = self.socket.open().entry(self.id)
            && open.get().asker.is_closed()
        {
            open.remove();
        }
    }
}

impl Socket {
    fn open(&self) -> MutexGuard<'_, HashMap<u16, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the message one that can be told from all others that are open.
    fn take_ticket(&self, message: &Message) -> Result<Ticket<'_>, NetError> {
        let mut bytes = message.to_vec()?;
        let length = question_length(&bytes);
        let question = bytes.get(HEADER..HEADER + length).unwrap_or_default().into();
        let (asker, answer) = oneshot::channel();
        let mut open = self.open();
        // Far fewer than 65,536 questions are ever open.
        let (id, place) = loop {
            let id: u16 = rand::random();
            if let hash_map::Entry::Vacant(place) = open.entry(id) {
                break (id, place);
            }
        };
        place.insert(Open { question, asker });
        drop(open);
        if let Some(first) = bytes.first_chunk_mut() {
            *first = id.to_be_bytes();
        }
        Ok(Ticket {
            socket: self,
            id,
            bytes,
            answer,
        })
    }

    async fn receive(self: Arc<Self>) {
        let mut bytes = vec![0; usize::from(DEFAULT_MAX_PAYLOAD_LEN)];
        loop {
            match self.udp.recv_from(&mut bytes).await {
                Ok((length, from)) if from == self.server => self.hand_out(bytes.get(..length).unwrap_or_default()),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "no answers can be received");
                    self.open().clear();
                    tokio::time::sleep(DEFAULT_RETRY_FLOOR).await;
                }
            }
        }
    }

    /// Gives an answer to whoever asked; what answers another question, or none, is not one.
    fn hand_out(&self, answer: &[u8]) {
        let Some(id) = answer.first_chunk().map(|id| u16::from_be_bytes(*id)) else {
            return;
        };
        let mut open = self.open();
        let hash_map::Entry::Occupied(asked) = open.entry(id) else {
            return;
        };
        // Whoever asked is to hear of a message that cannot be read.
        if !is_about(answer, &asked.get().question) && Message::from_vec(answer).is_ok() {
            return;
        }
        let asked = asked.remove();
        drop(open);
        // Nobody may be waiting any more.
        let _ = asked.asker.send(answer.to_vec());
    }
}

/// Bytes of the first question: labels, the root, type and class (RFC 1035 section 4.1.2); we compress no name.
fn question_length(message: &[u8]) -> usize {
    let mut at = HEADER;
    while let Some(label) = message.get(at).copied().filter(|label| *label > 0) {
        at += 1 + usize::from(label);
    }
    at + 1 + TYPE_AND_CLASS - HEADER
}

/// Whether the message holds one question, this one; the case of names does not matter.
fn is_about(message: &[u8], question: &[u8]) -> bool {
    let Some(theirs) = message.get(HEADER..HEADER + question.len()) else {
        return false;
    };
    let name = question.len().saturating_sub(TYPE_AND_CLASS);
    let one = message.get(4..6) == Some(&[0, 1]);
    let (Some((name, rest)), Some((their_name, their_rest))) =
        (question.split_at_checked(name), theirs.split_at_checked(name))
    else {
        return false;
    };
    one && name.eq_ignore_ascii_case(their_name) && rest == their_rest
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::{
        op::{DnsRequestOptions, Query},
        rr::{Name, RecordType},
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn request(name: &str) -> DnsRequest {
        let query = Query::query(Name::from_ascii(name).unwrap(), RecordType::MX);
        DnsRequest::from_query(query, DnsRequestOptions::default())
    }

    /// The message as an answer without records.
    fn answer(question: &[u8]) -> Vec<u8> {
        let mut answer = question.to_vec();
        answer[2] |= 0x80;
        answer
    }

    async fn server() -> (UdpSocket, Local) {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let local = Local::new(server.local_addr().unwrap());
        (server, local)
    }

    async fn receive(server: &UdpSocket) -> (Vec<u8>, SocketAddr) {
        let mut bytes = [0; 512];
        let (length, from) = server.recv_from(&mut bytes).await.unwrap();
        (bytes[..length].to_vec(), from)
    }

    #[tokio::test]
    async fn answers_in_any_order_go_to_those_who_asked() {
        let (server, local) = server().await;
        let asked = async {
            let [a, b] = ["a.test", "b.test"].map(|name| local.ask(request(name), PATIENCE));
            let (a, b) = tokio::join!(a, b);
            [a, b].map(|answer| answer.unwrap().queries[0].name().to_ascii())
        };
        let answered = async {
            let (first, second) = (receive(&server).await, receive(&server).await);
            assert_eq!(first.1, second.1, "one socket");
            for (question, from) in [second, first] {
                server.send_to(&answer(&question), from).await.unwrap();
            }
        };
        let (names, ()) = tokio::join!(asked, answered);
        assert_eq!(names, ["a.test.", "b.test."]);
        assert!(local.socket.get().unwrap().0.open().is_empty());
    }

    #[tokio::test]
    async fn only_the_answer_to_the_question_is_taken() {
        let (server, local) = server().await;
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let answered = async {
            let (question, from) = receive(&server).await;
            let real = answer(&question);
            stranger.send_to(&real, from).await.unwrap();
            let mut other = real.clone();
            other[HEADER + 1] = b'z';
            let mut unasked = real.clone();
            unasked[0] ^= 1;
            let mut none = real[..HEADER].to_vec();
            none[4..].fill(0);
            for wrong in [&other[..], &unasked, &none, b"x", b""] {
                server.send_to(wrong, from).await.unwrap();
            }
            let mut shouted = real;
            shouted[HEADER + 1].make_ascii_uppercase();
            server.send_to(&shouted, from).await.unwrap();
        };
        let (said, ()) = tokio::join!(local.ask(request("a.test"), PATIENCE), answered);
        assert_eq!(said.unwrap().queries[0].name().to_ascii(), "A.test.");
    }

    #[tokio::test]
    async fn a_number_that_was_taken_again_stays_with_the_next_question() {
        let (_, local) = server().await;
        let (socket, _) = local.open().await.unwrap();
        let message = request("a.test").into_parts().0;
        let first = socket.take_ticket(&message).unwrap();
        socket.hand_out(&answer(&first.bytes));
        let (asker, _waiting) = oneshot::channel();
        let question = Box::default();
        socket.open().insert(first.id, Open { question, asker });
        drop(first);
        assert_eq!(socket.open().len(), 1);
        let unanswered = socket.take_ticket(&message).unwrap();
        drop(unanswered);
        assert_eq!(socket.open().len(), 1);
    }

    #[tokio::test]
    async fn whoever_asked_hears_of_a_message_that_cannot_be_read() {
        let (server, local) = server().await;
        let answered = async {
            let (question, from) = receive(&server).await;
            server.send_to(&answer(&question)[..HEADER + 2], from).await.unwrap();
        };
        let (said, ()) = tokio::join!(local.ask(request("a.test"), PATIENCE), answered);
        assert!(matches!(said, Err(NetError::Proto(_))), "{said:?}");
    }

    #[tokio::test]
    async fn a_lost_question_is_sent_again_and_silence_ends() {
        let (server, local) = server().await;
        let answered = async {
            receive(&server).await;
            let (question, from) = receive(&server).await;
            server.send_to(&answer(&question), from).await.unwrap();
        };
        let (said, ()) = tokio::join!(local.ask(request("a.test"), PATIENCE), answered);
        assert!(said.is_ok());
        let said = local.ask(request("a.test"), Duration::from_millis(5)).await;
        assert!(matches!(said, Err(NetError::Timeout)), "{said:?}");
        assert!(local.socket.get().unwrap().0.open().is_empty());
    }
}
