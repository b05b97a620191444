//! Sets of maps: made whole, opened whole, or refused with the reason.

use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{RING_SIZE, mark, publish_one};
use crate::flow::tally::{Code, Tally};
use crate::ring::layout::{AT_TABLE as RING_TABLE, AT_TOPICS};
use crate::ring::publish::Publisher;
use crate::ring::recover::entries;
use crate::ring::set::{Contents, MapSet, OpenError, Shape};
use crate::ring::slot::{
    AT_FLIGHT, AT_TABLE as SLOT_TABLE, FILES_MAX, Flight, FlightFile, FlightRun, Kind, Row, State,
};
use crate::sys::file::{self, Identity};

const BOOT: u128 = 0x1234_5678_9abc_def0_0fed_cba9_8765_4321;

fn shape(readers: usize, writers: usize) -> Shape {
    Shape { readers, writers, ring_size: RING_SIZE }
}

fn contents(shape: Shape, set_id: u64) -> Contents {
    let row = |w: usize| Row { kind: Kind::Lines, name: format!("log_{w}"), seq: 4, route_hash: 5, period: 6 };
    let mut tally = Tally::default();
    tally.park(Code::E04_UTF8);
    Contents {
        set_id,
        boot_id: BOOT,
        topics: vec!["first".into(), "t".repeat(249)],
        marks: (0..shape.readers).map(|r| vec![mark(r as i32, 7), mark(r as i32 + 100, 8)]).collect(),
        tally,
        files: (0..shape.writers)
            .map(|w| vec![(row(w), State::Created, 1000 + w as u64, Identity { inode: 1, born_ns: w as u64 })])
            .collect(),
        seq: 40,
        seq_limit: 90,
        committed: 7,
    }
}

fn create(dir: &Path, shape: Shape, set_id: u64) -> MapSet {
    MapSet::create(dir, shape, &contents(shape, set_id)).unwrap()
}

fn refusal(dir: &Path) -> OpenError {
    MapSet::open(dir, BOOT).err().expect("the maps are refused")
}

fn maps_dirs(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|n| n != "current").collect()
}

#[test]
fn what_is_made_is_what_opens() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("group/topic");
    let shape = shape(2, 3);
    drop(create(&state, shape, 99));
    let set = MapSet::open(&state, BOOT).unwrap();
    let expected = contents(shape, 99);
    assert_eq!((set.shape, set.set_id), (shape, 99));
    assert_eq!((set.topics(), set.tally()), (expected.topics, expected.tally));
    assert!(set.is_empty());
    for (ring, marks) in set.rings.iter().zip(&expected.marks) {
        assert_eq!(&ring.marks().into_iter().flatten().collect::<Vec<_>>(), marks);
    }
    for (slot, files) in set.slots.iter().zip(&expected.files) {
        let (row, state, length, identity) = &files[0];
        assert_eq!(slot.rows().unwrap(), [(0, row.clone(), *state)]);
        assert_eq!((slot.length(0), slot.identity(0)), (*length, *identity));
        assert_eq!((slot.seq(), slot.seq_limit()), (40, 90));
        assert_eq!(slot.flight(), Ok(None));
    }
    set.slots[1].set_applied(1, 640);
    assert_eq!((set.applied(1, 1), set.applied(1, 0)), (640, 0));
}

#[test]
fn a_switch_leaves_one_set() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::Missing));
    // Left over by a kill before the switch.
    std::fs::create_dir(dir.path().join("maps.7")).unwrap();
    create(dir.path(), shape(1, 1), 1);
    assert_eq!(maps_dirs(dir.path()), ["maps.8"]);
    let old = MapSet::open(dir.path(), BOOT).unwrap();
    create(dir.path(), shape(3, 2), 2);
    assert_eq!(maps_dirs(dir.path()), ["maps.9"]);
    assert_eq!(MapSet::open(dir.path(), BOOT).unwrap().shape, shape(3, 2));
    assert_eq!(old.rings[0].marks().len(), 2, "who has the old maps open still has them");
}

#[test]
fn maps_of_another_boot_or_marked_suspect_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let set = create(dir.path(), shape(2, 1), 1);
    assert!(matches!(MapSet::open(dir.path(), BOOT + 1), Err(OpenError::OtherBoot)));
    assert!(MapSet::open(dir.path(), BOOT).is_ok());
    set.rings[1].set_suspect();
    assert!(matches!(refusal(dir.path()), OpenError::Suspect));
}

#[test]
fn a_map_that_is_missing_short_or_of_another_set_is_damage() {
    for name in ["ring.0", "ring.1", "slot.0", "slot.1"] {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        create(dir.path(), shape(2, 2), 1);
        create(other.path(), shape(2, 2), 2);
        let path = dir.path().join("current").join(name);
        let whole = std::fs::read(&path).unwrap();
        std::fs::copy(other.path().join("current").join(name), &path).unwrap();
        assert!(matches!(refusal(dir.path()), OpenError::Damaged(_)), "{name} of another set");
        for len in [0, 100, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert!(matches!(refusal(dir.path()), OpenError::Damaged(_)), "{name} of {len} bytes");
        }
        std::fs::write(&path, &whole).unwrap();
        assert!(MapSet::open(dir.path(), BOOT).is_ok());
        std::fs::remove_file(&path).unwrap();
        match refusal(dir.path()) {
            OpenError::Missing => assert_eq!(name, "ring.0"),
            OpenError::Damaged(what) => assert!(what.starts_with(name)),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn every_flipped_bit_of_an_identity_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    create(dir.path(), shape(1, 1), 1);
    for name in ["ring.0", "slot.0"] {
        let path = dir.path().join("current").join(name);
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        for bit in 0..10 * 64_u64 {
            let mut byte = [0];
            file.read_exact_at(&mut byte, bit / 8).unwrap();
            file.write_all_at(&[byte[0] ^ 1 << (bit % 8)], bit / 8).unwrap();
            assert!(matches!(refusal(dir.path()), OpenError::Damaged(_)), "{name}, bit {bit}");
            file.write_all_at(&byte, bit / 8).unwrap();
        }
    }
    assert!(MapSet::open(dir.path(), BOOT).is_ok());
}

#[test]
fn what_does_not_fit_is_refused_and_the_current_maps_stay() {
    let dir = tempfile::tempdir().unwrap();
    create(dir.path(), shape(1, 1), 1);
    let refused = |shape: Shape, change: &dyn Fn(&mut Contents)| {
        let mut contents = contents(shape, 2);
        change(&mut contents);
        let error = MapSet::create(dir.path(), shape, &contents).err().expect("a refusal");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    };
    refused(shape(0, 1), &|_| ());
    refused(shape(1, 65), &|_| ());
    refused(Shape { ring_size: RING_SIZE + 4096, ..shape(1, 1) }, &|_| ());
    refused(Shape { ring_size: RING_SIZE / 2, ..shape(1, 1) }, &|_| ());
    refused(shape(1, 1), &|c| c.topics.push("x".repeat(256)));
    refused(shape(1, 1), &|c| c.topics = vec!["x".into(); 65]);
    refused(shape(1, 1), &|c| c.marks[0] = vec![mark(0, 0); 4097]);
    refused(shape(2, 1), &|c| c.marks.truncate(1));
    refused(shape(1, 1), &|c| c.files[0] = vec![c.files[0][0].clone(); FILES_MAX + 1]);
    assert_eq!(MapSet::open(dir.path(), BOOT).unwrap().set_id, 1);
    assert_eq!(maps_dirs(dir.path()), ["maps.1"]);
}

/// What maps tell, but for the statistics by code and the record in hand.
fn story(dir: &Path) -> Result<String, String> {
    let set = MapSet::open(dir, BOOT).map_err(|e| e.to_string())?;
    let mut told = format!("{:?} {}", set.shape, set.set_id);
    for ring in &set.rings {
        let owed = entries(ring)?.iter().map(|e| (e.pos, e.runs().count())).collect::<Vec<_>>();
        told += &format!("{:?} {owed:?} {:?}", (ring.tail(), ring.head()), ring.marks());
        let rows = ring.marks().len();
        if let Some(row) = (0..rows).find(|row| ring.marks()[*row].is_none()) {
            return Err(format!("row {row}"));
        }
    }
    for slot in &set.slots {
        let applied: Vec<u64> = (0..set.rings.len()).map(|r| slot.applied(r)).collect();
        let lengths: Vec<u64> = slot.rows()?.iter().map(|(at, ..)| slot.length(*at)).collect();
        told += &format!("{:?} {applied:?} {:?} {lengths:?}", slot.flight()?, slot.rows()?);
        told += &format!("{:?}", (slot.seq(), slot.seq_limit(), slot.committed()));
    }
    Ok(told)
}

#[test]
fn every_changed_byte_of_the_heads_is_seen_or_tells_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let set = create(dir.path(), shape(1, 1), 99);
    let mut publisher = Publisher::new(set.rings[0].clone(), set.rings[0].marks().into_iter().flatten().collect());
    publish_one(&mut publisher, b"line\n", &[(0, 9)]);
    publish_one(&mut publisher, b"another line\n", &[(0, 10)]);
    set.slots[0].set_applied(0, 64);
    set.slots[0].set_flight(&Flight {
        files: vec![FlightFile { row: 0, start: 1000, added: 5 }],
        runs: vec![FlightRun { file: 0, ring: 0, pos: 64, len: 5 }],
        applied: vec![(0, set.rings[0].head())],
    });
    drop((publisher, set));
    let whole = story(dir.path()).unwrap();
    // Heads, two rows of the partition table; numbers, batch in flight, two rows of the file table.
    let ring = (0..AT_TOPICS * 8).chain(RING_TABLE * 8..RING_TABLE * 8 + 3 * 64);
    let slot = (0..AT_FLIGHT * 8 + 200).chain(SLOT_TABLE * 8..SLOT_TABLE * 8 + 2 * 512);
    for (name, bytes) in [("ring.0", ring.collect::<Vec<_>>()), ("slot.0", slot.collect())] {
        let file = file::open_map(&dir.path().join("current").join(name)).unwrap();
        let mut seen = 0;
        for at in bytes {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at as u64).unwrap();
            for change in [0x01, 0x80, 0xff] {
                file.write_all_at(&[byte[0] ^ change], at as u64).unwrap();
                match story(dir.path()) {
                    Ok(told) => assert_eq!(told, whole, "{name}, byte {at} ^ {change:#x}"),
                    Err(_) => seen += 1,
                }
            }
            file.write_all_at(&byte, at as u64).unwrap();
        }
        assert!(seen > 3 * 200, "{name}: {seen} changes were seen");
    }
    assert_eq!(story(dir.path()), Ok(whole));
}
