//! The rule by which a record takes its lane.

use logmill::transform::Options;

use super::bench::Bench;

const OFFSET: i64 = 104;

fn check(lanes: u32, field: &str, cases: &[(&str, u32)]) {
    let mut bench = Bench::new("", "", Options::default());
    bench.offset = OFFSET;
    for (value, lane) in cases {
        bench.check_lane(lanes, Some(field), value.as_bytes(), *lane);
    }
}

/// The lane by which `{"k":VALUE}` goes, of ten.
fn check_values(cases: &[(&str, u32)]) {
    for (value, lane) in cases {
        check(10, "k", &[(&format!(r#"{{"k":{value}}}"#), *lane)]);
    }
}

#[test]
fn the_field_is_looked_for_in_three_places() {
    check(
        10,
        "k",
        &[
            (r#"{"logs":{"k":1},"k":2,"data":{"k":3}}"#, 1),
            (r#"{"logs":{"k":null},"k":2,"data":{"k":3}}"#, 2),
            (r#"{"logs":1,"k":null,"data":{"k":3}}"#, 3),
            (r#"{"data":{"k":3}}"#, 3),
            (r#"{"logs":{"k":1},"logs":{"k":5}}"#, 5),
            (r#"{"logs":{"k":1},"logs":{},"k":2}"#, 2),
            (r#"{"\u006cogs":{"\u006b":7}}"#, 7),
            ("\u{feff} {\"k\" : 2 } ", 2),
            // A bool, list or object is there, and no key: the offset decides.
            (r#"{"logs":{"k":true},"k":2}"#, 4),
            (r#"{"logs":{"k":[1]},"k":2}"#, 4),
            (r#"{"logs":{"k":{}},"k":2}"#, 4),
        ],
    );
    check(
        10,
        "a.k",
        &[
            (r#"{"logs":{"a":{"k":1}},"a":{"k":2}}"#, 1),
            (r#"{"logs":{"a":1},"a":{"k":2}}"#, 2),
            (r#"{"logs":{"a":{}},"data":{"a":{"k":3}}}"#, 3),
        ],
    );
}

#[test]
fn integers_go_by_their_value() {
    check_values(&[("35432", 2), ("-1", 9), ("-10", 0), ("0", 0), ("-0", 0), ("9223372036854775807", 7)]);
    check(7, "k", &[(r#"{"k":-15}"#, 6), (r#"{"k":15}"#, 1)]);
}

#[test]
fn beyond_64_bits_the_decimal_text_counts() {
    check_values(&[
        ("9223372036854775809", 9),
        ("-123456789012345678901234567893", 7),
        (r#""99999999999999999999998""#, 8),
    ]);
    // 10^30 mod 7 = 1
    check(
        7,
        "k",
        &[(r#"{"k":1000000000000000000000000000000}"#, 1), (r#"{"k":"-1000000000000000000000000000000"}"#, 6)],
    );
    check(7, "k", &[(r#"{"k":1e30}"#, 1), (r#"{"k":1e300}"#, 1), (r#"{"k":"1e308x"}"#, 2)]);
}

#[test]
fn numbers_are_cut_toward_zero() {
    check_values(&[
        ("7.9", 7),
        ("-7.9", 3),
        ("0.9", 0),
        ("-0.9", 0),
        ("1.25e1", 2),
        ("125e-1", 2),
        ("-125e-1", 8),
        ("99e-5", 0),
        ("1e-400", 0),
        ("12E+0", 2),
        ("1.5E2", 0),
        ("1.56E2", 6),
    ]);
}

#[test]
fn text_goes_by_the_number_it_begins_with() {
    check_values(&[
        (r#""35432""#, 2),
        (r#""12abc""#, 2),
        (r#"" 12""#, 2),
        (r#""\t\n\u000b\f\r 13""#, 3),
        (r#""+14""#, 4),
        (r#""-1""#, 9),
        (r#"".9""#, 0),
        (r#""5.""#, 5),
        (r#""5.x""#, 5),
        (r#""007""#, 7),
        (r#""1e1x""#, 0),
        (r#""13e""#, 3),
        (r#""13e+""#, 3),
        (r#""13e-1""#, 1),
        (r#""1e3""#, 0),
        (r#""\u0031\u0032""#, 2),
        (r#""0x1F""#, 0),
        (r#""1.5.7""#, 1),
        (r#""12e 3""#, 2),
        (r#""1_000""#, 1),
        (r#""-7.5e0001""#, 5),
    ]);
}

#[test]
fn other_text_goes_by_its_hash() {
    // FNV-1a-64: of "" 14695981039346656037, of "a" 12638187200555641996, of "foobar" 9625390261332436968.
    check_values(&[(r#""""#, 7), (r#""a""#, 6), (r#""foobar""#, 8), (r#""\u0061""#, 6)]);
    check_values(&[
        (r#""x12""#, 8),
        (r#""-""#, 6),
        (r#"".""#, 9),
        (r#""+.e5""#, 8),
        (r#"" ""#, 3),
        (r#""你""#, 2),
        (r#""\u4f60""#, 2),
        (r#""--1""#, 2),
        (r#""\u00a01""#, 2),
        (r#""e5""#, 7),
    ]);
}

#[test]
fn an_exponent_above_308_goes_by_the_hash() {
    check_values(&[
        (r#"1e309"#, 1),
        (r#""1e309""#, 1),
        (r#"0E+309"#, 9),
        (r#""1e99999999999999999999x""#, 5),
        (r#"" 2e400""#, 8),
        (r#"-1E0309"#, 2),
        ("1e308", 0),
        ("13e-309", 0),
    ]);
}

#[test]
fn without_a_key_the_offset_decides() {
    check(
        10,
        "k",
        &[
            ("{}", 4),
            (r#"{"k":null}"#, 4),
            (r#"{"k":true}"#, 4),
            (r#"{"k":[]}"#, 4),
            (r#"{"k":{}}"#, 4),
            (r#"{"K":1}"#, 4),
            ("[1]", 4),
            ("1", 4),
            ("", 4),
            ("{", 4),
            (r#"{"k":1"#, 4),
            (r#"{"k":1}x"#, 4),
            (r#"{"k":1,"x":"\ud800"}"#, 4),
            (r#"{"k":1,"x":01}"#, 4),
        ],
    );
    let mut bench = Bench::new("", "", Options::default());
    bench.offset = OFFSET;
    bench.check_lane(10, Some("k"), b"{\"k\":1,\"x\":\"\xff\"}", 4);
}

#[test]
fn without_a_rule_the_partition_decides() {
    let mut bench = Bench::new("", "", Options::default());
    bench.partition = 13;
    bench.check_lane(10, None, br#"{"k":1}"#, 3);
}
