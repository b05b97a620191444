//! Flat copies of cuts, for the day on which the database cannot be opened.

use std::io;
use std::path::{Path, PathBuf};

use super::cut::Cut;
use crate::sys::file;

/// Every so many cuts one is also written flat, and each that has new sources.
pub const EVERY: u64 = 6;
/// Flat copies kept.
const KEPT: usize = 16;

/// Writes the cut beside the others, in place of one with its number, and removes the oldest.
///
/// # Errors
/// The kernel's.
pub fn write(dir: &Path, cut: &Cut) -> io::Result<()> {
    file::make_dirs(dir, file::PRIVATE_DIR_MODE)?;
    let text = serde_json::to_string(cut)?;
    let line = format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes()));
    file::replace(&dir.join(format!("cut.{:020}", cut.number)), line.as_bytes())?;
    let mut all = list(dir)?;
    all.truncate(all.len().saturating_sub(KEPT));
    all.iter().try_for_each(std::fs::remove_file)
}

/// All flat copies that are whole, newest first.
///
/// # Errors
/// The kernel's.
pub fn read(dir: &Path) -> io::Result<Vec<Cut>> {
    let whole = |path: PathBuf| {
        let text = std::fs::read_to_string(path).ok()?;
        let (crc, text) = text.trim_end().split_once(' ')?;
        let fits = u32::from_str_radix(crc, 16).ok()? == crc32fast::hash(text.as_bytes());
        fits.then(|| serde_json::from_str(text).ok())?
    };
    Ok(list(dir)?.into_iter().rev().filter_map(whole).collect())
}

/// Paths, oldest first.
fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for item in std::fs::read_dir(dir)? {
        let path = item?.path();
        if path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with("cut.") && !n.ends_with(".new")) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
