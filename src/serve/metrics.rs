//! Numbers for Prometheus. Labels are closed sets: routes, statuses, labels, reasons; never an address, a key or a host.

use std::{
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::{
    Shared,
    problem::{Code, Problem},
};
use crate::job::Outcome;

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

/// Every number.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter<u64, AtomicU64>>,
    seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    results: Family<ResultLabels, Counter<u64, AtomicU64>>,
    provisional: Counter<u64, AtomicU64>,
    under_way: Gauge<i64, AtomicI64>,
    pending: Gauge<i64, AtomicI64>,
    waiting_groups: Gauge<i64, AtomicI64>,
    jobs_running: Gauge<i64, AtomicI64>,
    jobs_queued: Gauge<i64, AtomicI64>,
}

fn histogram() -> Histogram {
    Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 30.0, 60.0])
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("presend");
        let metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            results: Family::default(),
            provisional: Counter::default(),
            under_way: Gauge::default(),
            pending: Gauge::default(),
            waiting_groups: Gauge::default(),
            jobs_running: Gauge::default(),
            jobs_queued: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "requests",
            "API requests, by route and status",
            metrics.requests.clone(),
        );
        registry.register("request_seconds", "How long API requests took", metrics.seconds.clone());
        registry.register(
            "results",
            "Final results, by label, reason and source",
            metrics.results.clone(),
        );
        registry.register(
            "provisional",
            "Responses with a provisional result",
            metrics.provisional.clone(),
        );
        registry.register(
            "requests_under_way",
            "API requests being answered",
            metrics.under_way.clone(),
        );
        registry.register(
            "verifications_pending",
            "Verifications not answered yet",
            metrics.pending.clone(),
        );
        registry.register(
            "mail_host_groups_waiting",
            "Groups of mail hosts that wait for their budget or the time to ask again",
            metrics.waiting_groups.clone(),
        );
        registry.register("jobs_running", "Lists being asked about", metrics.jobs_running.clone());
        registry.register(
            "jobs_queued",
            "Lists that wait for their turn",
            metrics.jobs_queued.clone(),
        );
        Self { registry, ..metrics }
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

/// Numbers for Prometheus.
///
/// In the text form of OpenMetrics. Takes a key with the scope `admin`.
#[utoipa::path(
    get, path = "/metrics", tag = "operation", operation_id = "metrics",
    responses((status = 200, description = "The numbers.", body = String, content_type = "application/openmetrics-text")),
)]
pub(super) async fn metrics(State(shared): State<Shared>) -> Result<Response, Problem> {
    let metrics = &shared.metrics;
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    metrics.pending.set(count(shared.verifications.pending()));
    metrics.waiting_groups.set(count(shared.engines.any().waiting_groups()));
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
