//! One thing that happened to one message for one recipient.

use std::{fmt, sync::Arc, time::SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    replies::{Class, Hardness, Persistence},
    smtp::EnhancedStatusCode,
};

/// One thing that happened to one message for one recipient.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// The mailbox, with its domain in lower case: as [`Address::mailbox`](crate::address::Address::mailbox) gives it.
    pub recipient: Arc<str>,
    /// What happened.
    pub kind: EventKind,
    /// When, by the clock of whoever reported it.
    pub at: SystemTime,
    /// The status code of RFC 3463 in the report.
    pub status: Option<EnhancedStatusCode>,
    /// What the remote host said, cleaned of control characters, at most 1,024 bytes.
    pub reply: Option<Box<str>>,
    /// The host that said it.
    pub remote_mta: Option<Box<str>>,
    /// The `Message-ID` of the message that was sent, without angle brackets.
    pub message_id: Option<Box<str>>,
    /// The list, campaign or tenant that the message belonged to, as the reporter names it.
    pub list: Option<Box<str>>,
    /// Who reported it.
    pub origin: Origin,
    /// The reporter's own name of this event, when it has one; see [`Event::id`].
    pub foreign_id: Option<Box<str>>,
}

/// What happened to a message for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A host took the message.
    Delivered,
    /// It came back, for good.
    Bounced {
        /// Why, by presend's own rules for replies.
        class: Class,
        /// Whether the code of the reply was transient or permanent.
        persistence: Persistence,
    },
    /// It is still on its way: `action: delayed`, or an event of that kind.
    Deferred {
        /// Why.
        class: Class,
    },
    /// The recipient reported it as spam.
    Complained,
    /// The recipient no longer wants such mail.
    Unsubscribed,
}

impl EventKind {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Bounced { .. } => "bounced",
            Self::Deferred { .. } => "deferred",
            Self::Complained => "complained",
            Self::Unsubscribed => "unsubscribed",
        }
    }

    /// Why it did not arrive; `None` where it did, or was not wanted.
    #[must_use]
    pub fn class(self) -> Option<Class> {
        match self {
            Self::Bounced { class, .. } | Self::Deferred { class } => Some(class),
            Self::Delivered | Self::Complained | Self::Unsubscribed => None,
        }
    }

    /// How bad it is for a mailing. A delay is pending, whatever its cause.
    #[must_use]
    pub fn hardness(self) -> Hardness {
        match self {
            Self::Bounced { class, persistence } => class.hardness(persistence),
            Self::Deferred { .. } => Hardness::Pending,
            Self::Delivered | Self::Complained | Self::Unsubscribed => Hardness::None,
        }
    }
}

/// Who reported an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A delivery status notification (RFC 3464), or a bounce message of another form.
    Report,
    /// A mail server's log.
    Log,
    /// An export or call of a sending service.
    Service,
    /// A list of events with columns that the operator named.
    Table,
}

impl Event {
    /// An event of which nothing else is known.
    #[must_use]
    pub fn new(recipient: impl Into<Arc<str>>, kind: EventKind, at: SystemTime, origin: Origin) -> Self {
        Self {
            recipient: recipient.into(),
            kind,
            at,
            status: None,
            reply: None,
            remote_mta: None,
            message_id: None,
            list: None,
            origin,
            foreign_id: None,
        }
    }

    /// What makes two reports of the same thing one: the reporter's own name of it with the recipient, else everything
    /// that was said. Sixteen bytes of SHA-256.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        };
        add(self.recipient.as_bytes());
        if let Some(id) = &self.foreign_id {
            add(b"named");
            add(id.as_bytes());
        } else {
            let at = self.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            add(self.kind.name().as_bytes());
            add(&at.as_millis().to_le_bytes());
            for text in [&self.reply, &self.remote_mta, &self.message_id] {
                add(text.as_deref().unwrap_or_default().as_bytes());
            }
        }
        let mut id = [0; 16];
        for (byte, hashed) in id.iter_mut().zip(hash.finalize()) {
            *byte = hashed;
        }
        id
    }
}

/// Hides the recipient: local-parts stay out of logs.
impl fmt::Debug for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Event")
            .field("kind", &self.kind)
            .field("at", &self.at)
            .field("status", &self.status)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(recipient: &str, foreign_id: Option<&str>) -> Event {
        Event {
            recipient: recipient.into(),
            kind: EventKind::Bounced {
                class: Class::UserUnknown,
                persistence: Persistence::Permanent,
            },
            at: SystemTime::UNIX_EPOCH,
            status: None,
            reply: Some("550 no such user".into()),
            remote_mta: None,
            message_id: None,
            list: None,
            origin: Origin::Report,
            foreign_id: foreign_id.map(Into::into),
        }
    }

    #[test]
    fn the_same_report_has_the_same_id() {
        let one = event("jane@example.com", None);
        assert_eq!(
            one.id(),
            Event {
                origin: Origin::Log,
                ..one.clone()
            }
            .id()
        );
        assert_ne!(one.id(), event("joe@example.com", None).id());
        assert_ne!(
            one.id(),
            Event {
                reply: None,
                ..one.clone()
            }
            .id()
        );
        let named = event("jane@example.com", Some("1"));
        assert_eq!(
            named.id(),
            Event {
                reply: None,
                ..named.clone()
            }
            .id()
        );
        assert_ne!(named.id(), event("jane@example.com", Some("2")).id());
        assert_ne!(
            named.id(),
            event("joe@example.com", Some("1")).id(),
            "one call may name several recipients"
        );
    }

    #[test]
    fn a_recipient_stays_out_of_logs() {
        assert!(!format!("{:?}", event("jane@example.com", None)).contains("jane"));
    }
}
