//! Every reader of hostile bytes, fed with spoilt copies of what it knows. `fuzz/` goes further, with coverage.

pub(crate) mod readers;

use std::{fs, path::Path};

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::TestRunner,
};

/// Bytes that mean something to one of the readers.
const SHARP: &[u8] = b"\r\n\t \0@.,;:-+\"'<>[]{}()=#|\\/%!2459\x7f\x80\xc3\xe2\xef\xbb\xbf\xfe\xff";

#[test]
fn addresses() {
    spoil("address", 4_000, readers::address);
}

#[test]
fn replies() {
    spoil("replies", 2_000, readers::replies);
}

#[test]
fn ehlo() {
    spoil("ehlo", 4_000, readers::ehlo);
}

#[test]
fn tables() {
    spoil("tables", 2_000, readers::tables);
}

#[test]
fn worlds() {
    spoil("world", 2_000, readers::world);
}

#[test]
fn name_servers() {
    spoil("name_servers", 4_000, readers::name_servers);
}

/// Feeds the seeds of `target`, then `cases` pieces of them with noise between.
fn spoil(target: &str, cases: u32, reader: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpora/fuzz")
        .join(target);
    let mut seeds = Vec::new();
    for entry in fs::read_dir(&folder).expect("a folder of seeds") {
        let seed = fs::read(entry.expect("an entry").path()).expect("a seed");
        reader(&seed);
        seeds.push(seed);
    }
    let noise = vec(prop_oneof![any::<u8>(), select(SHARP)], 0..24);
    let seed = select(seeds);
    let spoilt = (seed.clone(), any::<Index>(), noise, seed, any::<Index>());
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let run = TestRunner::new(config).run(&spoilt, |(head, head_end, noise, tail, tail_start)| {
        let head = &head[..head_end.index(head.len() + 1)];
        let tail = &tail[tail_start.index(tail.len() + 1)..];
        reader(&[head, &noise, tail].concat());
        Ok(())
    });
    if let Err(error) = run {
        panic!("{target}: {error}");
    }
}
