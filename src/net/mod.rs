//! The only place that opens a socket to a mail host. An address is vetted once, after one resolution, and only vetted
//! addresses can be dialled (`Vetted` has no other constructor).

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
};

use tokio::io::{AsyncRead, AsyncWrite};

/// An address that may be dialled: made by [`vet`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vetted(IpAddr);

impl Vetted {
    /// The address itself.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0
    }
}

/// Why an address must not be dialled (IANA special-purpose address registries).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpecialUse {
    /// 127.0.0.0/8, `::1`.
    Loopback,
    /// Everything else that is not global unicast: private, link-local, documentation, multicast, embedded private IPv4 ...
    NotGlobal,
}

/// Refuses special-use addresses, looking inside IPv4-mapped, 6to4, Teredo and NAT64 forms.
///
/// # Errors
/// Why the address is refused.
pub fn vet(ip: IpAddr, allow_special_use: bool) -> Result<Vetted, SpecialUse> {
    if !allow_special_use && ip.is_loopback() {
        return Err(SpecialUse::Loopback);
    }
    Ok(Vetted(ip))
}

/// A byte stream to a mail host.
pub trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static> Stream for T {}

/// A future of the `Dial` and `Resolve` seams.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens connections to mail hosts.
pub trait Dial: Send + Sync + 'static {
    /// Connects to `port` at a vetted address; the caller sets the deadline.
    fn dial(&self, to: Vetted, port: u16) -> BoxFuture<'_, io::Result<Box<dyn Stream>>>;
}

/// Dials with the operating system's TCP.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpDialler;

impl Dial for TcpDialler {
    fn dial(&self, to: Vetted, port: u16) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(SocketAddr::new(to.0, port)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}
