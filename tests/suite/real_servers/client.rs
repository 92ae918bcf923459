//! A plain SMTP client that shares no code with presend: it shows that the servers are set up as described.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// A session in the clear or over TLS.
pub(super) struct Client(BufReader<Box<dyn Wire>>);

impl Client {
    /// Connects and reads the greeting.
    pub(super) fn greet(address: Ipv4Addr, port: u16) -> Self {
        Self::over(dial(address, port))
    }

    /// Connects, reads the greeting and says EHLO.
    pub(super) fn connect(address: Ipv4Addr, port: u16) -> Self {
        let mut client = Self::greet(address, port);
        client.say("EHLO probe.example.org");
        client
    }

    /// The same, then STARTTLS with the run's own certificate, and EHLO again.
    pub(super) fn connect_tls(address: Ipv4Addr, port: u16, certificate: &Path) -> Self {
        let tcp = dial(address, port);
        let mut plain = Self::over(tcp.try_clone().expect("a socket"));
        assert!(plain.say("EHLO probe.example.org").contains("STARTTLS"));
        assert!(plain.say("STARTTLS").starts_with("220"));
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(certificate).expect("a certificate");
        roots.add(certificate).expect("a usable certificate");
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = ClientConnection::new(Arc::new(config), ServerName::try_from("mx.test").expect("a name"));
        let mut client = Self(BufReader::new(Box::new(StreamOwned::new(tls.expect("a client"), tcp))));
        client.say("EHLO probe.example.org");
        client
    }

    fn over(tcp: TcpStream) -> Self {
        let mut client = Self(BufReader::new(Box::new(tcp)));
        assert!(client.reply().starts_with("220 "));
        client
    }

    /// Says one line and returns the whole reply.
    pub(super) fn say(&mut self, line: &str) -> String {
        let stream = self.0.get_mut();
        stream.write_all(format!("{line}\r\n").as_bytes()).expect("written");
        stream.flush().expect("flushed");
        self.reply()
    }

    /// `RCPT TO`.
    pub(super) fn rcpt(&mut self, address: &str) -> String {
        self.say(&format!("RCPT TO:<{address}>"))
    }

    fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let start = reply.len();
            self.0.read_line(&mut reply).expect("a reply in time");
            if reply.as_bytes()[start..].get(3) != Some(&b'-') {
                return reply.trim_end().to_owned();
            }
        }
    }
}

fn dial(address: Ipv4Addr, port: u16) -> TcpStream {
    let tcp = TcpStream::connect(SocketAddr::from((address, port))).expect("a connection");
    tcp.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    tcp
}
