//! One record as it comes from Kafka, borrowed from the batch that brought it.

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
