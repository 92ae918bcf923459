//! `presend serve`: the HTTP API, until it is told to stop.

use std::{
    io::IsTerminal as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::ArgMatches;
use serde::{Deserialize, Serialize};

use super::{
    Exit,
    config::ConfigFile,
    database,
    fault::{fault, hint, note, sentence},
    notify,
    ownership::Secret,
    settings::{Overlay, Profile, Resolved},
    signal::{Hangups, Signals},
    values::{Span, Text},
};
use crate::{
    job::{Engine, Settings, Stop},
    serve::{
        Bounces, Cidr, Limits, NotAProof, Options, PageOrigin, Proofs, Reloader, Sandbox, ServeError, Server, Tls,
        WebhookOptions,
    },
    store::{SqliteStore, Store},
    suppress::BouncePolicy,
};

/// `presend serve`
#[derive(Debug, clap::Args)]
#[command(
    about = "Serve the HTTP API: single addresses, batches, replies, reasons",
    long_about = "Serve the HTTP API: single addresses, batches, replies, reasons.\n\nThe same answers as on the command line, over \
    HTTP: docs/api.md, and `/docs` of the running server. Without keys (`presend keys add`) only this machine is served.",
    after_long_help = "\
Examples:
  presend serve --sandbox                              made-up hosts; asks nobody outside
  presend serve --helo-name probe.example.com --mail-from postmaster@example.com
  presend keys add --name crm --rate 10/s && presend serve --bind 0.0.0.0:8025
  curl -s localhost:8025/v1/verify -H 'content-type: application/json' -d '{\"address\":\"valid@sandbox.test\"}'

SIGTERM or Ctrl-C once: no new connections, requests under way are answered, sessions are closed politely. Twice: it ends at once.

Exit codes: 0 it was told to stop; 2 it could not start, or not keep what it knew."
)]
pub(super) struct ServeArgs {
    /// Answer from made-up mail hosts inside the server, with an address for every label; nobody outside is asked.
    #[arg(long)]
    sandbox: bool,
    #[command(flatten)]
    serve: ServeOverlay,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    overlay: Overlay,
}

const SERVE: &str = "Server";

/// Every setting of the server, none of them required: `[serve]` in the file.
#[derive(Debug, Clone, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ServeOverlay {
    /// Where to listen [default: 127.0.0.1:8025].
    #[arg(long, value_name = "IP:PORT", env = "PRESEND_SERVE_BIND", help_heading = SERVE)]
    bind: Option<SocketAddr>,
    /// Certificate chain in PEM: requests come by HTTPS. Read again when the file changes, or on SIGHUP.
    #[arg(long, value_name = "FILE", env = "PRESEND_SERVE_TLS_CERT", help_heading = SERVE)]
    tls_cert: Option<PathBuf>,
    /// Its private key in PEM.
    #[arg(long, value_name = "FILE", env = "PRESEND_SERVE_TLS_KEY", help_heading = SERVE)]
    tls_key: Option<PathBuf>,
    /// Proxies, or their networks, whose X-Forwarded-For or Forwarded header says who asks [default: none].
    #[arg(long, value_name = "CIDR", value_delimiter = ',', env = "PRESEND_SERVE_TRUSTED_PROXY", help_heading = SERVE)]
    trusted_proxy: Option<Vec<Text<Cidr>>>,
    /// Origins of web pages that may ask, such as `https://app.example.com` (CORS) [default: none].
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',', env = "PRESEND_SERVE_CORS_ORIGIN", help_heading = SERVE)]
    cors_origin: Option<Vec<Text<PageOrigin>>>,
    /// Post events to webhooks in clear too, not only by HTTPS [default: false].
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true,
        env = "PRESEND_SERVE_WEBHOOK_ALLOW_HTTP", help_heading = SERVE)]
    webhook_allow_http: Option<bool>,
    /// How long a webhook may take to answer [default: 10s].
    #[arg(long, value_name = "DURATION", env = "PRESEND_SERVE_WEBHOOK_TIMEOUT", help_heading = SERVE)]
    webhook_timeout: Option<Span>,
    /// Certificate in PEM that signs calls of Amazon SNS, for events of SES [default: such calls are not taken]. Repeatable.
    #[arg(long, value_name = "FILE", value_delimiter = ',', env = "PRESEND_SERVE_RECEIVE_SES_CERT", help_heading = SERVE)]
    receive_ses_cert: Option<Vec<PathBuf>>,
    /// Topic of SNS whose calls are taken [default: every topic with that certificate]. Repeatable.
    #[arg(long, value_name = "ARN", value_delimiter = ',', env = "PRESEND_SERVE_RECEIVE_SES_TOPIC", help_heading = SERVE)]
    receive_ses_topic: Option<Vec<String>>,
    /// Key that SendGrid shows for its signed event webhook [default: its calls are not taken].
    #[arg(long, value_name = "BASE64", env = "PRESEND_SERVE_RECEIVE_SENDGRID_KEY", help_heading = SERVE)]
    receive_sendgrid_key: Option<String>,
    /// Signing key of Mailgun's webhooks [default: its calls are not taken].
    #[arg(long, value_name = "KEY", env = "PRESEND_SERVE_RECEIVE_MAILGUN_KEY", hide_env_values = true, help_heading = SERVE)]
    receive_mailgun_key: Option<Secret>,
    /// Login in the address of Postmark's webhooks [default: its calls are not taken].
    #[arg(long, value_name = "NAME:PASSWORD", env = "PRESEND_SERVE_RECEIVE_POSTMARK_LOGIN", hide_env_values = true, help_heading = SERVE)]
    receive_postmark_login: Option<Secret>,
    /// How long a request waits for its answer when it does not say [default: 10s].
    #[arg(long, value_name = "DURATION", env = "PRESEND_SERVE_WAIT", help_heading = SERVE)]
    wait: Option<Span>,
    /// How long a request may wait at most [default: 1m].
    #[arg(long, value_name = "DURATION", env = "PRESEND_SERVE_MAX_WAIT", help_heading = SERVE)]
    max_wait: Option<Span>,
    /// How long answers that came late are kept for their callers [default: 1day].
    #[arg(long, value_name = "DURATION", env = "PRESEND_SERVE_KEEP", help_heading = SERVE)]
    keep: Option<Span>,
    /// How many of them are kept at most [default: 10000].
    #[arg(long, value_name = "COUNT", env = "PRESEND_SERVE_MAX_KEPT", help_heading = SERVE)]
    max_kept: Option<usize>,
    /// Verifications of one key that are not answered yet [default: 1000].
    #[arg(long, value_name = "COUNT", env = "PRESEND_SERVE_MAX_PENDING", help_heading = SERVE)]
    max_pending: Option<usize>,
    /// Addresses in one batch, 100 at most [default: 100].
    #[arg(long, value_name = "COUNT", env = "PRESEND_SERVE_MAX_BATCH", help_heading = SERVE)]
    max_batch: Option<usize>,
    /// Bytes of a body [default: 65536].
    #[arg(long, value_name = "BYTES", env = "PRESEND_SERVE_MAX_BODY", help_heading = SERVE)]
    max_body: Option<usize>,
    /// Bytes of a request's line and headers, 8192 at least [default: 16384].
    #[arg(long, value_name = "BYTES", env = "PRESEND_SERVE_MAX_HEADER", help_heading = SERVE)]
    max_header: Option<usize>,
    /// Connections at one time [default: 1024].
    #[arg(long, value_name = "COUNT", env = "PRESEND_SERVE_MAX_CONNECTIONS", help_heading = SERVE)]
    max_connections: Option<usize>,
    /// Requests at one time [default: 512].
    #[arg(long, value_name = "COUNT", env = "PRESEND_SERVE_MAX_REQUESTS", help_heading = SERVE)]
    max_requests: Option<usize>,
    /// Requests at one time of one key [default: 128].
    #[arg(long, value_name = "COUNT", env = "PRESEND_SERVE_MAX_REQUESTS_PER_KEY", help_heading = SERVE)]
    max_requests_per_key: Option<usize>,
    /// Bytes of a list [default: 1073741824].
    #[arg(long, value_name = "BYTES", env = "PRESEND_SERVE_MAX_UPLOAD", help_heading = SERVE)]
    max_upload: Option<u64>,
    /// Rows of a list [default: 10000000].
    #[arg(long, value_name = "COUNT", env = "PRESEND_SERVE_MAX_ROWS", help_heading = SERVE)]
    max_rows: Option<u64>,
    /// Lists that are sent or fetched at one time, half of them by one key [default: 16].
    #[arg(long, value_name = "COUNT", env = "PRESEND_SERVE_MAX_TRANSFERS", help_heading = SERVE)]
    max_transfers: Option<usize>,
    /// Lists that are asked about at one time; the others wait their turn [default: 4].
    #[arg(long, value_name = "COUNT", env = "PRESEND_SERVE_MAX_RUNNING", help_heading = SERVE)]
    max_running: Option<usize>,
    /// Jobs of one tenant that are not done yet [default: 100].
    #[arg(long, value_name = "COUNT", env = "PRESEND_SERVE_MAX_JOBS", help_heading = SERVE)]
    max_jobs: Option<usize>,
    /// Event streams and downloads of one key at one time [default: 100].
    #[arg(long, value_name = "COUNT", env = "PRESEND_SERVE_MAX_STREAMS", help_heading = SERVE)]
    max_streams: Option<usize>,
    /// Addresses of one domain that one key may ask about in a day; 0 is any number [default: 1000].
    #[arg(long, value_name = "COUNT", env = "PRESEND_SERVE_DOMAIN_QUOTA", help_heading = SERVE)]
    domain_quota: Option<u32>,
    /// How long a request's headers may take to arrive, and how long a connection may stay idle [default: 10s].
    #[arg(long, value_name = "DURATION", env = "PRESEND_SERVE_TIMEOUT_HEADER", help_heading = SERVE)]
    timeout_header: Option<Span>,
    /// How long a body may take to arrive [default: 20s].
    #[arg(long, value_name = "DURATION", env = "PRESEND_SERVE_TIMEOUT_BODY", help_heading = SERVE)]
    timeout_body: Option<Span>,
    /// How long a list may take to arrive [default: 1h].
    #[arg(long, value_name = "DURATION", env = "PRESEND_SERVE_TIMEOUT_UPLOAD", help_heading = SERVE)]
    timeout_upload: Option<Span>,
    /// How often an event stream says something when nothing happens [default: 15s].
    #[arg(long, value_name = "DURATION", env = "PRESEND_SERVE_HEARTBEAT", help_heading = SERVE)]
    heartbeat: Option<Span>,
    /// How long requests under way get when the server is told to stop [default: 10s].
    #[arg(long, value_name = "DURATION", env = "PRESEND_SERVE_DRAIN", help_heading = SERVE)]
    drain: Option<Span>,
}

impl ServeOverlay {
    /// What holds when nobody says anything.
    pub(super) fn defaults() -> Self {
        let limits = Limits::default();
        let span = |duration| Some(Span::from(duration));
        Self {
            bind: Some(LISTENS),
            tls_cert: None,
            tls_key: None,
            trusted_proxy: None,
            cors_origin: None,
            webhook_allow_http: Some(false),
            webhook_timeout: span(WebhookOptions::default().timeout),
            receive_ses_cert: None,
            receive_ses_topic: None,
            receive_sendgrid_key: None,
            receive_mailgun_key: None,
            receive_postmark_login: None,
            wait: span(limits.wait),
            max_wait: span(limits.max_wait),
            keep: span(limits.keep),
            max_kept: Some(limits.max_kept),
            max_pending: Some(limits.max_pending),
            max_batch: Some(limits.max_batch),
            max_body: Some(limits.max_body),
            max_header: Some(limits.max_header),
            max_connections: Some(limits.max_connections),
            max_requests: Some(limits.max_requests),
            max_requests_per_key: Some(limits.max_requests_per_key),
            domain_quota: Some(limits.domain_quota),
            timeout_header: span(limits.timeout_header),
            timeout_body: span(limits.timeout_body),
            drain: span(limits.drain),
            max_upload: Some(limits.max_upload),
            max_rows: Some(limits.max_rows),
            max_transfers: Some(limits.max_transfers),
            max_running: Some(limits.max_running),
            max_jobs: Some(limits.max_jobs),
            max_streams: Some(limits.max_streams),
            timeout_upload: span(limits.timeout_upload),
            heartbeat: span(limits.heartbeat),
        }
    }

    /// What was typed over what is in the file.
    fn over(&self, file: &Self) -> Self {
        Self {
            bind: self.bind.or(file.bind),
            tls_cert: self.tls_cert.clone().or_else(|| file.tls_cert.clone()),
            tls_key: self.tls_key.clone().or_else(|| file.tls_key.clone()),
            trusted_proxy: self.trusted_proxy.clone().or_else(|| file.trusted_proxy.clone()),
            cors_origin: self.cors_origin.clone().or_else(|| file.cors_origin.clone()),
            webhook_allow_http: self.webhook_allow_http.or(file.webhook_allow_http),
            webhook_timeout: self.webhook_timeout.or(file.webhook_timeout),
            receive_ses_cert: self.receive_ses_cert.clone().or_else(|| file.receive_ses_cert.clone()),
            receive_ses_topic: self
                .receive_ses_topic
                .clone()
                .or_else(|| file.receive_ses_topic.clone()),
            receive_sendgrid_key: self
                .receive_sendgrid_key
                .clone()
                .or_else(|| file.receive_sendgrid_key.clone()),
            receive_mailgun_key: self
                .receive_mailgun_key
                .clone()
                .or_else(|| file.receive_mailgun_key.clone()),
            receive_postmark_login: self
                .receive_postmark_login
                .clone()
                .or_else(|| file.receive_postmark_login.clone()),
            wait: self.wait.or(file.wait),
            max_wait: self.max_wait.or(file.max_wait),
            keep: self.keep.or(file.keep),
            max_kept: self.max_kept.or(file.max_kept),
            max_pending: self.max_pending.or(file.max_pending),
            max_batch: self.max_batch.or(file.max_batch),
            max_body: self.max_body.or(file.max_body),
            max_header: self.max_header.or(file.max_header),
            max_connections: self.max_connections.or(file.max_connections),
            max_requests: self.max_requests.or(file.max_requests),
            max_requests_per_key: self.max_requests_per_key.or(file.max_requests_per_key),
            domain_quota: self.domain_quota.or(file.domain_quota),
            timeout_header: self.timeout_header.or(file.timeout_header),
            timeout_body: self.timeout_body.or(file.timeout_body),
            drain: self.drain.or(file.drain),
            max_upload: self.max_upload.or(file.max_upload),
            max_rows: self.max_rows.or(file.max_rows),
            max_transfers: self.max_transfers.or(file.max_transfers),
            max_running: self.max_running.or(file.max_running),
            max_jobs: self.max_jobs.or(file.max_jobs),
            max_streams: self.max_streams.or(file.max_streams),
            timeout_upload: self.timeout_upload.or(file.timeout_upload),
            heartbeat: self.heartbeat.or(file.heartbeat),
        }
    }

    /// Names in the file are relative to it.
    pub(super) fn relative_to(&mut self, folder: &Path) {
        for path in self
            .tls_cert
            .iter_mut()
            .chain(&mut self.tls_key)
            .chain(self.receive_ses_cert.iter_mut().flatten())
        {
            *path = folder.join(&*path);
        }
    }

    /// In the sandbox, and in labs, webhooks are on this machine.
    fn webhooks(&self, allow_special_use: bool, sandbox: bool) -> WebhookOptions {
        let default = WebhookOptions::default();
        let local = self.bind.unwrap_or(LISTENS).ip().is_loopback();
        WebhookOptions {
            allow_http: self.webhook_allow_http.unwrap_or_default() || (sandbox && local),
            allow_special_use: allow_special_use || (sandbox && local),
            timeout: self.webhook_timeout.map_or(default.timeout, Span::duration),
            ..default
        }
    }

    /// What calls of sending services are checked against.
    fn proofs(&self) -> Result<Proofs, NotAProof> {
        let mut proofs = Proofs::default();
        if let Some(certificates) = &self.receive_ses_cert {
            proofs = proofs.ses(certificates, self.receive_ses_topic.clone().unwrap_or_default())?;
        }
        if let Some(key) = &self.receive_sendgrid_key {
            proofs = proofs.sendgrid(key)?;
        }
        if let Some(key) = &self.receive_mailgun_key {
            proofs = proofs.mailgun(key.reveal());
        }
        if let Some(login) = &self.receive_postmark_login {
            proofs = proofs.postmark(login.reveal())?;
        }
        Ok(proofs)
    }

    fn options(&self, policy: BouncePolicy) -> anyhow::Result<Options> {
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                let tls = Tls::load(certificate.clone(), key.clone());
                let hint = "`--tls-cert` is the chain, the server's own certificate first, `--tls-key` its private key, both PEM";
                Some(Arc::new(tls.map_err(|error| fault(error.to_string(), hint))?))
            }
            (None, None) => None,
            _ => {
                return Err(fault(
                    "`--tls-cert` and `--tls-key` are needed together",
                    "name both files, or neither",
                ));
            }
        };
        let proofs = self.proofs().map_err(|error| {
            fault(
                error.to_string(),
                "docs/suppression.md says where each service shows what is needed",
            )
        })?;
        let proxies = self.trusted_proxy.iter().flatten().map(|proxy| proxy.0);
        Ok(Options {
            tls,
            trusted_proxies: proxies.collect::<Vec<_>>().into(),
            webhooks: WebhookOptions::default(),
            cors: self
                .cors_origin
                .iter()
                .flatten()
                .map(|origin| origin.0.clone())
                .collect(),
            bounces: Bounces { policy, proofs },
        })
    }

    fn limits(&self) -> anyhow::Result<Limits> {
        let default = Limits::default();
        let span = |span: Option<Span>, default: Duration| span.map_or(default, Span::duration);
        let limits = Limits {
            max_body: self.max_body.unwrap_or(default.max_body),
            max_header: self.max_header.unwrap_or(default.max_header),
            max_batch: self.max_batch.unwrap_or(default.max_batch),
            max_connections: self.max_connections.unwrap_or(default.max_connections),
            max_requests: self.max_requests.unwrap_or(default.max_requests),
            max_requests_per_key: self.max_requests_per_key.unwrap_or(default.max_requests_per_key),
            max_pending: self.max_pending.unwrap_or(default.max_pending),
            max_kept: self.max_kept.unwrap_or(default.max_kept),
            domain_quota: self.domain_quota.unwrap_or(default.domain_quota),
            keep: span(self.keep, default.keep),
            wait: span(self.wait, default.wait),
            max_wait: span(self.max_wait, default.max_wait),
            timeout_header: span(self.timeout_header, default.timeout_header),
            timeout_body: span(self.timeout_body, default.timeout_body),
            drain: span(self.drain, default.drain),
            max_upload: self.max_upload.unwrap_or(default.max_upload),
            max_rows: self.max_rows.unwrap_or(default.max_rows),
            max_transfers: self.max_transfers.unwrap_or(default.max_transfers),
            max_running: self.max_running.unwrap_or(default.max_running),
            max_jobs: self.max_jobs.unwrap_or(default.max_jobs),
            max_streams: self.max_streams.unwrap_or(default.max_streams),
            timeout_upload: span(self.timeout_upload, default.timeout_upload),
            heartbeat: span(self.heartbeat, default.heartbeat),
        };
        let rows = usize::try_from(limits.max_rows).unwrap_or(usize::MAX);
        let uploaded = usize::try_from(limits.max_upload).unwrap_or(usize::MAX);
        for (name, value, least, most) in [
            ("max_body", limits.max_body, 1, 1 << 30),
            ("max_header", limits.max_header, 8192, 1 << 20),
            ("max_batch", limits.max_batch, 1, 100),
            ("max_connections", limits.max_connections, 1, 1 << 20),
            ("max_requests", limits.max_requests, 1, 1 << 20),
            ("max_requests_per_key", limits.max_requests_per_key, 1, 1 << 20),
            ("max_pending", limits.max_pending, 1, 1 << 20),
            ("max_kept", limits.max_kept, 1, 1 << 24),
            ("max_upload", uploaded, 1, 1 << 40),
            ("max_rows", rows, 1, 1 << 31),
            ("max_transfers", limits.max_transfers, 1, 256),
            ("max_running", limits.max_running, 1, 256),
            ("max_jobs", limits.max_jobs, 1, 1 << 20),
            ("max_streams", limits.max_streams, 1, 1 << 20),
        ] {
            if !(least..=most).contains(&value) {
                let said = format!("`{name}` of `[serve]` cannot be {value}");
                return Err(fault(said, format!("use a number from {least} to {most}")));
            }
        }
        Ok(limits)
    }
}

const LISTENS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8025);

pub(super) fn run(args: &ServeArgs, matches: &ArgMatches) -> anyhow::Result<Exit> {
    start_log();
    let resolved = Resolved::new(&args.overlay, matches, &args.config, Profile::Service)?;
    let serve = args.serve.over(&resolved.serve());
    let (limits, mut options) = (serve.limits()?, serve.options(resolved.bounce_policy()?)?);
    options.webhooks = serve.webhooks(resolved.allows_special_use(), args.sandbox);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut signals, mut hangups) = (Signals::listen(), Hangups::listen());
        let sandbox = if args.sandbox {
            Some(Sandbox::start().await?)
        } else {
            None
        };
        let (settings, store) = prepare(&resolved, sandbox.as_ref())?;
        let engine = Engine::start(settings)
            .await?
            .with_store(Arc::clone(&store) as Arc<dyn Store>);
        let bind = serve.bind.unwrap_or(LISTENS);
        let listener = tokio::net::TcpListener::bind(bind).await;
        let listener = listener.map_err(|error| {
            fault(
                format!("cannot listen on `{bind}`: {error}"),
                "choose another address with `--bind IP:PORT`",
            )
        })?;
        let scheme = if options.tls.is_some() { "https" } else { "http" };
        let server = Server::with_options(listener, engine, store, limits, options).map_err(|error| match error {
            ServeError::Open(_) => fault(
                error.to_string(),
                "make a key with `presend keys add --name NAME`, or leave `--bind` out",
            ),
            ServeError::Store(_) | ServeError::Listen(_) | ServeError::Random(_) | ServeError::Resolver(_) => {
                error.into()
            }
        })?;
        note(&format!(
            "presend listens on {scheme}://{}; its description is at /docs",
            server.address()?
        ));
        if sandbox.is_some() {
            hint("this is the sandbox: made-up hosts answer, nobody outside is asked; try `valid@sandbox.test`");
        } else if let Some(missing) = resolved.identity_hint() {
            hint(&missing);
        }
        let stop = Stop::new();
        let reloader = server.reloader();
        let mut current = resolved;
        let mut serving = std::pin::pin!(server.run(stop.clone()));
        notify::tell("READY=1");
        loop {
            tokio::select! {
                ended = &mut serving => return ended.map(|()| Exit::Done).map_err(Into::into),
                () = hangups.next() => {
                    notify::tell(&notify::reloading());
                    // Files are read, and the process has other threads.
                    tokio::task::block_in_place(|| reload(&reloader, (args, matches), &mut current));
                    notify::tell("READY=1");
                }
                () = signals.next() => {
                    notify::tell("STOPPING=1");
                    note("stopping: requests under way are being answered; once more to end at once");
                    stop.request();
                    break;
                }
            }
        }
        tokio::select! {
            ended = &mut serving => ended.map(|()| Exit::Done).map_err(Into::into),
            () = signals.next() => Ok(Exit::Interrupted),
        }
    })
}

/// Reads the configuration, the lists and the certificate again; what cannot be used leaves everything as it is.
fn reload(reloader: &Reloader, (args, matches): (&ServeArgs, &ArgMatches), current: &mut Resolved) {
    reloader.certificate();
    let read = || -> anyhow::Result<Resolved> {
        let new = Resolved::new(&args.overlay, matches, &args.config, Profile::Service)?;
        if !args.sandbox {
            reloader.settings(new.to_settings(false)?)?;
        }
        Ok(new)
    };
    match read() {
        Ok(new) => {
            let later = new.changed_since(current);
            tracing::info!("the configuration was read again");
            if !later.is_empty() {
                tracing::warn!(
                    settings = later.join(", "),
                    "these settings change with the next start only"
                );
            }
            *current = new;
        }
        Err(error) => tracing::error!(error = sentence(&error), "the configuration stays as it was"),
    }
}

/// What to ask and where to keep it; the sandbox touches neither hosts nor answers of the world outside, only its keys.
fn prepare(resolved: &Resolved, sandbox: Option<&Sandbox>) -> anyhow::Result<(Settings, Arc<SqliteStore>)> {
    if let Some(sandbox) = sandbox {
        return Ok((sandbox.settings()?, Arc::new(SqliteStore::private()?)));
    }
    let settings = resolved.to_settings(false)?;
    // What is too old is forgotten as before a run.
    let store = match database::open_for_run(resolved)? {
        Some(store) => store,
        None => Arc::new(SqliteStore::private()?),
    };
    Ok((settings, store))
}

/// Servers log by themselves: for people on a terminal, as JSON elsewhere.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PRESEND_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("presend=info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second logger in one process is refused, which is fine.
    let _ = if std::io::stderr().is_terminal() {
        log.try_init()
    } else {
        log.json().flatten_event(true).try_init()
    };
}
