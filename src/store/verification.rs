//! Questions that took longer than their callers waited, their answers, and what keys have used up of their quotas.

use std::time::SystemTime;

use rusqlite::{OptionalExtension, Row, params};

use super::{
    SqliteStore, StoreError,
    heap::{millis, time},
};

/// A question as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptVerification {
    /// Nobody guesses it.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// JSON of its caller's.
    pub question: String,
    /// When it was asked.
    pub created_at: SystemTime,
    /// JSON as it is sent, once it is final.
    pub answer: Option<String>,
}

/// What a key has used up of one quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// The key's id.
    pub key: String,
    /// 0 for all addresses, else the hash of a domain.
    pub what: i64,
    /// Nanoseconds since 1970: the arrival time of the generic cell rate algorithm.
    pub at: i64,
}

fn kept(row: &Row<'_>) -> rusqlite::Result<KeptVerification> {
    Ok(KeptVerification {
        id: row.get(0)?,
        tenant: row.get(1)?,
        question: row.get(2)?,
        created_at: time(row.get::<_, i64>(3)?.cast_unsigned()),
        answer: row.get(4)?,
    })
}

impl SqliteStore {
    /// Keeps a question before its caller hears where the answer will be; of all tenants so many at most, the oldest go first.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn keep_verification(&self, one: KeptVerification, most: usize) -> Result<(), StoreError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.later(move |connection| {
            let created_at = millis(one.created_at).cast_signed();
            let sql = "INSERT INTO verification (id, tenant, question, created_at, answer) VALUES (?1, ?2, ?3, ?4, ?5)";
            connection.execute(sql, params![one.id, one.tenant, one.question, created_at, one.answer])?;
            let sql = "DELETE FROM verification WHERE rowid IN
                (SELECT rowid FROM verification ORDER BY created_at DESC LIMIT -1 OFFSET ?1)";
            connection.execute(sql, [most])?;
            Ok(())
        })
        .await
    }

    /// Keeps the answer to a question that is kept.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn answer_verification(&self, id: &str, answer: String) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.later(move |connection| {
            let sql = "UPDATE verification SET answer = ?2 WHERE id = ?1 AND answer IS NULL";
            connection.execute(sql, params![id, answer])?;
            Ok(())
        })
        .await
    }

    /// One of a tenant's questions, if it is not older.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn verification(
        &self,
        tenant: &str,
        id: &str,
        since: SystemTime,
    ) -> Result<Option<KeptVerification>, StoreError> {
        let since = millis(since).cast_signed();
        self.read(|connection| {
            let sql = "SELECT id, tenant, question, created_at, answer FROM verification
                WHERE id = ?1 AND tenant = ?2 AND created_at >= ?3";
            let mut select = connection.prepare_cached(sql)?;
            Ok(select.query_row(params![id, tenant, since], kept).optional()?)
        })
    }

    /// Every question without an answer, oldest first; those that are older are forgotten.
    ///
    /// # Errors
    /// The database cannot be used.
    pub fn open_verifications(&self, since: SystemTime) -> Result<Vec<KeptVerification>, StoreError> {
        let since = millis(since).cast_signed();
        self.call(move |connection| {
            connection.execute("DELETE FROM verification WHERE created_at < ?1", [since])?;
            let sql = "SELECT id, tenant, question, created_at, answer FROM verification
                WHERE answer IS NULL ORDER BY created_at";
            let mut select = connection.prepare(sql)?;
            let found = select.query_map([], kept)?.collect::<Result<_, _>>()?;
            Ok(found)
        })
    }

    /// What every key has used up.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn spent(&self) -> Result<Vec<Spent>, StoreError> {
        self.read(|connection| {
            let mut select = connection.prepare("SELECT key, what, at FROM spent")?;
            let spent = |row: &Row<'_>| {
                Ok(Spent {
                    key: row.get(0)?,
                    what: row.get(1)?,
                    at: row.get(2)?,
                })
            };
            Ok(select.query_map([], spent)?.collect::<Result<_, _>>()?)
        })
    }

    /// Keeps what keys have used up, soon; what is given back by now is forgotten.
    pub fn keep_spent(&self, spent: Vec<Spent>, now: i64) {
        self.soon(move |connection| {
            let transaction = super::jobs::begin(connection)?;
            transaction.execute("DELETE FROM spent WHERE at <= ?1", [now])?;
            for one in spent {
                let sql = "INSERT OR REPLACE INTO spent (key, what, at) VALUES (?1, ?2, ?3)";
                transaction
                    .prepare_cached(sql)?
                    .execute(params![one.key, one.what, one.at])?;
            }
            Ok(transaction.commit()?)
        });
    }
}
