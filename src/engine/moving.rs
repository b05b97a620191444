//! A task whose `dir` has changed: what is owed to the old directory is finished there, then the new one begins.

use std::path::{Path, PathBuf};

use super::ground::{Ground, Places, RestoreError, io_at, ours};
use super::power_loss;
use super::restore::{ID_FILE, restore, settle};
use crate::conf::config::Deliver;
use crate::flow::name::Template;
use crate::ledger::cut::{Cut, Output, SEQ_STEP, Source};
use crate::ledger::witness;
use crate::ring::recover::owed_flight;
use crate::ring::set::MapSet;
use crate::sys::file;

/// The cut and, in place of the current ones, the maps with which the new directory begins. `places` and `dir_id` are
/// the new one's, `cut` is the ledger's.
///
/// The ledger gets the new cut first: killed before the maps are made, the next start finds maps of another set, and
/// goes on from that cut, at which everything is at rest.
///
/// # Errors
/// The old directory is gone while something is owed to it, or what stands in the way there.
pub fn leave(
    task: &Deliver,
    places: &Places,
    cut: Cut,
    dir_id: u64,
    (state_id, ground): (u64, &Ground),
) -> Result<Cut, RestoreError> {
    let old = PathBuf::from(&cut.output.dir);
    let left = if has_id(&old, cut.output.dir_id) {
        log::info!("{}: what is owed to {} is finished there first", task.name, old.display());
        let before = Deliver { dir: old.clone(), ..task.clone() };
        let restored = restore(&before, ground, None)?;
        settle(&before, &restored.places, &restored.maps, &restored.cut, (state_id, ground), true)?
    } else if is_at_rest(places, ground, &cut) {
        log::warn!("{}: {} is not there any more; nothing is owed to it", task.name, old.display());
        cut
    } else {
        return Err(gone(task, &old));
    };
    let next = begin(task, left, dir_id, places)?;
    let mut rows = Vec::new();
    for mark in &next.files {
        rows.extend(power_loss::cut_back(task, places, mark)?);
    }
    ground.store.commit(state_id, &next)?;
    power_loss::new_maps(task, places, &next, rows, ground)?;
    witness::write(&task.dir, state_id, next.number).map_err(io_at("cannot write into", &task.dir))?;
    log::info!("{}: files go to {} from now on", task.name, task.dir.display());
    Ok(next)
}

fn has_id(dir: &Path, id: u64) -> bool {
    std::fs::read_to_string(dir.join(ID_FILE)).is_ok_and(|text| u64::from_str_radix(text.trim(), 16) == Ok(id))
}

/// The last process ended in order: all that it took is in its last checkpoint.
fn is_at_rest(places: &Places, ground: &Ground, cut: &Cut) -> bool {
    let Ok(maps) = MapSet::open(&places.state_dir, ground.boot_id) else { return false };
    let marks: Vec<Source> = maps.rings.iter().flat_map(|r| r.marks()).flatten().map(Source::from).collect();
    maps.set_id == cut.set_id
        && maps.is_empty()
        && maps.slots.iter().all(|slot| owed_flight(slot) == Ok(None))
        && marks.iter().all(|mark| cut.sources.contains(mark))
}

fn gone(task: &Deliver, old: &Path) -> RestoreError {
    RestoreError::Refused(format!(
        "dir was {} when this task ran last, and it did not end in order: lines may be owed to files there, but the \
         directory is gone, or is another one by that name. Bring it back (with its {ID_FILE}; is it mounted?), and \
         the task goes on in {} by itself; or take a new group_id with start set to the moment from which to deliver",
        old.display(),
        task.dir.display()
    ))
}

/// The state as it stands, with no file in the new directory yet.
fn begin(task: &Deliver, left: Cut, dir_id: u64, places: &Places) -> Result<Cut, RestoreError> {
    let template = Template::parse(&task.file_name).map_err(RestoreError::Refused)?;
    let found = ours(&task.dir, &[template]).map_err(io_at("cannot read", &task.dir))?;
    // Files of an earlier life keep their names: numbering goes on behind them.
    let seq = found.iter().map(|(_, seq)| seq + 1).chain([left.seq]).max().unwrap_or(left.seq);
    Ok(Cut {
        number: left.number + 1,
        set_id: file::random_u64().map_err(io_at("make an id for", &places.state_dir))?,
        output: Output { dir: task.dir.display().to_string(), dir_id, templates: vec![task.file_name.clone()] },
        files: left.files.iter().filter(|f| f.failures).cloned().collect(),
        seq,
        seq_limit: left.seq_limit.max(seq + SEQ_STEP),
        ..left
    })
}
