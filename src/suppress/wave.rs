//! Waves: so many unknown users at one mail host within so short a time that the host may be at fault, not the users.
//!
//! In December 2020 Gmail answered `550 5.1.1` for mailboxes that were there, for some hours; whoever suppressed at once lost
//! good subscribers. A wave alone is no proof, since one bad import looks the same: it counts when many of its recipients were alive
//! shortly before, or when the host was quiet for weeks.
//!
//! Pure: depends on what happened and when, not on the order in which it was reported. Must not ask the store.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::{Duration, SystemTime},
};

use super::{BouncePolicy, Outage};
use crate::{
    address::{Domain, Rules},
    store::{KeptEvent, Person, Unknown, Wave},
};

const DAY: Duration = Duration::from_hours(24);
/// How far back a host must have been quiet.
pub(super) const BEFORE: Duration = Duration::from_hours(28 * 24);
/// On so many days at least it told of unknown users, or nobody can say what is usual.
const USUAL_DAYS: usize = 3;

/// Waves whose refusals wait for a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waves(HashMap<Box<str>, Vec<(SystemTime, SystemTime)>>);

impl Waves {
    /// Those of these that are held.
    #[must_use]
    pub fn new(waves: &[Wave]) -> Self {
        let mut of_groups: HashMap<Box<str>, Vec<(SystemTime, SystemTime)>> = HashMap::new();
        for wave in waves.iter().filter(|wave| wave.held) {
            of_groups
                .entry(wave.group.clone())
                .or_default()
                .push((wave.from, wave.to));
        }
        Self(of_groups)
    }

    /// Whether an unknown user of this event may be the host's fault.
    #[must_use]
    pub fn hold(&self, event: &KeptEvent) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let told = &event.event;
        let domain = told.recipient.rsplit_once('@').map_or("", |(_, domain)| domain);
        let within = |group: &str| {
            let waves = self.0.get(group).map(Vec::as_slice).unwrap_or_default();
            waves.iter().any(|(from, to)| (*from..=*to).contains(&told.at))
        };
        within(domain)
            || told
                .remote_mta
                .as_deref()
                .and_then(house)
                .is_some_and(|house| within(&house))
    }
}

/// Whose host it is.
fn house(host: &str) -> Option<Box<str>> {
    let rules = Rules {
        allow_special_use: true,
    };
    let domain = Domain::parse(host, rules).ok()?;
    Some(domain.registered().into())
}

/// Reads unknown users in order of time and finds the waves among them.
#[derive(Debug)]
pub struct Finder {
    rule: Outage,
    groups: HashMap<Box<str>, Group>,
    /// Whose hosts they are, by name.
    houses: HashMap<Box<str>, Option<Box<str>>>,
}

#[derive(Debug, Default)]
struct Group {
    /// What was told within the window that ends with the last refusal.
    recent: VecDeque<(SystemTime, Person)>,
    /// How many of `recent` each has.
    people: HashMap<Person, usize>,
    /// Unknown users of each day, by its number since 1970.
    days: BTreeMap<u64, usize>,
    found: Vec<Found>,
}

#[derive(Debug)]
struct Found {
    from: SystemTime,
    to: SystemTime,
    people: HashSet<Person>,
}

impl Finder {
    /// For a policy; `None` when it holds no waves.
    #[must_use]
    pub fn new(policy: &BouncePolicy) -> Option<Self> {
        Some(Self {
            rule: policy.outage?,
            groups: HashMap::new(),
            houses: HashMap::new(),
        })
    }

    /// One recipient that a host does not know; in order of time.
    pub fn see(&mut self, unknown: &Unknown) {
        let host = unknown.remote_mta.as_deref();
        if let Some(host) = host.filter(|host| !self.houses.contains_key(*host)) {
            self.houses.insert(host.into(), house(host));
        }
        let house = host.and_then(|host| self.houses.get(host)?.as_deref());
        let house = house.filter(|house| **house != *unknown.domain);
        for group in [Some(&*unknown.domain), house].into_iter().flatten() {
            if !self.groups.contains_key(group) {
                self.groups.insert(group.into(), Group::default());
            }
            if let Some(group) = self.groups.get_mut(group) {
                group.add(unknown.at, unknown.person, &self.rule);
            }
        }
    }

    /// The waves, in order of groups and time, and which of them are held. `alive` says how many of these people took mail, or were found, in
    /// the weeks before a time.
    ///
    /// # Errors
    /// What `alive` returns.
    pub fn waves<E>(self, mut alive: impl FnMut(&[Person], SystemTime) -> Result<usize, E>) -> Result<Vec<Wave>, E> {
        let mut waves = Vec::new();
        for (group, seen) in self.groups {
            for found in &seen.found {
                let mut people: Vec<Person> = found.people.iter().copied().collect();
                let unusual = seen.is_unusual(found, &self.rule);
                // A hash is as good as chance, and chooses the same ones every time.
                people.sort_unstable();
                people.truncate(SAMPLE);
                let share = |alive: usize| alive * 100 >= people.len() * self.rule.alive_percent;
                waves.push(Wave {
                    group: group.clone(),
                    from: found.from,
                    to: found.to,
                    held: unusual || share(alive(&people, found.from)?),
                });
            }
        }
        waves.sort_unstable_by(|one, other| (&one.group, one.from).cmp(&(&other.group, other.from)));
        Ok(waves)
    }
}

/// So many people of a wave are looked up.
const SAMPLE: usize = 200;

impl Group {
    fn add(&mut self, at: SystemTime, person: Person, rule: &Outage) {
        *self.days.entry(day(at)).or_default() += 1;
        self.recent.push_back((at, person));
        *self.people.entry(person).or_default() += 1;
        while let Some((first, gone)) = self.recent.front().copied() {
            if at.duration_since(first).unwrap_or_default() <= rule.within {
                break;
            }
            self.recent.pop_front();
            if let Some(count) = self.people.get_mut(&gone) {
                *count -= 1;
                if *count == 0 {
                    self.people.remove(&gone);
                }
            }
        }
        if self.people.len() < rule.count {
            return;
        }
        let from = self.recent.front().map_or(at, |(first, _)| *first);
        match self.found.last_mut() {
            Some(wave) if wave.to >= from => {
                wave.to = at;
                wave.people.insert(person);
            }
            _ => self.found.push(Found {
                from,
                to: at,
                people: self.people.keys().copied().collect(),
            }),
        }
    }

    /// Whether the host told of so many on no day before.
    fn is_unusual(&self, found: &Found, rule: &Outage) -> bool {
        let until = day(found.from);
        let since = day(found.from.checked_sub(BEFORE).unwrap_or(SystemTime::UNIX_EPOCH));
        let before: Vec<usize> = self.days.range(since..until).map(|(_, count)| *count).collect();
        let most = before.iter().copied().max().unwrap_or(0);
        before.len() >= USUAL_DAYS && found.people.len() >= most.saturating_mul(rule.factor)
    }
}

fn day(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / DAY.as_secs()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    const START: u64 = 20_000 * 24 * 60;

    fn at(minute: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_mins(START + minute)
    }

    fn unknown(person: u64, minute: u64, domain: &str, host: Option<&str>) -> Unknown {
        Unknown {
            at: at(minute),
            person: Person(u128::from(person).to_be_bytes()),
            domain: domain.into(),
            remote_mta: host.map(Into::into),
        }
    }

    fn found(mut unknown: Vec<Unknown>, alive: usize) -> Vec<Wave> {
        unknown.sort_by_key(|unknown| (unknown.at, unknown.person));
        let mut finder = Finder::new(&BouncePolicy::default()).unwrap();
        for unknown in &unknown {
            finder.see(unknown);
        }
        let waves = finder.waves(|people, _| Ok::<_, Infallible>(people.len() * alive / 100));
        let waves = waves.unwrap_or_else(|error| match error {});
        waves.into_iter().filter(|wave| wave.held).collect()
    }

    fn outage(people: u64, minutes: u64, start: u64) -> Vec<Unknown> {
        (0..people)
            .map(|person| unknown(person, start + person * minutes / people, "a.example", None))
            .collect()
    }

    #[test]
    fn many_at_once_who_were_alive_are_a_wave() {
        for (what, people, minutes, alive, waves) in [
            ("an hour", 50, 59, 20, 1),
            ("too few", 49, 59, 100, 0),
            ("a day", 500, 24 * 60, 100, 0),
            ("nobody knows them: a bad import", 5_000, 30, 19, 0),
        ] {
            assert_eq!(found(outage(people, minutes, 0), alive).len(), waves, "{what}");
        }
        let long = found(outage(2_000, 6 * 60, 0), 100);
        assert_eq!(
            (long.len(), long[0].from),
            (1, at(0)),
            "it lasts as long as it lasts: {long:?}"
        );
        assert!(long[0].to >= at(350));
    }

    #[test]
    fn one_address_again_and_again_is_no_wave() {
        let again = (0..500)
            .map(|minute| unknown(1, minute / 10, "a.example", None))
            .collect();
        assert!(found(again, 100).is_empty());
    }

    #[test]
    fn a_house_of_many_domains_has_waves_too() {
        let host = |person: u64| unknown(person, 1, &format!("d{person}.example"), Some("mx1.house.example"));
        let waves = found((0..60).map(host).collect(), 100);
        assert_eq!(
            waves.iter().map(|wave| &*wave.group).collect::<Vec<_>>(),
            ["house.example"]
        );
    }

    #[test]
    fn what_is_far_above_the_usual_is_a_wave_of_itself() {
        let day = 24 * 60;
        let usual = |days: u64, each: u64| -> Vec<Unknown> {
            let of_day = |number: u64| {
                (0..each).map(move |one| unknown(1_000_000 + number * 1_000 + one, number * 2 * day, "a.example", None))
            };
            (0..days).flat_map(of_day).collect()
        };
        for (what, days, each, waves) in [
            ("ten times the worst day", 5, 10, 1),
            ("not so many times", 5, 11, 0),
            ("two days tell nothing", 2, 1, 0),
        ] {
            let all = [usual(days, each), outage(100, 30, 20 * day)].concat();
            assert_eq!(found(all, 0).len(), waves, "{what}");
        }
    }

    #[test]
    fn without_the_rule_there_are_none() {
        let policy = BouncePolicy {
            outage: None,
            ..BouncePolicy::default()
        };
        assert!(Finder::new(&policy).is_none());
    }

    proptest! {
        #[test]
        fn the_order_of_import_does_not_matter(
            (seen, shuffled) in proptest::collection::vec((0..200_u64, 0..180_u64), 0..400)
                .prop_map(|seen| seen.into_iter().map(|(person, minute)| unknown(person, minute, "a.example", None)).collect::<Vec<_>>())
                .prop_flat_map(|seen| (Just(seen.clone()), Just(seen).prop_shuffle())),
        ) {
            prop_assert_eq!(found(seen, 100), found(shuffled, 100));
        }
    }
}
