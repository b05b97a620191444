//! The demo as somebody meets it who has nothing but the program.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::support::{eventually, signal};

const LIMIT: Duration = Duration::from_secs(180);

struct Demo {
    root: tempfile::TempDir,
    child: Child,
}

impl Demo {
    /// The system's temporary directory is one of its own.
    fn start(arguments: &[&str]) -> Demo {
        let root = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let file = |name| File::create(root.path().join(name)).expect("a file");
        let (out, err) = (file("stdout"), file("stderr"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_logmill"));
        command.arg("demo").args(arguments).env("TMPDIR", root.path()).env_remove("RUST_LOG");
        let child = command.current_dir(root.path()).stdin(Stdio::null()).stdout(out).stderr(err);
        let child = child.spawn().expect("logmill starts");
        Demo { root, child }
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.root.path().join(name)).expect("a file")
    }

    fn wait(&mut self, limit: Duration) -> ExitStatus {
        eventually("the demo ends", limit, || self.child.try_wait().expect("its state"))
    }

    fn ended_well(&mut self, limit: Duration) {
        let status = self.wait(limit);
        assert!(status.success(), "{status}\n{}\n{}", self.text("stdout"), self.text("stderr"));
        assert_eq!(self.text("stderr"), "");
    }

    fn send(&self, number: i32) {
        assert!(signal(self.child.id() as i32, number), "the demo is gone: {}", self.text("stderr"));
    }

    /// `consumed`, `written`, `filtered`, `parked` as the demo tells them.
    fn told(&self) -> [u64; 4] {
        let out = self.text("stdout");
        let line = out.lines().find(|l| l.starts_with("consumed ")).unwrap_or_else(|| panic!("no sums:\n{out}"));
        ["consumed ", "written ", "filtered ", "parked "].map(|word| {
            let rest = line.split_once(word).expect("the word").1;
            rest.chars()
                .take_while(|c| !c.is_whitespace())
                .filter(|c| *c != ',')
                .collect::<String>()
                .parse()
                .expect("n")
        })
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn logmill(arguments: &[&str], stdin: Stdio) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_logmill")).args(arguments).stdin(stdin).output().expect("logmill runs")
}

/// The text of all files below `dir` whose names begin so.
fn read_all(dir: &Path, prefix: &str) -> String {
    let mut text = String::new();
    for item in std::fs::read_dir(dir).expect("a directory") {
        let path = item.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            text += &read_all(&path, prefix);
        } else if name.starts_with(prefix) {
            text += &std::fs::read_to_string(&path).expect("text");
        }
    }
    text
}

fn ids(text: &str) -> Vec<u64> {
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("an id");
    text.lines().map(|line| digits(line.split_once("\"log_id\":").expect("a line of the demo").1)).collect()
}

#[test]
fn it_ends_by_itself_and_leaves_what_can_be_gone_on_with() {
    let mut demo = Demo::start(&[]);
    demo.ended_well(LIMIT);
    let place: PathBuf = demo.root.path().canonicalize().expect("a path").join("logmill-demo-1");
    let out = demo.text("stdout");

    let [consumed, written, filtered, parked] = demo.told();
    assert!(consumed >= 10_000 && filtered > 0 && parked > 0, "{out}");
    assert_eq!(consumed, written + filtered + parked);
    let lines = read_all(&place.join("out"), "log.");
    let found = ids(&lines);
    assert_eq!(found.len() as u64, written);
    assert_eq!(found.iter().collect::<HashSet<_>>().len() as u64, written);
    assert_eq!(read_all(&place.join("data"), "failures_").lines().count() as u64, parked);

    for word in ["in: a record's value", "out: its line", "records/s", "none is missing", "Go on:"] {
        assert!(out.contains(word), "{word}:\n{out}");
    }
    assert!(out.contains(&place.join("out").display().to_string()), "{out}");
    assert!(!out.contains("ERROR"), "{out}");
    assert!(std::fs::read_to_string(place.join("logmill.log")).expect("the log").contains("parked E05_JSON"));

    let config = place.join("logmill.toml").display().to_string();
    assert!(logmill(&["check", "--config", &config], Stdio::null()).status.success());
    let records = File::open(place.join("records.txt")).expect("examples");
    let dry = logmill(&["transform", "--config", &config, "--task", "game_24"], records.into());
    assert!(dry.status.success());
    assert!(ids(&String::from_utf8_lossy(&dry.stdout)).len() > 900);
}

#[test]
fn with_keep_it_goes_on_until_it_is_told_to_stop() {
    let mut demo = Demo::start(&["--keep", "--dir", "kept"]);
    eventually("the short demo is over", LIMIT, || demo.text("stdout").contains("Goes on").then_some(()));
    let size = || read_all(&demo.root.path().join("kept/out"), "log.").len();
    let before = size();
    eventually("more lines come", LIMIT, || (size() > before + 100_000).then_some(()));
    demo.send(libc::SIGINT);
    demo.ended_well(LIMIT);
    let [consumed, written, filtered, parked] = demo.told();
    assert_eq!(consumed, written + filtered + parked);
    assert_eq!(ids(&read_all(&demo.root.path().join("kept/out"), "log.")).len() as u64, written);
    assert!(demo.text("stdout").contains("none is missing"));
}

#[test]
fn told_to_stop_early_it_ends_in_order() {
    let mut demo = Demo::start(&["--keep", "--dir", "early"]);
    let out = demo.root.path().join("early/out");
    eventually("lines come", LIMIT, || (out.is_dir() && !read_all(&out, "log.").is_empty()).then_some(()));
    demo.send(libc::SIGTERM);
    demo.ended_well(LIMIT);
    let [_, written, ..] = demo.told();
    assert_eq!(ids(&read_all(&out, "log.")).len() as u64, written);
}

#[test]
fn a_directory_that_holds_something_is_left_alone() {
    let root = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    std::fs::write(root.path().join("mine"), "x").expect("a file");
    let dir = root.path().display().to_string();
    let refused = logmill(&["demo", "--dir", &dir], Stdio::null());
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains(&dir) && said.contains("not empty"), "{said}");
    assert_eq!(std::fs::read_dir(root.path()).expect("a directory").count(), 1);
}
