//! `presend suppress review`: what waits for a person, and the person's word about it.

use std::ops::ControlFlow;

use super::{
    super::{Exit, fault::note, paint::counted},
    list,
};
use crate::store::{SqliteStore, Suppression, SuppressionState, Suppressions};

/// Which of those that wait.
pub(super) struct Waiting<'a> {
    /// Only what this rule decided.
    pub(super) rule: Option<&'a str>,
    /// Only addresses of this domain.
    pub(super) domain: Option<&'a str>,
}

impl Waiting<'_> {
    fn wanted() -> Suppressions {
        Suppressions {
            state: Some(SuppressionState::Review),
            ..Suppressions::default()
        }
    }

    fn is_meant(&self, kept: &Suppression) -> bool {
        let rule = kept.by_rule.as_ref().map(|by| &*by.rule);
        let domain = kept.mailbox.rsplit_once('@').map_or("", |(_, domain)| domain);
        self.rule.is_none_or(|wanted| rule == Some(wanted))
            && self.domain.is_none_or(|wanted| wanted.eq_ignore_ascii_case(domain))
    }

    /// Shows them.
    pub(super) fn list(&self, store: &SqliteStore, json: bool) -> anyhow::Result<()> {
        list(store, &Self::wanted(), json, |kept| self.is_meant(kept))
    }

    /// Decides about all of them.
    pub(super) fn decide(&self, store: &SqliteStore, approved: bool, why: Option<&str>) -> anyhow::Result<Exit> {
        let mut numbers = Vec::new();
        store.each_suppression(&Self::wanted(), |kept| {
            numbers.extend(self.is_meant(&kept).then_some(kept.number));
            anyhow::Ok(ControlFlow::Continue(()))
        })?;
        let none: &[i64] = &[];
        decide(store, if approved { (&numbers, none) } else { (none, &numbers) }, why)
    }
}

/// A person's word about entries, by their numbers.
pub(super) fn decide(
    store: &SqliteStore,
    (approve, reject): (&[i64], &[i64]),
    why: Option<&str>,
) -> anyhow::Result<Exit> {
    let all = approve
        .iter()
        .map(|number| (number, true))
        .chain(reject.iter().map(|number| (number, false)));
    let (mut done, mut missing) = (0, 0);
    for (number, approved) in all {
        if store.review(*number, approved, why.map(Into::into))? {
            done += 1;
        } else {
            missing += 1;
            note(&format!("entry {number} does not wait for anybody"));
        }
    }
    note(&format!("decided about {}", counted(done, "entry", "entries")));
    Ok(if missing > 0 { Exit::Failed } else { Exit::Done })
}
