//! Record batches as they lie in a partition's log (magic 2), walked in place.

use super::wire::{Cursor, Damaged};

/// Bytes that a batch's length does not count.
pub const BEFORE: usize = 12;
/// Bytes of a batch's head, those included.
pub const HEAD: usize = 61;
/// Where the format's number stands: at the same place in every format.
const MAGIC: usize = 16;
/// The format that is spoken here.
pub const FORMAT: u8 = 2;
/// Where the checksum stands, and the bytes that it is of begin.
const SUM: usize = 17;
const SUMMED: usize = 21;

/// Why a partition's bytes cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("the batch at offset {offset} is of format {magic} of before Kafka 0.11, which is not read here")]
    Old { offset: i64, magic: u8 },
    #[error("the batch at offset {offset} has a head that cannot be: {what}")]
    Head { offset: i64, what: &'static str },
    #[error("the batch at offset {offset} fails its checksum")]
    Checksum { offset: i64 },
    #[error("the batch at offset {offset} has a damaged record: {source}")]
    Record { offset: i64, source: Damaged },
    #[error("the batch at offset {offset} cannot be unpacked: {reason}")]
    Codec { offset: i64, reason: String },
}

/// A batch's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub base_offset: i64,
    /// Of its last record, also where compaction has removed that.
    pub last_offset: i64,
    pub leader_epoch: i32,
    checksum: u32,
    attributes: i16,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
    pub producer_id: i64,
    /// Records that it holds.
    pub records: u32,
    /// Bytes of the whole batch.
    pub bytes: usize,
}

impl Head {
    /// The batch that begins `bytes`; `None` where it is not there as a whole.
    ///
    /// # Errors
    /// It is of another format, or cannot be one.
    pub fn read(bytes: &[u8]) -> Result<Option<Head>, BatchError> {
        let Some(offset) = bytes.first_chunk().map(|offset| i64::from_be_bytes(*offset)) else { return Ok(None) };
        if let Some(magic) = bytes.get(MAGIC).copied().filter(|magic| *magic != FORMAT) {
            return Err(BatchError::Old { offset, magic });
        }
        let Ok((head, length, last)) = Head::parse(&mut Cursor::new(bytes)) else { return Ok(None) };
        let error = |what| Err(BatchError::Head { offset, what });
        if head.bytes < HEAD || length < 0 {
            return error("its length");
        }
        if offset < 0 || last < 0 || offset.checked_add(i64::from(last) + 1).is_none() {
            return error("its offsets");
        }
        if i64::from(head.records) > i64::from(last) + 1 {
            return error("its number of records");
        }
        Ok((head.bytes <= bytes.len()).then_some(head))
    }

    /// With its length and the distance of its last offset, both as they stand there.
    fn parse(read: &mut Cursor<'_>) -> Result<(Head, i32, i32), Damaged> {
        let (base_offset, length, leader_epoch, _magic) = (read.i64()?, read.i32()?, read.i32()?, read.i8()?);
        let (checksum, attributes, last) = (read.i32()? as u32, read.i16()?, read.i32()?);
        let (base_timestamp_ms, max_timestamp_ms) = (read.i64()?, read.i64()?);
        let (producer_id, _epoch, _sequence) = (read.i64()?, read.i16()?, read.i32()?);
        let records = read.i32()? as u32;
        let last_offset = base_offset.wrapping_add(i64::from(last));
        let bytes = (length as usize).saturating_add(BEFORE);
        let head = Head {
            base_offset,
            last_offset,
            leader_epoch,
            checksum,
            attributes,
            base_timestamp_ms,
            max_timestamp_ms,
            producer_id,
            records,
            bytes,
        };
        Ok((head, length, last))
    }

    /// The offset behind it.
    pub fn next(&self) -> i64 {
        self.last_offset + 1
    }

    /// As [`super::codec::Codecs::unpack`] takes it; 0: its records are not compressed.
    pub fn codec(&self) -> i16 {
        self.attributes & 7
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    /// It tells how a transaction ended, and holds no records for readers.
    pub fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// # Errors
    /// These are not the bytes that were produced.
    pub fn check(&self, batch: &[u8]) -> Result<(), BatchError> {
        let sum = crc32c::crc32c(batch.get(SUMMED..).unwrap_or(&[]));
        if sum == self.checksum { Ok(()) } else { Err(BatchError::Checksum { offset: self.base_offset }) }
    }

    /// The next of its records, which `read` stands at; no offset below `least` may come.
    ///
    /// # Errors
    /// It cannot be one.
    #[inline]
    pub fn record<'a>(&self, read: &mut Cursor<'a>, least: i64) -> Result<Raw<'a>, BatchError> {
        let error = |source| BatchError::Record { offset: self.base_offset, source };
        let (distance, age, key, value) = record(read).map_err(error)?;
        let offset = self.base_offset.saturating_add(distance);
        if !(least..=self.last_offset).contains(&offset) {
            return Err(error(read.damaged("an offset that cannot stand here")));
        }
        let is_the_brokers = self.attributes & 8 != 0;
        let timestamp_ms =
            if is_the_brokers { self.max_timestamp_ms } else { self.base_timestamp_ms.wrapping_add(age) };
        Ok(Raw { offset, timestamp_ms, key, value })
    }

    /// # Errors
    /// There are bytes behind the last record.
    pub fn finish(&self, read: &Cursor<'_>) -> Result<(), BatchError> {
        if read.rest() == 0 {
            return Ok(());
        }
        let source = read.damaged("bytes behind the last record");
        Err(BatchError::Record { offset: self.base_offset, source })
    }

    /// Does this control batch say that its producer's transaction was aborted?
    ///
    /// # Errors
    /// Its record cannot be one.
    pub fn is_abort(&self, batch: &[u8]) -> Result<bool, BatchError> {
        let raw = self.record(&mut Cursor::new(batch.get(HEAD..).unwrap_or(&[])), self.base_offset)?;
        // Version and kind, two bytes each.
        Ok(raw.key.and_then(|key| key.get(2..4)) == Some(&[0, 0]))
    }
}

/// Makes the checksum of a whole batch right.
pub fn sum(batch: &mut [u8]) {
    let sum = crc32c::crc32c(&batch[SUMMED..]);
    batch[SUM..SUMMED].copy_from_slice(&sum.to_be_bytes());
}

/// A record as it stands in its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a> {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
}

type Fields<'a> = (i64, i64, Option<&'a [u8]>, Option<&'a [u8]>);

/// Distance from the first offset, from the first time, key and value. Headers are passed over.
#[inline]
fn record<'a>(read: &mut Cursor<'a>) -> Result<Fields<'a>, Damaged> {
    let length = length(read)?.unwrap_or(0);
    let mut inner = Cursor::new(read.take(length)?);
    let _attributes = inner.i8()?;
    let (age, distance) = (inner.varint()?, inner.varint()?);
    let key = nullable(&mut inner)?;
    let value = nullable(&mut inner)?;
    Ok((distance, age, key, value))
}

#[inline]
fn nullable<'a>(read: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, Damaged> {
    length(read)?.map(|length| read.take(length)).transpose()
}

#[inline]
fn length(read: &mut Cursor<'_>) -> Result<Option<usize>, Damaged> {
    match read.varint()? {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| read.damaged("a length below zero")),
    }
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::super::wire::put_varint;
    use super::*;

    /// Distance of the offset, key, value.
    pub type Plain<'a> = (i64, Option<&'a [u8]>, Option<&'a [u8]>);

    /// Records as they stand in a batch.
    pub fn records(all: &[Plain<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (distance, key, value) in all {
            let mut record = vec![0];
            put_varint(distance * 10, &mut record);
            put_varint(*distance, &mut record);
            for part in [key, value] {
                put_varint(part.map_or(-1, |part| part.len() as i64), &mut record);
                record.extend_from_slice(part.unwrap_or(&[]));
            }
            put_varint(0, &mut record);
            put_varint(record.len() as i64, &mut bytes);
            bytes.extend_from_slice(&record);
        }
        bytes
    }

    /// A batch with these records, compressed or not, and its checksum.
    pub fn batch(base: i64, last: i32, attributes: i16, producer: i64, count: i32, body: &[u8]) -> Vec<u8> {
        let mut bytes = base.to_be_bytes().to_vec();
        bytes.extend(((HEAD - BEFORE + body.len()) as i32).to_be_bytes());
        bytes.extend(5_i32.to_be_bytes());
        bytes.extend([FORMAT, 0, 0, 0, 0]);
        bytes.extend(attributes.to_be_bytes());
        bytes.extend(last.to_be_bytes());
        bytes.extend(1_000_i64.to_be_bytes());
        bytes.extend(2_000_i64.to_be_bytes());
        bytes.extend(producer.to_be_bytes());
        bytes.extend([0; 6]);
        bytes.extend(count.to_be_bytes());
        bytes.extend_from_slice(body);
        sum(&mut bytes);
        bytes
    }

    fn one() -> Vec<u8> {
        let body = records(&[(0, None, Some(b"a")), (2, Some(b"k"), None), (3, None, Some(b""))]);
        batch(100, 4, 0, -1, 3, &body)
    }

    #[test]
    fn records_are_walked_in_place() {
        let bytes = one();
        let head = Head::read(&bytes).unwrap().unwrap();
        assert_eq!((head.bytes, head.next(), head.leader_epoch, head.records), (bytes.len(), 105, 5, 3));
        head.check(&bytes).unwrap();
        let mut read = Cursor::new(&bytes[HEAD..]);
        let raw = |offset, timestamp_ms, key, value| Raw { offset, timestamp_ms, key, value };
        assert_eq!(head.record(&mut read, head.base_offset), Ok(raw(100, 1000, None, Some(&b"a"[..]))));
        assert_eq!(head.record(&mut read, head.base_offset), Ok(raw(102, 1020, Some(&b"k"[..]), None)));
        assert!(head.finish(&read).is_err());
        assert_eq!(head.record(&mut read, head.base_offset), Ok(raw(103, 1030, None, Some(&b""[..]))));
        assert_eq!(head.finish(&read), Ok(()));
        assert!(head.record(&mut read, head.base_offset).is_err());
        let brokers_time = batch(0, 0, 8, -1, 1, &records(&[(0, None, None)]));
        let head = Head::read(&brokers_time).unwrap().unwrap();
        assert_eq!(head.record(&mut Cursor::new(&brokers_time[HEAD..]), 0), Ok(raw(0, 2000, None, None)));
    }

    #[test]
    fn a_part_of_a_batch_is_none_and_a_bad_one_is_named() {
        let bytes = one();
        assert!((0..bytes.len()).all(|length| Head::read(&bytes[..length]) == Ok(None)));
        let spoiled = |at: usize, with: &[u8]| {
            let mut bytes = one();
            bytes[at..at + with.len()].copy_from_slice(with);
            Head::read(&bytes).unwrap_err().to_string()
        };
        assert!(spoiled(MAGIC, &[1]).contains("is of format 1"));
        assert!(spoiled(8, &[0, 0, 0, 48]).contains("its length"));
        assert!(spoiled(8, &[0xff; 4]).contains("its length"));
        assert!(spoiled(0, &[0xff]).contains("its offsets"));
        assert!(spoiled(0, &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).contains("its offsets"));
        assert!(spoiled(57, &[0, 0, 0, 6]).contains("its number of records"));
    }

    #[test]
    fn a_flipped_bit_fails_the_checksum() {
        for at in SUMMED..one().len() {
            let mut bytes = one();
            bytes[at] ^= 0x10;
            let Ok(Some(head)) = Head::read(&bytes) else { continue };
            assert_eq!(head.check(&bytes), Err(BatchError::Checksum { offset: 100 }), "at {at}");
        }
    }

    #[test]
    fn markers_tell_how_a_transaction_ended() {
        for (kind, is_abort) in [(0, true), (1, false)] {
            let marker = batch(7, 0, 0x30, 9, 1, &records(&[(0, Some(&[0, 0, 0, kind]), Some(&[0; 6]))]));
            let head = Head::read(&marker).unwrap().unwrap();
            assert!(head.is_control() && head.is_transactional());
            assert_eq!(head.is_abort(&marker), Ok(is_abort));
        }
    }

    proptest! {
        /// Whatever the bytes are, the walk ends within them.
        #[test]
        fn no_bytes_lead_the_walk_astray(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
            spoil in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            made in any::<bool>(),
        ) {
            if made {
                bytes = one();
                spoil.iter().for_each(|(at, with)| { let at = at.index(bytes.len()); bytes[at] = *with; });
            } else if bytes.len() > MAGIC {
                bytes[MAGIC] = FORMAT;
            }
            let Ok(Some(head)) = Head::read(&bytes) else { return Ok(()) };
            prop_assert!(head.bytes <= bytes.len() && head.base_offset <= head.last_offset);
            let mut read = Cursor::new(&bytes[HEAD..head.bytes]);
            for _ in 0..head.records {
                let Ok(raw) = head.record(&mut read, head.base_offset) else { break };
                prop_assert!((head.base_offset..=head.last_offset).contains(&raw.offset));
            }
            let _ = head.is_abort(&bytes);
        }
    }
}
