//! Which web pages of others may ask (CORS): none, unless the operator names their origins.

use std::{fmt, str::FromStr, time::Duration};

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};
use url::Url;

/// How long browsers keep the permission.
const KEPT: Duration = Duration::from_mins(10);

/// Where a page comes from, as browsers write it: `https://app.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageOrigin(HeaderValue);

/// A text is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write an origin without a path, `https://app.example.com`; `*` and `null` are not taken")]
pub struct NotAnOrigin;

impl FromStr for PageOrigin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let url = Url::parse(text).map_err(|_| NotAnOrigin)?;
        let web = matches!(url.scheme(), "http" | "https");
        let origin = url.origin().ascii_serialization();
        // Anything more than an origin, and another spelling of one, no browser would send.
        if !web || origin != text {
            return Err(NotAnOrigin);
        }
        HeaderValue::from_str(&origin).map(Self).map_err(|_| NotAnOrigin)
    }
}

impl fmt::Display for PageOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

/// What browsers are told; nothing when no page may ask.
pub(super) fn layer(origins: &[PageOrigin]) -> Option<CorsLayer> {
    let names = |names: [&'static str; 3]| names.map(HeaderName::from_static);
    (!origins.is_empty()).then(|| {
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins.iter().map(|origin| origin.0.clone())))
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            .allow_headers(
                [header::AUTHORIZATION, header::CONTENT_TYPE, header::ACCEPT]
                    .into_iter()
                    .chain(names(["idempotency-key", "last-event-id", "x-request-id"]))
                    .collect::<Vec<_>>(),
            )
            .expose_headers(
                [header::LOCATION, header::RETRY_AFTER]
                    .into_iter()
                    .chain(names(["x-request-id", "ratelimit", "ratelimit-policy"]))
                    .collect::<Vec<_>>(),
            )
            .max_age(KEPT)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_browsers_send() {
        for (text, good) in [
            ("https://app.example.com", true),
            ("http://localhost:3000", true),
            ("https://app.example.com:8443", true),
            ("https://app.example.com/", false),
            ("https://app.example.com:443", false),
            ("https://App.example.com", false),
            ("https://app.example.com/path", false),
            ("ftp://app.example.com", false),
            ("app.example.com", false),
            ("*", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<PageOrigin>().is_ok(), good, "{text}");
        }
    }
}
