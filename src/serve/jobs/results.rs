//! `GET /v1/jobs/{id}/results`: a page of rows, or all of them as they come out of the store.

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, Uri, header},
    response::Response,
};
use tokio::{runtime::Handle, sync::mpsc};

use super::{
    super::{
        Named, Shared,
        gate::Caller,
        problem::{Code, Problem, ProblemBody},
    },
    find, is_final,
    options::ResultsPage,
    runner,
    schema::ResultsPageSchema,
    store_failed,
};
use crate::{
    input::Layout,
    job::{Engine, VerifyError, View},
    output::{Chunk, Detail, Format, Only, Options, Output, Renderer, Target, Terminal},
    store::ApiJob,
};

/// Rows that a page looks at before it gives up finding wanted ones.
const LOOKED_AT: usize = 10_000;
/// Rows that are read together.
const TOGETHER: usize = 500;
/// Bytes of a download on their way at once, and how many such pieces wait for their reader.
const PIECE: usize = 64 << 10;
const PIECES: usize = 4;

/// What a job's rows are shown with.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) engine: Arc<Engine>,
    pub(super) renderer: Arc<Renderer>,
}

impl Shown {
    pub(super) fn of(shared: &Shared, job: &ApiJob) -> Self {
        let options = options(Format::Ndjson, Vec::new());
        Self {
            engine: runner::engine(shared, job),
            renderer: Arc::new(Renderer::new(&layout(job), &options, false)),
        }
    }

    /// Rows as lines of NDJSON, with their numbers; on a thread that may wait.
    pub(super) async fn rows(
        &self,
        shared: &Shared,
        view: &Arc<View>,
        (from, most): (usize, usize),
        page: &Arc<ResultsPage>,
    ) -> Result<Vec<(usize, Vec<u8>)>, VerifyError> {
        // Each reads some hundred rows; more at one time would only be more memory.
        let _turn = shared.reads.acquire().await;
        let (shown, view, page) = (self.clone(), Arc::clone(view), Arc::clone(page));
        let read = move || -> Result<Vec<(usize, Vec<u8>)>, VerifyError> {
            let rows = shown.engine.rows(&view, from, most)?;
            let mut lines = Vec::with_capacity(rows.len());
            for (number, (row, outcome)) in (from..).zip(rows) {
                if !page.wants(outcome.verdict.label, outcome.verdict.action) {
                    continue;
                }
                let mut chunk = Chunk::default();
                shown.renderer.row(&row, &outcome, &mut chunk);
                lines.push((number, chunk.bytes().to_vec()));
            }
            Ok(lines)
        };
        let ended = |_| Arc::new(crate::store::StoreError::Ended);
        tokio::task::spawn_blocking(read).await.map_err(ended)?
    }
}

pub(super) fn layout(job: &ApiJob) -> Layout {
    serde_json::from_str(&job.record.layout).unwrap_or_default()
}

fn options(format: Format, only: Vec<Only>) -> Options {
    Options {
        format,
        only,
        raw: false,
        detail: Detail::default(),
        terminal: Terminal::default(),
    }
}

/// The form that a caller wants most, of those there are; JSON when he does not say.
fn accepted(headers: &HeaderMap) -> Option<Format> {
    let accept = headers.get(header::ACCEPT)?.to_str().ok()?;
    let mut best: Option<(u32, Option<Format>)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let format = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "application/json" | "application/*" | "*/*" => None,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Format::Ndjson),
            "text/csv" | "text/*" => Some(Format::Csv),
            XLSX => Some(Format::Xlsx),
            _ => continue,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 1000"
        )]
        let quality = (quality.unwrap_or(1.0).clamp(0.0, 1.0) * 1000.0) as u32;
        if quality > best.map_or(0, |(best, _)| best) {
            best = Some((quality, format));
        }
    }
    best.and_then(|(_, format)| format)
}

pub(super) const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// The results of a job.
///
/// As JSON in pages: rows in the order of the list up to the first that is open, so that whoever goes on with `next` sees each row
/// once. `next` is null when there will be no more. With a filter a page may be short, or empty, and still have a `next`.
///
/// With `Accept: application/x-ndjson`, `text/csv` or that of XLSX all rows in one response, read from the store as fast as they are taken.
/// While the job is not done, rows that are open are there as `unknown/interrupted`. `cursor` then says from which row on, counted from 0.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/results", tag = "jobs", operation_id = "job_results",
    params(
        ("id" = String, Path, description = "The job's id.", example = "k7mqab2x"),
        ("label" = Option<String>, Query, description = "Only rows with this label: `valid`, `invalid`, `catch-all`, `unknown`.",
            pattern = "^(valid|invalid|catch-all|unknown)$"),
        ("action" = Option<String>, Query, description = "Only rows with this action: `send`, `hold`, `drop`.", pattern = "^(send|hold|drop)$"),
        ("cursor" = Option<u32>, Query, description = "The `next` of an earlier page.", minimum = 0, maximum = 4_294_967_295_u64),
        ("limit" = Option<u32>, Query, description = "Results of a page.", minimum = 1, maximum = 1000),
    ),
    responses(
        (status = 200, description = "A page, or all of them.", content(
            (ResultsPageSchema = "application/json"),
            (String = "application/x-ndjson"),
            (String = "text/csv"),
            (Vec<u8> = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"))),
        (status = 400, description = "A problem: `invalid_query`.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such job, or it is not yours.", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn results(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    Named(id): Named,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let page = ResultsPage::of(&uri)?;
    let job = find(&shared, &caller, &id)?;
    match accepted(&headers) {
        None => results_page(&shared, &job, page).await,
        Some(format) => download(&shared, &caller, (job, format), &page).await,
    }
}

async fn results_page(shared: &Shared, job: &ApiJob, page: ResultsPage) -> Result<Response, Problem> {
    let is_final = is_final(job);
    let rows = usize::try_from(job.record.rows).unwrap_or(usize::MAX);
    let view = runner::view(shared, job).await.map_err(|error| store_failed(&error))?;
    let page = Arc::new(page);
    let mut body = b"{\"results\":[".to_vec();
    let (mut at, mut found) = (page.from, 0);
    if let Some(view) = &view {
        let shown = Shown::of(shared, job);
        let known = if is_final {
            view.len()
        } else {
            view.first_open(page.from)
        };
        let end = known.min(page.from.saturating_add(LOOKED_AT));
        while at < end && found < page.limit {
            let most = TOGETHER
                .min(end - at)
                .min(if page.label.is_none() && page.action.is_none() {
                    page.limit - found
                } else {
                    TOGETHER
                });
            let read = shown.rows(shared, view, (at, most), &page).await;
            let lines = read.map_err(|error| store_failed(&error))?;
            at += most;
            for (number, line) in lines {
                if found == page.limit {
                    at = number;
                    break;
                }
                if found > 0 {
                    body.push(b',');
                }
                found += 1;
                body.extend_from_slice(line.trim_ascii_end());
            }
        }
    }
    let next = if is_final && at >= rows {
        "null".to_owned()
    } else {
        format!("\"{at}\"")
    };
    body.extend_from_slice(format!("],\"next\":{next},\"complete\":{is_final}}}").as_bytes());
    let mut response = Response::new(Body::from(body));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

async fn download(
    shared: &Shared,
    caller: &Caller,
    (job, format): (ApiJob, Format),
    page: &ResultsPage,
) -> Result<Response, Problem> {
    if page.has_limit {
        let said = "`limit` is for pages of JSON; a download begins at `cursor` and goes to the end.";
        return Err(Problem::new(Code::InvalidQuery, said));
    }
    let busy = || Problem::from(Code::Overloaded).after(Duration::from_secs(5));
    let place = Arc::clone(&shared.transfers).try_acquire_owned().map_err(|_| busy())?;
    let stream = caller.stream(shared.limits.max_streams)?;
    let view = runner::view(shared, &job).await.map_err(|error| store_failed(&error))?;
    let view =
        view.ok_or_else(|| Problem::new(Code::NotReady, "The list is being read.").after(Duration::from_secs(1)))?;
    let engine = runner::engine(shared, &job);
    let only = match (page.label, page.action) {
        (Some(label), Some(action)) => vec![Only::Both(label, action)],
        (Some(label), None) => vec![Only::Label(label)],
        (None, Some(action)) => vec![Only::Action(action)],
        (None, None) => Vec::new(),
    };
    let (pieces, taken) = mpsc::channel(PIECES);
    let writer = Pieces {
        to: pieces.clone(),
        handle: Handle::current(),
        patience: shared.limits.timeout_body,
    };
    let (from, id) = (page.from, job.record.id.clone());
    tokio::task::spawn_blocking(move || {
        let _held = (place, stream);
        let mut output = Output::single(&layout(&job), &options(format, only), Target::new(writer, false));
        let written = engine.write_out((&view, &job.record), from, &mut output);
        let ended = match written {
            Ok(_) => output.finish().map(drop).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a download was cut off");
            // Its reader must not take what he has for all.
            let _ = pieces.blocking_send(Err(io::Error::other("cut off")));
        }
    });
    let pieces = futures_util::stream::unfold(taken, |mut taken| async move { Some((taken.recv().await?, taken)) });
    let mut response = Response::new(Body::from_stream(pieces));
    let (kind, extension) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
        Format::Xlsx => (XLSX, "xlsx"),
        Format::Ndjson | Format::Json | Format::Table => ("application/x-ndjson", "ndjson"),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let name = format!("attachment; filename=\"presend-{id}.{extension}\"");
    headers.extend(
        HeaderValue::from_str(&name)
            .ok()
            .map(|name| (header::CONTENT_DISPOSITION, name)),
    );
    Ok(response)
}

/// Bytes on their way to a reader who may be slow; one who takes nothing for too long is let go of.
struct Pieces {
    to: mpsc::Sender<io::Result<Bytes>>,
    handle: Handle,
    patience: Duration,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        let sending = self.to.send(Ok(Bytes::copy_from_slice(piece)));
        match self
            .handle
            .block_on(async { tokio::time::timeout(self.patience, sending).await })
        {
            Ok(Ok(())) => Ok(piece.len()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_what_the_caller_likes_best() {
        for (accept, expected) in [
            ("", None),
            ("*/*", None),
            ("application/json", None),
            ("application/x-ndjson", Some(Format::Ndjson)),
            ("text/csv, */*;q=0.1", Some(Format::Csv)),
            ("text/csv;q=0.5, application/json", None),
            ("text/csv;q=0", None),
            ("image/png, text/csv;q=0.2", Some(Format::Csv)),
            ("APPLICATION/X-NDJSON", Some(Format::Ndjson)),
            ("text/csv;q=nan, text/csv;q=7", Some(Format::Csv)),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(accept).unwrap())]);
            assert_eq!(accepted(&headers), expected, "{accept}");
        }
    }
}
