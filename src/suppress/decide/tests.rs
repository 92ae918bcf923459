//! Histories and what must follow from them.

use proptest::prelude::*;

use super::*;
use crate::{
    bounce::{Event, Origin},
    store::Person,
    suppress::Elsewhere,
};

const HOUR: Duration = Duration::from_hours(1);

fn hours(hours: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 20_000 + hours)
}

fn bounced(class: Class, persistence: Persistence) -> EventKind {
    EventKind::Bounced { class, persistence }
}

const HARD: EventKind = EventKind::Bounced {
    class: Class::UserUnknown,
    persistence: Persistence::Permanent,
};
const DENIED: EventKind = EventKind::Bounced {
    class: Class::UserUnknown,
    persistence: Persistence::Transient,
};
const SOFT: EventKind = EventKind::Bounced {
    class: Class::QueueExpired,
    persistence: Persistence::Permanent,
};
const FULL: EventKind = EventKind::Bounced {
    class: Class::MailboxFull,
    persistence: Persistence::Permanent,
};
const UNSURE: EventKind = EventKind::Bounced {
    class: Class::Unknown,
    persistence: Persistence::Permanent,
};
const BLOCKED: EventKind = EventKind::Bounced {
    class: Class::IpBlocklisted,
    persistence: Persistence::Permanent,
};
const PENDING: EventKind = EventKind::Deferred {
    class: Class::Greylisted,
};
const NO_DOMAIN: EventKind = EventKind::Bounced {
    class: Class::DomainNotFound,
    persistence: Persistence::Permanent,
};
const GOOD: EventKind = EventKind::Delivered;

fn kept(number: i64, kind: EventKind, at: SystemTime) -> KeptEvent {
    KeptEvent {
        number,
        person: Person([0; 16]),
        tenant: "".into(),
        added_at: at + HOUR,
        apart: false,
        event: Event::new("jane@a.example", kind, at, Origin::Report),
    }
}

/// Events at these hours.
fn history(events: &[(EventKind, u64)]) -> Vec<KeptEvent> {
    events
        .iter()
        .zip(1..)
        .map(|((kind, at), number)| kept(number, *kind, hours(*at)))
        .collect()
}

fn decided(events: &[KeptEvent], policy: &BouncePolicy, now: SystemTime) -> Vec<Decision> {
    let history = History {
        events,
        ..History::default()
    };
    decide(&history, policy, now).decisions
}

fn rules(events: &[(EventKind, u64)], now: u64) -> Vec<(&'static str, Confidence)> {
    let decided = decided(&history(events), &BouncePolicy::default(), hours(now));
    decided
        .iter()
        .map(|decision| (decision.rule, decision.confidence))
        .collect()
}

/// A name, what happened at which hour, and the rules that must be met.
type Case = (
    &'static str,
    &'static [(EventKind, u64)],
    Vec<(&'static str, Confidence)>,
);

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn the_default_policy() {
    const D: u64 = 24;
    let sure = |rule| vec![(rule, Confidence::Sure)];
    let unsure = |rule| vec![(rule, Confidence::Unsure)];
    let cases: &[Case] = &[
        ("hard at once", &[(HARD, 0)], sure("hard")),
        ("and for good", &[(HARD, 0), (GOOD, 1)], sure("hard")),
        (
            "four soft over 14 days",
            &[(SOFT, 0), (SOFT, 4 * D), (SOFT, 9 * D), (SOFT, 14 * D)],
            sure("soft_in_a_row"),
        ),
        (
            "not an hour less",
            &[(SOFT, 0), (SOFT, 4 * D), (SOFT, 9 * D), (SOFT, 14 * D - 1)],
            vec![],
        ),
        (
            "three are not four",
            &[(SOFT, 0), (SOFT, 9 * D), (SOFT, 30 * D)],
            vec![],
        ),
        (
            "a delivery between",
            &[
                (SOFT, 0),
                (SOFT, 4 * D),
                (GOOD, 5 * D),
                (SOFT, 9 * D),
                (SOFT, 14 * D),
                (SOFT, 15 * D),
            ],
            vec![],
        ),
        (
            "a delivery at the same instant",
            &[(SOFT, 0), (SOFT, 4 * D), (SOFT, 9 * D), (SOFT, 14 * D), (GOOD, 14 * D)],
            vec![],
        ),
        (
            "full, likewise",
            &[(FULL, 0), (FULL, 4 * D), (FULL, 9 * D), (FULL, 14 * D)],
            sure("mailbox_full_in_a_row"),
        ),
        (
            "full and failing",
            &[(FULL, 0), (SOFT, 4 * D), (FULL, 9 * D), (FULL, 14 * D)],
            sure("soft_in_a_row"),
        ),
        (
            "blocks and policy never",
            &[
                (BLOCKED, 0),
                (BLOCKED, 5 * D),
                (BLOCKED, 10 * D),
                (BLOCKED, 20 * D),
                (BLOCKED, 40 * D),
            ],
            vec![],
        ),
        (
            "and take no part in a row",
            &[
                (SOFT, 0),
                (BLOCKED, 5 * D),
                (BLOCKED, 10 * D),
                (BLOCKED, 20 * D),
                (SOFT, 21 * D),
            ],
            vec![],
        ),
        (
            "pending counts after 72 hours",
            &[(PENDING, 0), (PENDING, 5 * D), (PENDING, 10 * D), (PENDING, 17 * D)],
            sure("soft_in_a_row"),
        ),
        (
            "the domain that is not there is waited for",
            &[(NO_DOMAIN, 0), (NO_DOMAIN, 1), (NO_DOMAIN, 2), (NO_DOMAIN, 3)],
            vec![],
        ),
        ("4xx no such user, once", &[(DENIED, 0), (DENIED, 23)], vec![]),
        (
            "4xx no such user, a day later",
            &[(DENIED, 0), (DENIED, 24)],
            sure("denied_twice"),
        ),
        (
            "with a delivery between",
            &[(DENIED, 0), (GOOD, 12), (DENIED, 24)],
            vec![],
        ),
        (
            "words that say nothing",
            &[(UNSURE, 0), (UNSURE, 4 * D), (SOFT, 9 * D), (SOFT, 14 * D)],
            unsure("soft_in_a_row"),
        ),
        (
            "reports of one failure",
            &[(SOFT, 0), (SOFT, 1), (SOFT, 14 * D), (SOFT, 14 * D + 1)],
            vec![],
        ),
        (
            "an event of 1970 and three of today",
            &[(SOFT, 0), (SOFT, 1000 * D), (SOFT, 1001 * D), (SOFT, 1002 * D)],
            vec![],
        ),
        ("a complaint", &[(EventKind::Complained, 0)], sure("complaint")),
        (
            "an unsubscription",
            &[(EventKind::Unsubscribed, 0), (GOOD, 1)],
            sure("unsubscribe"),
        ),
    ];
    for (name, events, expected) in cases {
        let mut found = rules(events, 3000 * D);
        found.sort_by_key(|(rule, _)| std::cmp::Reverse(*rule));
        let mut expected = expected.clone();
        expected.sort_by_key(|(rule, _)| std::cmp::Reverse(*rule));
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn what_is_pending_waits_and_is_ended_by_any_word() {
    let row = [(SOFT, 0), (SOFT, 100), (SOFT, 200), (PENDING, 14 * 24)];
    assert!(rules(&row, 14 * 24 + 71).is_empty());
    assert_eq!(rules(&row, 14 * 24 + 72).len(), 1);
    for word in [GOOD, BLOCKED] {
        let ended = [row.as_slice(), &[(word, 14 * 24 + 72)]].concat();
        assert!(rules(&ended, 1000).is_empty(), "{word:?}");
    }
    let queue: Vec<_> = (0..72)
        .map(|hour| (PENDING, hour))
        .chain([(PENDING, 14 * 24)])
        .collect();
    assert!(
        rules(&queue, 1000).is_empty(),
        "a queue that tries every hour is one failure"
    );
}

#[test]
fn a_probe_that_found_the_mailbox_ends_a_row() {
    let events = history(&[(SOFT, 0), (SOFT, 100), (SOFT, 200), (SOFT, 14 * 24)]);
    for (at, decisions) in [(150, 0), (400, 1)] {
        let history = History {
            events: &events,
            accepted: &[hours(at)],
            ..History::default()
        };
        assert_eq!(
            decide(&history, &BouncePolicy::default(), hours(1000)).decisions.len(),
            decisions
        );
    }
}

#[test]
fn what_was_known_when_a_person_let_somebody_go_counts_no_longer() {
    let release = |at| Release {
        scope: Scope::default(),
        at: hours(at),
    };
    let late = KeptEvent {
        added_at: hours(500),
        ..kept(1, HARD, hours(0))
    };
    let known_early = KeptEvent {
        added_at: hours(1),
        ..kept(1, HARD, hours(30))
    };
    for (event, at, decisions) in [
        (kept(1, HARD, hours(0)), 10, 0),
        (kept(1, HARD, hours(20)), 10, 1),
        (late, 10, 0),
        (known_early, 10, 0),
    ] {
        let history = History {
            events: &[event],
            releases: &[release(at)],
            ..History::default()
        };
        assert_eq!(
            decide(&history, &BouncePolicy::default(), hours(1000)).decisions.len(),
            decisions
        );
    }
    let of_another = KeptEvent {
        tenant: "one".into(),
        ..kept(1, HARD, hours(0))
    };
    let history = History {
        events: &[of_another],
        releases: &[Release {
            scope: Scope {
                tenant: "two".into(),
                list: None,
            },
            at: hours(10),
        }],
        ..History::default()
    };
    assert_eq!(
        decide(&history, &BouncePolicy::default(), hours(1000)).decisions.len(),
        1
    );
}

#[test]
fn dates_that_have_not_come_suppress_nobody() {
    let future = |kind, at: u64, added: u64| KeptEvent {
        added_at: hours(added),
        ..kept(9, kind, hours(at))
    };
    let hard = [future(HARD, 100, 0)];
    let at = |now| decided(&hard, &BouncePolicy::default(), hours(now));
    assert_eq!(
        at(99).iter().map(|decision| decision.confidence).collect::<Vec<_>>(),
        [Confidence::Unsure]
    );
    assert_eq!(
        at(100).iter().map(|decision| decision.confidence).collect::<Vec<_>>(),
        [Confidence::Sure]
    );
    let mut jumped = history(&[(SOFT, 0), (SOFT, 24), (SOFT, 48)]);
    jumped.push(future(SOFT, 20 * 24, 72));
    assert!(
        decided(&jumped, &BouncePolicy::default(), hours(3000)).is_empty(),
        "a clock that ran ahead"
    );
    jumped.push(future(SOFT, 15 * 24, 15 * 24));
    assert_eq!(decided(&jumped, &BouncePolicy::default(), hours(3000)).len(), 1);
}

#[test]
fn two_hard_bounces_where_two_are_asked_for() {
    let policy = BouncePolicy {
        hard_count: 2,
        ..BouncePolicy::default()
    };
    let message = |id: &str, event: KeptEvent| KeptEvent {
        event: Event {
            message_id: Some(id.into()),
            ..event.event
        },
        ..event
    };
    let one = message("1@b.example", kept(1, HARD, hours(0)));
    let again = message("1@b.example", kept(2, HARD, hours(50)));
    let other = message("2@b.example", kept(3, HARD, hours(0)));
    let now = hours(100);
    assert!(decided(std::slice::from_ref(&one), &policy, now).is_empty());
    assert!(decided(&[one.clone(), again], &policy, now).is_empty(), "one message");
    let two = decided(&[one.clone(), other.clone()], &policy, now);
    assert_eq!((two[0].rule, &*two[0].events), ("hard_twice", &[1, 3][..]));
    let between = kept(4, GOOD, hours(0) + Duration::from_secs(1));
    let later = message("3@b.example", kept(5, HARD, hours(1)));
    assert!(decided(&[one, between, later], &policy, now).is_empty());
}

#[test]
fn several_lists_count_everywhere() {
    let policy = BouncePolicy::profile("hubspot").unwrap();
    let of = |number, list: Option<&str>, tenant: &str, at| {
        let event = kept(number, HARD, hours(at));
        KeptEvent {
            tenant: tenant.into(),
            event: Event {
                list: list.map(Into::into),
                ..event.event
            },
            ..event
        }
    };
    let everywhere = |events: &[KeptEvent], policy: &BouncePolicy| {
        let decided = decided(events, policy, hours(100_000));
        decided
            .into_iter()
            .find(|decision| decision.rule == "unknown_in_several_lists")
    };
    let three = [
        of(1, Some("a"), "", 0),
        of(2, Some("b"), "", 10),
        of(3, None, "one", 60 * 24),
    ];
    assert_eq!(everywhere(&three, &policy).unwrap().scope, Scope::default());
    assert_eq!(everywhere(&three, &policy).unwrap().events, [1, 2, 3]);
    assert!(everywhere(&three, &BouncePolicy::default()).is_none(), "an option");
    let late = [
        of(1, Some("a"), "", 0),
        of(2, Some("b"), "", 10),
        of(3, None, "one", 60 * 24 + 1),
    ];
    assert!(everywhere(&late, &policy).is_none());
    let same = [
        of(1, Some("a"), "", 0),
        of(2, Some("b"), "", 10),
        of(3, Some("b"), "", 20),
    ];
    assert!(everywhere(&same, &policy).is_none());
    let scopes: Vec<_> = decided(&same, &policy, hours(100))
        .into_iter()
        .map(|decision| decision.scope.list)
        .collect();
    assert_eq!(scopes, [Some("a".into()), Some("b".into())], "each list for itself");
}

#[test]
fn somebody_on_the_way_is_watched() {
    let events = history(&[(SOFT, 0), (SOFT, 24), (SOFT, 48)]);
    let history = History {
        events: &events,
        ..History::default()
    };
    let watched = decide(&history, &BouncePolicy::default(), hours(100)).watched;
    assert_eq!(
        (watched[0].failures, watched[0].needed, watched[0].until),
        (3, 4, hours(14 * 24))
    );
}

fn any_kind() -> impl Strategy<Value = EventKind> {
    prop_oneof![
        4 => Just(SOFT),
        1 => Just(HARD),
        2 => Just(DENIED),
        2 => Just(FULL),
        2 => Just(PENDING),
        1 => Just(NO_DOMAIN),
        1 => Just(BLOCKED),
        1 => Just(UNSURE),
        1 => Just(GOOD),
        1 => Just(bounced(Class::Timeout, Persistence::Permanent)),
    ]
}

fn any_history() -> impl Strategy<Value = Vec<KeptEvent>> {
    let list = prop_oneof![Just(None), Just(Some("a")), Just(Some("b")), Just(Some("c"))];
    let event = (any_kind(), 0..60_u64 * 24, list, 0..4_u8);
    proptest::collection::vec(event, 0..25).prop_map(|events| {
        let make = |((kind, at, list, message), number): ((EventKind, u64, Option<&str>, u8), i64)| {
            let event = kept(number, kind, hours(at) + Duration::from_secs(number.unsigned_abs()));
            // A queue gives up after five days (RFC 5321 section 4.5.4.1): what is said of one message is said within them.
            let days = at / (5 * 24);
            let message = (message > 0).then(|| format!("{}.{days}@b.example", number % i64::from(message + 3)).into());
            KeptEvent {
                event: Event {
                    list: list.map(Into::into),
                    message_id: message,
                    ..event.event
                },
                ..event
            }
        };
        events.into_iter().zip(1..).map(make).collect()
    })
}

fn any_policy() -> impl Strategy<Value = BouncePolicy> {
    (0..BouncePolicy::PROFILES.len(), 1..=2_usize).prop_map(|(profile, hard_count)| BouncePolicy {
        hard_count,
        elsewhere: Some(Elsewhere {
            lists: 2,
            within: 60 * 24 * HOUR,
        }),
        ..BouncePolicy::profile(BouncePolicy::PROFILES[profile]).unwrap()
    })
}

fn sure(decisions: Vec<Decision>) -> Vec<Decision> {
    let sure = |decision: &Decision| decision.confidence == Confidence::Sure;
    decisions.into_iter().filter(sure).collect()
}

proptest! {
    #[test]
    fn the_order_of_import_does_not_matter(
        (events, shuffled) in any_history().prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle())),
        policy in any_policy(),
        now in 0..120_u64 * 24,
    ) {
        prop_assert_eq!(decided(&events, &policy, hours(now)), decided(&shuffled, &policy, hours(now)));
    }

    #[test]
    fn nothing_is_decided_before_its_time(events in any_history(), policy in any_policy(), now in 0..70_u64 * 24) {
        for decision in sure(decided(&events, &policy, hours(now))) {
            prop_assert!(decision.at <= hours(now), "{:?}", decision);
        }
    }

    #[test]
    fn what_is_decided_stays_so(events in any_history(), policy in any_policy(), now in 0..70_u64 * 24, later in 0..1000_u64) {
        let later = sure(decided(&events, &policy, hours(now + later)));
        for decision in sure(decided(&events, &policy, hours(now))) {
            let stays = |other: &&Decision| (&other.scope, other.reason) == (&decision.scope, decision.reason);
            prop_assert!(later.iter().any(|other| stays(&other)), "{:?}", decision);
        }
    }

    #[test]
    fn a_time_zone_moves_everything_and_changes_nothing(events in any_history(), policy in any_policy(), zone in 0..14_u64) {
        let shift = Duration::from_hours(zone);
        let moved: Vec<KeptEvent> = events.iter().map(|event| KeptEvent {
            added_at: event.added_at + shift,
            event: Event { at: event.event.at + shift, ..event.event.clone() },
            ..event.clone()
        }).collect();
        let here: Vec<_> = decided(&events, &policy, hours(2000));
        let there: Vec<_> = decided(&moved, &policy, hours(2000) + shift);
        let back = there.into_iter().map(|decision| Decision { at: decision.at - shift, ..decision });
        prop_assert_eq!(here, back.collect::<Vec<_>>());
    }

    #[test]
    fn a_failure_dated_ahead_adds_nothing(events in any_history(), policy in any_policy(), at in 0..50_u64 * 24, ahead in 25..5000_u64, now in 0..80_u64 * 24) {
        for kind in [SOFT, FULL, DENIED, PENDING] {
            let jumped = KeptEvent { added_at: hours(at), ..kept(1000, kind, hours(at + ahead)) };
            let with = [events.clone(), vec![jumped]].concat();
            let before = sure(decided(&events, &policy, hours(now)));
            for decision in sure(decided(&with, &policy, hours(now))) {
                let known = |other: &&Decision| (&other.scope, other.reason) == (&decision.scope, decision.reason);
                prop_assert!(before.iter().any(|other| known(&other)), "{:?}", decision);
            }
        }
    }

    #[test]
    fn a_sign_of_life_suppresses_nobody(events in any_history(), policy in any_policy(), at in 0..60_u64 * 24) {
        // What a person was to look at may be sure now: doubtful failures before the sign do not count any more.
        let without = decided(&events, &policy, hours(3000));
        let with = [events, vec![kept(1000, GOOD, hours(at))]].concat();
        for decision in sure(decided(&with, &policy, hours(3000))) {
            let known = |other: &&Decision| (&other.scope, other.reason) == (&decision.scope, decision.reason);
            prop_assert!(without.iter().any(|other| known(&other)), "{:?}", decision);
        }
    }
}
