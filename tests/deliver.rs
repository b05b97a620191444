//! The main job through the binary, on a real broker: topics become files, exactly.

mod support;

use std::sync::OnceLock;
use std::time::Duration;

use support::{Checker, Kafka, Mix, Order, Part, Seen, Site, left_out};

fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| Kafka::start(1))
}

#[test]
fn a_backfill_ends_by_itself_with_every_line_once() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("backfill", 6);
    let made: Vec<_> = Mix::new(1, 6).take(100_000).collect();
    kafka().produce(&topic, made.iter().map(support::Record::from));
    let mut checker = Checker::new();
    made.iter().for_each(|m| checker.expect_made(m));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "");
    let mut run = site.start(&["--exit-at-end"]);
    assert!(run.wait(Duration::from_secs(60)).success(), "{}", site.log());
    let seen = Seen::at_rest(&site.out("game"));
    seen.assert_clean();
    checker.check(&seen, Order::PerPartition).assert_exact();
    println!("{}", site.log());
}
