//! Evidence: pointers from a domain to the records about its addresses that others may use, those of one batch in one row.
//!
//! Rows are added and never changed; which of an address's pointers counts is found when they are read. Must not know what a
//! record holds.

use std::time::{Duration, SystemTime};

use hashbrown::{HashMap, hash_map::Entry};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{
    JobNumber, Known, Place, StoreError,
    heap::{millis, time},
};

/// Bytes of a pointer: the address's hash, the offset, whether it is good, when it was observed, for how long it serves.
const POINTER: usize = 25;

/// One record that others may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointer {
    /// Hashes of domain and address.
    pub(super) key: (i64, i64),
    pub(super) place: Place,
    /// A question that failed does not push it out.
    pub(super) good: bool,
    pub(super) checked_at: SystemTime,
    pub(super) keep: Duration,
}

impl Pointer {
    fn write(&self, entries: &mut Vec<u8>) {
        let keep = u32::try_from(self.keep.as_millis()).unwrap_or(u32::MAX);
        entries.extend_from_slice(&self.key.1.to_le_bytes());
        entries.extend_from_slice(&self.place.offset.to_le_bytes());
        entries.push(u8::from(self.good));
        entries.extend_from_slice(&millis(self.checked_at).to_le_bytes());
        entries.extend_from_slice(&keep.to_le_bytes());
    }

    fn read(bytes: &[u8; POINTER], (domain, batch): (i64, u32)) -> Option<Self> {
        let (address, rest) = bytes.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (good, rest) = rest.split_first()?;
        let (checked_at, rest) = rest.split_first_chunk()?;
        let (keep, _) = rest.split_first_chunk()?;
        Some(Self {
            key: (domain, i64::from_le_bytes(*address)),
            place: Place {
                batch,
                offset: u32::from_le_bytes(*offset),
            },
            good: *good == 1,
            checked_at: time(u64::from_le_bytes(*checked_at)),
            keep: Duration::from_millis(u32::from_le_bytes(*keep).into()),
        })
    }
}

/// Adds the pointers of one batch.
pub(super) fn add(transaction: &Transaction<'_>, job: JobNumber, mut pointers: Vec<Pointer>) -> Result<(), StoreError> {
    pointers.sort_unstable_by_key(|pointer| (pointer.key.0, pointer.place.batch));
    let sql = "INSERT INTO pointer (domain, job, batch, entries) VALUES (?1, ?2, ?3, ?4)";
    let mut insert = transaction.prepare_cached(sql)?;
    let mut entries = Vec::new();
    let one_row = |one: &Pointer, next: &Pointer| (one.key.0, one.place.batch) == (next.key.0, next.place.batch);
    for row in pointers.chunk_by(one_row) {
        entries.clear();
        for pointer in row {
            pointer.write(&mut entries);
        }
        if let Some(first) = row.first() {
            insert.execute(params![first.key.0, job, first.place.batch, entries])?;
        }
    }
    Ok(())
}

/// What counts of the wanted addresses of a domain: for each the newest good answer and the newest other one, good answers first.
pub(super) fn known(
    connection: &Connection,
    domain: i64,
    wanted: impl Fn(i64) -> bool,
) -> Result<Vec<Known>, StoreError> {
    let is_wanted = |bytes: &&[u8; POINTER]| bytes.first_chunk().is_some_and(|key| wanted(i64::from_le_bytes(*key)));
    let sql = "SELECT job, batch, entries FROM pointer WHERE domain = ?1 ORDER BY number";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([domain])?;
    let mut newest: HashMap<(bool, i64), (JobNumber, Pointer)> = HashMap::new();
    while let Some(row) = rows.next()? {
        let (job, batch) = (row.get(0)?, row.get(1)?);
        let entries = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        // What is cut off at the end is not there.
        let (whole, _) = entries.as_chunks::<POINTER>();
        let wanted = whole.iter().filter(is_wanted);
        for pointer in wanted.filter_map(|bytes| Pointer::read(bytes, (domain, batch))) {
            match newest.entry((!pointer.good, pointer.key.1)) {
                Entry::Occupied(known) if known.get().1.checked_at > pointer.checked_at => {}
                Entry::Occupied(mut known) => drop(known.insert((job, pointer))),
                Entry::Vacant(new) => drop(new.insert((job, pointer))),
            }
        }
    }
    let mut newest: Vec<_> = newest.into_iter().collect();
    newest.sort_unstable_by_key(|(key, _)| *key);
    let known = newest.into_iter().map(|((_, address), (job, pointer))| Known {
        address,
        job,
        place: pointer.place,
        checked_at: pointer.checked_at,
        expires_at: pointer
            .checked_at
            .checked_add(pointer.keep)
            .unwrap_or(pointer.checked_at),
    });
    Ok(known.collect())
}

/// Where some evidence about a domain is.
pub(super) fn whereabouts(connection: &Connection, domain: i64) -> Result<Option<(JobNumber, u32)>, StoreError> {
    let sql = "SELECT job, batch FROM pointer WHERE domain = ?1 ORDER BY number DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row([domain], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(found.optional()?)
}

/// Whether there is any.
pub(super) fn is_some(connection: &Connection) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pointer)";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// Takes over what the layouts before the third had, a row for each address. As many at a time as stay small in memory.
pub(super) fn take_over(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    const TOGETHER: usize = 100_000;
    let sql =
        "SELECT domain, address, good, job, batch, place, checked_at, expires_at FROM evidence ORDER BY job, domain";
    let mut statement = transaction.prepare(sql)?;
    let mut rows = statement.query([])?;
    let (mut of, mut pointers) = (None, Vec::new());
    while let Some(row) = rows.next()? {
        let job: JobNumber = row.get(3)?;
        if pointers.len() >= TOGETHER || of != Some(job) {
            add(transaction, of.unwrap_or(job), std::mem::take(&mut pointers))?;
            of = Some(job);
        }
        let (checked_at, expires_at): (i64, i64) = (row.get(6)?, row.get(7)?);
        pointers.push(Pointer {
            key: (row.get(0)?, row.get(1)?),
            good: row.get(2)?,
            place: Place {
                batch: row.get(4)?,
                offset: row.get(5)?,
            },
            checked_at: time(checked_at.cast_unsigned()),
            keep: Duration::from_millis(expires_at.saturating_sub(checked_at).max(0).cast_unsigned()),
        });
    }
    add(transaction, of.unwrap_or_default(), pointers)?;
    drop(rows);
    drop(statement);
    Ok(transaction.execute_batch("DROP TABLE evidence")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(address: i64, good: bool, minutes: u64) -> Pointer {
        Pointer {
            key: (7, address),
            place: Place {
                batch: 3,
                offset: u32::try_from(minutes).unwrap(),
            },
            good,
            checked_at: time(minutes * 60_000),
            keep: Duration::from_hours(7 * 24),
        }
    }

    #[test]
    fn a_pointer_comes_back_and_what_is_cut_off_does_not() {
        let pointer = pointer(i64::MIN, true, 5);
        let mut bytes = Vec::new();
        pointer.write(&mut bytes);
        let whole: &[u8; POINTER] = bytes.as_slice().try_into().unwrap();
        assert_eq!(Pointer::read(whole, (7, 3)), Some(pointer));
    }

    #[test]
    fn the_newest_counts_and_a_good_one_beside_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("evidence.sql")).unwrap();
        let transaction = connection.transaction().unwrap();
        let first = vec![pointer(1, true, 1), pointer(2, false, 1), pointer(3, true, 9)];
        add(&transaction, 1, first).unwrap();
        add(
            &transaction,
            2,
            vec![pointer(1, false, 5), pointer(2, false, 5), pointer(3, true, 5)],
        )
        .unwrap();
        let known = known(&transaction, 7, |_| true).unwrap();
        let known: Vec<_> = known
            .iter()
            .map(|known| (known.address, known.job, known.place.offset))
            .collect();
        assert_eq!(known, [(1, 1, 1), (3, 1, 9), (1, 2, 5), (2, 2, 5)]);
        assert!(super::known(&transaction, 8, |_| true).unwrap().is_empty());
        let one = super::known(&transaction, 7, |address| address == 3).unwrap();
        assert_eq!(one.iter().map(|known| known.address).collect::<Vec<_>>(), [3]);
        assert_eq!(whereabouts(&transaction, 7).unwrap(), Some((2, 3)));
        let cut = "UPDATE pointer SET entries = substr(entries, 1, 60)";
        transaction.execute(cut, []).unwrap();
        assert_eq!(super::known(&transaction, 7, |_| true).unwrap().len(), 3);
    }
}
