//! Finds the one `@` of an address and names every form that is no bare mailbox: routes, comments, display names, several addresses.
//!
//! Looks at structure only; what may stand on either side of the `@` is the business of `local` and `domain`.

use super::{
    Fault,
    character::{is_dot, is_wide_at},
    fault::Flaw,
};

/// Where the marks of structure stand, outside quoted strings, comments and address literals. All are byte offsets.
#[derive(Default)]
struct Marks {
    first_at: Option<usize>,
    second_at: Option<usize>,
    /// Something that separates addresses, after the first `@` and before the second.
    separator: Option<usize>,
    comment: Option<usize>,
    open_angle: Option<usize>,
    close_angle: Option<usize>,
    colon: Option<usize>,
    /// White space, and whether it stands beside a dot, the `@` or a comment.
    loose_space: Option<usize>,
    tight_space: Option<usize>,
    unbalanced: Option<(Fault, usize)>,
}

/// Splits a cleaned text at its `@`: the byte offset of the `@`.
pub(super) fn split(text: &str) -> Result<usize, Flaw> {
    if text.is_empty() {
        return Err(Flaw::new(Fault::Empty, 0));
    }
    danger(text)?;
    let marks = Marks::find(text);
    if let Some((fault, at)) = marks.unbalanced {
        return Err(unbalanced(text, fault, at));
    }
    let Some(at) = marks.first_at else {
        return Err(no_at(text));
    };
    routes_and_names(text, at, &marks)?;
    if let (Some(_), Some(separator)) = (marks.second_at, marks.separator) {
        return Err(Flaw::new(Fault::SeveralAddresses, separator));
    }
    if let Some(comment) = marks.comment {
        return Err(Flaw::new(Fault::Comment, comment).mend(without_comments(text)));
    }
    if let Some(space) = marks.loose_space {
        return Err(Flaw::new(Fault::WhiteSpace, space));
    }
    if let Some(space) = marks.tight_space {
        return Err(Flaw::new(Fault::FoldingWhiteSpace, space).mend(without_white_space(text)));
    }
    if at == 0 {
        return Err(Flaw::new(Fault::EmptyLocal, 0));
    }
    if let Some(second) = marks.second_at {
        return Err(Flaw::new(Fault::SeveralAtSigns, second).mend(text.replacen("@@", "@", 1)));
    }
    Ok(at)
}

/// Characters that may cut or forge an SMTP command, anywhere, quoted or not (RFC 5321 4.1.2); and lost ones.
fn danger(text: &str) -> Result<(), Flaw> {
    for (offset, c) in text.char_indices() {
        let fault = match c {
            '\0' => Fault::Nul,
            '\r' | '\n' => line_break(text.get(offset..).unwrap_or_default()),
            '\t' => continue,
            '\u{FFFD}' => Fault::DamagedEncoding,
            _ if c.is_ascii_control() => Fault::ControlCharacter,
            _ => continue,
        };
        let flaw = Flaw::new(fault, offset);
        return Err(if fault == Fault::FoldingWhiteSpace {
            flaw.mend(without_white_space(text))
        } else {
            flaw
        });
    }
    Ok(())
}

/// CRLF before white space is folding (RFC 5322 3.2.2); every other CR or LF is not.
fn line_break(rest: &str) -> Fault {
    let folded = rest
        .strip_prefix("\r\n")
        .is_some_and(|next| next.starts_with([' ', '\t']));
    if folded {
        Fault::FoldingWhiteSpace
    } else {
        Fault::LineBreak
    }
}

fn unbalanced(text: &str, fault: Fault, at: usize) -> Flaw {
    let flaw = Flaw::new(fault, at);
    // A quotation mark left over from a damaged CSV cell.
    match text.strip_prefix('"').or_else(|| text.strip_suffix('"')) {
        Some(rest) if fault == Fault::UnbalancedQuote && !rest.contains('"') => flaw.mend(rest),
        _ => flaw,
    }
}

fn no_at(text: &str) -> Flaw {
    if let Some(wide) = text.find(is_wide_at) {
        return Flaw::new(Fault::FullWidthAt, wide).mend(text.replacen(is_wide_at, "@", 1));
    }
    let flaw = Flaw::new(Fault::NoAtSign, text.len());
    match text.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')) {
        Some(inner) => flaw.mend(inner),
        None => flaw,
    }
}

/// Source routes, display names and stray angle brackets.
fn routes_and_names(text: &str, at: usize, marks: &Marks) -> Result<(), Flaw> {
    let after_colon = marks.colon.and_then(|colon| text.get(colon + 1..)).unwrap_or_default();
    if at == 0 && after_colon.contains('@') {
        return Err(Flaw::new(Fault::SourceRoute, 0).mend(after_colon));
    }
    let (Some(open), Some(close)) = (marks.open_angle, marks.close_angle) else {
        return marks
            .open_angle
            .or(marks.close_angle)
            .map_or(Ok(()), |bracket| Err(Flaw::new(Fault::AngleBracket, bracket)));
    };
    if at < open || at > close {
        let several = marks.second_at.is_some_and(|second| open < second && second < close);
        let fault = if several {
            Fault::SeveralAddresses
        } else {
            Fault::AngleBracket
        };
        return Err(Flaw::new(fault, open.min(close)));
    }
    if marks.second_at.is_some() && marks.separator.is_some_and(|separator| separator > close) {
        return Err(Flaw::new(Fault::SeveralAddresses, close + 1));
    }
    let inner = text.get(open + 1..close).unwrap_or_default();
    let rest = text.get(close + 1..).unwrap_or_default();
    let flaw = Flaw::new(Fault::DisplayName, if open == 0 { close + 1 } else { 0 });
    Err(if rest.contains(['<', '>']) {
        flaw
    } else {
        flaw.mend(inner)
    })
}

impl Marks {
    fn find(text: &str) -> Self {
        let mut marks = Self::default();
        let mut chars = text.char_indices();
        let mut before = None;
        while let Some((offset, c)) = chars.next() {
            match c {
                '"' => {
                    if !skip(&mut chars, '"', None) {
                        marks.note_unbalanced(Fault::UnbalancedQuote, offset);
                    }
                }
                '(' => {
                    marks.comment.get_or_insert(offset);
                    if !skip(&mut chars, ')', Some('(')) {
                        marks.note_unbalanced(Fault::UnbalancedComment, offset);
                    }
                }
                ')' => marks.note_unbalanced(Fault::UnbalancedComment, offset),
                // An unclosed literal runs to the end; `domain` names the fault.
                '[' if before == Some('@') => _ = skip(&mut chars, ']', None),
                '@' if marks.first_at.is_none() => marks.first_at = Some(offset),
                '@' => _ = marks.second_at.get_or_insert(offset),
                '<' => _ = marks.open_angle.get_or_insert(offset),
                '>' => _ = marks.close_angle.get_or_insert(offset),
                ':' => _ = marks.colon.get_or_insert(offset),
                _ => {}
            }
            if c.is_whitespace() {
                marks.note_space(offset, before, chars.as_str());
            } else {
                before = Some(c);
            }
            let separates = c.is_whitespace() || matches!(c, ',' | ';' | '/' | '|');
            if separates && marks.first_at.is_some() && marks.second_at.is_none() {
                marks.separator.get_or_insert(offset);
            }
        }
        marks
    }

    fn note_unbalanced(&mut self, fault: Fault, offset: usize) {
        self.unbalanced.get_or_insert((fault, offset));
    }

    /// RFC 5322 3.4.1 and 4.4 let white space stand around `@`, dots and comments; elsewhere it parts two words.
    fn note_space(&mut self, offset: usize, before: Option<char>, rest: &str) {
        let tight = |c: char| c == '@' || c == '(' || c == ')' || is_dot(c);
        let after = rest.chars().find(|c| !c.is_whitespace());
        let folding = before.is_some_and(tight) || after.is_some_and(tight);
        let slot = if folding {
            &mut self.tight_space
        } else {
            &mut self.loose_space
        };
        slot.get_or_insert(offset);
    }
}

/// Runs to the end of a quoted string, comment or literal; `false` when it has none.
fn skip(chars: &mut std::str::CharIndices<'_>, close: char, open: Option<char>) -> bool {
    let mut depth = 1_usize;
    while let Some((_, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if Some(c) == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return true;
            }
        }
    }
    false
}

fn without_comments(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut chars = text.char_indices();
    while let Some((offset, c)) = chars.next() {
        if c == '(' {
            skip(&mut chars, ')', Some('('));
        } else if c == '"' {
            skip(&mut chars, '"', None);
            bare.push_str(text.get(offset..chars.offset()).unwrap_or_default());
        } else {
            bare.push(c);
        }
    }
    without_white_space(&bare)
}

fn without_white_space(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_form_and_its_place() {
        for (text, fault, offset, mend) in [
            ("", Fault::Empty, 0, None),
            ("abc", Fault::NoAtSign, 3, None),
            ("\"a@b.c\"", Fault::NoAtSign, 7, Some("a@b.c")),
            ("user＠x.com", Fault::FullWidthAt, 4, Some("user@x.com")),
            ("@x.com", Fault::EmptyLocal, 0, None),
            ("a@b@c.com", Fault::SeveralAtSigns, 3, Some("a@b@c.com")),
            ("a@@c.com", Fault::SeveralAtSigns, 2, Some("a@c.com")),
            ("a@b.c, d@e.f", Fault::SeveralAddresses, 5, None),
            ("a@b.c d@e.f", Fault::SeveralAddresses, 5, None),
            ("a@b.c/d@e.f", Fault::SeveralAddresses, 5, None),
            ("<a@b.c> <d@e.f>", Fault::SeveralAddresses, 7, None),
            ("A <a@b.c>, B <d@e.f>", Fault::SeveralAddresses, 9, None),
            ("Jane <a@b.c>", Fault::DisplayName, 0, Some("a@b.c")),
            ("<a@b.c> Jane", Fault::DisplayName, 7, Some("a@b.c")),
            ("\"J, D\" <a@b.c> (home)", Fault::DisplayName, 0, Some("a@b.c")),
            ("test@<iana>.org", Fault::AngleBracket, 5, None),
            ("a@b.c>", Fault::AngleBracket, 5, None),
            ("<a@b.c", Fault::AngleBracket, 0, None),
            ("@h,@i:a@b.c", Fault::SourceRoute, 0, Some("a@b.c")),
            ("a(b)@c.d", Fault::Comment, 1, Some("a@c.d")),
            ("a@c.d (b \\) (c))", Fault::Comment, 6, Some("a@c.d")),
            ("a(b@c.d", Fault::UnbalancedComment, 1, None),
            ("a)b@c.d", Fault::UnbalancedComment, 1, None),
            ("\"a@c.d", Fault::UnbalancedQuote, 0, Some("a@c.d")),
            ("a\"b@c.d", Fault::UnbalancedQuote, 1, None),
            ("a @b.c", Fault::FoldingWhiteSpace, 1, Some("a@b.c")),
            ("a . b@c", Fault::FoldingWhiteSpace, 1, Some("a.b@c")),
            ("a.\r\n b@c", Fault::FoldingWhiteSpace, 2, Some("a.b@c")),
            ("a b@c", Fault::WhiteSpace, 1, None),
            ("a b@ c", Fault::WhiteSpace, 1, None),
            ("a@b.c>\r\nDATA", Fault::LineBreak, 6, None),
            ("a@b\r.c", Fault::LineBreak, 3, None),
            ("\"a\n\"@b.c", Fault::LineBreak, 2, None),
            ("a\0@b.c", Fault::Nul, 1, None),
            ("a\u{7F}@b.c", Fault::ControlCharacter, 1, None),
            ("J\u{FFFD}rg@b.c", Fault::DamagedEncoding, 1, None),
        ] {
            let flaw = split(text).expect_err(text);
            assert_eq!((flaw.fault, flaw.offset), (fault, offset), "{text:?}");
            assert_eq!(flaw.mend.as_deref(), mend, "{text:?}");
        }
    }

    #[test]
    fn splits_outside_quotes_and_literals() {
        for (text, at) in [
            ("a@b", 1),
            ("\"a@b c\"@d", 7),
            ("a@[1@2]", 1),
            ("\"\\\"@\"@d", 5),
            ("ä@b", 2),
        ] {
            assert_eq!(split(text).ok(), Some(at), "{text:?}");
        }
    }
}
