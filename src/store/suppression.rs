//! Who gets no more mail, as it is kept: one row for each reason and scope; what ended stays as history.
//!
//! Must not decide who that is; see `crate::suppress`.

mod writing;

use std::{ops::ControlFlow, time::SystemTime};

use rusqlite::{Connection, Row, params};

pub(super) use self::writing::hide;

use self::writing::{Inserting, apply, expire};
use super::{
    Added, Person, SqliteStore, StoreError,
    heap::{millis, time},
    jobs,
};
use crate::verdict::SuppressionReason;

/// Whom a suppression keeps from mailing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Scope {
    /// A tenant of the API; empty is everybody.
    pub tenant: Box<str>,
    /// One list; `None` is all.
    pub list: Option<Box<str>>,
}

impl Scope {
    /// Whether a suppression of this scope counts for mail of `tenant` to `list`.
    #[must_use]
    pub fn covers(&self, tenant: &str, list: Option<&str>) -> bool {
        (self.tenant.is_empty() || *self.tenant == *tenant) && (self.list.is_none() || self.list.as_deref() == list)
    }
}

impl Scope {
    /// What the operator suppresses: for everybody, in every list.
    #[must_use]
    pub fn everywhere() -> Self {
        Self::default()
    }
}

/// Whether a suppression counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SuppressionState {
    /// It does.
    Active,
    /// A person has to look first.
    Review,
    /// No longer.
    Ended,
}

impl SuppressionState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Active, Self::Review, Self::Ended];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Review => "review",
            Self::Ended => "ended",
        }
    }
}

/// Who said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Author {
    /// A rule of the bounce policy.
    Rule,
    /// A person, by the command line.
    Person,
    /// A caller of the API.
    Api,
    /// An imported list.
    File,
    /// Time.
    Expiry,
}

impl Author {
    /// Every author.
    pub const ALL: [Self; 5] = [Self::Rule, Self::Person, Self::Api, Self::File, Self::Expiry];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Person => "person",
            Self::Api => "api",
            Self::File => "file",
            Self::Expiry => "expiry",
        }
    }

    fn named(name: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|author| author.name() == name)
            .unwrap_or(Self::Person)
    }
}

/// Which rule decided, and on what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByRule {
    /// The stable name of the rule.
    pub rule: Box<str>,
    /// The name of the policy.
    pub policy: Box<str>,
    /// Numbers of the events.
    pub events: Vec<i64>,
    /// What the last event's host said.
    pub reply: Option<Box<str>>,
    /// A person should look first.
    pub unsure: bool,
}

/// A suppression to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSuppression {
    /// Whom; hidden where only hashes are kept.
    pub mailbox: Box<str>,
    /// For whom.
    pub scope: Scope,
    /// Why.
    pub reason: SuppressionReason,
    /// Who says so.
    pub source: Author,
    /// What they said about it.
    pub note: Option<Box<str>>,
    /// When what led to it happened.
    pub happened_at: SystemTime,
    /// When it ends by itself.
    pub expires_at: Option<SystemTime>,
}

/// A suppression as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Its number.
    pub number: i64,
    /// Whom it is about.
    pub person: Person,
    /// `***@domain` where only hashes are kept.
    pub mailbox: Box<str>,
    /// For whom.
    pub scope: Scope,
    /// Why.
    pub reason: SuppressionReason,
    /// Whether it counts.
    pub state: SuppressionState,
    /// Who said so.
    pub source: Author,
    /// What they said about it.
    pub note: Option<Box<str>>,
    /// Which rule decided.
    pub by_rule: Option<ByRule>,
    /// When what led to it happened.
    pub happened_at: SystemTime,
    /// A person had let the recipient go before.
    pub again: bool,
    /// When it was made.
    pub created_at: SystemTime,
    /// When it ends by itself.
    pub expires_at: Option<SystemTime>,
    /// When a person approved it, and what they said.
    pub judged: Option<(SystemTime, Option<Box<str>>)>,
    /// When, by whom and why it ended.
    pub ended: Option<(SystemTime, Author, Option<Box<str>>)>,
}

impl Suppression {
    /// Whether it keeps mail back at `now`.
    #[must_use]
    pub fn counts(&self, now: SystemTime) -> bool {
        self.state == SuppressionState::Active && self.expires_at.is_none_or(|at| at > now)
    }
}

/// Which suppressions are wanted; `None` is any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suppressions {
    /// Of this tenant, and of everybody if `everybody` says so.
    pub tenant: Option<Box<str>>,
    /// Of this list.
    pub list: Option<Box<str>>,
    /// For this reason.
    pub reason: Option<SuppressionReason>,
    /// In this state.
    pub state: Option<SuppressionState>,
    /// Made since.
    pub since: Option<SystemTime>,
    /// With a larger number: to go on where a page ended.
    pub after: i64,
}

/// What follows from the events about one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdicts {
    /// Whom.
    pub person: Person,
    /// Whom, for reading.
    pub mailbox: Box<str>,
    /// Every suppression that the rules make now.
    pub suppressions: Vec<(Scope, SuppressionReason, SystemTime, ByRule)>,
}

/// What changed when rules were applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Recipients suppressed.
    pub suppressed: u64,
    /// Suppressions that wait for a person.
    pub review: u64,
    /// Of both, those whom a person had let go before.
    pub again: u64,
    /// Suppressions that what was reported since does not bear out.
    pub lifted: u64,
}

const COLUMNS: &str = "number, person, tenant, list, mailbox, domain, reason, state, source, note, rule, policy, events, \
                       happened_at, reply, again, created_at, expires_at, judged_at, judged_note, ended_at, ended_by, \
                       ended_note";

impl SqliteStore {
    /// Suppresses, all or nobody. What is there already stays as it is, but for an end by itself that is later or taken off.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn suppress(&self, new: Vec<NewSuppression>) -> Result<Added, StoreError> {
        let recipients = self.recipients()?;
        let now = SystemTime::now();
        self.call(move |connection| {
            let transaction = jobs::begin(connection)?;
            let hashed = super::bounce::keeps_hashes(&transaction)?;
            expire(&transaction, now)?;
            let mut added = Added::default();
            for new in &new {
                if Inserting::of(new, recipients).insert(&transaction, hashed, now)? {
                    added.new += 1;
                } else {
                    added.known += 1;
                }
            }
            transaction.commit()?;
            Ok(added)
        })
    }

    /// Ends what keeps mail of a recipient back: in one scope, or with `None` in all of the tenant's lists. Says how many ended.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn release(
        &self,
        person: Person,
        (tenant, list): (&str, Option<&str>),
        by: Author,
        note: Option<Box<str>>,
    ) -> Result<u64, StoreError> {
        let (tenant, list) = (tenant.to_owned(), list.map(ToOwned::to_owned));
        self.call(move |connection| {
            let sql = "UPDATE suppression SET state = 'ended', ended_at = ?4, ended_by = ?5, ended_note = ?6 \
                       WHERE person = ?1 AND tenant = ?2 AND (?3 IS NULL OR list = ?3) AND ended_at IS NULL";
            let now = millis(SystemTime::now()).cast_signed();
            let ended = connection.execute(sql, params![person.0, tenant, list, now, by.name(), note])?;
            Ok(ended as u64)
        })
    }

    /// A person looked at a suppression that waits: approved, it counts; else it ends. Whether it was waiting.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn review(&self, number: i64, approved: bool, note: Option<Box<str>>) -> Result<bool, StoreError> {
        self.call(move |connection| {
            let sql = if approved {
                "UPDATE suppression SET state = 'active', judged_at = ?2, judged_note = ?3 \
                 WHERE number = ?1 AND state = 'review'"
            } else {
                "UPDATE suppression SET state = 'ended', ended_at = ?2, ended_by = 'person', ended_note = ?3 \
                 WHERE number = ?1 AND state = 'review'"
            };
            let now = millis(SystemTime::now()).cast_signed();
            Ok(connection.execute(sql, params![number, now, note])? > 0)
        })
    }

    /// Everything about a recipient, oldest first, with what ended.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn suppressions_of(&self, person: Person) -> Result<Vec<Suppression>, StoreError> {
        self.read(|connection| of_person(connection, person))
    }

    /// Shows suppressions one by one, in order of their numbers, until `see` breaks off; in memory that does not grow with them.
    ///
    /// # Errors
    /// The database cannot be read, or what `see` returns.
    pub fn each_suppression<E: From<StoreError>>(
        &self,
        wanted: &Suppressions,
        mut see: impl FnMut(Suppression) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let failed = |error: rusqlite::Error| StoreError::from(error).explained(self.path());
        let connection = self.another_reader()?;
        let sql = format!(
            "SELECT {COLUMNS} FROM suppression WHERE number > ?1 AND (?2 IS NULL OR tenant = ?2) \
             AND (?3 IS NULL OR list = ?3) AND (?4 IS NULL OR reason = ?4) AND (?5 IS NULL OR state = ?5) \
             AND (?6 IS NULL OR created_at >= ?6) ORDER BY number"
        );
        let mut select = connection.prepare(&sql).map_err(failed)?;
        let since = wanted.since.map(|at| millis(at).cast_signed());
        let reason = wanted.reason.map(SuppressionReason::name);
        let state = wanted.state.map(SuppressionState::name);
        let mut rows = select
            .query(params![wanted.after, wanted.tenant, wanted.list, reason, state, since])
            .map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            if see(suppression(row).map_err(|error| error.explained(self.path()))?)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Makes what the rules decided, and ends what they no longer decide; what a person made or approved stays.
    ///
    /// # Errors
    /// The database cannot be written.
    pub(crate) fn apply_rules(&self, verdicts: Vec<Verdicts>) -> Result<Applied, StoreError> {
        let now = SystemTime::now();
        self.call(move |connection| {
            let transaction = jobs::begin(connection)?;
            let hashed = super::bounce::keeps_hashes(&transaction)?;
            let mut applied = Applied::default();
            for verdicts in &verdicts {
                apply(&transaction, verdicts, (hashed, now), &mut applied)?;
            }
            transaction.commit()?;
            Ok(applied)
        })
    }

    /// Who is suppressed for a scope's mail at `now`, in memory: the hash, the number of the row, and whether it is for all lists.
    pub(crate) fn suppressed(&self, tenant: &str, list: Option<&str>) -> Result<Vec<(Person, i64)>, StoreError> {
        let now = millis(SystemTime::now()).cast_signed();
        self.read(|connection| {
            let mut select = connection.prepare(
                "SELECT person, number FROM suppression WHERE state = 'active' AND tenant IN ('', ?1) \
                 AND (list = '' OR list = ?2) AND (expires_at IS NULL OR expires_at > ?3)",
            )?;
            let read = |row: &Row<'_>| Ok((Person(row.get(0)?), row.get(1)?));
            let found = select.query_map(params![tenant, list, now], read)?;
            Ok(found.collect::<Result<_, _>>()?)
        })
    }

    /// One row.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn suppression(&self, number: i64) -> Result<Option<Suppression>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM suppression WHERE number = ?1");
            let mut select = connection.prepare_cached(&sql)?;
            let mut rows = select.query([number])?;
            rows.next()?.map(suppression).transpose()
        })
    }
}

/// Everything about a recipient, oldest first.
fn of_person(connection: &Connection, person: Person) -> Result<Vec<Suppression>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM suppression WHERE person = ?1 ORDER BY number");
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query([person.0])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(suppression(row)?);
    }
    Ok(found)
}

fn suppression(row: &Row<'_>) -> Result<Suppression, StoreError> {
    let at = |index| row.get::<_, i64>(index).map(|at| time(at.cast_unsigned()));
    let maybe = |index| {
        let found = row.get::<_, Option<i64>>(index)?;
        Ok::<_, rusqlite::Error>(found.map(|at| time(at.cast_unsigned())))
    };
    let text = |index| row.get::<_, Option<Box<str>>>(index);
    let name = |index| row.get::<_, String>(index);
    let (list, state) = (name(3)?, name(7)?);
    let mailbox = match text(4)? {
        Some(mailbox) => mailbox,
        None => format!("***@{}", name(5)?).into(),
    };
    let rule = match text(10)? {
        Some(rule) => Some(ByRule {
            rule,
            policy: text(11)?.unwrap_or_default(),
            events: text(12)?
                .unwrap_or_default()
                .split(' ')
                .filter_map(|number| number.parse().ok())
                .collect(),
            reply: text(14)?,
            unsure: state == SuppressionState::Review.name(),
        }),
        None => None,
    };
    let judged = match maybe(18)? {
        Some(at) => Some((at, text(19)?)),
        None => None,
    };
    let ended = match maybe(20)? {
        Some(at) => Some((at, Author::named(&name(21)?), text(22)?)),
        None => None,
    };
    Ok(Suppression {
        number: row.get(0)?,
        person: Person(row.get(1)?),
        mailbox,
        scope: Scope {
            tenant: row.get(2)?,
            list: (!list.is_empty()).then(|| list.into()),
        },
        reason: SuppressionReason::named(&name(6)?).ok_or(StoreError::Damaged("a suppression has no reason"))?,
        state: SuppressionState::ALL
            .into_iter()
            .find(|known| known.name() == state)
            .ok_or(StoreError::Damaged("a suppression has no state"))?,
        source: Author::named(&name(8)?),
        note: text(9)?,
        by_rule: rule,
        happened_at: at(13)?,
        again: row.get(15)?,
        created_at: at(16)?,
        expires_at: maybe(17)?,
        judged,
        ended,
    })
}

#[cfg(test)]
mod tests;
