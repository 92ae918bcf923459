//! A run from start to finish: addresses in, outcomes out, one probe for equal addresses, every row answered in order.

mod engine;
mod outcome;
mod progress;
mod settings;
mod stop;

pub use engine::{Engine, Sink, StartError, VerifyError};
pub use outcome::{Outcome, Source};
pub use progress::{Progress, Snapshot, Summary};
pub use settings::{Level, Settings};
pub use stop::Stop;
