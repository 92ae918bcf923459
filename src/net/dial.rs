//! TCP to vetted addresses, or to the proxy that goes there; never more sockets than the process may open (HOSTILE.md S17).

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{BoxFuture, Call, Dial, DialError, Network, Proxy, ProxyFault, Sources, Stream, Vetted};

/// More open files than that no run has use for.
const MOST_FILES: u64 = 1 << 16;
/// Open files that are for DNS (192 at most), databases, lists and the API (1,024 connections unless told).
const RESERVE: usize = 1 << 12;
/// Open files that the kernel has room for from the start.
const ROOM: usize = 1 << 12;

/// Dials with the operating system's TCP; waits while the process has no socket to spare.
///
/// Clones share one budget: the soft limit on open files but for half of it, 4,096 at most.
#[derive(Debug, Clone)]
pub struct TcpDialler {
    sockets: Arc<Semaphore>,
    most: usize,
    sources: Arc<Sources>,
    proxy: Option<Arc<Proxy>>,
}

impl TcpDialler {
    /// A dialler with its own budget of open sockets; one per process, else the budgets add up.
    #[must_use]
    pub fn new(network: &Network) -> Self {
        let limit = open_file_limit();
        Self::with_sockets(limit - (limit / 2).min(RESERVE), network)
    }

    fn with_sockets(sockets: usize, network: &Network) -> Self {
        let most = sockets.clamp(1, 1 << 16);
        Self {
            sockets: Arc::new(Semaphore::new(most)),
            most,
            sources: Arc::new(network.sources.clone()),
            proxy: network.proxy.clone().map(Arc::new),
        }
    }

    async fn connect(&self, call: Call<'_>) -> Result<TcpStream, DialError> {
        let Some(proxy) = &self.proxy else {
            let from = self.sources.of(call.group, call.to.ip());
            let connecting = connect(SocketAddr::new(call.to.ip(), call.port), from);
            return match timeout(call.within, connecting).await {
                Ok(connected) => connected.map_err(DialError::Host),
                Err(_) => Err(DialError::Host(io::ErrorKind::TimedOut.into())),
            };
        };
        let connected = timeout(call.within, proxy.connect(call.to, call.port)).await;
        connected.unwrap_or(Err(DialError::Proxy(ProxyFault::Late)))
    }
}

impl Dial for TcpDialler {
    fn dial<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>> {
        Box::pin(async move {
            let closed = |error| DialError::Host(io::Error::other(error));
            let permit = self.sockets.clone().acquire_owned().await.map_err(closed)?;
            let stream = self.connect(call).await.inspect_err(|error| {
                tracing::debug!(%error, "no connection");
            })?;
            Ok(Box::new(Budgeted {
                stream,
                _permit: permit,
            }) as Box<dyn Stream>)
        })
    }

    fn sockets(&self) -> usize {
        self.most
    }
}

/// Connects to a web server, neither from a source address nor through the proxy: those are the way to mail hosts.
///
/// # Errors
/// It cannot be reached.
pub async fn connect_to_web(to: Vetted, port: u16) -> io::Result<TcpStream> {
    connect(SocketAddr::new(to.ip(), port), None).await
}

/// Connects, from an address of the machine's own if one is given.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that dials: vetted addresses, and the operator's proxy"
)]
pub(super) async fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if let Some(from) = from {
        // A bound port would else stay taken for a minute after each connection.
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The soft limit on open files; 1,024, the usual default, where it cannot be read.
#[must_use]
pub fn open_file_limit() -> usize {
    let soft = rlimit::Resource::NOFILE.get_soft().unwrap_or(1024);
    usize::try_from(soft).unwrap_or(usize::MAX)
}

/// Raises the soft limit on open files towards the hard one: 1,024 sockets would let silent hosts hold up the others. To be
/// called before there is a second thread.
///
/// Makes room for them too. Linux doubles a process's table of open files when it is full, and a process with threads waits for
/// an RCU grace period then: 5 to 40 ms in which no thread can open anything, twice in a run with 250 sockets.
pub fn raise_open_file_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(MOST_FILES) {
        tracing::debug!(%error, "the limit on open files stays as it is");
    }
    let last = ROOM.min(open_file_limit()).saturating_sub(1);
    // Without standard input, or where this fails, only the waits stay.
    let _ = rustix::io::fcntl_dupfd_cloexec(io::stdin(), i32::try_from(last).unwrap_or_default());
}

/// A connection that gives its place in the budget back when it is dropped.
#[derive(Debug)]
struct Budgeted {
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Budgeted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Budgeted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use std::time::Duration;

    use super::*;
    use crate::net::{ProxyUrl, vet};

    fn dialler() -> TcpDialler {
        TcpDialler::with_sockets(1, &Network::default())
    }

    fn call(to: SocketAddr) -> Call<'static> {
        Call {
            to: vet(to.ip(), true).unwrap(),
            port: to.port(),
            group: "host test",
            within: Duration::from_secs(10),
        }
    }

    #[tokio::test]
    async fn s17_a_dial_waits_until_a_socket_is_given_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let dialler = dialler();

        let first = dialler.dial(call(at)).await.unwrap();
        let mut second = dialler.dial(call(at));
        assert_eq!(dialler.sockets.available_permits(), 0, "the budget is spent");
        assert!(is_waiting(&mut second));
        drop(first);
        let mut second = second.await.unwrap();

        let (_, _) = listener.accept().await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        second.write_all(b"ping").await.unwrap();
        second.shutdown().await.unwrap();
        let mut read = String::new();
        peer.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "ping");
    }

    #[tokio::test]
    async fn s11_a_refused_dial_is_an_error_and_costs_no_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        drop(listener);
        let dialler = dialler();
        for _ in 0..2 {
            let Err(DialError::Host(refused)) = dialler.dial(call(at)).await else {
                panic!("connected to a closed port");
            };
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        }
        assert_eq!(dialler.sockets.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_proxy_that_stops_amid_its_answer_is_late_and_costs_no_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let proxy = ProxyUrl::parse("socks5://proxy.test").unwrap().at(vec![at]);
        let through = Network {
            proxy: Some(proxy),
            ..Network::default()
        };
        let behind = TcpDialler::with_sockets(1, &through);
        for said in [&b""[..], b"\x05", b"\x05\0\x05\0\0\x03\xffxxx"] {
            let silent = async {
                let (mut proxy, _) = listener.accept().await.unwrap();
                proxy.write_all(said).await.unwrap();
                std::future::pending::<()>().await;
            };
            let call = Call {
                within: Duration::from_millis(50),
                ..call(at)
            };
            let start = std::time::Instant::now();
            let error = tokio::select! {
                ended = behind.dial(call) => ended.err(),
                () = silent => None,
            };
            assert!(matches!(error, Some(DialError::Proxy(ProxyFault::Late))), "{error:?}");
            assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
            assert_eq!(behind.sockets.available_permits(), 1);
        }
    }

    fn is_waiting<T>(future: &mut BoxFuture<'_, T>) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        future.as_mut().poll(&mut cx).is_pending()
    }
}
