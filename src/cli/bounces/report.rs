//! `presend bounces report`: what past mailings say about the next one.

mod segment;

use std::{
    fmt::Write as _,
    io::Write as _,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::ArgMatches;

use super::super::{
    Exit,
    config::ConfigFile,
    database,
    fault::{fault, note},
    paint::{BAD, BOLD, DIM, FAIR, GOOD, grouped, paint},
    settings::{Overlay, Profile, Resolved},
    suppress::{quoted, target},
    values::Span,
};
use crate::{
    bounce::insight::{self, By, Calibrated, Group, Rate, Report, Standing, Wanted},
    output,
};

/// Characters of one text that are shown.
const SHOWN: usize = 200;
/// Groups, alerts and people in text.
const LINES: usize = 15;

/// `presend bounces report`
#[derive(Debug, clap::Args)]
#[command(
    about = "Report rates, trends, spikes with their likely cause, alerts and who comes next",
    long_about = "Report rates, trends, spikes with their likely cause, alerts and who comes next.\n\nHard and soft bounces are shares of \
    the messages whose end was reported, each against 1 % and 2 %, from which providers look closer and act. A day is compared with the four \
    weeks before it by median and deviation, so that one bad day hides no other. Without reported deliveries `--sent` says how many messages \
    there were.",
    after_long_help = "\
Examples:
  presend bounces report
  presend bounces report --since 90d --by week
  presend bounces report --by list --format csv --output lists.csv
  presend bounces report --format html --calibration --output bounces.html
  presend bounces report --segment reengage --output again.csv      bounced softly, and still good
  presend bounces report --segment suppressed --since 7d            whom other systems should drop as well

Exit codes: 0 reported; 1 with `--check`, when something needs attention."
)]
pub(super) struct ReportArgs {
    /// How far back.
    #[arg(long, value_name = "DURATION", default_value = "30d")]
    since: Span,
    /// What is counted for itself.
    #[arg(long, value_enum, value_name = "WHAT", default_value = "provider")]
    by: ByName,
    /// How it is written [default: by the file's name, else text].
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<FormatName>,
    /// Where to [default: standard output].
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Messages that were sent, where deliveries are not reported.
    #[arg(long, value_name = "COUNT")]
    sent: Option<u64>,
    /// And how often what presend called valid bounced later, by provider and reason.
    #[arg(long)]
    calibration: bool,
    /// Write people instead, as CSV.
    #[arg(long, value_enum, value_name = "WHO", conflicts_with_all = ["by", "format", "calibration", "sent", "check"])]
    segment: Option<segment::Segment>,
    /// End with 1 when a rate is over 2 %, a day stands out or there is an alert.
    #[arg(long)]
    check: bool,
    /// Database [default: as for `presend verify`].
    #[arg(long, value_name = "FILE", env = "PRESEND_DB")]
    db: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ByName {
    Domain,
    Provider,
    Class,
    List,
    Week,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FormatName {
    Text,
    Json,
    Csv,
    Html,
}

impl From<ByName> for By {
    fn from(name: ByName) -> Self {
        match name {
            ByName::Domain => Self::Domain,
            ByName::Provider => Self::Provider,
            ByName::Class => Self::Class,
            ByName::List => Self::List,
            ByName::Week => Self::Week,
        }
    }
}

pub(super) fn run(args: &ReportArgs, matches: &ArgMatches) -> anyhow::Result<Exit> {
    let resolved = Resolved::new(&Overlay::of_jobs(args.db.clone()), matches, &args.config, Profile::Bulk)?;
    let Some(store) = database::open_to_look_up(&resolved)? else {
        return Err(fault(
            "there is no database, so nothing is known of past mailings",
            "`presend bounces import PATH` makes one, `--db FILE` names another",
        ));
    };
    let policy = resolved.bounce_policy()?;
    let now = SystemTime::now();
    let since = insight::start_of_day(now.checked_sub(args.since.duration()).unwrap_or(SystemTime::UNIX_EPOCH));
    if let Some(segment) = args.segment {
        segment::write(segment, &store, since..now, args.output.as_deref())?;
        return Ok(Exit::Done);
    }
    let wanted = Wanted {
        since,
        // What was reported a moment ago is of today.
        until: now + Duration::from_secs(1),
        by: args.by.into(),
        sent: args.sent,
        tenant: "",
    };
    let mut report = insight::report(&store, &policy, &wanted)?;
    if args.calibration {
        report.calibration = Some(insight::calibrate(&store, &wanted)?);
    }
    let by_name = || match args.output.as_deref()?.extension()?.to_str()? {
        "html" | "htm" => Some(FormatName::Html),
        "json" => Some(FormatName::Json),
        "csv" => Some(FormatName::Csv),
        _ => None,
    };
    let written = match args.format.or_else(by_name).unwrap_or(FormatName::Text) {
        FormatName::Html => insight::page(&report),
        FormatName::Json => serde_json::to_string_pretty(&report)? + "\n",
        FormatName::Csv => table(&report),
        FormatName::Text if args.output.is_some() => anstream::adapter::strip_str(&text(&report)).to_string(),
        FormatName::Text => text(&report),
    };
    match &args.output {
        Some(path) => {
            let mut out = target(Some(path))?;
            out.write_all(written.as_bytes())?;
            out.flush()?;
            note(&paint(DIM, format!("wrote {}", path.display())));
        }
        None => anstream::stdout().write_all(written.as_bytes())?,
    }
    Ok(if args.check && report.needs_attention() {
        Exit::Failed
    } else {
        Exit::Done
    })
}

/// The groups as CSV.
fn table(report: &Report) -> String {
    let mut out = "name,delivered,hard,soft,pending,complained,unsubscribed,hard_rate,soft_rate\n".to_owned();
    for group in &report.groups {
        let counts = &group.counts;
        let share = |rate: &Rate| rate.share.map(|share| format!("{share:.6}")).unwrap_or_default();
        let _ = writeln!(
            out,
            "{},{},{},{},{},{},{},{},{}",
            quoted(&group.name),
            counts.delivered,
            counts.hard,
            counts.soft,
            counts.pending,
            counts.complained,
            counts.unsubscribed,
            share(&group.hard),
            share(&group.soft)
        );
    }
    out
}

fn rate(rate: &Rate) -> String {
    let style = match rate.standing {
        Standing::Good => GOOD,
        Standing::Watch => FAIR,
        Standing::Over => BAD,
        Standing::Unknown => DIM,
    };
    paint(style, format!("{:>8}", rate.shown()))
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing to memory cannot fail.
    let _ = write_text(report, &mut out);
    out
}

fn heading(text: &str) -> String {
    format!("\n{}\n", paint(BOLD, text))
}

fn write_text(report: &Report, out: &mut String) -> std::fmt::Result {
    let counts = &report.total.counts;
    writeln!(
        out,
        "{}",
        paint(BOLD, format!("bounces from {} to {}", report.since, report.until))
    )?;
    writeln!(out, "  messages whose end is known {:>12}", grouped(counts.ended()))?;
    writeln!(
        out,
        "  hard bounces                {:>12}  {}",
        grouped(counts.hard),
        rate(&report.total.hard)
    )?;
    writeln!(
        out,
        "  soft bounces                {:>12}  {}",
        grouped(counts.soft),
        rate(&report.total.soft)
    )?;
    writeln!(out, "  delays                      {:>12}", grouped(counts.pending))?;
    writeln!(out, "  complaints                  {:>12}", grouped(counts.complained))?;
    writeln!(
        out,
        "  unsubscribed                {:>12}",
        grouped(counts.unsubscribed)
    )?;
    writeln!(out, "  trend                       {:>12}", report.trend.name())?;
    if report.total.hard.share.is_none() && counts.bounced() > 0 {
        writeln!(
            out,
            "{}",
            paint(
                DIM,
                "  no deliveries were reported, so there are no rates: `--sent COUNT` says how many messages there were"
            )
        )?;
    }
    for (count, what) in [
        (report.kept_apart, "events kept apart: nobody was mailed there"),
        (
            report.in_the_future,
            "events whose date has not come: a clock was wrong",
        ),
    ] {
        if count > 0 {
            writeln!(out, "{}", paint(DIM, format!("  {} {what}", grouped(count))))?;
        }
    }
    groups(report, out)?;
    warnings(report, out)?;
    people(report, out)?;
    if let Some(calibrated) = &report.calibration {
        calibration(calibrated, out)?;
    }
    Ok(())
}

fn groups(report: &Report, out: &mut String) -> std::fmt::Result {
    let name = match report.by {
        By::Domain => "by domain",
        By::Provider => "by provider",
        By::Class => "by class",
        By::List => "by list",
        By::Week => "by week",
    };
    out.push_str(&heading(name));
    let head = format!(
        "  {:30} {:>10} {:>8} {:>8} {:>8}  {:>8} {:>8}",
        "", "delivered", "hard", "soft", "delays", "hard", "soft"
    );
    writeln!(out, "{}", paint(DIM, head))?;
    for Group {
        name,
        counts,
        hard,
        soft,
    } in report.groups.iter().take(LINES)
    {
        writeln!(
            out,
            "  {:30} {:>10} {:>8} {:>8} {:>8}  {} {}",
            output::clean(name, 30),
            grouped(counts.delivered),
            grouped(counts.hard),
            grouped(counts.soft),
            grouped(counts.pending),
            rate(hard),
            rate(soft)
        )?;
    }
    more(report.groups.len(), out)
}

fn more(all: usize, out: &mut String) -> std::fmt::Result {
    match all.saturating_sub(LINES) {
        0 => Ok(()),
        more => writeln!(
            out,
            "{}",
            paint(DIM, format!("  and {more} more; `--format csv` names them"))
        ),
    }
}

fn warnings(report: &Report, out: &mut String) -> std::fmt::Result {
    if !report.spikes.is_empty() {
        out.push_str(&heading("days that stand out"));
    }
    for spike in report.spikes.iter().take(LINES) {
        writeln!(
            out,
            "  {}  {}  {} bounced or waiting, usual are {:.1}\n              {}",
            spike.day,
            paint(BAD, output::clean(&spike.of, 60)),
            grouped(spike.bounced),
            spike.usual,
            output::clean(&spike.likely, SHOWN)
        )?;
    }
    if !report.alerts.is_empty() {
        out.push_str(&heading("alerts: these bounces are about you, and suppress nobody"));
    }
    for alert in report.alerts.iter().take(LINES) {
        writeln!(
            out,
            "  {:>7}  {} at {}, {} to {}\n           {}",
            grouped(alert.count),
            paint(FAIR, alert.class.name()),
            output::clean(&alert.provider, 60),
            alert.from,
            alert.to,
            alert.advice
        )?;
        if let Some(example) = &alert.example {
            writeln!(out, "           {}", paint(DIM, output::clean(example, SHOWN)))?;
        }
    }
    Ok(())
}

fn people(report: &Report, out: &mut String) -> std::fmt::Result {
    let suppressed = &report.suppressed;
    out.push_str(&heading("people"));
    let made: u64 = suppressed.by_reason.values().sum();
    let reasons = suppressed
        .by_reason
        .iter()
        .map(|(reason, count)| format!("{} {reason}", grouped(*count)));
    let reasons = reasons.collect::<Vec<_>>().join(", ");
    let reasons = if reasons.is_empty() {
        reasons
    } else {
        format!(": {reasons}")
    };
    writeln!(out, "  suppressed since            {:>12}{reasons}", grouped(made))?;
    if suppressed.again > 0 {
        writeln!(out, "  of them let go before       {:>12}", grouped(suppressed.again))?;
    }
    let hint = if suppressed.review > 0 {
        "  `presend suppress review`"
    } else {
        ""
    };
    writeln!(
        out,
        "  waiting for a person        {:>12}{}",
        grouped(suppressed.review),
        paint(DIM, hint)
    )?;
    writeln!(out, "  about to be suppressed      {:>12}", grouped(report.near))?;
    for near in report.nearest.iter().take(LINES) {
        writeln!(
            out,
            "    {}  {} of {} failures since {}, not before {}",
            output::clean(&near.address, 60),
            near.failures,
            near.needed,
            near.since,
            near.until
        )?;
    }
    Ok(())
}

fn calibration(calibrated: &[Calibrated], out: &mut String) -> std::fmt::Result {
    out.push_str(&heading("how often what presend said bounced later"));
    if calibrated.is_empty() {
        return writeln!(out, "  nobody was mailed of whom presend had said anything before");
    }
    let head = format!(
        "  {:9} {:24} {:16} {:>10} {:>8} {:>8}",
        "", "", "", "mailed", "bounced", "share"
    );
    writeln!(out, "{}", paint(DIM, head))?;
    for row in calibrated {
        writeln!(
            out,
            "  {:9} {:24} {:16} {:>10} {:>8} {}",
            row.label,
            output::clean(&row.reason, 24),
            output::clean(&row.provider, 16),
            grouped(row.mailed),
            grouped(row.bounced),
            if row.label == "valid" {
                rate(&row.rate)
            } else {
                paint(DIM, format!("{:>8}", row.rate.shown()))
            }
        )?;
    }
    Ok(())
}
