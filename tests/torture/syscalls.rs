//! SIGKILL at the Nth call of a system call, for N = 1, 2, 3 … until a run passes without one. strace counts the calls
//! of each thread for itself, so every thread that writes is taken alone: the whole process while it starts (its main
//! thread is the first to reach each number), the writer and the keeper while records flow.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::course::{Course, Ground, Outcome, SOON};
use crate::support::{Dice, Order, Running, eventually, signal};

/// Records of one run.
const RECORDS: usize = 300;

/// Calls of the first start, which makes everything; of later ones, which go on or mend; of the running threads.
const START: [&str; 12] = [
    "write",
    "writev",
    "pwrite64",
    "fdatasync",
    "fsync",
    "openat",
    "ftruncate",
    "fallocate",
    "rename",
    "symlink",
    "mkdir",
    "unlink",
];
/// With `statx` the writer looks at a file behind its append: what is appended is not marked applied yet.
const WRITER: [&str; 3] = ["writev", "statx", "openat"];
const KEEPER: [&str; 7] = ["fdatasync", "fsync", "pwrite64", "write", "openat", "rename", "fchmod"];

const FIRST: &str = "a first start";
const LATER: &str = "later starts";

/// Every point with step 1, fewer with more.
pub fn run(ground: &Ground<'_>, step: u64) -> Outcome {
    let mut outcome = Outcome::default();
    let mut dice = Dice(ground.seed);
    let mut walk = Walk { ground, step: step.max(1), dice: &mut dice, outcome: &mut outcome };
    let mut walks: Vec<(&str, &str)> = START.into_iter().map(|call| (FIRST, call)).collect();
    walks.extend(START.map(|call| (LATER, call)));
    walks.extend(WRITER.map(|call| ("w0-game", call)));
    walks.extend(KEEPER.map(|call| ("k-game", call)));
    // With fewer points a third of the walks, the seed says which.
    let due = |index: u64| walk.step == 1 || index % 3 == ground.seed % 3;
    let walks: Vec<_> = (0..).zip(walks).filter(|(index, _)| due(*index)).map(|(_, walk)| walk).collect();
    for (place, call) in walks {
        walk.said(place, call, |walk| match place {
            FIRST => walk.first_starts(call),
            LATER => walk.later_starts(call),
            thread => walk.running(thread, call),
        });
    }
    outcome
}

struct Walk<'a, 'k> {
    ground: &'a Ground<'k>,
    step: u64,
    dice: &'a mut Dice,
    outcome: &'a mut Outcome,
}

impl<'k> Walk<'_, 'k> {
    fn said(&mut self, place: &str, call: &str, walk: impl FnOnce(&mut Self)) {
        let (before, began) = (self.outcome.times, std::time::Instant::now());
        walk(self);
        let kills = self.outcome.times - before;
        println!("  {call} in {place}: {kills} kills in {:.1} s", began.elapsed().as_secs_f32());
    }

    fn course(&self) -> Course<'k> {
        let mut course = Course::new(self.ground.kafka, "syscall", self.ground.seed + self.outcome.times);
        course.configure(LAYOUT);
        course
    }

    /// All, or some that get rarer: the first ones differ most.
    fn points(&self) -> impl Iterator<Item = u64> + use<> {
        let step = self.step;
        std::iter::successors(Some(1), move |n| Some(n + 1 + (step - 1) * n / 10))
    }

    /// Nothing is there yet when the kill comes.
    fn first_starts(&mut self, call: &str) {
        let mut first = self.course();
        first.produce(RECORDS);
        for at in self.points() {
            let mut course = first.elsewhere();
            course.configure(LAYOUT);
            let tailer = course.tailer();
            let passed = is_passed(&course, call, at);
            course.run_to_the_end();
            let was_exact = self.outcome.is_exact();
            course.judge(&tailer.finish(), Order::PerPartition, self.outcome);
            if passed {
                return self.note_none(at, call);
            }
            self.outcome.times += 1;
            self.say_where(was_exact, &format!("{call} number {at} of the first start"));
        }
    }

    /// Each start finds what the one before has left: half of the kills fall into the mending of another.
    fn later_starts(&mut self, call: &str) {
        let mut course = self.course();
        let tailer = course.tailer();
        for at in self.points() {
            course.produce(RECORDS);
            if is_passed(&course, call, at) {
                break;
            }
            self.outcome.times += 1;
            if self.dice.below(2) == 0 {
                course.run_to_the_end();
                self.count(&course, &format!("{call} number {at} of a start"));
            }
        }
        course.run_to_the_end();
        course.judge(&tailer.finish(), Order::PerPartition, self.outcome);
    }

    /// The kill falls into one thread of a program that runs.
    fn running(&mut self, thread: &str, call: &str) {
        let mut course = self.course();
        // With more checkpoints a slow machine would not come to a run without the call.
        course.configure(&LAYOUT.replace("100ms", "500ms"));
        let tailer = course.tailer();
        course.produce(RECORDS);
        for at in self.points() {
            let mut run = course.site.start(&[]);
            let mut strace = attach(&course, &run, thread, &format!("{call}:signal=SIGKILL:when={at}"), None);
            course.produce(RECORDS);
            if course.await_all(&mut run, SOON) {
                run.term();
            }
            let status = run.wait(SOON);
            strace.wait().expect("strace");
            if status.success() {
                break;
            }
            self.outcome.times += 1;
            course.produce(RECORDS);
            // Files that no checkpoint has finished would become more with every kill, and so would the calls for them.
            if self.dice.below(2) == 0 {
                course.run_to_the_end();
            }
        }
        course.run_to_the_end();
        course.judge(&tailer.finish(), Order::PerPartition, self.outcome);
    }

    fn count(&mut self, course: &Course<'_>, place: &str) {
        let lines = course.site.lines("game") as u64;
        if lines != course.lines() {
            self.outcome.other.push(format!("after {place}: {lines} lines, not {}", course.lines()));
        }
    }

    /// Every start has these calls: a kill that never comes would prove nothing.
    fn note_none(&mut self, passed_at: u64, call: &str) {
        if passed_at == 1 && !["writev"].contains(&call) {
            self.outcome.other.push(format!("no {call} was hit in a first start"));
        }
    }

    fn say_where(&mut self, was_exact: bool, place: &str) {
        if was_exact && !self.outcome.is_exact() {
            self.outcome.other.push(format!("after {place}"));
        }
    }
}

const LAYOUT: &str = "readers = 1\nwriters = 1\nring_size = \"1MiB\"\nmax_line_bytes = \"64KiB\"\n\
                      rotate_size = \"32KiB\"\ncheckpoint_interval = \"100ms\"\n";

/// A run that is killed at that call; true if it came to its end without.
fn is_passed(course: &Course<'_>, call: &str, at: u64) -> bool {
    let inject = format!("inject={call}:signal=SIGKILL:when={at}");
    let trace = format!("trace={call}");
    let out = course.site.path("strace");
    let out = out.to_str().expect("a plain path");
    let strace = ["strace", "-f", "-qq", "-o", out, "-e", &trace, "-e", &inject];
    let mut run = course.site.start_under(&strace, &["--exit-at-end"]);
    let passed = run.wait(SOON).success();
    // What strace has left behind would still hold the locks.
    let empty = || (!signal(-run.pid(), 0)).then_some(());
    eventually("every process of the killed group is gone", SOON, empty);
    passed
}

/// strace on one thread of the running program, with that injection, once it holds the thread; with `within` in calls
/// for that path of the course alone.
pub fn attach(course: &Course<'_>, run: &Running, thread: &str, inject: &str, within: Option<&str>) -> Child {
    let tasks = PathBuf::from(format!("/proc/{}/task", run.pid()));
    let named = |path: &PathBuf| std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == thread);
    let found = || tasks.read_dir().ok()?.flatten().map(|entry| entry.path()).find(named);
    let task = eventually(&format!("there is a thread {thread}"), Duration::from_secs(30), found);
    let id = task.file_name().and_then(|name| name.to_str()).expect("a thread's number").to_owned();
    let call = inject.split(':').next().expect("a call");
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-o"]).arg(course.site.path("strace")).args(["-p", &id]);
    strace.args(["-e", &format!("trace={call}"), "-e", &format!("inject={inject}")]);
    if let Some(path) = within {
        strace.arg("-P").arg(course.site.path(path));
    }
    let strace = strace.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("strace");
    let held = || {
        let status = std::fs::read_to_string(task.join("status")).unwrap_or_default();
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        tracer.is_none_or(|pid| pid.trim() != "0").then_some(())
    };
    eventually("strace holds the thread", Duration::from_secs(30), held);
    strace
}
