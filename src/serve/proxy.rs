//! Whose request it is: the peer of the connection, or whom a trusted proxy names.
//!
//! A header that anybody can write counts only as far as trusted proxies wrote it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use axum::http::{HeaderMap, HeaderName, header::FORWARDED};
use ipnet::IpNet;

/// Hops looked at, from the last one back.
const MOST_HOPS: usize = 32;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Addresses of a machine or a network, as they are typed: `192.0.2.7`, `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr(IpNet);

/// A text is neither an address nor a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write an IP address, `192.0.2.7`, or a network, `10.0.0.0/8`")]
pub struct NotACidr;

impl FromStr for Cidr {
    type Err = NotACidr;

    fn from_str(text: &str) -> Result<Self, NotACidr> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| NotACidr)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The proxies whose word counts.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<Cidr>);

impl From<Vec<Cidr>> for TrustedProxies {
    fn from(networks: Vec<Cidr>) -> Self {
        Self(networks)
    }
}

/// Whoever is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) ip: IpAddr,
    /// He is on this machine, and no proxy that is not trusted stands between.
    pub(super) here: bool,
}

impl TrustedProxies {
    fn trusts(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.0.contains(&ip))
    }

    /// Who sends a request over a connection from `peer`.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let peer = peer.to_canonical();
        let told = |name: &HeaderName| headers.contains_key(name);
        if !self.trusts(peer) {
            // Whoever forwards requests is somewhere between.
            let forwarded = told(&X_FORWARDED_FOR) || told(&FORWARDED);
            return Client {
                ip: peer,
                here: peer.is_loopback() && !forwarded,
            };
        }
        let named = match (told(&X_FORWARDED_FOR), told(&FORWARDED)) {
            (true, false) => self.last_stranger(hops(headers, &X_FORWARDED_FOR, node)),
            (false, true) => self.last_stranger(hops(headers, &FORWARDED, forwarded_for)),
            // One of them is a caller's own, passed on by a proxy that writes the other.
            (true, true) => {
                let by_x = self.last_stranger(hops(headers, &X_FORWARDED_FOR, node));
                by_x.filter(|ip| Some(*ip) == self.last_stranger(hops(headers, &FORWARDED, forwarded_for)))
            }
            (false, false) => None,
        };
        Client {
            ip: named.unwrap_or(peer),
            here: named.is_some_and(|ip| ip.is_loopback()),
        }
    }

    /// The first hop from the end that is no trusted proxy; the very first one when all are.
    fn last_stranger(&self, hops: impl Iterator<Item = Option<IpAddr>>) -> Option<IpAddr> {
        let mut last = None;
        for hop in hops.take(MOST_HOPS) {
            let ip = hop?;
            last = Some(ip);
            if !self.trusts(ip) {
                break;
            }
        }
        last
    }
}

/// What a header's hops say, the last one first; `None` for one that names nobody.
fn hops<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    read: fn(&str) -> Option<IpAddr>,
) -> impl Iterator<Item = Option<IpAddr>> + 'a {
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    lines.into_iter().rev().flat_map(move |line| {
        // Commas in quotes are nobody's but a forger's: what trusted proxies add at the end has none.
        let line = line.to_str().unwrap_or_default();
        line.rsplit(',').map(move |hop| read(hop.trim()))
    })
}

/// The `for` of one element (RFC 7239 section 4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let value = element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    })?;
    node(
        value
            .strip_prefix('"')
            .map_or(value, |quoted| quoted.trim_end_matches('"')),
    )
}

/// An address, with or without a port and brackets.
fn node(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let ip = bare.unwrap_or(text).parse().ok();
    let ip = ip.or_else(|| text.parse().ok().map(|at: SocketAddr| at.ip()));
    ip.map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_named_by_trusted_proxies_only() {
        let proxies = ["127.0.0.1", "10.0.0.0/8", "2001:db8::/64"];
        let proxies = TrustedProxies(proxies.iter().map(|text| text.parse().unwrap()).collect());
        let x = "x-forwarded-for";
        let f = "forwarded";
        let long = format!("{}10.0.0.9", "10.0.0.9,".repeat(40));
        for (peer, headers, ip, here) in [
            // Nobody trusted: headers are noise, and a sign of a proxy.
            ("192.0.2.1", &[][..], "192.0.2.1", false),
            ("192.0.2.1", &[(x, "127.0.0.1")], "192.0.2.1", false),
            ("::1", &[], "::1", true),
            ("::ffff:127.0.0.2", &[], "127.0.0.2", true),
            ("::1", &[(x, "127.0.0.1")], "::1", false),
            ("::1", &[(f, "for=127.0.0.1")], "::1", false),
            // Trusted: the last stranger counts.
            ("127.0.0.1", &[], "127.0.0.1", false),
            ("127.0.0.1", &[(x, "192.0.2.9")], "192.0.2.9", false),
            ("::ffff:10.1.1.1", &[(x, "192.0.2.9")], "192.0.2.9", false),
            ("127.0.0.1", &[(x, "127.0.0.1, 192.0.2.9")], "192.0.2.9", false),
            ("127.0.0.1", &[(x, "6.6.6.6, 192.0.2.9,10.0.0.1")], "192.0.2.9", false),
            ("127.0.0.1", &[(x, "6.6.6.6"), (x, "192.0.2.9")], "192.0.2.9", false),
            ("127.0.0.1", &[(x, "10.0.0.3, 10.0.0.1")], "10.0.0.3", false),
            ("127.0.0.1", &[(x, "127.0.0.1")], "127.0.0.1", true),
            ("127.0.0.1", &[(x, "127.0.0.9")], "127.0.0.9", true),
            ("127.0.0.1", &[(x, "192.0.2.9:4711")], "192.0.2.9", false),
            ("127.0.0.1", &[(x, "[2a00::1]:4711")], "2a00::1", false),
            ("127.0.0.1", &[(x, "[2a00::1]")], "2a00::1", false),
            ("127.0.0.1", &[(x, "::ffff:192.0.2.9")], "192.0.2.9", false),
            ("127.0.0.1", &[(x, "unknown")], "127.0.0.1", false),
            ("127.0.0.1", &[(x, "127.0.0.1, _hidden")], "127.0.0.1", false),
            ("127.0.0.1", &[(x, "127.0.0.1, ")], "127.0.0.1", false),
            ("127.0.0.1", &[(x, "\u{7f}\u{ff}")], "127.0.0.1", false),
            ("127.0.0.1", &[(x, &long)], "10.0.0.9", false),
            (
                "2001:db8::5",
                &[(f, "for=192.0.2.60;proto=http;by=203.0.113.43")],
                "192.0.2.60",
                false,
            ),
            ("2001:db8::5", &[(f, "For=\"[2a00::1]:4711\"")], "2a00::1", false),
            (
                "2001:db8::5",
                &[(f, "for=6.6.6.6, for=192.0.2.60")],
                "192.0.2.60",
                false,
            ),
            (
                "2001:db8::5",
                &[(f, "for=\"6.6.6.6, for=192.0.2.60")],
                "192.0.2.60",
                false,
            ),
            ("2001:db8::5", &[(f, "proto=http")], "2001:db8::5", false),
            (
                "127.0.0.1",
                &[(x, "192.0.2.9"), (f, "for=192.0.2.9")],
                "192.0.2.9",
                false,
            ),
            (
                "127.0.0.1",
                &[(x, "192.0.2.9"), (f, "for=127.0.0.1")],
                "127.0.0.1",
                false,
            ),
            (
                "127.0.0.1",
                &[(x, "127.0.0.1"), (f, "for=192.0.2.9")],
                "127.0.0.1",
                false,
            ),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(
                    *name,
                    axum::http::HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| "".parse().unwrap()),
                );
            }
            let expected = Client {
                ip: ip.parse().unwrap(),
                here,
            };
            assert_eq!(
                proxies.client(peer.parse().unwrap(), &map),
                expected,
                "{peer} {headers:?}"
            );
        }
    }

    #[test]
    fn networks_are_read() {
        for (text, shown) in [
            ("192.0.2.7", Some("192.0.2.7/32")),
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("::1", Some("::1/128")),
            ("10.0.0.0/33", None),
            ("proxy.example", None),
            ("", None),
        ] {
            assert_eq!(
                text.parse::<Cidr>().ok().map(|cidr| cidr.to_string()).as_deref(),
                shown,
                "{text}"
            );
        }
    }
}
