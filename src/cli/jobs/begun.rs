//! `presend jobs resume` and `presend jobs export`: a job that was begun, to its end or as far as it is.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::ArgMatches;

use super::super::{
    Exit,
    args::{ExportArgs, ResumeArgs},
    database,
    fault::{fault, hint},
    jobs::Jobs,
    settings::{Overlay, Resolved},
    signal::Signals,
    verify::{self, Job, JobWork},
};
use crate::{
    input::{Layout, Table},
    job::Engine,
    store::{JobRecord, JobState, SqliteStore, Store},
};

pub(super) fn resume(args: &ResumeArgs, matches: &ArgMatches) -> anyhow::Result<Exit> {
    let (store, job) = begun(&args.overlay, (matches, &args.config), &args.id)?;
    if job.state == JobState::Cancelled {
        return Err(fault(
            format!("job {} was cancelled", job.id),
            "verify its list again: what was answered is not asked twice",
        ));
    }
    let resolved = Resolved::resumed(&args.overlay, matches, &args.config, &job.settings)?;
    let settings = resolved.to_settings(args.results.transcript)?;
    let shape = &args.results;
    let layout = layout(&job)?;
    if !args.inputs.is_empty() {
        same_list(args, &job, &store)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let signals = Signals::listen_on(&runtime);
    let missing = resolved.identity_hint();
    if let Some(missing) = &missing {
        hint(missing);
    }
    let display = shape.display(&args.display);
    let output = shape.open(&layout, &display)?;
    let run = Job {
        settings,
        store: Some(store),
        mailing: resolved.mailing(),
        work: JobWork::Begun(Box::new(job)),
        output,
        display,
        signals,
        until: args.until.map(|until| until.0),
    };
    let (summary, files) = run.finish_on(runtime)?;
    if !args.display.quiet {
        verify::report(&summary, &files, shape, (&args.inputs, args.display.verbose));
    }
    Ok(verify::exit(&summary))
}

pub(super) fn export(args: &ExportArgs, matches: &ArgMatches) -> anyhow::Result<Exit> {
    let overlay = Overlay::of_jobs(args.database.db.clone());
    let (store, job) = begun(&overlay, (matches, &args.database.config), &args.id)?;
    let resolved = Resolved::resumed(&overlay, matches, &args.database.config, &job.settings)?;
    let shape = &args.results;
    let display = shape.display(&args.display);
    let mut output = shape.open(&layout(&job)?, &display)?;
    let engine = Engine::without_network(resolved.to_settings(args.results.transcript)?)?;
    let engine = database::attach(engine, Some(store), resolved.mailing())?;
    let summary = engine.export(&job, &mut output)?;
    display.finish();
    let files = output.finish()?;
    if !args.display.quiet {
        verify::report(&summary, &files, shape, (&[], args.display.verbose));
    }
    Ok(if job.state == JobState::Done {
        Exit::Done
    } else {
        Exit::Incomplete
    })
}

fn begun(
    overlay: &Overlay,
    (matches, config): (&ArgMatches, &super::super::config::ConfigFile),
    id: &str,
) -> anyhow::Result<(Arc<SqliteStore>, JobRecord)> {
    let jobs = Jobs::open_with(overlay, (matches, config))?;
    let job = jobs.named(id)?.clone();
    let store = jobs.store.context("a job has a database")?;
    if job.state == JobState::Importing {
        return Err(fault(
            format!("job {} stopped before its list was read to the end", job.id),
            "run the command on the list again: nobody was asked yet",
        ));
    }
    Ok((Arc::new(store), job))
}

fn layout(job: &JobRecord) -> anyhow::Result<Layout> {
    serde_json::from_str(&job.layout).with_context(|| format!("the layout of job {} cannot be read", job.id))
}

/// The rows of the files must be the job's.
fn same_list(args: &ResumeArgs, job: &JobRecord, store: &Arc<SqliteStore>) -> anyhow::Result<()> {
    let files: Vec<PathBuf> = verify::inputs(&args.inputs)?;
    let mut table = Table::open_all(&files, &verify::input_options(&args.layout))?;
    let store: Arc<dyn Store> = Arc::<SqliteStore>::clone(store);
    if crate::job::is_list_of(&mut table, job, &store)? {
        return Ok(());
    }
    let shown = crate::output::clean(&job.source, 200);
    Err(fault(
        format!(
            "the rows are not those of job {}, which was begun with `{shown}`",
            job.id
        ),
        "leave the file out to go on with the job's own rows, or `presend verify` the file as a new job",
    ))
}
