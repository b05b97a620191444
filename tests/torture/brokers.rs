//! Brokers that stand still, that die and come back, of three one that dies, leaves its partitions to others and is given
//! them back, and connections that break off, go slow, or go silent. Where the broker lives, records come in meanwhile.

use std::time::{Duration, Instant};

use crate::course::{Course, Ground, Outcome, SOON};
use crate::support::{Dice, Kafka, Line, Order, Proxy, Running, Tailer};

const RECORDS: usize = 4_000;
/// Slow enough that a fault falls into the flow.
const LAYOUT: &str = "cluster = \"small\"\nreaders = 2\nrate_limit = 4000\nrotate_size = \"1MiB\"\n\
                      checkpoint_interval = \"300ms\"\n";
/// Fetches small enough that a broker is missed, and a silent connection given up within seconds.
const CLUSTER: &str = "[cluster.small]\nlibrdkafka = { \"fetch.message.max.bytes\" = \"65536\", \
                       \"queued.max.messages.kbytes\" = \"256\", \"socket.timeout.ms\" = \"3000\" }";

/// What happens to a broker, or to the connections with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Pause,
    Kill,
    /// What others have taken over goes back to it.
    Move,
    Cut,
    Late,
    HalfOpen,
}

/// The brokers of a course, and what stands between them and the program.
struct Place<'k> {
    kafka: &'k Kafka,
    brokers: u64,
    proxy: Option<&'k Proxy>,
    blows: &'static [Blow],
}

pub fn run(ground: &Ground<'_>, times: u64) -> Outcome {
    let mut outcome = Outcome::default();
    let mut dice = Dice(ground.seed);
    let (behind, of_three) = (times / 2, times / 3);
    let blows = &[Blow::Kill, Blow::Pause];
    // Not the one of the other faults: it dies.
    let own = Kafka::start(1);
    let alone = Place { kafka: &own, brokers: 1, proxy: None, blows };
    course(&alone, times - behind - of_three, ground.seed, &mut dice, &mut outcome);
    if behind > 0 {
        let proxy = Proxy::start();
        let blows = &[Blow::Cut, Blow::Late, Blow::HalfOpen];
        let place = Place { kafka: proxy.kafka(), brokers: 1, proxy: Some(&proxy), blows };
        course(&place, behind, ground.seed, &mut dice, &mut outcome);
    }
    if of_three > 0 {
        let three = Kafka::start(3);
        let blows = &[Blow::Kill, Blow::Move, Blow::Pause];
        let place = Place { kafka: &three, brokers: 3, proxy: None, blows };
        course(&place, of_three, ground.seed, &mut dice, &mut outcome);
    }
    outcome
}

fn course(place: &Place<'_>, times: u64, seed: u64, dice: &mut Dice, outcome: &mut Outcome) {
    let seed = seed + outcome.times;
    let mut course = match place.proxy {
        Some(proxy) => Course::through(proxy, "broker", seed),
        None => Course::new(place.kafka, "broker", seed),
    };
    let bootstrap = place.proxy.map_or(place.kafka.bootstrap().to_owned(), Proxy::bootstrap);
    course.site.process(&format!("{CLUSTER}\nbrokers = {bootstrap:?}"));
    course.configure(LAYOUT);
    let tailer = course.tailer();
    let mut run = course.site.start(&[]);
    for turn in 0..times {
        let blow = place.blows[turn as usize % place.blows.len()];
        let before = tailer.bytes();
        // All of it before a broker dies: one that dies under a producer may take a batch twice.
        let meanwhile = if blow == Blow::Kill { 0 } else { RECORDS / 2 };
        course.produce(RECORDS - meanwhile);
        await_more(&course, &mut run, &tailer, before);
        std::thread::sleep(Duration::from_micros(dice.below(200_000)));
        strike(place, blow, &mut course, meanwhile, dice, outcome);
        let (struck, since) = (tailer.bytes(), Instant::now());
        if !course.is_delivered() {
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
    let taken: i64 = place.kafka.watermarks(&course.topic).iter().map(|(_, high)| high).sum();
    assert_eq!(taken as u64, times * RECORDS as u64, "the topic does not hold what was produced");
    course.judge(&tailer.finish(), Order::PerPartition, outcome);
}

/// One blow from its begin to its end, with records that come in meanwhile.
fn strike(
    place: &Place<'_>,
    blow: Blow,
    course: &mut Course<'_>,
    meanwhile: usize,
    dice: &mut Dice,
    outcome: &mut Outcome,
) {
    let broker = 1 + dice.below(place.brokers) as u32;
    let has_others = place.brokers > 1;
    // With others beside it a broker stays away until its partitions are theirs.
    let away = Duration::from_millis(if has_others { 6_000 } else { 500 + dice.below(2_500) });
    let records = course.make(meanwhile);
    let set = |line| place.proxy.expect("a proxy").set(line);
    match blow {
        Blow::Pause => place.kafka.pause(broker),
        Blow::Kill => place.kafka.kill9(broker),
        Blow::Move => {}
        Blow::Cut => set(Line::Cut),
        Blow::Late => set(Line::Late(Duration::from_millis(20 + dice.below(280)))),
        Blow::HalfOpen => set(Line::HalfOpen),
    }
    std::thread::scope(|scope| {
        let (kafka, topic) = (place.kafka, course.topic.clone());
        let feed = scope.spawn(move || kafka.produce(&topic, records));
        match blow {
            Blow::Move => place.kafka.elect_preferred(),
            Blow::Kill => std::thread::sleep(away / 2),
            _ => std::thread::sleep(away),
        }
        // What came in since then cannot have come through.
        let must_hold = matches!(blow, Blow::Cut | Blow::HalfOpen) || (blow == Blow::Pause && !has_others);
        if must_hold && course.is_delivered() {
            outcome.other.push(format!("{blow:?} held nothing up"));
        }
        match blow {
            Blow::Pause => place.kafka.resume(broker),
            Blow::Kill => place.kafka.restart(broker),
            Blow::Move => {}
            Blow::Cut | Blow::Late | Blow::HalfOpen => set(Line::Open),
        }
        feed.join().expect("the producer");
    });
}

fn await_more(course: &Course<'_>, run: &mut Running, tailer: &Tailer, than: u64) {
    let began = Instant::now();
    while tailer.bytes() <= than {
        assert!(run.ended().is_none(), "it ended by itself:\n{}", course.log_end());
        assert!(began.elapsed() < SOON, "no line came:\n{}", course.log_end());
        std::thread::sleep(Duration::from_millis(2));
    }
}
