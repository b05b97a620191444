//! Records of known shapes end as if they were read in the general way, to the byte.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::shape::BARREN_MAX;
use super::tests::{Bench, End};
use super::{Options, Transformer, Way};

const METADATA: &str = r##"[
  { "log_name": "a", "exclude": ["gone"], "cast": { "n": "number" },
    "metadata": { "#account_id": { "field": "id" }, "#distinct_id": { "field": "o.p", "default": "{headers.v}_{n}" },
                  "#time": { "field": "t" }, "#ip": { "field": "ip" }, "#os": { "field": "n", "default": 8 } } },
  { "log_name": "b", "event_type": "user_add", "metadata": { "#account_id": { "field": "id" } } },
  { "log_name": "*", "event_type": "user_set", "metadata": { "#account_id": { "field": "id" } } } ]"##;

const FILTER: &str = r#"{ "names": ["c"], "rules": [{ "when": [{ "field": "n", "op": "eq", "value": 7 }] }] }"#;

/// A text's parts, so that each can be changed alone.
#[derive(Debug, Clone)]
struct Draft {
    headers: Vec<(String, String)>,
    logs: Vec<(String, String)>,
    headers_last: bool,
    /// What stands after each comma and colon.
    blank: &'static str,
}

#[derive(Debug, Clone)]
enum Change {
    Value(Index, String),
    Swap(Index, Index),
    Drop(Index),
    Again(Index),
    Name(String),
    /// Bytes lost at a place, and what stands there instead.
    Bytes(Index, usize, &'static [u8]),
}

impl Draft {
    fn text(&self) -> Vec<u8> {
        let Draft { headers, logs, blank, .. } = self;
        let object = |members: &[(String, String)]| {
            let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{blank}{value}")).collect();
            format!("{{{}}}", members.join(&format!(",{blank}")))
        };
        let (headers, logs) = (format!("\"headers\":{}", object(headers)), format!("\"logs\":{}", object(logs)));
        let (first, last) = if self.headers_last { (logs, headers) } else { (headers, logs) };
        format!("{{{first},{blank}{last}}}").into_bytes()
    }

    fn changed(&self, change: &Change) -> Vec<u8> {
        let mut draft = self.clone();
        let logs = &mut draft.logs;
        match change {
            Change::Value(at, value) => logs[at.index(self.logs.len())].1.clone_from(value),
            Change::Swap(a, b) => logs.swap(a.index(self.logs.len()), b.index(self.logs.len())),
            Change::Drop(at) => drop(logs.remove(at.index(self.logs.len()))),
            Change::Again(at) => logs.push(logs[at.index(self.logs.len())].clone()),
            Change::Name(name) => draft.headers[0].1 = format!("\"{name}\""),
            Change::Bytes(at, lost, instead) => {
                let mut text = self.text();
                let at = at.index(text.len() + 1);
                let end = text.len().min(at + lost);
                text.splice(at..end, instead.iter().copied());
                return text;
            }
        }
        draft.text()
    }
}

fn value() -> impl Strategy<Value = String> {
    let odd = select(vec![
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-",
        "01",
        "1.5",
        "-1.50e3",
        "1e999",
        "7",
        "\"\"",
        "\"7\"",
        "\"\\u4f60\\n\"",
        "[ 1,2]",
        "[]",
        "{\"p\":\"x\",\"p\" : 1}",
        "{}",
        "\"1.2.3.4\"",
        "\"\\x\"",
        "\"\t\"",
        "1608184243",
        "9007199254740993",
        "nul",
        "",
    ]);
    prop_oneof![
        odd.prop_map(String::from),
        "-?[1-9][0-9]{0,40}",
        (0..80usize, 0..8usize).prop_map(|(ascii, wide)| format!("\"{}{}\"", "x".repeat(ascii), "é".repeat(wide))),
        (2040..2060usize).prop_map(|len| format!("\"{}\"", "y".repeat(len))),
    ]
}

fn draft() -> impl Strategy<Value = Draft> {
    let names = vec![
        "n",
        "gone",
        "t",
        "ip",
        "o",
        "a-b",
        "#os",
        "#ip",
        "Ab",
        "\\u0061bc",
        "name_that_is_longer_than_32_bytes__",
    ];
    let member = (prop::sample::subsequence(names, 0..11).prop_shuffle(), prop::collection::vec(value(), 11));
    let log_name = select(vec!["a", "b", "c", "other", "not legal", "\\u0061"]);
    (member, log_name, any::<bool>(), select(vec!["", "", " "])).prop_map(
        |((names, values), log, headers_last, blank)| {
            let pair = |(name, value): (&str, String)| (name.to_string(), value);
            let mut logs: Vec<_> = names.into_iter().zip(values).map(pair).collect();
            logs.insert(logs.len() / 2, ("id".into(), "6001310009300".into()));
            let headers = [("log_name", format!("\"{log}\"")), ("v", "12".into()), ("app_id", "24".into())];
            Draft { headers: headers.map(pair).to_vec(), logs, headers_last, blank }
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    let bytes: Vec<&[u8]> = vec![
        b"",
        b"\"",
        b"\\",
        b",",
        b"}",
        b"{",
        b" ",
        b"\n",
        b"0",
        b"9",
        b".",
        b"e",
        b"-",
        b"\xff",
        b"\x80",
        b"\xc3\xa9",
        b"\xed\xa0\x80",
    ];
    prop_oneof![
        4 => (any::<Index>(), value()).prop_map(|(at, value)| Change::Value(at, value)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Change::Swap(a, b)),
        1 => any::<Index>().prop_map(Change::Drop),
        1 => any::<Index>().prop_map(Change::Again),
        1 => select(vec!["a", "b", "c", "ab"]).prop_map(|name| Change::Name(name.into())),
        4 => (any::<Index>(), 0..3usize, select(bytes)).prop_map(|(at, lost, new)| Change::Bytes(at, lost, new)),
    ]
}

fn in_each_way() -> [Transformer; 3] {
    [Way::Best, Way::Portable, Way::General].map(|way| Transformer::with(Options::default(), way))
}

/// The text ends in each way as in the general one.
fn ends_alike(bench: &Bench, transformers: &mut [Transformer; 3], text: &[u8]) {
    let [best, portable, general] = transformers.each_mut().map(|way| bench.run_in(way, text, 0));
    assert_eq!(best, general, "{}", String::from_utf8_lossy(text));
    assert_eq!(portable, general, "{}", String::from_utf8_lossy(text));
}

proptest! {
    #[test]
    fn a_shape_changes_no_end(draft in draft(), changes in prop::collection::vec(change(), 1..30)) {
        let bench = Bench::new(METADATA, FILTER);
        let mut transformers = in_each_way();
        let known = draft.text();
        for text in changes.iter().flat_map(|change| [known.clone(), draft.changed(change)]) {
            ends_alike(&bench, &mut transformers, &text);
        }
    }
}

#[test]
fn records_that_differ_in_values_alone_fit_from_the_second_on() {
    let bench = Bench::new(METADATA, FILTER);
    for way in [Way::Best, Way::Portable] {
        let mut transformer = Transformer::with(Options::default(), way);
        let values = [
            "1",
            "12",
            "1.5",
            "\"x\"",
            "\"xy\"",
            "null",
            "7",
            "7e2",
            "\"\\n\"",
            "[1]",
            "{\"a\":1}",
            "true",
            "\"é\"",
            "12345678901234567890",
        ];
        for value in values {
            let logs = format!(r#"{{"id":1,"x":{value},"y":2,"z":"so long that 32 bytes stand behind"}}"#);
            let text = format!(r#"{{"headers":{{"log_name":"a","app_id":24}},"logs":{logs}}}"#);
            assert!(matches!(bench.run_in(&mut transformer, text.as_bytes(), 0), End::Line(..)));
        }
        assert_eq!(transformer.shapes.unwrap().fitted(), values.len() as u64 - 1, "{way:?}");
    }
}

/// What a value was taken for is no reason to take the next one of its length for the same.
#[test]
fn a_value_as_long_as_the_last_one_is_judged_anew() {
    let pairs = [
        ("1234567890123456", "9234567890123456"),
        ("12", "01"),
        ("12", "1."),
        ("12", "-1"),
        ("12", "1x"),
        ("123", "-01"),
        ("7", "-"),
        ("\"abc\"", "\"a\"c\""),
        ("\"abc\"", "\"\\nc\""),
        ("\"abc\"", "\"a\tc\""),
        ("\"abc\"", "\"aé\""),
        ("\"abc\"", "\"abcd"),
        ("\"abc\"", "\\abc\""),
        ("\"abc\"", "\"abc\\"),
        ("\"abc\"", "\tabc\""),
        ("\"abc\"", "\"abc\t"),
        ("\"\"", "\\\""),
    ];
    let bench = Bench::new(METADATA, FILTER);
    for (known, other) in pairs {
        let mut transformers = in_each_way();
        for value in [known, known, other, known] {
            let logs = format!(r#"{{"id":1,"x":{value},"y":"some text behind"}}"#);
            let text = format!(r#"{{"headers":{{"log_name":"a","app_id":24}},"logs":{logs}}}"#);
            ends_alike(&bench, &mut transformers, text.as_bytes());
        }
    }
}

#[test]
fn each_byte_of_a_known_record_is_judged() {
    let bench = Bench::new(METADATA, FILTER);
    let logs = r#"{"id":1,"t":1608184243,"x":"","y":"abc","z":-15,"ip":"1.2.3.4","m":7,"l":1234567890123456,"n":50}"#;
    let known = format!(r#"{{"headers":{{"log_name":"a","v":12,"app_id":24}},"logs":{logs}}}"#).into_bytes();
    let mut transformers = in_each_way();
    for (at, byte) in (0..known.len()).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
        let mut text = known.clone();
        text[at] = byte;
        for text in [&known, &text] {
            ends_alike(&bench, &mut transformers, text);
        }
    }
}

/// The bits that say what is copied in a run are for the first 128.
#[test]
fn of_many_members_none_is_lost() {
    let bench = Bench::new(METADATA, FILTER);
    for count in [126, 127, 128, 129, 130, 300] {
        let members: Vec<String> = (0..count).map(|i| format!("\"m{i}\":{i}")).collect();
        let logs = format!(r#"{{"id":1,{},"gone":2,"null":null,"m5":-5}}"#, members.join(","));
        let text = format!(r#"{{"headers":{{"log_name":"a","app_id":24}},"logs":{logs}}}"#);
        let expected = format!(r#""properties":{{"id":1,{},"#, members.join(",").replace("\"m5\":5", "\"m5\":-5"));
        for mut transformer in in_each_way() {
            for _ in 0..3 {
                let End::Line(line, _) = bench.run_in(&mut transformer, text.as_bytes(), 0) else { panic!("{count}") };
                assert!(line.contains(&expected) && !line.contains("gone") && !line.contains("null"), "{line}");
            }
        }
    }
}

#[test]
fn what_never_comes_again_is_learnt_ever_more_rarely_and_drives_out_nothing_useful() {
    let bench = Bench::new(METADATA, FILTER);
    let mut transformer = Transformer::new(Options::default());
    let text = |name: &str| format!(r#"{{"headers":{{"log_name":"a","app_id":24}},"logs":{{"id":1,"{name}":2}}}}"#);
    for i in 0..5000 {
        bench.run_in(&mut transformer, text("useful").as_bytes(), 0);
        bench.run_in(&mut transformer, text(&format!("n{i}")).as_bytes(), 0);
    }
    let shapes = transformer.shapes.unwrap();
    assert_eq!(shapes.fitted(), 4999);
    assert_eq!(shapes.most_barren(), BARREN_MAX);
}
