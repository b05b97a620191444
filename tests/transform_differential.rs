//! Random settings, random and damaged records: the library must end every one as the reference does. A run is as long
//! as LOGMILL_DIFF_RECORDS says and begins at LOGMILL_DIFF_SEED; a mismatch names the seed that shows it at once.

mod dice;
mod mutate;
mod records;
mod worlds;

use std::io::Write;

use base64::prelude::{BASE64_STANDARD, Engine};
use logmill::flow::record::Record;
use logmill::flow::tally::Tally;
use logmill::transform::{LaneRule, Options, Out, Stop, Transformer, ValueCodec, Verdict};

use crate::reference;
use crate::reference::fast::{self, EndAndLanes, Fast, Files};
use crate::reference::lane::lane;
use crate::reference::settings::Project;
use crate::support::times;
use dice::Dice;
use records::Shape;

const NOW_MS: i64 = 1_608_184_360_123;

/// Of a run that `LOGMILL_DIFF_RECORDS` does not make longer.
const RECORDS: u64 = 100_000;

/// Records with one set of settings and options.
const WORLD_RECORDS: u64 = 250;

#[test]
fn the_library_ends_every_record_as_the_reference_does() {
    let records = times("LOGMILL_DIFF_RECORDS", RECORDS);
    let seed = times("LOGMILL_DIFF_SEED", 1);
    let mut ends = std::collections::BTreeMap::new();
    for world in 0..records.div_ceil(WORLD_RECORDS) {
        World::new(seed + world).run(&mut ends);
    }
    // What never happens is not compared: every end must be met often enough to mean something.
    println!("{ends:#?}");
    let met = |end: &str| ends.get(end).copied().unwrap_or(0);
    if records >= RECORDS {
        assert!(met("written") > records / 4, "{ends:#?}");
        for end in ["filtered", "E03_CODEC", "E06_DEPTH", "E13_ID_LEN", "E17_EMPTY_PROPS", "E19_BAD_PROPERTY"] {
            assert!(met(end) > 50, "{end}: {ends:#?}");
        }
    }
}

type Ends = std::collections::BTreeMap<String, u64>;

struct World {
    seed: u64,
    dice: Dice,
    files: Vec<Files>,
    projects: Vec<Project>,
    options: Options,
    fast: Fast,
    lanes: Vec<(u32, Option<String>)>,
    rules: Vec<LaneRule>,
}

/// Where in a run the test is, told if it panics.
struct Case<'a> {
    world: &'a str,
    record: &'a Record<'a>,
}

impl Drop for Case<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let value = self.record.value.unwrap_or_default();
            let shown = String::from_utf8_lossy(&value[..value.len().min(5000)]);
            let base64 = BASE64_STANDARD.encode(value);
            eprintln!("{}\n{:?}\nvalue: {shown}\nbase64: {base64}", self.world, Record { value: None, ..*self.record });
        }
    }
}

impl World {
    fn new(seed: u64) -> World {
        let mut dice = Dice::new(seed);
        let files = worlds::files(&mut dice);
        let options = worlds::options(&mut dice);
        let lanes: Vec<(u32, Option<String>)> = (0..3).map(|_| worlds::lane_rule(&mut dice)).collect();
        World {
            seed,
            projects: files.iter().map(Files::project).collect(),
            fast: Fast::new(&files, &options),
            rules: lanes.iter().map(|(lanes, field)| LaneRule::new(*lanes, field.clone())).collect(),
            dice,
            files,
            options,
            lanes,
        }
    }

    fn run(&mut self, ends: &mut Ends) {
        let mut shapes: Vec<Shape> = Vec::new();
        let mut other = include_bytes!("golden/records.json").to_vec();
        let mut told = self.told();
        for n in 0..WORLD_RECORDS {
            if n == WORLD_RECORDS / 2 {
                self.reload();
                told = self.told();
            }
            if shapes.is_empty() || self.dice.one_in(4) {
                shapes.push(Shape::new(&mut self.dice));
            }
            let value = self.value(&shapes, &other);
            let dice = &mut self.dice;
            let record = Record {
                topic: dice.pick(&["mulog_clean_24", "t"]),
                partition: dice.below(40) as i32,
                offset: if dice.one_in(20) { -1 } else { (dice.next() >> 20) as i64 },
                timestamp_ms: if dice.one_in(3) { -1 } else { 1_608_000_000_000 + dice.below(300_000_000) as i64 },
                leader_epoch: 0,
                value: Some(&value),
            };
            let case = Case { world: &told, record: &record };
            self.compare(&record, ends);
            drop(case);
            other = value;
        }
    }

    /// What shows a mismatch of this world again.
    fn told(&self) -> String {
        let replay = format!("LOGMILL_DIFF_SEED={} LOGMILL_DIFF_RECORDS={WORLD_RECORDS}", self.seed);
        format!("{replay}\n{:#?}\n{:?}\n{:?}", self.files, self.options, self.lanes)
    }

    /// Other settings, while the transformer has seen the records' shapes with the first.
    fn reload(&mut self) {
        self.files = worlds::files(&mut self.dice);
        self.projects = self.files.iter().map(Files::project).collect();
        self.fast.reload(&self.files);
    }

    /// One record, or several behind a codec; one in six damaged.
    fn value(&mut self, shapes: &[Shape], other: &[u8]) -> Vec<u8> {
        let dice = &mut self.dice;
        let record = |dice: &mut Dice| {
            let mut text = shapes[dice.below(shapes.len())].draw(dice).into_bytes();
            if dice.one_in(60) {
                text.splice(0..0, "\u{feff}".bytes());
            }
            if dice.one_in(6) {
                mutate::mutate(dice, &mut text, other);
            }
            text
        };
        if self.options.value_codec == ValueCodec::None {
            return record(dice);
        }
        // Between records a line's end is a border: within them it may be white space only now and then.
        let record = |dice: &mut Dice| {
            let mut text = record(dice);
            if !dice.one_in(10) {
                text.iter_mut().filter(|b| **b == b'\n').for_each(|b| *b = b' ');
            }
            text
        };
        let mut lines = record(dice);
        while dice.one_in(2) {
            lines.extend(dice.pick(&["\n", "\r\n", "\n \n"]).bytes());
            lines.extend(record(dice));
        }
        let mut value = compress(dice, &lines);
        if dice.one_in(6) {
            mutate::mutate(dice, &mut value, other);
        }
        value
    }

    fn compare(&mut self, record: &Record<'_>, ends: &mut Ends) {
        let value = record.value.unwrap_or_default();
        let wanted = reference::transform(&self.projects, &self.options, record, NOW_MS);
        let room = self.dice.below(1500);
        let found = self.fast.ends(record, NOW_MS, &self.rules, room);
        let found_ends: Vec<_> = found.iter().map(|(end, _)| end).collect();
        assert_eq!(found_ends, wanted.iter().collect::<Vec<_>>(), "library, then reference");
        for ((lanes, field), rule) in self.lanes.iter().zip(&self.rules) {
            let wanted = lane(*lanes, field.as_deref(), record, value);
            assert_eq!(rule.of_value(record, value), wanted, "library, then reference: lane of the value, {rule:?}");
        }
        self.compare_lanes(record, &found);
        for end in wanted {
            let name = match end {
                reference::End::Written { .. } => "written",
                reference::End::Filtered => "filtered",
                reference::End::Parked(code) => code,
            };
            *ends.entry(name.to_string()).or_default() += 1;
        }
    }

    fn compare_lanes(&self, record: &Record<'_>, found: &[EndAndLanes]) {
        let Ok(pieces) = reference::pieces(&self.options, record.value) else { return };
        for (piece, (_, found)) in pieces.iter().zip(found) {
            let Some(found) = found else { continue };
            let wanted: Vec<u32> =
                self.lanes.iter().map(|(lanes, field)| lane(*lanes, field.as_deref(), record, piece)).collect();
            assert_eq!(*found, wanted, "library, then reference: lanes");
        }
    }
}

fn compress(dice: &mut Dice, content: &[u8]) -> Vec<u8> {
    let raw = |content: &[u8]| snap::raw::Encoder::new().compress_vec(content).unwrap();
    match dice.below(3) {
        0 => raw(content),
        1 => {
            let mut writer = snap::write::FrameEncoder::new(Vec::new());
            writer.write_all(content).unwrap();
            writer.into_inner().unwrap()
        }
        _ => {
            let mut value = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01".to_vec();
            for block in content.chunks(1 + dice.below(2000)) {
                let block = raw(block);
                value.extend((block.len() as u32).to_be_bytes());
                value.extend(block);
            }
            value
        }
    }
}

#[test]
fn a_line_without_room_can_be_written_again() {
    let metadata = r##"[{"log_name":"e","metadata":{"#account_id":{"field":"id"}}}]"##;
    let program = fast::load(&[Files::new("24", metadata, "")]).unwrap();
    let value = br#"{"headers":{"app_id":24,"log_name":"e"},"logs":{"id":"x","a":[1,{"b":"\n"}],"n":null}}"#;
    let record =
        Record { topic: "t", partition: 0, offset: 0, timestamp_ms: NOW_MS, leader_epoch: 0, value: Some(value) };
    let line = concat!(
        r##"{"#account_id":"x","#distinct_id":"","#event_name":"t_e","#ip":"","#time":"2020-12-17 13:52:40","##,
        r##""#type":"track","properties":{"id":"x","a":[1,{"b":"\n"}]}}"##,
        "\n"
    );
    let mut transformer = Transformer::new(Options::default());
    let Verdict::Ready(mut ready) = transformer.read(&program, &record, value, 0, NOW_MS) else { panic!("not ready") };
    for room in 0..line.len() {
        let (mut bytes, mut tally) = (vec![0; room], Tally::default());
        assert_eq!(ready.emit(&mut Out::new(&mut bytes), &mut tally), Err(Stop::Full), "{room}");
        assert_eq!(tally, Tally::default());
        let (mut bytes, mut tally) = (vec![0; line.len()], Tally::default());
        let mut out = Out::new(&mut bytes);
        assert_eq!(ready.emit(&mut out, &mut tally), Ok(()));
        assert_eq!(String::from_utf8_lossy(out.written()), line);
        assert_eq!(tally.named().collect::<Vec<_>>(), [("time_fallback", 1), ("prop_null", 1), ("list_mixed", 1)]);
    }
}
