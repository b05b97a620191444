//! What an operator orders of a running engine: pause and resume, reload, seek.

use std::collections::BTreeMap;
use std::thread::JoinHandle;

use crate::support::{
    self, Made, Part, Record, Rot, SOON, Seen, Site, Spoiled, expecting, kafka, left_out, mark, written,
};
use logmill::conf;
use logmill::ctl::protocol::TaskState;
use logmill::engine::{Answer, Engine, EngineError, Mode, Order, Remote, Summary};
use logmill::flow::cluster::Target;

/// Checkpoints all the time, so that one is never far.
const OFTEN: &str = "checkpoint_interval = \"100ms\"\nreaders = 2";

/// An engine in this process, with the way to tell it something.
struct Told {
    remote: Remote,
    thread: JoinHandle<Result<Summary, EngineError>>,
}

impl Told {
    fn start(site: &Site) -> Told {
        site.write_config();
        let path = site.config();
        let load = move || conf::load(&path, None);
        let loaded = load().unwrap_or_else(|problems| panic!("{}", conf::explain(&problems)));
        let engine = Engine::start(loaded, Box::new(load), Mode::default()).expect("the engine");
        Told { remote: engine.remote(), thread: std::thread::spawn(|| engine.run()) }
    }

    fn order(&self, order: Order) -> Answer {
        self.remote.order(order, SOON)
    }

    fn seek(&self, topic: &str, partition: i32, to: Target) -> Answer {
        self.order(Order::Seek { task: "game".into(), topic: topic.into(), partition, to })
    }

    fn stop(self) -> Summary {
        assert_eq!(self.order(Order::Stop), Ok("stopping".into()));
        self.thread.join().expect("the engine's thread").expect("an orderly end")
    }
}

/// How often each record of a partition came out.
fn times(site: &Site, partition: i32) -> BTreeMap<u64, usize> {
    let mut times = BTreeMap::new();
    for (_, line) in Seen::at_rest(&site.out("game")).lines() {
        let (p, sequence) = mark(line).expect("a line of ours");
        *times.entry(sequence).or_default() += usize::from(p == partition);
    }
    times.retain(|_, n| *n > 0);
    times
}

/// Waits for two checkpoints, the second of which began after now.
fn await_checkpoints(site: &Site) {
    for _ in 0..2 {
        let seen = || std::fs::read(site.out("game").join(".logmill-seen")).unwrap_or_default();
        let before = seen();
        site.awaited("a checkpoint", SOON, || (seen() != before).then_some(()));
    }
}

fn produce(topic: &str, made: &[Made]) {
    kafka().produce(topic, made.iter().map(Record::from));
}

#[test]
fn a_paused_task_reads_nothing_over_a_reload_until_it_is_resumed() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("paused", 2);
    let made = written(1, 2, 3_000);
    produce(&topic, &made[..1_000]);
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], OFTEN);
    let told = Told::start(&site);
    site.await_lines("game", 1_000, SOON);
    let refused = told.order(Order::Pause("gone".into()));
    assert_eq!(refused, Err("there is no task gone".into()));
    assert!(told.order(Order::Pause("game".into())).is_ok_and(|text| text.starts_with("game is paused")));
    await_checkpoints(&site);
    produce(&topic, &made[1_000..2_000]);

    site.clear_tasks().task("game", &[&topic], &OFTEN.replace("readers = 2", "readers = 1"));
    site.write_config();
    let line = told.order(Order::Reload).expect("a good configuration");
    assert_eq!(line, "generation 2: +0 tasks, ~1 changed, -0\ngame drains and begins anew: readers");
    let status = |told: &Told| told.remote.status();
    let paused = || status(&told).tasks.iter().any(|t| t.state == TaskState::Paused && t.threads.len() == 2);
    site.awaited("the task is there again, paused", SOON, || paused().then_some(()));
    assert_eq!(status(&told).generation, 2);
    await_checkpoints(&site);
    assert_eq!(site.lines("game"), 1_000);

    assert_eq!(told.order(Order::Resume("game".into())), Ok("game runs".into()));
    site.await_lines("game", 2_000, SOON);
    assert!(told.order(Order::Pause("game".into())).is_ok());
    await_checkpoints(&site);
    produce(&topic, &made[2_000..]);
    let summary = told.stop();
    assert_eq!(summary.tasks[0].counts.consumed, 2_000, "of this run, over the restart");
    // A pause ends with the process.
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    expecting(&made).check(&Seen::at_rest(&site.out("game")), support::Order::PerPartition).assert_exact();
}

#[test]
fn a_seek_moves_one_partition_to_and_fro() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("sought", 2);
    let made = written(2, 2, 4_000);
    produce(&topic, &made[..2_000]);
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], OFTEN);
    let told = Told::start(&site);
    site.await_lines("game", 2_000, SOON);
    let high = |partition: i32| made[..2_000].iter().filter(|m| m.partition == partition).count() as i64;
    let end = high(0);

    for (topic, partition, offset, why) in [
        ("gone", 0, 0, "game does not read gone/0".to_owned()),
        (&*topic, 2, 0, format!("game does not read {topic}/2")),
        (&*topic, 0, end + 1, format!("{topic}/0 holds offsets 0 to {end}, not {}", end + 1)),
    ] {
        assert_eq!(told.seek(topic, partition, Target::Offset(offset)), Err(why));
    }
    assert_eq!(times(&site, 0).len(), end as usize);

    let answer = told.seek(&topic, 0, Target::Offset(end - 300));
    assert_eq!(answer, Ok(format!("{topic}/0 goes on at offset {}", end - 300)));
    site.await_lines("game", 2_300, SOON);
    // Where the clock of the records says, and forward while it is paused: what stands between is not read.
    let moment = made.iter().find(|m| m.partition == 0 && m.sequence == 200).expect("a record").timestamp_ms;
    let first = made.iter().filter(|m| m.partition == 0 && m.timestamp_ms >= moment).map(|m| m.sequence).min();
    let first = first.expect("a record of that time") as i64;
    assert_eq!(told.seek(&topic, 0, Target::Timestamp(moment)), Ok(format!("{topic}/0 goes on at offset {first}")));
    let lines = 2_300 + (end - first) as usize;
    site.await_lines("game", lines, SOON);
    assert!(told.order(Order::Pause("game".into())).is_ok());
    produce(&topic, &made[2_000..]);
    assert_eq!(told.seek(&topic, 0, Target::Offset(end + 50)), Ok(format!("{topic}/0 goes on at offset {}", end + 50)));
    await_checkpoints(&site);
    assert_eq!(site.lines("game"), lines, "it stays paused");
    assert!(told.order(Order::Resume("game".into())).is_ok());
    site.await_lines("game", lines + 2_000 - 50, SOON);
    told.stop();
    // The places are kept: nothing comes again.
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    let count = |sequence: u64| match sequence as i64 {
        s if (end..end + 50).contains(&s) => 0,
        s => 1 + usize::from(s < end && s >= end - 300) + usize::from(s < end && s >= first),
    };
    let all = made.iter().filter(|m| m.partition == 0).map(|m| (m.sequence, count(m.sequence)));
    assert_eq!(times(&site, 0), all.filter(|(_, n)| *n > 0).collect());
    assert!(times(&site, 1).values().all(|n| *n == 1), "the other one is not touched");
}

#[test]
fn a_partition_that_stopped_at_a_rotten_batch_is_freed_by_a_seek() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("freed", 1);
    let made = written(3, 1, 300);
    made.chunks(100).for_each(|part| produce(&topic, part));
    let _spoiled = Spoiled::second_batch(&topic, 0, Rot::Checksum);
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], OFTEN);
    let told = Told::start(&site);
    let error = || told.remote.status().tasks.iter().flat_map(|t| &t.threads).find_map(|t| t.last_error.clone());
    let stopped = || error().is_some_and(|text| text.contains("cannot be read on from offset 100"));
    site.awaited("the partition stops", SOON, || stopped().then_some(()));
    assert!(told.seek(&topic, 0, Target::Offset(200)).is_ok());
    site.await_lines("game", 200, SOON);
    let summary = told.stop();
    assert!(summary.is_whole(), "{summary}");
    let kept = made.iter().filter(|m| !(100..200).contains(&m.sequence));
    expecting(kept).check(&Seen::at_rest(&site.out("game")), support::Order::PerPartition).assert_exact();
}
