//! A run from start to finish: addresses in, outcomes out, one probe for equal addresses, every row answered in order.

mod outcome;

pub use outcome::{Outcome, Source};
