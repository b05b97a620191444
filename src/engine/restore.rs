//! From what the last process left to maps at rest: first start, start after a kill, start after a power loss.
//!
//! After a kill the maps are believed and nothing in a file is cut. Only where they are of another boot, another set,
//! marked suspect, or fail the strict check, files go back to the last checkpoint.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::ground::{FileRow, Ground, Places, RestoreError, io_at, ours, spread_marks};
use super::moving;
use super::power_loss;
use super::seek::{self, Place};
use super::strict;
use crate::conf::config::Deliver;
use crate::flow::clock;
use crate::flow::name::Template;
use crate::flow::span::Mark;
use crate::ledger::cut::{Cut, Output, SEQ_STEP, Topic};
use crate::ledger::keeper::{self, Keeper};
use crate::ledger::store::Store;
use crate::ledger::{snapshot, witness};
use crate::ring::layout::Work;
use crate::ring::recover::fold_all;
use crate::ring::set::{Contents, MapSet, OpenError, Shape};
use crate::ring::slot::State;
use crate::sys::file;
use crate::writer;

/// Deaths over one record after which it is parked.
const DEADLY: u64 = 3;
/// Below an output directory: its id.
pub(super) const ID_FILE: &str = ".logmill-id";
const LOCK_FILE: &str = ".logmill-lock";

/// A task's state, at rest: nothing is owed to any file.
pub struct Restored {
    pub state_id: u64,
    pub maps: Arc<MapSet>,
    /// The cut that the ledger holds.
    pub cut: Cut,
    pub places: Places,
    pub deadly: Vec<Work>,
    /// Topics that the state did not know before, by index: for them `start` decides.
    pub new_topics: Vec<u16>,
    /// Held for life.
    pub lock: file::Lock,
}

/// Brings the task's files and maps to rest; then moves a partition, where one is to go on elsewhere.
///
/// # Errors
/// What stands in the way, and what to do about it.
pub fn restore(task: &Deliver, ground: &Ground, sought: Option<&Place>) -> Result<Restored, RestoreError> {
    let began = Instant::now();
    let lock = take_dir(&task.dir, &ground.holder)?;
    let dir_id = dir_id(&task.dir)?;
    let state = find_state(task, &ground.store)?;
    let state_id = match state {
        Some((id, _)) => id,
        None => file::random_u64().map_err(io_at("make an id for", &task.dir))?,
    };
    let places = places(task, ground, state_id)?;
    let state_is_new = state.is_none();
    let mut cut = match state {
        Some((_, cut)) => match newest(task, cut, &places) {
            cut if cut.output.dir_id == dir_id => cut,
            cut => moving::leave(task, &places, cut, dir_id, (state_id, ground))?,
        },
        None => first_cut(task, dir_id, &places)?,
    };
    let known_topics = cut.topics.len();
    let seen = witness::read(&task.dir, state_id).map_err(io_at("cannot read the witness in", &task.dir))?;
    cut.output.dir = task.dir.display().to_string();
    for name in &task.topics {
        if !cut.topics.iter().any(|t| t.name == *name) {
            cut.topics.push(Topic { name: name.clone(), id: String::new() });
        }
    }
    if !cut.output.templates.contains(&task.file_name) {
        cut.output.templates.push(task.file_name.clone());
    }
    let mounts = [file::mount_id(&places.state_dir), file::mount_id(&task.dir)];
    let same_mounts = cut.mounts == mounts && mounts.iter().all(Option::is_some);
    cut.mounts = mounts;
    let opened = open(&places, ground, (&cut, seen), same_mounts);
    if let Err(why) = &opened
        && seen > cut.number
        && !cut.rebuilt
    {
        return Err(old_copy(task, &places, &cut, seen, why));
    }
    let kept = cut.number;
    may_replace(&opened, kept)?;
    cut.number = cut.number.max(seen);
    let (maps, deadly) = match opened {
        Ok(maps) => {
            cut.number = cut.number.max(maps.slots[0].committed());
            after_kill(task, (&places, &cut), maps, ground, began)?
        }
        Err(_) if state_is_new => (power_loss::new_maps(task, &places, &cut, Vec::new(), ground)?, Vec::new()),
        Err(why) => {
            tell_of_return(task, &why, kept, cut.taken_ms);
            (power_loss::restore(task, &places, &mut cut, (state_id, ground))?, Vec::new())
        }
    };
    // Durable before anything is fetched: topics, templates, mounts, and the set that these maps belong to.
    let rebuilt = std::mem::take(&mut cut.rebuilt);
    if let Some(place) = sought {
        let stood = seek::move_to(&mut cut, &maps, place).map_err(RestoreError::Refused)?;
        let Place { topic, partition, offset } = place;
        log::warn!("{}: {topic}/{partition} goes on at offset {offset} by order; it stood at {stood}", task.name);
    }
    ground.store.commit(state_id, &cut)?;
    seek::believe(&cut, &maps);
    let maps = Arc::new(maps);
    let new_topics = (known_topics..cut.topics.len()).map(|t| t as u16).collect();
    if rebuilt {
        cut = settle(task, &places, &maps, &cut, (state_id, ground), false)?;
    }
    snapshot::write(&places.snapshots_dir, &cut).map_err(io_at("cannot write into", &places.snapshots_dir))?;
    Ok(Restored { state_id, maps, cut, places, deadly, new_topics, lock })
}

fn take_dir(dir: &Path, holder: &str) -> Result<file::Lock, RestoreError> {
    file::make_dirs(dir, file::DIR_MODE).map_err(io_at("cannot make the output directory", dir))?;
    let path = dir.join(LOCK_FILE);
    file::Lock::take(&path, holder, file::FILE_MODE).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => RestoreError::InUse { path: dir.to_path_buf(), holder: e.to_string() },
        _ => io_at("cannot write into the output directory", dir)(e),
    })
}

/// The id that tells this directory from another that later takes its name.
fn dir_id(dir: &Path) -> Result<u64, RestoreError> {
    let path = dir.join(ID_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => u64::from_str_radix(text.trim(), 16).map_err(|_| {
            RestoreError::Refused(format!("{} holds no directory id; remove it if no state is kept", path.display()))
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let id = file::random_u64().map_err(io_at("make an id for", dir))?;
            file::replace(&path, format!("{id:016x}\n").as_bytes()).map_err(io_at("cannot write", &path))?;
            Ok(id)
        }
        Err(e) => Err(io_at("cannot read", &path)(e)),
    }
}

fn places(task: &Deliver, ground: &Ground, state_id: u64) -> Result<Places, RestoreError> {
    let state_dir = ground.data_dir.join(format!("state.{state_id:016x}"));
    let places = Places {
        dir: task.dir.clone(),
        failures_dir: state_dir.join("failures"),
        snapshots_dir: state_dir.join("snapshots"),
        state_dir,
    };
    for dir in [&places.state_dir, &places.failures_dir, &places.snapshots_dir] {
        file::make_dirs(dir, file::PRIVATE_DIR_MODE).map_err(io_at("cannot make", dir))?;
    }
    Ok(places)
}

/// State is kept under (group_id, topic), so a renamed task finds its own.
fn find_state(task: &Deliver, store: &Store) -> Result<Option<(u64, Cut)>, RestoreError> {
    let mut found: Option<(u64, &str)> = None;
    for topic in &task.topics {
        match (store.state_of(&task.group_id, topic)?, found) {
            (Some(id), Some((other, first))) if id != other => {
                return Err(RestoreError::Refused(format!(
                    "topics {first} and {topic} of group {} were delivered by two tasks so far; \
                     keep them in two tasks, or take a new group_id with start set to where it shall begin",
                    task.group_id
                )));
            }
            (Some(id), _) => found = Some((id, topic)),
            (None, _) => {}
        }
    }
    let Some((id, _)) = found else { return Ok(None) };
    let cut = store.cut(id)?;
    cut.map(|cut| Some((id, cut)))
        .ok_or_else(|| RestoreError::Refused(format!("the ledger names state {id:016x} but holds no checkpoint of it")))
}

fn first_cut(task: &Deliver, dir_id: u64, places: &Places) -> Result<Cut, RestoreError> {
    let template = Template::parse(&task.file_name).map_err(RestoreError::Refused)?;
    let ours = ours(&places.dir, &[template]).map_err(io_at("cannot read", &places.dir))?;
    // Files of an earlier life keep their names: numbering begins behind them.
    let seq = ours.iter().map(|(_, seq)| seq + 1).max().unwrap_or(1);
    Ok(Cut {
        number: 0,
        set_id: file::random_u64().map_err(io_at("make an id for", &places.state_dir))?,
        group_id: task.group_id.clone(),
        cluster: String::new(),
        topics: Vec::new(),
        sources: Vec::new(),
        tally: Vec::new(),
        output: Output { dir: task.dir.display().to_string(), dir_id, templates: Vec::new() },
        files: Vec::new(),
        seq,
        seq_limit: seq + SEQ_STEP,
        mounts: [None, None],
        taken_ms: clock::now_ms(),
        rebuilt: false,
        job: None,
        cleared: 0,
    })
}

/// The ledger's cut, or a flat copy that is younger: the database itself has gone back then.
fn newest(task: &Deliver, cut: Cut, places: &Places) -> Cut {
    let flat = snapshot::read(&places.snapshots_dir).ok().and_then(|all| all.into_iter().next());
    match flat.filter(|flat| flat.number > cut.number) {
        None => cut,
        Some(flat) => {
            let (old, new) = (cut.number, flat.number);
            log::error!(
                "{}: the ledger holds checkpoint {old}, its flat copy {new}; the younger one counts",
                task.name
            );
            flat
        }
    }
}

/// The files know of younger checkpoints than the data directory, and nothing in it can tell what became of them.
fn old_copy(task: &Deliver, places: &Places, cut: &Cut, seen: u64, why: &OpenError) -> RestoreError {
    RestoreError::Refused(format!(
        "the data directory is an old copy: it holds checkpoint {} of {} UTC ({why}), while the files in {} have seen \
         checkpoint {seen}. To go on from it would write lines a second time. Bring the newest data directory back; or \
         go on with a new group_id and start set to the moment from which it shall deliver; or, to go back to that \
         checkpoint and have everything younger set aside and delivered again, remove {} and {}",
        cut.number,
        clock::civil(cut.taken_ms, 0),
        task.dir.display(),
        task.dir.join(witness::FILE).display(),
        places.state_dir.join("current").display()
    ))
}

fn tell_of_return(task: &Deliver, why: &OpenError, kept: u64, taken_ms: i64) {
    if matches!(why, OpenError::OtherLayout { .. }) {
        log::info!("{}: {why}; they are at rest, and new ones begin at checkpoint {kept}", task.name);
    } else {
        let taken = clock::civil(taken_ms, 0);
        log::warn!("{}: {why}; files go back to checkpoint {kept} of {taken} UTC", task.name);
    }
}

/// Maps that this program cannot read hold nothing that is owed, if it is known that checkpoint `kept` has it all.
fn may_replace(opened: &Result<MapSet, OpenError>, kept: u64) -> Result<(), RestoreError> {
    match opened {
        Err(why @ OpenError::OtherLayout { program, rest, .. }) if *rest != Some(kept) => {
            Err(RestoreError::Refused(format!(
                "{why}, and something in them may not be in the files yet. Start {program} once more and stop it in \
                 order, then start this one"
            )))
        }
        _ => Ok(()),
    }
}

/// `seen` is what the witness in the output directory knows.
fn open(places: &Places, ground: &Ground, (cut, seen): (&Cut, u64), same_mounts: bool) -> Result<MapSet, OpenError> {
    let maps = MapSet::open(&places.state_dir, ground.boot_id)?;
    if maps.set_id != cut.set_id {
        return Err(OpenError::Damaged("they are not of the set that the ledger knows".into()));
    }
    let committed = maps.slots[0].committed();
    // A kill may fall between the ledger's commit and the note of it in the maps.
    if committed < seen || committed + 1 < cut.number {
        return Err(OpenError::Damaged(format!("they are an old copy: they have seen checkpoint {committed} at most")));
    }
    seek::believe(cut, &maps);
    strict::check_maps(&maps, cut).map_err(OpenError::Damaged)?;
    if !same_mounts || !maps.are_originals {
        strict::check(&maps, cut, places).map_err(OpenError::Damaged)?;
    }
    // From here on they are used again.
    maps.forget_rest()?;
    Ok(maps)
}

/// Ends what was in flight, appends what was published, and goes on with the same maps or ones of another shape.
fn after_kill(
    task: &Deliver,
    (places, cut): (&Places, &Cut),
    maps: MapSet,
    ground: &Ground,
    began: Instant,
) -> Result<(MapSet, Vec<Work>), RestoreError> {
    let refuse = |what: String| {
        RestoreError::Refused(format!(
            "{what}; remove {} to go back to the last checkpoint",
            places.state_dir.join("current").display()
        ))
    };
    let owed = !maps.is_empty();
    let mut done = writer::Recovered::default();
    for index in 0..maps.shape.writers {
        let settings = writer_settings(task, places, index);
        let writer = writer::Writer::new(settings, maps.rings.clone(), &maps.slots, writer_gauge(cut));
        let recovered = writer.and_then(|mut w| w.recover()).map_err(refuse)?;
        done.files += recovered.files;
        done.bytes += recovered.bytes;
    }
    let mut deadly = Vec::new();
    let mut marks = Vec::new();
    for ring in &maps.rings {
        marks.push(fold_all(ring).map_err(refuse)?);
        if let Some((work, deaths)) = ring.count_death() {
            log::warn!("{}: the process died over {}/{}/{}", task.name, work.topic, work.partition, work.offset);
            deadly.extend((deaths >= DEADLY).then_some(work));
        }
    }
    if owed || done.files > 0 {
        let next: Vec<String> = marks
            .iter()
            .flatten()
            .filter(|m| m.is_of_kafka())
            .map(|m| format!("{}/{}@{}", m.topic, m.partition, m.next))
            .collect();
        log::info!(
            "{}: recovered in {} ms: {} appends finished, {} bytes; goes on at {}",
            task.name,
            began.elapsed().as_millis(),
            done.files,
            done.bytes,
            next.join(" ")
        );
    }
    let shape = Shape { readers: task.readers, writers: task.writers, ring_size: task.ring_size };
    if maps.shape == shape {
        return Ok((maps, deadly));
    }
    log::info!(
        "{}: {} readers, {} writers, rings of {} bytes from now on",
        task.name,
        shape.readers,
        shape.writers,
        shape.ring_size
    );
    let contents = reshaped(&maps, marks.concat(), shape, ground.boot_id).map_err(refuse)?;
    let maps =
        MapSet::create(&places.state_dir, shape, &contents).map_err(io_at("cannot make maps in", &places.state_dir))?;
    Ok((maps, deadly))
}

/// A checkpoint of maps at rest, durable before anything else happens; with `end_files` no file in it grows any more.
pub(super) fn settle(
    task: &Deliver,
    places: &Places,
    maps: &Arc<MapSet>,
    last: &Cut,
    (state_id, ground): (u64, &Ground),
    end_files: bool,
) -> Result<Cut, RestoreError> {
    let settings = keeper_settings(task, places, state_id);
    let mut cut = Cut::take(last, maps, &[], clock::now_ms()).map_err(RestoreError::Refused)?;
    cut.files.iter_mut().filter(|f| !f.failures).for_each(|f| f.sealed |= end_files);
    let keeper = Keeper::new(settings, ground.store.clone(), maps.clone(), last);
    let keeper = keeper.map_err(io_at("cannot open", &places.dir))?;
    keeper.keep_one(&cut).map_err(RestoreError::Refused)?;
    Ok(cut)
}

/// The same for the running keeper and for the one that a start needs.
pub(super) fn keeper_settings(task: &Deliver, places: &Places, state_id: u64) -> keeper::Settings {
    keeper::Settings {
        task: task.name.clone(),
        state_id,
        dir: places.dir.clone(),
        failures_dir: places.failures_dir.clone(),
        snapshots_dir: places.snapshots_dir.clone(),
    }
}

/// The same marks and files, spread over another number of readers and writers.
fn reshaped(maps: &MapSet, marks: Vec<Mark>, shape: Shape, boot_id: u128) -> Result<Contents, String> {
    let mut files = Vec::new();
    for slot in &maps.slots {
        for (at, row, state) in slot.rows()? {
            files.push((row, state, slot.length(at), slot.identity(at)));
        }
    }
    Ok(Contents {
        set_id: maps.set_id,
        boot_id,
        topics: maps.topics(),
        marks: spread_marks(marks, shape.readers),
        tally: maps.tally(),
        files: spread_files(files, shape.writers),
        seq: maps.slots[0].seq(),
        seq_limit: maps.slots[0].seq_limit(),
        committed: maps.slots[0].committed(),
    })
}

/// A file's route may belong to another writer now: unsealed ones go to all writers alike, as finished.
pub(super) fn spread_files(files: Vec<FileRow>, writers: usize) -> Vec<Vec<FileRow>> {
    let mut spread = vec![Vec::new(); writers];
    for (i, (row, _, length, identity)) in files.into_iter().enumerate() {
        spread[i % writers].push((row, State::Sealed, length, identity));
    }
    spread
}

/// Of a writer that begins, with what it must know from the start.
pub(super) fn writer_gauge(cut: &Cut) -> Arc<writer::Gauge> {
    let gauge = Arc::new(writer::Gauge::default());
    gauge.segments_from.store(cut.job.as_ref().map_or(0, |job| job.end), Ordering::Relaxed);
    gauge
}

/// The same for the running writers and for those that end a killed one's work.
pub(super) fn writer_settings(task: &Deliver, places: &Places, index: usize) -> writer::Settings {
    writer::Settings {
        task: task.name.clone(),
        index,
        dir: places.dir.clone(),
        failures_dir: places.failures_dir.clone(),
        live: writer_live(task),
    }
}

pub(super) fn writer_live(task: &Deliver) -> writer::Live {
    writer::Live {
        timezone_s: task.options.timezone_s,
        rotate: task.rotate,
        rotate_size: task.rotate_size,
        min_free: task.min_free,
    }
}
