//! The one serialiser of `presend/1`, for the command line, files and later the API.

use std::{borrow::Cow, cell::Cell, io, net::IpAddr, time::SystemTime};

use serde::{Serialize, Serializer, ser::SerializeSeq};

use super::{
    clean,
    facts::{self, did_you_mean, heard, mail_host},
    redact::Privacy,
};
use crate::{
    address::Address,
    input::Row,
    job::Outcome,
    replies::Class,
    smtp::{Speaker, Transcript},
    store::keep_for,
};

/// Name and version of the result's form.
pub const SCHEMA: &str = "presend/1";

/// Characters of a typed text that is not an address; longer than any address (RFC 5321 section 4.5.3.1).
const TYPED_LIMIT: usize = 1_000;

/// What a JSON result holds beyond the verdict, and what it hides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Detail {
    /// The dialogues.
    pub transcript: bool,
    /// Local-parts.
    pub privacy: Privacy,
}

/// Appends the result as one JSON object, without a line end.
///
/// # Errors
/// Never: memory cannot fail to be written. The type is that of the JSON library.
pub fn write_result(outcome: &Outcome, row: Option<&Row>, detail: Detail, out: &mut Vec<u8>) -> io::Result<()> {
    let privacy = detail.privacy;
    let evidence = &outcome.evidence;
    let answer = evidence.answer.known();
    let traits = outcome.address.as_ref().map(Address::traits).unwrap_or_default();
    let record = Record {
        schema: SCHEMA,
        address: outcome.address.as_ref().map_or_else(
            || match privacy {
                Privacy::Open => clean(&outcome.typed, TYPED_LIMIT),
                Privacy::Redacted => Cow::Owned(clean(&privacy.typed(&outcome.typed), TYPED_LIMIT).into_owned()),
            },
            |address| Cow::Owned(privacy.text(&address.display()).into_owned()),
        ),
        ascii: outcome.address.as_ref().map(|address| privacy.text(address.mailbox())),
        label: outcome.verdict.label.name(),
        reason: outcome.verdict.reason.name(),
        action: outcome.verdict.action.name(),
        bounce: BounceRecord {
            kind: outcome.verdict.bounce.kind.name(),
            class: outcome.verdict.bounce.class,
        },
        retry_at: outcome.retry_at.map(Time),
        did_you_mean: did_you_mean(outcome).map(|meant| privacy.text(meant)),
        flags: Flags {
            role: outcome.hits.role,
            disposable: outcome.hits.disposable,
            free: outcome.hits.free,
            subaddress: traits.subaddress,
            smtputf8: traits.smtputf8,
            wildcard_zone: evidence.wildcard_zone,
        },
        mail_host: mail_host(evidence).map(|host| HostRecord {
            provider: host.provider,
            name: host.name,
            ip: host.ip,
            preference: host.preference,
            implicit: host.implicit,
            tls: host.tls,
        }),
        evidence: EvidenceRecord {
            stage: answer.map(|answer| answer.stage.name()),
            code: answer.map(|answer| answer.reply.code().number()),
            enhanced: answer.and_then(|answer| answer.reply.enhanced()).map(Shown),
            text: heard(outcome, row, privacy),
            control: facts::control(evidence),
            attempts: evidence.attempts,
            second: evidence.second.as_deref().map(|second| SecondRecord {
                name: &second.host.name,
                code: second.answer.reply.code().number(),
                enhanced: second.answer.reply.enhanced().map(Shown),
                text: facts::second(outcome, second, privacy),
            }),
        },
        source: outcome.source.name(),
        checked_at: Time(outcome.checked_at),
        expires_at: keep_for(&outcome.evidence, &outcome.verdict).map(|keep| Time(outcome.checked_at + keep)),
        elapsed_ms: u64::try_from(outcome.elapsed.as_millis()).unwrap_or(u64::MAX),
        file: row.and_then(|row| row.file.as_deref()),
        transcript: detail.transcript.then_some(Dialogues(outcome, privacy)),
    };
    serde_json::to_writer(out, &record).map_err(io::Error::from)
}

#[derive(Serialize)]
struct Record<'a> {
    schema: &'static str,
    address: Cow<'a, str>,
    ascii: Option<Cow<'a, str>>,
    label: &'static str,
    reason: &'static str,
    action: &'static str,
    bounce: BounceRecord,
    retry_at: Option<Time>,
    did_you_mean: Option<Cow<'a, str>>,
    flags: Flags,
    mail_host: Option<HostRecord<'a>>,
    evidence: EvidenceRecord<'a>,
    source: &'static str,
    checked_at: Time,
    expires_at: Option<Time>,
    elapsed_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transcript: Option<Dialogues<'a>>,
}

#[derive(Serialize)]
struct BounceRecord {
    kind: &'static str,
    class: Option<Class>,
}

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the published form of the result")]
struct Flags {
    role: bool,
    disposable: bool,
    free: bool,
    subaddress: bool,
    smtputf8: bool,
    wildcard_zone: bool,
}

#[derive(Serialize)]
struct HostRecord<'a> {
    provider: Option<&'static str>,
    name: &'a str,
    ip: Option<IpAddr>,
    preference: u16,
    implicit: bool,
    tls: Option<bool>,
}

#[derive(Serialize)]
struct EvidenceRecord<'a> {
    stage: Option<&'static str>,
    code: Option<u16>,
    enhanced: Option<Shown<crate::smtp::EnhancedStatusCode>>,
    text: Option<Cow<'a, str>>,
    control: &'static str,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    second: Option<SecondRecord<'a>>,
}

/// What another host of the same preference said against the answer.
#[derive(Serialize)]
struct SecondRecord<'a> {
    name: &'a str,
    code: u16,
    enhanced: Option<Shown<crate::smtp::EnhancedStatusCode>>,
    text: Cow<'a, str>,
}

/// Serialises as its `Display`.
struct Shown<T>(T);

impl<T: std::fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Serialises as RFC 3339 UTC to the second.
struct Time(SystemTime);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = rfc3339(self.0);
        serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// `2026-11-21T10:00:00Z`. The last second rendered is kept per thread: rows of a list share it, and rendering a date costs
/// more than the rest of a row's fixed columns.
pub(super) fn rfc3339(time: SystemTime) -> [u8; 20] {
    thread_local!(static LAST: Cell<(u64, [u8; 20])> = const { Cell::new((0, *b"1970-01-01T00:00:00Z")) });
    // Times outside of what the form can say (a broken clock) are clamped, never a panic.
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs().min(253_402_300_799));
    let (last, text) = LAST.get();
    if last == seconds {
        return text;
    }
    let mut text = [b'0'; 20];
    let rendered = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds));
    // Cannot fail: the form has 20 bytes for every year of four digits.
    let _ = io::Write::write_fmt(&mut text.as_mut_slice(), format_args!("{rendered}"));
    LAST.set((seconds, text));
    text
}

struct Dialogues<'a>(&'a Outcome, Privacy);

impl Serialize for Dialogues<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.transcripts.len()))?;
        for transcript in &self.0.transcripts {
            list.serialize_element(&Dialogue::new(transcript, self))?;
        }
        list.end()
    }
}

#[derive(Serialize)]
struct Dialogue<'a> {
    host: &'a str,
    peer: std::net::SocketAddr,
    entries: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    at_ms: u64,
    who: &'static str,
    text: Cow<'a, str>,
}

impl<'a> Dialogue<'a> {
    fn new(transcript: &'a Transcript, Dialogues(outcome, privacy): &Dialogues<'_>) -> Self {
        let line = |entry: &'a crate::smtp::Entry| Line {
            at_ms: u64::try_from(entry.at.as_millis()).unwrap_or(u64::MAX),
            who: match entry.who {
                Speaker::Client => "client",
                Speaker::Server => "server",
                Speaker::Note => "note",
            },
            text: match privacy {
                Privacy::Open => clean(&entry.text, TYPED_LIMIT),
                Privacy::Redacted => Cow::Owned(clean(&privacy.heard(&entry.text, outcome), TYPED_LIMIT).into_owned()),
            },
        };
        Self {
            host: &transcript.host,
            peer: transcript.peer,
            entries: transcript.entries.iter().map(line).collect(),
        }
    }
}
