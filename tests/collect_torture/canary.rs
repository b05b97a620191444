//! A file by which it is known, without a guess at times, what the program has seen: its one line is written now; once
//! its place is kept behind that line, so is the place of every file that was there before it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use logmill::ledger::store::Store;
use logmill::sys::follow;
use logmill::tail::positions::Position;

pub struct Canary {
    path: PathBuf,
    ledger: PathBuf,
    store: Option<Store>,
    /// The key of its place, and when it was written.
    waiting: Option<(String, Instant)>,
}

impl Canary {
    pub fn new(logs: &Path, ledger: PathBuf) -> Canary {
        Canary { path: logs.join("canary.log"), ledger, store: None, waiting: None }
    }

    /// Up to when all is seen and remembered, where that is more than at the last call.
    pub fn look(&mut self) -> Option<Instant> {
        if self.store.is_none() {
            self.store = Store::open_to_read(&self.ledger).ok();
        }
        let store = self.store.as_ref()?;
        let Some((key, written)) = &self.waiting else {
            self.write();
            return None;
        };
        let kept = store.with_prefix(key).ok()?;
        let is_kept = kept.iter().filter_map(|(_, value)| Position::parse(value).ok()).any(|p| p.place.at > 0);
        let seen = is_kept.then_some(*written);
        if is_kept {
            self.write();
        }
        seen
    }

    fn write(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        let now = Instant::now();
        std::fs::write(&self.path, format!("{LINE}\n")).expect("a canary");
        let id = follow::file_id(&self.path).expect("its identity");
        self.waiting = Some((format!("tail/collect/{}", id.hex()), now));
    }
}

/// What it holds.
pub const LINE: &str = "canary";
