//! The terms of a record (RFC 7208 sections 4.6, 5, 6 and 12). The whole record is read before any of it is used: one wrong term
//! spoils all.

use std::{fmt, net::IpAddr};

use super::expand::MacroString;

/// A record with every term read.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub(super) directives: Vec<Directive<'a>>,
    /// Set only where no `all` makes it unreachable.
    pub(super) redirect: Option<MacroString<'a>>,
}

/// A mechanism with what its match means.
#[derive(Debug)]
pub(super) struct Directive<'a> {
    pub(super) qualifier: Qualifier,
    pub(super) mechanism: Mechanism<'a>,
    /// As it is written.
    pub(super) text: &'a str,
}

/// The sign before a mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Qualifier {
    Pass,
    Fail,
    SoftFail,
    Neutral,
}

/// What may match.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mechanism<'a> {
    All,
    Include(MacroString<'a>),
    A(Where<'a>),
    Mx(Where<'a>),
    Ptr(Option<MacroString<'a>>),
    Ip(Network),
    Exists(MacroString<'a>),
}

/// `domain/24//64`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Where<'a> {
    pub(super) name: Option<MacroString<'a>>,
    v4: u8,
    v6: u8,
}

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    bits: u8,
}

/// A term that is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxError(Box<str>);

impl SyntaxError {
    pub(super) fn new(text: &str) -> Self {
        Self(text.chars().take(100).collect::<String>().into())
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` cannot be read", self.0)
    }
}

impl<'a> Record<'a> {
    /// Whether a TXT record is an SPF record at all.
    pub(super) fn is_one(text: &str) -> bool {
        after_version(text).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    }

    pub(super) fn parse(text: &'a str) -> Result<Self, SyntaxError> {
        let rest = after_version(text).ok_or_else(|| SyntaxError::new(text))?;
        let mut directives = Vec::new();
        let mut redirect = None;
        let mut explained = false;
        for term in rest.split(' ').filter(|term| !term.is_empty()) {
            let wrong = || SyntaxError::new(term);
            match modifier(term) {
                Some((name, value)) if name.eq_ignore_ascii_case("redirect") => {
                    let target = MacroString::parse_domain(value).map_err(|_| wrong())?;
                    if redirect.replace(target).is_some() {
                        return Err(wrong());
                    }
                }
                Some((name, value)) if name.eq_ignore_ascii_case("exp") => {
                    MacroString::parse_domain(value).map_err(|_| wrong())?;
                    if std::mem::replace(&mut explained, true) {
                        return Err(wrong());
                    }
                }
                Some((_, value)) => {
                    MacroString::parse(value, true).map_err(|_| wrong())?;
                }
                None => directives.push(directive(term)?),
            }
        }
        if directives.iter().any(|directive| directive.mechanism == Mechanism::All) {
            redirect = None;
        }
        Ok(Self { directives, redirect })
    }
}

fn after_version(text: &str) -> Option<&str> {
    let (version, rest) = text.split_at_checked("v=spf1".len())?;
    version.eq_ignore_ascii_case("v=spf1").then_some(rest)
}

/// `name=value`; a mechanism has a `:` or a `/` before any `=`.
fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let mut bytes = name.bytes();
    let fine = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    fine.then_some((name, value))
}

fn directive(term: &str) -> Result<Directive<'_>, SyntaxError> {
    let (qualifier, bare) = match term.split_at_checked(1) {
        Some(("+", rest)) => (Qualifier::Pass, rest),
        Some(("-", rest)) => (Qualifier::Fail, rest),
        Some(("~", rest)) => (Qualifier::SoftFail, rest),
        Some(("?", rest)) => (Qualifier::Neutral, rest),
        _ => (Qualifier::Pass, term),
    };
    let mechanism = mechanism(bare).ok_or_else(|| SyntaxError::new(term))?;
    Ok(Directive {
        qualifier,
        mechanism,
        text: term,
    })
}

fn mechanism(text: &str) -> Option<Mechanism<'_>> {
    let end = text.find([':', '/']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let value = rest.strip_prefix(':');
    let domain = |value: Option<&'_ str>| value.is_some_and(|value| !value.is_empty());
    let name = name.to_ascii_lowercase();
    match (&*name, value) {
        ("all", None) if rest.is_empty() => Some(Mechanism::All),
        ("include", Some(value)) => Some(Mechanism::Include(MacroString::parse_domain(value).ok()?)),
        ("exists", Some(value)) => Some(Mechanism::Exists(MacroString::parse_domain(value).ok()?)),
        ("ptr", None) if rest.is_empty() => Some(Mechanism::Ptr(None)),
        ("ptr", Some(value)) if domain(Some(value)) => {
            Some(Mechanism::Ptr(Some(MacroString::parse_domain(value).ok()?)))
        }
        ("a", _) => Some(Mechanism::A(Where::parse(rest)?)),
        ("mx", _) => Some(Mechanism::Mx(Where::parse(rest)?)),
        ("ip4", Some(value)) => Some(Mechanism::Ip(Network::parse(value, IpAddr::is_ipv4, 32)?)),
        ("ip6", Some(value)) => Some(Mechanism::Ip(Network::parse(value, IpAddr::is_ipv6, 128)?)),
        _ => None,
    }
}

impl<'a> Where<'a> {
    /// `[:domain][/n][//n]`.
    fn parse(text: &'a str) -> Option<Self> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (text, v6) = match text.rsplit_once("//") {
            Some((before, bits)) if digits(bits) => (before, prefix(bits, 128)?),
            Some(_) | None => (text, 128),
        };
        let (text, v4) = match text.rsplit_once('/') {
            Some((before, bits)) if digits(bits) => (before, prefix(bits, 32)?),
            Some(_) | None => (text, 32),
        };
        let name = match text.strip_prefix(':') {
            Some(name) => Some(MacroString::parse_domain(name).ok()?),
            None if text.is_empty() => None,
            None => return None,
        };
        Some(Self { name, v4, v6 })
    }

    /// Whether `ip` is in the network of any of these.
    pub(super) fn any(&self, addresses: &[IpAddr], ip: IpAddr) -> bool {
        let bits = if ip.is_ipv4() { self.v4 } else { self.v6 };
        addresses.iter().any(|address| {
            Network {
                address: *address,
                bits,
            }
            .contains(ip)
        })
    }
}

impl Network {
    fn parse(text: &str, family: fn(&IpAddr) -> bool, most: u8) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, prefix(bits, most)?),
            None => (text, most),
        };
        let address = address.parse().ok().filter(family)?;
        Some(Self { address, bits })
    }

    pub(super) fn contains(self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                (u32::from(network) ^ u32::from(ip)) & mask == 0
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                (u128::from(network) ^ u128::from(ip)) & mask == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// A length without leading zeros.
fn prefix(text: &str, most: u8) -> Option<u8> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|bits| plain && *bits <= most)
}

impl Mechanism<'_> {
    /// Whether it counts towards the limit of RFC 7208 section 4.6.4.
    pub(super) fn asks(&self) -> bool {
        match self {
            Self::All | Self::Ip(_) => false,
            Self::Include(_) | Self::A(_) | Self::Mx(_) | Self::Ptr(_) | Self::Exists(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_from_other_texts() {
        for text in ["v=spf1", "v=spf1 -all", "V=SPF1 a"] {
            assert!(Record::is_one(text), "{text}");
        }
        for text in [
            "",
            "v=spf",
            "v=spf10",
            "v=spf1-all",
            "v=spf2.0/pra",
            " v=spf1",
            "v=spfé",
        ] {
            assert!(!Record::is_one(text), "{text}");
        }
    }

    #[test]
    fn one_wrong_term_spoils_the_record() {
        for record in [
            "-all",
            "all",
            "?all redirect=_spf.example.com",
            "a",
            "a:a.example.com",
            "a/24",
            "a//64",
            "a:b.example.com/24//64",
            "A:%{d}/0//0",
            "mx",
            "ptr:example.org",
            "ip4:192.0.2.0/24",
            "ip6:2001:db8::/32",
            "ip6:::1",
            "exists:%{ir}.list.example.net",
            "x-new=%{c}",
            "  +all  ",
            "moo.cow-far_out=man:dog/cat",
        ] {
            assert!(Record::parse(&format!("v=spf1 {record}")).is_ok(), "{record}");
        }
        for record in [
            "al",
            "all:x.example.com",
            "all/8",
            "a:",
            "a/33",
            "a//129",
            "a/032",
            "a/",
            "a:example.com/x",
            "a:example",
            "include",
            "include:",
            "include:example.com/24",
            "exists",
            "exists:",
            "ptr:",
            "ptr/0",
            "ip4",
            "ip4:",
            "ip4:192.0.2",
            "ip4:192.0.2.1/33",
            "ip4:192.0.2.1//24",
            "ip4:::1",
            "ip6:192.0.2.1",
            "ip6:::1/129",
            "ip6:::1//64",
            "redirect=",
            "redirect=a.example.com redirect=b.example.com",
            "exp=a.example.com exp=b.example.com",
            "redirect:example.com",
            "=x",
            "1x=y",
            "-redirect=example.com",
            "x=%{",
            "a\tmx",
            "--all",
            "é",
        ] {
            assert!(Record::parse(&format!("v=spf1 {record}")).is_err(), "{record}");
        }
    }

    #[test]
    fn networks_hold_their_addresses() {
        for (network, ip, expected) in [
            ("ip4:192.0.2.128/28", "192.0.2.143", true),
            ("ip4:192.0.2.128/28", "192.0.2.144", false),
            ("ip4:0.0.0.0/0", "255.255.255.255", true),
            ("ip4:192.0.2.1", "192.0.2.1", true),
            ("ip6:2001:db8::/127", "2001:db8::1", true),
            ("ip6:2001:db8::/127", "2001:db8::2", false),
            ("ip6:::/0", "2001:db8::2", true),
            ("ip6:::/0", "192.0.2.1", false),
        ] {
            let Some(Mechanism::Ip(network)) = mechanism(network) else {
                panic!("{network}");
            };
            assert_eq!(network.contains(ip.parse().unwrap()), expected, "{network:?} {ip}");
        }
    }
}
