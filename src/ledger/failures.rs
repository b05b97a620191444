//! The failure queue's records: one line of JSON each, with a version and a checksum, appended to segment files.
//!
//! ```text
//! {"v":1,"crc":"9a3c01fe","code":"E05_JSON","detail":…,"topic":…,"partition":…,"offset":…,"k":…,"timestamp_ms":…,
//!  "parked_ms":…,"attempts":1,"bytes":…,"payload":"<base64>"}
//! ```
//! `crc` is the CRC-32 of the line's text behind the crc member, from `"code"` up to the newline. `bytes` is the
//! payload's full length: a payload that does not fit the ring is kept cut, and is still in Kafka.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The file name pattern of segments.
pub const SEGMENT: &str = "failures_{seq}.jsonl";

const VERSION: &str = "{\"v\":1,\"crc\":\"";

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
    pub parked_ms: i64,
    pub attempts: u32,
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
