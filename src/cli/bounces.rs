//! `presend bounces`: what past mailings told.

mod import;
mod known;
mod report;
mod tally;

use clap::ArgMatches;

use super::Exit;

/// `presend bounces`
#[derive(Debug, clap::Args)]
#[command(about = "Learn from past mailings: import bounces and deliveries, report rates and spikes")]
pub(super) struct BouncesArgs {
    #[command(subcommand)]
    command: BouncesCommand,
}

#[derive(Debug, clap::Subcommand)]
enum BouncesCommand {
    // A doc comment here would take the place of the long texts of these arguments.
    Import(Box<import::ImportArgs>),
    Report(Box<report::ReportArgs>),
}

pub(super) fn run(args: &BouncesArgs, matches: &ArgMatches) -> anyhow::Result<Exit> {
    match &args.command {
        BouncesCommand::Import(args) => import::run(args, matches),
        BouncesCommand::Report(args) => report::run(args, matches),
    }
}
