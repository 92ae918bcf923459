//! What single answers mean for the session and the group, beyond the recipient they were given for.

use super::{domain::Observation, plan::ControlAnswer};
use crate::{
    replies::{About, Class},
    smtp::EnhancedStatusCode,
    verdict::{Answer, Observed, ProbeFailure, UnknownRecipients},
};

/// Whether a reply shows that the host will not talk to us at all for now.
pub(super) fn trips(answer: &Answer) -> bool {
    if answer.reply.code().number() == 421 {
        return true;
    }
    match answer.meaning.class {
        Class::IpBlocklisted
        | Class::IpReputation
        | Class::DomainReputation
        | Class::HarvestProtection
        | Class::RateLimited
        | Class::TooManyConnections
        | Class::SenderAuth
        | Class::SenderDns
        | Class::SenderRejected => true,
        Class::Policy => answer.meaning.about == About::Sender,
        Class::Accepted
        | Class::Forwarded
        | Class::CannotVerify
        | Class::UserUnknown
        | Class::UserDisabled
        | Class::UserMoved
        | Class::BadAddressSyntax
        | Class::MailboxFull
        | Class::RecipientThrottled
        | Class::RecipientRestricted
        | Class::DomainNotFound
        | Class::DomainNoMail
        | Class::RelayDenied
        | Class::AddressVerificationPending
        | Class::Greylisted
        | Class::TooManyRecipients
        | Class::AuthOrTlsRequired
        | Class::SpamContent
        | Class::ContentRejected
        | Class::MessageTooBig
        | Class::Filtered
        | Class::ServerTemporary
        | Class::ServerFull
        | Class::ServerMisconfigured
        | Class::RoutingLoop
        | Class::ProtocolError
        | Class::AmbiguousDenied
        | Class::Network
        | Class::Timeout
        | Class::DnsTemporary
        | Class::QueueExpired
        | Class::Unknown => false,
    }
}

/// Whether a refusal may be about the IPv6 address we came from and nothing else: its missing PTR, its SPF, a policy. Who is
/// blocked for his reputation or his pace does not come back from another address (ETIQUETTE B5).
pub(super) fn is_about_our_address(answer: &Answer) -> bool {
    let about_it = matches!(
        answer.meaning.class,
        Class::SenderDns | Class::SenderAuth | Class::Policy
    );
    about_it && answer.meaning.about == About::Sender && answer.reply.code().number() != 421
}

/// How a session's answers are to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Temper {
    /// As they are.
    Calm,
    /// The host said that we ask too fast: what it says from then on proves nothing.
    Throttling,
    /// The host takes us for a dictionary attack: it may have lied before it said so, and nothing of the session proves anything.
    Harvest,
}

impl Temper {
    pub(super) fn shown_by(class: Class) -> Self {
        if class == Class::HarvestProtection {
            Self::Harvest
        } else if class == Class::RateLimited {
            Self::Throttling
        } else {
            Self::Calm
        }
    }
}

/// Protocol doubt takes every answer of the session with it (DESIGN section 3, rule 3).
pub(super) fn voids_session(failure: ProbeFailure) -> bool {
    match failure {
        ProbeFailure::Protocol | ProbeFailure::Desynchronised | ProbeFailure::TlsInjection | ProbeFailure::NotSmtp => {
            true
        }
        ProbeFailure::Unreachable
        | ProbeFailure::Proxy
        | ProbeFailure::Timeout
        | ProbeFailure::Tarpit
        | ProbeFailure::ConnectionLost
        | ProbeFailure::Loop
        | ProbeFailure::NeedsSmtpUtf8
        | ProbeFailure::Internal => false,
    }
}

/// Whether the host may answer in a new session: the connection broke, or it said 421 (HOSTILE S10, R14).
pub(super) fn asks_for_another_session(observation: &Observation) -> bool {
    match &observation.answer {
        Observed::Failed(failure) => *failure == ProbeFailure::ConnectionLost,
        Observed::Known(answer) => answer.reply.code().number() == 421,
        Observed::NotTried(_) => false,
    }
}

/// The words of a host that tests new clients and wants to see them again from the same address: postscreen's deep tests say
/// this to every recipient of the first session (HOSTILE R13, ETIQUETTE B3).
pub(super) fn is_first_session_test(answer: &Answer) -> bool {
    let deep_test = EnhancedStatusCode {
        class: 4,
        subject: 3,
        detail: 2,
    };
    answer.reply.code().number() == 450 && answer.reply.enhanced() == Some(deep_test)
}

/// What the control recipient's reply says about the domain.
pub(super) fn control_answer(answer: &Answer) -> ControlAnswer {
    let code = answer.reply.code();
    if code.is_positive() && answer.meaning.class != Class::CannotVerify {
        return ControlAnswer::Known(UnknownRecipients::Accepted);
    }
    // Only words that would make the control recipient `invalid` show that strangers are refused. A vague 550 may just as
    // well be a ban that began with this question (HOSTILE R22), and `valid` must not rest on it.
    match answer.meaning.dead_recipient() {
        Some(_) => ControlAnswer::Known(UnknownRecipients::Refused),
        None => ControlAnswer::Undetermined {
            retry: code.is_transient(),
        },
    }
}
