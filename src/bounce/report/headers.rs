//! The fields of a message that tell about its fate, as text.

use std::time::SystemTime;

use mail_parser::{DateTime, Header, HeaderValue};

use super::address;

/// Most fields of one message.
const FIELD_LIMIT: usize = 400;
/// Longest text of one field.
const VALUE_LIMIT: usize = 4 << 10;

/// Fields in the order of the message, names in lower case.
#[derive(Debug, Default, Clone)]
pub(super) struct Headers {
    fields: Vec<(Box<str>, Box<str>)>,
}

impl Headers {
    pub(super) fn of(headers: &[Header<'_>]) -> Self {
        let fields = headers
            .iter()
            .filter_map(|header| {
                let HeaderValue::Text(text) = &header.value else {
                    return None;
                };
                let text = text.trim();
                let end = text.floor_char_boundary(VALUE_LIMIT.min(text.len()));
                Some((
                    header.name.as_str().to_ascii_lowercase().into(),
                    text.get(..end)?.into(),
                ))
            })
            .take(FIELD_LIMIT)
            .collect();
        Self { fields }
    }

    /// The first field of this name, which is given in lower case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every field of this name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields
            .iter()
            .filter(move |(known, _)| **known == *name)
            .map(|(_, value)| &**value)
    }

    /// How many fields there are.
    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    /// Every address in the fields of these names.
    pub(super) fn addresses(&self, names: &[&str]) -> Vec<Box<str>> {
        names
            .iter()
            .flat_map(|name| self.all(name))
            .flat_map(address::all)
            .map(|found| found.text.into())
            .collect()
    }

    /// The id in `Message-ID` or a field like it, without its brackets.
    pub(super) fn id(&self, name: &str) -> Option<Box<str>> {
        let value = self.get(name)?;
        let inside = value
            .split_once('<')
            .map_or(value, |(_, rest)| rest.split('>').next().unwrap_or(rest));
        let id = inside.split_whitespace().next()?.trim_matches(['<', '>']);
        (!id.is_empty()).then(|| clean(id, 250))
    }

    /// When the message was written, or else first received.
    pub(super) fn date(&self) -> Option<SystemTime> {
        let received = || self.all("received").find_map(|value| time(value.rsplit_once(';')?.1));
        self.all("date").find_map(time).or_else(received)
    }

    /// The list, campaign or tenant that the message names.
    pub(super) fn list(&self) -> Option<Box<str>> {
        let named = |value: &str| {
            let id = value
                .rsplit_once('<')
                .map_or(value, |(_, rest)| rest.trim_end_matches('>'));
            let id = clean(id.trim(), 200);
            (!id.is_empty()).then_some(id)
        };
        ["list-id", "x-list-id", "x-campaign-id", "x-campaign", "x-campaignid", "x-mailing-id"]
            .iter()
            .find_map(|name| named(self.get(name)?))
    }
}

/// Text without control characters, at most `limit` characters.
pub(super) fn clean(text: &str, limit: usize) -> Box<str> {
    crate::output::clean(text, limit).trim().into()
}

/// A date of RFC 5322, in the years that mail was sent.
pub(super) fn time(text: &str) -> Option<SystemTime> {
    let date = DateTime::parse_rfc822(text.trim())?;
    moment(date.is_valid().then(|| date.to_timestamp())?)
}

/// Seconds since 1970, in the years that mail was sent.
pub(in crate::bounce) fn moment(seconds: i64) -> Option<SystemTime> {
    const FIRST: u64 = 157_766_400;
    const LAST: u64 = 4_102_444_800;
    let seconds = u64::try_from(seconds).ok()?;
    (FIRST..LAST)
        .contains(&seconds)
        .then(|| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds))
}
