//! One case: its world is served, the program runs on its list, and what came is compared.

use std::{
    fs,
    process::Output,
    time::{Duration, Instant},
};

use assert_cmd::Command;
use presend::lab::{Counters, Lab};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{
    case::{Case, Row},
    check,
    socks::{Mode, Socks},
};

/// What came of a case.
pub(crate) struct Came {
    pub(crate) rows: Vec<Value>,
    pub(crate) exit: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
    pub(crate) counters: Counters,
    /// What the proxy was asked for, if there was one.
    pub(crate) dialled: Option<Vec<String>>,
}

/// A run that does not end is killed after so much more than it may take.
const GRACE: Duration = Duration::from_secs(20);

/// Runs a case; the error says everything that is not as expected.
pub(crate) fn run(case: &Case, runtime: &Runtime) -> Result<(), String> {
    let lab = runtime
        .block_on(Lab::start(case.world()))
        .map_err(|error| error.to_string())?;
    let rows = case.rows();
    let came = ask(case, &rows, &lab)?;
    runtime.block_on(lab.stop());
    let wrong = check::wrong(case, &rows, &came);
    if wrong.is_empty() {
        return Ok(());
    }
    let (out, err) = (&came.out, &came.err);
    Err(format!("{}\n--- output\n{out}--- messages\n{err}", wrong.join("\n")))
}

fn ask(case: &Case, rows: &[Row], lab: &Lab) -> Result<Came, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let proxy = case.expect.dialled.is_some().then(|| Socks::start(Mode::Good));
    let list: String = rows
        .iter()
        .map(|row| format!("{}\n", json!({ "address": row.address })))
        .collect();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).map_err(|error| error.to_string());
    write("list.ndjson", &list)?;
    write("presend.toml", &settings(case, lab, proxy.as_ref()).to_string())?;
    let mut command: Command = assert_cmd::cargo::cargo_bin_cmd!("presend");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PRESEND_") {
            command.env_remove(name);
        }
    }
    let begun = Instant::now();
    let output = command
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_STATE_HOME")
        .args(["verify", "list.ndjson", "--format", "ndjson"])
        .args(&case.arguments)
        .timeout(Duration::from_secs_f64(case.expect.seconds) + GRACE)
        .output();
    let took = begun.elapsed();
    let Output { status, stdout, stderr } = output.map_err(|error| error.to_string())?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| "the output is not UTF-8".to_owned());
    let (out, err) = (text(stdout)?, text(stderr)?);
    let parsed: Result<Vec<Value>, _> = out.lines().map(serde_json::from_str).collect();
    Ok(Came {
        rows: parsed.map_err(|error| format!("the output is not NDJSON: {error}\n{out}{err}"))?,
        exit: status.code(),
        out,
        err,
        took,
        counters: lab.counters(),
        dialled: proxy.map(|proxy| named(&proxy, lab, case)),
    })
}

/// presend.toml: what points at the lab, short waits, and the case's own.
fn settings(case: &Case, lab: &Lab, proxy: Option<&Socks>) -> toml::Table {
    let mut settings = toml::toml! {
        helo_name = "probe.example.net"
        mail_from = "postmaster@example.net"
        allow_special_use = true
        trusted_host = [".test"]
        timeout_connect = "1s"
        timeout_reply = "1s"
        timeout_session = "3s"
        no_wait = true
        no_store = true
    };
    settings.insert("nameserver".into(), vec![lab.dns().to_string()].into());
    settings.insert("smtp_port".into(), i64::from(lab.smtp_port()).into());
    settings.extend(proxy.map(|proxy| ("proxy".to_owned(), proxy.url().into())));
    settings.extend(case.settings.clone());
    settings
}

/// Every address that was dialled, the hosts of this world by their names; each once, sorted.
fn named(proxy: &Socks, lab: &Lab, case: &Case) -> Vec<String> {
    let name = |address| {
        let host = case
            .world()
            .hosts
            .into_iter()
            .find(|host| lab.host(&host.name) == Some(address));
        host.map_or_else(|| address.ip().to_string(), |host| host.name)
    };
    let mut all: Vec<_> = proxy
        .requests()
        .into_iter()
        .map(|address| address.map_or_else(|| "a name".into(), name))
        .collect();
    all.sort();
    all.dedup();
    all
}
