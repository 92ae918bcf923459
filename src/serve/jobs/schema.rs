//! What jobs look like, for the description.

use std::collections::BTreeMap;

use utoipa::ToSchema;

/// A list that is asked about.
#[derive(ToSchema)]
#[schema(example = json!({
    "id": "k7mqab2x", "name": "spring newsletter", "origin": "api", "state": "running", "rows": 25_000, "done": 18_200, "unique": 24_310,
    "answered": 17_950, "by_label": {"valid": 15_870, "catch-all": 1_100, "unknown": 250, "invalid": 730},
    "by_reason": {"mailbox_exists": 15_870, "accepts_all": 1_100, "greylisted": 250, "mailbox_unknown": 730},
    "by_action": {"send": 15_870, "hold": 1_350, "drop": 730}, "forecast": {"bounce_rate": 0.04, "bounce_rate_if_sent": 0.0},
    "level": "smtp", "max_age": null, "waiting_hosts": 3, "eta": "2026-11-22T12:40:00Z", "last_group": "google, waits for its budget",
    "retry_at": null, "created_at": "2026-11-22T11:58:12.114Z", "updated_at": "2026-11-22T12:07:55.201Z"
}))]
#[expect(dead_code, reason = "only described")]
pub(super) struct Job {
    #[schema(example = "k7mqab2x")]
    id: String,
    /// As its owner calls it.
    #[schema(required)]
    name: Option<String>,
    /// `api`, or `command_line`.
    #[schema(pattern = "^(api|command_line)$")]
    origin: String,
    /// `queued`, `running`, `paused`, `failed` (it could not go on; `resume` tries again), `done`, `cancelled`.
    #[schema(pattern = "^(queued|running|paused|failed|done|cancelled)$")]
    state: String,
    #[schema(minimum = 0)]
    rows: u64,
    /// Rows that are answered, wherever they stand in the list.
    #[schema(minimum = 0)]
    done: u64,
    /// Different addresses.
    #[schema(required, minimum = 0)]
    unique: Option<u64>,
    /// Rows that are answered, counted from the first one on to the first that is open; the counts below are of these.
    #[schema(required, minimum = 0)]
    answered: Option<u64>,
    by_label: BTreeMap<String, u64>,
    /// One of `/v1/reasons` each.
    by_reason: BTreeMap<String, u64>,
    by_action: BTreeMap<String, u64>,
    forecast: Forecast,
    /// How far to ask, when it was said.
    #[schema(required)]
    level: Option<String>,
    /// Oldest answer that is used, in seconds, when it was said.
    #[schema(required, minimum = 0)]
    max_age: Option<u64>,
    /// Groups of mail hosts that may not be asked at the moment.
    #[schema(minimum = 0)]
    waiting_hosts: u64,
    /// When it will probably be ready.
    #[schema(required, format = DateTime)]
    eta: Option<String>,
    /// The mail hosts that will be done last, and what they wait for.
    #[schema(required)]
    last_group: Option<String>,
    /// Nobody that is left may be asked before.
    #[schema(required, format = DateTime)]
    retry_at: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// Known hard bounces, as a share of the rows.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
struct Forecast {
    /// If every answered row were mailed.
    #[schema(required, minimum = 0, maximum = 1)]
    bounce_rate: Option<f64>,
    /// If only those with the action `send` were.
    #[schema(required, minimum = 0, maximum = 1)]
    bounce_rate_if_sent: Option<f64>,
}

/// Some jobs.
#[derive(ToSchema)]
#[schema(as = Jobs)]
#[expect(dead_code, reason = "only described")]
pub(super) struct JobsPageSchema {
    jobs: Vec<Job>,
    /// The `cursor` of the next page; null after the last.
    #[schema(required)]
    next: Option<String>,
}

/// What is said of a job.
#[derive(ToSchema)]
#[schema(as = Event)]
#[expect(dead_code, reason = "only described")]
pub(super) struct Said {
    /// Of a result: the number of rows up to it.
    #[schema(nullable = false, pattern = "^[0-9]+$")]
    id: Option<String>,
    /// `result`, `progress`, or `end`.
    #[schema(pattern = "^(result|progress|end)$")]
    event: String,
    /// JSON: a row of a page of results, else the job.
    data: String,
}

/// Some results.
#[derive(ToSchema)]
#[schema(as = Results, example = json!({
    "results": [{"row": {"email": "jane.doe@example.com", "name": "Jane"}, "presend": {"schema": "presend/1", "label": "valid"}}],
    "next": "100", "complete": false
}))]
#[expect(dead_code, reason = "only described")]
pub(super) struct ResultsPageSchema {
    results: Vec<RowResult>,
    /// The `cursor` of the next page; null when there will be no more.
    #[schema(required)]
    next: Option<String>,
    /// The job has ended.
    complete: bool,
}

/// A row and its result: the members of an NDJSON row as they were sent, or its cells in `row`, and the result in `presend`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
struct RowResult {
    #[schema(nullable = false)]
    row: Option<BTreeMap<String, String>>,
    presend: super::super::document::Result,
}
