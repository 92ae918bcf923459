//! Ten thousand hostile mail hosts (silent, a byte a second, endless replies, reset, garbage for TLS) beside a thousand healthy
//! addresses: how long the healthy ones take, alone and in this company. They are at a hundred hosts, at two hundred and fifty, and
//! each at its own, which is the shortest run and so the hardest to keep undisturbed.
//!
//! - *at once*: the hostile hosts hold back until all their sessions are open; at that moment they begin, and the healthy list comes.
//! - *in one list*: nobody knows who is who before the first contact, and the last host is contacted behind eleven thousand others.
//!
//! The hosts are in a process of their own, and so is each run. `--each 4` is that shape alone; `--quick` is small and asserts
//! what does not depend on the machine: labels, descriptors, memory.

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
    thread,
    time::{Duration, Instant},
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
/// For all hostile sessions to be open.
const PATIENCE: Duration = Duration::from_secs(10);

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
    let only = arguments.iter().skip_while(|argument| *argument != "--each").nth(1);
    let only = only
        .map(|each| each.parse())
        .transpose()
        .context("--each needs a number")?;
    let shapes = match only {
        Some(each) => vec![each],
        None if quick => vec![1],
        None => vec![10, 4, 1],
    };
    for each in shapes {
        let list = List {
            healthy,
            each,
            hostile,
            company: Company::None,
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
    company: Company,
}

/// Where the hostile ones are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Company {
    None,
    /// In a list of their own; when all their sessions are open, they begin and the healthy list comes.
    AtOnce,
    /// Among the healthy ones.
    OneList,
}

impl List {
    /// The healthy addresses with the others evenly among them, or in a text of their own.
    fn write(self) -> Result<[String; 2], std::fmt::Error> {
        let (mut text, mut before) = (String::new(), String::new());
        let beside = match self.company {
            Company::None => 0,
            Company::AtOnce | Company::OneList => self.hostile / self.healthy,
        };
        let hosts = self.healthy / self.each;
        for number in 0..self.healthy {
            for other in number * beside..(number + 1) * beside {
                let to = match self.company {
                    Company::AtOnce => &mut before,
                    Company::None | Company::OneList => &mut text,
                };
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
    let alone = run(hosts, folder, list)?;
    writeln!(
        out,
        "{} at each healthy host: alone {} ms, peak {:.0} MB",
        list.each, alone.healthy_ms, alone.megabytes
    )?;
    for (company, name) in [(Company::AtOnce, "at once"), (Company::OneList, "in one list")] {
        let among = run(hosts, folder, List { company, ..list })?;
        let ratio = among.healthy_ms as f64 / alone.healthy_ms as f64;
        writeln!(
            out,
            "  {name}: {} ms, ratio {ratio:.2} (reach {SLOWER}); open at once {}; peak {:.0} MB (reach {MEGABYTES}); \
             whole run {} ms; descriptors back to {}",
            among.healthy_ms, among.open_at_once, among.megabytes, among.whole_ms, among.descriptors
        )?;
        for run in [&alone, &among] {
            ensure!(run.wrong == 0, "{} labels are wrong", run.wrong);
            ensure!(run.leaked == 0, "{} descriptors are still open", run.leaked);
            ensure!(run.megabytes < MEGABYTES, "{:.0} MB are too many", run.megabytes);
        }
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
    hosts.order("reset")?;
    let mut child = Command::new(env::current_exe()?)
        .arg("probe-the-list")
        .args(&paths)
        .args([&hosts.dns, &hosts.port])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let held = match list.company {
        Company::AtOnce => hosts.hold_until(list.hostile as u64),
        Company::None | Company::OneList => Ok(()),
    };
    // Closed by this, its input ends, and it begins at the latest now.
    drop(child.stdin.take());
    let output = child.wait_with_output()?;
    held?;
    let seen = hosts.order("")?;
    ensure!(output.status.success(), "the run ended with {}", output.status);
    let said = String::from_utf8(output.stdout)?;
    let mut told = said.split_whitespace().map(str::parse::<i64>);
    let mut next = || -> anyhow::Result<i64> { Ok(told.next().context("the run said too little")??) };
    let (whole_ms, kilobytes, wrong) = (next()?.unsigned_abs(), next()?, next()?.unsigned_abs());
    let (before, after) = (next()?, next()?);
    let began = next()?.unsigned_abs();
    let [ended, _, open_at_once] = seen.as_slice() else {
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

    /// What was seen since `reset`: when the last healthy session ended, connections open now, and the most at once.
    fn order(&mut self, order: &str) -> anyhow::Result<Vec<u64>> {
        self.orders.write_all(format!("{order}\n").as_bytes())?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
    }

    /// Lets the hostile hosts begin when so many sessions are open.
    fn hold_until(&mut self, sessions: u64) -> anyhow::Result<()> {
        self.order("hold")?;
        let until = Instant::now() + PATIENCE;
        let mut open = 0;
        while open < sessions && Instant::now() < until {
            thread::sleep(Duration::from_millis(20));
            open = *self.order("")?.get(1).context("the hosts said too little")?;
        }
        self.order("loose")?;
        ensure!(
            open == sessions,
            "{open} of {sessions} hostile sessions were open at once"
        );
        Ok(())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
