//! The ring's code on real maps in temporary directories.

mod entries;
mod fold;
mod peek;
mod set;
mod slot;

use std::fs::File;
use std::sync::Arc;

use super::layout::{HEADER_BYTES, Ring};
use super::publish::{Attempt, Publisher};
use crate::flow::span::{Counts, Mark};
use crate::flow::tally::Tally;
use crate::sys::file;
use crate::sys::mmap::Words;

const RING_SIZE: usize = 1 << 20;

/// A ring of the least size, and its file.
fn ring() -> (tempfile::TempDir, File, Arc<Ring>) {
    let dir = tempfile::tempdir().unwrap();
    let file = file::create_zeroed(&dir.path().join("ring"), (HEADER_BYTES + RING_SIZE) as u64).unwrap();
    let ring = Arc::new(Ring::map(&file, RING_SIZE).unwrap());
    (dir, file, ring)
}

fn mark(partition: i32, next: i64) -> Mark {
    let counts = Counts { consumed: next as u64, written: next as u64, ..Counts::default() };
    Mark { topic: 1, partition, seeks: 2, next, k: 3, epoch: -1, counts }
}

/// A publisher of an empty ring with so many partitions, none of which has moved.
fn publisher(ring: &Arc<Ring>, partitions: i32) -> Publisher {
    let mut publisher = Publisher::new(ring.clone(), Vec::new());
    for partition in 0..partitions {
        publisher.add(mark(partition, 0)).unwrap();
    }
    publisher
}

fn put(line: &[u8]) -> impl FnMut(&mut [u8], &mut Tally) -> Attempt<()> {
    |room, _| match room.get_mut(..line.len()) {
        Some(place) => {
            place.copy_from_slice(line);
            Attempt::Done(line.len())
        }
        None => Attempt::Full,
    }
}

/// Publishes an entry of one line that moves these partitions.
fn publish_one(publisher: &mut Publisher, line: &[u8], next: &[(usize, i64)]) -> u64 {
    assert!(publisher.begin());
    let route = publisher.route(b"route", 0);
    assert_eq!(publisher.line(route, put(line)), Attempt::Done(line.len()));
    for (row, next) in next {
        *publisher.mark(*row) = mark(*row as i32, *next);
    }
    publisher.publish().unwrap().pos
}

fn words(map: &Words) -> Vec<u64> {
    (0..map.len()).map(|i| map.at(i).load(std::sync::atomic::Ordering::Relaxed)).collect()
}

fn store(map: &Words, at: usize, word: u64) {
    map.at(at).store(word, std::sync::atomic::Ordering::Relaxed);
}
