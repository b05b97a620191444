//! Files that are renamed, cut, deleted and made anew, while it runs and while it does not.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use super::course::{Course, SOON};
use crate::support::{Part, eventually, left_out};

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

/// Fluent Bit takes a new file with a removed one's inode for that one (fluent/fluent-bit#8025).
#[test]
fn a_reused_inode_is_a_new_file() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("*.log", &[]);
    course.write("a.log", "same head\nold\n");
    course.start();
    course.await_lines(2);
    course.stop();
    let inode = course.path("a.log").metadata().expect("a file").ino();
    std::fs::remove_file(course.path("a.log")).expect("removed");
    // Others make files too: until the freed number comes back, the new ones are kept out of the way.
    let mut spare = 0;
    eventually("the inode is used again", SOON, || {
        course.write("a.log", "same head\nnew, and longer than the old one was\n");
        let found = course.path("a.log").metadata().expect("a file").ino() == inode;
        if !found {
            spare += 1;
            course.rename("a.log", &format!("spare.{spare}"));
        }
        found.then_some(())
    });
    course.start();
    course.await_lines(4);
    course.stop();
    assert_eq!(course.sorted(), ["new, and longer than the old one was", "old", "same head", "same head"]);
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
