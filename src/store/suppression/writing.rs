//! Suppressions on their way in: one by one, and as the rules decide.

use std::time::SystemTime;

use rusqlite::{Transaction, params};

use super::{
    super::{Person, Recipients, StoreError, bounce::without, heap::millis},
    Applied, Author, ByRule, NewSuppression, Scope, Suppression, SuppressionState, Verdicts, of_person,
};
use crate::verdict::SuppressionReason;

/// Hides everybody who can still be read.
pub(in super::super) fn hide(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let mut select = transaction.prepare("SELECT number, mailbox, reply FROM suppression WHERE mailbox IS NOT NULL")?;
    let mut update = transaction.prepare("UPDATE suppression SET mailbox = NULL, reply = ?2 WHERE number = ?1")?;
    let mut rows = select.query([])?;
    let mut hidden: Vec<(i64, Option<String>)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (mailbox, reply): (String, Option<String>) = (row.get(1)?, row.get(2)?);
        hidden.push((row.get(0)?, reply.map(|reply| without(&reply, &mailbox))));
    }
    for (number, reply) in hidden {
        update.execute(params![number, reply])?;
    }
    Ok(())
}

/// Ends what has ended by itself, so that the same can be made again.
pub(super) fn expire(transaction: &Transaction<'_>, now: SystemTime) -> Result<(), StoreError> {
    let sql = "UPDATE suppression SET state = 'ended', ended_at = expires_at, ended_by = 'expiry' \
               WHERE ended_at IS NULL AND expires_at <= ?1";
    transaction.execute(sql, [millis(now).cast_signed()])?;
    Ok(())
}

/// A row on its way in.
pub(super) struct Inserting<'a> {
    person: Person,
    mailbox: &'a str,
    scope: &'a Scope,
    reason: SuppressionReason,
    source: Author,
    note: Option<&'a str>,
    by_rule: Option<&'a ByRule>,
    happened_at: SystemTime,
    expires_at: Option<SystemTime>,
    again: bool,
}

impl<'a> Inserting<'a> {
    pub(super) fn of(new: &'a NewSuppression, recipients: Recipients) -> Self {
        Self {
            person: recipients.person(&new.mailbox),
            mailbox: &new.mailbox,
            scope: &new.scope,
            reason: new.reason,
            source: new.source,
            note: new.note.as_deref(),
            by_rule: None,
            happened_at: new.happened_at,
            expires_at: new.expires_at,
            again: false,
        }
    }

    /// Whether it was new.
    pub(super) fn insert(
        &self,
        transaction: &Transaction<'_>,
        hashed: bool,
        now: SystemTime,
    ) -> Result<bool, StoreError> {
        let mut insert = transaction.prepare_cached(
            "INSERT INTO suppression (person, tenant, list, mailbox, domain, reason, state, source, note, rule, policy, \
             events, happened_at, reply, again, created_at, expires_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17) \
             ON CONFLICT (person, tenant, list, reason) WHERE ended_at IS NULL DO NOTHING",
        )?;
        let rule = self.by_rule;
        let waits = rule.is_some_and(|rule| rule.unsure);
        let state = if waits {
            SuppressionState::Review
        } else {
            SuppressionState::Active
        };
        let mailbox = (!hashed && !self.mailbox.starts_with("***@")).then_some(self.mailbox);
        let reply = rule.and_then(|rule| rule.reply.as_deref());
        let reply = reply.map(|reply| {
            if hashed {
                without(reply, self.mailbox)
            } else {
                reply.to_owned()
            }
        });
        let at = |at: SystemTime| millis(at).cast_signed();
        let list = self.scope.list.as_deref().unwrap_or_default();
        let domain = self.mailbox.rsplit_once('@').map_or("", |(_, domain)| domain);
        let new = insert.execute(params![
            self.person.0,
            self.scope.tenant,
            list,
            mailbox,
            domain,
            self.reason.name(),
            state.name(),
            self.source.name(),
            self.note,
            rule.map(|rule| &rule.rule),
            rule.map(|rule| &rule.policy),
            rule.map(|rule| numbers(&rule.events)),
            at(self.happened_at),
            reply,
            self.again,
            at(now),
            self.expires_at.map(at)
        ])?;
        if new == 0 && self.by_rule.is_none() {
            // A person's word is worth more than what waits for one, and the longer time than the shorter.
            transaction
                .prepare_cached(
                    "UPDATE suppression SET state = 'active', expires_at = CASE WHEN ?5 IS NULL THEN NULL \
                 WHEN expires_at IS NULL THEN NULL ELSE max(expires_at, ?5) END \
                 WHERE person = ?1 AND tenant = ?2 AND list = ?3 AND reason = ?4 AND ended_at IS NULL",
                )?
                .execute(params![
                    self.person.0,
                    self.scope.tenant,
                    list,
                    self.reason.name(),
                    self.expires_at.map(at)
                ])?;
        }
        Ok(new > 0)
    }
}

pub(super) fn apply(
    transaction: &Transaction<'_>,
    verdicts: &Verdicts,
    (hashed, now): (bool, SystemTime),
    applied: &mut Applied,
) -> Result<(), StoreError> {
    let there = of_person(transaction, verdicts.person)?;
    let made_by_rule =
        |kept: &&Suppression| kept.source == Author::Rule && kept.ended.is_none() && kept.judged.is_none();
    let mut end = transaction.prepare_cached(
        "UPDATE suppression SET state = 'ended', ended_at = ?2, ended_by = 'rule', ended_note = ?3 WHERE number = ?1",
    )?;
    for kept in there.iter().filter(made_by_rule) {
        let same = |(scope, reason, ..): &&(Scope, SuppressionReason, SystemTime, ByRule)| {
            *scope == kept.scope && *reason == kept.reason
        };
        let now_decided = verdicts.suppressions.iter().find(same);
        let note = match now_decided {
            None => "what was reported since does not bear it out",
            Some((.., rule)) if rule.unsure != (kept.state == SuppressionState::Review) => "decided anew",
            Some(_) => continue,
        };
        applied.lifted += u64::from(now_decided.is_none());
        end.execute(params![kept.number, millis(now).cast_signed(), note])?;
    }
    for (scope, reason, happened_at, rule) in &verdicts.suppressions {
        let let_go = |kept: &Suppression| {
            let by_person = |(_, author, _): &(SystemTime, Author, Option<Box<str>>)| {
                matches!(author, Author::Person | Author::Api)
            };
            kept.scope == *scope && kept.ended.as_ref().is_some_and(by_person)
        };
        let again = there.iter().any(let_go);
        let inserting = Inserting {
            person: verdicts.person,
            mailbox: &verdicts.mailbox,
            scope,
            reason: *reason,
            source: Author::Rule,
            note: None,
            by_rule: Some(rule),
            happened_at: *happened_at,
            expires_at: None,
            again,
        };
        if inserting.insert(transaction, hashed, now)? {
            applied.again += u64::from(again);
            if rule.unsure {
                applied.review += 1;
            } else {
                applied.suppressed += 1;
            }
        }
    }
    Ok(())
}

fn numbers(events: &[i64]) -> String {
    events.iter().map(i64::to_string).collect::<Vec<_>>().join(" ")
}
