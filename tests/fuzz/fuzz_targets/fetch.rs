//! Arbitrary bytes as a broker's answer to a fetch: they are walked to their end or refused, and nothing leads out of
//! them. Checksums are made right first, which chance never does.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logmill::fetch::hand::{Hand, Step, Stretch, behind};
use logmill::fetch::message::{NEEDED, read_fetch};
use logmill::protocol::batch::{Head, sum};
use logmill::protocol::message::{read_metadata, read_versions};

/// Makes the checksums of the batches right.
fn mend(mut bytes: &mut [u8]) {
    while let Ok(Some(head)) = Head::read(bytes) {
        let (batch, rest) = bytes.split_at_mut(head.bytes);
        sum(batch);
        bytes = rest;
    }
}

/// The parts of an answer, or one part that is all of the bytes.
fn stretches(is_answer: bool, bytes: &[u8]) -> Vec<Stretch> {
    let mut parts = Vec::new();
    if !is_answer {
        return vec![Stretch { slot: 0, from: 0, stable: i64::MAX, aborted: 0..0, records: 0..bytes.len() }];
    }
    if read_fetch(bytes, &mut parts).is_err() {
        return Vec::new();
    }
    let stretch = |(slot, part): (usize, logmill::fetch::message::Part)| Stretch {
        slot,
        from: 0,
        stable: part.stable,
        aborted: part.aborted,
        records: part.records,
    };
    parts.into_iter().enumerate().map(stretch).collect()
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let _ = (read_versions(bytes, NEEDED), read_metadata(bytes));
    let all = stretches(kind & 1 == 0, bytes);
    let mut hand = Hand::default();
    hand.buffer = bytes.to_vec();
    all.iter().for_each(|stretch| mend(&mut hand.buffer[stretch.records.clone()]));
    let ends: Vec<i64> = all.iter().map(|s| behind(&hand.buffer[s.records.clone()], s.from, -1).0).collect();
    hand.take(all);
    let mut least = (0, 0);
    loop {
        match hand.step() {
            Step::Record(place) => {
                let at = (place.slot, place.offset);
                assert!(at >= least && place.offset < ends[place.slot], "{place:?} behind {least:?}");
                least = (place.slot, place.offset + 1);
                assert!(place.value.clone().is_none_or(|value| hand.bytes(&place).get(value).is_some()));
            }
            Step::End { .. } | Step::Broken { .. } => {}
            Step::Done => break,
        }
    }
});
