//! `presend lint`: lists held against rules, for continuous integration.
//!
//! Owns rules, thresholds, baselines, repairs and reports. What is to be asked of the world is asked by `job`; how rows are read
//! is the business of `input`.

mod answers;
pub mod api;
mod ask;
mod baseline;
mod changed;
mod check;
mod duplicate;
mod equivalent;
mod examine;
mod files;
mod finding;
mod fix;
pub mod format;
mod ordinary;
mod packed;
mod policy;
mod rule;
mod split;
mod threshold;

pub use answers::{Answer, Answers};
pub use ask::{About, Each, Questions, is_decided};
pub use baseline::{Baseline, BaselineError, Fingerprint, Fingerprints, Key, is_day};
pub use changed::{Changed, GitError};
pub use check::{Check, CheckError, Desk, Ended, Lists, Rows, Task};
pub use files::{Found, find};
pub use finding::{Finding, Masking, Place, Showing, Shown};
pub use fix::{FixError, Repaired, Repairs, fix};
pub use policy::{Choice, Override, Policy, PolicyError, Weight};
pub use rule::{Counts, Rule, RuleSet, Severity, pages};
pub use split::Split;
pub use threshold::{Breach, Gates, NoThreshold, Tally, Threshold};
