//! What a run would do, said before anybody is asked: rows, questions, groups of mail hosts, time.
//!
//! Reads the list, what is kept, and DNS. Must not ask a mail host or keep anything.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use serde::{Serialize, Serializer};
use tokio::task::JoinSet;

use super::{
    Engine, VerifyError,
    answers::{Answers, unasked},
    list::List,
    open::Open,
    resolve::{Next, ROUTES, next},
};
use crate::{
    address::Domain,
    dns::MailRoute,
    input::{Row, Table},
    schedule::{Limits, Manners, Placement, place},
    store::{Lease, Ledger, Source},
    verdict::{Evidence, NotTried, Observed, Reason, UnknownRecipients, judge},
};

/// Refused recipients that are assumed, in percent: mailing lists have between 2 and 24.
const REFUSED: usize = 20;
/// Groups that are named.
const NAMED: usize = 10;

/// What a run would do.
#[derive(Debug, Default, Serialize)]
pub struct Plan {
    /// Rows of the list.
    pub rows: usize,
    /// Different addresses.
    pub unique: usize,
    /// Rows that repeat an earlier address.
    pub duplicates: u64,
    /// Addresses that earlier answers serve.
    pub known: usize,
    /// Addresses that need no mail host, or none may be asked about, by the reason they would get. A row without an address
    /// counts as one.
    pub unasked: BTreeMap<&'static str, usize>,
    /// Domains whose mail hosts would be asked.
    pub domains: usize,
    /// Groups of mail hosts.
    pub groups: usize,
    /// Addresses to ask about.
    pub probes: usize,
    /// At most so many control recipients, when nothing is asked twice.
    pub control_questions: usize,
    /// At least so many sessions.
    pub sessions: usize,
    /// The share of refused recipients that is assumed for the expected time.
    pub assumed_refused_percent: usize,
    /// The budgets allow no less: nobody refused, nothing asked twice. Answers take their time on top.
    #[serde(rename = "at_least_ms", serialize_with = "milliseconds")]
    pub at_least: Duration,
    /// With the assumed refusals; nothing asked twice.
    #[serde(rename = "expected_ms", serialize_with = "milliseconds")]
    pub expected: Duration,
    /// The group that is expected to be done last.
    pub critical: Option<String>,
    /// Those that take longest, longest first, at most ten.
    pub largest: Vec<PlannedGroup>,
}

/// A group of mail hosts, and what it would be asked.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedGroup {
    /// Its name.
    pub group: String,
    /// Its hosts are the operator's own.
    pub trusted: bool,
    /// Domains.
    pub domains: usize,
    /// Addresses.
    pub probes: usize,
    /// At most so many control recipients.
    pub control_questions: usize,
    /// At least so many sessions.
    pub sessions: usize,
    /// Its budget allows no less.
    #[serde(rename = "at_least_ms", serialize_with = "milliseconds")]
    pub at_least: Duration,
    /// With the assumed refusals.
    #[serde(rename = "expected_ms", serialize_with = "milliseconds")]
    pub expected: Duration,
}

fn milliseconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// A group while domains are added to it.
struct Load {
    placement: Placement,
    domains: usize,
    probes: usize,
    control_questions: usize,
    /// Control recipients that are expected to be asked about, in thousandths.
    controls_expected: usize,
}

impl Load {
    fn new(placement: Placement) -> Self {
        Self {
            placement,
            domains: 0,
            probes: 0,
            control_questions: 0,
            controls_expected: 0,
        }
    }

    fn add(&mut self, probes: usize, open: bool) {
        self.domains += 1;
        self.probes += probes;
        let limits = &self.placement.limits;
        let again = probes / (limits.recheck_accepts as usize).max(1);
        self.control_questions += usize::from(open) + again;
        if open {
            // A recipient that is refused as unknown answers for the control recipient, if it is in the first session.
            let first = probes.min(limits.recipients_per_session as usize).min(32);
            self.controls_expected += (0..first).fold(1000, |chance, _| chance * (100 - REFUSED) / 100);
        }
    }

    fn planned(&self) -> PlannedGroup {
        let Placement { name, limits, .. } = &self.placement;
        let controls = self.controls_expected.div_ceil(1000);
        // A host that refuses strangers refuses the control recipient too.
        let refusals = (self.probes * REFUSED).div_ceil(100) + controls;
        PlannedGroup {
            group: name.to_string(),
            trusted: self.placement.trusted,
            domains: self.domains,
            probes: self.probes,
            control_questions: self.control_questions,
            sessions: sessions(limits, self.probes),
            at_least: limits.least_time(self.probes, 0),
            expected: limits.least_time(self.probes + controls, refusals),
        }
    }
}

fn sessions(limits: &Limits, questions: usize) -> usize {
    questions.div_ceil((limits.recipients_per_session as usize).max(1))
}

/// What a run over `table` would do.
pub(super) async fn plan(engine: &Engine, table: &mut Table) -> Result<Plan, VerifyError> {
    let mut plan = Plan {
        assumed_refused_percent: REFUSED,
        ..Plan::default()
    };
    let list = read(engine, table, &mut plan)?;
    if engine.route.is_none() {
        let evidence = Evidence::not_tried(NotTried::Level);
        count(
            &mut plan,
            judge(&evidence, &engine.settings.policy).reason,
            list.addresses.len(),
        );
        return Ok(plan);
    }
    let ledger = engine.ledger(&engine.store(), Lease::nobody())?;
    let open = open(engine, &ledger, list, &mut plan)?;
    let groups = placed(engine, &ledger, open, &mut plan).await?;
    let mut groups: Vec<PlannedGroup> = groups.values().map(Load::planned).collect();
    plan.groups = groups.len();
    for group in &groups {
        plan.domains += group.domains;
        plan.probes += group.probes;
        plan.control_questions += group.control_questions;
        plan.sessions += group.sessions;
        plan.at_least = plan.at_least.max(group.at_least);
    }
    groups.sort_by(|one, other| {
        let rank = |group: &PlannedGroup| (group.expected, group.probes);
        rank(other).cmp(&rank(one)).then_with(|| one.group.cmp(&other.group))
    });
    groups.truncate(NAMED);
    if let Some(first) = groups.first() {
        (plan.expected, plan.critical) = (first.expected, Some(first.group.clone()));
    }
    plan.largest = groups;
    Ok(plan)
}

fn count(plan: &mut Plan, reason: Reason, addresses: usize) {
    if addresses > 0 {
        *plan.unasked.entry(reason.name()).or_default() += addresses;
    }
}

/// Reads the list; rows that nobody needs to be asked about are counted.
fn read(engine: &Engine, table: &mut Table, plan: &mut Plan) -> Result<List, VerifyError> {
    let (mut list, mut row) = (List::default(), Row::default());
    while table.read_row(&mut row)? {
        list.add(engine, &row)?;
        if list.last_needs_nobody() {
            count(plan, unasked(engine, &row).verdict.reason, 1);
        }
    }
    list.close();
    for (id, told) in &list.told {
        let copies = usize::try_from(list.copies(*id)).unwrap_or(usize::MAX);
        count(plan, told.reason(), copies);
    }
    (plan.rows, plan.unique, plan.duplicates) = (list.rows.len(), list.addresses.len(), list.duplicates());
    Ok(list)
}

/// What earlier answers leave to ask.
fn open(
    engine: &Engine,
    ledger: &Ledger,
    mut list: List,
    plan: &mut Plan,
) -> Result<Vec<(Domain, usize)>, VerifyError> {
    let answers = Answers::new(list.addresses.len());
    let mut left = Vec::new();
    for domain in list.take_domains() {
        let mut open = Open::default();
        open.add(engine, ledger, (&list, &answers), domain)?;
        for known in open.known {
            if known.source == Source::Store {
                plan.known += 1;
            } else {
                count(plan, known.verdict.reason, 1);
            }
        }
        left.extend(open.asked.into_iter().map(|(domain, ids)| (domain, ids.len())));
    }
    Ok(left)
}

/// Looks up where every domain's mail goes, and puts it into its group.
async fn placed(
    engine: &Engine,
    ledger: &Ledger,
    open: Vec<(Domain, usize)>,
    plan: &mut Plan,
) -> Result<HashMap<Arc<str>, Load>, VerifyError> {
    let mut groups: HashMap<Arc<str>, Load> = HashMap::new();
    let Some(finder) = &engine.route else { return Ok(groups) };
    let (mut routing, mut open) = (JoinSet::new(), open.into_iter());
    loop {
        while routing.len() < ROUTES
            && let Some((domain, addresses)) = open.next()
        {
            let finder = Arc::clone(finder);
            routing.spawn(async move {
                let route = finder.route(&domain).await;
                (domain, addresses, route)
            });
        }
        let Some(routed) = routing.join_next().await else {
            return Ok(groups);
        };
        // A panic while looking up is a fault of ours that says itself.
        let Ok((domain, addresses, route)) = routed else {
            continue;
        };
        match placement(engine, &route) {
            Ok(placement) => {
                let memory = ledger.domain(&domain, false).map_err(Arc::new)?;
                let unknown = memory.and_then(|memory| memory.unknown.known().copied());
                if unknown == Some(UnknownRecipients::Accepted) {
                    // A host that takes everything is asked nothing more.
                    plan.known += addresses;
                    continue;
                }
                let name = Arc::clone(&placement.name);
                let load = groups.entry(name).or_insert_with(|| Load::new(placement));
                load.add(addresses, unknown.is_none());
            }
            Err(evidence) => count(plan, judge(&evidence, &engine.settings.policy).reason, addresses),
        }
    }
}

/// The group of a domain, or why nobody is asked.
fn placement(engine: &Engine, route: &Arc<MailRoute>) -> Result<Placement, Box<Evidence>> {
    let manners: &Manners = match (next(engine, route), &engine.manners) {
        (Next::Known(evidence), _) => return Err(evidence),
        (Next::Ask, Some(manners)) => manners,
        (Next::Ask, None) => return Err(Box::new(super::resolve::internal())),
    };
    place(route, manners).map_err(|why| {
        Box::new(Evidence {
            route: Observed::Known(Arc::clone(route)),
            ..Evidence::not_tried(why)
        })
    })
}
