//! A child process with its wall-clock time and its peak memory.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;

/// How often the peak is read: it only grows, so the last reading before the end is at most this old.
const LOOK: Duration = Duration::from_millis(1);

/// What a process took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) wall: Duration,
    /// Peak resident memory in bytes (`VmHWM`).
    pub(crate) peak: u64,
}

/// Runs a command to its end; its standard error stays away from the table.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<Took> {
    let started = Instant::now();
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let watch = thread::spawn(move || {
        let mut peak = 0;
        // After the end, and before it was waited for, the file has no such line.
        while let Some(now) = high_water_mark(&status) {
            peak = peak.max(now);
            thread::sleep(LOOK);
        }
        peak
    });
    let ended = child.wait()?;
    let wall = started.elapsed();
    ensure!(ended.success(), "{command:?} ended with {ended}");
    let peak = watch.join().unwrap_or(0);
    Ok(Took { wall, peak })
}

fn high_water_mark(status: &str) -> Option<u64> {
    let text = fs::read_to_string(status).ok()?;
    let row = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = row.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
