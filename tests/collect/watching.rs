//! Which files are followed, and how it is heard that they grow.

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use super::course::Course;
use crate::support::{Part, left_out};

#[test]
fn what_is_no_log_is_refused_by_name() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("*.log", &[]);
    let fifo = CString::new(course.path("fifo.log").as_os_str().as_bytes()).expect("a name");
    // SAFETY: a valid string.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    std::os::unix::fs::symlink("/dev/zero", course.path("device.log")).expect("a link");
    std::os::unix::fs::symlink("/etc/passwd", course.path("out.log")).expect("a link");
    course.write("target", "by a link within\n");
    std::os::unix::fs::symlink("target", course.path("in.log")).expect("a link");
    course.write("good.log", "good\n");
    course.start();
    course.await_lines(2);
    course.stop();
    assert_eq!(course.sorted(), ["by a link within", "good"]);
    let log = course.log();
    for (name, reason) in [("fifo", "no regular file"), ("device", "no regular file"), ("out", "out of the roots")] {
        let said = |line: &&str| line.contains(&format!("{name}.log is not followed")) && line.contains(reason);
        assert_eq!(log.lines().filter(said).count(), 1, "{name}: {log}");
    }
}

/// Fluent Bit stops following when the kernel's queue of events overflows (fluent/fluent-bit#1108).
#[test]
fn events_that_the_kernel_dropped_are_made_good() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("*.log", &[]);
    course.write("a.log", "a\n");
    course.start();
    course.await_lines(1);
    let run = course.run.as_ref().expect("it runs");
    run.signal(libc::SIGSTOP);
    let most = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("a number");
    for n in 0..most.trim().parse::<usize>().expect("a number") {
        // Two events each, and never two alike beside each other.
        let name = course.path(&format!("noise.{}", n % 2));
        File::create(name).expect("a file").write_all(b"x").expect("written");
    }
    course.write("b.log", "b\n");
    course.write("a.log", "a 2\n");
    run.signal(libc::SIGCONT);
    course.await_lines(3);
    course.stop();
    assert!(course.log().contains("inotify lost events"), "{}", course.log());
    assert_eq!(course.sorted(), ["a", "a 2", "b"]);
}

/// In a namespace where this user may watch two directories, and there are four.
#[test]
fn without_watches_files_are_looked_at_and_it_is_said() {
    if left_out(&[Part::Kafka, Part::Mount]) {
        return;
    }
    let mut course = Course::new("**/*.log", &[]);
    for name in ["a.log", "x/b.log", "y/c.log", "z/d.log"] {
        course.write(name, "1\n");
    }
    let mut program = Command::new("unshare");
    let script = "echo 2 >/proc/sys/user/max_inotify_watches && exec \"$@\"";
    program.args(["--user", "--map-root-user", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_logmill")]);
    course.start_as(program);
    course.await_log("cannot be watched");
    course.await_lines(4);
    course.write("z/d.log", "2\n");
    course.write("z/new/e.log", "1\n");
    course.await_lines(6);
    // Rotated to a name that is not followed, with a line that nobody has looked at.
    course.write("z/d.log", "3\n");
    course.rename("z/d.log", "z/d.old");
    course.write("z/d.log", "4\n");
    course.await_lines(8);
    course.stop();
    assert_eq!(course.sorted(), ["1", "1", "1", "1", "1", "2", "3", "4"], "{}", course.log());
}

#[test]
fn at_the_first_start_old_lines_are_left_where_that_is_asked_for() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut course = Course::new("*.log", &["--from-end"]);
    course.write("a.log", "old\nhalf");
    course.start();
    course.await_log("a.log is followed from byte 4");
    course.write("a.log", " line\n");
    course.write("b.log", "new\n");
    course.await_lines(2);
    course.stop();
    // What comes while nobody looks is new too.
    course.write("c.log", "newer\n");
    course.start();
    course.await_lines(3);
    course.stop();
    assert_eq!(course.sorted(), ["half line", "new", "newer"]);
}
