//! What can be typed. Texts here are the manual: every command's long help has examples.

use std::{net::IpAddr, path::PathBuf};

use clap::{
    Args, CommandFactory, Parser, Subcommand,
    builder::styling::{AnsiColor, Styles},
};

use super::{
    bounces::BouncesArgs, config::ConfigFile, keys::KeysArgs, patience::Until, refresh::RefreshArgs, serve::ServeArgs,
    settings::Overlay, suppress::SuppressArgs, values::BounceKinds,
};
use crate::{
    output::{Format, Only},
    smtp::Stage,
};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "presend", version, styles = STYLES, about = "Tells, before a message is sent, what will happen to mail for an address", long_about = LONG_ABOUT, after_long_help = EXIT_CODES, max_term_width = 100)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

const LONG_ABOUT: &str = "\
Tells, before a message is sent, what will happen to mail for an address.

presend checks the form of the address, finds where mail for its domain goes, and asks that mail host \
whether it takes the recipient. It never sends a message. Every answer is one of four labels, always with a reason:

  valid      the host took this recipient and is known to refuse unknown ones
  invalid    mail would bounce: a syntax fault, no such domain, no mail host, no such mailbox
  catch-all  the host takes everything, so its yes says nothing about this mailbox
  unknown    nobody could tell; the reason says why and what to do

Start with `presend demo`: it needs no network and no configuration.";

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    a check failed
  2    usage, configuration, input or output
  3    incomplete: network or port 25 blocked, too much unknown
  130  interrupted

Settings come from flags, then variables, then presend.toml, then defaults. `--helo-name` is `PRESEND_HELO_NAME` \
and `helo_name`, and so on; `presend config show` prints them all. NO_COLOR turns colours off.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    // A doc comment here would take the place of the long texts of these arguments.
    Check(Box<CheckArgs>),
    Verify(Box<VerifyArgs>),
    Refresh(Box<RefreshArgs>),
    Jobs(JobsArgs),
    /// Tell what SMTP replies mean, and about whom
    Classify(Box<ClassifyArgs>),
    Doctor(Box<DoctorArgs>),
    Serve(Box<ServeArgs>),
    Keys(KeysArgs),
    Bounces(BouncesArgs),
    Suppress(SuppressArgs),
    /// The bundled lists: counts, dates, sources
    Lists(ListsArgs),
    /// Serve a miniature internet from a TOML file, to test against
    Lab(LabArgs),
    Demo(DemoArgs),
    /// Print every reason and class with what it means, what to do and other systems' names
    Reasons(ReasonsArgs),
    /// Show or check the configuration
    Config(ConfigArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Print the manual page
    Man(ManArgs),
}

/// `presend check`
#[derive(Debug, Args)]
#[command(
    about = "Check a few addresses and explain the answers",
    long_about = "Check a few addresses and explain the answers.\n\nWithout `--helo-name` and `--mail-from` the mail host \
    is not asked, and the answer stops at the domain's mail route.",
    after_long_help = "\
Examples:
  presend check jane.doe@example.com
  presend check -v jane.doe@example.com            the dialogue and the rule that decided
  presend check --json a@example.com b@example.org  one result a line, for programs
  presend check --level syntax 'jane..doe@example.com'

Exit codes: 0 answered, whatever the answer; 3 a network fault left an address unknown."
)]
pub(super) struct CheckArgs {
    /// The addresses; quote what the shell would read.
    #[arg(required = true, value_name = "ADDRESS")]
    pub(super) addresses: Vec<String>,
    /// Show the dialogue with the mail host and the rule that decided.
    #[arg(long, short)]
    pub(super) verbose: bool,
    /// One JSON result a line.
    #[arg(long)]
    pub(super) json: bool,
    /// Put the dialogue into JSON results.
    #[arg(long)]
    pub(super) transcript: bool,
    #[command(flatten)]
    pub(super) config: ConfigFile,
    #[command(flatten)]
    pub(super) overlay: Overlay,
}

/// `presend verify`
#[derive(Debug, Args)]
#[command(
    about = "Check lists: CSV, TSV, text, NDJSON or XLSX in, the same plus labels out",
    long_about = "Check lists: CSV, TSV, text, NDJSON or XLSX in, the same plus labels out. gzip and zstd are unpacked.\n\nRows come out in the order they came \
    in, with every original column and `presend_*` columns after them; equal addresses are asked about once. The format, \
    the encoding, the delimiter and the address column are guessed and reported.",
    after_long_help = "\
Examples:
  presend verify leads.csv --output checked.csv
  presend verify leads.csv --column Email --split out/      out/send.csv, out/hold.csv, out/drop.csv
  presend verify leads.csv --only send > mailing.csv
  presend verify crm.ndjson.gz --format ndjson --level dns
  presend verify leads.xlsx --sheet Contacts --output checked.xlsx
  presend verify leads.csv events.xlsx more.txt.gz --output all.csv.gz   several files, one job
  presend verify leads.csv --dry-run                            how many questions, to whom, how long; asks no mail host
  presend verify leads.csv --output checked.csv --until 2h      stop politely then; `presend jobs resume` goes on
  presend verify leads.csv --helo-name probe.example.com --mail-from postmaster@example.com

CSV cells that a spreadsheet would run as a formula get a ' in front; `--raw` leaves them as they are.
Ctrl-C once: what is known is written and the program ends with 130. Twice: it ends at once."
)]
pub(super) struct VerifyArgs {
    /// The lists; `-` is standard input, and the default when something is piped in. Several are one job: addresses that
    /// are in two of them are asked about once, and `presend_file` says where each row comes from.
    #[arg(value_name = "FILE")]
    pub(super) inputs: Vec<PathBuf>,
    /// Ask no longer than this, `2h`, or until then, `18:30Z`; the rest is left for `presend jobs resume`.
    #[arg(long, value_name = "DURATION|TIME")]
    pub(super) until: Option<Until>,
    /// Only say what would be done: how many questions to which groups of mail hosts, and how long that takes. Looks up DNS,
    /// asks no mail host, keeps no job, writes no results; with `--json` as one object.
    #[arg(long, conflicts_with_all = ["until", "output", "split", "only", "format", "transcript"])]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) layout: LayoutArgs,
    #[command(flatten)]
    pub(super) results: ResultArgs,
    #[command(flatten)]
    pub(super) display: DisplayArgs,
    #[command(flatten)]
    pub(super) config: ConfigFile,
    #[command(flatten)]
    pub(super) overlay: Overlay,
}

const INPUT: &str = "Input";
const OUTPUT: &str = "Output";

#[derive(Debug, Args)]
pub(super) struct LayoutArgs {
    /// Column of the addresses: a header name, or a number from 1 [default: guessed and reported].
    #[arg(long, value_name = "NAME|NUMBER", help_heading = INPUT)]
    pub(super) column: Option<String>,
    /// Format of the input [default: guessed].
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = INPUT)]
    pub(super) input_format: Option<InputFormatName>,
    /// Sheet of an XLSX workbook: its name, or its number from 1 [default: the first that is not hidden].
    #[arg(long, value_name = "NAME|NUMBER", help_heading = INPUT)]
    pub(super) sheet: Option<String>,
    /// The first row is a header [default: guessed].
    #[arg(long, overrides_with = "no_header", help_heading = INPUT)]
    pub(super) header: bool,
    /// The first row is an address already.
    #[arg(long, help_heading = INPUT)]
    pub(super) no_header: bool,
}

/// How results are to look, and where they go.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four switches of the command line, each on its own"
)]
pub(super) struct ResultArgs {
    /// Format of the output [default: `table` on a terminal, `ndjson` for NDJSON, else `csv`].
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = OUTPUT)]
    pub(super) format: Option<FormatName>,
    /// File to write; it appears when it is complete, and its name tells the format: `.csv`, `.ndjson`, `.json`, `.xlsx`, each
    /// also with `.gz` or `.zst` [default: standard output].
    #[arg(long, short, value_name = "FILE", help_heading = OUTPUT)]
    pub(super) output: Option<PathBuf>,
    /// Only rows with this action or label: send, hold, drop, valid, catch-all, unknown, invalid. Repeatable.
    #[arg(long, value_name = "WHICH", value_delimiter = ',', help_heading = OUTPUT)]
    pub(super) only: Vec<Only>,
    /// Folder for one file of each action: `send.csv`, `hold.csv`, `drop.csv`.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output", "only"], help_heading = OUTPUT)]
    pub(super) split: Option<PathBuf>,
    /// Leave CSV cells as they are, even those a spreadsheet would run as a formula.
    #[arg(long, help_heading = OUTPUT)]
    pub(super) raw: bool,
    /// Mask local-parts in everything that is written (`j***@example.com`), for results that are shown to others.
    #[arg(long, help_heading = OUTPUT)]
    pub(super) redact: bool,
    /// One JSON document: the same as `--format json`.
    #[arg(long, conflicts_with = "format", help_heading = OUTPUT)]
    pub(super) json: bool,
    /// Put the dialogue into JSON results.
    #[arg(long, help_heading = OUTPUT)]
    pub(super) transcript: bool,
}

#[derive(Debug, Args)]
pub(super) struct DisplayArgs {
    /// Progress on standard error [default: auto, which is on a terminal].
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Auto, hide_default_value = true, help_heading = OUTPUT)]
    pub(super) progress: When,
    /// Neither progress nor summary.
    #[arg(long, short, help_heading = OUTPUT)]
    pub(super) quiet: bool,
    /// Also say how much was asked of the mail hosts.
    #[arg(long, short, conflicts_with = "quiet", help_heading = OUTPUT)]
    pub(super) verbose: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum When {
    /// When standard error is a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum InputFormatName {
    /// One address a line.
    Text,
    /// Delimited text; the delimiter is found.
    Csv,
    /// The same as csv.
    Tsv,
    /// One JSON object or string a line.
    Ndjson,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum FormatName {
    /// The original columns and `presend_*` after them.
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// One JSON array.
    Json,
    /// Aligned columns for people.
    Table,
    /// A workbook with the columns of csv.
    Xlsx,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Csv => Self::Csv,
            FormatName::Ndjson => Self::Ndjson,
            FormatName::Json => Self::Json,
            FormatName::Table => Self::Table,
            FormatName::Xlsx => Self::Xlsx,
        }
    }
}

/// `presend classify`
#[derive(Debug, Args)]
#[command(
    long_about = "Tell what SMTP replies mean, and about whom.\n\nOne reply as an argument (`\\n` in it is a line end), or many: a \
    file or a pipe with one reply a line, as text (`550-...` lines belong to the `550 ...` after them) or as NDJSON. A line that \
    starts with `{` is JSON; `stage`, `provider` and `mx` may be left out and then are the options'. Nobody is asked.",
    after_long_help = "\
Examples:
  presend classify '550 5.1.1 <jane@example.com>: User unknown'
  presend classify --provider yandex '550 5.7.1 No such user!'
  presend classify --stage mail '550-no PTR\\n550 see https://example.com'
  presend classify --json - < replies.txt
  echo '{\"reply\":\"450 4.2.0 Greylisted\",\"stage\":\"rcpt\",\"provider\":null,\"mx\":\"mx1.example.com\"}' | presend classify --json

With `--json`, one object a line: what was asked, every other member of the input, then `class`, `about`, `persistence`,
`evidence`, `confidence`, `rule`, `retry_after_s`, `blocklist`, `bounce` and `label` (`invalid`, `accepted` or `unknown`, if nothing
else is known). A reply that is not SMTP has the class `protocol_error` and the rule `not_smtp`. A line that cannot be used is
answered by `{\"line\":3,\"error\":\"...\"}`, and the run goes on.

Exit codes: 0 every line was read, whatever it means; 2 some line could not be used, or there was none."
)]
pub(super) struct ClassifyArgs {
    /// The reply, or a file of replies; `-` is standard input, and the default when something is piped in.
    #[arg(value_name = "REPLY|FILE")]
    pub(super) reply: Option<String>,
    /// Where in the dialogue it was given: connect, greeting, ehlo, start_tls, mail, rcpt, rset, quit, data.
    #[arg(long, value_name = "STAGE", default_value = "rcpt")]
    pub(super) stage: Stage,
    /// Provider whose host said it: an id or an alias, such as `google` or `gmail`.
    #[arg(long, value_name = "NAME", conflicts_with = "mx")]
    pub(super) provider: Option<String>,
    /// MX host that said it; the provider is recognised by its name.
    #[arg(long, value_name = "HOST")]
    pub(super) mx: Option<String>,
    /// One JSON object a line.
    #[arg(long)]
    pub(super) json: bool,
    /// File of reply rules, tried before the bundled ones.
    #[arg(long, value_name = "FILE", env = "PRESEND_REPLIES")]
    pub(super) replies: Option<PathBuf>,
    /// Forecast another kind of bounce (hard, soft, pending, none) for a class of `presend reasons`.
    #[arg(long, value_name = "CLASS=KIND,...", env = "PRESEND_BOUNCE")]
    pub(super) bounce: Option<BounceKinds>,
    #[command(flatten)]
    pub(super) config: ConfigFile,
}

/// `presend jobs`
#[derive(Debug, Args)]
#[command(
    about = "Lists verified or being verified: list, show, resume, export, cancel, delete",
    after_long_help = "\
Examples:
  presend jobs list
  presend jobs show k7mq                      the first letters of an id are enough
  presend jobs delete k7mq                    rows, answers and all that others could reuse of them
  presend jobs list --json | jq -r '.[] | select(.state == \"done\") | .id'

Every `presend verify FILE` is a job in the database (`--db`), unless it was told `--no-store`."
)]
pub(super) struct JobsArgs {
    #[command(subcommand)]
    pub(super) command: JobsCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum JobsCommand {
    /// Every job, newest first
    List {
        /// One JSON array.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        database: DatabaseArgs,
    },
    /// One job: counts, who works on it, what to do next
    Show {
        /// Its id, or the first letters of it.
        id: String,
        /// One JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        database: DatabaseArgs,
    },
    /// Go on with a job: what is answered is written again, the rest is asked
    Resume(Box<ResumeArgs>),
    /// Write the rows of a job with what is known so far, asking nobody
    Export(Box<ExportArgs>),
    /// Everything that was ever said about an address: when, in which job, by which reply and rule
    History {
        /// The address.
        address: String,
        /// One JSON array.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        database: DatabaseArgs,
    },
    /// Give up a job that is not finished; what was answered stays
    Cancel {
        /// Its id, or the first letters of it.
        id: String,
        /// One JSON object: the job as it is then.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        database: DatabaseArgs,
    },
    /// Delete jobs with rows, answers and evidence, and overwrite the space they had
    Delete {
        /// Their ids, or the first letters of them.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// One JSON array: the jobs as they were.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        database: DatabaseArgs,
    },
}

/// `presend jobs resume`
#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    /// Its id, or the first letters of it.
    pub(super) id: String,
    /// The list again: an error if its rows are others than the job's.
    #[arg(value_name = "FILE")]
    pub(super) inputs: Vec<PathBuf>,
    /// Ask no longer than this, `2h`, or until then, `18:30Z`; the rest is left for `presend jobs resume`.
    #[arg(long, value_name = "DURATION|TIME")]
    pub(super) until: Option<Until>,
    #[command(flatten)]
    pub(super) layout: LayoutArgs,
    #[command(flatten)]
    pub(super) results: ResultArgs,
    #[command(flatten)]
    pub(super) display: DisplayArgs,
    #[command(flatten)]
    pub(super) config: ConfigFile,
    #[command(flatten)]
    pub(super) overlay: Overlay,
}

/// `presend jobs export`
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Its id, or the first letters of it.
    pub(super) id: String,
    #[command(flatten)]
    pub(super) results: ResultArgs,
    #[command(flatten)]
    pub(super) display: DisplayArgs,
    #[command(flatten)]
    pub(super) database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(super) struct DatabaseArgs {
    /// Database of jobs and answers [default: `presend/presend.db` in the XDG state folder].
    #[arg(long, value_name = "FILE", env = "PRESEND_DB")]
    pub(super) db: Option<PathBuf>,
    #[command(flatten)]
    pub(super) config: ConfigFile,
}

/// `presend doctor`
#[derive(Debug, Args)]
#[command(
    about = "May this machine probe? Port 25, names, SPF, blocklists, resolver, clock",
    long_about = "May this machine probe?\n\nOne line for each thing that mail hosts look at before they answer: pass, warn, fail or \
    skip, what was seen, what to do. It connects only to the hosts you name, else to those of your reverse-path's domain, \
    reads the greeting and says QUIT. The DNS is asked about your own names, and a few blocklists about your address.",
    after_long_help = "\
Examples:
  presend doctor --host mx.example.net
  presend doctor --helo-name probe.example.com --mail-from bounces@example.com --json
  presend doctor --public-ip 192.0.2.7         behind NAT, as in most clouds
  presend doctor --blocklists none             ask no blocklist

Exit codes: 0 nothing failed (warnings and skipped checks count as that); 1 a check failed; 2 usage or configuration; \
3 nothing could be found out, because neither the name server nor any mail host answers."
)]
pub(super) struct DoctorArgs {
    /// Mail host, domain or address to connect to: one of yours or of a friend, never a stranger's. Repeatable [default: the MX
    /// of the reverse-path's domain].
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub(super) host: Vec<String>,
    /// Address that the internet sees, where this machine has another one (NAT). Repeatable [default: the machine's own].
    #[arg(long, value_name = "IP", value_delimiter = ',', env = "PRESEND_PUBLIC_IP")]
    pub(super) public_ip: Vec<IpAddr>,
    /// File of blocklists to ask in the place of the bundled ones (lists/blocklists.toml shows the form), or `none`.
    #[arg(long, value_name = "FILE|none", env = "PRESEND_BLOCKLISTS")]
    pub(super) blocklists: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) config: ConfigFile,
    #[command(flatten)]
    pub(super) overlay: Overlay,
}

/// `presend lists`
#[derive(Debug, Args)]
pub(super) struct ListsArgs {
    #[command(subcommand)]
    pub(super) command: ListsCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum ListsCommand {
    /// Counts, dates, sources and licences
    Show {
        /// Only this list.
        name: Option<String>,
        /// One JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Check that the bundled lists keep their promises
    Check {
        /// One JSON array.
        #[arg(long)]
        json: bool,
    },
}

/// `presend lab`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  presend lab world.toml
  presend check jane@known.example --nameserver 127.0.0.1:PORT --smtp-port PORT --allow-special-use \\
      --helo-name probe.example --mail-from probe@probe.example

It prints the ports, and when it ends what every host saw. The file's format is in docs/lab.md.")]
pub(super) struct LabArgs {
    /// The world.
    #[arg(value_name = "WORLD.toml")]
    pub(super) world: PathBuf,
}

/// `presend demo`
#[derive(Debug, Args)]
#[command(
    about = "See every label on a sample list, without network or configuration",
    long_about = "See every label on a sample list, without network or configuration.\n\nStarts a miniature internet on \
    this machine (DNS and mail hosts on 127.0.0.0/8) and verifies a list of 76 rows against it."
)]
pub(super) struct DemoArgs {
    /// One JSON document instead of the table.
    #[arg(long)]
    pub(super) json: bool,
    /// Neither progress nor summary.
    #[arg(long, short)]
    pub(super) quiet: bool,
}

/// `presend reasons`
#[derive(Debug, Args)]
pub(super) struct ReasonsArgs {
    /// One JSON array: objects with the key `reason`, then objects with the key `class`.
    #[arg(long)]
    pub(super) json: bool,
    /// The page `docs/reasons.md`.
    #[arg(long, conflicts_with = "json")]
    pub(super) markdown: bool,
}

/// `presend config`
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    pub(super) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Every setting with its value and where it comes from
    Show(Box<ShowArgs>),
    /// Check a configuration file
    Check {
        /// The file [default: the one that would be read].
        file: Option<PathBuf>,
    },
    /// Print a configuration file with every setting, what it does and its default
    Example,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// One JSON object.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) config: ConfigFile,
    #[command(flatten)]
    pub(super) overlay: Overlay,
}

/// `presend completions`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  presend completions bash > ~/.local/share/bash-completion/completions/presend
  presend completions zsh > ~/.zfunc/_presend
  presend completions fish > ~/.config/fish/completions/presend.fish")]
pub(super) struct CompletionsArgs {
    /// The shell.
    pub(super) shell: clap_complete::Shell,
}

/// `presend man`
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The page of one command: `presend man verify`.
    pub(super) command: Option<String>,
}

/// The command line as clap knows it. Values of variables stay out of the help: they may be private.
pub(super) fn command() -> clap::Command {
    without_variables(Cli::command())
}

fn without_variables(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| arg.hide_env_values(true).hide_env(true))
        .mut_subcommands(without_variables)
}
