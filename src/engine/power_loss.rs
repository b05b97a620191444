//! After a power loss: files go back to the last checkpoint, younger ones are set aside, new maps begin there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::ground::{FileRow, Ground, Places, RestoreError, io_at, ours, owned, spread_marks};
use crate::conf::config::Deliver;
use crate::flow::span::Mark;
use crate::ledger::cut::{Cut, FileMark, SEQ_STEP};
use crate::ring::set::{Contents, MapSet, Shape};
use crate::ring::slot::{Row, State};
use crate::sys::file;

/// Below an output directory: what was written after the checkpoint and is written again.
const ASIDE: &str = ".logmill-aside";

/// Cuts the files back and makes the maps anew; `cut` is changed to what the ledger must hold then.
///
/// The ledger gets the new set's id first: killed in between, the next start finds maps of another set, or none, and
/// does all of this again.
///
/// # Errors
/// A file is shorter than its checkpoint: it was not this program that took bytes from it.
pub fn restore(
    task: &Deliver,
    places: &Places,
    cut: &mut Cut,
    (state_id, ground): (u64, &Ground),
) -> Result<MapSet, RestoreError> {
    let mut rows = Vec::new();
    for mark in &cut.files {
        rows.extend(cut_back(task, places, mark)?);
    }
    set_aside(task, places, cut)?;
    for dir in [&places.dir, &places.failures_dir] {
        file::sync_dir(dir).map_err(io_at("cannot sync", dir))?;
    }
    cut.set_id = file::random_u64().map_err(io_at("make an id for", &places.state_dir))?;
    cut.seq = cut.seq_limit;
    cut.seq_limit += SEQ_STEP;
    ground.store.commit(state_id, cut)?;
    new_maps(task, places, cut, rows, ground)
}

/// Maps that begin where the cut stands.
///
/// # Errors
/// The kernel's.
pub fn new_maps(
    task: &Deliver,
    places: &Places,
    cut: &Cut,
    rows: Vec<FileRow>,
    ground: &Ground,
) -> Result<MapSet, RestoreError> {
    let shape = Shape { readers: task.readers, writers: task.writers, ring_size: task.ring_size };
    let mut files: Vec<Vec<FileRow>> = vec![Vec::new(); shape.writers];
    rows.into_iter().enumerate().for_each(|(i, row)| files[i % shape.writers].push(row));
    let contents = Contents {
        set_id: cut.set_id,
        boot_id: ground.boot_id,
        topics: cut.topics.iter().map(|t| t.name.clone()).collect(),
        marks: spread_marks(cut.sources.iter().map(|s| Mark::from(*s)), shape.readers),
        tally: cut.tally(),
        files,
        seq: cut.seq,
        seq_limit: cut.seq_limit,
        committed: cut.number,
    };
    MapSet::create(&places.state_dir, shape, &contents).map_err(io_at("cannot make maps in", &places.state_dir))
}

/// One file back to its length in the checkpoint; sealed, so that what follows goes to a new one. `None`: it is gone.
pub fn cut_back(task: &Deliver, places: &Places, mark: &FileMark) -> Result<Option<FileRow>, RestoreError> {
    let path = places.root(mark.kind()).join(&mark.name);
    let opened = match file::open_below(places.root(mark.kind()), &mark.name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            log::warn!("{}: {} was removed; it held {} bytes", task.name, path.display(), mark.length);
            return Ok(None);
        }
        other => other.map_err(io_at("cannot open", &path))?,
    };
    let length = file::standing(&opened).map_err(io_at("cannot read", &path))?.length;
    if length < mark.length {
        return Err(RestoreError::Refused(format!(
            "{} has {length} bytes, its checkpoint {}: bytes that were durable are gone. Restore the file, \
             or go back to an older checkpoint in {}",
            path.display(),
            mark.length,
            places.snapshots_dir.display()
        )));
    }
    if length > mark.length {
        if let Err(e) = save_tail(&opened, mark.length, length, places, &mark.name) {
            log::warn!("{}: the last bytes of {} are not saved: {e}", task.name, path.display());
        }
        log::warn!("{}: {} goes back from {length} to {} bytes", task.name, path.display(), mark.length);
        let mode = if mark.failures { file::PRIVATE_FILE_MODE } else { file::FILE_MODE };
        let cut = file::set_mode(&opened, mode)
            .and_then(|()| file::open_map(&path))
            .and_then(|f| f.set_len(mark.length).and_then(|()| file::sync_data(&f)));
        cut.map_err(io_at("cannot cut", &path))?;
    }
    let row = Row {
        kind: mark.kind(),
        name: mark.name.clone(),
        seq: mark.seq,
        route_hash: mark.route_hash,
        period: mark.period,
    };
    let identity = file::identity(&opened).map_err(io_at("cannot read", &path))?;
    Ok(Some((row, State::Sealed, mark.length, identity)))
}

/// Best effort: what is cut off is written again from Kafka, but somebody may want to look.
fn save_tail(from: &File, start: u64, end: u64, places: &Places, name: &str) -> io::Result<()> {
    const MOST: u64 = 64 << 20;
    let dir = places.dir.join(ASIDE);
    file::make_dirs(&dir, file::DIR_MODE)?;
    let mut bytes = vec![0; (end - start).min(MOST) as usize];
    from.read_exact_at(&mut bytes, start)?;
    std::fs::write(dir.join(format!("{}.from_{start}", name.replace('/', "%2F"))), bytes)
}

/// Files younger than the checkpoint are ours, and their lines come again: they leave their place.
fn set_aside(task: &Deliver, places: &Places, cut: &Cut) -> Result<(), RestoreError> {
    for (dir, kind, templates) in owned(cut, places).map_err(RestoreError::Refused)? {
        for (name, seq) in ours(dir, &templates).map_err(io_at("cannot read", dir))? {
            let known = cut.files.iter().any(|f| f.kind() == kind && f.name == name);
            if seq < cut.seq || known {
                continue;
            }
            let aside = dir.join(ASIDE);
            file::make_dirs(&aside, file::DIR_MODE).map_err(io_at("cannot make", &aside))?;
            let to = aside.join(name.replace('/', "%2F"));
            log::warn!("{}: {name} is younger than the checkpoint; it is kept as {}", task.name, to.display());
            std::fs::rename(dir.join(&name), &to).map_err(io_at("cannot set aside", &to))?;
        }
    }
    Ok(())
}
