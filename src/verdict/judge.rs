//! The precedence of DESIGN section 3; first match wins.
//!
//! The two errors that lose money are a false `invalid` and a false `valid`. So `invalid` is built from a [`Ground`] only, and
//! `valid` needs both an accepted recipient and a domain that is known to refuse unknown ones.

use super::{
    Action, Answer, Bounce, BounceTable, Evidence, HostFacts, Label, ListDecision, NotTried, Observed, ProbeFailure,
    Reason, SessionDoubt, UnknownRecipients, Verdict, forecast,
};
use crate::{
    dns::{DnsFailure, MailRoute, RouteFailure},
    replies::{Class, DeadKind, DeadRecipient, Persistence},
    smtp::Stage,
};

/// What the operator may decide about verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Catch-all addresses are sendable.
    pub send_catch_all: bool,
    /// What kind of bounce each class is.
    pub bounce: BounceTable,
}

impl Policy {
    /// The forecast for a class whose reply we do not have.
    fn bounce_of(&self, class: Class) -> Bounce {
        let persistence = if class.passes() {
            Persistence::Transient
        } else {
            Persistence::Permanent
        };
        forecast::of_class(class, persistence, &self.bounce)
    }
}

/// The only things that make an address `invalid`.
enum Ground {
    /// The operator's block list.
    Listed,
    /// The address is not one.
    Syntax,
    /// The domain provably takes no mail.
    Route(Class),
    /// The mail host refused the recipient itself, at RCPT.
    Recipient(DeadRecipient),
}

/// Judges evidence.
#[must_use]
pub fn judge(evidence: &Evidence, policy: &Policy) -> Verdict {
    judge_before_asking(evidence, policy).unwrap_or_else(|| judge_answer(evidence, policy))
}

/// Everything that is decided without a mail host: lists, syntax, DNS.
fn judge_before_asking(evidence: &Evidence, policy: &Policy) -> Option<Verdict> {
    if evidence.list == Some(ListDecision::Block) {
        return Some(invalid(&Ground::Listed, Reason::BlockListed, policy));
    }
    if let Some(error) = &evidence.syntax {
        return Some(invalid(&Ground::Syntax, Reason::Syntax(error.fault), policy));
    }
    if evidence.list == Some(ListDecision::Allow) {
        let bounce = forecast::nothing_expected();
        return Some(Verdict {
            label: Label::Unknown,
            reason: Reason::AllowListed,
            action: Action::Send,
            bounce,
        });
    }
    let route = match &evidence.route {
        Observed::NotTried(why) | Observed::Failed(why) => return Some(not_asked(*why)),
        Observed::Known(route) => route,
    };
    let (class, reason) = match &**route {
        MailRoute::NoSuchDomain => (Class::DomainNotFound, Reason::NoSuchDomain),
        MailRoute::NullMx => (Class::DomainNoMail, Reason::NullMx),
        MailRoute::NoMailHost(_) => (Class::DomainNoMail, Reason::NoMailHost),
        MailRoute::Failure(failure) => {
            let bounce = policy.bounce_of(Class::DnsTemporary);
            return Some(unknown(route_failure(*failure), bounce));
        }
        MailRoute::Exchangers(_) | MailRoute::ImplicitMx(_) => return None,
    };
    Some(invalid(&Ground::Route(class), reason, policy))
}

/// What the mail host said, or why it said nothing.
fn judge_answer(evidence: &Evidence, policy: &Policy) -> Verdict {
    match &evidence.answer {
        // One question told that the host takes everything at this domain; asking about each address adds nothing.
        Observed::NotTried(NotTried::NotNeeded)
            if evidence.unknown_recipients.known() == Some(&UnknownRecipients::Accepted) =>
        {
            catch_all(policy)
        }
        Observed::NotTried(why) => not_asked(*why),
        Observed::Failed(failure) => {
            let (reason, class) = probe_failure(*failure);
            unknown(
                reason,
                class.map_or_else(forecast::nothing_expected, |class| policy.bounce_of(class)),
            )
        }
        Observed::Known(answer) => judge_reply(evidence, answer, policy),
    }
}

fn judge_reply(evidence: &Evidence, answer: &Answer, policy: &Policy) -> Verdict {
    let meaning = &answer.meaning;
    let class = meaning.class;
    let bounce = forecast::of_class(class, meaning.persistence, &policy.bounce);
    if answer.stage != Stage::Rcpt {
        let vague = matches!(
            class,
            Class::Unknown | Class::AmbiguousDenied | Class::ServerTemporary | Class::Policy | Class::ProtocolError
        );
        let refused_at_the_door = matches!(answer.stage, Stage::Greeting | Stage::Ehlo);
        let reason = if vague && refused_at_the_door {
            Reason::HostRefused
        } else {
            reason_of(class)
        };
        return unknown(reason, bounce);
    }
    if answer.reply.code().is_positive() {
        return judge_acceptance(evidence, class, policy);
    }
    let Some(dead) = meaning.dead_recipient() else {
        return unknown(reason_of(class), bounce);
    };
    match evidence.doubt {
        Some(doubt) => {
            let (reason, class) = doubted(doubt);
            unknown(reason, policy.bounce_of(class))
        }
        None => invalid(&Ground::Recipient(dead), death(dead).0, policy),
    }
}

/// Under what a refusal is reported that proves nothing.
fn doubted(doubt: SessionDoubt) -> (Reason, Class) {
    match doubt {
        SessionDoubt::BlanketRefusal => (Reason::BlanketRefusal, Class::AmbiguousDenied),
        SessionDoubt::Throttled => (Reason::HarvestProtection, Class::HarvestProtection),
        SessionDoubt::Inconsistent => (Reason::Inconsistent, Class::AmbiguousDenied),
        SessionDoubt::UnusualForm => (Reason::AmbiguousRefusal, Class::AmbiguousDenied),
    }
}

/// The recipient was accepted: what that is worth depends on what the host does with recipients that cannot exist.
fn judge_acceptance(evidence: &Evidence, class: Class, policy: &Policy) -> Verdict {
    let unknown = |reason| unknown(reason, forecast::nothing_expected());
    let host = evidence.host.as_deref();
    if host.is_some_and(|host: &HostFacts| host.untruthful) {
        return unknown(Reason::ProviderUntruthful);
    }
    if class == Class::CannotVerify {
        return unknown(Reason::CannotVerify);
    }
    match evidence.doubt {
        Some(SessionDoubt::Throttled) => return unknown(Reason::HarvestProtection),
        Some(_) => return unknown(Reason::Inconsistent),
        None => {}
    }
    let backup = host.is_some_and(|host| host.backup);
    match &evidence.unknown_recipients {
        Observed::Known(UnknownRecipients::Refused) => {
            let reason = if class == Class::Forwarded {
                Reason::Forwarded
            } else {
                Reason::MailboxExists
            };
            let bounce = forecast::nothing_expected();
            Verdict {
                label: Label::Valid,
                reason,
                action: Action::Send,
                bounce,
            }
        }
        Observed::Known(UnknownRecipients::Accepted) if backup => unknown(Reason::BackupMxOnly),
        Observed::Known(UnknownRecipients::Accepted) => catch_all(policy),
        Observed::Known(UnknownRecipients::Contradictory) => unknown(Reason::Inconsistent),
        Observed::NotTried(_) | Observed::Failed(_) => unknown(Reason::CatchAllUndetermined),
    }
}

fn invalid(ground: &Ground, reason: Reason, policy: &Policy) -> Verdict {
    let class = match ground {
        Ground::Listed => None,
        Ground::Syntax => Some(Class::BadAddressSyntax),
        Ground::Route(class) => Some(*class),
        Ground::Recipient(dead) => Some(death(*dead).1),
    };
    Verdict {
        label: Label::Invalid,
        reason,
        action: Action::Drop,
        bounce: forecast::of_death(class, &policy.bounce),
    }
}

fn catch_all(policy: &Policy) -> Verdict {
    let action = if policy.send_catch_all {
        Action::Send
    } else {
        Action::Hold
    };
    Verdict {
        label: Label::CatchAll,
        reason: Reason::AcceptsAll,
        action,
        bounce: forecast::nothing_expected(),
    }
}

fn unknown(reason: Reason, bounce: Bounce) -> Verdict {
    Verdict {
        label: Label::Unknown,
        reason,
        action: Action::Hold,
        bounce,
    }
}

fn not_asked(why: NotTried) -> Verdict {
    let reason = match why {
        NotTried::NotNeeded | NotTried::Level => Reason::LevelStop,
        NotTried::NoIdentity => Reason::NoIdentity,
        NotTried::ProviderPolicy => Reason::ProviderPolicy,
        NotTried::AllowListed => Reason::AllowListed,
        NotTried::Interrupted => Reason::Interrupted,
        NotTried::Budget => Reason::BudgetSpent,
        NotTried::ResolverRewrites => Reason::DnsRewritten,
        NotTried::PortBlocked => Reason::PortBlocked,
        NotTried::RowUnreadable => Reason::RowError,
    };
    unknown(reason, forecast::nothing_expected())
}

fn route_failure(failure: RouteFailure) -> Reason {
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
        RouteFailure::ResolverRewrites => Reason::DnsRewritten,
    }
}

fn probe_failure(failure: ProbeFailure) -> (Reason, Option<Class>) {
    match failure {
        ProbeFailure::Unreachable => (Reason::Unreachable, Some(Class::Network)),
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
fn death(dead: DeadRecipient) -> (Reason, Class) {
    match dead.kind() {
        DeadKind::Unknown => (Reason::MailboxUnknown, Class::UserUnknown),
        DeadKind::Disabled => (Reason::MailboxDisabled, Class::UserDisabled),
        DeadKind::Moved => (Reason::MailboxMoved, Class::UserMoved),
        DeadKind::BadSyntax => (Reason::AddressRefused, Class::BadAddressSyntax),
        DeadKind::DomainNoMail => (Reason::DomainTakesNoMail, Class::DomainNoMail),
    }
}

/// The reason a class of refusal is reported under.
fn reason_of(class: Class) -> Reason {
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
mod tests;
