//! The way to a ledger that can be believed. A damaged database is found by a child process, which it may end, set
//! aside, and built anew from the flat copies of its checkpoints; maps that are whole then go on where they stand.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::EngineError;
use crate::ledger::cut::Cut;
use crate::ledger::snapshot;
use crate::ledger::store::{Store, StoreError};
use crate::ring::slot::Kind;

/// What the child is told to do; see [`check_ledger`].
const CHECK_COMMAND: &str = "check-ledger";
const DIR: &str = "ledger";
/// Longest time for the child: damaged pages may lead it in circles.
const CHECK_MAX: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(1);
/// The child's exit code where the disk refused: the database may be whole.
const MAY_PASS: u8 = 3;

/// The child's work.
pub fn check_ledger(dir: &Path) -> ExitCode {
    match Store::check(dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(if error.may_pass() { MAY_PASS } else { 1 })
        }
    }
}

/// Opens the ledger below `data_dir`, which is locked.
///
/// # Errors
/// The kernel's, LMDB's, or the damage where there is nothing to build it anew from.
pub fn open_ledger(data_dir: &Path) -> Result<Store, EngineError> {
    let dir = data_dir.join(DIR);
    let at = |what| {
        let path = dir.display().to_string();
        move |source| EngineError::Io { what, path, source }
    };
    Store::clear_readers(&dir).map_err(at("cannot clean"))?;
    if Store::exists(&dir)
        && let Some(damage) = check(&dir).map_err(at("cannot check the ledger in"))?
    {
        let aside = Store::set_aside(&dir).map_err(at("cannot set aside the damaged ledger in"))?;
        Store::clear_readers(&dir).map_err(at("cannot clean"))?;
        log::error!("the ledger is damaged: {damage}; it is kept as {}", aside.display());
    }
    let store = Store::open(&dir)?;
    for (state_id, state_dir) in states(data_dir).map_err(at("cannot look for states beside"))? {
        if store.cut(state_id)?.is_none() {
            rebuild(&store, state_id, &state_dir)?;
        }
    }
    Ok(store)
}

/// What is wrong with the database, if anything is.
fn check(dir: &Path) -> io::Result<Option<String>> {
    // The running program, whatever has become of its file.
    let mut child = Command::new("/proc/self/exe")
        .arg(CHECK_COMMAND)
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let Some(status) = end_of(&mut child)? else { return Ok(Some("reading it does not end".into())) };
    let mut words = String::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = io::Read::read_to_string(&mut io::Read::take(stderr, 4096), &mut words);
    }
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(None),
        (Some(code), _) if code == i32::from(MAY_PASS) => Err(io::Error::other(words.trim().to_string())),
        // Somebody else ended it, which says nothing about the database.
        (_, Some(libc::SIGKILL | libc::SIGTERM | libc::SIGINT | libc::SIGHUP)) => {
            Err(io::Error::other(format!("the check was ended from outside ({status})")))
        }
        (None, _) => Ok(Some(format!("reading it ended a process ({status})"))),
        (Some(_), _) => Ok(Some(words.trim().to_string())),
    }
}

fn end_of(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() > CHECK_MAX {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

/// The states that have a directory.
fn states(data_dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(data_dir)? {
        let path = item?.path();
        let id = path.file_name().and_then(|n| u64::from_str_radix(n.to_str()?.strip_prefix("state.")?, 16).ok());
        found.extend(id.map(|id| (id, path)));
    }
    Ok(found)
}

/// Gives the ledger a state back that it has lost. One without any copy has never read a record.
fn rebuild(store: &Store, state_id: u64, state_dir: &Path) -> Result<(), StoreError> {
    let io_error = |source| StoreError::Io { path: state_dir.to_path_buf(), source };
    let copies = match snapshot::read(&state_dir.join("snapshots")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(io_error)?,
    };
    let Some(newest) = copies.first().map(|cut| cut.number) else { return Ok(()) };
    // The one that fits; where none does, the newest: what is missing is then named and refused.
    let fitting = copies.iter().position(|cut| fits(cut, state_dir)).unwrap_or(0);
    let Some(cut) = copies.into_iter().nth(fitting) else { return Ok(()) };
    log::error!(
        "the ledger has lost state {state_id:016x} of group {}; it goes on from the flat copy of checkpoint {}{}",
        cut.group_id,
        cut.number,
        if cut.number == newest { "" } else { ", the newest that fits the files" }
    );
    store.commit(state_id, &Cut { rebuilt: true, ..cut })
}

/// No file is shorter than the cut says. One that is missing was removed, as old files are.
fn fits(cut: &Cut, state_dir: &Path) -> bool {
    cut.files.iter().all(|mark| {
        let root = match mark.kind() {
            Kind::Lines => PathBuf::from(&cut.output.dir),
            Kind::Failures => state_dir.join("failures"),
        };
        match std::fs::symlink_metadata(root.join(&mark.name)) {
            Ok(found) => found.len() >= mark.length,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    })
}
