//! The counts of a job as its run keeps them, read back: for people, for programs, and for callers of the API.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    store::JobRecord,
    verdict::{Action, Label},
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
        let counts: Self = serde_json::from_str(&job.summary).unwrap_or_default();
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
