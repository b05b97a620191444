//! A task's keeper: makes its cuts durable, beside the running flow.
//!
//! wait for a cut -> sync the files that grew -> sync the directories that got names -> commit -> tell what is proven.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::Receiver;

use super::cut::{Cut, FileMark};
use super::store::{Store, StoreError};
use super::{queue, snapshot, witness};
use crate::ring::set::MapSet;
use crate::ring::slot::Kind;
use crate::sys::file;

/// Files above which one sync of the filesystem replaces one each.
const SYNC_EACH_MAX: usize = 256;
/// Mode of a finished file: a janitor may take it.
const FINISHED_MODE: u32 = 0o440;

/// What a keeper is built from.
pub struct Settings {
    pub task: String,
    pub state_id: u64,
    pub dir: PathBuf,
    pub failures_dir: PathBuf,
    pub snapshots_dir: PathBuf,
}

/// What a keeper says, of each cut it was given.
#[derive(Debug)]
pub enum Kept {
    /// It is durable.
    Committed(Box<Cut>),
    /// It is not, nothing was risked, and the next one may be.
    Postponed(String),
    /// It is not, and this process must not try again.
    Failed(String),
}

/// Why a cut could not be made durable.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("cannot open {}: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot sync {}: {source}", path.display())]
    Sync { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One task's keeper.
pub struct Keeper {
    settings: Settings,
    store: Arc<Store>,
    maps: Arc<MapSet>,
    /// The lengths in the last committed cut.
    kept: HashMap<(bool, String), u64>,
    seq: u64,
    /// How many sources it had.
    sources: usize,
    /// Opened before the first write, so that a failed write-back is reported to it.
    root: File,
}

impl Keeper {
    /// `last` is the cut that the ledger holds.
    ///
    /// # Errors
    /// The output directory cannot be opened.
    pub fn new(settings: Settings, store: Arc<Store>, maps: Arc<MapSet>, last: &Cut) -> io::Result<Keeper> {
        let root = File::open(&settings.dir)?;
        let mut keeper = Keeper { settings, store, maps, kept: HashMap::new(), seq: last.seq, sources: 0, root };
        keeper.remember(last);
        Ok(keeper)
    }

    /// Until the engine drops its sender. A failed sync ends it: it is never tried twice.
    pub fn run(mut self, cuts: &Receiver<Box<Cut>>, report: impl Fn(Kept)) {
        for cut in cuts {
            match self.keep(&cut) {
                Ok(()) => report(Kept::Committed(cut)),
                Err(error @ KeepError::Open { .. }) => report(Kept::Postponed(error.to_string())),
                Err(error) => return report(Kept::Failed(error.to_string())),
            }
        }
    }

    /// Makes one cut durable.
    ///
    /// # Errors
    /// What stands in the way; after a failed sync the maps are not to be believed any more.
    pub fn keep_one(mut self, cut: &Cut) -> Result<(), String> {
        self.keep(cut).map_err(|error| error.to_string())
    }

    /// After a failed sync nobody shall believe the maps.
    fn keep(&mut self, cut: &Cut) -> Result<(), KeepError> {
        let kept = self.make_durable(cut);
        if let Err(KeepError::Sync { .. }) = kept {
            self.maps.set_suspect();
        }
        kept
    }

    fn make_durable(&mut self, cut: &Cut) -> Result<(), KeepError> {
        if cfg!(feature = "inexact") {
            return Ok(());
        }
        self.sync_files(cut)?;
        self.sync_dirs(cut)?;
        self.store.commit(self.settings.state_id, cut)?;
        self.maps.slots[0].set_seq_limit(cut.seq_limit);
        // In this order: the witness is never ahead of the maps, nor they of the ledger.
        self.maps.slots[0].set_committed(cut.number);
        if let Err(e) = witness::write(&self.settings.dir, self.settings.state_id, cut.number) {
            log::warn!("{}: cannot write {}: {e}", self.settings.task, self.settings.dir.join(witness::FILE).display());
        }
        for done in cut.files.iter().filter(|f| f.sealed) {
            self.finish(done);
        }
        self.remove_taken(cut);
        let new_sources = cut.sources.len() != self.sources;
        self.remember(cut);
        if (new_sources || cut.number.is_multiple_of(snapshot::EVERY))
            && let Err(e) = snapshot::write(&self.settings.snapshots_dir, cut)
        {
            log::warn!("{}: no flat copy of checkpoint {}: {e}", self.settings.task, cut.number);
        }
        Ok(())
    }

    fn sync_files(&self, cut: &Cut) -> Result<(), KeepError> {
        let grown: Vec<&FileMark> = cut.files.iter().filter(|f| self.length_of(f) != Some(f.length)).collect();
        let all_at_once = grown.len() > SYNC_EACH_MAX;
        if all_at_once {
            let failed = |source| KeepError::Sync { path: self.settings.dir.clone(), source };
            file::sync_filesystem(&self.root).map_err(failed)?;
        }
        for mark in grown {
            if all_at_once && mark.kind() == Kind::Lines {
                continue;
            }
            let opened = file::open_below(self.root_of(mark.kind()), &mark.name);
            self.sync(self.path(mark), opened, file::sync_data)?;
        }
        Ok(())
    }

    /// Names are durable once their directory is synced, and that directory's name once its parent is.
    fn sync_dirs(&self, cut: &Cut) -> Result<(), KeepError> {
        let fresh = cut.files.iter().filter(|f| f.seq >= self.seq || self.length_of(f).is_none());
        let mut dirs = BTreeSet::new();
        for mark in fresh {
            let root = self.root_of(mark.kind());
            let path = self.path(mark);
            let below = path.ancestors().skip(1).take_while(|dir| dir.starts_with(root));
            dirs.extend(below.map(Path::to_path_buf));
            dirs.extend(root.parent().filter(|p| !p.as_os_str().is_empty()).map(Path::to_path_buf));
        }
        for path in dirs {
            let opened = File::open(&path);
            self.sync(path, opened, File::sync_all)?;
        }
        Ok(())
    }

    /// What is gone needs no sync: somebody removed it, which is named.
    fn sync(
        &self,
        path: PathBuf,
        opened: io::Result<File>,
        sync: fn(&File) -> io::Result<()>,
    ) -> Result<(), KeepError> {
        match opened {
            Ok(opened) => sync(&opened).map_err(|source| KeepError::Sync { path, source }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                log::warn!("{}: {} was removed before a checkpoint", self.settings.task, path.display());
                Ok(())
            }
            Err(source) => Err(KeepError::Open { path, source }),
        }
    }

    /// The checkpoint holds it as sealed: it will never change.
    fn finish(&self, mark: &FileMark) {
        let path = self.path(mark);
        let opened = file::open_below(self.root_of(mark.kind()), &mark.name);
        match opened.and_then(|f| file::set_mode(&f, FINISHED_MODE)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                log::warn!("{}: cannot make {} read-only: {e}", self.settings.task, path.display());
            }
            _ => {}
        }
    }

    /// Segments of the failure queue that the checkpoint's mark has left behind, once no map names them any more.
    fn remove_taken(&self, cut: &Cut) {
        let first = queue::segment_of(cut.queue().next);
        if first == 0 {
            return;
        }
        let dir = &self.settings.failures_dir;
        let named = |number: u64| cut.files.iter().any(|f| f.failures && f.seq == number);
        let removed = queue::segments(dir).and_then(|all| {
            let taken = all.into_iter().filter(|(number, _)| *number < first && !named(*number));
            taken.into_iter().try_for_each(|(_, path)| std::fs::remove_file(path))
        });
        if let Err(e) = removed {
            log::warn!("{}: cannot remove what is taken out of {}: {e}", self.settings.task, dir.display());
        }
    }

    fn remember(&mut self, cut: &Cut) {
        let entry = |f: &FileMark| ((f.failures, f.name.clone()), f.length);
        self.kept = cut.files.iter().map(entry).collect();
        self.seq = cut.seq;
        self.sources = cut.sources.len();
    }

    fn length_of(&self, mark: &FileMark) -> Option<u64> {
        self.kept.get(&(mark.failures, mark.name.clone())).copied()
    }

    fn root_of(&self, kind: Kind) -> &Path {
        match kind {
            Kind::Lines => &self.settings.dir,
            Kind::Failures => &self.settings.failures_dir,
        }
    }

    fn path(&self, mark: &FileMark) -> PathBuf {
        self.root_of(mark.kind()).join(&mark.name)
    }
}
