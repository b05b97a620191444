//! Brokers that stand still, that die and come back, and, of three, one that dies and leaves its partitions to others.

use std::time::{Duration, Instant};

use crate::course::{Course, Dice, Ground, Outcome, SOON};
use crate::support::{Kafka, Order, Running, Tailer};

const RECORDS: usize = 10_000;
/// Slow enough that a fault falls into the flow, in fetches small enough that a broker is missed.
const LAYOUT: &str = "cluster = \"small\"\nreaders = 2\nrate_limit = 4000\nrotate_size = \"1MiB\"\n\
                      checkpoint_interval = \"300ms\"\n";

/// What happens to brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Pause,
    Kill,
}

pub fn run(ground: &Ground<'_>, times: u64) -> Outcome {
    let mut outcome = Outcome::default();
    let mut dice = Dice(ground.seed);
    let alone = times.div_ceil(2);
    course(ground.kafka, 1, alone, ground.seed, &mut dice, &mut outcome);
    if times > alone {
        let three = Kafka::start(3);
        course(&three, 3, times - alone, ground.seed, &mut dice, &mut outcome);
    }
    outcome
}

fn course(kafka: &Kafka, brokers: u64, times: u64, seed: u64, dice: &mut Dice, outcome: &mut Outcome) {
    let mut course = Course::new(kafka, "broker", seed + outcome.times);
    let small = "[cluster.small]\nbrokers = BROKERS\nlibrdkafka = { \"fetch.message.max.bytes\" = \"65536\", \
                 \"queued.max.messages.kbytes\" = \"256\" }";
    course.site.process(&small.replace("BROKERS", &format!("{:?}", kafka.bootstrap())));
    course.configure(LAYOUT);
    let tailer = course.tailer();
    let mut run = course.site.start(&[]);
    for turn in 0..times {
        let before = tailer.bytes();
        // All of it before the blow: a broker that dies under a producer may take a batch twice.
        course.produce(RECORDS);
        await_more(&course, &mut run, &tailer, before);
        std::thread::sleep(Duration::from_micros(dice.below(200_000)));
        let broker = 1 + dice.below(brokers) as u32;
        let blow = if turn % 2 == 0 { Blow::Kill } else { Blow::Pause };
        strike(kafka, broker, blow, brokers > 1, dice);
        let (struck, since) = (tailer.bytes(), Instant::now());
        if (course.site.lines("game") as u64) < course.lines {
            await_more(&course, &mut run, &tailer, struck);
            outcome.note_recovery(since.elapsed());
        }
        if !course.await_all(&mut run, SOON) {
            panic!("it ended by itself:\n{}", course.log_end());
        }
        outcome.times += 1;
        if turn + 1 < times && dice.below(3) == 0 {
            run.kill9();
            run = course.site.start(&[]);
        }
    }
    run.term();
    assert!(run.wait(SOON).success(), "{}", course.log_end());
    course.run_to_the_end();
    let taken: i64 = kafka.watermarks(&course.topic).iter().map(|(_, high)| high).sum();
    assert_eq!(taken as u64, times * RECORDS as u64, "the topic does not hold what was produced");
    course.judge(&tailer.finish(), Order::PerPartition, outcome);
}

/// With others beside it a broker stays away until its partitions are theirs.
fn strike(kafka: &Kafka, broker: u32, blow: Blow, has_others: bool, dice: &mut Dice) {
    let away = Duration::from_millis(if has_others { 6_000 } else { 500 + dice.below(2_500) });
    match blow {
        Blow::Pause => {
            kafka.pause(broker);
            std::thread::sleep(away);
            kafka.resume(broker);
        }
        Blow::Kill => {
            kafka.kill9(broker);
            std::thread::sleep(away / 2);
            kafka.restart(broker);
        }
    }
}

fn await_more(course: &Course<'_>, run: &mut Running, tailer: &Tailer, than: u64) {
    let began = Instant::now();
    while tailer.bytes() <= than {
        assert!(run.ended().is_none(), "it ended by itself:\n{}", course.log_end());
        assert!(began.elapsed() < SOON, "no line came:\n{}", course.log_end());
        std::thread::sleep(Duration::from_millis(2));
    }
}
