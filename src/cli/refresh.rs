//! `presend refresh`: asks again about what has aged, within a budget.

use std::time::{Duration, SystemTime};

use clap::ArgMatches;

use super::{
    Exit,
    args::{DisplayArgs, ResultArgs},
    config::ConfigFile,
    database,
    fault::{fault, hint, note},
    paint::{DIM, counted, paint},
    patience::Until,
    settings::{Overlay, Profile, Resolved},
    signal::Signals,
    values::Span,
    verify::{self, Job, JobWork},
};
use crate::{
    input::{InputFormat, InputOptions, Table},
    job::{Aged, aged},
};

/// `presend refresh`
#[derive(Debug, clap::Args)]
#[command(
    about = "Ask again about what has aged, the oldest and most mailed first",
    long_about = "Ask again about what has aged: the oldest first, and those that most mail goes to.\n\nLists decay by two to three percent a \
    month. This asks about addresses in the database whose last answer is old, within a budget, under the same limits as `presend verify`. \
    Addresses that were found dead or are suppressed are left in peace.",
    after_long_help = "\
Examples:
  presend refresh --max 1000 --output again.csv
  presend refresh --older-than 60d --until 2h --only drop --output gone.csv
  presend refresh --list-only                          who would be asked about, one address a line"
)]
pub(super) struct RefreshArgs {
    /// Ask about so many addresses at most.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    max: usize,
    /// Answers older than that.
    #[arg(long, value_name = "DURATION", default_value = "30d")]
    older_than: Span,
    /// Ask no longer than this, `2h`, or until then, `18:30Z`; the rest is left for `presend jobs resume`.
    #[arg(long, value_name = "DURATION|TIME")]
    until: Option<Until>,
    /// Ask nobody; write the addresses.
    #[arg(long)]
    list_only: bool,
    #[command(flatten)]
    results: ResultArgs,
    #[command(flatten)]
    display: DisplayArgs,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    overlay: Overlay,
}

pub(super) fn run(args: &RefreshArgs, matches: &ArgMatches) -> anyhow::Result<Exit> {
    let resolved = Resolved::new(&args.overlay, matches, &args.config, Profile::Bulk)?;
    let mut settings = resolved.to_settings(args.results.transcript)?;
    let missing = || {
        fault(
            "there is no database, so nothing has aged",
            "`presend verify LIST` makes one, `--db FILE` names another",
        )
    };
    if database::open_to_look_up(&resolved)?.is_none() {
        return Err(missing());
    }
    let store = database::open_for_run(&resolved)?.ok_or_else(missing)?;
    let wanted = Aged {
        older_than: args.older_than.duration().max(Duration::from_hours(1)),
        most: args.max,
        now: SystemTime::now(),
    };
    let addresses = aged(&store, &wanted)?;
    if args.list_only {
        let mut out = super::suppress::target(args.results.output.as_deref())?;
        for address in &addresses {
            writeln!(out, "{address}")?;
        }
        out.flush()?;
        return Ok(Exit::Done);
    }
    if !args.display.quiet {
        let shown = counted(addresses.len() as u64, "address has aged", "addresses have aged");
        note(&paint(DIM, shown));
    }
    if addresses.is_empty() {
        return Ok(Exit::Done);
    }
    // What is known is what is to be asked about again.
    settings.memory.refresh = true;
    settings.memory.offline = false;
    let text = addresses.join("\n") + "\n";
    let options = InputOptions {
        format: Some(InputFormat::Text),
        ..InputOptions::default()
    };
    let table = Table::from_reader(&mut text.as_bytes(), "what has aged", &options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let signals = Signals::listen_on(&runtime);
    let missing = resolved.identity_hint();
    if let Some(missing) = &missing {
        hint(missing);
    }
    let display = args.results.display(&args.display);
    let output = args.results.open(table.layout(), &display)?;
    let job = Job {
        settings,
        store: Some(store),
        mailing: resolved.mailing(),
        work: JobWork::List(Box::new(table)),
        output,
        display,
        signals,
        until: args.until.map(|until| until.0),
    };
    let (summary, files) = job.finish_on(runtime)?;
    if !args.display.quiet {
        verify::report(&summary, &files, &args.results, (&[], args.display.verbose));
    }
    let exit = verify::exit(&summary);
    Ok(if exit == Exit::Done && missing.is_some() {
        Exit::Incomplete
    } else {
        exit
    })
}
