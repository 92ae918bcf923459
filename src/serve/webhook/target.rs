//! Where events may be sent: what a URL must be like, and the addresses behind its name.
//!
//! Nobody is reached by a name alone: it is looked up once for an attempt, vetted like a mail host's, and the connection goes to
//! that very address.

use std::{io, net::IpAddr};

use tokio::net::TcpStream;
use url::{Host, Url};

use crate::{
    dns::{AddressAnswer, DnsFailure, Resolve},
    net::{SpecialUse, Vetted, connect_to_web, vet},
};

/// Characters of a URL.
pub(in crate::serve) const LONGEST: usize = 2_000;
/// Addresses tried in one attempt.
const MOST_ADDRESSES: usize = 3;

/// Which targets are taken.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    pub(super) allow_http: bool,
    pub(super) allow_special_use: bool,
}

/// A URL is no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotATarget {
    #[error("write a URL, `https://hooks.example.com/presend`")]
    NotAUrl,
    #[error("a URL has at most {LONGEST} characters")]
    TooLong,
    #[error("the URL must begin with `https://`")]
    NotHttps,
    #[error("the URL holds a login; the signature tells who sends")]
    Login,
    #[error("ports below 1024 other than 443 and 80 are not asked")]
    Port,
    #[error("the address is not a public one ({})", .0.name())]
    SpecialUse(SpecialUse),
}

/// Where to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) url: Url,
    pub(super) host: Host<String>,
    pub(super) port: u16,
    pub(super) encrypted: bool,
}

impl Target {
    /// Reads a URL.
    pub(super) fn parse(text: &str, rules: Rules) -> Result<Self, NotATarget> {
        if text.len() > LONGEST {
            return Err(NotATarget::TooLong);
        }
        let mut url = Url::parse(text).map_err(|_| NotATarget::NotAUrl)?;
        url.set_fragment(None);
        let encrypted = match url.scheme() {
            "https" => true,
            "http" if rules.allow_http => false,
            _ => return Err(NotATarget::NotHttps),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NotATarget::Login);
        }
        let host = url.host().ok_or(NotATarget::NotAUrl)?.to_owned();
        let port = url.port_or_known_default().ok_or(NotATarget::NotAUrl)?;
        // Whatever listens there speaks no HTTP; mail hosts least of all may be sent anything.
        if !matches!(port, 80 | 443 | 1024..) {
            return Err(NotATarget::Port);
        }
        let ip = match host {
            Host::Domain(_) => None,
            Host::Ipv4(ip) => Some(IpAddr::V4(ip)),
            Host::Ipv6(ip) => Some(IpAddr::V6(ip)),
        };
        if let Some(ip) = ip {
            vet(ip, rules.allow_special_use).map_err(NotATarget::SpecialUse)?;
        }
        Ok(Self {
            url,
            host,
            port,
            encrypted,
        })
    }

    /// Path and query, as a request's first line has them.
    pub(super) fn path(&self) -> String {
        match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        }
    }

    /// Host and port, as a request names them.
    pub(super) fn authority(&self) -> String {
        match self.url.port() {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.to_string(),
        }
    }

    /// Connects to an address of the host that was vetted a moment ago.
    pub(super) async fn connect(&self, resolver: &dyn Resolve, rules: Rules) -> Result<TcpStream, Unreached> {
        let addresses = self.addresses(resolver).await?;
        let vetted = addresses.iter().map(|ip| vet(*ip, rules.allow_special_use));
        let (vetted, refused): (Vec<_>, Vec<_>) = vetted.partition(Result::is_ok);
        let vetted: Vec<Vetted> = vetted.into_iter().flatten().collect();
        if vetted.is_empty() {
            let why = refused.into_iter().find_map(Result::err);
            return Err(why.map_or(Unreached::NoAddress, Unreached::SpecialUse));
        }
        let mut last = Unreached::NoAddress;
        for ip in vetted.into_iter().take(MOST_ADDRESSES) {
            match connect_to_web(ip, self.port).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Unreached::Connection(error.kind()),
            }
        }
        Err(last)
    }

    async fn addresses(&self, resolver: &dyn Resolve) -> Result<Vec<IpAddr>, Unreached> {
        let name = match &self.host {
            Host::Ipv4(ip) => return Ok(vec![IpAddr::V4(*ip)]),
            Host::Ipv6(ip) => return Ok(vec![IpAddr::V6(*ip)]),
            Host::Domain(name) => name.trim_end_matches('.'),
        };
        match resolver.addresses(name).await {
            Ok(AddressAnswer::Addresses { addresses, .. }) => Ok(addresses),
            Ok(AddressAnswer::None { .. } | AddressAnswer::NoSuchDomain { .. }) => Err(Unreached::NoAddress),
            Err(failure) => Err(Unreached::Dns(failure)),
        }
    }
}

/// There is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreached {
    #[error("its name has no address")]
    NoAddress,
    #[error(transparent)]
    Dns(#[from] DnsFailure),
    #[error("its address is not a public one ({})", .0.name())]
    SpecialUse(SpecialUse),
    #[error("it cannot be connected to: {0}")]
    Connection(io::ErrorKind),
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use tokio::net::TcpListener;

    use super::*;
    use crate::{dns::MxAnswer, net::BoxFuture};

    /// Answers otherwise every time, like a name that is made to rebind.
    struct Rebinding(Vec<Vec<IpAddr>>, AtomicUsize);

    impl Resolve for Rebinding {
        fn mx<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<MxAnswer, DnsFailure>> {
            Box::pin(async { Err(DnsFailure::Refused) })
        }

        fn addresses<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<AddressAnswer, DnsFailure>> {
            let turn = self.1.fetch_add(1, Ordering::Relaxed).min(self.0.len() - 1);
            let addresses = self.0[turn].clone();
            let ttl = Duration::ZERO;
            Box::pin(async move { Ok(AddressAnswer::Addresses { addresses, ttl }) })
        }
    }

    fn rebinding(answers: &[&[&str]]) -> Rebinding {
        let read = |ips: &&[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect();
        Rebinding(answers.iter().map(read).collect(), AtomicUsize::new(0))
    }

    const LAB: Rules = Rules {
        allow_http: true,
        allow_special_use: true,
    };

    #[test]
    fn p13_a_url_must_be_fit_to_be_a_target() {
        let strict = Rules::default();
        for (url, expected) in [
            ("https://hooks.example.com/a?b=c#d", Ok("hooks.example.com")),
            ("https://hooks.example.com:8443/", Ok("hooks.example.com:8443")),
            ("https://8.8.8.8/", Ok("8.8.8.8")),
            ("https://[2a00::1]/", Ok("[2a00::1]")),
            ("http://hooks.example.com/", Err("must begin with `https://`")),
            ("ftp://hooks.example.com/", Err("must begin with `https://`")),
            ("hooks.example.com", Err("write a URL")),
            ("https://", Err("write a URL")),
            ("", Err("write a URL")),
            ("https://me:secret@hooks.example.com/", Err("holds a login")),
            ("https://hooks.example.com:25/", Err("ports below 1024")),
            ("https://hooks.example.com:465/", Err("ports below 1024")),
            ("https://hooks.example.com:0/", Err("ports below 1024")),
            ("https://169.254.169.254/latest/meta-data/", Err("link_local")),
            ("https://2852039166/", Err("link_local")),
            ("https://0xa9.0xfe.0xa9.0xfe/", Err("link_local")),
            ("https://127.1/", Err("loopback")),
            ("https://0/", Err("unspecified")),
            ("https://10.0.0.1/", Err("private")),
            ("https://[::1]/", Err("loopback")),
            ("https://[::ffff:169.254.169.254]/", Err("link_local")),
            ("https://[64:ff9b::a9fe:a9fe]/", Err("link_local")),
            (
                &format!("https://hooks.example.com/{}", "a".repeat(2000)),
                Err("at most 2000"),
            ),
        ] {
            match (Target::parse(url, strict), expected) {
                (Ok(target), Ok(authority)) => assert_eq!(target.authority(), authority, "{url:.60}"),
                (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{url:.60}: {error}"),
                (found, expected) => panic!("{url:.60}: {found:?}, not {expected:?}"),
            }
        }
        assert!(Target::parse("http://127.0.0.1:8000/", LAB).is_ok());
        assert!(
            Target::parse("http://0.0.0.0:8000/", LAB).is_err(),
            "no host has it, not even in a lab"
        );
        let target = Target::parse("https://hooks.example.com/a b?c=\u{e4}\r\nd#e", strict).unwrap();
        assert_eq!(target.path(), "/a%20b?c=%C3%A4d");
    }

    #[tokio::test]
    async fn p13_a_name_is_looked_up_once_and_only_what_was_vetted_is_dialled() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Target::parse(&format!("http://rebind.test:{port}/"), LAB).unwrap();
        let strict = Rules {
            allow_special_use: false,
            ..LAB
        };
        for answers in [
            &[&["127.0.0.1"][..]][..],
            &[&["169.254.169.254"]],
            &[&["::1", "10.0.0.1"]],
        ] {
            let names = rebinding(answers);
            let refused = target.connect(&names, strict).await.unwrap_err();
            assert!(matches!(refused, Unreached::SpecialUse(_)), "{answers:?}: {refused:?}");
            assert_eq!(names.1.load(Ordering::Relaxed), 1);
        }
        // The second answer would be worse; nobody asks for it.
        let names = rebinding(&[&["127.0.0.1"], &["169.254.169.254"]]);
        let stream = target.connect(&names, LAB).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap().port(), port);
        assert_eq!(names.1.load(Ordering::Relaxed), 1);
        // Addresses that may not be dialled are left out, others are tried.
        let mixed = rebinding(&[&["0.0.0.0", "127.0.0.1"]]);
        assert!(target.connect(&mixed, LAB).await.is_ok());
        assert_eq!(
            target.connect(&rebinding(&[&[]]), LAB).await.unwrap_err(),
            Unreached::NoAddress
        );
    }
}
