//! What a mailing would get back.

use serde::{Deserialize, Serialize};

use crate::replies::Class;

/// Hard, soft, pending, or no bounce expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BounceKind {
    /// The address is dead: mail to it bounces permanently and costs reputation.
    Hard,
    /// Mail would bounce for a reason that is not the address's death.
    Soft,
    /// Mail would be queued and retried.
    Pending,
    /// No bounce is expected, or nothing is known.
    None,
}

impl BounceKind {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
            Self::Pending => "pending",
            Self::None => "none",
        }
    }
}

/// The forecast: kind and class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bounce {
    /// How bad.
    pub kind: BounceKind,
    /// Which class of bounce; `None` when no bounce is expected.
    pub class: Option<Class>,
}
