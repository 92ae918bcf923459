//! The only place that opens a socket to a mail host. An address is vetted once, after one resolution, and only vetted
//! addresses can be dialled (`Vetted` has no other constructor).
//!
//! Owns the special-use tables and the budget of open sockets. Must not resolve names.

mod dial;
mod vet;

use std::{future::Future, io, net::UdpSocket, pin::Pin};

use tokio::io::{AsyncRead, AsyncWrite};

pub use dial::{TcpDialler, open_file_limit};
pub use vet::{SpecialUse, Vetted, vet};

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

/// Whether the machine has a route to the IPv6 internet, asked of the kernel without sending a packet.
#[must_use]
pub fn has_ipv6_route() -> bool {
    // Connecting a UDP socket only looks the route up; the address is a.root-servers.net.
    UdpSocket::bind("[::]:0").is_ok_and(|socket| socket.connect("[2001:503:ba3e::2:30]:53").is_ok())
}
