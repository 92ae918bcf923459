//! `POST /v1/jobs`: a list as it is sent, onto the disk and into the store, never into memory.

use std::{
    fs::File,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use tokio::runtime::Handle;

use super::{
    super::{
        Shared,
        body::json,
        gate::Caller,
        idempotency::{self, Held, Keyed},
        problem::{Code, Problem, ProblemBody},
        webhook::Hook,
    },
    describe,
    options::Options,
    receive::{Kind, Spooled, no_disk, read},
    runner,
    schema::Job,
    store_failed,
};
use crate::{
    input::{InputError, Table},
    job::{Level, TakenIn, VerifyError},
    output,
    store::{Accepted, ApiJob, JobRecord, JobState, Lease, Response as Kept, Store as _, Wish},
};

/// What a list is called that has no name.
const NAMELESS: &str = "list";

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
        ("webhook" = Option<String>, Query, description = "Where to post what happens to the list, with the secret of `/v1/webhooks/secret`.",
            max_length = 2000, pattern = "^https://([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}(:(443|[1-5][0-9]{4}))?(/[!-~]*)?$"),
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
    // One key does not take the places of all others.
    let mine = caller.upload(shared.limits.max_transfers.div_ceil(2))?;
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
        drop((place, mine));
        accepted
    });
    accepting.await.map_err(|error| {
        tracing::error!(%error, "a list ended by a fault of ours");
        Problem::from(Code::Internal)
    })?
}

/// Reads a list from the disk into the store.
async fn take_in(
    shared: &Shared,
    (file, kind): (File, Kind),
    name: &str,
    options: &Options,
) -> Result<TakenIn, Problem> {
    let mut input = options.input.clone();
    input.format = match kind {
        Kind::Is(format) => Some(format),
        Kind::Array | Kind::Any | Kind::Form => None,
    };
    let level = options.how.level.unwrap_or(Level::Smtp);
    let (engine, store) = (shared.engines.get(level, false), Arc::clone(&shared.store));
    let (name, handle) = (name.to_owned(), Handle::current());
    let taken_in = tokio::task::spawn_blocking(move || -> Result<TakenIn, VerifyError> {
        let mut table = Table::from_file(file, &name, &input, kind == Kind::Array)?;
        handle.block_on(engine.take_in(&mut table, &*store, &name, level))
    });
    let taken_in = taken_in.await.map_err(|error| store_failed(&error))?;
    taken_in.map_err(|error| match error {
        VerifyError::Input(error) => unusable(&error),
        error @ (VerifyError::Output(_) | VerifyError::Store(_) | VerifyError::TooManyAddresses) => {
            store_failed(&error)
        }
    })
}

/// Removes what was taken in and is not accepted; what cannot be cleared up now is at the next start.
fn discard(shared: &Shared, lease: &Lease) {
    let (store, lease) = (Arc::clone(&shared.store), lease.clone());
    tokio::task::spawn_blocking(move || drop(store.discard(&lease)));
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
    let hook = options.webhook.as_deref();
    let hook = hook.map(|url| Hook::at(url, &shared.options.webhooks)).transpose()?;
    let given = options.name.clone().filter(|name| !name.is_empty());
    let given = given.or_else(|| (!file_name.is_empty()).then_some(file_name));
    let given = given.map(|name| output::clean(&name, 200).into_owned());
    let name = given.as_deref().unwrap_or(NAMELESS);
    let taken_in = take_in(shared, (file, kind), name, &options).await?;
    let (lease, rows) = (&taken_in.lease, taken_in.rows);
    if let Err(problem) = afford(shared, caller, rows) {
        discard(shared, lease);
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
        webhook: hook.map(|hook| hook.of(&lease.id, caller.tenant())),
        request,
    };
    let written = shared.store.accept(lease, (rows, taken_in.digest), accepted).await;
    if let Err(error) = written {
        discard(shared, lease);
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

/// Whether a list of so many rows is taken of this key.
fn afford(shared: &Shared, caller: &Caller, rows: u64) -> Result<(), Problem> {
    if rows > shared.limits.max_rows {
        let said = format!("A list has at most {} rows.", shared.limits.max_rows);
        return Err(Problem::new(Code::BodyTooLarge, said));
    }
    caller.spend(usize::try_from(rows).unwrap_or(usize::MAX), std::iter::empty())
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
