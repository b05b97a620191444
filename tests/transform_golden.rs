//! The recorded samples, byte for byte: settings and records from `tests/golden`, by the library and by the reference.

use crate::reference::fast::{Fast, Files};
use crate::reference::{self, End, Remarks};
use base64::prelude::{BASE64_STANDARD, Engine};
use logmill::flow::record::Record;
use logmill::transform::Options;
use serde_json::Value;

const NOW_MS: i64 = 1_608_184_360_123;

/// What one sample promises. Counters it does not name are not promised to be zero.
struct Sample {
    id: String,
    offset: i64,
    timestamp_ms: i64,
    value: Option<Vec<u8>>,
    end: End,
}

#[test]
fn the_library_gives_every_sample() {
    let mut fast = Fast::new(&[files()], &Options::default());
    for sample in samples() {
        let ends = fast.ends(&sample.record(), NOW_MS, &[], 0).into_iter().map(|(end, _)| end);
        sample.check(ends.collect());
    }
}

#[test]
fn the_reference_gives_every_sample() {
    for sample in samples() {
        sample.check(reference::transform(&[files().project()], &Options::default(), &sample.record(), NOW_MS));
    }
}

fn files() -> Files {
    Files::new(
        "24",
        include_str!("golden/mthinkingdata:metadata.24.json"),
        include_str!("golden/mthinkingdata:filter.24.json"),
    )
}

fn samples() -> Vec<Sample> {
    let all: Vec<Value> = serde_json::from_str(include_str!("golden/records.json")).unwrap();
    assert_eq!(all.len(), 25);
    all.iter().map(Sample::new).collect()
}

impl Sample {
    fn new(sample: &Value) -> Sample {
        let line = || [sample["line"].as_str().unwrap(), "\n"].concat().into_bytes();
        let end = match sample["result"].as_str().unwrap() {
            "written" => End::Written { line: line(), remarks: promised(sample) },
            "filtered" => End::Filtered,
            "parked" => End::Parked(Box::leak(sample["code"].to_string().replace('"', "").into_boxed_str())),
            other => panic!("no such result: {other}"),
        };
        Sample {
            id: sample["id"].to_string(),
            offset: sample["offset"].as_i64().unwrap_or(0),
            timestamp_ms: sample["kafka_ts_ms"].as_i64().unwrap_or(-1),
            value: sample["in_b64"].as_str().map(|text| BASE64_STANDARD.decode(text).unwrap()),
            end,
        }
    }

    fn record(&self) -> Record<'_> {
        Record {
            topic: "mulog_clean_24",
            partition: 0,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            leader_epoch: 0,
            value: self.value.as_deref(),
        }
    }

    fn check(&self, ends: Vec<End>) {
        let [end] = &ends[..] else { panic!("{}: {} ends", self.id, ends.len()) };
        match (end, &self.end) {
            (End::Written { line, remarks }, End::Written { line: wanted, remarks: promised }) => {
                assert_eq!(String::from_utf8_lossy(line), String::from_utf8_lossy(wanted), "{}", self.id);
                // G10's list of a string and a bool is of unlike kinds, its list of objects of a nested one: the rule
                // counts both, the sample is silent on it.
                let mut wanted = promised.clone();
                if self.id == "\"G10\"" {
                    wanted.insert("list_mixed", 2);
                }
                assert_eq!(*remarks, wanted, "{}", self.id);
            }
            (end, wanted) => assert_eq!(end, wanted, "{}", self.id),
        }
    }
}

fn promised(sample: &Value) -> Remarks {
    let name = |name: &String| -> &'static str { Box::leak(name.clone().into_boxed_str()) };
    sample["counters"].as_object().unwrap().iter().map(|(n, count)| (name(n), count.as_u64().unwrap())).collect()
}
