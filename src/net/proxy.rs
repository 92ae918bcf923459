//! SOCKS5 (RFC 1928, RFC 1929): a proxy is asked to connect to an address that was resolved and vetted here, never to a name.
//!
//! Must not say more about a mail host than the proxy knows: of its replies only "host unreachable" and "connection refused"
//! are about the host. The password is in no message, log or `Debug`.

use std::{fmt, io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_socks::{Error, tcp::Socks5Stream};
use url::Url;

use super::{DialError, Vetted, dial::connect};

/// The port of a proxy whose address names none (RFC 1928 section 3).
const PORT: u16 = 1080;
/// RFC 1929 counts both words in one byte.
const WORD_MAX: usize = 255;

/// Where the proxy is and as whom to ask it.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    host: String,
    port: u16,
    login: Option<Login>,
}

/// A proxy, found.
#[derive(Clone)]
pub struct Proxy {
    addresses: Vec<SocketAddr>,
    login: Option<Login>,
}

#[derive(Clone, PartialEq, Eq)]
struct Login {
    user: String,
    password: String,
}

/// The text is no proxy. It is not repeated: there may be a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyUrlError {
    /// Not a URL.
    #[error("it is not a URL")]
    NotAUrl,
    /// Some other protocol.
    #[error("only SOCKS5 proxies are known")]
    NotSocks5,
    /// `socks5h` has the proxy resolve names.
    #[error("names are always resolved and vetted here, so write `socks5` for `socks5h`")]
    RemoteNames,
    /// Nothing between `//` and the port.
    #[error("it names no host")]
    NoHost,
    /// A path, a query or a fragment.
    #[error("nothing may follow the port")]
    TooMuch,
    /// One of user and password, or one that RFC 1929 cannot carry.
    #[error("user and password must both be there, 1 to 255 bytes each")]
    Login,
}

impl ProxyUrl {
    /// Reads `socks5://[user:password@]host[:port]`; `%40` and its like in user and password are decoded.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ProxyUrlError> {
        let url = Url::parse(text.trim()).map_err(|_| ProxyUrlError::NotAUrl)?;
        match url.scheme() {
            "socks5" => {}
            "socks5h" => return Err(ProxyUrlError::RemoteNames),
            _ => return Err(ProxyUrlError::NotSocks5),
        }
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or(ProxyUrlError::NoHost)?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(ProxyUrlError::TooMuch);
        }
        let word = |word: &str| {
            let decoded = percent_encoding::percent_decode_str(word).decode_utf8();
            decoded
                .ok()
                .filter(|word| (1..=WORD_MAX).contains(&word.len()))
                .map(String::from)
                .ok_or(ProxyUrlError::Login)
        };
        let login = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => Some(Login {
                user: word(user)?,
                password: word(password.unwrap_or_default())?,
            }),
        };
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: url.port().unwrap_or(PORT),
            login,
        })
    }

    /// Host and port, to be looked up. The operator's own machine may be loopback or private.
    #[must_use]
    pub fn place(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// The proxy at the addresses that were found for it; they are tried in order.
    #[must_use]
    pub fn at(self, addresses: Vec<SocketAddr>) -> Proxy {
        Proxy {
            addresses,
            login: self.login,
        }
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({}:{}, {:?})", self.host, self.port, self.login)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({:?}, {:?})", self.addresses, self.login)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The proxy did not do its work; nothing is known about the mail host.
#[derive(Debug, thiserror::Error)]
pub enum ProxyFault {
    /// There is no connection to the proxy itself.
    #[error("the proxy cannot be reached: {0}")]
    Unreachable(io::Error),
    /// It wants another login, or any.
    #[error("the proxy refused the login")]
    Login,
    /// It broke the connection off, or what it says is not SOCKS5.
    #[error("the proxy does not speak SOCKS5 to its end")]
    Protocol,
    /// The deadline passed.
    #[error("the proxy did not answer in time")]
    Late,
    /// It refused this one target for a reason that is its own.
    #[error("the proxy did not connect: {0}")]
    Target(String),
}

impl ProxyFault {
    /// Whether another target may fare better.
    #[must_use]
    pub fn is_about_one_target(&self) -> bool {
        match self {
            Self::Target(_) => true,
            Self::Unreachable(_) | Self::Login | Self::Protocol | Self::Late => false,
        }
    }
}

impl Proxy {
    /// A connection to `to` through the proxy; the caller sets the deadline.
    pub(super) async fn connect(&self, to: Vetted, port: u16) -> Result<TcpStream, DialError> {
        let stream = self
            .reach()
            .await
            .map_err(|error| DialError::Proxy(ProxyFault::Unreachable(error)))?;
        let target = SocketAddr::new(to.ip(), port);
        shake_hands(stream, target, self.login.as_ref())
            .await
            .map_err(|error| explain(&error))
    }

    async fn reach(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::other("its name has no address");
        for address in &self.addresses {
            match connect(*address, None).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

async fn shake_hands<S>(stream: S, target: SocketAddr, login: Option<&Login>) -> Result<S, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connected = match login {
        Some(Login { user, password }) => {
            Socks5Stream::connect_with_password_and_socket(stream, target, user, password).await
        }
        None => Socks5Stream::connect_with_socket(stream, target).await,
    };
    connected.map(Socks5Stream::into_inner)
}

/// Only replies 4 and 5 of RFC 1928 section 6 come from the mail host's side.
fn explain(error: &Error) -> DialError {
    if matches!(error, Error::ConnectionRefused) {
        return DialError::Host(io::ErrorKind::ConnectionRefused.into());
    }
    if matches!(error, Error::HostUnreachable) {
        return DialError::Host(io::ErrorKind::HostUnreachable.into());
    }
    let login = matches!(
        error,
        Error::NoAcceptableAuthMethods | Error::AuthorizationRequired | Error::PasswordAuthFailure(_)
    );
    let target = matches!(
        error,
        Error::GeneralSocksServerFailure
            | Error::ConnectionNotAllowedByRuleset
            | Error::NetworkUnreachable
            | Error::TtlExpired
            | Error::CommandNotSupported
            | Error::AddressTypeNotSupported
    );
    DialError::Proxy(if login {
        ProxyFault::Login
    } else if target {
        ProxyFault::Target(error.to_string())
    } else {
        ProxyFault::Protocol
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// The longest answer there is names the proxy in 255 bytes; the host's greeting may come in the same segment.
    #[tokio::test]
    async fn a_proxy_is_read_no_further_than_its_answer() {
        let target = SocketAddr::from(([192, 0, 2, 7], 25));
        let greeting = b"220 mx.example\r\n";
        let answer = [b"\x05\0\x05\0\0\x03\xff", &[b'x'; 255][..], b"\0\x19", greeting].concat();
        let (ours, mut proxy) = tokio::io::duplex(4096);
        proxy.write_all(&answer).await.unwrap();
        let mut stream = shake_hands(ours, target, None).await.unwrap();
        drop(proxy);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, greeting);
    }

    /// No answer of a proxy has a part without a length, so an endless one is refused at its first wrong byte.
    #[tokio::test]
    async fn an_endless_answer_of_a_proxy_is_refused_after_a_few_bytes() {
        let target = SocketAddr::from(([192, 0, 2, 7], 25));
        let login = Login {
            user: "me".into(),
            password: "secret".into(),
        };
        for (byte, login) in [
            (0, None),
            (5, None),
            (b'x', None),
            (0xff, None),
            (5, Some(&login)),
            (1, Some(&login)),
        ] {
            let (ours, mut proxy) = tokio::io::duplex(1 << 16);
            proxy.write_all(&[byte; 4096]).await.unwrap();
            let refused = shake_hands(ours, target, login).await;
            assert!(refused.is_err(), "{byte}");
        }
    }

    #[test]
    fn urls_are_read_and_never_repeated() {
        let place = |text: &str| ProxyUrl::parse(text).map(|url| (url.host, url.port));
        assert_eq!(place("socks5://127.0.0.1:9050"), Ok(("127.0.0.1".into(), 9050)));
        assert_eq!(
            place("socks5://proxy.example.net"),
            Ok(("proxy.example.net".into(), 1080))
        );
        assert_eq!(place("socks5://[::1]:1081/"), Ok(("::1".into(), 1081)));
        let with_login = ProxyUrl::parse("socks5://me:p%40ss%3Aword@10.0.0.1:1080").unwrap();
        assert_eq!(with_login.login.as_ref().unwrap().password, "p@ss:word");
        for shown in [format!("{with_login:?}"), format!("{:?}", with_login.at(Vec::new()))] {
            assert!(!shown.contains("ss") && shown.contains("***"), "{shown}");
        }
        for (text, error) in [
            ("127.0.0.1:1080", ProxyUrlError::NotAUrl),
            ("", ProxyUrlError::NotAUrl),
            ("socks5://h:99999", ProxyUrlError::NotAUrl),
            ("http://proxy.example.net:8080", ProxyUrlError::NotSocks5),
            ("socks4://proxy.example.net", ProxyUrlError::NotSocks5),
            ("socks5h://proxy.example.net", ProxyUrlError::RemoteNames),
            ("socks5:proxy", ProxyUrlError::NoHost),
            ("socks5://proxy/x", ProxyUrlError::TooMuch),
            ("socks5://me@proxy", ProxyUrlError::Login),
            ("socks5://:secret@proxy", ProxyUrlError::Login),
            ("socks5://me:%ff@proxy", ProxyUrlError::Login),
        ] {
            assert_eq!(ProxyUrl::parse(text), Err(error), "{text}");
        }
        let long = format!("socks5://me:{}@proxy", "x".repeat(256));
        assert_eq!(ProxyUrl::parse(&long), Err(ProxyUrlError::Login));
    }
}
