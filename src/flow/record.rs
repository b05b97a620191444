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

/// A partition with the place where fetching begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    /// Leader epoch of the record before; -1 where unknown, else the broker is asked whether its log still is the one
    /// that was read.
    pub epoch: i32,
}

/// What a fetched batch holds.
#[derive(Debug)]
pub enum Item<'a> {
    /// A record of the topic with this index.
    Record(u16, Record<'a>),
    /// Nothing more stands before `offset` for now; `epoch` is of what stands before it, -1 where unknown.
    End { topic: u16, partition: i32, offset: i64, epoch: i32 },
    /// The broker's log does not hold the place where the partition stands.
    OutOfRange { topic: u16, partition: i32, reason: String },
    /// The partition cannot be read on from where it stands.
    Broken { topic: u16, partition: i32, offset: i64, reason: String },
    /// The same of this client alone: another one may read on.
    Unfit { topic: u16, partition: i32, offset: i64, reason: String },
    /// Something that is mended without anybody's help.
    Trouble(String),
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
