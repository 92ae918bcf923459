//! The body of a request that brings a list: within its size and its time onto the disk, with a digest of all that was asked.

use std::{fs::File, io, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, header},
};
use futures_util::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::{io::AsyncWriteExt as _, time::Instant};

use super::{
    super::{
        Limits, Shared,
        problem::{Code, Problem},
    },
    options::{Options, Query},
    results::XLSX,
};
use crate::input::{InputFormat, unnamed};

/// Bytes a second that a caller sends at least, once he has begun.
const SLOWEST: u64 = 1024;
/// Bytes of a field of a form that is not the list.
const FIELD: u64 = 4 * 1024;

/// What the caller says that the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One JSON array.
    Array,
    Is(InputFormat),
    /// It shows by itself.
    Any,
    Form,
}

impl Kind {
    fn of(content_type: &str) -> Option<Self> {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        Some(match kind.to_ascii_lowercase().as_str() {
            "application/json" => Self::Array,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
                Self::Is(InputFormat::Ndjson)
            }
            "text/csv" | "text/tab-separated-values" => Self::Is(InputFormat::Csv),
            "text/plain" => Self::Is(InputFormat::Text),
            XLSX | "application/octet-stream" | "application/gzip" | "application/zstd" => Self::Any,
            "multipart/form-data" => Self::Form,
            _ => return None,
        })
    }
}

/// A list on the disk, and what was said of it.
pub(super) struct Spooled {
    pub(super) file: File,
    pub(super) kind: Kind,
    /// As the caller's file was called.
    pub(super) file_name: String,
    pub(super) options: Options,
    /// Of all that was asked.
    pub(super) digest: [u8; 32],
}

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("too large")]
    TooLarge,
    #[error("too slow")]
    TooSlow,
    #[error("the caller left")]
    Left,
}

impl Cut {
    fn problem(&self, limits: &Limits) -> Problem {
        match self {
            Self::TooLarge => Problem::new(
                Code::BodyTooLarge,
                format!("A list has at most {} bytes.", limits.max_upload),
            ),
            Self::TooSlow => Code::BodyTimeout.into(),
            Self::Left => Problem::new(Code::BodyTimeout, "The body ended before its end."),
        }
    }
}

/// A body within its size and its time.
fn paced(body: Body, limits: &Limits) -> impl Stream<Item = Result<Bytes, Cut>> + Send + 'static {
    let (most, patience, longest) = (limits.max_upload, limits.timeout_body, limits.timeout_upload);
    let began = Instant::now();
    let start = (body.into_data_stream(), 0_u64);
    futures_util::stream::unfold(start, move |(mut data, read)| async move {
        let earned = patience + Duration::from_secs(read / SLOWEST);
        let next = tokio::time::timeout_at(began + earned.min(longest), data.next()).await;
        let item = match next {
            Ok(None) => return None,
            Ok(Some(Ok(bytes))) => Ok(bytes),
            Ok(Some(Err(_))) => Err(Cut::Left),
            Err(_) => Err(Cut::TooSlow),
        };
        let read = read + item.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let item = item.and_then(|bytes| if read > most { Err(Cut::TooLarge) } else { Ok(bytes) });
        Some((item, (data, read)))
    })
}

pub(super) fn no_disk(error: &io::Error) -> Problem {
    tracing::error!(%error, "a list cannot be put onto the disk");
    Code::StoreFailed.into()
}

/// What goes to the disk and into the digest; without a file only into the digest.
struct Spool {
    file: Option<tokio::fs::File>,
    digest: Sha256,
}

impl Spool {
    fn new(keep: bool) -> Result<Self, Problem> {
        let file = keep.then(unnamed).transpose().map_err(|error| no_disk(&error))?;
        Ok(Self {
            file: file.map(tokio::fs::File::from_std),
            digest: Sha256::new(),
        })
    }

    /// A part of what was asked, told from all other parts.
    fn say(&mut self, what: &[u8]) {
        self.digest.update((what.len() as u64).to_le_bytes());
        self.digest.update(what);
    }

    async fn push(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.digest.update(bytes);
        match &mut self.file {
            Some(file) => file.write_all(bytes).await.map_err(|error| no_disk(&error)),
            None => Ok(()),
        }
    }

    async fn finish(self) -> Result<(File, [u8; 32]), Problem> {
        let file = match self.file {
            Some(mut file) => {
                file.flush().await.map_err(|error| no_disk(&error))?;
                file.into_std().await
            }
            None => unnamed().map_err(|error| no_disk(&error))?,
        };
        Ok((file, self.digest.finalize().into()))
    }
}

/// Reads the whole request; `keep` is not set when it was answered before, and only its digest is wanted.
pub(super) async fn read(shared: &Shared, request: Request, keep: bool) -> Result<Spooled, Problem> {
    let query = Query::of(request.uri(), Options::NAMES)?;
    let mut options = Options::default();
    let mut spool = Spool::new(keep)?;
    let mut said: Vec<(&str, &str)> = query.iter().collect();
    said.sort_unstable();
    for (name, value) in said {
        options.set(name, value)?;
        spool.say(name.as_bytes());
        spool.say(value.as_bytes());
    }
    let limits = &shared.limits;
    check_headers(request.headers(), limits)?;
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = Kind::of(content_type).ok_or_else(unsupported)?;
    let boundary = (kind == Kind::Form).then(|| multer::parse_boundary(content_type));
    spool.say(content_type.split(';').next().unwrap_or_default().as_bytes());
    let mut body = Box::pin(paced(request.into_body(), limits));
    let (mut kind, mut file_name) = (kind, String::new());
    match boundary {
        Some(Err(_)) => return Err(Problem::new(Code::InvalidForm, "The content type names no boundary.")),
        Some(Ok(boundary)) => {
            (kind, file_name) = form(shared, (body, boundary), &mut options, &mut spool).await?;
        }
        None => {
            while let Some(bytes) = body.next().await {
                let bytes = bytes.map_err(|cut| cut.problem(limits))?;
                spool.push(&bytes).await?;
            }
        }
    }
    let (file, digest) = spool.finish().await?;
    Ok(Spooled {
        file,
        kind,
        file_name,
        options,
        digest,
    })
}

fn unsupported() -> Problem {
    let said = "A list is `application/json`, `application/x-ndjson`, `text/csv`, `text/tab-separated-values`, `text/plain`, XLSX or \
        `multipart/form-data`, as it is or packed with gzip or zstd.";
    Problem::new(Code::UnsupportedMediaType, said)
}

fn check_headers(headers: &HeaderMap, limits: &Limits) -> Result<(), Problem> {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limits.max_upload) {
        return Err(Cut::TooLarge.problem(limits));
    }
    // Packed lists show by themselves.
    let packed = headers
        .get(header::CONTENT_ENCODING)
        .map(|packed| packed.to_str().unwrap_or_default());
    match packed.map(str::to_ascii_lowercase).as_deref() {
        None | Some("identity" | "gzip" | "x-gzip" | "zstd") => Ok(()),
        Some(_) => Err(unsupported()),
    }
}

/// Reads a form: the list is its part `file`, the other parts are options.
async fn form(
    shared: &Shared,
    (body, boundary): (impl Stream<Item = Result<Bytes, Cut>> + Send + 'static, String),
    options: &mut Options,
    spool: &mut Spool,
) -> Result<(Kind, String), Problem> {
    let limits = &shared.limits;
    let mut form = multer::Multipart::new(body, boundary);
    let mut found = None;
    let mut seen: Vec<String> = Vec::new();
    while let Some(mut field) = form.next_field().await.map_err(|error| broken(&error, limits))? {
        let name = field.name().unwrap_or_default().to_owned();
        let twice = || Problem::new(Code::DuplicateKey, format!("The part `{name}` is there twice."));
        if seen.contains(&name) {
            return Err(twice().at(format!("/{name}")));
        }
        spool.say(name.as_bytes());
        if name == "file" {
            let file_name = field.file_name().unwrap_or_default().to_owned();
            let kind = field
                .content_type()
                .map_or("application/octet-stream", |kind| kind.as_ref());
            // Programs that do not know a file's kind say what they like: then its name and its content tell.
            let kind = Kind::of(kind).filter(|kind| *kind != Kind::Form).unwrap_or(Kind::Any);
            spool.say(file_name.as_bytes());
            while let Some(bytes) = field.chunk().await.map_err(|error| broken(&error, limits))? {
                spool.push(&bytes).await?;
            }
            found = Some((kind, file_name));
        } else {
            let value = text(&mut field, limits).await?;
            spool.say(value.as_bytes());
            options.set(&name, &value).map_err(|mut problem| {
                let known = Options::NAMES.contains(&name.as_str());
                problem.code = if known { Code::InvalidValue } else { Code::UnknownField };
                problem.at(format!("/{}", name.replace('~', "~0").replace('/', "~1")))
            })?;
        }
        seen.push(name);
    }
    found.ok_or_else(|| Problem::new(Code::MissingField, "The form has no part `file` with the list.").at("/file"))
}

async fn text(field: &mut multer::Field<'_>, limits: &Limits) -> Result<String, Problem> {
    let mut value = Vec::new();
    while let Some(bytes) = field.chunk().await.map_err(|error| broken(&error, limits))? {
        value.extend_from_slice(&bytes);
        if value.len() as u64 > FIELD {
            let said = format!("An option has at most {FIELD} bytes; the list is the part `file`.");
            return Err(Problem::new(Code::BodyTooLarge, said));
        }
    }
    String::from_utf8(value).map_err(|_| Problem::new(Code::InvalidUtf8, "An option is not UTF-8."))
}

fn broken(error: &multer::Error, limits: &Limits) -> Problem {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Cut>());
    match source {
        Some(cut) => cut.problem(limits),
        None => Problem::new(Code::InvalidForm, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_its_first_words() {
        for (content_type, expected) in [
            ("application/json; charset=utf-8", Some(Kind::Array)),
            ("Text/CSV", Some(Kind::Is(InputFormat::Csv))),
            ("application/x-ndjson", Some(Kind::Is(InputFormat::Ndjson))),
            ("multipart/form-data; boundary=x", Some(Kind::Form)),
            ("application/octet-stream", Some(Kind::Any)),
            ("image/png", None),
            ("", None),
        ] {
            assert_eq!(Kind::of(content_type), expected, "{content_type}");
        }
    }
}
