//! Records of the next rows to be written. They lie all over the store, in the order in which hosts answered: here they are taken
//! out of it for as many rows as there is room for, so that it is read once or twice and not once for each handful of rows.

use std::{num::NonZeroUsize, ops::Range, thread};

use super::writing::join;
use crate::store::{Excerpt, Kept, Ledger, Offset, Place, StoreError, Understanding};

/// Bytes of records that are held.
const ROOM: usize = 64 << 20;
/// Stands for a row without a record.
const NONE: u32 = u32::MAX;

/// Records of some rows.
pub(super) struct Ahead {
    /// The first of the rows.
    from: usize,
    /// For each row the number of its record, in the order of the store.
    numbers: Vec<u32>,
    /// The records, behind the number of the first in each.
    parts: Vec<(usize, Excerpt)>,
}

impl Ahead {
    /// Rows that there may be room for: with their records 20 MB.
    const ROWS: usize = 1 << 18;

    /// How many of so many rows to take at once: equal shares, none of them larger than there is room for.
    pub(super) fn share(rows: usize) -> usize {
        rows.div_ceil(rows.div_ceil(Self::ROWS).max(1))
    }

    /// Takes the records of rows from row `from` on, half as many rows as long as they are too large.
    pub(super) fn take<I>(
        ledger: &Ledger,
        (from, rows): (usize, &[I]),
        place: &dyn Fn(&I) -> Option<Place>,
    ) -> Result<Self, StoreError> {
        let mut count = rows.len();
        loop {
            let rows = rows.get(..count).unwrap_or_default();
            let mut places: Vec<(Place, u32)> = (0..)
                .zip(rows)
                .filter_map(|(index, row)| Some((place(row)?, index)))
                .collect();
            // A single row has room, however large it is.
            let room = if count == 1 { usize::MAX } else { ROOM };
            if let Some(parts) = parts(ledger, &mut places, room)? {
                let mut numbers = vec![NONE; rows.len()];
                for (number, (_, index)) in (0..).zip(&places) {
                    if let Some(known) = numbers.get_mut(*index as usize) {
                        *known = number;
                    }
                }
                return Ok(Self { from, numbers, parts });
            }
            count = count.div_ceil(2);
        }
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> usize {
        self.numbers.len()
    }

    /// The row behind the last one.
    pub(super) fn end(&self) -> usize {
        self.from + self.numbers.len()
    }

    pub(super) fn has(&self, row: usize) -> bool {
        (self.from..self.end()).contains(&row)
    }

    /// The record of a row, if it has one.
    pub(super) fn record(&self, row: usize, understanding: &mut Understanding<'_>) -> Result<Option<Kept>, StoreError> {
        let Some((part, number)) = self.place(row) else {
            return Ok(None);
        };
        part.read(number, understanding).map(Some)
    }

    /// Looks at the records of rows that are written next.
    pub(super) fn expect(&self, rows: Range<usize>) {
        for (part, number) in rows.filter_map(|row| self.place(row)) {
            part.expect(number);
        }
    }

    fn place(&self, row: usize) -> Option<(&Excerpt, usize)> {
        let number = self.numbers.get(row.checked_sub(self.from)?)?;
        let number = Some(*number).filter(|number| *number != NONE)? as usize;
        let part = self.parts.partition_point(|(first, _)| *first <= number);
        let (first, part) = self.parts.get(part.checked_sub(1)?)?;
        Some((part, number - first))
    }
}

/// The records at `places`, a part for each core, and `places` in their order; `None` if there is no room.
fn parts(
    ledger: &Ledger,
    places: &mut [(Place, u32)],
    room: usize,
) -> Result<Option<Vec<(usize, Excerpt)>>, StoreError> {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let (share, room) = (places.len().div_ceil(cores).max(1), room / cores);
    for end in (share..places.len()).step_by(share) {
        let rest = places.get_mut(end - share..).unwrap_or_default();
        rest.select_nth_unstable_by_key(share, in_store);
    }
    let take = |places: &mut [(Place, u32)]| {
        places.sort_unstable_by_key(in_store);
        let places: Vec<Place> = places.iter().map(|(place, _)| *place).collect();
        ledger.store().excerpt(ledger.job(), &places, room)
    };
    let parts: Vec<_> = thread::scope(|scope| {
        let take = &take;
        let threads = places.chunks_mut(share).map(|places| scope.spawn(move || take(places)));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(join).collect()
    });
    let parts = parts.into_iter().collect::<Result<Option<Vec<_>>, _>>()?;
    Ok(parts.map(|parts| (0..).step_by(share).zip(parts).collect()))
}

/// The order of the store.
fn in_store((place, _): &(Place, u32)) -> (u32, Offset) {
    (place.batch, place.offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_taken_in_equal_shares_none_of_them_too_large() {
        for rows in [1, 16_384, Ahead::ROWS, Ahead::ROWS + 1, 1_000_000, 10_000_000] {
            let share = Ahead::share(rows);
            let (passes, fewest) = (rows.div_ceil(share), rows.div_ceil(Ahead::ROWS));
            assert!(share <= Ahead::ROWS && passes == fewest, "{rows}: {share}");
            let rest = rows - (passes - 1) * share;
            assert!(share - rest < passes, "{rows}: {share}, and {rest} are left");
        }
        assert_eq!(Ahead::share(0), 0);
    }
}
