//! The failure queue's records: one line of JSON each, with a version and a checksum, appended to segment files.
//!
//! ```text
//! {"v":1,"crc":"9a3c01fe","code":"E05_JSON","detail":…,"topic":…,"partition":…,"offset":…,"k":…,"timestamp_ms":…,
//!  "parked_ms":…,"attempts":1,"whole":true,"bytes":…,"payload":"<base64>"}
//! ```
//! `crc` is the CRC-32 of the line's text behind the crc member, from `"code"` up to the newline. `bytes` is the
//! payload's full length: a payload that does not fit the ring is kept cut, and is still in Kafka.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::flow::tally::{Code, Tally};

/// The file name pattern of segments.
pub const SEGMENT: &str = "failures_{seq}.jsonl";

const VERSION: &str = "{\"v\":1,\"crc\":\"";

/// What a retry, a clear or a list is about; what is not named is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Reasons, as `E05_JSON` or its number alone, `E05`; any of them. Empty: all.
    #[serde(default)]
    pub codes: Vec<String>,
    pub topic: Option<String>,
    pub partition: Option<i32>,
    pub offset: Option<i64>,
    /// First parked at this moment or later, milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// First parked before.
    pub before_ms: Option<i64>,
}

/// Reasons that other settings may mend: they get one new attempt after each accepted reload.
const MENDABLE: [Code; 10] = [
    Code::E09_LOG_NAME,
    Code::E10_APP_ID,
    Code::E11_LOGS,
    Code::E12_ID_TYPE,
    Code::E13_ID_LEN,
    Code::E14_NO_ID,
    Code::E15_EVENT_NAME,
    Code::E16_EVENT_ID,
    Code::E17_EMPTY_PROPS,
    Code::E20_UNKNOWN_LOG,
];

impl Filter {
    /// Of the new attempt after accepted settings.
    pub fn after_reload() -> Filter {
        Filter { codes: MENDABLE.iter().map(|code| code.name().into()).collect(), ..Filter::default() }
    }

    /// # Errors
    /// A reason that there is none of.
    pub fn check(&self) -> Result<(), String> {
        let known = |asked: &&String| Code::ALL.iter().any(|code| is_named(code.name(), asked));
        match self.codes.iter().find(|asked| !known(asked)) {
            None => Ok(()),
            Some(asked) => {
                let all: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
                Err(format!("there is no reason {asked}; the reasons are {}", all.join(", ")))
            }
        }
    }

    pub fn matches(&self, failure: &Failure) -> bool {
        let Filter { codes, topic, partition, offset, since_ms, before_ms } = self;
        (codes.is_empty() || codes.iter().any(|asked| is_named(&failure.code, asked)))
            && topic.as_ref().is_none_or(|asked| *asked == failure.topic)
            && partition.is_none_or(|asked| asked == failure.partition)
            && offset.is_none_or(|asked| asked == failure.offset)
            && since_ms.is_none_or(|asked| failure.parked_ms >= asked)
            && before_ms.is_none_or(|asked| failure.parked_ms < asked)
    }

    /// Could match a record of this task: one of its reasons was ever counted.
    pub fn may_match(&self, tally: &Tally) -> bool {
        Code::ALL.iter().any(|code| {
            tally.code(*code) > 0 && (self.codes.is_empty() || self.codes.iter().any(|c| is_named(code.name(), c)))
        })
    }
}

fn is_named(code: &str, asked: &str) -> bool {
    code == asked || code.split_once('_').is_some_and(|(number, _)| number == asked)
}

/// A parked record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable code, such as `E05_JSON`.
    pub code: String,
    /// A sentence for the operator.
    pub detail: String,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// The record's number within its value.
    pub k: u32,
    /// Kafka's; -1 where the record carries none.
    pub timestamp_ms: i64,
    /// When it was parked first.
    pub parked_ms: i64,
    pub attempts: u32,
    /// The payload is Kafka's value as it came; else it is the record number `k` of an unpacked one. Of a whole value,
    /// records before `k` are taken already.
    #[serde(default)]
    pub whole: bool,
    /// Bytes of the whole payload; -1 for Kafka's null value.
    pub bytes: i64,
    #[serde(with = "base64_text")]
    pub payload: Vec<u8>,
}

impl Failure {
    /// The line with its newline.
    pub fn line(&self) -> Vec<u8> {
        let body = serde_json::to_string(self).unwrap_or_else(|e| unreachable!("plain fields always serialise: {e}"));
        let body = &body[1..];
        format!("{VERSION}{:08x}\",{body}\n", crc32fast::hash(body.as_bytes())).into_bytes()
    }

    /// # Errors
    /// What does not fit.
    pub fn parse(line: &[u8]) -> Result<Failure, String> {
        let text = std::str::from_utf8(line).map_err(|e| e.to_string())?.trim_end_matches('\n');
        let rest = text.strip_prefix(VERSION).ok_or("it does not begin as a parked record of version 1")?;
        let (crc, body) = rest.split_once("\",").ok_or("its checksum is not closed")?;
        if u32::from_str_radix(crc, 16).ok() != Some(crc32fast::hash(body.as_bytes())) {
            return Err("its checksum does not fit".into());
        }
        serde_json::from_str(&format!("{{{body}")).map_err(|e| e.to_string())
    }

    /// Not all of its payload is here.
    pub fn is_cut(&self) -> bool {
        self.bytes > self.payload.len() as i64
    }

    /// Keeps as much of `payload` as lets the whole line fit into `room` bytes.
    pub fn keep(&mut self, payload: Option<&[u8]>, room: usize) {
        let payload_len = payload.map_or(-1, |p| p.len() as i64);
        self.bytes = payload_len;
        let most = room.saturating_sub(1024 + self.detail.len() * 6) / 4 * 3;
        self.payload = payload.map(|p| p[..p.len().min(most)].to_vec()).unwrap_or_default();
    }
}

mod base64_text {
    use super::{Engine, STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(d)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        let mut f = Failure {
            code: "E05_JSON".into(),
            detail: "a \"quote\"\nand more".into(),
            topic: "t".into(),
            partition: 3,
            offset: 77,
            k: 2,
            timestamp_ms: -1,
            parked_ms: 5,
            attempts: 1,
            whole: true,
            bytes: 0,
            payload: Vec::new(),
        };
        f.keep(Some(b"{\"x\":\xff"), 4096);
        f
    }

    #[test]
    fn a_parked_record_reads_back_and_is_one_line() {
        let line = failure().line();
        assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
        assert_eq!(Failure::parse(&line), Ok(failure()));
    }

    #[test]
    fn a_filter_asks_for_all_that_it_names_and_nothing_else() {
        let filter = |text: &str| serde_json::from_str::<Filter>(text).unwrap();
        for (text, matches) in [
            ("{}", true),
            (r#"{"codes":["E06","E05"]}"#, true),
            (r#"{"codes":["E05_JSON"],"topic":"t","partition":3,"offset":77,"since_ms":5,"before_ms":6}"#, true),
            (r#"{"codes":["E0"]}"#, false),
            (r#"{"codes":["E06"]}"#, false),
            (r#"{"topic":"u"}"#, false),
            (r#"{"partition":2}"#, false),
            (r#"{"offset":78}"#, false),
            (r#"{"since_ms":6}"#, false),
            (r#"{"before_ms":5}"#, false),
        ] {
            assert_eq!(filter(text).matches(&failure()), matches, "{text}");
        }
        assert_eq!(filter(r#"{"codes":["E05","E21_CRASH"]}"#).check(), Ok(()));
        assert!(filter(r#"{"codes":["E5"]}"#).check().unwrap_err().starts_with("there is no reason E5; "));
        assert!(!Filter::after_reload().matches(&failure()));
        assert_eq!(Filter::after_reload().check(), Ok(()));
        let mut tally = Tally::default();
        assert!(!Filter::default().may_match(&tally));
        tally.park(Code::E05_JSON);
        assert!(Filter::default().may_match(&tally) && !Filter::after_reload().may_match(&tally));
    }

    #[test]
    fn no_flipped_byte_is_believed() {
        let line = failure().line();
        for at in 0..line.len() - 1 {
            let mut bad = line.clone();
            bad[at] ^= 0x04;
            assert_ne!(Failure::parse(&bad), Ok(failure()), "byte {at}");
        }
    }

    #[test]
    fn a_payload_is_cut_to_the_room_and_says_so() {
        let mut f = failure();
        f.keep(Some(&[7; 100_000]), 50_000);
        assert!(f.line().len() <= 50_000 && f.payload.len() > 30_000);
        assert_eq!(f.bytes, 100_000);
    }
}
