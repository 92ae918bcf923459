//! A suppression as everybody sees it: the command line, files and the API.

use std::time::SystemTime;

use serde::Serialize;

use super::SuppressionReason;
use crate::store::{Scope, Suppression};

/// A suppression as it is shown.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct SuppressionRecord {
    /// Its number: review names it.
    pub number: i64,
    /// The address; `***@domain` where only hashes are kept.
    pub address: Box<str>,
    /// Why.
    pub reason: SuppressionReason,
    /// `active`, `review` or `ended`.
    pub state: &'static str,
    /// Whom it is for: a tenant of the API, or everybody.
    pub tenant: Option<Box<str>>,
    /// The list it is for, or every list.
    pub list: Option<Box<str>>,
    /// Who said so: `rule`, `person`, `api` or `file`.
    pub source: &'static str,
    /// What they said about it.
    pub note: Option<Box<str>>,
    /// The rule that decided.
    pub rule: Option<Box<str>>,
    /// The policy it is of.
    pub policy: Option<Box<str>>,
    /// Numbers of the events that decided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<i64>,
    /// What the host said.
    pub reply: Option<Box<str>>,
    /// When what led to it happened.
    pub happened_at: String,
    /// When it was made.
    pub created_at: String,
    /// When it ends by itself.
    pub expires_at: Option<String>,
    /// A person had let the address go before.
    pub again: bool,
    /// When a person approved it.
    pub approved_at: Option<String>,
    /// What they said.
    pub approved_note: Option<Box<str>>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Who ended it.
    pub ended_by: Option<&'static str>,
    /// What they said.
    pub ended_note: Option<Box<str>>,
}

fn shown(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

impl From<Suppression> for SuppressionRecord {
    fn from(kept: Suppression) -> Self {
        let Scope { tenant, list } = kept.scope;
        let (rule, policy, events, reply) = match kept.by_rule {
            Some(by) => (Some(by.rule), Some(by.policy), by.events, by.reply),
            None => (None, None, Vec::new(), None),
        };
        let (approved_at, approved_note) = kept.judged.unzip();
        let (ended_at, ended_by, ended_note) = match kept.ended {
            Some((at, by, note)) => (Some(at), Some(by.name()), note),
            None => (None, None, None),
        };
        Self {
            number: kept.number,
            address: kept.mailbox,
            reason: kept.reason,
            state: kept.state.name(),
            tenant: (!tenant.is_empty()).then_some(tenant),
            list,
            source: kept.source.name(),
            note: kept.note,
            rule,
            policy,
            events,
            reply,
            happened_at: shown(kept.happened_at),
            created_at: shown(kept.created_at),
            expires_at: kept.expires_at.map(shown),
            again: kept.again,
            approved_at: approved_at.map(shown),
            approved_note: approved_note.flatten(),
            ended_at: ended_at.map(shown),
            ended_by,
            ended_note,
        }
    }
}

impl SuppressionRecord {
    /// The columns of a table, in order.
    pub const COLUMNS: [&'static str; 8] = [
        "address",
        "reason",
        "list",
        "happened_at",
        "expires_at",
        "note",
        "source",
        "state",
    ];

    /// The cells of a table.
    #[must_use]
    pub fn cells(&self) -> [&str; 8] {
        [
            &self.address,
            self.reason.name(),
            self.list.as_deref().unwrap_or_default(),
            &self.happened_at,
            self.expires_at.as_deref().unwrap_or_default(),
            self.note.as_deref().or(self.reply.as_deref()).unwrap_or_default(),
            self.source,
            self.state,
        ]
    }
}
