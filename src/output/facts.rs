//! What an outcome says, in the few words that every format shows.

use std::{borrow::Cow, net::IpAddr};

use super::{clean, redact::Privacy};
use crate::{
    dns::{Exchanger, MailRoute},
    input::Row,
    job::Outcome,
    verdict::{Evidence, Observed, SecondAnswer, UnknownRecipients},
};

/// Characters of reply text that are shown.
pub(super) const TEXT_LIMIT: usize = 200;

/// The mail host that was asked, or the first one that would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailHost<'a> {
    /// Provider id.
    pub provider: Option<&'static str>,
    /// MX host name.
    pub name: &'a str,
    /// The address that was dialled.
    pub ip: Option<IpAddr>,
    /// MX preference.
    pub preference: u16,
    /// The host is the domain itself.
    pub implicit: bool,
    /// The session was encrypted; `None` when there was none.
    pub tls: Option<bool>,
}

/// The mail host that was asked, or the first one of the route when nobody was asked.
#[must_use]
pub fn mail_host(evidence: &Evidence) -> Option<MailHost<'_>> {
    if let Some(host) = &evidence.host {
        return Some(MailHost {
            provider: host.provider,
            name: &host.name,
            ip: host.ip,
            preference: host.preference,
            implicit: host.implicit,
            tls: host.tls,
        });
    }
    let of_route = |exchanger: &'_ Exchanger, implicit| (exchanger.preference, implicit);
    let (exchanger, (preference, implicit)) = match evidence.route.known()?.as_ref() {
        MailRoute::Exchangers(exchangers) => exchangers.first().map(|e| (e, of_route(e, false)))?,
        MailRoute::ImplicitMx(exchanger) => (exchanger, of_route(exchanger, true)),
        MailRoute::NullMx | MailRoute::NoSuchDomain | MailRoute::NoMailHost(_) | MailRoute::Failure(_) => return None,
    };
    Some(MailHost {
        provider: None,
        name: &exchanger.host,
        ip: None,
        preference,
        implicit,
        tls: None,
    })
}

/// What is known of the control recipient: `not_sent`, `refused`, `accepted`, `contradictory`, `undetermined`.
#[must_use]
pub fn control(evidence: &Evidence) -> &'static str {
    match evidence.unknown_recipients {
        Observed::NotTried(_) => "not_sent",
        Observed::Failed(_) => "undetermined",
        Observed::Known(UnknownRecipients::Refused) => "refused",
        Observed::Known(UnknownRecipients::Accepted) => "accepted",
        Observed::Known(UnknownRecipients::Contradictory) => "contradictory",
    }
}

/// The address that was probably meant.
#[must_use]
pub fn did_you_mean(outcome: &Outcome) -> Option<&str> {
    let by_syntax = || outcome.evidence.syntax.as_ref()?.suggestion.as_deref();
    outcome.hits.did_you_mean.as_deref().or_else(by_syntax)
}

/// What another host of the same preference said, masked if need be.
pub(super) fn second(outcome: &Outcome, second: &SecondAnswer, privacy: Privacy) -> Cow<'static, str> {
    let text = second.answer.reply.text();
    Cow::Owned(clean(&privacy.heard(&text, outcome), TEXT_LIMIT).into_owned())
}

/// The text that decided: the reply, cleaned and cut; without a reply, the fault of the row or of the syntax and where it is.
#[must_use]
pub fn said<'a>(outcome: &'a Outcome, row: Option<&'a Row>) -> Option<Cow<'a, str>> {
    heard(outcome, row, Privacy::Open)
}

/// [`said`], masked if need be. Masked first: what is cut may lack the `@` that tells an address.
pub(super) fn heard<'a>(outcome: &'a Outcome, row: Option<&'a Row>, privacy: Privacy) -> Option<Cow<'a, str>> {
    if let Some(told) = &outcome.evidence.told {
        return Some(match privacy {
            Privacy::Open => clean(&told.text, TEXT_LIMIT),
            Privacy::Redacted => Cow::Owned(clean(&privacy.heard(&told.text, outcome), TEXT_LIMIT).into_owned()),
        });
    }
    if let Some(answer) = outcome.evidence.answer.known() {
        let text = match answer.reply.lines() {
            // The enhanced code is a column of its own.
            [line] => Cow::Borrowed(crate::smtp::EnhancedStatusCode::split(line).map_or(&**line, |(_, rest)| rest)),
            _ => Cow::Owned(answer.reply.text()),
        };
        return Some(match (text, privacy) {
            (Cow::Borrowed(text), Privacy::Open) => clean(text, TEXT_LIMIT),
            (text, privacy) => Cow::Owned(clean(&privacy.heard(&text, outcome), TEXT_LIMIT).into_owned()),
        });
    }
    if let Some((row, fault)) = row.and_then(|row| Some((row, row.fault.as_ref()?))) {
        let message = privacy.heard(&fault.message, outcome);
        let message = clean(&message, TEXT_LIMIT);
        let file = row.file.as_ref().map(|file| format!("{file}, ")).unwrap_or_default();
        return Some(Cow::Owned(match fault.column {
            Some(column) => format!("{file}line {}, column {column}: {message}", row.line),
            None => format!("{file}line {}: {message}", row.line),
        }));
    }
    let syntax = outcome.evidence.syntax.as_ref()?;
    Some(Cow::Owned(format!(
        "at character {}: {}",
        syntax.position + 1,
        syntax.fault.sentence()
    )))
}
