//! What is JSON, how deep it is, and which member counts.

use super::members::{Kind, Members};
use super::scanner::{Fault, Scan, members, scan};

fn verdict(text: &str) -> Result<Scan, Fault> {
    scan(text.as_bytes(), &mut Members::default(), &mut Members::default(), None)
}

#[test]
fn rfc_8259_is_accepted() {
    let good = [
        "{}",
        " [ ] ",
        "0",
        "-0",
        "1.50",
        "1E3",
        "1e+05",
        "-0.0e-0",
        "\"\"",
        "true",
        "[1,[2,{\"a\":[]}],null]",
        "{\"a\":{\"b\":[1 , 2]}, \"c\" : false}\r\n",
        "\"\\ud83d\\ude00\"",
        "\"\u{7f}\"",
        "[[],{}]",
        "\"\\u0000\"",
    ];
    for text in good {
        assert!(verdict(text).is_ok(), "{text}: {:?}", verdict(text));
    }
}

#[test]
fn all_else_is_refused() {
    let bad = [
        "",
        " ",
        "{",
        "[",
        "[1",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "[1,]",
        "[,1]",
        "01",
        "-",
        "1.",
        ".5",
        "+1",
        "1e",
        "1e+",
        "NaN",
        "Infinity",
        "-Infinity",
        "nul",
        "truee",
        "\"\t\"",
        "\"\\x\"",
        "\"\\u12\"",
        "'a'",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\ud800\"",
        "\"\\ud800x\"",
        "{} {}",
        "{}\u{0}",
        "[1 2]",
        "{1:2}",
        "[}",
        "{]",
        "{\"a\":1]",
        "[1}",
        "\u{c}{}",
        "\"abc",
        "{\"a\":[1,{\"b\":2]}",
        "0x1",
        "1_0",
        "\"\\",
        "\"\\u+123\"",
    ];
    for text in bad {
        assert!(verdict(text).is_err(), "{text}");
    }
}

#[test]
fn depth_counts_objects_and_lists_only() {
    let depth = |text: &str| verdict(text).unwrap().depth;
    assert_eq!(depth("1"), 0);
    assert_eq!(depth("{\"a\":1}"), 1);
    assert_eq!(depth("{\"logs\":{\"a\":[{}]},\"b\":[]}"), 4);
    for n in [63, 64, 65, 127, 128, 129, 200] {
        assert_eq!(depth(&format!("{}{}", "[".repeat(n), "]".repeat(n))), n);
        assert_eq!(depth(&format!("{}1{}", "{\"a\":".repeat(n), "}".repeat(n))), n);
        assert_eq!(depth(&format!("{}1{}", "[{\"a\":".repeat(n), "}]".repeat(n))), 2 * n);
        assert!(verdict(&format!("{}{}]", "[{\"a\":".repeat(n), "}]".repeat(n - 1))).is_err());
    }
}

#[test]
fn a_mebibyte_of_brackets_overflows_nothing() {
    assert!(verdict(&"[".repeat(1 << 20)).is_err());
    assert_eq!(verdict(&format!("{}{}", "[".repeat(1 << 19), "]".repeat(1 << 19))).unwrap().depth, 1 << 19);
}

#[test]
fn the_last_of_two_members_counts_at_the_place_of_the_first() {
    let text = br#"{"logs":{"x":9},"headers":1,"log\u0073":{"a":1,"b":2,"\u0061":3,"B":4},"headers":{}}"#;
    let (mut headers, mut logs) = (Members::default(), Members::default());
    let found = scan(text, &mut headers, &mut logs, None).unwrap();
    assert_eq!((found.headers, found.logs), (Some(Kind::Object), Some(Kind::Object)));
    let members: Vec<_> = logs.list.iter().map(|m| (logs.name(text, m), m.value(text))).collect();
    assert_eq!(members, [(&b"a"[..], &b"3"[..]), (b"b", b"2"), (b"B", b"4")]);
    assert!(logs.case_doubt);
}

#[test]
fn many_members_are_freed_of_duplicates_too() {
    let names = (0..400).map(|i| format!("\"n{}\":{i}", i % 300)).collect::<Vec<_>>().join(",");
    let text = format!("{{{names}}}");
    let mut found = Members::default();
    members(text.as_bytes(), 0, &mut found).unwrap();
    assert_eq!(found.list.len(), 300);
    assert_eq!(found.list[0].value(text.as_bytes()), b"300");
    assert_eq!(found.list[299].value(text.as_bytes()), b"299");
}
