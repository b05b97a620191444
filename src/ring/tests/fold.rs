//! Folding: once, twice or torn anywhere, the table ends the same.

use super::{mark, publish_one, publisher, ring, store, words};
use crate::flow::span::Mark;
use crate::flow::tally::Remark;
use crate::ring::layout::{AT_TABLE, AT_TAIL, AT_TALLY, PARTITIONS_MAX, Ring, Work};
use crate::ring::publish::{Publisher, fold};
use crate::ring::recover::{entries, fold_all};

fn row(mark: &Mark) -> Option<usize> {
    Some(mark.partition as usize)
}

fn next(marks: &[Mark]) -> Vec<i64> {
    marks.iter().map(|m| m.next).collect()
}

/// Three entries over three partitions, none folded.
fn owing() -> (tempfile::TempDir, std::sync::Arc<Ring>, Vec<u64>) {
    let (dir, _file, ring) = ring();
    let mut publisher = publisher(&ring, 3);
    let moves: [&[(usize, i64)]; 3] = [&[(0, 10), (1, 11), (2, 12)], &[(1, 21)], &[(0, 30), (2, 32)]];
    let positions = moves.map(|next| {
        publisher.tally().remark(Remark::BadIp);
        publish_one(&mut publisher, b"a line\n", next)
    });
    (dir, ring, positions.to_vec())
}

#[test]
fn a_fold_done_twice_is_a_fold_done_once() {
    let (_dir, ring, positions) = owing();
    fold(&ring, positions[0], row).unwrap();
    let once = words(ring.header());
    ring.set_tail(0);
    fold(&ring, positions[0], row).unwrap();
    assert!(words(ring.header()) == once);
    assert_eq!(ring.tail(), positions[1]);
}

#[test]
fn a_fold_torn_after_any_store_is_mended() {
    let (_dir, ring, positions) = owing();
    let before = words(ring.header());
    let pristine = || before.iter().enumerate().for_each(|(at, word)| store(ring.header(), at, *word));
    for (n, pos) in positions.iter().enumerate() {
        // The words of this fold, in the order of its stores: marks, tally, tail.
        pristine();
        positions[..n].iter().for_each(|pos| fold(&ring, *pos, row).unwrap());
        let start = words(ring.header());
        fold(&ring, *pos, row).unwrap();
        let after = words(ring.header());
        let mut changed: Vec<usize> = (0..after.len()).filter(|at| start[*at] != after[*at]).collect();
        changed.sort_by_key(|at| (*at < AT_TABLE, *at < AT_TALLY, *at));
        assert!(changed.len() > 3 && changed.last() == Some(&AT_TAIL));
        for stores in 0..=changed.len() {
            start.iter().enumerate().for_each(|(at, word)| store(ring.header(), at, *word));
            changed[..stores].iter().for_each(|at| store(ring.header(), *at, after[*at]));
            let marks = fold_all(&ring).unwrap_or_else(|e| panic!("entry {n} torn after {stores} stores: {e}"));
            assert_eq!(next(&marks), [30, 21, 32], "entry {n} torn after {stores} stores");
            assert_eq!(ring.tally().count(Remark::BadIp), 3);
            assert!(ring.is_empty());
        }
    }
}

/// The order of the stores themselves: room is given back when the marks stand, or a kill in between forgets them.
#[test]
fn who_sees_the_tail_sees_the_marks() {
    const FOLDS: i64 = 20_000;
    let (_dir, _file, ring) = ring();
    let mut publisher = publisher(&ring, 1);
    publisher.tally().remark(Remark::BadIp);
    let entry = publish_one(&mut publisher, b"a line\n", &[(0, 1)]);
    let bytes = ring.head() - entry;
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut looks = 0;
            loop {
                let folded = (ring.tail() / bytes) as i64;
                let tally = ring.tally().count(Remark::BadIp) as i64;
                // A row that is just being stored has no whole mark.
                if let Some(mark) = ring.marks()[0] {
                    looks += i64::from(mark.next == folded);
                    assert!(
                        mark.next >= folded && tally >= folded,
                        "{folded} entries are gone, {mark:?}, tally {tally}"
                    );
                }
                if folded == FOLDS {
                    return looks;
                }
            }
        });
        for next in 2..=FOLDS {
            assert!(publisher.free(|_| u64::MAX).unwrap());
            publisher.tally().remark(Remark::BadIp);
            publish_one(&mut publisher, b"a line\n", &[(0, next)]);
        }
        publisher.free(|_| u64::MAX).unwrap();
        assert!(watch.join().unwrap() > 1);
    });
}

#[test]
fn a_partition_added_half_way_is_dropped_and_added_again() {
    for stores in 0..Mark::WORDS {
        let (_dir, ring, _) = owing();
        for (at, word) in mark(3, 40).words().iter().enumerate().take(stores) {
            store(ring.header(), AT_TABLE + 3 * Mark::WORDS + at, *word);
        }
        let marks = fold_all(&ring).unwrap();
        assert_eq!(next(&marks), [30, 21, 32]);
        let mut publisher = Publisher::new(ring.clone(), marks);
        assert_eq!(publisher.add(mark(3, 41)), Some(3));
        assert_eq!((publisher.row(1, 3), publisher.row(1, 4)), (Some(3), None));
        assert_eq!(next(&fold_all(&ring).unwrap()), [30, 21, 32, 41]);
    }
}

#[test]
fn a_damaged_row_that_no_entry_mends_is_an_error() {
    let (_dir, ring, _) = owing();
    fold_all(&ring).unwrap();
    store(ring.header(), AT_TABLE + Mark::WORDS + 1, 77);
    assert!(fold_all(&ring).unwrap_err().contains("row 1"));
}

#[test]
fn an_entry_without_a_row_for_its_partition_is_an_error() {
    let (_dir, ring, positions) = owing();
    assert!(fold(&ring, positions[0], |_| None).is_err());
    assert_eq!(ring.tail(), 0);
    assert_eq!(entries(&ring).unwrap().len(), 3);
}

#[test]
fn the_table_takes_as_many_partitions_as_it_says() {
    let (_dir, _file, ring) = ring();
    let mut publisher = publisher(&ring, PARTITIONS_MAX as i32);
    assert_eq!(publisher.add(mark(-1, 0)), None);
    assert_eq!(fold_all(&ring).unwrap().len(), PARTITIONS_MAX);
    assert!(words(ring.header())[AT_TABLE..].iter().filter(|w| **w != 0).count() > PARTITIONS_MAX);
}

#[test]
fn deaths_count_for_the_same_record_alone() {
    let (_dir, _file, ring) = ring();
    let work = |offset| Work { topic: 5, partition: 7, offset };
    let death = |work| {
        ring.begin_work(work);
        ring.count_death().map(|(found, deaths)| (found == work, deaths))
    };
    assert_eq!(ring.count_death(), None);
    assert_eq!([death(work(1)), death(work(1))], [Some((true, 1)), Some((true, 2))]);
    assert_eq!(death(work(2)), Some((true, 1)));
    assert_eq!(death(work(1)), Some((true, 1)));
    assert_eq!(ring.count_death(), None, "nothing was in hand");
    assert_eq!([death(work(1)), death(work(1))], [Some((true, 2)), Some((true, 3))]);
    assert_eq!(death(Work { topic: 6, ..work(1) }), Some((true, 1)));
    assert_eq!(death(Work { partition: -8, ..work(1) }), Some((true, 1)));
    ring.begin_work(work(1));
    ring.end_work();
    assert_eq!(ring.count_death(), None, "the record was done");
}
