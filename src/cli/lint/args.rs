//! What can be typed for `presend lint`, and the table `[lint]` of the configuration file: one field for each setting.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use super::super::{
    args::LayoutArgs,
    config::ConfigFile,
    fault::fault,
    settings::Overlay,
    values::{Span, as_text},
};
use crate::lint::{Choice, Gates, Masking, Override, Rule, Severity, Threshold, Weight, format::Format};

/// `presend lint`
#[derive(Debug, Args)]
#[command(
    about = "Hold lists against rules, for CI: findings, thresholds, baseline, reports",
    long_about = "Hold lists against rules, for CI: findings, thresholds, baseline, reports.\n\nFiles, folders (.csv .tsv .txt .ndjson .xlsx \
    ..., packed too), patterns, or `-`. `--level syntax` needs no network, `--level dns` (the default) looks domains up, `--level smtp` asks \
    mail hosts. Every rule has a page: `presend lint --rules`, docs/rules.md.",
    after_long_help = "\
Examples:
  presend lint lists/                                        every list in the folder
  presend lint 'seeds/**/*.csv' --level syntax --output sarif=lint.sarif --output github
  presend lint export.csv --max-invalid 2% --max-duplicates 100
  presend lint export.csv --changed-since origin/main         only rows added since then
  presend lint baseline create --baseline lint.json lists/    what is known does not fail again
  presend lint --fix list.txt                                 white space, case of domains, NFC, equal rows
  presend lint --api https://presend.example.com export.csv   a presend server asks, not this machine

In a text list `# presend: ignore[role]` beside an address, or on a line above it, lets it pass.

Exit codes: 0 within the limits; 1 findings over a limit; 2 usage, configuration, a file that cannot be read or is empty; \
3 incomplete: the network is down, or nobody could tell about too many rows; 130 interrupted.",
    args_conflicts_with_subcommands = true
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of the command line, each on its own"
)]
pub(in super::super) struct LintArgs {
    #[command(subcommand)]
    pub(super) command: Option<LintCommand>,
    #[command(flatten)]
    pub(super) what: What,
    /// Print the rules: code, name, severity, what they find.
    #[arg(long, help_heading = RULES)]
    pub(super) rules: bool,
    /// With `--rules`: one JSON array.
    #[arg(long, requires = "rules", help_heading = RULES)]
    pub(super) json: bool,
    /// With `--rules`: the page `docs/rules.md`.
    #[arg(long, requires = "rules", conflicts_with = "json", help_heading = RULES)]
    pub(super) markdown: bool,
    /// Print the settings that hold here, as `[lint]` has them, and check nothing.
    #[arg(long, help_heading = RULES)]
    pub(super) show_config: bool,
    #[command(flatten)]
    pub(super) repair: Repair,
}

/// `presend lint baseline`
#[derive(Debug, Subcommand)]
pub(super) enum LintCommand {
    /// Findings that are known and do not fail
    Baseline {
        #[command(subcommand)]
        command: BaselineCommand,
    },
}

/// What is done with a baseline.
#[derive(Debug, Subcommand)]
pub(super) enum BaselineCommand {
    /// Write down everything that is found now
    Create(Box<BaselineArgs>),
    /// Add what is found now and not known; reasons and days of the others stay
    Update(Box<BaselineArgs>),
    /// Remove entries that nothing is found for any more, and expired ones
    Prune(Box<BaselineArgs>),
}

/// How a baseline is made.
#[derive(Debug, Args)]
pub(super) struct BaselineArgs {
    #[command(flatten)]
    pub(super) what: What,
    /// Why these findings are accepted; kept with each new entry.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Day after which new entries count no more: `2026-12-31`.
    #[arg(long, value_name = "DAY")]
    pub(super) expires: Option<String>,
    /// Replace a baseline that is there.
    #[arg(long)]
    pub(super) force: bool,
}

/// What is checked, and how.
#[derive(Debug, Args)]
pub(super) struct What {
    /// Files, folders, patterns; `-` is standard input [default: `files` of `[lint]`, else what is piped in].
    #[arg(value_name = "FILE")]
    pub(super) inputs: Vec<PathBuf>,
    /// Only rows added to the files since this git revision.
    #[arg(long, value_name = "REV", help_heading = INPUT)]
    pub(super) changed_since: Option<String>,
    /// Key of the presend server; rather put it into `PRESEND_API_KEY`.
    #[arg(long, value_name = "KEY", env = "PRESEND_API_KEY", hide_env_values = true, help_heading = ASKING)]
    pub(super) key: Option<String>,
    /// Threads that look at rows [default: one for each core].
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true, help_heading = OUTPUT)]
    pub(super) threads: usize,
    /// Say nothing on standard error but errors.
    #[arg(long, short, help_heading = OUTPUT)]
    pub(super) quiet: bool,
    #[command(flatten)]
    pub(super) layout: LayoutArgs,
    #[command(flatten)]
    pub(super) lint: LintOverlay,
    #[command(flatten)]
    pub(super) config: ConfigFile,
    #[command(flatten)]
    pub(super) overlay: Overlay,
}

/// What is written anew.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of the command line, each on its own"
)]
pub(super) struct Repair {
    /// Repair what is safe: white space and brackets around addresses, case of the domain, NFC, a trailing dot, rows that are equal in
    /// every cell. In place, with the differences on standard error.
    #[arg(long, help_heading = REPAIR)]
    pub(super) fix: bool,
    /// Also take the suggestions for mistyped domains.
    #[arg(long, help_heading = REPAIR)]
    pub(super) fix_suggested: bool,
    /// Write the repaired list here and leave the file as it is.
    #[arg(long, value_name = "FILE", help_heading = REPAIR)]
    pub(super) fix_output: Option<PathBuf>,
    /// Only show what would be repaired.
    #[arg(long, help_heading = REPAIR)]
    pub(super) diff: bool,
    /// Write the rows of X to X.valid, X.invalid and X.review.
    #[arg(long, help_heading = REPAIR)]
    pub(super) split: bool,
    /// Write row, column, rule and message of every finding to this CSV file, without addresses.
    #[arg(long, value_name = "FILE", help_heading = REPAIR)]
    pub(super) errors_file: Option<PathBuf>,
}

const RULES: &str = "Rules";
const INPUT: &str = "Input";
const LIMITS: &str = "Limits";
const ASKING: &str = "Asking";
const OUTPUT: &str = "Output";
const REPAIR: &str = "Repair";

/// Every setting of `presend lint`, none of them required: `[lint]` in the file.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in super::super) struct LintOverlay {
    /// Only these rules: names, codes (`PS403`), groups (`PS4`), `all` [default: those that are on].
    #[arg(long, value_name = "RULE", value_delimiter = ',', env = "PRESEND_LINT_SELECT", help_heading = RULES)]
    pub(super) select: Option<Vec<String>>,
    /// Not these rules; `unknown/greylisted` lets one reason pass.
    #[arg(long, value_name = "RULE", value_delimiter = ',', env = "PRESEND_LINT_IGNORE", help_heading = RULES)]
    pub(super) ignore: Option<Vec<String>>,
    /// Other severities: `role=off,free=note,duplicate=error`.
    #[arg(long, value_name = "RULE=SEVERITY,...", env = "PRESEND_LINT_SEVERITY", help_heading = RULES)]
    pub(super) severity: Option<Weights>,
    /// What fails by itself: rules, severities, or `none` [default: error, but for what a threshold counts].
    #[arg(long, value_name = "RULE", value_delimiter = ',', env = "PRESEND_LINT_FAIL_ON", help_heading = LIMITS)]
    pub(super) fail_on: Option<Vec<String>>,
    /// Most invalid rows: `2%` or `10`.
    #[arg(long, value_name = "LIMIT", env = "PRESEND_LINT_MAX_INVALID", help_heading = LIMITS)]
    pub(super) max_invalid: Option<Threshold>,
    /// Most rows nobody could tell about; more is incomplete (3) [default: 10%].
    #[arg(long, value_name = "LIMIT", env = "PRESEND_LINT_MAX_UNKNOWN", help_heading = LIMITS)]
    pub(super) max_unknown: Option<Threshold>,
    /// Most rows at domains that take everything.
    #[arg(long, value_name = "LIMIT", env = "PRESEND_LINT_MAX_CATCH_ALL", help_heading = LIMITS)]
    pub(super) max_catch_all: Option<Threshold>,
    /// Most rows that stand there already.
    #[arg(long, value_name = "LIMIT", env = "PRESEND_LINT_MAX_DUPLICATES", help_heading = LIMITS)]
    pub(super) max_duplicates: Option<Threshold>,
    /// Fewer rows fail.
    #[arg(long, value_name = "COUNT", env = "PRESEND_LINT_MIN_ROWS", help_heading = LIMITS)]
    pub(super) min_rows: Option<u64>,
    /// Warn from this share of hard bounces on [default: 1%].
    #[arg(long, value_name = "LIMIT", env = "PRESEND_LINT_WARN_BOUNCES", help_heading = LIMITS)]
    pub(super) warn_bounces: Option<Threshold>,
    /// Fail from this share of hard bounces on [default: 2%].
    #[arg(long, value_name = "LIMIT", env = "PRESEND_LINT_MAX_BOUNCES", help_heading = LIMITS)]
    pub(super) max_bounces: Option<Threshold>,
    /// File of known findings: only new ones fail.
    #[arg(long, value_name = "FILE", env = "PRESEND_LINT_BASELINE", help_heading = LIMITS)]
    pub(super) baseline: Option<PathBuf>,
    /// File with the key of the baseline, in place of the variable `PRESEND_BASELINE_KEY`.
    #[arg(long, value_name = "FILE", env = "PRESEND_LINT_BASELINE_KEY_FILE", help_heading = LIMITS)]
    pub(super) baseline_key_file: Option<PathBuf>,
    /// Database to take answers from and keep them in; one file that a CI cache can restore.
    #[arg(long, value_name = "FILE", env = "PRESEND_LINT_CACHE", help_heading = ASKING)]
    pub(super) cache: Option<PathBuf>,
    /// Use no answers from the cache that are older [default: domains 3days, mailboxes as `--max-age`].
    #[arg(long, value_name = "DURATION", env = "PRESEND_LINT_MAX_CACHE_AGE", help_heading = ASKING)]
    pub(super) max_cache_age: Option<Span>,
    /// Ask this presend server instead of the DNS and mail hosts.
    #[arg(long, value_name = "URL", env = "PRESEND_LINT_API", help_heading = ASKING)]
    pub(super) api: Option<String>,
    /// A report: `FORMAT` to standard output or `FORMAT=FILE`; text, json, jsonl, junit, sarif, github, gitlab, markdown, csv.
    /// Repeatable [default: text].
    #[arg(long, short, value_name = "FORMAT[=FILE]", env = "PRESEND_LINT_OUTPUT", help_heading = OUTPUT)]
    pub(super) output: Option<Vec<OutputSpec>>,
    /// How much of addresses reports hide [default: local, which shows `j***@example.com`].
    #[arg(long, value_enum, value_name = "HOW", env = "PRESEND_LINT_REDACT", help_heading = OUTPUT)]
    pub(super) redact: Option<MaskingName>,
    /// What is checked when no file is named; only in the file.
    #[arg(skip)]
    pub(super) files: Option<Vec<PathBuf>>,
    /// Column of the addresses, as `--column`; only in the file.
    #[arg(skip)]
    pub(super) column: Option<String>,
    /// How far to ask, as `--level`; only in the file, where it goes before the `level` of other commands.
    #[arg(skip)]
    pub(super) level: Option<super::super::values::LevelName>,
    /// Rules for some files; only in the file.
    #[arg(skip)]
    #[serde(rename = "override")]
    pub(super) overrides: Option<Vec<FileRules>>,
}

/// `[[lint.override]]`: rules of the files that a pattern matches.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileRules {
    /// Patterns, relative to the configuration file.
    files: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    select: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignore: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<Weights>,
}

/// `[lint.severity]` in the file, `role=off,free=note` on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Weights(BTreeMap<String, Weight>);

impl FromStr for Weights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let entry = |entry: &str| {
            let (rule, severity) = entry
                .split_once('=')
                .ok_or("write `RULE=SEVERITY`, such as `role=off`")?;
            let severity = match severity {
                "error" => Weight::Error,
                "warning" => Weight::Warning,
                "note" => Weight::Note,
                "off" => Weight::Off,
                _ => return Err("the severities are `error`, `warning`, `note`, `off`"),
            };
            Ok((rule.to_owned(), severity))
        };
        let entries: Result<_, &str> = text.split(',').map(entry).collect();
        entries.map(Self).map_err(str::to_owned)
    }
}

/// [`Masking`] as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MaskingName {
    /// Addresses are shown.
    None,
    /// `j***@example.com`
    Local,
    /// Nothing of an address is shown.
    All,
}

impl From<MaskingName> for Masking {
    fn from(name: MaskingName) -> Self {
        match name {
            MaskingName::None => Self::None,
            MaskingName::Local => Self::Local,
            MaskingName::All => Self::All,
        }
    }
}

/// `sarif=lint.sarif`; without a file it is standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct OutputSpec {
    pub(super) format: Format,
    pub(super) file: Option<PathBuf>,
}

impl FromStr for OutputSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, file) = match text.split_once('=') {
            Some((name, file)) => (name, Some(file)),
            None => (text, None),
        };
        let format = Format::ALL.into_iter().find(|format| format.name() == name);
        let names = || Format::ALL.map(Format::name).join(", ");
        let format = format.ok_or_else(|| format!("there is no format `{name}`; the formats are {}", names()))?;
        if file == Some("") {
            return Err("name a file after the `=`, or leave the `=` out".into());
        }
        let file = file.filter(|file| *file != "-").map(PathBuf::from);
        Ok(Self { format, file })
    }
}

impl fmt::Display for OutputSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}={}", self.format.name(), file.display()),
            None => f.write_str(self.format.name()),
        }
    }
}
as_text!(OutputSpec);

impl LintOverlay {
    /// What holds when nobody says anything.
    pub(in super::super) fn defaults() -> Self {
        let gates = Gates::default();
        Self {
            fail_on: Some(vec![Severity::Error.name().to_owned()]),
            max_unknown: Some(gates.unknown),
            min_rows: Some(gates.least_rows),
            warn_bounces: Some(gates.warn_bounces),
            max_bounces: Some(gates.fail_bounces),
            output: Some(vec![OutputSpec {
                format: Format::Text,
                file: None,
            }]),
            redact: Some(MaskingName::Local),
            ..Self::default()
        }
    }

    /// What was typed over what is in the file.
    pub(super) fn over(self, file: Self) -> Self {
        Self {
            select: self.select.or(file.select),
            ignore: self.ignore.or(file.ignore),
            severity: self.severity.or(file.severity),
            fail_on: self.fail_on.or(file.fail_on),
            max_invalid: self.max_invalid.or(file.max_invalid),
            max_unknown: self.max_unknown.or(file.max_unknown),
            max_catch_all: self.max_catch_all.or(file.max_catch_all),
            max_duplicates: self.max_duplicates.or(file.max_duplicates),
            min_rows: self.min_rows.or(file.min_rows),
            warn_bounces: self.warn_bounces.or(file.warn_bounces),
            max_bounces: self.max_bounces.or(file.max_bounces),
            baseline: self.baseline.or(file.baseline),
            baseline_key_file: self.baseline_key_file.or(file.baseline_key_file),
            cache: self.cache.or(file.cache),
            max_cache_age: self.max_cache_age.or(file.max_cache_age),
            api: self.api.or(file.api),
            output: self.output.or(file.output),
            redact: self.redact.or(file.redact),
            files: self.files.or(file.files),
            column: self.column.or(file.column),
            level: self.level.or(file.level),
            overrides: self.overrides.or(file.overrides),
        }
    }

    /// Keys that no flag has: name, form and what they are for.
    pub(in super::super) fn only_in_file() -> [(&'static str, &'static str, &'static str); 4] {
        [
            ("files", "strings", "What is checked when no file is named"),
            ("column", "string", "Column of the addresses, as --column"),
            (
                "level",
                "level",
                "How far to ask, as --level; goes before the level of other commands",
            ),
            ("override", "overrides", "Rules of the files that a pattern matches"),
        ]
    }

    /// Names in the file are relative to it.
    pub(in super::super) fn relative_to(&mut self, folder: &Path) {
        let single = [&mut self.baseline, &mut self.baseline_key_file, &mut self.cache];
        let reports = self
            .output
            .iter_mut()
            .flatten()
            .filter_map(|output| output.file.as_mut());
        let files = self.files.iter_mut().flatten();
        for path in single.into_iter().flatten().chain(reports).chain(files) {
            *path = folder.join(&*path);
        }
    }

    /// The rules that are chosen for every file.
    pub(super) fn choice(&self) -> Choice {
        choice(self.select.as_ref(), self.ignore.as_ref(), self.severity.as_ref())
    }

    /// The rules that are chosen for some files.
    pub(super) fn overrides(&self) -> anyhow::Result<Vec<Override>> {
        let all = self.overrides.iter().flatten();
        all.map(|one| {
            if one.files.is_empty() {
                return Err(fault(
                    "an override of `[lint]` names no files",
                    "add `files = [\"seeds/**\"]` to it",
                ));
            }
            Ok(Override::new(
                &one.files,
                choice(one.select.as_ref(), one.ignore.as_ref(), one.severity.as_ref()),
            )?)
        })
        .collect()
    }

    /// The limits.
    pub(super) fn gates(&self) -> anyhow::Result<Gates> {
        let default = Gates::default();
        let mut gates = Gates {
            severities: Vec::new(),
            invalid: self.max_invalid,
            duplicates: self.max_duplicates,
            catch_all: self.max_catch_all,
            unknown: self.max_unknown.unwrap_or(default.unknown),
            least_rows: self.min_rows.unwrap_or(default.least_rows),
            warn_bounces: self.warn_bounces.unwrap_or(default.warn_bounces),
            fail_bounces: self.max_bounces.unwrap_or(default.fail_bounces),
            ..default
        };
        for word in self.fail_on.iter().flatten() {
            match Severity::named(word) {
                Some(severity) => gates
                    .severities
                    .extend(Severity::ALL.into_iter().filter(|other| *other <= severity)),
                None if word == "none" => {}
                None => {
                    let rules = Rule::matching(word);
                    if rules.is_empty() {
                        let said = format!("`{}` is neither a rule nor a severity", word.escape_debug());
                        return Err(fault(
                            said,
                            "`presend lint --rules` lists the rules; the severities are error, warning, note",
                        ));
                    }
                    for rule in rules {
                        gates.rules.add(rule);
                    }
                }
            }
        }
        Ok(gates)
    }
}

fn choice(select: Option<&Vec<String>>, ignore: Option<&Vec<String>>, severity: Option<&Weights>) -> Choice {
    let weights = severity.into_iter().flat_map(|weights| &weights.0);
    Choice {
        select: select.cloned(),
        ignore: ignore.cloned().unwrap_or_default(),
        severity: weights.map(|(rule, weight)| (rule.clone(), *weight)).collect(),
    }
}
