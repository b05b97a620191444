//! Settings files: comment-JSON, metadata entries, fields, defaults, casts.

use logmill::transform::Options;

use super::bench::{Bench, parked, refused, with_members, written};
use crate::reference::fast::{self, Files};

fn bench(metadata: &str) -> Bench {
    Bench::new(metadata, "", Options::default())
}

#[test]
fn comment_json_is_accepted() {
    let entry = r##"{"log_name":"e","exclude":["id","t"],"metadata":{"#account_id":{"field":"id"},
        "#time":{"field":"t"},"#zone_offset":{"field":"null","default": 24 @@ }@@@@}}"##;
    let fill = |inner: &str, trailing: &str| {
        format!("[{}]", entry.replace(" @@ ", inner).replace("@@@@", trailing)).replace("{\"log", "\n{\"log")
    };
    let cases = [
        fill("", ""),
        fill("", ","),
        fill(" # c\n", " # c } ] , \" '\n"),
        fill("// c\r\n", "// /* c\n"),
        fill("/**/", ", /* , } \n * / // # \" */"),
        fill("/* a *//* b */", " /*/ c */"),
        fill("# c\r\n # d\n", ", # e\n"),
        format!("\u{feff}{}", fill("", "")),
        format!("# c\n\n// c\n/* c */ {} # last", fill("\n\n", ",\n")),
        format!("{}// last", fill("", "")),
        format!("{}/* last */", fill("\t", "\n")),
        fill("", "").replace("]}", "],}").replace("}]", "},]").replace("\"t\"]", "\"t\" , ]"),
    ];
    for metadata in cases {
        bench(&metadata).check_members("track", r#""a":1"#, r##""a":1,"#zone_offset":24"##, &[]);
    }
}

#[test]
fn comment_marks_inside_strings_are_text() {
    let metadata = r##"[{"log_name":"e","exclude":["id","t"],"metadata":{"#account_id":{"field":"id"},
        "#time":{"field":"t"},"#os":{"default":"http://x # /* \" // */ ,] ,}}"}}}]"##;
    bench(metadata).check_members("track", "", r##""#os":"http://x # /* \" // */ ,] ,}""##, &[]);
}

#[test]
fn anything_else_is_an_error_with_its_place() {
    let at = |metadata: &str, line: usize, column: usize| {
        let (l, c, message) = refused(metadata, "").remove(0);
        assert_eq!((l, c), (line, column), "{metadata}: {message}");
        assert!(message.contains("mthinkingdata:metadata.24.json"), "{message}");
    };
    at("[\n  {log_name: \"e\"}]", 2, 4);
    at("[\n  {'log_name': 'e'}]", 2, 4);
    at("[\n/* 你 */ {\"log_name\": e}]", 2, 22);
    at("[{\"log_name\":\"e\"}]\n x", 2, 2);
    at("[{\"log_name\":\"e\"}] []", 1, 20);
    at("[{\"log_name\":\"e\",\n \"log_name\":\"f\"}]", 2, 2);
    at("[{\"log_name\":\"e\",,}]", 1, 18);
    at("[,]", 1, 2);
    at("[ /* a /* b */ */ ]", 1, 16);
    at("[{\"log_name\":\"e\"} \u{feff}]", 1, 19);
}

#[test]
fn faults_without_one_place_are_errors_of_their_line() {
    let on_line = |metadata: &str, lines: &[usize]| {
        let (line, column, message) = refused(metadata, "").remove(0);
        assert!(lines.contains(&line) && column > 0, "{metadata}: {line}:{column} {message}");
    };
    on_line("[\n{\"log_name\" \"e\"}]", &[2]);
    on_line("[\n{\"log_name\":\"e\" \"event_name\":\"x\"}]", &[2]);
    on_line("[\n{\"log_name\":\"e\"} {\"log_name\":\"f\"}]", &[2]);
    on_line("[\n/* c\n", &[2, 3]);
    on_line("[\n{\"log_name\":\"e", &[2]);
    on_line("[\n{\"log_name\":\"e\\x\"}]", &[2]);
    on_line("[\n{\"log_name\":01}]", &[2]);
    on_line("[\n{\"log_name\":\"e\"}", &[2]);
    on_line("[\n{\"log_name\":\"e\" / \"a\":1}]", &[2]);
}

#[test]
fn all_problems_of_all_files_are_told() {
    let all = refused("[{\"log_name\":\"e\",\"event_type\":\"no\"},{\"log_name\":\"e\"}]", "{\"mode\":\"drip\"}");
    let files: Vec<bool> = all.iter().map(|(_, _, message)| message.contains("metadata")).collect();
    assert!(files.iter().filter(|is_metadata| **is_metadata).count() >= 2, "{all:?}");
    assert!(files.contains(&false), "{all:?}");
}

#[test]
fn faulty_entries_are_refused() {
    for metadata in [
        r#"{}"#,
        r#"[1]"#,
        r#"[{}]"#,
        r#"[{"log_name":1}]"#,
        r#"[{"log_name":"e"},{"log_name":"e"}]"#,
        r#"[{"log_name":"e","event_type":"tracks"}]"#,
        r#"[{"log_name":"e","cast":{"a":"bool"}}]"#,
        r##"[{"log_name":"e","metadata":{"#event_name":{"field":"x"}}}]"##,
        r##"[{"log_name":"e","metadata":{"#type":{"field":"x"}}}]"##,
        r##"[{"log_name":"e","metadata":{"#ip":{"default":"{x"}}}]"##,
        r##"[{"log_name":"e","metadata":{"#ip":{"default":"x}"}}}]"##,
        r##"[{"log_name":"e","metadata":{"#ip":{"default":"{{x}"}}}]"##,
        r##"[{"log_name":"e","metadata":{"#ip":{"default":"{x}}"}}}]"##,
    ] {
        refused(metadata, "");
    }
}

#[test]
fn the_entry_of_the_name_wins_then_the_star() {
    let entry = |name: &str, event: &str| {
        format!(
            r##"{{"log_name":"{name}","event_name":"{event}","exclude":["id","t"],
            "metadata":{{"#account_id":{{"field":"id"}},"#time":{{"field":"t"}}}}}}"##
        )
    };
    let line = |event: &str| {
        let head = format!(r##"{{"#account_id":"1","#distinct_id":"","#event_name":"{event}","#ip":"","##);
        written(&format!(r##"{head}"#time":"2020-12-17 13:50:43","#type":"track","properties":{{}}}}"##), &[])
    };
    let both = format!("[{},{},{}]", entry("*", "star"), entry("e", "exact"), entry("f", "other"));
    bench(&both).check(with_members(""), line("exact"));
    bench(&format!("[{},{}]", entry("f", "other"), entry("*", "star"))).check(with_members(""), line("star"));
    bench(&format!("[{}]", entry("f", "other"))).check(with_members(""), parked("E14_NO_ID"));
    bench("").check(with_members(""), parked("E14_NO_ID"));
    bench(r#"[{"log_name":"e"}]"#).check(with_members(""), parked("E14_NO_ID"));
}

#[test]
fn the_event_name_has_a_default() {
    for written in ["", r#""event_name":"","#, r#""event_name":"null","#, r#""event_name":"t_e","#] {
        Bench::entry("track", written, Options::default()).check_members("track", "", "", &[]);
    }
}

#[test]
fn the_event_type_is_one_of_ten() {
    let metadata = r##"[{"log_name":"e","exclude":["id","t"],"metadata":{"#account_id":{"field":"id"},
        "#time":{"field":"t"}}}]"##;
    bench(metadata).check_members("track", "", "", &[]);
    for event_type in ["track", "user_set", "user_setOnce", "user_add"] {
        Bench::entry(event_type, "", Options::default()).check_members(event_type, r#""a":1"#, r#""a":1"#, &[]);
    }
    for event_type in ["user_append", "user_uniq_append"] {
        Bench::entry(event_type, "", Options::default()).check_members(event_type, r#""a":[1]"#, r#""a":[1]"#, &[]);
    }
    Bench::entry("user_unset", "", Options::default()).check_members("user_unset", r#""a":1"#, r#""a":0"#, &[]);
    Bench::entry("user_del", "", Options::default()).check_members("user_del", r#""a":1"#, "", &[]);
    for event_type in ["track_update", "track_overwrite"] {
        Bench::entry(event_type, "", Options::default()).check(with_members(""), parked("E16_EVENT_ID"));
    }
}

/// What a source of `#os` gives; "" is nothing.
fn check_source(source: &str, members: &str, value: &str) {
    let metadata = format!(
        r##"[{{"log_name":"e","exclude":["id","t","x","X","y","x.y","o","n","null",
        "kafka.offset","headers.log_name"],
        "metadata":{{"#account_id":{{"field":"id"}},"#time":{{"field":"t"}},"#os":{source}}}}}]"##
    );
    let wanted = if value.is_empty() { String::new() } else { format!(r##""#os":{value}"##) };
    let mut bench = bench(&metadata);
    (bench.partition, bench.timestamp_ms) = (3, 1_608_184_360_123);
    bench.check_members("track", members, &wanted, &[]);
}

#[test]
fn a_field_is_found_by_its_name_or_path() {
    check_source(r#"{"field":"x"}"#, r#""x":"v""#, r#""v""#);
    check_source(r#"{"field":"x"}"#, r#""\u0078":1.50"#, "1.50");
    check_source(r#"{"field":"x"}"#, r#""X":1"#, "");
    check_source(r#"{"field":"x"}"#, r#""x":1,"x":2"#, "2");
    check_source(r#"{"field":"o.x"}"#, r#""o":{"x":{"y":1}}"#, r#"{"y":1}"#);
    check_source(r#"{"field":"o.x.y"}"#, r#""o":{"x":{"y":["b","a"]}}"#, r#"["b","a"]"#);
    check_source(r#"{"field":"o.x"}"#, r#""o":{"x":1,"x":2}"#, "2");
    check_source(r#"{"field":"o.x"}"#, r#""o":{"x":1},"o":{}"#, "");
    check_source(r#"{"field":"o.x"}"#, r#""o":"text""#, "");
    check_source(r#"{"field":"x.y"}"#, r#""x":{"y":"path"},"x.y":"name""#, r#""name""#);
    check_source(r#"{"field":"x.y"}"#, r#""x":{"y":"path"}"#, r#""path""#);
    check_source(r#"{"field":"headers.log_name"}"#, "", r#""e""#);
    check_source(r#"{"field":"headers.app_id"}"#, "", "24");
    check_source(r#"{"field":"headers.none"}"#, "", "");
    check_source(r#"{"field":"headers.log_name"}"#, r#""headers.log_name":"own""#, r#""own""#);
    check_source(r#"{"field":"kafka.topic"}"#, "", r#""mulog_clean_24""#);
    check_source(r#"{"field":"kafka.partition"}"#, "", "3");
    check_source(r#"{"field":"kafka.offset"}"#, "", "6197511494");
    check_source(r#"{"field":"kafka.timestamp"}"#, "", "1608184360123");
    check_source(r#"{"field":"kafka.offset"}"#, r#""kafka.offset":"own""#, r#""own""#);
}

#[test]
fn null_or_nothing_names_no_field() {
    let members = r#""null":"v","x":1"#;
    check_source(r#"{"field":"null","default":"d"}"#, members, r#""d""#);
    check_source(r#"{"field":"","default":"d"}"#, members, r#""d""#);
    check_source(r#"{"default":"d"}"#, members, r#""d""#);
    check_source(r#"{}"#, members, "");
    check_source(r#"{"field":"null","default":""}"#, members, "");
}

#[test]
fn a_missing_value_takes_the_default() {
    for members in ["", r#""x":null"#, r#""x":"""#] {
        check_source(r#"{"field":"x","default":"d"}"#, members, r#""d""#);
        check_source(r#"{"field":"x"}"#, members, "");
    }
    for (value, out) in [("0", "0"), ("false", "false"), (r#"" ""#, r#"" ""#), ("[]", "[]"), ("{}", "{}")] {
        check_source(r#"{"field":"x","default":"d"}"#, &format!(r#""x":{value}"#), out);
    }
}

#[test]
fn a_number_or_bool_is_used_as_it_is() {
    for value in ["8", "-0", "1.50", "1E3", "9007199254740992.0e-3", "true", "false"] {
        check_source(&format!(r#"{{"default":{value}}}"#), "", value);
    }
}

#[test]
fn a_string_is_a_template() {
    let check = |template: &str, members: &str, value: &str| {
        check_source(&format!(r#"{{"field":"null","default":"{template}"}}"#), members, value);
    };
    check("dev_{x}_{y}", r#""x":5001,"y":"a""#, r#""dev_5001_a""#);
    check("{x}", r#""x":"\u0041\n\"""#, r#""A\n\"""#);
    check("{x}", r#""x":1.50"#, r#""1.50""#);
    check("{x}{y}", r#""x":true,"y":false"#, r#""truefalse""#);
    check("{o.x}", r#""o":{"x":-0}"#, r#""-0""#);
    check("{headers.log_name}-{kafka.partition}", "", r#""e-3""#);
    check("{{{x}}}", r#""x":1"#, r#""{1}""#);
    check("{{x}}", r#""x":1"#, r#""{x}""#);
    check("a{{}}b", "", r#""a{}b""#);
    for value in ["null", r#""""#, "[]", "{}", "[1]", r#"{"a":1}"#] {
        check("dev_{x}_{y}", &format!(r#""x":{value},"y":"a""#), "");
    }
    check("dev_{x}_{y}", r#""y":"a""#, "");
    check("", "", "");
}

#[test]
fn defaults_serve_the_top_level_keys() {
    let metadata = r##"[{"log_name":"e","exclude":["id","t"],"metadata":{
        "#account_id":{"field":"a","default":"{none}"},"#distinct_id":{"field":"d","default":"dev_{id}"},
        "#ip":{"field":"ip","default":"10.0.0.{id}"},"#time":{"field":"x","default":"{t}"}}}]"##;
    let line = concat!(
        r##"{"#account_id":"","#distinct_id":"dev_1","#event_name":"t_e","#ip":"10.0.0.1","##,
        r##""#time":"2020-12-17 13:50:43","#type":"track","properties":{}}"##
    );
    bench(metadata).check(with_members(""), written(line, &[]));
    let with_id =
        |default: &str| format!(r##"[{{"log_name":"e","metadata":{{"#account_id":{{"default":{default}}}}}}}]"##);
    bench(&with_id("1.5")).check(with_members(""), parked("E12_ID_TYPE"));
    bench(&with_id("true")).check(with_members(""), parked("E12_ID_TYPE"));
    bench(&with_id(r#""{none}x""#)).check(with_members(""), parked("E14_NO_ID"));
}

#[test]
fn casts() {
    let bad: &[(&str, u64)] = &[("prop_bad_cast", 1)];
    type Cases<'a> = &'a [(&'a str, &'a str)];
    let check = |kind: &str, good: Cases<'_>, impossible: &[&str]| {
        let more = format!(r##""cast":{{"x":"{kind}","#os":"{kind}"}},"##);
        let mut bench = Bench::entry("track", &more, Options::default());
        for (input, output) in good {
            bench.check_members("track", &format!(r#""x":{input}"#), &format!(r#""x":{output}"#), &[]);
            bench.check_members("track", &format!(r##""#os":{input}"##), &format!(r##""#os":{output}"##), &[]);
        }
        for input in impossible {
            bench.check_members("track", &format!(r#""x":{input},"y":{input}"#), &format!(r#""y":{input}"#), bad);
        }
    };
    check(
        "string",
        &[
            ("90071992547409931", r#""90071992547409931""#),
            ("1.50", r#""1.50""#),
            ("1E3", r#""1E3""#),
            ("true", r#""true""#),
            ("false", r#""false""#),
            (r#""a\/""#, r#""a/""#),
            ("\"\"", "\"\""),
        ],
        &["{}", r#"{"a":1}"#],
    );
    check(
        "number",
        &[
            (r#""7""#, "7"),
            (r#""-0""#, "-0"),
            (r#""1.50""#, "1.50"),
            (r#""1E3""#, "1E3"),
            (r#""\u0037""#, "7"),
            ("1e5", "1e5"),
        ],
        &[
            r#""""#, r#""07""#, r#""+7""#, r#"" 7""#, r#""7 ""#, r#""7.""#, r#"".7""#, r#""1e""#, r#""0x7""#,
            r#""NaN""#, "true", "[]", "{}",
        ],
    );
    check(
        "list",
        &[
            ("1", "[1]"),
            ("1.50", "[1.50]"),
            (r#""a\/""#, r#"["a/"]"#),
            ("true", "[true]"),
            ("[1,2]", "[1,2]"),
            ("[]", "[]"),
            ("\"\"", "[\"\"]"),
        ],
        &["{}", r#"{"a":1}"#],
    );
}

#[test]
fn a_list_is_no_string() {
    let mut bench = Bench::entry("track", r#""cast":{"x":"string"},"#, Options::default());
    bench.check_members("track", r#""x":[]"#, "", &[("prop_bad_cast", 1)]);
}

#[test]
fn casts_come_after_the_null_and_name_checks() {
    let more = r#""cast":{"x":"string","_x":"list"},"#;
    let mut bench = Bench::entry("track", more, Options::default());
    bench.check_members("track", r#""x":null"#, "", &[("prop_null", 1)]);
    bench.check_members("track", r#""_x":{}"#, "", &[("prop_bad_name", 1)]);
}

#[test]
fn a_cast_value_is_looked_at_as_what_it_became() {
    let mut numbers = Bench::entry("track", r#""cast":{"x":"number"},"#, Options::default());
    numbers.check_members("track", r#""x":"1e16""#, r#""x":1e16"#, &[("num_out_of_range", 1)]);
    let mut strings = Bench::entry("track", r#""cast":{"x":"string"},"#, Options::default());
    strings.check_members("track", r#""x":1e16"#, r#""x":"1e16""#, &[]);
    let mut lists = Bench::entry("user_append", r#""cast":{"x":"list"},"#, Options::default());
    lists.check_members("user_append", r#""x":1e16,"y":1"#, r#""x":[1e16]"#, &[("prop_bad_type", 1)]);
}

#[test]
fn a_dot_in_the_file_name_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mthinkingdata.metadata.24.json"), "[1]").unwrap();
    std::fs::write(dir.path().join("mthinkingdata.filter.24.json"), "1").unwrap();
    let problems = logmill::transform::Program::load(dir.path(), &["24".to_string()]).err().unwrap();
    for name in ["mthinkingdata.metadata.24.json", "mthinkingdata.filter.24.json"] {
        assert!(problems.iter().any(|p| p.file.ends_with(name)), "{name}: {problems:?}");
    }
    let other = Files::new("25", "[1]", "");
    let good = Files::new("24", "[]", "[]");
    assert!(fast::load(std::slice::from_ref(&good)).is_ok());
    assert!(fast::load(&[good, other]).is_err());
}
