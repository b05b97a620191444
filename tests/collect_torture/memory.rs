//! What the program would remember of a file if it were killed at this moment.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use logmill::ledger::store::Store;
use logmill::sys::follow;
use logmill::tail::cursor::{Mark, Place};
use logmill::tail::positions::{Position, position_key};

/// The ledger of a program that runs or not. In transactions places are kept elsewhere: then it knows of none.
#[derive(Default)]
pub struct Memory {
    ledger: PathBuf,
    store: Option<Store>,
}

impl Memory {
    pub fn of(ledger: PathBuf) -> Memory {
        Memory { ledger, store: None }
    }

    /// Where this file would be gone on with.
    pub fn place(&mut self, path: &Path) -> Option<Place> {
        if self.store.is_none() {
            self.store = Store::open_to_read(&self.ledger).ok();
        }
        let id = follow::file_id(path).ok()?;
        let kept = self.store.as_ref()?.with_prefix(&position_key("collect", &id.hex())).ok()?;
        Some(Position::parse(&kept.first()?.1).expect("a place").place)
    }

    /// Lines of what stands in this file now are confirmed: that others of it vanish cannot go unseen.
    pub fn knows_content(&mut self, path: &Path) -> bool {
        let Some(Place { at, mark, .. }) = self.place(path) else { return false };
        let mut before = vec![0; mark.bytes];
        let read = File::open(path).and_then(|file| file.read_exact_at(&mut before, at - mark.bytes as u64));
        at > 0 && read.is_ok() && Mark::of(&before) == mark
    }
}
