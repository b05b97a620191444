//! Brokers that fail, through the binary: batches that rot on the broker's disk, brokers that are away at the start,
//! brokers that die in the middle.

use std::time::{Duration, Instant};

use crate::support::{
    Kafka, Order, Part, Record, Rot, Running, SOON, Seen, Site, Spoiled, Tailer, expecting, kafka, left_out, written,
};

const LONG: Duration = Duration::from_secs(300);
/// A stop that waited for a broker that is gone would take longer: `socket.timeout.ms` is a minute.
const PROMPT: Duration = Duration::from_secs(30);

#[test]
fn a_rotten_batch_stops_its_partition_loudly_and_no_other() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    for rot in [Rot::Checksum, Rot::Codec] {
        let topic = kafka().create_topic("rotten", 2);
        let made = written(1, 2, 10_000);
        let of = |partition: i32| made.iter().filter(move |m| m.partition == partition);
        // Three batches in the first partition.
        for from in [0, 100, 200] {
            kafka().produce(&topic, of(0).skip(from).take(100).map(Record::from));
        }
        let others = of(1).count();
        kafka().produce(&topic, of(1).take(others / 2).map(Record::from));
        let spoiled = Spoiled::second_batch(&topic, 0, rot);
        let mut site = Site::new(kafka().bootstrap());
        // Slow enough that where the partitions end is known only in the middle.
        site.task("game", &[&topic], "readers = 1\nrate_limit = 4000");
        for part in 1..=2 {
            let others = others * part / 2;
            let status = site.start(&["--exit-at-end"]).wait(SOON);
            assert_eq!(status.code(), Some(1), "{rot:?} {}", site.log());
            let said = format!("{topic}/0 cannot be read on from offset 100");
            assert_eq!(site.log().matches(&said).count(), part, "{rot:?} {}", site.log());
            let summary = std::fs::read_to_string(site.path("summary")).expect("a summary");
            assert!(summary.contains(&format!("not read to its end: {topic}/0")), "{summary}");
            let seen = Seen::at_rest(&site.out("game"));
            expecting(of(0).take(100).chain(of(1).take(others))).check(&seen, Order::PerPartition).assert_exact();
            let committed = kafka().committed(&site.group("game"), &topic);
            assert_eq!(committed, [Some(100), Some(others as i64)], "{rot:?}: nothing is passed over");
            kafka().produce(&topic, of(1).skip(others).take(others).map(Record::from));
        }
        spoiled.mend();
        assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{rot:?} {}", site.log());
        let seen = Seen::at_rest(&site.out("game"));
        expecting(of(0).take(300).chain(of(1))).check(&seen, Order::PerPartition).assert_exact();
    }
}

/// SIGTERM, and how long the end took.
fn stop(run: &mut Running, site: &Site) -> Duration {
    let asked = Instant::now();
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
    asked.elapsed()
}

#[test]
fn brokers_that_are_away_at_the_start_are_waited_for() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let kafka = Kafka::start(1);
    let topic = kafka.create_topic("away", 2);
    let made = written(2, 2, 5_000);
    kafka.produce(&topic, made.iter().map(Record::from));
    kafka.kill9(1);
    let mut site = Site::new(kafka.bootstrap());
    site.task("game", &[&topic], "");
    let mut run = site.start(&[]);
    // The alert beside it repeats the words.
    let words = format!("(brokers {}); still trying", kafka.bootstrap());
    let said = |site: &Site| site.log().lines().filter(|line| line.contains("WARN") && line.contains(&words)).count();
    site.awaited("it says that brokers are away", SOON, || (said(&site) == 1).then_some(()));
    let took = stop(&mut run, &site);
    assert!(took < PROMPT, "the stop took {took:?}");

    let mut run = site.start(&[]);
    site.awaited("it says so again", SOON, || (said(&site) == 2).then_some(()));
    kafka.restart(1);
    site.await_lines("game", 5_000, SOON);
    assert_eq!(said(&site), 2, "once at each start: {}", site.log());
    stop(&mut run, &site);
    expecting(&made).check(&Seen::at_rest(&site.out("game")), Order::PerPartition).assert_exact();
    assert_eq!(kafka.committed(&site.group("game"), &topic).into_iter().flatten().sum::<i64>(), 5_000);
}

#[test]
fn a_broker_killed_in_the_middle_costs_nothing() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let kafka = Kafka::start(1);
    let topic = kafka.create_topic("killed", 3);
    let made = written(3, 3, 80_000);
    kafka.produce(&topic, made.iter().map(Record::from));
    let mut site = Site::new(kafka.bootstrap());
    // Small fetches, so that what is fetched already is soon delivered and the broker is missed.
    let small = "[cluster.small]\nbrokers = BROKERS\nlibrdkafka = { \"fetch.message.max.bytes\" = \"65536\", \
                 \"queued.max.messages.kbytes\" = \"256\" }";
    site.process(&small.replace("BROKERS", &format!("{:?}", kafka.bootstrap())));
    site.task("game", &[&topic], "cluster = \"small\"\nrate_limit = 20000\ncheckpoint_interval = \"1s\"");
    let tailer = Tailer::follow(&site.out("game"));
    let mut run = site.start(&[]);
    for part in 1..=2 {
        site.awaited("a part is delivered", SOON, || (tailer.bytes() > part * 8_000_000).then_some(()));
        kafka.kill9(1);
        kafka.restart(1);
    }
    site.awaited("more is delivered", SOON, || (tailer.bytes() > 22_000_000).then_some(()));
    assert!(site.lines("game") < 80_000, "it is in the middle still");
    kafka.kill9(1);
    let took = stop(&mut run, &site);
    assert!(took < PROMPT, "the stop with its broker gone took {took:?}");
    let mut run = site.start(&[]);
    kafka.restart(1);
    site.await_lines("game", 80_000, LONG);
    stop(&mut run, &site);
    let seen = tailer.finish();
    seen.assert_clean();
    expecting(&made).check(&seen, Order::PerPartition).assert_exact();
}
