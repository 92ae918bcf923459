//! The precedence of DESIGN section 3; first match wins.
//!
//! The two errors that lose money are a false `invalid` and a false `valid`. So `invalid` is built from a [`Ground`] only, and
//! `valid` needs both an accepted recipient and a domain that is known to refuse unknown ones.

use std::ops::Deref;

use super::{
    Action, Answer, Bounce, BounceTable, Evidence, HostFacts, Label, ListDecision, NotTried, Observed, Reason,
    SessionDoubt, UnknownRecipients, forecast,
    naming::{death, doubted, of_unasked, probe_failure, reason_of, route_failure},
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
        return Some(Verdict(Judgement {
            label: Label::Unknown,
            reason: Reason::AllowListed,
            action: Action::Send,
            bounce,
        }));
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
            Verdict(Judgement {
                label: Label::Valid,
                reason,
                action: Action::Send,
                bounce,
            })
        }
        Observed::Known(UnknownRecipients::Contradictory) => unknown(Reason::Inconsistent),
        Observed::Known(UnknownRecipients::Accepted) | Observed::NotTried(_) | Observed::Failed(_) if backup => {
            unknown(Reason::BackupMxOnly)
        }
        Observed::Known(UnknownRecipients::Accepted) => catch_all(policy),
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
    Verdict(Judgement {
        label: Label::Invalid,
        reason,
        action: Action::Drop,
        bounce: forecast::of_death(class, &policy.bounce),
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
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        address::{Address, Rules},
        dns::{DnsFailure, Exchanger, NoMailHost, RouteFailure},
        net::SpecialUse,
        replies::classify,
        smtp::Reply,
        verdict::{BounceKind, ProbeFailure},
    };

    fn route(route: MailRoute) -> Evidence {
        Evidence {
            route: Observed::Known(Arc::new(route)),
            ..Evidence::not_tried(NotTried::Level)
        }
    }

    fn host() -> MailRoute {
        let exchanger = Exchanger {
            host: "mx.test".into(),
            preference: 10,
            addresses: Vec::new(),
            backup: false,
        };
        MailRoute::Exchangers(vec![exchanger])
    }

    fn facts() -> HostFacts {
        HostFacts {
            provider: None,
            name: "mx.test".into(),
            ip: None,
            preference: 10,
            implicit: false,
            tls: None,
            backup: false,
            untruthful: false,
        }
    }

    fn said(stage: Stage, text: &str) -> Evidence {
        let reply = Reply::parse(text).unwrap();
        let meaning = classify(stage, &reply, None);
        let answer = Observed::Known(Arc::new(Answer { stage, reply, meaning }));
        Evidence {
            answer,
            host: Some(Arc::new(facts())),
            attempts: 1,
            ..route(host())
        }
    }

    fn accepted(unknown: UnknownRecipients) -> Evidence {
        Evidence {
            unknown_recipients: Observed::Known(unknown),
            ..said(Stage::Rcpt, "250 2.1.5 Ok")
        }
    }

    fn verdict(evidence: &Evidence) -> (Label, &'static str) {
        let verdict = judge(evidence, &Policy::default());
        (verdict.label, verdict.reason.name())
    }

    #[test]
    fn dns_decides_before_anybody_is_asked() {
        use Label::{Invalid, Unknown};
        for (found, expected) in [
            (MailRoute::NoSuchDomain, (Invalid, "no_such_domain")),
            (MailRoute::NullMx, (Invalid, "null_mx")),
            (MailRoute::NoMailHost(NoMailHost::LoopbackMx), (Invalid, "no_mail_host")),
            (
                MailRoute::Failure(RouteFailure::Dns(DnsFailure::ServFail)),
                (Unknown, "dns_servfail"),
            ),
            (
                MailRoute::Failure(RouteFailure::Dns(DnsFailure::Timeout)),
                (Unknown, "dns_timeout"),
            ),
            (
                MailRoute::Failure(RouteFailure::Dns(DnsFailure::Bogus)),
                (Unknown, "dns_bogus"),
            ),
            (
                MailRoute::Failure(RouteFailure::PrivateMx(SpecialUse::Loopback)),
                (Unknown, "mx_private"),
            ),
            (MailRoute::Failure(RouteFailure::MxIsAddress), (Unknown, "mx_is_ip")),
            (
                MailRoute::Failure(RouteFailure::MxUnresolvable),
                (Unknown, "mx_unresolvable"),
            ),
            (
                MailRoute::Failure(RouteFailure::ResolverRewrites),
                (Unknown, "dns_rewritten"),
            ),
        ] {
            assert_eq!(verdict(&route(found.clone())), expected, "{found:?}");
        }
    }

    #[test]
    fn acceptance_is_worth_what_the_domain_does_with_strangers() {
        use Label::{CatchAll, Unknown, Valid};
        assert_eq!(
            verdict(&accepted(UnknownRecipients::Refused)),
            (Valid, "mailbox_exists")
        );
        assert_eq!(
            verdict(&accepted(UnknownRecipients::Accepted)),
            (CatchAll, "accepts_all")
        );
        assert_eq!(
            verdict(&accepted(UnknownRecipients::Contradictory)),
            (Unknown, "inconsistent")
        );
        let failed = Evidence {
            unknown_recipients: Observed::Failed(Stage::Rcpt),
            ..said(Stage::Rcpt, "250 Ok")
        };
        assert_eq!(verdict(&failed), (Unknown, "catchall_undetermined"));
        assert_eq!(
            verdict(&said(Stage::Rcpt, "250 Ok")),
            (Unknown, "catchall_undetermined"),
            "nobody asked"
        );
        let host = |facts| Evidence {
            host: Some(Arc::new(facts)),
            ..accepted(UnknownRecipients::Accepted)
        };
        assert_eq!(
            verdict(&host(HostFacts {
                backup: true,
                ..facts()
            })),
            (Unknown, "backup_mx_only")
        );
        let untruthful = HostFacts {
            untruthful: true,
            ..facts()
        };
        let lying = Evidence {
            host: Some(Arc::new(untruthful)),
            ..accepted(UnknownRecipients::Refused)
        };
        assert_eq!(verdict(&lying), (Unknown, "provider_untruthful"), "R26");
    }

    #[test]
    fn r16_other_positive_codes() {
        let refuses = Observed::Known(UnknownRecipients::Refused);
        let forwarded = said(Stage::Rcpt, "251 User not local; will forward");
        let forwarded = Evidence {
            unknown_recipients: refuses.clone(),
            ..forwarded
        };
        assert_eq!(verdict(&forwarded), (Label::Valid, "forwarded"));
        let unsure = Evidence {
            unknown_recipients: refuses,
            ..said(Stage::Rcpt, "252 Cannot VRFY user")
        };
        assert_eq!(verdict(&unsure), (Label::Unknown, "cannot_verify"));
    }

    #[test]
    fn only_a_refusal_of_the_recipient_at_rcpt_is_invalid() {
        let unknown_user = "550 5.1.1 <x@one.test>: Recipient address rejected: User unknown";
        assert_eq!(
            verdict(&said(Stage::Rcpt, unknown_user)),
            (Label::Invalid, "mailbox_unknown")
        );
        for stage in [Stage::Greeting, Stage::Ehlo, Stage::StartTls, Stage::Mail] {
            assert_eq!(verdict(&said(stage, unknown_user)).0, Label::Unknown, "{stage:?}");
        }
        for doubt in [
            SessionDoubt::BlanketRefusal,
            SessionDoubt::Throttled,
            SessionDoubt::Inconsistent,
            SessionDoubt::UnusualForm,
        ] {
            let doubtful = Evidence {
                doubt: Some(doubt),
                ..said(Stage::Rcpt, unknown_user)
            };
            assert_eq!(verdict(&doubtful).0, Label::Unknown, "{doubt:?}");
        }
        for text in [
            "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
            "550 5.7.1 Access denied",
            "550 5.3.2 Service currently unavailable",
            "451 4.7.1 Greylisted, try again later",
            "452 4.2.2 Over quota",
            "552 5.2.2 Mailbox full",
            "421 4.7.0 Try again later",
            "550 no",
        ] {
            assert_eq!(verdict(&said(Stage::Rcpt, text)).0, Label::Unknown, "{text}");
        }
    }

    #[test]
    fn r9_a_full_mailbox_bounces_softly_and_is_held() {
        let verdict = judge(&said(Stage::Rcpt, "552 5.2.2 Mailbox full"), &Policy::default());
        assert_eq!((verdict.reason, verdict.action), (Reason::MailboxFull, Action::Hold));
        assert_eq!(
            (verdict.bounce.kind, verdict.bounce.class),
            (BounceKind::Soft, Some(Class::MailboxFull))
        );
    }

    #[test]
    fn s7_a_refusal_at_the_door_is_the_hosts() {
        assert_eq!(
            verdict(&said(Stage::Greeting, "554 No")),
            (Label::Unknown, "host_refused")
        );
        let failed = Evidence {
            answer: Observed::Failed(ProbeFailure::NotSmtp),
            ..route(host())
        };
        assert_eq!(verdict(&failed), (Label::Unknown, "not_smtp"));
    }

    #[test]
    fn lists_decide_first_and_flags_never() {
        let block = Evidence {
            list: Some(ListDecision::Block),
            ..accepted(UnknownRecipients::Refused)
        };
        assert_eq!(verdict(&block), (Label::Invalid, "block_listed"));
        let allow = Evidence {
            list: Some(ListDecision::Allow),
            ..Evidence::not_tried(NotTried::AllowListed)
        };
        let verdict = judge(&allow, &Policy::default());
        assert_eq!(
            (verdict.label, verdict.reason, verdict.action),
            (Label::Unknown, Reason::AllowListed, Action::Send)
        );
        let error = Address::parse("no at sign", Rules::default()).unwrap_err();
        let faulty = Evidence {
            list: Some(ListDecision::Allow),
            ..Evidence::not_an_address(error)
        };
        assert_eq!(
            judge(&faulty, &Policy::default()).label,
            Label::Invalid,
            "an allow list makes no address of a fault"
        );
    }

    #[test]
    fn what_nobody_asked_is_unknown_with_its_reason() {
        for (why, reason) in [
            (NotTried::Level, "level_stop"),
            (NotTried::NoIdentity, "no_identity"),
            (NotTried::ProviderPolicy, "provider_policy"),
            (NotTried::Interrupted, "interrupted"),
            (NotTried::Budget, "budget_spent"),
            (NotTried::PortBlocked, "port_25_blocked"),
            (NotTried::RowUnreadable, "row_error"),
        ] {
            assert_eq!(verdict(&Evidence::not_tried(why)), (Label::Unknown, reason));
        }
        let spared = Evidence {
            answer: Observed::NotTried(NotTried::NotNeeded),
            unknown_recipients: Observed::Known(UnknownRecipients::Accepted),
            ..route(host())
        };
        assert_eq!(verdict(&spared), (Label::CatchAll, "accepts_all"));
    }

    #[test]
    fn every_verdict_has_its_forecast() {
        use BounceKind::{Hard, None, Pending, Soft};
        let bounce = |evidence: &Evidence| {
            let bounce = judge(evidence, &Policy::default()).bounce;
            (bounce.kind, bounce.class.map(Class::name))
        };
        for (text, expected) in [
            ("550 5.1.1 User unknown", (Hard, Some("user_unknown"))),
            ("450 5.1.1 User unknown", (Pending, Some("user_unknown"))),
            ("552 5.2.2 Mailbox full", (Soft, Some("mailbox_full"))),
            ("452 4.2.2 Mailbox full", (Soft, Some("mailbox_full"))),
            ("451 4.7.1 Greylisted", (Pending, Some("greylisted"))),
            (
                "550 5.7.1 Blocked using zen.spamhaus.org",
                (Soft, Some("ip_blocklisted")),
            ),
            ("550 purple haze", (Soft, Some("unknown"))),
            ("450 purple haze", (Pending, Some("unknown"))),
            ("250 Ok", (None, Option::None)),
        ] {
            assert_eq!(bounce(&said(Stage::Rcpt, text)), expected, "{text}");
        }
        let doubtful = Evidence {
            doubt: Some(SessionDoubt::BlanketRefusal),
            ..said(Stage::Rcpt, "550 No such user")
        };
        assert_eq!(bounce(&doubtful), (Soft, Some("ambiguous_denied")));
        assert_eq!(bounce(&route(MailRoute::NullMx)), (Hard, Some("domain_no_mail")));
        let lost = Evidence {
            answer: Observed::Failed(ProbeFailure::ConnectionLost),
            ..route(host())
        };
        assert_eq!(bounce(&lost), (Pending, Some("network")));
        let unasked = Evidence::not_tried(NotTried::Budget);
        assert_eq!(bounce(&unasked), (None, Option::None));
    }

    #[test]
    fn the_operators_bounce_table_changes_forecasts_and_no_label() {
        for text in [
            "550 5.1.1 User unknown",
            "550 5.2.1 Account disabled",
            "552 5.2.2 Mailbox full",
            "550 5.7.1 Rejected by policy",
            "451 4.7.1 Greylisted",
            "550 purple haze",
            "250 Ok",
        ] {
            let evidence = said(Stage::Rcpt, text);
            let plain = judge(&evidence, &Policy::default());
            for kind in BounceKind::ALL {
                let bounce: BounceTable = Class::ALL.iter().map(|class| (*class, kind)).collect();
                let policy = Policy {
                    bounce,
                    ..Policy::default()
                };
                let other = judge(&evidence, &policy);
                assert_eq!(
                    (other.label, other.reason, other.action),
                    (plain.label, plain.reason, plain.action),
                    "{text}"
                );
                let transient = text.starts_with('4') && kind == BounceKind::Hard;
                let expected = if transient { BounceKind::Pending } else { kind };
                if !text.starts_with('2') {
                    assert_eq!(other.bounce.kind, expected, "{text}");
                }
            }
        }
    }

    #[test]
    fn catch_all_is_sent_only_when_asked() {
        let evidence = accepted(UnknownRecipients::Accepted);
        assert_eq!(judge(&evidence, &Policy::default()).action, Action::Hold);
        let policy = Policy {
            send_catch_all: true,
            ..Policy::default()
        };
        assert_eq!(judge(&evidence, &policy).action, Action::Send);
    }
}
