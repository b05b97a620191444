//! Files that are renamed, cut, deleted and made anew, while it runs and while it does not.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::course::{Course, SOON};
use super::post::{Post, STOP};
use crate::support::{Part, eventually, left_out};

/// Files whose numbers are given back.
const FILES: usize = 50;

#[test]
fn lines_come_while_files_grow_rotate_and_go() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("**/*.log", &["--close-delay", "1"]);
    course.write("a.log", "a 1\na 2\nhalf");
    course.start();
    course.await_lines(2);
    // A half line waits for its other half.
    course.write("a.log", " a 3\n");
    course.await_lines(3);
    // Renamed under the writer's hand, which goes on for a while; the new file is another one.
    let mut old = OpenOptions::new().append(true).open(course.path("a.log")).expect("a file");
    course.rename("a.log", "a.log.1");
    course.write("a.log", "b 1\n");
    course.await_lines(4);
    old.write_all(b"a 4\na 5 without newline").expect("written");
    course.await_lines(5);
    drop(old);
    course.await_lines(6);
    // A directory that was not there, and a file that is gone at once while it is open.
    course.write("x/y/c.log", "c 1\n");
    course.await_lines(7);
    let mut gone = OpenOptions::new().append(true).open(course.path("x/y/c.log")).expect("a file");
    std::fs::remove_file(course.path("x/y/c.log")).expect("removed");
    gone.write_all(b"c 2\n").expect("written");
    course.await_lines(8);
    drop(gone);
    course.stop();
    let wanted = ["a 1", "a 2", "a 4", "a 5 without newline", "b 1", "c 1", "c 2", "half a 3"];
    assert_eq!(course.sorted(), wanted, "{}", course.log());
}

#[test]
fn copytruncate_starts_again_at_the_beginning_and_is_named() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("*.log", &[]);
    course.write("a.log", "old 1\nold 2\n");
    course.start();
    course.await_lines(2);
    // Cut to nothing, by a writer that goes on at its old place: a hole, then lines.
    let writer = OpenOptions::new().write(true).open(course.path("a.log")).expect("a file");
    writer.set_len(0).expect("cut");
    std::os::unix::fs::FileExt::write_all_at(&writer, b"new 1\n", 100_000).expect("written");
    course.await_lines(3);
    // Cut and longer than before by the time anybody looks: only the content tells.
    course.stop();
    std::fs::write(course.path("a.log"), "x".repeat(200_000) + "\nnew 2\n").expect("written");
    course.start();
    course.await_lines(5);
    // Cut to less than was read.
    std::fs::write(course.path("a.log"), "new 3\n").expect("written");
    course.await_lines(6);
    course.stop();
    let lines = course.sorted();
    assert_eq!(lines[..5], ["new 1", "new 2", "new 3", "old 1", "old 2"], "{}", course.log());
    let log = course.log();
    let named: Vec<_> = log.lines().filter(|line| line.contains("was cut or replaced behind byte")).collect();
    let bytes = ["behind byte 12 (", "behind byte 100006 (", "behind byte 200007 ("];
    assert!(named.len() == 3 && named.iter().zip(bytes).all(|(line, byte)| line.contains(byte)), "{named:?}");
}

/// Lines of one log often end alike: with a browser's name, or a stack frame. Filebeat goes on at the old place in new
/// content (elastic/beats#45300).
#[test]
fn new_content_is_known_where_its_lines_end_as_those_before_did() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("*.log", &[]);
    let lines = |word: &str, count| -> Vec<String> {
        (0..count).map(|n| format!("{word} {n:02} {}", "x".repeat(100))).collect()
    };
    course.write("a.log", lines("old", 20).join("\n") + "\n");
    course.start();
    course.await_lines(20);
    course.stop();
    // Cut, and beyond the old place before anybody looks: a line ends there too.
    std::fs::write(course.path("a.log"), lines("new", 30).join("\n") + "\n").expect("written");
    course.start();
    course.await_lines(50);
    course.stop();
    assert_eq!(course.sorted(), [lines("new", 30), lines("old", 20)].concat());
    // As long as before, to the byte.
    std::fs::write(course.path("a.log"), lines("now", 30).join("\n") + "\n").expect("written");
    course.start();
    course.await_lines(80);
    course.stop();
    assert_eq!(course.sorted(), [lines("new", 30), lines("now", 30), lines("old", 20)].concat());
    let log = course.log();
    for lines in [lines("old", 20), lines("new", 30)] {
        let place = lines.iter().map(|line| line.len() + 1).sum::<usize>();
        assert!(log.contains(&format!("was cut or replaced behind byte {place} (")), "{log}");
    }
}

/// Fluent Bit takes a new file with a removed one's inode for that one (fluent/fluent-bit#8025).
#[test]
fn a_reused_inode_is_a_new_file() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("*.log", &[]);
    let names: Vec<String> = (0..FILES).map(|n| format!("{n}.log")).collect();
    names.iter().for_each(|name| course.write(name, format!("same head\nold {name}\n")));
    course.start();
    course.await_lines(2 * FILES);
    course.stop();
    let inode = |name: &String| course.path(name).metadata().expect("a file").ino();
    let old: HashSet<u64> = names.iter().map(inode).collect();
    // Others make files too and may have taken the numbers: until one of them comes back.
    eventually("an inode is used again", SOON, || {
        names.iter().for_each(|name| std::fs::remove_file(course.path(name)).expect("removed"));
        let new = |name: &String| course.write(name, format!("same head\nnew, and longer than the old one {name}\n"));
        names.iter().for_each(new);
        names.iter().any(|name| old.contains(&inode(name))).then_some(())
    });
    course.start();
    course.await_lines(4 * FILES);
    course.stop();
    let line = |of: &str| names.iter().map(move |name| format!("{of} {name}")).collect::<Vec<_>>();
    let heads = vec!["same head".to_string(); 2 * FILES];
    let mut expected = [line("new, and longer than the old one"), line("old"), heads].concat();
    expected.sort();
    assert_eq!(course.sorted(), expected);
}

/// Vector loses what was written before a rotation that it did not see (vectordotdev/vector#22954).
#[test]
fn files_rotated_while_down_are_finished() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("a.log", &["--close-delay", "1"]);
    course.write("a.log", "1\n");
    course.start();
    course.await_lines(1);
    course.stop();
    course.write("a.log", "2\n");
    course.rename("a.log", "a.log.1");
    course.write("a.log", "3\n");
    course.rename("a.log.1", "a.log.2");
    course.start();
    course.await_lines(3);
    course.await_log("a.log.2 is final");
    course.stop();
    assert_eq!(course.sorted(), ["1", "2", "3"]);
}

/// Vector waits for ever where a place lies behind the file's end (vectordotdev/vector#23076).
#[test]
fn a_place_behind_the_end_starts_again() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("a.log", &[]);
    course.write("a.log", "one line that is long\n");
    course.start();
    course.await_lines(1);
    course.stop();
    File::create(course.path("a.log")).expect("cut").write_all(b"short\n").expect("written");
    course.start();
    course.await_lines(2);
    course.stop();
    assert_eq!(course.lines(), ["one line that is long", "short"]);
}

/// Fluent Bit goes on with the old file when a link leads to another one (fluent/fluent-bit#1118), rsyslog too
/// (rsyslog/rsyslog#4325); behind links it loses the end of rotated files (fluent/fluent-bit#2110). Nothing is looked
/// at here but what directories tell.
#[test]
fn links_that_lead_to_another_file_are_followed_there() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut post = Post::new("links", &["now/*.log"]);
    post.settings.poll_interval = Duration::from_secs(3600);
    post.settings.roots = vec![post.path("pods")];
    ["now", "pods"].into_iter().for_each(|dir| std::fs::create_dir(post.path(dir)).expect("a directory"));
    post.write("pods/0.log", "1\n");
    std::os::unix::fs::symlink("../pods/0.log", post.path("now/a.log")).expect("a link");
    let collector = post.start();
    post.await_lines(1);
    // The target grows, in a directory that no entry names, and is rotated there.
    post.write("pods/0.log", "2\n");
    post.await_lines(2);
    post.write("pods/0.log", "3\n");
    let mut old = OpenOptions::new().append(true).open(post.path("pods/0.log")).expect("a file");
    std::fs::rename(post.path("pods/0.log"), post.path("pods/0.log.old")).expect("renamed");
    post.write("pods/0.log", "4\n");
    post.await_lines(4);
    old.write_all(b"5\n").expect("written");
    drop(old);
    post.await_lines(5);
    // The link leads to another file.
    post.write("pods/1.log", "6\n");
    std::os::unix::fs::symlink("../pods/1.log", post.path("now/next")).expect("a link");
    std::fs::rename(post.path("now/next"), post.path("now/a.log")).expect("renamed");
    post.await_lines(6);
    post.write("pods/1.log", "7\n");
    let mut lines = post.await_lines(7);
    lines.sort();
    assert_eq!(lines, ["1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(collector.stop(STOP).broken, None);
    // Rotated behind the link while nobody looked.
    post.write("pods/1.log", "8\n");
    std::fs::rename(post.path("pods/1.log"), post.path("pods/1.log.old")).expect("renamed");
    post.write("pods/1.log", "9\n");
    let collector = post.start();
    let mut lines = post.await_lines(9);
    lines.sort();
    assert_eq!(lines[7..], ["8", "9"]);
    collector.stop(STOP);
}

/// As releases are switched. Nothing is looked at here but what directories tell.
#[test]
fn a_link_to_a_directory_is_followed_to_the_next_one() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut post = Post::new("releases", &["current/log/*.log"]);
    post.settings.poll_interval = Duration::from_secs(3600);
    ["1", "2"].into_iter().for_each(|dir| std::fs::create_dir_all(post.path(dir).join("log")).expect("directories"));
    post.write("1/log/a.log", "1\n");
    std::os::unix::fs::symlink("1", post.path("current")).expect("a link");
    let collector = post.start();
    post.await_lines(1);
    let mut old = OpenOptions::new().append(true).open(post.path("1/log/a.log")).expect("a file");
    post.write("2/log/a.log", "2\n");
    std::os::unix::fs::symlink("2", post.path("next")).expect("a link");
    std::fs::rename(post.path("next"), post.path("current")).expect("renamed");
    post.await_lines(2);
    old.write_all(b"3\n").expect("written");
    drop(old);
    post.write("2/log/a.log", "4\n");
    let mut lines = post.await_lines(4);
    lines.sort();
    assert_eq!(lines, ["1", "2", "3", "4"]);
    collector.stop(STOP);
}

/// Fluentd sends a rotated file again when its pattern means the new name too (fluent/fluentd#3871, #4243).
#[test]
fn a_file_that_is_renamed_within_its_pattern_goes_on() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let post = Post::new("chain", &["a.log*"]);
    post.write("a.log", "1\n");
    let collector = post.start();
    post.await_lines(1);
    for round in 0..3 {
        for number in (0..=round).rev() {
            let name = |number| if number == 0 { "a.log".to_owned() } else { format!("a.log.{number}") };
            std::fs::rename(post.path(&name(number)), post.path(&name(number + 1))).expect("renamed");
        }
        post.write("a.log", &format!("new {round}\n"));
        post.write("a.log.1", &format!("late {round}\n"));
        post.await_lines(1 + 2 * (round + 1));
    }
    collector.stop(STOP);
    let collector = post.start();
    post.write("a.log", "last\n");
    let mut lines = post.await_lines(8);
    lines.sort();
    assert_eq!(lines, ["1", "last", "late 0", "late 1", "late 2", "new 0", "new 1", "new 2"]);
    collector.stop(STOP);
}
