//! Lines become records, and records a batch that a broker takes as it is.

use std::collections::VecDeque;
use std::time::Instant;

use super::pack::Packer;
use crate::protocol::batch::{BEFORE, FORMAT, HEAD, sum};
use crate::protocol::message::Id;
use crate::protocol::wire::{put_varint, varint_len};
use crate::tail::cursor::Mark;

/// What a record takes beside its key, value and header's value: four numbers of at most ten bytes and some.
const RECORD_OVERHEAD: usize = 64;

/// Lines of one chunk that are side by side in one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub chunk: u32,
    pub count: u64,
    /// Bytes from the chunk's first line to the first of these, and to behind the last one's newline.
    pub from: u64,
    pub to: u64,
    pub mark: Mark,
    /// No other line of the chunk stands in a later batch.
    pub is_last: bool,
}

/// A line with what goes along.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    pub key: Option<&'a [u8]>,
    pub value: &'a [u8],
    /// Name and value.
    pub header: Option<(&'a [u8], &'a [u8])>,
}

/// The batch that is being filled.
#[derive(Debug, Default)]
struct Open {
    records: Vec<u8>,
    count: i32,
    /// Of the first record and of the newest, since the epoch.
    first_ms: i64,
    last_ms: i64,
    since: Option<Instant>,
    spans: Vec<Span>,
}

/// A batch that is full, or was waited with for long enough.
#[derive(Debug)]
pub struct Sealed {
    pub bytes: Vec<u8>,
    pub spans: Vec<Span>,
    pub count: i32,
    /// Bytes of its records before they were compressed.
    pub size: usize,
    /// It went out: it may stand in the log, and goes out again as it is or not at all.
    pub is_signed: bool,
}

/// Batches of one partition in the order in which they go out.
#[derive(Debug, Default)]
pub struct Pile {
    open: Open,
    pub sealed: VecDeque<Sealed>,
}

impl Pile {
    pub fn is_empty(&self) -> bool {
        self.open.count == 0 && self.sealed.is_empty()
    }

    /// Since when the first line of the open batch waits; `None` where there is none.
    pub fn waits_since(&self) -> Option<Instant> {
        self.open.since
    }

    /// Would a line of these bytes make the open batch larger than `most`?
    pub fn is_full(&self, line: &Line<'_>, most: usize) -> bool {
        self.open.count > 0 && self.open.records.len() + line.bytes() > most
    }

    /// Bytes of the records in the open batch.
    pub fn open_bytes(&self) -> usize {
        self.open.records.len()
    }

    /// Adds a line to the open batch.
    pub fn add(&mut self, line: &Line<'_>, now_ms: i64, now: Instant) {
        let open = &mut self.open;
        if open.count == 0 {
            (open.first_ms, open.since) = (now_ms, Some(now));
        }
        open.last_ms = now_ms.max(open.first_ms);
        line.write(open.last_ms - open.first_ms, i64::from(open.count), &mut open.records);
        open.count += 1;
    }

    /// Says whose the lines are that were added last.
    pub fn mark(&mut self, span: Span) {
        self.open.spans.push(span);
    }

    /// Closes the open batch.
    pub fn seal(&mut self, packer: &mut Packer) {
        if self.open.count == 0 {
            return;
        }
        let mut open = std::mem::take(&mut self.open);
        let (codec, packed) = packer.pack(&open.records);
        let mut bytes = Vec::with_capacity(HEAD + packed.len());
        bytes.extend(0_i64.to_be_bytes());
        bytes.extend(((HEAD - BEFORE + packed.len()) as i32).to_be_bytes());
        bytes.extend((-1_i32).to_be_bytes());
        bytes.extend([FORMAT, 0, 0, 0, 0]);
        bytes.extend(codec.to_be_bytes());
        bytes.extend((open.count - 1).to_be_bytes());
        bytes.extend(open.first_ms.to_be_bytes());
        bytes.extend(open.last_ms.to_be_bytes());
        bytes.extend([0; 14]);
        bytes.extend(open.count.to_be_bytes());
        bytes.extend_from_slice(packed);
        let size = open.records.len();
        open.records.clear();
        self.open.records = open.records;
        self.sealed.push_back(Sealed { bytes, spans: open.spans, count: open.count, size, is_signed: false });
    }

    /// Takes the batches of another one behind its own.
    pub fn append(&mut self, mut other: Pile, packer: &mut Packer) {
        self.seal(packer);
        other.seal(packer);
        self.sealed.append(&mut other.sealed);
    }
}

impl Sealed {
    /// From now on it is the batch with this number of this sender.
    pub fn sign(&mut self, id: Id, sequence: i32) {
        self.is_signed = true;
        self.bytes[43..51].copy_from_slice(&id.producer.to_be_bytes());
        self.bytes[51..53].copy_from_slice(&id.epoch.to_be_bytes());
        self.bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
        sum(&mut self.bytes);
    }
}

impl Line<'_> {
    fn bytes(&self) -> usize {
        let header = self.header.map_or(0, |(name, value)| name.len() + value.len());
        RECORD_OVERHEAD + self.value.len() + self.key.map_or(0, <[u8]>::len) + header
    }

    fn write(&self, age_ms: i64, number: i64, to: &mut Vec<u8>) {
        let (key, value) = (self.key.map_or(-1, |key| key.len() as i64), self.value.len() as i64);
        let mut length = 1 + varint_len(age_ms) + varint_len(number) + varint_len(key) + varint_len(value) + 1;
        length += self.key.map_or(0, <[u8]>::len) + self.value.len();
        if let Some((name, value)) = self.header {
            length += varint_len(name.len() as i64) + name.len() + varint_len(value.len() as i64) + value.len();
        }
        to.reserve(length + 10);
        put_varint(length as i64, to);
        to.push(0);
        put_varint(age_ms, to);
        put_varint(number, to);
        put_varint(key, to);
        to.extend_from_slice(self.key.unwrap_or_default());
        put_varint(value, to);
        to.extend_from_slice(self.value);
        put_varint(i64::from(self.header.is_some()), to);
        if let Some((name, value)) = self.header {
            for part in [name, value] {
                put_varint(part.len() as i64, to);
                to.extend_from_slice(part);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::batch::Head;
    use crate::protocol::codec::Codecs;
    use crate::protocol::wire::Cursor;

    proptest! {
        /// What is written is what the reading side reads, whatever the codec.
        #[test]
        fn a_batch_comes_back(
            lines in proptest::collection::vec(
                (proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
                 proptest::collection::vec(any::<u8>(), 0..300), 0..3_i64),
                1..40),
            codec in 0..5_usize,
        ) {
            let mut packer = Packer::of(["none", "gzip", "snappy", "lz4", "zstd"][codec]).unwrap();
            let mut pile = Pile::default();
            let mut now_ms = 1000;
            for (key, value, later) in &lines {
                now_ms += later * 100;
                let header = (*later == 1).then_some((&b"name"[..], &b"value"[..]));
                pile.add(&Line { key: key.as_deref(), value, header }, now_ms, Instant::now());
            }
            pile.seal(&mut packer);
            let mut sealed = pile.sealed.pop_front().unwrap();
            sealed.sign(Id { producer: 7, epoch: 3 }, 11);
            let head = Head::read(&sealed.bytes).unwrap().unwrap();
            head.check(&sealed.bytes).unwrap();
            prop_assert_eq!((head.records as usize, head.producer_id, head.codec()), (lines.len(), 7, codec as i16));
            let mut codecs = Codecs::default();
            let mut records = &sealed.bytes[HEAD..];
            if codec > 0 {
                codecs.unpack(head.codec(), records).unwrap();
                records = codecs.unpacked();
            }
            let mut read = Cursor::new(records);
            let mut now_ms = 1000;
            for (number, (key, value, later)) in lines.iter().enumerate() {
                now_ms += later * 100;
                let raw = head.record(&mut read, 0).unwrap();
                prop_assert_eq!((raw.offset, raw.timestamp_ms), (number as i64, now_ms));
                prop_assert_eq!((raw.key, raw.value), (key.as_deref(), Some(&value[..])));
            }
            head.finish(&read).unwrap();
        }
    }
}
