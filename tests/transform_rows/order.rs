//! The order of work: every step's check, and which of two failures wins.

use logmill::transform::{Options, UnknownLog};

use super::bench::{Bench, parked, with_members, written};
use crate::reference::End;

/// Two ids, an event id for updates, an ip; nothing else is copied.
const METADATA: &str = r##"[
  {"log_name":"e","exclude":["a","d","t","ip"],"metadata":{"#account_id":{"field":"a"},"#distinct_id":{"field":"d"},
    "#time":{"field":"t"},"#ip":{"field":"ip"}}},
  {"log_name":"bad name","metadata":{"#account_id":{"field":"a"},"#distinct_id":{"field":"d"}}},
  {"log_name":"up","event_type":"track_update","exclude":["a","v"],
    "metadata":{"#account_id":{"field":"a"},"#event_id":{"field":"v"}}},
  {"log_name":"over","event_type":"track_overwrite","exclude":["a","v"],
    "metadata":{"#account_id":{"field":"a"},"#event_id":{"field":"v"}}},
  {"log_name":"user","event_type":"user_set","exclude":["a"],"metadata":{"#account_id":{"field":"a"}}}
]"##;

const FILTER: &str = r#"{"names":["dropped"],"rules":[{"when":[{"field":"x","op":"eq","value":"drop"}]}]}"#;

pub fn bench(options: Options) -> Bench {
    Bench::new(METADATA, FILTER, options)
}

pub fn log(name: &str, logs: &str) -> String {
    format!(r#"{{"headers":{{"app_id":24,"log_name":"{name}"}},"logs":{logs}}}"#)
}

#[track_caller]
fn check(value: impl AsRef<[u8]>, end: End) {
    bench(Options::default()).check(value, end);
}

#[test]
fn step_1_there_is_a_value() {
    check("", parked("E01_EMPTY"));
    bench(Options::default()).check_value(None, &[parked("E01_EMPTY")]);
    check(" ", parked("E05_JSON"));
}

#[test]
fn step_2_the_value_is_not_too_large() {
    let value = log("e", r#"{"a":1}"#);
    let mut bench = bench(Options { max_record_bytes: value.len(), ..Options::default() });
    bench.timestamp_ms = 1_608_184_360_123;
    bench.check(value.clone() + " ", parked("E02_TOO_LARGE_IN"));
    let line = r##"{"#account_id":"1","#distinct_id":"","#event_name":"t_e","#ip":"","#time":"2020-12-17 13:52:40","##;
    bench.check(value, written(&format!(r##"{line}"#type":"track","properties":{{}}}}"##), &[("time_fallback", 1)]));
    check(vec![b'['; 1_048_577], parked("E02_TOO_LARGE_IN"));
}

#[test]
fn step_4_bom_and_utf_8() {
    check(["\u{feff}", &log("dropped", "0")].concat(), End::Filtered);
    check(["\u{feff}\u{feff}", &log("dropped", "0")].concat(), parked("E05_JSON"));
    for bytes in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe4\xbd", b"\xf8\x88\x80\x80\x80"]
    {
        check([b"{\"x\":\"", bytes, b"\"}"].concat(), parked("E04_UTF8"));
        check([b"[1,}", bytes].concat(), parked("E04_UTF8"));
    }
}

#[test]
fn step_5_json() {
    let texts = [
        "{",
        "}",
        "[1,]",
        "{\"a\":1,}",
        "[1 2]",
        "{\"a\" 1}",
        "{a:1}",
        "{'a':1}",
        "[01]",
        "[-]",
        "[+1]",
        "[1.]",
        "[.5]",
        "[1e]",
        "[1e+]",
        "[0x10]",
        "[NaN]",
        "[Infinity]",
        "[-Infinity]",
        "[nul]",
        "[True]",
        "[\"\\x\"]",
        "[\"\\u12g4\"]",
        "[\"\\u123\"]",
        "[\"\n\"]",
        "[\"\u{0}\"]",
        "[\"\u{1f}\"]",
        "[\"a]",
        "[\"\\ud800\"]",
        "[\"\\udc00\"]",
        "[\"\\ud800\\ud800\"]",
        "[\"\\ud800x\"]",
        "[\"\\udc00\\ud800\"]",
        "[\"\\ud800\\n\"]",
        "[] []",
        "[],",
        "[]x",
        "[]\u{b}",
        "[\u{a0}]",
        "// c\n[]",
        "[1]/**/",
        "{\"a\":1:2}",
        "{1:2}",
        "[1]\u{0}",
        "[-01]",
        "[1..2]",
        "[--1]",
        "[\"\\\"]",
    ];
    for text in texts {
        check(text, parked("E05_JSON"));
    }
    for text in ["null", " [] \t\r\n", "\"\\ud83d\\ude00\"", "1e999", "-0", "[\"\u{7f}\"]"] {
        check(text, parked("E07_ROOT"));
    }
}

#[test]
fn step_5_holds_for_ignored_and_overwritten_members() {
    let dropped = log("dropped", "0");
    let around = |member: &str| dropped.replacen('{', &format!("{{{member},"), 1);
    check(around(r#""x":{"y":[1.5,"\ud83d\ude00"]}"#), End::Filtered);
    check(around(r#""x":{"y":[1.5,"\ud83d"]}"#), parked("E05_JSON"));
    check(around(r#""headers":{"y":01}"#), parked("E05_JSON"));
    check(around(r#""\udead":1"#), parked("E05_JSON"));
}

fn nested(depth: usize) -> String {
    format!(r#"{{"x":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1))
}

#[test]
fn step_6_nesting() {
    check(nested(64), parked("E08_HEADERS"));
    check(nested(65), parked("E06_DEPTH"));
    check(r#"{"a":"#.repeat(64) + "1" + &"}".repeat(64), parked("E08_HEADERS"));
    check(r#"{"a":"#.repeat(65) + "1" + &"}".repeat(65), parked("E06_DEPTH"));
    check(format!(r#"{{"x":{:?}}}"#, "[".repeat(100)), parked("E08_HEADERS"));
    check("[".repeat(65) + &"]".repeat(65), parked("E06_DEPTH"));
    check(&nested(65)[..120], parked("E05_JSON"));
    check(nested(65) + "x", parked("E05_JSON"));
    check("[".repeat(1 << 20), parked("E05_JSON"));
    check("[".repeat(1 << 19) + &"]".repeat(1 << 19), parked("E06_DEPTH"));
    check(r#"{"a":"#.repeat(1 << 17), parked("E05_JSON"));
}

#[test]
fn step_6_holds_for_ignored_and_overwritten_members() {
    let deep = "[".repeat(64) + &"]".repeat(64);
    check(log("dropped", "0").replacen('{', &format!(r#"{{"x":{deep},"#), 1), parked("E06_DEPTH"));
    check(log("dropped", "0").replacen('{', &format!(r#"{{"logs":{deep},"#), 1), parked("E06_DEPTH"));
}

#[test]
fn step_7_the_root_is_an_object() {
    for text in ["[]", "1", "null", "true", r#""x""#, r#"[{"headers":{}}]"#] {
        check(text, parked("E07_ROOT"));
    }
    let last_counts = r#"{"headers":1,"logs":1,"headers":{"app_id":24,"log_name":"dropped"},"more":[]}"#;
    check(last_counts, End::Filtered);
    check(r#"{"headers":{"app_id":24,"log_name":"dropped"},"headers":1}"#, parked("E08_HEADERS"));
    check(r#"{"\u0068eaders":{"app_id":24,"log_name":"dropped"}}"#, End::Filtered);
}

#[test]
fn step_8_headers_is_an_object() {
    for headers in ["null", "[]", "1", r#""x""#, "true"] {
        check(format!(r#"{{"headers":{headers},"logs":{{}}}}"#), parked("E08_HEADERS"));
    }
    check("{}", parked("E08_HEADERS"));
}

#[test]
fn step_9_log_name_is_a_string_of_1_to_128_characters() {
    for name in ["null", "1", "true", "[]", "{}", r#""""#] {
        check(format!(r#"{{"headers":{{"log_name":{name}}}}}"#), parked("E09_LOG_NAME"));
    }
    check(r#"{"headers":{"app_id":24}}"#, parked("E09_LOG_NAME"));
    check(format!(r#"{{"headers":{{"app_id":1,"log_name":"{}"}}}}"#, "你".repeat(129)), parked("E09_LOG_NAME"));
    check(format!(r#"{{"headers":{{"app_id":1,"log_name":"{}"}}}}"#, "你".repeat(128)), parked("E10_APP_ID"));
    check(format!(r#"{{"headers":{{"app_id":1,"log_name":"{}"}}}}"#, r"\u4f60".repeat(128)), parked("E10_APP_ID"));
    check(format!(r#"{{"headers":{{"app_id":1,"log_name":"{}"}}}}"#, "😀".repeat(128)), parked("E10_APP_ID"));
    check(r#"{"headers":{"app_id":24,"log_name":1,"log_\u006eame":"dropped"}}"#, End::Filtered);
}

#[test]
fn step_10_app_id_names_loaded_settings() {
    for app_id in ["24", r#""24""#, r#""\u0032\u0034""#, r#"1,"app_id":24"#] {
        check(format!(r#"{{"headers":{{"log_name":"dropped","app_id":{app_id}}}}}"#), End::Filtered);
    }
    let bad =
        ["24.0", r#""024""#, "25", "2.4e1", "-24", r#"" 24""#, r#""24.0""#, "null", "true", "[24]", r#""""#, "240"];
    for app_id in bad {
        check(format!(r#"{{"headers":{{"log_name":"dropped","app_id":{app_id}}}}}"#), parked("E10_APP_ID"));
    }
    check(r#"{"headers":{"log_name":"dropped"}}"#, parked("E10_APP_ID"));
}

#[test]
fn step_11_comes_before_logs_is_looked_at() {
    check(r#"{"headers":{"app_id":24,"log_name":"dropped"}}"#, End::Filtered);
    check(log("dropped", "null"), End::Filtered);
}

#[test]
fn step_12_logs_is_an_object() {
    for logs in ["null", "[]", "1", r#""x""#, "true"] {
        check(log("e", logs), parked("E11_LOGS"));
    }
    check(r#"{"headers":{"app_id":24,"log_name":"e"}}"#, parked("E11_LOGS"));
    check(log("e", r#"{"a":1},"logs":0"#), parked("E11_LOGS"));
}

#[test]
fn step_13_rules_come_before_ids() {
    check(log("e", r#"{"a":1.5,"x":"drop"}"#), End::Filtered);
    check(log("e", r#"{"x":"drop"}"#), End::Filtered);
    check(log("e", r#"{"a":1.5,"x":"keep"}"#), parked("E12_ID_TYPE"));
}

pub fn line(account_id: &str, distinct_id: &str) -> End {
    let head =
        format!(r##"{{"#account_id":"{account_id}","#distinct_id":"{distinct_id}","#event_name":"t_e","#ip":"","##);
    let line = format!(r##"{head}"#time":"2020-12-17 13:50:43","#type":"track","properties":{{}}}}"##);
    written(&line, &[])
}

pub fn ids(ids: &str) -> String {
    log("e", &format!(r#"{{"t":1608184243,{ids}}}"#))
}

#[test]
fn step_14_ids_are_strings_or_integers() {
    check(ids(r#""a":"x","d":7"#), line("x", "7"));
    check(ids(r#""a":-0,"d":-12"#), line("-0", "-12"));
    check(ids(r#""a":123456789012345678901234567890"#), line("123456789012345678901234567890", ""));
    check(ids(r#""a":" ""#), line(" ", ""));
    for id in ["1.5", "1.0", "1e3", "1E3", "true", "false", "[]", "{}", "[1]"] {
        check(ids(&format!(r#""a":{id},"d":"x""#)), parked("E12_ID_TYPE"));
        check(ids(&format!(r#""a":"x","d":{id}"#)), parked("E12_ID_TYPE"));
    }
}

#[test]
fn step_15_ids_have_at_most_128_characters() {
    let (ok, long) = ("你".repeat(128), "你".repeat(129));
    check(ids(&format!(r#""a":"{ok}","d":"{}""#, r"\u4f60".repeat(128))), line(&ok, &ok));
    check(ids(&format!(r#""a":"{long}""#)), parked("E13_ID_LEN"));
    check(ids(&format!(r#""a":1,"d":"{}""#, r"\u4f60".repeat(129))), parked("E13_ID_LEN"));
    check(ids(&format!(r#""a":{}"#, "1".repeat(129))), parked("E13_ID_LEN"));
    check(ids(&format!(r#""a":{0}"#, "1".repeat(128))), line(&"1".repeat(128), ""));
}

#[test]
fn step_15_follows_step_14_for_both_ids() {
    check(ids(&format!(r#""a":"{}","d":1.5"#, "x".repeat(129))), parked("E12_ID_TYPE"));
}

#[test]
fn step_16_one_id_is_not_empty() {
    for both in [r#""a":"""#, r#""a":null,"d":"""#, r#""x":1"#] {
        check(ids(both), parked("E14_NO_ID"));
    }
    check(log("bad name", "{}"), parked("E14_NO_ID"));
    check(log("bad name", r#"{"d":false}"#), parked("E12_ID_TYPE"));
}

#[test]
fn step_17_event_names_of_tracks() {
    check(log("bad name", r#"{"a":1}"#), parked("E15_EVENT_NAME"));
    let named = |name: &str, event_type: &str| {
        let metadata = format!(
            r##"[{{"log_name":"e","event_name":"{name}","event_type":"{event_type}","exclude":["id","t"],
            "metadata":{{"#account_id":{{"field":"id"}},"#time":{{"field":"t"}}}}}}]"##
        );
        Bench::new(&metadata, "", Options::default())
    };
    for name in ["9a", "_a", "a-b", "a b", "é", "#a", &format!("a{}", "b".repeat(50))] {
        named(name, "track").check(with_members(r#""p":1"#), parked("E15_EVENT_NAME"));
        named(name, "track_update").check(with_members(r#""p":1"#), parked("E15_EVENT_NAME"));
        named(name, "user_set").check_members("user_set", r#""p":1"#, r#""p":1"#, &[]);
    }
    let n50 = format!("A{}", "_".repeat(49));
    let head = format!(r##"{{"#account_id":"1","#distinct_id":"","#event_name":"{n50}","#ip":"","##);
    let line = format!(r##"{head}"#time":"2020-12-17 13:50:43","#type":"track","properties":{{"p":1}}}}"##);
    named(&n50, "track").check(with_members(r#""p":1"#), written(&line, &[]));
}

#[test]
fn step_18_updates_have_an_event_id() {
    for (name, event_type) in [("up", "track_update"), ("over", "track_overwrite")] {
        for id in ["1.5", "true", "[]", "{}", "null", r#""""#, "1e3"] {
            check(log(name, &format!(r#"{{"a":1,"v":{id}}}"#)), parked("E16_EVENT_ID"));
        }
        check(log(name, r#"{"a":1}"#), parked("E16_EVENT_ID"));
        for (id, text) in [("7", "7"), ("-0", "-0"), (r#""x y""#, "x y")] {
            let head =
                format!(r##"{{"#account_id":"1","#distinct_id":"","#event_id":"{text}","#event_name":"t_{name}","##);
            let tail =
                format!(r##""#ip":"","#time":"2020-12-17 13:52:40","#type":"{event_type}","properties":{{}}}}"##);
            let value = log(name, &format!(r#"{{"a":1,"v":{id}}}"#));
            check(value, written(&(head + &tail), &[("time_fallback", 1)]));
        }
    }
}

#[test]
fn step_19_ip() {
    let line = |ip: &str| {
        let head = format!(r##"{{"#account_id":"1","#distinct_id":"","#event_name":"t_e","#ip":"{ip}","##);
        format!(r##"{head}"#time":"2020-12-17 13:50:43","#type":"track","properties":{{}}}}"##)
    };
    let good =
        "203.0.113.7 0.0.0.0 255.255.255.255 :: ::1 2001:db8::1 2001:DB8:0:0:0:0:0:1 ::ffff:1.2.3.4 1:2:3:4:5:6:7:8";
    for ip in good.split(' ') {
        check(log("e", &format!(r#"{{"a":1,"t":1608184243,"ip":"{ip}"}}"#)), written(&line(ip), &[]));
    }
    let bad = "256.0.0.1|1.2.3|1.2.3.4.5|01.2.3.4|1.2.3.4 | 1.2.3.4|fe80::1%eth0|[::1]|1:2:3:4:5:6:7|:::|12345::|\
        1.2.3.4:80|\
        ::1/128|localhost|1.2.3.-4|0x1.2.3.4|::1.2.3|1::2::3|１.2.3.4|g::1|1.2.3.4::";
    for ip in bad.split('|') {
        let value = log("e", &format!(r#"{{"a":1,"t":1608184243,"ip":"{ip}"}}"#));
        check(value, written(&line(""), &[("bad_ip", 1)]));
    }
    for ip in ["1", "true", "[]", "{}", "16909060"] {
        let value = log("e", &format!(r#"{{"a":1,"t":1608184243,"ip":{ip}}}"#));
        check(value, written(&line(""), &[("bad_ip", 1)]));
    }
    for missing in ["null", r#""""#] {
        let value = log("e", &format!(r#"{{"a":1,"t":1608184243,"ip":{missing}}}"#));
        check(value, written(&line(""), &[]));
    }
}

#[test]
fn step_21_users_have_a_property() {
    for properties in ["", r#","_b":1"#, r#","n":null"#] {
        check(log("user", &format!(r#"{{"a":1{properties}}}"#)), parked("E17_EMPTY_PROPS"));
    }
    for event_type in ["user_setOnce", "user_add", "user_append", "user_uniq_append", "user_unset"] {
        Bench::entry(event_type, "", Options::default()).check(with_members(""), parked("E17_EMPTY_PROPS"));
    }
    Bench::entry("user_del", "", Options::default()).check_members("user_del", "", "", &[]);
    Bench::entry("track", "", Options::default()).check_members("track", "", "", &[]);
}

#[test]
fn step_22_the_line_is_not_too_large() {
    let line = r##"{"#account_id":"1","#distinct_id":"","#event_name":"t_e","#ip":"","#time":"2020-12-17 13:50:43","##;
    let line = format!(r##"{line}"#type":"track","properties":{{"b":"\u0001"}}}}"##);
    let with = |max_line_bytes| bench(Options { max_line_bytes, ..Options::default() });
    let value = log("e", r#"{"a":1,"t":1608184243,"b":"\u0001"}"#);
    with(line.len() + 1).check(&value, written(&line, &[]));
    with(line.len()).check(&value, parked("E18_TOO_LARGE_OUT"));
    with(1).check(&value, parked("E18_TOO_LARGE_OUT"));
    with(1).check(log("user", r#"{"a":1}"#), parked("E17_EMPTY_PROPS"));
}

#[test]
fn unknown_logs_go_to_the_entry_or_park_or_are_dropped() {
    let star = r##"[{"log_name":"known","metadata":{"#account_id":{"field":"a"}}},
        {"log_name":"*","exclude":["a","t"],"metadata":{"#account_id":{"field":"a"},"#time":{"field":"t"}}}]"##;
    let with =
        |metadata: &str, unknown_log_name| Bench::new(metadata, "", Options { unknown_log_name, ..Options::default() });
    let value = log("e", r#"{"a":1,"t":1608184243}"#);
    with(star, UnknownLog::Entry).check(&value, line("1", ""));
    with(star, UnknownLog::Park).check(&value, parked("E20_UNKNOWN_LOG"));
    with(star, UnknownLog::Drop).check(&value, End::Filtered);
    let alone = r#"[{"log_name":"known"}]"#;
    with(alone, UnknownLog::Entry).check(&value, parked("E14_NO_ID"));
    with(alone, UnknownLog::Entry).check(log("e", "0"), parked("E11_LOGS"));
    with(alone, UnknownLog::Park).check(log("e", "0"), parked("E20_UNKNOWN_LOG"));
    with(alone, UnknownLog::Drop).check(log("e", "0"), End::Filtered);
    with("", UnknownLog::Entry).check(&value, parked("E14_NO_ID"));
    with(star, UnknownLog::Park).check(log("known", r#"{"a":""}"#), parked("E14_NO_ID"));
}

#[test]
fn of_two_failures_the_first_wins() {
    let long_name = "x".repeat(129);
    let cases = [
        (r#"{"headers":{"log_name":"","app_id":1}}"#.to_string(), "E09_LOG_NAME"),
        (r#"{"headers":{"log_name":"e","app_id":1},"logs":0}"#.to_string(), "E10_APP_ID"),
        (log(&long_name, "0"), "E09_LOG_NAME"),
        (log("bad name", "0"), "E11_LOGS"),
        (log("bad name", r#"{"a":1.5}"#), "E12_ID_TYPE"),
        (log("bad name", &format!(r#"{{"a":"{long_name}"}}"#)), "E13_ID_LEN"),
        (log("bad name", r#"{"a":""}"#), "E14_NO_ID"),
        (log("up", r#"{"v":""}"#), "E14_NO_ID"),
    ];
    for (value, code) in cases {
        check(value, parked(code));
    }
    let metadata = r##"[{"log_name":"e","event_name":"9","event_type":"track_update",
        "metadata":{"#account_id":{"field":"a"}}}]"##;
    Bench::new(metadata, "", Options::default()).check(log("e", r#"{"a":1}"#), parked("E15_EVENT_NAME"));
    let options = Options { fail_bad_property: true, max_line_bytes: 1, ..Options::default() };
    bench(options.clone()).check(log("user", r#"{"a":1,"_b":1}"#), parked("E19_BAD_PROPERTY"));
    bench(options.clone()).check(log("up", r#"{"a":1,"_b":1}"#), parked("E16_EVENT_ID"));
    bench(options).check(log("user", r#"{"a":1,"b":1}"#), parked("E18_TOO_LARGE_OUT"));
}

#[test]
fn counters_rise_only_with_a_written_record() {
    let value = log("user", r#"{"a":1,"_b":1,"n":null}"#);
    check(value, parked("E17_EMPTY_PROPS"));
    let value = log("e", r#"{"a":1,"_b":1,"n":null,"t":0,"ip":"x"}"#);
    bench(Options { max_line_bytes: 20, ..Options::default() }).check(value, parked("E18_TOO_LARGE_OUT"));
}
