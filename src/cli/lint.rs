//! `presend lint`: lists against rules, with the exit code that a pipeline needs.
//!
//! Owns what is opened, in which order, and what people hear. What is found is `crate::lint`'s.

mod args;
mod asking;
mod baseline;
mod interrupt;
mod passing;
mod repair;
mod show;

use std::{
    env, fs,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::ArgMatches;

pub(super) use args::{LintArgs, LintOverlay};
use args::{LintCommand, OutputSpec, Repair, What};
use interrupt::Interrupt;
use repair::Repairing;

use super::{
    Exit, database,
    fault::{fault, note},
    settings::{Profile, Resolved},
    verify,
};
use crate::{
    input::{InputError, InputOptions, Table},
    job::{Level, Settings, Stop},
    lint::{
        self, Baseline, BaselineError, Breach, Changed, Check, CheckError, Desk, Finding, Fingerprints, Gates, Key,
        Lists, Masking, Place, Policy, Rows, Rule, Showing, Split, Task,
        format::{self, Out, Report, Summary},
    },
    output::{Target, clean},
    suppress::{Lookup, Mailing},
};

/// The variable that holds the key of the baseline.
const KEY: &str = "PRESEND_BASELINE_KEY";

pub(super) fn run(args: LintArgs, matches: &ArgMatches) -> anyhow::Result<Exit> {
    if let Some(LintCommand::Baseline { command }) = args.command {
        return baseline::run(command, matches);
    }
    if args.rules {
        return show::rules(args.json, args.markdown);
    }
    let mut plan = Plan::new(args.what, matches)?;
    if args.show_config {
        return show::config(&plan);
    }
    let Repair {
        fix,
        fix_suggested,
        fix_output,
        diff,
        split,
        errors_file,
    } = args.repair;
    plan.repairing = (fix || fix_suggested || diff || fix_output.is_some()).then_some(Repairing {
        suggested: fix_suggested,
        only_shown: diff,
        output: fix_output,
    });
    (plan.split, plan.errors_file) = (split, errors_file);
    plan.check(None)
}

/// One file that was named.
struct File {
    path: PathBuf,
    /// As reports name it.
    name: String,
    policy: Policy,
    changed: Option<Changed>,
    /// What standard input was, once it was read.
    held: Option<fs::File>,
}

/// A run as it was asked for.
struct Plan {
    what: What,
    /// Flags over variables over the file over the defaults.
    lint: LintOverlay,
    resolved: Resolved,
    settings: Settings,
    gates: Gates,
    repairing: Option<Repairing>,
    split: bool,
    errors_file: Option<PathBuf>,
    /// What could not be done, a sentence each.
    problems: Vec<String>,
}

impl Plan {
    fn new(mut what: What, matches: &ArgMatches) -> anyhow::Result<Self> {
        let config = what.config.or_above();
        let mut resolved = Resolved::new(&what.overlay, matches, &config, Profile::Lint)?;
        let in_file = resolved.lint();
        let lint = std::mem::take(&mut what.lint)
            .over(in_file)
            .over(LintOverlay::defaults());
        if let Some(level) = lint.level {
            resolved.level_unless_said(level);
        }
        if let Some(cache) = &lint.cache {
            resolved.keep_in(cache);
        }
        resolved.no_older_than(lint.max_cache_age);
        let settings = resolved.to_settings(false)?;
        let gates = lint.gates()?;
        Ok(Self {
            what,
            lint,
            resolved,
            settings,
            gates,
            repairing: None,
            split: false,
            errors_file: None,
            problems: Vec::new(),
        })
    }

    /// Says on standard error what did not work; the run goes on with the rest and ends with 2.
    fn problem(&mut self, text: impl Into<String>) {
        let text = clean(&text.into(), 1000).into_owned();
        note(&format!("\x1b[1;31merror:\x1b[0m {text}"));
        self.problems.push(text);
    }

    fn inputs(&self) -> anyhow::Result<Vec<PathBuf>> {
        match (self.what.inputs.as_slice(), &self.lint.files) {
            ([], Some(files)) => Ok(files.clone()),
            ([], None) if io::stdin().is_terminal() => Err(fault(
                "no list was named",
                "`presend lint lists/`, or pipe one in: `presend lint - < list.csv`",
            )),
            ([], None) => Ok(vec![PathBuf::from("-")]),
            (named, _) => Ok(named.to_vec()),
        }
    }

    /// The files with their rules.
    fn files(&mut self) -> anyhow::Result<Vec<File>> {
        let found = lint::find(&self.inputs()?);
        for problem in found.problems {
            self.problem(problem);
        }
        if found.files.iter().filter(|path| path.as_os_str() == "-").count() > 1 {
            return Err(fault(
                "`-` is named twice; standard input can be read once",
                "name it once",
            ));
        }
        let overrides = self.lint.overrides()?;
        let folder = self
            .resolved
            .file
            .as_deref()
            .and_then(Path::parent)
            .map(|folder| absolute(&Path::new(".").join(folder)));
        let mut files = Vec::new();
        for path in found.files {
            let name = shown(&path);
            let full = absolute(&path);
            let inside = folder.as_ref().and_then(|folder| full.strip_prefix(folder).ok());
            let relative = inside.map_or_else(|| name.clone(), |path| path.display().to_string());
            let policy = Policy::new(&[self.lint.choice()], &overrides, &relative)
                .map_err(|error| fault(error.to_string(), "name rules as `presend lint --rules` does"))?;
            let changed = match &self.what.changed_since {
                Some(_) if path.as_os_str() == "-" => {
                    return Err(fault(
                        "git knows nothing of standard input",
                        "name the file with `--changed-since`",
                    ));
                }
                Some(revision) => match Changed::since(revision, &path) {
                    Ok(changed) => Some(changed),
                    Err(error) => {
                        self.problem(error.to_string());
                        continue;
                    }
                },
                None => None,
            };
            files.push(File {
                path,
                name,
                policy,
                changed,
                held: None,
            });
        }
        Ok(files)
    }

    fn input_options(&self) -> InputOptions {
        let options = verify::input_options(&self.what.layout);
        InputOptions {
            column: options.column.clone().or_else(|| self.lint.column.clone()),
            comments: true,
            ..options
        }
    }

    /// Standard input is read as it comes where one pass is enough.
    fn open(&self, file: &File, again: bool) -> Result<Table, InputError> {
        let options = self.input_options();
        if let Some(held) = &file.held {
            let read = |source| InputError::Read {
                name: file.name.clone(),
                source,
            };
            return Table::from_file(held.try_clone().map_err(read)?, &file.name, &options, false);
        }
        if file.path.as_os_str() == "-" && !again {
            return Table::stream(Box::new(io::stdin()), &file.name, &options);
        }
        Table::open(&file.path, &options)
    }

    fn key(&self) -> anyhow::Result<Option<Key>> {
        let text = match &self.lint.baseline_key_file {
            Some(path) => Some(fs::read_to_string(path).map_err(|error| {
                let said = format!("cannot read the key of the baseline from `{}`: {error}", path.display());
                fault(said, "name a file that holds it")
            })?),
            None => env::var(KEY).ok().filter(|text| !text.is_empty()),
        };
        Ok(text.map(|text| Key::new(&text)).transpose()?)
    }

    fn baseline(&self, key: Option<&Key>) -> anyhow::Result<Option<Baseline>> {
        let Some(path) = &self.lint.baseline else {
            return Ok(None);
        };
        let key = key.cloned().ok_or(BaselineError::NoKey)?;
        Ok(Some(Baseline::read(path, key, SystemTime::now())?))
    }

    /// `aside` has what would go to standard output go to standard error.
    fn reports(&self, aside: bool) -> anyhow::Result<Vec<Box<dyn Report>>> {
        let specs = self.lint.output.iter().flatten();
        if specs.clone().filter(|spec| spec.file.is_none()).count() > 1 {
            return Err(fault(
                "two reports would go to standard output",
                "give all but one a file: `--output sarif=lint.sarif`",
            ));
        }
        specs.map(|spec| open_report(spec, aside)).collect()
    }

    /// Checks everything; with `learning` the findings are those of a baseline that is being made, and no limit counts.
    fn check(&mut self, mut learning: Option<&mut Baseline>) -> anyhow::Result<Exit> {
        let key = self.key()?;
        let mut known = match learning {
            Some(_) => None,
            None => self.baseline(key.as_ref())?,
        };
        asking::refuse(self)?;
        let mut files = self.files()?;
        let interrupt = Interrupt::listen()?;
        let mut aside = false;
        if let Some(repairing) = self.repairing.take() {
            aside = repairing.takes_standard_output(&files);
            repairing.run(self, &mut files, &interrupt.stop)?;
        }
        let mut reports = if learning.is_some() {
            Vec::new()
        } else {
            self.reports(aside)?
        };
        let mut tables = Tables::open(self, &files);
        let known_answers = asking::answers(self, &files, &mut tables, &interrupt)?;
        // What was answered until then is written down whole.
        let stop = if known_answers.interrupted {
            Stop::new()
        } else {
            interrupt.stop.clone()
        };
        let showing = Showing {
            masking: self.lint.redact.map_or(Masking::Local, Masking::from),
            files: files
                .iter()
                .zip(&tables.all)
                .map(|(file, table)| (file.name.clone(), is_text(table.as_ref())))
                .collect(),
        };
        let fingerprints = Fingerprints::new(key);
        let gates = self.gates.clone();
        let user_lists = self.settings.user_lists.clone();
        // Who is suppressed is known at every level, where there is a database at all.
        let store = database::open_to_look_up(&self.resolved)?;
        let lookup = store
            .map(|store| Lookup::for_run(store, Mailing::default()))
            .transpose()?;
        let lookup = lookup.filter(|lookup| !lookup.is_empty());
        let lists = Lists {
            rules: self.settings.rules,
            user_lists: &user_lists,
            answers: known_answers.answers.as_ref(),
            lookup: lookup.as_ref(),
        };
        let mut split = self.split(&files)?;
        let baseline = learning.as_deref_mut().or(known.as_mut());
        let desk = Desk {
            gates: &gates,
            showing: &showing,
            fingerprints: &fingerprints,
            baseline,
            reports: &mut reports,
            rows: split.as_mut().map(|split| split as &mut dyn Rows),
        };
        let mut check = Check::new(lists, desk, self.what.threads);
        for (number, file) in files.iter().enumerate() {
            let table = tables.all.get_mut(number).and_then(Option::take);
            self.check_file(&mut check, (number, file), (table, &stop), &mut tables.failed)?;
        }
        let ended = check.end();
        for place in &ended.bad_directives {
            let said = format!(
                "{}:{}: what the comment says to presend names no rule",
                showing.file(place.file),
                place.line
            );
            self.problem(said);
        }
        let cut = stop.is_requested();
        if cut {
            self.problem("interrupted: rows behind those that were counted were not looked at");
        }
        let breaches = if learning.is_some() {
            Vec::new()
        } else {
            gates.breaches(&ended.tally)
        };
        let exit = self.exit(&breaches, &known_answers, cut);
        let summary = Summary {
            tally: &ended.tally,
            breaches: &breaches,
            problems: &self.problems,
            files: &files.iter().map(|file| file.name.clone()).collect::<Vec<_>>(),
            exit_code: exit.code(),
        };
        if let Some(split) = split.filter(|_| !cut) {
            split.finish().map_err(CheckError::Output)?;
        }
        for report in reports {
            report.finish(&summary).map_err(CheckError::Output)?;
        }
        interrupt.end();
        Ok(exit)
    }

    /// What a pipeline hears: a run that did not come to its end, then faults, then limits.
    fn exit(&self, breaches: &[Breach], known: &asking::Known, cut: bool) -> Exit {
        let worst = |code| breaches.iter().any(|breach| breach.code == code);
        if known.interrupted || cut {
            Exit::Interrupted
        } else if !self.problems.is_empty() {
            Exit::Usage
        } else if worst(1) {
            Exit::Failed
        } else if worst(3) || known.incomplete.is_some() {
            Exit::Incomplete
        } else {
            Exit::Done
        }
    }

    fn split(&self, files: &[File]) -> anyhow::Result<Option<Split>> {
        if !self.split && self.errors_file.is_none() {
            return Ok(None);
        }
        let place = |file: &File| {
            let path = if file.path.as_os_str() == "-" {
                "stdin".into()
            } else {
                file.path.clone()
            };
            (path, file.name.clone())
        };
        let files: Vec<_> = files.iter().map(place).collect();
        Ok(Some(Split::new(&files, self.split, self.errors_file.as_deref())?))
    }

    fn check_file(
        &mut self,
        check: &mut Check<'_>,
        (number, file): (usize, &File),
        (table, stop): (Option<Table>, &Stop),
        failed: &mut [Option<InputError>],
    ) -> anyhow::Result<()> {
        let Some(mut table) = table else {
            let Some(error) = failed.get_mut(number).and_then(Option::take) else {
                return Ok(());
            };
            return self.not_opened(check, (number, file), &error);
        };
        let task = Task {
            number,
            table: &mut table,
            policy: &file.policy,
            changed: file.changed.as_ref(),
        };
        match check.file(task, stop) {
            Ok(()) => Ok(()),
            Err(CheckError::Input(error)) => {
                self.problem(error.to_string());
                check.unreadable();
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A file without its column is a finding; one that cannot be read is an error, and the others go on.
    fn not_opened(
        &mut self,
        check: &mut Check<'_>,
        (number, file): (usize, &File),
        error: &InputError,
    ) -> anyhow::Result<()> {
        let lacks = matches!(
            error,
            InputError::MissingColumn { .. } | InputError::NoAddressColumn { .. }
        );
        let rule = Rule::MissingColumn;
        check.unreadable();
        if !lacks || !file.policy.active().has(rule) {
            self.problem(error.to_string());
            return Ok(());
        }
        let finding = Finding {
            rule,
            severity: file.policy.severity(rule),
            place: Place { file: number, line: 1 },
            column: None,
            subject: "".into(),
            message: format!("{error}.").into(),
            suggestion: None,
            reason: None,
            first: None,
        };
        // Whatever the limits say: it was not checked, so it cannot pass.
        if !self.gates.is_failed_by(&finding) {
            self.problem(error.to_string());
        }
        Ok(check.about_file(&finding)?)
    }
}

/// The files, opened: none turns out to be unreadable when others were asked about.
struct Tables {
    all: Vec<Option<Table>>,
    failed: Vec<Option<InputError>>,
}

impl Tables {
    fn open(plan: &Plan, files: &[File]) -> Self {
        let again = plan.settings.level > Level::Syntax;
        let (mut all, mut failed) = (Vec::new(), Vec::new());
        for file in files {
            let (table, error) = match plan.open(file, again) {
                Ok(table) => (Some(table), None),
                Err(error) => (None, Some(error)),
            };
            all.push(table);
            failed.push(error);
        }
        Self { all, failed }
    }
}

fn open_report(spec: &OutputSpec, aside: bool) -> anyhow::Result<Box<dyn Report>> {
    let (target, color) = if let Some(path) = &spec.file {
        (Target::file(path)?, false)
    } else if aside {
        (Target::new(io::stderr(), false), false)
    } else {
        let color = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
        (Target::stdout(), color && io::stdout().is_terminal())
    };
    let page = env::var_os("GITHUB_STEP_SUMMARY")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    Ok(format::open(spec.format, Out::new(target, color), page))
}

fn is_text(table: Option<&Table>) -> bool {
    table.is_some_and(|table| table.layout().format == crate::input::InputFormat::Text)
}

fn absolute(path: &Path) -> PathBuf {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    fs::canonicalize(&full).unwrap_or(full)
}

/// As reports name a file: no `./` in front, nothing that acts on a terminal.
fn shown(path: &Path) -> String {
    if path.as_os_str() == "-" {
        return "stdin".into();
    }
    let text = path.display().to_string();
    clean(text.strip_prefix("./").unwrap_or(&text), 1000).into_owned()
}
