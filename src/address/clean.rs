//! Takes off what surrounds an address in real lists. Owns the outside only; nothing inside is ever touched.

/// The text without its wrapping.
pub(super) struct Cleaned<'a> {
    pub(super) text: &'a str,
    /// Byte offset of `text` in the text as typed.
    pub(super) offset: usize,
    /// Whether anything was taken off.
    pub(super) changed: bool,
}

/// Takes off outer white space, invisible characters, trailing `,` and `;`, one `mailto:` and one pair of angle brackets.
pub(super) fn clean(typed: &str) -> Cleaned<'_> {
    let mut text = trim(typed);
    let (mut scheme, mut brackets) = (true, true);
    loop {
        let rest = text.get(.."mailto:".len());
        if scheme && rest.is_some_and(|start| start.eq_ignore_ascii_case("mailto:")) {
            text = trim(text.get("mailto:".len()..).unwrap_or_default());
            scheme = false;
        } else if let Some(inner) = inside_brackets(text).filter(|_| brackets) {
            text = trim(inner);
            brackets = false;
        } else {
            break;
        }
    }
    Cleaned {
        text,
        offset: offset_in(typed, text),
        changed: text.len() != typed.len(),
    }
}

/// What one pair of brackets around everything holds; not when more brackets inside make it another thing.
fn inside_brackets(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('<')?.strip_suffix('>')?;
    (!inner.contains(['<', '>'])).then_some(inner)
}

fn trim(text: &str) -> &str {
    text.trim_start_matches(is_outer)
        .trim_end_matches(|c| is_outer(c) || c == ',' || c == ';')
}

/// White space, and what word processors, mail clients and file encodings leave around pasted text.
fn is_outer(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '\u{AD}' | '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

/// Byte offset of `part`, which is a slice of `whole`.
fn offset_in(whole: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_off_the_outside_only() {
        for (typed, text, offset) in [
            ("a@b.c", "a@b.c", 0),
            (" \t\r\na@b.c\u{A0}\n", "a@b.c", 4),
            ("\u{FEFF}a@b.c\u{200B}", "a@b.c", 3),
            ("\u{202A}a@b.c\u{202C}", "a@b.c", 3),
            ("mailto:a@b.c", "a@b.c", 7),
            ("MailTo: <a@b.c>,", "a@b.c", 9),
            ("<mailto:a@b.c>;;", "a@b.c", 8),
            ("< a@b.c ; >", "a@b.c", 2),
            ("<<a@b.c>>", "<<a@b.c>>", 0),
            ("<a@b.c> <d@e.f>", "<a@b.c> <d@e.f>", 0),
            ("mailto:mailto:a@b.c", "mailto:a@b.c", 7),
            (",a@b.c", ",a@b.c", 0),
            ("a @b.c", "a @b.c", 0),
            ("\0a@b.c\0", "\0a@b.c\0", 0),
            (" , ", "", 1),
        ] {
            let cleaned = clean(typed);
            assert_eq!((cleaned.text, cleaned.offset), (text, offset), "{typed:?}");
            assert_eq!(cleaned.changed, typed != text, "{typed:?}");
        }
    }
}
