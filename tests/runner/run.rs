//! One case: its world is served, the program runs on its list, and what came is compared.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Read},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

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
    /// Peak memory, where the system tells.
    pub(crate) memory_mib: Option<u64>,
    pub(crate) counters: Counters,
    /// What the proxy was asked for, if there was one.
    pub(crate) dialled: Option<Vec<String>>,
}

/// How often a run is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// A run that does not end is killed after so much more than it may take.
const GRACE: Duration = Duration::from_secs(20);

/// Runs a case; the error says everything that is not as expected.
pub(crate) fn run(case: &Case, runtime: &Runtime) -> Result<(), String> {
    let lab = runtime
        .block_on(Lab::start(case.world()))
        .map_err(|error| error.to_string())?;
    let rows = case.rows();
    let outcome = ask(case, &rows, &lab)?;
    runtime.block_on(lab.stop());
    let wrong = check::wrong(case, &rows, &outcome);
    if wrong.is_empty() {
        return Ok(());
    }
    let (out, err) = (&outcome.out, &outcome.err);
    Err(format!("{}\n--- output\n{out}--- messages\n{err}", wrong.join("\n")))
}

fn ask(case: &Case, rows: &[Row], lab: &Lab) -> Result<Came, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let proxy = case.expect.dialled.is_some().then(|| Socks::start(Mode::Good));
    let mut list = String::new();
    for row in rows {
        let _ = writeln!(list, "{}", json!({ "address": row.address }));
    }
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).map_err(|error| error.to_string());
    write("list.ndjson", &list)?;
    write("presend.toml", &settings(case, lab, proxy.as_ref()).to_string())?;
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("presend"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PRESEND_") {
            command.env_remove(name);
        }
    }
    let begun = Instant::now();
    let child = command
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_STATE_HOME")
        .args(["verify", "list.ndjson", "--format", "ndjson"])
        .args(&case.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let until = begun + Duration::from_secs_f64(case.expect.seconds) + GRACE;
    let ended = child.and_then(|child| watch(child, until));
    let Ended {
        status,
        texts: [stdout, stderr],
        memory_mib,
    } = ended.map_err(|error| error.to_string())?;
    let took = begun.elapsed();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| "the output is not UTF-8".to_owned());
    let (out, err) = (text(stdout)?, text(stderr)?);
    let parsed: Result<Vec<Value>, _> = out.lines().map(serde_json::from_str).collect();
    Ok(Came {
        rows: parsed.map_err(|error| format!("the output is not NDJSON: {error}\n{out}{err}"))?,
        exit: status.code(),
        out,
        err,
        took,
        memory_mib,
        counters: lab.counters(),
        dialled: proxy.map(|proxy| named(&proxy, lab, case)),
    })
}

/// A run that ended.
struct Ended {
    status: ExitStatus,
    /// Standard output and standard error.
    texts: [Vec<u8>; 2],
    memory_mib: Option<u64>,
}

/// Waits for the end of a run and looks at its memory meanwhile; kills what takes too long.
fn watch(mut child: Child, until: Instant) -> io::Result<Ended> {
    fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = from.read_to_end(&mut bytes);
            bytes
        })
    }
    let (out, err) = (child.stdout.take().map(collect), child.stderr.take().map(collect));
    let mut memory_mib = None;
    let status = loop {
        memory_mib = peak_mib(child.id()).max(memory_mib);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > until {
            child.kill()?;
        }
        thread::sleep(LOOK);
    };
    let text = |reader: Option<thread::JoinHandle<Vec<u8>>>| reader.and_then(|reader| reader.join().ok());
    Ok(Ended {
        status,
        texts: [out, err].map(|reader| text(reader).unwrap_or_default()),
        memory_mib,
    })
}

/// The most memory that a process has had; `None` where there is no `/proc`.
fn peak_mib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = peak.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

/// Hosts that are the run's own.
const OURS: &str = ".test";

/// Hosts that the case has presend trust.
pub(crate) fn trusted(case: &Case) -> Vec<String> {
    let named = case.settings.get("trusted_host").and_then(toml::Value::as_array);
    named.map_or_else(
        || vec![OURS.to_owned()],
        |names| {
            names
                .iter()
                .filter_map(toml::Value::as_str)
                .map(str::to_owned)
                .collect()
        },
    )
}

/// presend.toml: what points at the lab, short waits, and the case's own.
fn settings(case: &Case, lab: &Lab, proxy: Option<&Socks>) -> toml::Table {
    let mut settings = toml::toml! {
        helo_name = "probe.example.net"
        mail_from = "postmaster@example.net"
        allow_special_use = true
        timeout_connect = "1s"
        timeout_reply = "1s"
        timeout_session = "3s"
        no_wait = true
        no_store = true
    };
    settings.insert("nameserver".into(), vec![lab.dns().to_string()].into());
    settings.insert("trusted_host".into(), vec![OURS].into());
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
