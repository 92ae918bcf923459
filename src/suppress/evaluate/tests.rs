//! Imports in any order, and what must be on the list after each.

use super::*;
use crate::{
    bounce::{Event, EventKind, Origin},
    replies::{Class, Persistence},
    store::{Suppression, SuppressionState},
};

fn event(recipient: &str, kind: EventKind, hours_ago: u64) -> Event {
    Event {
        reply: Some("550 5.1.1 No such user".into()),
        ..Event::new(
            recipient,
            kind,
            SystemTime::now() - Duration::from_hours(hours_ago),
            Origin::Log,
        )
    }
}

const HARD: EventKind = EventKind::Bounced {
    class: Class::UserUnknown,
    persistence: Persistence::Permanent,
};
const SOFT: EventKind = EventKind::Bounced {
    class: Class::QueueExpired,
    persistence: Persistence::Permanent,
};
const PENDING: EventKind = EventKind::Deferred {
    class: Class::Greylisted,
};

fn run(store: &SqliteStore, later: u64) -> Evaluated {
    evaluate(
        store,
        &BouncePolicy::default(),
        SystemTime::now() + Duration::from_hours(later),
    )
    .unwrap()
}

fn of(store: &SqliteStore, mailbox: &str) -> Vec<Suppression> {
    store
        .suppressions_of(store.recipients().unwrap().person(mailbox))
        .unwrap()
}

#[test]
fn what_is_new_is_decided_once() {
    let store = SqliteStore::private().unwrap();
    let events = || vec![event("jane@a.example", HARD, 1), event("joe@a.example", SOFT, 1)];
    store.add_events(events(), false).unwrap();
    assert_eq!(
        (run(&store, 0).looked_at, run(&store, 0).applied),
        (2, Applied::default())
    );
    let jane = of(&store, "jane@a.example");
    let rule = jane[0].by_rule.clone().unwrap();
    assert_eq!(
        (&*rule.rule, rule.events.len(), rule.reply.as_deref()),
        ("hard", 1, Some("550 5.1.1 No such user"))
    );
    assert!(of(&store, "joe@a.example").is_empty());
    store.add_events(vec![event("kim@a.example", HARD, 1)], false).unwrap();
    assert_eq!(run(&store, 0).applied.suppressed, 1);
}

#[test]
fn the_order_of_imports_does_not_matter() {
    let soft = |hours| event("jane@a.example", SOFT, hours);
    let days = [20, 15, 10, 2].map(|day| vec![soft(day * 24)]);
    let delivered = vec![event("jane@a.example", EventKind::Delivered, 12 * 24)];
    for imports in [
        vec![days.concat(), delivered.clone()],
        vec![delivered.clone(), days.concat()],
        vec![days[..2].concat(), delivered, days[2..].concat(), days.concat()],
    ] {
        let store = SqliteStore::private().unwrap();
        for import in imports {
            store.add_events(import, false).unwrap();
            run(&store, 0);
        }
        let open = of(&store, "jane@a.example")
            .into_iter()
            .filter(|kept| kept.ended.is_none());
        assert_eq!(open.count(), 0);
    }
}

#[test]
fn what_is_pending_comes_of_age_without_a_new_event() {
    let store = SqliteStore::private().unwrap();
    let mut events: Vec<_> = [20, 15, 10].map(|day| event("jane@a.example", SOFT, day * 24)).into();
    events.push(event("jane@a.example", PENDING, 1));
    store.add_events(events, false).unwrap();
    assert_eq!(run(&store, 0).applied.suppressed, 0);
    assert_eq!(run(&store, 70).applied.suppressed, 0);
    assert_eq!(run(&store, 72).applied.suppressed, 1);
    assert_eq!(run(&store, 73).applied, Applied::default());
}

#[test]
fn a_date_ahead_waits_for_its_day() {
    let store = SqliteStore::private().unwrap();
    let ahead = Event {
        at: SystemTime::now() + Duration::from_hours(5),
        ..event("jane@a.example", HARD, 0)
    };
    store.add_events(vec![ahead], false).unwrap();
    assert_eq!(run(&store, 0).applied.review, 1);
    assert_eq!(of(&store, "jane@a.example")[0].state, SuppressionState::Review);
    assert_eq!(run(&store, 6).applied.suppressed, 1);
}

#[test]
fn who_was_let_go_and_bounces_again_is_suppressed_again_and_flagged() {
    let store = SqliteStore::private().unwrap();
    let jane = store.recipients().unwrap().person("jane@a.example");
    store.add_events(vec![event("jane@a.example", HARD, 5)], false).unwrap();
    run(&store, 0);
    store
        .release(jane, ("", None), Author::Person, Some("it works".into()))
        .unwrap();
    store.add_events(vec![event("jane@a.example", HARD, 4)], false).unwrap();
    assert_eq!(
        run(&store, 0).applied,
        Applied::default(),
        "an old bounce, reported late"
    );
    let later = Event {
        at: SystemTime::now() + Duration::from_millis(5),
        ..event("jane@a.example", HARD, 0)
    };
    store.add_events(vec![later], false).unwrap();
    assert_eq!(run(&store, 1).applied.again, 1);
    assert!(of(&store, "jane@a.example").last().unwrap().again);
}

fn open(store: &SqliteStore, who: &str) -> Vec<(SuppressionState, Box<str>)> {
    let open = of(store, who).into_iter().filter(|kept| kept.ended.is_none());
    open.map(|kept| (kept.state, kept.by_rule.unwrap().rule)).collect()
}

/// In the first hours of an outage nobody can know, so who was suppressed then is held as well; in whatever order it is told.
#[test]
fn an_outage_is_held_for_a_person_and_what_comes_later_decides() {
    let who = |number: usize| format!("user{number}@a.example");
    let delivered = || -> Vec<Event> {
        let of = |number| event(&who(number), EventKind::Delivered, 10 * 24);
        (0..60).map(of).collect()
    };
    let refused = |range: Range<usize>| -> Vec<Event> { range.map(|number| event(&who(number), HARD, 5)).collect() };
    for imports in [
        vec![delivered(), refused(0..60)],
        vec![delivered(), refused(0..30), refused(30..60), refused(0..60)],
        vec![refused(0..60), delivered()],
        vec![refused(40..60), delivered(), refused(0..45)],
    ] {
        let store = SqliteStore::private().unwrap();
        for import in imports {
            store.add_events(import, false).unwrap();
            run(&store, 0);
        }
        let held = (SuppressionState::Review, "unknown_in_a_wave".into());
        for number in 0..60 {
            assert_eq!(open(&store, &who(number)), std::slice::from_ref(&held), "{number}");
        }
        // Refused again when the host is well, the mailbox is gone; mail that arrives says that it never was.
        let later = vec![event(&who(1), HARD, 1), event(&who(2), EventKind::Delivered, 1)];
        store.add_events(later, false).unwrap();
        assert_eq!(
            (run(&store, 0).applied.suppressed, run(&store, 0).applied),
            (1, Applied::default())
        );
        assert_eq!(open(&store, &who(1)), [(SuppressionState::Active, "hard".into())]);
        assert_eq!(open(&store, &who(2)), []);
        assert_eq!(open(&store, &who(3)), [held]);
    }
}

#[test]
fn events_age_and_who_is_suppressed_keeps_the_reason() {
    let store = SqliteStore::private().unwrap();
    let people = ["dead", "full", "let.go", "alive"].map(|name| format!("{name}@a.example"));
    let [dead, full, let_go, alive] = &people;
    let mut old: Vec<_> = [60, 40, 20, 10].map(|day| event(full, SOFT, day * 24)).into();
    old.extend([
        event(dead, HARD, 9),
        event(let_go, HARD, 9),
        event(alive, EventKind::Delivered, 9),
    ]);
    store.add_events(old, false).unwrap();
    assert_eq!(run(&store, 0).applied.suppressed, 3);
    let person = |who: &str| store.recipients().unwrap().person(who);
    store.release(person(let_go), ("", None), Author::Person, None).unwrap();
    let events = |who: &str| store.events_about(person(who)).unwrap().len();
    let young = 730 * 24 - 60 * 24;
    assert_eq!(run(&store, young - 24).forgotten, 0);
    // Nothing is lifted, and nothing is without its reason, ten years later and whatever the policy.
    for hours in [730 * 24, 3650 * 24] {
        let done = run(&store, hours);
        assert_eq!(
            (done.applied, done.forgotten),
            (Applied::default(), if hours == 730 * 24 { 2 } else { 0 })
        );
        let strict = BouncePolicy::profile("strict").unwrap();
        let later = SystemTime::now() + Duration::from_hours(hours);
        assert_eq!(evaluate(&store, &strict, later).unwrap().applied.lifted, 0);
        assert_eq!([dead, full, let_go, alive].map(|who| events(who)), [1, 4, 0, 0]);
    }
    for (who, named) in [(dead, 1), (full, 4)] {
        let kept = of(&store, who).pop().unwrap();
        let by = kept.by_rule.clone().unwrap();
        assert!(kept.counts(SystemTime::now()) && by.events.len() == named, "{kept:?}");
        assert_eq!(by.reply.as_deref(), Some("550 5.1.1 No such user"));
    }
}

/// What is usual at a host is known better the more is imported, whatever comes first.
#[test]
fn a_wave_is_unusual_or_not_in_any_order_of_imports() {
    let who = |kind: &str, number: usize| format!("{kind}{number}@a.example");
    let quiet: Vec<Event> = [20, 15, 10]
        .map(|day| event(&who("quiet", day), HARD, day as u64 * 24))
        .into();
    let wave: Vec<Event> = (0..100).map(|number| event(&who("wave", number), HARD, 5)).collect();
    let noisy: Vec<Event> = (0..11)
        .map(|number| event(&who("noisy", number), HARD, 12 * 24))
        .collect();
    for (imports, held) in [
        (vec![&quiet, &wave], true),
        (vec![&wave, &quiet], true),
        (vec![&noisy, &wave, &quiet], false),
        (vec![&quiet, &wave, &noisy], false),
        (vec![&wave, &noisy, &quiet], false),
    ] {
        let store = SqliteStore::private().unwrap();
        for import in imports {
            store.add_events(import.clone(), false).unwrap();
            run(&store, 0);
        }
        let expected = if held {
            (SuppressionState::Review, "unknown_in_a_wave".into())
        } else {
            (SuppressionState::Active, "hard".into())
        };
        assert_eq!(open(&store, &who("wave", 7)), [expected]);
        assert_eq!(
            open(&store, &who("quiet", 10)),
            [(SuppressionState::Active, "hard".into())]
        );
    }
}

#[test]
fn a_bad_import_is_no_outage() {
    let store = SqliteStore::private().unwrap();
    let refused = (0..200).map(|number| event(&format!("bought{number}@a.example"), HARD, 5));
    store.add_events(refused.collect(), false).unwrap();
    assert_eq!(run(&store, 0).applied.suppressed, 200);
}

#[test]
fn a_new_policy_decides_about_everybody() {
    let store = SqliteStore::private().unwrap();
    let soft = [20, 15, 1].map(|day| event("jane@a.example", SOFT, day * 24));
    store.add_events(soft.into(), false).unwrap();
    assert_eq!(run(&store, 0).applied.suppressed, 0);
    let mut near = Vec::new();
    watched(
        &store,
        &BouncePolicy::default(),
        SystemTime::now(),
        |mailbox, watched| {
            near.push((mailbox.to_owned(), watched.failures));
        },
    )
    .unwrap();
    assert_eq!(near, [("jane@a.example".to_owned(), 3)]);
    let strict = BouncePolicy::profile("strict").unwrap();
    assert_eq!(
        evaluate(&store, &strict, SystemTime::now()).unwrap().applied.suppressed,
        1
    );
    assert_eq!(run(&store, 0).applied.lifted, 1);
}
