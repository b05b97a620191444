//! The pid file: its lock, held as long as the daemon lives, is the truth; the number in it is only how to reach it.
//!
//! The first line is the number, the second what the daemon said last, where there is a last word.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::sys::file;

/// Below `data_dir`.
pub const NAME: &str = "logmill.pid";
/// Bytes of a pid file that are read.
const READ_MAX: u64 = 64 << 10;

/// The daemon's own, held.
pub struct PidFile {
    path: PathBuf,
    lock: file::Lock,
}

/// What stands in a pid file, of whoever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// `None`: there is no number in it.
    pub pid: Option<u32>,
    /// "" where there is none.
    pub last_word: String,
    /// Somebody holds it: a daemon lives.
    pub is_held: bool,
}

impl PidFile {
    /// Takes it, a stale one too.
    ///
    /// # Errors
    /// `WouldBlock` where a daemon holds it; the kernel's otherwise.
    pub fn take(data_dir: &Path) -> io::Result<PidFile> {
        let path = data_dir.join(NAME);
        loop {
            let lock = file::Lock::take(&path, &number(), file::FILE_MODE)?;
            // Not where the last daemon removed its file between our open and our lock.
            if lock.is_at(&path) {
                return Ok(PidFile { path, lock });
            }
        }
    }

    /// Writes the number of this process.
    ///
    /// # Errors
    /// The kernel's.
    pub fn sign(&self) -> io::Result<()> {
        self.lock.rewrite(&number())
    }

    /// Leaves a last word to those who wait for the end or come later, and removes the file if `remove`.
    pub fn end(self, last_word: &str, remove: bool) {
        let written = self.lock.rewrite(&format!("{}{last_word}\n", number()));
        let removed = if remove { std::fs::remove_file(&self.path) } else { Ok(()) };
        if let Err(error) = written.and(removed) {
            log::warn!("{}: {error}", self.path.display());
        }
    }
}

fn number() -> String {
    format!("{}\n", std::process::id())
}

/// A look at a pid file, kept open: what is written into it before it is removed can still be read.
pub struct Look {
    file: File,
}

impl Look {
    /// `None`: there is none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(data_dir: &Path) -> io::Result<Option<Look>> {
        match file::open_read(&data_dir.join(NAME)) {
            Ok(file) => Ok(Some(Look { file })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// What stands in it now.
    ///
    /// # Errors
    /// The kernel's.
    pub fn find(&mut self) -> io::Result<Found> {
        let is_held = file::is_locked(&self.file)?;
        let mut text = String::new();
        io::Seek::rewind(&mut self.file)?;
        Read::by_ref(&mut self.file).take(READ_MAX).read_to_string(&mut text)?;
        let (pid, last_word) = text.split_once('\n').unwrap_or((&text, ""));
        Ok(Found { pid: pid.trim().parse().ok(), last_word: last_word.trim().into(), is_held })
    }
}
