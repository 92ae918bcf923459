//! Which settings are special: by the tables they stand in, by who may see them, by what they change.

/// The table of what only the server needs; shown by itself.
pub(super) const SERVE: &str = "serve";
/// The table of what only `presend lint` needs.
pub(super) const LINT: &str = "lint";

/// What of it is never shown.
pub(super) const SECRETS: [&str; 2] = ["receive_mailgun_key", "receive_postmark_login"];
/// The table of the bounce policy; shown nowhere, because it holds a table itself.
pub(super) const BOUNCE_POLICY: &str = "bounce_policy";

/// Settings that may differ from one run of a job to the next.
pub(super) const PATIENCE_KEYS: [&str; 23] = [
    "i_own",
    // It is one.
    "owner_secret",
    "guard_refusals",
    "guard_percent",
    "no_wait",
    "timeout_connect",
    "timeout_reply",
    "timeout_session",
    "retry_profile",
    "retry",
    "retry_ladder",
    "source_ip",
    "ip",
    // It may hold a password.
    "proxy",
    "db",
    "no_store",
    "keep_days",
    "max_age",
    "refresh",
    "offline",
    // It decides about events, not about answers.
    "bounce_policy",
    SERVE,
    LINT,
];

/// Settings that `presend serve` reads again on SIGHUP.
pub(super) const RELOADED_KEYS: [&str; 8] = [
    "allow_list",
    "block_list",
    "replies",
    "bounce",
    "send_catch_all",
    "max_age",
    "refresh",
    "offline",
];
