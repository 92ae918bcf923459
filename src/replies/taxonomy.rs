//! What other systems call our classes (REPLIES.md 2.2 and 2.3). Names only: no verdict depends on them.

use super::{Class, Persistence};

/// How bad a bounce of this kind is for a mailing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hardness {
    /// The address is dead.
    Hard,
    /// A bounce for another reason.
    Soft,
    /// Mail would be queued and tried again.
    Pending,
    /// No bounce.
    None,
}

impl Hardness {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
            Self::Pending => "pending",
            Self::None => "none",
        }
    }
}

/// ZeroBounce's two-level result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ZeroBounce {
    /// `valid`, `invalid`, `unknown` ...
    pub status: &'static str,
    /// The detail; empty when there is none.
    pub sub_status: &'static str,
}

/// One line for each class: hardness, then the names HubSpot, Mailpro, ZeroBounce, NeverBounce, Sisimai and KumoMTA give it, then the
/// enhanced code that says it (RFC 3463 and its registry; a default only).
macro_rules! names {
    ($($class:ident: $hard:ident $hubspot:literal $mailpro:literal $status:literal $sub:literal $never:literal $sisimai:literal $kumo:literal $code:literal;)*) => {
        impl Class {
            /// The default hardness of a bounce of this class. A transient reply never makes a hard one.
            #[must_use]
            pub fn hardness(self, persistence: Persistence) -> Hardness {
                let hardness = match self { $(Self::$class => Hardness::$hard,)* };
                match (hardness, persistence) {
                    (Hardness::Hard, Persistence::Transient) => Hardness::Pending,
                    (Hardness::Soft, Persistence::Transient) if self != Self::MailboxFull => Hardness::Pending,
                    (hardness, _) => hardness,
                }
            }

            /// HubSpot's bounce category; empty for an acceptance.
            #[must_use]
            pub fn hubspot(self) -> &'static str {
                match self { $(Self::$class => $hubspot,)* }
            }

            /// Mailpro's (and PowerMTA's) bounce category; empty for an acceptance.
            #[must_use]
            pub fn mailpro(self) -> &'static str {
                match self { $(Self::$class => $mailpro,)* }
            }

            /// ZeroBounce's status and sub_status.
            #[must_use]
            pub fn zerobounce(self) -> ZeroBounce {
                match self { $(Self::$class => ZeroBounce { status: $status, sub_status: $sub },)* }
            }

            /// NeverBounce's result.
            #[must_use]
            pub fn neverbounce(self) -> &'static str {
                match self { $(Self::$class => $never,)* }
            }

            /// Sisimai's reason.
            #[must_use]
            pub fn sisimai(self) -> &'static str {
                match self { $(Self::$class => $sisimai,)* }
            }

            /// KumoMTA's predefined classification.
            #[must_use]
            pub fn kumomta(self) -> &'static str {
                match self { $(Self::$class => $kumo,)* }
            }

            /// The enhanced status code (RFC 3463) that says this; empty where none does.
            #[must_use]
            pub fn enhanced(self) -> &'static str {
                match self { $(Self::$class => $code,)* }
            }
        }
    };
}

names! {
    Accepted: None "" "" "valid" "" "valid" "delivered" "" "2.1.5";
    Forwarded: None "" "" "valid" "mx_forward" "valid" "delivered" "" "2.1.5";
    CannotVerify: None "" "" "unknown" "" "unknown" "delivered" "" "2.1.5";
    UserUnknown: Hard "UNKNOWN_USER" "bad-mailbox" "invalid" "mailbox_not_found" "invalid" "userunknown" "InvalidRecipient" "5.1.1";
    UserDisabled: Hard "UNKNOWN_USER" "inactive-mailbox" "invalid" "mailbox_not_found" "invalid" "suspend" "InactiveMailbox" "5.2.1";
    UserMoved: Hard "UNKNOWN_USER" "bad-mailbox" "invalid" "mailbox_not_found" "invalid" "hasmoved" "InactiveMailbox" "5.1.6";
    BadAddressSyntax: Hard "UNKNOWN_USER" "bad-mailbox" "invalid" "failed_syntax_check" "invalid" "syntaxerror" "InvalidRecipient" "5.1.3";
    MailboxFull: Soft "MAILBOX_FULL" "quota-issues" "invalid" "mailbox_quota_exceeded" "unknown" "mailboxfull" "QuotaIssues" "5.2.2";
    RecipientThrottled: Pending "THROTTLED" "quota-issues" "unknown" "mail_server_temporary_error" "unknown" "speeding" "TransientFailure" "4.2.1";
    RecipientRestricted: Soft "POLICY" "policy-related" "unknown" "antispam_system" "unknown" "filtered" "PolicyRelated" "5.7.2";
    DomainNotFound: Hard "DNS_FAILURE" "bad-domain" "invalid" "no_dns_entries" "invalid" "hostunknown" "BadDomain" "5.1.2";
    DomainNoMail: Hard "DNS_FAILURE" "bad-domain" "invalid" "does_not_accept_mail" "invalid" "notaccept" "BadDomain" "5.1.10";
    RelayDenied: Soft "ISP_MISCONFIGURATION" "routing-error" "unknown" "failed_smtp_connection" "unknown" "norelaying" "RelayDenied" "";
    AddressVerificationPending: Pending "TEMPORARY_PROBLEM" "no-answer-from-host" "unknown" "mail_server_temporary_error" "unknown" "userunknown" "TransientFailure" "4.1.1";
    Greylisted: Pending "GREYLISTING" "policy-related" "unknown" "greylisted" "unknown" "blocked" "TransientFailure" "4.7.1";
    RateLimited: Pending "THROTTLED" "policy-related" "unknown" "mail_server_temporary_error" "unknown" "speeding" "TransientFailure" "4.7.28";
    TooManyConnections: Pending "THROTTLED" "bad-connection" "unknown" "mail_server_temporary_error" "unknown" "toomanyconn" "BadConnection" "4.7.0";
    TooManyRecipients: Pending "THROTTLED" "policy-related" "unknown" "mail_server_temporary_error" "unknown" "toomanyconn" "TooManyRecipients" "4.5.3";
    HarvestProtection: Pending "POLICY" "policy-related" "unknown" "antispam_system" "unknown" "blocked" "SpamBlock" "";
    IpBlocklisted: Soft "IP_REPUTATION" "spam-related" "unknown" "antispam_system" "unknown" "blocked" "SpamBlock" "5.7.1";
    IpReputation: Soft "IP_REPUTATION" "spam-related" "unknown" "antispam_system" "unknown" "badreputation" "SpamBlock" "5.7.1";
    DomainReputation: Soft "DOMAIN_REPUTATION" "spam-related" "unknown" "antispam_system" "unknown" "badreputation" "SpamBlock" "5.7.1";
    SenderAuth: Soft "DMARC" "invalid-sender" "unknown" "antispam_system" "unknown" "authfailure" "AuthenticationFailed" "5.7.26";
    SenderDns: Soft "SENDING_DOMAIN_MISCONFIGURATION" "invalid-sender" "unknown" "antispam_system" "unknown" "requireptr" "InvalidSender" "5.7.25";
    SenderRejected: Soft "POLICY" "invalid-sender" "unknown" "antispam_system" "unknown" "rejected" "InvalidSender" "5.1.7";
    Policy: Soft "POLICY" "policy-related" "unknown" "antispam_system" "unknown" "policyviolation" "PolicyRelated" "5.7.1";
    AuthOrTlsRequired: Soft "SENDING_DOMAIN_MISCONFIGURATION" "bad-configuration" "unknown" "antispam_system" "unknown" "securityerror" "AuthenticationFailed" "5.7.10";
    SpamContent: Soft "SPAM" "spam-related" "unknown" "antispam_system" "unknown" "spamdetected" "SpamContent" "5.7.1";
    ContentRejected: Soft "CONTENT" "content-related" "unknown" "antispam_system" "unknown" "contenterror" "ContentRelated" "5.6.0";
    MessageTooBig: Soft "CONTENT" "content-related" "unknown" "antispam_system" "unknown" "mesgtoobig" "QuotaIssues" "5.3.4";
    Filtered: Soft "FILTERED" "content-related" "unknown" "antispam_system" "unknown" "filtered" "PolicyRelated" "5.2.0";
    ServerTemporary: Pending "TEMPORARY_PROBLEM" "no-answer-from-host" "unknown" "mail_server_temporary_error" "unknown" "systemerror" "TransientFailure" "4.3.0";
    ServerFull: Pending "TEMPORARY_PROBLEM" "bad-configuration" "unknown" "mail_server_temporary_error" "unknown" "systemfull" "QuotaIssues" "4.3.1";
    ServerMisconfigured: Soft "ISP_MISCONFIGURATION" "bad-configuration" "unknown" "mail_server_temporary_error" "unknown" "systemerror" "BadConfiguration" "5.3.5";
    RoutingLoop: Soft "ISP_MISCONFIGURATION" "routing-error" "unknown" "mail_server_temporary_error" "unknown" "networkerror" "RoutingErrors" "5.4.6";
    ProtocolError: Soft "ISP_MISCONFIGURATION" "protocol-error" "unknown" "exception_occurred" "unknown" "syntaxerror" "ProtocolErrors" "5.5.0";
    Network: Pending "TIMEOUT" "bad-connection" "unknown" "failed_smtp_connection" "unknown" "networkerror" "BadConnection" "4.4.2";
    Timeout: Pending "TIMEOUT" "no-answer-from-host" "unknown" "timeout_exceeded" "unknown" "expired" "NoAnswerFromHost" "4.4.1";
    DnsTemporary: Pending "DNS_FAILURE" "no-answer-from-host" "unknown" "mail_server_did_not_respond" "unknown" "networkerror" "DNSFailure" "4.4.3";
    QueueExpired: Soft "TEMPORARY_PROBLEM" "message-expired" "unknown" "mail_server_did_not_respond" "unknown" "expired" "MessageExpired" "4.4.7";
    AmbiguousDenied: Soft "FILTERED" "policy-related" "unknown" "exception_occurred" "unknown" "rejected" "Uncategorized" "";
    Unknown: Soft "UNCATEGORIZED" "policy-related" "unknown" "exception_occurred" "unknown" "undefined" "Uncategorized" "5.0.0";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replies::About;

    #[test]
    fn only_a_class_about_the_recipient_is_hard_and_never_for_a_transient_reply() {
        for class in Class::ALL {
            assert_ne!(class.hardness(Persistence::Transient), Hardness::Hard, "{class:?}");
            if class.hardness(Persistence::Permanent) == Hardness::Hard {
                assert_eq!(class.about(), About::Recipient, "{class:?}");
            }
        }
    }

    #[test]
    fn every_refusal_has_a_name_elsewhere() {
        for class in Class::ALL {
            let accepted = class.hardness(Persistence::Permanent) == Hardness::None;
            assert_eq!(class.hubspot().is_empty(), accepted, "{class:?}");
            assert_eq!(class.mailpro().is_empty(), accepted, "{class:?}");
            assert!(
                !class.zerobounce().status.is_empty() && !class.sisimai().is_empty(),
                "{class:?}"
            );
        }
    }
}
