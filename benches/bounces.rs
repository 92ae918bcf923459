//! How fast a mailbox of bounces is imported, and in how much memory, against mail-parser alone on the same messages.
//!
//! `cargo bench --bench bounces`, or with a number of messages; `--quick` for ten thousand.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::allow_attributes,
    missing_docs,
    reason = "a measurement that meets the unexpected must stop"
)]

mod process;

use std::{
    fs::{self, File},
    hint::black_box,
    io::{BufReader, BufWriter, Write},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use mail_parser::MessageParser;
use presend::bounce::source::Messages;

/// Memory that an import of any size may take.
const MEMORY: u64 = 150 << 20;
/// Messages a second on two cores, when nothing else runs.
const RATE: f64 = 5_000.0;

fn main() {
    let wanted = std::env::args().find_map(|argument| argument.parse().ok());
    let quick = std::env::args().any(|argument| argument == "--quick");
    let count: usize = wanted.unwrap_or(if quick { 10_000 } else { 100_000 });
    let folder = tempfile::tempdir().unwrap();
    let mbox = folder.path().join("bounces.mbox");
    let bytes = write(&mbox, count);
    println!("{count} messages, {:.0} MB", bytes as f64 / 1e6);
    let alone = parse_alone(&mbox);
    report("mail-parser alone, one thread", count, alone);
    let presend = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_presend"));
        command
            .args(["bounces", "import", "--quiet"])
            .args(arguments)
            .arg(&mbox)
            .env("PRESEND_DB", folder.path().join("presend.db"));
        process::run(&mut command).unwrap()
    };
    for (what, arguments) in [
        ("read", &["--dry-run"][..]),
        ("read and kept", &[]),
        ("the same again", &[]),
    ] {
        let took = presend(arguments);
        report(what, count, took.wall);
        println!(
            "    {:.2} of mail-parser's speed, peak {} MB",
            alone.as_secs_f64() / took.wall.as_secs_f64(),
            took.peak >> 20
        );
        assert!(took.peak < MEMORY, "{what}: {} MB", took.peak >> 20);
        let rate = count as f64 / took.wall.as_secs_f64();
        if rate < RATE {
            println!("    below {RATE} a second: is the machine busy?");
        }
    }
}

fn report(what: &str, count: usize, wall: Duration) {
    println!(
        "{what}: {:.0} messages/s, {wall:.2?}",
        count as f64 / wall.as_secs_f64()
    );
}

/// The corpus over and over, every message about somebody else; returns the size.
fn write(path: &Path, count: usize) -> u64 {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora/bounces");
    let mut reports: Vec<String> = fs::read_dir(corpus)
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok())
        .filter(|text| text.contains("@mail.example") && text.contains('\n') && !text.starts_with('#'))
        .collect();
    reports.sort();
    let mut out = BufWriter::new(File::create(path).unwrap());
    for (number, report) in (0..count).zip(reports.iter().cycle()) {
        let report = report.replace("@mail.example", &format!("-{number}@mail.example"));
        out.write_all(b"From MAILER-DAEMON Tue Nov  3 10:00:00 2026\n").unwrap();
        out.write_all(report.as_bytes()).unwrap();
        out.write_all(b"\n").unwrap();
    }
    out.flush().unwrap();
    fs::metadata(path).unwrap().len()
}

/// Splits the mailbox as an import does, and parses every message with all its parts.
fn parse_alone(path: &Path) -> Duration {
    let parser = MessageParser::default();
    let started = Instant::now();
    let mut messages = Messages::new(BufReader::with_capacity(256 << 10, File::open(path).unwrap()), true);
    while let Some(message) = messages.next_message().unwrap() {
        black_box(parser.parse(&message.bytes).map(|message| message.parts.len()));
    }
    started.elapsed()
}
