//! The order of work, step 3: a value's own codec.

use std::io::Write;

use logmill::transform::{Options, ValueCodec};

use super::bench::{Bench, parked};
use super::order::{bench, ids, line, log};
use crate::reference::End;

fn snappy() -> Bench {
    bench(Options { value_codec: ValueCodec::Snappy, ..Options::default() })
}

fn raw(content: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(content).unwrap()
}

fn framed(content: &[u8]) -> Vec<u8> {
    let mut writer = snap::write::FrameEncoder::new(Vec::new());
    writer.write_all(content).unwrap();
    writer.into_inner().unwrap()
}

fn xerial(blocks: &[&[u8]]) -> Vec<u8> {
    let mut value = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01".to_vec();
    for block in blocks {
        let block = raw(block);
        value.extend((block.len() as u32).to_be_bytes());
        value.extend(block);
    }
    value
}

#[test]
fn all_three_framings_are_decoded() {
    let record = ids(r#""a":1"#);
    let (first, second) = record.as_bytes().split_at(20);
    for value in [raw(record.as_bytes()), framed(record.as_bytes()), xerial(&[first, second])] {
        snappy().check(value, line("1", ""));
    }
}

#[test]
fn what_does_not_decode_is_parked() {
    let record = ids(r#""a":1"#);
    let mut broken_sum = framed(record.as_bytes());
    broken_sum[14] ^= 1;
    for good in [raw(record.as_bytes()), framed(record.as_bytes()), xerial(&[record.as_bytes()])] {
        snappy().check(&good[..good.len() - 1], parked("E03_CODEC"));
    }
    snappy().check(broken_sum, parked("E03_CODEC"));
    snappy().check(record, parked("E03_CODEC"));
    snappy().check(&b"\x82SNAPPY\x00\x00\x00"[..], parked("E03_CODEC"));
    bench(Options::default()).check(raw(b"{}"), parked("E05_JSON"));
    bench(Options::default()).check(framed(b"{}"), parked("E04_UTF8"));
}

#[test]
fn too_large_after_decoding_is_parked() {
    let mut bench = bench(Options { value_codec: ValueCodec::Snappy, max_record_bytes: 1000, ..Options::default() });
    let (fits, over) = ([b'['; 1000], [b'['; 1001]);
    for value in [raw(&fits), framed(&fits), xerial(&[&fits[..500], &fits[..500]])] {
        bench.check(value, parked("E05_JSON"));
    }
    for value in [raw(&over), framed(&over), xerial(&[&fits[..500], &over[..501]])] {
        bench.check(value, parked("E03_CODEC"));
    }
    bench.check([0; 1001], parked("E02_TOO_LARGE_IN"));
    bench.check([], parked("E01_EMPTY"));
    let bomb = [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0; 20]].concat();
    bench.check(bomb, parked("E03_CODEC"));
}

#[test]
fn every_line_is_a_record_of_its_own() {
    let lines = [&ids(r#""a":1"#), "", " \t\r", "\u{feff}[]", &log("dropped", "0"), "x", &ids(r#""a":2"#)].join("\n");
    let ends = [line("1", ""), parked("E07_ROOT"), End::Filtered, parked("E05_JSON"), line("2", "")];
    snappy().check_all(&raw(lines.as_bytes()), &ends);
    snappy().check_all(&raw((lines + "\r\n\n").as_bytes()), &ends);
    let bad_line = [&b"[\xff]\n"[..], ids(r#""a":1"#).as_bytes()].concat();
    snappy().check_all(&raw(&bad_line), &[parked("E04_UTF8"), line("1", "")]);
}

#[test]
fn nothing_but_blank_lines_is_empty() {
    for content in [&b""[..], b"\n", b" \n\t\n\r\n"] {
        snappy().check(raw(content), parked("E01_EMPTY"));
    }
}
