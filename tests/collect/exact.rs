//! Lines and places in transactions.

use std::process::Command;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;

use super::course::{Course, SOON};
use crate::support::{Part, Running, kafka, left_out};

/// Who reads committed records alone sees no line twice, whenever the program dies; a second one ends the first.
#[test]
fn transactions_keep_lines_and_places_together() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let places = kafka().create_topic_with("places", 1, &[("cleanup.policy", "compact")]);
    let mut course = Course::new("*.log", &["--exactly-once", &places]);
    course.write("a.log", (0..1000).map(|n| format!("{n:06}\n")).collect::<String>());
    course.start();
    came(&course, 1000);
    for round in 1..4 {
        let more = (round * 1000..(round + 1) * 1000).map(|n| format!("{n:06}\n"));
        course.write("a.log", more.collect::<String>());
        course.kill();
        course.start();
    }
    came(&course, 4000);
    let wanted: Vec<String> = (0..4000).map(|n| format!("{n:06}")).collect();
    assert_eq!(course.lines(), wanted, "{}", course.log());

    let mut first = course.run.take().expect("it runs");
    let other = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let data = other.path().join("data");
    let mut program = Command::new(env!("CARGO_BIN_EXE_logmill"));
    program.args(["collect", "--brokers", kafka().bootstrap(), "--follow"]).arg(course.path(course.pattern));
    program.arg(&course.topic).arg("--data-dir").arg(&data).args(["--exactly-once", &places]);
    let second = Running::start(program, other.path().join("log"));
    course.write("a.log", "one more\n");
    came(&course, 4001);
    // The first one hears of it when it has something to commit.
    let deadline = std::time::Instant::now() + SOON;
    while first.ended().is_none() {
        assert!(std::time::Instant::now() < deadline, "it goes on: {}", course.log());
        course.write("a.log", "more\n");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(first.wait(SOON).code(), Some(1));
    assert!(course.log().contains("another instance has taken the transactional id"), "{}", course.log());
    drop(second);
}

/// Tasks share a topic of places: what stands behind another one's open transaction is not to be read before that is
/// over, and is not to be done without.
#[test]
fn places_behind_the_open_transaction_of_another_task_are_waited_for() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let places = kafka().create_topic_with("places", 1, &[("cleanup.policy", "compact")]);
    let mut course = Course::new("*.log", &["--exactly-once", &places]);
    course.write("a.log", "1\n2\n");
    course.start();
    came(&course, 2);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka().bootstrap()).set("transactional.id", &places);
    let other: BaseProducer = config.create().expect("a producer");
    other.init_transactions(SOON).expect("a transactional id");
    other.begin_transaction().expect("a transaction");
    other.send(BaseRecord::to(&places).key("another").payload("place")).expect("taken");
    other.flush(SOON).expect("sent");
    course.write("a.log", "3\n");
    came(&course, 3);
    course.stop();
    course.start();
    course.await_log("places behind a transaction that is not over");
    other.abort_transaction(SOON).expect("aborted");
    course.write("a.log", "4\n");
    came(&course, 4);
    course.stop();
    assert_eq!(course.lines(), ["1", "2", "3", "4"], "{}", course.log());
}

/// Waits until so many lines are committed.
fn came(course: &Course, lines: usize) {
    let deadline = std::time::Instant::now() + SOON;
    while course.lines().len() < lines {
        assert!(std::time::Instant::now() < deadline, "{} lines; {}", course.lines().len(), course.log());
    }
}
