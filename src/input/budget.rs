//! How much compressed input may grow. Checked while unpacking, before anything is parsed.

use std::io::{self, Read};

/// How many times its size an input may unpack to. Lists of addresses reach 3 to 30, gzip goes up to 1,032 and zstd far beyond.
pub(super) const RATIO: u64 = 200;
/// Any input may unpack to this many bytes: small ones of equal rows have high ratios.
const FLOOR: u64 = 64 << 20;
/// No input may unpack to more: 100 million rows of 300 bytes.
const CEILING: u64 = 32 << 30;

/// Bytes that may still be unpacked.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    left: u64,
}

/// The budget is spent. Travels through libraries as the source of an [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it unpacks to more than {}", megabytes(*limit))]
pub(super) struct Spent {
    pub(super) limit: u64,
}

impl Budget {
    /// For an input of `packed` bytes.
    pub(super) fn of(packed: u64) -> Self {
        let limit = packed.saturating_mul(RATIO).clamp(FLOOR, CEILING);
        Self { limit, left: limit }
    }

    /// Takes `bytes` away.
    pub(super) fn spend(&mut self, bytes: usize) -> io::Result<()> {
        match self.left.checked_sub(bytes as u64) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(io::Error::other(Spent { limit: self.limit })),
        }
    }
}

/// The limit that made `error`, if it was one.
pub(super) fn spent(error: &io::Error) -> Option<Spent> {
    error.get_ref()?.downcast_ref().copied()
}

/// A limit as people read it: `64 MiB`, `32 GiB`.
pub(super) fn megabytes(bytes: u64) -> String {
    if bytes >= 1 << 30 && bytes.is_multiple_of(1 << 30) {
        format!("{} GiB", bytes >> 30)
    } else {
        format!("{} MiB", bytes >> 20)
    }
}

/// A reader that stops when the budget is spent.
pub(super) struct Metered<'a, R> {
    pub(super) inner: R,
    pub(super) budget: &'a mut Budget,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.budget.spend(read)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_a_ratio_between_a_floor_and_a_ceiling() {
        for (packed, limit) in [
            (0, 64 << 20),
            (300_000, 64 << 20),
            (1 << 20, 200 << 20),
            (1 << 30, 32 << 30),
            (u64::MAX, 32 << 30),
        ] {
            assert_eq!(Budget::of(packed).limit, limit, "{packed}");
        }
    }

    #[test]
    fn a_spent_budget_is_known_by_its_error() {
        let mut budget = Budget::of(0);
        let mut reader = Metered {
            inner: io::repeat(0),
            budget: &mut budget,
        };
        let error = io::copy(&mut reader, &mut io::sink()).unwrap_err();
        assert_eq!(spent(&error), Some(Spent { limit: 64 << 20 }));
        assert_eq!(error.to_string(), "it unpacks to more than 64 MiB");
        assert_eq!(spent(&io::Error::other("else")), None);
    }
}
