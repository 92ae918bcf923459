//! Postmark: webhooks and the bounces API.

use super::{Draft, Event, Item, bounced};
use crate::{
    bounce::{EventKind, report},
    replies::Class,
};

pub(super) fn read(item: &Item<'_>) -> Result<Option<Event>, String> {
    let record = item.text("RecordType").unwrap_or("Bounce");
    let (recipient, date) = match record {
        "Bounce" | "SpamComplaint" => ("Email", "BouncedAt"),
        "Delivery" => ("Recipient", "DeliveredAt"),
        "SubscriptionChange" => ("Recipient", "ChangedAt"),
        _ => return Ok(None),
    };
    let name = item.text("Type").unwrap_or_default();
    let said = item
        .text("Details")
        .or_else(|| item.text("Description"))
        .unwrap_or_default();
    let draft = Draft {
        recipient: item.recipient(recipient)?,
        at: item.at(&[date])?,
        diagnosed: report::diagnose(said, None, None),
        message_id: item.id(&["MessageID"]),
        list: item
            .text("Tag")
            .or_else(|| item.text("MessageStream"))
            .map(|name| report::clean(name, 200)),
        foreign_id: item.id(&["ID"]).map(|id| format!("{record}/{id}").into()),
    };
    let kind = match (record, name) {
        ("Delivery", _) => EventKind::Delivered,
        ("SpamComplaint", _) | (_, "SpamComplaint") => EventKind::Complained,
        ("SubscriptionChange", _) => {
            let suppressed = item.get("SuppressSending").and_then(serde_json::Value::as_bool);
            match (suppressed, item.text("SuppressionReason")) {
                (Some(true), Some("ManualSuppression")) => EventKind::Unsubscribed,
                // The bounce or the complaint that caused it is told by itself.
                _ => return Ok(None),
            }
        }
        (_, "Unsubscribe") => EventKind::Unsubscribed,
        (
            _,
            "Subscribe"
            | "AutoResponder"
            | "AddressChange"
            | "ChallengeVerification"
            | "OpenRelayTest"
            | "InboundError"
            | "TemplateRenderingFailed",
        ) => {
            return Ok(None);
        }
        _ => bounced(&draft.diagnosed, called(name), permanent(name)),
    };
    Ok(Some(draft.event(kind)))
}

/// Postmark's types of bounce.
fn called(name: &str) -> Option<Class> {
    match name {
        "HardBounce" => Some(Class::UserUnknown),
        "BadEmailAddress" => Some(Class::BadAddressSyntax),
        "DnsError" => Some(Class::DnsTemporary),
        "SpamNotification" => Some(Class::SpamContent),
        "VirusNotification" => Some(Class::ContentRejected),
        "Blocked" => Some(Class::Policy),
        "DMARCPolicy" => Some(Class::SenderAuth),
        "SMTPApiError" => Some(Class::ServerMisconfigured),
        "Transient" => Some(Class::ServerTemporary),
        _ => None,
    }
}

fn permanent(name: &str) -> Option<bool> {
    match name {
        "HardBounce" | "BadEmailAddress" => Some(true),
        "Transient" | "SoftBounce" | "DnsError" => Some(false),
        _ => None,
    }
}
