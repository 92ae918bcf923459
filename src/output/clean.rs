//! Untrusted text made harmless for people: no control characters, no direction changes, bounded.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// `text` without control, direction and invisible characters (each becomes a space), cut to `limit` characters.
///
/// Terminals run escape sequences and readers are fooled by reversed text (CVE-2021-42574); neither belongs in a report.
#[must_use]
pub fn clean(text: &str, limit: usize) -> Cow<'_, str> {
    // The common case is short printable ASCII: one pass, no copy.
    if text.len() <= limit && text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().min(limit * 4));
    for (count, c) in text.chars().enumerate() {
        if count == limit {
            // The mark replaces the last character, so that the limit holds.
            out.pop();
            out.push('…');
            break;
        }
        out.push(if is_harmful(c) { ' ' } else { c });
    }
    Cow::Owned(out)
}

fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Columns that `text` takes on a terminal.
#[must_use]
pub fn width(text: &str) -> usize {
    text.width()
}

/// The longest part of `text` that fits `columns`, with `…` where something was cut.
#[must_use]
pub fn cut_to_width(text: &str, columns: usize) -> Cow<'_, str> {
    if text.width() <= columns {
        return Cow::Borrowed(text);
    }
    let room = columns.saturating_sub(1);
    let mut used = 0;
    let mut out = String::new();
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > room {
            break;
        }
        out.push(c);
    }
    if columns > 0 {
        out.push('…');
    }
    Cow::Owned(out)
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_direction_changes_become_spaces() {
        for (text, expected) in [
            ("plain text", "plain text"),
            ("\u{1b}[31mred\u{1b}[0m", " [31mred [0m"),
            ("a\r\nb\tc\0d\u{7f}e\u{9b}f", "a  b c d e f"),
            ("safe\u{202e}gpj.exe", "safe gpj.exe"),
            ("zero\u{200b}width\u{feff}", "zero width "),
            ("Grüße 你好", "Grüße 你好"),
        ] {
            assert_eq!(clean(text, 100), expected, "{text:?}");
        }
    }

    #[test]
    fn the_limit_counts_characters_and_is_never_passed() {
        assert_eq!(clean("abcdef", 6), "abcdef");
        assert_eq!(clean("abcdefg", 6), "abcde…");
        assert_eq!(clean("äöüäöüä", 6), "äöüäö…");
        assert_eq!(clean(&"x".repeat(100_000), 200).chars().count(), 200);
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(cut_to_width("你好世界", 5), "你好…");
        assert_eq!(cut_to_width("你好世界", 8), "你好世界");
        assert_eq!(cut_to_width("abc", 2), "a…");
        assert_eq!(cut_to_width("abc", 0), "");
    }
}
