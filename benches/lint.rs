//! `presend lint --level syntax`: rows a second of a plain list, and of a table against the `csv` crate reading the same file; peak
//! memory of a list ten times as long, beyond the 16 bytes for each different address.
//!
//! `cargo bench --bench lint -- --quick` runs everything once and skips the long list.

mod process;

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::ensure;

const ROWS: u64 = 1_000_000;
const LONG: u64 = 10_000_000;
const ROUNDS: usize = 7;
/// What must be reached.
const RATE: f64 = 1_000_000.0;
const RATIO: f64 = 0.35;

fn main() -> anyhow::Result<()> {
    let quick = env::args().any(|argument| argument == "--quick");
    let rounds = if quick { 1 } else { ROUNDS };
    let folder = tempfile::tempdir()?;
    let (list, table) = (folder.path().join("list.txt"), folder.path().join("table.csv"));
    write_list(&list, ROWS)?;
    write_table(&table)?;
    let (mut plain, mut tables, mut records, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut peak = 0;
    for _ in 0..rounds {
        let took = lint(&list)?;
        plain.push(took.wall);
        peak = took.peak.max(peak);
        tables.push(lint(&table)?.wall);
        records.push(read(&table, |reader| {
            let mut record = csv::StringRecord::new();
            let mut rows = 0;
            while reader.read_record(&mut record)? {
                rows += 1;
            }
            Ok(rows)
        })?);
        bytes.push(read(&table, |reader| {
            let mut record = csv::ByteRecord::new();
            let mut rows = 0;
            while reader.read_byte_record(&mut record)? {
                rows += 1;
            }
            Ok(rows)
        })?);
    }
    let (here, table, reference, fastest) = (rate(plain), rate(tables), rate(records), rate(bytes));
    let mut out = io::stdout();
    writeln!(out, "{ROWS} rows, `--level syntax`; medians of {rounds} rounds\n")?;
    writeln!(
        out,
        "plain list: {here:.0} rows/s, reach {RATE:.0}; peak {:.1} MB",
        megabytes(peak)
    )?;
    writeln!(
        out,
        "table: {table:.0} rows/s; csv crate {reference:.0} (StringRecord), {fastest:.0} (ByteRecord); ratios {:.2}, {:.2}, reach {RATIO}",
        table / reference,
        table / fastest
    )?;
    if !quick {
        write_list(&list, LONG)?;
        let took = lint(&list)?;
        let set = LONG * 16;
        writeln!(
            out,
            "{LONG} rows: {:.1} s, peak {:.1} MB, {:.1} MB beyond 16 bytes for each address",
            took.wall.as_secs_f64(),
            megabytes(took.peak),
            megabytes(took.peak.saturating_sub(set))
        )?;
    }
    Ok(())
}

fn lint(file: &Path) -> anyhow::Result<process::Took> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_presend"));
    let folder = file.parent().unwrap_or(Path::new("."));
    command
        .args([
            "lint",
            "--level",
            "syntax",
            "--fail-on",
            "none",
            "--max-bounces",
            "100%",
        ])
        .arg(format!("--output=jsonl={}", folder.join("findings.jsonl").display()))
        .arg(file);
    let took = process::run(&mut command)?;
    let said = fs::read_to_string(folder.join("findings.jsonl"))?;
    ensure!(
        said.lines()
            .last()
            .is_some_and(|last| last.contains("\"type\":\"summary\"")),
        "no summary"
    );
    Ok(took)
}

type Reader = csv::Reader<fs::File>;

fn read(file: &Path, rows: impl Fn(&mut Reader) -> anyhow::Result<u64>) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let count = rows(&mut csv::Reader::from_path(file)?)?;
    ensure!(count == ROWS, "{count} rows");
    Ok(started.elapsed())
}

/// Different addresses at many domains, every fiftieth broken.
fn write_list(path: &Path, rows: u64) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(fs::File::create(path)?);
    for number in 0..rows {
        let name = if number % 50 == 13 {
            "given..family"
        } else {
            "given.family"
        };
        match number % 4 {
            0 => writeln!(out, "{name}{number}@gmail.com")?,
            _ => writeln!(out, "{name}{number}@company{}.com", number % 9973)?,
        }
    }
    Ok(out.flush()?)
}

/// An export as programs write it.
fn write_table(path: &Path) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(fs::File::create(path)?);
    writeln!(out, "id,first_name,last_name,email,company,city,created_at")?;
    for number in 0..ROWS {
        let name = if number % 50 == 13 {
            "given..family"
        } else {
            "given.family"
        };
        writeln!(
            out,
            "{number},Given{},Family{},{name}{number}@company{}.com,Company {} Ltd,City {},2026-0{}-1{}T09:00:00Z",
            number % 997,
            number % 4999,
            number % 9973,
            number % 9973,
            number % 311,
            number % 9 + 1,
            number % 9
        )?;
    }
    Ok(out.flush()?)
}

#[expect(clippy::cast_precision_loss, reason = "for a table")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Rows a second in the median round.
#[expect(clippy::cast_precision_loss, reason = "for a table")]
fn rate(mut rounds: Vec<Duration>) -> f64 {
    rounds.sort_unstable();
    let median = rounds.get(rounds.len() / 2).map_or(0.0, Duration::as_secs_f64);
    ROWS as f64 / median
}
