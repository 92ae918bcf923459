//! The precedence of DESIGN section 3; first match wins.
//!
//! The two errors that lose money are a false `invalid` and a false `valid`. So `invalid` is built from a [`Ground`] only, and
//! `valid` needs both an accepted recipient and a domain that is known to refuse unknown ones.

use std::ops::Deref;

use super::{
    Action, Answer, Bounce, BounceTable, Evidence, HostFacts, Label, ListDecision, NotTried, Observed, Reason,
    SessionDoubt, SuppressionReason, Testimony, UnknownRecipients, forecast,
    naming::{death, doubted, of_unasked, probe_failure, refusal, route_failure},
};
use crate::{
    dns::MailRoute,
    replies::{Class, DeadRecipient, Persistence},
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

/// What is said about one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// Which of the four.
    pub label: Label,
    /// Why.
    pub reason: Reason,
    /// What to do.
    pub action: Action,
    /// What a mailing would get back.
    pub bounce: Bounce,
}

/// The answer about one address: a [`Judgement`] that only [`judge`] can make, and nobody can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict(Judgement);

impl Deref for Verdict {
    type Target = Judgement;

    fn deref(&self) -> &Judgement {
        &self.0
    }
}

/// The only things that make an address `invalid`.
enum Ground {
    /// The operator's suppression list: a decision about the recipient that is on record.
    Suppressed(SuppressionReason),
    /// A hard bounce that was reported, newer than any answer.
    Bounced(Class),
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
    let told = evidence.told.as_deref().map(|told| told.what);
    if let Some(Testimony::Suppressed(reason)) = told {
        return Some(invalid(&Ground::Suppressed(reason), reason.verdict(), policy));
    }
    if evidence.list == Some(ListDecision::Block) {
        return Some(invalid(&Ground::Listed, Reason::BlockListed, policy));
    }
    if let Some(error) = &evidence.syntax {
        return Some(invalid(&Ground::Syntax, Reason::Syntax(error.fault), policy));
    }
    if evidence.list == Some(ListDecision::Allow) {
        let bounce = forecast::nothing_expected();
        return Some(Verdict(Judgement {
            label: Label::Unknown,
            reason: Reason::AllowListed,
            action: Action::Send,
            bounce,
        }));
    }
    match told {
        Some(Testimony::Bounced(class)) => {
            return Some(invalid(&Ground::Bounced(class), Reason::HardBounced, policy));
        }
        Some(Testimony::Delivered) => return Some(valid(Reason::Delivered)),
        Some(Testimony::Suppressed(_)) | None => {}
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
            let reason = route_failure(*failure);
            let class = reason.class();
            let bounce = class.map_or_else(forecast::nothing_expected, |class| policy.bounce_of(class));
            return Some(unknown(reason, bounce));
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
        return unknown(refusal(answer), bounce);
    }
    if answer.reply.code().is_positive() {
        return judge_acceptance(evidence, class, policy);
    }
    let Some(dead) = meaning.dead_recipient() else {
        return unknown(refusal(answer), bounce);
    };
    match evidence.doubt {
        Some(doubt) => {
            let (reason, class) = doubted(doubt);
            unknown(reason, policy.bounce_of(class))
        }
        None => invalid(&Ground::Recipient(dead), death(dead).0, policy),
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
            valid(reason)
        }
        Observed::Known(UnknownRecipients::Contradictory) => unknown(Reason::Inconsistent),
        Observed::Known(UnknownRecipients::Accepted) | Observed::NotTried(_) | Observed::Failed(_) if backup => {
            unknown(Reason::BackupMxOnly)
        }
        Observed::Known(UnknownRecipients::Accepted) => catch_all(policy),
        Observed::NotTried(_) | Observed::Failed(_) => unknown(Reason::CatchAllUndetermined),
    }
}

fn valid(reason: Reason) -> Verdict {
    Verdict(Judgement {
        label: Label::Valid,
        reason,
        action: Action::Send,
        bounce: forecast::nothing_expected(),
    })
}

fn invalid(ground: &Ground, reason: Reason, policy: &Policy) -> Verdict {
    let bounce = |class| forecast::of_death(class, &policy.bounce);
    let bounce = match ground {
        Ground::Suppressed(of) => match of {
            SuppressionReason::HardBounce | SuppressionReason::BouncedElsewhere => bounce(reason.class()),
            SuppressionReason::SoftBounces => policy.bounce_of(Class::QueueExpired),
            SuppressionReason::MailboxFull => policy.bounce_of(Class::MailboxFull),
            // Mail would arrive; it is not wanted.
            SuppressionReason::Complained
            | SuppressionReason::Unsubscribed
            | SuppressionReason::Manual
            | SuppressionReason::Imported => forecast::nothing_expected(),
        },
        Ground::Listed => bounce(None),
        Ground::Syntax => bounce(Some(Class::BadAddressSyntax)),
        Ground::Route(class) | Ground::Bounced(class) => bounce(Some(*class)),
        Ground::Recipient(dead) => bounce(Some(death(*dead).1)),
    };
    Verdict(Judgement {
        label: Label::Invalid,
        reason,
        action: Action::Drop,
        bounce,
    })
}

fn catch_all(policy: &Policy) -> Verdict {
    let action = if policy.send_catch_all {
        Action::Send
    } else {
        Action::Hold
    };
    Verdict(Judgement {
        label: Label::CatchAll,
        reason: Reason::AcceptsAll,
        action,
        bounce: forecast::nothing_expected(),
    })
}

fn unknown(reason: Reason, bounce: Bounce) -> Verdict {
    Verdict(Judgement {
        label: Label::Unknown,
        reason,
        action: Action::Hold,
        bounce,
    })
}

fn not_asked(why: NotTried) -> Verdict {
    unknown(of_unasked(why), forecast::nothing_expected())
}

#[cfg(test)]
mod tests;
