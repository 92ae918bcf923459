//! Webhooks: whoever asked hears of the end of a job or a late verification, signed, once at least.
//!
//! What is to be sent is in the store, written by the store itself when it happens; here it is fetched, sent, and tried again. Must
//! reach nobody but vetted addresses, and keep nothing of what they answer.

mod send;
mod sign;
mod target;

pub(super) use target::LONGEST as LONGEST_URL;

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{Extension, extract::State, response::Response};
use rand::Rng as _;
use rustls::RootCertStore;
use serde::{Deserialize, Serialize};
use tokio::task::{Id, JoinError, JoinSet};
use utoipa::ToSchema;

use self::{
    send::{NotTaken, Sender},
    target::{Rules, Target},
};
use super::{
    Shared,
    body::json,
    gate::Caller,
    problem::{Code, Problem},
};
use crate::{
    dns::Resolve,
    stop::Stop,
    store::{Attempt, Delivery, SqliteStore, StoreError, Webhook},
};

/// Attempts of one tenant at one time.
const OF_EACH: usize = 4;
/// Attempts of all tenants from which on nobody begins another.
const AT_ONCE: usize = 64;
/// The next pause is so many times the last one.
const STEP: u32 = 3;
/// The longest pause.
const LONGEST: Duration = Duration::from_hours(4);
/// How long the database is left alone when nothing is due and nobody rings.
const LOOK: Duration = Duration::from_secs(5);
/// Attempts that are taken again only after their own time, and this.
const MARGIN: Duration = Duration::from_secs(2);
/// Webhooks, and events that were given up, are forgotten after this.
const KEPT: Duration = Duration::from_hours(30 * 24);

/// How events are sent.
#[derive(Debug, Clone)]
pub struct WebhookOptions {
    /// Targets in clear are taken.
    pub allow_http: bool,
    /// Targets in loopback, private and link-local space are taken: labs only.
    pub allow_special_use: bool,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// The pause after the first attempt; each later one is longer.
    pub first_pause: Duration,
    /// How long an event is tried.
    pub give_up: Duration,
    /// Whose certificates are believed; the system's list when nobody says.
    pub roots: Option<RootCertStore>,
}

impl Default for WebhookOptions {
    fn default() -> Self {
        Self {
            allow_http: false,
            allow_special_use: false,
            timeout: Duration::from_secs(10),
            first_pause: Duration::from_secs(5),
            give_up: Duration::from_hours(24),
            roots: None,
        }
    }
}

impl WebhookOptions {
    fn rules(&self) -> Rules {
        Rules {
            allow_http: self.allow_http,
            allow_special_use: self.allow_special_use,
        }
    }

    /// The pause after so many attempts, spread by a quarter so that targets that failed together are not met together.
    fn pause(&self, attempts: u32) -> Duration {
        let pause = self.first_pause.saturating_mul(STEP.saturating_pow(attempts.min(20)));
        pause.min(LONGEST).mul_f64(rand::rng().random_range(0.75..1.25))
    }
}

/// Whom to tell when the answer is final.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Webhook, example = json!({"url": "https://hooks.example.com/presend"}))]
pub(super) struct WebhookRequest {
    /// Where the event is posted to: a public host, by HTTPS unless the server allows otherwise.
    #[schema(
        max_length = 2000,
        pattern = r"^https://([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}(:(443|[1-5][0-9]{4}))?(/[!-~]*)?$",
        example = "https://hooks.example.com/presend"
    )]
    url: String,
    /// What signs it: `whsec_` and 24 to 64 bytes in base64; without it the secret of `/v1/webhooks/secret` does.
    #[schema(pattern = r"^whsec_([A-Za-z0-9+/]{4}){8,20}([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$")]
    secret: Option<String>,
}

impl fmt::Debug for WebhookRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookRequest")
    }
}

/// Whom to tell, checked.
#[derive(Serialize)]
pub(super) struct Hook {
    url: String,
    secret: Option<Vec<u8>>,
}

impl Hook {
    /// Signed with the tenant's own secret.
    pub(super) fn at(url: &str, options: &WebhookOptions) -> Result<Self, Problem> {
        match Target::parse(url, options.rules()) {
            Ok(_) => Ok(Self {
                url: url.to_owned(),
                secret: None,
            }),
            Err(error) => Err(Problem::new(Code::InvalidValue, error).at("/webhook")),
        }
    }

    /// Told of this job or verification.
    pub(super) fn of(self, subject: &str, tenant: &str) -> Webhook {
        Webhook {
            subject: subject.to_owned(),
            tenant: tenant.to_owned(),
            url: self.url,
            secret: self.secret,
        }
    }

    /// From now on, and whatever happens to this process.
    pub(super) async fn keep(self, shared: &Shared, subject: &str, tenant: &str) -> Result<(), Problem> {
        let webhook = self.of(subject, tenant);
        let kept = blocking(&shared.store, move |store| store.add_webhook(webhook)).await;
        kept.map_err(|error| {
            tracing::error!(%error, "a webhook cannot be kept");
            Code::StoreFailed.into()
        })
    }
}

impl WebhookRequest {
    /// What is wrong with it, if anything is; `at` is where in the body it is.
    pub(super) fn check(self, options: &WebhookOptions, at: &str) -> Result<Hook, Problem> {
        if let Err(error) = Target::parse(&self.url, options.rules()) {
            return Err(Problem::new(Code::InvalidValue, error).at(format!("{at}/url")));
        }
        let secret = self.secret.as_deref().map(|secret| {
            sign::read(secret).ok_or_else(|| {
                let said = "Write `whsec_` and 24 to 64 bytes in base64.";
                Problem::new(Code::InvalidValue, said).at(format!("{at}/secret"))
            })
        });
        Ok(Hook {
            url: self.url,
            secret: secret.transpose()?,
        })
    }
}

/// What signs events.
#[derive(Serialize, ToSchema)]
pub(super) struct WebhookSecret {
    /// `whsec_` and 32 bytes in base64, as libraries of Standard Webhooks take it.
    #[schema(pattern = "^whsec_[A-Za-z0-9+/]{43}=$")]
    secret: String,
}

/// The secret that signs your events.
///
/// For those whose webhook has no secret of its own. The same for all keys of a tenant.
#[utoipa::path(
    get, path = "/v1/webhooks/secret", tag = "verify", operation_id = "webhook_secret",
    responses((status = 200, description = "The secret.", body = WebhookSecret)),
)]
pub(super) async fn secret(State(shared): State<Shared>, Extension(caller): Extension<Caller>) -> Response {
    json(&WebhookSecret {
        secret: sign::show(&sign::of_tenant(&shared.webhook_secret, caller.tenant())),
    })
}

/// Whose certificates are believed.
fn roots(options: &WebhookOptions) -> RootCertStore {
    if let Some(roots) = &options.roots {
        return roots.clone();
    }
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "certificates of the system cannot be read");
    }
    let (believed, _) = roots.add_parsable_certificates(found.certs);
    if believed == 0 {
        tracing::warn!("the system has no list of certificates, so no webhook by HTTPS will be delivered");
    }
    roots
}

/// Fetches and sends what happens until `stop` is requested. What is under way then is sent again after the next start.
pub(super) async fn deliver(shared: Shared, resolver: Arc<dyn Resolve>, stop: Stop) {
    let options = shared.options.webhooks.clone();
    let how = (options.rules(), options.timeout);
    let (secret, all) = (shared.webhook_secret, options.clone());
    // Some systems keep a file for each certificate.
    let roots = tokio::task::spawn_blocking(move || roots(&all))
        .await
        .unwrap_or_else(|_| RootCertStore::empty());
    let sender = match Sender::new(resolver, how, secret, roots) {
        Ok(sender) => Arc::new(sender),
        Err(error) => return tracing::error!(%error, "no webhook can be delivered"),
    };
    let mut bell = shared.bell.listen();
    let (mut under_way, mut tenants) = (JoinSet::new(), HashMap::new());
    loop {
        while let Some(ended) = under_way.try_join_next_with_id() {
            tenants.remove(&task(ended));
        }
        let lease = SystemTime::now() + options.timeout + MARGIN;
        let room = room(&tenants);
        let found = blocking(&shared.store, move |store| store.take_deliveries(lease, room)).await;
        let (taken, next) = found.unwrap_or_else(|error| {
            tracing::error!(%error, "webhooks cannot be read");
            (Vec::new(), None)
        });
        for delivery in taken {
            let (shared, sender, tenant) = (Arc::clone(&shared), Arc::clone(&sender), delivery.tenant.clone());
            let attempt = under_way.spawn(async move { one(&shared, &sender, delivery).await });
            tenants.insert(attempt.id(), tenant);
        }
        let wait = next.map_or(LOOK, |next| next.duration_since(SystemTime::now()).unwrap_or_default());
        tokio::select! {
            () = stop.requested() => return,
            () = bell.rings() => {}
            Some(ended) = under_way.join_next_with_id() => {
                tenants.remove(&task(ended));
            }
            () = tokio::time::sleep(wait.min(LOOK)) => {}
        }
    }
}

fn task(ended: Result<(Id, ()), JoinError>) -> Id {
    match ended {
        Ok((id, ())) => id,
        Err(error) => error.id(),
    }
}

/// How many attempts each tenant may begin now.
fn room(tenants: &HashMap<Id, String>) -> impl Fn(&str) -> usize + Send + use<> {
    let all = AT_ONCE.saturating_sub(tenants.len());
    let mut busy: HashMap<String, usize> = HashMap::new();
    for tenant in tenants.values() {
        *busy.entry(tenant.clone()).or_default() += 1;
    }
    move |tenant| {
        OF_EACH
            .saturating_sub(busy.get(tenant).copied().unwrap_or_default())
            .min(all)
    }
}

async fn blocking<T: Send + 'static>(
    store: &Arc<SqliteStore>,
    work: impl FnOnce(&SqliteStore) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let store = Arc::clone(store);
    tokio::task::spawn_blocking(move || work(&store))
        .await
        .unwrap_or(Err(StoreError::Ended))
}

async fn one(shared: &Shared, sender: &Sender, delivery: Delivery) {
    let options = &shared.options.webhooks;
    let sent = sender.send(&delivery).await;
    let age = SystemTime::now().duration_since(delivery.at).unwrap_or_default();
    let attempt = match &sent {
        Ok(()) => Attempt::Delivered,
        Err(error) if error.is_gone() => Attempt::TargetGone,
        Err(_) if age >= options.give_up => Attempt::GivenUp,
        Err(_) => Attempt::Again(SystemTime::now() + options.pause(delivery.attempts)),
    };
    let written = delivery.clone();
    let written = blocking(&shared.store, move |store| store.attempted(&written, attempt)).await;
    if let Err(error) = written {
        tracing::error!(%error, "what came of a webhook cannot be written; it will be sent again");
    }
    note(shared, &delivery, sent.err().as_ref(), attempt);
}

/// The path and the query of a URL may be somebody's secret.
fn note(shared: &Shared, delivery: &Delivery, error: Option<&NotTaken>, attempt: Attempt) {
    let url = url::Url::parse(&delivery.url).ok();
    let host = url.as_ref().and_then(url::Url::host_str).unwrap_or_default();
    let (event, tenant, attempts) = (&*delivery.id, &*delivery.tenant, delivery.attempts + 1);
    let result = match attempt {
        Attempt::Delivered => "delivered",
        Attempt::Again(_) => "failed",
        Attempt::GivenUp | Attempt::TargetGone => "given_up",
    };
    shared.metrics.webhook(result);
    match error {
        None => tracing::info!(target: "presend::webhook", event, tenant, host, attempts, result),
        Some(error) => tracing::warn!(target: "presend::webhook", event, tenant, host, attempts, result, %error),
    }
}

/// Forgets what nobody waits for any longer.
pub(super) fn forget(store: &SqliteStore) -> Result<(), StoreError> {
    store.forget_webhooks(SystemTime::now() - KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_a_day_has_room_for_a_dozen() {
        let options = WebhookOptions::default();
        let mut all = Duration::ZERO;
        let mut attempts = 0;
        while all < options.give_up {
            let pause = options.pause(attempts);
            let exact = Duration::from_secs(5)
                .saturating_mul(3_u32.saturating_pow(attempts))
                .min(LONGEST);
            assert!(
                pause >= exact.mul_f64(0.74) && pause <= exact.mul_f64(1.26),
                "{attempts}: {pause:?}"
            );
            all += pause;
            attempts += 1;
        }
        assert!((10..=16).contains(&attempts), "{attempts}");
        assert!(options.pause(u32::MAX) <= LONGEST.mul_f64(1.26));
    }
}
