//! What a reader asks beside what every client does, in one version: what stands in these partitions?

use std::ops::Range;

use crate::protocol::message::{ASK_METADATA, Need, header};
use crate::protocol::settings::Limits;
use crate::protocol::wire::{Cursor, Damaged, Frame};

/// It tells of a log that was cut.
const FETCH: (i16, i16) = (1, 12);

/// What a broker has to speak.
pub const NEEDED: &[Need] = &[ASK_METADATA, (FETCH, "Fetch", "2.7")];

/// The log does not hold the offset that was asked for.
pub const OUT_OF_RANGE: i16 = 1;

/// What is wanted of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub leader_epoch: i32,
    pub offset: i64,
    /// Of the record before `offset`; -1: unknown.
    pub epoch: i32,
    pub max_bytes: i32,
}

/// What stands at these places? Only what is committed.
pub fn ask_fetch(client_id: &str, correlation: i32, limits: Limits, wanted: &[Wanted<'_>]) -> Vec<u8> {
    let mut frame = Frame::new(FETCH, correlation, client_id, true);
    frame.i32(-1).i32(limits.wait_ms).i32(limits.min_bytes).i32(limits.max_bytes).i8(1);
    // No session: every fetch names its partitions.
    frame.i32(0).i32(-1);
    let topics: Vec<_> = wanted.chunk_by(|one, next| one.topic == next.topic).collect();
    frame.count(topics.len());
    for topic in topics {
        frame.string(topic[0].topic).count(topic.len());
        for Wanted { partition, leader_epoch, offset, epoch, max_bytes, .. } in topic {
            frame.i32(*partition).i32(*leader_epoch).i64(*offset).i32(*epoch).i64(-1).i32(*max_bytes).no_tags();
        }
        frame.no_tags();
    }
    frame.count(0).string("").no_tags();
    frame.finish()
}

/// What a broker says of one partition. Ranges are of the frame's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub topic: Range<usize>,
    pub partition: i32,
    pub error: i16,
    /// No committed record stands at or behind it; -1 where unknown.
    pub stable: i64,
    pub aborted: Range<usize>,
    pub records: Range<usize>,
    /// The log holds another story: the last epoch that both have, and where that ends.
    pub diverging: Option<(i32, i64)>,
}

/// The whole answer but its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub throttle_ms: i32,
    pub error: i16,
}

/// `frame` is the answer with its length in front.
///
/// # Errors
/// The answer is damaged.
pub fn read_fetch(frame: &[u8], parts: &mut Vec<Part>) -> Result<Told, Damaged> {
    parts.clear();
    let mut read = Cursor::new(frame);
    let _length = read.i32()?;
    header(&mut read)?;
    let told = Told { throttle_ms: read.i32()?, error: read.i16()? };
    let _session = read.i32()?;
    for _ in 0..read.count()? {
        let name = read.string()?.len();
        let topic = read.at() - name..read.at();
        for _ in 0..read.count()? {
            parts.push(part(&mut read, topic.clone())?);
        }
        read.no_tags()?;
    }
    Ok(told)
}

fn part(read: &mut Cursor<'_>, topic: Range<usize>) -> Result<Part, Damaged> {
    let (partition, error, high) = (read.i32()?, read.i16()?, read.i64()?);
    let (stable, _log_start) = (read.i64()?, read.i64()?);
    let aborted = {
        let count = read.count()?;
        let from = read.at();
        (0..count).try_for_each(|_| read.take(16).and_then(|_| read.no_tags()))?;
        from..read.at()
    };
    let _preferred_replica = read.i32()?;
    let records = {
        let length = read.bytes()?.len();
        read.at() - length..read.at()
    };
    let mut diverging = None;
    read.tags(|number, mut field| {
        if number == 0 {
            diverging = Some((field.i32()?, field.i64()?));
        }
        Ok(())
    })?;
    let stable = if stable < 0 { high } else { stable };
    Ok(Part { topic, partition, error, stable, aborted, records, diverging })
}

/// The aborted transactions that a part names: producer and first offset of each.
///
/// # Errors
/// They are damaged.
pub fn read_aborted(bytes: &[u8], aborted: &mut Vec<(i64, i64)>) -> Result<(), Damaged> {
    aborted.clear();
    let mut read = Cursor::new(bytes);
    while read.rest() > 0 {
        aborted.push((read.i64()?, read.i64()?));
        read.no_tags()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::wire::tests::spoiled;

    /// An answer with one topic `t`, one partition in it, one aborted transaction, three bytes of records.
    fn answer() -> Vec<u8> {
        let mut frame = Frame::default();
        frame.i32(0).i32(7).no_tags().i32(30).i16(0).i32(0).count(1).string("t").count(1);
        frame.i32(4).i16(0).i64(90).i64(80).i64(10).count(1).i64(11).i64(12).no_tags().i32(-1);
        frame.string("abc").count(0).i8(0).i8(12).i32(3).i64(50).no_tags().no_tags();
        frame.finish()
    }

    #[test]
    fn a_fetch_answer_is_read_in_place() {
        let bytes = answer();
        let mut parts = Vec::new();
        // `count(0)` above is the number of tagged fields, 1.
        let told = read_fetch(&bytes[..], &mut parts).unwrap();
        assert_eq!(told, Told { throttle_ms: 30, error: 0 });
        let [part] = &parts[..] else { panic!("{parts:?}") };
        assert_eq!((&bytes[part.topic.clone()], &bytes[part.records.clone()]), (&b"t"[..], &b"abc"[..]));
        assert_eq!((part.partition, part.stable, part.diverging), (4, 80, Some((3, 50))));
        let mut aborted = Vec::new();
        read_aborted(&bytes[part.aborted.clone()], &mut aborted).unwrap();
        assert_eq!(aborted, [(11, 12)]);
        assert!((0..bytes.len() - 1).all(|length| read_fetch(&bytes[..length], &mut parts).is_err()));
    }

    proptest! {
        #[test]
        fn no_answer_leads_astray(bytes in spoiled(answer())) {
            let mut parts = Vec::new();
            if read_fetch(&bytes, &mut parts).is_ok() {
                let mut aborted = Vec::new();
                for part in &parts {
                    prop_assert!(part.records.end <= bytes.len() && part.topic.end <= bytes.len());
                    read_aborted(&bytes[part.aborted.clone()], &mut aborted).unwrap();
                }
            }
            prop_assert!(parts.len() <= bytes.len());
        }
    }
}
