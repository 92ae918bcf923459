//! HubSpot: the email events API.

use super::{Draft, Event, Item, bounced};
use crate::{
    bounce::{EventKind, report},
    replies::Class,
};

pub(super) fn read(item: &Item<'_>) -> Result<Option<Event>, String> {
    let kind = item.text("type").unwrap_or_default().to_ascii_uppercase();
    let unsubscribed = kind == "STATUSCHANGE" && is_unsubscribed(item);
    if !unsubscribed && !["BOUNCE", "DELIVERED", "DEFERRED", "SPAMREPORT"].contains(&kind.as_str()) {
        return Ok(None);
    }
    let said = item.text("response").unwrap_or_default();
    let draft = Draft {
        recipient: item.recipient("recipient")?,
        at: item.at(&["created"])?,
        diagnosed: report::diagnose(said, item.text("status"), None),
        message_id: item.id(&["smtpId"]),
        list: item
            .word("emailCampaignId")
            .map(|campaign| report::clean(&campaign, 200)),
        foreign_id: item.id(&["id"]),
    };
    let kind = match kind.as_str() {
        "DELIVERED" => EventKind::Delivered,
        "SPAMREPORT" => EventKind::Complained,
        "STATUSCHANGE" => EventKind::Unsubscribed,
        "DEFERRED" => EventKind::Deferred {
            class: draft.diagnosed.class,
        },
        _ => bounced(&draft.diagnosed, item.text("category").and_then(class), None),
    };
    Ok(Some(draft.event(kind)))
}

fn is_unsubscribed(item: &Item<'_>) -> bool {
    let source = item
        .text("portalSubscriptionStatus")
        .or_else(|| item.text("requestedBy"))
        .unwrap_or_default();
    source.eq_ignore_ascii_case("UNSUBSCRIBED")
}

/// HubSpot's category of a bounce, as the class that it names best.
pub(in crate::bounce) fn class(category: &str) -> Option<Class> {
    let category = category.trim().to_ascii_uppercase().replace([' ', '-'], "_");
    Some(match category.as_str() {
        "UNKNOWN_USER" => Class::UserUnknown,
        "MAILBOX_FULL" => Class::MailboxFull,
        "MAILBOX_MISCONFIGURATION" | "ISP_MISCONFIGURATION" => Class::ServerMisconfigured,
        "SPAM" | "ABUSE_COMPLAINT" => Class::SpamContent,
        "CONTENT" => Class::ContentRejected,
        "POLICY" => Class::Policy,
        "IP_REPUTATION" => Class::IpReputation,
        "DOMAIN_REPUTATION" => Class::DomainReputation,
        "GREYLISTING" => Class::Greylisted,
        "THROTTLED" => Class::RateLimited,
        "DMARC" | "SENDING_DOMAIN_MISCONFIGURATION" => Class::SenderAuth,
        "DNS_FAILURE" => Class::DomainNotFound,
        "TIMEOUT" => Class::Timeout,
        "TEMPORARY_PROBLEM" => Class::ServerTemporary,
        _ => return None,
    })
}
