//! Who is asked, when and how often: mail-host groups, their budgets and breakers, sessions that serve many recipients,
//! control recipients and the retry ladder.
//!
//! Owns politeness (ETIQUETTE) and the order of questions. Must not judge: it hands evidence to its caller.

mod answers;
mod backlog;
mod ban;
mod budget;
mod domain;
mod egress;
mod gathering;
mod group;
mod guard;
mod ladder;
mod limits;
mod memory;
mod open;
mod outlook;
mod own;
mod pace;
mod placement;
mod places;
mod plan;
mod probe;
mod scheduler;
mod shapes;
mod signals;
mod view;
mod work;

pub use backlog::Findings;
pub use domain::Target;
pub use guard::GuardLimits;
pub use ladder::{Ladder, RetryProfile, UnknownProfile};
pub use limits::{Limits, TrustedHosts};
pub use outlook::{Critical, WaitsFor};
pub use placement::{Placement, place};
pub use scheduler::{Asker, Errand, Finding, Manners, Scheduler, Seams, Standing};
pub use view::{Stock, WaitingView};
pub use work::{Targets, Work};
