//! Disks that are full until a janitor takes finished files that the tailer has read, or the disk grows; now and then
//! with a kill while it is full.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::course::{Course, Ground, Outcome, SOON, TAKEN};
use crate::support::{Dice, Finding, Order, Running, Tailer, Tmpfs};

const DISKS_PER_COURSE: u64 = 20;
/// Of the disk at first, and what it grows by.
const START_KIB: u64 = 2048;
const MORE_KIB: u64 = 1024;
/// Records that surely fill what a janitor or a growth gives.
const RECORDS: usize = 8_000;
const LAYOUT: &str = "readers = 2\nwriters = 2\nlanes = 2\nring_size = \"1MiB\"\nmax_line_bytes = \"64KiB\"\n\
                      rotate_size = \"256KiB\"\ncheckpoint_interval = \"100ms\"\n\
                      file_name = \"{lane}_log.%Y-%m-%d_{seq}\"\n";

pub fn run(ground: &Ground<'_>, times: u64) -> Outcome {
    let mut outcome = Outcome::default();
    let mut dice = Dice(ground.seed);
    while outcome.times < times {
        course(ground, DISKS_PER_COURSE.min(times - outcome.times), &mut dice, &mut outcome);
    }
    outcome
}

fn course(ground: &Ground<'_>, disks: u64, dice: &mut Dice, outcome: &mut Outcome) {
    let mut course = Course::new(ground.kafka, "full", ground.seed + outcome.times);
    course.configure(LAYOUT);
    let out = course.site.out("game");
    let mut kib = START_KIB;
    let tmpfs = Tmpfs::mount(&out, &format!("size={kib}k"));
    let tailer = course.tailer();
    let mut taken = BTreeMap::new();
    let mut run = course.site.start(&[]);
    for _ in 0..disks {
        course.produce(RECORDS);
        await_full(&course, &mut run);
        if dice.below(3) == 0 {
            run.kill9();
            run = course.site.start(&[]);
        }
        outcome.times += 1;
        let before = tailer.bytes();
        let freed = dice.below(2) == 0 && take_finished(&course, &tailer, &mut taken);
        if !freed {
            kib += MORE_KIB;
            tmpfs.remount(&format!("size={kib}k"));
        }
        let began = Instant::now();
        while tailer.bytes() == before {
            assert!(run.ended().is_none(), "it ended by itself:\n{}", course.log_end());
            assert!(began.elapsed() < SOON, "the flow does not resume:\n{}", course.log_end());
            std::thread::sleep(Duration::from_millis(1));
        }
        outcome.note_recovery(began.elapsed());
    }
    tmpfs.remount("size=4g");
    run.kill9();
    course.run_to_the_end();
    let mut seen = tailer.finish();
    seen.findings.retain(|found| !matches!(found, Finding::Gone { path } if taken.contains_key(path)));
    course.judge(&seen, Order::PerFile, outcome);
}

/// Full: a writer waits, and nothing has moved for a while.
fn await_full(course: &Course<'_>, run: &mut Running) {
    let began = Instant::now();
    let (mut last, mut since) = (course.bytes(), Instant::now());
    while since.elapsed() < Duration::from_millis(400) {
        assert!(run.ended().is_none(), "it ended by itself:\n{}", course.log_end());
        assert!(began.elapsed() < SOON, "the disk is never full:\n{}", course.log_end());
        std::thread::sleep(Duration::from_millis(20));
        let now = course.bytes();
        if now != last || now < 512 << 10 {
            (last, since) = (now, Instant::now());
        }
    }
}

/// The janitor: files that are finished go, once the tailer has read everything there is.
fn take_finished(course: &Course<'_>, tailer: &Tailer, taken: &mut BTreeMap<PathBuf, u64>) -> bool {
    let read_all = |gone: &BTreeMap<PathBuf, u64>| tailer.bytes() == gone.values().sum::<u64>() + course.bytes();
    crate::support::eventually("the tailer has read all", SOON, || read_all(taken).then_some(()));
    let finished: Vec<_> = course.files().into_iter().filter(|(_, file)| file.is_finished).collect();
    let aside = course.site.path(TAKEN);
    std::fs::create_dir_all(&aside).expect("a directory");
    for (path, file) in &finished {
        std::fs::copy(path, aside.join(path.file_name().expect("a name"))).expect("a copy");
        std::fs::remove_file(path).expect("a finished file");
        taken.insert(path.clone(), file.length);
    }
    !finished.is_empty()
}
