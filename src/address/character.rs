//! Single characters: what RFC 5321 and 6531 allow, what is unsafe although allowed, and which script it is. Knows no positions.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, Emoji, GeneralCategory, Script},
};

use super::Fault;

/// `atext` of RFC 5322 3.2.3 without the UTF-8 of RFC 6531.
pub(super) fn is_ascii_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

/// The full stops that UTS 46 takes for a dot.
pub(super) fn is_dot(c: char) -> bool {
    matches!(c, '.' | '\u{3002}' | '\u{FF0E}' | '\u{FF61}')
}

/// An `@` that is none.
pub(super) fn is_wide_at(c: char) -> bool {
    matches!(c, '\u{FF20}' | '\u{FE6B}')
}

/// ZWNJ and ZWJ: spelling in some scripts, invisible elsewhere.
pub(super) fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200C}' | '\u{200D}')
}

/// Characters that turn the reading direction (UAX 9).
pub(super) fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// The general category (UAX 44).
pub(super) fn category(c: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(c)
}

/// The script (UAX 24).
pub(super) fn script(c: char) -> Script {
    CodePointMapData::<Script>::new().get(c)
}

/// A combining mark.
pub(super) fn is_mark(c: char) -> bool {
    use GeneralCategory::{EnclosingMark, NonspacingMark, SpacingMark};
    matches!(category(c), NonspacingMark | SpacingMark | EnclosingMark)
}

/// An emoji proper: `©` and `®` carry the Unicode property for historical reasons only.
pub(super) fn is_emoji(c: char) -> bool {
    c > '\u{FF}' && CodePointSetData::new::<Emoji>().contains(c)
}

/// Why a non-ASCII character may not be part of a local-part, though the grammar of RFC 6531 takes it. Joiners pass.
pub(super) fn unsafe_fault(c: char) -> Option<Fault> {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, SpaceSeparator, Surrogate, Unassigned,
    };
    if c == '\u{FFFD}' {
        return Some(Fault::DamagedEncoding);
    }
    if is_wide_at(c) {
        return Some(Fault::FullWidthAt);
    }
    if is_bidi_control(c) {
        return Some(Fault::BidiControl);
    }
    let category = category(c);
    if matches!(category, SpaceSeparator | LineSeparator | ParagraphSeparator) {
        return Some(Fault::WhiteSpace);
    }
    if matches!(category, Control | Unassigned | PrivateUse | Surrogate) {
        return Some(Fault::UnsafeCharacter);
    }
    let invisible = category == Format || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c);
    // Variation selectors belong to emoji and to Han and Mongolian spelling.
    let spelling =
        is_joiner(c) || matches!(c, '\u{180B}'..='\u{180F}' | '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}');
    (invisible && !spelling).then_some(Fault::InvisibleCharacter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_characters_have_the_fault_that_fits() {
        for (c, fault) in [
            ('é', None),
            ('☕', None),
            ('\u{FE0F}', None),
            ('\u{200D}', None),
            ('\u{FFFD}', Some(Fault::DamagedEncoding)),
            ('＠', Some(Fault::FullWidthAt)),
            ('\u{202E}', Some(Fault::BidiControl)),
            ('\u{200E}', Some(Fault::BidiControl)),
            ('\u{A0}', Some(Fault::WhiteSpace)),
            ('\u{3000}', Some(Fault::WhiteSpace)),
            ('\u{85}', Some(Fault::UnsafeCharacter)),
            ('\u{E000}', Some(Fault::UnsafeCharacter)),
            ('\u{FFFF}', Some(Fault::UnsafeCharacter)),
            ('\u{378}', Some(Fault::UnsafeCharacter)),
            ('\u{200B}', Some(Fault::InvisibleCharacter)),
            ('\u{AD}', Some(Fault::InvisibleCharacter)),
            ('\u{3164}', Some(Fault::InvisibleCharacter)),
            ('\u{E0061}', Some(Fault::InvisibleCharacter)),
        ] {
            assert_eq!(unsafe_fault(c), fault, "U+{:04X}", u32::from(c));
        }
    }
}
