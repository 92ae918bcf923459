//! Addresses in running text: where they stand, and which of them can be a recipient.

use std::sync::Arc;

use crate::address::{Address, Rules};

/// An address as it stands in a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot<'t> {
    pub(super) text: &'t str,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Most addresses of one text.
const LIMIT: usize = 1000;

/// Everything in `text` that looks like an address, in order.
pub(super) fn all(text: &str) -> impl Iterator<Item = Spot<'_>> {
    let bytes = text.as_bytes();
    let mut after = 0;
    memchr::memchr_iter(b'@', bytes)
        .filter_map(move |at| {
            let spot = around(text, at, after)?;
            after = spot.end;
            Some(spot)
        })
        .take(LIMIT)
}

fn around(text: &str, at: usize, after: usize) -> Option<Spot<'_>> {
    let bytes = text.as_bytes();
    let before = bytes.get(after..at)?;
    let start = if before.last() == Some(&b'"') {
        // A quoted local-part, without quotes inside.
        let quoted = before.get(..before.len() - 1)?;
        after + quoted.iter().rposition(|byte| *byte == b'"')?
    } else {
        after
            + before
                .iter()
                .rposition(|byte| !in_local(*byte))
                .map_or(0, |index| index + 1)
    };
    let rest = bytes.get(at + 1..)?;
    let length = rest.iter().position(|byte| !in_domain(*byte)).unwrap_or(rest.len());
    let domain = text.get(at + 1..at + 1 + length)?.trim_end_matches(['.', '-', '_']);
    let mut start = start;
    // `dda:SMTP=jane@example.com` of an X.400 address.
    for lead in ["smtp=", "rfc822=", "rfc-822="] {
        if text
            .get(start..at)
            .and_then(|local| local.get(..lead.len()))
            .is_some_and(|kind| kind.eq_ignore_ascii_case(lead))
        {
            start += lead.len();
        }
    }
    // Quotes and marks around an address are not part of it.
    while text
        .get(start..at)
        .is_some_and(|local| local.starts_with(['\'', '`', '*', '=', '/', '|', '.', '!', '{']))
    {
        start += 1;
    }
    let end = at + 1 + domain.len();
    (start < at && domain.contains('.') && end - start <= 320).then(|| Spot {
        text: text.get(start..end).unwrap_or_default(),
        start,
        end,
    })
}

fn in_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || b".!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

fn in_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || b".-_".contains(&byte)
}

/// The mailbox of an address as a report gives it, special-use domains included: it was mailed.
pub(in crate::bounce) fn mailbox(text: &str) -> Option<Arc<str>> {
    let rules = Rules {
        allow_special_use: true,
    };
    match Address::parse(text, rules) {
        Ok(address) => Some(address.to_mailbox()),
        Err(_) => mistyped(text),
    }
}

/// An address that no mail host would take, of the form that one would: what was mistyped bounces too.
fn mistyped(text: &str) -> Option<Arc<str>> {
    let text = text.trim().trim_start_matches('<').trim_end_matches('>');
    let (local, domain) = text.rsplit_once('@')?;
    let label = |label: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !label.is_empty() && label.len() <= 63 && label.bytes().all(known)
    };
    let good = text.len() <= 254
        && (1..=64).contains(&local.len())
        && local.bytes().all(|byte| in_local(byte) && byte.is_ascii())
        && domain.contains('.')
        && domain.split('.').all(label);
    good.then(|| format!("{local}@{}", domain.to_ascii_lowercase()).into())
}

/// The recipient in a field of RFC 3464: `rfc822; jane@example.com`, `utf-8; ...`, or bare.
pub(super) fn of_field(value: &str) -> Option<Arc<str>> {
    let address = match value.split_once(';') {
        Some((kind, address)) if !kind.contains('@') => {
            let kind = kind.trim();
            let mail = ["rfc822", "utf-8", "smtp", "rfc-822", "internet"];
            if !mail.iter().any(|known| kind.eq_ignore_ascii_case(known)) {
                return None;
            }
            address
        }
        Some(_) | None => value,
    };
    let address = address.trim();
    let unescaped = unescape(address);
    mailbox(&unescaped).or_else(|| {
        let first = all(&unescaped).next()?;
        mailbox(first.text)
    })
}

/// `\x{2665}` of RFC 6533 section 3 as the character.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x{") {
        out.push_str(before);
        let escape = after.split_once('}').and_then(|(hex, tail)| {
            let character = char::from_u32(u32::from_str_radix(hex, 16).ok()?)?;
            Some((character, tail))
        });
        if let Some((character, tail)) = escape {
            out.push(character);
            rest = tail;
        } else {
            out.push_str("\\x{");
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_running_text() {
        for (text, expected) in [
            ("<jane@example.com>:", &["jane@example.com"][..]),
            (
                "to 'jane@example.com', and joe@example.org.",
                &["jane@example.com", "joe@example.org"],
            ),
            ("\"jane doe\"@example.com...", &["\"jane doe\"@example.com"]),
            ("RCPT TO:<a+b=c@example.com>", &["a+b=c@example.com"]),
            ("nobody@localhost and @example.com", &[]),
            ("übung@bücher.example", &["übung@bücher.example"]),
            ("a@example.com@example.org", &["a@example.com"]),
            ("c=US;a= ;p=X;dda:SMTP=JANE@EXAMPLE.COM; on Fri", &["JANE@EXAMPLE.COM"]),
        ] {
            let found: Vec<_> = all(text).map(|spot| spot.text).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn recipient_fields_are_read() {
        for (field, expected) in [
            ("rfc822; jane@example.com", Some("jane@example.com")),
            ("RFC822;<Jane@EXAMPLE.com>", Some("Jane@example.com")),
            ("jane@example.com", Some("jane@example.com")),
            ("rfc822; Jane <jane@example.com>", Some("jane@example.com")),
            ("utf-8; \\x{E4}b@example.com", Some("äb@example.com")),
            ("x400; /c=de/a=x/", None),
            ("rfc822; jane@bad_name.example", Some("jane@bad_name.example")),
            ("rfc822; nobody", None),
        ] {
            assert_eq!(of_field(field).as_deref(), expected, "{field}");
        }
    }
}
