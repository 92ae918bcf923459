//! `presend verify`: a list from start to finish.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::ArgMatches;
use tokio::runtime::Runtime;

use super::{
    Exit,
    args::{DisplayArgs, FormatName, InputFormatName, LayoutArgs, ResultArgs, VerifyArgs},
    database, dry_run,
    fault::{fault, hint, note},
    paint::{self, DIM, paint},
    progress::Display,
    settings::{Profile, Resolved},
    signal::Signals,
    summary,
};
use crate::{
    input::{InputFormat, InputOptions, Layout, Packing, Table},
    job::{self, Engine, Progress, Stop, Summary},
    output::{Detail, Format, Options, Output, Privacy, Target},
    store::{JobRecord, SqliteStore},
    suppress::Mailing,
};

pub(super) fn run(args: &VerifyArgs, matches: &ArgMatches) -> anyhow::Result<Exit> {
    let resolved = Resolved::new(&args.overlay, matches, &args.config, Profile::Bulk)?;
    let settings = resolved.to_settings(args.results.transcript)?;
    let inputs = inputs(&args.inputs)?;
    let table = Table::open_all(&inputs, &input_options(&args.layout))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if args.dry_run {
        return dry_run::run(args, &resolved, settings, table, &runtime);
    }
    // From the first words on an interruption is polite; before them there is nothing to be polite about.
    let signals = Signals::listen_on(&runtime);
    let quiet = args.display.quiet;
    if !quiet {
        say_understood(&table);
    }
    let missing = resolved.identity_hint();
    if let Some(missing) = &missing {
        hint(missing);
    }
    let shape = &args.results;
    let display = shape.display(&args.display);
    let output = shape.open(table.layout(), &display)?;
    let store = match settings.level {
        // Nothing is asked, so nothing can be lost: the same command again is faster than any job.
        // What the suppression list says costs no question, and is looked up all the same.
        job::Level::Syntax => database::open_to_look_up(&resolved)?,
        job::Level::Dns | job::Level::Smtp => database::open_for_run(&resolved)?,
    };
    let job = Job {
        settings,
        store,
        mailing: resolved.mailing(),
        work: JobWork::List(Box::new(table)),
        output,
        display,
        signals,
        until: args.until.map(|until| until.0),
    };
    let (summary, files) = job.finish_on(runtime)?;
    if !quiet {
        report(&summary, &files, shape, (&inputs, args.display.verbose));
    }
    let exit = exit(&summary);
    let asked_in_vain = missing.is_some() && resolved.smtp_was_asked_for();
    Ok(if exit == Exit::Done && asked_in_vain {
        Exit::Incomplete
    } else {
        exit
    })
}

/// What people hear at the end.
pub(super) fn report(summary: &Summary, files: &[PathBuf], shape: &ResultArgs, (inputs, verbose): (&[PathBuf], bool)) {
    for file in files {
        note(&paint(DIM, format!("wrote {}", file.display())));
    }
    let next = summary::Next {
        inputs,
        written: !files.is_empty(),
        split: shape.split.as_deref(),
    };
    let run = summary::Run {
        verbose,
        next: Some(next),
    };
    note(&summary::text(summary, &run));
}

/// What a job works on.
pub(super) enum JobWork {
    /// A list that was opened.
    List(Box<Table>),
    /// A job that was begun.
    Begun(Box<JobRecord>),
}

/// One run, ready to start.
pub(super) struct Job {
    pub(super) settings: job::Settings,
    /// Where the job is kept; a private place without it.
    pub(super) store: Option<Arc<SqliteStore>>,
    /// For whose mail one looks.
    pub(super) mailing: Mailing,
    pub(super) work: JobWork,
    pub(super) output: Output,
    pub(super) display: Display,
    pub(super) signals: Signals,
    /// How long it may ask.
    pub(super) until: Option<Duration>,
}

impl Job {
    /// Runs on `runtime` and ends it.
    pub(super) fn finish_on(self, runtime: Runtime) -> anyhow::Result<(Summary, Vec<PathBuf>)> {
        // On a worker, because the others wake it often: a thread of its own would be woken by the kernel each time.
        let result = match runtime.block_on(runtime.spawn(self.run())) {
            Ok(result) => result,
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        };
        // Sessions that do not end must not hold up the prompt.
        runtime.shutdown_background();
        result
    }

    /// Runs to the end, or until somebody interrupts; writes what is known either way.
    pub(super) async fn run(mut self) -> anyhow::Result<(Summary, Vec<PathBuf>)> {
        let stop = Stop::new();
        let progress = Arc::new(Progress::default());
        let signals = tokio::spawn(self.signals.stop_then_exit(stop.clone()));
        let out_of_time = Arc::new(AtomicBool::new(false));
        let timer = self.until.map(|left| {
            let (out_of_time, stop) = (Arc::clone(&out_of_time), stop.clone());
            tokio::spawn(async move {
                tokio::time::sleep(left).await;
                if !stop.is_requested() {
                    out_of_time.store(true, Ordering::Relaxed);
                    stop.request();
                }
            })
        });
        let watch = self.display.watch(Arc::clone(&progress));
        let engine = database::attach(Engine::start(self.settings).await?, self.store, self.mailing)?;
        let result = match self.work {
            JobWork::List(table) => engine.verify(*table, &mut self.output, &progress, stop).await,
            JobWork::Begun(job) => engine.resume(&job, &mut self.output, &progress, stop).await,
        };
        if let Some(timer) = timer {
            timer.abort();
        }
        if let Some(watch) = watch {
            watch.abort();
        }
        self.display.finish();
        signals.abort();
        let mut summary = result?;
        if out_of_time.load(Ordering::Relaxed) {
            (summary.interrupted, summary.out_of_time) = (false, !summary.complete);
        }
        Ok((summary, self.output.finish()?))
    }
}

/// How a run that came to its end is reported to the shell.
pub(super) fn exit(summary: &Summary) -> Exit {
    if summary.interrupted {
        Exit::Interrupted
    } else if summary.out_of_time || summary::is_incomplete(summary) {
        Exit::Incomplete
    } else {
        Exit::Done
    }
}

pub(super) fn inputs(named: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    match named {
        [] if io::stdin().is_terminal() => Err(fault(
            "no list was named",
            "`presend verify leads.csv`, or pipe one in: `presend verify - < leads.csv`",
        )),
        [] => Ok(vec![PathBuf::from("-")]),
        named => Ok(named.to_vec()),
    }
}

pub(super) fn input_options(args: &LayoutArgs) -> InputOptions {
    InputOptions {
        column: args.column.clone(),
        format: args.input_format.map(|format| match format {
            InputFormatName::Text => InputFormat::Text,
            InputFormatName::Csv | InputFormatName::Tsv => InputFormat::Csv,
            InputFormatName::Ndjson => InputFormat::Ndjson,
        }),
        header: match (args.header, args.no_header) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            (false, false) => None,
        },
        sheet: args.sheet.clone(),
        comments: false,
    }
}

/// How each file was read.
pub(super) fn say_understood(table: &Table) {
    for (name, layout) in table.files() {
        note(&paint(DIM, understood(name, layout)));
    }
}

/// One line about how the list was read.
pub(super) fn understood(name: &str, layout: &Layout) -> String {
    let name = match name {
        "standard input" => name.to_owned(),
        file => format!("`{file}`"),
    };
    let guessed = if layout.guessed {
        " (guessed; `--column` names another)"
    } else {
        ""
    };
    let names = layout
        .fallback_columns
        .iter()
        .filter_map(|column| layout.columns.get(*column));
    let instead = names.fold(String::new(), |text, name| {
        text + &format!(", or `{name}` where that is empty")
    });
    let column = match (&layout.address_key, layout.columns.get(layout.address_column)) {
        (Some(key), _) => format!(", addresses in `{key}`"),
        (None, Some(column)) if layout.format != InputFormat::Text => {
            format!(
                ", addresses in column {} `{column}`{instead}",
                layout.address_column + 1
            )
        }
        (None, _) => String::new(),
    };
    let column = crate::output::clean(&column, 200);
    let format = match (layout.format, layout.delimiter) {
        (InputFormat::Text, _) => "one address a line".to_owned(),
        (InputFormat::Ndjson, _) => "NDJSON".to_owned(),
        (InputFormat::Csv, Some(b'\t')) => "tab-separated".to_owned(),
        (InputFormat::Csv, delimiter) => format!("CSV with `{}`", char::from(delimiter.unwrap_or(b','))),
        (InputFormat::Xlsx, _) => {
            let sheet = layout.sheet.as_deref().unwrap_or_default();
            format!("XLSX, sheet `{}`", crate::output::clean(sheet, 40))
        }
    };
    let packing = layout
        .packing
        .map(|packing| format!("{}, ", packing.name()))
        .unwrap_or_default();
    let export = layout
        .export
        .as_ref()
        .map(|export| format!("{export}, "))
        .unwrap_or_default();
    format!(
        "reading {name}: {export}{packing}{format}, {}{column}{guessed}",
        layout.encoding
    )
}

impl ResultArgs {
    /// Progress stays off a terminal that shows the results.
    pub(super) fn display(&self, args: &DisplayArgs) -> Display {
        let files = self.split.is_some() || self.output.is_some();
        Display::new(args.progress, args.quiet, !files)
    }

    fn options(&self, layout: &Layout) -> Options {
        let by_name = || {
            let path = self.output.as_deref()?;
            let extension = path.extension()?.to_str()?;
            let extension = match Packing::by_extension(extension) {
                Some(_) => Path::new(path.file_stem()?).extension()?.to_str()?,
                None => extension,
            };
            match extension.to_ascii_lowercase().as_str() {
                "csv" | "tsv" => Some(Format::Csv),
                "ndjson" | "jsonl" => Some(Format::Ndjson),
                "json" => Some(Format::Json),
                "xlsx" => Some(Format::Xlsx),
                _ => None,
            }
        };
        let to_terminal = self.output.is_none() && self.split.is_none() && io::stdout().is_terminal();
        let by_input = || match layout.format {
            _ if to_terminal => Format::Table,
            InputFormat::Ndjson => Format::Ndjson,
            InputFormat::Text | InputFormat::Csv | InputFormat::Xlsx => Format::Csv,
        };
        let named = if self.json { Some(FormatName::Json) } else { self.format };
        Options {
            format: named.map(Format::from).or_else(by_name).unwrap_or_else(by_input),
            only: self.only.clone(),
            raw: self.raw,
            detail: Detail {
                transcript: self.transcript,
                privacy: if self.redact { Privacy::Redacted } else { Privacy::Open },
            },
            terminal: paint::stdout_terminal(),
        }
    }

    pub(super) fn open(&self, layout: &Layout, display: &Display) -> anyhow::Result<Output> {
        let options = &self.options(layout);
        if let Some(folder) = &self.split {
            return Ok(Output::split(layout, options, folder)?);
        }
        let target = match &self.output {
            Some(path) if path != Path::new("-") => Target::file(path)?,
            _ if options.format == Format::Xlsx && io::stdout().is_terminal() => {
                return Err(fault(
                    "a workbook cannot be shown on a terminal",
                    "name a file, such as `--output checked.xlsx`, or redirect the output",
                ));
            }
            _ => display.stdout(),
        };
        Ok(Output::single(layout, options, target))
    }
}
