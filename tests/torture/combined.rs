//! Faults at the same moment: kill -9, once or twice, while the disk is full, the broker stands still, the connections
//! are slow, silent or broken, in every combination that the dice give.

use std::time::{Duration, Instant};

use crate::course::{Course, Ground, Outcome, SOON};
use crate::support::{Dice, Kafka, Line, Order, Proxy, Running, Tmpfs};

const BLOWS_PER_COURSE: u64 = 30;
const BACKLOG: usize = 1_000;
/// Records that come in meanwhile: more than a full disk takes.
const FLOW: usize = 3_000;
/// What a full disk has left at first, and what it gets in the end.
const TIGHT_KIB: u64 = 256;
const WIDE_KIB: u64 = 64 << 10;
const BLOCK_BYTES: u64 = 4096;
const LAYOUT: &str = "cluster = \"quick\"\nreaders = 2\nwriters = 2\nlanes = 2\nring_size = \"1MiB\"\n\
                      max_line_bytes = \"64KiB\"\nrotate_size = \"256KiB\"\ncheckpoint_interval = \"200ms\"\n\
                      rate_limit = 8000\nfile_name = \"{lane}_log.%Y-%m-%d_{seq}\"\n";
const CLUSTER: &str = "[cluster.quick]\nlibrdkafka = { \"socket.timeout.ms\" = \"3000\" }";

/// What lasts while the program is killed: at least one thing.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    is_full: bool,
    is_paused: bool,
    line: Line,
}

struct Place<'k> {
    kafka: &'k Kafka,
    proxy: &'k Proxy,
    tmpfs: Tmpfs,
}

pub fn run(ground: &Ground<'_>, times: u64) -> Outcome {
    let mut outcome = Outcome::default();
    let mut dice = Dice(ground.seed);
    let proxy = Proxy::start();
    while outcome.times < times {
        course(&proxy, ground.seed, BLOWS_PER_COURSE.min(times - outcome.times), &mut dice, &mut outcome);
    }
    outcome
}

fn course(proxy: &Proxy, seed: u64, times: u64, dice: &mut Dice, outcome: &mut Outcome) {
    let mut course = Course::through(proxy, "combined", seed + outcome.times);
    course.site.process(&format!("{CLUSTER}\nbrokers = {:?}", proxy.bootstrap()));
    course.configure(LAYOUT);
    let tmpfs = Tmpfs::mount(&course.site.out("game"), &format!("size={WIDE_KIB}k"));
    let place = Place { kafka: proxy.kafka(), proxy, tmpfs };
    let tailer = course.tailer();
    let mut run = course.site.start(&[]);
    for turn in 0..times {
        course.produce(BACKLOG);
        let trouble = Trouble::of(turn, dice);
        run = blow(&place, trouble, &mut course, run, dice);
        let since = Instant::now();
        if !course.await_all(&mut run, SOON) {
            panic!("{trouble:?}: it ended by itself:\n{}", course.log_end());
        }
        outcome.note_recovery(since.elapsed());
        outcome.times += 1;
    }
    run.term();
    assert!(run.wait(SOON).success(), "{}", course.log_end());
    course.run_to_the_end();
    course.judge(&tailer.finish(), Order::PerFile, outcome);
}

impl Trouble {
    /// The first turns have one thing each, so that none is missed; the later ones what comes.
    fn of(turn: u64, dice: &mut Dice) -> Trouble {
        let kinds = if turn < 3 { 1 << turn } else { 1 + dice.below(7) };
        let late = Line::Late(Duration::from_millis(20 + dice.below(180)));
        let line = if kinds & 4 == 0 { Line::Open } else { dice.one_of(&[late, late, Line::HalfOpen, Line::Cut]) };
        Trouble { is_full: kinds & 1 != 0, is_paused: kinds & 2 != 0, line }
    }
}

/// Brings the trouble, kills in it, starts in it, and ends it; gives the run that goes on.
fn blow(place: &Place<'_>, trouble: Trouble, course: &mut Course<'_>, mut run: Running, dice: &mut Dice) -> Running {
    let waits = |course: &Course<'_>| course.site.log().matches("waits for the disk").count();
    let waited = waits(course);
    if trouble.is_full {
        place.tmpfs.remount(&format!("size={}k", used_kib(course) + TIGHT_KIB));
    }
    let flow = course.make(FLOW);
    let (kafka, topic) = (place.kafka, course.topic.clone());
    std::thread::scope(|scope| {
        let feed = scope.spawn(move || kafka.produce(&topic, flow));
        if trouble.is_full {
            let full = || (waits(course) > waited).then_some(());
            course.site.awaited("the disk is full", SOON, full);
        }
        if trouble.is_paused {
            place.kafka.pause(1);
        }
        place.proxy.set(trouble.line);
        for kill in 0..1 + dice.below(2) {
            std::thread::sleep(Duration::from_micros(dice.below(if kill == 0 { 200_000 } else { 400_000 })));
            assert!(run.ended().is_none(), "{trouble:?}: it ended by itself:\n{}", course.log_end());
            run.kill9();
            run = course.site.start(&[]);
        }
        std::thread::sleep(Duration::from_micros(dice.below(600_000)));
        if trouble.is_paused {
            place.kafka.resume(1);
        }
        place.proxy.set(Line::Open);
        place.tmpfs.remount(&format!("size={}k", used_kib(course) + WIDE_KIB));
        feed.join().expect("the producer");
    });
    run
}

/// What the files take, and some for the directory's own.
fn used_kib(course: &Course<'_>) -> u64 {
    let blocks: u64 = course.files().values().map(|file| file.length.div_ceil(BLOCK_BYTES)).sum();
    blocks * BLOCK_BYTES / 1024 + 64
}
