//! The answer in hand: its record batches checked, unpacked and walked record by record.

use std::ops::Range;

use super::message;
use crate::protocol::batch::{BatchError, HEAD, Head};
use crate::protocol::codec::Codecs;
use crate::protocol::wire::Cursor;

/// A partition's stretch of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Whose: the caller's number.
    pub slot: usize,
    /// The first offset that is wanted.
    pub from: i64,
    /// No committed record stands at or behind it.
    pub stable: i64,
    pub aborted: Range<usize>,
    pub records: Range<usize>,
}

/// The next thing in the answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Record(Place),
    /// Nothing more stands before the offset for now.
    End {
        slot: usize,
        offset: i64,
    },
    /// The partition cannot be read on from the offset.
    Broken {
        slot: usize,
        offset: i64,
        reason: String,
    },
    Done,
}

/// A record's, in the buffer that [`Hand::bytes`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub slot: usize,
    pub offset: i64,
    pub timestamp_ms: i64,
    pub leader_epoch: i32,
    pub value: Option<Range<usize>>,
    is_unpacked: bool,
}

/// The answer with what of it is walked already.
#[derive(Default)]
pub struct Hand {
    /// With four bytes of length in front.
    pub buffer: Vec<u8>,
    stretches: Vec<Stretch>,
    /// The stretch in work.
    at: usize,
    /// Of it: is it begun, and what of its batches is not.
    is_begun: bool,
    rest: Range<usize>,
    /// The first offset that is not walked.
    next: i64,
    batch: Option<Batch>,
    /// Producer and first offset of transactions that were aborted, not begun yet.
    aborted: Vec<(i64, i64)>,
    /// Producers whose transaction at this place was aborted.
    aborting: Vec<i64>,
    codecs: Codecs,
}

/// A batch whose records are walked.
#[derive(Debug, Clone)]
struct Batch {
    head: Head,
    /// Where its records stand: in the codecs' buffer or in the answer.
    is_unpacked: bool,
    rest: Range<usize>,
    left: u32,
    /// No lower offset may come.
    next: i64,
}

impl Hand {
    /// Takes these stretches of the answer in the buffer.
    pub fn take(&mut self, stretches: Vec<Stretch>) {
        (self.stretches, self.at, self.is_begun, self.batch) = (stretches, 0, false, None);
    }

    pub fn is_empty(&self) -> bool {
        self.at == self.stretches.len()
    }

    /// What a record's places are of.
    pub fn bytes(&self, place: &Place) -> &[u8] {
        if place.is_unpacked { self.codecs.unpacked() } else { &self.buffer }
    }

    /// One step on.
    pub fn step(&mut self) -> Step {
        while let Some(stretch) = self.stretches.get(self.at) {
            let slot = stretch.slot;
            let result = match &self.batch {
                Some(_) => self.record(slot),
                None if !self.is_begun => self.begin(),
                None => self.next_batch(),
            };
            match result {
                Ok(Some(place)) => return Step::Record(place),
                Ok(None) => {}
                Err(error) => {
                    let offset = self.next;
                    self.leave();
                    return Step::Broken { slot, offset, reason: error.to_string() };
                }
            }
            let is_walked = self.is_begun && self.batch.is_none() && self.rest.is_empty();
            if is_walked && let Some(step) = self.end() {
                return step;
            }
        }
        Step::Done
    }

    fn leave(&mut self) {
        (self.at, self.is_begun, self.batch) = (self.at + 1, false, None);
    }

    /// The stretch is walked.
    fn end(&mut self) -> Option<Step> {
        let Stretch { slot, stable, .. } = self.stretches[self.at];
        self.leave();
        (self.next >= stable).then_some(Step::End { slot, offset: self.next })
    }

    fn begin(&mut self) -> Result<Option<Place>, BatchError> {
        let Stretch { from, aborted, records, .. } = &self.stretches[self.at];
        (self.is_begun, self.next, self.rest) = (true, *from, records.clone());
        self.aborting.clear();
        message::read_aborted(&self.buffer[aborted.clone()], &mut self.aborted)
            .map_err(|source| BatchError::Record { offset: *from, source })?;
        self.aborted.sort_unstable_by_key(|(_, first)| std::cmp::Reverse(*first));
        Ok(None)
    }

    /// Opens the next batch that has records to be seen.
    fn next_batch(&mut self) -> Result<Option<Place>, BatchError> {
        let Some(head) = Head::read(&self.buffer[self.rest.clone()])? else {
            // A part of one, which comes again as a whole.
            self.rest = 0..0;
            return Ok(None);
        };
        let range = self.rest.start..self.rest.start + head.bytes;
        self.rest.start = range.end;
        if head.next() <= self.next {
            return Ok(None);
        }
        head.check(&self.buffer[range.clone()])?;
        let is_seen = !self.is_hidden(&head, range.clone())?;
        if is_seen && head.records > 0 {
            let packed = range.start + HEAD..range.end;
            let is_unpacked = head.codec() != 0;
            let mut rest = packed.clone();
            if is_unpacked {
                let reason = self.codecs.unpack(head.codec(), &self.buffer[packed]);
                reason.map_err(|reason| BatchError::Codec { offset: head.base_offset, reason })?;
                rest = 0..self.codecs.unpacked().len();
            }
            self.batch = Some(Batch { head, is_unpacked, rest, left: head.records, next: head.base_offset });
        } else {
            self.next = head.next();
        }
        Ok(None)
    }

    /// Does nobody see its records: the marks of transactions, and what was aborted?
    fn is_hidden(&mut self, head: &Head, range: Range<usize>) -> Result<bool, BatchError> {
        while let Some((producer, _)) = self.aborted.pop_if(|(_, first)| *first <= head.last_offset) {
            self.aborting.push(producer);
        }
        if head.is_control() {
            if head.records > 0 && head.is_abort(&self.buffer[range])? {
                self.aborting.retain(|producer| *producer != head.producer_id);
            }
            return Ok(true);
        }
        Ok(head.is_transactional() && self.aborting.contains(&head.producer_id))
    }

    /// The batch's next record that is wanted.
    fn record(&mut self, slot: usize) -> Result<Option<Place>, BatchError> {
        let Some(batch) = &mut self.batch else { return Ok(None) };
        let bytes = if batch.is_unpacked { self.codecs.unpacked() } else { &self.buffer[..] };
        let mut read = Cursor::new(&bytes[batch.rest.clone()]);
        while batch.left > 0 {
            let raw = batch.head.record(&mut read, batch.next)?;
            (batch.left, batch.next) = (batch.left - 1, raw.offset + 1);
            if raw.offset < self.next {
                continue;
            }
            let from = |part: &[u8]| part.as_ptr() as usize - bytes.as_ptr() as usize;
            let value = raw.value.map(|value| from(value)..from(value) + value.len());
            batch.rest.start += read.at();
            self.next = batch.next;
            return Ok(Some(Place {
                slot,
                offset: raw.offset,
                timestamp_ms: raw.timestamp_ms,
                leader_epoch: batch.head.leader_epoch,
                value,
                is_unpacked: batch.is_unpacked,
            }));
        }
        batch.head.finish(&read)?;
        self.next = batch.head.next();
        self.batch = None;
        Ok(None)
    }
}

/// What is behind the batches that stand in `bytes` as a whole: offset, epoch, and how many records they hold. Stops
/// where they cannot be read on.
pub fn behind(bytes: &[u8], mut next: i64, mut epoch: i32) -> (i64, i32, u64) {
    let (mut at, mut records) = (0, 0);
    while let Ok(Some(head)) = Head::read(&bytes[at..]) {
        at += head.bytes;
        if head.next() > next {
            (next, epoch, records) = (head.next(), head.leader_epoch, records + u64::from(head.records));
        }
    }
    (next, epoch, records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::batch::sum;
    use crate::protocol::batch::tests::{batch, records};

    const DATA: i16 = 0x10;
    const MARK: i16 = 0x30;

    /// Three records from `base`, a gap, the last offset `base` + 4.
    fn three(base: i64, attributes: i16, producer: i64) -> Vec<u8> {
        let body = records(&[(0, None, Some(b"a")), (1, None, None), (3, None, Some(b"b"))]);
        batch(base, 4, attributes, producer, 3, &body)
    }

    fn mark(base: i64, producer: i64, kind: u8) -> Vec<u8> {
        batch(base, 0, MARK, producer, 1, &records(&[(0, Some(&[0, 0, 0, kind]), Some(&[0; 6]))]))
    }

    /// Offsets seen, and how it ended.
    fn walk(batches: &[Vec<u8>], from: i64, stable: i64, aborted: &[(i64, i64)]) -> (Vec<i64>, Step) {
        let mut hand = Hand { buffer: batches.concat(), ..Hand::default() };
        let records = 0..hand.buffer.len();
        for (producer, first) in aborted {
            hand.buffer.extend(producer.to_be_bytes());
            hand.buffer.extend(first.to_be_bytes());
            hand.buffer.push(0);
        }
        let aborted = records.end..hand.buffer.len();
        hand.take(vec![Stretch { slot: 0, from, stable, aborted, records }]);
        let mut seen = Vec::new();
        loop {
            match hand.step() {
                Step::Record(place) => seen.push(place.offset),
                step => return (seen, step),
            }
        }
    }

    fn end(offset: i64) -> Step {
        Step::End { slot: 0, offset }
    }

    #[test]
    fn it_begins_in_the_middle_of_a_batch_and_goes_over_gaps() {
        let all = [three(10, 0, -1), three(20, 0, -1)];
        assert_eq!(walk(&all, 11, 25, &[]), (vec![11, 13, 20, 21, 23], end(25)));
        assert_eq!(walk(&all, 11, 26, &[]), (vec![11, 13, 20, 21, 23], Step::Done), "more is to come");
        assert_eq!(walk(&all, 15, 25, &[]), (vec![20, 21, 23], end(25)));
        assert_eq!(walk(&[], 15, 15, &[]), (vec![], end(15)));
        let mut cut = three(20, 0, -1);
        cut.pop();
        assert_eq!(walk(&[three(10, 0, -1), cut], 10, 25, &[]), (vec![10, 11, 13], Step::Done));
        let emptied = batch(20, 9, 0, -1, 0, &[]);
        assert_eq!(walk(&[three(10, 0, -1), emptied], 10, 30, &[]), (vec![10, 11, 13], end(30)));
    }

    #[test]
    fn what_was_aborted_is_not_seen_nor_are_marks() {
        // Producer 1 aborts at 20 and commits later; producer 2 commits in between.
        let all = [
            three(10, DATA, 1),
            three(15, DATA, 2),
            mark(20, 1, 0),
            mark(21, 2, 1),
            three(22, DATA, 1),
            mark(27, 1, 1),
        ];
        let (seen, last) = walk(&all, 10, 28, &[(1, 10)]);
        assert_eq!((seen, last), (vec![15, 16, 18, 22, 23, 25], end(28)));
        // Two in a row of one producer.
        let all = [three(10, DATA, 1), mark(15, 1, 0), three(16, DATA, 1), mark(21, 1, 0), three(22, 0, -1)];
        assert_eq!(walk(&all, 10, 27, &[(1, 16), (1, 10)]).0, [22, 23, 25]);
    }

    #[test]
    fn it_stops_before_what_is_damaged() {
        let broken = |bad: Vec<u8>, what: &str| {
            let (seen, step) = walk(&[three(10, 0, -1), bad, three(30, 0, -1)], 10, 35, &[]);
            let Step::Broken { slot: 0, offset: 15, reason } = step else { panic!("{step:?}") };
            assert!(reason.contains(what), "{reason}");
            assert_eq!(seen, [10, 11, 13]);
        };
        let mut rotten = three(20, 0, -1);
        rotten[70] ^= 1;
        broken(rotten, "fails its checksum");
        broken(batch(20, 4, 2, -1, 3, b"no snappy"), "snappy");
        broken(batch(20, 4, 7, -1, 3, b""), "compression 7");
        broken(batch(20, 4, 0, -1, 3, b""), "the middle of a number");
        let two = records(&[(2, None, None), (1, None, None)]);
        let (_, step) = walk(&[batch(20, 4, 0, -1, 2, &two)], 15, 25, &[]);
        assert!(matches!(step, Step::Broken { offset: 23, .. }), "{step:?}");
    }

    proptest! {
        /// Batches whose checksum is right and whose bytes lie: the walk ends, its offsets rise, its values are there.
        #[test]
        fn lies_behind_a_right_checksum_are_bounded(
            spoil in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        ) {
            let packed = snap::raw::Encoder::new().compress_vec(&records(&[(1, None, Some(&[7; 300]))])).unwrap();
            let mut batches =
                [three(10, DATA, 1), batch(15, 4, 2, -1, 1, &packed), mark(20, 1, 0), three(21, 0, -1)];
            for (at, with) in spoil {
                let spoiled = &mut batches[at.index(4)];
                let at = at.index(spoiled.len());
                spoiled[at] = with;
                sum(spoiled);
            }
            let mut hand = Hand { buffer: batches.concat(), ..Hand::default() };
            let records = 0..hand.buffer.len();
            hand.take(vec![Stretch { slot: 0, from: 11, stable: 26, aborted: 0..0, records }]);
            let mut least = 11;
            while let Step::Record(place) = hand.step() {
                prop_assert!(place.offset >= least);
                least = place.offset + 1;
                prop_assert!(place.value.clone().is_none_or(|value| hand.bytes(&place).get(value).is_some()));
            }
        }
    }
}
