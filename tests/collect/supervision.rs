//! A station that panics, hangs or is fenced off.

use std::collections::HashSet;
use std::os::fd::IntoRawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use logmill::tail::{ExactlyOnce, OrderError, State};

use super::course::SOON;
use super::post::{Post, STOP};
use crate::support::{Part, eventually, kafka, left_out};

/// A log that panics on a station's thread when that says something of a file by this name.
struct Poisoned;
const POISON: &str = "poison.log";

impl log::Log for Poisoned {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let words = record.args().to_string();
        let is_station = std::thread::current().name().is_some_and(|name| name.starts_with("tail-panics"));
        assert!(!is_station || !words.contains(POISON), "the log breaks: {words}");
    }

    fn flush(&self) {}
}

fn poison_the_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Poisoned).expect("the only log");
        log::set_max_level(log::LevelFilter::Debug);
    });
}

/// A thread that is held where it is, as a file system can hold it, until this is dropped.
struct Held {
    _release: std::io::PipeWriter,
    _alone: MutexGuard<'static, ()>,
}

static GATE: AtomicI32 = AtomicI32::new(-1);
static HELD: AtomicBool = AtomicBool::new(false);

/// Returns when the other end of the gate is closed.
extern "C" fn wait_at_the_gate(_: libc::c_int) {
    HELD.store(true, Ordering::SeqCst);
    let mut byte = 0u8;
    // SAFETY: one byte into a variable; read(2) may be called by a signal handler.
    unsafe { libc::read(GATE.load(Ordering::SeqCst), (&raw mut byte).cast(), 1) };
}

impl Held {
    fn new(thread: i32) -> Held {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (gate, release) = std::io::pipe().expect("a pipe");
        HELD.store(false, Ordering::SeqCst);
        GATE.store(gate.into_raw_fd(), Ordering::SeqCst);
        // SAFETY: an all-zero sigaction with a handler that calls nothing but read(2); a signal to a thread of ours.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = wait_at_the_gate as extern "C" fn(libc::c_int) as usize;
            libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
            libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGUSR1);
        }
        eventually("the thread is held", SOON, || HELD.load(Ordering::SeqCst).then_some(()));
        Held { _release: release, _alone: alone }
    }
}

fn the_only(threads: HashSet<i32>) -> Option<i32> {
    threads.iter().next().copied().filter(|_| threads.len() == 1)
}

#[test]
fn a_station_that_panics_is_replaced_and_what_was_ordered_holds() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    poison_the_log();
    let mut post = Post::new("panics", &["a.log", "b.log"]);
    let positions_topic = kafka().create_topic_with("places", 1, &[("cleanup.policy", "compact")]);
    post.settings.exactly_once = Some(ExactlyOnce { transactional_id: positions_topic.clone(), positions_topic });
    post.write("a.log", "a 1\na 2\n");
    post.write("b.log", "b 1\n");
    let collector = post.start();
    post.await_lines(3);
    collector.pause(&post.path("b.log"), true).expect("paused");
    // With this list the thread falls as soon as it speaks of the file, and each successor too.
    post.write(POISON, "never\n");
    let (good, bad) = (vec![post.entry("[ab].log")], vec![post.entry("[ab].log"), post.entry(POISON)]);
    collector.entries(bad).expect("a good list");
    eventually("two successors", SOON, || (collector.status().restarts >= 2).then_some(()));
    let cause = collector.status().cause.unwrap_or_default();
    assert!(cause.contains("the log breaks") && cause.contains(POISON), "{cause}");
    collector.entries(good).expect("a good list");
    post.write("b.log", "b 2\n");
    post.write("a.log", "a 3\n");
    assert_eq!(post.await_lines(4)[3..], ["a 3"]);
    post.await_file(&collector, "b.log", "paused");
    collector.pause(&post.path("b.log"), false).expect("it goes on");
    // Every line once, and the sums go on over all stations.
    let mut lines = post.await_lines(5);
    assert_eq!(lines.pop().as_deref(), Some("b 2"));
    lines.sort();
    assert_eq!(lines, ["a 1", "a 2", "a 3", "b 1"]);
    assert_eq!(collector.status().state, State::Running);
    assert_eq!(collector.stop(STOP).broken, None);
    assert_eq!(collector.status().totals.lines.load(Ordering::Relaxed), 5);
}

#[test]
fn a_thread_that_hangs_is_replaced_and_does_nothing_when_it_wakes() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut post = Post::new("hangs", &["*.log"]);
    post.settings.hang_timeout = Duration::from_secs(2);
    post.write("a.log", "1\n2\n");
    post.write("b.log", "b\n");
    let collector = post.start();
    post.await_lines(3);
    ["a.log", "b.log"].into_iter().for_each(|name| post.await_kept(name));
    let first = the_only(post.threads()).expect("one station");
    let held = Held::new(first);
    // Orders are not awaited for ever, and hold for the successor.
    let answer = collector.pause(&post.path("b.log"), true);
    assert!(matches!(answer, Err(OrderError::NoAnswer { .. })) || collector.status().restarts > 0, "{answer:?}");
    post.write("b.log", "not yet\n");
    post.write("a.log", "3\n4\n");
    let lines = post.await_lines(5);
    assert_eq!(lines[3..], ["3", "4"]);
    assert_eq!(collector.status().restarts, 1);
    let cause = collector.status().cause.unwrap_or_default();
    assert!(cause.contains("did not go round"), "{cause}");
    post.await_file(&collector, "b.log", "paused");
    post.await_kept("a.log");
    assert!(post.threads().contains(&first) && post.threads().len() == 2, "{:?}", post.threads());
    // It wakes, and finds lines that it has not sent.
    drop(held);
    eventually("the old thread ends", SOON, || the_only(post.threads()).filter(|thread| *thread != first));
    post.write("a.log", "5\n");
    assert_eq!(post.await_lines(6)[3..], ["3", "4", "5"]);
    assert_eq!(collector.stop(STOP).broken, None);
    // The places are those of the successor: the next run sends what was paused, and nothing twice.
    let collector = post.start();
    assert_eq!(post.await_lines(7)[3..], ["3", "4", "5", "not yet"]);
    collector.stop(STOP);
}

#[test]
fn a_stop_does_not_wait_for_a_thread_that_hangs() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let post = Post::new("stuck", &["*.log"]);
    post.write("a.log", "1\n");
    let collector = post.start();
    post.await_lines(1);
    post.await_kept("a.log");
    let held = Held::new(the_only(post.threads()).expect("one station"));
    let answer = collector.files();
    assert!(matches!(answer, Err(OrderError::NoAnswer { state: State::Running, .. })), "{answer:?}");
    let why = collector.stop(Duration::from_millis(100)).broken.unwrap_or_default();
    assert!(why.contains("did not end in time"), "{why}");
    drop(held);
    eventually("the thread ends", SOON, || post.threads().is_empty().then_some(()));
    // It was too late to stop in order, and its places were kept before.
    post.write("a.log", "2\n");
    let collector = post.start();
    assert_eq!(post.await_lines(2), ["1", "2"]);
    collector.stop(STOP);
}

#[test]
fn a_station_that_was_fenced_off_stays_down() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut post = Post::new("fenced", &["*.log"]);
    let positions_topic = kafka().create_topic_with("places", 1, &[("cleanup.policy", "compact")]);
    post.settings.exactly_once = Some(ExactlyOnce { transactional_id: positions_topic.clone(), positions_topic });
    post.write("a.log", "1\n");
    let first = post.start();
    post.await_lines(1);
    let second = post.start();
    eventually("the second is at work, and the first has heard of it", SOON, || {
        post.write("a.log", "more\n");
        (first.status().state == State::Fenced).then_some(())
    });
    let cause = first.status().cause.unwrap_or_default();
    assert!(cause.contains("another instance has taken the transactional id"), "{cause}");
    assert!(first.wait(Duration::ZERO).is_some_and(|outcome| outcome.is_fenced));
    let written = std::fs::read_to_string(post.path("a.log")).expect("a file").lines().count();
    assert_eq!(post.await_lines(written).len(), written);
    assert_eq!((second.status().state, second.status().restarts), (State::Running, 0));
    second.stop(STOP);
}
