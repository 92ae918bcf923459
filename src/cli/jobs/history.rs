//! `presend jobs history`: the audit trail of one address.

use std::io::Write as _;

use serde_json::{Value, json};

use super::super::{
    fault::{fault, note},
    jobs::Jobs,
    paint::{DIM, paint},
};
use crate::{
    address::{Address, Rules},
    output,
    store::{Kept, Progress, Reading, Source, Store as _},
    verdict::Observed,
};

/// Characters shown of a reply.
const SHOWN: usize = 120;

pub(super) fn run(jobs: &Jobs, typed: &str, json: bool) -> anyhow::Result<()> {
    let rules = Rules {
        allow_special_use: true,
    };
    let address = Address::parse(typed, rules).map_err(|error| {
        let shown = output::clean(typed, SHOWN);
        fault(
            format!("`{shown}` is not an address: {error}"),
            "type it as it is mailed to",
        )
    })?;
    let trail = match &jobs.store {
        Some(store) => store.history(address.mailbox(), Reading::default())?,
        None => Vec::new(),
    };
    let id = |number| {
        jobs.all
            .iter()
            .find(|job| job.number == number)
            .map_or("-", |job| &*job.id)
    };
    let mut out = anstream::stdout();
    if json {
        let entries: Vec<Value> = trail
            .iter()
            .map(|(job, entry, kept)| {
                json!({
                    "job": id(*job),
                    "at": humantime::format_rfc3339_seconds(kept.checked_at).to_string(),
                    "final": entry.progress == Progress::Settled,
                    "label": kept.judged.as_ref().map(|judged| judged.label.name()),
                    "reason": kept.judged.as_ref().map(|judged| &*judged.reason),
                    "rule": kept.judged.as_ref().and_then(|judged| judged.rule.as_deref()),
                    "reply": reply(kept),
                    "mail_host": kept.evidence.host.as_ref().map(|host| output::clean(&host.name, SHOWN)),
                    "attempts": kept.evidence.attempts,
                    "source": kept.source.name(),
                })
            })
            .collect();
        serde_json::to_writer_pretty(&mut out, &entries)?;
        writeln!(out)?;
        return Ok(());
    }
    if trail.is_empty() {
        note(&paint(DIM, "nothing is kept about this address".to_owned()));
        return Ok(());
    }
    for (job, entry, kept) in &trail {
        let at = humantime::format_rfc3339_seconds(kept.checked_at);
        let (label, reason) = kept
            .judged
            .as_ref()
            .map_or(("-", "-"), |judged| (judged.label.name(), &*judged.reason));
        let from = match (entry.progress, kept.source) {
            (Progress::Attempted, _) => ", asked again later",
            (Progress::Settled, Source::Store) => ", from an earlier answer",
            (Progress::Settled, Source::Live | Source::Suppression | Source::Delivery | Source::Bounce) => "",
        };
        writeln!(out, "{at}  {:8}  {label:9}  {reason}{from}", id(*job))?;
        let rule = kept.judged.as_ref().and_then(|judged| judged.rule.as_deref());
        let host = kept.evidence.host.as_ref().map(|host| output::clean(&host.name, SHOWN));
        if let (Some(reply), Some(host)) = (reply(kept), host) {
            let rule = rule.map(|rule| format!(" (rule {rule})")).unwrap_or_default();
            writeln!(
                out,
                "{}",
                paint(DIM, format!("                      {host}: {reply}{rule}"))
            )?;
        }
    }
    Ok(())
}

/// What the host said, in one line.
fn reply(kept: &Kept) -> Option<String> {
    let Observed::Known(answer) = &kept.evidence.answer else {
        return None;
    };
    let enhanced = answer
        .reply
        .enhanced()
        .map(|code| format!(" {code}"))
        .unwrap_or_default();
    let text = answer.reply.text();
    Some(format!(
        "{}{enhanced} {}",
        answer.reply.code(),
        output::clean(&text, SHOWN)
    ))
}
