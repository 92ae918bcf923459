//! `presend lab`: serves a world until told to stop, says how to reach it, and ends with a table of what was asked.

use std::{
    future::Future,
    io::{self, Write},
};

use super::{Counters, Lab, LabError, World};

/// Serves `world` until `stop` is ready; writes how to point presend at it, and at the end what the hosts saw.
///
/// # Errors
/// The lab cannot start, or `out` cannot be written.
pub async fn serve(world: World, out: &mut (dyn Write + Send), stop: impl Future<Output = ()>) -> Result<(), LabError> {
    let lab = Lab::start(world).await?;
    let up = lab.hosts.iter().filter(|host| !host.keys.down).count();
    if lab.hosts.is_empty() {
        writeln!(
            out,
            "No mail host is in this world, only the DNS; ask it with\n\n    presend verify LIST --nameserver {} --level dns --allow-special-use",
            lab.dns(),
        )?;
    } else {
        writeln!(
            out,
            "Hosts up: {up} of {}; ask them with\n\n    presend verify LIST --nameserver {} --smtp-port {} --allow-special-use \\\n        \
             --helo-name probe.example --mail-from probe@probe.example",
            lab.hosts.len(),
            lab.dns(),
            lab.smtp_port(),
        )?;
    }
    writeln!(out, "\nCtrl-C stops it.")?;
    out.flush()?;
    stop.await;
    let counters = lab.counters();
    lab.stop().await;
    table(&counters, out)?;
    Ok(())
}

/// Hosts that were asked, one line each, and a sum.
fn table(counters: &Counters, out: &mut (dyn Write + Send)) -> io::Result<()> {
    let width = counters
        .hosts
        .keys()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0)
        .max(5);
    let heads = [
        "connections",
        "peak",
        "commands",
        "recipients",
        "refused",
        "deferred",
        "violations",
    ];
    write!(out, "\n{:width$}", "host")?;
    for head in heads {
        write!(out, "  {head:>11}")?;
    }
    writeln!(out)?;
    let mut sums = [0; 7];
    for (name, host) in &counters.hosts {
        if host.connections == 0 {
            continue;
        }
        let row = [
            host.connections,
            host.concurrent_peak,
            host.commands.values().sum(),
            host.recipients,
            host.refused,
            host.deferred,
            host.violations.total(),
        ];
        line(name, width, row, out)?;
        for (sum, count) in sums.iter_mut().zip(row) {
            *sum += count;
        }
    }
    let [connections, _, rest @ ..] = sums;
    let [commands, recipients, refused, deferred, violations] = rest;
    let peak = counters.concurrent_peak;
    line(
        "total",
        width,
        [connections, peak, commands, recipients, refused, deferred, violations],
        out,
    )?;
    writeln!(out, "{} DNS questions", counters.dns.values().sum::<u64>())?;
    out.flush()
}

fn line(name: &str, width: usize, counts: [u64; 7], out: &mut (dyn Write + Send)) -> io::Result<()> {
    write!(out, "{name:width$}")?;
    for count in counts {
        write!(out, "  {count:>11}")?;
    }
    writeln!(out)
}
