//! What an index finds is what is found without one.

use proptest::prelude::*;
use proptest::sample::select;

use super::decimal;
use super::members::{Kind, Members};
use super::properties::STRING_BYTES_MAX;
use super::scanner::scan;
use super::scanner_index::Index;
use super::scanner_lanes::Width;

fn name() -> impl Strategy<Value = String> {
    let odd = select(vec!["", "#os", "a-b", "_u", "9", "é", "\\u0061", "a", "A", "ab\\\\", "\\\"", "a b", "a\":1,\"b"]);
    prop_oneof![1 => odd.prop_map(String::from), 4 => "[a-c][A-C0_]{0,12}", 1 => "[a-z]{40,70}"]
}

fn value() -> impl Strategy<Value = String> {
    let odd = select(vec![
        "null",
        "true",
        "1.5",
        "-",
        "-0",
        "-1",
        "--1",
        "0",
        "00",
        "01",
        "-01",
        "1-1",
        "1e5",
        "\"\"",
        "\"x\"5",
        "\"x\"-5",
        "\"x\"\"y\"",
        "5\"x\"",
        "\"x",
        "x",
        "",
        "{}",
        "[1,\"a\"]",
        "{\"a\":{\"b\":1}}",
        "\"\\\\\"",
        "\"\\\"\"",
        "\"a,b:{}\"",
        "\"é\"",
        "\"\t\"",
        "9000000000000000",
        "9000000000000001",
        "8999999999999999",
        "1234567890123456",
        "12345678901234567",
        "-1234567890123456",
        " 1",
        "1 ",
        "1\n",
    ]);
    prop_oneof![
        2 => odd.prop_map(String::from),
        4 => "-?[1-9][0-9]{0,15}",
        4 => "\"[a-z,:]{0,40}\"",
        1 => (2040..2060usize).prop_map(|len| format!("\"{}\"", "y".repeat(len))),
    ]
}

/// Members of `logs`, most of them alike and of the usual form, so that long stretches have no fault.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let usual = ("[a-z]{1,9}", "[1-9][0-9]{0,9}").prop_map(|(name, value)| (name, value));
    let member = prop_oneof![9 => usual, 1 => (name(), value())];
    let blank = select(vec!["", "", "", " ", "\n"]);
    (prop::collection::vec(member, 0..400), blank, 0..70usize).prop_map(|(members, blank, before)| {
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let headers = format!("{{\"x\":\"{}\",\"app_id\":24}}", "h".repeat(before));
        format!("{{\"headers\":{headers},\"logs\":{{{}}}}}", members.join(&format!(",{blank}"))).into_bytes()
    })
}

fn found_alike(text: &[u8], index: &mut Index) {
    let (mut headers, mut logs) = (Members::default(), Members::default());
    let (mut plain_headers, mut plain_logs) = (Members::default(), Members::default());
    assert!(!index.start(text) || text.is_ascii());
    let found = scan(text, &mut headers, &mut logs, Some(index)).map(|scan| (scan.root, scan.logs, scan.depth));
    let plain = scan(text, &mut plain_headers, &mut plain_logs, None).map(|scan| (scan.root, scan.logs, scan.depth));
    assert_eq!(found, plain);
    if found.is_err() {
        return;
    }
    assert_eq!(logs.case_doubt, plain_logs.case_doubt);
    for (members, plain) in [(&headers, &plain_headers), (&logs, &plain_logs)] {
        assert_eq!(members.list.len(), plain.list.len());
        let is_odd = |i: usize| i >= 128 || members.odd >> i & 1 == 1;
        for (i, (member, plain_member)) in members.list.iter().zip(&plain.list).enumerate() {
            assert_eq!(members.name(text, member), plain.name(text, plain_member));
            assert_eq!(member.value(text), plain_member.value(text));
            assert_eq!(
                (member.kind, member.hash, member.legal),
                (plain_member.kind, plain_member.hash, plain_member.legal)
            );
            let value = member.value(text);
            let is_short = match member.kind {
                Kind::Integer => !decimal::is_out_of_range(value),
                Kind::String => value.len() - 2 <= STRING_BYTES_MAX,
                _ => false,
            };
            let behind = i == 0 || is_odd(i - 1) || members.list[i - 1].end + 2 == member.name_at;
            let usual = is_short && member.legal && behind && member.at == member.name_end + 2;
            assert!(is_odd(i) || usual, "{member:?}");
            let place = members.place(text, plain.name(text, plain_member), plain_member.hash);
            assert_eq!(place.map(|place| members.list[place].at), Some(plain_member.at));
        }
    }
}

proptest! {
    #[test]
    fn an_index_changes_nothing(texts in prop::collection::vec(text(), 1..4), cut in any::<prop::sample::Index>()) {
        for width in [Width::detect(), Width::WORDS] {
            let mut index = Index::new(width);
            for text in &texts {
                found_alike(text, &mut index);
                found_alike(&text[..cut.index(text.len())], &mut index);
            }
        }
    }
}

/// Wherever the borders of words and stretches lie.
#[test]
fn members_are_found_at_every_place() {
    for width in [Width::detect(), Width::WORDS] {
        let mut index = Index::new(width);
        for before in (0..200).chain(3800..4100) {
            let pad = |nth: usize| "x".repeat((before + nth) / 3);
            let text = format!(
                r#"{{"headers":{{"h":"{}","p":"{}","q":"{}","n":-15,"m":16}},"logs":{{"b":"","c":"{{,","d":0}}}}"#,
                pad(0),
                pad(1),
                pad(2),
            );
            found_alike(text.as_bytes(), &mut index);
            assert!(index.start(text.as_bytes()) || before > 3000);
        }
    }
}
