//! The counts of a job as its run keeps them, read back: for people, for programs, and for callers of the API.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    store::{JobRecord, JobState},
    verdict::{Action, Label, Reason},
};

/// Counts as the job's owner keeps them; what is missing or misshapen is nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Different addresses.
    pub unique: Option<u64>,
    /// Rows that were answered and written.
    pub answered: Option<u64>,
    /// Rows by label.
    pub by_label: BTreeMap<String, u64>,
    /// Rows by reason.
    pub by_reason: BTreeMap<String, u64>,
    /// Rows by action.
    pub by_action: BTreeMap<String, u64>,
    /// Rows whose mail would bounce hard.
    pub hard_bounces: u64,
    /// Those among them with the action `send`.
    pub hard_bounces_sent: u64,
    /// Groups of mail hosts that may not be asked at the moment.
    pub waiting_hosts: u64,
    /// When it will probably be ready.
    pub eta: Option<String>,
    /// The mail hosts that will be done last.
    pub last_group: Option<String>,
    /// Nobody that is left may be asked before.
    pub retry_at: Option<String>,
}

impl Counts {
    /// Of a job; what only holds while somebody works on it is left out when nobody does.
    #[must_use]
    pub fn of(job: &JobRecord) -> Self {
        let mut counts: Self = serde_json::from_str(&job.summary).unwrap_or_default();
        if job.state != JobState::Done {
            counts.leave_out_interrupted();
        }
        if job.taken {
            return counts;
        }
        // Of a run that is gone, killed perhaps: nobody waits any more.
        Self {
            waiting_hosts: 0,
            eta: None,
            last_group: None,
            ..counts
        }
    }

    /// What a run leaves to the next one it writes out, and has not answered.
    fn leave_out_interrupted(&mut self) {
        let left = self.by_reason.remove(Reason::Interrupted.name()).unwrap_or_default();
        let rows = [
            (&mut self.by_label, Label::Unknown.name()),
            (&mut self.by_action, Action::Hold.name()),
        ];
        for (counts, name) in rows {
            if let Some(count) = counts.get_mut(name) {
                *count = count.saturating_sub(left);
            }
            counts.retain(|_, count| *count > 0);
        }
        self.answered = self.answered.map(|answered| answered.saturating_sub(left));
    }

    /// Labels in the order of reports.
    #[must_use]
    pub fn labels(&self) -> Map<String, Value> {
        Label::ALL
            .into_iter()
            .filter_map(|label| Some((label.name().to_owned(), (*self.by_label.get(label.name())?).into())))
            .collect()
    }

    /// Shares of known hard bounces, in thousandths: of everything answered, and of what is to be sent; `None` of nothing.
    #[must_use]
    pub fn bounce_rates(&self) -> (Option<u64>, Option<u64>) {
        let of = |bounces: u64, rows: u64| (rows > 0).then(|| bounces.saturating_mul(1_000) / rows);
        let sent = self.by_action.get(Action::Send.name()).copied().unwrap_or_default();
        (
            of(self.hard_bounces, self.answered.unwrap_or_default()),
            of(self.hard_bounces_sent, sent),
        )
    }

    /// The members that `presend jobs show --json` and the API have in common.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let members = json!({
            "unique": self.unique,
            "answered": self.answered,
            "by_label": self.labels(),
            "by_reason": self.by_reason,
            "eta": self.eta,
            "last_group": self.last_group,
            "waiting_hosts": self.waiting_hosts,
            "retry_at": self.retry_at,
        });
        match members {
            Value::Object(members) => members,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn job(state: JobState) -> JobRecord {
        let summary = json!({
            "unique": 9, "answered": 10, "by_label": {"valid": 3, "unknown": 7}, "by_reason": {"mailbox_exists": 3, "greylisted": 2, "interrupted": 5},
            "by_action": {"send": 3, "hold": 7},
        });
        JobRecord {
            number: 1,
            id: "abc".into(),
            state,
            source: "leads.csv".into(),
            settings: String::new(),
            layout: String::new(),
            rows: 10,
            summary: summary.to_string(),
            created_at: SystemTime::UNIX_EPOCH,
            updated_at: SystemTime::UNIX_EPOCH,
            process: None,
            taken: false,
        }
    }

    #[test]
    fn rows_that_wait_for_the_next_run_are_not_answered() {
        let open = Counts::of(&job(JobState::Open));
        assert_eq!(open.answered, Some(5));
        assert_eq!(open.labels(), *json!({"valid": 3, "unknown": 2}).as_object().unwrap());
        assert_eq!(open.by_action, BTreeMap::from([("hold".into(), 2), ("send".into(), 3)]));
        assert!(!open.by_reason.contains_key("interrupted"));
        assert_eq!(Counts::of(&job(JobState::Done)).answered, Some(10));
    }
}
