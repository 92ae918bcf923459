//! Evidence to verdict: labels, reasons, actions and the bounce forecast. Pure: same evidence, same verdict.
//!
//! Owns DESIGN's precedence. Must not ask a clock, the network or a configuration beyond [`Policy`].
//!
//! Only [`judge`] makes a [`Verdict`], and only a ground (a suppression, a list entry, a syntax fault, the DNS, a
//! hard bounce that was reported, or a [`DeadRecipient`](crate::replies::DeadRecipient)) makes one `invalid`. Nobody else can make or change one:
//!
//! ```compile_fail
//! use presend::verdict::{Evidence, Label, NotTried, Policy, judge};
//! let mut verdict = judge(&Evidence::not_tried(NotTried::Level), &Policy::default());
//! verdict.label = Label::Invalid;
//! ```
//!
//! ```compile_fail
//! use presend::verdict::{Evidence, Judgement, Label, NotTried, Policy, Verdict, judge};
//! let judgement = *judge(&Evidence::not_tried(NotTried::Level), &Policy::default());
//! let forged = Verdict(Judgement { label: Label::Invalid, ..judgement });
//! ```
//!
//! ```
//! use presend::verdict::{Evidence, Label, NotTried, Policy, judge};
//! let verdict = judge(&Evidence::not_tried(NotTried::Level), &Policy::default());
//! assert_eq!(verdict.label, Label::Unknown);
//! ```

mod alone;
mod evidence;
mod forecast;
mod judge;
mod naming;
mod reason;
mod told;

pub use alone::{Alone, read_alone};
pub use evidence::{
    Answer, Evidence, HostFacts, ListDecision, NotTried, Observed, ProbeFailure, SecondAnswer, SessionDoubt,
    UnknownRecipients,
};
pub use forecast::{Bounce, BounceKind, BounceTable};
pub use judge::{Judgement, Policy, Verdict, judge};
pub use naming::{reason_of_attempt, reason_of_route};
pub use reason::Reason;
pub use told::{SuppressionReason, Testimony, Told};

use serde::{Deserialize, Serialize};

/// What will happen to mail for the address, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Label {
    /// The host accepted this recipient and has shown that it refuses unknown ones.
    Valid,
    /// A syntax fault, no such domain, null MX, no mail host, or a mailbox-class refusal at RCPT.
    Invalid,
    /// The host accepts every local-part at this domain.
    CatchAll,
    /// Everything else, always with a reason.
    Unknown,
}

impl Label {
    /// Every label, in the order reports show them.
    pub const ALL: [Self; 4] = [Self::Valid, Self::CatchAll, Self::Unknown, Self::Invalid];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::CatchAll => "catch-all",
            Self::Unknown => "unknown",
        }
    }
}

/// What to do with the address in a mailing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Mail it.
    Send,
    /// Keep it back; ask again later or decide by hand.
    Hold,
    /// Remove it.
    Drop,
}

impl Action {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Hold => "hold",
            Self::Drop => "drop",
        }
    }
}
