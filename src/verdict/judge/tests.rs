//! Evidence and the verdict it must lead to.

use std::sync::Arc;

use super::*;
use crate::{
    address::{Address, Rules},
    dns::{DnsFailure, Exchanger, NoMailHost, RouteFailure},
    net::SpecialUse,
    replies::classify,
    smtp::Reply,
    verdict::{BounceKind, ProbeFailure, Told},
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
            MailRoute::Failure(RouteFailure::OtherFamily),
            (Unknown, "ip_family_unused"),
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
        (NotTried::ProxyDead, "proxy_failed"),
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

fn told(what: Testimony, evidence: Evidence) -> Evidence {
    let told = Told {
        what,
        at: std::time::SystemTime::UNIX_EPOCH,
        text: "".into(),
    };
    Evidence {
        told: Some(Arc::new(told)),
        ..evidence
    }
}

#[test]
fn a_suppression_decides_before_anything_else() {
    for reason in SuppressionReason::ALL {
        for evidence in [
            Evidence::not_tried(NotTried::Level),
            accepted(UnknownRecipients::Refused),
            Evidence {
                list: Some(ListDecision::Allow),
                ..Evidence::not_tried(NotTried::AllowListed)
            },
        ] {
            let verdict = judge(&told(Testimony::Suppressed(reason), evidence), &Policy::default());
            let name = format!("suppressed_{}", reason.name());
            assert_eq!((verdict.label, verdict.reason.name()), (Label::Invalid, &*name));
            assert_eq!(verdict.action, Action::Drop);
        }
    }
    let unwanted = Testimony::Suppressed(SuppressionReason::Unsubscribed);
    let unwanted = judge(
        &told(unwanted, Evidence::not_tried(NotTried::Level)),
        &Policy::default(),
    );
    assert_eq!(unwanted.bounce.kind, BounceKind::None, "mail would arrive");
}

#[test]
fn what_happened_to_mail_outranks_what_a_host_says_and_no_list() {
    let bounced = Testimony::Bounced(Class::UserUnknown);
    let unasked = || Evidence::not_tried(NotTried::NotNeeded);
    assert_eq!(verdict(&told(bounced, unasked())), (Label::Invalid, "hard_bounced"));
    assert_eq!(
        verdict(&told(Testimony::Delivered, unasked())),
        (Label::Valid, "delivered")
    );
    for what in [bounced, Testimony::Delivered] {
        let listed = |list| Evidence {
            list: Some(list),
            ..unasked()
        };
        assert_eq!(verdict(&told(what, listed(ListDecision::Block))).1, "block_listed");
        assert_eq!(verdict(&told(what, listed(ListDecision::Allow))).1, "allow_listed");
    }
}
