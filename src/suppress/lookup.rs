//! What past mailings and people say about an address, looked up before anybody is asked.
//!
//! One lookup serves a run: who is concerned at all is read once, sixteen bytes each, so that a row that is not costs one hash.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    address::Address,
    bounce::EventKind,
    replies::{Hardness, Persistence},
    store::{
        Author, KeptEvent, Person, Recipients, SqliteStore, Store, StoreError, Suppression, SuppressionState,
        address_key, domain_key,
    },
    verdict::{Testimony, Told},
};

/// A delivery answers for an address as long as a probe that found it valid does.
const DELIVERY: Duration = Duration::from_hours(7 * 24);
/// A hard bounce answers for as long as a probe that found it invalid, ten times over: mail was at stake.
const BOUNCE: Duration = Duration::from_hours(30 * 24);
/// Characters of a reply that are repeated.
const REPLY: usize = 160;

/// For whose mail one looks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mailing {
    /// A tenant of the API; empty is the operator.
    pub tenant: Box<str>,
    /// The list that is mailed.
    pub list: Option<Box<str>>,
}

/// Whether what happened to mail counts, beside suppressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feedback {
    /// It does, if it is no older than that.
    Within(Duration),
    /// Only suppressions count.
    Ignored,
}

/// Looks addresses up.
#[derive(Debug, Clone)]
pub struct Lookup {
    store: Arc<SqliteStore>,
    recipients: Recipients,
    mailing: Mailing,
    /// Who is concerned; `None` looks each time, for a server whose list changes.
    snapshot: Option<Arc<Snapshot>>,
}

#[derive(Debug)]
struct Snapshot {
    /// In order of the hashes, with the number of the row.
    suppressed: Vec<(Person, i64)>,
    /// To whom something happened lately, in order.
    recent: Vec<Person>,
}

impl Lookup {
    /// A lookup for one run: what is decided while it goes on does not concern it.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn for_run(store: Arc<SqliteStore>, mailing: Mailing) -> Result<Self, StoreError> {
        let mut suppressed = store.suppressed(&mailing.tenant, mailing.list.as_deref())?;
        suppressed.sort_unstable();
        let since = SystemTime::now().checked_sub(BOUNCE).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut recent = store.concerned_since(&mailing.tenant, since)?;
        recent.sort_unstable();
        recent.dedup();
        let snapshot = Some(Arc::new(Snapshot { suppressed, recent }));
        Ok(Self {
            snapshot,
            ..Self::live(store, mailing)?
        })
    }

    /// A lookup that sees every change.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn live(store: Arc<SqliteStore>, mailing: Mailing) -> Result<Self, StoreError> {
        Ok(Self {
            recipients: store.recipients()?,
            store,
            mailing,
            snapshot: None,
        })
    }

    /// The same for other mail.
    #[must_use]
    pub fn of(&self, mailing: Mailing) -> Self {
        Self {
            mailing,
            snapshot: None,
            ..self.clone()
        }
    }

    /// Nobody is concerned, so that nobody need be looked up.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let empty = |snapshot: &Snapshot| snapshot.suppressed.is_empty() && snapshot.recent.is_empty();
        self.snapshot.as_deref().is_some_and(empty)
    }

    /// What was told about an address.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn told(&self, address: &Address, feedback: Feedback, now: SystemTime) -> Result<Option<Told>, StoreError> {
        if self.is_empty() {
            return Ok(None);
        }
        let person = self.recipients.person(address.mailbox());
        let (mut known, mut recent) = (Vec::new(), true);
        if let Some(snapshot) = &self.snapshot {
            let first = snapshot.suppressed.partition_point(|(other, _)| *other < person);
            let mine = snapshot.suppressed.get(first..).unwrap_or_default().iter();
            for (_, number) in mine.take_while(|(other, _)| *other == person) {
                known.extend(self.store.suppression(*number)?);
            }
            recent = snapshot.recent.binary_search(&person).is_ok();
        } else {
            let covered = |kept: &Suppression| self.covers(kept) && kept.counts(now);
            known.extend(self.store.suppressions_of(person)?.into_iter().filter(covered));
        }
        if let Some(strongest) = known.iter().min_by_key(|kept| kept.reason) {
            return Ok(Some(suppressed(strongest)));
        }
        match feedback {
            Feedback::Within(age) if recent => self.happened(address, person, (age, now)),
            Feedback::Within(_) | Feedback::Ignored => Ok(None),
        }
    }

    fn covers(&self, kept: &Suppression) -> bool {
        kept.scope.covers(&self.mailing.tenant, self.mailing.list.as_deref())
    }

    /// The last thing that happened to mail, if no probe is newer and it says something.
    fn happened(
        &self,
        address: &Address,
        person: Person,
        (age, now): (Duration, SystemTime),
    ) -> Result<Option<Told>, StoreError> {
        let events = self.store.events_about(person)?;
        let told = |event: &&KeptEvent| {
            let of_mail = matches!(event.event.kind, EventKind::Delivered | EventKind::Bounced { .. });
            of_mail && !event.apart && *event.tenant == *self.mailing.tenant && event.event.at <= now
        };
        let Some(last) = events.iter().filter(told).max_by_key(|event| event.event.at) else {
            return Ok(None);
        };
        let at = last.event.at;
        let (what, most) = match last.event.kind {
            EventKind::Delivered => (Testimony::Delivered, DELIVERY),
            EventKind::Bounced { class, persistence } if class.hardness(persistence) == Hardness::Hard => {
                debug_assert_eq!(persistence, Persistence::Permanent, "a transient reply is never hard");
                (Testimony::Bounced(class), BOUNCE)
            }
            EventKind::Bounced { .. }
            | EventKind::Deferred { .. }
            | EventKind::Complained
            | EventKind::Unsubscribed => return Ok(None),
        };
        let too_old = now.duration_since(at).unwrap_or_default() > most.min(age);
        if too_old || self.is_doubted(person, last)? || self.was_probed_since(address, at)? {
            return Ok(None);
        }
        let text = match what {
            Testimony::Delivered => format!("mail arrived on {}", day(at)),
            Testimony::Bounced(_) | Testimony::Suppressed(_) => {
                format!("hard bounced on {}{}", day(at), with(last.event.reply.as_deref()))
            }
        };
        let text = text.into();
        Ok(Some(Told { what, at, text }))
    }

    /// A person who let somebody go wants to know what is true now; and of what waits for a person nobody knows yet.
    fn is_doubted(&self, person: Person, event: &KeptEvent) -> Result<bool, StoreError> {
        let kept = self.store.suppressions_of(person)?;
        let doubted = |kept: &Suppression| {
            let waits = kept.state == SuppressionState::Review
                && kept
                    .by_rule
                    .as_ref()
                    .is_some_and(|by| by.events.contains(&event.number));
            let by_person = kept
                .ended
                .as_ref()
                .filter(|(_, by, _)| matches!(by, Author::Person | Author::Api));
            waits || by_person.is_some_and(|(at, ..)| *at >= event.event.at)
        };
        Ok(kept.iter().any(doubted))
    }

    fn was_probed_since(&self, address: &Address, at: SystemTime) -> Result<bool, StoreError> {
        // Runs may or may not have told the case of the local-part.
        let mut keys = [false, true].map(|exact| address_key(address.join_hash(exact)));
        keys.sort_unstable();
        let known = self.store.known_of(domain_key(address.domain()), &keys)?;
        Ok(known.iter().any(|known| known.checked_at >= at))
    }
}

/// What an entry of the list says of an address.
#[must_use]
pub fn suppressed(kept: &Suppression) -> Told {
    let reply = kept.by_rule.as_ref().and_then(|rule| rule.reply.as_deref());
    let note = kept.note.as_deref().map(|note| format!(": {}", short(note, REPLY)));
    let list = kept
        .scope
        .list
        .as_deref()
        .map(|list| format!(" (list {})", short(list, 80)));
    let text = format!(
        "{} on {}{}{}{}",
        kept.reason.happened(),
        day(kept.happened_at),
        with(reply),
        note.unwrap_or_default(),
        list.unwrap_or_default()
    );
    Told {
        what: Testimony::Suppressed(kept.reason),
        at: kept.happened_at,
        text: text.into(),
    }
}

/// Whoever shows it takes control characters out.
fn short(text: &str, most: usize) -> &str {
    text.char_indices()
        .nth(most)
        .and_then(|(end, _)| text.get(..end))
        .unwrap_or(text)
}

/// `2026-11-21`
#[must_use]
pub fn day(at: SystemTime) -> String {
    let mut text =
        humantime::format_rfc3339_seconds(at.min(SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799)))
            .to_string();
    text.truncate(10);
    text
}

fn with(reply: Option<&str>) -> String {
    reply
        .map(|reply| format!(" with \"{}\"", short(reply, REPLY)))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        address::Rules,
        bounce::{Event, Origin},
        replies::Class,
        store::{ByRule, NewSuppression, Scope, Verdicts},
        verdict::SuppressionReason,
    };

    const DAY: Duration = Duration::from_hours(24);

    fn event(kind: EventKind, days_ago: u32) -> Event {
        Event {
            reply: Some("550 5.1.1 No such user".into()),
            ..Event::new(
                "jane@acme-corp.com",
                kind,
                SystemTime::now() - DAY * days_ago,
                Origin::Log,
            )
        }
    }

    const HARD: EventKind = EventKind::Bounced {
        class: Class::UserUnknown,
        persistence: Persistence::Permanent,
    };
    const SOFT: EventKind = EventKind::Bounced {
        class: Class::MailboxFull,
        persistence: Persistence::Permanent,
    };

    fn told(store: &Arc<SqliteStore>, mailing: &Mailing) -> Option<Told> {
        let jane = Address::parse("Jane@acme-corp.com", Rules::default()).unwrap();
        let joe = Address::parse("joe@acme-corp.com", Rules::default()).unwrap();
        let now = SystemTime::now();
        let feedback = Feedback::Within(Duration::MAX);
        let run = Lookup::for_run(Arc::clone(store), mailing.clone()).unwrap();
        let live = Lookup::live(Arc::clone(store), mailing.clone()).unwrap();
        let found = run.told(&jane, feedback, now).unwrap();
        assert_eq!(live.told(&jane, feedback, now).unwrap(), found);
        assert_eq!(run.told(&joe, feedback, now).unwrap(), None);
        found
    }

    #[test]
    fn the_last_thing_that_happened_counts() {
        for (events, expected) in [
            (vec![], None),
            (vec![(EventKind::Delivered, 3)], Some(Testimony::Delivered)),
            (vec![(EventKind::Delivered, 8)], None),
            (vec![(HARD, 29)], Some(Testimony::Bounced(Class::UserUnknown))),
            (vec![(HARD, 31)], None),
            (vec![(HARD, 5), (EventKind::Delivered, 3)], Some(Testimony::Delivered)),
            (vec![(EventKind::Delivered, 3), (SOFT, 2)], None),
            (
                vec![(EventKind::Delivered, 3), (EventKind::Complained, 2)],
                Some(Testimony::Delivered),
            ),
        ] {
            let store = Arc::new(SqliteStore::private().unwrap());
            let all = events.iter().map(|(kind, days)| event(*kind, *days)).collect();
            store.add_events(all, false).unwrap();
            let found = told(&store, &Mailing::default());
            assert_eq!(found.map(|told| told.what), expected, "{events:?}");
            let elsewhere = Mailing {
                tenant: "one".into(),
                list: None,
            };
            assert_eq!(told(&store, &elsewhere), None, "another tenant's mail");
        }
    }

    #[test]
    fn a_bounce_that_waits_for_a_person_makes_nobody_invalid() {
        for (unsure, expected) in [
            (true, None),
            (false, Some(Testimony::Suppressed(SuppressionReason::HardBounce))),
        ] {
            let store = Arc::new(SqliteStore::private().unwrap());
            store.add_events(vec![event(HARD, 1)], false).unwrap();
            let person = store.recipients().unwrap().person("jane@acme-corp.com");
            let bounce = store.events_about(person).unwrap().remove(0);
            let by_rule = ByRule {
                rule: "unknown_in_a_wave".into(),
                policy: "default".into(),
                events: vec![bounce.number],
                reply: None,
                unsure,
            };
            let suppression = (
                Scope::everywhere(),
                SuppressionReason::HardBounce,
                bounce.event.at,
                by_rule,
            );
            let verdicts = Verdicts {
                person,
                mailbox: "jane@acme-corp.com".into(),
                suppressions: vec![suppression],
            };
            store.apply_rules(vec![verdicts]).unwrap();
            assert_eq!(
                told(&store, &Mailing::default()).map(|told| told.what),
                expected,
                "{unsure}"
            );
        }
    }

    #[test]
    fn a_suppression_comes_first_the_strongest_of_them() {
        let store = Arc::new(SqliteStore::private().unwrap());
        store.add_events(vec![event(EventKind::Delivered, 1)], false).unwrap();
        let new = |reason, list: Option<&str>| NewSuppression {
            mailbox: "jane@acme-corp.com".into(),
            scope: Scope {
                tenant: "".into(),
                list: list.map(Into::into),
            },
            reason,
            source: Author::Person,
            note: Some("by phone\u{1b}[31m".into()),
            happened_at: SystemTime::UNIX_EPOCH + 20_000 * DAY,
            expires_at: None,
        };
        let reasons = [
            new(SuppressionReason::Manual, None),
            new(SuppressionReason::Unsubscribed, Some("news")),
        ];
        store.suppress(reasons.to_vec()).unwrap();
        let found = told(&store, &Mailing::default()).unwrap();
        assert_eq!(found.what, Testimony::Suppressed(SuppressionReason::Manual));
        assert_eq!(&*found.text, "suppressed by hand on 2024-10-04: by phone\u{1b}[31m");
        let news = Mailing {
            list: Some("news".into()),
            ..Mailing::default()
        };
        let found = told(&store, &news).unwrap();
        assert_eq!(found.what, Testimony::Suppressed(SuppressionReason::Unsubscribed));
        assert!(found.text.ends_with("(list news)"), "{}", found.text);
    }

    #[test]
    fn a_run_keeps_to_what_it_began_with() {
        let store = Arc::new(SqliteStore::private().unwrap());
        let jane = Address::parse("jane@acme-corp.com", Rules::default()).unwrap();
        store
            .suppress(vec![NewSuppression {
                mailbox: "jane@acme-corp.com".into(),
                scope: Scope::everywhere(),
                reason: SuppressionReason::Manual,
                source: Author::Person,
                note: None,
                happened_at: SystemTime::now(),
                expires_at: None,
            }])
            .unwrap();
        let lookup = Lookup::for_run(Arc::clone(&store), Mailing::default()).unwrap();
        let person = store.recipients().unwrap().person(jane.mailbox());
        store.release(person, ("", None), Author::Person, None).unwrap();
        assert!(
            lookup
                .told(&jane, Feedback::Ignored, SystemTime::now())
                .unwrap()
                .is_some()
        );
        assert!(
            lookup
                .of(Mailing::default())
                .told(&jane, Feedback::Ignored, SystemTime::now())
                .unwrap()
                .is_none()
        );
    }
}
