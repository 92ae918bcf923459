//! Webhooks, and what is still to be delivered: written by a trigger in the transaction in which something happens, and kept until
//! it was taken.
//!
//! Must not know what is sent, or how.

use std::{fmt, time::SystemTime};

use rusqlite::{Connection, Row, params};

use super::{
    SqliteStore, StoreError,
    heap::{millis, time},
    jobs,
};

/// Whom to tell of a job or a verification.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Id of the job or verification.
    pub subject: String,
    /// Whose it is.
    pub tenant: String,
    /// Where to send.
    pub url: String,
    /// What signs; `None` is the tenant's own secret.
    pub secret: Option<Vec<u8>>,
}

impl fmt::Debug for Webhook {
    /// Without the secret, and without the URL, which may hold one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// An event on its way.
#[derive(Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Of the event.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// Where to send.
    pub url: String,
    /// What signs.
    pub secret: Option<Vec<u8>>,
    /// What happened, a name of [`super::HappeningKind`].
    pub kind: String,
    /// To which job or verification.
    pub subject: String,
    /// When.
    pub at: SystemTime,
    /// JSON.
    pub body: String,
    /// Attempts before this one.
    pub attempts: u32,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It was taken.
    Delivered,
    /// Nothing more to this target before then.
    Again(SystemTime),
    /// No more attempts.
    GivenUp,
    /// No more attempts of anything to this target.
    TargetGone,
}

const COLUMNS: &str = "id, tenant, url, secret, kind, subject, at, body, attempts";

fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    Ok(Delivery {
        id: row.get(0)?,
        tenant: row.get(1)?,
        url: row.get(2)?,
        secret: row.get(3)?,
        kind: row.get(4)?,
        subject: row.get(5)?,
        at: time(row.get::<_, i64>(6)?.cast_unsigned()),
        body: row.get(7)?,
        attempts: row.get(8)?,
    })
}

fn at(time: SystemTime) -> i64 {
    millis(time).cast_signed()
}

/// Within somebody's transaction: whoever makes a job adds its webhook before anything can happen to it.
pub(super) fn add(connection: &Connection, webhook: &Webhook) -> rusqlite::Result<()> {
    let Webhook {
        subject,
        tenant,
        url,
        secret,
    } = webhook;
    let sql = "INSERT OR REPLACE INTO webhook (subject, tenant, url, secret, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.execute(sql, params![subject, tenant, url, secret, at(SystemTime::now())])?;
    Ok(())
}

fn take(
    connection: &mut Connection,
    (now, until): (i64, i64),
    room: impl Fn(&str) -> usize,
) -> Result<Vec<Delivery>, StoreError> {
    let transaction = jobs::begin(connection)?;
    let tenants: Vec<String> = transaction
        .prepare_cached("SELECT DISTINCT tenant FROM delivery WHERE due_at <= ?1")?
        .query_map([now], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut taken = Vec::new();
    for tenant in tenants {
        let most = i64::try_from(room(&tenant)).unwrap_or(i64::MAX);
        let sql = format!("SELECT {COLUMNS} FROM delivery WHERE tenant = ?1 AND due_at <= ?2 ORDER BY due_at LIMIT ?3");
        let mut select = transaction.prepare_cached(&sql)?;
        for found in select.query_map(params![tenant, now, most], delivery)? {
            taken.push(found?);
        }
    }
    for delivery in &taken {
        let sql = "UPDATE delivery SET due_at = ?2 WHERE id = ?1";
        transaction.prepare_cached(sql)?.execute(params![delivery.id, until])?;
    }
    transaction.commit()?;
    Ok(taken)
}

impl SqliteStore {
    /// Tells somebody of whatever happens to its subject from now on.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn add_webhook(&self, webhook: Webhook) -> Result<(), StoreError> {
        self.call(move |connection| Ok(add(connection, &webhook)?))
    }

    /// Takes what is due, of each tenant what `room` has for it, and so that nobody else takes it before `until`; and says when
    /// something else will be due.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn take_deliveries(
        &self,
        until: SystemTime,
        room: impl Fn(&str) -> usize + Send + 'static,
    ) -> Result<(Vec<Delivery>, Option<SystemTime>), StoreError> {
        let now = at(SystemTime::now());
        let due = self.read(|connection| {
            let sql = "SELECT EXISTS (SELECT 1 FROM delivery WHERE due_at <= ?1)";
            Ok(connection.prepare_cached(sql)?.query_row([now], |row| row.get(0))?)
        })?;
        // Mostly nothing is, and then nothing is written.
        let taken = if due {
            self.call(move |connection| take(connection, (now, at(until)), room))?
        } else {
            Vec::new()
        };
        let next: Option<i64> = self.read(|connection| {
            let sql = "SELECT min(due_at) FROM delivery WHERE due_at > ?1";
            Ok(connection.prepare_cached(sql)?.query_row([now], |row| row.get(0))?)
        })?;
        Ok((taken, next.map(|next| time(next.cast_unsigned()))))
    }

    /// Notes what came of an attempt.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn attempted(&self, delivery: &Delivery, attempt: Attempt) -> Result<(), StoreError> {
        let (id, tenant, url) = (delivery.id.clone(), delivery.tenant.clone(), delivery.url.clone());
        self.call(move |connection| {
            let transaction = jobs::begin(connection)?;
            match attempt {
                Attempt::Delivered => transaction.execute("DELETE FROM delivery WHERE id = ?1", [id])?,
                Attempt::Again(until) => {
                    let sql = "UPDATE delivery SET attempts = attempts + (id = ?1), due_at = max(due_at, ?2) \
                        WHERE url = ?3 AND tenant = ?4 AND due_at IS NOT NULL";
                    transaction.execute(sql, params![id, at(until), url, tenant])?;
                    // Its own lease ends now.
                    transaction.execute("UPDATE delivery SET due_at = ?2 WHERE id = ?1", params![id, at(until)])?
                }
                Attempt::GivenUp => {
                    let sql = "UPDATE delivery SET attempts = attempts + 1, due_at = NULL WHERE id = ?1";
                    transaction.execute(sql, [id])?
                }
                Attempt::TargetGone => {
                    let sql = "UPDATE delivery SET due_at = NULL WHERE url = ?1 AND tenant = ?2";
                    transaction.execute(sql, [url, tenant])?
                }
            };
            transaction.commit()?;
            Ok(())
        })
    }

    /// How many events wait to be delivered, and how many were given up.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn deliveries(&self) -> Result<(u64, u64), StoreError> {
        self.read(|connection| {
            let sql = "SELECT count(due_at), count(*) - count(due_at) FROM delivery";
            let counts = connection
                .prepare_cached(sql)?
                .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
            Ok((counts.0.cast_unsigned(), counts.1.cast_unsigned()))
        })
    }

    /// Forgets webhooks of what was asked before, and events that were given up and are as old.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn forget_webhooks(&self, before: SystemTime) -> Result<(), StoreError> {
        let before = at(before);
        self.call(move |connection| {
            let sql = "DELETE FROM webhook WHERE created_at < ?1 \
                AND NOT EXISTS (SELECT 1 FROM job WHERE job.id = webhook.subject AND job.state IN ('importing', 'open'))";
            connection.execute(sql, [before])?;
            connection.execute("DELETE FROM delivery WHERE due_at IS NULL AND at < ?1", [before])?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn happens(store: &SqliteStore, tenant: &'static str, subject: &'static str, count: u32) {
        store
            .call(move |connection| {
                for _ in 0..count {
                    let sql = "INSERT INTO happening (at, tenant, kind, subject, body) VALUES (1000, ?1, 'verification_done', ?2, '{}')";
                    connection.execute(sql, [tenant, subject])?;
                }
                Ok(())
            })
            .unwrap();
    }

    fn hook(tenant: &str, subject: &str, url: &str) -> Webhook {
        Webhook {
            subject: subject.to_owned(),
            tenant: tenant.to_owned(),
            url: url.to_owned(),
            secret: Some(vec![1, 2, 3]),
        }
    }

    #[test]
    fn what_happens_is_kept_until_it_was_taken() {
        let store = SqliteStore::private().unwrap();
        let later = SystemTime::now() + Duration::from_hours(1);
        store.add_webhook(hook("a", "one", "https://a.test/")).unwrap();
        store.add_webhook(hook("b", "two", "https://b.test/")).unwrap();
        happens(&store, "a", "one", 5);
        happens(&store, "b", "two", 1);
        happens(&store, "b", "one", 1);
        assert_eq!(store.deliveries().unwrap(), (6, 0), "another tenant's id is nobody's");
        let take = |most: usize| store.take_deliveries(later, move |_| most).unwrap().0;
        let first = take(2);
        let of = |found: &[Delivery]| found.iter().map(|one| one.tenant.clone()).collect::<Vec<_>>();
        assert_eq!(of(&first), ["a", "a", "b"]);
        assert_eq!(of(&take(2)), ["a", "a"]);
        assert_eq!(of(&take(2)), ["a"]);
        assert_eq!(of(&take(2)), [""; 0]);
        assert_eq!(first[0].secret.as_deref(), Some(&[1, 2, 3][..]));
        assert!(first[0].id.starts_with("evt_") && first[0].id.len() == 36);
        assert_ne!(first[0].id, first[1].id);

        store.attempted(&first[0], Attempt::Delivered).unwrap();
        store
            .attempted(&first[1], Attempt::Again(SystemTime::UNIX_EPOCH))
            .unwrap();
        let again = take(9);
        assert_eq!((again.len(), &again[0].id, again[0].attempts), (1, &first[1].id, 1));
        store.attempted(&again[0], Attempt::GivenUp).unwrap();
        assert_eq!(store.deliveries().unwrap(), (4, 1));
        // One that fails holds up all others to its target, not those of others.
        let far = SystemTime::now() + Duration::from_hours(2);
        happens(&store, "a", "one", 1);
        store.attempted(&again[0], Attempt::Again(far)).unwrap();
        assert_eq!(take(9).len(), 0);
        store.attempted(&again[0], Attempt::TargetGone).unwrap();
        assert_eq!(store.deliveries().unwrap(), (1, 5));
        let none = store.take_deliveries(later, |_| 9).unwrap();
        assert_eq!(
            (none.0.len(), none.1.is_some()),
            (0, true),
            "the one of the other tenant is taken until then"
        );
        store.forget_webhooks(far).unwrap();
        assert_eq!(store.deliveries().unwrap(), (1, 0));
        happens(&store, "a", "one", 1);
        assert_eq!(store.deliveries().unwrap(), (1, 0), "its webhook is forgotten");
    }
}
