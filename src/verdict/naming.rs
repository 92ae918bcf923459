//! Under which reason, and which class of bounce, each observation is reported. Must not decide labels: that is `judge`.

use std::sync::Arc;

use super::{Answer, NotTried, Observed, ProbeFailure, Reason, SessionDoubt};
use crate::{
    dns::{DnsFailure, MailRoute, RouteFailure},
    replies::{Class, DeadKind, DeadRecipient},
    smtp::Stage,
};

/// Under which reason an attempt that settled nothing is reported; `None` when nobody was asked.
#[must_use]
pub fn reason_of_attempt(answer: &Observed<Arc<Answer>, ProbeFailure>) -> Option<Reason> {
    match answer {
        Observed::NotTried(_) => None,
        Observed::Failed(failure) => Some(probe_failure(*failure).0),
        Observed::Known(answer) => Some(refusal(answer)),
    }
}

/// Under which reason a route is reported that could not be found; `None` where one was, or none exists.
#[must_use]
pub fn reason_of_route(route: &MailRoute) -> Option<Reason> {
    match route {
        MailRoute::Failure(failure) => Some(route_failure(*failure)),
        MailRoute::Exchangers(_)
        | MailRoute::ImplicitMx(_)
        | MailRoute::NullMx
        | MailRoute::NoSuchDomain
        | MailRoute::NoMailHost(_) => None,
    }
}

/// Under what a refusal is reported that is not about a dead recipient.
pub(super) fn refusal(answer: &Answer) -> Reason {
    let class = answer.meaning.class;
    let vague = matches!(
        class,
        Class::Unknown | Class::AmbiguousDenied | Class::ServerTemporary | Class::Policy | Class::ProtocolError
    );
    if vague && matches!(answer.stage, Stage::Greeting | Stage::Ehlo) {
        Reason::HostRefused
    } else {
        reason_of(class)
    }
}

/// Under what a refusal is reported that proves nothing.
pub(super) fn doubted(doubt: SessionDoubt) -> (Reason, Class) {
    match doubt {
        SessionDoubt::BlanketRefusal => (Reason::BlanketRefusal, Class::AmbiguousDenied),
        SessionDoubt::Throttled => (Reason::HarvestProtection, Class::HarvestProtection),
        SessionDoubt::Inconsistent => (Reason::Inconsistent, Class::AmbiguousDenied),
        SessionDoubt::UnusualForm => (Reason::AmbiguousRefusal, Class::AmbiguousDenied),
    }
}

/// Why nobody asked.
pub(super) fn of_unasked(why: NotTried) -> Reason {
    match why {
        NotTried::NotNeeded | NotTried::Level => Reason::LevelStop,
        NotTried::NoIdentity => Reason::NoIdentity,
        NotTried::ProviderPolicy => Reason::ProviderPolicy,
        NotTried::AllowListed => Reason::AllowListed,
        NotTried::Interrupted => Reason::Interrupted,
        NotTried::Budget => Reason::BudgetSpent,
        NotTried::ResolverRewrites => Reason::DnsRewritten,
        NotTried::PortBlocked => Reason::PortBlocked,
        NotTried::RowUnreadable => Reason::RowError,
        NotTried::Offline => Reason::Offline,
        NotTried::ProxyDead => Reason::ProxyFailed,
        NotTried::AbuseGuard => Reason::AbuseGuard,
    }
}

/// Why the route is not known.
pub(super) fn route_failure(failure: RouteFailure) -> Reason {
    match failure {
        RouteFailure::Dns(DnsFailure::ServFail) => Reason::DnsServfail,
        RouteFailure::Dns(DnsFailure::Timeout) => Reason::DnsTimeout,
        RouteFailure::Dns(DnsFailure::Refused) => Reason::DnsRefused,
        RouteFailure::Dns(DnsFailure::Bogus) => Reason::DnsBogus,
        RouteFailure::Dns(DnsFailure::Loop) => Reason::DnsLoop,
        RouteFailure::Dns(DnsFailure::Malformed) => Reason::DnsMalformed,
        RouteFailure::PrivateMx(_) => Reason::MxPrivate,
        RouteFailure::MxIsAddress => Reason::MxIsIp,
        RouteFailure::MxUnresolvable => Reason::MxUnresolvable,
        RouteFailure::OtherFamily => Reason::IpFamilyUnused,
        RouteFailure::ResolverRewrites => Reason::DnsRewritten,
    }
}

/// Why there is no usable reply, and what a mailing would meet.
pub(super) fn probe_failure(failure: ProbeFailure) -> (Reason, Option<Class>) {
    match failure {
        ProbeFailure::Unreachable => (Reason::Unreachable, Some(Class::Network)),
        ProbeFailure::Proxy => (Reason::ProxyFailed, None),
        ProbeFailure::Timeout => (Reason::Timeout, Some(Class::Timeout)),
        ProbeFailure::Tarpit => (Reason::Tarpit, Some(Class::Timeout)),
        ProbeFailure::ConnectionLost => (Reason::ConnectionLost, Some(Class::Network)),
        ProbeFailure::NotSmtp => (Reason::NotSmtp, Some(Class::ProtocolError)),
        ProbeFailure::Loop => (Reason::HostLoop, Some(Class::RoutingLoop)),
        ProbeFailure::Protocol => (Reason::Protocol, Some(Class::ProtocolError)),
        ProbeFailure::Desynchronised => (Reason::Desynchronised, Some(Class::ProtocolError)),
        ProbeFailure::TlsInjection => (Reason::TlsInjection, Some(Class::ProtocolError)),
        ProbeFailure::NeedsSmtpUtf8 => (Reason::NeedsSmtpUtf8, Some(Class::ProtocolError)),
        ProbeFailure::Internal => (Reason::Internal, None),
    }
}

/// How a dead recipient is reported.
pub(super) fn death(dead: DeadRecipient) -> (Reason, Class) {
    match dead.kind() {
        DeadKind::Unknown => (Reason::MailboxUnknown, Class::UserUnknown),
        DeadKind::Disabled => (Reason::MailboxDisabled, Class::UserDisabled),
        DeadKind::Moved => (Reason::MailboxMoved, Class::UserMoved),
        DeadKind::BadSyntax => (Reason::AddressRefused, Class::BadAddressSyntax),
        DeadKind::DomainNoMail => (Reason::DomainTakesNoMail, Class::DomainNoMail),
    }
}

/// The reason a class of refusal is reported under.
pub(super) fn reason_of(class: Class) -> Reason {
    match class {
        Class::Accepted | Class::Forwarded => Reason::CatchAllUndetermined,
        Class::CannotVerify => Reason::CannotVerify,
        Class::UserUnknown => Reason::MailboxUnknown,
        Class::UserDisabled => Reason::MailboxDisabled,
        Class::UserMoved => Reason::MailboxMoved,
        Class::BadAddressSyntax => Reason::AddressRefused,
        Class::MailboxFull => Reason::MailboxFull,
        Class::RecipientThrottled => Reason::MailboxThrottled,
        Class::RecipientRestricted => Reason::MailboxRestricted,
        Class::DomainNotFound => Reason::DomainDoubt,
        Class::DomainNoMail => Reason::DomainTakesNoMail,
        Class::RelayDenied => Reason::RelayDenied,
        Class::AddressVerificationPending => Reason::VerificationPending,
        Class::Greylisted => Reason::Greylisted,
        Class::RateLimited => Reason::RateLimited,
        Class::TooManyConnections => Reason::TooManyConnections,
        Class::TooManyRecipients => Reason::TooManyRecipients,
        Class::HarvestProtection => Reason::HarvestProtection,
        Class::IpBlocklisted => Reason::SenderBlocked,
        Class::IpReputation | Class::DomainReputation => Reason::SenderReputation,
        Class::SenderAuth => Reason::SenderAuth,
        Class::SenderDns => Reason::SenderDns,
        Class::SenderRejected => Reason::SenderRejected,
        Class::Policy | Class::SpamContent | Class::ContentRejected | Class::Filtered => Reason::Policy,
        Class::AuthOrTlsRequired => Reason::AuthOrTlsRequired,
        // The host reports its own network, look-up or queue trouble.
        Class::ServerTemporary
        | Class::MessageTooBig
        | Class::Network
        | Class::Timeout
        | Class::DnsTemporary
        | Class::QueueExpired => Reason::ServerTemporary,
        Class::ServerFull => Reason::ServerFull,
        Class::ServerMisconfigured => Reason::ServerMisconfigured,
        Class::RoutingLoop => Reason::RoutingLoop,
        Class::ProtocolError => Reason::Protocol,
        Class::AmbiguousDenied => Reason::AmbiguousRefusal,
        Class::Unknown => Reason::UnclassifiedReply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replies::{Hardness, Persistence};

    #[test]
    fn a_reason_and_its_class_agree() {
        for class in Class::ALL
            .iter()
            .filter(|class| class.hardness(Persistence::Permanent) != Hardness::None)
        {
            let filed = reason_of(*class).class().unwrap();
            assert_eq!(reason_of(filed), reason_of(*class), "{class:?}");
        }
        for (failure, expected) in [
            (ProbeFailure::Timeout, Class::Timeout),
            (ProbeFailure::ConnectionLost, Class::Network),
            (ProbeFailure::Loop, Class::RoutingLoop),
            (ProbeFailure::NeedsSmtpUtf8, Class::ProtocolError),
        ] {
            let (reason, class) = probe_failure(failure);
            assert_eq!((reason.class(), class), (Some(expected), Some(expected)), "{failure:?}");
        }
    }
}
