//! The bounce policy applied to what is kept: whoever something new is known of is decided about again.
//!
//! Reads events one recipient after the other, so that memory does not grow with their number.

use std::{
    ops::{ControlFlow, Range},
    time::{Duration, SystemTime},
};

use super::{
    BouncePolicy,
    decide::{Confidence, Decision, History, Release, Watched, decide},
    wave::{Finder, Wave, Waves},
};
use crate::{
    address::{Address, Rules},
    store::{
        Applied, Author, ByRule, Events, KeptEvent, Person, Reading, SqliteStore, Store, StoreError, Verdicts,
        address_key, domain_key, stable_hash,
    },
    verdict::{Label, Policy, judge},
};

/// Recipients whose decisions are written together.
const TOGETHER: usize = 1_000;
/// Events of one recipient that are looked at; of more, the last.
const MOST: usize = 10_000;
/// Who took mail or was found within so long before a wave was alive.
const ALIVE: Duration = Duration::from_hours(90 * 24);
/// How often one looks for events that are too old.
const FORGET_EVERY: Duration = Duration::from_hours(24);

/// What an evaluation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evaluated {
    /// Recipients that were looked at.
    pub looked_at: u64,
    /// What changed.
    pub applied: Applied,
    /// Events that were forgotten for their age.
    pub forgotten: u64,
}

/// Decides about everybody of whom something was added or came of age since the last time; about all when the policy changed.
///
/// # Errors
/// The database cannot be read or written.
pub fn evaluate(store: &SqliteStore, policy: &BouncePolicy, now: SystemTime) -> Result<Evaluated, StoreError> {
    let print = stable_hash(format!("{policy:?}").as_bytes(), 0).cast_signed();
    let same = store.bounce_state("policy")? == Some(print);
    let since = if same {
        store.bounce_state("evaluated_event")?.unwrap_or(0)
    } else {
        0
    };
    let before = store.bounce_state("evaluated_at")?.unwrap_or(0);
    let before = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(before).unwrap_or(0));
    let newest = store.newest_event()?;
    let earlier = |at: SystemTime| at.checked_sub(policy.wait).unwrap_or(SystemTime::UNIX_EPOCH);
    // What was dated ahead and is reached, and what was pending and has waited.
    let waves = waves(store, policy)?;
    let (touched, seen) = touched(store, &waves)?;
    let of_age = [before..now, earlier(before)..earlier(now), touched];
    let waves = Waves::new(&waves);
    let mut evaluation = Evaluation {
        store,
        policy,
        waves: &waves,
        now,
        verdicts: Vec::new(),
        done: Evaluated::default(),
    };
    each_person(store, &Events::AboutNewsOr(since, of_age), |events| {
        evaluation.look(events)
    })?;
    evaluation.write()?;
    let mut done = evaluation.done;
    let mut state = vec![
        ("policy", print),
        ("evaluated_event", newest),
        ("evaluated_at", millis(now)),
    ];
    state.extend(seen);
    // After everybody was decided about, so that who is suppressed by an old event keeps it.
    let last = store.bounce_state("forgot_at")?.unwrap_or(0);
    let due = !same || millis(now).saturating_sub(last) >= i64::try_from(FORGET_EVERY.as_millis()).unwrap_or(i64::MAX);
    if let Some(before) = now.checked_sub(policy.keep).filter(|_| due) {
        done.forgotten = store.forget_events(before)?;
        state.push(("forgot_at", millis(now)));
    }
    store.set_bounce_state(state)?;
    Ok(done)
}

fn millis(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX - 1)
}

/// What looks like the fault of mail hosts, in everything that is kept.
fn waves(store: &SqliteStore, policy: &BouncePolicy) -> Result<Vec<Wave>, StoreError> {
    let Some(mut finder) = Finder::new(policy) else {
        return Ok(Vec::new());
    };
    store.each_unknown(|unknown| finder.see(unknown))?;
    finder.waves(|people, before| {
        let within = (before.checked_sub(ALIVE).unwrap_or(SystemTime::UNIX_EPOCH), before);
        let mut alive = 0;
        for person in people {
            let (arrived, mailbox) = store.arrived_within(*person, within)?;
            let found = |mailbox: &str| -> Result<bool, StoreError> {
                let times = accepted(store, mailbox)?;
                Ok(times.iter().any(|at| (within.0..within.1).contains(at)))
            };
            let is_alive = arrived || mailbox.map_or(Ok(false), |mailbox| found(&mailbox))?;
            alive += usize::from(is_alive);
        }
        Ok(alive)
    })
}

/// When bounces were told that other waves than the last time concern: whoever bounced then is decided about again. And what is
/// to be kept of these waves.
fn touched(store: &SqliteStore, waves: &[Wave]) -> Result<(Range<SystemTime>, [(&'static str, i64); 3]), StoreError> {
    let print = stable_hash(format!("{waves:?}").as_bytes(), 0).cast_signed();
    let at = |millis: i64| SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    let from = waves.iter().map(|wave| millis(wave.from)).min().unwrap_or(i64::MAX);
    let to = waves.iter().map(|wave| millis(wave.to) + 1).max().unwrap_or(0);
    let known = |name, otherwise| Ok::<_, StoreError>(store.bounce_state(name)?.unwrap_or(otherwise));
    let first = from.min(known("waves_from", i64::MAX)?);
    let last = to.max(known("waves_to", 0)?);
    let changed = store.bounce_state("waves")? != Some(print) && first < last;
    let range = if changed { at(first)..at(last) } else { at(0)..at(0) };
    Ok((range, [("waves", print), ("waves_from", from), ("waves_to", to)]))
}

/// Who is on the way to being suppressed, as `see` is told one by one.
///
/// # Errors
/// The database cannot be read.
pub fn watched(
    store: &SqliteStore,
    policy: &BouncePolicy,
    now: SystemTime,
    mut see: impl FnMut(&str, &Watched),
) -> Result<(), StoreError> {
    let since = now.checked_sub(policy.gap).unwrap_or(SystemTime::UNIX_EPOCH);
    let look = |events: &[KeptEvent]| -> Result<(), StoreError> {
        let Some(last) = events.last() else { return Ok(()) };
        let releases = releases(store, last.person)?;
        let history = History {
            events,
            accepted: &[],
            releases: &releases,
            waves: None,
        };
        for watched in decide(&history, policy, now).watched {
            see(&last.event.recipient, &watched);
        }
        Ok(())
    };
    let nobody_new = store.newest_event()?;
    let lately = [since..now, now..now, now..now];
    each_person(store, &Events::AboutNewsOr(nobody_new, lately), look)
}

/// Shows `look` what happened to each recipient, of the newest [`MOST`] events at least the later half.
fn each_person(
    store: &SqliteStore,
    wanted: &Events,
    mut look: impl FnMut(&[KeptEvent]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut of_one: Vec<KeptEvent> = Vec::new();
    store.each_event(wanted, |event| {
        if of_one.first().is_some_and(|first| first.person != event.person) {
            look(&of_one)?;
            of_one.clear();
        }
        if of_one.len() == MOST {
            of_one.drain(..MOST / 2);
        }
        of_one.push(event);
        Ok::<_, StoreError>(ControlFlow::Continue(()))
    })?;
    look(&of_one)
}

struct Evaluation<'a> {
    store: &'a SqliteStore,
    policy: &'a BouncePolicy,
    waves: &'a Waves,
    now: SystemTime,
    verdicts: Vec<Verdicts>,
    done: Evaluated,
}

impl Evaluation<'_> {
    /// Everything about one recipient.
    fn look(&mut self, events: &[KeptEvent]) -> Result<(), StoreError> {
        let Some(last) = events.last() else { return Ok(()) };
        let releases = releases(self.store, last.person)?;
        let mut history = History {
            events,
            accepted: &[],
            releases: &releases,
            waves: Some(self.waves),
        };
        let mut decided = decide(&history, self.policy, self.now);
        let found;
        // Few come so far that a probe could spare them.
        if decided.decisions.iter().any(|decision| decision.rule != "hard") {
            found = accepted(self.store, &last.event.recipient)?;
            history.accepted = &found;
            decided = decide(&history, self.policy, self.now);
        }
        let suppressions = decided.decisions.into_iter().map(|decision| {
            let by_rule = self.by_rule(&decision, events);
            (decision.scope, decision.reason, decision.at, by_rule)
        });
        self.verdicts.push(Verdicts {
            person: last.person,
            mailbox: (*last.event.recipient).into(),
            suppressions: suppressions.collect(),
        });
        self.done.looked_at += 1;
        if self.verdicts.len() == TOGETHER {
            self.write()?;
        }
        Ok(())
    }

    fn by_rule(&self, decision: &Decision, events: &[KeptEvent]) -> ByRule {
        let told = |number: &i64| events.iter().find(|event| event.number == *number);
        let last = decision.events.last().and_then(told);
        let elsewhere = decision.rule == "unknown_in_several_lists";
        ByRule {
            rule: decision.rule.into(),
            policy: self.policy.name.as_str().into(),
            events: decision.events.clone(),
            // What was said to one tenant is not told to another.
            reply: last.filter(|_| !elsewhere).and_then(|event| event.event.reply.clone()),
            unsure: self.policy.review && decision.confidence == Confidence::Unsure,
        }
    }

    fn write(&mut self) -> Result<(), StoreError> {
        if self.verdicts.is_empty() {
            return Ok(());
        }
        let applied = self.store.apply_rules(std::mem::take(&mut self.verdicts))?;
        let all = &mut self.done.applied;
        all.suppressed += applied.suppressed;
        all.review += applied.review;
        all.again += applied.again;
        all.lifted += applied.lifted;
        Ok(())
    }
}

/// When people let a recipient go.
fn releases(store: &SqliteStore, person: Person) -> Result<Vec<Release>, StoreError> {
    let by_person = |author: &Author| matches!(author, Author::Person | Author::Api);
    let kept = store.suppressions_of(person)?.into_iter();
    let release = kept.filter_map(|kept| {
        let (at, by, _) = kept.ended?;
        by_person(&by).then_some(Release { scope: kept.scope, at })
    });
    Ok(release.collect())
}

/// When probes found a mailbox to exist.
fn accepted(store: &SqliteStore, mailbox: &str) -> Result<Vec<SystemTime>, StoreError> {
    let rules = Rules {
        allow_special_use: true,
    };
    let Ok(address) = Address::parse(mailbox, rules) else {
        return Ok(Vec::new());
    };
    let mut keys = [
        address_key(address.join_hash(false)),
        address_key(address.join_hash(true)),
    ];
    keys.sort_unstable();
    let mut times = Vec::new();
    for known in store.known_of(domain_key(address.domain()), &keys)? {
        let kept = match store.record(known.job, known.place, Reading::default()) {
            Err(StoreError::Gone) => continue,
            kept => kept?,
        };
        let same = kept.mailbox.eq_ignore_ascii_case(address.mailbox());
        if same && judge(&kept.evidence, &Policy::default()).label == Label::Valid {
            times.push(kept.checked_at);
        }
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
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
        let refused =
            |range: Range<usize>| -> Vec<Event> { range.map(|number| event(&who(number), HARD, 5)).collect() };
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
                assert_eq!(open(&store, &who(number)), [held.clone()], "{number}");
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
}
