//! The command line: what was typed (`args`), what to do (`settings`), one file for each command.
//!
//! Owns exit codes and every word printed for people. Must not decide anything about an address.

mod args;
mod bounces;
mod check;
mod classify;
mod config;
mod database;
mod demo;
mod doctor;
mod dry_run;
mod example;
mod fault;
mod jobs;
mod keys;
mod lab;
mod lists;
mod notify;
mod outward;
mod ownership;
mod paint;
mod patience;
mod progress;
mod reasons;
mod refresh;
mod replies;
mod serve;
mod settings;
mod shell;
mod show;
mod signal;
mod summary;
mod suppress;
mod values;
mod verify;

use std::{ffi::OsString, io, path::Path, process::ExitCode};

use clap::{ArgMatches, FromArgMatches};

use args::{Cli, Command};

use crate::net::raise_open_file_limit;

/// How a command ended (DESIGN section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// A check failed.
    Failed,
    /// Usage, configuration or input and output.
    Usage,
    /// Too much stayed unknown, or the network or port 25 is blocked.
    Incomplete,
    /// Interrupted.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Incomplete => 3,
            Exit::Interrupted => 130,
        })
    }
}

/// Whether a configuration file holds settings as `presend config check` wants them, the files that it names aside.
///
/// # Errors
/// The message for people.
pub fn read_config(text: &str, path: &Path) -> Result<(), String> {
    config::parse(text, path)
        .map(drop)
        .map_err(|error| fault::sentence(&error))
}

/// Runs the program with its arguments, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let parsed = args::command()
        .try_get_matches_from(arguments)
        .and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and version are data, errors are not: clap knows which goes where.
            let printed = error.print();
            let bad = error.use_stderr() || printed.is_err_and(|error| error.kind() != io::ErrorKind::BrokenPipe);
            return if bad { Exit::Usage } else { Exit::Done };
        }
    };
    // A server has a log of its own.
    if !matches!(cli.command, Command::Serve(_)) {
        start_log();
    }
    raise_open_file_limit();
    match dispatch(cli.command, &matches) {
        Ok(exit) => exit,
        Err(error) if fault::is_broken_pipe(&error) => Exit::Done,
        Err(error) => {
            fault::report(&error);
            Exit::Usage
        }
    }
}

fn dispatch(command: Command, matches: &ArgMatches) -> anyhow::Result<Exit> {
    // The matches of the innermost command know which values came from the environment.
    let mut inner = matches;
    while let Some((_, sub)) = inner.subcommand() {
        inner = sub;
    }
    match command {
        Command::Check(args) => check::run(&args, inner),
        Command::Verify(args) => verify::run(&args, inner),
        Command::Jobs(args) => jobs::run(&args, inner),
        Command::Refresh(args) => refresh::run(&args, inner),
        Command::Classify(args) => classify::run(&args, inner),
        Command::Doctor(args) => doctor::run(&args, inner),
        Command::Serve(args) => serve::run(&args, inner),
        Command::Bounces(args) => bounces::run(&args, inner),
        Command::Keys(args) => keys::run(&args, inner),
        Command::Suppress(args) => suppress::run(&args, inner),
        Command::Lists(args) => lists::run(&args),
        Command::Lab(args) => lab::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Reasons(args) => reasons::run(&args),
        Command::Config(args) => show::run(&args, inner),
        Command::Completions(args) => shell::completions(&args, &mut args::command()),
        Command::Man(args) => shell::man(&args, &args::command()),
    }
}

/// Logs are for developers: nothing is set up unless `PRESEND_LOG` asks for it, so that a check starts at once.
fn start_log() {
    if std::env::var_os("PRESEND_LOG").is_some() {
        // A second logger in one process (tests) is refused, which is fine.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_env("PRESEND_LOG"))
            .with_writer(io::stderr)
            .try_init();
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        args::command().debug_assert();
    }
}
