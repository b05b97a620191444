//! The other road: lines of files into topics, through the binary on a real broker.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::{Part, Running, eventually, kafka, left_out};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 4;

/// A directory of logs, the topic they go to, and the program that follows them.
struct Course {
    dir: TempDir,
    topic: String,
    pattern: &'static str,
    options: Vec<String>,
    run: Option<Running>,
}

impl Course {
    fn new(pattern: &'static str, options: &[&str]) -> Course {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        std::fs::create_dir(dir.path().join("logs")).expect("a directory");
        let options = options.iter().map(|word| (*word).to_owned()).collect();
        Course { dir, topic: kafka().create_topic("collect", PARTITIONS), pattern, options, run: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("logs").join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::create_dir_all(self.path(name).parent().expect("a directory")).expect("directories");
        let file = OpenOptions::new().append(true).create(true).open(self.path(name));
        file.expect("a file").write_all(text.as_ref()).expect("written");
    }

    fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.path(from), self.path(to)).expect("renamed");
    }

    fn start(&mut self) {
        self.start_as(Command::new(env!("CARGO_BIN_EXE_logmill")));
    }

    /// The program below another one, which takes its command line.
    fn start_as(&mut self, mut program: Command) {
        program.args(["collect", "--brokers", kafka().bootstrap(), "--follow"]).arg(self.path(self.pattern));
        program.arg(&self.topic).arg("--data-dir").arg(self.dir.path().join("data")).args(&self.options);
        program.env("RUST_LOG", "debug");
        self.run = Some(Running::start(program, self.dir.path().join("log")));
    }

    fn stop(&mut self) {
        let mut run = self.run.take().expect("it runs");
        run.term();
        assert!(run.wait(SOON).success(), "{}", self.log());
    }

    fn kill(&mut self) {
        self.run.take().expect("it runs").kill9();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn await_log(&self, words: &str) {
        let deadline = std::time::Instant::now() + SOON;
        while !self.log().contains(words) {
            assert!(std::time::Instant::now() < deadline, "not said: {words}; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until so many messages stand in the topic.
    fn await_lines(&self, lines: usize) {
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
    fn lines(&self) -> Vec<String> {
        let values = kafka().values(&self.topic).into_iter().flatten();
        values.map(|value| String::from_utf8_lossy(&value).into_owned()).collect()
    }

    fn sorted(&self) -> Vec<String> {
        let mut lines = self.lines();
        lines.sort();
        lines
    }
}

/// Runs `logmill collect --once PATH TOPIC` against the test's broker.
fn once(path: &Path, topic: &str, more: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_logmill"));
    program.args(["collect", "--brokers", kafka().bootstrap(), "--once"]).arg(path).arg(topic).args(more);
    program.output().expect("logmill")
}

#[test]
fn a_file_is_sent_once_and_confirmed() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let topic = kafka().create_topic("once", 3);
    let path = dir.path().join("a.log");
    let lines: Vec<Vec<u8>> = (0..50_000).map(|n| format!("{n} line \u{e9}\r").into_bytes()).collect();
    let mut text = lines.join(&b'\n');
    text.extend(b"\n\n\xff\0 no newline");
    std::fs::write(&path, &text).expect("a file");
    let said = once(&path, &topic, &[]);
    assert!(said.status.success(), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stdout).contains("confirmed 50,002 lines of 1 file"), "{said:?}");
    let values = kafka().values(&topic);
    let used: Vec<&Vec<_>> = values.iter().filter(|partition| !partition.is_empty()).collect();
    assert_eq!(used.len(), 1, "one file goes to one partition");
    let mut wanted = lines;
    wanted.extend([Vec::new(), b"\xff\0 no newline".to_vec()]);
    assert!(*used[0] == wanted, "{} lines came", used[0].len());
}

#[test]
fn what_cannot_be_sent_is_told_by_the_exit_code() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("once", 1);
    for (path, words) in [("/nowhere/a.log", "there is no such file"), ("/dev/null", "no regular file")] {
        let said = once(Path::new(path), &topic, &[]);
        assert_eq!(said.status.code(), Some(1), "{said:?}");
        assert!(String::from_utf8_lossy(&said.stderr).contains(words), "{said:?}");
    }
    let said = once(Path::new("/etc/passwd"), &topic, &["--compression", "tar"]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stderr).contains("compression.type = tar"), "{said:?}");
}

#[test]
fn lines_come_while_files_grow_rotate_and_go() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("**/*.log", &["--close-delay", "1"]);
    course.write("a.log", "a 1\na 2\nhalf");
    course.start();
    course.await_lines(2);
    // A half line waits for its other half.
    course.write("a.log", " a 3\n");
    course.await_lines(3);
    // Renamed under the writer's hand, which goes on for a while; the new file is another one.
    let mut old = OpenOptions::new().append(true).open(course.path("a.log")).expect("a file");
    course.rename("a.log", "a.log.1");
    course.write("a.log", "b 1\n");
    course.await_lines(4);
    old.write_all(b"a 4\na 5 without newline").expect("written");
    course.await_lines(5);
    drop(old);
    course.await_lines(6);
    // A directory that was not there, and a file that is gone at once while it is open.
    course.write("x/y/c.log", "c 1\n");
    course.await_lines(7);
    let mut gone = OpenOptions::new().append(true).open(course.path("x/y/c.log")).expect("a file");
    std::fs::remove_file(course.path("x/y/c.log")).expect("removed");
    gone.write_all(b"c 2\n").expect("written");
    course.await_lines(8);
    drop(gone);
    course.stop();
    let wanted = ["a 1", "a 2", "a 4", "a 5 without newline", "b 1", "c 1", "c 2", "half a 3"];
    assert_eq!(course.sorted(), wanted, "{}", course.log());
}

#[test]
fn copytruncate_starts_again_at_the_beginning_and_is_named() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("*.log", &[]);
    course.write("a.log", "old 1\nold 2\n");
    course.start();
    course.await_lines(2);
    // Cut to nothing, by a writer that goes on at its old place: a hole, then lines.
    let writer = OpenOptions::new().write(true).open(course.path("a.log")).expect("a file");
    writer.set_len(0).expect("cut");
    std::os::unix::fs::FileExt::write_all_at(&writer, b"new 1\n", 100_000).expect("written");
    course.await_lines(3);
    // Cut and longer than before by the time anybody looks: only the content tells.
    course.stop();
    std::fs::write(course.path("a.log"), "x".repeat(200_000) + "\nnew 2\n").expect("written");
    course.start();
    course.await_lines(5);
    // Cut to less than was read.
    std::fs::write(course.path("a.log"), "new 3\n").expect("written");
    course.await_lines(6);
    course.stop();
    let lines = course.sorted();
    assert_eq!(lines[..5], ["new 1", "new 2", "new 3", "old 1", "old 2"], "{}", course.log());
    let log = course.log();
    let named: Vec<_> = log.lines().filter(|line| line.contains("was cut or replaced behind byte")).collect();
    let bytes = ["behind byte 12 (", "behind byte 100006 (", "behind byte 200007 ("];
    assert!(named.len() == 3 && named.iter().zip(bytes).all(|(line, byte)| line.contains(byte)), "{named:?}");
}

#[test]
fn long_lines_go_out_in_pieces_and_lines_are_joined_where_asked() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("*.log", &["--max-line-bytes", "1000"]);
    course.write("a.log", format!("short\n{}\n{}\nend\n", "x".repeat(2500), "y".repeat(1000)));
    course.start();
    course.await_lines(6);
    course.stop();
    let lines = kafka().values_with(&course.topic, "logmill-piece");
    let told: Vec<_> = lines.iter().map(|(value, header)| (value.len(), header.as_str())).collect();
    assert_eq!(told, [(5, ""), (1000, "1"), (1000, "2"), (500, "3 last"), (1000, ""), (3, "")]);

    let mut course = Course::new("*.log", &["--multiline-start", "^[0-9]"]);
    course.write("a.log", "1 a\n  at x\n  at y\n2 b\n");
    course.start();
    course.await_lines(2);
    course.stop();
    assert_eq!(course.lines(), ["1 a\n  at x\n  at y", "2 b"]);
}

#[test]
fn what_is_no_log_is_refused_by_name() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("*.log", &[]);
    let fifo = CString::new(course.path("fifo.log").as_os_str().as_bytes()).expect("a name");
    // SAFETY: a valid string.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    std::os::unix::fs::symlink("/dev/zero", course.path("device.log")).expect("a link");
    std::os::unix::fs::symlink("/etc/passwd", course.path("out.log")).expect("a link");
    course.write("target", "by a link within\n");
    std::os::unix::fs::symlink("target", course.path("in.log")).expect("a link");
    course.write("good.log", "good\n");
    course.start();
    course.await_lines(2);
    course.stop();
    assert_eq!(course.sorted(), ["by a link within", "good"]);
    let log = course.log();
    for (name, reason) in [("fifo", "no regular file"), ("device", "no regular file"), ("out", "out of the roots")] {
        let said = |line: &&str| line.contains(&format!("{name}.log is not followed")) && line.contains(reason);
        assert_eq!(log.lines().filter(said).count(), 1, "{name}: {log}");
    }
}

/// Vector takes the CRC of the first lines for a file's identity: of two files with the same head one is not read.
/// Filebeat does not read a file with less than 1,024 bytes (elastic/beats#44749).
#[test]
fn small_files_with_the_same_head_are_all_read() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("*.log", &[]);
    for name in ["a.log", "b.log", "c.log"] {
        course.write(name, "same head\n");
    }
    course.start();
    course.await_lines(3);
    course.write("b.log", "b\n");
    course.await_lines(4);
    course.stop();
    assert_eq!(course.sorted(), ["b", "same head", "same head", "same head"]);
}

/// Fluent Bit takes a new file with a removed one's inode for that one (fluent/fluent-bit#8025).
#[test]
fn a_reused_inode_is_a_new_file() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("*.log", &[]);
    course.write("a.log", "same head\nold\n");
    course.start();
    course.await_lines(2);
    course.stop();
    let inode = course.path("a.log").metadata().expect("a file").ino();
    std::fs::remove_file(course.path("a.log")).expect("removed");
    // Others make files too: until the freed number comes back, the new ones are kept out of the way.
    let mut spare = 0;
    eventually("the inode is used again", SOON, || {
        course.write("a.log", "same head\nnew, and longer than the old one was\n");
        let found = course.path("a.log").metadata().expect("a file").ino() == inode;
        if !found {
            spare += 1;
            course.rename("a.log", &format!("spare.{spare}"));
        }
        found.then_some(())
    });
    course.start();
    course.await_lines(4);
    course.stop();
    assert_eq!(course.sorted(), ["new, and longer than the old one was", "old", "same head", "same head"]);
}

/// Vector loses what was written before a rotation that it did not see (vectordotdev/vector#22954).
#[test]
fn files_rotated_while_down_are_finished() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("a.log", &["--close-delay", "1"]);
    course.write("a.log", "1\n");
    course.start();
    course.await_lines(1);
    course.stop();
    course.write("a.log", "2\n");
    course.rename("a.log", "a.log.1");
    course.write("a.log", "3\n");
    course.rename("a.log.1", "a.log.2");
    course.start();
    course.await_lines(3);
    course.await_log("a.log.2 is final");
    course.stop();
    assert_eq!(course.sorted(), ["1", "2", "3"]);
}

/// Fluent Bit loses the beginning of a line that was unfinished at a restart (fluent/fluent-bit#11265).
#[test]
fn a_line_unfinished_at_a_restart_comes_whole() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("a.log", &[]);
    course.write("a.log", "1\nfirst half");
    course.start();
    course.await_lines(1);
    course.stop();
    course.write("a.log", ", second half\n");
    course.start();
    course.await_lines(2);
    course.kill();
    course.write("a.log", "3\n");
    course.start();
    course.await_lines(3);
    course.stop();
    assert_eq!(course.lines()[..2], ["1", "first half, second half"]);
    assert_eq!(course.lines().last().map(String::as_str), Some("3"));
}

/// Vector waits for ever where a place lies behind the file's end (vectordotdev/vector#23076).
#[test]
fn a_place_behind_the_end_starts_again() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("a.log", &[]);
    course.write("a.log", "one line that is long\n");
    course.start();
    course.await_lines(1);
    course.stop();
    File::create(course.path("a.log")).expect("cut").write_all(b"short\n").expect("written");
    course.start();
    course.await_lines(2);
    course.stop();
    assert_eq!(course.lines(), ["one line that is long", "short"]);
}

/// Fluent Bit stops following when the kernel's queue of events overflows (fluent/fluent-bit#1108).
#[test]
fn events_that_the_kernel_dropped_are_made_good() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("*.log", &[]);
    course.write("a.log", "a\n");
    course.start();
    course.await_lines(1);
    let run = course.run.as_ref().expect("it runs");
    run.signal(libc::SIGSTOP);
    let most = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("a number");
    for n in 0..most.trim().parse::<usize>().expect("a number") {
        // Two events each, and never two alike beside each other.
        let name = course.path(&format!("noise.{}", n % 2));
        File::create(name).expect("a file").write_all(b"x").expect("written");
    }
    course.write("b.log", "b\n");
    course.write("a.log", "a 2\n");
    run.signal(libc::SIGCONT);
    course.await_lines(3);
    course.stop();
    assert!(course.log().contains("inotify lost events"), "{}", course.log());
    assert_eq!(course.sorted(), ["a", "a 2", "b"]);
}

/// Who reads committed records alone sees no line twice, whenever the program dies; a second one ends the first.
#[test]
fn transactions_keep_lines_and_places_together() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let places = kafka().create_topic_with("places", 1, &[("cleanup.policy", "compact")]);
    let mut course = Course::new("*.log", &["--exactly-once", &places]);
    course.write("a.log", (0..1000).map(|n| format!("{n:06}\n")).collect::<String>());
    course.start();
    let came = |course: &Course, lines| {
        let deadline = std::time::Instant::now() + SOON;
        while course.lines().len() < lines {
            assert!(std::time::Instant::now() < deadline, "{} lines; {}", course.lines().len(), course.log());
        }
    };
    came(&course, 1000);
    for round in 1..4 {
        let more = (round * 1000..(round + 1) * 1000).map(|n| format!("{n:06}\n"));
        course.write("a.log", more.collect::<String>());
        course.kill();
        course.start();
    }
    came(&course, 4000);
    let wanted: Vec<String> = (0..4000).map(|n| format!("{n:06}")).collect();
    assert_eq!(course.lines(), wanted, "{}", course.log());

    let mut first = course.run.take().expect("it runs");
    let other = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let data = other.path().join("data");
    let mut program = Command::new(env!("CARGO_BIN_EXE_logmill"));
    program.args(["collect", "--brokers", kafka().bootstrap(), "--follow"]).arg(course.path(course.pattern));
    program.arg(&course.topic).arg("--data-dir").arg(&data).args(["--exactly-once", &places]);
    let second = Running::start(program, other.path().join("log"));
    course.write("a.log", "one more\n");
    came(&course, 4001);
    // The first one hears of it when it has something to commit.
    let deadline = std::time::Instant::now() + SOON;
    while first.ended().is_none() {
        assert!(std::time::Instant::now() < deadline, "it goes on: {}", course.log());
        course.write("a.log", "more\n");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(first.wait(SOON).code(), Some(1));
    assert!(course.log().contains("another instance has taken the transactional id"), "{}", course.log());
    drop(second);
}

/// A topic that takes less than a batch, and less than a line: both become smaller until it takes them.
#[test]
fn what_a_topic_finds_too_large_goes_in_smaller_parts() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("*.log", &[]);
    course.topic = kafka().create_topic_with("small", PARTITIONS, &[("max.message.bytes", "20000")]);
    let mut seed = 1u64;
    let mut noise = |length: usize| -> String {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + (seed >> 33) as u8 % 90)
        };
        (0..length).map(|_| next()).collect()
    };
    let lines: Vec<String> = (0..200).map(|_| noise(5_000)).collect();
    let long = noise(50_000);
    course.write("a.log", lines.join("\n") + "\n" + &long + "\n");
    course.start();
    let topic = course.topic.clone();
    let came = || kafka().values_with(&topic, "logmill-piece");
    let deadline = std::time::Instant::now() + SOON;
    let is_whole = |came: &[(Vec<u8>, String)]| came.iter().any(|(_, header)| header.ends_with("last"));
    while !is_whole(&came()) {
        assert!(std::time::Instant::now() < deadline, "{}", course.log());
    }
    course.stop();
    let came = came();
    for line in &lines {
        assert!(came.iter().any(|(value, header)| value == line.as_bytes() && header.is_empty()), "{}", course.log());
    }
    let from = came.iter().rposition(|(_, header)| header == "1").expect("a first piece");
    let pieces = came[from..].iter().filter(|(_, header)| !header.is_empty());
    let joined: Vec<u8> = pieces.flat_map(|(value, _)| value.clone()).collect();
    assert!(joined == long.as_bytes(), "{} bytes", joined.len());
}

/// In a namespace where this user may watch two directories, and there are four.
#[test]
fn without_watches_files_are_looked_at_and_it_is_said() {
    if left_out(&[Part::Kafka, Part::Mount]) {
        return;
    }
    let mut course = Course::new("**/*.log", &[]);
    for name in ["a.log", "x/b.log", "y/c.log", "z/d.log"] {
        course.write(name, "1\n");
    }
    let mut program = Command::new("unshare");
    let script = "echo 2 >/proc/sys/user/max_inotify_watches && exec \"$@\"";
    program.args(["--user", "--map-root-user", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_logmill")]);
    course.start_as(program);
    course.await_log("cannot be watched");
    course.await_lines(4);
    course.write("z/d.log", "2\n");
    course.write("z/new/e.log", "1\n");
    course.await_lines(6);
    course.stop();
    assert_eq!(course.sorted(), ["1", "1", "1", "1", "1", "2"], "{}", course.log());
}

#[test]
fn at_the_first_start_old_lines_are_left_where_that_is_asked_for() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("*.log", &["--from-end"]);
    course.write("a.log", "old\nhalf");
    course.start();
    course.await_log("a.log is followed from byte 4");
    course.write("a.log", " line\n");
    course.write("b.log", "new\n");
    course.await_lines(2);
    course.stop();
    // What comes while nobody looks is new too.
    course.write("c.log", "newer\n");
    course.start();
    course.await_lines(3);
    course.stop();
    assert_eq!(course.sorted(), ["half line", "new", "newer"]);
}
