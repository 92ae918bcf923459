//! Certificates of the hosts: self-signed, because presend verifies them as little as any MTA does; some are worse.

use std::sync::Arc;

use hashbrown::HashMap;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{self, pki_types::PrivatePkcs8KeyDer},
};

use super::{LabError, world::StartTls};

/// A chain so long has more than 1 MB.
const CHAIN_BYTES: usize = 1 << 20;

/// An acceptor for each kind that is a handshake.
pub(super) fn acceptors(kinds: impl Iterator<Item = StartTls>) -> Result<HashMap<StartTls, TlsAcceptor>, LabError> {
    let mut acceptors = HashMap::new();
    for kind in kinds {
        let shakes = matches!(
            kind,
            StartTls::On | StartTls::Required | StartTls::Inject | StartTls::Expired | StartTls::HugeChain
        );
        if shakes && !acceptors.contains_key(&kind) {
            acceptors.insert(kind, acceptor(kind)?);
        }
    }
    Ok(acceptors)
}

fn acceptor(kind: StartTls) -> Result<TlsAcceptor, LabError> {
    let broken = |error: &dyn std::fmt::Display| LabError::Certificate(error.to_string());
    let mut wanted = rcgen::CertificateParams::new(vec!["lab.test".to_owned()]).map_err(|error| broken(&error))?;
    if kind == StartTls::Expired {
        wanted.not_before = rcgen::date_time_ymd(1999, 1, 1);
        wanted.not_after = rcgen::date_time_ymd(2001, 1, 1);
    }
    let pair = rcgen::KeyPair::generate().map_err(|error| broken(&error))?;
    let made = wanted.self_signed(&pair).map_err(|error| broken(&error))?;
    let length = if kind == StartTls::HugeChain {
        CHAIN_BYTES / made.der().len().max(1) + 1
    } else {
        1
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivatePkcs8KeyDer::from(pair.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(vec![made.der().clone(); length], key.into())
        })
        .map_err(|error| broken(&error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
