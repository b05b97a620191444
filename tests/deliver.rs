//! The main job through the binary, on a real broker: topics become files, exactly as the plain second implementation
//! of the transform says, whatever the shape of the task.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::reference::settings::Project;
use crate::reference::{self, End};
use crate::support::{
    self, Checker, Codec, Made, Mix, Order, Part, Record, SOON, Seen, Site, Sums, Tailer, kafka, left_out, times,
};
use logmill::flow::record;
use logmill::transform::Options;

const LONG: Duration = Duration::from_secs(600);
/// Of the longest delivery; `LOGMILL_DELIVER_RECORDS` asks for more.
const RECORDS: u64 = 100_000;

/// What the second implementation makes of the records.
#[derive(Default)]
struct Expected {
    sums: Sums,
    named: BTreeMap<String, u64>,
    /// By partition, in order.
    lines: BTreeMap<i32, Vec<Vec<u8>>>,
}

impl Expected {
    fn of(site: &Site, topic: &str, made: &[Made]) -> Expected {
        let text = |kind: &str| {
            let path = site.path("settings").join(format!("mthinkingdata:{kind}.24.json"));
            std::fs::read_to_string(path).expect("settings")
        };
        let projects = [Project::new("24", Some(&text("metadata")), Some(&text("filter")))];
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let mut expected = Expected::default();
        for made in made {
            let record = record::Record {
                topic,
                partition: made.partition,
                offset: made.sequence as i64,
                timestamp_ms: made.timestamp_ms,
                leader_epoch: 0,
                value: Some(&made.payload),
            };
            for end in reference::transform(&projects, &Options::default(), &record, now.as_millis() as i64) {
                expected.add(made.partition, end);
            }
        }
        expected
    }

    fn add(&mut self, partition: i32, end: End) {
        self.sums.consumed += 1;
        match end {
            End::Filtered => self.sums.filtered += 1,
            End::Parked(code) => {
                self.sums.parked += 1;
                *self.named.entry(code.to_owned()).or_default() += 1;
            }
            End::Written { line, remarks } => {
                self.sums.written += 1;
                self.lines.entry(partition).or_default().push(line.strip_suffix(b"\n").unwrap_or(&line).to_vec());
                remarks.into_iter().for_each(|(name, n)| *self.named.entry(name.to_owned()).or_default() += n);
            }
        }
    }
}

/// The lines of each partition, file by file in the order of their numbers.
fn by_partition(seen: &Seen) -> BTreeMap<i32, Vec<Vec<u8>>> {
    let mut lines: BTreeMap<i32, Vec<Vec<u8>>> = BTreeMap::new();
    for (_, line) in seen.in_number_order() {
        let (partition, _) = support::mark(line).expect("a line of ours");
        lines.entry(partition).or_default().push(line.to_vec());
    }
    lines
}

#[test]
fn mixed_records_are_byte_for_byte_what_the_rules_say() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("mixed", 6);
    let made: Vec<_> = Mix::new(1, 6).take(times("LOGMILL_DELIVER_RECORDS", RECORDS) as usize).collect();
    kafka().produce(&topic, made.iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "rotate_size = \"8MiB\"");
    let mut run = site.start(&["--exit-at-end"]);
    let expected = Expected::of(&site, &topic, &made);
    assert!(run.wait(LONG).success(), "{}", site.log());

    let told = site.told("game");
    assert_eq!((told.run, told.total), (expected.sums, expected.sums));
    assert_eq!(told.named, expected.named);
    let seen = Seen::at_rest(&site.out("game"));
    seen.assert_clean();
    assert!(seen.files.len() > 3, "rotated by size");
    let found = by_partition(&seen);
    for (partition, expected) in &expected.lines {
        let found = &found[partition];
        let differs = expected.iter().zip(found).find(|(a, b)| a != b);
        let text = differs.map(|(a, b)| (String::from_utf8_lossy(a), String::from_utf8_lossy(b)));
        assert_eq!((text, found.len()), (None, expected.len()), "partition {partition}");
    }
    assert_eq!(found.len(), expected.lines.len());
    assert_eq!(site.failures().len() as u64, expected.sums.parked);
}

#[test]
fn stopped_in_the_middle_it_goes_on_where_it_was() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("stops", 3);
    let made: Vec<_> = Mix::new(2, 3).take(60_000).collect();
    kafka().produce(&topic, made.iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "rate_limit = 15000");
    let tailer = Tailer::follow(&site.out("game"));
    let mut taken = 0;
    for stop in 1..=3 {
        let before = tailer.bytes();
        let mut run = site.start(&[]);
        site.awaited("more lines", SOON, || (tailer.bytes() > before + 1_000_000).then_some(()));
        run.term();
        assert!(run.wait(SOON).success(), "{}", site.log());

        let told = site.told("game");
        taken += told.run.consumed;
        assert_eq!(told.total.consumed, taken, "stop {stop}");
        assert!(told.run.consumed > 0 && taken < 60_000, "stop {stop} is in the middle: {taken}");
        // Nothing is stored twice: what the group sees is what was taken, and exactly that is in the files.
        let committed: Vec<i64> = kafka().committed(&site.group("game"), &topic).into_iter().flatten().collect();
        assert_eq!(committed.iter().sum::<i64>() as u64, taken, "stop {stop}: {committed:?}");
        let mut checker = Checker::new();
        let is_taken = |m: &&Made| (m.sequence as i64) < committed[m.partition as usize];
        made.iter().filter(is_taken).for_each(|m| checker.expect_made(m));
        checker.check(&Seen::at_rest(&site.out("game")), Order::PerPartition).assert_exact();
    }
    let mut run = site.clear_tasks().task("game", &[&topic], "").start(&["--exit-at-end"]);
    assert!(run.wait(SOON).success(), "{}", site.log());
    let seen = tailer.finish();
    seen.assert_clean();
    let mut checker = Checker::new();
    made.iter().for_each(|m| checker.expect_made(m));
    checker.check(&seen, Order::PerPartition).assert_exact();
    assert_eq!(site.told("game").total, Expected::of(&site, &topic, &made).sums);
}

#[test]
fn two_tasks_at_once_keep_to_themselves() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut site = Site::new(kafka().bootstrap());
    let mut tasks = Vec::new();
    for (seed, name, partitions) in [(3, "left", 2), (4, "right", 3)] {
        let topic = kafka().create_topic(name, partitions);
        let made: Vec<_> = Mix::new(seed, partitions).take(30_000).collect();
        kafka().produce(&topic, made.iter().map(Record::from));
        site.task(name, &[&topic], "");
        tasks.push((name, topic, made));
    }
    let mut run = site.start(&["--exit-at-end"]);
    assert!(run.wait(SOON).success(), "{}", site.log());
    for (name, topic, made) in &tasks {
        let expected = Expected::of(&site, topic, made);
        let seen = Seen::at_rest(&site.out(name));
        seen.assert_clean();
        assert!(by_partition(&seen) == expected.lines, "{name}");
        assert_eq!((site.told(name).run, site.told(name).named), (expected.sums, expected.named));
    }
}

#[test]
fn two_topics_of_one_task_keep_the_order_of_each_partition() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topics = [kafka().create_topic("first", 2), kafka().create_topic("second", 2)];
    let made: Vec<_> = Mix::new(5, 4).take(40_000).collect();
    for (index, topic) in topics.iter().enumerate() {
        let first = index as i32 * 2;
        let mine = made.iter().filter(|m| m.partition / 2 == index as i32);
        kafka().produce(topic, mine.map(|m| Record { partition: m.partition - first, ..Record::from(m) }));
    }
    let mut checker = Checker::new();
    made.iter().for_each(|m| checker.expect_made(m));
    for readers in 1..=3 {
        let mut site = Site::new(kafka().bootstrap());
        let shape = format!("readers = {readers}\nfile_name = \"{{topic}}/{{partition}}_{{seq}}\"");
        site.task("game", &[&topics[0], &topics[1]], &shape);
        assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
        let seen = Seen::at_rest(&site.out("game"));
        seen.assert_clean();
        checker.check(&seen, Order::PerPartition).assert_exact();
        assert_eq!(seen.files.len(), 4);
        for (path, line) in seen.lines() {
            let (partition, _) = support::mark(line).expect("a line of ours");
            let topic = &topics[partition as usize / 2];
            let begin = site.out("game").join(topic).join(format!("{}_", partition % 2));
            assert!(path.to_string_lossy().starts_with(&*begin.to_string_lossy()), "{path:?} {partition}");
        }
    }
}

#[test]
fn a_key_stays_in_its_lane_and_in_order() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("lanes", 3);
    let made: Vec<_> = Mix::new(6, 3).only_written().take(60_000).collect();
    kafka().produce(&topic, made.iter().map(Record::from));
    let mut checker = Checker::new();
    made.iter().for_each(|m| checker.expect_made(m));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "lanes = 4\nwriters = 2\nreaders = 3\ndeliver_by = \"role_id\"");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    let seen = Seen::at_rest(&site.out("game"));
    seen.assert_clean();
    checker.check(&seen, Order::PerFile).assert_exact();
    assert_eq!(seen.files.len(), 4);
    for (path, line) in seen.lines() {
        let made = serde_json::from_slice::<serde_json::Value>(line).expect("JSON");
        let role = made["properties"]["role_id"].as_u64().expect("a role");
        let name = path.file_name().expect("a name").to_string_lossy();
        assert_eq!(name.split('_').next(), Some(&*(role % 4).to_string()), "{name}: {role}");
    }
}

#[test]
fn every_codec_of_kafka_is_read() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("codecs", 1);
    let made: Vec<_> = Mix::new(7, 1).take(10_000).collect();
    let codecs = [Codec::Gzip, Codec::Lz4, Codec::None, Codec::Zstd, Codec::Snappy];
    for (part, codec) in made.chunks(2_000).zip(codecs) {
        kafka().produce_with(&topic, codec, part.iter().map(Record::from));
    }
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    let expected = Expected::of(&site, &topic, &made);
    assert!(by_partition(&Seen::at_rest(&site.out("game"))) == expected.lines);
    assert_eq!((site.told("game").run, site.told("game").named), (expected.sums, expected.named));
}

#[test]
fn values_go_as_they_are_without_a_transform() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("plain", 1);
    let values: [&[u8]; 4] = [b"first \xff\xfe", b"{\"second\":1}", b"", b"fourth"];
    kafka().produce(&topic, values.iter().map(|v| Record { partition: 0, payload: Some(v.to_vec()), timestamp_ms: 1 }));
    let mut site = Site::new(kafka().bootstrap());
    site.task("plain", &[&topic], "transform = \"none\"");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    let seen = Seen::at_rest(&site.out("plain"));
    seen.assert_clean();
    let lines: Vec<&[u8]> = seen.lines().map(|(_, line)| line).collect();
    assert_eq!(lines, [&b"first \xff\xfe"[..], b"{\"second\":1}", b"fourth"]);
    assert_eq!(site.told("plain").run, Sums { consumed: 4, written: 3, filtered: 0, parked: 1 });
}

#[test]
fn packed_values_come_out_line_by_line_without_a_transform() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("packed", 1);
    let pack = |text: &[u8]| snap::raw::Encoder::new().compress_vec(text).expect("snappy");
    let values = [pack(b"one\n\ntwo \xff\n"), b"not packed".to_vec(), pack(b"three")];
    kafka().produce(&topic, values.map(|payload| Record { partition: 0, payload: Some(payload), timestamp_ms: 1 }));
    let mut site = Site::new(kafka().bootstrap());
    site.task("plain", &[&topic], "transform = \"none\"\nvalue_codec = \"snappy\"");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    let seen = Seen::at_rest(&site.out("plain"));
    seen.assert_clean();
    let lines: Vec<&[u8]> = seen.lines().map(|(_, line)| line).collect();
    assert_eq!(lines, [&b"one"[..], b"two \xff", b"three"]);
    assert_eq!(site.told("plain").run, Sums { consumed: 4, written: 3, filtered: 0, parked: 1 });
    assert_eq!(site.failures()[0].code, "E03_CODEC");
}
