//! Logs that do not hold what was to be read next, through the binary on a real broker: retention that was faster,
//! topics made anew, another cluster.

use std::time::Duration;

use crate::support::{
    Kafka, Made, Mix, Order, Part, Record, SOON, Seen, Site, eventually, expecting, kafka, left_out, written,
};

#[test]
fn what_retention_removed_is_counted_named_and_left_behind() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("retention", 2);
    let made = written(1, 2, 3_000);
    kafka().produce(&topic, made[..1_000].iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "readers = 2");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    let next: Vec<i64> = kafka().watermarks(&topic).iter().map(|(_, high)| *high).collect();

    kafka().produce(&topic, made[1_000..2_000].iter().map(Record::from));
    kafka().delete_records(&topic, 0, next[0] + 100);
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    let line = format!("{topic}/0: offsets {} to {} are lost, 100 in all", next[0], next[0] + 99);
    let log = site.log();
    let named: Vec<_> = log.lines().filter(|line| line.contains("are lost")).collect();
    assert!(named.len() == 1 && named[0].contains(&line) && named[0].contains("ERROR"), "{log}");
    let summary = std::fs::read_to_string(site.path("summary")).expect("the summary");
    assert!(summary.contains("game: lost to retention 100\n"), "{summary}");

    // All of it is gone, and so is what follows: it goes on at the end, where records come again.
    kafka().produce(&topic, made[2_000..2_500].iter().map(Record::from));
    let ends: Vec<i64> = kafka().watermarks(&topic).iter().map(|(_, high)| *high).collect();
    kafka().delete_records(&topic, 1, ends[1]);
    let mut run = site.start(&[]);
    site.await_log(&format!("{topic}/1: offsets"), SOON);
    kafka().produce(&topic, made[2_500..].iter().map(Record::from));
    let lost = |m: &Made| match m.partition {
        0 => (next[0]..next[0] + 100).contains(&(m.sequence as i64)),
        _ => made[2_000..2_500].iter().any(|l| (l.partition, l.sequence) == (1, m.sequence)),
    };
    let kept: Vec<_> = made.iter().filter(|m| !lost(m)).collect();
    site.await_lines("game", kept.len(), SOON);
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
    expecting(kept).check(&Seen::at_rest(&site.out("game")), Order::PerPartition).assert_exact();
}

/// Offsets of another log mean nothing here: not one record is taken, however many there are.
#[test]
fn a_topic_made_anew_is_not_taken_for_the_old_one() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topics = [kafka().create_topic("anew", 2), kafka().create_topic("stays", 1)];
    let made = written(2, 3, 3_000);
    let (anew, stays): (Vec<_>, Vec<_>) = made.iter().partition(|m| m.partition < 2);
    kafka().produce(&topics[0], anew.iter().map(|m| Record::from(*m)));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topics[0], &topics[1]], "");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    kafka().delete_topic(&topics[0]);
    kafka().create_topic_named(&topics[0], 1, &[]);
    let others: Vec<_> = Mix::new(3, 1).only_written().take(10_000).collect();
    kafka().produce(&topics[0], others.iter().map(Record::from));
    kafka().produce(&topics[1], stays.iter().map(|m| Record { partition: 0, ..Record::from(*m) }));
    assert_eq!(site.start(&["--exit-at-end"]).wait(SOON).code(), Some(1));
    let log = site.log();
    // An alert, which is JSON, tells it once more, for all partitions.
    let told = |line: &&str| line.starts_with('[') && line.contains("the topic was made anew");
    assert_eq!(log.lines().filter(told).count(), 2, "one for each partition: {log}");
    assert!(log.contains("new group_id"), "the way out: {log}");
    assert!(log.contains(&format!("not there any more: {}/1", topics[0])), "{log}");
    expecting(&made).check(&Seen::at_rest(&site.out("game")), Order::PerPartition).assert_exact();
}

#[test]
fn a_topic_made_anew_while_running_is_not_taken_for_the_old_one() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("under", 1);
    let made = written(4, 1, 1_000);
    kafka().produce(&topic, made.iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "");
    let mut run = site.start(&[]);
    site.await_lines("game", made.len(), SOON);
    kafka().delete_topic(&topic);
    kafka().create_topic_named(&topic, 1, &[]);
    let others: Vec<_> = Mix::new(5, 1).only_written().take(500).collect();
    kafka().produce(&topic, others.iter().map(Record::from));
    site.await_log("the topic was made anew", SOON);
    run.term();
    assert!(run.wait(SOON).success() || site.log().contains("cannot be read on"), "{}", site.log());
    expecting(&made).check(&Seen::at_rest(&site.out("game")), Order::PerPartition).assert_exact();
}

#[test]
fn another_cluster_is_not_taken_for_the_old_one() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let other = Kafka::start(1);
    let topic = kafka().create_topic("cluster", 1);
    other.create_topic_named(&topic, 1, &[]);
    let made = written(6, 1, 1_000);
    kafka().produce(&topic, made.iter().map(Record::from));
    other.produce(&topic, written(7, 1, 3_000).iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    let text = std::fs::read_to_string(site.config()).expect("the configuration");
    let moved = text.replace(kafka().bootstrap(), other.bootstrap());
    assert_ne!(text, moved);
    std::fs::write(site.path("other.toml"), moved).expect("written");
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_logmill"));
    program.args(["run", "--exit-at-end", "--config"]).arg(site.path("other.toml")).current_dir(site.path(""));
    let said = program.output().expect("logmill");
    let log = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.code() == Some(1) && log.contains("was read in cluster"), "{log}");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    expecting(&made).check(&Seen::at_rest(&site.out("game")), Order::PerPartition).assert_exact();
}

/// Compaction takes records out of the middle of a log: the offsets that are missing are no loss, and hold nothing up.
#[test]
fn what_compaction_took_is_not_missed() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let config = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("max.compaction.lag.ms", "200"),
        ("segment.ms", "200"),
    ];
    let topic = kafka().create_topic_with("compact", 1, &config);
    let made = written(8, 1, 6_000);
    // Of every five neighbours one has a key of its own, and so has the newest part; all the others share one. The time
    // is now, or no segment would be closed for its age.
    let stays = |m: &Made| m.sequence % 5 == 4 || m.sequence >= 5_000;
    let keyed = |m: &Made| {
        let timestamp_ms = logmill::flow::clock::now_ms();
        (if stays(m) { m.sequence } else { u64::MAX }.to_be_bytes().to_vec(), Record { timestamp_ms, ..m.into() })
    };
    kafka().produce_keyed(&topic, made[..5_000].iter().map(keyed));
    // The broker closes a segment when a record comes that is younger by `segment.ms`.
    std::thread::sleep(Duration::from_millis(300));
    kafka().produce_keyed(&topic, made[5_000..].iter().map(keyed));
    let kept: Vec<_> = made.iter().filter(|m| stays(m) || m.sequence == 4_998).collect();
    let offsets: Vec<_> = kept.iter().map(|m| m.sequence as i64).collect();
    eventually("it is compacted", SOON, || (kafka().offsets(&topic, 0) == offsets).then_some(()));

    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "rate_limit = 1000\ncheckpoint_interval = \"100ms\"");
    let mut run = site.start(&[]);
    site.await_lines("game", 100, SOON);
    run.kill9();
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    expecting(kept.iter().copied()).check(&Seen::at_rest(&site.out("game")), Order::PerPartition).assert_exact();
    assert_eq!(site.told("game").total.consumed, kept.len() as u64);
    let ends: Vec<_> = kafka().watermarks(&topic).into_iter().map(|(_, end)| Some(end)).collect();
    assert_eq!(kafka().committed(&site.group("game"), &topic), ends);
    assert!(!site.log().contains("are lost"), "{}", site.log());
}
