//! A million rows as a job in a database on disk, against a bare client that only sends RCPTs and counts; then the same list
//! again, which is answered from the database.
//!
//! `--quick` is small and asserts what does not depend on the machine; `--polite` is a list on hosts that are not ours, 50 ms
//! away.

#[path = "throughput/bare.rs"]
mod bare;
#[path = "throughput/lab.rs"]
mod lab;
mod process;
#[path = "throughput/world.rs"]
mod world;

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::ensure;
use lab::{Counts, Remote};
use mimalloc::MiMalloc;
use world::{Entry, Size, TRUSTED};

/// As the program has it, for the bare client.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Megabytes that a run may take, the share of the bare client's rate, and how much faster the second run is.
const MEGABYTES: f64 = 200.0;
const REACH: f64 = 0.25;
const FASTER: f64 = 50.0;

/// What is measured.
struct Scale {
    size: Size,
    latency_ms: u64,
    trusted: bool,
    rounds: usize,
}

impl Scale {
    fn told() -> Self {
        let said = |word: &str| env::args().any(|argument| argument == word);
        let (addresses, domains, hosts) = if said("--polite") {
            (5_000, 1_000, 1_000)
        } else if said("--quick") {
            (20_000, 1_000, 100)
        } else {
            (1_000_000, 50_000, 5_000)
        };
        Self {
            size: Size {
                addresses,
                domains,
                hosts,
            },
            latency_ms: if said("--polite") { 50 } else { 0 },
            trusted: !said("--polite"),
            rounds: if said("--quick") || said("--polite") { 1 } else { 5 },
        }
    }
}

fn main() -> anyhow::Result<()> {
    if lab::serve()? {
        return Ok(());
    }
    let scale = Scale::told();
    let folder = tempfile::tempdir()?;
    let list = scale.size.list();
    fs::write(folder.path().join("list.csv"), world::csv(&list))?;
    let lab = Remote::start(scale.size, scale.latency_ms, true)?;
    let bench = Bench {
        scale,
        list,
        folder: folder.path(),
        lab,
    };
    bench.run(&mut io::stdout().lock())
}

struct Bench<'a> {
    scale: Scale,
    list: Vec<Entry>,
    folder: &'a Path,
    lab: Remote,
}

/// A run of the program, and what the lab counted.
struct Run {
    took: process::Took,
    counts: Counts,
}

impl Bench<'_> {
    /// Turn and turn about, so that a change of the machine's mood meets both.
    fn run(mut self, out: &mut dyn Write) -> anyhow::Result<()> {
        let Size {
            addresses,
            domains,
            hosts,
        } = self.scale.size;
        writeln!(
            out,
            "{addresses} addresses, {domains} domains, {hosts} hosts, {} ms, trusted: {}",
            self.scale.latency_ms, self.scale.trusted
        )?;
        let mut ratios = Vec::new();
        for _ in 0..self.scale.rounds {
            let bare = self.bare()?;
            let first = self.program()?;
            let again = self.program()?;
            ensure!(
                again.counts.connections == 0 && again.counts.commands == 0,
                "the second run asked: {:?}",
                again.counts
            );
            let database = fs::metadata(self.folder.join("presend.db"))?.len();
            let peak = first.took.peak.max(again.took.peak);
            let quick = self.scale.size.addresses < 100_000;
            ensure!(
                !quick || megabytes(peak) < MEGABYTES,
                "{:.0} MB are too many",
                megabytes(peak)
            );
            let (rate, of) = (self.rate(first.took.wall), self.rate(bare));
            ratios.push(rate / of);
            writeln!(
                out,
                "  presend {rate:.0}/s, bare {of:.0}/s, ratio {:.2} (reach {REACH}); {:.3} connections, {:.3} commands per address",
                rate / of,
                self.per(first.counts.connections),
                self.per(first.counts.commands),
            )?;
            writeln!(
                out,
                "  second run: {:.2} s instead of {:.2}, {:.1} times faster (reach {FASTER} for hosts that are not ours), nobody asked",
                again.took.wall.as_secs_f64(),
                first.took.wall.as_secs_f64(),
                first.took.wall.as_secs_f64() / again.took.wall.as_secs_f64(),
            )?;
            writeln!(
                out,
                "  peak {:.0} MB, second run {:.0} MB (reach {MEGABYTES}); database {:.0} MB",
                megabytes(first.took.peak),
                megabytes(again.took.peak),
                megabytes(database),
            )?;
            for name in ["presend.db", "presend.db-wal", "presend.db-shm"] {
                // Only the first is always there.
                let _ = fs::remove_file(self.folder.join(name));
            }
        }
        ratios.sort_by(f64::total_cmp);
        if let [least, .., most] = ratios.as_slice()
            && let Some(median) = ratios.get(ratios.len() / 2)
        {
            writeln!(
                out,
                "ratio {median:.3}, the median of {}; {least:.3} to {most:.3} (reach {REACH})",
                ratios.len()
            )?;
        }
        Ok(())
    }

    fn bare(&self) -> anyhow::Result<Duration> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let hosts = bare::questions(&self.list, &self.lab.hosts);
        let names: Vec<(String, u16)> = (0..self.scale.size.domains)
            .map(|domain| (format!("company{domain}.test"), 15))
            .chain((0..self.scale.size.hosts).map(|host| (format!("mx{host}{TRUSTED}"), 1)))
            .collect();
        let started = Instant::now();
        let counted = runtime.block_on(async {
            bare::look_up(self.lab.dns, &names).await?;
            bare::run(&hosts, true).await
        })?;
        let took = started.elapsed();
        ensure!(counted.0 + counted.1 == self.list.len(), "the bare client lost replies");
        Ok(took)
    }

    fn program(&mut self) -> anyhow::Result<Run> {
        let before = self.lab.counts()?;
        let results = self.folder.join("results.csv");
        let mut command = Command::new(env!("CARGO_BIN_EXE_presend"));
        command
            .arg("verify")
            .arg(self.folder.join("list.csv"))
            .arg("--output")
            .arg(&results)
            .arg("--db")
            .arg(self.folder.join("presend.db"))
            .args(["--helo-name", "probe.bench.test", "--mail-from", "check@bench.test"])
            .args(["--allow-special-use", "--quiet", "--ip", "only-v4"])
            .args(["--nameserver", &self.lab.dns.to_string()])
            .args(["--smtp-port", &self.port()]);
        if self.scale.trusted {
            command.args(["--trusted-host", TRUSTED]);
        }
        let took = process::run(&mut command)?;
        let wrong = world::wrong(&self.list, &fs::read_to_string(results)?);
        ensure!(wrong == 0, "{wrong} labels are wrong");
        let counts = self.lab.counts()?.since(before);
        ensure!(counts.rude == 0, "violations, or sessions without QUIT: {counts:?}");
        Ok(Run { took, counts })
    }

    fn port(&self) -> String {
        self.lab.hosts.first().map_or(0, std::net::SocketAddr::port).to_string()
    }

    #[expect(clippy::cast_precision_loss, reason = "for a table")]
    fn per(&self, count: u64) -> f64 {
        count as f64 / self.list.len() as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "for a table")]
    fn rate(&self, took: Duration) -> f64 {
        self.list.len() as f64 / took.as_secs_f64()
    }
}

#[expect(clippy::cast_precision_loss, reason = "for a table")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1_000_000.0
}
