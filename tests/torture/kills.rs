//! kill -9 at random moments, at full load, with another layout now and then.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::course::{Course, Ground, Outcome};
use crate::support::{Dice, Order, TransactionEnd};

/// Kills over one topic and one set of files; then a new one, so that a tailer's memory stays small.
const KILLS_PER_COURSE: u64 = 50;
/// Records that stand in the topic before a start, and those that come in while it runs.
const BACKLOG: usize = 500;
const FLOW: usize = 4_000;
/// Records of a transaction that is aborted; what follows then is a transaction too. Both leave offsets without records.
const HIDDEN: usize = 300;
/// Longest wait for a file to grow.
const GROWTH_MAX: Duration = Duration::from_millis(300);

pub fn run(ground: &Ground<'_>, times: u64) -> Outcome {
    let mut outcome = Outcome::default();
    let mut dice = Dice(ground.seed);
    while outcome.times < times {
        let kills = KILLS_PER_COURSE.min(times - outcome.times);
        course(ground, kills, &mut dice, &mut outcome);
    }
    outcome
}

fn course(ground: &Ground<'_>, kills: u64, dice: &mut Dice, outcome: &mut Outcome) {
    let mut course = Course::new(ground.kafka, "kill9", ground.seed + outcome.times);
    course.configure(&layout(dice));
    let tailer = course.tailer();
    for _ in 0..kills {
        course.produce(BACKLOG);
        let hidden = if dice.below(4) == 0 { course.make_hidden(HIDDEN) } else { Vec::new() };
        let flow = course.make(FLOW);
        let (kafka, topic) = (course.kafka, course.topic.clone());
        std::thread::scope(|scope| {
            let feed = scope.spawn(move || match hidden.is_empty() {
                true => kafka.produce(&topic, flow),
                false => {
                    kafka.produce_transaction(&topic, TransactionEnd::Abort, hidden);
                    kafka.produce_transaction(&topic, TransactionEnd::Commit, flow)
                }
            });
            // A third of the kills come at any moment from exec on, a third some time after the first new line, a third
            // in the very moment in which a file grows.
            let moment = dice.below(3);
            if moment == 0 {
                let mut run = course.site.start(&[]);
                pass(Duration::from_micros(dice.below(300_000)));
                assert!(run.ended().is_none(), "it ended by itself:\n{}", course.log_end());
                run.kill9();
            } else {
                let run = course.start_to_first_line(outcome);
                let mut run = run.unwrap_or_else(|| panic!("it ended by itself:\n{}", course.log_end()));
                pass(Duration::from_micros(dice.below(200_000)));
                if moment == 2 {
                    await_growth(&course);
                }
                run.kill9();
            }
            feed.join().expect("the producer");
        });
        outcome.times += 1;
        if dice.below(4) == 0 {
            course.configure(&layout(dice));
        }
    }
    course.run_to_the_end();
    // A partition that changes its lane goes on in a file that may have been there before.
    course.judge(&tailer.finish(), Order::PerFile, outcome);
}

/// Small rings and files and checkpoints all the time: every rule has its chance to fail.
fn layout(dice: &mut Dice) -> String {
    let lanes = dice.one_of(&[1, 2, 3, 7]);
    let deliver_by = if dice.below(2) == 0 { "deliver_by = \"role_id\"\n" } else { "" };
    format!(
        "readers = {}\nwriters = {}\nlanes = {lanes}\n{deliver_by}ring_size = \"{}MiB\"\nmax_line_bytes = \"64KiB\"\n\
         rotate_size = \"{}KiB\"\ncheckpoint_interval = \"{}ms\"\nfile_name = \"{{lane}}_log.%Y-%m-%d_{{seq}}\"\n",
        1 + dice.below(3),
        1 + dice.below(3),
        dice.one_of(&[1, 2, 8]),
        dice.one_of(&[64, 1024, 4096]),
        dice.one_of(&[100, 300, 2000]),
    )
}

/// Returns as soon as one of the files that may grow has grown, or when none does for a while.
fn await_growth(course: &Course<'_>) {
    let files = course.files();
    let live: Vec<_> = files.iter().filter(|(_, file)| !file.is_finished).collect();
    let grows = |path: &Path, length: u64| std::fs::metadata(path).is_ok_and(|now| now.len() > length);
    let began = Instant::now();
    while began.elapsed() < GROWTH_MAX && !live.iter().any(|(path, file)| grows(path, file.length)) {}
}

fn pass(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::thread::sleep(time.saturating_sub(began.elapsed()).min(Duration::from_micros(500)));
    }
}
