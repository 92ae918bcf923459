//! What a server allows its callers.

use std::time::Duration;

/// How much a server takes, of whom, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body.
    pub max_body: usize,
    /// Bytes of a request's line and headers together.
    pub max_header: usize,
    /// Addresses in one batch.
    pub max_batch: usize,
    /// Connections at one time.
    pub max_connections: usize,
    /// Requests at one time, of all callers.
    pub max_requests: usize,
    /// Requests at one time of one key.
    pub max_requests_per_key: usize,
    /// Verifications of one key that are not answered yet.
    pub max_pending: usize,
    /// Verifications that are kept for those who come back for the answer.
    pub max_kept: usize,
    /// How long they are kept.
    pub keep: Duration,
    /// How long a request waits for its answer when the caller does not say.
    pub wait: Duration,
    /// How long it waits at most.
    pub max_wait: Duration,
    /// How long the headers may take to arrive, and a connection may stay idle.
    pub timeout_header: Duration,
    /// How long a body may take to arrive.
    pub timeout_body: Duration,
    /// How long requests under way get when the server stops.
    pub drain: Duration,
    /// Bytes of a list.
    pub max_upload: u64,
    /// Rows of a list.
    pub max_rows: u64,
    /// How long a list may take to arrive, however long it is.
    pub timeout_upload: Duration,
    /// Lists that are sent or fetched at one time, of all callers.
    pub max_transfers: usize,
    /// Lists that are asked about at one time.
    pub max_running: usize,
    /// Jobs of one tenant that are not done yet.
    pub max_jobs: usize,
    /// Event streams and downloads of one key at one time.
    pub max_streams: usize,
    /// How often an event stream says something when there is nothing to say.
    pub heartbeat: Duration,
    /// Addresses of one domain that one key may ask about in a day.
    pub domain_quota: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body: 64 * 1024,
            max_header: 16 * 1024,
            max_batch: 100,
            max_connections: 1024,
            max_requests: 512,
            max_requests_per_key: 128,
            max_pending: 1000,
            max_kept: 10_000,
            keep: Duration::from_hours(24),
            wait: Duration::from_secs(10),
            max_wait: Duration::from_mins(1),
            timeout_header: Duration::from_secs(10),
            timeout_body: Duration::from_secs(20),
            drain: Duration::from_secs(10),
            max_upload: 1 << 30,
            max_rows: 10_000_000,
            timeout_upload: Duration::from_hours(1),
            max_transfers: 16,
            max_running: 4,
            max_jobs: 100,
            max_streams: 100,
            heartbeat: Duration::from_secs(15),
            domain_quota: 1000,
        }
    }
}
