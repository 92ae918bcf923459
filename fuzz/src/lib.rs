//! The bodies of the targets, compiled once for all of them; `tests/suite/fuzz.rs` runs the same.

#[path = "../../tests/suite/fuzz/bodies/mod.rs"]
mod bodies;

use std::{panic, process, sync::Once};

/// Feeds `bytes` to a target. A panic that nobody catches is a finding; libfuzzer-sys takes every panic for one, and presend
/// catches those of a parser of workbooks.
pub fn run(target: &str, bytes: &[u8]) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| drop(panic::take_hook()));
    let target = bodies::TARGETS.iter().find(|known| known.name == target);
    let body = target.expect("the targets are named in one place").body;
    if panic::catch_unwind(|| body(bytes)).is_err() {
        process::abort();
    }
}
