//! The ways to the server: TLS, trusted proxies, web pages of others.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
};

use presend::serve::{PageOrigin, Tls};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

use super::*;

/// Makes a certificate for `localhost` with its key, in two files.
fn certificate(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()
}

fn encrypted(folder: &Path, limits: Limits) -> (Api, Arc<Tls>) {
    let tls = Arc::new(Tls::load(folder.join("cert.pem"), folder.join("key.pem")).unwrap());
    let options = Options {
        tls: Some(Arc::clone(&tls)),
        ..Options::default()
    };
    (Api::with_options(limits, &[], options), tls)
}

/// One request over TLS to whoever has this certificate.
fn ask_encrypted(api: &Api, trusted: &CertificateDer<'static>) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(client, connect(api));
    stream.write_all(b"GET /v1/reasons HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}

fn connect(api: &Api) -> TcpStream {
    let stream = TcpStream::connect(api.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// Says something and reads to the end.
fn raw(api: &Api, said: &[u8]) -> std::io::Result<String> {
    let mut stream = connect(api);
    stream.write_all(said)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn quick() -> Limits {
    Limits {
        timeout_header: Duration::from_millis(300),
        ..Limits::default()
    }
}

#[test]
fn requests_come_by_tls_and_a_new_certificate_is_used_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = certificate(folder.path());
    let (api, tls) = encrypted(folder.path(), Limits::default());
    assert!(ask_encrypted(&api, &first).unwrap().starts_with("HTTP/1.1 200"));
    let second = certificate(folder.path());
    assert!(ask_encrypted(&api, &second).is_err(), "it is not read yet");
    assert!(tls.reload().unwrap());
    assert!(ask_encrypted(&api, &second).unwrap().starts_with("HTTP/1.1 200"));
    assert!(ask_encrypted(&api, &first).is_err());
    std::fs::write(folder.path().join("cert.pem"), "nonsense").unwrap();
    tls.look();
    assert!(ask_encrypted(&api, &second).unwrap().starts_with("HTTP/1.1 200"));
}

#[test]
fn who_speaks_no_tls_hears_so_and_who_is_slow_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let mine = certificate(folder.path());
    let (api, _) = encrypted(folder.path(), quick());
    let body = "x".repeat(30_000);
    let length = body.len();
    let request = format!("POST /v1/verify HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}");
    let said = raw(&api, request.as_bytes()).unwrap();
    assert!(
        said.starts_with("HTTP/1.1 400") && said.ends_with("ask by https://"),
        "{said}"
    );
    for garbage in [&b"\0\0\0\0"[..], b"\x16\x03\x01\x00\x05hello", b"\x16\xff\xff\xff\xff"] {
        let said = raw(&api, garbage).unwrap_or_default();
        assert!(!said.contains("HTTP"), "{said}");
    }
    let began = Instant::now();
    for slow in [&b""[..], b"\x16", b"\x16\x03\x01\x40\x00"] {
        let mut stream = connect(&api);
        stream.write_all(slow).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(ask_encrypted(&api, &mine).unwrap().starts_with("HTTP/1.1 200"));
}

#[test]
fn without_keys_nobody_comes_through_a_proxy() {
    let asking = |api: &Api, headers: &str| {
        let request = format!("GET /v1/reasons HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
        raw(api, request.as_bytes()).unwrap()[9..12].to_owned()
    };
    let plain = Api::start(Limits::default());
    assert_eq!(asking(&plain, ""), "200");
    assert_eq!(
        asking(&plain, "x-forwarded-for: 127.0.0.1\r\n"),
        "403",
        "any proxy is one too many"
    );
    let options = Options {
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()].into(),
        ..Options::default()
    };
    let behind = Api::with_options(Limits::default(), &[], options);
    for (headers, expected) in [
        ("", "403"),
        ("x-forwarded-for: 203.0.113.9\r\n", "403"),
        ("x-forwarded-for: 127.0.0.1\r\n", "200"),
        ("x-forwarded-for: 127.0.0.1, 203.0.113.9\r\n", "403"),
        ("forwarded: for=127.0.0.1\r\n", "200"),
        ("forwarded: for=127.0.0.1\r\nx-forwarded-for: 203.0.113.9\r\n", "403"),
        (&format!("x-forwarded-for: {}\r\n", "127.0.0.1,".repeat(1000)), "403"),
    ] {
        assert_eq!(asking(&behind, headers), expected, "{headers:.60}");
    }
}

#[test]
fn pages_ask_only_from_origins_that_were_named() {
    let (mine, record) = key("crm", "verify", None, None);
    let options = Options {
        cors: vec!["https://app.example.com".parse::<PageOrigin>().unwrap()],
        ..Options::default()
    };
    let api = Api::with_options(Limits::default(), &[record], options);
    let preflight = |origin: &str| {
        let request = format!(
            "OPTIONS /v1/verify HTTP/1.1\r\nhost: x\r\nconnection: close\r\norigin: {origin}\r\n\
            access-control-request-method: POST\r\naccess-control-request-headers: authorization\r\n\r\n"
        );
        raw(&api, request.as_bytes()).unwrap()
    };
    let said = preflight("https://app.example.com");
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(
        said.contains("access-control-allow-origin: https://app.example.com\r\n"),
        "{said}"
    );
    assert!(
        said.contains("access-control-allow-headers: ") && said.contains("authorization"),
        "{said}"
    );
    for other in [
        "https://evil.example",
        "https://app.example.com.evil.example",
        "null",
        "http://app.example.com",
    ] {
        assert!(!preflight(other).contains("access-control-allow-origin"), "{other}");
    }
    let request = agent()
        .get(api.url("/v1/reasons"))
        .header("origin", "https://app.example.com");
    let answer = read(request.header("authorization", format!("Bearer {mine}")).call());
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example.com");
    let refused = read(
        agent()
            .get(api.url("/v1/reasons"))
            .header("origin", "https://app.example.com")
            .call(),
    );
    assert_eq!(refused.problem(), (401, "unauthorized".to_owned()));
    assert_eq!(
        refused.header("access-control-allow-origin"),
        "https://app.example.com",
        "problems can be read"
    );
}
