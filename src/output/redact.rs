//! `--redact`: results that can be shown to others. Local-parts become their first character and `***`; domains, labels and
//! reasons stay.
//!
//! Masks too much rather than too little: whatever stands before an `@` up to a space or a bracket, in every cell, text and
//! dialogue; and in what servers say also the local-part on its own. Other columns, such as names, are the user's to leave out.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::{address::Address, job::Outcome};

/// Whether local-parts are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Privacy {
    /// They are.
    #[default]
    Open,
    /// They are masked.
    Redacted,
}

const MASK: &str = "***";

impl Privacy {
    /// Any text.
    pub(super) fn text(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Open => Cow::Borrowed(text),
            Self::Redacted => mask(text),
        }
    }

    /// The cell that should hold the address: what is no address is masked whole, for it may be one without its `@`.
    pub(crate) fn typed(self, text: &str) -> Cow<'_, str> {
        let whole = || Cow::Owned(masked_word(text.trim()));
        match self {
            Self::Open => Cow::Borrowed(text),
            Self::Redacted if text.trim().is_empty() => Cow::Borrowed(text),
            Self::Redacted if is_plain(text) => mask(text),
            Self::Redacted => whole(),
        }
    }

    /// What a server said, or was told: it may repeat the local-part alone.
    pub(super) fn heard<'a>(self, text: &'a str, outcome: &Outcome) -> Cow<'a, str> {
        if self == Self::Open {
            return Cow::Borrowed(text);
        }
        let mut text = mask(text);
        for own in own_words(outcome) {
            if let Some(masked) = mask_word(&text, &own) {
                text = Cow::Owned(masked);
            }
        }
        text
    }

    /// A JSON object with every key and string masked.
    pub(super) fn object<'a>(self, object: &'a Map<String, Value>, address: &str) -> Cow<'a, Map<String, Value>> {
        match self {
            Self::Open => Cow::Borrowed(object),
            Self::Redacted => Cow::Owned(masked_object(object, address)),
        }
    }
}

/// Exactly one `@`, and no space or quote: [`mask`] leaves nothing of its local-part.
fn is_plain(text: &str) -> bool {
    let text = text.trim();
    text.chars().filter(|c| is_at(*c)).count() == 1 && !text.contains(|c: char| c.is_whitespace() || ends_local(c))
}

/// `@` and what is read as one (full-width, small).
fn is_at(c: char) -> bool {
    matches!(c, '@' | '\u{FF20}' | '\u{FE6B}')
}

/// What cannot be in a local-part without quotes. RFC 5321 allows `{|}'` and `=`, so these are masked with the rest.
fn ends_local(c: char) -> bool {
    matches!(c, '<' | '>' | '(' | ')' | '[' | ']' | ',' | ';' | ':' | '"' | '\\')
}

/// Masks what stands before every `@`.
fn mask(text: &str) -> Cow<'_, str> {
    if !text.contains(is_at) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(is_at) {
        let (before, after) = rest.split_at(at);
        let start = local_start(before);
        let (kept, local) = before.split_at(start);
        out.push_str(kept);
        if !local.is_empty() {
            out.push_str(&masked_word(local));
        }
        // The `@` and what follows it up to the next one.
        let len = after.chars().next().map_or(0, char::len_utf8);
        let (at, tail) = after.split_at(len);
        out.push_str(at);
        rest = tail;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Where the local-part begins that ends with `before`; quoted ones begin at their quote.
fn local_start(before: &str) -> usize {
    if let Some(inner) = before.strip_suffix('"') {
        // In JSON and CSV inside of texts the quote itself may be escaped; the first quote of the line is early enough.
        return inner.find('"').unwrap_or(0);
    }
    let start = before.rfind(|c: char| c.is_whitespace() || ends_local(c));
    start.map_or(0, |at| {
        at + before
            .get(at..)
            .and_then(|rest| rest.chars().next())
            .map_or(0, char::len_utf8)
    })
}

fn masked_word(word: &str) -> String {
    let first = word.chars().find(|c| *c != '"').map(String::from).unwrap_or_default();
    first + MASK
}

/// The local-part as servers may repeat it: whole, and without its `+tag`.
fn own_words(outcome: &Outcome) -> Vec<String> {
    let mut words = Vec::new();
    let display = outcome.address.as_ref().map(Address::display);
    let mailbox = outcome.address.as_ref().map(Address::mailbox);
    for text in [Some(&*outcome.typed), mailbox, display.as_deref()]
        .into_iter()
        .flatten()
    {
        let local = text.rsplit_once(is_at).map_or(text, |(local, _)| local);
        let local = local.trim().trim_matches('"');
        words.push(local.to_owned());
        words.extend(local.split_once('+').map(|(base, _)| base.to_owned()));
    }
    words.retain(|word| !word.is_empty());
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    words.dedup();
    words
}

/// Masks `word` wherever it stands alone, letter case of ASCII ignored; `None` when it does not.
fn mask_word(text: &str, word: &str) -> Option<String> {
    let (lower, word) = (text.to_ascii_lowercase(), word.to_ascii_lowercase());
    let alone = |at: usize| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|after| after.chars().next());
        // An underscore joins words; a full stop at the end of one ends a sentence.
        ![before, after]
            .into_iter()
            .flatten()
            .any(|c| c.is_alphanumeric() || c == '_')
    };
    let found: Vec<usize> = lower
        .match_indices(&word)
        .map(|(at, _)| at)
        .filter(|at| alone(*at))
        .collect();
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for at in &found {
        out.push_str(text.get(from..*at)?);
        out.push_str(&masked_word(&word));
        from = at + word.len();
    }
    out.push_str(text.get(from..)?);
    (!found.is_empty()).then_some(out)
}

fn masked_object(object: &Map<String, Value>, address: &str) -> Map<String, Value> {
    let member = |(key, value): (&String, &Value)| (mask(key).into_owned(), masked_value(value, address));
    object.iter().map(member).collect()
}

fn masked_value(value: &Value, address: &str) -> Value {
    match value {
        Value::String(text) if text == address => Value::String(Privacy::Redacted.typed(text).into_owned()),
        Value::String(text) => Value::String(mask(text).into_owned()),
        Value::Array(values) => values.iter().map(|value| masked_value(value, address)).collect(),
        Value::Object(object) => Value::Object(masked_object(object, address)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_an_at_sign_is_masked() {
        for (text, expected) in [
            ("jane.doe@example.com", "j***@example.com"),
            ("j@example.com", "j***@example.com"),
            ("<jane+news@example.com>: unknown", "<j***@example.com>: unknown"),
            (
                "Jane <jane@x.org>, \"joe\" <joe@y.org>",
                "Jane <j***@x.org>, \"joe\" <j***@y.org>",
            ),
            ("\"jane doe\"@x.org", "j***@x.org"),
            ("to <\"jane, doe\"@x.org>", "to <j***@x.org>"),
            ("jörg@exämple.de", "j***@exämple.de"),
            ("用户@例子.广告", "用***@例子.广告"),
            ("jane＠x.org", "j***＠x.org"),
            ("mailto:o'brien=x.org@y.org", "mailto:o***@y.org"),
            ("jane@home@x.org", "j***@h***@x.org"),
            ("@x.org", "@x.org"),
            ("a @ b", "a @ b"),
            ("nothing here", "nothing here"),
            ("", ""),
        ] {
            assert_eq!(Privacy::Redacted.text(text), expected);
            assert_eq!(Privacy::Open.text(text), text);
        }
    }

    #[test]
    fn the_cell_of_the_address_is_masked_whatever_it_holds() {
        for (text, expected) in [
            ("jane.doe@example.com", "j***@example.com"),
            (" jane@x.org ", " j***@x.org "),
            ("jane.example.com", "j***"),
            ("jane doe@example.com", "j***"),
            ("jane at example.com", "j***"),
            ("jane@doe@example.com", "j***"),
            ("  ", "  "),
        ] {
            assert_eq!(Privacy::Redacted.typed(text), expected);
        }
    }

    #[test]
    fn words_are_masked_where_they_stand_alone() {
        for (text, word, expected) in [
            ("550 Jane: unknown", "jane", Some("550 j***: unknown")),
            (
                "no jane, no janet, no jane.",
                "jane",
                Some("no j***, no janet, no j***."),
            ),
            ("id=jane.doe%40x.org", "jane.doe", Some("id=j***%40x.org")),
            ("İ jane", "jane", Some("İ j***")),
            ("mary_jane", "jane", None),
            ("nobody", "jane", None),
        ] {
            assert_eq!(mask_word(text, word).as_deref(), expected, "{text}");
        }
    }
}
