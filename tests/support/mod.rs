//! What the integration tests stand on: a real broker, the real program, a tailer that only reads forward, and a
//! checker that knows which line has to be where.
#![allow(dead_code, unused_imports)] // No test binary uses all of it.

mod broker;
mod checker;
mod consume;
mod control;
mod dice;
mod disks;
mod etcd;
mod mock;
mod parts;
mod place;
mod produce;
mod program;
mod proxy;
mod records;
mod spoil;
mod tailer;
mod told;
mod web;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub use broker::{Kafka, cluster, tool};
pub use checker::{Checker, Order, Verdict, mark};
pub use control::Said;
pub use dice::Dice;
pub use disks::{LoopDisk, Tmpfs};
pub use etcd::{EtcdServer, free_port};
pub use mock::Mock;
pub use parts::{Part, left_out};
pub use place::Place;
pub use produce::{Codec, OpenTransaction, Record, TransactionEnd};
pub use program::{Running, Site};
pub use proxy::{Line, Proxy};
pub use records::{Fate, Made, Mix, write_settings};
pub use spoil::{Rot, Spoiled};
pub use tailer::{Finding, Seen, Tailer};
pub use told::{Sums, Told};
pub use web::{Answer, Web};

/// Longest wait for what takes a moment, on a loaded machine too, and where brokers are asked first.
pub const SOON: Duration = Duration::from_secs(180);

/// The one broker of a test binary; it stays up until the binary has ended.
pub fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| Kafka::start(1))
}

/// How much of it: as many as the environment's variable says, or `default`, which is the short version.
pub fn times(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |n| n.parse().unwrap_or_else(|e| panic!("{variable}={n}: {e}")))
}

/// Records of which each becomes a line.
pub fn written(seed: u64, partitions: i32, count: usize) -> Vec<Made> {
    Mix::new(seed, partitions).only_written().take(count).collect()
}

/// A checker that expects what has to become of these.
pub fn expecting<'m>(made: impl IntoIterator<Item = &'m Made>) -> Checker {
    let mut checker = Checker::new();
    made.into_iter().for_each(|m| checker.expect_made(m));
    checker
}

/// Asks `ready` every few milliseconds until it gives something; panics with `what` when `deadline` has passed.
pub fn eventually<T>(what: &str, deadline: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(start.elapsed() < deadline, "not within {deadline:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends `signal` (as in `libc::SIGSTOP`) to process `pid`, or to the process group `-pid`; false when there is none.
/// After SIGSTOP it returns when every thread of the process stands still, which can take a while on a busy machine.
pub fn signal(pid: i32, signal: i32) -> bool {
    // SAFETY: kill(2) takes two integers and touches no memory of ours.
    let sent = unsafe { libc::kill(pid, signal) == 0 };
    if sent && signal == libc::SIGSTOP {
        eventually("every thread of the stopped process stands still", SOON, || stands_still(pid).then_some(()));
    }
    sent
}

fn stands_still(pid: i32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.map(|thread| thread.path().join("status")).all(|status| {
        // A thread that ended meanwhile has none.
        std::fs::read_to_string(status).map_or(true, |text| text.contains("State:\tT"))
    })
}
