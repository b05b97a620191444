//! Directories that tell what happens to their files (inotify).

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};

/// Bytes of events taken at once.
const BUFFER_BYTES: usize = 64 << 10;

/// What happened. Paths are those of the directory as it was watched, with the name in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The file was written or cut.
    Written(PathBuf),
    /// The name leads to something else now, or to nothing.
    Named(PathBuf),
    /// A directory came, went or moved.
    Tree,
    /// Events were lost: anything may have happened.
    Lost,
}

/// The watched directories.
pub struct Dirs {
    inotify: Inotify,
    paths: HashMap<WatchDescriptor, PathBuf>,
    buffer: Vec<u8>,
}

impl Dirs {
    /// # Errors
    /// The kernel has no instance left for this user.
    pub fn new() -> io::Result<Dirs> {
        Ok(Dirs { inotify: Inotify::init()?, paths: HashMap::new(), buffer: vec![0; BUFFER_BYTES] })
    }

    /// Watches exactly these directories from now on, one that has two names by the first; those that cannot be watched
    /// come back with the reason.
    pub fn watch(&mut self, dirs: impl IntoIterator<Item = PathBuf>) -> Vec<(PathBuf, io::Error)> {
        let mask = WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MODIFY
            | WatchMask::MOVED_FROM
            | WatchMask::MOVED_TO
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let mut refused = Vec::new();
        let mut paths = HashMap::new();
        for dir in dirs {
            match self.inotify.watches().add(&dir, mask) {
                Ok(watch) => drop(paths.entry(watch).or_insert(dir)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => refused.push((dir, e)),
            }
        }
        for (watch, _) in std::mem::replace(&mut self.paths, paths) {
            if !self.paths.contains_key(&watch) {
                // It fails where the directory is gone, and its watch with it.
                let _ = self.inotify.watches().remove(watch);
            }
        }
        refused
    }

    /// What has happened since the last call.
    pub fn changes(&mut self, mut each: impl FnMut(Change)) {
        while let Ok(events) = self.inotify.read_events(&mut self.buffer) {
            let mut none = true;
            for event in events {
                none = false;
                if let Some(change) = change(&self.paths, event.wd, event.mask, event.name.map(OsString::from)) {
                    each(change);
                }
            }
            if none {
                break;
            }
        }
    }

    pub fn fd(&self) -> RawFd {
        self.inotify.as_raw_fd()
    }
}

fn change(
    paths: &HashMap<WatchDescriptor, PathBuf>,
    watch: WatchDescriptor,
    mask: EventMask,
    name: Option<OsString>,
) -> Option<Change> {
    if mask.contains(EventMask::Q_OVERFLOW) {
        return Some(Change::Lost);
    }
    if mask.intersects(EventMask::DELETE_SELF | EventMask::MOVE_SELF) {
        return Some(Change::Tree);
    }
    let path = paths.get(&watch)?.join(Path::new(&name?));
    match mask {
        m if m.contains(EventMask::ISDIR) => (!m.contains(EventMask::MODIFY)).then_some(Change::Tree),
        m if m.contains(EventMask::MODIFY) => Some(Change::Written(path)),
        _ => Some(Change::Named(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(dirs: &mut Dirs) -> Vec<Change> {
        let mut all = Vec::new();
        dirs.changes(|change| all.push(change));
        all
    }

    #[test]
    fn writes_and_names_are_told_by_path() {
        let dir = tempfile::tempdir().unwrap();
        let mut dirs = Dirs::new().unwrap();
        assert!(dirs.watch([dir.path().to_path_buf(), dir.path().join("missing")]).is_empty());
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, "1").unwrap();
        std::fs::rename(&a, &b).unwrap();
        std::fs::create_dir(dir.path().join("below")).unwrap();
        let (named, written) = (Change::Named(a.clone()), Change::Written(a.clone()));
        assert_eq!(changes(&mut dirs), [named.clone(), written, named, Change::Named(b), Change::Tree]);
        assert!(dirs.watch([]).is_empty());
        std::fs::write(&a, "1").unwrap();
        assert_eq!(changes(&mut dirs), []);
    }
}
