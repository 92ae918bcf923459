//! Numbers for Prometheus. Labels are closed sets: routes, statuses, labels, reasons; never an address, a key or a host.

use std::time::Duration;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{family::Family, histogram::Histogram},
    registry::{Metric, Registry},
};

use super::{
    Shared,
    problem::{Code, Problem},
};
use crate::{
    job::Outcome,
    meter::{self, Count, Level, Meter, Timings},
    schedule::Stock,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    label: &'static str,
    reason: &'static str,
    source: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WaitsLabels {
    waits_for: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GroupLabels {
    provider: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    result: &'static str,
}

/// Every number.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Count>,
    seconds: Timings<RouteLabels>,
    results: Family<ResultLabels, Count>,
    provisional: Count,
    under_way: Level,
    pending: Level,
    queue: Level,
    retries: Level,
    jobs_running: Level,
    jobs_queued: Level,
    groups: Family<WaitsLabels, Level>,
    refusals_left: Family<GroupLabels, Level>,
    webhooks: Family<AttemptLabels, Count>,
    webhooks_waiting: Level,
    webhooks_given_up: Level,
}

/// Makes numbers that are shown.
struct Shown(Registry);

impl Shown {
    fn show<M: Metric + Clone>(&mut self, name: &'static str, help: &'static str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    fn make<M: Metric + Clone + Default>(&mut self, name: &'static str, help: &'static str) -> M {
        self.show(name, help, M::default())
    }
}

impl Metrics {
    /// The server's own numbers, and those of its engine and its store.
    pub(super) fn new(meter: &Meter, store: Histogram) -> Self {
        let mut all = Shown(Registry::with_prefix("presend"));
        let timings = Family::new_with_constructor(meter::seconds as fn() -> Histogram);
        let metrics = Self {
            requests: all.make("requests", "API requests, by route and status"),
            seconds: all.show("request_seconds", "How long API requests took", timings),
            results: all.make("results", "Final results of API requests, by label, reason and source"),
            provisional: all.make("provisional", "Responses with a provisional result"),
            under_way: all.make("requests_under_way", "API requests being answered"),
            pending: all.make("verifications_pending", "Verifications not answered yet"),
            queue: all.make("queue", "Addresses that were not asked about yet"),
            retries: all.make("retries", "Addresses that wait for another question"),
            jobs_running: all.make("jobs_running", "Lists being asked about"),
            jobs_queued: all.make("jobs_queued", "Lists that wait for their turn"),
            groups: all.make(
                "mail_host_groups",
                "Groups of mail hosts being asked, by what they wait for",
            ),
            refusals_left: all.make(
                "refusals_left",
                "Refusals that a provider's hosts may still give now; the least of all other groups is `other`",
            ),
            webhooks: all.make("webhooks", "Attempts to deliver an event, by what came of them"),
            webhooks_waiting: all.make("webhooks_waiting", "Events that wait to be delivered"),
            webhooks_given_up: all.make("webhooks_given_up", "Events that nobody took in time"),
            registry: Registry::default(),
        };
        let probes = "Addresses that were asked about, by label, reason and the provider that was asked";
        all.show("probes", probes, meter.probes.clone());
        all.show(
            "replies",
            "Replies of mail hosts, by class and provider",
            meter.replies.clone(),
        );
        all.show(
            "rule_hits",
            "Replies of mail hosts, by the rule that understood them",
            meter.rules.clone(),
        );
        all.show(
            "sessions",
            "Dialogues with mail hosts under way",
            meter.sessions.clone(),
        );
        all.show(
            "dns_seconds",
            "How long name servers took, by question and answer",
            meter.dns.clone(),
        );
        all.show(
            "smtp_seconds",
            "How long mail hosts took, by part of the dialogue",
            meter.smtp.clone(),
        );
        all.show("store_seconds", "How long writes to the database took", store);
        Self {
            registry: all.0,
            ..metrics
        }
    }

    /// What the engine has to do now.
    fn stock(&self, stock: Stock) {
        self.queue.set(count(stock.queue));
        self.retries.set(count(stock.retries));
        self.groups.clear();
        for (waits_for, groups) in stock.groups {
            self.groups.get_or_create(&WaitsLabels { waits_for }).set(count(groups));
        }
        self.refusals_left.clear();
        for (provider, left) in stock.refusals_left {
            self.refusals_left
                .get_or_create(&GroupLabels { provider })
                .set(left.into());
        }
    }

    /// An event was sent, or not.
    pub(super) fn webhook(&self, result: &'static str) {
        self.webhooks.get_or_create(&AttemptLabels { result }).inc();
    }

    pub(super) fn began(&self) {
        self.under_way.inc();
    }

    pub(super) fn ended(&self) {
        self.under_way.dec();
    }

    pub(super) fn request(&self, route: &str, status: StatusCode, took: Duration) {
        let route = route.to_owned();
        let seconds = self.seconds.get_or_create(&RouteLabels { route: route.clone() });
        seconds.observe(took.as_secs_f64());
        drop(seconds);
        let status = status.as_u16();
        self.requests.get_or_create(&RequestLabels { route, status }).inc();
    }

    pub(super) fn answered(&self, outcomes: &[Outcome], provisional: bool) {
        if provisional {
            self.provisional.inc();
            return;
        }
        for outcome in outcomes {
            let labels = ResultLabels {
                label: outcome.verdict.label.name(),
                reason: outcome.verdict.reason.name(),
                source: outcome.source.name(),
            };
            self.results.get_or_create(&labels).inc();
        }
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Numbers for Prometheus.
///
/// In the text form of OpenMetrics. Takes a key with the scope `admin`.
#[utoipa::path(
    get, path = "/metrics", tag = "operation", operation_id = "metrics",
    responses((status = 200, description = "The numbers.", body = String, content_type = "application/openmetrics-text")),
)]
pub(super) async fn metrics(State(shared): State<Shared>) -> Result<Response, Problem> {
    let metrics = &shared.metrics;
    metrics.pending.set(count(shared.verifications.pending()));
    metrics.stock(shared.engines.any().stock());
    if let Ok((waiting, given_up)) = shared.store.deliveries() {
        metrics.webhooks_waiting.set(waiting.cast_signed());
        metrics.webhooks_given_up.set(given_up.cast_signed());
    }
    let (running, queued) = shared.runner.counts();
    metrics.jobs_running.set(count(running));
    metrics.jobs_queued.set(count(queued));
    let mut text = String::with_capacity(4096);
    encode(&mut text, &metrics.registry).map_err(|_| Problem::from(Code::Internal))?;
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}
