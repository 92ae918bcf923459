//! gzip and zstd: as files and as streams, and what happens to bombs and damage. Details are tested in `src/input/unpack.rs`.

use std::io::{self, Read, Write};

use flate2::{Compression, write::GzEncoder};
use presend::input::{InputFormat, InputOptions, Packing, Table};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::{open, read, rows};

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

#[test]
fn compressed_lists_are_read_like_others() {
    let csv = b"id;email\n1;\"a@x.org\"\n2;b@x.org\n".as_slice();
    let utf16: Vec<u8> = "\u{FEFF}name,email\nJörg,a@x.org\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let cases: [(&str, &[u8], &[&str]); 6] = [
        ("a.csv.gz", csv, &["2:a@x.org", "3:b@x.org"]),
        ("a.csv", csv, &["2:a@x.org", "3:b@x.org"]),
        ("a", csv, &["2:a@x.org", "3:b@x.org"]),
        ("a.txt.gz", b"a@x.org\n# no\nb@x.org", &["1:a@x.org", "3:b@x.org"]),
        ("a.jsonl.zst", b"{\"email\":\"a@x.org\"}\n", &["1:a@x.org"]),
        ("a.csv.zstd", &utf16, &["2:a@x.org"]),
    ];
    for (name, content, expected) in cases {
        assert_eq!(read(name, &gzip(content)), expected, "{name} as gzip");
        assert_eq!(read(name, &zstd(content)), expected, "{name} as zstd");
    }
}

#[test]
fn streams_are_recognised_too() {
    let packed = zstd(b"a@x.org\nb@x.org\n");
    let mut table = Table::from_reader(&mut packed.as_slice(), "standard input", &InputOptions::default()).unwrap();
    assert_eq!(table.layout().packing, Some(Packing::Zstd));
    assert_eq!(table.layout().format, InputFormat::Text);
    assert_eq!(rows(&mut table), ["1:a@x.org", "2:b@x.org"]);
}

#[test]
fn p7_a_bomb_is_refused_before_it_is_read() {
    // Members follow each other: one of 1 MiB is packed once.
    let member = gzip(&vec![b'x'; 1 << 20]);
    let bomb = [gzip(b"email\na@x.org\n"), member.repeat(65)].concat();
    let error = open("a.csv.gz", &bomb, &InputOptions::default()).unwrap_err();
    assert!(
        error.contains("a.csv.gz`") && error.contains("more than 64 MiB"),
        "{error}"
    );
}

/// One field as long as the rest of the file, from a stream.
#[test]
fn p5_a_huge_field_in_a_stream_costs_one_row() {
    for head in ["email,note\na@x.org,", "email,note\na@x.org,\""] {
        let field = io::repeat(b'x').take(20 << 20);
        let mut stream = head.as_bytes().chain(field).chain(&b"\nb@x.org,\n"[..]);
        let mut table = Table::from_reader(&mut stream, "list", &InputOptions::default()).unwrap();
        let row = table.next_row().unwrap().unwrap();
        let fault = row.fault.unwrap();
        assert!(fault.message.contains("longer than"), "{}", fault.message);
        let row = table.next_row().unwrap().unwrap();
        assert_eq!((row.address(), row.line, &row.fault), ("b@x.org", 3, &None), "{head}");
        assert!(table.next_row().unwrap().is_none());
    }
}
