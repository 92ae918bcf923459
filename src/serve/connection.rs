//! Connections: as many as allowed, each with limits on its headers and its patience, and a polite end.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::Instant,
};

use super::{Limits, Shared};
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
            Ok((stream, _)) => {
                let serving = serve(stream, router.clone(), limits.clone(), stop.clone());
                connections.spawn(async move {
                    serving.await;
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

async fn serve(stream: TcpStream, router: Router, limits: Limits, stop: Stop) {
    // Answers are written whole; waiting to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.timeout_header)
        .max_headers(MOST_HEADERS)
        .max_buf_size(limits.max_header.max(SMALLEST_BUFFER));
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
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
