//! One body for each fuzz target: what a reader of hostile bytes promises, whatever the bytes. `fuzz/` runs them with coverage,
//! the smoke test beside them without.
//!
//! A body panics when a promise is broken, and says whether the bytes got past the reader: without that nobody would see that a
//! target tests nothing but refusals.

pub(crate) mod address;
mod bounces;
mod config;
mod dns;
mod flags;
mod lists;
mod memories;
mod proxy;
mod records;
mod replies;
mod requests;
mod session;
mod sinks;
mod spf;
mod tables;

/// A reader, and how to feed it.
pub(crate) struct Target {
    /// Its binary in `fuzz/`, and its folder of seeds in `tests/corpora/fuzz`.
    pub(crate) name: &'static str,
    /// Whether the bytes were understood.
    pub(crate) body: fn(&[u8]) -> bool,
    /// Inputs of the smoke test; a debug build needs at most ten seconds for them.
    pub(crate) smoke: u64,
}

/// Every target.
pub(crate) const TARGETS: [Target; 21] = [
    target("address", address::body, 6_000),
    target("config", config::body, 4_000),
    target("dns", dns::body, 300),
    target("ehlo", replies::ehlo, 6_000),
    target("events", bounces::events, 1_500),
    target("flags", flags::body, 6_000),
    target("lists", lists::body, 2_000),
    target("logs", bounces::logs, 2_000),
    target("mailbox", bounces::mailbox, 1_000),
    target("memories", memories::body, 400),
    target("proxy", proxy::body, 1_500),
    target("records", records::body, 1_500),
    target("replies", replies::body, 2_000),
    target("reports", bounces::reports, 1_500),
    target("requests", requests::body, 3_000),
    target("rules", replies::rules, 300),
    target("session", session::body, 400),
    target("spf", spf::body, 2_000),
    target("tables", tables::body, 2_000),
    target("workbook", tables::workbook, 600),
    target("world", config::world, 2_000),
];

const fn target(name: &'static str, body: fn(&[u8]) -> bool, smoke: u64) -> Target {
    Target { name, body, smoke }
}

/// Cuts bytes into pieces, each behind its length in two bytes; what is left over is a piece too. So that a mutation in one
/// piece leaves the others alone.
fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some(([low, high], rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// Fails on anything that a terminal would act on, or that would show text in another order.
fn assert_printable(text: &str) {
    let sharp = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(sharp), "{text:?}");
}
