//! One attempt: a signed request to a vetted address, and the status of its answer. Nothing else of the answer is read.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    body::Bytes,
    http::{Method, Request, StatusCode, header},
};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Host;

use super::{
    sign,
    target::{NotATarget, Rules, Target, Unreached},
};
use crate::{dns::Resolve, net::Stream, store::Delivery};

/// Bytes and headers of an answer's head.
const MOST_HEAD: usize = 16 * 1024;
const MOST_HEADERS: usize = 64;

/// An event was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTaken {
    #[error(transparent)]
    Target(#[from] NotATarget),
    #[error(transparent)]
    Unreached(#[from] Unreached),
    #[error("no TLS session: {0}")]
    Tls(io::Error),
    #[error("the answer cannot be read: {0}")]
    Answer(#[from] hyper::Error),
    #[error("the answer is {}", .0.as_u16())]
    Status(StatusCode),
    #[error("there was no answer in time")]
    Late,
}

impl NotTaken {
    /// The receiver says that nothing more is wanted there.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Status(StatusCode::GONE))
    }
}

/// What all attempts have in common.
pub(super) struct Sender {
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) rules: Rules,
    pub(super) timeout: Duration,
    /// The database's own secret.
    pub(super) secret: [u8; 32],
    tls: Arc<ClientConfig>,
}

impl Sender {
    pub(super) fn new(
        resolver: Arc<dyn Resolve>,
        (rules, timeout): (Rules, Duration),
        secret: [u8; 32],
        roots: RootCertStore,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            resolver,
            rules,
            timeout,
            secret,
            tls: Arc::new(tls),
        })
    }

    /// Sends an event; whether it was taken.
    pub(super) async fn send(&self, delivery: &Delivery) -> Result<(), NotTaken> {
        // The rules may be stricter than when it was asked for.
        let target = Target::parse(&delivery.url, self.rules)?;
        let sent = tokio::time::timeout(self.timeout, self.attempt(&target, delivery)).await;
        match sent.map_err(|_| NotTaken::Late)?? {
            status if status.is_success() => Ok(()),
            status => Err(NotTaken::Status(status)),
        }
    }

    async fn attempt(&self, target: &Target, delivery: &Delivery) -> Result<StatusCode, NotTaken> {
        let stream = target.connect(&*self.resolver, self.rules).await?;
        let stream: Box<dyn Stream> = if target.encrypted {
            self.encrypt(stream, &target.host).await.map_err(NotTaken::Tls)?
        } else {
            Box::new(stream)
        };
        let (mut requests, connection) = http1::Builder::new()
            .max_headers(MOST_HEADERS)
            .max_buf_size(MOST_HEAD)
            .handshake(TokioIo::new(stream))
            .await?;
        let answer = requests.send_request(self.request(target, delivery));
        tokio::pin!(connection, answer);
        // The connection ends with this function, whatever the body would still hold.
        let answer = tokio::select! {
            answer = &mut answer => answer,
            ended = &mut connection => match ended {
                Ok(()) => answer.await,
                Err(error) => Err(error),
            },
        };
        Ok(answer?.status())
    }

    async fn encrypt(&self, stream: TcpStream, host: &Host<String>) -> io::Result<Box<dyn Stream>> {
        let name = match host {
            Host::Domain(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
            Host::Ipv4(ip) => ServerName::from(std::net::IpAddr::from(*ip)),
            Host::Ipv6(ip) => ServerName::from(std::net::IpAddr::from(*ip)),
        };
        let encrypted = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await?;
        Ok(Box::new(encrypted))
    }

    fn request(&self, target: &Target, delivery: &Delivery) -> Request<Full<Bytes>> {
        let body = body(delivery);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let own = || sign::of_tenant(&self.secret, &delivery.tenant);
        let secret = delivery.secret.clone().unwrap_or_else(own);
        let signature = sign::sign(&secret, (&delivery.id, now), &body);
        let request = Request::builder()
            .method(Method::POST)
            .uri(target.path())
            .header(header::HOST, target.authority())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("presend/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close")
            .header("webhook-id", &delivery.id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", signature);
        // All of it is ASCII without line ends: a URL that was parsed, an id, base64.
        request.body(Full::new(body)).unwrap_or_default()
    }
}

/// The event as it is sent, the same bytes at every attempt.
fn body(delivery: &Delivery) -> Bytes {
    let subject = &delivery.subject;
    let about = if delivery.kind.starts_with("job") {
        "summary"
    } else {
        "answer"
    };
    let content: serde_json::Value = serde_json::from_str(&delivery.body).unwrap_or_default();
    let event = json!({
        "type": delivery.kind.replacen('_', ".", 1),
        "timestamp": humantime::format_rfc3339_millis(delivery.at).to_string(),
        "data": { "id": subject, about: content },
    });
    event.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_the_same_at_every_attempt() {
        let mut delivery = Delivery {
            id: "evt_1".to_owned(),
            tenant: "sales".to_owned(),
            url: "https://hooks.example.com/".to_owned(),
            secret: None,
            kind: "verification_done".to_owned(),
            subject: "0123".to_owned(),
            at: UNIX_EPOCH + Duration::from_millis(1_763_800_000_123),
            body: "{\"label\":\"valid\",\"elapsed_ms\":12}".to_owned(),
            attempts: 0,
        };
        let expected = "{\"type\":\"verification.done\",\"timestamp\":\"2025-11-22T08:26:40.123Z\",\
            \"data\":{\"id\":\"0123\",\"answer\":{\"label\":\"valid\",\"elapsed_ms\":12}}}";
        assert_eq!(body(&delivery), expected);
        delivery.attempts = 3;
        assert_eq!(body(&delivery), expected);
        delivery.kind = "job_done".to_owned();
        assert!(body(&delivery).starts_with(b"{\"type\":\"job.done\""));
    }
}
