//! How fast one core transforms: realistic records of about 550 bytes in, lines out; unpacking on its own beside it.
//!
//! `items/s` are records, `B/s` bytes of input. `uniform` repeats one shape; `mixed` takes turns among several;
//! `shuffled` has its members in a random order, `unlike` names of its own in every record. Each is measured as the
//! program runs, with the instructions of any CPU, and without shapes.

use std::fs;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use logmill::flow::record::Record;
use logmill::flow::tally::Tally;
use logmill::transform::{Options, Out, Program, Transformer, Unpacker, ValueCodec, Verdict, Way};

const RECORDS: usize = 2000;
const NOW_MS: i64 = 1_608_184_360_123;

const METADATA: &str = r##"[
  { "log_name": "log_item", "event_name": "t_log_item",
    "metadata": { "#account_id": { "field": "role_id" }, "#distinct_id": { "field": "device_id" },
                  "#time": { "field": "mtime" } } },
  { "log_name": "log_role", "event_type": "user_set", "exclude": ["mtime"],
    "cast": { "vip": "number", "guild_id": "string" },
    "metadata": { "#account_id": { "field": "role_id" }, "#time": { "field": "mtime" } } },
  { "log_name": "log_chat",
    "metadata": { "#account_id": { "field": "account_name" }, "#ip": { "field": "ip" },
                  "#distinct_id": { "field": "device_id", "default": "dev_{server_id}_{role_id}" },
                  "#time": { "field": "ts_ms", "default": "{mtime}" }, "#zone_offset": { "default": 8 } } },
  { "log_name": "*",
    "metadata": { "#account_id": { "field": "role_id" }, "#time": { "field": "mtime" } } },
]"##;

const FILTER: &str = r#"{ "names": ["tbllog_login", "t_log_test_1"], "rules": [
  { "log_name": "log_item", "when": [ { "field": "is_internal", "op": "eq", "value": 1 } ] },
  { "log_name": "*", "when": [ { "field": "server_id", "op": "in", "value": [9998, 9999] } ] } ] }"#;

const KINDS: [&str; 4] = ["uniform", "mixed", "shuffled", "unlike"];

fn main() {
    divan::main();
}

#[divan::bench(args = KINDS)]
fn transform(bencher: Bencher<'_, '_>, kind: &str) {
    run(bencher, kind, Way::Best);
}

#[divan::bench(args = KINDS)]
fn transform_on_any_cpu(bencher: Bencher<'_, '_>, kind: &str) {
    run(bencher, kind, Way::Portable);
}

#[divan::bench(args = KINDS)]
fn transform_without_shapes(bencher: Bencher<'_, '_>, kind: &str) {
    run(bencher, kind, Way::General);
}

fn run(bencher: Bencher<'_, '_>, kind: &str, way: Way) {
    let Ok(dir) = tempfile::tempdir() else { return };
    let written = fs::write(dir.path().join("mthinkingdata:metadata.24.json"), METADATA)
        .and_then(|()| fs::write(dir.path().join("mthinkingdata:filter.24.json"), FILTER));
    let (Ok(()), Ok(program)) = (written, Program::load(dir.path(), &["24".to_string()])) else { return };
    let values = values(kind);
    let bytes: usize = values.iter().map(String::len).sum();
    let mut transformer = Transformer::with(Options::default(), way);
    let mut room = vec![0; 1 << 16];
    bencher.counter(ItemsCount::new(values.len())).counter(BytesCount::new(bytes)).bench_local(|| {
        let mut tally = Tally::default();
        for (offset, value) in values.iter().enumerate() {
            let record = record(offset as i64, value.as_bytes());
            let verdict = transformer.read(&program, &record, value.as_bytes(), 0, NOW_MS);
            let Verdict::Ready(mut ready) = verdict else { panic!("the record is good") };
            let mut out = Out::new(&mut room);
            assert!(ready.emit(&mut out, &mut tally).is_ok());
            black_box(out.written());
        }
        tally
    });
}

#[divan::bench]
fn unpack_snappy(bencher: Bencher<'_, '_>) {
    let values = values("mixed");
    let bytes: usize = values.iter().map(String::len).sum();
    let mut encoder = snap::raw::Encoder::new();
    let packed: Vec<_> = values.iter().filter_map(|value| encoder.compress_vec(value.as_bytes()).ok()).collect();
    let mut unpacker = Unpacker::new(&Options { value_codec: ValueCodec::Snappy, ..Options::default() });
    bencher.counter(ItemsCount::new(values.len())).counter(BytesCount::new(bytes)).bench_local(|| {
        for value in &packed {
            assert_eq!(unpacker.unpack(Some(value)).map_or(0, Iterator::count), 1);
        }
    });
}

fn record(offset: i64, value: &[u8]) -> Record<'_> {
    let (topic, timestamp_ms) = ("mulog_clean_24", NOW_MS);
    Record { topic, partition: 0, offset, timestamp_ms, leader_epoch: 0, value: Some(value) }
}

fn values(shapes: &str) -> Vec<String> {
    let value = |i: usize| match (shapes, i % 4) {
        ("unlike", _) => unlike(i),
        ("shuffled", _) => shuffled(i),
        ("uniform", _) | (_, 0 | 1) => item(i),
        (_, 2) => role(i),
        _ => chat(i),
    };
    (0..RECORDS).map(value).collect()
}

fn item(i: usize) -> String {
    format!(
        concat!(
            r#"{{"headers":{{"app_id":24,"log_name":"log_item"}},"logs":{{"account_name":"{account}","#,
            r#""action":{action},"agent_id":36,"amount":{amount},"bag_amount":0,"bag_type":0,"bind_type":1,"#,
            r#""client_version":"","device_id":"","end_time":0,"idfa":"","imei":"","is_internal":0,"item_id":{item},"mac":"","mtime":{time},"pid":{pid},"#,
            r#""platform":3100,"quality":0,"regrow":{regrow},"role_id":{role},"role_level":{level},"server_id":5001,"#,
            r#""server_version":"","sn":"205914E03BF640CB76","star":0,"start_time":{time},"upf":3100,"via":"36|3100","#,
            r#""zero_dateline":1608134400}}}}"#
        ),
        account = 4_866_014_107usize + i,
        action = i * 7 % 9000,
        amount = i % 100,
        item = 31_103_003 + i,
        time = 1_608_184_243 + i % 100,
        pid = 1_608_184_244_000_008usize + i,
        regrow = i % 20,
        role = 6_001_310_009_300usize + i,
        level = i % 900,
    )
}

/// An item whose members stand in an order of their own.
fn shuffled(i: usize) -> String {
    let text = item(i);
    let at = text.find("\"logs\":{").map_or(0, |at| at + 8);
    let mut members: Vec<&str> = text[at..text.len() - 2].split(',').collect();
    let mut state = i as u64 + 1;
    for n in (1..members.len()).rev() {
        // Knuth's generator.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        members.swap(n, (state >> 33) as usize % (n + 1));
    }
    format!("{}{}}}}}", &text[..at], members.join(","))
}

fn role(i: usize) -> String {
    let fields: String = (0..22).map(|f| format!(",\"attribute_{f}\":{}", i * (f + 1) % 100_000)).collect();
    format!(
        concat!(
            r#"{{"headers":{{"app_id":24,"log_name":"log_role"}},"logs":{{"role_id":{},"vip":"7","guild_id":{},"#,
            r#""mtime":1608184300{fields}}}}}"#
        ),
        6_001_310_009_300usize + i,
        90_071_992_547_409usize + i,
        fields = fields
    )
}

fn chat(i: usize) -> String {
    let said = "\\u4f60好 <b>/世界 ".repeat(8);
    format!(
        concat!(
            r#"{{"headers":{{"app_id":24,"log_name":"log_chat"}},"logs":{{"account_name":"{account}","#,
            r#""role_id":{role},"server_id":5001,"ip":"203.0.113.7","ts_ms":1608184302045,"mtime":1608184302,"msg":"{said}\n","#,
            r#""channel":"世界","hero":{{"name":"Liu Bei","lv":{level}}},"team":[1,2,3,{level}]}}}}"#
        ),
        account = 4_866_014_107usize + i,
        role = 6_001_310_009_300usize + i,
        said = said,
        level = i % 100
    )
}

/// Every record has names of its own, as many as an item.
fn unlike(i: usize) -> String {
    let name = |f: usize| format!("f{}_{}", (i * 31 + f * 17) % 97, (i * 7919 + f * f * 104_729) % 100_000);
    let field = |f: usize| match f % 3 {
        0 => format!(",\"{}\":\"{}\"", name(f), f * i),
        _ => format!(",\"{}\":{}", name(f), f * i % 5000),
    };
    let fields: String = (0..30).map(field).collect();
    format!(
        r#"{{"headers":{{"app_id":24,"log_name":"log_any"}},"logs":{{"role_id":{},"mtime":1608184300{fields}}}}}"#,
        6_001_310_009_300usize + i
    )
}
