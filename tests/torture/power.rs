//! Power losses: the filesystem of the output, of data_dir, or of both forgets what was not synced. The files at rest
//! are judged (a tailer may see again what was written since the checkpoint), and that no name is used twice.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::course::{Course, Ground, Outcome, Standing};
use crate::support::{Dice, LoopDisk, Order};

const LOSSES_PER_COURSE: u64 = 25;
const BACKLOG: usize = 500;
const FLOW: usize = 6_000;
const DISK_MIB: u64 = 512;

/// What stands on the disk that loses its power.
#[derive(Debug, Clone, Copy)]
enum Lost {
    Both,
    Output,
    DataDir,
}

pub fn run(ground: &Ground<'_>, times: u64) -> Outcome {
    let mut outcome = Outcome::default();
    let mut dice = Dice(ground.seed);
    let share = times.div_ceil(3).min(LOSSES_PER_COURSE);
    for what in [Lost::Both, Lost::Output, Lost::DataDir].into_iter().cycle() {
        if outcome.times >= times {
            return outcome;
        }
        course(ground, what, share.min(times - outcome.times), &mut dice, &mut outcome);
    }
    outcome
}

fn course(ground: &Ground<'_>, what: Lost, losses: u64, dice: &mut Dice, outcome: &mut Outcome) {
    let mut course = Course::new(ground.kafka, "power", ground.seed + outcome.times);
    let place = course.site.path("disk");
    let disk = LoopDisk::new(&course.site.path("image"), &place, DISK_MIB);
    for (name, on_it) in [("out", !matches!(what, Lost::DataDir)), ("data", !matches!(what, Lost::Output))] {
        if on_it {
            std::fs::create_dir(place.join(name)).expect("a directory");
            std::os::unix::fs::symlink(place.join(name), course.site.path(name)).expect("a link");
        }
    }
    let mut names = BTreeMap::new();
    for loss in 0..losses {
        course.configure(&layout(dice));
        course.produce(BACKLOG);
        let flow = course.make(FLOW);
        let (kafka, topic) = (course.kafka, course.topic.clone());
        std::thread::scope(|scope| {
            let feed = scope.spawn(move || kafka.produce(&topic, flow));
            let (least, began) = (course.bytes(), Instant::now());
            let mut run = course.site.start(&[]);
            // A quarter of the losses fall into the start, which may be mending the one before.
            if loss > 0 && dice.below(4) == 0 {
                std::thread::sleep(Duration::from_micros(dice.below(150_000)));
            } else {
                let lives = course.await_first_line(run, least, began, outcome);
                run = lives.unwrap_or_else(|| panic!("{what:?}: it ended by itself:\n{}", course.log_end()));
                std::thread::sleep(Duration::from_micros(dice.below(600_000)));
            }
            note_names(&course, &mut names, outcome);
            assert!(run.ended().is_none(), "{what:?}: it ended by itself:\n{}", course.log_end());
            disk.lose_power();
            std::thread::sleep(Duration::from_micros(dice.below(50_000)));
            run.kill9();
            feed.join().expect("the producer");
        });
        disk.restore_power();
        // Whatever the loss took away may not come back under its old name.
        let stands = course.files();
        names.iter_mut().for_each(|(path, inode)| *inode = stands.get(path).map(|file: &Standing| file.inode));
        outcome.times += 1;
    }
    course.run_to_the_end();
    note_names(&course, &mut names, outcome);
    course.judge_at_rest(Order::PerFile, outcome);
    // Otherwise the losses took nothing that was not durable.
    let back = course.site.log().matches("go back to checkpoint").count() as u64;
    if back < losses / 3 {
        outcome.other.push(format!("{what:?}: only {back} of {losses} losses took something"));
    }
}

/// Every name that was ever seen, and the file that stands there: none where there is none any more.
fn note_names(course: &Course<'_>, names: &mut BTreeMap<PathBuf, Option<u64>>, outcome: &mut Outcome) {
    for (path, file) in course.files() {
        match names.get(&path) {
            Some(known) if *known != Some(file.inode) => {
                outcome.other.push(format!("{} is used again", path.display()));
            }
            _ => drop(names.insert(path, Some(file.inode))),
        }
    }
}

fn layout(dice: &mut Dice) -> String {
    format!(
        "readers = {}\nwriters = {}\nlanes = 2\nring_size = \"{}MiB\"\nmax_line_bytes = \"64KiB\"\n\
         rotate_size = \"{}KiB\"\ncheckpoint_interval = \"{}ms\"\nfile_name = \"{{lane}}_log.%Y-%m-%d_{{seq}}\"\n",
        1 + dice.below(2),
        1 + dice.below(2),
        dice.one_of(&[1, 4]),
        dice.one_of(&[64, 1024]),
        dice.one_of(&[100, 300, 1000]),
    )
}
