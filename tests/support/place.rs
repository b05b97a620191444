//! A directory with a configuration and settings, and the program in it: for what needs no broker.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::write_settings;

/// `logmill.toml`, and `settings` of project 24. Removed when dropped.
pub struct Place {
    dir: TempDir,
}

impl Place {
    pub fn new(config: &str) -> Place {
        let place = Place { dir: TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory") };
        write_settings(&place.path("settings"));
        place.write("logmill.toml", config);
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file");
    }

    /// The program with these words, standing in the directory.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logmill"));
        command.args(words).current_dir(self.dir.path());
        command
    }
}
