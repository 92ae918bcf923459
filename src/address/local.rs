//! The local-part: dot-string and quoted string of RFC 5321 4.1.2, UTF-8 of RFC 6531 3.3, and the old routing forms inside them.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;

use super::{
    Fault,
    character::{is_ascii_atext, is_joiner, is_mark, unsafe_fault},
    fault::Flaw,
};

/// RFC 5321 4.5.3.1.1. For UTF-8 the limit is taken in characters: hosts that issue such names count them so.
const LIMIT: usize = 64;

/// A local-part as it is sent.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, as in `Traits`")]
pub(super) struct Local<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) quoted: bool,
    /// Quotation marks or escapes that meant nothing were taken off.
    pub(super) unquoted: bool,
    /// NFC changed it.
    pub(super) mapped: bool,
    pub(super) routing: bool,
    pub(super) subaddress: bool,
}

/// Parses the text before the `@`.
pub(super) fn parse(text: &str) -> Result<Local<'_>, Flaw> {
    if text.is_empty() {
        return Err(Flaw::new(Fault::EmptyLocal, 0));
    }
    if text.starts_with('"') {
        return quoted_string(text);
    }
    check_dot_string(text, 0)?;
    let content = normalise(text, |normal| check_dot_string(normal, 0))?;
    finish(text, content, Form::Plain)
}

/// Parses dots in places that RFC 5321 forbids, for the domains that issued such names: the quoted form says the same.
pub(super) fn parse_with_odd_dots(text: &str) -> Result<Local<'_>, Flaw> {
    for (offset, c) in text.char_indices() {
        if !is_ascii_atext(c) && c != '.' {
            return Err(Flaw::new(Fault::LocalCharacter, offset));
        }
    }
    finish(text, Cow::Borrowed(text), Form::Quoted)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Quoted,
}

fn finish<'a>(typed: &'a str, content: Cow<'a, str>, form: Form) -> Result<Local<'a>, Flaw> {
    hacks(typed, &content)?;
    let leading = content.starts_with(['-', '/', '|']);
    let routing = leading || content.contains(['%', '!', '@']) || content.contains("/../");
    let subaddress = has_tag(&content);
    let quoted = form == Form::Quoted && check_dot_string(&content, 0).is_err();
    let mapped = form == Form::Plain && content != typed;
    let text = match (form, quoted) {
        (_, true) => Cow::Owned(quote(&content)),
        (Form::Plain | Form::Quoted, false) => content,
    };
    let unquoted = form == Form::Quoted && text != typed;
    if typed.chars().count() > LIMIT || text.chars().count() > LIMIT {
        let over = typed
            .char_indices()
            .nth(LIMIT)
            .map_or(typed.len(), |(offset, _)| offset);
        return Err(Flaw::new(Fault::LocalTooLong, over));
    }
    Ok(Local {
        text,
        quoted,
        unquoted,
        mapped,
        routing,
        subaddress,
    })
}

/// `+` with something on both sides (RFC 5233).
fn has_tag(content: &str) -> bool {
    let plus = content.char_indices().find(|(offset, c)| *c == '+' && *offset > 0);
    plus.is_some_and(|(offset, _)| offset + 1 < content.len())
}

fn check_dot_string(text: &str, base: usize) -> Result<(), Flaw> {
    let flaw = |fault, offset: usize| Err(Flaw::new(fault, base + offset));
    let mut before = None;
    for (offset, c) in text.char_indices() {
        let rest = text.get(offset + c.len_utf8()..).unwrap_or_default();
        match c {
            '.' if before.is_none() => return flaw(Fault::LocalLeadingDot, offset),
            '.' if before == Some('.') => return flaw(Fault::LocalDoubleDot, offset),
            '.' if rest.is_empty() => return flaw(Fault::LocalTrailingDot, offset),
            '.' => {}
            '"' => return flaw(Fault::MixedQuoting, offset),
            '<' | '>' => return flaw(Fault::AngleBracket, offset),
            _ if is_ascii_atext(c) => {}
            _ if c.is_ascii() => return flaw(Fault::LocalCharacter, offset),
            _ => check_unicode(c, before, rest).or_else(|fault| flaw(fault, offset))?,
        }
        before = Some(c);
    }
    Ok(())
}

/// A non-ASCII character in its place.
fn check_unicode(c: char, before: Option<char>, rest: &str) -> Result<(), Fault> {
    if let Some(fault) = unsafe_fault(c) {
        return Err(fault);
    }
    if before.is_none() && is_mark(c) {
        return Err(Fault::LeadingCombiningMark);
    }
    let between_letters = before.is_some_and(|b| !b.is_ascii()) && rest.chars().next().is_some_and(|a| !a.is_ascii());
    if is_joiner(c) && !between_letters {
        return Err(Fault::InvisibleCharacter);
    }
    Ok(())
}

fn quoted_string(text: &str) -> Result<Local<'_>, Flaw> {
    let mut content = String::with_capacity(text.len());
    let mut chars = text.char_indices().skip(1);
    let closed = loop {
        let Some((offset, c)) = chars.next() else {
            return Err(Flaw::new(Fault::UnbalancedQuote, 0));
        };
        if c == '"' {
            break offset;
        }
        let rest = text.get(offset + c.len_utf8()..).unwrap_or_default();
        let c = if c == '\\' {
            match chars.next() {
                // quoted-pairSMTP escapes printable ASCII only.
                Some((_, escaped @ ' '..='~')) => escaped,
                Some((escaped, _)) => return Err(Flaw::new(Fault::LocalCharacter, escaped)),
                None => return Err(Flaw::new(Fault::UnbalancedQuote, 0)),
            }
        } else {
            c
        };
        let before = content.chars().next_back();
        check_quoted(c, before, rest).map_err(|fault| Flaw::new(fault, offset))?;
        content.push(c);
    };
    if closed + 1 < text.len() {
        return Err(Flaw::new(Fault::MixedQuoting, closed + 1));
    }
    if content.is_empty() {
        return Err(Flaw::new(Fault::EmptyLocal, 0));
    }
    let normal = normalise(&content, |normal| {
        let mut before = None;
        for (offset, c) in normal.char_indices() {
            let rest = normal.get(offset + c.len_utf8()..).unwrap_or_default();
            check_quoted(c, before, rest).map_err(|fault| Flaw::new(fault, offset))?;
            before = Some(c);
        }
        Ok(())
    })?;
    let mapped = *normal != *content;
    let local = finish(text, Cow::Owned(normal.into_owned()), Form::Quoted)?;
    Ok(Local { mapped, ..local })
}

/// One character of a quoted string. Angle brackets are legal there but end the path for careless servers, and for `async-smtp`.
fn check_quoted(c: char, before: Option<char>, rest: &str) -> Result<(), Fault> {
    match c {
        '<' | '>' => Err(Fault::AngleBracket),
        ' '..='~' => Ok(()),
        _ if c.is_ascii() => Err(Fault::ControlCharacter),
        _ => check_unicode(c, before, rest),
    }
}

fn quote(content: &str) -> String {
    let mut quoted = String::with_capacity(content.len() + 4);
    quoted.push('"');
    for c in content.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// NFC (RFC 6532 3.1), then `check` again: normalising can make new ASCII (U+037E turns into `;`).
fn normalise<'a>(text: &'a str, check: impl Fn(&str) -> Result<(), Flaw>) -> Result<Cow<'a, str>, Flaw> {
    if text.is_ascii() {
        return Ok(Cow::Borrowed(text));
    }
    let nfc = ComposingNormalizerBorrowed::new_nfc();
    let normal = nfc.normalize(text);
    if let Err(flaw) = check(&normal) {
        let turned = |c: char| {
            !c.is_ascii()
                && nfc
                    .normalize(c.encode_utf8(&mut [0; 4]))
                    .contains(|n: char| n.is_ascii())
        };
        return Err(Flaw {
            offset: text.find(turned).unwrap_or(0),
            ..flaw
        });
    }
    Ok(normal)
}

/// `user%host` and `host!user`: a letter or digit on both sides makes it a route (RFC 5321 F.2, RFC 1123 5.2.16).
fn hacks(typed: &str, content: &str) -> Result<(), Flaw> {
    for (mark, fault) in [('%', Fault::PercentHack), ('!', Fault::BangPath)] {
        if routes(content, mark) {
            return Err(Flaw::new(fault, typed.find(mark).unwrap_or(0)));
        }
    }
    Ok(())
}

fn routes(content: &str, mark: char) -> bool {
    content.match_indices(mark).any(|(offset, _)| {
        let before = content.get(..offset).and_then(|s| s.chars().next_back());
        let after = content.get(offset + 1..).and_then(|s| s.chars().next());
        before.is_some_and(char::is_alphanumeric) && after.is_some_and(char::is_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_smtp_takes() {
        for (typed, sent, flags) in [
            ("john.doe", "john.doe", ""),
            ("Jane", "Jane", ""),
            ("!#$%&'*+-/=?^_`{|}~", "!#$%&'*+-/=?^_`{|}~", "routing subaddress"),
            ("user+tag", "user+tag", "subaddress"),
            ("+1", "+1", ""),
            ("a+", "a+", ""),
            ("-x", "-x", "routing"),
            ("/x", "/x", "routing"),
            ("|x", "|x", "routing"),
            ("50%", "50%", "routing"),
            ("wow!", "wow!", "routing"),
            ("\"john\"", "john", "unquoted"),
            ("\"j\\ohn\"", "john", "unquoted"),
            ("\"john..doe\"", "\"john..doe\"", "quoted"),
            ("\" \"", "\" \"", "quoted"),
            ("\"a@b\"", "\"a@b\"", "quoted routing"),
            ("\"a\\\"b\\\\c\\ d\"", "\"a\\\"b\\\\c d\"", "quoted unquoted"),
            ("用户", "用户", ""),
            ("cafe\u{301}", "café", "mapped"),
            ("\"cafe\u{301} x\"", "\"café x\"", "quoted unquoted mapped"),
            ("نامه\u{200C}ای", "نامه\u{200C}ای", ""),
        ] {
            let local = parse(typed).expect(typed);
            assert_eq!(local.text, sent, "{typed:?}");
            let mut seen = Vec::new();
            for (set, name) in [
                (local.quoted, "quoted"),
                (local.unquoted, "unquoted"),
                (local.routing, "routing"),
                (local.subaddress, "subaddress"),
                (local.mapped, "mapped"),
            ] {
                seen.extend(set.then_some(name));
            }
            assert_eq!(seen.join(" "), flags, "{typed:?}");
        }
    }

    #[test]
    fn refuses_with_the_exact_fault_and_place() {
        for (typed, fault, offset) in [
            ("", Fault::EmptyLocal, 0),
            ("\"\"", Fault::EmptyLocal, 0),
            (".a", Fault::LocalLeadingDot, 0),
            ("a.", Fault::LocalTrailingDot, 1),
            ("a..b", Fault::LocalDoubleDot, 2),
            (".", Fault::LocalLeadingDot, 0),
            ("a,b", Fault::LocalCharacter, 1),
            ("a\\b", Fault::LocalCharacter, 1),
            ("a<b", Fault::AngleBracket, 1),
            ("\"a<b\"", Fault::AngleBracket, 2),
            ("\"a\\>b\"", Fault::AngleBracket, 2),
            ("\"a\"b", Fault::MixedQuoting, 3),
            ("\"a\".\"b\"", Fault::MixedQuoting, 3),
            ("a.\"b\"", Fault::MixedQuoting, 2),
            ("\"a\\©\"", Fault::LocalCharacter, 3),
            ("\"a\tb\"", Fault::ControlCharacter, 2),
            ("\"a", Fault::UnbalancedQuote, 0),
            ("\"a\\\"", Fault::UnbalancedQuote, 0),
            ("user%host", Fault::PercentHack, 4),
            ("\"user%host\"", Fault::PercentHack, 5),
            ("host!user", Fault::BangPath, 4),
            ("\u{301}a", Fault::LeadingCombiningMark, 0),
            ("a\u{200B}b", Fault::InvisibleCharacter, 1),
            ("a\u{200D}b", Fault::InvisibleCharacter, 1),
            ("é\u{200D}", Fault::InvisibleCharacter, 2),
            ("é\u{37E}x", Fault::LocalCharacter, 2),
            ("a\u{202E}b", Fault::BidiControl, 1),
        ] {
            let flaw = parse(typed).expect_err(typed);
            assert_eq!((flaw.fault, flaw.offset), (fault, offset), "{typed:?}");
        }
    }

    #[test]
    fn sixty_four_is_the_limit() {
        assert!(parse(&"a".repeat(64)).is_ok());
        assert_eq!(
            parse(&"a".repeat(65)).map_err(|f| (f.fault, f.offset)).err(),
            Some((Fault::LocalTooLong, 64))
        );
        assert!(parse(&"ក".repeat(64)).is_ok(), "UTF-8 counts characters");
        assert!(parse(&"ក".repeat(65)).is_err());
        assert!(
            parse(&format!("\"{} {}\"", "a".repeat(30), "a".repeat(32))).is_err(),
            "quotes count"
        );
    }
}
