//! Where a task stands, seen from outside: the rings of a process that works on, or has ended, are read and nothing in
//! them is touched.

use std::collections::BTreeMap;
use std::path::Path;

use super::layout::{HEADER_BYTES, Identity, RING_BYTES, Ring, THREADS_MAX};
use super::set::{CURRENT, OpenError, of_this_boot_and_layout};
use crate::flow::span::Mark;
use crate::sys::file;
use crate::sys::mmap::Words;

/// Looks at a ring that changes under them, at most.
const LOOKS_MAX: usize = 16;

/// The newest mark of every partition in the current maps, published entries included, and the set that they belong
/// to.
///
/// # Errors
/// The maps are of another boot or layout, suspect or not whole: a start would not go on from them.
pub fn peek(state_dir: &Path, boot_id: u128) -> Result<(u64, Vec<Mark>), OpenError> {
    let dir = state_dir.join(CURRENT);
    let mut found = BTreeMap::new();
    let first = identity(&dir, 0)?;
    of_this_boot_and_layout(&dir, &first, boot_id)?;
    let sized = RING_BYTES.contains(&first.ring_size) && first.ring_size.is_power_of_two();
    if !(1..=THREADS_MAX).contains(&first.readers) || !sized {
        return Err(OpenError::Damaged("the header of ring.0 names numbers that cannot be".into()));
    }
    for index in 0..first.readers {
        if identity(&dir, index)? != (Identity { index, ..first }) {
            return Err(OpenError::Damaged(format!("ring.{index} does not belong to the others")));
        }
        let ring = Ring::map_to_read(&file::open_read(&dir.join(format!("ring.{index}")))?, first.ring_size)?;
        if ring.is_suspect() {
            return Err(OpenError::Suspect);
        }
        look(&ring, &mut found);
    }
    Ok((first.set_id, found.into_values().collect()))
}

fn identity(dir: &Path, index: usize) -> Result<Identity, OpenError> {
    let file = file::open_read(&dir.join(format!("ring.{index}"))).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => OpenError::Missing,
        _ => OpenError::Io(e),
    })?;
    let words = Words::map_to_read(&file, HEADER_BYTES / 8)?;
    let identity = Identity::load(&words).filter(|found| found.magic == Identity::RING);
    identity.ok_or_else(|| OpenError::Damaged(format!("ring.{index} has no whole header")))
}

/// Its owner stores marks and frees entries meanwhile: what does not read back is looked at again, and of two marks
/// the younger one counts.
fn look(ring: &Ring, found: &mut BTreeMap<(u16, i32), Mark>) {
    for _ in 0..LOOKS_MAX {
        let (mut pos, head) = (ring.tail(), ring.head());
        let marks = ring.marks();
        let mut is_whole = marks.iter().all(Option::is_some);
        marks.into_iter().flatten().for_each(|mark| keep_younger(found, mark));
        while pos < head {
            let Ok(entry) = ring.entry(pos) else {
                is_whole = false;
                break;
            };
            entry.marks().flatten().for_each(|mark| keep_younger(found, mark));
            pos = entry.end();
        }
        if is_whole {
            return;
        }
    }
}

fn keep_younger(found: &mut BTreeMap<(u16, i32), Mark>, mark: Mark) {
    let age = |m: &Mark| (m.seeks, m.next, m.k);
    let kept = found.entry((mark.topic, mark.partition)).or_insert(mark);
    if age(kept) < age(&mark) {
        *kept = mark;
    }
}
