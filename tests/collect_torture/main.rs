//! The torture of the other road: a writer that treats 50 files badly, the real program that is killed while it follows
//! them, and a broker that stands still.
//!
//! Out: a table with a row for each course. Without arguments a short version of each; `--help` tells the rest.

mod judge;
mod memory;
mod scribble;
#[path = "../support/mod.rs"]
mod support;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use judge::{Evidence, Verdict};
use logmill::flow::clock;
use memory::Memory;
use scribble::Scribble;
use support::{Dice, Kafka, Part, Running, left_out};
use tempfile::TempDir;

const HELP: &str = "\
usage: tools/torture-collect [--seed N] [COURSE [SECONDS]]...
       tools/scribble DIR [--seed N] [--files N] [--seconds N]

  --calm [S]      rotation, cuts and deletions under a program that runs through: nothing may be sent twice
  --kill9 [S]     kill -9 at random moments, rotation while it is down
  --broker [S]    the same, and the broker stands still or dies in between
  --exact [S]     kill -9 with transactions: who reads committed records sees every line once
  --exact-broker [S]  the same, and the broker stands still or dies in between
  --moves [S]     one of three brokers dies in turn, the leaders move: nothing may be sent twice

A seed repeats the writer's choices. Without a course: a short version of each.
";

const FILES: usize = 50;
const PARTITIONS: i32 = 4;
const SOON: Duration = Duration::from_secs(120);
/// A writer's rest between two deeds.
const REST: Duration = Duration::from_micros(500);

/// What happens while the writer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Course {
    name: &'static str,
    short_s: u64,
    kills: bool,
    stops_broker: bool,
    /// With transactions: nothing may come twice.
    is_exact: bool,
    brokers: u32,
}

const COURSES: [Course; 6] = [
    Course { name: "calm", short_s: 6, kills: false, stops_broker: false, is_exact: false, brokers: 1 },
    Course { name: "kill9", short_s: 12, kills: true, stops_broker: false, is_exact: false, brokers: 1 },
    Course { name: "broker", short_s: 14, kills: true, stops_broker: true, is_exact: false, brokers: 1 },
    Course { name: "exact", short_s: 12, kills: true, stops_broker: false, is_exact: true, brokers: 1 },
    Course { name: "exact-broker", short_s: 14, kills: true, stops_broker: true, is_exact: true, brokers: 1 },
    Course { name: "moves", short_s: 20, kills: false, stops_broker: true, is_exact: false, brokers: 3 },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    if words.first().is_some_and(|word| word == "scribble") {
        return scribble_alone(&words[1..]);
    }
    let number = |name: &str| {
        let at = words.iter().position(|word| *word == format!("--{name}"))?;
        Some(words.get(at + 1).and_then(|next| next.parse::<u64>().ok()))
    };
    let seed = number("seed").flatten().unwrap_or(1);
    let named: Vec<_> = COURSES.iter().filter(|course| number(course.name).is_some()).collect();
    let wanted = if named.is_empty() { COURSES.iter().collect() } else { named };
    println!("--seed {seed}");
    let without = on_a_thread(|| left_out(&[Part::Kafka])).unwrap_or(true);
    let kafka = (!without).then(|| Kafka::start(1));
    let mut failed = 0;
    for course in wanted {
        let Some(kafka) = &kafka else { break };
        let own = (course.brokers > 1).then(|| Kafka::start(course.brokers));
        let kafka = own.as_ref().unwrap_or(kafka);
        let seconds = number(course.name).flatten().unwrap_or(course.short_s);
        let verdict = run(kafka, course, seed, Duration::from_secs(seconds));
        // What is sent twice was not confirmed before a kill; nothing kills a calm run, and transactions undo it.
        let has_failed = !verdict.is_good() || (!course.kills || course.is_exact) && verdict.doubled.lines > 0;
        println!("{}{}: {verdict}", if has_failed { "FAILED " } else { "" }, course.name);
        failed += u32::from(has_failed);
    }
    println!("{failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `None`: it panicked, and has said why.
fn on_a_thread<T: Send>(body: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("collect".into()).spawn_scoped(scope, body);
        thread.expect("a thread").join().ok()
    })
}

fn scribble_alone(words: &[String]) -> ExitCode {
    let number = |name: &str, or: u64| {
        let at = words.iter().position(|word| word == name);
        at.and_then(|at| words.get(at + 1)).and_then(|word| word.parse().ok()).unwrap_or(or)
    };
    let Some(dir) = words.first() else {
        eprint!("{HELP}");
        return ExitCode::from(2);
    };
    std::fs::create_dir_all(dir).expect("the directory");
    let mut scribble =
        Scribble::new(Path::new(dir), number("--files", 50) as usize, number("--seed", 1), Memory::default());
    let end = Instant::now() + Duration::from_secs(number("--seconds", 10));
    while Instant::now() < end {
        scribble.step(true);
        std::thread::sleep(REST);
    }
    scribble.finish();
    println!("{} lines; {:?}", scribble.contents().map(|c| c.ends.len()).sum::<usize>(), scribble.counts);
    ExitCode::SUCCESS
}

/// Where a course runs.
struct Ground<'k> {
    kafka: &'k Kafka,
    dir: TempDir,
    topic: String,
    /// The topic of places.
    places: Option<String>,
}

impl Ground<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start(&self) -> Running {
        let mut program = Command::new(env!("CARGO_BIN_EXE_logmill"));
        program.arg("collect").args(self.brokers()).arg("--follow").arg(self.path("logs/*.log*"));
        program.arg(&self.topic).arg("--data-dir").arg(self.path("data")).args(["--close-delay", "2"]);
        if let Some(places) = &self.places {
            program.args(["--exactly-once", places]);
        }
        Running::start(program, self.path("log"))
    }

    /// With `LOGMILL_TEST_PRODUCE=librdkafka` so that lines go out by that.
    fn brokers(&self) -> [OsString; 2] {
        if std::env::var("LOGMILL_TEST_PRODUCE").is_ok_and(|client| client == "librdkafka") {
            return self.kafka.by_librdkafka(self.dir.path());
        }
        ["--brokers".into(), self.kafka.bootstrap().into()]
    }

    fn log_end(&self) -> String {
        let log = self.log();
        log.lines().skip(log.lines().count().saturating_sub(5)).collect::<Vec<_>>().join("\n")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

fn run(kafka: &Kafka, course: &Course, seed: u64, time: Duration) -> Verdict {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    // The broker's own time tells how long a line had stood there when a kill came.
    let topic = kafka.create_topic_with(course.name, PARTITIONS, &[("message.timestamp.type", "LogAppendTime")]);
    let compact = [("cleanup.policy", "compact")];
    let places = course.is_exact.then(|| kafka.create_topic_with("places", 2, &compact));
    let ground = Ground { kafka, dir, topic, places };
    std::fs::create_dir(ground.path("logs")).expect("a directory");
    let memory = Memory::of(ground.path("data/ledger"));
    let scribble = Mutex::new(Scribble::new(&ground.path("logs"), FILES, seed, memory));
    let is_over = AtomicBool::new(false);
    let mut kills = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                scribble.lock().expect("the writer").step(true);
                std::thread::sleep(REST);
            }
        });
        let troubled = on_a_thread(|| trouble(&ground, course, &mut Dice(seed), Instant::now() + time));
        is_over.store(true, Ordering::Relaxed);
        kills = troubled.expect("the trouble goes through");
    });
    let mut scribble = scribble.into_inner().expect("the writer");
    scribble.finish();
    println!("{}: {} kills; the writer: {:?}", course.name, kills.len(), scribble.counts);
    let verdict = at_the_end(&ground, &scribble, &kills);
    if !verdict.is_good() || course.is_exact && verdict.doubled.lines > 0 {
        println!("kept for a look: {}", ground.dir.path().display());
        std::mem::forget(ground.dir);
    }
    verdict
}

/// Kills, until the time is over; when they came, in milliseconds since the epoch.
fn trouble(ground: &Ground<'_>, course: &Course, dice: &mut Dice, end: Instant) -> Vec<i64> {
    let mut kills = Vec::new();
    let mut run = ground.start();
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(100 + dice.below(4000)));
        let broker = 1 + dice.below(u64::from(course.brokers)) as u32;
        if course.stops_broker && dice.below(3) == 0 {
            ground.kafka.pause(broker);
            std::thread::sleep(Duration::from_millis(dice.below(3000)));
            ground.kafka.resume(broker);
        }
        if course.stops_broker && dice.below(8 / u64::from(course.brokers)) == 0 {
            ground.kafka.kill9(broker);
            ground.kafka.restart(broker);
        }
        if course.kills {
            kills.push(clock::now_ms());
            run.kill9();
            std::thread::sleep(Duration::from_millis(dice.below(800)));
            run = ground.start();
        }
    }
    assert!(run.ended().is_none(), "it ended by itself: {}", ground.log_end());
    if !course.kills {
        run.term();
        assert!(run.wait(SOON).success(), "{}", ground.log_end());
    }
    kills
}

/// One more run delivers what is left; then everything is judged.
fn at_the_end(ground: &Ground<'_>, scribble: &Scribble, kills: &[i64]) -> Verdict {
    let mut run = ground.start();
    let deadline = Instant::now() + SOON;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let (values, log) = (ground.kafka.values_and_times(&ground.topic), ground.log());
        let verdict = Verdict::of(scribble.contents(), &Evidence { values: &values, kills, log: &log });
        if verdict.lost.is_empty() || Instant::now() > deadline {
            run.term();
            assert!(run.wait(SOON).success(), "{}", ground.log_end());
            return verdict;
        }
    }
}
