//! An operator's seek: a partition goes on at another place. Done while nothing of its task runs and nothing is owed:
//! first in the ledger, then in the ring's table. A start believes whichever of the two has seen more seeks.

use crate::flow::span::Mark;
use crate::ledger::cut::{Cut, Source};
use crate::ring::set::MapSet;

/// Where a partition is to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

/// Moves a partition in the cut, which is still to be committed; returns the offset where it stood.
///
/// # Errors
/// The state does not know the partition.
pub fn move_to(cut: &mut Cut, maps: &MapSet, place: &Place) -> Result<i64, String> {
    let unknown = || format!("{}/{} is not known yet", place.topic, place.partition);
    let topic = cut.topics.iter().position(|t| t.name == place.topic).ok_or_else(unknown)?;
    let is_it = |m: &Mark| (usize::from(m.topic), m.partition) == (topic, place.partition);
    let known = cut.sources.iter_mut().find(|s| is_it(&Mark::from(**s))).ok_or_else(unknown)?;
    let mark = maps.rings.iter().flat_map(|ring| ring.marks()).flatten().find(is_it).unwrap_or((*known).into());
    let seeks = mark.seeks.max(known.seeks).wrapping_add(1);
    *known = Source::from(Mark { next: place.offset, k: 0, epoch: -1, seeks, ..mark });
    Ok(mark.next)
}

/// Puts into the rings' tables what the ledger knows of later seeks. A kill may fall between the two; nothing was read
/// from the old place since.
pub fn believe(cut: &Cut, maps: &MapSet) {
    for ring in &maps.rings {
        for (row, mark) in ring.marks().into_iter().enumerate() {
            let Some(mark) = mark else { continue };
            let is_later = |s: &&Source| (s.topic, s.partition) == (mark.topic, mark.partition) && s.seeks > mark.seeks;
            if let Some(Source { next, k, epoch, seeks, .. }) = cut.sources.iter().find(is_later).copied() {
                ring.set_mark(row, &Mark { next, k, epoch, seeks, ..mark });
            }
        }
    }
}
