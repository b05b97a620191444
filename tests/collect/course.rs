//! A directory of logs, and the program that follows them.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{Running, kafka};

pub const SOON: Duration = Duration::from_secs(60);
pub const PARTITIONS: i32 = 4;

/// A directory of logs, the topic they go to, and the program that follows them.
pub struct Course {
    pub dir: TempDir,
    pub topic: String,
    pub pattern: &'static str,
    options: Vec<String>,
    pub run: Option<Running>,
}

impl Course {
    pub fn new(pattern: &'static str, options: &[&str]) -> Course {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        std::fs::create_dir(dir.path().join("logs")).expect("a directory");
        let options = options.iter().map(|word| (*word).to_owned()).collect();
        Course { dir, topic: kafka().create_topic("collect", PARTITIONS), pattern, options, run: None }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("logs").join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::create_dir_all(self.path(name).parent().expect("a directory")).expect("directories");
        let file = OpenOptions::new().append(true).create(true).open(self.path(name));
        file.expect("a file").write_all(text.as_ref()).expect("written");
    }

    pub fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.path(from), self.path(to)).expect("renamed");
    }

    pub fn start(&mut self) {
        self.start_as(Command::new(env!("CARGO_BIN_EXE_logmill")));
    }

    /// The program below another one, which takes its command line.
    pub fn start_as(&mut self, mut program: Command) {
        program.arg("collect").args(brokers(self.dir.path())).arg("--follow").arg(self.path(self.pattern));
        program.arg(&self.topic).arg("--data-dir").arg(self.dir.path().join("data")).args(&self.options);
        program.env("RUST_LOG", "debug");
        self.run = Some(Running::start(program, self.dir.path().join("log")));
    }

    pub fn stop(&mut self) {
        let mut run = self.run.take().expect("it runs");
        run.term();
        assert!(run.wait(SOON).success(), "{}", self.log());
    }

    pub fn kill(&mut self) {
        self.run.take().expect("it runs").kill9();
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn await_log(&self, words: &str) {
        let deadline = std::time::Instant::now() + SOON;
        while !self.log().contains(words) {
            assert!(std::time::Instant::now() < deadline, "not said: {words}; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until so many messages stand in the topic.
    pub fn await_lines(&self, lines: usize) {
        let deadline = std::time::Instant::now() + SOON;
        loop {
            let there = kafka().records(&self.topic, PARTITIONS).unwrap_or(0);
            if there >= lines as i64 {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{there} of {lines} lines; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// All messages, each partition's in its order.
    pub fn lines(&self) -> Vec<String> {
        let values = kafka().values(&self.topic).into_iter().flatten();
        values.map(|value| String::from_utf8_lossy(&value).into_owned()).collect()
    }

    pub fn sorted(&self) -> Vec<String> {
        let mut lines = self.lines();
        lines.sort();
        lines
    }
}

/// Where the brokers are; with `LOGMILL_TEST_PRODUCE=librdkafka` so that lines go out by that.
fn brokers(dir: &Path) -> [OsString; 2] {
    match std::env::var("LOGMILL_TEST_PRODUCE").as_deref() {
        Ok("librdkafka") => kafka().by_librdkafka(dir),
        _ => ["--brokers".into(), kafka().bootstrap().into()],
    }
}
