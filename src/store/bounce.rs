//! Events of past mailings, as they are kept: each once, under a keyed hash of its recipient.
//!
//! Must not decide what follows from an event; see `crate::suppress`.

mod ageing;
mod unknown;

use std::{
    ops::{ControlFlow, Range},
    time::SystemTime,
};

use rusqlite::{Connection, OptionalExtension, Row, Statement, Transaction, params};
use sha2::{Digest, Sha256};

pub use self::unknown::{Unknown, Wave};

use super::{
    SqliteStore, StoreError,
    heap::{millis, time},
    jobs,
};
use crate::{
    bounce::{Event, EventKind, Origin},
    replies::{Class, Persistence},
    smtp::EnhancedStatusCode,
};

/// Events written in one transaction: what one transaction writes stays in the log until it ends.
const TOGETHER: usize = 10_000;
/// What takes the place of a word that names somebody.
const MASK: &str = "***";
/// The row of `bounce_state` that says whether mailboxes are kept as hashes only.
const HASHED: &str = "hashed";

/// How many events were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Added {
    /// Events that nobody had reported before.
    pub new: u64,
    /// Events that were there already.
    pub known: u64,
}

/// A keyed hash of a mailbox: what events and suppressions are found by. The key stays in the database.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Person(pub [u8; 16]);

/// Makes a [`Person`] of a mailbox.
#[derive(Clone, Copy)]
pub struct Recipients([u8; 32]);

impl Recipients {
    /// The case of ASCII letters does not matter, not even in the local-part.
    #[must_use]
    pub fn person(&self, mailbox: &str) -> Person {
        Person(self.hash(&[mailbox.to_ascii_lowercase().as_bytes()]))
    }

    /// The same event of another tenant is another event: tenants do not see each other.
    fn event(&self, tenant: &str, id: [u8; 16]) -> [u8; 16] {
        if tenant.is_empty() {
            return id;
        }
        self.hash(&[tenant.as_bytes(), &id])
    }

    fn message(&self, id: &str) -> String {
        let bytes = self.hash(&[b"message", id.as_bytes()]);
        format!("{:032x}", u128::from_be_bytes(bytes))
    }

    fn hash(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut hash = Sha256::new();
        hash.update(self.0);
        for part in parts {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        let mut id = [0; 16];
        for (byte, hashed) in id.iter_mut().zip(hash.finalize()) {
            *byte = hashed;
        }
        id
    }
}

/// Hides the key.
impl std::fmt::Debug for Recipients {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Recipients").finish_non_exhaustive()
    }
}

/// An event as it is kept. Where only hashes are kept its recipient is `***@domain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptEvent {
    /// Its number: later ones were added later.
    pub number: i64,
    /// Whom it is about.
    pub person: Person,
    /// Whose it is; empty for the operator's own.
    pub tenant: Box<str>,
    /// When it was added.
    pub added_at: SystemTime,
    /// About somebody who was never mailed: it decides nothing.
    pub apart: bool,
    /// What happened.
    pub event: Event,
}

/// Which events are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Events {
    /// Those that happened within, in order of time.
    Within(Range<SystemTime>),
    /// Everything about everybody of whom something was added after this number, one recipient after the other, each in
    /// order of time.
    AboutNewsSince(i64),
    /// The same, and about everybody of whom something came to mean more with time: a bounce within one of these times.
    AboutNewsOr(i64, [Range<SystemTime>; 3]),
}

const COLUMNS: &str = "number, person, tenant, mailbox, domain, kind, class, transient, at, added_at, status, reply, \
                       remote_mta, message_id, list, origin, apart";

impl SqliteStore {
    /// Keeps the operator's own events, each once. Those `kept_apart` decide nothing; the same event, reported again about
    /// somebody who was mailed after all, counts as new.
    ///
    /// # Errors
    /// The database cannot be written; then only whole blocks of the events are in it.
    pub fn add_events(&self, events: Vec<Event>, kept_apart: bool) -> Result<Added, StoreError> {
        self.add_events_of("", events, kept_apart)
    }

    /// The same for a tenant of the API.
    ///
    /// # Errors
    /// The database cannot be written; then only whole blocks of the events are in it.
    pub fn add_events_of(&self, tenant: &str, events: Vec<Event>, kept_apart: bool) -> Result<Added, StoreError> {
        if events.is_empty() {
            return Ok(Added::default());
        }
        let recipients = self.recipients()?;
        let tenant = tenant.to_owned();
        self.call(move |connection| {
            let hashed = keeps_hashes(connection)?;
            let now = millis(SystemTime::now());
            let mut added = Added::default();
            for block in events.chunks(TOGETHER) {
                let transaction = jobs::begin(connection)?;
                let adding = Adding {
                    recipients,
                    tenant: &tenant,
                    hashed,
                    now,
                    apart: kept_apart,
                };
                let new = adding.add(&transaction, block)?;
                transaction.commit()?;
                added.new += new;
                added.known += block.len() as u64 - new;
            }
            Ok(added)
        })
    }

    /// What makes a recipient's name of a mailbox in this database.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn recipients(&self) -> Result<Recipients, StoreError> {
        let fresh: [u8; 32] = rand::random();
        Ok(Recipients(self.secret("recipients", fresh)?))
    }

    /// Everything that was told about a recipient, in order of time, with what is kept apart.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn events_about(&self, person: Person) -> Result<Vec<KeptEvent>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM event WHERE person = ?1 ORDER BY at, id");
            let mut select = connection.prepare_cached(&sql)?;
            let mut rows = select.query([person.0])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(kept(row)?);
            }
            Ok(found)
        })
    }

    /// Shows events one by one until `see` breaks off, in memory that does not grow with their number. `see` may ask the store.
    ///
    /// # Errors
    /// The database cannot be read, or what `see` returns.
    pub fn each_event<E: From<StoreError>>(
        &self,
        wanted: &Events,
        mut see: impl FnMut(KeptEvent) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let failed = |error: rusqlite::Error| StoreError::from(error).explained(self.path());
        let connection = self.another_reader()?;
        let mut select = connection.prepare(&wanted.sql()).map_err(failed)?;
        let mut rows = match wanted {
            Events::Within(range) => {
                let at = |at| millis(at).cast_signed();
                select.query(params![at(range.start), at(range.end)])
            }
            Events::AboutNewsSince(number) => select.query([number]),
            Events::AboutNewsOr(number, [one, other, third]) => {
                let at = |at| millis(at).cast_signed();
                select.query(params![
                    number,
                    at(one.start),
                    at(one.end),
                    at(other.start),
                    at(other.end),
                    at(third.start),
                    at(third.end)
                ])
            }
        }
        .map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            if see(kept(row).map_err(|error| error.explained(self.path()))?)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Whose mail arrived or bounced since, of a tenant's.
    pub(crate) fn concerned_since(&self, tenant: &str, since: SystemTime) -> Result<Vec<Person>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT person FROM event WHERE at >= ?1 AND tenant = ?2 AND apart = 0 \
                       AND kind IN ('delivered', 'bounced')";
            let mut select = connection.prepare(sql)?;
            let read = |row: &Row<'_>| Ok(Person(row.get(0)?));
            let found = select.query_map(params![millis(since).cast_signed(), tenant], read)?;
            Ok(found.collect::<Result<_, _>>()?)
        })
    }

    /// The number of the newest event; 0 when there is none.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn newest_event(&self) -> Result<i64, StoreError> {
        self.read(|connection| {
            let sql = "SELECT coalesce(max(number), 0) FROM event";
            Ok(connection.query_row(sql, [], |row| row.get(0))?)
        })
    }

    /// Whether mailboxes are kept as hashes only.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn keeps_hashes(&self) -> Result<bool, StoreError> {
        self.read(keeps_hashes)
    }

    /// From now on mailboxes are kept as hashes only, and so are those that are here: nobody can read them any longer, only
    /// look one up. Says how many events were changed.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn keep_hashes(&self) -> Result<u64, StoreError> {
        let recipients = self.recipients()?;
        self.call(move |connection| {
            let transaction = jobs::begin(connection)?;
            set_state(&transaction, HASHED, 1)?;
            let changed = hide(&transaction, recipients)?;
            super::suppression::hide(&transaction)?;
            transaction.commit()?;
            Ok(changed)
        })
    }

    /// A number that is kept about events and suppressions.
    pub(crate) fn bounce_state(&self, name: &'static str) -> Result<Option<i64>, StoreError> {
        self.read(|connection| state(connection, name))
    }

    /// Keeps numbers about events and suppressions.
    pub(crate) fn set_bounce_state(&self, values: Vec<(&'static str, i64)>) -> Result<(), StoreError> {
        self.call(move |connection| {
            values
                .iter()
                .try_for_each(|(name, value)| set_state(connection, name, *value))
        })
    }
}

impl Events {
    fn sql(&self) -> String {
        match self {
            Self::Within(_) => format!("SELECT {COLUMNS} FROM event WHERE at >= ?1 AND at < ?2 ORDER BY at"),
            Self::AboutNewsSince(_) => format!(
                "SELECT {COLUMNS} FROM event WHERE person IN (SELECT person FROM event WHERE number > ?1) \
                 ORDER BY person, at, id"
            ),
            Self::AboutNewsOr(..) => format!(
                "SELECT {COLUMNS} FROM event WHERE person IN (SELECT person FROM event WHERE number > ?1 \
                 UNION SELECT person FROM event WHERE at >= ?2 AND at < ?3 AND class IS NOT NULL \
                 UNION SELECT person FROM event WHERE at >= ?4 AND at < ?5 AND class IS NOT NULL \
                 UNION SELECT person FROM event WHERE at >= ?6 AND at < ?7 AND class IS NOT NULL) \
                 ORDER BY person, at, id"
            ),
        }
    }
}

fn state(connection: &Connection, name: &str) -> Result<Option<i64>, StoreError> {
    let mut select = connection.prepare_cached("SELECT value FROM bounce_state WHERE name = ?1")?;
    Ok(select.query_row([name], |row| row.get(0)).optional()?)
}

/// Whether mailboxes are kept as hashes only.
pub(super) fn keeps_hashes(connection: &Connection) -> Result<bool, StoreError> {
    Ok(state(connection, HASHED)?.is_some())
}

fn set_state(connection: &Connection, name: &str, value: i64) -> Result<(), StoreError> {
    let sql = "INSERT INTO bounce_state (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
    connection.execute(sql, params![name, value])?;
    Ok(())
}

/// How a block of events is written.
struct Adding<'a> {
    recipients: Recipients,
    tenant: &'a str,
    hashed: bool,
    now: u64,
    apart: bool,
}

impl Adding<'_> {
    /// How many were new.
    fn add(&self, transaction: &Transaction<'_>, events: &[Event]) -> Result<u64, StoreError> {
        let mut insert = transaction.prepare_cached(
            "INSERT INTO event (person, id, tenant, mailbox, domain, kind, class, transient, at, added_at, status, reply, \
             remote_mta, message_id, list, origin, apart) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17) \
             ON CONFLICT (person, id) DO NOTHING",
        )?;
        let mut drop_apart =
            transaction.prepare_cached("DELETE FROM event WHERE person = ?1 AND id = ?2 AND apart = 1")?;
        let mut new = 0;
        for event in events {
            let person = self.recipients.person(&event.recipient);
            let id = self.recipients.event(self.tenant, event.id());
            let mut inserted = self.insert(&mut insert, (person, id), event)?;
            // It gets a new number, so that somebody looks at it.
            if !inserted && !self.apart && drop_apart.execute(params![person.0, id])? > 0 {
                inserted = self.insert(&mut insert, (person, id), event)?;
            }
            new += u64::from(inserted);
        }
        Ok(new)
    }

    fn insert(
        &self,
        insert: &mut Statement<'_>,
        (person, id): (Person, [u8; 16]),
        event: &Event,
    ) -> Result<bool, StoreError> {
        let (class, transient) = match event.kind {
            EventKind::Bounced { class, persistence } => {
                (Some(class.name()), Some(persistence == Persistence::Transient))
            }
            EventKind::Deferred { class } => (Some(class.name()), Some(true)),
            EventKind::Delivered | EventKind::Complained | EventKind::Unsubscribed => (None, None),
        };
        let domain = event.recipient.rsplit_once('@').map_or("", |(_, domain)| domain);
        let plain = (!self.hashed).then_some(&*event.recipient);
        let hide = |text: &str| without(text, &event.recipient);
        let reply = event.reply.as_deref();
        let reply = reply.map(|reply| if self.hashed { hide(reply) } else { reply.to_owned() });
        let message = event.message_id.as_deref();
        let message = message.map(|id| {
            if self.hashed {
                self.recipients.message(id)
            } else {
                id.to_owned()
            }
        });
        let changed = insert.execute(params![
            person.0,
            id,
            self.tenant,
            plain,
            domain,
            event.kind.name(),
            class,
            transient,
            millis(event.at).cast_signed(),
            self.now.cast_signed(),
            event.status.map(|status| status.to_string()),
            reply,
            event.remote_mta,
            message,
            event.list,
            origin(event.origin),
            self.apart
        ])?;
        Ok(changed > 0)
    }
}

/// Hides everybody who can still be read.
fn hide(transaction: &Transaction<'_>, recipients: Recipients) -> Result<u64, StoreError> {
    let mut select = transaction.prepare(
        "SELECT number, mailbox, reply, message_id FROM event WHERE mailbox IS NOT NULL AND number > ?1 ORDER BY number \
         LIMIT 1000",
    )?;
    let mut update =
        transaction.prepare("UPDATE event SET mailbox = NULL, reply = ?2, message_id = ?3 WHERE number = ?1")?;
    let (mut last, mut changed) = (0, 0);
    loop {
        type Readable = (i64, String, Option<String>, Option<String>);
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        let block: Vec<Readable> = select.query_map([last], read)?.collect::<Result<_, _>>()?;
        for (number, mailbox, reply, message) in &block {
            let reply = reply.as_deref().map(|reply| without(reply, mailbox));
            let message = message.as_deref().map(|id| recipients.message(id));
            update.execute(params![number, reply, message])?;
            (last, changed) = (*number, changed + 1);
        }
        if block.is_empty() {
            return Ok(changed);
        }
    }
}

/// A reply without words that name its recipient, or anybody.
pub(super) fn without(reply: &str, mailbox: &str) -> String {
    let local = mailbox
        .rsplit_once('@')
        .map_or(mailbox, |(local, _)| local)
        .to_lowercase();
    let hidden = |word: &str| word.contains('@') || (!local.is_empty() && word.to_lowercase().contains(&local));
    let words = reply.split(' ').map(|word| if hidden(word) { MASK } else { word });
    words.collect::<Vec<_>>().join(" ")
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Report => "report",
        Origin::Log => "log",
        Origin::Service => "service",
        Origin::Table => "table",
    }
}

fn kept(row: &Row<'_>) -> Result<KeptEvent, StoreError> {
    let at = |index| row.get::<_, i64>(index).map(|at| time(at.cast_unsigned()));
    let text = |index| row.get::<_, Option<Box<str>>>(index);
    let mailbox: Option<String> = row.get(3)?;
    let mailbox = match mailbox {
        Some(mailbox) => mailbox,
        None => format!("{MASK}@{}", row.get::<_, String>(4)?),
    };
    let status: Option<String> = row.get(10)?;
    let origin_name: String = row.get(15)?;
    let origins = [Origin::Report, Origin::Log, Origin::Service, Origin::Table];
    let event = Event {
        recipient: mailbox.into(),
        kind: kind(row)?,
        at: at(8)?,
        status: status.and_then(|status| EnhancedStatusCode::split(&status).map(|(code, _)| code)),
        reply: text(11)?,
        remote_mta: text(12)?,
        message_id: text(13)?,
        list: text(14)?,
        origin: origins
            .into_iter()
            .find(|known| origin(*known) == origin_name)
            .ok_or(StoreError::Damaged("an event has no origin"))?,
        foreign_id: None,
    };
    Ok(KeptEvent {
        number: row.get(0)?,
        person: Person(row.get(1)?),
        tenant: row.get(2)?,
        added_at: at(9)?,
        apart: row.get(16)?,
        event,
    })
}

fn kind(row: &Row<'_>) -> Result<EventKind, StoreError> {
    let name = row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?;
    let class = row.get_ref(6)?.as_str_or_null().map_err(rusqlite::Error::from)?;
    // A class that a newer presend knows is one that this one does not.
    let class = class.map(|name| Class::ALL.iter().find(|class| class.name() == name).copied());
    let class = class.flatten().unwrap_or(Class::Unknown);
    let persistence = match row.get(7)? {
        Some(true) => Persistence::Transient,
        Some(false) | None => Persistence::Permanent,
    };
    Ok(match name {
        "delivered" => EventKind::Delivered,
        "bounced" => EventKind::Bounced { class, persistence },
        "deferred" => EventKind::Deferred { class },
        "complained" => EventKind::Complained,
        "unsubscribed" => EventKind::Unsubscribed,
        _ => return Err(StoreError::Damaged("an event has no kind")),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn event(recipient: &str, day: u64) -> Event {
        Event {
            recipient: recipient.into(),
            kind: EventKind::Bounced {
                class: Class::UserUnknown,
                persistence: Persistence::Permanent,
            },
            at: SystemTime::UNIX_EPOCH + Duration::from_hours(24 * day),
            status: EnhancedStatusCode::split("5.1.1").map(|(code, _)| code),
            reply: Some(format!("550 5.1.1 <{recipient}>: Jane unknown here").into()),
            remote_mta: Some("mx.a.example".into()),
            message_id: Some("1@b.example".into()),
            list: Some("news".into()),
            origin: Origin::Report,
            foreign_id: None,
        }
    }

    fn all(store: &SqliteStore, wanted: &Events) -> Vec<KeptEvent> {
        let mut found = Vec::new();
        let see = |event| {
            found.push(event);
            Ok::<_, StoreError>(ControlFlow::Continue(()))
        };
        store.each_event(wanted, see).unwrap();
        found
    }

    #[test]
    fn an_event_is_kept_once_and_comes_back_as_it_was() {
        let store = SqliteStore::private().unwrap();
        let kinds = [
            EventKind::Delivered,
            EventKind::Deferred {
                class: Class::Greylisted,
            },
            EventKind::Bounced {
                class: Class::MailboxFull,
                persistence: Persistence::Transient,
            },
            EventKind::Complained,
            EventKind::Unsubscribed,
            event("", 0).kind,
        ];
        let origins = [Origin::Report, Origin::Log, Origin::Service, Origin::Table];
        let events: Vec<_> = kinds
            .iter()
            .zip(origins.iter().cycle())
            .zip(3..)
            .map(|((kind, origin), day)| Event {
                kind: *kind,
                origin: *origin,
                ..event("Jane@a.example", day)
            })
            .collect();
        assert_eq!(
            store.add_events(events.clone(), false).unwrap(),
            Added { new: 6, known: 0 }
        );
        let again = events
            .iter()
            .rev()
            .cloned()
            .chain([event("joe@a.example", 1)])
            .collect();
        assert_eq!(store.add_events(again, false).unwrap(), Added { new: 1, known: 6 });

        let person = store.recipients().unwrap().person("jANE@a.example");
        let found: Vec<_> = store.events_about(person).unwrap();
        assert_eq!(
            found.iter().map(|kept| &kept.event).collect::<Vec<_>>(),
            events.iter().collect::<Vec<_>>()
        );
        let day = |day: u64| SystemTime::UNIX_EPOCH + Duration::from_hours(24 * day);
        let days = |wanted: &Events| all(&store, wanted).iter().map(|kept| kept.event.at).collect::<Vec<_>>();
        assert_eq!(days(&Events::Within(day(1)..day(4))), [day(1), day(3)]);
        assert_eq!(days(&Events::AboutNewsSince(6)), [day(1)]);
        assert_eq!(days(&Events::AboutNewsSince(5)).len(), 7, "all about both");
        assert!(days(&Events::AboutNewsSince(store.newest_event().unwrap())).is_empty());
    }

    #[test]
    fn what_is_kept_apart_counts_once_it_is_about_somebody_we_mailed() {
        let store = SqliteStore::private().unwrap();
        let add = |apart| store.add_events(vec![event("jane@a.example", 1)], apart).unwrap().new;
        let apart = || {
            all(&store, &Events::AboutNewsSince(1))
                .iter()
                .map(|kept| kept.apart)
                .collect::<Vec<_>>()
        };
        assert_eq!((add(true), add(true)), (1, 0));
        assert_eq!((add(false), apart()), (1, vec![false]));
        assert_eq!(
            (add(false), add(true), apart()),
            (0, 0, vec![false]),
            "and never apart again"
        );
    }

    #[test]
    fn tenants_do_not_see_each_other() {
        let store = SqliteStore::private().unwrap();
        for (tenant, new) in [("", 1), ("one", 1), ("two", 1), ("one", 0)] {
            let added = store
                .add_events_of(tenant, vec![event("jane@a.example", 1)], false)
                .unwrap();
            assert_eq!(added.new, new, "{tenant}");
        }
    }

    #[test]
    fn hashes_tell_nobody_who_it_was_and_find_whom_one_knows() {
        let store = SqliteStore::private().unwrap();
        store.add_events(vec![event("jane.d@a.example", 1)], false).unwrap();
        assert_eq!(store.keep_hashes().unwrap(), 1);
        let second = Event {
            message_id: Some("1@b.example".into()),
            ..event("Jane.D@a.example", 2)
        };
        assert_eq!(store.add_events(vec![second.clone()], false).unwrap().new, 1);
        assert_eq!(
            store
                .add_events(vec![event("jane.d@a.example", 1), second], false)
                .unwrap()
                .new,
            0
        );
        let person = store.recipients().unwrap().person("jane.d@a.example");
        let found = store.events_about(person).unwrap();
        assert_eq!(found.len(), 2);
        for kept in &found {
            assert_eq!(&*kept.event.recipient, "***@a.example");
            assert_eq!(kept.event.reply.as_deref(), Some("550 5.1.1 *** Jane unknown here"));
            assert_eq!(
                kept.event.message_id, found[0].event.message_id,
                "one message is one message"
            );
        }
        assert!(!format!("{found:?}").contains("1@b.example"));
    }
}
