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

#[cfg(test)]
mod tests {
    use super::super::strict::check_maps;
    use super::*;
    use crate::flow::span::Counts;
    use crate::ledger::cut::{Output, Topic};
    use crate::ring::set::{Contents, Shape};

    fn mark(partition: i32, next: i64) -> Mark {
        let counts = Counts { consumed: 5, written: 5, ..Counts::default() };
        Mark { topic: 0, partition, seeks: 1, next, k: 1, epoch: 3, counts }
    }

    fn maps(dir: &std::path::Path) -> MapSet {
        let contents = Contents {
            set_id: 7,
            boot_id: 9,
            topics: vec!["t".into()],
            marks: vec![vec![mark(0, 100)], vec![mark(1, 100)]],
            tally: Default::default(),
            files: vec![Vec::new()],
            seq: 1,
            seq_limit: 9,
            committed: 1,
        };
        MapSet::create(dir, Shape { readers: 2, writers: 1, ring_size: 1 << 20 }, &contents).unwrap()
    }

    fn cut() -> Cut {
        Cut {
            number: 1,
            set_id: 7,
            group_id: "g".into(),
            cluster: String::new(),
            topics: vec![Topic { name: "t".into(), id: String::new() }],
            sources: [mark(0, 100), mark(1, 100)].map(Source::from).into(),
            tally: Vec::new(),
            output: Output { dir: String::new(), dir_id: 0, templates: Vec::new() },
            files: Vec::new(),
            seq: 1,
            seq_limit: 9,
            mounts: [None, None],
            taken_ms: 0,
            rebuilt: false,
            job: None,
            cleared: 0,
        }
    }

    fn place(partition: i32, offset: i64) -> Place {
        Place { topic: "t".into(), partition, offset }
    }

    /// A kill between ledger and ring: the next start goes on at the new place, forth or back, and nothing is cut.
    #[test]
    fn a_seek_that_only_the_ledger_knows_is_believed() {
        for offset in [0, 99, 100, 500] {
            let dir = tempfile::tempdir().unwrap();
            let (maps, mut cut) = (maps(dir.path()), cut());
            assert_eq!(move_to(&mut cut, &maps, &place(1, offset)), Ok(100));
            assert!(check_maps(&maps, &cut).is_err(), "{offset}");
            believe(&cut, &maps);
            assert_eq!(check_maps(&maps, &cut), Ok(()), "{offset}");
            let marks: Vec<Mark> = maps.rings.iter().flat_map(|ring| ring.marks()).flatten().collect();
            let moved = Mark { seeks: 2, next: offset, k: 0, epoch: -1, ..mark(1, 100) };
            assert_eq!(marks, [mark(0, 100), moved], "{offset}");
        }
    }

    /// The ledger was lost, and its flat copy is older than the seek: the ring has seen more.
    #[test]
    fn a_seek_that_only_the_ring_knows_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let maps = maps(dir.path());
        let old = cut();
        let mut new = cut();
        move_to(&mut new, &maps, &place(0, 20)).unwrap();
        believe(&new, &maps);
        believe(&old, &maps);
        assert_eq!(check_maps(&maps, &old), Ok(()));
        assert_eq!(maps.rings[0].marks()[0].map(|m| (m.seeks, m.next)), Some((2, 20)));
    }

    #[test]
    fn what_the_state_does_not_know_is_not_moved() {
        let dir = tempfile::tempdir().unwrap();
        let (maps, mut cut) = (maps(dir.path()), cut());
        assert_eq!(move_to(&mut cut, &maps, &place(2, 0)), Err("t/2 is not known yet".into()));
        let elsewhere = Place { topic: "u".into(), ..place(0, 0) };
        assert_eq!(move_to(&mut cut, &maps, &elsewhere), Err("u/0 is not known yet".into()));
    }
}
