//! `presend lint baseline create|update|prune`.

use std::{io::Write, path::PathBuf, time::SystemTime};

use clap::ArgMatches;

use super::{
    super::{
        Exit,
        fault::{fault, note},
    },
    Plan,
    args::{BaselineArgs, BaselineCommand},
};
use crate::{
    lint::{Baseline, BaselineError, Key, is_day},
    output::Target,
};

pub(super) fn run(command: BaselineCommand, matches: &ArgMatches) -> anyhow::Result<Exit> {
    match command {
        BaselineCommand::Create(args) => make(*args, matches, create),
        BaselineCommand::Update(args) => make(*args, matches, update),
        BaselineCommand::Prune(args) => make(*args, matches, prune),
    }
}

/// The baseline, what is said of it, and how the check ended.
type Made = (Baseline, String, Exit);

/// How a baseline comes to be, and what is said of it.
struct Making {
    path: PathBuf,
    key: Key,
    reason: Option<String>,
    expires: Option<String>,
    force: bool,
}

fn make(
    args: BaselineArgs,
    matches: &ArgMatches,
    how: fn(&Making, &mut Plan) -> anyhow::Result<Made>,
) -> anyhow::Result<Exit> {
    if args.expires.as_ref().is_some_and(|day| !is_day(day)) {
        return Err(fault(
            "`--expires` is no day of the calendar",
            "write it as `2026-12-31`",
        ));
    }
    let BaselineArgs {
        what,
        reason,
        expires,
        force,
    } = args;
    let mut plan = Plan::new(what, matches)?;
    let path = plan.lint.baseline.take().ok_or_else(|| {
        fault(
            "nobody said where the baseline is",
            "name it with `--baseline FILE`, or `baseline` in `[lint]`",
        )
    })?;
    let making = Making {
        path,
        key: plan.key()?.ok_or(BaselineError::NoKey)?,
        reason,
        expires,
        force,
    };
    let (baseline, said, exit) = how(&making, &mut plan)?;
    // What could not be read may be why something was not found.
    if exit != Exit::Done {
        note("the baseline was left as it is");
        return Ok(exit);
    }
    let mut target = Target::file(&making.path)?;
    target.write_all(baseline.to_text()?.as_bytes())?;
    target.finish()?;
    note(&said);
    Ok(exit)
}

fn create(making: &Making, plan: &mut Plan) -> anyhow::Result<Made> {
    if making.path.exists() && !making.force {
        return Err(fault(
            format!("the baseline `{}` is there already", making.path.display()),
            "`presend lint baseline update` adds to it; `--force` makes it anew",
        ));
    }
    let mut baseline = Baseline::empty(&making.path, making.key.clone()).learning();
    let exit = plan.check(Some(&mut baseline))?;
    let added = baseline.add_learned(making.reason.as_deref(), making.expires.as_deref());
    let said = format!("wrote {added} findings to {}", making.path.display());
    Ok((baseline, said, exit))
}

fn update(making: &Making, plan: &mut Plan) -> anyhow::Result<Made> {
    let mut baseline = Baseline::read(&making.path, making.key.clone(), SystemTime::now())?.learning();
    let exit = plan.check(Some(&mut baseline))?;
    let added = baseline.add_learned(making.reason.as_deref(), making.expires.as_deref());
    let said = format!("added {added} findings to {}", making.path.display());
    Ok((baseline, said, exit))
}

fn prune(making: &Making, plan: &mut Plan) -> anyhow::Result<Made> {
    let mut baseline = Baseline::read(&making.path, making.key.clone(), SystemTime::now())?;
    let exit = plan.check(Some(&mut baseline))?;
    let gone = baseline.prune();
    let said = format!("removed {gone} entries from {}", making.path.display());
    Ok((baseline, said, exit))
}
