//! May this machine probe? Checks as data: what was looked at, what was seen, what to do.
//!
//! Owns the order of the checks and what each means for probing. Asks through the seams only, connects to nobody but the hosts the
//! operator names (else those of his own reverse-path), and says nothing to them but QUIT. Must not print.

mod blocklist;
mod machine;
mod port;
mod resolver;
mod sender;
pub mod spf;

use std::{net::IpAddr, sync::Arc};

use serde::Serialize;

use crate::{
    address::Rules,
    clock::Clock,
    dns::{Records, Router, RouterOptions},
    net::{Dial, Families},
    replies::Classifier,
    smtp::Timeouts,
};

pub use blocklist::{Blocklist, BlocklistError, Blocklists};
pub use machine::Machine;
use resolver::{Health, Watched};
use sender::Sources;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Pass,
    /// Probing works, and some hosts will mind.
    Warn,
    /// Do not probe before this is mended.
    Fail,
    /// Not looked at, or not found out.
    Skip,
}

impl Status {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Stable snake_case name; several lines may share it.
    pub check: &'static str,
    /// What it is about: an address, a host, a list.
    pub subject: Option<Box<str>>,
    /// How it ended.
    pub status: Status,
    /// What was seen; strangers' words in it are cut and freed of control characters.
    pub seen: Box<str>,
    /// What to do.
    pub advice: Option<Box<str>>,
}

impl Check {
    fn new(check: &'static str, status: Status, seen: impl Into<Box<str>>) -> Self {
        Self {
            check,
            subject: None,
            status,
            seen: seen.into(),
            advice: None,
        }
    }

    fn about(mut self, subject: &(impl ToString + ?Sized)) -> Self {
        self.subject = Some(subject.to_string().into());
        self
    }

    fn advice(mut self, advice: impl Into<Box<str>>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// Everything that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order to read them.
    pub checks: Vec<Check>,
    /// Anybody answered at all; without that most checks found nothing out.
    pub network: bool,
}

impl Report {
    /// Whether a check failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.checks.iter().any(|check| check.status == Status::Fail)
    }
}

/// What is examined.
#[derive(Debug)]
pub struct Plan {
    /// The HELO name, as it was typed.
    pub helo_name: Option<String>,
    /// The reverse-path, as it was typed.
    pub mail_from: Option<String>,
    /// Mail hosts, domains or addresses to connect to; empty means those of the reverse-path's domain.
    pub hosts: Vec<String>,
    /// The addresses of this machine from which probes leave.
    pub sources: Vec<IpAddr>,
    /// The same as the internet sees them, when the operator says so.
    pub public: Vec<IpAddr>,
    /// Which IP versions are used.
    pub families: Families,
    /// 25, or a lab's port.
    pub smtp_port: u16,
    /// How long to wait for mail hosts.
    pub timeouts: Timeouts,
    /// Whether this is a lab.
    pub rules: Rules,
    /// Lists to ask about the sender.
    pub blocklists: Blocklists,
    /// The machine itself.
    pub machine: Machine,
}

/// What the examination needs from outside.
pub struct Seams {
    /// Answers DNS questions.
    pub dns: Arc<dyn Records>,
    /// Opens connections.
    pub dial: Arc<dyn Dial>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Understands greetings; `None` is the bundled classifier.
    pub classifier: Option<Arc<Classifier>>,
}

/// Looks at everything once.
pub async fn examine(plan: &Plan, seams: &Seams) -> Report {
    let before = machine::Instants::now(&*seams.clock);
    let dns = Arc::new(Watched::new(Arc::clone(&seams.dns)));
    let (identity, mut checks) = sender::identity(plan);
    checks.push(plan.machine.settings());
    checks.push(plan.machine.open_files());
    checks.push(plan.machine.ipv6());
    let (health, canary) = resolver::canary_check(&*dns).await;
    checks.push(canary);
    let sources = Sources::of(plan);
    checks.extend(sources.checks());
    let route = Router::new(
        Arc::clone(&dns) as Arc<_>,
        RouterOptions {
            allow_special_use: plan.rules.allow_special_use,
            families: plan.families,
            resolver_rewrites: false,
            seed: 0,
        },
    );
    let identity = identity.as_ref();
    match health {
        Health::Honest => {
            checks.extend(sender::names(&*dns, &sources, identity).await);
            checks.extend(sender::reverse_path(&route, identity).await);
        }
        Health::Silent | Health::Rewrites => {
            let names = ["reverse_dns", "helo_address", "spf", "reverse_path_mail"];
            checks.extend(names.map(|check| unasked(check, health)));
        }
    }
    let knock = port::Knock {
        plan,
        seams,
        route: &route,
        identity,
        health,
    };
    let (doors, reached) = knock.checks().await;
    checks.extend(doors);
    match health {
        Health::Honest => {
            checks.extend(blocklist::checks(&plan.blocklists, &dns, &sources.addresses(), identity).await);
            checks.extend(dns.check());
        }
        Health::Silent | Health::Rewrites => checks.push(unasked("blocklist", health)),
    }
    checks.push(plan.machine.clock(before, machine::Instants::now(&*seams.clock)));
    Report {
        checks,
        network: health != Health::Silent || reached,
    }
}

fn unasked(check: &'static str, health: Health) -> Check {
    let why = match health {
        Health::Rewrites => "not asked: the resolver invents answers",
        Health::Honest | Health::Silent => "not asked: the resolver does not answer",
    };
    Check::new(check, Status::Skip, why)
}
