//! System calls that fail: syncs (the process stops without a checkpoint, the next start goes back to the last one),
//! writes and opens (the process waits and goes on).

use std::time::Duration;

use crate::course::{Course, Ground, Outcome, SOON};
use crate::support::Order;
use crate::syscalls::attach;

const RECORDS: usize = 2_000;
const LAYOUT: &str = "readers = 1\nwriters = 1\nring_size = \"1MiB\"\nmax_line_bytes = \"64KiB\"\n\
                      rotate_size = \"128KiB\"\ncheckpoint_interval = \"100ms\"\n";

/// What the keeper meets, at its first, second … such call: its files, its directories, the ledger.
const ENDS: [&str; 4] = ["fdatasync:error=EIO", "fsync:error=EIO", "pwrite64:error=EIO", "pwrite64:error=ENOSPC"];
/// What the writer meets: some calls in a row.
const PASSES: [&str; 6] = [
    "writev:error=ENOSPC:when=1..4",
    "writev:error=EIO:when=2..5",
    "writev:error=EDQUOT:when=1..7+2",
    "writev:retval=0:when=1..3",
    "openat:error=EMFILE:when=1..5",
    "openat:error=ENOSPC:when=2..4",
];

pub fn run(ground: &Ground<'_>, rounds: u64) -> Outcome {
    let mut outcome = Outcome::default();
    for round in 0..rounds {
        for inject in ENDS {
            // Of each checkpoint's calls some belong to its files, some to the ledger.
            (1..=2).for_each(|at| ends(ground, &format!("{inject}:when={}", at + 2 * round), None, &mut outcome));
        }
        ends(ground, &format!("fsync:error=EIO:when={}", 1 + round), Some("out/game"), &mut outcome);
        PASSES.into_iter().for_each(|inject| passes(ground, inject, &mut outcome));
    }
    outcome
}

fn course<'k>(ground: &Ground<'k>, outcome: &Outcome) -> Course<'k> {
    let mut course = Course::new(ground.kafka, "errno", ground.seed + outcome.times);
    course.configure(LAYOUT);
    course
}

/// Not tried again: the process ends, and what follows is exact all the same. With `within`, calls for that path alone.
fn ends(ground: &Ground<'_>, inject: &str, within: Option<&str>, outcome: &mut Outcome) {
    let mut course = course(ground, outcome);
    // Files and their directory are synced by every checkpoint that has new ones; how many there are is not certain.
    let must_end = inject.ends_with(":when=1") && (within.is_some() || inject.starts_with("fdatasync"));
    course.produce(RECORDS);
    let mut run = course.site.start(&[]);
    let mut strace = attach(&course, &run, "k-game", inject, within);
    course.await_all(&mut run, SOON);
    course.produce(RECORDS);
    course.await_all(&mut run, SOON);
    if run.ended().is_none() {
        // The last checkpoint brings some more such calls.
        run.term();
    }
    let status = run.wait(SOON);
    strace.wait().expect("strace");
    if status.success() && must_end {
        outcome.other.push(format!("{inject} in {within:?} was not met: a checkpoint did without"));
    }
    if !status.success() {
        outcome.times += 1;
        if !course.site.log().contains("never tried again") {
            outcome.other.push(format!("{inject}: it ended, and does not say why: {}", course.log_end()));
        }
        let lost_trust = course.site.log().contains("cannot sync");
        course.run_to_the_end();
        if lost_trust && !course.site.log().contains("go back to checkpoint") {
            outcome.other.push(format!("{inject}: the next start believed what was not synced"));
        }
    }
    course.run_to_the_end();
    course.judge_at_rest(Order::PerPartition, outcome);
}

/// The process stays and waits; nothing is lost, doubled, torn or shrunk for a tailer.
fn passes(ground: &Ground<'_>, inject: &str, outcome: &mut Outcome) {
    let mut course = course(ground, outcome);
    let tailer = course.tailer();
    let mut run = course.site.start(&[]);
    let mut strace = attach(&course, &run, "w0-game", inject, None);
    course.produce(RECORDS);
    if !course.await_all(&mut run, Duration::from_secs(60)) {
        outcome.other.push(format!("{inject}: it ended:\n{}", course.log_end()));
    } else {
        run.term();
        let status = run.wait(SOON);
        if !status.success() {
            outcome.other.push(format!("{inject}: {status}:\n{}", course.log_end()));
        }
    }
    strace.wait().expect("strace");
    let log = course.site.log();
    if !log.contains("waits for the disk") {
        outcome.other.push(format!("{inject}: it never waited"));
    }
    outcome.times += 1;
    course.run_to_the_end();
    course.judge(&tailer.finish(), Order::PerPartition, outcome);
}
