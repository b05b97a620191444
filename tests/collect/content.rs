//! What a line is: long, half, of several lines, too large for its topic.

use super::course::{Course, PARTITIONS, SOON};
use crate::support::{Part, kafka, left_out};

#[test]
fn long_lines_go_out_in_pieces_and_lines_are_joined_where_asked() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("*.log", &["--max-line-bytes", "1000"]);
    course.write("a.log", format!("short\n{}\n{}\nend\n", "x".repeat(2500), "y".repeat(1000)));
    course.start();
    course.await_lines(6);
    course.stop();
    let lines = kafka().values_with(&course.topic, "logmill-piece");
    let told: Vec<_> = lines.iter().map(|(value, header)| (value.len(), header.as_str())).collect();
    assert_eq!(told, [(5, ""), (1000, "1"), (1000, "2"), (500, "3 last"), (1000, ""), (3, "")]);

    let mut course = Course::new("*.log", &["--multiline-start", "^[0-9]"]);
    course.write("a.log", "1 a\n  at x\n  at y\n2 b\n");
    course.start();
    course.await_lines(2);
    course.stop();
    assert_eq!(course.lines(), ["1 a\n  at x\n  at y", "2 b"]);
}

/// Vector takes the CRC of the first lines for a file's identity: of two files with the same head one is not read.
/// Filebeat does not read a file with less than 1,024 bytes (elastic/beats#44749).
#[test]
fn small_files_with_the_same_head_are_all_read() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("*.log", &[]);
    for name in ["a.log", "b.log", "c.log"] {
        course.write(name, "same head\n");
    }
    course.start();
    course.await_lines(3);
    course.write("b.log", "b\n");
    course.await_lines(4);
    course.stop();
    assert_eq!(course.sorted(), ["b", "same head", "same head", "same head"]);
}

/// Fluent Bit loses the beginning of a line that was unfinished at a restart (fluent/fluent-bit#11265).
#[test]
fn a_line_unfinished_at_a_restart_comes_whole() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("a.log", &[]);
    course.write("a.log", "1\nfirst half");
    course.start();
    course.await_lines(1);
    course.stop();
    course.write("a.log", ", second half\n");
    course.start();
    course.await_lines(2);
    course.kill();
    course.write("a.log", "3\n");
    course.start();
    course.await_lines(3);
    course.stop();
    assert_eq!(course.lines()[..2], ["1", "first half, second half"]);
    assert_eq!(course.lines().last().map(String::as_str), Some("3"));
}

/// A topic that takes less than a batch, and less than a line: both become smaller until it takes them.
#[test]
fn what_a_topic_finds_too_large_goes_in_smaller_parts() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("*.log", &[]);
    course.topic = kafka().create_topic_with("small", PARTITIONS, &[("max.message.bytes", "20000")]);
    let mut seed = 1u64;
    let mut noise = |length: usize| -> String {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + (seed >> 33) as u8 % 90)
        };
        (0..length).map(|_| next()).collect()
    };
    let lines: Vec<String> = (0..200).map(|_| noise(5_000)).collect();
    let long = noise(50_000);
    course.write("a.log", lines.join("\n") + "\n" + &long + "\n");
    course.start();
    let topic = course.topic.clone();
    let came = || kafka().values_with(&topic, "logmill-piece");
    let deadline = std::time::Instant::now() + SOON;
    let is_whole = |came: &[(Vec<u8>, String)]| came.iter().any(|(_, header)| header.ends_with("last"));
    while !is_whole(&came()) {
        assert!(std::time::Instant::now() < deadline, "{}", course.log());
    }
    course.stop();
    let came = came();
    for line in &lines {
        assert!(came.iter().any(|(value, header)| value == line.as_bytes() && header.is_empty()), "{}", course.log());
    }
    let from = came.iter().rposition(|(_, header)| header == "1").expect("a first piece");
    let pieces = came[from..].iter().filter(|(_, header)| !header.is_empty());
    let joined: Vec<u8> = pieces.flat_map(|(value, _)| value.clone()).collect();
    assert!(joined == long.as_bytes(), "{} bytes", joined.len());
}
