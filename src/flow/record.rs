//! One record as it comes from Kafka, borrowed from the batch that brought it.

use serde::{Deserialize, Serialize};

/// A Kafka record. It lives as long as the fetched batch.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since the epoch; -1 where the record carries none.
    pub timestamp_ms: i64,
    pub leader_epoch: i32,
    /// `None` is Kafka's null value (a tombstone).
    pub value: Option<&'a [u8]>,
}

/// A record for people's eyes, and what became of it. Long texts are cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// Its number within its value.
    pub k: u32,
    /// "written", "filtered", or the reason for which it was parked.
    pub ended: String,
    pub value: String,
    /// The line, "" where there is none.
    pub line: String,
}
