//! The precedence of DESIGN section 3; first match wins.

use super::{Action, Bounce, BounceKind, Evidence, Label, Reason, Verdict};

/// What the operator may decide about verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Catch-all addresses are sendable.
    pub send_catch_all: bool,
}

/// Judges evidence.
#[must_use]
pub fn judge(evidence: &Evidence, policy: &Policy) -> Verdict {
    let _ = (evidence, policy);
    Verdict {
        label: Label::Unknown,
        reason: Reason::Internal,
        action: Action::Hold,
        bounce: Bounce {
            kind: BounceKind::None,
            class: None,
        },
    }
}
