//! Who is unknown where, over all recipients: what waves are found in.

use std::time::SystemTime;

use rusqlite::{OptionalExtension, params};

use super::{Person, SqliteStore, StoreError, millis, time};

/// A host said, for good, that there is no such recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// When.
    pub at: SystemTime,
    /// Who.
    pub person: Person,
    /// The recipient's domain.
    pub domain: Box<str>,
    /// Who said it.
    pub remote_mta: Option<Box<str>>,
}

impl SqliteStore {
    /// Shows every refusal of an unknown user, in order of time, by an index that holds nothing else.
    pub(crate) fn each_unknown(&self, mut see: impl FnMut(&Unknown)) -> Result<(), StoreError> {
        self.read(|connection| {
            let sql = "SELECT at, person, domain, remote_mta FROM event \
                       WHERE class = 'user_unknown' AND kind = 'bounced' AND transient = 0 AND apart = 0 ORDER BY at, person";
            let mut select = connection.prepare_cached(sql)?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                see(&Unknown {
                    at: time(row.get::<_, i64>(0)?.cast_unsigned()),
                    person: Person(row.get(1)?),
                    domain: row.get(2)?,
                    remote_mta: row.get(3)?,
                });
            }
            Ok(())
        })
    }

    /// Whether mail arrived at a recipient within; and its address, where that is kept.
    pub(crate) fn arrived_within(
        &self,
        person: Person,
        (from, to): (SystemTime, SystemTime),
    ) -> Result<(bool, Option<Box<str>>), StoreError> {
        self.read(|connection| {
            let within = params![person.0, millis(from).cast_signed(), millis(to).cast_signed()];
            let sql =
                "SELECT 1 FROM event WHERE person = ?1 AND kind = 'delivered' AND at >= ?2 AND at < ?3 AND apart = 0";
            let arrived = connection.prepare_cached(sql)?.exists(within)?;
            let sql = "SELECT mailbox FROM event WHERE person = ?1 AND mailbox IS NOT NULL LIMIT 1";
            let mut select = connection.prepare_cached(sql)?;
            let mailbox = select.query_row([person.0], |row| row.get(0)).optional()?;
            Ok((arrived, mailbox))
        })
    }
}
