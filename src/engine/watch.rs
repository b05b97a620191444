//! The way to a new configuration: one thread waits until files have changed, another reads and checks them, so that
//! the engine never waits for a disk.
//!
//! ```text
//! engine, files --asks--> reload --Event::Reload--> engine
//! ```

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Event;
use super::remote::Answer;
use crate::conf::{self, Loaded};
use crate::flow::problem::Problem;
use crate::sys::inotify as files;
use crate::sys::thread;

/// Asks that may wait.
const ASKS_MAX: usize = 16;

/// Reads and checks the configuration once more.
pub type Load = Box<dyn Fn() -> Result<Loaded, Vec<Problem>> + Send>;

/// Who wants the configuration to be read again.
pub enum Ask {
    /// Files have changed. What is refused is told once, and what changes nothing is not told.
    Files,
    /// Somebody, who may want to know what became of it.
    Told(Option<Sender<Answer>>),
}

/// What was read.
pub struct Found {
    /// Or all problems, explained.
    pub loaded: Result<Loaded, String>,
    pub ask: Ask,
}

/// Starts both threads. `sources` are the files and directories that were read so far.
///
/// # Errors
/// The kernel has no room for another thread.
pub fn start(load: Load, sources: &[PathBuf], events: Sender<Event>) -> io::Result<Sender<Ask>> {
    let (asks, asked) = bounded(ASKS_MAX);
    let watched = match files::open() {
        Ok((changes, watched)) => {
            let asks = asks.clone();
            thread::spawn("watch", None, move || watch(changes, &asks))?;
            Some(watched)
        }
        Err(error) => {
            log::warn!("files are not watched for changes: {error}; reload after each one");
            None
        }
    };
    let mut reload = Reload { load, watched, refused: String::new(), events };
    reload.follow(sources);
    // A change between the first reading and the first watch was not seen.
    let _ = asks.try_send(Ask::Files);
    thread::spawn("reload", None, move || reload.run(&asked))?;
    Ok(asks)
}

fn watch(mut changes: files::Changes, asks: &Sender<Ask>) {
    loop {
        if let Err(error) = changes.wait() {
            log::error!("files are not watched for changes any more: {error}; reload after each one");
            return;
        }
        if asks.send(Ask::Files).is_err() {
            return;
        }
    }
}

struct Reload {
    load: Load,
    watched: Option<files::Watched>,
    /// What was refused last.
    refused: String,
    events: Sender<Event>,
}

impl Reload {
    /// Until nobody can ask any more.
    fn run(mut self, asks: &Receiver<Ask>) {
        for ask in asks {
            let loaded = self.load().map_err(|problems| conf::explain(&problems));
            let refused = loaded.as_ref().err().cloned().unwrap_or_default();
            let told_before = !refused.is_empty() && refused == self.refused;
            self.refused = refused;
            if matches!(ask, Ask::Files) && told_before {
                continue;
            }
            if self.events.send(Event::Reload(Box::new(Found { loaded, ask }))).is_err() {
                return;
            }
        }
    }

    fn load(&mut self) -> Result<Loaded, Vec<Problem>> {
        let loaded = (self.load)()?;
        // A directory that was not watched while it was read is read again.
        if self.follow(&loaded.sources) { (self.load)() } else { Ok(loaded) }
    }

    /// Watches the directories of these; true where one is new.
    fn follow(&mut self, sources: &[PathBuf]) -> bool {
        let Some(watched) = &mut self.watched else { return false };
        let own = sources.iter().filter(|path| path.is_dir()).map(PathBuf::as_path);
        // A directory may be replaced as a whole.
        let parents = sources.iter().filter_map(|path| path.parent());
        let here = |dir: &Path| if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir.to_path_buf() };
        let (new, result) = watched.set(&own.chain(parents).map(here).collect::<BTreeSet<_>>());
        if let Err((dir, error)) = result {
            log::warn!("{} is not watched for changes: {error}; reload after each one", dir.display());
        }
        new
    }
}
