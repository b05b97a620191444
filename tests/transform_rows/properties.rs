//! The table of `properties`.

use logmill::transform::Options;

use super::bench::{Bench, parked, with_members};

type Case<'a> = (&'a str, &'a str, &'a [(&'static str, u64)]);

fn check(event_type: &str, more: &str, options: Options, cases: &[Case<'_>]) {
    let mut bench = Bench::entry(event_type, more, options);
    for (members, properties, remarks) in cases {
        bench.check_members(event_type, members, properties, remarks);
    }
}

fn check_track(cases: &[Case<'_>]) {
    check("track", "", Options::default(), cases);
}

#[test]
fn a_member_that_is_left_out_is_counted_once_by_the_first_reason() {
    let more = r##""cast":{"_a":"number","b":"number","#ip":"number"},"##;
    check(
        "user_add",
        more,
        Options::default(),
        &[
            (r#""k":1,"_a":null"#, r#""k":1"#, &[("prop_null", 1)]),
            (r#""k":1,"_a":"x""#, r#""k":1"#, &[("prop_bad_name", 1)]),
            (r#""k":1,"b":"x""#, r#""k":1"#, &[("prop_bad_cast", 1)]),
            (r#""k":1,"c":"x""#, r#""k":1"#, &[("prop_bad_type", 1)]),
            (r#""k":1,"b":"5""#, r#""k":1,"b":5"#, &[]),
            (r##""k":1,"#ip":"x""##, r#""k":1"#, &[]),
        ],
    );
}

#[test]
fn excluded_members_are_not_counted() {
    let metadata = r##"[{"log_name":"e","exclude":["id","t","_bad","n","big"],"metadata":{"#account_id":{"field":"id"},
        "#time":{"field":"t"}}}]"##;
    let mut bench = Bench::new(metadata, "", Options::default());
    let members = r#""_bad":1,"n":null,"big":99999999999999999,"a":1,"\u006e":null"#;
    bench.check_members("track", members, r#""a":1"#, &[]);
}

#[test]
fn counters_look_at_what_stands_in_the_line() {
    let long = "x".repeat(2049);
    check(
        "user_add",
        "",
        Options::default(),
        &[
            (&format!(r#""a":1,"s":"{long}""#), r#""a":1"#, &[("prop_bad_type", 1)]),
            (r#""a":1,"_n":1e99"#, r#""a":1"#, &[("prop_bad_name", 1)]),
            (r#""a":1e99,"a":1"#, r#""a":1"#, &[]),
        ],
    );
    check("user_unset", "", Options::default(), &[(r#""a":1e99"#, r#""a":0"#, &[])]);
}

#[test]
fn nothing_is_left_out_or_counted_inside_a_list_or_object() {
    let long = "x".repeat(2049);
    let object = format!(r##""o":{{"_":null,"#foo":1e99,"Ab":1,"ab":2,"":"{long}","l":[1,"a",[]]}}"##);
    check_track(&[
        (&object, &object, &[]),
        (r#""l":[null,null]"#, r#""l":[null,null]"#, &[]),
        (r#""o":{"a":1,"b":2,"\u0061":{"x":1,"x":2}}"#, r#""o":{"a":{"x":2},"b":2}"#, &[]),
        (r#""o":{"\u0041\/":"\/","n":1.50E+3}"#, r#""o":{"A/":"/","n":1.50E+3}"#, &[]),
        (r#""l":[1E3,-0,1.0]"#, r#""l":[1E3,-0,1.0]"#, &[]),
    ]);
}

#[test]
fn members_keep_their_order_and_the_settings_keys_follow() {
    let metadata = r##"[{"log_name":"e","exclude":["id","t"],"metadata":{"#os":{"field":"os"},
        "#account_id":{"field":"id"},"#zone_offset":{"default":8},"#time":{"field":"t"},"#lib":{"field":"lib"}}}]"##;
    let mut bench = Bench::new(metadata, "", Options::default());
    bench.check_members("track", r#""z":1,"a":2"#, r##""z":1,"a":2,"#zone_offset":8"##, &[]);
    let both = r##""os":"x","lib":"y","z":1"##;
    bench.check_members("track", both, r##""os":"x","lib":"y","z":1,"#os":"x","#zone_offset":8,"#lib":"y""##, &[]);
    let in_place = r##""#zone_offset":5,"z":1"##;
    bench.check_members("track", in_place, r##""#zone_offset":8,"z":1"##, &[]);
    let kept = r##""#lib":"own","z":1"##;
    bench.check_members("track", kept, r##""#lib":"own","z":1,"#zone_offset":8"##, &[]);
}

#[test]
fn of_duplicates_the_last_value_stands_at_the_place_of_the_first() {
    check_track(&[
        (r#""a":1,"b":2,"a":3"#, r#""a":3,"b":2"#, &[]),
        (r#""a":1,"b":2,"\u0061":3"#, r#""a":3,"b":2"#, &[]),
        (r#""a":null,"b":2,"a":3"#, r#""a":3,"b":2"#, &[]),
        (r#""a":1,"b":2,"a":null"#, r#""b":2"#, &[("prop_null", 1)]),
        (r#""_a":1,"_a":2,"_a":3"#, "", &[("prop_bad_name", 1)]),
    ]);
}

#[test]
fn null_is_left_out() {
    check_track(&[(r#""a":null,"b":1,"c":null"#, r#""b":1"#, &[("prop_null", 2)])]);
}

#[test]
fn user_unset_keeps_null() {
    check("user_unset", "", Options::default(), &[(r#""a":null,"b":"x""#, r#""a":0,"b":0"#, &[])]);
}

#[test]
fn bad_names_are_left_out() {
    let n50 = format!("a{}", "b".repeat(49));
    let n51 = format!("a{}", "b".repeat(50));
    check_track(&[
        (&format!(r#""{n50}":1"#), &format!(r#""{n50}":1"#), &[]),
        (&format!(r#""{n51}":1"#), "", &[("prop_bad_name", 1)]),
        (r#""a":1,"Z_9":2,"\u0062":3"#, r#""a":1,"Z_9":2,"b":3"#, &[]),
        (r#""_u":1,"9a":1,"":1,"a-b":1,"a b":1,"a.b":1"#, "", &[("prop_bad_name", 6)]),
        (r#""é":1,"aé":1,"a\u0000":1,"a\n":1,"a\"":1"#, "", &[("prop_bad_name", 5)]),
    ]);
}

#[test]
fn a_bad_name_can_park_the_record() {
    let mut bench = Bench::entry("track", "", Options { fail_bad_property: true, ..Options::default() });
    bench.check(with_members(r#""a":1,"_b":2"#), parked("E19_BAD_PROPERTY"));
    bench.check(with_members(r##""a":1,"#foo":2"##), parked("E19_BAD_PROPERTY"));
    bench.check_members("track", r##""a":1,"_b":null,"#ip":1,"#os":1"##, r##""a":1,"#os":1"##, &[("prop_null", 1)]);
    let mut users = Bench::entry("user_set", "", Options { fail_bad_property: true, ..Options::default() });
    users.check(with_members(r#""_b":2"#), parked("E19_BAD_PROPERTY"));
}

#[test]
fn presets_are_kept() {
    let presets = "lib lib_version zone_offset country country_code province city os os_version device_id device_model \
        device_type manufacturer carrier network_type app_version bundle_id screen_width screen_height system_language \
        browser browser_version ua install_time simulator ram disk fps duration";
    let names: Vec<&str> = presets.split(' ').collect();
    assert_eq!(names.len(), 29);
    for name in names {
        let member = format!(r##""#{name}":"v""##);
        check_track(&[(&member, &member, &[])]);
    }
}

#[test]
fn top_level_names_are_neither_copied_nor_counted() {
    let names = "account_id app_id distinct_id event_id event_name first_check_id import_tool_id ip time \
        transaction_property type uuid";
    for name in names.split(' ') {
        check_track(&[(&format!(r##""#{name}":"v","a":1"##), r#""a":1"#, &[])]);
    }
}

#[test]
fn top_level_names_are_usable_as_a_field() {
    let metadata = r##"[{"log_name":"e","exclude":["t","id"],"metadata":{"#account_id":{"field":"#account_id"},
        "#time":{"field":"#time"}}}]"##;
    let members = r##""#account_id":1,"#time":"2020-12-17 13:50:43","a":1"##;
    Bench::new(metadata, "", Options::default()).check_members("track", members, r#""a":1"#, &[]);
}

#[test]
fn other_names_with_a_hash_are_bad() {
    check_track(&[(r###""#foo":1,"#":2,"#OS":3,"#os_":4,"##os":5"###, "", &[("prop_bad_name", 5)])]);
}

#[test]
fn names_that_differ_only_in_case_clash() {
    check_track(&[
        (r#""ab":1,"aB":2"#, r#""ab":1,"aB":2"#, &[("prop_case_clash", 1)]),
        (r#""ab":1,"xx":1,"XX":2,"AB":2"#, r#""ab":1,"xx":1,"XX":2,"AB":2"#, &[("prop_case_clash", 2)]),
        (r#""ab":1,"ab":2"#, r#""ab":2"#, &[]),
        (r#""ab":1,"AB":null"#, r#""ab":1"#, &[("prop_null", 1)]),
        (r#""a_":1,"A_":2,"a1":3"#, r#""a_":1,"A_":2,"a1":3"#, &[("prop_case_clash", 1)]),
    ]);
}

#[test]
fn the_text_of_numbers_is_copied() {
    let numbers = "0 -0 1 -1 9007199254740993 -9007199254740993 1.50 1E3 1e+3 1e-3 0.000 -0.0 12345678901234567.5e-5";
    for number in numbers.split(' ') {
        let member = format!(r#""n":{number}"#);
        let remarks: &[(&str, u64)] =
            if number.contains("9007199254740993") { &[("num_out_of_range", 1)] } else { &[] };
        check_track(&[(&member, &member, remarks)]);
    }
}

#[test]
fn large_numbers_are_counted_exactly() {
    let inside = "9000000000000000 -9000000000000000 9e15 9.000e+15 0.9E16 90e14 9000000000000000.000 0e999 0.0e99999 \
        8999999999999999.99999999999 -0e1000 1e-999 9000000000000000000e-3 0.000000000000000009e33";
    let outside = "9000000000000001 -9000000000000001 9000000000000000.0000000000000000000001 9.0000000000000001e15 \
        1e16 -1e16 1e999 1E+0000000999 1e99999999999999999999 90000000000000000 0.00001e21 \
        123456789012345678901234567890";
    for number in inside.split_whitespace() {
        let member = format!(r#""n":{number}"#);
        check_track(&[(&member, &member, &[])]);
    }
    for number in outside.split_whitespace() {
        let member = format!(r#""n":{number}"#);
        check_track(&[(&member, &member, &[("num_out_of_range", 1)])]);
    }
}

#[test]
fn long_strings_are_counted() {
    let over: &[(&str, u64)] = &[("str_over_2kb", 1)];
    let member = |text: &str| format!(r#""s":"{text}""#);
    let text_2048 = "x".repeat(2048);
    let decoded_2048 = r"\u4f60".repeat(682) + "xx";
    let written_2048 = "你".repeat(682) + "xx";
    check_track(&[
        (&member(&text_2048), &member(&text_2048), &[]),
        (&member(&(text_2048.clone() + "y")), &member(&(text_2048.clone() + "y")), over),
        (&member(&decoded_2048), &member(&written_2048), &[]),
        (&member(&(decoded_2048.clone() + "\\n")), &member(&(written_2048 + "\\n")), over),
        (&member(&r"\n".repeat(2048)), &member(&r"\n".repeat(2048)), &[]),
    ]);
}

#[test]
fn long_strings_can_be_cut_at_a_character_border() {
    let over: &[(&str, u64)] = &[("str_over_2kb", 1)];
    let member = |text: &str| format!(r#""s":"{text}""#);
    let (x2046, x2048) = ("x".repeat(2046), "x".repeat(2048));
    let nested = format!(r#""o":{{"a":"{x2048}y"}}"#);
    check(
        "track",
        "",
        Options { truncate_long_string: true, ..Options::default() },
        &[
            (&member(&x2048), &member(&x2048), &[]),
            (&member(&(x2048.clone() + "y")), &member(&x2048), over),
            (&member(&(x2046.clone() + "你y")), &member(&x2046), over),
            (&member(&(x2046.clone() + "\\u4f60")), &member(&x2046), over),
            (&member(&r"\n".repeat(2050)), &member(&r"\n".repeat(2048)), over),
            (&member(&"😀".repeat(513)), &member(&"😀".repeat(512)), over),
            (&nested, &nested, &[]),
        ],
    );
}

#[test]
fn large_lists_and_objects_are_counted() {
    let list = |n: usize, item: &str| format!(r#""l":[{}]"#, vec![item; n].join(","));
    let object = |n: usize| {
        let members: Vec<String> = (0..n).map(|i| format!(r#""m{i}":{i}"#)).collect();
        format!(r#""o":{{{}}}"#, members.join(","))
    };
    let (x255, x256) = (format!(r#""{}""#, "x".repeat(255)), format!(r#""{}""#, "x".repeat(256)));
    let escaped = format!(r#""{}""#, r"\n".repeat(255));
    let doubled = object(101).replace("m100", "m0");
    let doubled_out = object(100).replace(r#""m0":0"#, r#""m0":100"#);
    let same = |member: String, remarks: &[(&'static str, u64)]| check_track(&[(&member, &member, remarks)]);
    same(list(500, "1"), &[]);
    same(list(501, "1"), &[("list_over_500", 1)]);
    same(list(3, &x255), &[]);
    same(list(3, &escaped), &[]);
    same(list(3, &x256), &[("list_elem_over_255", 1)]);
    same(list(501, &x256), &[("list_over_500", 1), ("list_elem_over_255", 1)]);
    same(object(100), &[]);
    same(object(101), &[("obj_over_100", 1)]);
    check_track(&[(&doubled, &doubled_out, &[])]);
}

#[test]
fn lists_of_unlike_or_nested_kinds_are_counted() {
    let mixed: &[(&str, u64)] = &[("list_mixed", 1)];
    let cases: [(&str, &[(&str, u64)]); 9] = [
        (r#""l":[]"#, &[]),
        (r#""l":["a","b"]"#, &[]),
        (r#""l":[1,1.5,1e3]"#, &[]),
        (r#""l":[true,false]"#, &[]),
        (r#""l":["a",1]"#, mixed),
        (r#""l":["a","1",true]"#, mixed),
        (r#""l":[1,null]"#, mixed),
        (r#""l":[[1],[2]]"#, mixed),
        (r#""l":[{"id":1},{"id":2}]"#, mixed),
    ];
    for (member, remarks) in cases {
        check_track(&[(member, member, remarks)]);
    }
}

#[test]
fn user_add_keeps_only_numbers() {
    check(
        "user_add",
        "",
        Options::default(),
        &[
            (r#""a":1,"b":"2","c":true,"d":[1],"e":{},"f":-1.5"#, r#""a":1,"f":-1.5"#, &[("prop_bad_type", 4)]),
            (r#""a":1,"n":null"#, r#""a":1"#, &[("prop_null", 1)]),
        ],
    );
}

#[test]
fn user_append_and_user_uniq_append_keep_only_lists() {
    for event_type in ["user_append", "user_uniq_append"] {
        check(
            event_type,
            "",
            Options::default(),
            &[(r#""a":[1],"b":"2","c":true,"d":1,"e":{},"f":[]"#, r#""a":[1],"f":[]"#, &[("prop_bad_type", 4)])],
        );
    }
}

#[test]
fn user_set_and_user_set_once_keep_every_kind() {
    for event_type in ["user_set", "user_setOnce"] {
        let members = r#""a":[1],"b":"2","c":true,"d":1,"e":{}"#;
        check(event_type, "", Options::default(), &[(members, members, &[])]);
    }
}

#[test]
fn user_unset_writes_zeros() {
    let members = r##""a":[1],"b":"2","c":true,"d":17,"e":{},"_f":1,"#os":"x""##;
    let properties = r##""a":0,"b":0,"c":0,"d":0,"e":0,"#os":0"##;
    check("user_unset", "", Options::default(), &[(members, properties, &[("prop_bad_name", 1)])]);
}

#[test]
fn user_del_has_no_properties() {
    check("user_del", "", Options::default(), &[(r#""a":1,"b":"x""#, "", &[]), ("", "", &[])]);
}
