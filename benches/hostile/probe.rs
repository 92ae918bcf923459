//! One run over the list, in a process of its own: what it took, what it said, and what it left open.

use std::{
    fs,
    io::{self, Write as _},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use presend::{
    input::{InputOptions, Row, Table},
    job::{Engine, Outcome, Progress, Settings, Sink, Stop},
    net::{IpPreference, Network},
    smtp::{Identity, Timeouts},
    verdict::Label,
};

/// Verifies the list; where there is one before it, that first, and the list beside it at a line of the input.
///
/// Says milliseconds, kilobytes at most, wrong labels, descriptors before and after, and when the list began (milliseconds since 1970).
pub(crate) fn run(list: &str, before: &str, (dns, port): (&str, &str)) -> anyhow::Result<()> {
    // The first runtime of a process opens a pair of sockets for signals, which stays.
    drop(runtime()?);
    let open_before = descriptors()?;
    let started = Instant::now();
    let (mut labels, mut others) = (Labels(0), Labels(0));
    let apart = fs::metadata(before)?.len() > 0;
    let began = runtime()?.block_on(async {
        let now = SystemTime::now();
        let engine = Engine::start(settings(dns, port)?).await?;
        if !apart {
            verify(&engine, list, &mut labels).await?;
            return anyhow::Ok(now);
        }
        let later = async {
            tokio::task::spawn_blocking(|| io::stdin().read_line(&mut String::new())).await??;
            let now = SystemTime::now();
            verify(&engine, list, &mut labels).await?;
            anyhow::Ok(now)
        };
        let (first, now) = tokio::join!(verify(&engine, before, &mut others), later);
        first.and(now)
    })?;
    let took = started.elapsed().as_millis();
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("no VmHWM")?;
    let kilobytes = peak.split_whitespace().next().context("no number")?;
    writeln!(
        io::stdout(),
        "{took} {kilobytes} {} {open_before} {} {}",
        labels.0 + others.0,
        descriptors()?,
        began.duration_since(UNIX_EPOCH)?.as_millis()
    )?;
    Ok(())
}

async fn verify(engine: &Engine, list: &str, labels: &mut Labels) -> anyhow::Result<()> {
    let table = Table::open(list.as_ref(), &InputOptions::default())?;
    engine.verify(table, labels, &Progress::default(), Stop::new()).await?;
    Ok(())
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn descriptors() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}

/// Counts wrong labels: who is at a healthy host is valid, all others are unknown.
struct Labels(u64);

impl Sink for Labels {
    fn write(&mut self, row: &Row, outcome: &Outcome) -> io::Result<()> {
        let healthy = row.address().contains("@h-1-");
        let expected = if healthy { Label::Valid } else { Label::Unknown };
        self.0 += u64::from(outcome.verdict.label != expected);
        Ok(())
    }
}

fn settings(dns: &str, port: &str) -> anyhow::Result<Settings> {
    Ok(Settings {
        timeouts: Timeouts {
            connect: Duration::from_secs(10),
            reply: Duration::from_secs(20),
            session: Duration::from_secs(30),
        },
        network: Network {
            preference: IpPreference::OnlyV4,
            ..Network::default()
        },
        ..Settings::for_lab(
            Identity::new("probe.bench.test", "check@bench.test")?,
            vec![dns.parse()?],
            port.parse()?,
        )
    })
}
