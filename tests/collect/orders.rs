//! What a running station is told: lists, pauses, places.

use logmill::tail::OrderError;

use super::course::SOON;
use super::post::{Post, STOP};
use crate::support::{Part, eventually, kafka, left_out};

#[test]
fn a_new_list_takes_and_gives_files_and_leaves_the_others_alone() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut post = Post::new("lists", &["a.log", "b.log"]);
    for name in ["a", "b", "c"] {
        post.write(&format!("{name}.log"), &format!("{name} 1\n"));
    }
    let collector = post.start();
    post.await_lines(2);
    // A list with faults changes nothing; all of them are told.
    let bad = vec![post.entry("c.log"), post.entry("[x.log"), post.entry("x/**")];
    let faults = collector.entries(bad).expect_err("two faults");
    assert!(faults.len() == 2 && faults[0].contains("no glob") && faults[1].contains("say which"), "{faults:?}");
    post.write("b.log", "b 2\n");
    post.await_lines(3);
    // a stays, b goes, c comes, and d will come.
    let list = vec![post.entry("a.log"), post.entry("c.log"), post.entry("d.log")];
    collector.entries(list.clone()).expect("a good list");
    post.write("d.log", "d 1\n");
    post.write("b.log", "b 3\n");
    post.write("a.log", "a 2\n");
    let lines = post.await_lines(6);
    assert!(!lines.contains(&"b 3".to_owned()), "{lines:?}");
    // The same file to another topic: it goes on where it was.
    let other = kafka().create_topic("lists", 1);
    let mut moved = list;
    moved[0].topic.clone_from(&other);
    collector.entries(moved).expect("a good list");
    post.write("a.log", "a 3\n");
    eventually("the other topic has it", SOON, || (Post::lines_of(&other) == ["a 3"]).then_some(()));
    // Nothing, and all again: each goes on where it was.
    collector.entries(Vec::new()).expect("an empty list");
    eventually("nothing is followed", SOON, || collector.files().ok().filter(Vec::is_empty));
    post.write("a.log", "a 4\n");
    collector.entries(vec![post.entry("*.log")]).expect("a good list");
    let mut lines = post.await_lines(8);
    lines.sort();
    assert_eq!(lines, ["a 1", "a 2", "a 4", "b 1", "b 2", "b 3", "c 1", "d 1"]);
    assert_eq!(collector.stop(STOP).broken, None);
    // What was followed last holds for the next start by its own list alone.
    post.settings.entries = vec![post.entry("a.log")];
    let collector = post.start();
    post.write("b.log", "b 4\n");
    post.write("a.log", "a 5\n");
    assert_eq!(post.await_lines(9).last().map(String::as_str), Some("a 5"));
    collector.stop(STOP);
}

/// A list that means a file no longer, while that has lines to send under the name it was rotated to.
#[test]
fn a_rotated_file_is_finished_although_its_entry_is_gone() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let post = Post::new("orphan", &["a.log"]);
    post.write("a.log", "1\n");
    let collector = post.start();
    post.await_lines(1);
    collector.pause(&post.path("a.log"), true).expect("paused");
    post.write("a.log", "2\n");
    std::fs::rename(post.path("a.log"), post.path("a.old")).expect("renamed");
    eventually("it has no name", SOON, || {
        collector.files().ok().filter(|files| files.iter().any(|file| file.path == post.path("a.old")))
    });
    collector.entries(Vec::new()).expect("an empty list");
    collector.pause(&post.path("a.log"), false).expect("it goes on");
    assert_eq!(post.await_lines(2), ["1", "2"]);
    collector.entries(vec![post.entry("a.log")]).expect("a good list");
    post.write("a.log", "3\n");
    assert_eq!(post.await_lines(3), ["1", "2", "3"]);
    assert_eq!((collector.status().restarts, collector.stop(STOP).broken), (0, None));
}

#[test]
fn a_paused_file_waits_and_a_place_is_gone_to() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let post = Post::new("places", &["*.log"]);
    post.write("a.log", "a 1\na 2\n");
    let collector = post.start();
    post.await_lines(2);
    let (a, none) = (post.path("a.log"), post.path("none.log"));
    collector.pause(&a, true).expect("paused");
    post.write("a.log", "a 3\n");
    post.write("b.log", "b 1\n");
    assert_eq!(post.await_lines(3), ["a 1", "a 2", "b 1"]);
    let paused = post.await_file(&collector, "a.log", "paused");
    assert_eq!((paused.position, paused.topic), (8, post.topic.clone()));
    collector.pause(&a, false).expect("it goes on");
    assert_eq!(post.await_lines(4)[3], "a 3");
    let idle = post.await_file(&collector, "a.log", "idle");
    assert_eq!((idle.position, idle.size), (12, 12));

    collector.seek(&a, 4).expect("gone to");
    assert_eq!(post.await_lines(6)[4..], ["a 2", "a 3"]);
    assert_eq!(collector.seek(&a, 13), Err(OrderError::BehindEnd { size: 12 }));
    assert_eq!(collector.seek(&none, 0), Err(OrderError::NotFollowed));
    assert_eq!(collector.pause(&none, true), Err(OrderError::NotFollowed));
    post.await_kept("a.log");
    // Where it went holds over a stop, even if nothing was read from there.
    collector.pause(&a, true).expect("paused");
    collector.seek(&a, 8).expect("gone to");
    assert_eq!(collector.stop(STOP).broken, None);
    let collector = post.start();
    assert_eq!(post.await_lines(7)[6], "a 3");
    collector.stop(STOP);
}
