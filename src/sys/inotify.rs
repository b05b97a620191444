//! Directories watched for change: a thread waits for [`Changes`], any other says with [`Watched`] which directories.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use inotify::{Inotify, WatchDescriptor, WatchMask, Watches};

/// Written to the end, renamed to, made, or the directory itself gone.
const MASK: WatchMask = WatchMask::CLOSE_WRITE
    .union(WatchMask::MOVED_TO)
    .union(WatchMask::CREATE)
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::MOVE_SELF)
    .union(WatchMask::ONLYDIR);
/// A change counts once nothing more has changed for so long,
const QUIET: Duration = Duration::from_millis(200);
/// or after this time, where it does not become quiet.
const RESTLESS_MAX: Duration = Duration::from_secs(2);
/// Bytes of events taken at once; one has at most 272.
const BUFFER_BYTES: usize = 16 << 10;

/// The waiting end.
pub struct Changes {
    inotify: Inotify,
}

/// The end that names directories.
pub struct Watched {
    watches: Watches,
    known: HashMap<PathBuf, WatchDescriptor>,
}

/// # Errors
/// The kernel has no instance left (`fs.inotify.max_user_instances`).
pub fn open() -> io::Result<(Changes, Watched)> {
    let inotify = Inotify::init()?;
    let watches = inotify.watches();
    Ok((Changes { inotify }, Watched { watches, known: HashMap::new() }))
}

impl Changes {
    /// Until something has changed and it is quiet again.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait(&mut self) -> io::Result<()> {
        let mut buffer = [0; BUFFER_BYTES];
        self.inotify.read_events_blocking(&mut buffer)?;
        let began = Instant::now();
        while began.elapsed() < RESTLESS_MAX && self.comes_within(QUIET)? {
            self.inotify.read_events(&mut buffer)?;
        }
        Ok(())
    }

    fn comes_within(&self, time: Duration) -> io::Result<bool> {
        let mut polled = libc::pollfd { fd: self.inotify.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry that lives as long as the call.
        match unsafe { libc::poll(&raw mut polled, 1, time.as_millis() as libc::c_int) } {
            0.. => Ok(polled.revents != 0),
            _ => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => Ok(true),
                e => Err(e),
            },
        }
    }
}

impl Watched {
    /// From now on exactly these directories; a path that another directory has taken is watched anew. True where one
    /// came to the list: what happened in it before was not seen.
    ///
    /// # Errors
    /// The first directory that cannot be watched; the others are.
    pub fn set(&mut self, dirs: &BTreeSet<PathBuf>) -> (bool, Result<(), (PathBuf, io::Error)>) {
        let (mut new, mut failed) = (false, Ok(()));
        let before = std::mem::take(&mut self.known);
        for dir in dirs {
            match self.watches.add(dir, MASK) {
                Ok(watch) => {
                    new |= before.get(dir) != Some(&watch);
                    self.known.insert(dir.clone(), watch);
                }
                Err(error) => failed = failed.and(Err((dir.clone(), error))),
            }
        }
        for watch in before.into_values().filter(|watch| !self.known.values().any(|w| w == watch)) {
            // One whose directory is gone went with it.
            let _ = self.watches.remove(watch);
        }
        (new, failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_in_the_directories_is_told_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let sub = |name: &str| dir.path().join(name);
        ["a", "b"].iter().for_each(|name| std::fs::create_dir(sub(name)).unwrap());
        let (mut changes, mut watched) = open().unwrap();
        let (new, failed) = watched.set(&BTreeSet::from([sub("a"), sub("none")]));
        assert!(new && failed.is_err_and(|(path, _)| path == sub("none")));
        std::fs::write(sub("b/other"), "x").unwrap();
        assert!(!changes.comes_within(Duration::ZERO).unwrap());
        std::fs::write(sub("a/new"), "x").unwrap();
        std::fs::rename(sub("b/other"), sub("a/new")).unwrap();
        changes.wait().unwrap();
        assert!(!changes.comes_within(Duration::ZERO).unwrap(), "all of it was one change");

        assert!(!watched.set(&BTreeSet::from([sub("a")])).0);
        assert!(watched.set(&BTreeSet::from([sub("b")])).0);
        std::fs::write(sub("a/new"), "y").unwrap();
        let mut buffer = [0; BUFFER_BYTES];
        // That a watch was taken away is an event too.
        while changes.comes_within(Duration::ZERO).unwrap() {
            let events = changes.inotify.read_events(&mut buffer).unwrap();
            assert!(events.into_iter().all(|e| e.mask.contains(inotify::EventMask::IGNORED)));
        }
        // Another directory takes the place of the one that is watched.
        std::fs::rename(sub("b"), sub("old")).unwrap();
        std::fs::create_dir(sub("b")).unwrap();
        changes.wait().unwrap();
        assert!(watched.set(&BTreeSet::from([sub("b")])).0);
        std::fs::write(sub("b/new"), "z").unwrap();
        changes.wait().unwrap();
    }
}
