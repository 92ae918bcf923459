//! `presend lint --fix`: the lists are repaired first, and then held against the rules.

use std::{
    fs,
    io::{self, BufWriter, Read, Write},
    path::Path,
};

use super::{
    super::fault::{fault, note},
    File, Plan,
    passing::{Both, Passed},
};
use crate::{
    input::Table,
    job::Stop,
    lint::{self, FixError, Masking, Repaired, Repairs},
    output::{Target, clean},
};

/// How the lists are repaired.
pub(super) struct Repairing {
    pub(super) suggested: bool,
    /// Nothing is written.
    pub(super) only_shown: bool,
    pub(super) output: Option<std::path::PathBuf>,
}

/// Differences that are shown; a large list has more than anybody reads.
const SHOWN: u64 = 1000;

impl Repairing {
    /// The list itself goes to standard output, so that nothing else may.
    pub(super) fn takes_standard_output(&self, files: &[File]) -> bool {
        !self.only_shown && self.output.is_none() && files.iter().any(|file| file.path.as_os_str() == "-")
    }

    /// Repairs every file, or writes the one file to another place and has that checked.
    pub(super) fn run(&self, plan: &mut Plan, files: &mut [File], stop: &Stop) -> anyhow::Result<()> {
        if self.output.is_some() && files.len() != 1 {
            return Err(fault(
                "`--fix-output` takes one list",
                "leave it out, and each list is repaired in place",
            ));
        }
        for file in files.iter_mut() {
            let done = if file.path.as_os_str() == "-" {
                self.stream(plan, file, stop)
            } else {
                self.file(plan, file, stop)
            };
            match done {
                Ok(()) if !self.only_shown => {
                    if let Some(output) = &self.output {
                        (file.name, file.path, file.held) = (super::shown(output), output.clone(), None);
                    }
                }
                // The check tells what is wrong with a file that cannot be read.
                Ok(()) | Err(Failed::Input) => {}
                Err(Failed::Other(error)) => return Err(error),
                Err(Failed::Form(said)) => plan.problem(said),
            }
        }
        Ok(())
    }

    fn file(&self, plan: &Plan, file: &File, stop: &Stop) -> Result<(), Failed> {
        let to = self.output.as_deref().unwrap_or(&file.path);
        let mut table = plan.open(file, true).map_err(|_| Failed::Input)?;
        let mut raw = fs::File::open(&file.path).map_err(|_| Failed::Input)?;
        let task = (&mut table, &mut raw as &mut dyn Read, file.name.as_str());
        if self.only_shown {
            self.copy(plan, task, &mut io::sink(), stop)?;
        } else {
            self.to_file(plan, task, to, stop)?;
        }
        Ok(())
    }

    /// Standard input, repaired as it comes; what is to be checked then is held.
    fn stream(&self, plan: &Plan, file: &mut File, stop: &Stop) -> Result<(), Failed> {
        let passed = Passed::new().map_err(other)?;
        let done = self.pass(plan, file, &passed, stop);
        if done.is_err() && !stop.is_requested() {
            // The check tells what is wrong with it, and needs all of it.
            io::copy(&mut passed.tee(io::stdin()), &mut io::sink()).map_err(other)?;
        }
        if file.held.is_none() {
            file.held = Some(passed.file().map_err(other)?);
        }
        done
    }

    fn pass(&self, plan: &Plan, file: &mut File, passed: &Passed, stop: &Stop) -> Result<(), Failed> {
        let stream = Box::new(passed.tee(io::stdin()));
        let mut table = Table::stream(stream, &file.name, &plan.input_options()).map_err(|_| Failed::Input)?;
        let mut raw = passed.reader();
        let task = (&mut table, &mut raw as &mut dyn Read, file.name.as_str());
        if self.only_shown {
            self.copy(plan, task, &mut io::sink(), stop)?;
        } else if let Some(to) = &self.output {
            self.to_file(plan, task, to, stop)?;
        } else {
            let mut out = Both::new(io::stdout().lock()).map_err(other)?;
            self.copy(plan, task, &mut out, stop)?;
            file.held = Some(out.finish().map_err(other)?);
        }
        Ok(())
    }

    fn to_file(&self, plan: &Plan, task: Task<'_>, to: &Path, stop: &Stop) -> Result<(), Failed> {
        let mut out = BufWriter::new(Target::file(to).map_err(|error| Failed::Other(error.into()))?);
        let changed = self.copy(plan, task, &mut out, stop)?;
        // A file that needs no repair is not touched.
        if changed || self.output.is_some() {
            let target = out.into_inner().map_err(|error| other(error.into_error()))?;
            target.finish().map_err(|error| Failed::Other(error.into()))?;
        }
        Ok(())
    }

    /// Copies a list with its repairs and shows them; whether there were any.
    fn copy(&self, plan: &Plan, task: Task<'_>, out: &mut dyn Write, stop: &Stop) -> Result<bool, Failed> {
        let masking = plan.lint.redact.map_or(Masking::Local, Masking::from);
        let (mut repaired, mut dropped) = (0_u64, 0_u64);
        let name = task.2;
        let mut told = |change: Repaired| {
            repaired += u64::from(change.to.is_some());
            dropped += u64::from(change.to.is_none());
            if repaired + dropped <= SHOWN {
                note(&difference(name, &change, masking));
            }
        };
        let repairs = Repairs {
            rules: plan.settings.rules,
            suggested: self.suggested,
        };
        let fixed = lint::fix(task, repairs, out, &mut told, stop);
        // What was written of a list to standard output has to be there even when the rest is not.
        out.flush().map_err(other)?;
        fixed?;
        if repaired + dropped > 0 && !plan.what.quiet {
            let word = if self.only_shown { "would be" } else { "were" };
            note(&format!(
                "{name}: {repaired} rows {word} repaired, {dropped} {word} dropped"
            ));
        }
        Ok(repaired + dropped > 0)
    }
}

/// A list, its bytes and its name.
type Task<'a> = (&'a mut Table, &'a mut dyn Read, &'a str);

fn other(error: io::Error) -> Failed {
    Failed::Other(error.into())
}

/// Why a file was not repaired.
enum Failed {
    /// It cannot be read.
    Input,
    /// It is in a form that is not written, or the run is to end.
    Form(String),
    /// The run ends.
    Other(anyhow::Error),
}

impl From<FixError> for Failed {
    fn from(error: FixError) -> Self {
        match error {
            FixError::Form { .. } => Self::Form(error.to_string()),
            FixError::Input(_) => Self::Input,
            FixError::Output(error) => Self::Other(error.into()),
            FixError::Interrupted => {
                Self::Form("the repair was interrupted; what it had not written yet is as it was".into())
            }
        }
    }
}

fn difference(name: &str, change: &Repaired, masking: Masking) -> String {
    // Where nothing is hidden, white space is seen.
    let show = |text: &str| match masking {
        Masking::None => clean(text, 320).into_owned(),
        Masking::Local | Masking::All => masking.shown(text),
    };
    let to = match &change.to {
        Some(to) => format!("\n\x1b[32m+ {}\x1b[0m", show(to)),
        None => String::new(),
    };
    format!("@@ {name}:{}\n\x1b[31m- {}\x1b[0m{to}", change.line, show(&change.from))
}
