//! What is kept of suppressions, and what is not.

use std::time::Duration;

use super::*;

const DAY: Duration = Duration::from_hours(24);

fn new(mailbox: &str, reason: SuppressionReason) -> NewSuppression {
    NewSuppression {
        mailbox: mailbox.into(),
        scope: Scope::everywhere(),
        reason,
        source: Author::Person,
        note: Some("asked by phone".into()),
        happened_at: SystemTime::UNIX_EPOCH + 20_000 * DAY,
        expires_at: None,
    }
}

fn person(store: &SqliteStore, mailbox: &str) -> Person {
    store.recipients().unwrap().person(mailbox)
}

#[test]
fn each_reason_is_kept_once_and_what_ended_is_history() {
    let store = SqliteStore::private().unwrap();
    let both = || {
        vec![
            new("Jane@a.example", SuppressionReason::Manual),
            new("jane@a.example", SuppressionReason::Unsubscribed),
        ]
    };
    assert_eq!(store.suppress(both()).unwrap(), Added { new: 2, known: 0 });
    assert_eq!(store.suppress(both()).unwrap(), Added { new: 0, known: 2 });
    let jane = person(&store, "jane@a.example");
    assert_eq!(store.suppressed("", None).unwrap().len(), 2);
    assert_eq!(
        store.release(jane, ("one", None), Author::Api, None).unwrap(),
        0,
        "of another tenant"
    );
    assert_eq!(
        store
            .release(jane, ("", None), Author::Person, Some("came back".into()))
            .unwrap(),
        2
    );
    assert!(store.suppressed("", None).unwrap().is_empty());
    assert_eq!(
        store
            .suppress(vec![new("jane@a.example", SuppressionReason::Manual)])
            .unwrap()
            .new,
        1
    );
    let all = store.suppressions_of(jane).unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(all[0].ended.as_ref().unwrap().2.as_deref(), Some("came back"));
    assert_eq!(
        (all[0].note.as_deref(), &*all[0].mailbox),
        (Some("asked by phone"), "Jane@a.example")
    );
}

#[test]
fn scopes_hold_for_what_they_name() {
    let store = SqliteStore::private().unwrap();
    let of = |tenant: &str, list: Option<&str>| NewSuppression {
        scope: Scope {
            tenant: tenant.into(),
            list: list.map(Into::into),
        },
        ..new("jane@a.example", SuppressionReason::Manual)
    };
    store
        .suppress(vec![of("one", None), of("one", Some("news")), of("", Some("offers"))])
        .unwrap();
    for (tenant, list, found) in [
        ("", None, 0),
        ("one", None, 1),
        ("one", Some("news"), 2),
        ("one", Some("offers"), 2),
        ("two", Some("offers"), 1),
        ("two", Some("news"), 0),
    ] {
        assert_eq!(
            store.suppressed(tenant, list).unwrap().len(),
            found,
            "{tenant} {list:?}"
        );
    }
}

#[test]
fn what_ends_by_itself_can_be_made_again() {
    let store = SqliteStore::private().unwrap();
    let until = |at| NewSuppression {
        expires_at: Some(at),
        ..new("jane@a.example", SuppressionReason::Manual)
    };
    let now = SystemTime::now();
    store.suppress(vec![until(now - DAY)]).unwrap();
    assert!(store.suppressed("", None).unwrap().is_empty());
    assert_eq!(store.suppress(vec![until(now + DAY)]).unwrap().new, 1);
    assert_eq!(store.suppress(vec![until(now + 2 * DAY)]).unwrap().new, 0);
    let all = store.suppressions_of(person(&store, "jane@a.example")).unwrap();
    assert_eq!(all[0].ended.as_ref().unwrap().1, Author::Expiry);
    assert!(all[1].expires_at.unwrap() > now + DAY, "the later end holds");
    store
        .suppress(vec![new("jane@a.example", SuppressionReason::Manual)])
        .unwrap();
    let all = store.suppressions_of(person(&store, "jane@a.example")).unwrap();
    assert_eq!(all[1].expires_at, None);
}

#[test]
fn rules_make_and_end_their_own_and_touch_nothing_of_a_persons() {
    let store = SqliteStore::private().unwrap();
    let jane = person(&store, "jane@a.example");
    let rule = |unsure| ByRule {
        rule: "hard".into(),
        policy: "default".into(),
        events: vec![1, 5],
        reply: Some("550 no".into()),
        unsure,
    };
    let decide = |decided: &[bool]| {
        let decided = decided.iter().map(|unsure| {
            let at = SystemTime::UNIX_EPOCH + DAY;
            (Scope::everywhere(), SuppressionReason::HardBounce, at, rule(*unsure))
        });
        let verdicts = Verdicts {
            person: jane,
            mailbox: "jane@a.example".into(),
            suppressions: decided.collect(),
        };
        store.apply_rules(vec![verdicts]).unwrap()
    };
    let last = || store.suppressions_of(jane).unwrap().pop().unwrap();
    store
        .suppress(vec![new("jane@a.example", SuppressionReason::Manual)])
        .unwrap();
    assert_eq!(decide(&[true]).review, 1);
    assert_eq!(
        (last().state, last().by_rule),
        (SuppressionState::Review, Some(rule(true)))
    );
    assert_eq!(decide(&[true]), Applied::default(), "a replay changes nothing");
    assert_eq!(decide(&[]).lifted, 1);
    assert_eq!(decide(&[false]).suppressed, 1);
    assert_eq!(decide(&[]).lifted, 1);
    assert_eq!(decide(&[true]).review, 1);
    assert!(store.review(last().number, true, Some("seen".into())).unwrap());
    assert!(!store.review(last().number, true, None).unwrap(), "once");
    assert_eq!(decide(&[]), Applied::default(), "a person approved it");
    assert_eq!(store.release(jane, ("", None), Author::Person, None).unwrap(), 2);
    assert_eq!(decide(&[false]).again, 1);
    assert!(last().again && last().counts(SystemTime::now()));
}

#[test]
fn hashes_hold_suppressions_too() {
    let store = SqliteStore::private().unwrap();
    store
        .suppress(vec![new("jane@a.example", SuppressionReason::Manual)])
        .unwrap();
    store.keep_hashes().unwrap();
    assert_eq!(
        store
            .suppress(vec![new("joe@a.example", SuppressionReason::Manual)])
            .unwrap()
            .new,
        1
    );
    assert_eq!(
        store
            .suppress(vec![new("JANE@a.example", SuppressionReason::Manual)])
            .unwrap()
            .new,
        0
    );
    let mut shown = Vec::new();
    let see = |kept: Suppression| {
        shown.push(kept.mailbox);
        Ok::<_, StoreError>(ControlFlow::Continue(()))
    };
    store.each_suppression(&Suppressions::default(), see).unwrap();
    assert_eq!(shown, ["***@a.example".into(), "***@a.example".into()]);
}
