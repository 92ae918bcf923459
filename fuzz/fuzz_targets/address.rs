#![no_main]

#[expect(dead_code, reason = "each target uses one reader")]
#[path = "../../tests/suite/fuzz/readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::address(bytes));
