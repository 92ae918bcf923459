//! What a message is made of, as far as a bounce needs it: its fields, the text for people, the fields for machines, and the
//! fields of the message that came back.
//!
//! MIME is read by mail-parser, but nothing is decoded by it: an encoded message inside a message would be parsed again, without
//! a limit on its parts. That is why the transfer encoding is read as a media type, which it does not act on.

use std::{borrow::Cow, sync::LazyLock};

use aho_corasick::AhoCorasick;
use mail_parser::{
    ContentType, HeaderName, HeaderValue, Message, MessageParser, MessagePart, PartType,
    decoders::{
        base64::base64_decode, charsets::map::charset_decoder, html::html_to_text,
        quoted_printable::quoted_printable_decode,
    },
};

use super::headers::Headers;

/// Most bytes of a message that are looked at.
const MESSAGE_LIMIT: usize = 512 << 10;
/// Most places where a part may hold others; a report has three.
const NESTING_LIMIT: usize = 60;
/// Most text for people that is kept.
const TEXT_LIMIT: usize = 64 << 10;

/// One message, taken apart.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Of the message itself.
    pub(super) headers: Headers,
    /// What people read.
    pub(super) text: String,
    /// `message/delivery-status` (RFC 3464).
    pub(super) status: Option<String>,
    /// `message/feedback-report` (RFC 5965).
    pub(super) feedback: Option<String>,
    /// `message/disposition-notification` (RFC 8098).
    pub(super) receipt: bool,
    /// The fields of the message that came back.
    pub(super) original: Option<Headers>,
    /// The first message inside, whole: a forwarded report.
    pub(super) inner: Option<Vec<u8>>,
    /// The media type of the message itself, in lower case.
    pub(super) media_type: String,
}

static PARSER: LazyLock<MessageParser> = LazyLock::new(|| {
    MessageParser::new()
        .with_mime_headers()
        .header_content_type(HeaderName::ContentTransferEncoding)
        .default_header_text()
});

/// What may make a part hold others.
static NESTING: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build(["boundary", "message/", "multipart/"])
        .ok()
});

/// `bytes` up to the part that would be one too many: mail-parser searches the rest of the message for every boundary, and drops
/// a message inside a message by recursion.
fn bounded(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.get(..MESSAGE_LIMIT).unwrap_or(bytes);
    let beyond = NESTING
        .as_ref()
        .and_then(|words| words.find_iter(bytes).nth(3 * NESTING_LIMIT))
        .map(|found| found.start());
    beyond.and_then(|end| bytes.get(..end)).unwrap_or(bytes)
}

impl Parts {
    /// Takes a message apart; `None` when it has no fields at all.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let message = PARSER.parse(bounded(bytes))?;
        let root = message.parts.first()?;
        let mut parts = Self {
            headers: Headers::of(&root.headers),
            media_type: media_type(root),
            ..Self::default()
        };
        let mut html = String::new();
        for part in &message.parts {
            parts.add(part, &message, &mut html);
        }
        if parts.text.trim().is_empty() && !html.is_empty() {
            parts.text = html_to_text(&html);
        }
        Some(parts)
    }

    fn add(&mut self, part: &MessagePart<'_>, message: &Message<'_>, html: &mut String) {
        let kind = media_type(part);
        match &part.body {
            PartType::Multipart(_) => {}
            PartType::Message(inner) => {
                if let Some(root) = inner.parts.first()
                    && self.original.is_none()
                {
                    self.original = Some(Headers::of(&root.headers));
                    self.inner = Some(body(part, message).to_vec());
                }
            }
            PartType::Text(_) | PartType::Html(_) | PartType::Binary(_) | PartType::InlineBinary(_) => {
                let name = kind.as_str();
                let decoded = decoded(part, body(part, message));
                match name {
                    "message/delivery-status" | "message/global-delivery-status" => {
                        append(
                            self.status.get_or_insert_default(),
                            &text(part, &decoded),
                            4 * TEXT_LIMIT,
                        );
                    }
                    "message/feedback-report" => {
                        append(self.feedback.get_or_insert_default(), &text(part, &decoded), TEXT_LIMIT);
                    }
                    "message/disposition-notification" => self.receipt = true,
                    "text/rfc822-headers"
                    | "message/rfc822"
                    | "message/global"
                    | "message/global-headers"
                    | "text/rfc822"
                    | "message/rfc822-headers"
                    | "message/partial" => self.returned(&decoded),
                    "text/html" => append(html, &text(part, &decoded), 4 * TEXT_LIMIT),
                    // A part of parts whose border is not told is text with its own fields in it.
                    _ if name.starts_with("text/")
                        || name.starts_with("multipart/")
                        || name.is_empty()
                        || self.media_type == name =>
                    {
                        append(&mut self.text, &text(part, &decoded), TEXT_LIMIT);
                    }
                    _ => {}
                }
            }
        }
    }

    fn returned(&mut self, bytes: &[u8]) {
        if self.original.is_none() {
            self.original = fields(bytes);
        }
    }
}

/// The fields at the start of `bytes`.
pub(super) fn fields(bytes: &[u8]) -> Option<Headers> {
    let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let message = PARSER.parse_headers(bytes.get(start..bytes.len().min(TEXT_LIMIT))?)?;
    Some(Headers::of(&message.parts.first()?.headers))
}

/// `type/subtype` in lower case; empty when the part does not say.
fn media_type(part: &MessagePart<'_>) -> String {
    let found = part
        .headers
        .iter()
        .rev()
        .find(|header| header.name == HeaderName::ContentType);
    let Some(HeaderValue::ContentType(kind)) = found.map(|header| &header.value) else {
        return String::new();
    };
    format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default()).to_ascii_lowercase()
}

/// The body of a part as it stands in the message.
fn body<'m>(part: &MessagePart<'_>, message: &'m Message<'_>) -> &'m [u8] {
    let offset = |offset: u32| usize::try_from(offset).unwrap_or(usize::MAX);
    let raw = message.raw_message.as_ref();
    let start = offset(part.offset_body).min(raw.len());
    let end = offset(part.offset_end).min(raw.len());
    raw.get(start..end.max(start)).unwrap_or_default()
}

/// The transfer encoding taken off; what is damaged stays as it is.
fn decoded<'b>(part: &MessagePart<'_>, body: &'b [u8]) -> Cow<'b, [u8]> {
    let encoding = part
        .headers
        .iter()
        .rev()
        .find(|header| header.name == HeaderName::ContentTransferEncoding)
        .and_then(|header| header.value.as_content_type())
        .map(ContentType::ctype);
    let plain = match encoding {
        Some(name) if name.eq_ignore_ascii_case("base64") => whole_base64(body),
        Some(name) if name.eq_ignore_ascii_case("quoted-printable") => quoted_printable_decode(body),
        Some(_) | None => None,
    };
    plain.map_or(Cow::Borrowed(body), Cow::Owned)
}

/// Decodes as many whole lines as are good: a message that was cut off ends anywhere.
fn whole_base64(body: &[u8]) -> Option<Vec<u8>> {
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=\r\n\t ".contains(byte);
    let end = body.iter().position(|byte| !good(byte)).unwrap_or(body.len());
    let symbols: Vec<u8> = body
        .get(..end)?
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    base64_decode(symbols.get(..symbols.len() / 4 * 4)?)
}

/// Text in the part's charset; UTF-8 where that is missing, unknown or plainly wrong.
fn text<'b>(part: &MessagePart<'_>, bytes: &'b [u8]) -> Cow<'b, str> {
    if bytes.is_ascii() && !bytes.contains(&0x1b) {
        return String::from_utf8_lossy(bytes);
    }
    let declared = part.headers.iter().rev().find_map(|header| {
        let kind = header.value.as_content_type();
        kind.filter(|_| header.name == HeaderName::ContentType)?
            .attribute("charset")
    });
    let declared = declared.or_else(|| bytes.windows(2).any(|pair| pair == b"\x1b$").then_some("iso-2022-jp"));
    if let Some(decoder) = declared.and_then(|name| charset_decoder(name.as_bytes())) {
        return Cow::Owned(decoder(bytes));
    }
    match str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => charset_decoder(b"windows-1252")
            .map_or_else(|| String::from_utf8_lossy(bytes), |decoder| decoder(bytes).into()),
    }
}

/// Adds `more` on a line of its own, up to `limit` bytes in all.
fn append(to: &mut String, more: &str, limit: usize) {
    let room = limit.saturating_sub(to.len());
    let end = more.floor_char_boundary(room.min(more.len()));
    if !to.is_empty() && !to.ends_with('\n') {
        to.push('\n');
    }
    to.push_str(more.get(..end).unwrap_or_default());
}
