//! What past mailings told: one [`Event`] for each recipient of each message, whoever reported it.
//!
//! Must not ask anybody; a forged report is data like any other.

mod event;
pub mod insight;
pub mod log;
pub mod report;
pub mod service;
pub mod source;
pub mod table;
mod when;

pub use event::{Event, EventKind, Origin};

/// Seconds that a zone is ahead of UTC: `+01:00`, `-0530`.
#[must_use]
pub fn utc_offset(text: &str) -> Option<i64> {
    report::offset_seconds(text)
}
