//! Events are forgotten when they are old, but for those that explain why somebody gets no mail.

use std::time::SystemTime;

use rusqlite::params;

use super::{SqliteStore, StoreError, millis};

/// Events deleted in one transaction.
const TOGETHER: i64 = 10_000;

impl SqliteStore {
    /// Forgets events that happened and were added before a time. Whoever a rule suppresses, or who waits for a person, keeps his
    /// history: it explains the decision, and without it the rules would no longer bear the decision out. Says how many went.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn forget_events(&self, before: SystemTime) -> Result<u64, StoreError> {
        let before = millis(before).cast_signed();
        self.call(move |connection| {
            // `secure_delete` overwrites them. The file is not written anew: jobs may be at work in it.
            let sql = "DELETE FROM event WHERE number IN (SELECT number FROM event WHERE at < ?1 AND added_at < ?1 \
                       AND person NOT IN (SELECT person FROM suppression WHERE source = 'rule' AND ended_at IS NULL) \
                       LIMIT ?2)";
            let mut forgotten = 0;
            loop {
                let block = connection.execute(sql, params![before, TOGETHER])?;
                forgotten += block as u64;
                if block == 0 {
                    return Ok(forgotten);
                }
            }
        })
    }
}
