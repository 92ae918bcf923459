//! Answers of name servers, byte for byte as they come over UDP and TCP, through the resolver and the router.

use std::{
    cell::Cell,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use presend::{
    address::{Domain, Rules},
    dns::{Found, HickoryResolver, MailRoute, NameServers, Records, ResolverOptions, Route, Router, RouterOptions},
    net::{Families, vet},
    verdict::{Evidence, Label, NotTried, Observed, Policy, judge},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
    runtime::{Builder, Runtime},
};

/// What is asked about. The name stands in the seeds, so that whole messages can be answers too.
const NAME: &str = "a.example.org";
/// Questions for one route: the MX, two families of twenty hosts, each with CNAMEs that hickory follows, and a witness.
const QUESTIONS: usize = 600;

struct Server {
    runtime: Runtime,
    udp: UdpSocket,
    tcp: TcpListener,
    at: SocketAddr,
}

thread_local!(static SERVER: Server = Server::start());

impl Server {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (udp, tcp) = runtime.block_on(async {
            loop {
                let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
                if let Ok(tcp) = TcpListener::bind(udp.local_addr().expect("an address")).await {
                    return (udp, tcp);
                }
            }
        });
        let at = udp.local_addr().expect("an address");
        Self { runtime, udp, tcp, at }
    }
}

/// Answers in turn, and what was seen of the questions.
struct Answers<'a> {
    pieces: Vec<&'a [u8]>,
    asked: Cell<usize>,
    codes: Cell<u16>,
}

impl Answers<'_> {
    /// The next answer. The first byte of a piece says how it is given: 1 behind the question that was asked, 2 under another
    /// number, 4 not at all.
    fn next(&self, question: &[u8]) -> Option<Vec<u8>> {
        let number = self.asked.replace(self.asked.get() + 1);
        let piece = self.pieces.get(number % self.pieces.len().max(1))?;
        let (mode, rest) = piece.split_first()?;
        if mode & 4 != 0 {
            return None;
        }
        let mut message = if mode & 1 == 0 {
            rest.to_vec()
        } else {
            behind(question, rest)?
        };
        if mode & 2 == 0 {
            for (to, from) in message.iter_mut().zip(question.get(..2)?) {
                *to = *from;
            }
        }
        if let Some(flags) = message.get(3) {
            self.codes.set(self.codes.get() | 1 << (flags & 15));
        }
        Some(message)
    }

    fn gave(&self, code: u16) -> bool {
        self.codes.get() & 1 << code != 0
    }
}

/// Flags, counts of answers, authorities and additional records, and the records themselves, around the question.
fn behind(question: &[u8], rest: &[u8]) -> Option<Vec<u8>> {
    let mut end = 12;
    while *question.get(end)? != 0 {
        end += usize::from(*question.get(end)?) + 1;
    }
    let asked = question.get(12..end + 5)?;
    let (head, records) = rest.split_at_checked(8)?;
    let (flags, counts) = head.split_at(2);
    Some([&[0, 0], flags, &[0, 1], counts, asked, records].concat())
}

async fn over_udp(server: &Server, answers: &Answers<'_>) {
    let mut buffer = [0; 4096];
    loop {
        let (length, from) = server.udp.recv_from(&mut buffer).await.expect("loopback");
        if let Some(message) = answers.next(&buffer[..length]) {
            let cut = &message[..message.len().min(60_000)];
            let _ = server.udp.send_to(cut, from).await;
        }
    }
}

async fn over_tcp(server: &Server, answers: &Answers<'_>) {
    loop {
        let (mut stream, _) = server.tcp.accept().await.expect("loopback");
        let mut question = vec![0; 4096];
        let Ok(length) = stream.read_u16().await else { continue };
        let length = usize::from(length).min(question.len());
        if stream.read_exact(&mut question[..length]).await.is_err() {
            continue;
        }
        if let Some(message) = answers.next(&question[..length]) {
            let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
            let _ = stream
                .write_all(&[&length.to_be_bytes(), message.as_slice()].concat())
                .await;
        }
    }
}

/// Whatever a name server says, only addresses of the public internet can be dialled, few questions are asked, and nobody is
/// `invalid` unless the server said so with a code.
pub(super) fn body(bytes: &[u8]) -> bool {
    let answers = Answers {
        pieces: super::pieces(bytes),
        asked: Cell::new(0),
        codes: Cell::new(0),
    };
    SERVER.with(|server| {
        server.runtime.block_on(async {
            tokio::select! {
                understood = ask(server.at, &answers) => understood,
                () = over_udp(server, &answers) => unreachable!("it serves for ever"),
                () = over_tcp(server, &answers) => unreachable!("it serves for ever"),
            }
        })
    })
}

async fn ask(at: SocketAddr, answers: &Answers<'_>) -> bool {
    let options = ResolverOptions {
        timeout: Duration::from_millis(4),
        attempts: 1,
        in_flight: 8,
        families: Families::V6AndV4,
    };
    let resolver = Arc::new(HickoryResolver::new(&NameServers::from(at), options).expect("a resolver"));
    let router = Router::new(Arc::<HickoryResolver>::clone(&resolver), RouterOptions::default());
    // The name is one for examples; its addresses are vetted all the same.
    let rules = Rules {
        allow_special_use: true,
    };
    let domain = Domain::parse(NAME, rules).expect("a domain");
    let route = router.route(&domain).await;
    sound(&route, answers);
    assert!(answers.asked.get() <= QUESTIONS, "{} questions", answers.asked.get());
    let mut understood = !matches!(*route, MailRoute::Failure(_));
    if let Ok(Found::Records(texts)) = resolver.text(NAME).await {
        assert!((1..=100).contains(&texts.len()));
        assert!(texts.iter().all(|text| text.len() <= 3 << 16));
        understood = true;
    }
    if let Ok(Found::Records(names)) = resolver.pointers(Ipv4Addr::new(8, 8, 8, 8).into()).await {
        assert!((1..=100).contains(&names.len()));
        for name in &names {
            super::assert_printable(name);
        }
        understood = true;
    }
    understood
}

fn sound(route: &Arc<MailRoute>, answers: &Answers<'_>) {
    let exchangers = match &**route {
        MailRoute::Exchangers(exchangers) => exchangers.as_slice(),
        MailRoute::ImplicitMx(exchanger) => std::slice::from_ref(exchanger),
        MailRoute::NoSuchDomain => {
            assert!(answers.gave(3), "nobody said NXDOMAIN");
            &[]
        }
        MailRoute::NullMx | MailRoute::NoMailHost(_) => {
            assert!(answers.gave(0) || answers.gave(3), "nobody answered");
            &[]
        }
        MailRoute::Failure(_) => &[],
    };
    let mut addresses = 0;
    for exchanger in exchangers {
        super::assert_printable(&exchanger.host);
        assert!(exchanger.host.len() <= 1_024 && !exchanger.host.bytes().any(|byte| byte.is_ascii_uppercase()));
        assert!(!exchanger.addresses.is_empty(), "{exchanger:?}");
        addresses += exchanger.addresses.len();
        for address in &exchanger.addresses {
            assert!(vet(address.ip(), false).is_ok(), "{address:?}");
        }
    }
    assert!(addresses <= 5, "{addresses} addresses");
    let mut evidence = Evidence::not_tried(NotTried::Level);
    evidence.route = Observed::Known(Arc::clone(route));
    let label = judge(&evidence, &Policy::default()).label;
    assert!(label != Label::Valid && label != Label::CatchAll, "{label:?}");
    assert!(label == Label::Unknown || exchangers.is_empty(), "{label:?}");
}
