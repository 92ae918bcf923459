//! The only place that opens a socket to a mail host. An address is vetted once, after one resolution, and only vetted
//! addresses can be dialled (`Vetted` has no other constructor).
//!
//! Owns the special-use tables, the budget of open sockets, source addresses and the way through a proxy. Must not resolve
//! names.

mod dial;
mod family;
mod proxy;
mod source;
mod vet;

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    pin::Pin,
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite};

pub use dial::{TcpDialler, connect_to_web, open_file_limit, raise_open_file_limit};
pub use family::{Families, IpPreference};
pub use proxy::{Proxy, ProxyFault, ProxyUrl, ProxyUrlError};
pub use source::{SourceError, Sources};
pub use vet::{SpecialUse, Vetted, vet};

/// A byte stream to a mail host.
pub trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static> Stream for T {}

/// A future of the `Dial` and `Resolve` seams.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens connections to mail hosts.
pub trait Dial: Send + Sync + 'static {
    /// Opens one connection.
    fn dial<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<Box<dyn Stream>, DialError>>;

    /// Connections that may be open at once; a dial beyond them waits.
    fn sockets(&self) -> usize {
        usize::MAX
    }
}

/// A connection that is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The mail host.
    pub to: Vetted,
    /// Its port.
    pub port: u16,
    /// The mail-host group; it always calls from the same address.
    pub group: &'a str,
    /// How long it may take, a proxy's handshake included.
    pub within: Duration,
}

/// There is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The mail host was not reached.
    #[error(transparent)]
    Host(io::Error),
    /// The proxy failed, so nothing is known about the mail host.
    #[error(transparent)]
    Proxy(ProxyFault),
}

/// How this machine gets to mail hosts.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// The addresses that connections come from.
    pub sources: Sources,
    /// What the operator says about IPv4 and IPv6.
    pub preference: IpPreference,
    /// The way out.
    pub proxy: Option<Proxy>,
}

/// A family is left out because no source address belongs to it, and so nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no source address is {0}, and no other addresses are wanted")]
pub struct NoSource(&'static str);

impl Network {
    /// The families of a run.
    ///
    /// # Errors
    /// The only family wanted has no source address.
    pub fn families(&self) -> Result<Families, NoSource> {
        // Whether the proxy has IPv6 is not known here: its hosts are the last resort, unless the operator knows better.
        let ipv6_route = self.proxy.is_none() && has_ipv6_route();
        self.families_with(ipv6_route)
    }

    fn families_with(&self, ipv6_route: bool) -> Result<Families, NoSource> {
        let families = match (self.proxy.is_some(), self.preference) {
            (true, IpPreference::PreferV4) => Families::V4AndV6,
            (_, preference) => Families::of(preference, ipv6_route),
        };
        let v4 = self.sources.reach(Ipv4Addr::LOCALHOST.into());
        let v6 = self.sources.reach(Ipv6Addr::LOCALHOST.into());
        match (families, v4, v6) {
            (Families::OnlyV4, false, _) => Err(NoSource("IPv4")),
            (Families::OnlyV6, _, false) => Err(NoSource("IPv6")),
            (_, true, false) => Ok(Families::OnlyV4),
            (_, false, true) => Ok(Families::OnlyV6),
            (families, ..) => Ok(families),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preference_route_and_sources_make_the_families() {
        use Families as F;
        use IpPreference as P;
        let (both, v4, v6) = (&["127.0.0.1", "::1"][..], &["127.0.0.1"][..], &["::1"][..]);
        let table = [
            (P::Auto, &[][..], true, Ok(F::V6AndV4)),
            (P::Auto, &[], false, Ok(F::V4ThenV6)),
            (P::PreferV4, &[], true, Ok(F::V4AndV6)),
            (P::PreferV4, &[], false, Ok(F::V4ThenV6)),
            (P::PreferV6, &[], false, Ok(F::V6AndV4)),
            (P::OnlyV6, &[], false, Ok(F::OnlyV6)),
            (P::Auto, both, true, Ok(F::V6AndV4)),
            (P::Auto, v4, true, Ok(F::OnlyV4)),
            (P::PreferV6, v4, true, Ok(F::OnlyV4)),
            (P::PreferV4, v6, true, Ok(F::OnlyV6)),
            (P::OnlyV6, v4, true, Err(NoSource("IPv6"))),
            (P::OnlyV4, v6, true, Err(NoSource("IPv4"))),
        ];
        for (preference, sources, ipv6_route, expected) in table {
            let network = Network {
                sources: Sources::of_test(sources),
                preference,
                proxy: None,
            };
            assert_eq!(
                network.families_with(ipv6_route),
                expected,
                "{preference:?} {sources:?} {ipv6_route}"
            );
        }
    }
}
