//! What an import came to, for people and programs.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

use super::super::paint::{BOLD, DIM, counted, grouped, paint};
use crate::{
    bounce::{
        Event, EventKind,
        report::{Form, Other},
        source::{Format, Told},
    },
    replies::{Class, Hardness},
};

/// Counts of everything that was read.
#[derive(Debug, Default)]
pub(super) struct Tally {
    files: BTreeMap<Format, u64>,
    told: BTreeMap<Told, u64>,
    others: BTreeMap<Other, u64>,
    /// By name of the event.
    events: BTreeMap<&'static str, u64>,
    hard: u64,
    soft: u64,
    classes: BTreeMap<Class, u64>,
    /// About people who were never mailed.
    apart: u64,
    pub(super) ignored: u64,
    pub(super) faults: u64,
    /// Everything that was named as unreadable.
    pub(super) complaints: u64,
    pub(super) new: u64,
    pub(super) known: u64,
}

/// The summary as one object.
#[derive(Serialize)]
pub(super) struct Summary {
    files: BTreeMap<&'static str, u64>,
    events: BTreeMap<&'static str, u64>,
    bounces: BTreeMap<&'static str, u64>,
    classes: BTreeMap<&'static str, u64>,
    not_bounces: BTreeMap<&'static str, u64>,
    ignored: u64,
    unreadable: u64,
    kept_apart: u64,
    new: u64,
    already_known: u64,
}

impl Tally {
    pub(super) fn file(&mut self, format: Format) {
        *self.files.entry(format).or_default() += 1;
    }

    pub(super) fn record(&mut self, told: Told) {
        *self.told.entry(told).or_default() += 1;
    }

    pub(super) fn other(&mut self, other: Other) {
        *self.others.entry(other).or_default() += 1;
    }

    pub(super) fn event(&mut self, event: &Event, apart: bool) {
        *self.events.entry(event.kind.name()).or_default() += 1;
        self.apart += u64::from(apart);
        if let EventKind::Bounced { class, .. } = event.kind {
            *self.classes.entry(class).or_default() += 1;
            let hard = event.kind.hardness() == Hardness::Hard;
            self.hard += u64::from(hard);
            self.soft += u64::from(!hard);
        }
    }

    /// Nothing was understood at all.
    pub(super) fn is_empty(&self) -> bool {
        let understood = self.others.iter().any(|(other, _)| !other.is_fault());
        self.told.is_empty() && self.ignored == 0 && !understood
    }

    pub(super) fn summary(&self) -> Summary {
        Summary {
            files: self
                .files
                .iter()
                .map(|(format, count)| (format.name(), *count))
                .collect(),
            events: self.events.clone(),
            bounces: [("hard", self.hard), ("soft", self.soft)].into(),
            classes: self
                .classes
                .iter()
                .map(|(class, count)| (class.name(), *count))
                .collect(),
            not_bounces: self
                .others
                .iter()
                .filter(|(other, _)| !other.is_fault())
                .map(|(other, count)| (other.name(), *count))
                .collect(),
            ignored: self.ignored,
            unreadable: self.complaints,
            kept_apart: self.apart,
            new: self.new,
            already_known: self.known,
        }
    }

    /// The summary for people, and what to do next.
    pub(super) fn text(&self, dry_run: bool) -> String {
        let mut text = String::new();
        let files: Vec<String> = self
            .files
            .iter()
            .map(|(format, count)| format!("{} {}", grouped(*count), format.name()))
            .collect();
        let _ = writeln!(text, "{}  {}", paint(BOLD, "read"), files.join(", "));
        let told: Vec<String> = self.told.iter().map(|(told, count)| told_text(*told, *count)).collect();
        if !told.is_empty() {
            let _ = writeln!(text, "{}  {}", paint(BOLD, "told"), told.join(", "));
        }
        for (name, count) in &self.events {
            let detail = if *name == "bounced" {
                format!("  {} hard, {} soft", grouped(self.hard), grouped(self.soft))
            } else {
                String::new()
            };
            let _ = writeln!(text, "  {:>10} {name}{detail}", grouped(*count));
        }
        let mut classes: Vec<_> = self.classes.iter().collect();
        classes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (class, count) in classes {
            let _ = writeln!(
                text,
                "  {:>10}   {}  {}",
                grouped(*count),
                class.name(),
                paint(DIM, class.sentence())
            );
        }
        for (other, count) in &self.others {
            let _ = writeln!(text, "  {:>10} not counted: {}", grouped(*count), other.sentence());
        }
        if self.ignored > 0 {
            let _ = writeln!(
                text,
                "  {:>10} not counted: says nothing about delivery",
                grouped(self.ignored)
            );
        }
        if self.faults > 0 {
            let _ = writeln!(text, "  {:>10} could not be read", grouped(self.faults));
        }
        if self.apart > 0 {
            let apart = counted(self.apart, "event is", "events are");
            let _ = writeln!(
                text,
                "{apart} about people who are not in `--known`: kept apart, they suppress nobody"
            );
        }
        if dry_run {
            let _ = write!(text, "nothing was kept (--dry-run)");
        } else {
            let _ = write!(
                text,
                "{} new, {} known already; `presend bounces report` shows rates and what follows",
                grouped(self.new),
                grouped(self.known)
            );
        }
        text
    }
}

fn told_text(told: Told, count: u64) -> String {
    match told {
        Told::Message(Form::Standard) => counted(count, "delivery report", "delivery reports"),
        Told::Message(Form::Words) => counted(count, "bounce in words", "bounces in words"),
        Told::Message(Form::Feedback) => counted(count, "feedback report", "feedback reports"),
        Told::Message(Form::Unsubscribe) => counted(count, "mail to unsubscribe", "mails to unsubscribe"),
        Told::Message(Form::Service) => counted(count, "notification by mail", "notifications by mail"),
        Told::Log => counted(count, "log line", "log lines"),
        Told::Service => counted(count, "record of a service", "records of services"),
        Told::Table => counted(count, "row", "rows"),
    }
}
