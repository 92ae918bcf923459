//! Reads everything that past mailings left behind: messages, mailboxes, folders, exports, logs. In order, bounded, on as many
//! threads as help.
//!
//! Must not keep events: whoever imports takes them one step after the other.

mod files;
mod mailbox;
mod objects;

use std::{
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

pub use files::Format;
pub use mailbox::{Message, Messages};

use self::files::{Lines, Opened};
use super::{
    event::Event,
    log::{Calendar, Exim, Postfix},
    report::{self, Form, Other, Reading},
    service,
    table::{Columns, Mapping},
};
use crate::input::{Cells, InputOptions, Table};

/// Messages that one thread takes at once.
const TOGETHER: usize = 64;
/// Bytes of messages that one thread takes at once, but for the last.
const BYTES: usize = 512 << 10;
/// Batches that wait for a thread.
const WAITING: usize = 2;
/// Threads beyond which reading is the limit.
const THREADS: usize = 4;
/// Steps of rows and lines that are handed on together.
const STEPS: usize = 512;
/// Longest line of a log or of NDJSON.
const LINE: usize = 1 << 20;

/// What the operator said about the files.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What every file holds; `None` finds out.
    pub format: Option<Format>,
    /// Which columns hold what.
    pub mapping: Mapping,
    /// The year of log lines that have none.
    pub year: Option<i64>,
    /// Seconds that the local time of logs is ahead of UTC.
    pub offset: i64,
}

/// One thing that was read.
#[derive(Debug)]
pub struct Step {
    /// The file.
    pub file: Arc<str>,
    /// The message of a mailbox, or the line; 0 for the file as a whole.
    pub place: u64,
    /// What it was.
    pub what: What,
}

/// What one step of reading came to.
#[derive(Debug)]
pub enum What {
    /// A file was opened, and is this.
    File(Format),
    /// A record told of recipients.
    Events(Told, Vec<Event>),
    /// A message told of none.
    Other(Other),
    /// A record of an export told nothing about delivery.
    Ignored,
    /// A record, or a file, that cannot be read.
    Fault(Box<str>),
}

/// Who told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Told {
    /// A message.
    Message(Form),
    /// A log.
    Log,
    /// A service.
    Service,
    /// A table.
    Table,
}

/// Reads `paths` in their order and hands every step to `take`, in the order of the files; ends early when that says so.
///
/// # Errors
/// Whatever `take` says.
pub fn read<E>(paths: &[PathBuf], options: &Options, mut take: impl FnMut(Step) -> Result<(), E>) -> Result<(), E> {
    let threads = thread::available_parallelism().map_or(2, usize::from).clamp(1, THREADS);
    thread::scope(|scope| {
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for _ in 0..threads {
            let (send, receive) = sync_channel::<Vec<Task>>(WAITING);
            let (told, tell) = sync_channel::<Vec<Step>>(WAITING);
            inputs.push(send);
            outputs.push(tell);
            scope.spawn(move || work(&receive, &told));
        }
        scope.spawn(move || Feeder::new(inputs, options).feed(paths));
        // Batches were dealt out in turn, so they come back in turn.
        for output in outputs.iter().cycle() {
            let Ok(steps) = output.recv() else {
                break;
            };
            for step in steps {
                take(step)?;
            }
        }
        Ok(())
    })
}

/// One part of what a thread has to do.
enum Task {
    Message(Arc<str>, Message),
    Done(Step),
}

fn work(batches: &Receiver<Vec<Task>>, told: &SyncSender<Vec<Step>>) {
    while let Ok(batch) = batches.recv() {
        let steps = batch.into_iter().map(done).collect();
        if told.send(steps).is_err() {
            return;
        }
    }
}

fn done(task: Task) -> Step {
    match task {
        Task::Done(step) => step,
        Task::Message(file, message) => Step {
            file,
            place: message.number,
            what: match report::read(&message.bytes, message.received) {
                Reading::Events(form, events) => What::Events(Told::Message(form), events),
                Reading::Other(other) => What::Other(other),
            },
        },
    }
}

/// Nobody takes any more.
struct Stopped;

/// Reads files and deals what is in them out to the threads.
struct Feeder<'o> {
    inputs: Vec<SyncSender<Vec<Task>>>,
    next: usize,
    options: &'o Options,
    file: Arc<str>,
    batch: Vec<Task>,
    bytes: usize,
}

impl<'o> Feeder<'o> {
    fn new(inputs: Vec<SyncSender<Vec<Task>>>, options: &'o Options) -> Self {
        Self {
            inputs,
            next: 0,
            options,
            file: "".into(),
            batch: Vec::new(),
            bytes: 0,
        }
    }

    fn feed(mut self, paths: &[PathBuf]) {
        for path in paths {
            let goes_on = if path.as_os_str() == "-" {
                self.path(path, Ok(()))
            } else {
                files::walk(path, &mut |path, found| self.path(path, found))
            };
            if !goes_on {
                return;
            }
        }
        let _ = self.flush();
    }

    fn path(&mut self, path: &Path, found: io::Result<()>) -> bool {
        self.file = files::shown(path);
        let read = || -> Result<(Opened, Format), String> {
            found.map_err(|error| format!("cannot be read: {error}"))?;
            let opened = files::open(path, &path.display().to_string())?;
            let format = match self.options.format {
                Some(format) => format,
                None => files::detect(&opened.sample, path)?,
            };
            Ok((opened, format))
        };
        let ended = match read() {
            Ok((opened, format)) => self
                .step(0, What::File(format))
                .and_then(|()| self.open(path, opened, format)),
            Err(fault) => self.step(0, What::Fault(fault.into())),
        };
        ended.is_ok()
    }

    fn open(&mut self, path: &Path, opened: Opened, format: Format) -> Result<(), Stopped> {
        let calendar = Calendar {
            written: opened.written,
            year: self.options.year,
            offset: self.options.offset,
        };
        let ended = match format {
            Format::Mail | Format::Mbox => self.messages(opened, format == Format::Mbox),
            Format::Postfix => {
                let mut log = Postfix::new(calendar);
                self.log(opened, |line| log.line(line))
            }
            Format::Exim => {
                let mut log = Exim::new(calendar);
                self.log(opened, |line| log.line(line).map(|event| event.into_iter().collect()))
            }
            Format::Json => self.json(opened),
            Format::Csv => self.csv(path, opened),
        };
        match ended {
            Ok(done) => done,
            Err(error) => self.step(0, What::Fault(format!("cannot be read to its end: {error}").into())),
        }
    }

    fn messages(&mut self, opened: Opened, mbox: bool) -> io::Result<Result<(), Stopped>> {
        let mut messages = Messages::new(BufReader::with_capacity(256 << 10, opened.file), mbox);
        while let Some(message) = messages.next_message()? {
            if let Err(stopped) = self.message(message) {
                return Ok(Err(stopped));
            }
        }
        Ok(Ok(()))
    }

    fn message(&mut self, message: Message) -> Result<(), Stopped> {
        // A message weighs more than a step, however short it is.
        self.bytes += message.bytes.len() + BYTES / TOGETHER / 8;
        self.batch.push(Task::Message(Arc::clone(&self.file), message));
        if self.bytes >= BYTES { self.flush() } else { Ok(()) }
    }

    fn log<E: Into<Box<str>>>(
        &mut self,
        opened: Opened,
        mut read: impl FnMut(&str) -> Result<Vec<Event>, E>,
    ) -> io::Result<Result<(), Stopped>> {
        let mut lines = Lines::new(opened.file, LINE);
        loop {
            let what = match lines.next_line()? {
                None => return Ok(Ok(())),
                Some(Err(())) => Some(What::Fault("the line is longer than 1 MiB".into())),
                Some(Ok(line)) => match read(&String::from_utf8_lossy(line)) {
                    Ok(events) if events.is_empty() => None,
                    Ok(events) => Some(What::Events(Told::Log, events)),
                    Err(fault) => Some(What::Fault(fault.into())),
                },
            };
            if let Some(what) = what
                && let Err(stopped) = self.step(lines.number, what)
            {
                return Ok(Err(stopped));
            }
        }
    }

    fn json(&mut self, opened: Opened) -> io::Result<Result<(), Stopped>> {
        let mut reader = Objects::default();
        let first = opened
            .sample
            .split(|byte| *byte == b'\n')
            .find(|line| !line.trim_ascii().is_empty());
        let first = first
            .map(|line| line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line))
            .unwrap_or_default();
        let whole = opened.sample.contains(&b'\n');
        let by_line = whole && matches!(serde_json::from_slice(first), Ok(serde_json::Value::Object(_)));
        if by_line {
            let mut lines = Lines::new(opened.file, LINE);
            while let Some(line) = lines.next_line()? {
                let steps = match line {
                    Ok(line) => reader.read(
                        line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line),
                        &self.options.mapping,
                    ),
                    Err(()) => vec![What::Fault("the line is longer than 1 MiB".into())],
                };
                for what in steps {
                    if let Err(stopped) = self.step(lines.number, what) {
                        return Ok(Err(stopped));
                    }
                }
            }
            return Ok(Ok(()));
        }
        let mut objects = objects::Objects::new(BufReader::with_capacity(64 << 10, opened.file));
        while let Some(found) = objects.next_object()? {
            let (line, steps) = match found {
                objects::Found::Object { line, bytes } => (line, reader.read(bytes, &self.options.mapping)),
                objects::Found::TooLarge { line } => (
                    line,
                    vec![What::Fault(
                        "the object is larger than 8 MiB; export one object a line".into(),
                    )],
                ),
                objects::Found::Cut { line } => (line, vec![What::Fault("the file ends inside an object".into())]),
            };
            for what in steps {
                if let Err(stopped) = self.step(line, what) {
                    return Ok(Err(stopped));
                }
            }
        }
        Ok(Ok(()))
    }

    fn csv(&mut self, path: &Path, opened: Opened) -> io::Result<Result<(), Stopped>> {
        let options = InputOptions {
            column: self.options.mapping.recipient().map(str::to_owned),
            header: Some(true),
            ..InputOptions::default()
        };
        let fault = |fault: String| What::Fault(fault.into());
        let mut file = opened.file;
        let name = path.display().to_string();
        let mut table = match Table::from_reader(&mut file, &name, &options) {
            Ok(table) => table,
            Err(error) => return Ok(self.step(0, fault(error.to_string()))),
        };
        let columns = match Columns::find(&table.layout().columns, &self.options.mapping) {
            Ok(columns) if columns.tell_something() => columns,
            Ok(_) => {
                return Ok(self.step(
                    0,
                    fault(
                        "no column tells what happened; name one with `--map event=COLUMN` or `--map reply=COLUMN`"
                            .to_owned(),
                    ),
                ));
            }
            Err(error) => return Ok(self.step(0, fault(error.to_string()))),
        };
        let mut row = crate::input::Row::default();
        loop {
            match table.read_row(&mut row) {
                Ok(true) => {}
                Ok(false) => return Ok(Ok(())),
                Err(error) => return Ok(self.step(0, fault(error.to_string()))),
            }
            let what = match (&row.fault, &row.cells) {
                (Some(problem), _) => fault(problem.message.to_string()),
                (None, Cells::Record { record, .. }) => match columns.event(|index| record.get(index)) {
                    Ok(Some(event)) => What::Events(Told::Table, vec![event]),
                    Ok(None) => What::Ignored,
                    Err(problem) => fault(problem),
                },
                (None, Cells::Object { .. }) => fault("the row is an object".to_owned()),
            };
            if let Err(stopped) = self.step(row.line, what) {
                return Ok(Err(stopped));
            }
        }
    }

    fn step(&mut self, place: u64, what: What) -> Result<(), Stopped> {
        self.batch.push(Task::Done(Step {
            file: Arc::clone(&self.file),
            place,
            what,
        }));
        if self.batch.len() >= STEPS {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), Stopped> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let input = self.inputs.get(self.next).ok_or(Stopped)?;
        input.send(std::mem::take(&mut self.batch)).map_err(|_| Stopped)?;
        self.next = (self.next + 1) % self.inputs.len();
        Ok(())
    }
}

/// Reads objects: of a service that is known, or by their members.
#[derive(Default)]
struct Objects {
    /// The columns of the last object without a service, with their names.
    columns: Option<(Vec<String>, Columns)>,
}

impl Objects {
    fn read(&mut self, bytes: &[u8], mapping: &Mapping) -> Vec<What> {
        let bytes = bytes.trim_ascii();
        if bytes.is_empty() {
            return Vec::new();
        }
        let value: serde_json::Value = match serde_json::from_slice(bytes) {
            Ok(value) => value,
            Err(error) => return vec![What::Fault(format!("is no JSON: {error}").into())],
        };
        if let Some(given) = service::read(&value) {
            let mut all: Vec<What> = given
                .faults
                .into_iter()
                .map(|fault| What::Fault(fault.into()))
                .collect();
            if !given.events.is_empty() {
                all.push(What::Events(Told::Service, given.events));
            }
            all.extend((0..given.others.min(1)).map(|_| What::Ignored));
            return all;
        }
        let serde_json::Value::Object(object) = value else {
            return vec![What::Fault("is no object".into())];
        };
        vec![self.generic(&object, mapping)]
    }

    fn generic(&mut self, object: &serde_json::Map<String, serde_json::Value>, mapping: &Mapping) -> What {
        let same = |names: &[String]| {
            names.len() == object.len() && names.iter().zip(object.keys()).all(|(name, key)| name == key)
        };
        if self.columns.as_ref().is_none_or(|(names, _)| !same(names)) {
            let names: Vec<String> = object.keys().cloned().collect();
            match Columns::find(&names, mapping) {
                Ok(columns) => self.columns = Some((names, columns)),
                Err(error) => return What::Fault(error.to_string().into()),
            }
        }
        let Some((_, columns)) = &self.columns else {
            return What::Ignored;
        };
        let words: Vec<Option<String>> = object
            .values()
            .map(|value| match value {
                serde_json::Value::String(text) => Some(text.clone()),
                serde_json::Value::Number(number) => Some(number.to_string()),
                serde_json::Value::Null
                | serde_json::Value::Bool(_)
                | serde_json::Value::Array(_)
                | serde_json::Value::Object(_) => None,
            })
            .collect();
        match columns.event(|index| words.get(index)?.as_deref()) {
            Ok(Some(event)) => What::Events(Told::Table, vec![event]),
            Ok(None) => What::Ignored,
            Err(fault) => What::Fault(fault.into()),
        }
    }
}
