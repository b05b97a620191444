//! Lines and places in transactions.

use std::process::Command;
use std::time::Duration;

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
    let came = |course: &Course, lines| {
        let deadline = std::time::Instant::now() + SOON;
        while course.lines().len() < lines {
            assert!(std::time::Instant::now() < deadline, "{} lines; {}", course.lines().len(), course.log());
        }
    };
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
