//! A million addresses through `presend verify --level syntax`, against a plain copy of the file: addresses a second of the
//! whole program, and its peak memory beyond the set that joins duplicates.
//!
//! `cargo bench --bench syntax -- --quick` asserts the memory and the labels, and skips the timing.

mod process;

use std::{
    env, fs,
    io::{self, Read, Write},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

const LINES: usize = 1_000_000;
const ROUNDS: usize = 7;
/// What must be reached.
const RATE: f64 = 1_000_000.0;
const MEGABYTES: f64 = 64.0;
/// A fingerprint of 16 bytes for each address: the set itself, without the room that a hash table keeps free.
const SET: u64 = LINES as u64 * 16;

fn main() -> anyhow::Result<()> {
    let quick = env::args().any(|argument| argument == "--quick");
    let folder = tempfile::tempdir()?;
    let (input, output) = (folder.path().join("list.txt"), folder.path().join("results.csv"));
    let invalid = write_list(&input)?;
    let (mut copied, mut runs, mut peak) = (Vec::new(), Vec::new(), 0);
    for _ in 0..if quick { 1 } else { ROUNDS } {
        copied.push(copy(&input, &folder.path().join("copy.txt"))?);
        let took = process::run(
            Command::new(env!("CARGO_BIN_EXE_presend"))
                .args(["verify", "--level", "syntax", "--quiet", "--output"])
                .arg(&output)
                .arg(&input),
        )?;
        runs.push(took.wall);
        peak = took.peak.max(peak);
    }
    check(&output, invalid)?;
    #[expect(clippy::cast_precision_loss, reason = "for a table")]
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let beyond = megabytes(peak.saturating_sub(SET));
    let (here, reference) = (rate(runs), rate(copied));
    writeln!(
        io::stdout(),
        "{LINES} lines, `--level syntax`; medians of {} rounds\n\n{:>12}{:>12}{:>8}{:>12}{:>10}{:>10}{:>12}{:>8}\n\
         {here:12.0}{RATE:12.0}{:8.2}{reference:12.0}{:10.1}{:10.1}{beyond:12.1}{MEGABYTES:8.1}",
        if quick { 1 } else { ROUNDS },
        "presend/s",
        "reach/s",
        "ratio",
        "copy/s",
        "peak MB",
        "set MB",
        "beyond MB",
        "reach",
        here / reference,
        megabytes(peak),
        megabytes(SET),
    )?;
    ensure!(
        beyond < MEGABYTES,
        "{beyond:.1} MB beyond the set are more than {MEGABYTES}"
    );
    Ok(())
}

/// Different addresses at many domains, every fiftieth broken; says how many are.
fn write_list(path: &Path) -> anyhow::Result<usize> {
    let mut out = io::BufWriter::new(fs::File::create(path)?);
    let mut invalid = 0;
    for number in 0..LINES {
        let name = match number % 50 {
            7 => "Given.Family",
            13 => "given..family",
            _ => "given.family",
        };
        invalid += usize::from(name == "given..family");
        match number % 4 {
            0 => writeln!(out, "{name}{number}@gmail.com")?,
            _ => writeln!(out, "{name}{number}@company{}.com", number % 9973)?,
        }
    }
    out.flush()?;
    Ok(invalid)
}

/// The reference: every byte read and written once, in the same pieces as presend writes.
fn copy(from: &Path, to: &Path) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let (mut from, mut to) = (fs::File::open(from)?, fs::File::create(to)?);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(started.elapsed());
        }
        to.write_all(buffer.get(..read).unwrap_or_default())?;
    }
}

fn check(output: &Path, invalid: usize) -> anyhow::Result<()> {
    let text = fs::read_to_string(output)?;
    let mut lines = text.lines();
    let header = lines.next().context("no header")?;
    let column = header
        .split(',')
        .position(|name| name == "presend_label")
        .context("no label")?;
    let (mut rows, mut refused) = (0, 0);
    for line in lines {
        rows += 1;
        refused += usize::from(line.split(',').nth(column) == Some("invalid"));
    }
    ensure!(
        (rows, refused) == (LINES, invalid),
        "{rows} rows, {refused} of them invalid"
    );
    Ok(())
}

/// Addresses a second in the median round.
#[expect(clippy::cast_precision_loss, reason = "for a table")]
fn rate(mut rounds: Vec<Duration>) -> f64 {
    rounds.sort_unstable();
    let median = rounds.get(rounds.len() / 2).map_or(0.0, Duration::as_secs_f64);
    LINES as f64 / median
}
