//! What a SOCKS5 proxy answers (RFC 1928, RFC 1929), against a reading of the same bytes that was written from the RFCs.

use std::{io, net::SocketAddr, time::Duration};

use presend::net::{Call, Dial as _, DialError, Network, ProxyFault, ProxyUrl, TcpDialler, vet};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    runtime::{Builder, Runtime},
};

struct Proxy {
    runtime: Runtime,
    listener: TcpListener,
    at: SocketAddr,
}

thread_local!(static PROXY: Proxy = Proxy::start());

impl Proxy {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a socket");
        let at = listener.local_addr().expect("an address");
        Self { runtime, listener, at }
    }
}

/// What the bytes are, by the RFCs.
#[derive(Debug, PartialEq, Eq)]
enum Said<'a> {
    /// Connected; what follows is the mail host's.
    Connected(&'a [u8]),
    /// One of the codes that are about the mail host.
    Host(u8),
    /// Anything else.
    Fault,
}

fn by_the_rfc(bytes: &[u8], login: bool) -> Said<'_> {
    let Some(rest) = agreed(bytes, login) else {
        return Said::Fault;
    };
    let [5, code, 0, kind, rest @ ..] = rest else {
        // A proxy that refuses may well close before its address.
        return match rest {
            [5, code @ (4 | 5), ..] => Said::Host(*code),
            _ => Said::Fault,
        };
    };
    match (code, kind) {
        (4 | 5, _) => return Said::Host(*code),
        (0, _) => {}
        _ => return Said::Fault,
    }
    let length = match (kind, rest.first()) {
        (1, _) => 4,
        (4, _) => 16,
        // Nobody needs the proxy's name, but tokio-socks wants it in UTF-8.
        (3, Some(length))
            if rest
                .get(1..=usize::from(*length))
                .is_none_or(|name| std::str::from_utf8(name).is_ok()) =>
        {
            usize::from(*length) + 1
        }
        _ => return Said::Fault,
    };
    rest.get(length + 2..).map_or(Said::Fault, Said::Connected)
}

/// What follows the choice of a method, and the login if that was chosen.
fn agreed(bytes: &[u8], login: bool) -> Option<&[u8]> {
    match bytes {
        [5, 0, rest @ ..] => Some(rest),
        [5, 2, 1, 0, rest @ ..] if login => Some(rest),
        _ => None,
    }
}

/// A stream is the mail host's from its first byte on, and only two codes say anything about the mail host.
pub(super) fn body(bytes: &[u8]) -> bool {
    let (login, bytes) = match bytes.split_first() {
        Some((first, rest)) => (first % 2 == 1, rest),
        None => (false, bytes),
    };
    PROXY.with(|proxy| {
        proxy.runtime.block_on(async {
            let (said, ()) = tokio::join!(dial(proxy.at, login), answer(&proxy.listener, bytes));
            let expected = by_the_rfc(bytes, login);
            match (said, expected) {
                (Ok(read), Said::Connected(rest)) => {
                    assert_eq!(read, rest, "the mail host's first bytes");
                    true
                }
                (Err(DialError::Host(error)), Said::Host(code)) => {
                    let kind = if code == 5 {
                        io::ErrorKind::ConnectionRefused
                    } else {
                        io::ErrorKind::HostUnreachable
                    };
                    assert_eq!(error.kind(), kind);
                    false
                }
                (Err(DialError::Proxy(fault)), Said::Fault | Said::Host(_)) => {
                    assert!(
                        !matches!(fault, ProxyFault::Late | ProxyFault::Unreachable(_)),
                        "{fault}"
                    );
                    super::assert_printable(&fault.to_string());
                    assert!(!fault.to_string().contains("s3cret"));
                    false
                }
                (said, expected) => panic!("{said:?} is not {expected:?}"),
            }
        })
    })
}

async fn dial(at: SocketAddr, login: bool) -> Result<Vec<u8>, DialError> {
    let words = if login { "me:s3cret@" } else { "" };
    let url = ProxyUrl::parse(&format!("socks5://{words}{at}")).expect("a proxy");
    let network = Network {
        proxy: Some(url.at(vec![at])),
        ..Network::default()
    };
    let call = Call {
        to: vet("8.8.8.8".parse().expect("an address"), false).expect("public"),
        port: 25,
        group: "host test",
        within: Duration::from_secs(5),
    };
    let mut stream = TcpDialler::new(&network).dial(call).await?;
    let mut read = Vec::new();
    // Bytes of ours that nobody read make the proxy's end a reset.
    let _ = stream.read_to_end(&mut read).await;
    Ok(read)
}

/// Says everything at once and closes when it has heard everything.
async fn answer(listener: &TcpListener, bytes: &[u8]) {
    let (mut stream, _) = listener.accept().await.expect("loopback");
    if stream.write_all(bytes).await.is_ok() && stream.shutdown().await.is_ok() {
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
}
