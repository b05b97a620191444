//! The byte form of a line, and `add_uuid`.

use logmill::transform::{Options, ValueCodec};

use super::bench::{Bench, with_members, written};

#[test]
fn top_level_keys_stand_in_byte_order() {
    let metadata = r##"[{"log_name":"e","exclude":["a"],"metadata":{
        "#uuid":{"default":"u"},"#transaction_property":{"default":"x"},"#time":{"default":1608184243},
        "#ip":{"default":"::1"},"#import_tool_id":{"default":"i"},"#first_check_id":{"default":"f"},
        "#event_id":{"default":"v"},"#distinct_id":{"default":"d"},"#app_id":{"default":"p"},
        "#account_id":{"field":"a"}}}]"##;
    let value = r#"{"logs":{"z":1,"a":7},"headers":{"log_name":"e","app_id":24}}"#;
    let line = concat!(
        r##"{"#account_id":"7","#app_id":"p","#distinct_id":"d","#event_id":"v","#event_name":"t_e","##,
        r##""#first_check_id":"f","#import_tool_id":"i","#ip":"::1","#time":"2020-12-17 13:50:43","##,
        r##""#transaction_property":"x","#type":"track","#uuid":"u","properties":{"z":1}}"##
    );
    Bench::new(metadata, "", Options::default()).check(value, written(line, &[]));
}

#[test]
fn ids_are_always_written() {
    let only = |key: &str| format!(r##"[{{"log_name":"e","metadata":{{"{key}":{{"default":"x"}}}}}}]"##);
    let value = r#"{"headers":{"app_id":24,"log_name":"e"},"logs":{"a":1}}"#;
    let rest = r##""#event_name":"t_e","#ip":"","#time":"2020-12-17 13:52:40","#type":"track","properties":{"a":1}}"##;
    let line = |ids: &str| written(&format!("{{{ids},{rest}"), &[("time_fallback", 1)]);
    let account = line(r##""#account_id":"x","#distinct_id":"""##);
    Bench::new(&only("#account_id"), "", Options::default()).check(value, account);
    let distinct = line(r##""#account_id":"","#distinct_id":"x""##);
    Bench::new(&only("#distinct_id"), "", Options::default()).check(value, distinct);
}

#[test]
fn users_have_an_ip_only_if_there_is_one_and_no_event_name() {
    let metadata = r##"[{"log_name":"e","event_type":"user_set","exclude":["id","t","ip"],"metadata":{
        "#account_id":{"field":"id"},"#time":{"field":"t"},"#ip":{"field":"ip"}}}]"##;
    let mut bench = Bench::new(metadata, "", Options::default());
    let line = |ip: &str| {
        let head = r##"{"#account_id":"1","#distinct_id":"","##;
        format!(r##"{head}{ip}"#time":"2020-12-17 13:50:43","#type":"user_set","properties":{{"a":1}}}}"##)
    };
    bench.check(with_members(r#""a":1,"ip":"10.0.0.1""#), written(&line(r##""#ip":"10.0.0.1","##), &[]));
    bench.check(with_members(r#""a":1,"ip":"""#), written(&line(""), &[]));
    bench.check(with_members(r#""a":1,"ip":"10.0.0.256""#), written(&line(""), &[("bad_ip", 1)]));
}

#[test]
fn no_white_space_stands_outside_strings() {
    let members = " \"a\" : [ 1 ,\t2\n] , \"b\"\r: { \"c d\" : \" x \" } ";
    let mut bench = Bench::entry("track", "", Options::default());
    bench.check_members("track", members, r#""a":[1,2],"b":{"c d":" x "}"#, &[]);
}

#[test]
fn strings_have_one_form() {
    let cases = [
        (r#""\"\\\/\b\f\n\r\t""#, r#""\"\\/\b\f\n\r\t""#),
        (r#""\u0022\u005c\u002f\u0008\u000C\u000a\u000D\u0009""#, r#""\"\\/\b\f\n\r\t""#),
        (r#""\u0000\u0001\u001F\u001f""#, r#""\u0000\u0001\u001f\u001f""#),
        (r#""\u007f\u0041\u00e9\u4F60\uD83D\uDE00""#, "\"\u{7f}Aé你😀\""),
        ("\"\u{7f}é你😀</>&\u{2028}\"", "\"\u{7f}é你😀</>&\u{2028}\""),
        (r#""\u003c\/b\u003e\u0026""#, r#""</b>&""#),
    ];
    let mut bench = Bench::entry("track", "", Options::default());
    for (input, output) in cases {
        bench.check_members("track", &format!(r#""s":{input}"#), &format!(r#""s":{output}"#), &[]);
        let nested = |text: &str| format!(r#""s":{{{text}:{text}}},"l":[{text}]"#);
        bench.check_members("track", &nested(input), &nested(output), &[]);
    }
}

#[test]
fn top_level_strings_take_the_byte_form_too() {
    let value = r#"{"headers":{"app_id":24,"log_name":"e"},"logs":{"id":"\u0041\/\n\u0001\"","t":1608184243}}"#;
    let head = r##"{"#account_id":"A/\n\u0001\"","#distinct_id":"","#event_name":"t_e","#ip":"","##;
    let line = format!(r##"{head}"#time":"2020-12-17 13:50:43","#type":"track","properties":{{}}}}"##);
    Bench::entry("track", "", Options::default()).check(value, written(&line, &[]));
}

fn uuid_line(uuid: &str) -> String {
    let head = r##"{"#account_id":"1","#distinct_id":"","#event_name":"t_e","#ip":"","#time":"2020-12-17 13:50:43""##;
    format!(r##"{head},"#type":"track","#uuid":"{uuid}","properties":{{}}}}"##)
}

#[test]
fn add_uuid_names_the_place_of_the_record() {
    let mut bench = Bench::entry("track", "", Options { add_uuid: true, ..Options::default() });
    bench.check(with_members(""), written(&uuid_line("36ec9d64-e38f-4b74-9a35-b57f7c73fc4f"), &[]));
}

#[test]
fn add_uuid_names_the_piece_of_a_value() {
    let options = Options { add_uuid: true, value_codec: ValueCodec::Snappy, ..Options::default() };
    let mut bench = Bench::entry("track", "", options);
    let lines = [with_members(""), with_members("")].join("\n \n");
    let value = snap::raw::Encoder::new().compress_vec(lines.as_bytes()).unwrap();
    let ends = ["36ec9d64-e38f-4b74-9a35-b57f7c73fc4f", PIECE_1_UUID].map(|uuid| written(&uuid_line(uuid), &[]));
    bench.check_all(&value, &ends);
}

/// FNV-1a-128 of `mulog_clean_24/0/6197511494/1`, computed apart from both implementations.
const PIECE_1_UUID: &str = "419f0462-db2e-4ce9-9b79-3254b7d6e2eb";

#[test]
fn add_uuid_leaves_a_uuid_that_is_there() {
    let metadata = r##"[{"log_name":"e","exclude":["id","t","u"],"metadata":{"#account_id":{"field":"id"},
        "#time":{"field":"t"},"#uuid":{"field":"u"}}}]"##;
    let mut bench = Bench::new(metadata, "", Options { add_uuid: true, ..Options::default() });
    bench.check(with_members(r#""u":"mine""#), written(&uuid_line("mine"), &[]));
    bench.check(with_members(r#""u":"""#), written(&uuid_line("36ec9d64-e38f-4b74-9a35-b57f7c73fc4f"), &[]));
    let mut without = Bench::new(metadata, "", Options::default());
    let plain = uuid_line("").replace(r##""#uuid":"","##, "");
    without.check(with_members(r#""u":"""#), written(&plain, &[]));
}
