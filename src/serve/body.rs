//! Bodies: read within a size and a time, then as exactly the JSON that was asked for.

use std::fmt;

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::{HeaderValue, header},
    response::Response,
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned},
};

use super::{
    Shared,
    problem::{Code, Problem},
};

/// A JSON body of one form: no member more, none twice.
pub(super) struct Strict<T>(pub(super) T);

/// The same of many things together.
pub(super) struct Many<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Strict<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Problem> {
        strict(request, state, state.limits.max_body).await.map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<Shared> for Many<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Problem> {
        strict(request, state, MANY.max(state.limits.max_body)).await.map(Self)
    }
}

async fn strict<T: DeserializeOwned>(request: Request, state: &Shared, most: usize) -> Result<T, Problem> {
    let json = request.headers().get(header::CONTENT_TYPE).is_some_and(|value| {
        let kind = value.to_str().unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("application/json")
    });
    if !json {
        return Err(Code::UnsupportedMediaType.into());
    }
    read(&within(request, state, most).await?)
}

/// Bytes of a body with many things: a thousand events of a sending service.
const MANY: usize = 2 << 20;

/// A body as it came: what is signed is its bytes.
pub(super) struct Raw(pub(super) Bytes);

impl FromRequest<Shared> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Problem> {
        within(request, state, MANY.max(state.limits.max_body)).await.map(Self)
    }
}

async fn within(request: Request, state: &Shared, most: usize) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(Code::BodyTooLarge, format_args!("A body has at most {most} bytes."));
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > most)) {
        return Err(too_large());
    }
    let reading = axum::body::to_bytes(request.into_body(), most);
    match tokio::time::timeout(state.limits.timeout_body, reading).await {
        Ok(Ok(bytes)) => Ok(bytes),
        // The peer left, or went past the limit; only the second hears of it.
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(Code::BodyTimeout.into()),
    }
}

/// A number without a fraction; JSON's `250.0` is one too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole(pub(super) u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(WholeVisitor).map(Self)
    }
}

struct WholeVisitor;

impl de::Visitor<'_> for WholeVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number that is not negative")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
        let negative = de::Unexpected::Signed(number);
        u64::try_from(number).map_err(|_| E::invalid_value(negative, &self))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, and within what a double counts"
    )]
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<u64, E> {
        // Beyond that two whole numbers are one.
        const MOST: f64 = 9_007_199_254_740_992.0;
        if number.fract() == 0.0 && (0.0..=MOST).contains(&number) {
            Ok(number as u64)
        } else {
            Err(E::invalid_value(de::Unexpected::Float(number), &self))
        }
    }
}

/// A value as a response.
pub(super) fn json<T: Serialize>(value: &T) -> Response {
    // Our own types have names for keys and no broken numbers.
    let mut response = Response::new(Body::from(serde_json::to_vec(value).unwrap_or_default()));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Reads JSON, or says what is wrong and where.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Problem::new(Code::InvalidUtf8, format_args!("Byte {at} is not UTF-8."))
    })?;
    // serde would take an array for a struct, by the order of its members.
    if text.trim_start().starts_with('[') {
        return Err(Problem::new(Code::WrongType, "The body is an array, not an object.").at(""));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = pointer(error.path());
        explain(error.inner(), &pointer)
    })?;
    json.end().map_err(|error| explain(&error, ""))?;
    Ok(value)
}

/// The path as a JSON pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer += &escaped(&index.to_string()),
            Segment::Map { key } | Segment::Enum { variant: key } => pointer += &escaped(key),
            Segment::Unknown => {}
        }
    }
    pointer
}

fn escaped(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// serde says what is wrong in words; its words are the same in every release of its first version.
fn explain(error: &serde_json::Error, pointer: &str) -> Problem {
    let said = error.to_string();
    // The line and column that serde_json adds.
    let words = said.rsplit_once(" at line ").map_or(said.as_str(), |(words, _)| words);
    let quoted = words.split('`').nth(1).unwrap_or_default();
    let member = |pointer: &str| {
        let inside = pointer.ends_with(&escaped(quoted));
        if inside {
            pointer.to_owned()
        } else {
            format!("{pointer}{}", escaped(quoted))
        }
    };
    let code = match words {
        _ if words.starts_with("unknown field") => Code::UnknownField,
        _ if words.starts_with("missing field") => Code::MissingField,
        _ if words.starts_with("duplicate field") => Code::DuplicateKey,
        _ if words.starts_with("recursion limit") => Code::TooDeep,
        _ if words.starts_with("invalid type") => Code::WrongType,
        _ if error.is_data() => Code::InvalidValue,
        _ => Code::InvalidJson,
    };
    if matches!(code, Code::UnknownField | Code::MissingField | Code::DuplicateKey) {
        Problem::new(code, words).at(member(pointer))
    } else if matches!(code, Code::InvalidJson | Code::TooDeep) {
        Problem::new(code, said)
    } else {
        Problem::new(code, words).at(pointer)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Form {
        #[expect(dead_code, reason = "only read")]
        address: String,
        #[expect(dead_code, reason = "only read")]
        wait_ms: Option<Whole>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Forms {
        #[expect(dead_code, reason = "only read")]
        all: Vec<Form>,
    }

    #[test]
    fn a_fault_is_named_with_its_place() {
        let deep = format!("{{\"address\":{}", "[".repeat(100_000));
        let nested = format!("{{\"all\":[{{\"address\":\"a\",\"wait_ms\":{}1", "[".repeat(200));
        for (body, code, pointer) in [
            ("", Code::InvalidJson, None),
            ("{", Code::InvalidJson, None),
            ("{\"address\":\"a\"} x", Code::InvalidJson, None),
            ("[]", Code::WrongType, Some("")),
            ("{\"address\":1}", Code::WrongType, Some("/address")),
            ("{\"address\":NaN}", Code::InvalidJson, None),
            ("{}", Code::MissingField, Some("/address")),
            ("{\"address\":\"a\",\"helo\":\"x\"}", Code::UnknownField, Some("/helo")),
            ("{\"address\":\"a\",\"a/b~\":1}", Code::UnknownField, Some("/a~1b~0")),
            (
                "{\"address\":\"a\",\"address\":\"b\"}",
                Code::DuplicateKey,
                Some("/address"),
            ),
            (
                "{\"address\":\"a\",\"wait_ms\":1.5}",
                Code::InvalidValue,
                Some("/wait_ms"),
            ),
            (
                "{\"address\":\"a\",\"wait_ms\":1e300}",
                Code::InvalidValue,
                Some("/wait_ms"),
            ),
            (
                "{\"address\":\"a\",\"wait_ms\":-1}",
                Code::InvalidValue,
                Some("/wait_ms"),
            ),
            (&deep, Code::WrongType, Some("/address")),
        ] {
            let problem = read::<Form>(body.as_bytes()).unwrap_err();
            let found = (problem.code, problem.pointer.as_deref());
            assert_eq!(found, (code, pointer), "{:.80}: {}", body, problem.detail);
        }
        let problem = read::<Forms>(b"{\"all\":[{\"address\":\"a\"},{\"address\":2}]}").unwrap_err();
        assert_eq!(problem.pointer.as_deref(), Some("/all/1/address"));
        assert_eq!(read::<Forms>(nested.as_bytes()).unwrap_err().code, Code::WrongType);
        assert_eq!(
            read::<serde_json::Value>(deep.as_bytes()).unwrap_err().code,
            Code::TooDeep
        );
        assert_eq!(
            read::<Form>(b"{\"address\":\"\xff\"}").unwrap_err().code,
            Code::InvalidUtf8
        );
        assert!(read::<Form>(b" {\"address\":\"a\"} ").is_ok());
        for (number, expected) in [("250", 250), ("250.0", 250), ("2.5e2", 250), ("0", 0), ("-0.0", 0)] {
            assert_eq!(read::<Whole>(number.as_bytes()).unwrap().0, expected, "{number}");
        }
    }
}
