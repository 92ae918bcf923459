//! The engine: a stub that answers from the syntax alone.

use std::{
    io,
    time::{Duration, Instant, SystemTime},
};

use super::{Outcome, Progress, Settings, Source, Stop, Summary};
use crate::{
    address::Address,
    input::{InputError, Row, Table},
    lists::{self, ListHits},
    verdict::{Evidence, NotTried, Observed, judge},
};

/// Takes the answered rows, in input order.
pub trait Sink: Send {
    /// One row and what is known about its address.
    ///
    /// # Errors
    /// Writing failed; the run ends.
    fn write(&mut self, row: &Row, outcome: &Outcome) -> io::Result<()>;

    /// Called when no further row is ready, so that readers of a pipe see what is known.
    ///
    /// # Errors
    /// Writing failed; the run ends.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {}

/// A run ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The input failed.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The output failed.
    #[error("cannot write the results: {0}")]
    Output(#[from] io::Error),
}

/// Answers addresses.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
}

impl Engine {
    /// Starts what the settings need.
    ///
    /// # Errors
    /// The resolver's configuration cannot be read.
    #[expect(clippy::unused_async, reason = "the resolver's canary is asked here")]
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        Ok(Self { settings })
    }

    /// Answers one address.
    #[expect(clippy::unused_async, reason = "mail hosts are asked here")]
    pub async fn check(&self, typed: &str) -> Outcome {
        let parsed = Address::parse(typed, self.settings.rules);
        let evidence = Evidence {
            syntax: parsed.as_ref().err().cloned(),
            list: None,
            route: Observed::NotTried(NotTried::Level),
            host: None,
            answer: Observed::NotTried(NotTried::Level),
            unknown_recipients: Observed::NotTried(NotTried::Level),
            doubt: None,
            attempts: 0,
        };
        let address = parsed.ok();
        Outcome {
            typed: typed.into(),
            hits: address.as_ref().map_or_else(ListHits::default, lists::look_up),
            address,
            verdict: judge(&evidence, &self.settings.policy),
            evidence,
            retry_at: None,
            source: Source::Live,
            checked_at: SystemTime::now(),
            elapsed: Duration::ZERO,
            transcripts: Vec::new(),
        }
    }

    /// Answers every row of `table`, in order.
    ///
    /// # Errors
    /// Reading or writing failed.
    pub async fn verify(
        &self,
        mut table: Table,
        sink: &mut dyn Sink,
        progress: &Progress,
        stop: Stop,
    ) -> Result<Summary, VerifyError> {
        let started = Instant::now();
        let mut summary = Summary::default();
        while let Some(row) = table.next_row()? {
            if stop.is_requested() {
                summary.interrupted = true;
                break;
            }
            progress.row_read();
            let outcome = self.check(row.address()).await;
            summary.count(&outcome.verdict);
            progress.row_done(outcome.verdict.label);
            sink.write(&row, &outcome)?;
        }
        progress.input_ended();
        sink.flush()?;
        summary.unique = summary.rows;
        summary.elapsed = started.elapsed();
        Ok(summary)
    }
}
