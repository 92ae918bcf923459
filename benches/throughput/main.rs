//! A list through mail hosts, against a bare client that only sends RCPTs and counts: addresses a second, connections,
//! commands and DNS questions per address, memory, and every label checked.
//!
//! `cargo bench --bench throughput -- --quick` asserts what does not depend on the machine and skips the timing.

mod bare;
mod lab;
#[path = "../process.rs"]
mod process;
mod world;

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use bare::Questions;
use lab::{Counts, Remote};
use mimalloc::MiMalloc;
use presend::{
    input::{InputOptions, Table},
    job::{Engine, Progress, Settings, Stop},
    net::{IpPreference, Network},
    output::{Format, Options, Output, Target, Terminal},
    smtp::{Identity, Timeouts},
};
use tokio::runtime::Runtime;
use world::{Entry, Size, TRUSTED};

/// As the program has it, for both clients.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const SIZE: Size = Size {
    addresses: 10_000,
    domains: 500,
    hosts: 250,
};
const ROUNDS: usize = 9;
/// Connections, commands, and megabytes that a run may take.
const CONNECTIONS: f64 = 0.05;
const COMMANDS: f64 = 1.3;
const MEGABYTES: f64 = 60.0;

/// A row of the table.
struct Scenario {
    name: &'static str,
    latency_ms: u64,
    pipelining: bool,
    /// The share of the bare client's rate that must be reached.
    reach: f64,
}

const SCENARIOS: [Scenario; 3] = [
    Scenario {
        name: "pipelined",
        latency_ms: 0,
        pipelining: true,
        reach: 0.4,
    },
    Scenario {
        name: "pipelined",
        latency_ms: 50,
        pipelining: true,
        reach: 0.4,
    },
    Scenario {
        name: "lockstep",
        latency_ms: 0,
        pipelining: false,
        reach: 0.55,
    },
];

fn main() -> anyhow::Result<()> {
    if lab::serve()? {
        return Ok(());
    }
    let quick = env::args().any(|argument| argument == "--quick");
    let folder = tempfile::tempdir()?;
    let list = SIZE.list();
    fs::write(folder.path().join("list.csv"), world::csv(&list))?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{} addresses, {} domains, {} hosts; medians of {} rounds\n  {:24}{:>11}{:>11}{:>8}{:>8}",
        SIZE.addresses,
        SIZE.domains,
        SIZE.hosts,
        if quick { 1 } else { ROUNDS },
        "addresses a second",
        "presend",
        "bare",
        "ratio",
        "reach",
    )?;
    for scenario in &SCENARIOS {
        let bench = Bench::new(scenario, &list, folder.path())?;
        bench.run(if quick { 1 } else { ROUNDS }, &mut out)?;
    }
    Ok(())
}

/// One scenario with everything it needs.
struct Bench<'a> {
    scenario: &'a Scenario,
    list: &'a [Entry],
    folder: &'a Path,
    lab: Remote,
    hosts: Vec<Arc<Questions>>,
    /// What the DNS is asked at least: MX (type 15) of each domain, A (1) of each host.
    names: Vec<(String, u16)>,
    runtime: Runtime,
}

impl<'a> Bench<'a> {
    fn new(scenario: &'a Scenario, list: &'a [Entry], folder: &'a Path) -> anyhow::Result<Self> {
        let lab = Remote::start(SIZE, scenario.latency_ms, scenario.pipelining)?;
        Ok(Self {
            scenario,
            list,
            folder,
            hosts: bare::questions(list, &lab.hosts),
            names: (0..SIZE.domains)
                .map(|domain| (format!("company{domain}.test"), 15))
                .chain((0..SIZE.hosts).map(|host| (format!("mx{host}{TRUSTED}"), 1)))
                .collect(),
            lab,
            // As the program makes its own.
            runtime: tokio::runtime::Builder::new_multi_thread().enable_all().build()?,
        })
    }

    /// Turn and turn about, so that a change of the machine's mood meets both.
    fn run(mut self, rounds: usize, out: &mut dyn Write) -> anyhow::Result<()> {
        let (mut bare, mut warm) = (Vec::new(), Vec::new());
        let (mut bare_dns, mut cold, mut program) = (Vec::new(), Vec::new(), Vec::new());
        let (mut counts, mut cpu, mut peak) = (Counts::default(), Duration::ZERO, 0);
        for _ in 0..rounds {
            bare_dns.push(self.bare(true)?);
            let (before, used) = (self.lab.counts()?, cpu_time()?);
            let (took, engine) = self.presend(None)?;
            cold.push(took);
            cpu += cpu_time()?.saturating_sub(used);
            counts = self.lab.counts()?.since(before);
            self.check(counts)?;
            bare.push(self.bare(false)?);
            warm.push(self.presend(Some(engine))?.0);
            let took = self.program()?;
            program.push(took.wall);
            peak = took.peak.max(peak);
        }
        let megabytes = ratio(peak, 1_000_000);
        ensure!(megabytes < MEGABYTES, "{megabytes:.1} MB are more than {MEGABYTES}");
        let per = |count: u64| ratio(count, SIZE.addresses as u64);
        let (bare, bare_dns) = (rate(bare), rate(bare_dns));
        writeln!(
            out,
            "\n{}, {} ms round trip",
            self.scenario.name, self.scenario.latency_ms
        )?;
        for (what, bare, presend) in [
            ("routes known", bare, rate(warm)),
            ("with DNS", bare_dns, rate(cold)),
            ("with DNS, as a program", bare_dns, rate(program)),
        ] {
            writeln!(
                out,
                "  {what:24}{presend:11.0}{bare:11.0}{:8.2}{:8.2}",
                presend / bare,
                self.scenario.reach
            )?;
        }
        writeln!(
            out,
            "  per address: {:.4} connections, {:.4} commands, {:.4} DNS questions, {:.1} us of CPU; peak {megabytes:.1} MB",
            per(counts.connections),
            per(counts.commands),
            per(counts.queries),
            ratio(u64::try_from(cpu.as_micros())?, (SIZE.addresses * rounds) as u64),
        )?;
        Ok(())
    }

    fn check(&self, counts: Counts) -> anyhow::Result<()> {
        let per = |count: u64| ratio(count, SIZE.addresses as u64);
        ensure!(
            per(counts.connections) <= CONNECTIONS,
            "too many connections: {counts:?}"
        );
        ensure!(per(counts.commands) <= COMMANDS, "too many commands: {counts:?}");
        ensure!(counts.rude == 0, "violations, or sessions without QUIT: {counts:?}");
        let wrong = world::wrong(self.list, &fs::read_to_string(self.folder.join("results.csv"))?);
        ensure!(wrong == 0, "{wrong} labels are wrong");
        Ok(())
    }

    /// The reference; with DNS, the lookups of its 500 domains and 250 hosts come first.
    fn bare(&self, dns: bool) -> anyhow::Result<Duration> {
        let names: &[_] = if dns { &self.names } else { &[] };
        let started = Instant::now();
        let counted = self.runtime.block_on(async {
            bare::look_up(self.lab.dns, names).await?;
            bare::run(&self.hosts, self.scenario.pipelining).await
        })?;
        let took = started.elapsed();
        ensure!(counted.0 + counted.1 == SIZE.addresses, "the bare client lost replies");
        Ok(took)
    }

    /// The whole way in this process, file to file; without an engine, with a new one that knows no route yet.
    fn presend(&self, engine: Option<Arc<Engine>>) -> anyhow::Result<(Duration, Arc<Engine>)> {
        let settings = self.settings()?;
        let (input, results) = (self.folder.join("list.csv"), self.folder.join("results.csv"));
        // On a worker, as the program does.
        let work = self.runtime.spawn(async move {
            let started = Instant::now();
            let engine = match engine {
                Some(engine) => engine,
                None => Arc::new(Engine::start(settings).await?),
            };
            let table = Table::open(&input, &InputOptions::default())?;
            let options = Options {
                format: Format::Csv,
                only: Vec::new(),
                raw: false,
                detail: presend::output::Detail::default(),
                terminal: Terminal::default(),
            };
            let mut output = Output::single(table.layout(), &options, Target::file(&results)?);
            engine
                .verify(table, &mut output, &Progress::default(), Stop::new())
                .await?;
            output.finish()?;
            anyhow::Ok((started.elapsed(), engine))
        });
        self.runtime.block_on(work)?
    }

    /// The same by the program.
    fn program(&self) -> anyhow::Result<process::Took> {
        let results = self.folder.join("program.csv");
        let took = process::run(
            Command::new(env!("CARGO_BIN_EXE_presend"))
                .arg("verify")
                .arg(self.folder.join("list.csv"))
                .arg("--output")
                .arg(&results)
                .args(["--helo-name", "probe.bench.test", "--mail-from", "check@bench.test"])
                .args([
                    "--allow-special-use",
                    "--trusted-host",
                    TRUSTED,
                    "--quiet",
                    "--no-store",
                    "--ip",
                    "only-v4",
                ])
                .args(["--nameserver", &self.lab.dns.to_string()])
                .args(["--smtp-port", &self.smtp_port().to_string()]),
        )?;
        let wrong = world::wrong(self.list, &fs::read_to_string(results)?);
        ensure!(wrong == 0, "{wrong} labels of the program are wrong");
        Ok(took)
    }

    fn smtp_port(&self) -> u16 {
        self.lab.hosts.first().map_or(0, std::net::SocketAddr::port)
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        Ok(Settings {
            trusted: vec![TRUSTED.to_owned()],
            timeouts: Timeouts::BULK,
            // As the bare client does, so that a machine's route to IPv6 changes nothing.
            network: Network {
                preference: IpPreference::OnlyV4,
                ..Network::default()
            },
            max_wait: Duration::MAX,
            ..Settings::for_lab(
                Identity::new("probe.bench.test", "check@bench.test")?,
                vec![self.lab.dns],
                self.smtp_port(),
            )
        })
    }
}

/// Addresses a second in the median round.
#[expect(clippy::cast_precision_loss, reason = "for a table")]
fn rate(mut rounds: Vec<Duration>) -> f64 {
    rounds.sort_unstable();
    let median = rounds.get(rounds.len() / 2).map_or(0.0, Duration::as_secs_f64);
    SIZE.addresses as f64 / median
}

#[expect(clippy::cast_precision_loss, reason = "for a table")]
fn ratio(count: u64, of: u64) -> f64 {
    count as f64 / of as f64
}

/// What this process has used of all cores; the kernel counts in hundredths of a second.
fn cpu_time() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(ticks * 10))
}
