//! A run from start to finish: addresses in, outcomes out, one probe for equal addresses, every row answered in order.

mod addresses;
mod aged;
mod answers;
mod conveyor;
mod counts;
mod engine;
mod few;
mod forecast;
mod intake;
mod list;
mod open;
mod outcome;
mod ownership;
mod progress;
mod resolve;
mod rows;
mod run;
mod settings;
mod syntax;
mod view;
mod writing;

pub use crate::stop::Stop;
pub use crate::store::Source;
pub use aged::{Aged, aged};
pub(crate) use conveyor::Conveyor;
pub use counts::Counts;
pub(crate) use engine::suggest;
pub use engine::{Engine, EngineSeams, Sink, StartError, VerifyError};
pub use forecast::{Plan, PlannedGroup};
pub use intake::TakenIn;
pub use outcome::Outcome;
pub use ownership::{NotOwned, Ownership};
pub use progress::{Progress, Snapshot, Summary, Waiting};
pub use rows::is_list_of;
pub use settings::{Level, Settings};
pub use view::View;
