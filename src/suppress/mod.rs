//! Who gets no more mail, and why: the bounce policy, what it decides, and the list that every sending consults first.
//!
//! Deciding is pure: events and a time in, decisions out. Must not ask anybody; what is kept is `store`'s.

pub mod decide;
mod policy;

pub use crate::verdict::SuppressionReason;
pub use policy::{BouncePolicy, Elsewhere, PolicyError, PolicyTable, Reach, Treatment, is_unsure};
