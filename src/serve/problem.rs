//! Problem responses (RFC 9457): a closed list of codes, pointers to what is wrong, and nothing of the inside.

use std::{fmt, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;

/// Longest detail, in characters: it may quote what the caller sent.
const LONGEST: usize = 300;

/// Makes the enum and its texts from one table.
macro_rules! codes {
    ($($variant:ident $name:literal $status:ident $title:literal)*) => {
        /// What is wrong. The names are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The status it is sent with.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// One sentence for a person.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    InvalidJson "invalid_json" BAD_REQUEST "The body is not JSON."
    InvalidUtf8 "invalid_utf8" BAD_REQUEST "The body is not UTF-8."
    TooDeep "too_deep" BAD_REQUEST "The body is nested too deeply."
    DuplicateKey "duplicate_key" BAD_REQUEST "A member of an object is there twice."
    UnknownField "unknown_field" BAD_REQUEST "The body has a member that this request does not know."
    MissingField "missing_field" BAD_REQUEST "The body lacks a member that this request needs."
    WrongType "wrong_type" BAD_REQUEST "A value has another type than the one asked for."
    InvalidValue "invalid_value" BAD_REQUEST "A value is outside of what is allowed."
    InvalidQuery "invalid_query" BAD_REQUEST "A parameter in the request's address is not known or not allowed."
    InvalidForm "invalid_form" BAD_REQUEST "The body is no form as its content type describes it."
    Unauthorized "unauthorized" UNAUTHORIZED "The request has no valid key."
    Forbidden "forbidden" FORBIDDEN "The key may not do this."
    HostNotAllowed "host_not_allowed" FORBIDDEN "Without keys only this machine is served, under a name of its own."
    NotFound "not_found" NOT_FOUND "There is nothing here."
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED "The method does not fit the address."
    JobEnded "job_ended" CONFLICT "The job has ended."
    JobBusy "job_busy" CONFLICT "Something else works on the job."
    IdempotencyInProgress "idempotency_in_progress" CONFLICT "The first request with this `Idempotency-Key` is under way."
    BodyTimeout "body_timeout" REQUEST_TIMEOUT "The body did not arrive in time."
    BodyTooLarge "body_too_large" PAYLOAD_TOO_LARGE "The body is too large."
    UnsupportedMediaType "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE "The body must be `application/json`."
    InvalidList "invalid_list" UNPROCESSABLE_ENTITY "The list cannot be used as a whole."
    IdempotencyMismatch "idempotency_mismatch" UNPROCESSABLE_ENTITY "The `Idempotency-Key` was used for another request."
    RateLimited "rate_limited" TOO_MANY_REQUESTS "The key has sent too many requests."
    QuotaExceeded "quota_exceeded" TOO_MANY_REQUESTS "The key has asked about too many addresses."
    DomainQuotaExceeded "domain_quota_exceeded" TOO_MANY_REQUESTS "The key has asked about too many addresses of one domain."
    TooManyPending "too_many_pending" TOO_MANY_REQUESTS "Too many verifications of this key are not answered yet."
    TooManyJobs "too_many_jobs" TOO_MANY_REQUESTS "Too many jobs of this tenant are not done yet."
    TooManyStreams "too_many_streams" TOO_MANY_REQUESTS "The key has too many lists on their way, downloads or event streams."
    NotReady "not_ready" SERVICE_UNAVAILABLE "What was asked for is being prepared."
    Overloaded "overloaded" SERVICE_UNAVAILABLE "The server has too much to do."
    Stopping "stopping" SERVICE_UNAVAILABLE "The server is being stopped."
    StoreFailed "store_failed" SERVICE_UNAVAILABLE "The database cannot be used."
    Internal "internal" INTERNAL_SERVER_ERROR "The server made a mistake; its log says more."
}

/// A response that says what is wrong.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) code: Code,
    pub(super) detail: String,
    /// JSON pointer (RFC 6901) to the value that is wrong.
    pub(super) pointer: Option<String>,
    /// When another attempt can help.
    pub(super) retry_after: Option<Duration>,
    /// More to say in headers.
    headers: Box<HeaderMap>,
}

impl Problem {
    pub(super) fn new(code: Code, detail: impl fmt::Display) -> Self {
        Self {
            code,
            detail: crate::output::clean(&detail.to_string(), LONGEST).into_owned(),
            pointer: None,
            retry_after: None,
            headers: Box::default(),
        }
    }

    /// Names the value that is wrong. A member whose name is too long, or would act where it is shown, is not repeated: what holds it
    /// is named then.
    pub(super) fn at(mut self, pointer: impl Into<String>) -> Self {
        let mut pointer = pointer.into();
        let shown = crate::output::clean(&pointer, LONGEST);
        if shown != pointer {
            let alike = pointer
                .chars()
                .zip(shown.chars())
                .take_while(|(one, other)| one == other);
            let alike: usize = alike.map(|(one, _)| one.len_utf8()).sum();
            let whole = pointer.get(..alike).and_then(|start| start.rfind('/'));
            pointer.truncate(whole.unwrap_or_default());
        }
        self.pointer = Some(pointer);
        self
    }

    pub(super) fn header(mut self, name: impl axum::http::header::IntoHeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code, code.title())
    }
}

/// The body as it is sent; also its schema.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(title = "Problem", description = "A problem (RFC 9457).")]
pub(super) struct ProblemBody {
    /// Names the kind of problem; a URN, not an address.
    #[serde(rename = "type")]
    #[schema(example = "urn:presend:problem:unknown_field")]
    kind: String,
    /// One sentence for a person.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong with this request.
    detail: String,
    /// The stable name of the problem.
    #[schema(example = "unknown_field")]
    code: &'static str,
    /// Names the request in the server's log.
    request_id: Option<String>,
    /// Where in the body the fault is.
    errors: Vec<Pointed>,
}

/// A place in the body.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Pointed {
    /// JSON pointer (RFC 6901).
    pointer: String,
    /// What is wrong there.
    detail: String,
}

/// A problem on its way out, before the request's id is known.
#[derive(Debug, Clone)]
struct Unsigned(std::sync::Arc<Problem>);

impl IntoResponse for Problem {
    fn into_response(self) -> axum::response::Response {
        let mut response = render(&self, None);
        response.extensions_mut().insert(Unsigned(std::sync::Arc::new(self)));
        response
    }
}

/// Puts the request's id into a problem; headers that it got on its way stay.
pub(super) fn sign(response: axum::response::Response, id: &str) -> axum::response::Response {
    let Some(Unsigned(problem)) = response.extensions().get() else {
        return response;
    };
    let signed = render(problem, Some(id)).into_body();
    let code = problem.code;
    let mut response = response.map(|_| signed);
    response.extensions_mut().insert(code);
    response
}

fn render(problem: &Problem, id: Option<&str>) -> axum::response::Response {
    let code = problem.code;
    let pointed = problem.pointer.iter().map(|pointer| Pointed {
        pointer: pointer.clone(),
        detail: problem.detail.clone(),
    });
    let body = ProblemBody {
        kind: format!("urn:presend:problem:{}", code.name()),
        title: code.title(),
        status: code.status().as_u16(),
        detail: problem.detail.clone(),
        code: code.name(),
        request_id: id.map(str::to_owned),
        errors: pointed.collect(),
    };
    // Texts and numbers cannot fail to be written.
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code.status();
    let headers = response.headers_mut();
    headers.extend(HeaderMap::clone(&problem.headers));
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if code == Code::Unauthorized {
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"presend\""),
        );
    }
    if let Some(wait) = problem.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
    }
    response
}

/// Seconds, rounded up: who waits so long does not come too early.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_whole_members_that_can_be_shown() {
        let long = "x".repeat(LONGEST + 1);
        for (pointer, expected) in [
            ("", ""),
            ("/address", "/address"),
            ("/events/3/reply", "/events/3/reply"),
            ("/grüße~1", "/grüße~1"),
            (&format!("/{long}"), ""),
            (&format!("/events/3/{long}"), "/events/3"),
            ("/events/3/re\u{1b}[31mply", "/events/3"),
            ("/events/\u{202e}/reply", "/events"),
        ] {
            let problem = Problem::from(Code::UnknownField).at(pointer);
            assert_eq!(problem.pointer.as_deref(), Some(expected));
        }
    }
}
