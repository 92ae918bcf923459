//! The one place that reads the wall clock, so that tests and simulations can move it.

use std::time::SystemTime;

/// Source of wall-clock time. Durations and deadlines use `tokio::time`, which tests pause by themselves.
pub trait Clock: Send + Sync + 'static {
    /// The current time, UTC.
    fn now(&self) -> SystemTime;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}
