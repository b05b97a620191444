//! A task's station in this process, as the rest of the program has it.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use logmill::flow::cluster::Cluster;
use logmill::ledger::store::Store;
use logmill::tail::positions::Position;
use logmill::tail::{Collector, Entry, FileStatus, Settings, StartFrom};
use tempfile::TempDir;

use super::course::SOON;
use crate::support::{eventually, kafka};

pub struct Post {
    pub dir: TempDir,
    pub topic: String,
    pub settings: Settings,
    pub store: Arc<Store>,
}

impl Post {
    /// `task` is unique among all tests: its thread is found by it.
    pub fn new(task: &str, patterns: &[&str]) -> Post {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let topic = kafka().create_topic(task, 1);
        let entries = patterns.iter().map(|pattern| entry(&dir, pattern, &topic)).collect();
        let mut settings = Settings::new(task, Cluster::of_brokers(kafka().bootstrap()), entries);
        settings.start_from = StartFrom::Beginning;
        let store = Arc::new(Store::open(&dir.path().join("ledger")).expect("a ledger"));
        Post { dir, topic, settings, store }
    }

    pub fn start(&self) -> Collector {
        Collector::start(self.settings.clone(), Some(self.store.clone())).expect("a station")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn entry(&self, pattern: &str) -> Entry {
        entry(&self.dir, pattern, &self.topic)
    }

    pub fn write(&self, name: &str, text: &str) {
        let file = OpenOptions::new().append(true).create(true).open(self.path(name));
        file.expect("a file").write_all(text.as_bytes()).expect("written");
    }

    pub fn lines_of(topic: &str) -> Vec<String> {
        let values = kafka().values(topic).into_iter().flatten();
        values.map(|value| String::from_utf8_lossy(&value).into_owned()).collect()
    }

    /// Waits until so many messages are there; all of them.
    pub fn await_lines(&self, count: usize) -> Vec<String> {
        let what = format!("{count} lines of {}", self.topic);
        eventually(&what, SOON, || Some(Post::lines_of(&self.topic)).filter(|lines| lines.len() >= count))
    }

    /// Waits until all that stands in the file is confirmed, and kept.
    pub fn await_kept(&self, name: &str) {
        let (path, prefix) = (self.path(name), format!("tail/{}/", self.settings.task));
        let size = path.metadata().expect("a file").len();
        eventually(&format!("the place of {name} is kept at {size}"), SOON, || {
            let kept = self.store.with_prefix(&prefix).expect("the ledger");
            let mut kept = kept.iter().filter_map(|(_, value)| Position::parse(value).ok());
            kept.any(|position| position.path == path && position.place.at == size).then_some(())
        });
    }

    pub fn await_file(&self, collector: &Collector, name: &str, state: &str) -> FileStatus {
        let path = self.path(name);
        eventually(&format!("{name} is {state}"), SOON, || {
            let files = collector.files().ok()?;
            files.into_iter().find(|file| file.path == path && file.state == state)
        })
    }

    /// The station's threads, by number.
    pub fn threads(&self) -> HashSet<i32> {
        let wanted: String = format!("tail-{}", self.settings.task).chars().take(15).collect();
        let tasks = std::fs::read_dir("/proc/self/task").expect("threads").flatten();
        let named = tasks.filter(|task| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim_end() == wanted)
        });
        named.filter_map(|task| task.file_name().to_str()?.parse().ok()).collect()
    }
}

fn entry(dir: &TempDir, pattern: &str, topic: &str) -> Entry {
    Entry { path: dir.path().join(pattern).display().to_string(), topic: topic.into(), key: None }
}

/// Long enough for what is in flight.
pub const STOP: Duration = Duration::from_secs(30);
