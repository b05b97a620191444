//! Logs that do not hold what was to be read next, through the binary on a real broker: retention that was faster,
//! topics made anew, another cluster.

mod support;

use std::sync::OnceLock;
use std::time::Duration;

use support::{Checker, Kafka, Made, Mix, Order, Part, Record, Seen, Site, left_out};

const SOON: Duration = Duration::from_secs(60);

fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| Kafka::start(1))
}

fn written(seed: u64, partitions: i32, count: usize) -> Vec<Made> {
    Mix::new(seed, partitions).only_written().take(count).collect()
}

fn expecting<'m>(made: impl IntoIterator<Item = &'m Made>) -> Checker {
    let mut checker = Checker::new();
    made.into_iter().for_each(|m| checker.expect_made(m));
    checker
}

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
