//! The closing words of a list run: counts, forecast, what to do next.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::paint::{self, BAD, BOLD, DIM, FAIR, GOOD, counted, grouped, paint, per_mille, percent};
use crate::{
    job::Summary,
    output,
    verdict::{Action, Label, Reason},
};

/// Hard bounces, per mille, at which mailbox providers and mailing services act against a sender.
const PROBLEM: u64 = 20;
/// Hard bounces, per mille, under which a list counts as healthy.
const HEALTHY: u64 = 10;
/// More than this share of rows unknown through our own side, per mille, makes a run incomplete.
const TOO_MUCH_UNKNOWN: u64 = 100;
/// Columns of a full bar.
const BAR: u64 = 30;
/// Reasons that are listed; the rest is summed up.
const REASONS: usize = 12;

/// What the closing words need to know beside the counts.
pub(super) struct Run<'a> {
    /// Say how much was asked.
    pub(super) verbose: bool,
    /// Say what to do next.
    pub(super) next: Option<Next<'a>>,
}

/// What the next steps depend on.
pub(super) struct Next<'a> {
    pub(super) inputs: &'a [PathBuf],
    pub(super) written: bool,
    pub(super) split: Option<&'a Path>,
}

/// The question was not answered for a fault of the network or of this side, not of the address or its host.
pub(super) fn is_our_side(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::DnsTimeout
            | Reason::DnsRefused
            | Reason::DnsRewritten
            | Reason::ProxyFailed
            | Reason::PortBlocked
            | Reason::Unreachable
            | Reason::Timeout
            | Reason::ConnectionLost
            | Reason::Interrupted
            | Reason::Internal
    )
}

/// Port 25 blocked, a resolver that lies, or more than 10 % of the rows unknown through our own side.
pub(super) fn is_incomplete(summary: &Summary) -> bool {
    let of = |reason| summary.by_reason.get(&reason).copied().unwrap_or_default();
    let ours = summary.by_reason.iter().filter(|(reason, _)| is_our_side(**reason));
    let ours: u64 = ours.map(|(_, count)| count).sum();
    of(Reason::PortBlocked) > 0 || of(Reason::DnsRewritten) > 0 || per_mille(ours, summary.rows) > TOO_MUCH_UNKNOWN
}

/// The closing words.
pub(super) fn text(summary: &Summary, run: &Run<'_>) -> String {
    let mut text = String::from("\n");
    text.push_str(&head(summary));
    text.push_str("\n\n");
    labels(summary, &mut text);
    reasons(summary, &mut text);
    forecast(summary, &mut text);
    if run.verbose {
        let asked = format!(
            "asked with {} and {}\n",
            counted(summary.connections, "connection", "connections"),
            counted(summary.commands, "command", "commands"),
        );
        text.push_str(&paint(DIM, asked));
        text.push('\n');
    }
    if let Some(next) = &run.next {
        steps(summary, next, &mut text);
    }
    text.truncate(text.trim_end().len());
    text
}

fn head(summary: &Summary) -> String {
    let mut parts = vec![paint(BOLD, counted(summary.rows, "row", "rows"))];
    parts.push(counted(summary.unique, "different address", "different addresses"));
    if summary.duplicates > 0 {
        parts.push(format!("{} repeated", grouped(summary.duplicates)));
    }
    if summary.row_errors > 0 {
        parts.push(format!("{} unreadable", grouped(summary.row_errors)));
    }
    // Tenths of a second are enough, and nobody reads nanoseconds.
    let tenths = summary.elapsed.as_millis() / 100;
    let took = if tenths < 600 {
        format!("{}.{} s", tenths / 10, tenths % 10)
    } else {
        humantime::format_duration(std::time::Duration::from_secs(summary.elapsed.as_secs())).to_string()
    };
    let interrupted = if summary.interrupted {
        paint(FAIR, " (interrupted)")
    } else if summary.out_of_time {
        paint(FAIR, " (time is up: the rest is left for `presend jobs resume`)")
    } else {
        String::new()
    };
    format!("{} in {took}{interrupted}", parts.join(", "))
}

fn labels(summary: &Summary, text: &mut String) {
    let most = summary.by_label.values().copied().max().unwrap_or_default().max(1);
    for label in Label::ALL {
        let count = summary.by_label.get(&label).copied().unwrap_or_default();
        let style = output::label_style(label);
        let bar = "█".repeat(usize::try_from((count * BAR).div_ceil(most)).unwrap_or_default());
        let bar = if count > 0 {
            format!("  {style}{bar}{style:#}")
        } else {
            bar
        };
        let _ = writeln!(
            text,
            "  {style}{:<10}{style:#}{:>9} {:>8}{bar}",
            label.name(),
            grouped(count),
            percent(per_mille(count, summary.rows)),
        );
    }
    text.push('\n');
}

fn reasons(summary: &Summary, text: &mut String) {
    let mut all: Vec<(Reason, u64)> = summary
        .by_reason
        .iter()
        .map(|(reason, count)| (*reason, *count))
        .collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (reason, count) in all.iter().take(REASONS) {
        let sentence = paint(DIM, reason.sentence());
        let _ = writeln!(text, "  {:<24}{:>9}  {sentence}", reason.name(), grouped(*count));
    }
    let rest: u64 = all.iter().skip(REASONS).map(|(_, count)| count).sum();
    if rest > 0 {
        let kinds = all.len() - REASONS;
        let _ = writeln!(text, "  {:<24}{:>9}", format!("{kinds} more reasons"), grouped(rest));
    }
    text.push('\n');
}

fn forecast(summary: &Summary, text: &mut String) {
    let label = |label| summary.by_label.get(&label).copied().unwrap_or_default();
    let sent = summary.by_action.get(&Action::Send).copied().unwrap_or_default();
    let unsure = label(Label::Unknown) + label(Label::CatchAll);
    let mut line = |who: &str, hard: u64, unsure: u64, of: u64| {
        if of == 0 {
            return;
        }
        let rate = per_mille(hard, of);
        let (style, judgement) = if rate >= PROBLEM {
            (BAD, "over the 2 % at which providers act".to_owned())
        } else if rate >= HEALTHY {
            (FAIR, "over the 1 % of a healthy list".to_owned())
        } else if per_mille(hard + unsure, of) < HEALTHY {
            (GOOD, "healthy, under 1 %".to_owned())
        } else {
            (
                FAIR,
                format!("and {} nobody knows about", counted(unsure, "row", "rows")),
            )
        };
        let _ = writeln!(text, "{who}: {}, {judgement}", paint(style, percent(rate)));
    };
    line(
        "known hard bounces if every row were mailed",
        summary.hard_bounces,
        unsure,
        summary.rows,
    );
    let only = format!(
        "known hard bounces if only the {} to send were",
        counted(sent, "row", "rows")
    );
    line(
        &only,
        summary.hard_bounces_sent,
        sent.saturating_sub(label(Label::Valid)),
        sent,
    );
    text.push('\n');
}

fn steps(summary: &Summary, run: &Next<'_>, text: &mut String) {
    let of = |reason| summary.by_reason.get(&reason).copied().unwrap_or_default();
    let mut steps = Vec::new();
    if let Some(job) = summary.job.as_ref().filter(|_| !summary.complete) {
        let from = summary
            .retry_at
            .map(|at| format!(", not before {}", humantime::format_rfc3339_seconds(at)))
            .unwrap_or_default();
        steps.push(format!(
            "some answers are still to come{from}:  presend jobs resume {job}"
        ));
    }
    let files: Vec<String> = run.inputs.iter().map(|path| paint::quoted(path)).collect();
    let file = files.join(" ");
    match run.split {
        Some(folder) => {
            let name = |action: &str| paint::quoted(&folder.join(action));
            steps.push(format!(
                "mail {}.*; keep {}.* back and look at it",
                name("send"),
                name("hold")
            ));
        }
        None if !run.written
            && !run.inputs.is_empty()
            && !run.inputs.iter().any(|path| path == Path::new("-"))
            && summary.rows > 0 =>
        {
            steps.push(format!(
                "one file for each action:  presend verify {file} --split checked/"
            ));
        }
        None => {}
    }
    if of(Reason::LevelStop) > 0 && !run.inputs.is_empty() {
        steps.push(format!(
            "ask the mail hosts as well:  presend verify {file} --level smtp"
        ));
    }
    if of(Reason::AbuseGuard) > 0 {
        steps.push(
            "a domain refused most of its addresses, as if they were guessed: the rest was not asked about; if it is yours, `--i-own DOMAIN`"
                .into(),
        );
    }
    if of(Reason::PortBlocked) > 0 {
        steps.push(
            "port 25 seems blocked, so most hosts were not asked; `presend doctor --host mx.example.net` tells more"
                .into(),
        );
    }
    if of(Reason::ProxyFailed) > 0 {
        steps.push(
            "the proxy let some hosts or all go unasked: is it running, and are its name, port and login right?".into(),
        );
    }
    if of(Reason::SenderBlocked) + of(Reason::SenderReputation) > 0 {
        steps.push("some hosts refuse this machine: see `presend reasons` before asking them again".into());
    }
    for (index, step) in steps.iter().enumerate() {
        let word = if index == 0 { paint(BOLD, "next") } else { "    ".into() };
        let _ = writeln!(text, "{word}  {step}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(reasons: &[(Reason, Label, Action, u64)]) -> Summary {
        let mut summary = Summary::default();
        for (reason, label, action, count) in reasons {
            summary.rows += count;
            *summary.by_reason.entry(*reason).or_default() += count;
            *summary.by_label.entry(*label).or_default() += count;
            *summary.by_action.entry(*action).or_default() += count;
            if *label == Label::Invalid {
                summary.hard_bounces += count;
            }
        }
        summary.unique = summary.rows;
        summary
    }

    fn plain(summary: &Summary) -> String {
        let run = Run {
            verbose: true,
            next: Some(Next {
                inputs: &["my leads.csv".into()],
                written: false,
                split: None,
            }),
        };
        anstream::adapter::strip_str(&text(summary, &run)).to_string()
    }

    #[test]
    fn a_run_is_incomplete_when_our_side_kept_too_much_unknown() {
        let known = (Reason::MailboxExists, Label::Valid, Action::Send, 90);
        let unknown = |reason, count| (reason, Label::Unknown, Action::Hold, count);
        for (rows, expected) in [
            (vec![known], false),
            (vec![known, unknown(Reason::Timeout, 10)], false),
            (vec![known, unknown(Reason::Timeout, 11)], true),
            (vec![known, unknown(Reason::Greylisted, 500)], false),
            (vec![known, unknown(Reason::PortBlocked, 1)], true),
            (vec![known, unknown(Reason::DnsRewritten, 1)], true),
            (vec![], false),
        ] {
            assert_eq!(is_incomplete(&summary(&rows)), expected, "{rows:?}");
        }
    }

    #[test]
    fn the_closing_words_count_forecast_and_lead_on() {
        let summary = summary(&[
            (Reason::MailboxExists, Label::Valid, Action::Send, 950),
            (Reason::MailboxUnknown, Label::Invalid, Action::Drop, 40),
            (Reason::LevelStop, Label::Unknown, Action::Hold, 10),
        ]);
        insta::assert_snapshot!(plain(&summary), @r#"

        1,000 rows, 1,000 different addresses in 0.0 s

          valid           950   95.0 %  ██████████████████████████████
          catch-all         0    0.0 %
          unknown          10    1.0 %  █
          invalid          40    4.0 %  ██

          mailbox_exists                950  The mail host accepted this recipient and refuses unknown ones.
          mailbox_unknown                40  The mail host says that there is no such mailbox.
          level_stop                     10  The chosen level stops before the mail host is asked.

        known hard bounces if every row were mailed: 4.0 %, over the 2 % at which providers act
        known hard bounces if only the 950 rows to send were: 0.0 %, healthy, under 1 %

        asked with 0 connections and 0 commands

        next  one file for each action:  presend verify 'my leads.csv' --split checked/
              ask the mail hosts as well:  presend verify 'my leads.csv' --level smtp
        "#);
    }
}
