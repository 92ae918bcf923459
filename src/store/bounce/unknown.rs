//! Who is unknown where, over all recipients: what waves are found in.

use std::time::SystemTime;

use rusqlite::{OptionalExtension, params};

use super::{Person, SqliteStore, StoreError, jobs, millis, time};

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

/// A time at which a mail host did not know many people at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    /// The domain of the recipients, or the registrable domain of the host that answered.
    pub group: Box<str>,
    /// Its first refusal.
    pub from: SystemTime,
    /// Its last.
    pub to: SystemTime,
    /// The host may have been at fault.
    pub held: bool,
}

/// The condition of the index `event_unknown`.
const UNKNOWN: &str = "class = 'user_unknown' AND kind = 'bounced' AND transient = 0 AND apart = 0";

impl SqliteStore {
    /// Shows every refusal of an unknown user within, in order of time, by an index that holds nothing else.
    pub(crate) fn each_unknown(
        &self,
        (from, to): (SystemTime, SystemTime),
        mut see: impl FnMut(&Unknown),
    ) -> Result<(), StoreError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT at, person, domain, remote_mta FROM event WHERE {UNKNOWN} AND at >= ?1 AND at <= ?2 ORDER BY at, person"
            );
            let mut select = connection.prepare_cached(&sql)?;
            let mut rows = select.query(params![millis(from).cast_signed(), millis(to).cast_signed()])?;
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

    /// Between when unknown users, and deliveries, were told of that were added after this number.
    pub(crate) fn told_since(&self, number: i64) -> Result<[Option<(SystemTime, SystemTime)>; 2], StoreError> {
        self.read(|connection| {
            let between = |condition: &str| -> Result<Option<(SystemTime, SystemTime)>, StoreError> {
                let sql = format!("SELECT min(at), max(at) FROM event NOT INDEXED WHERE number > ?1 AND {condition}");
                let mut select = connection.prepare_cached(&sql)?;
                let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?));
                let (first, last) = select.query_row([number], read)?;
                let at = |at: i64| time(at.cast_unsigned());
                Ok(first.map(at).zip(last.map(at)))
            };
            Ok([between(UNKNOWN)?, between("kind = 'delivered' AND apart = 0")?])
        })
    }

    /// Every wave that is kept.
    pub(crate) fn waves(&self) -> Result<Vec<Wave>, StoreError> {
        self.read(|connection| {
            let mut select =
                connection.prepare_cached("SELECT house, began, ended, held FROM wave ORDER BY house, began")?;
            let mut rows = select.query([])?;
            let mut waves = Vec::new();
            while let Some(row) = rows.next()? {
                waves.push(Wave {
                    group: row.get(0)?,
                    from: time(row.get::<_, i64>(1)?.cast_unsigned()),
                    to: time(row.get::<_, i64>(2)?.cast_unsigned()),
                    held: row.get(3)?,
                });
            }
            Ok(waves)
        })
    }

    /// Keeps these waves in place of all that are there.
    pub(crate) fn keep_waves(&self, waves: Vec<Wave>) -> Result<(), StoreError> {
        self.call(move |connection| {
            let transaction = jobs::begin(connection)?;
            transaction.execute("DELETE FROM wave", [])?;
            for wave in &waves {
                let (from, to) = (millis(wave.from).cast_signed(), millis(wave.to).cast_signed());
                let sql = "INSERT OR REPLACE INTO wave (house, began, ended, held) VALUES (?1, ?2, ?3, ?4)";
                transaction
                    .prepare_cached(sql)?
                    .execute(params![wave.group, from, to, wave.held])?;
            }
            Ok(transaction.commit()?)
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
