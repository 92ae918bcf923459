//! The bodies of the targets, compiled once for all of them; `tests/suite/fuzz.rs` runs the same.

#[path = "../../tests/suite/fuzz/bodies/mod.rs"]
mod bodies;

/// Feeds `bytes` to a target.
pub fn run(target: &str, bytes: &[u8]) {
    let target = bodies::TARGETS.iter().find(|known| known.name == target);
    (target.expect("the targets are named in one place").body)(bytes);
}
