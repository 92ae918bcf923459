//! What is written down of every request: an id, what was asked, by whom, and how it ended. Never an address, only its hash under
//! a secret of the database; never a key.

use std::{fmt::Write as _, net::IpAddr, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use rand::Rng as _;
use sha2::{Digest as _, Sha256};

use super::{
    Shared,
    gate::Caller,
    problem::{self, Code, Problem},
    proxy::Client,
};

/// Longest id of a request that a caller may give it.
const LONGEST_ID: usize = 64;

/// The addresses of a request, hashed.
#[derive(Debug, Clone)]
pub(super) struct Asked(Vec<String>);

impl Asked {
    pub(super) fn new(salt: &[u8; 32], typed: &[String]) -> Self {
        let hash = |typed: &String| {
            let digest = Sha256::new()
                .chain_update(salt)
                .chain_update(typed.trim().to_ascii_lowercase());
            let short = digest.finalize();
            let mut text = String::with_capacity(16);
            for byte in short.iter().take(8) {
                // Memory cannot fail to be written.
                let _ = write!(text, "{byte:02x}");
            }
            text
        };
        Self(typed.iter().map(hash).collect())
    }
}

/// Wraps every request: its id, its line in the log, its numbers, and the last word about responses that have no body yet.
pub(super) async fn watch(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(&request);
    let method = request.method().clone();
    // The route, not the address: an id is somebody's, and what is not ours may hold anything.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unknown", MatchedPath::as_str)
        .to_owned();
    let client = request.extensions().get::<Client>().map(|client| client.ip);
    let response = match shared.places.try_acquire() {
        Ok(_place) => {
            shared.metrics.began();
            let response = next.run(request).await;
            shared.metrics.ended();
            response
        }
        // Who asks for the server's health gets in all the same.
        Err(_) if ["/healthz", "/readyz"].contains(&&*route) => next.run(request).await,
        Err(_) => Problem::from(Code::Overloaded)
            .after(std::time::Duration::from_secs(1))
            .into_response(),
    };
    let mut response = problem::sign(complete(response), &id);
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    let asked = Line {
        id: &id,
        method: &method,
        route: &route,
        client,
    };
    note(&shared, &asked, &response, began);
    response
}

/// What a line of the log says of a request.
struct Line<'a> {
    id: &'a str,
    method: &'a Method,
    route: &'a str,
    client: Option<IpAddr>,
}

fn note(shared: &Shared, line: &Line<'_>, response: &Response, began: Instant) {
    let Line {
        id,
        method,
        route,
        client,
    } = *line;
    let status = response.status();
    let took = began.elapsed();
    shared.metrics.request(route, status, took);
    let caller = response.extensions().get::<Caller>();
    let (key, tenant) = caller.map_or(("", ""), |caller| (caller.key(), caller.tenant()));
    let code = response.extensions().get::<Code>().map_or("", |code| code.name());
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let client = client.map(tracing::field::display);
    tracing::info!(target: "presend::request", request = id, %method, route, status = status.as_u16(), ms, client, key, code);
    if let Some(Asked(addresses)) = response.extensions().get() {
        tracing::info!(target: "presend::audit", request = id, key, tenant, ?addresses);
    }
}

/// The caller's own id, if it is one, else a new one.
fn request_id(request: &Request) -> String {
    let given = request.headers().get("x-request-id").and_then(|id| id.to_str().ok());
    let sound = |id: &&str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(plain)
    };
    match given.filter(sound) {
        Some(id) => id.to_owned(),
        None => format!("{:016x}", rand::rng().random::<u64>()),
    }
}

/// Responses of the framework that are no problems become some.
fn complete(response: Response) -> Response {
    let known = response.headers().contains_key(header::CONTENT_TYPE);
    let code = match response.status() {
        _ if known => return response,
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::NOT_FOUND => Code::NotFound,
        status if status.is_server_error() => Code::Internal,
        _ => return response,
    };
    let allow = response.headers().get(header::ALLOW).cloned();
    let problem = Problem::from(code);
    match allow {
        Some(allow) => problem.header(header::ALLOW, allow).into_response(),
        None => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn an_id_that_could_be_anything_is_not_taken_over() {
        let asked = |id: &str| {
            Request::get("/")
                .header("x-request-id", id)
                .body(Body::empty())
                .unwrap()
        };
        assert_eq!(request_id(&asked("abc-1.2_Z")), "abc-1.2_Z");
        for wrong in ["", "a b", "a\"b", &"x".repeat(65), "<script>"] {
            let made = request_id(&asked(wrong));
            assert!(made.len() == 16 && made != wrong, "{made}");
        }
    }

    #[test]
    fn hashes_tell_equal_addresses_and_nothing_else() {
        let typed = [
            "Ann@a.test".to_owned(),
            " ann@a.test".to_owned(),
            "bob@a.test".to_owned(),
        ];
        let Asked(hashes) = Asked::new(&[1; 32], &typed);
        assert_eq!(hashes[0], hashes[1]);
        assert_ne!(hashes[0], hashes[2]);
        let Asked(others) = Asked::new(&[2; 32], &typed);
        assert_ne!(hashes[0], others[0], "another database, another hash");
        assert!(hashes.iter().all(|hash| hash.len() == 16));
    }
}
