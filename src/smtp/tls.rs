//! Opportunistic TLS (RFC 3207, RFC 7435): encrypts without trusting certificates, because a verdict never rests on them.

use std::sync::{Arc, LazyLock};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, IpAddr, Ipv4Addr, ServerName, UnixTime},
};
use tokio_rustls::TlsConnector;

use crate::net::Stream;

/// Why no TLS session came to be; text for the transcript.
pub(super) struct TlsFault(pub(super) String);

/// Built once: rustls's own `builder()` panics when another crate brings a second provider.
static CONFIG: LazyLock<Option<Arc<ClientConfig>>> = LazyLock::new(|| {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(AcceptAny {
        provider: Arc::clone(&provider),
    });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?;
    Some(Arc::new(
        builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth(),
    ))
});

/// Shakes hands over `stream`; `host` is sent as SNI when it is a name.
pub(super) async fn connect(stream: Box<dyn Stream>, host: &str) -> Result<Box<dyn Stream>, TlsFault> {
    let config = CONFIG
        .clone()
        .ok_or_else(|| TlsFault("no TLS protocol version is available".to_owned()))?;
    // A name that SNI cannot carry (an underscore, say) must not cost the session its encryption.
    let name = ServerName::try_from(host.to_owned())
        .unwrap_or(ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0, 0, 0, 0]))));
    let encrypted = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|error| TlsFault(error.to_string()))?;
    Ok(Box::new(encrypted))
}

/// Accepts every certificate, and still makes the peer prove that it holds its key.
#[derive(Debug)]
struct AcceptAny {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
