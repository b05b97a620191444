//! Files and the clock.

use super::*;
use std::sync::atomic::AtomicI64;

static CLOCK_MS: AtomicI64 = AtomicI64::new(0);

fn files(dir: &std::path::Path, slot: &Arc<Slot>) -> Files {
    let settings = Settings {
        task: "t".into(),
        index: 0,
        dir: dir.into(),
        failures_dir: dir.into(),
        live: crate::writer::Live { timezone_s: 8 * 3600, rotate: name::Rotate::Day, rotate_size: 10, min_free: 0 },
    };
    let mut files = Files::new(settings, slot.clone(), slot.clone(), Arc::default()).unwrap();
    files.clock = || CLOCK_MS.load(Ordering::Relaxed);
    files
}

/// Local midnight, jumped over to and fro, with a new file in each state and a start in between.
#[test]
fn a_clock_that_goes_back_over_midnight_takes_no_file_back() {
    let dir = tempfile::tempdir().unwrap();
    let map = file::create_zeroed(&dir.path().join("slot"), crate::ring::slot::SLOT_BYTES as u64).unwrap();
    let slot = Arc::new(Slot::map(&map).unwrap());
    slot.set_seq(1, 100);
    let midnight_ms = 1_800_028_800_000;
    let route = route_key(Kind::Lines, "%Y-%m-%d_{seq}");
    let next = |files: &mut Files, now_ms: i64| {
        CLOCK_MS.store(now_ms, Ordering::Relaxed);
        files.begin_batch();
        let row = files.row_for(&route).unwrap();
        files.entry(row).row.name.clone()
    };
    let fill = |files: &mut Files| {
        let row = files.table.unsealed()[0];
        files.append(row, 0, 11, &[b"ten bytes.\n"]).unwrap();
        slot.set_length(row, 11);
    };
    let mut before = files(dir.path(), &slot);
    assert_eq!(next(&mut before, midnight_ms - 1), "2027-01-15_1");
    assert_eq!(next(&mut before, midnight_ms), "2027-01-16_2");
    assert_eq!(next(&mut before, midnight_ms - 1), "2027-01-16_2", "the same file");
    fill(&mut before);
    assert_eq!(next(&mut before, midnight_ms - 1), "2027-01-16_3", "a new file of the same day");
    fill(&mut before);
    let mut after = files(dir.path(), &slot);
    assert_eq!(next(&mut after, midnight_ms - 1), "2027-01-16_4", "after a start");
    assert_eq!(next(&mut after, midnight_ms + 86_400_000), "2027-01-17_5");
}
