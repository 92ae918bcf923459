//! `POST /v1/jobs`: a list as it is sent, onto the disk and into the store, never into memory.

use std::{
    fs::File,
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use futures_util::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::{io::AsyncWriteExt as _, runtime::Handle, time::Instant};

use super::{
    super::{
        Limits, Shared,
        body::json,
        gate::Caller,
        idempotency::{self, Held, Keyed},
        problem::{Code, Problem, ProblemBody},
    },
    describe,
    options::{Options, Query},
    results::XLSX,
    runner,
    schema::Job,
    store_failed,
};
use crate::{
    input::{InputError, InputFormat, Table, unnamed},
    job::{Level, TakenIn, VerifyError},
    output,
    store::{Accepted, ApiJob, JobRecord, JobState, Response as Kept, Store as _, Wish},
};

/// Bytes a second that a caller sends at least, once he has begun.
const SLOWEST: u64 = 1024;
/// Bytes of a field of a form that is not the list.
const FIELD: u64 = 4 * 1024;
/// What a list is called that has no name.
const NAMELESS: &str = "list";

/// What the caller says that the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
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
struct Spooled {
    file: File,
    kind: Kind,
    /// As the caller's file was called.
    file_name: String,
    options: Options,
    /// Of all that was asked.
    digest: [u8; 32],
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

fn no_disk(error: &io::Error) -> Problem {
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
async fn read(shared: &Shared, request: Request, keep: bool) -> Result<Spooled, Problem> {
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

/// What is wrong with a list as a whole.
fn unusable(error: &InputError) -> Problem {
    // The same words as on the command line, whose options have the same names.
    let said = error.to_string().replace("`--", "`");
    match error {
        InputError::Read { source, .. } => no_disk(source),
        InputError::NotAnArray { element, deep, .. } => {
            let code = if *deep { Code::TooDeep } else { Code::InvalidJson };
            let problem = Problem::new(code, said);
            match element {
                Some(element) => problem.at(format!("/{element}")),
                None => problem,
            }
        }
        InputError::MissingColumn { .. } | InputError::ColumnOutOfRange { .. } => {
            Problem::new(Code::InvalidList, said).at("/column")
        }
        InputError::MissingSheet { .. } | InputError::NotAWorkbook { .. } => {
            Problem::new(Code::InvalidList, said).at("/sheet")
        }
        InputError::NoAddressColumn { seen, .. } => {
            let said = format!("No column of the list holds addresses ({seen}); name it with `column`.");
            Problem::new(Code::InvalidList, said)
        }
        InputError::Directory { .. }
        | InputError::Empty { .. }
        | InputError::Unsupported { .. }
        | InputError::TooLarge { .. }
        | InputError::Damaged { .. }
        | InputError::Workbook { .. }
        | InputError::WrongSheet { .. }
        | InputError::Several(_)
        | InputError::Changed { .. } => Problem::new(Code::InvalidList, said),
    }
}

/// Make a job of a list.
///
/// The list is the body, or the part `file` of a form: a JSON array of addresses or objects, NDJSON, CSV, TSV, one address a line, or XLSX,
/// as it is or packed with gzip or zstd. A row that cannot be read is a result with the fault. Options stand in the query or in the form.
/// What is accepted (202) is asked about, whatever happens to the server. With an `Idempotency-Key` it is accepted once.
#[utoipa::path(
    post, path = "/v1/jobs", tag = "jobs", operation_id = "create_job",
    params(
        ("column" = Option<String>, Query, description = "The column or key with the address: its name, or its number from 1.", max_length = 200,
            pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"),
        ("sheet" = Option<String>, Query, description = "The sheet of a workbook: its name, or its number from 1.", max_length = 200,
            pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"),
        ("header" = Option<bool>, Query, description = "Whether the first row names the columns."),
        ("name" = Option<String>, Query, description = "What you call the list.", max_length = 200,
            pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"),
        ("level" = Option<String>, Query, description = "How far to ask: `syntax`, `dns` or `smtp`; never further than the server is set to.",
            pattern = "^(syntax|dns|smtp)$"),
        ("max_age" = Option<u64>, Query, description = "Oldest answer that may be used, in seconds; 0 asks again.",
            minimum = 0, maximum = 31_536_000),
        ("Idempotency-Key" = Option<String>, Header, description = "The list is accepted once for each key, for 24 hours.",
            min_length = 1, max_length = 255, pattern = "^[!-~]+$"),
    ),
    request_body(description = "The list.", content(
        (Vec<Entry> = "application/json", example = json!(["jane.doe@example.com", {"email": "sales@example.org", "name": "Sales"}])),
        (String = "application/x-ndjson", example = "{\"email\":\"jane.doe@example.com\"}\n{\"email\":\"sales@example.org\"}\n"),
        (String = "text/csv", example = "email,name\njane.doe@example.com,Jane\n"),
        (String = "text/tab-separated-values"),
        (Vec<u8> = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        (Form = "multipart/form-data"))),
    responses(
        (status = 202, description = "The job; it will be asked about.", body = Job, headers(
            ("Location" = String, description = "Where the job is."))),
        (status = 409, description = "A problem: `idempotency_in_progress`.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A problem: `invalid_list`, `idempotency_mismatch`.", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    if shared.closing.is_requested() {
        return Err(Problem::from(Code::Stopping).after(Duration::from_secs(5)));
    }
    let place = Arc::clone(&shared.transfers).try_acquire_owned();
    let place = place.map_err(|_| Problem::from(Code::Overloaded).after(Duration::from_secs(5)))?;
    let open = shared
        .store
        .open_api_jobs(caller.tenant())
        .map_err(|error| store_failed(&error))?;
    if open >= shared.limits.max_jobs {
        let said = format!("{} jobs of yours are not done yet.", shared.limits.max_jobs);
        return Err(Problem::new(Code::TooManyJobs, said).after(Duration::from_mins(1)));
    }
    let held = match idempotency::claim(&shared, &caller, request.headers()).await? {
        Keyed::Plain => None,
        Keyed::First(held) => Some(held),
        Keyed::Again { digest, response } => {
            let asked = read(&shared, request, false).await?;
            return idempotency::again(asked.digest, digest, response);
        }
    };
    let spooled = read(&shared, request, true).await?;
    // From here on it is carried through, also when the caller does not wait: what he sent again with the same key finds it.
    let accepting = tokio::spawn(async move {
        let accepted = accept(&shared, &caller, spooled, held).await;
        drop(place);
        accepted
    });
    accepting.await.map_err(|error| {
        tracing::error!(%error, "a list ended by a fault of ours");
        Problem::from(Code::Internal)
    })?
}

/// Makes a job of a list on the disk.
async fn accept(shared: &Shared, caller: &Caller, spooled: Spooled, held: Option<Held>) -> Result<Response, Problem> {
    let Spooled {
        file,
        kind,
        file_name,
        options,
        digest,
    } = spooled;
    let given = options
        .name
        .clone()
        .or_else(|| (!file_name.is_empty()).then_some(file_name));
    let given = given.map(|name| output::clean(&name, 200).into_owned());
    let (name, mut input) = (
        given.clone().unwrap_or_else(|| NAMELESS.to_owned()),
        options.input.clone(),
    );
    input.format = match kind {
        Kind::Is(format) => Some(format),
        Kind::Array | Kind::Any | Kind::Form => None,
    };
    let level = options.how.level.unwrap_or(Level::Smtp);
    let (engine, store, handle) = (
        shared.engines.get(level, false),
        Arc::clone(&shared.store),
        Handle::current(),
    );
    let source = name.clone();
    let taken_in = tokio::task::spawn_blocking(move || -> Result<TakenIn, VerifyError> {
        let mut table = Table::from_file(file, &source, &input, kind == Kind::Array)?;
        handle.block_on(engine.take_in(&mut table, &*store, &source, level))
    });
    let taken_in = taken_in.await.map_err(|error| store_failed(&error))?;
    let taken_in = taken_in.map_err(|error| match error {
        VerifyError::Input(error) => unusable(&error),
        error @ (VerifyError::Output(_) | VerifyError::Store(_) | VerifyError::TooManyAddresses) => {
            store_failed(&error)
        }
    })?;
    let TakenIn {
        lease,
        rows,
        digest: rows_digest,
    } = taken_in;
    let discard = || {
        let (store, lease) = (Arc::clone(&shared.store), lease.clone());
        // What cannot be cleared up now is at the next start.
        tokio::task::spawn_blocking(move || drop(store.discard(&lease)));
    };
    if let Err(problem) = caller.spend(usize::try_from(rows).unwrap_or(usize::MAX), std::iter::empty()) {
        discard();
        return Err(problem);
    }
    let job = new_job((&lease.id, lease.job), rows, (caller, given, &options));
    let response = describe(shared, &job);
    let place = format!("/v1/jobs/{}", lease.id);
    let request = held.and_then(|held| held.take(digest)).map(|claim| {
        let kept = Kept {
            status: StatusCode::ACCEPTED.as_u16(),
            location: Some(place.clone()),
            body: serde_json::to_vec(&response).unwrap_or_default(),
        };
        (claim, kept)
    });
    let claim = request.as_ref().map(|(claim, _)| claim.clone());
    let accepted = Accepted {
        tenant: caller.tenant().to_string(),
        name: job.name,
        options: job.options,
        request,
    };
    if let Err(error) = shared.store.accept(&lease, (rows, rows_digest), accepted).await {
        discard();
        if let Some(claim) = claim {
            shared.store.give_up_request(claim);
        }
        return Err(store_failed(&error));
    }
    shared.bell.ring();
    runner::enqueue(shared, lease.job, caller.tenant());
    let mut response = json(&response);
    *response.status_mut() = StatusCode::ACCEPTED;
    // Letters and digits are what a header may hold.
    let place = HeaderValue::from_str(&place).ok();
    response
        .headers_mut()
        .extend(place.map(|place| (header::LOCATION, place)));
    Ok(response)
}

/// The job as it will be when it is accepted.
fn new_job(
    (id, number): (&str, i64),
    rows: u64,
    (caller, name, options): (&Caller, Option<String>, &Options),
) -> ApiJob {
    let now = SystemTime::now();
    ApiJob {
        record: JobRecord {
            number,
            id: id.to_owned(),
            state: JobState::Open,
            created_at: now,
            updated_at: now,
            source: String::new(),
            settings: String::new(),
            layout: String::new(),
            rows,
            summary: "{}".to_owned(),
            process: None,
            taken: false,
        },
        tenant: Some(caller.tenant().to_string()),
        name,
        // Names and numbers cannot fail to be written.
        options: serde_json::to_string(&options.how).unwrap_or_default(),
        wish: Wish::Run,
    }
}

/// An address, or an object that holds one; anything else becomes a result with the fault.
#[derive(utoipa::ToSchema)]
#[schema(as = ListEntry)]
#[serde(untagged)]
#[expect(dead_code, reason = "only described")]
enum Entry {
    Address(String),
    Object(std::collections::BTreeMap<String, String>),
}

/// A list in a form.
#[derive(utoipa::ToSchema)]
#[schema(as = ListForm)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
struct Form {
    /// The list; its name and its content tell what it is when its content type does not.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    #[schema(nullable = false, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    column: Option<String>,
    #[schema(nullable = false, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    sheet: Option<String>,
    #[schema(nullable = false)]
    header: Option<bool>,
    #[schema(nullable = false, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    name: Option<String>,
    #[schema(nullable = false, pattern = "^(syntax|dns|smtp)$")]
    level: Option<String>,
    #[schema(nullable = false, minimum = 0, maximum = 31_536_000)]
    max_age: Option<u64>,
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
