//! Name servers as the operator writes them.

use std::{
    net::{IpAddr, SocketAddr, SocketAddrV6},
    str::FromStr,
};

/// One or more recursive name servers, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServers(Vec<SocketAddr>);

/// A name server that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a name server; write `IP[:PORT]`, for example `192.0.2.53`, `192.0.2.53:5353`, `2001:db8::53` or `[2001:db8::53]:5353`"
)]
pub struct NameServersError {
    /// What was given.
    text: String,
}

impl NameServers {
    /// The servers; never empty.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0
    }

    /// These servers, then the others.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        for server in others.0 {
            if !self.0.contains(&server) {
                self.0.push(server);
            }
        }
        self
    }
}

impl From<SocketAddr> for NameServers {
    fn from(server: SocketAddr) -> Self {
        Self(vec![server])
    }
}

/// `IP[:PORT]`, several separated by commas; port 53 unless given.
impl FromStr for NameServers {
    type Err = NameServersError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all: Option<Self> = None;
        for part in text.split(',') {
            let server = Self::from(server(part.trim()).ok_or_else(|| NameServersError { text: part.into() })?);
            all = Some(match all {
                Some(before) => before.and(server),
                None => server,
            });
        }
        all.ok_or_else(|| NameServersError { text: text.into() })
    }
}

fn server(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let server = match bare.unwrap_or(text).parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, 53),
        Err(_) => text.parse().ok()?,
    };
    // Hickory takes an address without a zone, so a zone would be lost silently.
    let zoned = matches!(server, SocketAddr::V6(v6) if SocketAddrV6::scope_id(&v6) != 0);
    (server.port() != 0 && !server.ip().is_unspecified() && !zoned).then_some(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_is_read() {
        for (text, expected) in [
            ("1.2.3.4", &["1.2.3.4:53"][..]),
            ("1.2.3.4:5353", &["1.2.3.4:5353"]),
            ("::1", &["[::1]:53"]),
            ("[::1]", &["[::1]:53"]),
            ("[::1]:5353", &["[::1]:5353"]),
            ("1.2.3.4, ::1,1.2.3.4:53", &["1.2.3.4:53", "[::1]:53"]),
        ] {
            let servers: NameServers = text.parse().unwrap();
            let expected: Vec<SocketAddr> = expected.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(servers.addresses(), expected, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_form() {
        for text in [
            "",
            "dns.example",
            "1.2.3",
            "1.2.3.4:0",
            "1.2.3.4:65536",
            "::1:",
            "[::1",
            "0.0.0.0",
            "[fe80::1%2]:53",
            "1.2.3.4,",
        ] {
            let error = text.parse::<NameServers>().unwrap_err().to_string();
            assert!(error.contains("IP[:PORT]"), "{text}: {error}");
        }
    }
}
