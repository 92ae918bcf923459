//! `presend lint --fix`: the lists are repaired first, and then held against the rules.

use std::{
    fs,
    io::{BufWriter, Write},
    path::Path,
};

use super::{
    super::fault::{fault, note},
    File, Plan,
};
use crate::{
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
    /// Repairs every file, or writes the one file to another place and has that checked.
    pub(super) fn run(&self, plan: &mut Plan, files: &mut [File]) -> anyhow::Result<()> {
        if files.iter().any(|file| file.path.as_os_str() == "-") {
            return Err(fault("standard input cannot be repaired in place", "name a file"));
        }
        if self.output.is_some() && files.len() != 1 {
            return Err(fault(
                "`--fix-output` takes one list",
                "leave it out, and each list is repaired in place",
            ));
        }
        for file in files.iter_mut() {
            let to = self.output.clone().unwrap_or_else(|| file.path.clone());
            match self.one(plan, file, &to) {
                Ok(()) if !self.only_shown && self.output.is_some() => {
                    file.name = super::shown(&to);
                    file.path = to;
                }
                // The check tells what is wrong with a file that cannot be read.
                Ok(()) | Err(Failed::Input) => {}
                Err(Failed::Other(error)) => return Err(error),
                Err(Failed::Form(said)) => plan.problem(said),
            }
        }
        Ok(())
    }

    fn one(&self, plan: &Plan, file: &File, to: &Path) -> Result<(), Failed> {
        let mut table = plan.open(file, true).map_err(|_| Failed::Input)?;
        let raw = fs::File::open(&file.path).map_err(|_| Failed::Input)?;
        let masking = plan.lint.redact.map_or(Masking::Local, Masking::from);
        let (mut repaired, mut dropped) = (0_u64, 0_u64);
        let mut told = |change: Repaired| {
            repaired += u64::from(change.to.is_some());
            dropped += u64::from(change.to.is_none());
            if repaired + dropped <= SHOWN {
                note(&difference(&file.name, &change, masking));
            }
        };
        let repairs = Repairs {
            rules: plan.settings.rules,
            suggested: self.suggested,
        };
        let task = (&mut table, raw, file.name.as_str());
        if self.only_shown {
            lint::fix(task, repairs, &mut std::io::sink(), &mut told)?;
        } else {
            let mut out = BufWriter::new(Target::file(to).map_err(|error| Failed::Other(error.into()))?);
            lint::fix(task, repairs, &mut out, &mut told)?;
            out.flush().map_err(|error| Failed::Other(error.into()))?;
            // A file that needs no repair is not touched.
            if repaired + dropped > 0 || self.output.is_some() {
                let target = out
                    .into_inner()
                    .map_err(|error| Failed::Other(error.into_error().into()))?;
                target.finish().map_err(|error| Failed::Other(error.into()))?;
            }
        }
        if repaired + dropped > 0 && !plan.what.quiet {
            let word = if self.only_shown { "would be" } else { "were" };
            note(&format!(
                "{}: {repaired} rows {word} repaired, {dropped} {word} dropped",
                file.name
            ));
        }
        Ok(())
    }
}

/// Why a file was not repaired.
enum Failed {
    /// It cannot be read.
    Input,
    /// It is in a form that is not written.
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
