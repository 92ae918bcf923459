//! Every way an address can be wrong: a stable name, a position and a sentence for a person.

/// A syntax fault with where it is and what may have been meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// What is wrong.
    pub fault: Fault,
    /// Offset of the fault in the text as typed, in characters from 0.
    pub position: usize,
    /// What was probably meant, when that is plain.
    pub suggestion: Option<Box<str>>,
}

/// Kinds of syntax fault; each has a stable name that is also a verdict reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// There is no `@`.
    NoAtSign,
}

impl Fault {
    /// Every fault, for documentation and tests.
    pub const ALL: &[Self] = &[Self::NoAtSign];

    /// The stable name, `syntax_*` (or `special_use` for reserved names, which are well-formed).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoAtSign => "syntax_no_at_sign",
        }
    }

    /// One sentence for a person.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NoAtSign => "There is no `@` in the address.",
        }
    }
}
