//! Why: the closed list of reasons. Names are stable and documented; `presend reasons` prints them.

use crate::{address::Fault, replies::Class};

/// Makes the enum and its texts from one table, so that no reason can lack a name, a sentence or advice.
macro_rules! reasons {
    ($($variant:ident $name:literal $sentence:literal $advice:literal)*) => {
        /// Why a verdict is what it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            /// The address is not one; the fault says what is wrong.
            Syntax(Fault),
            $(#[doc = $sentence] $variant,)*
        }

        impl Reason {
            /// Every reason, syntax faults first.
            pub fn all() -> impl Iterator<Item = Self> {
                Fault::ALL.iter().map(|fault| Self::Syntax(*fault)).chain([$(Self::$variant,)*])
            }

            /// The stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    Self::Syntax(fault) => fault.name(),
                    $(Self::$variant => $name,)*
                }
            }

            /// One sentence for a person.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self {
                    Self::Syntax(fault) => fault.sentence(),
                    $(Self::$variant => $sentence,)*
                }
            }

            /// What a sender should do.
            #[must_use]
            pub fn advice(self) -> &'static str {
                match self {
                    Self::Syntax(_) => "Mend or drop the address.",
                    $(Self::$variant => $advice,)*
                }
            }
        }
    };
}

reasons! {
    MailboxExists "mailbox_exists"
        "The mail host accepted this recipient and refuses unknown ones."
        "Send."
    Forwarded "forwarded"
        "The mail host accepts the recipient and forwards (251), and refuses unknown ones."
        "Send."
    AcceptsAll "accepts_all"
        "The mail host accepts every local-part at this domain; it does not say which exist."
        "Hold; send only to contacts you know, in small numbers, and watch the bounces."
    NoSuchDomain "no_such_domain"
        "The domain does not exist in the DNS (NXDOMAIN)."
        "Drop; check the suggestion, if there is one."
    NullMx "null_mx"
        "The domain says that it takes no mail (null MX, RFC 7505)."
        "Drop."
    NoMailHost "no_mail_host"
        "The domain exists but has no host for mail."
        "Drop."
    MailboxUnknown "mailbox_unknown"
        "The mail host says that there is no such mailbox."
        "Drop: mail to it bounces hard."
    MailboxDisabled "mailbox_disabled"
        "The mail host says that the mailbox is disabled or inactive."
        "Drop."
    MailboxMoved "mailbox_moved"
        "The mail host says that the mailbox moved and takes no mail here."
        "Drop; ask the contact for the new address."
    AddressRefused "address_refused"
        "The mail host refuses the form of the address."
        "Drop."
    DomainTakesNoMail "domain_takes_no_mail"
        "The mail host says that the domain takes no mail (521, 556, RFC 7504)."
        "Drop."
    BlockListed "block_listed"
        "An entry of your block list names the address, its domain or its mail host."
        "Drop, as you decided."
    SuppressedComplained "suppressed_complained"
        "The recipient reported your mail as spam; nobody was asked."
        "Drop: mailing on costs reputation and breaks the rules of most providers."
    SuppressedUnsubscribed "suppressed_unsubscribed"
        "The recipient unsubscribed; nobody was asked."
        "Drop; only the recipient can take it back."
    SuppressedManual "suppressed_manual"
        "Somebody of yours suppressed the address; nobody was asked."
        "Drop, as you decided; `presend suppress why ADDRESS` says who and when."
    SuppressedImported "suppressed_imported"
        "A suppression list that you imported names the address; nobody was asked."
        "Drop, as you decided; `presend suppress why ADDRESS` says from where."
    SuppressedHardBounce "suppressed_hard_bounce"
        "Mail to the address bounced hard, so it is suppressed; nobody was asked."
        "Drop; `presend suppress remove ADDRESS --note WHY` lets it go if you know better."
    SuppressedBouncedElsewhere "suppressed_bounced_elsewhere"
        "Several separate lists found the mailbox unknown, so it is suppressed everywhere; nobody was asked."
        "Drop; `presend suppress why ADDRESS` names the events."
    SuppressedSoftBounces "suppressed_soft_bounces"
        "Mail to the address bounced softly too often in a row, so it is suppressed; nobody was asked."
        "Drop; `presend suppress why ADDRESS` names the events."
    SuppressedMailboxFull "suppressed_mailbox_full"
        "The mailbox was full too often in a row, so it is suppressed; nobody was asked."
        "Drop; mailboxes that stay full are abandoned."
    Delivered "delivered"
        "Mail to the address arrived lately, and nothing bounced since; nobody was asked."
        "Send."
    HardBounced "hard_bounced"
        "Mail to the address bounced hard lately, and nothing arrived since; nobody was asked."
        "Drop, unless you know why it bounced."
    AllowListed "allow_listed"
        "An entry of your allow list names the address, its domain or its mail host; nobody was asked."
        "Send, as you decided."
    LevelStop "level_stop"
        "The chosen level stops before the mail host is asked."
        "Run again with `--level smtp` for an answer about the mailbox."
    NoIdentity "no_identity"
        "No HELO name or reverse-path is configured, so no mail host was asked."
        "Set `--helo-name` and `--mail-from`."
    ProviderPolicy "provider_policy"
        "The provider's published policy forbids asking without sending."
        "Hold; decide by engagement, or permit probing of this provider."
    ProviderUntruthful "provider_untruthful"
        "This provider accepts every recipient at RCPT and bounces later; its yes means nothing."
        "Hold; watch the bounces of past mailings."
    DnsServfail "dns_servfail"
        "The DNS server of the domain failed (SERVFAIL)."
        "Retry later."
    DnsTimeout "dns_timeout"
        "The DNS did not answer in time."
        "Retry later."
    DnsRefused "dns_refused"
        "The DNS server refused the question."
        "Retry later, or use another resolver."
    DnsBogus "dns_bogus"
        "DNSSEC validation of the domain fails."
        "Retry later; the domain's owner must mend its signatures."
    DnsLoop "dns_loop"
        "The domain's names point at each other in a loop."
        "Retry later."
    DnsMalformed "dns_malformed"
        "The DNS answer could not be read."
        "Retry later."
    DnsRewritten "dns_rewritten"
        "The resolver invents answers for names that do not exist, so nothing it says counts."
        "Use another resolver: `--nameserver`."
    MxPrivate "mx_private"
        "Every mail host of the domain has a private or reserved address; nobody was dialled."
        "Hold; the domain's DNS is misconfigured."
    MxIsIp "mx_is_ip"
        "The MX record holds an IP address instead of a host name."
        "Hold; the domain's DNS is misconfigured."
    MxUnresolvable "mx_unresolvable"
        "The domain has MX records, but none of the hosts has an address."
        "Retry later; mail would wait and then bounce."
    IpFamilyUnused "ip_family_unused"
        "The domain's mail hosts have only addresses of an IP version that this run does not use."
        "Run with `--ip auto`, or with a source address of that version."
    ProxyFailed "proxy_failed"
        "The proxy is down, refused us or did not connect in time; nothing is known about the mail host."
        "Check `--proxy` and the proxy's own log, then run again."
    PortBlocked "port_25_blocked"
        "No mail host at all could be reached from here: port 25 seems blocked."
        "Run from a machine with outgoing port 25; `presend doctor` tells what is blocked."
    Unreachable "unreachable"
        "No mail host of the domain accepted a connection."
        "Retry later."
    Timeout "timeout"
        "The mail host did not answer in time."
        "Retry later."
    Tarpit "tarpit"
        "The mail host answers so slowly that the deadline passed."
        "Retry later, from an identity the host trusts."
    ConnectionLost "connection_lost"
        "The mail host dropped the connection."
        "Retry later."
    NotSmtp "not_smtp"
        "What listens there does not speak SMTP."
        "Hold."
    HostLoop "loop"
        "The mail host greets with our own name."
        "Hold; check your DNS and HELO name."
    HostRefused "host_refused"
        "The mail host refused the session in its greeting or at EHLO."
        "Retry later, from an identity the host trusts."
    Protocol "protocol"
        "The mail host broke the protocol, so nothing it said counts."
        "Retry later."
    Desynchronised "desynchronised"
        "Replies no longer matched commands, so nothing of the session counts."
        "Retry later."
    TlsInjection "tls_injection"
        "Bytes were injected around STARTTLS; the session was abandoned."
        "Hold; somebody may be tampering with the connection."
    NeedsSmtpUtf8 "needs_smtputf8"
        "The address needs SMTPUTF8 and the mail host does not offer it."
        "Hold; ask for an ASCII address."
    Greylisted "greylisted"
        "The mail host greylists unknown senders (RFC 6647)."
        "Retry after `retry_at`; presend does so by itself."
    RateLimited "rate_limited"
        "The mail host says that we ask too fast."
        "Retry later and slower."
    TooManyConnections "too_many_connections"
        "The mail host says that we hold too many connections."
        "Retry later."
    TooManyRecipients "too_many_recipients"
        "The mail host takes no more recipients in this session."
        "Retry later; presend asks in a new transaction by itself."
    HarvestProtection "harvest_protection"
        "The mail host takes us for a dictionary attack; nothing else it said counts."
        "Retry after a day, slower."
    SenderBlocked "sender_blocked"
        "The mail host blocks our address or network, often by a blocklist."
        "Follow the blocklist's removal procedure; probe from a clean address."
    SenderReputation "sender_reputation"
        "The mail host refuses us for our reputation."
        "Warm up the address; retry later."
    SenderAuth "sender_auth"
        "The mail host refuses our SPF, DKIM or DMARC."
        "Mend the records of the reverse-path's domain."
    SenderDns "sender_dns"
        "The mail host refuses our PTR, HELO name or reverse-path's DNS."
        "Make HELO = PTR = A/AAAA."
    SenderRejected "sender_rejected"
        "The mail host refuses our reverse-path."
        "Use another `--mail-from`."
    Policy "policy"
        "The mail host refuses by policy without saying more."
        "Hold; retry after a day."
    AuthOrTlsRequired "auth_or_tls_required"
        "The mail host wants TLS or authentication that we could not give."
        "Hold."
    MailboxFull "mailbox_full"
        "The mailbox exists and is over quota."
        "Hold; ask again in a day, drop after several."
    MailboxThrottled "rate_limited_mailbox"
        "The mailbox receives too much mail right now."
        "Retry later."
    MailboxRestricted "mailbox_restricted"
        "The mailbox exists and refuses outsiders."
        "Hold."
    RelayDenied "relay_denied"
        "The host says that it does not serve this domain."
        "Hold; its DNS points at the wrong host."
    VerificationPending "verification_pending"
        "The mail host is still asking the host behind it."
        "Retry later."
    ServerTemporary "server_temporary"
        "The mail host has a temporary problem."
        "Retry later."
    ServerFull "server_full"
        "The mail host's storage is full."
        "Retry later."
    ServerMisconfigured "server_misconfigured"
        "The mail host is misconfigured."
        "Hold; retry after a day."
    RoutingLoop "routing_loop"
        "The mail host reports a mail loop."
        "Hold; retry after a day."
    DomainDoubt "domain_doubt"
        "The mail host says that the domain does not exist, and the DNS says that it does."
        "Hold; retry after a day."
    AmbiguousRefusal "ambiguous_refusal"
        "The mail host refused without saying whether it means the mailbox or us."
        "Hold."
    UnclassifiedReply "unclassified_reply"
        "No rule knows this reply."
        "Hold; report the reply, please."
    BlanketRefusal "blanket_refusal"
        "The mail host gave every recipient, even a random one, the same refusal."
        "Hold; the refusal is probably about us."
    CatchAllUndetermined "catchall_undetermined"
        "The recipient was accepted, but whether the host accepts everything is not known."
        "Retry later."
    CannotVerify "cannot_verify"
        "The mail host said 252: it will try, and does not know."
        "Hold."
    Inconsistent "inconsistent"
        "The answers of the mail hosts contradict each other."
        "Hold; retry later."
    BackupMxOnly "backup_mx_only"
        "Only a backup host answered, and backups accept everything."
        "Retry when the primary host is back."
    BudgetSpent "budget_spent"
        "The polite number of questions to this mail host was spent."
        "Resume later."
    Interrupted "interrupted"
        "The run was interrupted before this address was asked about."
        "Run again."
    Offline "offline"
        "Nothing is kept about the address, and `--offline` asks nobody."
        "Run again without `--offline`."
    AbuseGuard "abuse_guard"
        "Most addresses of this domain were refused, as guessed ones are; nobody else of it was asked about."
        "Hold. Is the domain your own? `--i-own DOMAIN` lifts the guard once its zone proves it."
    RowError "row_error"
        "The row could not be read."
        "Mend the row; the line and column are in the evidence."
    Internal "internal"
        "Our own fault; the address was set aside."
        "Report it, please."
}

impl Reason {
    /// The class under which a mailing's bounce would be filed, which other systems have names for; `None` where no bounce is
    /// expected or nothing is known.
    #[must_use]
    pub fn class(self) -> Option<Class> {
        Some(match self {
            Self::Syntax(_) | Self::AddressRefused => Class::BadAddressSyntax,
            Self::NoSuchDomain | Self::DomainDoubt => Class::DomainNotFound,
            Self::NullMx | Self::NoMailHost | Self::DomainTakesNoMail => Class::DomainNoMail,
            Self::MailboxUnknown
            | Self::HardBounced
            | Self::SuppressedHardBounce
            | Self::SuppressedBouncedElsewhere => Class::UserUnknown,
            Self::MailboxDisabled => Class::UserDisabled,
            Self::MailboxMoved => Class::UserMoved,
            Self::MailboxFull | Self::SuppressedMailboxFull => Class::MailboxFull,
            Self::MailboxThrottled => Class::RecipientThrottled,
            Self::MailboxRestricted => Class::RecipientRestricted,
            Self::RelayDenied => Class::RelayDenied,
            Self::VerificationPending => Class::AddressVerificationPending,
            Self::Greylisted => Class::Greylisted,
            Self::RateLimited => Class::RateLimited,
            Self::TooManyConnections => Class::TooManyConnections,
            Self::TooManyRecipients => Class::TooManyRecipients,
            Self::HarvestProtection => Class::HarvestProtection,
            Self::SenderBlocked => Class::IpBlocklisted,
            Self::SenderReputation => Class::IpReputation,
            Self::SenderAuth => Class::SenderAuth,
            Self::SenderDns => Class::SenderDns,
            Self::SenderRejected => Class::SenderRejected,
            Self::Policy => Class::Policy,
            Self::AuthOrTlsRequired => Class::AuthOrTlsRequired,
            Self::ServerTemporary => Class::ServerTemporary,
            Self::ServerFull => Class::ServerFull,
            Self::ServerMisconfigured => Class::ServerMisconfigured,
            Self::SuppressedSoftBounces => Class::QueueExpired,
            Self::RoutingLoop | Self::HostLoop => Class::RoutingLoop,
            Self::AmbiguousRefusal | Self::BlanketRefusal => Class::AmbiguousDenied,
            Self::UnclassifiedReply | Self::HostRefused => Class::Unknown,
            Self::Protocol | Self::NotSmtp | Self::Desynchronised | Self::TlsInjection | Self::NeedsSmtpUtf8 => {
                Class::ProtocolError
            }
            Self::Unreachable | Self::ConnectionLost => Class::Network,
            Self::Timeout | Self::Tarpit => Class::Timeout,
            Self::DnsServfail
            | Self::DnsTimeout
            | Self::DnsRefused
            | Self::DnsBogus
            | Self::DnsLoop
            | Self::DnsMalformed
            | Self::DnsRewritten
            | Self::MxPrivate
            | Self::MxIsIp
            | Self::MxUnresolvable => Class::DnsTemporary,
            Self::MailboxExists
            | Self::Forwarded
            | Self::AcceptsAll
            | Self::BlockListed
            | Self::SuppressedComplained
            | Self::SuppressedUnsubscribed
            | Self::SuppressedManual
            | Self::SuppressedImported
            | Self::Delivered
            | Self::AllowListed
            | Self::LevelStop
            | Self::NoIdentity
            | Self::ProviderPolicy
            | Self::ProviderUntruthful
            | Self::IpFamilyUnused
            | Self::ProxyFailed
            | Self::PortBlocked
            | Self::CatchAllUndetermined
            | Self::CannotVerify
            | Self::Inconsistent
            | Self::BackupMxOnly
            | Self::BudgetSpent
            | Self::Interrupted
            | Self::Offline
            | Self::AbuseGuard
            | Self::RowError
            | Self::Internal => return None,
        })
    }
}

impl std::str::FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::all().find(|reason| reason.name() == name).ok_or(UnknownReason)
    }
}

/// The text names no reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no reason has this name; `presend reasons` lists them")]
pub struct UnknownReason;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_a_row_and_a_name_of_its_own() {
        let mut names = HashSet::new();
        for reason in Reason::all() {
            assert!(names.insert(reason.name()), "{reason:?} shares its name");
            assert!(
                !reason.sentence().is_empty() && !reason.advice().is_empty(),
                "{reason:?}"
            );
            assert_eq!(reason.name().parse(), Ok(reason));
        }
    }
}
