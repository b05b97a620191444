//! The strict check: do maps, files and checkpoint tell one story? Asked where the mounts are not the recorded ones,
//! for then the page cache that the maps speak of may be gone although the boot is the same; and where the maps are
//! copies, which may be older than the files.

use std::collections::HashMap;

use super::ground::{Places, ours, owned};
use crate::flow::span::Mark;
use crate::ledger::cut::Cut;
use crate::ring::recover::{entries, owed_flight};
use crate::ring::set::MapSet;
use crate::ring::slot::{Kind, State};

/// # Errors
/// The first thing that does not fit.
pub fn check(maps: &MapSet, cut: &Cut, places: &Places) -> Result<(), String> {
    let table = check_table(maps, places)?;
    for file in &cut.files {
        if !file.sealed && !table.contains_key(&(file.kind(), file.name.clone())) {
            return Err(format!("{} is in the checkpoint and not in the maps", file.name));
        }
    }
    for (dir, kind, templates) in owned(cut, places)? {
        for (name, seq) in ours(dir, &templates).map_err(|e| e.to_string())? {
            if seq >= cut.seq && !table.contains_key(&(kind, name.clone())) {
                return Err(format!("{name} is younger than the checkpoint and not in the maps"));
            }
        }
    }
    Ok(())
}

/// Every file has its recorded length, or lies within its batch in flight. A batch that is applied excuses nothing.
fn check_table(maps: &MapSet, places: &Places) -> Result<HashMap<(Kind, String), u64>, String> {
    let mut table = HashMap::new();
    for slot in &maps.slots {
        let flight = owed_flight(slot)?.unwrap_or_default();
        for (at, row, state) in slot.rows()? {
            let recorded = slot.length(at);
            let found = std::fs::symlink_metadata(places.root(row.kind).join(&row.name)).ok().map(|m| m.len());
            let in_flight = flight.files.iter().find(|f| f.row == at);
            let range = in_flight.map_or(recorded..=recorded, |f| f.start..=f.start + f.added);
            let planned = state == State::Planned && found.is_none_or(|n| n == 0);
            if !planned && !found.is_some_and(|n| range.contains(&n)) {
                return Err(format!("{} has {found:?} bytes where the maps say {range:?}", row.name));
            }
            table.insert((row.kind, row.name), recorded);
        }
    }
    Ok(table)
}

/// Asked at every start: no mark lies below the checkpoint's, and every entry, position, row and batch is whole.
///
/// # Errors
/// The first thing that does not fit.
pub fn check_maps(maps: &MapSet, cut: &Cut) -> Result<(), String> {
    for slot in &maps.slots {
        slot.rows()?;
        slot.flight()?;
    }
    let mut marks: HashMap<(u16, i32), (u16, i64, u32)> = HashMap::new();
    for (index, ring) in maps.rings.iter().enumerate() {
        let mut see = |mark: Mark| {
            marks.insert((mark.topic, mark.partition), (mark.seeks, mark.next, mark.k));
        };
        ring.marks().into_iter().flatten().for_each(&mut see);
        for entry in entries(ring)? {
            for mark in entry.marks() {
                see(mark.ok_or_else(|| format!("a mark of ring {index} is damaged"))?);
            }
        }
        if maps.slots.iter().any(|slot| slot.applied(index) > ring.head()) {
            return Err(format!("a writer has applied more of ring {index} than was published"));
        }
    }
    let behind =
        cut.sources.iter().find(|s| marks.get(&(s.topic, s.partition)).is_some_and(|m| *m < (s.seeks, s.next, s.k)));
    match behind {
        Some(s) => Err(format!("{}/{} stands before the checkpoint", cut.topic_name(s.topic), s.partition)),
        None => Ok(()),
    }
}
