//! IPv4 and IPv6: which of them a run uses, and which is tried first.

use std::net::IpAddr;

/// What the operator says about IPv4 and IPv6 (`--ip`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IpPreference {
    /// IPv6 first where the machine has a route to it, else last.
    #[default]
    Auto,
    /// IPv4 first.
    PreferV4,
    /// IPv6 first.
    PreferV6,
    /// IPv4 alone.
    OnlyV4,
    /// IPv6 alone.
    OnlyV6,
}

/// The families of a run, in the order in which a host's addresses are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Families {
    /// Both in turn, IPv6 first (RFC 8305 section 4: a broken family must not use up all attempts).
    V6AndV4,
    /// Both in turn, IPv4 first.
    V4AndV6,
    /// IPv4, and IPv6 where a host has nothing else.
    #[default]
    V4ThenV6,
    /// IPv4 alone.
    OnlyV4,
    /// IPv6 alone.
    OnlyV6,
}

impl Families {
    /// What a preference comes to on a machine with or without a route to IPv6.
    #[must_use]
    pub fn of(preference: IpPreference, ipv6_route: bool) -> Self {
        match preference {
            IpPreference::Auto | IpPreference::PreferV6 if ipv6_route => Self::V6AndV4,
            IpPreference::PreferV4 if ipv6_route => Self::V4AndV6,
            IpPreference::PreferV6 => Self::V6AndV4,
            IpPreference::Auto | IpPreference::PreferV4 => Self::V4ThenV6,
            IpPreference::OnlyV4 => Self::OnlyV4,
            IpPreference::OnlyV6 => Self::OnlyV6,
        }
    }

    /// Whether an address of this family may be dialled.
    #[must_use]
    pub fn take(self, ip: IpAddr) -> bool {
        match self {
            Self::V6AndV4 | Self::V4AndV6 | Self::V4ThenV6 => true,
            Self::OnlyV4 => ip.is_ipv4(),
            Self::OnlyV6 => ip.is_ipv6(),
        }
    }

    /// Whether most hosts give two addresses, one of each family.
    #[must_use]
    pub fn are_two(self) -> bool {
        match self {
            Self::V6AndV4 | Self::V4AndV6 => true,
            Self::V4ThenV6 | Self::OnlyV4 | Self::OnlyV6 => false,
        }
    }
}
