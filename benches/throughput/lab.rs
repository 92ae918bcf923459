//! The lab in a process of its own, so that its runtime is nobody else's: this program again, with a word as its argument.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::Context;
use presend::lab::{Counters, Lab};

use crate::world::Size;

/// The argument that turns this program into the lab.
const WORD: &str = "serve-the-lab";

/// A lab in another process; dropping it ends it.
pub(crate) struct Remote {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub(crate) dns: SocketAddr,
    /// In the order of their numbers.
    pub(crate) hosts: Vec<SocketAddr>,
}

/// What the lab counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) connections: u64,
    pub(crate) commands: u64,
    pub(crate) queries: u64,
    /// Violations, and sessions without QUIT.
    pub(crate) rude: u64,
}

impl Counts {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            connections: self.connections - before.connections,
            commands: self.commands - before.commands,
            queries: self.queries - before.queries,
            rude: self.rude - before.rude,
        }
    }
}

impl Remote {
    pub(crate) fn start(size: Size, latency_ms: u64, pipelining: bool) -> anyhow::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg(WORD)
            .args([size.addresses, size.domains, size.hosts].map(|number| number.to_string()))
            .args([latency_ms, u64::from(pipelining)].map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().context("no pipe to the lab")?;
        let answers = BufReader::new(child.stdout.take().context("no pipe from the lab")?);
        let mut lab = Self {
            child,
            orders,
            answers,
            dns: ([0, 0, 0, 0], 0).into(),
            hosts: Vec::new(),
        };
        let places = lab.answer()?;
        let mut places = places.split_whitespace().map(str::parse);
        lab.dns = places.next().context("the lab did not start")??;
        lab.hosts = places.collect::<Result<_, _>>()?;
        Ok(lab)
    }

    pub(crate) fn counts(&mut self) -> anyhow::Result<Counts> {
        self.orders.write_all(b"\n")?;
        let answer = self.answer()?;
        let mut numbers = answer.split_whitespace().map(str::parse);
        let mut next = || -> anyhow::Result<u64> { Ok(numbers.next().context("the lab said too little")??) };
        Ok(Counts {
            connections: next()?,
            commands: next()?,
            queries: next()?,
            rude: next()?,
        })
    }

    fn answer(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other side of [`Remote::start`]: serves until its input ends; `false` if this process is not meant to be a lab.
pub(crate) fn serve() -> anyhow::Result<bool> {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() != Some(WORD) {
        return Ok(false);
    }
    let mut next = || -> anyhow::Result<usize> { Ok(arguments.next().context("too few numbers")?.parse()?) };
    let size = Size {
        addresses: next()?,
        domains: next()?,
        hosts: next()?,
    };
    let world = size.world(next()? as u64, next()? == 1);
    let names: Vec<String> = world.hosts.iter().map(|host| host.name.clone()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let lab = runtime.block_on(Lab::start(world))?;
    let mut out = io::stdout().lock();
    write!(out, "{}", lab.dns())?;
    for name in names {
        write!(out, " {}", lab.host(&name).context("a host is missing")?)?;
    }
    writeln!(out)?;
    for order in io::stdin().lock().lines() {
        order?;
        let Counts {
            connections,
            commands,
            queries,
            rude,
        } = sums(&lab.counters());
        writeln!(out, "{connections} {commands} {queries} {rude}")?;
    }
    Ok(true)
}

fn sums(counters: &Counters) -> Counts {
    Counts {
        connections: counters.sum(|host| host.connections),
        commands: counters.verbs().values().sum(),
        queries: counters.dns.values().sum(),
        rude: counters.violations() + counters.sum(|host| host.without_quit),
    }
}
