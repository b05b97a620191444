//! Entries: what is published reads back, nothing owed is written over, damage is seen.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::{RING_SIZE, mark, publish_one, publisher, put, ring};
use crate::flow::span::Mark;
use crate::flow::tally::{Code, Tally};
use crate::ring::layout::{ENTRY_ALIGN, HEADER_BYTES, PARTITIONS_MAX, Ring, Tables};
use crate::ring::model::state::Dice;
use crate::ring::publish::{Attempt, ENTRY_PART, Published, Publisher, line_bytes_max};
use crate::ring::recover::entries;

const WRITERS: usize = 5;
const PARTITIONS: usize = 300;

/// What an entry must hold.
struct Expected {
    published: Published,
    marks: BTreeMap<i32, Mark>,
    tally: Tally,
    /// By route: its bytes and its lines.
    lines: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
}

impl Expected {
    fn check(&self, ring: &Ring) {
        let entry = ring.entry(self.published.pos).unwrap();
        assert_eq!(entry.end(), self.published.end);
        assert_eq!(entry.writers(), self.published.writers);
        let marks: BTreeMap<i32, Mark> = entry.marks().map(|m| (m.unwrap().partition, m.unwrap())).collect();
        assert_eq!(marks, self.marks);
        assert_eq!(entry.tally(), self.tally);
        let mut lines: BTreeMap<Vec<u8>, (Vec<u8>, u32)> = BTreeMap::new();
        for run in entry.runs() {
            assert_eq!(run.writer, writer_of(run.route));
            let (bytes, count) = lines.entry(run.route.to_vec()).or_default();
            bytes.extend(entry.bytes(&run));
            *count += run.lines;
        }
        assert!(lines == self.lines, "the lines of the entry at {}", self.published.pos);
    }
}

fn writer_of(route: &[u8]) -> usize {
    route.iter().map(|b| *b as usize).sum::<usize>() % WRITERS
}

/// Builds random entries and keeps what they must hold.
struct Rig {
    publisher: Publisher,
    dice: Dice,
    tally: Tally,
    /// A line that did not fit the last entry.
    left: Option<(usize, Vec<u8>)>,
    owed: VecDeque<Expected>,
}

impl Rig {
    /// One entry of lines of up to `longest` bytes; half of them go on until nothing fits any more.
    fn entry(&mut self, routes: usize, longest: usize) {
        let (mut lines, mut marks) = (BTreeMap::<Vec<u8>, (Vec<u8>, u32)>::new(), BTreeMap::new());
        let until_full = self.dice.percent(50);
        assert!(self.publisher.begin());
        loop {
            let (number, line) = self.left.take().unwrap_or_else(|| self.line(routes, longest));
            let key = format!("route {number} of a name that is not so short").into_bytes();
            let route = self.publisher.route(&key, writer_of(&key));
            match self.publisher.line(route, put(&line)) {
                Attempt::Done(bytes) => assert_eq!(bytes, line.len()),
                Attempt::Full => {
                    assert!(!lines.is_empty(), "the first line of an entry fits: {}", line.len());
                    self.left = Some((number, line));
                    break;
                }
                Attempt::Failed(()) => unreachable!(),
            }
            let (bytes, count) = lines.entry(key).or_default();
            bytes.extend(&line);
            *count += 1;
            let moved = if self.dice.below(50) == 0 { PARTITIONS } else { 1 };
            let first = self.dice.below(PARTITIONS);
            for row in (first..first + moved).map(|p| p % PARTITIONS) {
                let mark = self.publisher.mark(row);
                mark.next += 1;
                marks.insert(mark.partition, *mark);
            }
            self.tally.park(Code::E05_JSON);
            self.publisher.tally().park(Code::E05_JSON);
            if !until_full && self.publisher.is_ripe() {
                break;
            }
        }
        let published = self.publisher.publish().unwrap();
        assert!(
            (published.end - published.pos) as usize <= RING_SIZE / ENTRY_PART + PARTITIONS * Tables::BYTES_FOR_MARK
        );
        self.owed.push_back(Expected { published, marks, tally: self.tally, lines });
    }

    /// Lengths of all magnitudes.
    fn line(&mut self, routes: usize, longest: usize) -> (usize, Vec<u8>) {
        let most = longest >> self.dice.below(longest.ilog2() as usize + 1);
        let line = vec![self.dice.below(256) as u8; self.dice.within(1..most + 1)];
        (self.dice.below(routes), line)
    }

    fn free_oldest(&mut self) {
        let Some(first) = self.owed.pop_front() else { return };
        first.check(self.publisher.ring());
        let nothing_else = self.publisher.free(|_| first.published.end).unwrap();
        assert_eq!(nothing_else, self.owed.is_empty());
        assert_eq!(self.publisher.ring().tail(), first.published.end);
    }
}

/// Many times round the ring, each entry is whole when it is published and still when it is freed.
fn published_reads_back(routes: usize, longest: usize, bytes: u64) {
    let (_dir, _file, ring) = ring();
    let mut rig = Rig {
        publisher: publisher(&ring, PARTITIONS as i32),
        dice: Dice(routes as u64 + longest as u64),
        tally: Tally::default(),
        left: None,
        owed: VecDeque::new(),
    };
    while ring.head() < bytes {
        while !rig.publisher.begin() {
            rig.free_oldest();
        }
        rig.entry(routes, longest);
        rig.owed.back().unwrap().check(&ring);
        assert_eq!(entries(&ring).unwrap().len(), rig.owed.len());
    }
    while !rig.owed.is_empty() {
        rig.free_oldest();
    }
    assert!(ring.is_empty());
    assert_eq!(ring.tally(), rig.tally);
    let table: Vec<Mark> = ring.marks().into_iter().flatten().collect();
    assert_eq!(table, rig.publisher.marks());
}

#[test]
fn what_is_published_reads_back_whatever_the_routes_and_lines() {
    for routes in [1, 3, 100, 3000] {
        for longest in [1, 40, 2_000, line_bytes_max(RING_SIZE)] {
            published_reads_back(routes, longest, if longest == 1 { 2 << 20 } else { 5 << 20 });
        }
    }
}

#[test]
fn the_seam_of_the_ring_does_not_show() {
    let (_dir, _file, ring) = ring();
    let mut publisher = publisher(&ring, 1);
    let line: Vec<u8> = (0..line_bytes_max(RING_SIZE)).map(|i| (i % 251) as u8).collect();
    let mut crossed = 0;
    for n in 1..30 {
        let pos = publish_one(&mut publisher, &line, &[(0, n)]);
        let entry = ring.entry(pos).unwrap();
        let run = entry.runs().next().unwrap();
        assert!(entry.bytes(&run) == line);
        crossed += usize::from(run.pos % RING_SIZE as u64 + line.len() as u64 > RING_SIZE as u64);
        assert!(publisher.free(|_| entry.end()).unwrap());
    }
    assert!(crossed > 3, "lines lay over the seam {crossed} times");
}

#[test]
fn a_full_ring_takes_nothing_until_all_its_writers_have_applied() {
    let (_dir, _file, ring) = ring();
    let mut publisher = publisher(&ring, 1);
    let mut published = Vec::new();
    while publisher.begin() {
        for writer in [2, 7] {
            let route = publisher.route(&[writer], writer as usize);
            assert_eq!(publisher.line(route, put(&[7; 90_000])), Attempt::Done(90_000));
        }
        publisher.mark(0).next += 1;
        published.push(publisher.publish().unwrap());
    }
    assert_eq!(published.len(), 3);
    assert_eq!(published[0].writers, 1 << 2 | 1 << 7);
    let end = published[0].end;
    assert!(!publisher.free(|writer| if writer == 2 { end } else { end - 1 }).unwrap());
    assert!(!publisher.begin());
    assert!(!publisher.free(|_| end).unwrap());
    assert!(publisher.begin());
    assert_eq!(ring.tail(), end);
}

#[test]
fn marks_behind_the_last_line_have_their_room() {
    let (_dir, _file, ring) = ring();
    let mut publisher = publisher(&ring, PARTITIONS_MAX as i32);
    assert_eq!(publisher.add(mark(-1, 0)), None);
    publish_one(&mut publisher, b"line\n", &[(0, 0)]);
    let mut published = Vec::new();
    while publisher.begin() {
        let route = publisher.route(b"a", 0);
        let fill = |room: &mut [u8], _: &mut Tally| -> Attempt<()> {
            room.fill(1);
            Attempt::Done(room.len())
        };
        let Attempt::Done(whole) = publisher.line(route, fill) else { panic!("no room for a line") };
        (0..PARTITIONS_MAX).for_each(|row| publisher.mark(row).next += 1);
        assert_eq!(publisher.line(route, put(b"x")), Attempt::Full);
        published.push((publisher.publish().unwrap(), whole));
    }
    assert_eq!(published.len(), 1, "a second one would not leave room for its marks");
    for (n, (published, whole)) in published.iter().enumerate() {
        let entry = ring.entry(published.pos).unwrap();
        assert_eq!(entry.marks().flatten().filter(|m| m.next == n as i64 + 1).count(), PARTITIONS_MAX);
        let run = entry.runs().next().unwrap();
        assert!(entry.bytes(&run).len() == *whole && entry.bytes(&run).iter().all(|b| *b == 1));
    }
}

#[test]
fn an_entry_that_moves_nothing_is_not_published() {
    let (_dir, _file, ring) = ring();
    let mut publisher = publisher(&ring, 1);
    assert!(publisher.begin());
    assert_eq!(publisher.publish(), None);
    assert!(publisher.begin());
    publisher.mark(0).next = 9;
    let published = publisher.publish().unwrap();
    assert_eq!((published.pos, published.writers), (0, 0));
    assert!(publisher.free(|_| panic!("no writer has a line")).unwrap());
    assert_eq!(ring.marks()[0].unwrap().next, 9);
}

/// Head, tables and what they are worth.
fn content(ring: &Ring, pos: u64) -> Result<String, String> {
    let entry = ring.entry(pos)?;
    let marks: Vec<_> = entry.marks().collect();
    let runs: Vec<_> = entry.runs().collect();
    Ok(format!("{} {} {marks:?} {:?} {runs:?}", entry.pos, entry.len, entry.tally()))
}

#[test]
fn every_flipped_byte_of_head_and_tables_is_seen() {
    let (_dir, file, ring) = ring();
    let mut publisher = publisher(&ring, 20);
    publish_one(&mut publisher, b"before\n", &[(0, 1)]);
    assert!(publisher.begin());
    let mut tables_at = ENTRY_ALIGN;
    for n in 0..30_u8 {
        let route = publisher.route(&[n; 11], n as usize % 64);
        assert_eq!(publisher.line(route, put(b"a line\n")), Attempt::Done(7));
        publisher.mark(n as usize % 20).next += 1;
    }
    let published = publisher.publish().unwrap();
    let entry = ring.entry(published.pos).unwrap();
    for run in entry.runs() {
        tables_at = tables_at.max((run.pos - published.pos) as usize + run.len);
    }
    let whole = content(&ring, published.pos).unwrap();
    let tables_end = tables_at.next_multiple_of(8) + 20 * Tables::BYTES_FOR_MARK + Tally::WORDS * 8 + 30 * (24 + 11);
    for at in (0..ENTRY_ALIGN).chain(tables_at..entry.len as usize) {
        for flip in [0x01, 0x80, 0xff] {
            let place = HEADER_BYTES as u64 + published.pos + at as u64;
            let mut byte = [0];
            file.read_exact_at(&mut byte, place).unwrap();
            file.write_all_at(&[byte[0] ^ flip], place).unwrap();
            let found = content(&ring, published.pos);
            file.write_all_at(&byte, place).unwrap();
            let padding = (48..64).contains(&at) || at < tables_at.next_multiple_of(8) && at >= 64 || at >= tables_end;
            assert_eq!(found.is_ok(), padding, "byte {at} of {}..{tables_end}", tables_at);
            assert!(found.is_err() || found.as_ref() == Ok(&whole));
        }
    }
    assert_eq!(content(&ring, published.pos).as_ref(), Ok(&whole));
}

#[test]
fn tables_that_point_outside_are_refused_whatever_their_checksum() {
    let damages: [(usize, usize, usize); 5] =
        [(64, 64, 1), (0, 64, 1 << 20), (0, 1 << 31, 1), (0, 0, 1), (usize::MAX >> 32, 64, 0)];
    for (writer, start, len) in damages {
        let (_dir, _file, ring) = ring();
        let mut tables = Tables::default();
        tables.begin(128, [mark(0, 1)].into_iter(), &Tally::default());
        tables.run(writer, b"route", start, len, 1);
        ring.publish(&tables);
        assert!(ring.entry(0).is_err(), "writer {writer}, {start}..+{len}");
        assert!(entries(&ring).is_err());
    }
}

#[test]
fn positions_that_cannot_be_are_refused() {
    let (_dir, _file, ring) = ring();
    let mut publisher = publisher(&ring, 1);
    let pos = publish_one(&mut publisher, b"line\n", &[(0, 1)]);
    for wrong in [pos + 1, pos + 64, ring.head(), ring.head() + 64, u64::MAX, u64::MAX - 63] {
        assert!(ring.entry(wrong).is_err(), "{wrong}");
    }
    for tail in [64, ring.head() + 64, (1 << 56) - 64, (1 << 56) - 1] {
        ring.set_tail(tail);
        assert!(entries(&ring).is_err(), "tail {tail}");
    }
}

#[test]
#[should_panic(expected = "no room")]
fn room_that_is_owed_is_not_given_out() {
    let (_dir, _file, ring) = ring();
    let mut publisher = publisher(&Arc::clone(&ring), 1);
    publish_one(&mut publisher, b"line\n", &[(0, 1)]);
    ring.room(ring.head(), RING_SIZE);
}
