//! The whole way of a record, by behaviour.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::flow::tally::Tally;

const NOW_MS: i64 = 1_608_184_360_123;

/// How a record ended.
#[derive(Debug, PartialEq)]
pub enum End {
    Line(String, BTreeMap<&'static str, u64>),
    Filtered,
    Parked(Code),
}

pub struct Bench {
    program: Program,
    pub options: Options,
    _dir: TempDir,
}

impl Bench {
    pub fn new(metadata: &str, filter: &str) -> Bench {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("mthinkingdata:metadata.24.json"), metadata).unwrap();
        fs::write(dir.path().join("mthinkingdata.filter.24.json"), filter).unwrap();
        let program = Program::load(dir.path(), &["24".into()]).unwrap();
        Bench { program, options: Options::default(), _dir: dir }
    }

    fn text(&self, text: &str) -> End {
        self.run(text.as_bytes(), 0)
    }

    fn run(&self, piece: &[u8], k: u32) -> End {
        self.run_in(&mut Transformer::new(self.options.clone()), piece, k)
    }

    pub fn run_in(&self, transformer: &mut Transformer, piece: &[u8], k: u32) -> End {
        let record = Record {
            topic: "mulog_clean_24",
            partition: 0,
            offset: 6_197_511_494,
            timestamp_ms: NOW_MS,
            leader_epoch: 0,
            value: None,
        };
        let mut ready = match transformer.read(&self.program, &record, piece, k, NOW_MS) {
            Verdict::Ready(ready) => ready,
            Verdict::Filtered => return End::Filtered,
            Verdict::Parked(parked) => return End::Parked(parked.code),
        };
        let mut room = vec![0; self.options.max_line_bytes.min(1 << 17)];
        let (mut out, mut tally) = (Out::new(&mut room), Tally::default());
        match ready.emit(&mut out, &mut tally) {
            Ok(()) => {
                let line = String::from_utf8(out.written().to_vec()).unwrap();
                let remarks = tally.named().collect();
                let (mut room, mut again) = (vec![0; line.len()], Tally::default());
                let mut exact = Out::new(&mut room);
                assert_eq!(ready.emit(&mut exact, &mut again), Ok(()), "a line can be written twice");
                assert_eq!((exact.written(), again), (line.as_bytes(), tally));
                End::Line(line.strip_suffix('\n').unwrap().into(), remarks)
            }
            Err(Stop::Parked(parked)) => {
                assert_eq!(tally, Tally::default());
                End::Parked(parked.code)
            }
            Err(Stop::Full) => panic!("the room is as large as any line"),
        }
    }

    /// The properties and remarks of `{"role_id":1, …}`-like logs of one name.
    fn properties(&self, log_name: &str, logs: &str) -> (String, BTreeMap<&'static str, u64>) {
        let text = format!("{{\"headers\":{{\"app_id\":24,\"log_name\":\"{log_name}\"}},\"logs\":{logs}}}");
        match self.text(&text) {
            End::Line(line, remarks) => {
                let at = line.find("\"properties\":").unwrap();
                (line[at + 13..line.len() - 1].into(), remarks)
            }
            end => panic!("{logs}: {end:?}"),
        }
    }
}

fn remarks(pairs: &[(&'static str, u64)]) -> BTreeMap<&'static str, u64> {
    pairs.iter().copied().collect()
}

/// One entry per event type, each with its id and time in `k` and `t`, which are not copied.
fn typed() -> Bench {
    let entry = |kind: &entry::EventType| {
        format!(
            r##"{{ "log_name": "{0}", "event_type": "{0}", "exclude": ["k", "t"], "metadata": {{
                "#account_id": {{ "field": "k" }}, "#time": {{ "field": "t", "default": 1608184300 }},
                "#event_id": {{ "field": "e" }}, "#ip": {{ "field": "ip" }} }} }},"##,
            kind.name()
        )
    };
    Bench::new(&format!("[{}]", entry::EventType::ALL.iter().map(entry).collect::<String>()), "[]")
}

fn one(metadata: &str) -> Bench {
    let source = r##""#account_id": { "field": "k" }, "#time": { "default": 1608184300 }"##;
    Bench::new(&metadata.replace("ID", source), "[]")
}

#[test]
fn types_differ_in_keys_and_in_what_they_keep() {
    let bench = typed();
    let logs = r#"{"k":1,"n":2,"s":"x","l":[1],"z":null}"#;
    let track = bench.text(&format!("{{\"headers\":{{\"app_id\":\"24\",\"log_name\":\"track\"}},\"logs\":{logs}}}"));
    let line = concat!(
        r##"{"#account_id":"1","#distinct_id":"","#event_name":"t_track","#ip":"","#time":"2020-12-17 13:51:40","##,
        r##""#type":"track","properties":{"n":2,"s":"x","l":[1]}}"##
    );
    assert_eq!(track, End::Line(line.into(), remarks(&[("prop_null", 1)])));
    let cases = [
        ("user_set", "{\"n\":2,\"s\":\"x\",\"l\":[1]}", &[("prop_null", 1)][..]),
        ("user_add", "{\"n\":2}", &[("prop_null", 1), ("prop_bad_type", 2)]),
        ("user_append", "{\"l\":[1]}", &[("prop_null", 1), ("prop_bad_type", 2)]),
        ("user_uniq_append", "{\"l\":[1]}", &[("prop_null", 1), ("prop_bad_type", 2)]),
        ("user_unset", "{\"n\":0,\"s\":0,\"l\":0,\"z\":0}", &[]),
        ("user_del", "{}", &[]),
    ];
    for (kind, properties, counted) in cases {
        assert_eq!(bench.properties(kind, logs), (properties.to_string(), remarks(counted)), "{kind}");
    }
    for kind in entry::EventType::ALL {
        let text = format!("{{\"headers\":{{\"app_id\":24,\"log_name\":\"{}\"}},\"logs\":{{\"k\":1}}}}", kind.name());
        let parked = match bench.text(&text) {
            End::Parked(code) => Some(code),
            _ => None,
        };
        let expected = match kind {
            _ if kind.needs_event_id() => Some(Code::E16_EVENT_ID),
            entry::EventType::Track | entry::EventType::UserDel => None,
            _ => Some(Code::E17_EMPTY_PROPS),
        };
        assert_eq!(parked, expected, "{}", kind.name());
    }
}

#[test]
fn numbers_and_strings_keep_their_form() {
    let bench = typed();
    let logs =
        r#"{"k":1, "a" : 9007199254740993,"b":-0,"c":1E3,"d":1e999,"\u0065":"\u0041\/\u0001","f":{"x": [1.50, null]}}"#;
    let (properties, counted) = bench.properties("track", logs);
    assert_eq!(properties, r#"{"a":9007199254740993,"b":-0,"c":1E3,"d":1e999,"e":"A/\u0001","f":{"x":[1.50,null]}}"#);
    assert_eq!(counted, remarks(&[("num_out_of_range", 2)]));
}

#[test]
fn members_are_left_out_by_the_first_reason_alone() {
    let bench = typed();
    let logs = concat!(
        r##"{"k":null,"k":1,"9":null,"_a":1,"#foo":1,"#ip":2,"#os":"x","Ab":1,"aB":2,"AB":3,"x":5,"##,
        r##""x":null,"y":null,"y":6}"##
    );
    let (properties, counted) = bench.properties("track", logs);
    assert_eq!(properties, r##"{"#os":"x","Ab":1,"aB":2,"AB":3,"y":6}"##);
    assert_eq!(counted, remarks(&[("prop_null", 2), ("prop_bad_name", 2), ("prop_case_clash", 2)]));
    let gaps = r#"{"a":1,"k":1,"b":2,"c":null,"d":3,"a-b":4,"e":5, "f":6,"g": 7,"h":8}"#;
    assert_eq!(bench.properties("track", gaps).0, r#"{"a":1,"b":2,"d":3,"e":5,"f":6,"g":7,"h":8}"#);
}

#[test]
fn a_bad_name_can_park_the_record() {
    let mut bench = typed();
    bench.options.fail_bad_property = true;
    let text = |name: &str| format!(r#"{{"headers":{{"app_id":24,"log_name":"track"}},"logs":{{"k":1,"{name}":1}}}}"#);
    assert_eq!(bench.text(&text("a-b")), End::Parked(Code::E19_BAD_PROPERTY));
    assert!(matches!(bench.text(&text("#ip")), End::Line(..)));
}

#[test]
fn limits_are_counted_on_what_is_written() {
    let mut bench = typed();
    let long = "é".repeat(1024);
    let fits = format!("{{\"k\":1,\"s\":\"{long}\"}}");
    assert_eq!(bench.properties("track", &fits).1, remarks(&[]));
    let over = format!("{{\"k\":1,\"s\":\"a{long}\",\"o\":\"\\u0061{long}\"}}");
    assert_eq!(bench.properties("track", &over).1, remarks(&[("str_over_2kb", 2)]));
    bench.options.truncate_long_string = true;
    let cut = format!("a{}", "é".repeat(1023));
    assert_eq!(bench.properties("track", &over).0, format!("{{\"s\":\"{cut}\",\"o\":\"{cut}\"}}"));

    let list = |n: usize, item: &str| format!("{{\"k\":1,\"l\":[{}]}}", vec![item; n].join(","));
    assert_eq!(bench.properties("track", &list(500, "1")).1, remarks(&[]));
    assert_eq!(bench.properties("track", &list(501, "1")).1, remarks(&[("list_over_500", 1)]));
    let item = |n: usize| format!("\"{}\"", "x".repeat(n));
    assert_eq!(bench.properties("track", &list(2, &item(255))).1, remarks(&[]));
    assert_eq!(bench.properties("track", &list(2, &item(256))).1, remarks(&[("list_elem_over_255", 1)]));
    assert_eq!(bench.properties("track", &list(2, "[1]")).1, remarks(&[("list_mixed", 1)]));
    let object = |n: usize| {
        let members: Vec<_> = (0..n).map(|i| format!("\"m{i}\":1")).collect();
        format!("{{\"k\":1,\"o\":{{{},\"m0\":2}}}}", members.join(","))
    };
    assert_eq!(bench.properties("track", &object(100)).1, remarks(&[]));
    assert_eq!(bench.properties("track", &object(101)).1, remarks(&[("obj_over_100", 1)]));
    assert_eq!(bench.properties("user_unset", &over).1, remarks(&[]));
}

#[test]
fn casts_change_the_kind_or_leave_the_property_out() {
    let bench = one(r##"[{ "log_name": "a", "metadata": { ID }, "exclude": ["k"],
            "cast": { "s1": "string", "s2": "string", "s3": "string", "n1": "number", "n2": "number", "n3": "number",
                      "l1": "list", "l2": "list", "l3": "list", "l4": "list" } },
            { "log_name": "add", "event_type": "user_add", "metadata": { ID }, "exclude": ["k"],
              "cast": { "n": "number" } }]"##);
    let logs = concat!(
        r#"{"k":1,"s1":1.50,"s2":true,"s3":[1],"n1":"-1.5e3","n2":" 1","n3":7,"#,
        r#""l1":"\u0061","l2":[2],"l3":{},"l4":false}"#
    );
    let (properties, counted) = bench.properties("a", logs);
    assert_eq!(properties, r#"{"s1":"1.50","s2":"true","n1":-1.5e3,"n3":7,"l1":["a"],"l2":[2],"l4":[false]}"#);
    assert_eq!(counted, remarks(&[("prop_bad_cast", 3)]));
    assert_eq!(bench.properties("add", r#"{"k":1,"n":"9e15","m":"1"}"#).0, r#"{"n":9e15}"#);
}

#[test]
fn templates_fill_in_what_is_missing() {
    let bench = Bench::new(
        r##"[{ "log_name": "a", "metadata": {
            "#account_id": { "field": "null", "default": "{{{s}-{n}-{b}}}" },
            "#distinct_id": { "field": "d", "default": "dev_{x}" },
            "#zone_offset": { "default": 8 }, "#os": { "field": "headers.os" }, "#lib": { "field": "o.p.q" },
            "#fps": { "field": "kafka.offset" }, "#ram": { "field": "", "default": "" },
            "#disk": { "default": true } } }]"##,
        "[]",
    );
    let text = |logs: &str| format!(r#"{{"headers":{{"app_id":24,"log_name":"a","os":"ios"}},"logs":{logs}}}"#);
    let line = |logs: &str| match bench.text(&text(logs)) {
        End::Line(line, _) => line,
        end => panic!("{end:?}"),
    };
    let written = line(r##"{"s":"\"x","n":1.0,"b":true,"x":"","o":{"p":{"q":"deep"}},"#os":null}"##);
    assert!(written.starts_with(r##"{"#account_id":"{\"x-1.0-true}","#distinct_id":"","##), "{written}");
    let properties = concat!(
        r##""x":"","o":{"p":{"q":"deep"}},"#os":"ios","#zone_offset":8,"#lib":"deep","##,
        r##""#fps":6197511494,"#disk":true}}"##
    );
    assert!(written.ends_with(properties), "{written}");
    assert!(line(r#"{"s":1,"n":1,"b":1,"x":"é"}"#).contains(r##""#distinct_id":"dev_é""##));
    for gives_nothing in ["{\"s\":1,\"n\":1}", "{\"s\":1,\"n\":1,\"b\":[]}", "{\"s\":1,\"n\":1,\"b\":null}"] {
        assert_eq!(bench.text(&text(gives_nothing)), End::Parked(Code::E14_NO_ID));
    }
}

#[test]
fn checks_come_in_their_order() {
    let bench = Bench::new(
        r##"[{ "log_name": "a", "metadata": { "#account_id": { "field": "k" }, "#distinct_id": { "field": "d" } } },
            { "log_name": "bad name", "metadata": { "#account_id": { "field": "k" } } }]"##,
        r#"["dropped", "t_gone"]"#,
    );
    let long = "é".repeat(129);
    let logs = |logs: &str| format!(r#"{{"headers":{{"app_id":24,"log_name":"a"}},"logs":{logs}}}"#);
    let headers = |headers: &str| format!(r#"{{"headers":{headers},"logs":{{"k":1}}}}"#);
    let deep = |n: usize| logs(&format!("{{\"k\":1,\"x\":{}{}}}", "[".repeat(n), "]".repeat(n)));
    let cases = [
        (deep(63), Code::E06_DEPTH),
        (deep(63) + "x", Code::E05_JSON),
        ("5".into(), Code::E07_ROOT),
        ("{}".into(), Code::E08_HEADERS),
        (headers("{},\"headers\":null"), Code::E08_HEADERS),
        (headers("{\"app_id\":24}"), Code::E09_LOG_NAME),
        (headers("{\"app_id\":24,\"log_name\":\"\"}"), Code::E09_LOG_NAME),
        (headers(&format!("{{\"app_id\":24,\"log_name\":\"{long}\"}}")), Code::E09_LOG_NAME),
        (headers("{\"log_name\":\"a\"}"), Code::E10_APP_ID),
        (headers("{\"app_id\":24.0,\"log_name\":\"a\"}"), Code::E10_APP_ID),
        (headers("{\"app_id\":\"024\",\"log_name\":\"a\"}"), Code::E10_APP_ID),
        (headers("{\"app_id\":[24],\"log_name\":\"a\"}"), Code::E10_APP_ID),
        (logs("[]"), Code::E11_LOGS),
        (logs("{\"k\":1.5}"), Code::E12_ID_TYPE),
        (logs(&format!("{{\"k\":\"{long}\",\"d\":true}}")), Code::E12_ID_TYPE),
        (logs(&format!("{{\"k\":\"{long}\"}}")), Code::E13_ID_LEN),
        (logs("{\"k\":\"\"}"), Code::E14_NO_ID),
        (headers("{\"app_id\":24,\"log_name\":\"unknown\"}"), Code::E14_NO_ID),
        (headers("{\"app_id\":24,\"log_name\":\"bad name\"}"), Code::E15_EVENT_NAME),
    ];
    for (text, code) in cases {
        assert_eq!(bench.text(&text), End::Parked(code), "{text}");
    }
    assert_eq!(bench.run(b"{\"a\":\"\xff\"", 0), End::Parked(Code::E04_UTF8));
    assert!(matches!(bench.text(&deep(62)), End::Line(..)));
    assert!(matches!(bench.text(&format!("\u{feff}{}", logs("{\"k\":-0}"))), End::Line(..)));
    assert_eq!(bench.text(&format!("\u{feff}\u{feff}{}", logs("{\"k\":1}"))), End::Parked(Code::E05_JSON));
    assert_eq!(bench.text(&headers("{\"app_id\":\"\\u00324\",\"log_name\":\"g\\u006fne\"}")), End::Filtered);
    assert_eq!(bench.text("{\"headers\":{\"app_id\":24,\"log_name\":\"dropped\"}}"), End::Filtered);
}

#[test]
fn ids_are_strings_or_whole_numbers_of_any_length() {
    let bench = typed();
    let id = |token: &str| match bench
        .text(&format!(r#"{{"headers":{{"app_id":24,"log_name":"track"}},"logs":{{"k":{token}}}}}"#))
    {
        End::Line(line, _) => line[15..line.find(",\"#distinct").unwrap()].to_string(),
        end => format!("{end:?}"),
    };
    assert_eq!(id("-0"), "\"-0\"");
    assert_eq!(id("123456789012345678901234567890"), "\"123456789012345678901234567890\"");
    assert_eq!(id("\"\\u0041\\\"\""), "\"A\\\"\"");
    assert_eq!(id(&format!("\"{}\"", "é".repeat(128))), format!("\"{}\"", "é".repeat(128)));
}

#[test]
fn unknown_names_end_as_the_task_says() {
    let star = r##"[{ "log_name": "*", "metadata": { "#account_id": { "field": "k" } } }]"##;
    let mut bench = Bench::new(star, "[]");
    let text = r#"{"headers":{"app_id":24,"log_name":"x"},"logs":{"k":1}}"#;
    assert!(matches!(bench.text(text), End::Line(line, _) if line.contains("\"t_x\"")));
    bench.options.unknown_log_name = UnknownLog::Park;
    assert_eq!(bench.text(text), End::Parked(Code::E20_UNKNOWN_LOG));
    bench.options.unknown_log_name = UnknownLog::Drop;
    assert_eq!(bench.text(text), End::Filtered);
}

#[test]
fn rules_drop_by_what_fields_say() {
    let dropped = |when: &str, logs: &str| {
        let filter = format!("{{\"rules\":[{{\"log_name\":\"*\",\"when\":[{when}]}}]}}");
        let metadata = r##"[{ "log_name": "a", "metadata": { "#account_id": { "default": "x" } } }]"##;
        let text = format!(r#"{{"headers":{{"app_id":24,"log_name":"a"}},"logs":{logs}}}"#);
        Bench::new(metadata, &filter).text(&text) == End::Filtered
    };
    let yes = [
        (r#"{"field":"f","op":"eq","value":1}"#, r#"{"f":1.0}"#),
        (r#"{"field":"f","op":"eq","value":"é"}"#, r#"{"f":"\u00e9"}"#),
        (r#"{"field":"f","op":"ne","value":1}"#, r#"{"f":"1"}"#),
        (r#"{"field":"f","op":"in","value":[9998,9999]}"#, r#"{"f":9999}"#),
        (r#"{"field":"f","op":"not_in","value":[1,"x"]}"#, r#"{"f":true}"#),
        (r#"{"field":"f","op":"gt","value":9007199254740992}"#, r#"{"f":9007199254740993}"#),
        (r#"{"field":"f","op":"ge","value":1e999}"#, r#"{"f":1e1000}"#),
        (r#"{"field":"f","op":"lt","value":0}"#, r#"{"f":-1e-999}"#),
        (r#"{"field":"f","op":"le","value":0}"#, r#"{"f":-0}"#),
        (r#"{"field":"f","op":"prefix","value":"ab"}"#, r#"{"f":"abc"}"#),
        (r#"{"field":"f","op":"exists"}"#, r#"{"f":[]}"#),
        (r#"{"field":"f","op":"missing"}"#, r#"{"f":""}"#),
        (r#"{"field":"f.g","op":"eq","value":1}"#, r#"{"f":{"g":0,"g":1}}"#),
        (r#"{"field":"headers.log_name","op":"eq","value":"a"}"#, "{}"),
        (r#"{"field":"kafka.offset","op":"eq","value":6197511494}"#, "{}"),
        (r#"{"field":"f","op":"exists"},{"field":"g","op":"missing"}"#, r#"{"f":1}"#),
    ];
    for (when, logs) in yes {
        assert!(dropped(when, logs), "{when} {logs}");
    }
    let no = [
        (r#"{"field":"f","op":"eq","value":1}"#, r#"{"f":"1"}"#),
        (r#"{"field":"f","op":"ne","value":1}"#, r#"{"f":null}"#),
        (r#"{"field":"f","op":"not_in","value":[1]}"#, "{}"),
        (r#"{"field":"f","op":"gt","value":0}"#, r#"{"f":"1"}"#),
        (r#"{"field":"f","op":"lt","value":9007199254740993}"#, r#"{"f":9007199254740993}"#),
        (r#"{"field":"f","op":"prefix","value":"1"}"#, r#"{"f":1}"#),
        (r#"{"field":"f","op":"exists"}"#, r#"{"f":""}"#),
        (r#"{"field":"f","op":"missing"}"#, r#"{"f":0}"#),
        (r#"{"field":"f","op":"exists"},{"field":"g","op":"missing"}"#, r#"{"f":1,"g":1}"#),
    ];
    for (when, logs) in no {
        assert!(!dropped(when, logs), "{when} {logs}");
    }
}

#[test]
fn keep_keeps_the_named_alone() {
    let bench = Bench::new("[]", r#"{ "mode": "keep", "names": ["a", "t_b"] }"#);
    let end = |name: &str| bench.text(&format!(r#"{{"headers":{{"app_id":24,"log_name":"{name}"}},"logs":{{}}}}"#));
    assert_eq!([end("a"), end("b"), end("c")].map(|e| e == End::Filtered), [false, false, true]);
}

#[test]
fn addresses_are_kept_as_written_or_left_empty() {
    let bench = typed();
    let ip = |kind: &str, token: &str| {
        let text = format!(r#"{{"headers":{{"app_id":24,"log_name":"{kind}"}},"logs":{{"k":1,"p":1,"ip":{token}}}}}"#);
        let End::Line(line, counted) = bench.text(&text) else { panic!() };
        let at = line.find("\"#ip\":").map(|at| &line[at + 6..]);
        (at.map(|rest| rest[..rest.find(",\"#").unwrap()].to_string()), counted.contains_key("bad_ip"))
    };
    for good in ["203.0.113.7", "2001:DB8::1", "::ffff:1.2.3.4"] {
        assert_eq!(ip("track", &format!("\"{good}\"")), (Some(format!("\"{good}\"")), false));
    }
    for bad in ["\"fe80::1%eth0\"", "\"1.2.3\"", "\"01.2.3.4\"", "7", "[]", "\"1.2.3.4 \""] {
        assert_eq!(ip("track", bad), (Some("\"\"".into()), true), "{bad}");
    }
    assert_eq!(ip("track", "null"), (Some("\"\"".into()), false));
    assert_eq!(ip("user_set", "null"), (None, false));
    assert_eq!(ip("user_set", "\"x\""), (None, true));
    assert_eq!(ip("user_set", "\"::1\""), (Some("\"::1\"".into()), false));
}

#[test]
fn time_falls_back_to_the_default_then_to_kafka_then_to_the_clock() {
    let bench = Bench::new(
        r##"[{ "log_name": "a", "metadata": { "#account_id": { "default": "x" },
              "#time": { "field": "t", "default": "{u}" } } }]"##,
        "[]",
    );
    let time = |logs: &str| match bench.text(&format!(r#"{{"headers":{{"app_id":24,"log_name":"a"}},"logs":{logs}}}"#))
    {
        End::Line(line, counted) => (line[line.find("#time").unwrap() + 8..][..19].to_string(), counted),
        end => panic!("{end:?}"),
    };
    assert_eq!(time(r#"{"t":0,"u":1608184300}"#), ("2020-12-17 13:51:40".into(), remarks(&[])));
    assert_eq!(time(r#"{"t":[],"u":"x"}"#), ("2020-12-17 13:52:40".into(), remarks(&[("time_fallback", 1)])));
    assert_eq!(
        time(r#"{"t":"1999-01-01 00:00:00"}"#),
        ("1999-01-01 00:00:00".into(), remarks(&[("time_out_of_range", 1)]))
    );
}

#[test]
fn a_record_keeps_its_uuid() {
    let mut bench = typed();
    bench.options.add_uuid = true;
    let text = br#"{"headers":{"app_id":24,"log_name":"track"},"logs":{"k":1}}"#;
    let uuid = |k: u32| match bench.run(text, k) {
        End::Line(line, _) => line[line.find("#uuid").unwrap() + 8..][..36].to_string(),
        end => panic!("{end:?}"),
    };
    assert_eq!(uuid(0), "36ec9d64-e38f-4b74-9a35-b57f7c73fc4f");
    assert_ne!(uuid(1), uuid(0));
}

#[test]
fn a_line_too_long_is_told_from_room_too_small() {
    let mut bench = typed();
    let record = Record { topic: "t", partition: 0, offset: 1, timestamp_ms: NOW_MS, leader_epoch: 0, value: None };
    let text = br#"{"headers":{"app_id":24,"log_name":"track"},"logs":{"k":1,"x":12345}}"#;
    let End::Line(line, _) = bench.run(text, 0) else { panic!() };
    let len = line.len() + 1;
    for (max, room, expected) in [(len, len - 1, None), (len - 1, len - 1, Some(())), (len - 1, len, Some(()))] {
        bench.options.max_line_bytes = max;
        let mut transformer = Transformer::new(bench.options.clone());
        let Verdict::Ready(mut ready) = transformer.read(&bench.program, &record, text, 0, NOW_MS) else { panic!() };
        let mut room = vec![0; room];
        let stop = ready.emit(&mut Out::new(&mut room), &mut Tally::default()).unwrap_err();
        match stop {
            Stop::Full => assert_eq!(expected, None),
            Stop::Parked(parked) => assert_eq!((parked.code, expected), (Code::E18_TOO_LARGE_OUT, Some(()))),
        }
    }
}

/// A record whose members are drawn from few names, so that shapes are met, half met and missed.
fn drawn() -> impl Strategy<Value = String> {
    let name =
        prop::sample::select(vec!["k", "ab", "aB", "a-b", "\\u0061b", "#os", "#ip", "x", "long_name_of_a_field"]);
    let value =
        prop::sample::select(vec!["1", "\"s\"", "null", "1e99", "[1, 2]", "{\"a\":1,\"a\":2}", "\"\\n\"", " 7"]);
    let member = (name, value, prop::bool::weighted(0.05))
        .prop_map(|(name, value, blank)| format!("\"{name}\"{}:{value}", if blank { " " } else { "" }));
    let log = prop::sample::select(vec!["track", "user_set", "user_add", "user_unset"]);
    (log, prop::collection::vec(member, 0..7)).prop_map(|(log, members)| {
        let members = members.join(",");
        format!("{{\"headers\":{{\"app_id\":24,\"log_name\":\"{log}\"}},\"logs\":{{{members}}}}}")
    })
}

proptest! {
    #[test]
    fn what_was_read_before_changes_no_line(texts in prop::collection::vec(drawn(), 1..40)) {
        let bench = typed();
        let mut seasoned = Transformer::new(bench.options.clone());
        // Twice in a row is a shape known; all over again, one known and left.
        for text in texts.iter().flat_map(|text| [text, text]).chain(&texts) {
            prop_assert_eq!(bench.run_in(&mut seasoned, text.as_bytes(), 0), bench.text(text));
        }
    }
}
