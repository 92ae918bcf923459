//! International domains: UTS 46 through `idna`, then the parts of IDNA 2008 that UTS 46 leaves open, and the reason for a refusal.
//!
//! `idna` says only "Errors"; the label and the reason are found here by asking it about smaller pieces.

use icu_properties::props::{GeneralCategory, Script};
use idna::{
    AsciiDenyList,
    uts46::{DnsLength, Hyphens, Uts46},
};

use super::{
    Fault,
    character::{category, is_bidi_control, is_emoji, is_joiner, is_mark, is_wide_at, script},
    domain::{NAME, Name, is_ace, labels},
    fault::Flaw,
};

/// Turns a name with non-ASCII or `xn--` labels into A-labels.
///
/// `domain_to_ascii` and the URL profile of `idna` would take `a..b`, 64-byte labels and `a_b`; `Hyphens::Check` would refuse `ab--c`.
pub(super) fn parse(text: &str) -> Result<Name, Flaw> {
    let Some(ascii) = to_ascii(text, DnsLength::Verify) else {
        return Err(diagnose(text));
    };
    let (unicode, _) = Uts46::new().to_unicode(ascii.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast);
    let mut symbol = false;
    for ((_, label), (start, typed)) in labels(&unicode).zip(labels(text)) {
        symbol |= check_label(label).map_err(|fault| Flaw::new(fault, start + place(typed, fault)))?;
    }
    let typed = text.to_ascii_lowercase();
    Ok(Name {
        unicode_len: unicode.len(),
        mapped: typed != *unicode && typed != ascii,
        symbol,
        ascii,
    })
}

fn to_ascii(text: &str, length: DnsLength) -> Option<String> {
    let name = Uts46::new().to_ascii(text.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, length);
    name.ok().map(std::borrow::Cow::into_owned)
}

/// What IDNA 2008 asks of a U-label beyond UTS 46. `true` when it holds an emoji.
fn check_label(label: &str) -> Result<bool, Fault> {
    if label.is_ascii() {
        return Ok(false);
    }
    if label.chars().skip(2).take(2).eq("--".chars()) {
        return Err(Fault::IdnaHyphens);
    }
    let mut emoji = false;
    let mut before = None;
    for (offset, c) in label.char_indices() {
        let rest = label.get(offset + c.len_utf8()..).unwrap_or_default();
        if !context_holds(c, before, rest, label) {
            return Err(Fault::IdnaContext);
        }
        if !is_letter_or_digit(c) {
            if !is_emoji(c) {
                return Err(Fault::DomainSymbol);
            }
            emoji = true;
        }
        before = Some(c);
    }
    Ok(emoji)
}

/// RFC 5892 2.1 with the exceptions of 2.6; joiners and CONTEXTO characters have their rules elsewhere.
fn is_letter_or_digit(c: char) -> bool {
    use GeneralCategory::{
        DecimalNumber, LowercaseLetter, ModifierLetter, NonspacingMark, OtherLetter, SpacingMark, UppercaseLetter,
    };
    c.is_ascii()
        || is_joiner(c)
        || matches!(
            c,
            '\u{B7}' | '\u{375}' | '\u{5F3}' | '\u{5F4}' | '\u{6FD}' | '\u{6FE}' | '\u{F0B}' | '\u{3007}' | '\u{30FB}'
        )
        || matches!(
            category(c),
            LowercaseLetter
                | UppercaseLetter
                | OtherLetter
                | ModifierLetter
                | NonspacingMark
                | SpacingMark
                | DecimalNumber
        )
}

/// The CONTEXTO rules of RFC 5892 appendix A.3 to A.9.
fn context_holds(c: char, before: Option<char>, rest: &str, label: &str) -> bool {
    let after = rest.chars().next();
    let has_script = |neighbour: Option<char>, wanted| neighbour.is_some_and(|n| script(n) == wanted);
    match c {
        '\u{B7}' => before == Some('l') && after == Some('l'),
        '\u{375}' => has_script(after, Script::Greek),
        '\u{5F3}' | '\u{5F4}' => has_script(before, Script::Hebrew),
        '\u{30FB}' => {
            let japanese = [Script::Hiragana, Script::Katakana, Script::Han];
            label.chars().any(|n| japanese.contains(&script(n)))
        }
        '\u{660}'..='\u{669}' => !label.contains(|n| matches!(n, '\u{6F0}'..='\u{6F9}')),
        '\u{6F0}'..='\u{6F9}' => !label.contains(|n| matches!(n, '\u{660}'..='\u{669}')),
        _ => true,
    }
}

/// Byte offset in a label as typed of what `check_label` refused in its mapped form; its start where mapping hides the place.
fn place(typed: &str, fault: Fault) -> usize {
    let guilty = |c: char| match fault {
        Fault::DomainSymbol => !is_letter_or_digit(c) && !is_emoji(c),
        _ => {
            matches!(c, '\u{B7}' | '\u{375}' | '\u{5F3}' | '\u{5F4}' | '\u{30FB}' | '\u{660}'..='\u{669}' | '\u{6F0}'..='\u{6F9}')
        }
    };
    if fault == Fault::IdnaHyphens {
        return typed.char_indices().nth(2).map_or(0, |(offset, _)| offset);
    }
    typed.find(guilty).unwrap_or(0)
}

/// Why UTS 46 refused a name.
fn diagnose(text: &str) -> Flaw {
    if let Some((at, fault)) = text.char_indices().find_map(|(at, c)| Some((at, telling_fault(c)?))) {
        return Flaw::new(fault, at);
    }
    for (start, label) in labels(text) {
        if to_ascii(label, DnsLength::Verify).is_none() {
            let (fault, at) = diagnose_label(label);
            return Flaw::new(fault, start + at);
        }
    }
    // Every label stands alone: the bidi rule looks at the whole name, and so does the limit of 253.
    match to_ascii(text, DnsLength::Ignore) {
        Some(_) => Flaw::new(Fault::DomainTooLong, text.floor_char_boundary(NAME)),
        None => Flaw::new(Fault::IdnaBidi, 0),
    }
}

/// Characters that say by themselves what went wrong.
fn telling_fault(c: char) -> Option<Fault> {
    match c {
        '\u{FFFD}' => Some(Fault::DamagedEncoding),
        _ if is_wide_at(c) => Some(Fault::FullWidthAt),
        _ if is_bidi_control(c) => Some(Fault::BidiControl),
        _ if c.is_whitespace() => Some(Fault::WhiteSpace),
        _ => None,
    }
}

fn diagnose_label(label: &str) -> (Fault, usize) {
    if to_ascii(label, DnsLength::Ignore).is_some() {
        return (Fault::LabelTooLong, 0);
    }
    if is_ace(label) {
        return (Fault::IdnaPunycode, 0);
    }
    if label.starts_with(is_mark) {
        return (Fault::LeadingCombiningMark, 0);
    }
    if let Some(at) = label.find(|c| !is_joiner(c) && !stands_beside_letters(c)) {
        return (Fault::IdnaDisallowed, at);
    }
    if let Some(at) = label.find(is_joiner) {
        return (Fault::IdnaContext, at);
    }
    let hyphen = |c: char| to_ascii(&format!("a{c}"), DnsLength::Ignore).is_some_and(|l| l.ends_with('-'));
    match label.find(hyphen) {
        Some(at) => (Fault::DomainHyphen, at),
        None => (Fault::IdnaBidi, 0),
    }
}

/// Whether UTS 46 takes a character between letters of either direction.
fn stands_beside_letters(c: char) -> bool {
    [format!("a{c}a"), format!("\u{5D0}{c}\u{5D0}")]
        .iter()
        .any(|label| to_ascii(label, DnsLength::Ignore).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_why_and_where() {
        for (typed, fault, offset) in [
            ("xn--a.com", Fault::IdnaPunycode, 0),
            ("b.xn--u-ccb.com", Fault::IdnaPunycode, 2),
            ("a.\u{308}b.com", Fault::LeadingCombiningMark, 2),
            ("a\u{200C}é.com", Fault::IdnaContext, 1),
            ("aא.com", Fault::IdnaBidi, 0),
            ("אa.com", Fault::IdnaBidi, 0),
            ("1.א.com", Fault::IdnaBidi, 0),
            ("é\u{378}.com", Fault::IdnaDisallowed, 2),
            ("é\u{E000}.com", Fault::IdnaDisallowed, 2),
            ("é\u{202E}.com", Fault::BidiControl, 2),
            ("é\u{A0}.com", Fault::WhiteSpace, 2),
            ("é＠b.com", Fault::FullWidthAt, 2),
            ("普遍---测试.com", Fault::IdnaHyphens, 6),
            ("ab.cö€.com", Fault::DomainSymbol, 6),
            ("é\u{B7}a.com", Fault::IdnaContext, 2),
            ("é・a.com", Fault::IdnaContext, 2),
            ("é⑷.com", Fault::IdnaDisallowed, 2),
        ] {
            let flaw = parse(typed).expect_err(typed);
            assert_eq!((flaw.fault, flaw.offset), (fault, offset), "{typed:?}");
        }
    }

    #[test]
    fn mapping_and_symbols_are_told() {
        for (typed, ascii, mapped, symbol) in [
            ("bücher.de", "xn--bcher-kva.de", false, false),
            ("Bücher.DE", "xn--bcher-kva.de", false, false),
            ("BÜCHER.de", "xn--bcher-kva.de", true, false),
            ("XN--BCHER-KVA.de", "xn--bcher-kva.de", false, false),
            ("𝓮xample.de", "example.de", true, false),
            ("ex\u{AD}ample.de", "example.de", true, false),
            ("☕.com", "xn--53h.com", false, true),
            ("xn--53h.com", "xn--53h.com", false, true),
            ("col·lecció.cat", "xn--collecci-ioa91d.cat", false, false),
        ] {
            let name = parse(typed).expect(typed);
            assert_eq!(
                (name.ascii.as_str(), name.mapped, name.symbol),
                (ascii, mapped, symbol),
                "{typed:?}"
            );
        }
    }
}
