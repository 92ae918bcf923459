//! A run from start to finish: addresses in, outcomes out, one probe for equal addresses, every row answered in order.

mod engine;
mod import;
mod outcome;
mod progress;
mod resolve;
mod settings;
mod syntax;

pub use crate::stop::Stop;
pub use engine::{Engine, EngineSeams, Sink, StartError, VerifyError};
pub use outcome::{Outcome, Source};
pub use progress::{Progress, Snapshot, Summary};
pub use settings::{Level, Memory, Settings};
