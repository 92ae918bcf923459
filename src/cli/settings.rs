//! What was typed becomes what to do: flags over `PRESEND_*` over the configuration file over the defaults.
//!
//! A setting is written once, as a field of [`Overlay`]: clap reads the flag and the variable from it, serde the file's key.

mod keys;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::keys::{BOUNCE_POLICY, LINT, PATIENCE_KEYS, RELOADED_KEYS, SECRETS, SERVE};
use super::{
    classify::known_provider,
    config::{self, ConfigFile},
    database,
    fault::fault,
    lint::LintOverlay,
    outward::{self, IpName, ProxyText},
    ownership::{self, Secret},
    patience::{self, ProfileName, RetryDelays},
    serve::ServeOverlay,
    values::{BounceKinds, LevelName, NameServer, Span},
};
use crate::{
    address::Rules,
    job,
    lists::UserLists,
    schedule::{GuardLimits, Limits},
    smtp::{Identity, Timeouts},
    store::Patience,
    suppress::{BouncePolicy, Mailing, PolicyTable},
    verdict::Policy,
};

/// Every setting, none of them required.
#[derive(Debug, Clone, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Overlay {
    /// How far to ask: the form alone, the domain's mail route as well, or the mail host itself [default: smtp].
    #[arg(long, value_enum, env = "PRESEND_LEVEL", help_heading = IDENTITY)]
    level: Option<LevelName>,
    /// Name of this machine for HELO; it should be its PTR name. No default: without it no mail host is asked.
    #[arg(long, value_name = "NAME", env = "PRESEND_HELO_NAME", help_heading = IDENTITY)]
    helo_name: Option<String>,
    /// Reverse-path to ask with: a real mailbox that somebody reads. No default: without it no mail host is asked.
    #[arg(long, value_name = "ADDRESS", env = "PRESEND_MAIL_FROM", help_heading = IDENTITY)]
    mail_from: Option<String>,

    /// File of addresses, domains and MX hosts to send to without asking.
    #[arg(long, value_name = "FILE", value_delimiter = ',', env = "PRESEND_ALLOW_LIST", help_heading = JUDGEMENT)]
    allow_list: Option<Vec<PathBuf>>,
    /// File of addresses, domains and MX hosts never to send to.
    #[arg(long, value_name = "FILE", value_delimiter = ',', env = "PRESEND_BLOCK_LIST", help_heading = JUDGEMENT)]
    block_list: Option<Vec<PathBuf>>,
    /// File of reply rules, tried before the bundled ones.
    #[arg(long, value_name = "FILE", env = "PRESEND_REPLIES", help_heading = JUDGEMENT)]
    replies: Option<PathBuf>,
    /// Forecast another kind of bounce (hard, soft, pending, none) for a class of `presend reasons`; labels stay as they are.
    #[arg(long, value_name = "CLASS=KIND,...", env = "PRESEND_BOUNCE", help_heading = JUDGEMENT)]
    bounce: Option<BounceKinds>,
    /// The list that is mailed: what is suppressed for it alone counts too, as it is named in `presend suppress`.
    #[arg(long, value_name = "NAME", env = "PRESEND_MAILING_LIST", help_heading = JUDGEMENT)]
    mailing_list: Option<String>,
    /// Give catch-all addresses the action `send`.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true,
        env = "PRESEND_SEND_CATCH_ALL", help_heading = JUDGEMENT)]
    send_catch_all: Option<bool>,
    /// Take addresses that differ only in the case of the local-part for different ones.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true,
        env = "PRESEND_EXACT", help_heading = JUDGEMENT)]
    exact: Option<bool>,

    /// MX host, or domain of MX hosts, that is your own: no budget, pipelined. Repeatable.
    #[arg(long, value_name = "HOST", value_delimiter = ',', env = "PRESEND_TRUSTED_HOST", help_heading = PACE)]
    trusted_host: Option<Vec<String>>,
    /// Ask this provider although its published policy forbids it (an id of `presend lists show providers`). Repeatable.
    #[arg(long, value_name = "ID", value_delimiter = ',', env = "PRESEND_PROBE_PROVIDER", help_heading = PACE)]
    probe_provider: Option<Vec<String>>,
    /// Ask every provider whose published policy forbids it.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true,
        env = "PRESEND_PROBE_FORBIDDEN", help_heading = PACE)]
    probe_forbidden: Option<bool>,
    /// A domain that is yours, as its zone must prove: the abuse guard does not look there. presend says which TXT record. Repeatable.
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',', env = "PRESEND_I_OWN", help_heading = PACE)]
    i_own: Option<Vec<String>>,
    /// Secret behind the records of `--i-own`, the same on several machines [default: one made once, beside the database].
    #[arg(long, value_name = "TEXT", env = "PRESEND_OWNER_SECRET", hide_env_values = true, help_heading = PACE)]
    owner_secret: Option<Secret>,
    /// Refused recipients of one domain from which on the abuse guard looks at their share; ten times that at free-mail providers [default: 50].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..), env = "PRESEND_GUARD_REFUSALS", help_heading = PACE)]
    guard_refusals: Option<u32>,
    /// Share in percent of refused recipients above which a list is taken for guesses at that domain [default: 60].
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100), env = "PRESEND_GUARD_PERCENT", help_heading = PACE)]
    guard_percent: Option<u32>,
    /// When to ask again after a transient reply or a connection fault [default: default].
    #[arg(long, value_enum, value_name = "NAME", env = "PRESEND_RETRY_PROFILE", help_heading = PACE)]
    retry_profile: Option<ProfileName>,
    /// Other delays for these reasons of `presend reasons`, from the first question: `greylisted=6m+31m`; `greylisted=` is never.
    #[arg(long, value_name = "REASON=DELAYS,...", env = "PRESEND_RETRY", help_heading = PACE)]
    retry: Option<RetryDelays>,
    /// Delays from the first question in place of the profile's [default: the profile's, 6m,31m,2h5m].
    #[arg(long, value_name = "DURATIONS", value_delimiter = ',', env = "PRESEND_RETRY_LADDER", help_heading = PACE)]
    retry_ladder: Option<Vec<Span>>,
    /// Do not wait for retries: report `retry_at` and end [default: false, `check`: true].
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true,
        env = "PRESEND_NO_WAIT", help_heading = PACE)]
    no_wait: Option<bool>,
    /// Longest wait for a connection [default: 30s, `check`: 10s].
    #[arg(long, value_name = "DURATION", env = "PRESEND_TIMEOUT_CONNECT", help_heading = PACE)]
    timeout_connect: Option<Span>,
    /// Longest wait for one reply [default: 60s, `check`: 15s].
    #[arg(long, value_name = "DURATION", env = "PRESEND_TIMEOUT_REPLY", help_heading = PACE)]
    timeout_reply: Option<Span>,
    /// Longest session [default: 3m, `check`: 25s].
    #[arg(long, value_name = "DURATION", env = "PRESEND_TIMEOUT_SESSION", help_heading = PACE)]
    timeout_session: Option<Span>,

    /// Database of jobs and answers, made when it is not there [default: `presend/presend.db` in the XDG state folder].
    #[arg(long, value_name = "FILE", env = "PRESEND_DB", help_heading = MEMORY)]
    db: Option<PathBuf>,
    /// Keep nothing: no job can be resumed and no answer serves another run.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true,
        env = "PRESEND_NO_STORE", help_heading = MEMORY)]
    no_store: Option<bool>,
    /// Forget jobs, with their rows and answers, that nobody worked on for so many days; looked at when a run starts [default: 90].
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(..=36_500), env = "PRESEND_KEEP_DAYS", help_heading = MEMORY)]
    keep_days: Option<u32>,
    /// Do not use answers that are older [default: valid and catch-all 7d, invalid 3d, refused 3h, else 1h].
    #[arg(long, value_name = "DURATION", env = "PRESEND_MAX_AGE", help_heading = MEMORY)]
    max_age: Option<Span>,
    /// Ask again, whatever is known; only a host that refused within the last 3h is left in peace.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true,
        env = "PRESEND_REFRESH", help_heading = MEMORY)]
    refresh: Option<bool>,
    /// Ask nobody: answer from the database only.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true,
        env = "PRESEND_OFFLINE", help_heading = MEMORY)]
    offline: Option<bool>,

    /// Address of this machine to ask from. Repeatable: each group of mail hosts keeps to one; its budget stays the same.
    #[arg(long, value_name = "IP", value_delimiter = ',', env = "PRESEND_SOURCE_IP", help_heading = WAY_OUT)]
    source_ip: Option<Vec<IpAddr>>,
    /// IP versions to use, and which comes first [default: auto].
    #[arg(long, value_enum, value_name = "WHICH", env = "PRESEND_IP", help_heading = WAY_OUT)]
    ip: Option<IpName>,
    /// SOCKS5 proxy to mail hosts: `socks5://[USER:PASSWORD@]HOST:PORT`. Names are looked up here, not there.
    #[arg(long, value_name = "URL", env = "PRESEND_PROXY", hide_env_values = true, help_heading = WAY_OUT)]
    proxy: Option<ProxyText>,

    /// Name server to ask instead of the system's. Repeatable.
    #[arg(long, value_name = "IP[:PORT]", value_delimiter = ',', env = "PRESEND_NAMESERVER", help_heading = LABS)]
    nameserver: Option<Vec<NameServer>>,
    /// Port of mail hosts [default: 25].
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), env = "PRESEND_SMTP_PORT",
        help_heading = LABS)]
    smtp_port: Option<u16>,
    /// Accept special-use names (RFC 6761: `.test`, `.example` ...) and mail hosts at loopback, private and link-local addresses.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true,
        env = "PRESEND_ALLOW_SPECIAL_USE", help_heading = LABS)]
    allow_special_use: Option<bool>,

    /// When bounces suppress.
    #[arg(skip)]
    bounce_policy: Option<PolicyTable>,

    /// What only `presend serve` needs.
    #[arg(skip)]
    serve: Option<ServeOverlay>,
    /// What only `presend lint` needs.
    #[arg(skip)]
    lint: Option<LintOverlay>,
}

const IDENTITY: &str = "How far and as whom";
const JUDGEMENT: &str = "Judgement";
const PACE: &str = "Pace and patience";
const MEMORY: &str = "What is remembered";
const WAY_OUT: &str = "Way out";
const LABS: &str = "For labs and tests";

/// Which defaults apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    /// A person waits for the answer.
    Interactive,
    /// A list is worked through.
    Bulk,
    /// Programs wait for answers, and come back for late ones.
    Service,
    /// A list is held against rules.
    Lint,
}

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Flag,
    Environment,
    File,
    Default,
}

/// The settings after every layer was laid over the one below, with where each comes from.
#[derive(Debug)]
pub(super) struct Resolved {
    /// The configuration file that was read.
    pub(super) file: Option<PathBuf>,
    profile: Profile,
    merged: Overlay,
    values: Map<String, Value>,
    origins: Vec<Origin>,
}

impl Overlay {
    /// What holds when nobody says anything.
    fn defaults(profile: Profile) -> Self {
        let (connect, reply, session) = match profile {
            Profile::Interactive | Profile::Service => (10, 15, 25),
            Profile::Bulk | Profile::Lint => (30, 60, 180),
        };
        Self {
            level: Some(if profile == Profile::Lint {
                LevelName::Dns
            } else {
                LevelName::Smtp
            }),
            send_catch_all: Some(false),
            exact: Some(false),
            probe_forbidden: Some(false),
            guard_refusals: Some(GuardLimits::DEFAULT.refusals),
            guard_percent: Some(GuardLimits::DEFAULT.percent),
            retry_profile: Some(ProfileName::Default),
            ip: Some(IpName::Auto),
            no_wait: Some(profile == Profile::Interactive),
            timeout_connect: Some(Span::from(Duration::from_secs(connect))),
            timeout_reply: Some(Span::from(Duration::from_secs(reply))),
            timeout_session: Some(Span::from(Duration::from_secs(session))),
            db: database::by_default(),
            no_store: Some(false),
            keep_days: Some(90),
            refresh: Some(false),
            offline: Some(false),
            smtp_port: Some(25),
            allow_special_use: Some(false),
            ..Self::default()
        }
    }

    /// What holds for `presend serve` when nobody says anything.
    pub(super) fn of_service() -> Self {
        Self::defaults(Profile::Service)
    }

    /// What `presend classify` has of it.
    pub(super) fn of_classify(replies: Option<PathBuf>, bounce: Option<BounceKinds>) -> Self {
        Self {
            replies,
            bounce,
            ..Self::default()
        }
    }

    /// What `presend jobs` has of it.
    pub(super) fn of_jobs(db: Option<PathBuf>) -> Self {
        Self { db, ..Self::default() }
    }

    /// Names in the file are relative to it.
    pub(super) fn relative_to(&mut self, folder: &Path) {
        let lists = self.allow_list.iter_mut().chain(&mut self.block_list).flatten();
        for path in lists.chain(&mut self.replies).chain(&mut self.db) {
            *path = folder.join(&*path);
        }
        if let Some(lint) = &mut self.lint {
            lint.relative_to(folder);
        }
        if let Some(serve) = &mut self.serve {
            serve.relative_to(folder);
        }
    }

    /// `[retry] profile` is the setting `retry_profile`.
    pub(super) fn lift_profile(&mut self) -> anyhow::Result<()> {
        let Some(profile) = self.retry.as_mut().and_then(|retry| retry.profile.take()) else {
            return Ok(());
        };
        if self.retry_profile.replace(profile).is_some() {
            return Err(fault(
                "`retry_profile` and `profile` in `[retry]` are the same setting",
                "keep one of them",
            ));
        }
        Ok(())
    }

    /// The keys of the configuration file.
    pub(super) fn keys() -> Vec<String> {
        let all = object(&Self::default()).unwrap_or_default();
        all.into_iter()
            .map(|(key, _)| key)
            .filter(|key| key != SERVE && key != BOUNCE_POLICY && key != LINT)
            .collect()
    }

    /// The keys of its table `[lint]`.
    pub(super) fn lint_keys() -> Vec<String> {
        let all = object(&LintOverlay::default()).unwrap_or_default();
        all.into_iter().map(|(key, _)| key).collect()
    }

    /// The keys of its table `[serve]`.
    pub(super) fn serve_keys() -> Vec<String> {
        let all = object(&ServeOverlay::default()).unwrap_or_default();
        all.into_iter().map(|(key, _)| key).collect()
    }
}

impl Resolved {
    /// Lays flags and environment over the file over the defaults.
    pub(super) fn new(
        typed: &Overlay,
        matches: &ArgMatches,
        config: &ConfigFile,
        profile: Profile,
    ) -> anyhow::Result<Self> {
        Self::over(typed, matches, config, (profile, Map::new()))
    }

    /// The same for a job that goes on: what it was started with lies over the file.
    pub(super) fn resumed(
        typed: &Overlay,
        matches: &ArgMatches,
        config: &ConfigFile,
        description: &str,
    ) -> anyhow::Result<Self> {
        let kept = serde_json::from_str(description).unwrap_or_default();
        Self::over(typed, matches, config, (Profile::Bulk, kept))
    }

    fn over(
        typed: &Overlay,
        matches: &ArgMatches,
        config: &ConfigFile,
        (profile, kept): (Profile, Map<String, Value>),
    ) -> anyhow::Result<Self> {
        config::refuse_misspelt_environment()?;
        let (file, in_file) = config.read()?;
        let mut in_file = object(&in_file)?;
        in_file.extend(kept.into_iter().filter(|(_, value)| !value.is_null()));
        let typed = object(typed)?;
        let mut values = object(&Overlay::defaults(profile))?;
        let mut origins = Vec::with_capacity(values.len());
        for (key, value) in &mut values {
            let set = |layer: &Map<String, Value>| layer.get(key).filter(|value| !value.is_null()).cloned();
            let (origin, over) = if let Some(over) = set(&typed) {
                let by_variable = matches.value_source(key) == Some(ValueSource::EnvVariable);
                (if by_variable { Origin::Environment } else { Origin::Flag }, Some(over))
            } else if let Some(over) = set(&in_file) {
                (Origin::File, Some(over))
            } else {
                (Origin::Default, None)
            };
            origins.push(origin);
            if let Some(over) = over {
                *value = over;
            }
        }
        let merged: Overlay = serde_json::from_value(Value::Object(values.clone()))?;
        // From here on it is only shown.
        if let (Some(_), Some(shown)) = (&merged.owner_secret, values.get_mut("owner_secret")) {
            *shown = Value::String("***".to_owned());
        }
        if let (Some(proxy), Some(shown)) = (&merged.proxy, values.get_mut("proxy")) {
            *shown = Value::String(proxy.masked());
        }
        Ok(Self {
            file,
            profile,
            merged,
            values,
            origins,
        })
    }

    /// Every setting with its value and where it comes from, in the order of the help.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Value, Origin)> {
        let all = self.values.iter().zip(&self.origins);
        all.filter(|((key, _), _)| *key != SERVE && *key != BOUNCE_POLICY && *key != LINT)
            .map(|((key, value), origin)| (key.as_str(), value, *origin))
    }

    /// Settings that differ from those before and that a running server cannot change.
    pub(super) fn changed_since(&self, before: &Self) -> Vec<&str> {
        let changes =
            |key: &&String| !RELOADED_KEYS.contains(&key.as_str()) && self.values.get(*key) != before.values.get(*key);
        self.values.keys().filter(changes).map(String::as_str).collect()
    }

    /// The SMTP level was asked for by name, not by default.
    pub(super) fn smtp_was_asked_for(&self) -> bool {
        let level = self.entries().find(|(key, ..)| *key == "level");
        self.merged.level == Some(LevelName::Smtp) && level.is_some_and(|(.., origin)| origin != Origin::Default)
    }

    /// What the person at the prompt should hear when the SMTP level is wanted and nobody said as whom to ask.
    pub(super) fn identity_hint(&self) -> Option<String> {
        let missing = match (&self.merged.helo_name, &self.merged.mail_from) {
            _ if self.merged.level != Some(LevelName::Smtp) => return None,
            (Some(_), Some(_)) => return None,
            (None, Some(_)) => "`--helo-name` is missing",
            (Some(_), None) => "`--mail-from` is missing",
            (None, None) => "`--helo-name` and `--mail-from` are missing",
        };
        Some(format!("{missing}, so no mail host is asked; {IDENTITY_HINT}"))
    }

    /// Takes HELO name and reverse-path out as they were typed, for a command that judges them itself.
    pub(super) fn take_identity(&mut self) -> (Option<String>, Option<String>) {
        (self.merged.helo_name.take(), self.merged.mail_from.take())
    }

    /// What the operator decides about verdicts.
    pub(super) fn policy(&self) -> Policy {
        Policy {
            send_catch_all: self.merged.send_catch_all.unwrap_or_default(),
            bounce: self
                .merged
                .bounce
                .iter()
                .flat_map(|bounce| &bounce.0)
                .map(|(class, kind)| (*class, *kind))
                .collect(),
        }
    }

    /// For whose mail addresses are looked up.
    pub(super) fn mailing(&self) -> Mailing {
        Mailing {
            tenant: "".into(),
            list: self.merged.mailing_list.as_deref().map(Into::into),
        }
    }

    /// When bounces suppress.
    pub(super) fn bounce_policy(&self) -> anyhow::Result<BouncePolicy> {
        let table = self.merged.bounce_policy.clone().unwrap_or_default();
        BouncePolicy::of_table(&table).map_err(|error| {
            let said = format!("`[bounce_policy]` cannot be used: {error}");
            fault(said, "docs/suppression.md lists its keys with what they may be")
        })
    }

    /// Every setting of the server, as the file or the default has it.
    pub(super) fn serve_entries(&self) -> anyhow::Result<Vec<(String, Value, Origin)>> {
        let in_file = object(&self.serve())?;
        let entry = |(key, default): (String, Value)| match in_file.get(&key).filter(|value| !value.is_null()) {
            Some(_) if SECRETS.contains(&key.as_str()) => (key, "***".into(), Origin::File),
            Some(value) => (key, value.clone(), Origin::File),
            None => (key, default, Origin::Default),
        };
        Ok(object(&ServeOverlay::defaults())?.into_iter().map(entry).collect())
    }

    /// What the file says of `presend lint`.
    pub(super) fn lint(&self) -> LintOverlay {
        self.merged.lint.clone().unwrap_or_default()
    }

    /// How far to ask.
    pub(super) fn level(&self) -> LevelName {
        self.merged.level.unwrap_or(LevelName::Smtp)
    }

    /// Takes the level of `[lint]`, unless a flag or a variable says another.
    pub(super) fn level_unless_said(&mut self, level: LevelName) {
        let origin = self
            .entries()
            .find(|(key, ..)| *key == "level")
            .map(|(.., origin)| origin);
        if matches!(origin, Some(Origin::File | Origin::Default)) {
            self.merged.level = Some(level);
        }
    }

    /// Keeps answers in this database.
    pub(super) fn keep_in(&mut self, path: &Path) {
        self.merged.db = Some(path.to_owned());
        self.merged.no_store = Some(false);
    }

    /// Uses no older answers.
    pub(super) fn no_older_than(&mut self, age: Option<Span>) {
        self.merged.max_age = age.or(self.merged.max_age);
    }

    /// Whether somebody named the database.
    pub(super) fn names_a_database(&self) -> bool {
        let origin = self.entries().find(|(key, ..)| *key == "db").map(|(.., origin)| origin);
        origin.is_some_and(|origin| origin != Origin::Default)
    }

    /// What the file says of the server.
    pub(super) fn serve(&self) -> ServeOverlay {
        self.merged.serve.clone().unwrap_or_default()
    }

    /// Loopback and private addresses may be dialled.
    pub(super) fn allows_special_use(&self) -> bool {
        self.merged.allow_special_use.unwrap_or_default()
    }

    /// The operator's own reply rules.
    pub(super) fn replies(&self) -> Option<&Path> {
        self.merged.replies.as_deref()
    }

    /// Whatever changes the answers, as JSON: the same list with the same settings is the same job, however patient its runs.
    fn description(&self) -> String {
        let changes_answers = |(key, _): &(&String, &Value)| !PATIENCE_KEYS.contains(&key.as_str());
        let values: Map<String, Value> = self
            .values
            .iter()
            .filter(changes_answers)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        Value::Object(values).to_string()
    }

    /// Where the database is; `None` where nothing is kept.
    pub(super) fn database(&self) -> anyhow::Result<Option<&Path>> {
        if self.merged.no_store.unwrap_or_default() {
            return Ok(None);
        }
        let path = self.merged.db.as_deref();
        path.map(Some).ok_or_else(|| {
            fault(
                "there is no place for the database: neither XDG_STATE_HOME nor HOME is set",
                "name a file with `--db FILE`, or do without: `--no-store`",
            )
        })
    }

    /// How long jobs are kept after the last work on them.
    pub(super) fn keep(&self) -> Duration {
        const DAY: Duration = Duration::from_hours(24);
        DAY * self.merged.keep_days.unwrap_or(u32::MAX)
    }

    /// What is used of earlier answers.
    fn memory(&self) -> anyhow::Result<Patience> {
        let set = |setting: Option<bool>| setting.unwrap_or_default();
        let (refresh, offline) = (set(self.merged.refresh), set(self.merged.offline));
        if offline && refresh {
            return Err(fault(
                "`--refresh` asks everybody again and `--offline` asks nobody",
                "leave one of them out",
            ));
        }
        if offline && set(self.merged.no_store) {
            return Err(fault(
                "`--offline` answers from the database and `--no-store` has none",
                "leave one of them out",
            ));
        }
        Ok(Patience {
            max_age: self.merged.max_age.map(Span::duration),
            refresh,
            offline,
        })
    }

    /// What the engine is told; reads the user's lists.
    pub(super) fn to_settings(&self, transcript: bool) -> anyhow::Result<job::Settings> {
        let all = self.merged.clone();
        let identity = self.identity()?;
        let list = |paths: Option<Vec<PathBuf>>| paths.unwrap_or_default();
        let span = |span: Option<Span>| span.map_or(Duration::ZERO, Span::duration);
        let timeouts = Timeouts {
            connect: span(all.timeout_connect),
            reply: span(all.timeout_reply),
            session: span(all.timeout_session),
        };
        let rules = Rules {
            allow_special_use: all.allow_special_use.unwrap_or_default(),
        };
        let claimed = all.i_own.unwrap_or_default();
        let database = all.db.as_deref().filter(|_| !all.no_store.unwrap_or_default());
        let owned = ownership::claims(&claimed, all.owner_secret.as_ref(), database, rules)?;
        let forbidden = all.probe_provider.unwrap_or_default();
        let probe_providers: anyhow::Result<_> = forbidden
            .iter()
            .map(|name| Ok(known_provider(name)?.id.clone().into_string()))
            .collect();
        Ok(job::Settings {
            level: all.level.unwrap_or(LevelName::Smtp).into(),
            identity,
            policy: self.policy(),
            rules,
            exact: all.exact.unwrap_or_default(),
            user_lists: UserLists::load(&list(all.allow_list), &list(all.block_list))?,
            replies: all.replies,
            trusted: all.trusted_host.unwrap_or_default(),
            smtp_port: all.smtp_port.unwrap_or(25),
            nameservers: all
                .nameserver
                .unwrap_or_default()
                .into_iter()
                .map(|server| server.0)
                .collect(),
            limits: Limits {
                guard: GuardLimits {
                    refusals: all.guard_refusals.unwrap_or(GuardLimits::DEFAULT.refusals),
                    percent: all.guard_percent.unwrap_or(GuardLimits::DEFAULT.percent),
                },
                ..match self.profile {
                    Profile::Interactive | Profile::Service => Limits::INTERACTIVE,
                    Profile::Bulk | Profile::Lint => Limits::POLITE,
                }
            },
            owned,
            timeouts,
            retry_ladder: patience::ladder(all.retry_profile, all.retry_ladder, all.retry)?,
            network: outward::network(all.source_ip, all.ip, all.proxy.as_ref())?,
            max_wait: if all.no_wait.unwrap_or_default() {
                Duration::ZERO
            } else {
                Duration::MAX
            },
            description: self.description(),
            transcript,
            probe_forbidden: all.probe_forbidden.unwrap_or_default(),
            probe_providers: probe_providers?,
            memory: self.memory()?,
        })
    }

    fn identity(&self) -> anyhow::Result<Option<Identity>> {
        let (Some(helo), Some(from)) = (&self.merged.helo_name, &self.merged.mail_from) else {
            return Ok(None);
        };
        Identity::new(helo, from)
            .map(Some)
            .map_err(|error| fault(format!("the sender's identity cannot be used: {error}"), IDENTITY_HINT))
    }
}

/// How to say as whom to ask.
pub(super) const IDENTITY_HINT: &str = "set `--helo-name mail.example.com --mail-from you@example.com`, or `helo_name` and `mail_from` in \
     `presend.toml`: this machine's own name and a mailbox that somebody reads";

/// A struct's fields as JSON; only a path that is not UTF-8 cannot be told so.
pub(super) fn object<T: Serialize>(of: &T) -> anyhow::Result<Map<String, Value>> {
    match serde_json::to_value(of) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Ok(Map::new()),
        Err(error) => Err(fault(
            format!("a setting cannot be used: {error}"),
            "name files by paths that are UTF-8",
        )),
    }
}
