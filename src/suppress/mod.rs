//! Who gets no more mail, and why: the bounce policy, what it decides, and the list that every sending consults first.
//!
//! Deciding is pure: events and a time in, decisions out. Must not ask anybody; what is kept is `store`'s.

pub mod decide;
pub mod evaluate;
mod lookup;
mod policy;
mod shape;
pub mod wave;

pub use evaluate::{Evaluated, evaluate};
pub use lookup::{Feedback, Lookup, Mailing, day, suppressed};

pub use crate::verdict::SuppressionReason;
pub use policy::{BouncePolicy, Elsewhere, Outage, PolicyError, PolicyTable, Reach, Treatment, is_unsure};
pub use shape::SuppressionRecord;
