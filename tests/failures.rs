//! Records that cannot become a line, through the binary on a real broker: each reason into the failure queue, whole,
//! once, and for good.

use std::collections::BTreeMap;
use std::io::Write;

use crate::support::{Mix, Part, Record, SOON, Seen, Site, Sums, kafka, left_out};
use logmill::ledger::failures::Failure;
use logmill::ring::layout::Work;
use logmill::ring::set::MapSet;
use logmill::sys::file::boot_id;

const MIB: usize = 1 << 20;

fn record(partition: i32, payload: impl Into<Vec<u8>>) -> Record {
    Record { partition, payload: Some(payload.into()), timestamp_ms: 1_608_184_000_123 }
}

/// A record of project 24 with these headers and these members of logs.
fn json(headers: &str, logs: &str) -> String {
    format!("{{\"headers\":{{\"app_id\":24,{headers}}},\"logs\":{{{logs}}}}}")
}

fn item(logs: &str) -> String {
    json("\"log_name\":\"log_item\"", logs)
}

/// A value of log_item with exactly this many bytes.
fn item_of(bytes: usize) -> String {
    let bare = item("\"role_id\":1,\"pad\":\"\"").len();
    item(&format!("\"role_id\":1,\"pad\":\"{}\"", "x".repeat(bytes - bare)))
}

/// Values that are parked under the usual settings, with their codes.
fn parked_values() -> Vec<(&'static str, Option<Vec<u8>>)> {
    let long = "i".repeat(129);
    let deep = item(&format!("\"role_id\":1,\"deep\":{}{}", "[".repeat(63), "]".repeat(63)));
    let mut values = vec![
        ("E01_EMPTY", None),
        ("E01_EMPTY", Some(String::new())),
        ("E02_TOO_LARGE_IN", Some(item_of(MIB + 1))),
        ("E05_JSON", Some("{\"headers\":".into())),
        ("E06_DEPTH", Some(deep)),
        ("E07_ROOT", Some("[1]".into())),
        ("E08_HEADERS", Some("{\"headers\":[],\"logs\":{}}".into())),
        ("E09_LOG_NAME", Some(json("\"log_name\":7", "\"role_id\":1"))),
        ("E10_APP_ID", Some("{\"headers\":{\"app_id\":25,\"log_name\":\"log_item\"},\"logs\":{}}".into())),
        ("E11_LOGS", Some("{\"headers\":{\"app_id\":24,\"log_name\":\"log_item\"},\"logs\":[]}".into())),
        ("E12_ID_TYPE", Some(item("\"role_id\":1.5"))),
        ("E13_ID_LEN", Some(item(&format!("\"role_id\":\"{long}\"")))),
        ("E14_NO_ID", Some(item("\"amount\":1"))),
        ("E15_EVENT_NAME", Some(json("\"log_name\":\"no-name\"", "\"id\":1"))),
        ("E16_EVENT_ID", Some(json("\"log_name\":\"log_order\"", "\"role_id\":1"))),
        ("E17_EMPTY_PROPS", Some(json("\"log_name\":\"log_role\"", "\"mtime\":1608184243,\"none\":null"))),
        ("E18_TOO_LARGE_OUT", Some(item_of(MIB))),
    ]
    .into_iter()
    .map(|(code, value)| (code, value.map(String::into_bytes)))
    .collect::<Vec<_>>();
    values.insert(3, ("E04_UTF8", Some(b"{\"headers\":\xff}".to_vec())));
    values
}

/// The one parked record of a value, compared in all that it must hold.
fn assert_kept(failure: &Failure, code: &str, payload: Option<&[u8]>, place: (&str, i32, i64, u32)) {
    let found = (failure.topic.as_str(), failure.partition, failure.offset, failure.k);
    assert_eq!((failure.code.as_str(), found), (code, place), "{}", failure.detail);
    assert_eq!(failure.bytes, payload.map_or(-1, |p| p.len() as i64), "{code}");
    assert!(failure.payload == payload.unwrap_or_default(), "{code}: the payload, byte for byte");
    assert_eq!((failure.timestamp_ms, failure.attempts), (1_608_184_000_123, 1), "{code}");
    assert!(!failure.detail.is_empty() && failure.parked_ms > 1_700_000_000_000, "{code}");
}

#[test]
fn every_reason_parks_its_record_whole_and_once() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("reasons", 2);
    let values = parked_values();
    let good = item("\"role_id\":1");
    // A good record before each bad one, so that none is lost beside it; the second partition holds the same.
    for partition in 0..2 {
        let pair = |(_, payload): &(_, Option<Vec<u8>>)| {
            [record(partition, good.as_str()), Record { payload: payload.clone(), ..record(partition, "") }]
        };
        kafka().produce(&topic, values.iter().flat_map(pair));
    }
    let mut site = Site::new(kafka().bootstrap());
    std::fs::write(site.path("settings/mthinkingdata:metadata.24.json"), metadata()).expect("settings");
    site.task("game", &[&topic], "");
    let count = values.len() as u64 * 2;
    let sums = Sums { consumed: count * 2, written: count, filtered: 0, parked: count };
    let mut codes: BTreeMap<String, u64> = BTreeMap::new();
    values.iter().for_each(|(code, _)| *codes.entry((*code).to_owned()).or_default() += 2);
    for start in 0..3 {
        assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
        let told = site.told("game");
        assert_eq!((told.total, told.codes()), (sums, codes.clone()));
        assert_eq!(told.run, if start == 0 { sums } else { Sums::default() });
        let failures = site.failures();
        assert_eq!(failures.len() as u64, count);
        for (at, failure) in failures.iter().enumerate() {
            let (partition, index) = (at / values.len(), at % values.len());
            let (code, payload) = &values[index];
            let place = (topic.as_str(), partition as i32, index as i64 * 2 + 1, 0);
            assert_kept(failure, code, payload.as_deref(), place);
        }
    }
    assert_eq!(Seen::at_rest(&site.out("game")).lines().count() as u64, count);
    for code in codes.keys() {
        assert!(site.log().contains(&format!("parked {code} {topic}/")), "{code} in the log:\n{}", site.log());
    }
}

/// log_role has nothing but its id, so that it can end without a property.
fn metadata() -> String {
    let entry = |name: &str, kind: &str, ids: &str| {
        format!("{{\"log_name\":\"{name}\",\"event_type\":\"{kind}\",\"metadata\":{{{ids}}}}},")
    };
    let role = "\"#account_id\":{\"field\":\"role_id\",\"default\":\"r\"}";
    let entries = [
        entry("log_item", "track", "\"#account_id\":{\"field\":\"role_id\"}"),
        entry("log_role", "user_set", role).replace("}},", "},\"exclude\":[\"mtime\"]},"),
        entry("log_order", "track_update", &format!("{role},\"#event_id\":{{\"field\":\"order_id\"}}")),
        entry("no-name", "track", "\"#account_id\":{\"field\":\"id\"}"),
    ];
    format!("[{}]", entries.concat())
}

#[test]
fn reasons_that_a_task_asks_for() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("asked", 1);
    let bad_name = item("\"role_id\":1,\"9lives\":1");
    let unknown = json("\"log_name\":\"log_nobody\"", "\"role_id\":1");
    let values = [("E19_BAD_PROPERTY", bad_name), ("E20_UNKNOWN_LOG", unknown)];
    kafka().produce(&topic, values.iter().map(|(_, value)| record(0, value.as_str())));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "bad_property = \"fail\"\nunknown_log_name = \"park\"");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    let failures = site.failures();
    assert_eq!(failures.len(), 2);
    for (offset, (failure, (code, value))) in failures.iter().zip(&values).enumerate() {
        assert_kept(failure, code, Some(value.as_bytes()), (&topic, 0, offset as i64, 0));
    }
}

#[test]
fn a_packed_value_holds_records_of_its_own() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("packed", 1);
    let pieces = [item("\"role_id\":1,\"n\":1"), "{broken".into(), item("\"role_id\":1,\"n\":2"), "[2]".into()];
    let text = format!("{}\n\n{}\r\n{}\n{}\n", pieces[0], pieces[1], pieces[2], pieces[3]);
    let block = |text: &str| snap::raw::Encoder::new().compress_vec(text.as_bytes()).expect("snappy");
    let mut framed = snap::write::FrameEncoder::new(Vec::new());
    framed.write_all(text.as_bytes()).expect("snappy");
    let mut xerial = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01".to_vec();
    xerial.extend((block(&text).len() as u32).to_be_bytes());
    xerial.extend(block(&text));
    // Small in Kafka, 1 MiB and one byte once unpacked.
    let bomb = block(&item_of(MIB + 1));
    let not_packed = item("\"role_id\":1").into_bytes();
    let values = [block(&text), framed.into_inner().expect("snappy"), xerial, bomb, not_packed];
    kafka().produce(&topic, values.iter().map(|value| record(0, value.as_slice())));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "value_codec = \"snappy\"\nadd_uuid = true");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    assert_eq!(site.told("game").run, Sums { consumed: 14, written: 6, filtered: 0, parked: 8 });
    let failures = site.failures();
    for (value, pair) in failures[..6].chunks(2).enumerate() {
        let piece = format!("{}\r", pieces[1]);
        assert_kept(&pair[0], "E05_JSON", Some(piece.as_bytes()), (&topic, 0, value as i64, 1));
        assert_kept(&pair[1], "E07_ROOT", Some(pieces[3].as_bytes()), (&topic, 0, value as i64, 3));
    }
    for (offset, failure) in (3..).zip(&failures[6..]) {
        assert_kept(failure, "E03_CODEC", Some(&values[offset]), (&topic, 0, offset as i64, 0));
    }
    let seen = Seen::at_rest(&site.out("game"));
    let member = |line: &[u8], path: &str| {
        serde_json::from_slice::<serde_json::Value>(line).expect("JSON").pointer(path).cloned().expect(path).to_string()
    };
    let n: Vec<_> = seen.lines().map(|(_, line)| member(line, "/properties/n")).collect();
    assert_eq!(n, ["1", "2", "1", "2", "1", "2"]);
    let uuids: std::collections::BTreeSet<_> = seen.lines().map(|(_, line)| member(line, "/#uuid")).collect();
    assert_eq!(uuids.len(), 6, "each record has an id of its own");
}

#[test]
fn a_full_queue_blocks_its_task_and_no_other() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let full = kafka().create_topic("full", 1);
    let good = item("\"role_id\":1");
    let every_tenth_is_bad = |n: usize| record(0, if n % 10 == 9 { "{" } else { &good });
    kafka().produce(&full, (0..100).map(every_tenth_is_bad));
    let other = kafka().create_topic("other", 1);
    let made: Vec<_> = Mix::new(1, 1).only_written().take(5_000).collect();
    kafka().produce(&other, made.iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.task("full", &[&full], "failures_max = 3\ncheckpoint_interval = \"200ms\"").task("other", &[&other], "");
    for start in 1..=2 {
        let mut run = site.start(&[]);
        site.await_lines("other", 5_000, SOON);
        site.await_lines("full", 36, SOON);
        let said = "full: the failure queue holds 3 records";
        site.awaited(said, SOON, || (site.log().matches(said).count() == start).then_some(()));
        run.term();
        assert!(run.wait(SOON).success(), "{}", site.log());
        assert_eq!(site.told("full").total, Sums { consumed: 39, written: 36, filtered: 0, parked: 3 });
        assert_eq!((site.failures().len(), site.lines("full")), (3, 36));
        assert_eq!(kafka().committed(&site.group("full"), &full), [Some(39)]);
    }
    // More room, and it goes on.
    site.clear_tasks().task("full", &[&full], "failures_max = 10");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    assert_eq!(site.told("full").total, Sums { consumed: 100, written: 90, filtered: 0, parked: 10 });
    assert_eq!((site.failures().len(), site.lines("full")), (10, 90));
}

/// Leaves the maps as a process does that died while it worked on this record.
fn die_over(site: &Site, work: Work) {
    let entries =
        std::fs::read_dir(site.path("data")).expect("the data directory").map(|e| e.expect("an entry").path());
    let state = entries.into_iter().find(|path| path.to_string_lossy().contains("/state.")).expect("a state");
    let maps = MapSet::open(&state, boot_id().expect("a boot id")).expect("maps");
    maps.rings[0].begin_work(work);
}

#[test]
fn a_record_that_is_deadly_three_times_is_parked() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("deadly", 1);
    let values = [1, 2, 3].map(|n| item(&format!("\"role_id\":{n}")));
    kafka().produce(&topic, [record(0, values[0].as_str())]);
    let mut site = Site::new(kafka().bootstrap());
    // Nobody listens there: the process dies again before it comes to the record.
    site.process("[cluster.away]\nbrokers = \"127.0.0.1:1\"");
    site.task("game", &[&topic], "readers = 1");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    kafka().produce(&topic, values[1..].iter().map(|value| record(0, value.as_str())));
    let work = Work { topic: 0, partition: 0, offset: 1 };
    for death in 1..=2 {
        die_over(&site, work);
        site.clear_tasks().task("game", &[&topic], "readers = 1\ncluster = \"away\"");
        let mut run = site.start(&[]);
        let said = "the process died over";
        site.awaited(said, SOON, || (site.log().matches(said).count() == death).then_some(()));
        run.kill9();
        assert_eq!(site.failures(), []);
    }
    die_over(&site, work);
    site.clear_tasks().task("game", &[&topic], "readers = 1");
    for _ in 0..2 {
        assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
        let failures = site.failures();
        assert_eq!(failures.len(), 1);
        assert_kept(&failures[0], "E21_CRASH", Some(values[1].as_bytes()), (&topic, 0, 1, 0));
        assert_eq!(site.told("game").total, Sums { consumed: 3, written: 2, filtered: 0, parked: 1 });
    }
}
