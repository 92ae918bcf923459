//! Connections: as many as allowed, each with limits on its headers and its patience, and a polite end.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{Router, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::Instant,
};

use tower::Service as _;

use super::{
    Limits, Shared,
    proxy::TrustedProxies,
    tls::{self, Tls},
};
use crate::job::Stop;

/// Headers of one request.
const MOST_HEADERS: usize = 64;
/// The smallest buffer that hyper takes for headers.
const SMALLEST_BUFFER: usize = 8192;
/// For saying that the server stops.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long to leave the system alone when it has no more sockets.
const BREATH: Duration = Duration::from_millis(100);

/// Accepts connections until `stop` is requested, then lets those under way come to their end.
pub(super) async fn accept(listener: TcpListener, router: Router, shared: &Shared, stop: Stop) {
    let limits = &shared.limits;
    let places = Arc::new(Semaphore::new(limits.max_connections));
    let mut connections = JoinSet::new();
    loop {
        // Who comes when all places are taken waits in the system's queue.
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = stop.requested() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.requested() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let way = Way {
                    router: router.clone(),
                    limits: limits.clone(),
                    tls: shared.options.tls.clone(),
                    proxies: Arc::clone(&shared.proxies),
                    peer: peer.ip(),
                    stop: stop.clone(),
                };
                connections.spawn(async move {
                    way.serve(stream).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let patience = tokio::time::sleep(limits.drain);
    tokio::pin!(patience);
    // Those that take longer hear that the server stops; who does not listen even then is cut off.
    for last in [false, true] {
        loop {
            tokio::select! {
                ended = connections.join_next() => if ended.is_none() { return },
                () = &mut patience => break,
            }
        }
        if !last {
            shared.stop.request();
            patience.as_mut().reset(Instant::now() + LAST_WORDS);
        }
    }
}

/// One connection's way to the answers.
struct Way {
    router: Router,
    limits: Limits,
    tls: Option<Arc<Tls>>,
    proxies: Arc<TrustedProxies>,
    peer: IpAddr,
    stop: Stop,
}

impl Way {
    async fn serve(self, stream: TcpStream) {
        // Answers are written whole; waiting to fill a packet would only delay them.
        let _ = stream.set_nodelay(true);
        let Some(tls) = self.tls.clone() else {
            return self.speak(stream).await;
        };
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(self.limits.timeout_header, tls::accept(stream, &tls)) => shaken,
            () = self.stop.requested() => return,
        };
        match shaken {
            Ok(Ok(stream)) => self.speak(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "no TLS session"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let Self {
            router,
            limits,
            proxies,
            peer,
            stop,
            ..
        } = self;
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(limits.timeout_header)
            .max_headers(MOST_HEADERS)
            .max_buf_size(limits.max_header.max(SMALLEST_BUFFER));
        let answer = service_fn(move |mut request: Request<Incoming>| {
            let client = proxies.client(peer, request.headers());
            request.extensions_mut().insert(client);
            router.clone().call(request)
        });
        let connection = builder.serve_connection(TokioIo::new(stream), answer);
        tokio::pin!(connection);
        let result = tokio::select! {
            result = &mut connection => result,
            () = stop.requested() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a connection ended");
        }
    }
}
