//! Every reader of hostile bytes, fed with spoilt copies of what it knows. `fuzz/` goes further, with coverage.
//!
//! `PRESEND_FUZZ_SEED` repeats a run, `PRESEND_FUZZ_TIMES` makes it so many times longer (see `fuzz/README.md`).

pub(crate) mod bodies;

use std::{
    env, fs,
    path::{Path, PathBuf},
    thread,
};

use bodies::{TARGETS, Target};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

/// Bytes that mean something to one of the readers.
const SHARP: &[u8] = b"\r\n\t \0@.,;:-+\"'<>[]{}()=#|\\/%!2459\x01\x7f\x80\xc0\xc3\xe2\xef\xbb\xbf\xfe\xff";
/// Longest input: longer ones only take longer.
const LONGEST: usize = 16 << 10;

macro_rules! smoke {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            smoke(stringify!($name));
        })*

        #[test]
        fn every_target_has_seeds_a_smoke_test_and_a_binary() {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!([$(stringify!($name)),*].as_slice(), names);
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            let manifest: toml::Table = fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap().parse().unwrap();
            let built: Vec<&str> = manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap()).collect();
            assert_eq!(built, names);
            let mut folders: Vec<String> = fs::read_dir(root.join("tests/corpora/fuzz"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            folders.sort();
            assert_eq!(folders, names);
            for name in names {
                let source = fs::read_to_string(root.join(format!("fuzz/fuzz_targets/{name}.rs"))).unwrap();
                assert!(source.contains(&format!("run(\"{name}\", bytes)")), "{name}");
            }
        }
    };
}

smoke!(address config dns ehlo events flags lists logs mailbox memories proxy records replies reports requests rules session spf tables workbook world);

/// Feeds the seeds of a target, then spoilt copies of them.
fn smoke(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let seeds = seeds(name);
    let taken = seeds
        .iter()
        .filter(|(path, seed)| feed(target, seed, &path.display().to_string()))
        .count();
    assert!(
        4 * taken >= seeds.len(),
        "{name}: of {} seeds only {taken} get past the reader",
        seeds.len()
    );
    let times: u64 = env::var("PRESEND_FUZZ_TIMES").map_or(1, |times| times.parse().unwrap());
    let first = env::var("PRESEND_FUZZ_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    let mut past = 0;
    for number in 0..target.smoke * times {
        let seed: u64 = u64::wrapping_add(first, number);
        let input = spoilt(&seeds, &mut StdRng::seed_from_u64(seed));
        let again = format!("PRESEND_FUZZ_SEED={seed} cargo test --test suite fuzz::{name}");
        past += usize::from(feed(target, &input, &again));
    }
    eprintln!(
        "{name}: {taken} of {} seeds and {past} of {} spoilt copies got past the reader",
        seeds.len(),
        target.smoke * times
    );
    assert!(past > 0, "{name}: nothing spoilt gets past the reader");
}

/// Runs the body; says how to see a failure again.
fn feed(target: &Target, input: &[u8], again: &str) -> bool {
    struct Witness<'a>(&'a str, &'a [u8]);
    impl Drop for Witness<'_> {
        fn drop(&mut self) {
            if thread::panicking() {
                eprintln!("broken by `{}`\nagain: {}", self.1.escape_ascii(), self.0);
            }
        }
    }
    let _witness = Witness(again, input);
    (target.body)(input)
}

fn seeds(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpora/fuzz")
        .join(name);
    let mut seeds: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(&folder)
        .expect("a folder of seeds")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.clone(), fs::read(path).expect("a seed")))
        .collect();
    seeds.sort();
    assert!(seeds.len() >= 5, "{name}: {} seeds", seeds.len());
    seeds
}

/// A seed with a few changes: noise put in, bytes overwritten, parts doubled, cut out, or taken from another seed.
fn spoilt(seeds: &[(PathBuf, Vec<u8>)], random: &mut StdRng) -> Vec<u8> {
    let any = |random: &mut StdRng| seeds.choose(random).map(|(_, seed)| seed.clone()).unwrap_or_default();
    let mut input = any(random);
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..=input.len());
        let end = random.random_range(at..=input.len().min(at + 64));
        match random.random_range(0..7) {
            0 | 1 => drop(input.splice(at..at, noise(random))),
            2 => drop(input.splice(at..end, noise(random))),
            3 => drop(input.drain(at..end)),
            4 => {
                let part = input[at..end].to_vec();
                let times = random.random_range(1..=8);
                drop(input.splice(at..at, part.repeat(times)));
            }
            5 => {
                let other = any(random);
                let from = random.random_range(0..=other.len());
                drop(input.splice(at.., other[from..].iter().copied()));
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.random_range(0..8);
                }
            }
        }
    }
    input.truncate(LONGEST);
    input
}

fn noise(random: &mut StdRng) -> Vec<u8> {
    let count = random.random_range(1..=12);
    (0..count)
        .map(|_| {
            if random.random() {
                random.random()
            } else {
                *SHARP.choose(random).unwrap_or(&0)
            }
        })
        .collect()
}
