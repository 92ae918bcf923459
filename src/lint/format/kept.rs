//! Findings kept for a report that has room for so many only: of each severity the first ones, the worst first.

use super::{super::Shown, Summary};
use crate::lint::Severity;

/// The kept ones.
#[derive(Debug)]
pub(super) struct Kept {
    most: usize,
    by_severity: [Vec<Shown>; 3],
}

impl Kept {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            by_severity: [const { Vec::new() }; 3],
        }
    }

    pub(super) fn add(&mut self, shown: &Shown) {
        if let Some(kept) = self.by_severity.get_mut(shown.severity as usize)
            && kept.len() < self.most
        {
            kept.push(shown.clone());
        }
    }

    /// Those of one severity.
    pub(super) fn of(&self, severity: Severity) -> &[Shown] {
        self.by_severity.get(severity as usize).map_or(&[], Vec::as_slice)
    }

    /// As many as there is room for, the worst first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Shown> {
        self.by_severity.iter().flatten().take(self.most)
    }

    /// What is not among [`Self::all`]; nothing if that is nothing.
    pub(super) fn cut(&self, summary: &Summary<'_>) -> Option<String> {
        let shown = self.all().count() as u64;
        let all = summary.tally.findings();
        (shown < all).then(|| {
            format!(
                "{} of {all} findings are not shown here; `--output jsonl` has them all",
                all - shown
            )
        })
    }
}
