//! Filter files: names, rules, operators.

use logmill::transform::Options;

use super::bench::{Bench, refused, with_members, written};
use crate::reference::End;

const METADATA: &str = r##"[{"log_name":"e","event_name":"resolved","exclude":["id","t","x","y","o"],
    "metadata":{"#account_id":{"field":"id"},"#time":{"field":"t"}}}]"##;

#[track_caller]
fn check(filter: &str, members: &str, drops: bool) {
    let line = concat!(
        r##"{"#account_id":"1","#distinct_id":"","#event_name":"resolved","#ip":"","##,
        r##""#time":"2020-12-17 13:50:43","#type":"track","properties":{}}"##
    );
    let end = if drops { End::Filtered } else { written(line, &[]) };
    Bench::new(METADATA, filter, Options::default()).check(with_members(members), end);
}

#[test]
fn a_plain_array_names_what_is_dropped() {
    check("[]", "", false);
    check(r#"["other", "E", "t_e"]"#, "", false);
    check(r#"["other", "e",] # c"#, "", true);
    check(r#"["resolved"]"#, "", true);
}

#[test]
fn drop_and_keep_compare_with_both_names() {
    for (names, is_named) in [(r#"["e"]"#, true), (r#"["resolved"]"#, true), (r#"["x","t_e"]"#, false), ("[]", false)] {
        check(&format!(r#"{{"mode":"drop","names":{names}}}"#), "", is_named);
        check(&format!(r#"{{"names":{names}}}"#), "", is_named);
        check(&format!(r#"{{"mode":"keep","names":{names}}}"#), "", !is_named);
    }
}

#[test]
fn no_filter_file_drops_nothing() {
    check("", "", false);
}

#[test]
fn a_rule_fires_when_all_its_conditions_hold() {
    let x = r#"{"field":"x","op":"eq","value":1}"#;
    let y = r#"{"field":"y","op":"eq","value":2}"#;
    let both = format!(r#"{{"rules":[{{"when":[{x},{y}]}}]}}"#);
    check(&both, r#""x":1,"y":2"#, true);
    check(&both, r#""x":1,"y":3"#, false);
    check(&both, r#""x":2,"y":2"#, false);
    let any = format!(r#"{{"rules":[{{"when":[{x}]}},{{"when":[{y}]}}]}}"#);
    check(&any, r#""x":1,"y":3"#, true);
    check(&any, r#""x":2,"y":2"#, true);
    check(&any, r#""x":2,"y":3"#, false);
}

#[test]
fn a_rule_names_the_log_and_never_the_event() {
    let rule = |log_name: &str| format!(r#"{{"rules":[{{{log_name}"when":[{{"field":"x","op":"exists"}}]}}]}}"#);
    check(&rule(""), r#""x":1"#, true);
    check(&rule(r#""log_name":"*","#), r#""x":1"#, true);
    check(&rule(r#""log_name":"e","#), r#""x":1"#, true);
    check(&rule(r#""log_name":"resolved","#), r#""x":1"#, false);
}

#[test]
fn rules_hold_beside_keep() {
    let filter = r#"{"mode":"keep","names":["e"],"rules":[{"when":[{"field":"x","op":"exists"}]}]}"#;
    check(filter, r#""x":1"#, true);
    check(filter, "", false);
}

#[test]
fn fields_of_rules_are_fields_of_metadata() {
    let rule = |field: &str, value: &str| {
        format!(r#"{{"rules":[{{"when":[{{"field":"{field}","op":"eq","value":{value}}}]}}]}}"#)
    };
    check(&rule("o.x", "1"), r#""o":{"x":1}"#, true);
    check(&rule("headers.log_name", r#""e""#), "", true);
    check(&rule("kafka.topic", r#""mulog_clean_24""#), "", true);
    check(&rule("kafka.offset", "6197511494"), "", true);
}

/// `x`, the operator with its value, and whether the condition holds.
fn check_op(op: &str, value: &str, cases: &[(&str, bool)]) {
    let value = if value.is_empty() { String::new() } else { format!(r#","value":{value}"#) };
    let filter = format!(r#"{{"rules":[{{"when":[{{"field":"x","op":"{op}"{value}}}]}}]}}"#);
    for (x, holds) in cases {
        let members = if x.is_empty() { String::new() } else { format!(r#""x":{x}"#) };
        check(&filter, &members, *holds);
    }
}

const MISSING: &[&str] = &["", "null", r#""""#];

#[test]
fn a_missing_field_makes_every_op_but_missing_false() {
    for (op, value) in [
        ("eq", "1"),
        ("ne", "1"),
        ("in", "[1]"),
        ("not_in", "[1]"),
        ("gt", "1"),
        ("ge", "1"),
        ("lt", "1"),
        ("le", "1"),
        ("prefix", r#""a""#),
        ("exists", ""),
    ] {
        MISSING.iter().for_each(|x| check_op(op, value, &[(x, false)]));
    }
    MISSING.iter().for_each(|x| check_op("missing", "", &[(x, true)]));
}

#[test]
fn exists_and_missing() {
    for x in ["0", "false", r#"" ""#, "[]", "{}"] {
        check_op("exists", "", &[(x, true)]);
        check_op("missing", "", &[(x, false)]);
    }
}

#[test]
fn eq_and_ne_need_the_same_type() {
    let tables: &[(&str, &[(&str, bool)])] = &[
        (
            "1",
            &[
                ("1", true),
                ("1.0", true),
                ("10e-1", true),
                ("2", false),
                (r#""1""#, false),
                ("true", false),
                ("[1]", false),
            ],
        ),
        (r#""a""#, &[(r#""a""#, true), (r#""\u0061""#, true), (r#""A""#, false), (r#""ab""#, false), ("1", false)]),
        ("true", &[("true", true), ("false", false), ("1", false), (r#""true""#, false)]),
        ("9007199254740993", &[("9007199254740993", true), ("9007199254740992", false)]),
        ("0", &[("-0", true), ("0e9", true), ("1e-400", false)]),
    ];
    for (value, cases) in tables {
        check_op("eq", value, cases);
        let negated: Vec<(&str, bool)> = cases.iter().map(|(x, holds)| (*x, !holds)).collect();
        check_op("ne", value, &negated);
    }
}

#[test]
fn in_and_not_in_need_the_same_type() {
    let cases = [
        ("9998", true),
        ("9999.0", true),
        (r#""9998""#, false),
        (r#""a""#, true),
        ("true", true),
        ("false", false),
        ("1", false),
    ];
    check_op("in", r#"[9998, 9999, "a", true]"#, &cases);
    check_op("not_in", r#"[9998, 9999, "a", true]"#, &cases.map(|(x, holds)| (x, !holds)));
    check_op("in", "[]", &[("1", false)]);
    check_op("not_in", "[]", &[("1", true)]);
}

#[test]
fn numbers_compare_in_decimal() {
    let (large, larger) = ("9007199254740992", "9007199254740993");
    check_op(
        "gt",
        large,
        &[(larger, true), (large, false), ("9007199254740992.0000000000000000001", true), ("-1e400", false)],
    );
    check_op("ge", larger, &[(larger, true), (large, false), ("9007199254740993.0", true), ("1e400", true)]);
    check_op("lt", larger, &[(large, true), (larger, false), ("-1e400", true), ("1e-400", true)]);
    check_op("le", large, &[(large, true), (larger, false), ("900719925474099.2e1", true)]);
    check_op("gt", "1e400", &[("1e401", true), ("9e399", false), ("1e400", false)]);
    check_op("lt", "-1e400", &[("-1e401", true), ("-9e399", false)]);
    check_op("gt", "-5", &[("-4", true), ("-6", false), ("0", true), ("-0", true)]);
    check_op("gt", "0", &[("-0", false), ("1e-9999", true), ("-1e-9999", false)]);
    check_op("ge", "-0.0", &[("0", true), ("-0e5", true)]);
}

#[test]
fn gt_ge_lt_le_need_two_numbers() {
    for op in ["gt", "ge", "lt", "le"] {
        check_op(op, "1", &[(r#""1""#, false), (r#""2""#, false), ("true", false), ("[1]", false), ("{}", false)]);
    }
}

#[test]
fn prefix() {
    let cases =
        [(r#""ab""#, true), (r#""abc""#, true), (r#""\u0061bc""#, true), (r#""a""#, false), (r#""xab""#, false)];
    check_op("prefix", r#""ab""#, &cases);
    check_op("prefix", r#""1""#, &[("1", false), ("true", false), (r#""12""#, true)]);
}

#[test]
fn faulty_filters_are_refused() {
    for filter in [
        "1",
        "[1]",
        r#"{"mode":"drip"}"#,
        r#"{"names":"e"}"#,
        r#"{"rules":[{"when":[{"field":"x","op":"equals","value":1}]}]}"#,
        "[\"a\" \"b\"]",
        "[a]",
    ] {
        let problems = refused("", filter);
        assert!(problems[0].2.contains("mthinkingdata:filter.24.json"), "{problems:?}");
    }
}
