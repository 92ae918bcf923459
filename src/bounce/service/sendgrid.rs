//! SendGrid: the event webhook, also as a file.

use super::{Draft, Event, Item, bounced};
use crate::{
    bounce::{EventKind, report},
    replies::Class,
};

pub(super) fn read(item: &Item<'_>) -> Result<Option<Event>, String> {
    let kind = item.text("event").unwrap_or_default();
    if ![
        "bounce",
        "blocked",
        "delivered",
        "deferred",
        "spamreport",
        "unsubscribe",
        "group_unsubscribe",
    ]
    .contains(&kind)
    {
        return Ok(None);
    }
    let said = item
        .text("response")
        .or_else(|| item.text("reason"))
        .unwrap_or_default();
    let list = ["marketing_campaign_name", "category"].iter().find_map(|name| {
        let value = item.get(name)?;
        let first = value.as_array().and_then(|values| values.first());
        first.unwrap_or(value).as_str()
    });
    let draft = Draft {
        recipient: item.recipient("email")?,
        at: item.at(&["timestamp"])?,
        diagnosed: report::diagnose(said, item.text("status"), None),
        message_id: item.id(&["smtp-id", "sg_message_id"]),
        list: list.map(|name| report::clean(name, 200)),
        foreign_id: item.id(&["sg_event_id"]),
    };
    let kind = match kind {
        "delivered" => EventKind::Delivered,
        "spamreport" => EventKind::Complained,
        "unsubscribe" | "group_unsubscribe" => EventKind::Unsubscribed,
        "deferred" => EventKind::Deferred {
            class: draft.diagnosed.class,
        },
        // A `blocked` bounce is one that SendGrid itself tries again with the next mailing.
        _ => {
            let named = match item.text("bounce_classification") {
                Some("Invalid Address") => Some(Class::UserUnknown),
                Some("Mailbox Unavailable") => Some(Class::MailboxFull),
                Some("Reputation") => Some(Class::IpReputation),
                Some("Content") => Some(Class::ContentRejected),
                Some("Technical") => Some(Class::Network),
                Some("Frequency or Volume Too High") => Some(Class::RateLimited),
                _ => None,
            };
            let blocked = kind == "blocked" || item.text("type") == Some("blocked");
            let called = named.or(if blocked { Some(Class::Policy) } else { None });
            bounced(&draft.diagnosed, called, blocked.then_some(false))
        }
    };
    Ok(Some(draft.event(kind)))
}
