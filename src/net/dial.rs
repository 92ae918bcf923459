//! TCP to vetted addresses, never more sockets than the process may open (HOSTILE.md S17).

use std::{
    fs, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::{BoxFuture, Dial, Stream, Vetted};

/// Dials with the operating system's TCP; waits while the process has no socket to spare.
///
/// Clones share one budget: half of the soft limit on open files, the rest is for DNS, files and the API.
#[derive(Debug, Clone)]
pub struct TcpDialler {
    sockets: Arc<Semaphore>,
}

impl TcpDialler {
    /// A dialler with its own budget of open sockets; one per process, else the budgets add up.
    #[must_use]
    pub fn new() -> Self {
        Self::with_sockets(open_file_limit() / 2)
    }

    fn with_sockets(sockets: usize) -> Self {
        Self {
            sockets: Arc::new(Semaphore::new(sockets.clamp(1, 1 << 16))),
        }
    }
}

impl Default for TcpDialler {
    fn default() -> Self {
        Self::new()
    }
}

impl Dial for TcpDialler {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that dials, and only vetted addresses"
    )]
    fn dial(&self, to: Vetted, port: u16) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let permit = self.sockets.clone().acquire_owned().await.map_err(io::Error::other)?;
            let stream = TcpStream::connect(SocketAddr::new(to.ip(), port)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(Budgeted {
                stream,
                _permit: permit,
            }) as Box<dyn Stream>)
        })
    }
}

/// The soft limit on open files; 1,024, the usual default, where it cannot be read.
#[must_use]
pub fn open_file_limit() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    soft_limit(&limits).unwrap_or(1024)
}

fn soft_limit(limits: &str) -> Option<usize> {
    let row = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    row.split_whitespace().next()?.parse().ok()
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

    use super::*;
    use crate::net::vet;

    #[test]
    fn the_soft_limit_is_read_from_the_kernels_table() {
        let table = "Limit                     Soft Limit           Hard Limit           Units     \n\
                     Max processes             31371                31371                processes \n\
                     Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(table), Some(1024));
        for unreadable in ["", "Max open files", "Max open files unlimited unlimited files"] {
            assert_eq!(soft_limit(unreadable), None, "{unreadable}");
        }
    }

    #[tokio::test]
    async fn s17_a_dial_waits_until_a_socket_is_given_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let to = vet(at.ip(), true).unwrap();
        let dialler = TcpDialler::with_sockets(1);

        let first = dialler.dial(to, at.port()).await.unwrap();
        let mut second = dialler.dial(to, at.port());
        assert!(futures_now(&mut second).is_none(), "the budget is spent");
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
        let dialler = TcpDialler::with_sockets(1);
        for _ in 0..2 {
            let refused = dialler.dial(vet(at.ip(), true).unwrap(), at.port()).await;
            assert_eq!(refused.err().unwrap().kind(), io::ErrorKind::ConnectionRefused);
        }
        assert_eq!(dialler.sockets.available_permits(), 1);
    }

    /// The value of a future that is ready at its first poll.
    fn futures_now<T>(future: &mut BoxFuture<'_, T>) -> Option<T> {
        match future.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }
}
