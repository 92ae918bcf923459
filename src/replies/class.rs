//! The closed list of reply classes.

use serde::{Deserialize, Serialize};

/// What a reply says. Names are stable: they are `bounce.class` values too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// 2yz at this stage.
    Accepted,
    /// 251: accepted, will be forwarded (RFC 5321 section 3.4).
    Forwarded,
    /// 252: cannot verify, will try (RFC 5321 section 3.5.3).
    CannotVerify,
    /// No such mailbox.
    UserUnknown,
    /// The mailbox existed and cannot receive.
    UserDisabled,
    /// The mailbox moved.
    UserMoved,
    /// The server refuses the form of the address.
    BadAddressSyntax,
    /// Over quota: it exists.
    MailboxFull,
    /// This mailbox receives too much right now: it exists where the provider checks the mailbox first.
    RecipientThrottled,
    /// It exists and refuses outsiders or us.
    RecipientRestricted,
    /// The server says that the domain does not exist.
    DomainNotFound,
    /// The domain takes no mail (521, 556, RFC 7504).
    DomainNoMail,
    /// The domain is not served there.
    RelayDenied,
    /// The server is still asking the host behind it.
    AddressVerificationPending,
    /// Greylisting (RFC 6647).
    Greylisted,
    /// We ask too fast.
    RateLimited,
    /// We hold too many connections.
    TooManyConnections,
    /// Too many recipients in one transaction or session.
    TooManyRecipients,
    /// Dictionary-attack defence: voids the session's other refusals.
    HarvestProtection,
    /// A blocklist names our address.
    IpBlocklisted,
    /// Our address has a poor reputation.
    IpReputation,
    /// Our domain has a poor reputation.
    DomainReputation,
    /// SPF, DKIM or DMARC of the sender.
    SenderAuth,
    /// PTR, HELO name or the reverse-path's DNS.
    SenderDns,
    /// The reverse-path is refused.
    SenderRejected,
    /// Policy, unspecified.
    Policy,
    /// The server wants TLS or AUTH first.
    AuthOrTlsRequired,
    /// Spam, after DATA.
    SpamContent,
    /// Content, after DATA.
    ContentRejected,
    /// Message too big.
    MessageTooBig,
    /// Unknown-user words after DATA.
    Filtered,
    /// The server is busy or broken for now.
    ServerTemporary,
    /// The server's disk is full.
    ServerFull,
    /// The server is misconfigured.
    ServerMisconfigured,
    /// A mail loop.
    RoutingLoop,
    /// Protocol error, theirs or ours.
    ProtocolError,
    /// Refused without saying whom it is about.
    AmbiguousDenied,
    /// Nothing known.
    Unknown,
}
