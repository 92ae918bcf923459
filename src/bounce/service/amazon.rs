//! Amazon SES: notifications and event publishing.

use super::{Draft, Event, Given, Item, bounced};
use crate::{
    bounce::{EventKind, report},
    replies::Class,
};

pub(super) fn read(item: &Item<'_>, given: &mut Given) {
    let kind = item
        .text("eventType")
        .or_else(|| item.text("notificationType"))
        .unwrap_or_default();
    let (part, recipients) = match kind {
        "Bounce" => ("bounce", "bounce/bouncedRecipients"),
        "Complaint" => ("complaint", "complaint/complainedRecipients"),
        "Delivery" => ("delivery", "delivery/recipients"),
        "DeliveryDelay" => ("deliveryDelay", "deliveryDelay/delayedRecipients"),
        "Subscription" => ("subscription", "mail/destination"),
        _ => {
            given.others += 1;
            return;
        }
    };
    if kind == "Subscription" && is_subscribed(item) {
        given.others += 1;
        return;
    }
    let mut found = false;
    for recipient in item.objects(recipients) {
        found = true;
        given.take(one(item, &recipient, (kind, part)).map(Some));
    }
    let names = item
        .get(recipients)
        .and_then(serde_json::Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    for name in names.iter().filter_map(serde_json::Value::as_str) {
        found = true;
        let object = serde_json::Map::from_iter([("emailAddress".to_owned(), name.into())]);
        given.take(one(item, &Item(&object), (kind, part)).map(Some));
    }
    if !found {
        given.faults.push(format!("`{recipients}` is missing"));
    }
}

fn is_subscribed(item: &Item<'_>) -> bool {
    item.get("subscription/newTopicPreferences/unsubscribeAll") == Some(&serde_json::Value::Bool(false))
}

fn one(item: &Item<'_>, recipient: &Item<'_>, (kind, part): (&str, &str)) -> Result<Event, String> {
    let said = recipient
        .text("diagnosticCode")
        .or_else(|| item.text("delivery/smtpResponse"));
    let reporter = item.text(&format!("{part}/reportingMTA"));
    let foreign = item.id(&[&format!("{part}/feedbackId")]);
    let mail = item.id(&["mail/messageId"]);
    let draft = Draft {
        recipient: recipient.recipient("emailAddress")?,
        at: item.at(&[&format!("{part}/timestamp"), "mail/timestamp"])?,
        diagnosed: report::diagnose(said.unwrap_or_default(), recipient.text("status"), None),
        message_id: item.id(&["mail/commonHeaders/messageId"]).or_else(|| mail.clone()),
        list: list(item),
        // A delay may be told several times, so its time belongs to its name.
        foreign_id: foreign.or_else(|| {
            let at = item.text(&format!("{part}/timestamp"))?;
            Some(format!("{}/{kind}/{at}", mail?).into())
        }),
    };
    let event = match kind {
        "Delivery" => draft.event(EventKind::Delivered),
        "Complaint" => draft.event(EventKind::Complained),
        "Subscription" => draft.event(EventKind::Unsubscribed),
        "DeliveryDelay" => {
            let class = match item.text("deliveryDelay/delayType") {
                Some("MailboxFull") => Class::MailboxFull,
                Some("RecipientServerError" | "TransientCommunicationFailure") if draft.diagnosed.is_vague() => {
                    Class::Network
                }
                _ => draft.diagnosed.class,
            };
            draft.event(EventKind::Deferred { class })
        }
        _ => {
            let permanent = match item.text("bounce/bounceType") {
                Some("Permanent") => Some(true),
                Some("Transient") => Some(false),
                _ => None,
            };
            let called = called(item.text("bounce/bounceSubType").unwrap_or_default(), permanent);
            let kind = bounced(&draft.diagnosed, called, permanent);
            draft.event(kind)
        }
    };
    let _ = reporter;
    Ok(event)
}

/// What SES calls a bounce.
fn called(name: &str, permanent: Option<bool>) -> Option<Class> {
    match name {
        "NoEmail" | "Suppressed" | "OnAccountSuppressionList" => Some(Class::UserUnknown),
        "General" if permanent == Some(true) => Some(Class::UserUnknown),
        "MailboxFull" => Some(Class::MailboxFull),
        "MessageTooLarge" => Some(Class::MessageTooBig),
        "ContentRejected" | "AttachmentRejected" => Some(Class::ContentRejected),
        "CustomTimeoutExceeded" => Some(Class::QueueExpired),
        _ => None,
    }
}

/// The first value of a tag that names a campaign.
fn list(item: &Item<'_>) -> Option<Box<str>> {
    ["campaign", "campaign_id", "list", "ses:configuration-set"]
        .iter()
        .find_map(|name| {
            let values = item.get("mail/tags")?.as_object()?.get(*name)?.as_array()?;
            Some(report::clean(values.first()?.as_str()?, 200))
        })
}
