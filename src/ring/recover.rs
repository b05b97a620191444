//! What maps of a killed process still owe: read, checked, not yet done.

use super::layout::{Entry, Ring};
use super::publish::fold;
use super::slot::{Flight, Slot};
use crate::flow::span::Mark;

/// A ring's published and not yet freed entries, oldest first, each checked.
///
/// # Errors
/// Where the chain of entries breaks.
pub fn entries(ring: &Ring) -> Result<Vec<Entry<'_>>, String> {
    let (mut pos, head) = (ring.tail(), ring.head());
    if pos > head || head - pos > ring.size() as u64 {
        return Err(format!("the ring's ends do not fit: tail {pos}, head {head}"));
    }
    let mut found = Vec::new();
    while pos < head {
        let entry = ring.entry(pos)?;
        pos = entry.end();
        found.push(entry);
    }
    Ok(found)
}

/// The batch that is still to be ended. A kill between the marks of applied rings leaves one that is done: its lines
/// stand in the files and their room in the ring may be taken already, so it is only closed here.
///
/// # Errors
/// The slot is damaged.
pub fn owed_flight(slot: &Slot) -> Result<Option<Flight>, String> {
    let Some(flight) = slot.flight()? else { return Ok(None) };
    if !flight.applied.iter().any(|(ring, pos)| slot.applied(*ring) >= *pos) {
        return Ok(Some(flight));
    }
    flight.applied.iter().for_each(|(ring, pos)| slot.set_applied(*ring, *pos));
    slot.clear_flight();
    Ok(None)
}

/// The partition table with all entries folded in; the ring is empty afterwards. Everything in it must be applied.
///
/// # Errors
/// A damaged entry or mark.
pub fn fold_all(ring: &Ring) -> Result<Vec<Mark>, String> {
    let rows: Vec<Option<(u16, i32)>> = ring.marks().iter().map(|m| m.map(|m| (m.topic, m.partition))).collect();
    for pos in entries(ring)?.iter().map(|e| e.pos).collect::<Vec<_>>() {
        // A row that a kill left half written has no readable name: the entry that was being folded names it.
        let row = |mark: &Mark| {
            let key = Some((mark.topic, mark.partition));
            rows.iter().position(|r| *r == key).or_else(|| rows.iter().position(Option::is_none))
        };
        fold(ring, pos, row)?;
    }
    let mut marks = ring.marks();
    // A kill while a partition was being added: the ledger has it, and it is added again.
    if marks.last() == Some(&None) && ring.is_half_made(marks.len() - 1) {
        marks.pop();
    }
    marks
        .into_iter()
        .enumerate()
        .map(|(row, mark)| mark.ok_or_else(|| format!("row {row} of the partition table is damaged")))
        .collect()
}
