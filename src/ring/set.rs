//! All maps of one task's state: made together, opened together, replaced by one rename.
//!
//! ```text
//! <state dir>/current -> maps.<n>        the link is the switch
//! <state dir>/maps.<n>/ring.0 .. slot.0 ..
//! <state dir>/maps.<n>/program            who made them, for those who cannot read their layout
//! <state dir>/maps.<n>/rest               the checkpoint that holds all they held, after an orderly end
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::layout::{
    HEADER_BYTES, Identity, PARTITIONS_MAX, RING_BYTES, Ring, THREADS_MAX, TOPIC_BYTES, TOPICS_MAX, VERSION, load_file,
    store_file,
};
use super::slot::{FILES_MAX, Row, SLOT_BYTES, Slot, State};
use crate::flow::span::Mark;
use crate::flow::tally::Tally;
use crate::sys::file;
use crate::sys::mmap::Words;

pub(super) const CURRENT: &str = "current";
const PROGRAM: &str = "program";
const REST: &str = "rest";

/// The numbers that a layout follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub readers: usize,
    pub writers: usize,
    /// Bytes of each ring; a power of two.
    pub ring_size: usize,
}

impl Shape {
    fn is_possible(&self) -> bool {
        let threads = 1..=THREADS_MAX;
        let sized = RING_BYTES.contains(&self.ring_size) && self.ring_size.is_power_of_two();
        sized && threads.contains(&self.readers) && threads.contains(&self.writers)
    }
}

/// The maps of a task.
pub struct MapSet {
    dir: PathBuf,
    pub shape: Shape,
    pub set_id: u64,
    pub rings: Vec<Arc<Ring>>,
    pub slots: Vec<Arc<Slot>>,
    /// They are the files they were made as: no copies, which may be older than what they tell of.
    pub are_originals: bool,
}

/// What new maps are filled with.
pub struct Contents {
    pub set_id: u64,
    pub boot_id: u128,
    pub topics: Vec<String>,
    /// For each reader the marks it owns.
    pub marks: Vec<Vec<Mark>>,
    pub tally: Tally,
    /// For each writer its files with their lengths and identities.
    pub files: Vec<Vec<(Row, State, u64, file::Identity)>>,
    pub seq: u64,
    pub seq_limit: u64,
    /// The newest checkpoint.
    pub committed: u64,
}

impl Contents {
    fn fit(&self, shape: &Shape) -> bool {
        let topics = self.topics.len() <= TOPICS_MAX && self.topics.iter().all(|t| t.len() < TOPIC_BYTES);
        let marks = self.marks.len() == shape.readers && self.marks.iter().all(|m| m.len() <= PARTITIONS_MAX);
        let files = self.files.len() == shape.writers && self.files.iter().all(|f| f.len() <= FILES_MAX);
        topics && marks && files
    }
}

/// Why maps are not believed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("there are no maps")]
    Missing,
    #[error("the maps are not whole: {0}")]
    Damaged(String),
    #[error("the maps are of another boot of the machine")]
    OtherBoot,
    #[error("the maps are of layout {version} and were made by {program}; this is layout {VERSION}")]
    OtherLayout {
        version: u64,
        program: String,
        /// The checkpoint that holds all they held; `None`: something may be owed.
        rest: Option<u64>,
    },
    #[error("the maps are marked suspect: a sync of their files failed")]
    Suspect,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl MapSet {
    /// Opens the current maps, if they are whole and of this boot.
    ///
    /// # Errors
    /// Why they are not to be believed.
    pub fn open(state_dir: &Path, boot_id: u128) -> Result<MapSet, OpenError> {
        let dir = state_dir.join(CURRENT);
        let first = match file::open_map(&dir.join("ring.0")) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(OpenError::Missing),
            other => other?,
        };
        let words = Words::map(&first, HEADER_BYTES / 8).map_err(|e| damaged("ring.0", e))?;
        let identity = Identity::load(&words).ok_or_else(|| OpenError::Damaged("ring.0 has no whole header".into()))?;
        of_this_boot_and_layout(&dir, &identity, boot_id)?;
        let shape = Shape { readers: identity.readers, writers: identity.writers, ring_size: identity.ring_size };
        if !shape.is_possible() {
            return Err(OpenError::Damaged("the header of ring.0 names numbers that cannot be".into()));
        }
        let rings = (0..shape.readers).map(|i| open_ring(&dir, i, &identity)).collect::<Result<Vec<_>, _>>()?;
        let slots = (0..shape.writers).map(|i| open_slot(&dir, i, &identity)).collect::<Result<Vec<_>, _>>()?;
        if !rings.iter().all(|r| r.is_whole()) || !slots.iter().all(|s| s.is_whole()) {
            return Err(OpenError::Damaged("a position or length in them was changed".into()));
        }
        if rings.iter().any(|r| r.is_suspect()) {
            return Err(OpenError::Suspect);
        }
        let mut are_originals = true;
        for (index, ring) in rings.iter().enumerate() {
            are_originals &= is_original(&dir.join(format!("ring.{index}")), ring.header())?;
        }
        for (index, slot) in slots.iter().enumerate() {
            are_originals &= is_original(&dir.join(format!("slot.{index}")), slot.header())?;
        }
        Ok(MapSet { dir, shape, set_id: identity.set_id, rings, slots, are_originals })
    }

    /// Makes new maps beside the current ones and switches to them with one rename.
    ///
    /// # Errors
    /// `InvalidInput` where the contents do not fit the layout; the kernel's otherwise. The current maps stay then.
    pub fn create(state_dir: &Path, shape: Shape, contents: &Contents) -> io::Result<MapSet> {
        if !shape.is_possible() || !contents.fit(&shape) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "more than the maps' layout can hold"));
        }
        file::make_dirs(state_dir, file::PRIVATE_DIR_MODE)?;
        let number = 1 + maps_of(state_dir)?.iter().map(|(n, _)| *n).max().unwrap_or(0);
        let dir = state_dir.join(format!("maps.{number}"));
        file::make_dirs(&dir, file::PRIVATE_DIR_MODE)?;
        let identity = |magic, index| Identity {
            magic,
            version: VERSION,
            set_id: contents.set_id,
            boot_id: contents.boot_id,
            index,
            readers: shape.readers,
            writers: shape.writers,
            ring_size: shape.ring_size,
        };
        file::write_private(&dir.join(PROGRAM), concat!("logmill ", env!("CARGO_PKG_VERSION"), "\n").as_bytes())?;
        let set_id = contents.set_id;
        let mut set = MapSet { dir, shape, set_id, rings: Vec::new(), slots: Vec::new(), are_originals: true };
        for index in 0..shape.readers {
            let map =
                file::create_zeroed(&set.dir.join(format!("ring.{index}")), (HEADER_BYTES + shape.ring_size) as u64)?;
            let ring = Ring::map(&map, shape.ring_size)?;
            ring.set_topics(&contents.topics);
            contents.marks[index].iter().enumerate().for_each(|(row, mark)| ring.set_mark(row, mark));
            if index == 0 {
                ring.set_tally(&contents.tally);
            }
            store_file(ring.header(), file::identity(&map)?);
            identity(Identity::RING, index).store(ring.header());
            set.rings.push(Arc::new(ring));
        }
        for index in 0..shape.writers {
            let map = file::create_zeroed(&set.dir.join(format!("slot.{index}")), SLOT_BYTES as u64)?;
            let slot = Slot::map(&map)?;
            for (at, (row, state, length, id)) in contents.files[index].iter().enumerate() {
                slot.set_row(at, row);
                slot.set_length(at, *length);
                slot.set_identity(at, *id);
                slot.set_state(at, row, *state);
            }
            slot.set_seq(contents.seq, contents.seq_limit);
            slot.set_committed(contents.committed);
            store_file(slot.header(), file::identity(&map)?);
            identity(Identity::SLOT, index).store(slot.header());
            set.slots.push(Arc::new(slot));
        }
        switch(state_dir, number)?;
        Ok(set)
    }

    /// Notes that this checkpoint holds all that the maps held: a program that cannot read them may go on from it. Not
    /// synced: after a power loss the maps are void in any case.
    ///
    /// # Errors
    /// The kernel's.
    pub fn note_rest(&self, checkpoint: u64) -> io::Result<()> {
        file::write_private(&self.dir.join(REST), format!("{checkpoint}\n").as_bytes()).map(drop)
    }

    /// To be called before anything is published again.
    ///
    /// # Errors
    /// The kernel's.
    pub fn forget_rest(&self) -> io::Result<()> {
        match std::fs::remove_file(self.dir.join(REST)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    pub fn topics(&self) -> Vec<String> {
        self.rings[0].topics()
    }

    /// Everything published is in the files.
    pub fn is_empty(&self) -> bool {
        self.rings.iter().all(|r| r.is_empty())
    }

    /// Where the ring of a reader stands with a writer.
    pub fn applied(&self, writer: usize, ring: usize) -> u64 {
        self.slots[writer].applied(ring)
    }

    pub fn set_suspect(&self) {
        self.rings.iter().for_each(|r| r.set_suspect());
    }

    /// The task's tallies, all rings together.
    pub fn tally(&self) -> Tally {
        self.rings.iter().fold(Tally::default(), |mut sum, ring| {
            sum.add(&ring.tally());
            sum
        })
    }
}

pub(super) fn of_this_boot_and_layout(dir: &Path, found: &Identity, boot_id: u128) -> Result<(), OpenError> {
    if found.boot_id != boot_id {
        return Err(OpenError::OtherBoot);
    }
    if found.version == VERSION {
        return Ok(());
    }
    let word = |name: &str| std::fs::read_to_string(dir.join(name)).ok().map(|text| text.trim().to_string());
    Err(OpenError::OtherLayout {
        version: found.version,
        program: word(PROGRAM).unwrap_or_else(|| "another version of logmill".into()),
        rest: word(REST).and_then(|text| text.parse().ok()),
    })
}

fn open_ring(dir: &Path, index: usize, first: &Identity) -> Result<Arc<Ring>, OpenError> {
    let name = format!("ring.{index}");
    let opened = file::open_map(&dir.join(&name)).and_then(|f| Ring::map(&f, first.ring_size));
    let ring = opened.map_err(|e| damaged(&name, e))?;
    let expected = Identity { magic: Identity::RING, index, ..*first };
    match Identity::load(ring.header()) {
        Some(found) if found == expected => Ok(Arc::new(ring)),
        _ => Err(OpenError::Damaged(format!("{name} does not belong to the others"))),
    }
}

fn open_slot(dir: &Path, index: usize, first: &Identity) -> Result<Arc<Slot>, OpenError> {
    let name = format!("slot.{index}");
    let opened = file::open_map(&dir.join(&name)).and_then(|f| Slot::map(&f));
    let slot = opened.map_err(|e| damaged(&name, e))?;
    let expected = Identity { magic: Identity::SLOT, index, ..*first };
    match Identity::load(slot.header()) {
        Some(found) if found == expected => Ok(Arc::new(slot)),
        _ => Err(OpenError::Damaged(format!("{name} does not belong to the others"))),
    }
}

fn is_original(path: &Path, header: &Words) -> io::Result<bool> {
    Ok(file::identity(&file::open_map(path)?)? == load_file(header))
}

/// A map that is missing or short is damage; whatever else the kernel says may pass.
fn damaged(name: &str, error: io::Error) -> OpenError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => OpenError::Damaged(format!("{name}: {error}")),
        _ => OpenError::Io(error),
    }
}

/// One rename makes the new maps the current ones; the others are then nobody's and go.
fn switch(state_dir: &Path, number: u64) -> io::Result<()> {
    let link = state_dir.join("current.new");
    match std::fs::remove_file(&link) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    std::os::unix::fs::symlink(format!("maps.{number}"), &link)?;
    std::fs::rename(&link, state_dir.join(CURRENT))?;
    for (other, path) in maps_of(state_dir).unwrap_or_default() {
        if other != number {
            // The switch is done, so this is no failure of it: the next one tries again.
            if let Err(error) = std::fs::remove_dir_all(&path) {
                log::warn!("cannot remove the old maps {}: {error}", path.display());
            }
        }
    }
    Ok(())
}

fn maps_of(state_dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(state_dir)? {
        let path = item?.path();
        let number = path.file_name().and_then(|n| n.to_str()?.strip_prefix("maps.")?.parse().ok());
        found.extend(number.map(|n| (n, path)));
    }
    Ok(found)
}
