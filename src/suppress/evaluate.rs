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
    wave::{self, Finder, Waves},
};
use crate::{
    address::{Address, Rules},
    store::{
        Applied, Author, ByRule, Events, KeptEvent, Person, Reading, SqliteStore, Store, StoreError, Verdicts, Wave,
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
    let (waves, touched) = waves(store, policy, since)?;
    let of_age = [before..now, earlier(before)..earlier(now), touched];
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

/// What looks like the fault of mail hosts, with what was added after an event; and between when bounces were told of that this
/// concerns otherwise than before: whoever bounced then is decided about again.
fn waves(store: &SqliteStore, policy: &BouncePolicy, since: i64) -> Result<(Waves, Range<SystemTime>), StoreError> {
    let known = store.waves()?;
    let found = match Finder::new(policy) {
        None => Vec::new(),
        Some(finder) => match news(store, &known, since)? {
            None => return Ok((Waves::new(&known), NEVER)),
            Some(within) => found(store, policy, finder, (&known, within))?,
        },
    };
    let differ = |waves: &[Wave], others: &[Wave]| -> Vec<Wave> {
        waves.iter().filter(|wave| !others.contains(wave)).cloned().collect()
    };
    let changed = [differ(&known, &found), differ(&found, &known)].concat();
    if changed.is_empty() {
        return Ok((Waves::new(&found), NEVER));
    }
    let from = changed.iter().map(|wave| wave.from).min();
    let to = changed
        .iter()
        .filter_map(|wave| wave.to.checked_add(Duration::from_millis(1)))
        .max();
    let waves = Waves::new(&found);
    store.keep_waves(found)?;
    Ok((waves, from.zip(to).map_or(NEVER, |(from, to)| from..to)))
}

const NEVER: Range<SystemTime> = SystemTime::UNIX_EPOCH..SystemTime::UNIX_EPOCH;

/// Between when there may be other waves than are known: about unknown users that are new, and about waves before which somebody
/// took mail, as is new.
fn news(store: &SqliteStore, known: &[Wave], since: i64) -> Result<Option<(SystemTime, SystemTime)>, StoreError> {
    let [unknown, delivered] = store.told_since(since)?;
    let after = |wave: &&Wave| {
        delivered.is_some_and(|(first, last)| {
            wave.from > first && wave.from.duration_since(last).unwrap_or_default() <= ALIVE
        })
    };
    let told = known.iter().filter(after).map(|wave| (wave.from, wave.to));
    Ok(told
        .chain(unknown)
        .reduce(|(from, to), (other_from, other_to)| (from.min(other_from), to.max(other_to))))
}

/// The waves, looked for anew where something is new: those before it stay, and four weeks after it the usual is another.
fn found(
    store: &SqliteStore,
    policy: &BouncePolicy,
    mut finder: Finder,
    (known, (from, to)): (&[Wave], (SystemTime, SystemTime)),
) -> Result<Vec<Wave>, StoreError> {
    let window = policy.outage.map_or(Duration::ZERO, |rule| rule.within);
    let earlier = |at: SystemTime, by: Duration| at.checked_sub(by).unwrap_or(SystemTime::UNIX_EPOCH);
    let later = |at: SystemTime, by: Duration| at.checked_add(by).unwrap_or(at);
    let (first, last) = (earlier(from, window), later(to, wave::BEFORE + window));
    let is_old = |wave: &&Wave| wave.to < first || wave.from > last;
    // A wave that goes on before and behind is looked at from its beginning to its end.
    let touched = || known.iter().filter(|wave| !is_old(wave));
    let begin = touched().map(|wave| wave.from).fold(first, SystemTime::min);
    let end = touched().map(|wave| wave.to).fold(last, SystemTime::max);
    let usual = earlier(begin, wave::BEFORE + Duration::from_hours(24));
    store.each_unknown((usual, later(end, window)), |unknown| finder.see(unknown))?;
    let mut waves = finder.waves(|people, before| {
        let within = (earlier(before, ALIVE), before);
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
        Ok::<_, StoreError>(alive)
    })?;
    waves.retain(|wave| !is_old(&wave));
    waves.extend(known.iter().filter(is_old).cloned());
    waves.sort_unstable_by(|one, other| (&one.group, one.from).cmp(&(&other.group, other.from)));
    Ok(waves)
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
mod tests;
