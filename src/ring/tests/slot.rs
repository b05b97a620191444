//! Slots: a batch stands whole or not at all, a row tells of damage.

use super::{store, words};
use crate::ring::recover::owed_flight;
use crate::ring::slot::{AT_FLIGHT, AT_TABLE, BATCH_RUNS_MAX, FILES_MAX, Flight, FlightFile, FlightRun, Kind};
use crate::ring::slot::{Row, SLOT_BYTES, Slot, State};
use crate::sys::file;

fn slot() -> (tempfile::TempDir, Slot) {
    let dir = tempfile::tempdir().unwrap();
    let file = file::create_zeroed(&dir.path().join("slot"), SLOT_BYTES as u64).unwrap();
    (dir, Slot::map(&file).unwrap())
}

fn flight(files: usize, runs: usize, seed: u64) -> Flight {
    let file = |i| FlightFile { row: i * 3 % FILES_MAX, start: seed + i as u64, added: 100 + i as u64 };
    let run = |i| FlightRun { file: i % files, ring: i % 64, pos: seed << 20 | i as u64, len: u32::MAX as usize - i };
    let applied = (0..64).map(|ring| (ring, seed + (1 << 50))).collect();
    Flight { files: (0..files).map(file).collect(), runs: (0..runs).map(run).collect(), applied }
}

fn row(name: &str) -> Row {
    Row { kind: Kind::Lines, name: name.into(), seq: 77, route_hash: u64::MAX, period: -5 }
}

#[test]
fn a_batch_reads_back_until_it_is_cleared() {
    let (_dir, slot) = slot();
    assert_eq!(slot.flight(), Ok(None));
    for n in 1..6 {
        let batch = flight(BATCH_RUNS_MAX / n, BATCH_RUNS_MAX / n, n as u64);
        slot.set_flight(&batch);
        assert!(slot.flight().unwrap().as_ref() == Some(&batch));
        if n > 3 {
            slot.clear_flight();
            assert_eq!(slot.flight(), Ok(None));
        }
    }
}

#[test]
fn one_store_swaps_a_batch_for_another() {
    let (_dir, slot) = slot();
    let (first, second) = (flight(3, 9, 1), flight(2, 7, 2));
    slot.set_flight(&first);
    let before = words(slot.header());
    slot.set_flight(&second);
    let after = words(slot.header());
    // A kill before the last store: all of the second batch is there but the word that makes it valid.
    store(slot.header(), AT_FLIGHT, before[AT_FLIGHT]);
    assert_eq!(slot.flight(), Ok(Some(first)));
    store(slot.header(), AT_FLIGHT, after[AT_FLIGHT]);
    assert_eq!(slot.flight(), Ok(Some(second)));
}

#[test]
fn every_flipped_word_of_a_batch_is_seen() {
    let (_dir, slot) = slot();
    let batch = flight(5, 11, 9);
    slot.set_flight(&flight(4, 4, 8));
    slot.set_flight(&batch);
    let whole = words(slot.header());
    let mut seen = 0;
    for (at, word) in whole.iter().enumerate().take(AT_TABLE) {
        for bit in [0, 17, 33, 63] {
            store(slot.header(), at, word ^ 1 << bit);
            match slot.flight() {
                Err(_) => seen += 1,
                found => assert_eq!(found, Ok(Some(batch.clone())), "word {at}, bit {bit}"),
            }
        }
        store(slot.header(), at, *word);
    }
    // The valid word, three counts, three words a file, two a run, one a ring.
    assert_eq!(seen, 4 * (1 + 3 + 5 * 3 + 11 * 2 + 64));
}

#[test]
fn a_batch_applied_in_one_ring_is_owed_no_more() {
    let (_dir, slot) = slot();
    let mut batch = flight(2, 4, 1);
    batch.applied = vec![(0, 640), (3, 1280)];
    slot.set_flight(&batch);
    slot.set_applied(0, 639);
    assert_eq!(owed_flight(&slot), Ok(Some(batch)));
    slot.set_applied(3, 1280);
    assert_eq!(owed_flight(&slot), Ok(None));
    assert_eq!([slot.applied(0), slot.applied(3)], [640, 1280]);
    assert_eq!(slot.flight(), Ok(None));
}

#[test]
fn rows_keep_their_files_and_start_clean() {
    let (_dir, slot) = slot();
    let (long, last) = (row(&"n".repeat(crate::flow::name::NAME_MAX_BYTES)), FILES_MAX - 1);
    slot.set_row(last, &long);
    slot.set_length(last, 5);
    slot.set_identity(last, file::Identity { inode: 3, born_ns: 4 });
    slot.set_state(last, &long, State::Sealed);
    let failures = Row { kind: Kind::Failures, ..row("segment") };
    slot.set_row(2, &failures);
    slot.set_state(2, &failures, State::Created);
    let expected = vec![(2, failures, State::Created), (last, long, State::Sealed)];
    assert_eq!(slot.rows(), Ok(expected));
    slot.clear_row(last);
    assert!(slot.is_free(last) && !slot.is_free(2));
    slot.set_row(last, &row("another"));
    assert_eq!(slot.row(last), Ok(Some((row("another"), State::Planned))));
    assert_eq!((slot.length(last), slot.identity(last)), (0, file::Identity::default()));
}

#[test]
fn a_damaged_row_is_an_error() {
    let (_dir, slot) = slot();
    slot.set_row(1, &row("log.2026-01-01_9"));
    let whole = words(slot.header());
    let base = (0..whole.len()).skip(AT_TABLE).find(|at| whole[*at] != 0).unwrap();
    let changing = 1..4;
    for at in (0..64).filter(|at| !changing.contains(at)) {
        for bit in 0..64 {
            store(slot.header(), base + at, whole[base + at] ^ 1 << bit);
            assert!(slot.row(1).is_err(), "word {at}, bit {bit}");
        }
        store(slot.header(), base + at, whole[base + at]);
    }
}

#[test]
fn file_numbers_are_given_once_and_end_at_the_limit() {
    let (_dir, slot) = slot();
    slot.set_seq(10, 1010);
    let take = || (0..600).filter_map(|_| slot.take_seq()).collect::<Vec<u64>>();
    let mut taken = std::thread::scope(|scope| {
        let both = [scope.spawn(take), scope.spawn(take)];
        both.into_iter().flat_map(|t| t.join().unwrap()).collect::<Vec<u64>>()
    });
    taken.sort_unstable();
    assert_eq!(taken, (10..1010).collect::<Vec<u64>>());
    slot.set_seq_limit(1011);
    assert_eq!([slot.take_seq(), slot.take_seq()], [Some(1010), None]);
}
