//! A topic that is made anew while lines go to it.

use super::course::{Course, PARTITIONS, SOON};
use crate::support::{Part, eventually, kafka, left_out};

/// With fewer partitions, what was chosen among more is not there any more.
#[test]
fn a_topic_that_comes_back_smaller_gets_its_lines() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let files: Vec<String> = (0..2 * PARTITIONS).map(|n| format!("{n}.log")).collect();
    let mut course = Course::new("*.log", &[]);
    let write = |course: &Course, line: &str| files.iter().for_each(|file| course.write(file, format!("{line}\n")));
    write(&course, "before");
    course.start();
    course.await_lines(files.len());
    kafka().delete_topic(&course.topic);
    kafka().create_topic_named(&course.topic, 1, &[]);
    write(&course, "after");
    let after = || course.lines().iter().filter(|line| *line == "after").count();
    eventually("the lines of every file", SOON, || (after() >= files.len()).then_some(()));
    course.stop();
    let switch = "librdkafka sends the lines from now on";
    assert!(!course.log().contains(switch), "the same client can go on: {}", course.log());
}
