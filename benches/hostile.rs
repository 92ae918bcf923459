//! Ten thousand hostile mail hosts (silent, a byte a second, endless replies, reset, garbage for TLS) beside a thousand healthy
//! addresses in one list: how long the healthy ones take, alone and in this company. They are at a hundred hosts, at two hundred
//! and fifty, and each at its own, which is the shortest run and so the hardest to keep undisturbed; and once more so, in a list of
//! their own that comes when the hostile sessions are open.
//!
//! The hosts are in a process of their own, and so is each run. `--quick` is small and asserts what does not depend on the
//! machine: labels, descriptors, memory.

#![expect(clippy::cast_precision_loss, reason = "for a table")]
#![expect(clippy::indexing_slicing, reason = "of our own tables, and of what was just read")]

#[path = "hostile/hosts.rs"]
mod hosts;
#[path = "hostile/probe.rs"]
mod probe;

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{self, BufRead as _, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, ensure};
use hosts::Kind;
use mimalloc::MiMalloc;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How much longer the healthy ones may take, and megabytes that a run may take.
const SLOWER: f64 = 1.2;
const MEGABYTES: f64 = 400.0;

fn main() -> anyhow::Result<()> {
    // Both ends of twelve thousand connections; more than the usual limit takes privileges.
    let _ = rlimit::Resource::NOFILE.set(1 << 16, 1 << 16);
    let _ = rlimit::increase_nofile_limit(1 << 16);
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve-the-hosts"] => return hosts::serve(),
        ["probe-the-list", list, before, dns, port] => return probe::run(list, before, (dns, port)),
        _ => {}
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let (healthy, hostile) = if quick { (50, 500) } else { (1_000, 10_000) };
    let folder = tempfile::tempdir()?;
    let mut hosts = Hosts::start()?;
    let mut out = io::stdout().lock();
    writeln!(out, "{healthy} healthy addresses, {hostile} hostile hosts")?;
    // Ten at each host take half a minute twice.
    let shapes: &[(usize, bool)] = if quick {
        &[(1, false)]
    } else {
        &[(10, false), (4, false), (1, false), (1, true)]
    };
    for &(each, apart) in shapes {
        let list = List {
            healthy,
            each,
            hostile,
            apart,
        };
        compare(&mut hosts, folder.path(), list, &mut out)?;
    }
    Ok(())
}

/// What is in a list: so many healthy addresses, so many of them at each of their hosts, and one at each hostile host.
#[derive(Clone, Copy)]
struct List {
    healthy: usize,
    each: usize,
    hostile: usize,
    /// The hostile ones are in a list of their own, some seconds before.
    apart: bool,
}

impl List {
    /// The healthy addresses with the others evenly among them, or in a text of their own.
    fn write(self) -> Result<[String; 2], std::fmt::Error> {
        let (mut text, mut before) = (String::new(), String::new());
        let beside = self.hostile.checked_div(self.healthy).unwrap_or(0);
        let hosts = self.healthy / self.each;
        for number in 0..self.healthy {
            for other in number * beside..(number + 1) * beside {
                let to = if self.apart { &mut before } else { &mut text };
                writeln!(to, "ann@{}", Kind::hostile(other).domain(other))?;
            }
            let domain = Kind::Healthy.domain(number % hosts);
            writeln!(text, "ann.{}@{domain}", number / hosts)?;
        }
        Ok([text, before])
    }
}

/// The healthy addresses alone, and with the others.
fn compare(hosts: &mut Hosts, folder: &Path, list: List, out: &mut dyn Write) -> anyhow::Result<()> {
    let alone = run(hosts, folder, List { hostile: 0, ..list })?;
    let among = run(hosts, folder, list)?;
    let when = if list.apart { ", when the others are open" } else { "" };
    writeln!(out, "{} at each healthy host{when}", list.each)?;
    let ratio = among.healthy_ms as f64 / alone.healthy_ms as f64;
    writeln!(
        out,
        "  healthy: {} ms alone, {} ms in company, ratio {ratio:.2} (reach {SLOWER})",
        alone.healthy_ms, among.healthy_ms
    )?;
    writeln!(
        out,
        "  open at once {}, peak {:.0} MB alone, {:.0} MB in company (reach {MEGABYTES}); whole run {} ms; descriptors back to {}",
        among.open_at_once, alone.megabytes, among.megabytes, among.whole_ms, among.descriptors
    )?;
    for run in [&alone, &among] {
        ensure!(run.wrong == 0, "{} labels are wrong", run.wrong);
        ensure!(run.leaked == 0, "{} descriptors are still open", run.leaked);
        ensure!(run.megabytes < MEGABYTES, "{:.0} MB are too many", run.megabytes);
    }
    Ok(())
}

/// What one run took.
struct Run {
    /// From the start to the end of the last healthy session, as the hosts saw it.
    healthy_ms: u64,
    open_at_once: u64,
    whole_ms: u64,
    megabytes: f64,
    wrong: u64,
    leaked: i64,
    descriptors: i64,
}

fn run(hosts: &mut Hosts, folder: &Path, list: List) -> anyhow::Result<Run> {
    let paths = ["list.txt", "before.txt"].map(|name| folder.join(name));
    for (path, text) in paths.iter().zip(list.write()?) {
        fs::write(path, text)?;
    }
    hosts.ask()?;
    let output = Command::new(env::current_exe()?)
        .arg("probe-the-list")
        .args(&paths)
        .args([&hosts.dns, &hosts.port])
        .stderr(Stdio::inherit())
        .output()?;
    let seen = hosts.ask()?;
    ensure!(output.status.success(), "the run ended with {}", output.status);
    let said = String::from_utf8(output.stdout)?;
    let mut told = said.split_whitespace().map(str::parse::<i64>);
    let mut next = || -> anyhow::Result<i64> { Ok(told.next().context("the run said too little")??) };
    let (whole_ms, kilobytes, wrong) = (next()?.unsigned_abs(), next()?, next()?.unsigned_abs());
    let (before, after) = (next()?, next()?);
    let began = next()?.unsigned_abs();
    let [ended, open_at_once] = seen.as_slice() else {
        anyhow::bail!("the hosts said {seen:?}");
    };
    Ok(Run {
        healthy_ms: ended.saturating_sub(began),
        open_at_once: *open_at_once,
        whole_ms,
        megabytes: kilobytes as f64 * 1.024 / 1_000.0,
        wrong,
        leaked: after - before,
        descriptors: after,
    })
}

/// The hosts in another process; dropping them ends it.
struct Hosts {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    dns: String,
    port: String,
}

impl Hosts {
    fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg("serve-the-hosts")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().context("no pipe to the hosts")?;
        let mut answers = BufReader::new(child.stdout.take().context("no pipe from the hosts")?);
        let mut line = String::new();
        answers.read_line(&mut line)?;
        let (dns, port) = line.trim().split_once(' ').context("the hosts did not start")?;
        Ok(Self {
            dns: dns.to_owned(),
            port: port.to_owned(),
            child,
            orders,
            answers,
        })
    }

    /// What was seen since the last time: when the last healthy session ended, and connections open at once.
    fn ask(&mut self) -> anyhow::Result<Vec<u64>> {
        self.orders.write_all(b"\n")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
