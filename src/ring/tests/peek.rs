//! Looking at maps from outside while their owner works.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{RING_SIZE, mark, publish_one};
use crate::flow::tally::Tally;
use crate::ring::peek::peek;
use crate::ring::publish::Publisher;
use crate::ring::set::{Contents, MapSet, OpenError, Shape};

const BOOT: u128 = 77;

fn create(dir: &std::path::Path) -> MapSet {
    let contents = Contents {
        set_id: 99,
        boot_id: BOOT,
        topics: vec!["t".into()],
        marks: vec![vec![mark(0, 0)], vec![mark(1, 5)]],
        tally: Tally::default(),
        files: vec![Vec::new()],
        seq: 1,
        seq_limit: 9,
        committed: 0,
    };
    MapSet::create(dir, Shape { readers: 2, writers: 1, ring_size: RING_SIZE }, &contents).unwrap()
}

#[test]
fn published_entries_count_and_nothing_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let set = create(dir.path());
    let mut publisher = Publisher::new(set.rings[0].clone(), vec![mark(0, 0)]);
    publish_one(&mut publisher, b"line\n", &[(0, 7)]);
    let before = std::fs::read(dir.path().join("current/ring.0")).unwrap();
    assert_eq!(peek(dir.path(), BOOT).unwrap(), (99, vec![mark(0, 7), mark(1, 5)]));
    assert_eq!(std::fs::read(dir.path().join("current/ring.0")).unwrap(), before);
}

#[test]
fn maps_that_a_start_would_not_go_on_from_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(peek(dir.path(), BOOT), Err(OpenError::Missing)));
    let set = create(dir.path());
    assert!(matches!(peek(dir.path(), BOOT + 1), Err(OpenError::OtherBoot)));
    set.set_suspect();
    assert!(matches!(peek(dir.path(), BOOT), Err(OpenError::Suspect)));
}

#[test]
fn marks_seen_while_the_owner_works_never_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let set = create(dir.path());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = Publisher::new(set.rings[0].clone(), vec![mark(0, 0)]);
            for next in 1..20_000 {
                while !publisher.begin() {
                    publisher.free(|_| u64::MAX).unwrap();
                }
                publish_one(&mut publisher, &[b'x'; 900], &[(0, next)]);
                if next % 3 == 0 {
                    publisher.free(|_| u64::MAX).unwrap();
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let mut last = 0;
        while !is_over.load(Ordering::Relaxed) {
            let (_, marks) = peek(dir.path(), BOOT).unwrap();
            assert!(marks[0].next >= last, "{} after {last}", marks[0].next);
            last = marks[0].next;
        }
    });
    assert_eq!(peek(dir.path(), BOOT).unwrap().1[0].next, 19_999);
}
