//! Events and a time in, decisions out. Pure: the order in which events were reported does not matter, and nothing happens
//! before the time that an event names.
//!
//! Must not read a clock or the store.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, SystemTime},
};

use super::{BouncePolicy, Reach, SuppressionReason, Treatment, is_unsure, wave::Waves};
use crate::{
    bounce::EventKind,
    replies::{Class, Persistence},
    store::{KeptEvent, Scope},
};

/// Two reports of one failure, a log's and a server's, come within this time when no message id tells that they are one.
const ONE_FAILURE: Duration = Duration::from_hours(1);
/// A date so far ahead of the day it was reported on is the date of a wrong clock.
const CLOCKS_DIFFER: Duration = Duration::from_hours(24);
/// Events that a decision names at most.
const NAMED: usize = 50;

/// A person said that earlier events count no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// For whom.
    pub scope: Scope,
    /// When.
    pub at: SystemTime,
}

/// Everything that was told about one recipient.
#[derive(Debug, Clone, Copy, Default)]
pub struct History<'a> {
    /// What happened to mail, in any order.
    pub events: &'a [KeptEvent],
    /// When a probe found the mailbox to exist.
    pub accepted: &'a [SystemTime],
    /// When a person let the recipient go.
    pub releases: &'a [Release],
    /// When whole mail hosts knew nobody; `None` is never.
    pub waves: Option<&'a Waves>,
}

/// A mail host refused so many at once that it may be at fault.
const IN_A_WAVE: &str = "unknown_in_a_wave";

/// How sure a decision is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    /// It suppresses at once.
    Sure,
    /// A person should look first.
    Unsure,
}

/// Somebody is to be suppressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// For whom.
    pub scope: Scope,
    /// Why.
    pub reason: SuppressionReason,
    /// The stable name of the rule that decided.
    pub rule: &'static str,
    /// How sure it is.
    pub confidence: Confidence,
    /// Numbers of the events, in order of time; of many the last.
    pub events: Vec<i64>,
    /// When the rule was met, by the events' own dates.
    pub at: SystemTime,
}

/// Somebody who is not suppressed yet, and on the way there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// For whom.
    pub scope: Scope,
    /// Failures in a row.
    pub failures: usize,
    /// So many are needed.
    pub needed: usize,
    /// When the first was.
    pub since: SystemTime,
    /// Before that nothing is decided.
    pub until: SystemTime,
}

/// What follows from a history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decided {
    /// Suppressions, each reason once for a scope.
    pub decisions: Vec<Decision>,
    /// Failures that do not suffice yet.
    pub watched: Vec<Watched>,
}

/// Decides about one recipient at `now`.
#[must_use]
pub fn decide(history: &History<'_>, policy: &BouncePolicy, now: SystemTime) -> Decided {
    let mut events: Vec<&KeptEvent> = history
        .events
        .iter()
        .filter(|event| counts(event, history.releases))
        .collect();
    events.sort_by(|one, other| order(one).cmp(&order(other)));
    let mut courses: BTreeMap<Scope, Vec<&KeptEvent>> = BTreeMap::new();
    for event in &events {
        let scope = Scope {
            tenant: event.tenant.clone(),
            list: event.event.list.clone().filter(|_| policy.reach == Reach::OneList),
        };
        courses.entry(scope).or_default().push(event);
    }
    let mut decided = Decided::default();
    for (scope, events) in courses {
        let mut course = Course::new(scope, history.waves, policy, now);
        for step in steps(&events, history.accepted, policy, now) {
            course.take(&step);
        }
        course.finish(&mut decided);
    }
    decided.decisions.extend(wishes(&events));
    events.retain(|event| !in_a_wave(event, history.waves));
    decided.decisions.extend(elsewhere(&events, policy, now));
    decided
}

/// Whether an event has any weight: forged ones and those from before a release have none.
fn counts(event: &KeptEvent, releases: &[Release]) -> bool {
    let list = event.event.list.as_deref();
    let concerns = |release: &&Release| release.scope.covers(&event.tenant, list);
    let decided_at = releases.iter().filter(concerns).map(|release| release.at).max();
    // What was known when the person decided was weighed then, whatever its date.
    !event.apart && decided_at.is_none_or(|at| event.event.at > at && event.added_at > at)
}

/// Whether an unknown user may be the fault of the host.
fn in_a_wave(event: &KeptEvent, waves: Option<&Waves>) -> bool {
    let unknown = class(event.event.kind) == Some(Class::UserUnknown);
    unknown && waves.is_some_and(|waves| waves.hold(event))
}

/// By time; at one instant a delivery comes first, so that a failure is not the end of a row that it interrupts.
fn order(event: &KeptEvent) -> (SystemTime, u8, Option<Class>, &str, &str) {
    let told = &event.event;
    let (rank, class) = match told.kind {
        EventKind::Delivered => (0, None),
        EventKind::Deferred { class } => (1, Some(class)),
        EventKind::Bounced { class, .. } => (2, Some(class)),
        EventKind::Unsubscribed => (3, None),
        EventKind::Complained => (4, None),
    };
    let message = told.message_id.as_deref().unwrap_or_default();
    (told.at, rank, class, message, told.reply.as_deref().unwrap_or_default())
}

/// What an event means for a row of failures, when it has come to mean it.
enum Step<'a> {
    /// The mailbox took mail, or a probe found it.
    Alive(SystemTime),
    /// A failure.
    Failure(SystemTime, &'a KeptEvent, Treatment),
}

impl Step<'_> {
    fn at(&self) -> SystemTime {
        match self {
            Self::Alive(at) | Self::Failure(at, ..) => *at,
        }
    }
}

/// The steps of one course, in order of time; what is pending becomes one when nothing else was heard for long enough.
fn steps<'a>(
    events: &[&'a KeptEvent],
    accepted: &[SystemTime],
    policy: &BouncePolicy,
    now: SystemTime,
) -> Vec<Step<'a>> {
    let mut steps: Vec<Step<'a>> = accepted.iter().copied().map(Step::Alive).collect();
    let mut pending = Vec::new();
    for event in events {
        let at = event.event.at;
        match treatment(event.event.kind, policy) {
            None => steps.push(Step::Alive(at)),
            Some(Treatment::Wait) => pending.push(*event),
            Some(Treatment::Alert | Treatment::Ignore) => {}
            Some(treatment) => steps.push(Step::Failure(at, event, treatment)),
        }
    }
    let mut heard: Vec<SystemTime> = accepted.to_vec();
    let heard_of = |event: &&&KeptEvent| treatment(event.event.kind, policy) != Some(Treatment::Wait);
    heard.extend(events.iter().filter(heard_of).map(|event| event.event.at));
    heard.sort_unstable();
    let mut waited_until = None;
    for event in pending {
        let at = event.event.at;
        let Some(until) = at.checked_add(policy.wait) else {
            continue;
        };
        // One wait after the other: a queue that tries every hour is one failure in three days.
        if waited_until.is_some_and(|before| at <= before) {
            continue;
        }
        waited_until = Some(until);
        let next = heard.get(heard.partition_point(|heard| *heard < at));
        if next.is_none_or(|next| *next > until) {
            steps.push(Step::Failure(until, event, Treatment::Soft));
        }
    }
    // A date that has not come has not happened.
    steps.retain(|step| step.at() <= now || matches!(step, Step::Failure(_, _, Treatment::Hard)));
    steps.sort_by_key(|step| (step.at(), matches!(step, Step::Failure(..))));
    steps
}

/// `None` is a sign of life.
fn treatment(kind: EventKind, policy: &BouncePolicy) -> Option<Treatment> {
    match kind {
        EventKind::Delivered => None,
        EventKind::Bounced { class, persistence } => Some(policy.treatment(class, persistence)),
        EventKind::Deferred { class } => {
            let treatment = policy.treatment(class, Persistence::Transient);
            let counted = matches!(treatment, Treatment::Soft | Treatment::Full);
            // A delay is not the end of it yet.
            Some(if counted && !is_denial(kind) {
                Treatment::Wait
            } else {
                treatment
            })
        }
        EventKind::Complained | EventKind::Unsubscribed => Some(Treatment::Ignore),
    }
}

/// A transient code with words that say that there is no such mailbox.
fn is_denial(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Bounced {
            class: Class::UserUnknown,
            persistence: Persistence::Transient
        } | EventKind::Deferred {
            class: Class::UserUnknown
        }
    )
}

/// Failures without a sign of life between.
#[derive(Default)]
struct Row<'a> {
    failures: Vec<Failure<'a>>,
    messages: HashMap<&'a str, usize>,
}

/// One message that did not arrive, however often that was reported.
struct Failure<'a> {
    at: SystemTime,
    events: Vec<i64>,
    message: Option<&'a str>,
    unsure: bool,
    full: bool,
}

impl<'a> Row<'a> {
    /// How many different failures there are now.
    fn add(&mut self, at: SystemTime, event: &'a KeptEvent, gap: Duration) -> usize {
        let message = event.event.message_id.as_deref();
        let since = |before: SystemTime| at.duration_since(before).unwrap_or_default();
        if self.failures.last().is_some_and(|last| since(last.at) > gap) {
            self.clear();
        }
        let same = message.and_then(|message| self.messages.get(message).copied());
        let same = same.or_else(|| {
            let last = self.failures.last()?;
            let differ = message.is_some() && last.message.is_some();
            (!differ && since(last.at) <= ONE_FAILURE).then(|| self.failures.len() - 1)
        });
        if let Some(known) = same.and_then(|index| self.failures.get_mut(index)) {
            if known.events.len() < NAMED {
                known.events.push(event.number);
            }
            known.message = known.message.or(message);
        } else {
            self.failures.push(Failure {
                at,
                events: vec![event.number],
                message,
                unsure: class(event.event.kind).is_some_and(is_unsure),
                full: class(event.event.kind) == Some(Class::MailboxFull),
            });
        }
        if let Some(message) = message {
            self.messages.entry(message).or_insert(self.failures.len() - 1);
        }
        self.failures.len()
    }

    fn clear(&mut self) {
        self.failures.clear();
        self.messages.clear();
    }

    fn span(&self) -> Duration {
        let (first, last) = (self.failures.first(), self.failures.last());
        let span = first
            .zip(last)
            .map(|(first, last)| last.at.duration_since(first.at).unwrap_or_default());
        span.unwrap_or_default()
    }

    fn confidence(&self) -> Confidence {
        let unsure = self.failures.iter().filter(|failure| failure.unsure).count();
        if unsure * 2 >= self.failures.len() {
            Confidence::Unsure
        } else {
            Confidence::Sure
        }
    }

    fn events(&self) -> Vec<i64> {
        let all = self.failures.iter().flat_map(|failure| failure.events.iter().copied());
        let mut events: Vec<i64> = all.collect();
        events.drain(..events.len().saturating_sub(NAMED));
        events
    }
}

fn class(kind: EventKind) -> Option<Class> {
    match kind {
        EventKind::Bounced { class, .. } | EventKind::Deferred { class } => Some(class),
        EventKind::Delivered | EventKind::Complained | EventKind::Unsubscribed => None,
    }
}

/// What happened to one recipient within one scope, as far as it was gone through.
struct Course<'a> {
    scope: Scope,
    waves: Option<&'a Waves>,
    policy: &'a BouncePolicy,
    now: SystemTime,
    hard: Row<'a>,
    soft: Row<'a>,
    full: Row<'a>,
    /// The first transient refusal that said that there is no such mailbox, and the last.
    denied: Option<(&'a KeptEvent, SystemTime)>,
    decisions: BTreeMap<SuppressionReason, Decision>,
}

impl<'a> Course<'a> {
    fn new(scope: Scope, waves: Option<&'a Waves>, policy: &'a BouncePolicy, now: SystemTime) -> Self {
        Self {
            scope,
            waves,
            policy,
            now,
            hard: Row::default(),
            soft: Row::default(),
            full: Row::default(),
            denied: None,
            decisions: BTreeMap::new(),
        }
    }

    fn take(&mut self, step: &Step<'a>) {
        match *step {
            Step::Alive(_) => {
                self.hard.clear();
                self.soft.clear();
                self.full.clear();
                self.denied = None;
                self.decisions.retain(|_, decision| decision.rule != IN_A_WAVE);
            }
            Step::Failure(at, event, treatment) => self.fail(at, event, treatment),
        }
    }

    fn fail(&mut self, at: SystemTime, event: &'a KeptEvent, treatment: Treatment) {
        let policy = self.policy;
        if at > self.now {
            // Its clock is wrong, and that it bounced is true: somebody should look.
            if self.hard.failures.len() + 1 >= policy.hard_count {
                self.decide(
                    SuppressionReason::HardBounce,
                    "hard_in_the_future",
                    Confidence::Unsure,
                    (at, vec![event.number]),
                );
            }
            return;
        }
        if treatment == Treatment::Hard && in_a_wave(event, self.waves) {
            // It counts neither for this rule nor for another: a host at fault says nothing about a mailbox.
            self.decide(
                SuppressionReason::HardBounce,
                IN_A_WAVE,
                Confidence::Unsure,
                (at, vec![event.number]),
            );
            return;
        }
        if treatment == Treatment::Hard && self.hard.add(at, event, policy.gap) >= policy.hard_count {
            let rule = if policy.hard_count > 1 { "hard_twice" } else { "hard" };
            let confidence = self.hard.confidence();
            self.decide(
                SuppressionReason::HardBounce,
                rule,
                confidence,
                (at, self.hard.events()),
            );
        }
        // Nobody can tell when it was, so it takes no part in a span of days.
        if event
            .event
            .at
            .duration_since(event.added_at)
            .is_ok_and(|ahead| ahead > CLOCKS_DIFFER)
        {
            return;
        }
        if is_denial(event.event.kind) {
            self.deny(at, event);
        }
        if treatment == Treatment::Full
            && self.full.add(at, event, policy.gap) >= policy.full_count
            && self.full.span() >= policy.full_span
        {
            let confidence = self.full.confidence();
            self.decide(
                SuppressionReason::MailboxFull,
                "mailbox_full_in_a_row",
                confidence,
                (at, self.full.events()),
            );
        }
        // A row of nothing but full mailboxes is the other rule's.
        let count = self.soft.add(at, event, policy.gap);
        let enough = count >= policy.soft_count && self.soft.span() >= policy.soft_span;
        if enough && self.soft.failures.iter().any(|failure| !failure.full) {
            let confidence = self.soft.confidence();
            self.decide(
                SuppressionReason::SoftBounces,
                "soft_in_a_row",
                confidence,
                (at, self.soft.events()),
            );
        }
    }

    fn deny(&mut self, at: SystemTime, event: &'a KeptEvent) {
        let first = match self.denied {
            Some((first, last)) if at.duration_since(last).unwrap_or_default() <= self.policy.gap => first,
            Some(_) | None => event,
        };
        self.denied = Some((first, at));
        if first.number != event.number
            && at.duration_since(first.event.at).unwrap_or_default() >= self.policy.denied_span
        {
            let events = vec![first.number, event.number];
            self.decide(
                SuppressionReason::SoftBounces,
                "denied_twice",
                Confidence::Sure,
                (at, events),
            );
        }
    }

    /// The first time that a rule is met counts; being sure later counts more than having been unsure.
    fn decide(
        &mut self,
        reason: SuppressionReason,
        rule: &'static str,
        confidence: Confidence,
        (at, events): (SystemTime, Vec<i64>),
    ) {
        let known = self.decisions.get(&reason);
        if known.is_some_and(|known| known.confidence == Confidence::Sure || confidence == Confidence::Unsure) {
            return;
        }
        let scope = self.scope.clone();
        let decision = Decision {
            scope,
            reason,
            rule,
            confidence,
            events,
            at,
        };
        self.decisions.insert(reason, decision);
    }

    fn finish(self, decided: &mut Decided) {
        let row = &self.soft;
        let first = row.failures.first().filter(|_| self.decisions.is_empty());
        if let Some(first) = first {
            decided.watched.push(Watched {
                scope: self.scope.clone(),
                failures: row.failures.len(),
                needed: self.policy.soft_count,
                since: first.at,
                until: first.at + self.policy.soft_span,
            });
        }
        decided.decisions.extend(self.decisions.into_values());
    }
}

/// What the recipient asked for holds at once, whatever clock dated it; for the list it was asked of, if that is known.
fn wishes(events: &[&KeptEvent]) -> Vec<Decision> {
    let mut decisions: BTreeMap<(SuppressionReason, Scope), Decision> = BTreeMap::new();
    for event in events {
        let (reason, rule, list) = match event.event.kind {
            EventKind::Complained => (SuppressionReason::Complained, "complaint", None),
            EventKind::Unsubscribed => (SuppressionReason::Unsubscribed, "unsubscribe", event.event.list.clone()),
            EventKind::Delivered | EventKind::Bounced { .. } | EventKind::Deferred { .. } => continue,
        };
        let tenant = event.tenant.clone();
        let scope = Scope { tenant, list };
        let decision = || Decision {
            scope: scope.clone(),
            reason,
            rule,
            confidence: Confidence::Sure,
            events: Vec::new(),
            at: event.event.at.min(event.added_at),
        };
        let known = decisions.entry((reason, scope.clone())).or_insert_with(decision);
        if known.events.len() < NAMED {
            known.events.push(event.number);
        }
    }
    decisions.into_values().collect()
}

/// An unknown user of several lists is unknown everywhere.
fn elsewhere(events: &[&KeptEvent], policy: &BouncePolicy, now: SystemTime) -> Option<Decision> {
    let rule = policy.elsewhere?;
    let unknown = |event: &&&KeptEvent| {
        let told = &event.event;
        told.at <= now
            && matches!(told.kind, EventKind::Bounced { class: Class::UserUnknown, persistence } if policy.treatment(Class::UserUnknown, persistence) == Treatment::Hard)
    };
    let unknown: Vec<&KeptEvent> = events.iter().filter(unknown).copied().collect();
    for (index, last) in unknown.iter().enumerate() {
        let within =
            |event: &&&KeptEvent| last.event.at.duration_since(event.event.at).unwrap_or_default() <= rule.within;
        let before = unknown.get(..=index).unwrap_or_default().iter().rev();
        let mut lists = BTreeSet::new();
        let mut told = Vec::new();
        for event in before.take_while(within) {
            if lists.insert((&*event.tenant, event.event.list.as_deref())) {
                told.push(event.number);
            }
            if lists.len() == rule.lists {
                told.reverse();
                return Some(Decision {
                    scope: Scope::default(),
                    reason: SuppressionReason::BouncedElsewhere,
                    rule: "unknown_in_several_lists",
                    confidence: Confidence::Sure,
                    events: told,
                    at: last.event.at,
                });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
