//! Every way an address can be wrong: a stable name, a position and a sentence for a person.

use std::fmt;

/// A syntax fault with where it is and what may have been meant.
#[derive(Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// What is wrong.
    pub fault: Fault,
    /// Offset of the fault in the text as typed, in characters from 0.
    pub position: usize,
    /// What was probably meant, when that is plain: an address (or domain) that parses.
    pub suggestion: Option<Box<str>>,
}

impl fmt::Debug for SyntaxError {
    /// Hides the suggestion, which holds a local-part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyntaxError")
            .field("fault", &self.fault)
            .field("position", &self.position)
            .field("suggestion", &self.suggestion.as_ref().map(|_| "***"))
            .finish()
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (character {})", self.fault.sentence(), self.position + 1)
    }
}

impl std::error::Error for SyntaxError {}

/// Makes the enum, its list and its texts from one table, so that no fault can lack a name or a sentence.
macro_rules! faults {
    ($($variant:ident $name:literal $sentence:literal)*) => {
        /// Kinds of syntax fault; each has a stable name that is also a verdict reason.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Fault {
            $(#[doc = $sentence] $variant,)*
        }

        impl Fault {
            /// Every fault, for documentation and tests.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable name, `syntax_*` (or `special_use` for reserved names, which are well-formed).
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// One sentence for a person.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self {
                    $(Self::$variant => $sentence,)*
                }
            }
        }
    };
}

faults! {
    Empty "syntax_empty"
        "There is no address."
    NoAtSign "syntax_no_at_sign"
        "There is no `@` in the address."
    SeveralAtSigns "syntax_several_at_signs"
        "There is more than one `@` in the address."
    FullWidthAt "syntax_full_width_at"
        "The `@` is a full-width or small one, which mail does not know; type a plain `@`."
    SeveralAddresses "syntax_several_addresses"
        "There are several addresses here; put each in a row of its own."
    DisplayName "syntax_display_name"
        "There is a name beside the address; keep only what is between `<` and `>`."
    AngleBracket "syntax_angle_bracket"
        "An angle bracket cannot be part of an address."
    SourceRoute "syntax_source_route"
        "The address starts with a route (`@host:`); mail hosts refuse source routes."
    PercentHack "syntax_percent_hack"
        "The part before the `@` asks for relaying (`user%host`); mail hosts refuse that."
    BangPath "syntax_bang_path"
        "The part before the `@` is a UUCP path (`host!user`); mail hosts refuse that."
    Comment "syntax_comment"
        "There is a comment in parentheses in the address."
    UnbalancedComment "syntax_unbalanced_comment"
        "A parenthesis has no partner."
    FoldingWhiteSpace "syntax_folding_white_space"
        "There is white space beside the `@` or a dot, or a folded line: a form only old message headers allow."
    WhiteSpace "syntax_white_space"
        "There is white space inside the address."
    LineBreak "syntax_line_break"
        "There is a line break inside the address."
    Nul "syntax_nul"
        "There is a NUL character in the address."
    ControlCharacter "syntax_control_character"
        "There is a control character in the address."
    DamagedEncoding "syntax_damaged_encoding"
        "A character was lost when the text was decoded; read the file with its right encoding."
    BidiControl "syntax_bidi_control"
        "There is an invisible character that turns the reading direction."
    InvisibleCharacter "syntax_invisible_character"
        "There is an invisible character in the address."
    UnsafeCharacter "syntax_unsafe_character"
        "There is a character that has no agreed meaning (unassigned, private use or C1 control)."
    LeadingCombiningMark "syntax_leading_combining_mark"
        "The text starts with a combining mark, which needs a letter before it."
    EmptyLocal "syntax_empty_local"
        "There is nothing before the `@`."
    LocalTooLong "syntax_local_too_long"
        "The part before the `@` is longer than 64 characters."
    LocalLeadingDot "syntax_local_leading_dot"
        "The part before the `@` starts with a dot."
    LocalTrailingDot "syntax_local_trailing_dot"
        "The part before the `@` ends with a dot."
    LocalDoubleDot "syntax_local_double_dot"
        "There are two dots in a row before the `@`."
    LocalCharacter "syntax_local_character"
        "A character before the `@` is not allowed there."
    UnbalancedQuote "syntax_unbalanced_quote"
        "A quotation mark has no partner."
    MixedQuoting "syntax_mixed_quoting"
        "Only part of the text before the `@` is quoted; quote all of it or nothing."
    EmptyDomain "syntax_empty_domain"
        "There is nothing after the `@`."
    TooLong "syntax_too_long"
        "The address is longer than 254 octets."
    DomainTooLong "syntax_domain_too_long"
        "The domain is longer than 253 characters in its ASCII form."
    LabelTooLong "syntax_label_too_long"
        "A part of the domain between dots is longer than 63 characters in its ASCII form."
    DomainLeadingDot "syntax_domain_leading_dot"
        "The domain starts with a dot."
    DomainTrailingDot "syntax_domain_trailing_dot"
        "The domain ends with a dot."
    DomainDoubleDot "syntax_domain_double_dot"
        "There are two dots in a row in the domain."
    DomainHyphen "syntax_domain_hyphen"
        "A part of the domain starts or ends with a hyphen."
    DomainUnderscore "syntax_domain_underscore"
        "There is an underscore in the domain; host names for mail have none."
    DomainCharacter "syntax_domain_character"
        "A character in the domain is not allowed there."
    DomainSymbol "syntax_domain_symbol"
        "There is a symbol in the domain that no registry sells (IDNA 2008)."
    IdnaHyphens "syntax_idna_hyphens"
        "An international part of the domain has hyphens in third and fourth place (RFC 5891 4.2.3.1)."
    IdnaPunycode "syntax_idna_punycode"
        "A part of the domain starts with `xn--` but is not the ASCII form of any international name."
    IdnaContext "syntax_idna_context"
        "A character in the domain is allowed only between other letters (RFC 5892 appendix A)."
    IdnaBidi "syntax_idna_bidi"
        "The domain mixes right-to-left and left-to-right text in a way that RFC 5893 forbids."
    IdnaDisallowed "syntax_idna_disallowed"
        "The domain is not a valid international name (UTS 46)."
    AddressLiteral "syntax_address_literal"
        "The domain is an IP address in brackets; a list needs a domain name."
    BadAddressLiteral "syntax_bad_address_literal"
        "The text in brackets is no IP address, and a list needs a domain name."
    DotlessDomain "syntax_dotless_domain"
        "The domain has no dot; mail on the public internet needs a full domain name."
    NumericTld "syntax_numeric_tld"
        "The domain ends in a number; no top-level domain is a number."
    UnknownTld "syntax_unknown_tld"
        "The domain ends in a name that is no top-level domain."
    SpecialUse "special_use"
        "The domain is reserved (RFC 6761) and never reaches the public internet."
}

/// A fault while parsing one piece of text.
#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) fault: Fault,
    /// Byte offset in the piece that was parsed.
    pub(super) offset: usize,
    /// The piece as it was probably meant; offered only if it parses.
    pub(super) mend: Option<String>,
}

impl Flaw {
    pub(super) fn new(fault: Fault, offset: usize) -> Self {
        Self {
            fault,
            offset,
            mend: None,
        }
    }

    pub(super) fn mend(mut self, text: impl Into<String>) -> Self {
        self.mend = Some(text.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_stable_words_of_their_own() {
        let mut names = HashSet::new();
        for fault in Fault::ALL {
            let name = fault.name();
            assert!(names.insert(name), "{name} is used twice");
            assert!(name.starts_with("syntax_") || *fault == Fault::SpecialUse, "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert!(fault.sentence().ends_with('.'), "{name}");
        }
    }

    #[test]
    fn debug_hides_the_suggested_local_part() {
        let error = SyntaxError {
            fault: Fault::Comment,
            position: 4,
            suggestion: Some("jane@iana.org".into()),
        };
        assert!(!format!("{error:?}").contains("jane"));
        assert_eq!(
            error.to_string(),
            "There is a comment in parentheses in the address. (character 5)"
        );
    }
}
