//! A job as others than its run see it: any of its rows with what is known, without asking anybody.
//!
//! Twelve bytes for each row. While the job runs it is the run's own, so that nobody who looks on needs another.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::{
    Engine, Outcome, Sink, Summary, VerifyError,
    answers::Answers,
    list::{List, NOBODY},
    progress::Progress,
    rows::Cursor,
    run,
    writing::Writer,
};
use crate::{
    input::Row,
    store::{JobNumber, JobRecord, Kept, Lease, Place, Reading, Store},
};

/// The rows of a job and where their answers are.
pub struct View {
    job: JobNumber,
    /// The number of each row's address, or [`NOBODY`].
    rows: Vec<u32>,
    /// The first row of each block of the store.
    firsts: Vec<usize>,
    unique: u64,
    duplicates: u64,
    answers: RwLock<Answers>,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("job", &self.job).finish_non_exhaustive()
    }
}

impl View {
    /// Takes the rows of the list.
    pub(super) fn new(job: JobNumber, list: &mut List, answers: Answers) -> Self {
        Self {
            job,
            unique: list.addresses.len() as u64,
            duplicates: list.duplicates(),
            rows: std::mem::take(&mut list.rows),
            firsts: std::mem::take(&mut list.firsts),
            answers: RwLock::new(answers),
        }
    }

    pub(super) fn ids(&self) -> &[u32] {
        &self.rows
    }

    pub(super) fn answers(&self) -> RwLockReadGuard<'_, Answers> {
        self.answers.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self) -> RwLockWriteGuard<'_, Answers> {
        self.answers.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// There is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The first row from `from` on whose answer may still be another, or the number of rows.
    #[must_use]
    pub fn first_open(&self, from: usize) -> usize {
        let answers = self.answers();
        let rest = self.rows.get(from..).unwrap_or_default();
        let settled = rest.iter().take_while(|id| **id == NOBODY || answers.is_settled(**id));
        from + settled.count()
    }

    /// Reads from a row on.
    pub(super) fn cursor(&self, store: &Arc<dyn Store>, from: usize) -> Result<Cursor, VerifyError> {
        let block = self.firsts.partition_point(|first| *first <= from).saturating_sub(1);
        let mut at = self.firsts.get(block).copied().unwrap_or_default();
        let block = u32::try_from(block).unwrap_or_default();
        let (mut cursor, mut row) = (Cursor::from_block(Arc::clone(store), self.job, block), Row::default());
        while at < from && cursor.read(&mut row)? {
            at += 1;
        }
        Ok(cursor)
    }

    /// What is known, the open rows given up.
    fn settled(&self) -> Answers {
        let mut answers = self.answers().clone();
        answers.leave_open();
        answers
    }
}

impl Engine {
    /// What can be seen of a job that does not run here: its rows are read, and what was answered.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn view(&self, job: &JobRecord) -> Result<View, VerifyError> {
        let store = self.store();
        let lease = Lease::none(job);
        let mut list = run::read_back(self, &store, &lease, &Progress::default())?;
        let ledger = self.ledger(&store, lease)?;
        let mut answers = run::restored(&ledger, list.addresses.len())?;
        answers.tell(&mut list);
        Ok(View::new(job.number, &mut list, answers))
    }

    /// Some rows of a job, in order, with what is known of each.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn rows(&self, view: &View, from: usize, most: usize) -> Result<Vec<(Row, Outcome)>, VerifyError> {
        let ids: Vec<u32> = view.rows.iter().skip(from).take(most).copied().collect();
        let store = self.store();
        let mut cursor = view.cursor(&store, from)?;
        let mut kept: Vec<Option<Kept>> = Vec::new();
        kept.resize_with(ids.len(), || None);
        let place = |(index, id): (usize, &u32)| Some((view.answers().place(*id)?, index));
        let mut places: Vec<(Place, usize)> = ids.iter().enumerate().filter_map(place).collect();
        places.sort_unstable_by_key(|(place, _)| (place.batch, place.offset));
        let wanted: Vec<Place> = places.iter().map(|(place, _)| *place).collect();
        let reading = Reading {
            classifier: self.classifier.as_deref(),
            for_row: true,
        };
        let records = store.records(view.job, &wanted, reading).map_err(Arc::new)?;
        for ((_, index), record) in places.iter().zip(records) {
            if let Some(kept) = kept.get_mut(*index) {
                *kept = Some(record);
            }
        }
        let mut rows = Vec::with_capacity(ids.len());
        for (id, kept) in ids.iter().zip(kept) {
            let mut row = Row::default();
            if !cursor.read(&mut row)? {
                break;
            }
            let kept = kept.filter(|_| row.fault.is_none());
            let outcome = view.answers().outcome_of(self, &row, *id, kept);
            rows.push((row, outcome));
        }
        Ok(rows)
    }

    /// Writes every row of a job from row `from` on, counted from 0, with what is known so far; nobody is asked.
    ///
    /// # Errors
    /// Writing failed, or the store cannot be read.
    pub fn write_out(
        &self,
        (view, job): (&View, &JobRecord),
        from: usize,
        sink: &mut dyn Sink,
    ) -> Result<Summary, VerifyError> {
        let ledger = self.ledger(&self.store(), Lease::none(job))?;
        let answers = view.settled();
        let mut writer = Writer::new(self, &ledger, sink);
        writer.begin_at(view, from)?;
        while writer.advance(&view.rows, &answers)? {}
        let mut summary = writer.summary;
        (summary.unique, summary.duplicates) = (view.unique, view.duplicates);
        sink.flush()?;
        Ok(summary)
    }
}
