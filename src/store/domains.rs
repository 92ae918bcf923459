//! What the DNS said about domains, for `presend lint --cache`.

use std::time::{Duration, SystemTime};

use rusqlite::{OptionalExtension, params};

use super::{
    SqliteStore, StoreError,
    heap::{millis, time},
    jobs,
};

/// Answers that nobody wanted for so long are forgotten.
const KEEP: Duration = Duration::from_hours(90 * 24);

impl SqliteStore {
    /// The reason that is kept about each of the domains, and when it was found out.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn domain_answers(&self, domains: Vec<Box<str>>) -> Result<Vec<Option<(String, SystemTime)>>, StoreError> {
        self.call(move |connection| {
            let mut select = connection.prepare("SELECT reason, checked_at FROM domain_answer WHERE domain = ?1")?;
            let mut found = Vec::with_capacity(domains.len());
            for domain in &domains {
                let answer = select
                    .query_row([domain], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))
                    .optional()?;
                found.push(answer.map(|(reason, at)| (reason, time(u64::try_from(at).unwrap_or_default()))));
            }
            Ok(found)
        })
    }

    /// Keeps what was found out about domains, in one transaction.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn keep_domain_answers(
        &self,
        answers: Vec<(Box<str>, &'static str)>,
        at: SystemTime,
    ) -> Result<(), StoreError> {
        self.call(move |connection| {
            let transaction = jobs::begin(connection)?;
            {
                let sql = "INSERT OR REPLACE INTO domain_answer (domain, reason, checked_at) VALUES (?1, ?2, ?3)";
                let mut insert = transaction.prepare(sql)?;
                for (domain, reason) in &answers {
                    insert.execute(params![domain, reason, millis(at).cast_signed()])?;
                }
                let oldest = at.checked_sub(KEEP).map_or(0, millis);
                transaction.execute(
                    "DELETE FROM domain_answer WHERE checked_at < ?1",
                    [oldest.cast_signed()],
                )?;
            }
            Ok(transaction.commit()?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_answer_is_kept_and_the_oldest_forgotten() {
        let store = SqliteStore::private().unwrap();
        let now = time(millis(SystemTime::now()));
        let keep = |domain: &str, reason, at| store.keep_domain_answers(vec![(domain.into(), reason)], at).unwrap();
        keep("old.com", "null_mx", now - KEEP * 2);
        keep("a.com", "null_mx", now - Duration::from_hours(1));
        keep("a.com", "level_stop", now);
        let found = store
            .domain_answers(vec!["a.com".into(), "old.com".into(), "b.com".into()])
            .unwrap();
        assert_eq!(found, [Some(("level_stop".to_owned(), now)), None, None]);
    }
}
