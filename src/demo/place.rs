//! The demo's directory: configuration, settings, a few records to play with, the log; later files and data.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::feed::TOPIC;
use super::made;
use crate::flow::clock;
use crate::sys::file;

/// The task's name in the configuration.
pub const TASK: &str = "game_24";

/// Records in the file of examples.
const EXAMPLES: u64 = 1000;

const METADATA: (&str, &str) =
    ("mthinkingdata:metadata.24.json", include_str!("../../conf/settings/mthinkingdata:metadata.24.json"));
const FILTER: (&str, &str) =
    ("mthinkingdata:filter.24.json", include_str!("../../conf/settings/mthinkingdata:filter.24.json"));

/// Where everything of one demo stands.
#[derive(Debug, Clone)]
pub struct Place {
    /// Absolute.
    pub root: PathBuf,
}

impl Place {
    /// Makes the directory, or takes an empty one; without a name a new one below the system's temporary directory.
    ///
    /// # Errors
    /// It holds something already, or cannot be made.
    pub fn make(dir: Option<&Path>) -> io::Result<Place> {
        let root = match dir {
            None => new_directory()?,
            Some(dir) => {
                file::make_dirs(dir, file::DIR_MODE)?;
                if fs::read_dir(dir)?.next().is_some() {
                    return Err(io::Error::new(ErrorKind::AlreadyExists, "it is not empty; name a new directory"));
                }
                dir.canonicalize()?
            }
        };
        Ok(Place { root })
    }

    /// Writes what the engine is started from.
    ///
    /// # Errors
    /// The kernel's.
    pub fn fill(&self, bootstrap: &str) -> io::Result<()> {
        fs::create_dir(self.settings())?;
        for (name, text) in [METADATA, FILTER] {
            fs::write(self.settings().join(name), text)?;
        }
        fs::write(self.config(), self.config_text(bootstrap))?;
        let now_s = clock::now_ms() / 1000;
        let examples: String = (0..EXAMPLES).map(|n| made::value(n, now_s) + "\n").collect();
        fs::write(self.examples(), examples)
    }

    fn config_text(&self, bootstrap: &str) -> String {
        let (data, settings, out) = (self.root.join("data"), self.settings(), self.out());
        format!(
            "# What `logmill demo` ran with. Every other key has its default; conf/logmill.toml explains all of them.\n\
             #\n\
             # To go on with a Kafka of your own: write its address into `brokers`, your topics into `topics`, and\n\
             # a new `group_id` (the position is kept under group and topic), then: logmill run --config FILE\n\
             \n\
             [process]\n\
             data_dir = {data:?}\n\
             \n\
             [cluster.default]\n\
             brokers = {bootstrap:?}    # the demo's own broker, gone with it\n\
             # That one does not answer earlier when records come in; a real one does, and needs no such line.\n\
             librdkafka = {{ \"fetch.wait.max.ms\" = \"5\" }}\n\
             \n\
             [deliver.{TASK}]\n\
             topics = [{TOPIC:?}]\n\
             group_id = \"logmill_demo\"\n\
             app_ids = [24]\n\
             settings_dir = {settings:?}\n\
             dir = {out:?}\n"
        )
    }

    /// What is logged goes into a file: the terminal is for people.
    ///
    /// # Errors
    /// The kernel's.
    pub fn log_here(&self) -> io::Result<()> {
        let log = File::create(self.log())?;
        let env = env_logger::Env::default().default_filter_or("info");
        let mut builder = env_logger::Builder::from_env(env);
        // One process logs to one place: where somebody else has chosen it, that stays.
        let _ = builder.format_timestamp_millis().target(env_logger::Target::Pipe(Box::new(log))).try_init();
        Ok(())
    }

    pub fn config(&self) -> PathBuf {
        self.root.join("logmill.toml")
    }

    pub fn out(&self) -> PathBuf {
        self.root.join("out")
    }

    pub fn examples(&self) -> PathBuf {
        self.root.join("records.txt")
    }

    pub fn log(&self) -> PathBuf {
        self.root.join("logmill.log")
    }

    fn settings(&self) -> PathBuf {
        self.root.join("settings")
    }

    /// The files with lines, oldest first.
    ///
    /// # Errors
    /// The kernel's.
    pub fn line_files(&self) -> io::Result<Vec<PathBuf>> {
        numbered(&self.out())
    }

    /// The failure queue's segments, oldest first.
    ///
    /// # Errors
    /// The kernel's.
    pub fn segments(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for state in fs::read_dir(self.root.join("data"))? {
            let failures = state?.path().join("failures");
            if failures.is_dir() {
                found.extend(numbered(&failures)?);
            }
        }
        Ok(found)
    }
}

/// The files whose names hold a number behind their last '_', in its order.
fn numbered(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for item in fs::read_dir(dir)? {
        let path = item?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let number: Option<u64> = name.rsplit_once('_').and_then(|(_, n)| n.trim_end_matches(".jsonl").parse().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn new_directory() -> io::Result<PathBuf> {
    for number in 1.. {
        let dir = std::env::temp_dir().join(format!("logmill-demo-{number}"));
        match fs::create_dir(&dir) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            other => return other.and_then(|()| dir.canonicalize()),
        }
    }
    unreachable!("there is always another number")
}
