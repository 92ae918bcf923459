//! The closed list of reply classes, and what each one says by default.

use serde::{Deserialize, Serialize};

use super::{About, Existence};

/// Makes the enum and its tables from one list, so that no class can lack a name, a subject or a default.
macro_rules! classes {
    ($($(#[$doc:meta])* $variant:ident $name:literal $about:ident $existence:ident $transient:literal;)*) => {
        /// What a reply says. Names are stable: they are `bounce.class` values too.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Class {
            $($(#[$doc])* $variant,)*
        }

        impl Class {
            /// Every class.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// About whom, unless a rule says otherwise.
            #[must_use]
            pub fn about(self) -> About {
                match self { $(Self::$variant => About::$about,)* }
            }

            /// What a 5yz at RCPT proves, unless a rule says otherwise.
            #[must_use]
            pub fn existence(self) -> Existence {
                match self { $(Self::$variant => Existence::$existence,)* }
            }

            /// The condition passes by itself, whatever the basic code (many hosts answer 5yz to haste).
            #[must_use]
            pub fn passes(self) -> bool {
                match self { $(Self::$variant => $transient,)* }
            }
        }
    };
}

classes! {
    /// 2yz at this stage.
    Accepted "accepted" Recipient None false;
    /// 251: accepted, will be forwarded (RFC 5321 section 3.4).
    Forwarded "forwarded" Recipient None false;
    /// 252: cannot verify, will try (RFC 5321 section 3.5.3).
    CannotVerify "cannot_verify" Recipient None false;
    /// No such mailbox.
    UserUnknown "user_unknown" Recipient DoesNotExist false;
    /// The mailbox existed and cannot receive.
    UserDisabled "user_disabled" Recipient Undeliverable false;
    /// The mailbox moved.
    UserMoved "user_moved" Recipient Undeliverable false;
    /// The server refuses the form of the address.
    BadAddressSyntax "bad_address_syntax" Recipient Undeliverable false;
    /// Over quota: it exists.
    MailboxFull "mailbox_full" Recipient Exists false;
    /// This mailbox receives too much right now: it exists where the provider checks the mailbox first.
    RecipientThrottled "recipient_throttled" Recipient Exists true;
    /// It exists and refuses outsiders or us.
    RecipientRestricted "recipient_restricted" Recipient Exists false;
    /// The server says that the domain does not exist. Proves nothing: our own DNS answered before.
    DomainNotFound "domain_not_found" Recipient None false;
    /// The domain takes no mail (521, 556, RFC 7504).
    DomainNoMail "domain_no_mail" Recipient Undeliverable false;
    /// The domain is not served there.
    RelayDenied "relay_denied" Server None false;
    /// The server is still asking the host behind it.
    AddressVerificationPending "address_verification_pending" Server None true;
    /// Greylisting (RFC 6647).
    Greylisted "greylisted" Sender None true;
    /// We ask too fast.
    RateLimited "rate_limited" Sender None true;
    /// We hold too many connections.
    TooManyConnections "too_many_connections" Sender None true;
    /// Too many recipients in one transaction or session.
    TooManyRecipients "too_many_recipients" Sender None true;
    /// Dictionary-attack defence: voids the session's other refusals.
    HarvestProtection "harvest_protection" Sender None true;
    /// A blocklist names our address.
    IpBlocklisted "ip_blocklisted" Sender None false;
    /// Our address has a poor reputation.
    IpReputation "ip_reputation" Sender None false;
    /// Our domain has a poor reputation.
    DomainReputation "domain_reputation" Sender None false;
    /// SPF, DKIM or DMARC of the sender.
    SenderAuth "sender_auth" Sender None false;
    /// PTR, HELO name or the reverse-path's DNS.
    SenderDns "sender_dns" Sender None false;
    /// The reverse-path is refused.
    SenderRejected "sender_rejected" Sender None false;
    /// Policy, unspecified.
    Policy "policy" Sender None false;
    /// The server wants TLS or AUTH first.
    AuthOrTlsRequired "auth_or_tls_required" Sender None false;
    /// Spam, after DATA.
    SpamContent "spam_content" Sender None false;
    /// Content, after DATA.
    ContentRejected "content_rejected" Sender None false;
    /// Message too big.
    MessageTooBig "message_too_big" Sender None false;
    /// Unknown-user words after DATA.
    Filtered "filtered" Recipient None false;
    /// The server is busy or broken for now.
    ServerTemporary "server_temporary" Server None true;
    /// The server's disk is full.
    ServerFull "server_full" Server None true;
    /// The server is misconfigured.
    ServerMisconfigured "server_misconfigured" Server None false;
    /// A mail loop.
    RoutingLoop "routing_loop" Server None false;
    /// Protocol error, theirs or ours.
    ProtocolError "protocol_error" Server None false;
    /// The host, or the one behind it, could not be reached.
    Network "network" Server None true;
    /// Something took too long.
    Timeout "timeout" Server None true;
    /// The server's own DNS look-up failed for now.
    DnsTemporary "dns_temporary" Server None true;
    /// Somebody's retry budget is spent.
    QueueExpired "queue_expired" Server None false;
    /// Refused without saying whom it is about.
    AmbiguousDenied "ambiguous_denied" Unclear None false;
    /// Nothing known.
    Unknown "unknown" Unclear None false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_serialised_names() {
        for class in Class::ALL {
            assert_eq!(serde_json::to_value(class).unwrap(), class.name(), "{class:?}");
        }
    }
}
