//! Keys of the API, as they are kept: a name, what it may do, and the hash of a secret.
//!
//! Must not know requests or time limits; texts like `10/s` are its caller's.

use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    SqliteStore, StoreError,
    heap::{millis, time},
};

/// A key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The part of the key that is no secret.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Whose it is.
    pub tenant: String,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// What it may do, separated by commas.
    pub scopes: String,
    /// Requests, such as `10/s`.
    pub rate: Option<String>,
    /// Addresses, such as `10000/day`.
    pub quota: Option<String>,
    /// When it was made.
    pub created_at: SystemTime,
    /// Since when it no longer counts.
    pub revoked_at: Option<SystemTime>,
}

const COLUMNS: &str = "id, name, tenant, hash, scopes, rate, quota, created_at, revoked_at";

fn record(row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
    let at = |millis: i64| time(millis.cast_unsigned());
    Ok(KeyRecord {
        id: row.get(0)?,
        name: row.get(1)?,
        tenant: row.get(2)?,
        hash: row.get(3)?,
        scopes: row.get(4)?,
        rate: row.get(5)?,
        quota: row.get(6)?,
        created_at: at(row.get(7)?),
        revoked_at: row.get::<_, Option<i64>>(8)?.map(at),
    })
}

impl SqliteStore {
    /// Keeps a new key.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn add_key(&self, key: KeyRecord) -> Result<(), StoreError> {
        self.call(move |connection| {
            let sql = format!("INSERT INTO api_key ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULL)");
            let created_at = millis(key.created_at).cast_signed();
            connection.execute(
                &sql,
                params![
                    key.id, key.name, key.tenant, key.hash, key.scopes, key.rate, key.quota, created_at
                ],
            )?;
            Ok(())
        })
    }

    /// Every key, oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.call(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM api_key ORDER BY created_at, id");
            let mut select = connection.prepare(&sql)?;
            let keys = select.query_map([], record)?.collect::<Result<_, _>>()?;
            Ok(keys)
        })
    }

    /// Ends a key; whether there was one that counted.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn revoke_key(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.call(move |connection| {
            let sql = "UPDATE api_key SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";
            let now = millis(SystemTime::now()).cast_signed();
            Ok(connection.execute(sql, params![id, now])? > 0)
        })
    }

    /// A secret of this database, made of `fresh` the first time it is asked for.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn secret(&self, name: &'static str, fresh: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.call(move |connection| {
            connection.execute(
                "INSERT OR IGNORE INTO secret (name, value) VALUES (?1, ?2)",
                params![name, fresh],
            )?;
            let sql = "SELECT value FROM secret WHERE name = ?1";
            Ok(connection.query_row(sql, [name], |row| row.get(0))?)
        })
    }

    /// A connection of its own for looking keys up.
    ///
    /// # Errors
    /// The database cannot be opened.
    pub fn key_ring(&self) -> Result<KeyRing, StoreError> {
        Ok(KeyRing(Mutex::new(self.another_reader()?)))
    }
}

/// Looks keys up as they are now: one that was revoked a moment ago, by another process too, is found revoked.
#[derive(Debug)]
pub struct KeyRing(Mutex<Connection>);

impl KeyRing {
    /// One key.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn find(&self, id: &str) -> Result<Option<KeyRecord>, StoreError> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut select = connection.prepare_cached(
            "SELECT id, name, tenant, hash, scopes, rate, quota, created_at, revoked_at FROM api_key WHERE id = ?1",
        )?;
        Ok(select.query_row([id], record).optional()?)
    }

    /// Whether there ever was a key: a server that had one does not open up when the last is revoked.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn was_used(&self) -> Result<bool, StoreError> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut select = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM api_key)")?;
        Ok(select.query_row([], |row| row.get(0))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> KeyRecord {
        KeyRecord {
            id: id.to_owned(),
            name: "crm".to_owned(),
            tenant: "sales".to_owned(),
            hash: [7; 32],
            scopes: "verify".to_owned(),
            rate: Some("10/s".to_owned()),
            quota: None,
            created_at: time(millis(SystemTime::now())),
            revoked_at: None,
        }
    }

    #[test]
    fn a_key_counts_until_it_is_revoked_and_never_again() {
        let store = SqliteStore::private().unwrap();
        let ring = store.key_ring().unwrap();
        assert!(!ring.was_used().unwrap() && ring.find("one").unwrap().is_none());
        store.add_key(key("one")).unwrap();
        store.add_key(key("two")).unwrap();
        assert!(store.add_key(key("one")).is_err(), "an id is given once");
        assert_eq!(
            ring.find("one").unwrap(),
            Some(key("one")).map(|found| KeyRecord {
                created_at: store.keys().unwrap()[0].created_at,
                ..found
            })
        );
        assert!(store.revoke_key("one").unwrap());
        assert!(!store.revoke_key("one").unwrap() && !store.revoke_key("three").unwrap());
        assert!(ring.find("one").unwrap().unwrap().revoked_at.is_some());
        assert!(ring.find("two").unwrap().unwrap().revoked_at.is_none());
        assert!(ring.was_used().unwrap());
        assert_eq!(store.keys().unwrap().len(), 2);
    }

    #[test]
    fn a_secret_is_made_once() {
        let store = SqliteStore::private().unwrap();
        assert_eq!(store.secret("log", [1; 32]).unwrap(), [1; 32]);
        assert_eq!(store.secret("log", [2; 32]).unwrap(), [1; 32]);
        assert_eq!(store.secret("other", [3; 32]).unwrap(), [3; 32]);
    }
}
