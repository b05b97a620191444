//! After a power loss: files go back to the last checkpoint, younger ones are set aside, new maps begin there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::restore::{Ground, Places, RestoreError, io_at, marks_of, spread_marks};
use crate::conf::config::Deliver;
use crate::flow::name::Template;
use crate::ledger::cut::{Cut, FileMark, SEQ_STEP};
use crate::ledger::failures;
use crate::ring::set::{Contents, MapSet, Shape};
use crate::ring::slot::{Kind, Row, State};
use crate::sys::file;

/// Below an output directory: what was written after the checkpoint and is written again.
const ASIDE: &str = ".logmill-aside";

type FileRow = (Row, State, u64, file::Identity);

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
    (state_id, ground): (u64, &Ground<'_>),
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
    ground: &Ground<'_>,
) -> Result<MapSet, RestoreError> {
    let shape = Shape { readers: task.readers, writers: task.writers, ring_size: task.ring_size };
    let mut files: Vec<Vec<FileRow>> = vec![Vec::new(); shape.writers];
    rows.into_iter().enumerate().for_each(|(i, row)| files[i % shape.writers].push(row));
    let contents = Contents {
        set_id: cut.set_id,
        boot_id: ground.boot_id,
        topics: cut.topics.iter().map(|t| t.name.clone()).collect(),
        marks: spread_marks(marks_of(&cut.sources), shape.readers),
        tally: cut.tally(),
        files,
        seq: cut.seq,
        seq_limit: cut.seq_limit,
    };
    MapSet::create(&places.state_dir, shape, &contents).map_err(io_at("cannot make maps in", &places.state_dir))
}

fn root(places: &Places, kind: Kind) -> &Path {
    match kind {
        Kind::Lines => &places.dir,
        Kind::Failures => &places.failures_dir,
    }
}

/// One file back to its length in the checkpoint; sealed, so that what follows goes to a new one. `None`: it is gone.
fn cut_back(task: &Deliver, places: &Places, mark: &FileMark) -> Result<Option<FileRow>, RestoreError> {
    let path = root(places, mark.kind()).join(&mark.name);
    let opened = match file::open_read(&path) {
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
        let cut = file::open_map(&path).and_then(|f| f.set_len(mark.length).and_then(|()| file::sync_data(&f)));
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

/// A directory, the kind of its files, and the templates of their names.
type Owned<'p> = (&'p Path, Kind, Vec<Template>);

/// The task's directories with the templates of their files.
///
/// # Errors
/// A stored template is none.
pub fn owned<'p>(cut: &Cut, places: &'p Places) -> Result<[Owned<'p>; 2], String> {
    let templates: Result<_, _> = cut.output.templates.iter().map(|t| Template::parse(t)).collect();
    let segments = vec![Template::parse(failures::SEGMENT)?];
    Ok([(&places.dir, Kind::Lines, templates?), (&places.failures_dir, Kind::Failures, segments)])
}

/// Files below `dir` whose names one of the templates can have made, with their numbers.
///
/// # Errors
/// The kernel's.
pub fn ours(dir: &Path, templates: &[Template]) -> io::Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(below) = dirs.pop() {
        for item in std::fs::read_dir(dir.join(&below))? {
            let item = item?;
            let path = below.join(item.file_name());
            let Some(name) = path.to_str() else { continue };
            if item.file_type()?.is_dir() && !name.starts_with(".logmill") {
                dirs.push(path);
            } else if let Some(seq) = templates.iter().find_map(|t| t.seq_of(name)) {
                found.push((name.to_string(), seq));
            }
        }
    }
    Ok(found)
}
