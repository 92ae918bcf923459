//! Events counted into a report, in one pass.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    time::SystemTime,
};

use super::{
    Alert, By, Counts, DAY, Group, KEYS, NAMELESS, Near, OTHERS, Rate, Report, Standing, Suppressed, Trend, Wanted,
    day, number,
    spike::{BASELINE, Composition, is_blocking, is_death, spikes},
};
use crate::{
    bounce::EventKind,
    lists,
    replies::{Class, Hardness, Persistence, providers},
    store::{Events, KeptEvent, SqliteStore, StoreError, SuppressionState, Suppressions},
    suppress::{BouncePolicy, Treatment, evaluate::watched},
};

/// Groups, alerts and people that are named.
const NAMED: usize = 50;
/// Providers whose days are looked at for themselves.
const PROVIDERS: usize = 30;
/// Days of one week.
const WEEK: u64 = 7;

/// Counts everything between two instants.
///
/// # Errors
/// The database cannot be read.
pub fn report(store: &SqliteStore, policy: &BouncePolicy, wanted: &Wanted) -> Result<Report, StoreError> {
    let mut counting = Counting::new(policy, *wanted);
    let baseline = wanted
        .since
        .checked_sub(DAY * u32::try_from(BASELINE).unwrap_or(0))
        .unwrap_or(SystemTime::UNIX_EPOCH);
    store.each_event(&Events::Within(baseline..wanted.until), |kept| {
        counting.take(&kept);
        Ok::<_, StoreError>(ControlFlow::Continue(()))
    })?;
    let ahead = wanted.until..SystemTime::UNIX_EPOCH + DAY * 3_000_000;
    let mut in_the_future = 0;
    store.each_event(&Events::Within(ahead), |_| {
        in_the_future += 1;
        Ok::<_, StoreError>(ControlFlow::Continue(()))
    })?;
    let mut report = counting.finish();
    report.in_the_future = in_the_future;
    report.suppressed = suppressed(store, wanted.since)?;
    watched(store, policy, wanted.until, |address, watched| {
        // One more failure, or some more time, is all that is missing.
        if watched.failures + 1 < watched.needed {
            return;
        }
        report.near += 1;
        report.nearest.push(Near {
            address: address.to_owned(),
            failures: watched.failures,
            needed: watched.needed,
            since: crate::suppress::day(watched.since),
            until: crate::suppress::day(watched.until),
        });
        if report.nearest.len() > 2 * NAMED {
            shorten(&mut report.nearest);
        }
    })?;
    shorten(&mut report.nearest);
    Ok(report)
}

fn shorten(nearest: &mut Vec<Near>) {
    nearest.sort_by(|one, other| {
        one.until
            .cmp(&other.until)
            .then_with(|| other.failures.cmp(&one.failures))
    });
    nearest.truncate(NAMED);
}

fn suppressed(store: &SqliteStore, since: SystemTime) -> Result<Suppressed, StoreError> {
    let mut all = Suppressed::default();
    let lately = Suppressions {
        since: Some(since),
        state: Some(SuppressionState::Active),
        ..Suppressions::default()
    };
    store.each_suppression(&lately, |kept| {
        *all.by_reason.entry(kept.reason.name()).or_default() += 1;
        all.again += u64::from(kept.again);
        Ok::<_, StoreError>(ControlFlow::Continue(()))
    })?;
    let waiting = Suppressions {
        state: Some(SuppressionState::Review),
        ..Suppressions::default()
    };
    store.each_suppression(&waiting, |_| {
        all.review += 1;
        Ok::<_, StoreError>(ControlFlow::Continue(()))
    })?;
    Ok(all)
}

/// Counts under names, of which there are no more than [`KEYS`].
#[derive(Default)]
struct Named(HashMap<Box<str>, Counts>);

impl Named {
    fn add(&mut self, name: &str, counts: &Counts) {
        let name = if self.0.contains_key(name) || self.0.len() < KEYS {
            name
        } else {
            OTHERS
        };
        match self.0.get_mut(name) {
            Some(known) => known.add(counts),
            None => drop(self.0.insert(name.into(), *counts)),
        }
    }

    fn groups(self, sent: impl Fn(&Counts) -> u64) -> Vec<Group> {
        let group = |(name, counts): (Box<str>, Counts)| {
            let sent = sent(&counts);
            Group::new(name.into(), counts, sent)
        };
        let mut groups: Vec<Group> = self.0.into_iter().map(group).collect();
        let rank = |group: &Group| (group.counts.bounced(), group.counts.pending, group.counts.ended());
        groups.sort_by(|one, other| rank(other).cmp(&rank(one)).then_with(|| one.name.cmp(&other.name)));
        groups
    }
}

struct Alerting {
    count: u64,
    from: SystemTime,
    to: SystemTime,
    example: Option<Box<str>>,
}

struct Counting<'a> {
    policy: &'a BouncePolicy,
    wanted: Wanted,
    total: Counts,
    kept_apart: u64,
    groups: Named,
    weeks: BTreeMap<u64, Counts>,
    classes: Named,
    providers: Named,
    days: BTreeMap<u64, Composition>,
    of_providers: HashMap<Box<str>, BTreeMap<u64, Composition>>,
    alerts: HashMap<(Class, Box<str>), Alerting>,
}

impl<'a> Counting<'a> {
    fn new(policy: &'a BouncePolicy, wanted: Wanted) -> Self {
        Self {
            policy,
            wanted,
            total: Counts::default(),
            kept_apart: 0,
            groups: Named::default(),
            weeks: BTreeMap::new(),
            classes: Named::default(),
            providers: Named::default(),
            days: BTreeMap::new(),
            of_providers: HashMap::new(),
            alerts: HashMap::new(),
        }
    }

    fn take(&mut self, kept: &KeptEvent) {
        let event = &kept.event;
        let within = event.at >= self.wanted.since;
        if *kept.tenant != *self.wanted.tenant {
            return;
        }
        if kept.apart {
            self.kept_apart += u64::from(within);
            return;
        }
        let counts = counts(event.kind);
        let domain = event.recipient.rsplit_once('@').map_or("", |(_, domain)| domain);
        let provider = provider(event.remote_mta.as_deref(), domain);
        let class = event.kind.class();
        let list = event.list.as_deref().unwrap_or(NAMELESS);
        let today = number(event.at);
        compose(self.days.entry(today).or_default(), &counts, (class, &provider, list));
        if !self.of_providers.contains_key(&*provider) && self.of_providers.len() < PROVIDERS {
            self.of_providers.insert(provider.clone(), BTreeMap::new());
        }
        if let Some(days) = self.of_providers.get_mut(&*provider) {
            compose(days.entry(today).or_default(), &counts, (class, &provider, list));
        }
        if !within {
            return;
        }
        self.total.add(&counts);
        self.weeks.entry(today / WEEK).or_default().add(&counts);
        self.providers.add(&provider, &counts);
        if let Some(class) = class {
            self.classes.add(class.name(), &counts);
            self.alert(class, &provider, kept);
        }
        match self.wanted.by {
            By::Domain => self.groups.add(domain, &counts),
            By::List => self.groups.add(list, &counts),
            By::Provider | By::Class | By::Week => {}
        }
    }

    /// Bounces that say something about the sender.
    fn alert(&mut self, class: Class, provider: &str, kept: &KeptEvent) {
        if self.policy.treatment(class, Persistence::Permanent) != Treatment::Alert {
            return;
        }
        let key = (class, provider.into());
        if !self.alerts.contains_key(&key) && self.alerts.len() >= KEYS {
            return;
        }
        let at = kept.event.at;
        let alerting = self.alerts.entry(key).or_insert_with(|| Alerting {
            count: 0,
            from: at,
            to: at,
            example: None,
        });
        alerting.count += 1;
        alerting.from = alerting.from.min(at);
        alerting.to = alerting.to.max(at);
        if alerting.example.is_none() {
            alerting.example.clone_from(&kept.event.reply);
        }
    }

    fn finish(self) -> Report {
        let sent = self.wanted.sent;
        // Bounces alone have no rate: all of them are bounces.
        let told = self.total.delivered > 0;
        let of_all = sent.unwrap_or(if told { self.total.ended() } else { 0 });
        let of_own = |counts: &Counts| if told { counts.ended() } else { 0 };
        let first = number(self.wanted.since);
        let dated = |(number, counts): (u64, Counts)| Group::new(day(number), counts, of_own(&counts));
        let days: Vec<Group> = self
            .days
            .range(first..)
            .map(|(number, day)| dated((*number, day.counts)))
            .collect();
        let weeks = self
            .weeks
            .iter()
            .map(|(week, counts)| dated((week * WEEK, *counts)))
            .collect();
        let mut spikes = spikes(&self.days, first, "all mail");
        for (provider, days) in &self.of_providers {
            let of_one = super::spike::spikes(days, first, provider);
            // What all mail shows for the same reason need not be said twice.
            spikes.extend(
                of_one
                    .into_iter()
                    .filter(|spike| ![NAMELESS, OTHERS].contains(&&*spike.of)),
            );
        }
        spikes.sort_by(|one, other| (&other.day, &one.of).cmp(&(&one.day, &other.of)));
        spikes.truncate(NAMED);
        let of_total = |_: &Counts| of_all;
        let mut classes = self.classes.groups(of_total);
        classes.truncate(NAMED);
        let mut providers = self.providers.groups(of_own);
        let all_groups = self.groups.groups(of_own);
        let mut groups = match self.wanted.by {
            By::Domain | By::List => all_groups,
            By::Provider => providers.clone(),
            By::Class => classes.clone(),
            By::Week => weeks,
        };
        if self.wanted.by != By::Week {
            groups.truncate(20 * NAMED);
        }
        providers.truncate(NAMED);
        Report {
            since: crate::suppress::day(self.wanted.since),
            until: crate::suppress::day(self.wanted.until),
            trend: trend(&days),
            total: Group::new("all mail".to_owned(), self.total, of_all),
            by: self.wanted.by,
            groups,
            days,
            classes,
            providers,
            spikes,
            alerts: alerts(self.alerts),
            suppressed: Suppressed::default(),
            near: 0,
            nearest: Vec::new(),
            kept_apart: self.kept_apart,
            in_the_future: 0,
            calibration: None,
        }
    }
}

fn alerts(found: HashMap<(Class, Box<str>), Alerting>) -> Vec<Alert> {
    let alert = |((class, provider), alerting): ((Class, Box<str>), Alerting)| Alert {
        class,
        provider: provider.into(),
        count: alerting.count,
        from: crate::suppress::day(alerting.from),
        to: crate::suppress::day(alerting.to),
        example: alerting.example,
        advice: class.advice(),
    };
    let mut alerts: Vec<Alert> = found.into_iter().map(alert).collect();
    alerts.sort_by(|one, other| {
        let by_name = || (one.class, &one.provider).cmp(&(other.class, &other.provider));
        other.count.cmp(&one.count).then_with(by_name)
    });
    alerts.truncate(NAMED);
    alerts
}

fn counts(kind: EventKind) -> Counts {
    let mut counts = Counts::default();
    match (kind, kind.hardness()) {
        (EventKind::Delivered, _) => counts.delivered = 1,
        (EventKind::Complained, _) => counts.complained = 1,
        (EventKind::Unsubscribed, _) => counts.unsubscribed = 1,
        (EventKind::Bounced { .. }, Hardness::Hard) => counts.hard = 1,
        (EventKind::Bounced { .. }, Hardness::Soft | Hardness::Pending | Hardness::None) => counts.soft = 1,
        (EventKind::Deferred { .. }, _) => counts.pending = 1,
    }
    counts
}

fn compose(day: &mut Composition, counts: &Counts, (class, provider, list): (Option<Class>, &str, &str)) {
    day.counts.add(counts);
    let Some(class) = class else { return };
    let add = |to: &mut BTreeMap<Box<str>, u64>, name: &str| {
        // A day has few lists and providers; whoever sends more of them is counted together.
        let name = if to.contains_key(name) || to.len() < 200 {
            name
        } else {
            OTHERS
        };
        match to.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(to.insert(name.into(), 1)),
        }
    };
    *day.classes.entry(class).or_default() += 1;
    add(&mut day.providers, provider);
    add(&mut day.lists, list);
    if is_blocking(class) {
        add(&mut day.blocking, provider);
    }
    if is_death(class) {
        add(&mut day.dead, list);
    }
}

/// Whoever runs the host that spoke; of unknown ones the recipient's domain if that is a free provider's.
fn provider(mta: Option<&str>, domain: &str) -> Box<str> {
    if let Some(provider) = mta.and_then(providers::recognise) {
        return provider.id.clone();
    }
    if lists::is_free(domain) {
        domain.into()
    } else {
        NAMELESS.into()
    }
}

/// The second half of the days against the first.
fn trend(days: &[Group]) -> Trend {
    let (first, second) = days.split_at(days.len() / 2);
    let sum = |days: &[Group]| {
        let mut all = Counts::default();
        for day in days {
            all.add(&day.counts);
        }
        all
    };
    let (before, after) = (sum(first), sum(second));
    let rate = |counts: &Counts| Rate::of(counts.bounced(), if counts.delivered > 0 { counts.ended() } else { 0 });
    let (Some(one), Some(other)) = (rate(&before).share, rate(&after).share) else {
        return Trend::Unknown;
    };
    if before.ended() < 100 || after.ended() < 100 {
        return Trend::Unknown;
    }
    // A quarter more, and half a percent of all mail at least.
    match other - one {
        change if change > 0.005_f64.max(one / 4.0) => Trend::Rising,
        change if -change > 0.005_f64.max(other / 4.0) => Trend::Falling,
        _ => Trend::Steady,
    }
}

impl Report {
    /// Something that somebody should do something about.
    #[must_use]
    pub fn needs_attention(&self) -> bool {
        let over = |rate: &Rate| matches!(rate.standing, Standing::Over);
        over(&self.total.hard) || over(&self.total.soft) || !self.spikes.is_empty() || !self.alerts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bounce::{Event, Origin};

    fn event(recipient: String, kind: EventKind, at: SystemTime, list: &str) -> Event {
        Event {
            reply: Some("550 5.7.1 blocked".into()),
            remote_mta: Some("gmail-smtp-in.l.google.com".into()),
            list: Some(list.into()),
            ..Event::new(recipient, kind, at, Origin::Log)
        }
    }

    const HARD: EventKind = EventKind::Bounced {
        class: Class::UserUnknown,
        persistence: Persistence::Permanent,
    };
    const BLOCKED: EventKind = EventKind::Bounced {
        class: Class::IpReputation,
        persistence: Persistence::Permanent,
    };

    /// Forty days with 100 deliveries and a hard bounce each; on the last but one Google blocks.
    fn store(now: SystemTime) -> SqliteStore {
        let store = SqliteStore::private().unwrap();
        let mut events = Vec::new();
        for day in 1..=40_u32 {
            let at = now - DAY * day;
            for number in 0..100 {
                events.push(event(
                    format!("good{number}@gmail.com"),
                    EventKind::Delivered,
                    at,
                    "news",
                ));
            }
            events.push(event(format!("gone{day}@gmail.com"), HARD, at, "news"));
            for number in 0..if day == 2 { 30 } else { 0 } {
                events.push(event(
                    format!("good{number}@gmail.com"),
                    BLOCKED,
                    at + Duration::from_mins(1),
                    "offers",
                ));
            }
        }
        store.add_events(events, false).unwrap();
        let stranger = event("stranger@a.example".into(), HARD, now - DAY, "news");
        store.add_events(vec![stranger], true).unwrap();
        let ahead = event("ahead@a.example".into(), HARD, now + DAY * 300, "news");
        store.add_events(vec![ahead], false).unwrap();
        store
    }

    fn wanted(now: SystemTime, by: By) -> Wanted {
        Wanted {
            since: now - DAY * 10 - Duration::from_secs(1),
            until: now,
            by,
            sent: None,
            tenant: "",
        }
    }

    #[test]
    fn a_report_counts_its_time_and_compares_it_with_the_time_before() {
        let now = SystemTime::now();
        let store = store(now);
        let report = report(&store, &BouncePolicy::default(), &wanted(now, By::List)).unwrap();
        assert_eq!(
            (
                report.total.counts.delivered,
                report.total.counts.hard,
                report.total.counts.soft
            ),
            (1000, 10, 30)
        );
        assert_eq!(
            (report.total.hard.standing, report.total.soft.standing),
            (Standing::Good, Standing::Over)
        );
        assert_eq!((report.kept_apart, report.in_the_future), (1, 1));
        let names: Vec<_> = report
            .groups
            .iter()
            .map(|group| (&*group.name, group.counts.bounced()))
            .collect();
        assert_eq!(names, [("offers", 30), ("news", 10)]);
        let of: Vec<_> = report.spikes.iter().map(|spike| &*spike.of).collect();
        assert_eq!(of, ["all mail", "google"]);
        let google = super::super::Cause::ProviderBlocks {
            provider: "google".into(),
        };
        assert_eq!(report.spikes[0].cause, google);
        let alerts: Vec<_> = report.alerts.iter().map(|alert| (alert.class, alert.count)).collect();
        assert_eq!(alerts, [(Class::IpReputation, 30)]);
        assert!(report.needs_attention());
    }

    #[test]
    fn without_deliveries_there_is_no_rate_but_by_what_was_sent() {
        let now = SystemTime::now();
        let store = SqliteStore::private().unwrap();
        let bounces = (0..30)
            .map(|number| event(format!("gone{number}@a.example"), HARD, now - DAY, "news"))
            .collect();
        store.add_events(bounces, false).unwrap();
        for (sent, standing) in [
            (None, Standing::Unknown),
            (Some(2000), Standing::Watch),
            (Some(10_000), Standing::Good),
        ] {
            let wanted = Wanted {
                sent,
                ..wanted(now, By::Week)
            };
            let report = report(&store, &BouncePolicy::default(), &wanted).unwrap();
            assert_eq!(report.total.hard.standing, standing, "{sent:?}");
        }
    }

    #[test]
    fn trends_need_mail_and_a_clear_change() {
        let day = |delivered, hard| {
            let counts = Counts {
                delivered,
                hard,
                ..Counts::default()
            };
            Group::new("day".into(), counts, delivered + hard)
        };
        for (before, after, expected) in [
            (day(1000, 10), day(1000, 30), Trend::Rising),
            (day(1000, 30), day(1000, 10), Trend::Falling),
            (day(1000, 10), day(1000, 13), Trend::Steady),
            (day(10, 1), day(10, 5), Trend::Unknown),
            (day(0, 10), day(0, 30), Trend::Unknown),
        ] {
            assert_eq!(trend(&[before, after]), expected);
        }
    }
}
