//! The closed list of reply classes, and what each one says by default.

use serde::{Deserialize, Serialize};

use super::{About, Existence};

/// Makes the enum and its tables from one list, so that no class can lack a name, a subject or a default.
macro_rules! classes {
    ($(#[doc = $sentence:literal] $variant:ident $name:literal $about:ident $existence:ident $transient:literal $advice:literal;)*) => {
        /// What a reply says. Names are stable: they are `bounce.class` values too.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Class {
            $(#[doc = $sentence] $variant,)*
        }

        impl Class {
            /// Every class.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One sentence for a person.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence.trim_ascii_start(),)* }
            }

            /// What a sender should do.
            #[must_use]
            pub fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)* }
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
    /// Accepted (2yz).
    Accepted "accepted" Recipient None false
        "Send, if the host is known to refuse unknown recipients: `presend check` finds out.";
    /// Accepted, will be forwarded (251, RFC 5321 section 3.4).
    Forwarded "forwarded" Recipient None false
        "Send, if the host is known to refuse unknown recipients.";
    /// Cannot verify, will try (252, RFC 5321 section 3.5.3).
    CannotVerify "cannot_verify" Recipient None false
        "Hold: the host promises nothing.";
    /// No such mailbox.
    UserUnknown "user_unknown" Recipient DoesNotExist false
        "Remove the address; mail to it bounces and costs reputation.";
    /// The mailbox existed and cannot receive.
    UserDisabled "user_disabled" Recipient Undeliverable false
        "Remove the address, or ask once more after 30 days.";
    /// The mailbox moved.
    UserMoved "user_moved" Recipient Undeliverable false
        "Remove the address and ask the contact for the new one.";
    /// The server refuses the form of the address.
    BadAddressSyntax "bad_address_syntax" Recipient Undeliverable false
        "Mend or remove the address.";
    /// The mailbox exists and is over quota.
    MailboxFull "mailbox_full" Recipient Exists false
        "Hold; ask again after a day, and remove the address after several times in a row.";
    /// This mailbox receives too much right now: it exists where the provider checks the mailbox first.
    RecipientThrottled "recipient_throttled" Recipient Exists true
        "Hold; ask again after 1 to 4 hours.";
    /// The mailbox exists and refuses outsiders or us.
    RecipientRestricted "recipient_restricted" Recipient Exists false
        "Hold; only the mailbox's owner can let you in.";
    /// The server says that the domain does not exist. Proves nothing: our own DNS answered before.
    DomainNotFound "domain_not_found" Recipient None false
        "Check the spelling and the DNS of the domain; ask again after an hour and after a day.";
    /// The domain takes no mail (521, 556, RFC 7504).
    DomainNoMail "domain_no_mail" Recipient Undeliverable false
        "Remove the address.";
    /// The domain is not served there.
    RelayDenied "relay_denied" Server None false
        "Hold; try the domain's other mail hosts, or again after a day: its DNS may point at the wrong host.";
    /// The server is still asking the host behind it.
    AddressVerificationPending "address_verification_pending" Server None true
        "Ask again after 5 to 15 minutes.";
    /// Unknown senders must come again later: greylisting (RFC 6647).
    Greylisted "greylisted" Sender None true
        "Ask again after 5 minutes, or when the reply says, as the same sender; presend does so by itself.";
    /// We ask too fast.
    RateLimited "rate_limited" Sender None true
        "Ask again after 15 to 60 minutes, slower.";
    /// We hold too many connections.
    TooManyConnections "too_many_connections" Sender None true
        "Ask again after 1 to 15 minutes, over fewer connections.";
    /// Too many recipients in one transaction or session.
    TooManyRecipients "too_many_recipients" Sender None true
        "Ask about the rest in another transaction; presend does so by itself.";
    /// Dictionary-attack defence: voids the session's other refusals.
    HarvestProtection "harvest_protection" Sender None true
        "Stop; clean the list, and ask again after a day at half the rate.";
    /// A blocklist names our address.
    IpBlocklisted "ip_blocklisted" Sender None false
        "Ask the blocklist to remove your IP address; use another one until then.";
    /// Our address has a poor reputation.
    IpReputation "ip_reputation" Sender None false
        "Wait 2 hours or more; warm the IP address up, or use another.";
    /// Our domain has a poor reputation.
    DomainReputation "domain_reputation" Sender None false
        "Wait 4 hours or more; warm your domain up.";
    /// SPF, DKIM or DMARC of the sender fails.
    SenderAuth "sender_auth" Sender None false
        "Mend SPF, DKIM and DMARC of your domain.";
    /// Our PTR, HELO name or the reverse-path's DNS is refused.
    SenderDns "sender_dns" Sender None false
        "Make HELO name, PTR and A/AAAA agree, and give the reverse-path's domain an MX.";
    /// The reverse-path is refused.
    SenderRejected "sender_rejected" Sender None false
        "Use another reverse-path.";
    /// Refused by policy, without saying which.
    Policy "policy" Sender None false
        "Hold; ask again after a day, or from another IP address.";
    /// The server wants TLS or AUTH first.
    AuthOrTlsRequired "auth_or_tls_required" Sender None false
        "Use STARTTLS; presend does wherever it is offered.";
    /// The message looks like spam; said after DATA.
    SpamContent "spam_content" Sender None false
        "Change the message; the address may be fine.";
    /// The content of the message is refused; said after DATA.
    ContentRejected "content_rejected" Sender None false
        "Change the message; the address may be fine.";
    /// The message is too big.
    MessageTooBig "message_too_big" Sender None false
        "Send a smaller message.";
    /// Words about an unknown mailbox, after DATA.
    Filtered "filtered" Recipient None false
        "Hold; the mailbox may or may not exist.";
    /// The server is busy or broken for now.
    ServerTemporary "server_temporary" Server None true
        "Ask again after 5, 15 and 60 minutes.";
    /// The server's disk is full.
    ServerFull "server_full" Server None true
        "Ask again after 1 to 4 hours.";
    /// The server is misconfigured.
    ServerMisconfigured "server_misconfigured" Server None false
        "Hold; ask again after a day.";
    /// A mail loop.
    RoutingLoop "routing_loop" Server None false
        "Hold; ask again after a day.";
    /// A protocol error, theirs or ours, or no SMTP at all.
    ProtocolError "protocol_error" Server None false
        "Ask once more in a new session.";
    /// The host, or the one behind it, could not be reached.
    Network "network" Server None true
        "Try the domain's other mail hosts; ask again after 5, 15 and 60 minutes.";
    /// Something took too long.
    Timeout "timeout" Server None true
        "Ask again after 15 and 60 minutes.";
    /// The server's own DNS look-up failed for now.
    DnsTemporary "dns_temporary" Server None true
        "Ask again after 5 and 30 minutes.";
    /// A queue gave up after its retries.
    QueueExpired "queue_expired" Server None false
        "Hold; try another day.";
    /// Refused without saying whom it is about.
    AmbiguousDenied "ambiguous_denied" Unclear None false
        "Hold; ask once more from another IP address. The same words twice prove nothing.";
    /// No rule knows this reply.
    Unknown "unknown" Unclear None false
        "Hold; report the reply, so that a rule can be written.";
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
