//! The only place that opens a socket to a mail host. An address is vetted once, after one resolution, and only vetted
//! addresses can be dialled (`Vetted` has no other constructor).
//!
//! Owns the special-use tables and the budget of open sockets. Must not resolve names.

mod dial;
mod vet;

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    pin::Pin,
};

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

/// The addresses from which connections to the internet leave, IPv4 first, asked of the kernel without sending a packet.
#[must_use]
pub fn outgoing_addresses() -> Vec<IpAddr> {
    // Connecting a UDP socket only looks the route up; the addresses are those of a.root-servers.net.
    let ways: [(IpAddr, &str); 2] = [
        (Ipv4Addr::UNSPECIFIED.into(), "198.41.0.4:53"),
        (Ipv6Addr::UNSPECIFIED.into(), "[2001:503:ba3e::2:30]:53"),
    ];
    let leaves = |(any, far): (IpAddr, &str)| {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
        socket.connect(far).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    ways.into_iter().filter_map(leaves).collect()
}
