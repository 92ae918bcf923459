//! Cold start: from starting `presend check` to its first DNS question, against a program that does nothing.
//!
//! `cargo bench --bench start -- --quick` sees that the question comes, and skips the timing.

use std::{
    env,
    io::{self, Write},
    net::UdpSocket,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const ROUNDS: usize = 41;
/// What must be reached.
const REACH: Duration = Duration::from_millis(20);

fn main() -> anyhow::Result<()> {
    let quick = env::args().any(|argument| argument == "--quick");
    let (mut nothing, mut presend) = (Vec::new(), Vec::new());
    for _ in 0..if quick { 1 } else { ROUNDS } {
        nothing.push(does_nothing()?);
        presend.push(first_question()?);
    }
    let (rounds, nothing, presend) = (presend.len(), median(nothing), median(presend));
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    writeln!(
        io::stdout(),
        "from start to the first DNS question; medians of {rounds} rounds\n\n{:>12}{:>10}{:>10}{:>8}\n{:12.2}{:10.1}{:10.2}{:8.1}",
        "presend ms",
        "reach ms",
        "true ms",
        "ratio",
        ms(presend),
        ms(REACH),
        ms(nothing),
        presend.as_secs_f64() / nothing.as_secs_f64(),
    )?;
    Ok(())
}

/// A program that ends at once, started and waited for.
fn does_nothing() -> anyhow::Result<Duration> {
    let started = Instant::now();
    Command::new("/bin/true").status()?;
    Ok(started.elapsed())
}

/// The name server is ours and never answers: only the first packet counts.
fn first_question() -> anyhow::Result<Duration> {
    let server = UdpSocket::bind("127.0.0.1:0")?;
    server.set_read_timeout(Some(Duration::from_secs(10)))?;
    // A database is opened as well, and made: never the user's own.
    let home = tempfile::tempdir()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_presend"));
    command
        .env("HOME", home.path())
        .env_remove("XDG_STATE_HOME")
        .args(["check", "jane.doe@company.com"])
        .args(["--helo-name", "probe.bench.test", "--mail-from", "check@bench.test"])
        .args(["--nameserver", &server.local_addr()?.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let started = Instant::now();
    let mut child = command.spawn()?;
    let received = server.recv(&mut [0; 512]);
    let took = started.elapsed();
    child.kill()?;
    child.wait()?;
    received?;
    Ok(took)
}

fn median(mut rounds: Vec<Duration>) -> Duration {
    rounds.sort_unstable();
    rounds.get(rounds.len() / 2).copied().unwrap_or_default()
}
