//! Mailgun: webhooks and the events API.

use super::{Draft, Event, Item, bounced};
use crate::{
    bounce::{EventKind, report},
    replies::Class,
};

pub(super) fn read(item: &Item<'_>) -> Result<Option<Event>, String> {
    let kind = item.text("event").unwrap_or_default();
    if ![
        "failed",
        "delivered",
        "complained",
        "unsubscribed",
        "bounced",
        "dropped",
    ]
    .contains(&kind)
    {
        return Ok(None);
    }
    let said = ["delivery-status/message", "delivery-status/description", "error"]
        .iter()
        .find_map(|path| item.text(path))
        .unwrap_or_default();
    let code = item.word("delivery-status/code").or_else(|| item.word("code"));
    let told = match code.filter(|code| code.len() == 3 && !said.trim_start().starts_with(code.as_str())) {
        // Codes from 600 are Mailgun's own: 605 is its suppression list.
        Some(code) if code.starts_with(['4', '5']) && !said.is_empty() => format!("{code} {said}"),
        _ => said.to_owned(),
    };
    let list = ["campaigns", "tags"]
        .iter()
        .find_map(|name| item.get(name)?.as_array()?.first()?.as_str())
        .map(|name| report::clean(name, 200));
    let draft = Draft {
        recipient: item.recipient("recipient")?,
        at: item.at(&["timestamp"])?,
        diagnosed: report::diagnose(
            &told,
            item.text("delivery-status/enhanced-code"),
            item.text("delivery-status/mx-host"),
        ),
        message_id: item.id(&["message/headers/message-id", "Message-Id"]),
        list,
        foreign_id: item.id(&["id"]),
    };
    let permanent = item.text("severity").map(|severity| severity == "permanent");
    let reason = item.text("reason").unwrap_or_default();
    if matches!(reason, "suppress-unsubscribe" | "suppress-complaint") {
        return Ok(None);
    }
    let kind = match kind {
        "delivered" => EventKind::Delivered,
        "complained" => EventKind::Complained,
        "unsubscribed" => EventKind::Unsubscribed,
        // A temporary failure is tried again, and told again when it becomes final.
        "failed" if permanent == Some(false) => EventKind::Deferred {
            class: draft.diagnosed.class,
        },
        _ => {
            let called = match reason {
                "suppress-bounce" => Some(Class::UserUnknown),
                "old" => Some(Class::QueueExpired),
                "espblock" => Some(Class::Policy),
                _ => None,
            };
            bounced(&draft.diagnosed, called, permanent)
        }
    };
    Ok(Some(draft.event(kind)))
}
