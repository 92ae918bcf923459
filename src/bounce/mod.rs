//! What past mailings told: one [`Event`] for each recipient of each message, whoever reported it.
//!
//! Must not ask anybody; a forged report is data like any other.

mod event;

pub use event::{Event, EventKind, Origin};
