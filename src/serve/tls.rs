//! TLS towards callers: certificate and key from files, read again when they change.
//!
//! Must not lose a working certificate: what is wrong with new files is said in the log, and the old ones stay.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::stop::Stop;

/// How often the files are looked at.
const LOOKS: Duration = Duration::from_secs(5);
/// Largest file: a long chain has 20 KB.
const LARGEST: u64 = 1 << 20;
/// First byte of a TLS handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;
/// Bytes of a request in clear that are read, so that its sender reads our answer before the connection ends.
const REST: u64 = 64 * 1024;
/// How long that may take.
const LAST_WORDS: Duration = Duration::from_secs(2);
const IN_CLEAR: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 37\r\nconnection: close\r\n\r\n\
    This port speaks TLS: ask by https://";

/// Certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("`{}` {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// They do not fit.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// Of the files that were read last, good or not.
    digest: [u8; 32],
}

impl Tls {
    /// Reads a certificate chain and its private key, both PEM.
    ///
    /// # Errors
    /// A file cannot be read, or they do not fit.
    pub fn load(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let (pems, digest) = read_both(&certificate, &key)?;
        let config = configure(&pems, [&certificate, &key])?;
        let current = Mutex::new(Current { config, digest });
        Ok(Self {
            certificate,
            key,
            current,
        })
    }

    /// Reads the files again; whether a new certificate is used from now on.
    ///
    /// # Errors
    /// The new files cannot be used; the old certificate is. Said once for each state of the files.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let (pems, digest) = read_both(&self.certificate, &self.key)?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.digest == digest {
            return Ok(false);
        }
        current.digest = digest;
        current.config = configure(&pems, [&self.certificate, &self.key])?;
        Ok(true)
    }

    /// The same, with what happened in the log.
    pub fn look(&self) {
        match self.reload() {
            Ok(true) => tracing::info!("a new certificate is used"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the certificate stays the old one"),
        }
    }

    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner).config)
    }
}

/// Looks at the files until `stop` is requested.
pub(super) async fn watch(tls: Arc<Tls>, stop: Stop) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOKS) => {}
            () = stop.requested() => return,
        }
        let looking = Arc::clone(&tls);
        // A file system may hang; only its own thread waits for it.
        let _ = tokio::task::spawn_blocking(move || looking.look()).await;
    }
}

/// Shakes hands; a request in clear is told so.
pub(super) async fn accept(mut stream: TcpStream, tls: &Tls) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let [first] = first;
    if first != HANDSHAKE {
        let talk = async {
            if first.is_ascii_uppercase() {
                stream.write_all(IN_CLEAR).await?;
            }
            stream.shutdown().await?;
            // Bytes that nobody reads would reset the connection, and the answer with it.
            tokio::io::copy(&mut (&mut stream).take(REST), &mut tokio::io::sink()).await
        };
        let _ = tokio::time::timeout(LAST_WORDS, talk).await;
        return Err(io::Error::other("no TLS handshake"));
    }
    TlsAcceptor::from(tls.config()).accept(stream).await
}

fn read_both(certificate: &Path, key: &Path) -> Result<([Vec<u8>; 2], [u8; 32]), TlsError> {
    let pems = [read(certificate)?, read(key)?];
    let mut hash = Sha256::new();
    for pem in &pems {
        hash.update(pem.len().to_le_bytes());
        hash.update(pem);
    }
    Ok((pems, hash.finalize().into()))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read {
        path: path.to_owned(),
        source,
    };
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let limited = &mut io::Read::take(file, LARGEST);
    io::Read::read_to_end(limited, &mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn configure([chain, secret]: &[Vec<u8>; 2], [certificate, key]: [&Path; 2]) -> Result<Arc<ServerConfig>, TlsError> {
    let wrong = |path: &Path, what: String| TlsError::Content {
        path: path.to_owned(),
        what,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(certificate, format!("is no PEM file: {error}")))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "holds no certificate".to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_slice(secret)
        .map_err(|error| wrong(key, format!("holds no private key in PEM: {error}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, secret)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn broken_files_keep_the_certificate_and_are_complained_of_once() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let write = |pem: &str, secret: &str| {
            fs::write(&certificate, pem).unwrap();
            fs::write(&key, secret).unwrap();
        };
        let load = || Tls::load(certificate.clone(), key.clone());
        assert!(matches!(load(), Err(TlsError::Read { .. })));
        let (first, second) = (pair(), pair());
        for (pem, secret, said) in [
            ("", "", "holds no certificate"),
            ("-----BEGIN CERTIFICATE-----\nxx", "", "is no PEM file"),
            (&*first.0, "", "holds no private key"),
            (&*first.0, &*second.1, "cannot be used"),
            (&*first.1, &*first.0, "holds no certificate"),
        ] {
            write(pem, secret);
            let error = load().unwrap_err().to_string();
            assert!(error.contains(said), "{said}: {error}");
        }
        write(&first.0, &first.1);
        let tls = load().unwrap();
        let before = tls.config();
        assert!(!tls.reload().unwrap());
        // Halfway through an exchange of both.
        write(&second.0, &first.1);
        assert!(tls.reload().is_err() && !tls.reload().unwrap());
        assert!(Arc::ptr_eq(&before, &tls.config()));
        write(&second.0, &second.1);
        assert!(tls.reload().unwrap());
        assert!(!Arc::ptr_eq(&before, &tls.config()));
        fs::remove_file(&key).unwrap();
        assert!(matches!(tls.reload(), Err(TlsError::Read { .. })));
    }
}
