//! The witness: a small file in the output directory that tells which checkpoint its files have seen at least.
//!
//! It is written after a checkpoint is durable, and so is never ahead of the ledger that belongs to it. A ledger that
//! is behind its witness is an old copy: what it would cut or write again is in the files already.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::sys::file;

/// The file's name below the output directory.
pub const FILE: &str = ".logmill-seen";

/// Notes checkpoint `number` of a state. Not synced: after a power loss it may be an older one, never a younger one.
///
/// # Errors
/// The kernel's.
pub fn write(dir: &Path, state_id: u64, number: u64) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(file::FILE_MODE);
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(dir.join(FILE))?;
    file.write_all_at(line(state_id, number).as_bytes(), 0)
}

/// The checkpoint that the files of a state have seen at least; 0 where nothing is known.
///
/// # Errors
/// The kernel's.
pub fn read(dir: &Path, state_id: u64) -> io::Result<u64> {
    let mut text = String::new();
    match file::open_read(&dir.join(FILE)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other?.take(64).read_to_string(&mut text)?,
    };
    let number = text.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    // Of another state, or damaged.
    Ok(if text == line(state_id, number) { number } else { 0 })
}

fn line(state_id: u64, number: u64) -> String {
    let text = format!("{state_id:016x} {number:020}");
    format!("{text} {:08x}\n", crc32fast::hash(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_the_newest_checkpoint_of_its_state_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), 7).unwrap(), 0);
        write(dir.path(), 7, 1_000).unwrap();
        write(dir.path(), 7, 1_001).unwrap();
        assert_eq!((read(dir.path(), 7).unwrap(), read(dir.path(), 8).unwrap()), (1_001, 0));
        write(dir.path(), 8, 2).unwrap();
        assert_eq!((read(dir.path(), 7).unwrap(), read(dir.path(), 8).unwrap()), (0, 2));
    }

    #[test]
    fn a_damaged_one_tells_nothing() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 7, 1_000).unwrap();
        let whole = std::fs::read(dir.path().join(FILE)).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(dir.path().join(FILE), bytes).unwrap();
            assert_eq!(read(dir.path(), 7).unwrap_or(0), 0, "byte {at}");
        }
    }
}
