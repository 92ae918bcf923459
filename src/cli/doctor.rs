//! `presend doctor`: may this machine probe?

use std::{io::Write, path::Path, sync::Arc};

use clap::ArgMatches;
use serde_json::json;

use super::{
    Exit,
    args::DoctorArgs,
    fault::fault,
    paint::{BAD, BOLD, DIM, FAIR, GOOD, counted, paint},
    settings::{Origin, Profile, Resolved},
    signal::Signals,
};
use crate::{
    clock::SystemClock,
    dns::{HickoryResolver, ResolverOptions},
    doctor::{Blocklists, Check, Machine, Plan, Report, Seams, Status, examine},
    net::{TcpDialler, outgoing_addresses},
    replies::Classifier,
};

/// The schema of the JSON report.
const SCHEMA: &str = "presend-doctor/1";

pub(super) fn run(args: &DoctorArgs, matches: &ArgMatches) -> anyhow::Result<Exit> {
    let mut resolved = Resolved::new(&args.overlay, matches, &args.config, Profile::Interactive)?;
    let sources = settings_sources(&resolved);
    let (helo_name, mail_from) = resolved.take_identity();
    let settings = resolved.to_settings(false)?;
    let classifier = settings.replies.as_deref().map(Classifier::load).transpose()?;
    let blocklists = match args.blocklists.as_deref() {
        None => Blocklists::bundled(),
        Some(path) if path == Path::new("none") => Blocklists::default(),
        Some(path) => Blocklists::load(path).map_err(|error| {
            fault(
                error.to_string(),
                "lists/blocklists.toml shows the form; `--blocklists none` asks none",
            )
        })?,
    };
    let plan = Plan {
        helo_name,
        mail_from,
        hosts: args.host.clone(),
        sources: match settings.network.sources.addresses() {
            [] => outgoing_addresses(),
            chosen => chosen.to_vec(),
        },
        public: args.public_ip.clone(),
        families: settings.network.families()?,
        smtp_port: settings.smtp_port,
        timeouts: settings.timeouts,
        rules: settings.rules,
        blocklists,
        machine: Machine::look(sources),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let mut signals = Signals::listen();
        let dns = HickoryResolver::of(&settings.nameservers, ResolverOptions::default())?;
        let seams = Seams {
            dns: Arc::new(dns),
            dial: Arc::new(TcpDialler::new(&settings.network)),
            clock: Arc::new(SystemClock),
            classifier: classifier.map(Arc::new),
        };
        tokio::select! {
            report = examine(&plan, &seams) => anyhow::Ok(Some(report)),
            () = signals.next() => Ok(None),
        }
    })?;
    let Some(report) = report else {
        return Ok(Exit::Interrupted);
    };
    print(&report, args.json)?;
    Ok(if !report.network {
        Exit::Incomplete
    } else if report.failed() {
        Exit::Failed
    } else {
        Exit::Done
    })
}

/// Where the settings that are not defaults come from.
fn settings_sources(resolved: &Resolved) -> String {
    let from = |origin| resolved.entries().filter(|(.., found)| *found == origin).count() as u64;
    let file = match &resolved.file {
        Some(path) => format!("{} from {}", from(Origin::File), path.display()),
        None => "no configuration file".to_owned(),
    };
    let count = |number, from| format!("{} from {from}", counted(number, "setting", "settings"));
    format!(
        "{}, {} from variables, {file}",
        count(from(Origin::Flag), "flags"),
        from(Origin::Environment)
    )
}

fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    let mut out = anstream::stdout();
    if json {
        let document = json!({
            "schema": SCHEMA,
            "failed": report.failed(),
            "network": report.network,
            "checks": report.checks,
        });
        serde_json::to_writer_pretty(&mut out, &document)?;
        writeln!(out)?;
        return Ok(());
    }
    let width = report
        .checks
        .iter()
        .map(|check| check.check.len())
        .max()
        .unwrap_or_default();
    for check in &report.checks {
        writeln!(out, "{}", line(check, width))?;
    }
    let of = |status| report.checks.iter().filter(|check| check.status == status).count() as u64;
    let conclusion = if !report.network {
        paint(BAD.bold(), "nothing could be found out: the network does not answer")
    } else if report.failed() {
        paint(BAD.bold(), "do not probe from here before the failed checks are mended")
    } else if of(Status::Skip) > 0 || of(Status::Warn) > 0 {
        paint(BOLD, "this machine may probe; see what is not as it should be")
    } else {
        paint(BOLD, "this machine may probe")
    };
    writeln!(
        out,
        "\n{} passed, {}, {} failed, {} skipped: {conclusion}",
        of(Status::Pass),
        counted(of(Status::Warn), "warning", "warnings"),
        of(Status::Fail),
        of(Status::Skip),
    )?;
    Ok(())
}

/// `fail  reverse_dns  192.0.2.7: no PTR record; have ...`
fn line(check: &Check, width: usize) -> String {
    let style = match check.status {
        Status::Pass => GOOD,
        Status::Warn => FAIR,
        Status::Fail => BAD.bold(),
        Status::Skip => DIM,
    };
    let status = paint(style, check.status.name());
    let subject = check.subject.as_ref().map(|subject| format!("{subject}: "));
    let advice = check.advice.as_ref().map(|advice| paint(DIM, format!("; {advice}")));
    format!(
        "{status}  {:<width$}  {}{}{}",
        check.check,
        subject.unwrap_or_default(),
        check.seen,
        advice.unwrap_or_default()
    )
}
