//! What stands in a file, beside the lines that were to be appended there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes compared at a time with what stands in a file.
const COMPARE_BYTES: usize = 64 << 10;

/// How many of the `have` bytes at `start` are the first ones of `parts`.
pub fn common(file: &File, start: u64, have: u64, parts: &[&[u8]]) -> io::Result<u64> {
    let mut buffer = vec![0; COMPARE_BYTES.min(have as usize)];
    let mut same = 0;
    for chunk in parts.iter().flat_map(|p| p.chunks(COMPARE_BYTES)) {
        let len = chunk.len().min((have - same) as usize);
        if len == 0 {
            break;
        }
        let found = &mut buffer[..len];
        file.read_exact_at(found, start + same)?;
        let equal = found.iter().zip(chunk).take_while(|(a, b)| a == b).count();
        same += equal as u64;
        if equal < len {
            break;
        }
    }
    Ok(same)
}

/// What of `parts` is behind the first `skip` bytes.
pub fn tail<'a>(parts: &[&'a [u8]], mut skip: u64) -> Vec<&'a [u8]> {
    let mut rest = Vec::with_capacity(parts.len());
    for part in parts {
        let cut = skip.min(part.len() as u64) as usize;
        skip -= cut as u64;
        if part.len() > cut {
            rest.push(&part[cut..]);
        }
    }
    rest
}

/// Bytes of the whole lines within the first `same` bytes of `parts`.
pub fn whole_lines(parts: &[&[u8]], same: u64) -> u64 {
    let bytes = parts.iter().flat_map(|p| p.iter()).take(same as usize);
    bytes.enumerate().filter(|(_, b)| **b == b'\n').last().map_or(0, |(at, _)| at as u64 + 1)
}
