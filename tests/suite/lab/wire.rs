//! Waiting, silence, TLS.

use std::{sync::Arc, time::Instant};

use tokio::{io::BufReader, net::TcpStream};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, DigitallySignedStruct, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::CryptoProvider,
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

use super::client::{Client, EHLO, MAIL, counts, start, talk};

#[tokio::test]
async fn waiting_is_as_long_as_the_world_says() {
    let lab = start(
        r#"
        host = [
            { name = "far.test", serves = "far.test", catch_all = true, latency_ms = 50 },
            { name = "slow.test", reply_delay_ms = 60 },
            { name = "errors.test", serves = "errors.test", mailboxes = ["jane"], error_delay_ms = 200 },
            { name = "drip.test", byte_delay_ms = 2 },
            { name = "late.test", script = [{ on = "ehlo", reply = "250 at last", after_ms = 70 }] },
            { name = "shut.test", down = true },
            { name = "one.test", connections_max = 1 },
            { name = "grey.test", serves = "grey.test", catch_all = true, greylist_ms = 60 },
        ]
        "#,
    )
    .await;
    let ms = |from: Instant| from.elapsed().as_millis();

    let begun = Instant::now();
    let mut client = Client::ready(&lab, "far.test").await;
    assert!(
        (150..1500).contains(&ms(begun)),
        "connecting, EHLO and MAIL pay one round trip each: {}",
        ms(begun)
    );
    let begun = Instant::now();
    client.send(&"RCPT TO:<a@far.test>\r\n".repeat(50)).await;
    for _ in 0..50 {
        assert!(client.reply().await.starts_with("250"));
    }
    assert!(
        (50..1500).contains(&ms(begun)),
        "a burst pays one round trip: {}",
        ms(begun)
    );

    let begun = Instant::now();
    let mut client = Client::connect(&lab, "slow.test").await;
    talk(&mut client, "slow.test", &[("", "220"), EHLO, MAIL]).await;
    assert!(ms(begun) >= 180, "{}", ms(begun));

    let mut client = Client::ready(&lab, "errors.test").await;
    let begun = Instant::now();
    client.rcpt("jane@errors.test").await;
    assert!(ms(begun) < 200, "{}", ms(begun));
    client.rcpt("joe@errors.test").await;
    assert!(ms(begun) >= 200, "{}", ms(begun));

    let begun = Instant::now();
    let mut client = Client::connect(&lab, "drip.test").await;
    assert_eq!(client.reply().await, "220 drip.test ESMTP");
    assert!(ms(begun) >= 40, "{}", ms(begun));

    let mut client = Client::connect(&lab, "late.test").await;
    client.reply().await;
    let begun = Instant::now();
    talk(&mut client, "late.test", &[("EHLO us.test", "250 at last")]).await;
    assert!(ms(begun) >= 70, "{}", ms(begun));

    let refused = TcpStream::connect(lab.host("shut.test").unwrap()).await;
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);

    let mut first = Client::connect(&lab, "one.test").await;
    first.reply().await;
    let mut second = Client::connect(&lab, "one.test").await;
    assert!(second.reply().await.starts_with("421 4.7.0 Too many"));
    assert_eq!(counts(&lab, "one.test").concurrent_peak, 2);

    let mut client = Client::ready(&lab, "grey.test").await;
    let begun = Instant::now();
    while client.rcpt("jane@grey.test").await.starts_with("451") {
        assert!(ms(begun) < 5000);
    }
    assert!(ms(begun) >= 59, "{}", ms(begun));
}

#[tokio::test]
async fn silence_ends_at_the_idle_limit() {
    let lab = start(
        r#"
        idle_timeout_ms = 400
        host = [{ name = "mute.test", script = [{ on = "ehlo", then = "hang" }] }, { name = "idle.test" }]
        "#,
    )
    .await;
    let ms = |from: Instant| from.elapsed().as_millis();
    let mut client = Client::connect(&lab, "mute.test").await;
    client.reply().await;
    let begun = Instant::now();
    assert_eq!(client.say("EHLO us.test").await, "");
    assert!(ms(begun) >= 400, "silence until the idle limit: {}", ms(begun));

    let mut client = Client::connect(&lab, "idle.test").await;
    talk(
        &mut client,
        "idle.test",
        &[("", "220"), ("", "421 4.4.2 Error: timeout"), ("", "")],
    )
    .await;
}

/// Takes any certificate, as presend and every MTA do.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn unknown_recipients_are_refused_after_starttls_only() {
    let lab = start(
        r#"
        [[host]]
        name = "tls.test"
        serves = "tls.test"
        mailboxes = ["jane"]
        starttls = "required"
        refuse_only_in_tls = true
        "#,
    )
    .await;
    let mut client = Client::connect(&lab, "tls.test").await;
    talk(&mut client, "tls.test", &[("", "220"), EHLO, ("STARTTLS", "220")]).await;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from("tls.test").unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, client.0.into_inner())
        .await
        .unwrap();
    let mut client = Client(BufReader::new(stream));
    #[rustfmt::skip]
    talk(&mut client, "tls.test", &[
        ("MAIL FROM:<p@us.test>", "503 5.5.1"), // EHLO of before does not count
        EHLO, ("STARTTLS", "503"), MAIL,
        ("RCPT TO:<jane@tls.test>", "250"), ("RCPT TO:<joe@tls.test>", "550 5.1.1"), ("QUIT", "221"), ("", ""),
    ])
    .await;
    let seen = counts(&lab, "tls.test");
    assert_eq!((seen.tls, seen.without_quit, seen.violations.total()), (1, 0, 0));
}
