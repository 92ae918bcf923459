//! Special-use addresses (IANA special-purpose address registries, RFC 6890), seen through every form that embeds IPv4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address that may be dialled: made by [`vet`] only.
///
/// ```compile_fail,E0423
/// let unvetted = presend::net::Vetted("10.0.0.1".parse().unwrap());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vetted(IpAddr);

impl Vetted {
    /// The address itself; an IPv4-mapped one is held as IPv4.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0
    }
}

/// Why an address must not be dialled (IANA special-purpose address registries).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum SpecialUse {
    /// 127.0.0.0/8, `::1`.
    Loopback,
    /// 0.0.0.0/8, `::`.
    Unspecified,
    /// RFC 1918: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16; RFC 4193: fc00::/7.
    Private,
    /// Carrier-grade NAT, RFC 6598: 100.64.0.0/10.
    SharedSpace,
    /// 169.254.0.0/16 (cloud metadata services live here), fe80::/10 and the deprecated fec0::/10.
    LinkLocal,
    /// 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32, 3fff::/20.
    Documentation,
    /// 198.18.0.0/15, 2001:2::/48.
    Benchmarking,
    /// 192.0.0.0/24, 192.88.99.0/24, 2001::/23 and whatever is reserved for a protocol's own use.
    Protocol,
    /// 224.0.0.0/4, ff00::/8.
    Multicast,
    /// 255.255.255.255.
    Broadcast,
    /// 240.0.0.0/4.
    Reserved,
    /// IPv6 outside 2000::/3, the only global unicast space: 100::/64, 5f00::/16, IPv4-compatible, local NAT64 ...
    NotGlobal,
}

impl SpecialUse {
    /// A stable snake_case name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Unspecified => "unspecified",
            Self::Private => "private",
            Self::SharedSpace => "shared_space",
            Self::LinkLocal => "link_local",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Protocol => "protocol",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Reserved => "reserved",
            Self::NotGlobal => "not_global",
        }
    }

    /// Whether hosts of a lab live there: this machine and its private networks. What is reserved, or names no host at all,
    /// is as wrong in a lab as elsewhere.
    fn is_local(self) -> bool {
        match self {
            Self::Loopback | Self::Private | Self::SharedSpace | Self::LinkLocal => true,
            Self::Unspecified
            | Self::Documentation
            | Self::Benchmarking
            | Self::Protocol
            | Self::Multicast
            | Self::Broadcast
            | Self::Reserved
            | Self::NotGlobal => false,
        }
    }
}

/// Refuses special-use addresses, looking inside IPv4-mapped, IPv4-compatible, NAT64, 6to4, Teredo and ISATAP forms.
///
/// `allow_special_use` is for labs: it lets loopback, private, shared and link-local addresses pass, and nothing else.
///
/// # Errors
/// Why the address is refused.
pub fn vet(ip: IpAddr, allow_special_use: bool) -> Result<Vetted, SpecialUse> {
    let ip = ip.to_canonical();
    let special = match ip {
        IpAddr::V4(ip) => special_v4(ip),
        IpAddr::V6(ip) => special_v6(ip),
    };
    match special {
        Some(special) if !(allow_special_use && special.is_local()) => Err(special),
        Some(_) | None => Ok(Vetted(ip)),
    }
}

fn special_v4(ip: Ipv4Addr) -> Option<SpecialUse> {
    use SpecialUse as Use;
    Some(match ip.octets() {
        [0, ..] => Use::Unspecified,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Use::Private,
        [100, 64..=127, ..] => Use::SharedSpace,
        [127, ..] => Use::Loopback,
        [169, 254, ..] => Use::LinkLocal,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Use::Documentation,
        [192, 0, 0, _] | [192, 88, 99, _] => Use::Protocol,
        [198, 18 | 19, ..] => Use::Benchmarking,
        [224..=239, ..] => Use::Multicast,
        [255, 255, 255, 255] => Use::Broadcast,
        [240..=255, ..] => Use::Reserved,
        _ => return None,
    })
}

fn special_v6(ip: Ipv6Addr) -> Option<SpecialUse> {
    use SpecialUse as Use;
    let last = u128::from(ip);
    Some(match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Use::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Use::Loopback,
        // IPv4-compatible (deprecated by RFC 4291) and local NAT64 (RFC 8215) are never global, whatever they embed.
        [0, 0, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => special_v4(embedded(last)).unwrap_or(Use::NotGlobal),
        // The well-known NAT64 prefix reaches what it embeds (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => return special_v4(embedded(last)),
        [0xfc00..=0xfdff, ..] => Use::Private,
        [0xfe80..=0xfeff, ..] => Use::LinkLocal,
        [0xff00..=0xffff, ..] => Use::Multicast,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => Use::Documentation,
        [0x2001, 2, 0, ..] => Use::Benchmarking,
        // Teredo (RFC 4380) embeds its server plainly and its client inverted.
        [0x2001, 0, ..] => return special_v4(embedded(last >> 64)).or_else(|| special_v4(embedded(!last))),
        [0x2001, 0..=0x1ff, ..] => Use::Protocol,
        [0x2002, ..] => return special_v4(embedded(last >> 80)).or_else(|| isatap(ip)),
        [0x2000..=0x3fff, ..] => return isatap(ip),
        _ => Use::NotGlobal,
    })
}

/// ISATAP interface identifiers embed IPv4 under any prefix (RFC 5214).
fn isatap(ip: Ipv6Addr) -> Option<SpecialUse> {
    match ip.segments() {
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => special_v4(embedded(ip.into())),
        _ => None,
    }
}

/// The IPv4 address in the low 32 bits.
fn embedded(bits: u128) -> Ipv4Addr {
    let [.., a, b, c, d] = bits.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::{SpecialUse as Use, *};

    fn check(table: &[(&str, Option<Use>)]) {
        for (text, expected) in table {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(vet(ip, false).err(), *expected, "{text}");
        }
    }

    #[test]
    fn d1_d2_d4_ipv4_special_use_is_refused_to_the_last_address() {
        check(&[
            ("0.0.0.0", Some(Use::Unspecified)),
            ("0.255.255.255", Some(Use::Unspecified)),
            ("1.0.0.0", None),
            ("9.255.255.255", None),
            ("10.0.0.0", Some(Use::Private)),
            ("10.255.255.255", Some(Use::Private)),
            ("11.0.0.0", None),
            ("100.63.255.255", None),
            ("100.64.0.0", Some(Use::SharedSpace)),
            ("100.127.255.255", Some(Use::SharedSpace)),
            ("100.128.0.0", None),
            ("127.0.0.1", Some(Use::Loopback)),
            ("127.255.255.254", Some(Use::Loopback)),
            ("128.0.0.0", None),
            ("169.253.255.255", None),
            ("169.254.169.254", Some(Use::LinkLocal)),
            ("169.255.0.0", None),
            ("172.15.255.255", None),
            ("172.16.0.0", Some(Use::Private)),
            ("172.31.255.255", Some(Use::Private)),
            ("172.32.0.0", None),
            ("192.0.0.1", Some(Use::Protocol)),
            ("192.0.1.0", None),
            ("192.0.2.1", Some(Use::Documentation)),
            ("192.0.3.0", None),
            ("192.88.98.255", None),
            ("192.88.99.1", Some(Use::Protocol)),
            ("192.167.255.255", None),
            ("192.168.0.1", Some(Use::Private)),
            ("192.169.0.0", None),
            ("198.17.255.255", None),
            ("198.18.0.0", Some(Use::Benchmarking)),
            ("198.19.255.255", Some(Use::Benchmarking)),
            ("198.20.0.0", None),
            ("198.51.100.7", Some(Use::Documentation)),
            ("203.0.113.7", Some(Use::Documentation)),
            ("223.255.255.255", None),
            ("224.0.0.1", Some(Use::Multicast)),
            ("239.255.255.255", Some(Use::Multicast)),
            ("240.0.0.0", Some(Use::Reserved)),
            ("255.255.255.254", Some(Use::Reserved)),
            ("255.255.255.255", Some(Use::Broadcast)),
            ("8.8.8.8", None),
        ]);
    }

    #[test]
    fn d3_ipv6_special_use_is_refused() {
        check(&[
            ("::", Some(Use::Unspecified)),
            ("::1", Some(Use::Loopback)),
            ("100::1", Some(Use::NotGlobal)),
            ("1fff:ffff::1", Some(Use::NotGlobal)),
            ("2000::1", None),
            ("2001:1::1", Some(Use::Protocol)),
            ("2001:2::1", Some(Use::Benchmarking)),
            ("2001:2:1::1", Some(Use::Protocol)),
            ("2001:10::1", Some(Use::Protocol)),
            ("2001:1ff:ffff::1", Some(Use::Protocol)),
            ("2001:200::1", None),
            ("2001:db7:ffff::1", None),
            ("2001:db8::1", Some(Use::Documentation)),
            ("2001:db8:ffff::1", Some(Use::Documentation)),
            ("2001:db9::1", None),
            ("2001:503:ba3e::2:30", None),
            ("2a00:1450:4013:c01::1a", None),
            ("3ffe:ffff::1", None),
            ("3fff::1", Some(Use::Documentation)),
            ("3fff:fff:ffff::1", Some(Use::Documentation)),
            ("3fff:1000::1", None),
            ("4000::1", Some(Use::NotGlobal)),
            ("5f00::1", Some(Use::NotGlobal)),
            ("fbff::1", Some(Use::NotGlobal)),
            ("fc00::1", Some(Use::Private)),
            ("fdff:ffff::1", Some(Use::Private)),
            ("fe00::1", Some(Use::NotGlobal)),
            ("fe80::1", Some(Use::LinkLocal)),
            ("febf::1", Some(Use::LinkLocal)),
            ("fec0::1", Some(Use::LinkLocal)),
            ("feff::1", Some(Use::LinkLocal)),
            ("ff02::1", Some(Use::Multicast)),
        ]);
    }

    #[test]
    fn d3_embedded_ipv4_is_vetted_as_itself() {
        check(&[
            ("::ffff:127.0.0.1", Some(Use::Loopback)),
            ("::ffff:10.1.2.3", Some(Use::Private)),
            ("::ffff:0.0.0.0", Some(Use::Unspecified)),
            ("::ffff:8.8.8.8", None),
            ("::127.0.0.1", Some(Use::Loopback)),
            ("::169.254.169.254", Some(Use::LinkLocal)),
            ("::8.8.8.8", Some(Use::NotGlobal)),
            ("::ffff:0:8.8.8.8", Some(Use::NotGlobal)),
            ("64:ff9b::127.0.0.1", Some(Use::Loopback)),
            ("64:ff9b::192.168.1.1", Some(Use::Private)),
            ("64:ff9b::8.8.8.8", None),
            ("64:ff9b:1::10.0.0.1", Some(Use::Private)),
            ("64:ff9b:1::8.8.8.8", Some(Use::NotGlobal)),
            ("64:ff9b:2::8.8.8.8", Some(Use::NotGlobal)),
            ("2002:7f00:1::1", Some(Use::Loopback)),
            ("2002:a00:1::1", Some(Use::Private)),
            ("2002:808:808::1", None),
            ("2002:a00:1::5efe:8.8.8.8", Some(Use::Private)),
            ("2002:808:808::5efe:10.0.0.1", Some(Use::Private)),
            // Teredo: server 65.54.227.120, client 192.0.2.45 (the example of RFC 4380), then a private server, then both global.
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", Some(Use::Documentation)),
            ("2001:0:a00:1:8000:63bf:f7f7:f7f7", Some(Use::Private)),
            ("2001:0:4136:e378:8000:63bf:f7f7:f7f7", None),
            ("2a00:1450::5efe:10.0.0.1", Some(Use::Private)),
            ("2a00:1450::200:5efe:127.0.0.1", Some(Use::Loopback)),
            ("2a00:1450::200:5efe:8.8.8.8", None),
        ]);
        let mapped = vet("::ffff:8.8.8.8".parse().unwrap(), false).unwrap();
        assert_eq!(mapped.ip(), "8.8.8.8".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn a_lab_may_dial_local_addresses_and_nothing_reserved() {
        for text in [
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.0.1",
            "100.64.0.1",
            "169.254.0.1",
            "fd00::1",
            "fe80::1",
            "::ffff:127.0.0.1",
            "8.8.8.8",
        ] {
            assert!(vet(text.parse().unwrap(), true).is_ok(), "{text}");
        }
        for text in [
            "0.0.0.0",
            "::",
            "192.0.0.1",
            "192.0.2.1",
            "2001:db8::1",
            "198.18.0.1",
            "2001:2::1",
            "224.0.0.1",
            "ff02::1",
            "240.0.0.1",
            "255.255.255.255",
            "100::1",
            "::ffff:224.0.0.1",
            "2002:e000:1::1",
        ] {
            assert!(vet(text.parse().unwrap(), true).is_err(), "{text}");
        }
    }
}
