//! Requests with an `Idempotency-Key`: the first one of a key is carried out, the others hear what it heard.
//!
//! Must not know what is asked: of that it has a digest.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime},
};

use rusqlite::{Connection, OptionalExtension, params};

use super::{SqliteStore, StoreError, heap::millis, jobs::begin};

/// Requests of one tenant that are remembered at most: a row of them has up to [`BODY`] bytes.
const MOST: i64 = 100_000;
/// Longest response that is remembered.
const BODY: usize = 1 << 20;

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Where the thing is that was made.
    pub location: Option<String>,
    /// What was sent.
    pub body: Vec<u8>,
}

/// The right to carry a request out, before its response is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    tenant: String,
    key: String,
    run: String,
    number: i64,
    /// Of all that was asked; set when it was read.
    pub digest: [u8; 32],
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The request is the first one.
    First(Claim),
    /// The first one is under way.
    UnderWay,
    /// It was answered.
    Answered {
        /// Of all that was asked.
        digest: [u8; 32],
        /// What was answered.
        response: Response,
    },
    /// The tenant has too many keys that are remembered.
    TooMany,
}

/// Numbers the claims of this process.
static CLAIMS: AtomicI64 = AtomicI64::new(1);

/// Keeps the response with whatever else the transaction does.
pub(super) fn answered(connection: &Connection, claim: &Claim, response: &Response) -> Result<(), StoreError> {
    let sql = "UPDATE request SET digest = ?5, status = ?6, location = ?7, body = ?8
        WHERE tenant = ?1 AND key = ?2 AND run = ?3 AND claim = ?4 AND status IS NULL";
    let body = response.body.get(..BODY).unwrap_or(&response.body);
    let changed = connection.execute(
        sql,
        params![
            claim.tenant,
            claim.key,
            claim.run,
            claim.number,
            claim.digest,
            response.status,
            response.location,
            body
        ],
    )?;
    // It took so long that the key was given to another.
    if changed == 0 {
        Err(StoreError::LostLease)
    } else {
        Ok(())
    }
}

impl SqliteStore {
    /// Claims a key for a request, which is remembered for `keep`.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn claim_request(&self, tenant: &str, key: &str, keep: Duration) -> Result<Claimed, StoreError> {
        let now = SystemTime::now();
        let (tenant, key, run) = (tenant.to_owned(), key.to_owned(), self.presence().run().to_owned());
        let presence = self.shared_presence();
        let claim = CLAIMS.fetch_add(1, Ordering::Relaxed);
        self.later(move |connection| {
            let transaction = begin(connection)?;
            let oldest = millis(now.checked_sub(keep).unwrap_or(SystemTime::UNIX_EPOCH)).cast_signed();
            transaction.execute(
                "DELETE FROM request WHERE created_at < ?1 AND status IS NOT NULL",
                [oldest],
            )?;
            let sql = "SELECT run, digest, status, location, body FROM request WHERE tenant = ?1 AND key = ?2";
            let found = transaction
                .query_row(sql, params![tenant, key], |row| {
                    let status: Option<u16> = row.get(2)?;
                    let run: String = row.get(0)?;
                    let Some(status) = status else {
                        return Ok((run, None));
                    };
                    let response = Response {
                        status,
                        location: row.get(3)?,
                        body: row.get(4)?,
                    };
                    Ok((run, Some((row.get::<_, [u8; 32]>(1)?, response))))
                })
                .optional()?;
            match found {
                Some((_, Some((digest, response)))) => return Ok(Claimed::Answered { digest, response }),
                Some((other, None)) if presence.is_alive(&other) => return Ok(Claimed::UnderWay),
                Some(_) | None => {}
            }
            let many: i64 =
                transaction.query_row("SELECT count(*) FROM request WHERE tenant = ?1", [&tenant], |row| {
                    row.get(0)
                })?;
            if many >= MOST {
                return Ok(Claimed::TooMany);
            }
            let sql =
                "INSERT OR REPLACE INTO request (tenant, key, run, claim, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
            let at = millis(now).cast_signed();
            transaction.execute(sql, params![tenant, key, run, claim, at])?;
            transaction.commit()?;
            Ok(Claimed::First(Claim {
                tenant,
                key,
                run,
                number: claim,
                digest: [0; 32],
            }))
        })
        .await
    }

    /// Keeps what was answered.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn request_answered(&self, claim: Claim, response: Response) -> Result<(), StoreError> {
        self.later(move |connection| answered(connection, &claim, &response))
            .await
    }

    /// Gives a claim back: nothing was made, so that the next request with the key is the first.
    pub fn give_up_request(&self, claim: Claim) {
        // Nobody waits for it: a claim of a process that is gone is nobody's anyway.
        self.soon(move |connection| {
            let sql =
                "DELETE FROM request WHERE tenant = ?1 AND key = ?2 AND run = ?3 AND claim = ?4 AND status IS NULL";
            connection.execute(sql, params![claim.tenant, claim.key, claim.run, claim.number])?;
            Ok(())
        });
    }
}
