//! How far a source has come, and what its records became.

use serde::{Deserialize, Serialize};

/// The failure queue as a source: a topic's index that no topic has. Its `next` is a place in the queue's segments, and
/// `k` counts the records of the entry there, as with a value in Kafka. It counts what it tried again, apart from all
/// partitions: consumed = written + filtered (or cleared) + parked again. Entries that only moved on count nothing.
pub const QUEUE: u16 = u16::MAX;

/// The four ends of a record. `consumed = written + filtered + parked` always holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    pub consumed: u64,
    pub written: u64,
    pub filtered: u64,
    pub parked: u64,
}

impl Counts {
    pub fn add(&mut self, other: Counts) {
        self.consumed += other.consumed;
        self.written += other.written;
        self.filtered += other.filtered;
        self.parked += other.parked;
    }

    /// What came after an earlier state of the same counts.
    pub fn since(self, began: Counts) -> Counts {
        Counts {
            consumed: self.consumed - began.consumed,
            written: self.written - began.written,
            filtered: self.filtered - began.filtered,
            parked: self.parked - began.parked,
        }
    }

    /// True where every record has ended in exactly one way.
    pub fn balance(&self) -> bool {
        self.consumed == self.written + self.filtered + self.parked
    }
}

/// A Kafka partition's place in a task: everything before (`next`, `k`) is taken, the rest is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// Index in the task's list of topics.
    pub topic: u16,
    pub partition: i32,
    /// Rises with every operator's seek, so that an older mark is never believed over a newer one.
    pub seeks: u16,
    /// The offset to take next.
    pub next: i64,
    /// Records of the value at `next` that are taken already (a value may hold several).
    pub k: u32,
    /// Leader epoch of the last record taken; -1 where unknown. Of the failure queue: records that unpacking brought
    /// beside the first one of their entry.
    pub epoch: i32,
    /// Sums since the task's state began.
    pub counts: Counts,
}

impl Mark {
    pub const WORDS: usize = 8;

    /// Of a partition in Kafka, not of the failure queue.
    pub fn is_of_kafka(&self) -> bool {
        self.topic != QUEUE
    }

    /// The form in maps: seven words and a checksum.
    pub fn words(&self) -> [u64; Mark::WORDS] {
        let c = &self.counts;
        let place = u64::from(self.topic) << 48 | u64::from(self.seeks) << 32 | u64::from(self.partition as u32);
        let at = u64::from(self.k) << 32 | u64::from(self.epoch as u32);
        let mut words = [place, self.next as u64, at, c.consumed, c.written, c.filtered, c.parked, 0];
        words[7] = checksum(&words[..7]);
        words
    }

    /// `None` where the checksum does not fit.
    pub fn from_words(w: &[u64; Mark::WORDS]) -> Option<Mark> {
        (checksum(&w[..7]) == w[7]).then_some(Mark {
            topic: (w[0] >> 48) as u16,
            seeks: (w[0] >> 32) as u16,
            partition: w[0] as u32 as i32,
            next: w[1] as i64,
            k: (w[2] >> 32) as u32,
            epoch: w[2] as u32 as i32,
            counts: Counts { consumed: w[3], written: w[4], filtered: w[5], parked: w[6] },
        })
    }
}

/// Records in the failure queue, by what all marks of a task count.
pub fn queued(marks: impl IntoIterator<Item = Mark>) -> u64 {
    let (mut came, mut went) = (0, 0);
    for mark in marks {
        came += mark.counts.parked;
        if !mark.is_of_kafka() {
            // Each entry that was taken out; records beside its first one were never in the queue.
            went += mark.counts.consumed.saturating_sub(mark.epoch.max(0) as u64);
        }
    }
    u64::saturating_sub(came, went)
}

/// CRC-32 over words in little-endian order, with a set bit above it so that zeroed memory never passes.
pub fn checksum(words: &[u64]) -> u64 {
    let mut crc = crc32fast::Hasher::new();
    words.iter().for_each(|w| crc.update(&w.to_le_bytes()));
    1 << 32 | u64::from(crc.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extreme() -> Mark {
        let counts = Counts { consumed: u64::MAX, written: 1, filtered: 2, parked: 3 };
        Mark { topic: u16::MAX, partition: -1, seeks: 0x1234, next: i64::MIN, k: u32::MAX, epoch: -1, counts }
    }

    #[test]
    fn marks_keep_every_field() {
        for mark in [Mark::default(), extreme(), Mark { partition: i32::MAX, next: i64::MAX, epoch: 7, ..extreme() }] {
            assert_eq!(Mark::from_words(&mark.words()), Some(mark));
        }
    }

    #[test]
    fn every_flipped_bit_of_a_mark_is_seen() {
        let whole = extreme().words();
        for bit in 0..Mark::WORDS * 64 {
            let mut words = whole;
            words[bit / 64] ^= 1 << (bit % 64);
            assert_eq!(Mark::from_words(&words), None, "bit {bit}");
        }
    }

    #[test]
    fn zeroed_memory_is_no_mark() {
        assert_eq!(Mark::from_words(&[0; Mark::WORDS]), None);
        assert_ne!(Mark::default().words(), [0; Mark::WORDS]);
    }

    #[test]
    fn the_queue_holds_what_was_parked_and_not_taken_out() {
        let of = |topic, epoch, consumed, written, filtered, parked| {
            let counts = Counts { consumed, written, filtered, parked };
            assert!(counts.balance());
            Mark { topic, epoch, counts, ..Mark::default() }
        };
        let live = [of(0, 7, 90, 80, 0, 10), of(1, -1, 5, 0, 0, 5)];
        assert_eq!(queued(live), 15);
        // Four entries were tried again: a line, a filtered one, one parked again, one that held a line and a bad one.
        let queue = of(QUEUE, 1, 5, 2, 1, 2);
        assert_eq!(queued(live.into_iter().chain([queue])), 13);
    }

    #[test]
    fn counts_balance_where_each_record_ended_once() {
        let mut counts = Counts { consumed: 6, written: 1, filtered: 2, parked: 3 };
        assert!(counts.balance());
        counts.add(counts);
        assert_eq!(counts, Counts { consumed: 12, written: 2, filtered: 4, parked: 6 });
        counts.parked += 1;
        assert!(!counts.balance());
    }
}
