//! Rendering on many threads, writing in order on one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    ACTIONS, Format, Only, Options, Target, TargetError,
    csv::Csv,
    json::{Json, Ndjson},
    table::Table,
    workbook::{Book, Xlsx},
};
use crate::{
    input::{Layout, Row},
    job::{Outcome, Sink},
};

/// Bytes that are gathered before a write: larger gains nothing, smaller costs a system call a few rows.
const GATHER: usize = 128 * 1024;
/// How long a row may wait in memory for others, so that a reader of a pipe sees a slow run move.
const PATIENCE: Duration = Duration::from_millis(200);

/// A format. Pure: the same row gives the same bytes on any thread.
pub trait Render: Send + Sync + std::fmt::Debug {
    /// What stands before the first row.
    fn header(&self, out: &mut Vec<u8>);
    /// One row, [`Render::separator`] in front of it.
    fn row(&self, row: &Row, outcome: &Outcome, out: &mut Vec<u8>);
    /// What stands after the last row.
    fn footer(&self, out: &mut Vec<u8>) {
        let _ = out;
    }
    /// What stands between rows; cut from the first one.
    fn separator(&self) -> &'static [u8] {
        b""
    }
}

/// Renders rows into chunks; shared between threads.
#[derive(Debug)]
pub struct Renderer {
    render: Box<dyn Render>,
    only: Vec<Only>,
    split: bool,
}

/// Rows rendered one after the other: one part, or one for each action when the output is split.
#[derive(Debug, Default)]
pub struct Chunk {
    parts: [Vec<u8>; 3],
}

impl Chunk {
    /// Rendered bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(Vec::len).sum()
    }

    /// Nothing was rendered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was rendered; of a split output what is to be sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.parts.first().map_or(&[], Vec::as_slice)
    }

    /// Forgets the rows and keeps the memory.
    pub fn clear(&mut self) {
        self.parts.iter_mut().for_each(Vec::clear);
    }
}

impl Renderer {
    /// A renderer for rows of `layout`.
    #[must_use]
    pub fn new(layout: &Layout, options: &Options, split: bool) -> Self {
        let render: Box<dyn Render> = match options.format {
            Format::Csv => Box::new(Csv::new(layout, options.raw, options.detail.privacy)),
            Format::Ndjson => Box::new(Ndjson::new(layout, options.detail)),
            Format::Json => Box::new(Json(Ndjson::new(layout, options.detail))),
            Format::Table => Box::new(Table::new(options.terminal, options.detail.privacy)),
            Format::Xlsx => Box::new(Xlsx::new(layout, options.detail.privacy)),
        };
        Self {
            render,
            only: options.only.clone(),
            split,
        }
    }

    /// One that writes nothing, for those who only count.
    #[must_use]
    pub fn silent() -> Self {
        Self {
            render: Box::new(Silent),
            only: Vec::new(),
            split: false,
        }
    }

    /// Appends one row, if it is wanted.
    pub fn row(&self, row: &Row, outcome: &Outcome, chunk: &mut Chunk) {
        let verdict = &outcome.verdict;
        if !self.only.is_empty() && !self.only.iter().any(|only| only.takes(verdict.label, verdict.action)) {
            return;
        }
        let part = if self.split {
            ACTIONS.iter().position(|action| *action == verdict.action)
        } else {
            Some(0)
        };
        if let Some(out) = part.and_then(|part| chunk.parts.get_mut(part)) {
            self.render.row(row, outcome, out);
        }
    }
}

/// Writes nothing.
#[derive(Debug)]
struct Silent;

impl Render for Silent {
    fn header(&self, _out: &mut Vec<u8>) {}

    fn row(&self, _row: &Row, _outcome: &Outcome, _out: &mut Vec<u8>) {}
}

/// One target, or one for each action.
#[derive(Debug)]
struct Destination {
    target: Target,
    /// The workbook that rows go into, for [`Format::Xlsx`]; the target gets it when it is finished.
    book: Option<Book>,
    /// The header was written; it waits for the first row, so that a run that cannot start leaves nothing behind.
    begun: bool,
}

impl Destination {
    fn begin(&mut self, render: &dyn Render) -> io::Result<()> {
        if !self.begun {
            let mut header = Vec::new();
            render.header(&mut header);
            match &mut self.book {
                Some(book) => book.begin(header)?,
                None => self.target.write(&header)?,
            }
            self.begun = true;
        }
        Ok(())
    }

    fn write(&mut self, rendered: &[u8]) -> io::Result<()> {
        match &mut self.book {
            Some(book) => book.write(rendered),
            None => self.target.write(rendered),
        }
    }

    /// Writes what stands after the last row and puts a file in its place; returns where it is.
    fn finish(mut self, footer: &[u8]) -> io::Result<Result<Option<PathBuf>, TargetError>> {
        match self.book.take() {
            Some(book) => book.save(&mut self.target)?,
            None => self.target.write(footer)?,
        }
        Ok(self.target.finish())
    }
}

/// The open output. Rows arrive in order, one by one ([`Sink`]) or as chunks rendered elsewhere ([`Output::append`]).
#[derive(Debug)]
pub struct Output {
    /// For messages.
    name: PathBuf,
    renderer: Arc<Renderer>,
    targets: Vec<Destination>,
    chunk: Chunk,
    written: Instant,
}

impl Output {
    /// Everything to one target.
    #[must_use]
    pub fn single(layout: &Layout, options: &Options, target: Target) -> Self {
        let name = target.path().unwrap_or(Path::new("standard output")).to_owned();
        Self::new(
            name,
            Renderer::new(layout, options, false),
            vec![target],
            options.format,
        )
    }

    /// One file for each action in `folder`, which is made if it is missing: `send.csv`, `hold.csv`, `drop.csv`.
    ///
    /// # Errors
    /// The folder or a file cannot be written.
    pub fn split(layout: &Layout, options: &Options, folder: &Path) -> Result<Self, TargetError> {
        let fail = |source| TargetError {
            path: folder.to_owned(),
            source,
        };
        fs::create_dir_all(folder).map_err(fail)?;
        let name = |action: crate::verdict::Action| format!("{}.{}", action.name(), options.format.name());
        let targets: Result<Vec<Target>, TargetError> = ACTIONS
            .iter()
            .map(|action| Target::file(&folder.join(name(*action))))
            .collect();
        Ok(Self::new(
            folder.to_owned(),
            Renderer::new(layout, options, true),
            targets?,
            options.format,
        ))
    }

    fn new(name: PathBuf, renderer: Renderer, targets: Vec<Target>, format: Format) -> Self {
        Self {
            name,
            renderer: Arc::new(renderer),
            targets: targets
                .into_iter()
                .map(|target| Destination {
                    target,
                    book: (format == Format::Xlsx).then(Book::new),
                    begun: false,
                })
                .collect(),
            chunk: Chunk::default(),
            written: Instant::now(),
        }
    }

    /// The renderer, for threads that fill chunks.
    #[must_use]
    pub fn renderer(&self) -> Arc<Renderer> {
        Arc::clone(&self.renderer)
    }

    /// Writes a chunk that was filled by this output's renderer.
    ///
    /// # Errors
    /// Writing failed.
    pub fn append(&mut self, chunk: &Chunk) -> io::Result<()> {
        let render = self.renderer.render.as_ref();
        for (destination, part) in self.targets.iter_mut().zip(&chunk.parts) {
            if part.is_empty() {
                continue;
            }
            let first = !destination.begun;
            destination.begin(render)?;
            let skip = if first { render.separator().len() } else { 0 };
            destination.write(part.get(skip..).unwrap_or_default())?;
        }
        self.written = Instant::now();
        Ok(())
    }

    fn failed(&self, source: io::Error) -> TargetError {
        TargetError {
            path: self.name.clone(),
            source,
        }
    }

    /// Writes what is left and puts files in their places; returns where they are.
    ///
    /// # Errors
    /// Writing or renaming failed.
    pub fn finish(mut self) -> Result<Vec<PathBuf>, TargetError> {
        Sink::flush(&mut self).map_err(|source| self.failed(source))?;
        let mut footer = Vec::new();
        self.renderer.render.footer(&mut footer);
        let mut files = Vec::new();
        for mut destination in std::mem::take(&mut self.targets) {
            let finished = destination
                .begin(self.renderer.render.as_ref())
                .and_then(|()| destination.finish(&footer));
            files.extend(finished.map_err(|source| self.failed(source))??);
        }
        Ok(files)
    }
}

impl Sink for Output {
    fn write(&mut self, row: &Row, outcome: &Outcome) -> io::Result<()> {
        self.renderer.row(row, outcome, &mut self.chunk);
        let interactive = self.targets.first().is_some_and(|first| first.target.is_interactive());
        if interactive || self.chunk.len() >= GATHER || self.written.elapsed() >= PATIENCE {
            Sink::flush(self)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut chunk = std::mem::take(&mut self.chunk);
        let result = self.append(&chunk);
        chunk.clear();
        self.chunk = chunk;
        result
    }

    fn renderer(&self) -> Option<Arc<Renderer>> {
        Some(Self::renderer(self))
    }

    fn append(&mut self, chunk: &Chunk) -> io::Result<()> {
        Self::append(self, chunk)
    }
}
