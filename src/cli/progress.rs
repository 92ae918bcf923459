//! Progress on standard error: a bar on a terminal, a line now and then elsewhere.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    sync::Arc,
    time::{Duration, SystemTime},
};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::{args::When, fault::note, paint::grouped};
use crate::{
    job::{Progress, Snapshot},
    output::Target,
    verdict::Label,
};

/// How often a bar moves.
const TICK: Duration = Duration::from_millis(100);
/// How often a line appears where there is no terminal.
const LINE: Duration = Duration::from_secs(10);

/// Where progress is shown.
#[derive(Debug, Clone)]
pub(super) enum Display {
    /// Nowhere.
    None,
    /// Lines on standard error.
    Lines,
    /// A bar on standard error; rows on the same terminal are written above it.
    Bar { bar: ProgressBar, rows_on_terminal: bool },
}

impl Display {
    pub(super) fn new(when: When, quiet: bool, rows_to_stdout: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        match when {
            When::Never => Self::None,
            When::Auto if quiet || !terminal => Self::None,
            When::Auto | When::Always if terminal => {
                let bar = ProgressBar::new(1);
                bar.set_style(style());
                Self::Bar {
                    bar,
                    rows_on_terminal: rows_to_stdout && io::stdout().is_terminal(),
                }
            }
            When::Auto | When::Always => Self::Lines,
        }
    }

    /// Standard output, kept apart from the bar when both are on the terminal.
    pub(super) fn stdout(&self) -> Target {
        match self {
            Self::Bar {
                bar,
                rows_on_terminal: true,
            } => Target::new(Above { bar: bar.clone() }, true),
            Self::Bar { .. } | Self::Lines | Self::None => Target::stdout(),
        }
    }

    /// Follows a run until it is aborted.
    pub(super) fn watch(&self, progress: Arc<Progress>) -> Option<tokio::task::JoinHandle<()>> {
        match self.clone() {
            Self::None => None,
            Self::Lines => Some(tokio::spawn(async move {
                loop {
                    tokio::time::sleep(LINE).await;
                    let now = progress.snapshot();
                    let (done, read) = (grouped(now.rows_done), grouped(now.rows_read));
                    note(&format!("{done}/{read} rows  {}", message(&now)));
                }
            })),
            Self::Bar { bar, .. } => Some(tokio::spawn(async move {
                loop {
                    tokio::time::sleep(TICK).await;
                    let now = progress.snapshot();
                    // A bar of nothing would be drawn full.
                    bar.set_length(now.rows_read.max(1));
                    bar.set_position(now.rows_done);
                    bar.set_message(message(&now));
                }
            })),
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Self::Bar { bar, .. } = self {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:24} {human_pos}/{human_len}  {rate}  {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{:.0}/s", state.per_sec());
        })
}

fn message(now: &Snapshot) -> String {
    let labels: Vec<String> = Label::ALL
        .iter()
        .zip(now.labels)
        .filter(|(_, count)| *count > 0)
        .map(|(label, count)| format!("{} {}", grouped(count), label.name()))
        .collect();
    let mut text = labels.join(", ");
    let waiting = now.waiting.text();
    if !waiting.is_empty() {
        let _ = write!(text, "  {}", crate::output::clean(&waiting, 120));
    }
    // Whole seconds: more would flicker.
    let left = now.waiting.last.as_ref();
    let left = left.and_then(|last| last.done_at.duration_since(SystemTime::now()).ok());
    if let Some(seconds) = left.map(|left| left.as_secs()).filter(|seconds| *seconds > 0) {
        let _ = write!(
            text,
            "  {} left",
            humantime::format_duration(Duration::from_secs(seconds))
        );
    }
    text
}

/// Writes rows above the bar.
struct Above {
    bar: ProgressBar,
}

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bar.suspend(|| {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
