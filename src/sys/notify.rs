//! What a service manager hears of this process, in systemd's words (sd_notify): datagrams to the socket that
//! `NOTIFY_SOCKET` names. Without that variable nobody listens, and nothing is said.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// Says that the start is done.
pub fn ready() {
    say("READY=1");
}

/// Says that the end begins, and how long it may take.
pub fn stopping(longest: Duration) {
    say(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", longest.as_micros()));
}

/// Who does not hear is not waited for: the manager's own time-out stands behind it.
fn say(words: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let address = match name.as_bytes() {
        [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name),
        _ => SocketAddr::from_pathname(&name),
    };
    let sent = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.send_to_addr(words.as_bytes(), &address?)
    });
    if let Err(error) = sent {
        log::debug!("NOTIFY_SOCKET {}: {error}", name.display());
    }
}

/// The sign of life that a service manager asked for (`WATCHDOG_USEC`): given by the loop whose standstill would be the
/// program's.
pub struct Beat {
    /// `None`: nobody asked.
    interval: Option<Duration>,
    last: Instant,
}

impl Beat {
    /// Half of the time that the manager would wait, so that one beat may be late.
    pub fn from_environment() -> Beat {
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_mine = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let wait = number("WATCHDOG_USEC").filter(|us| *us > 0 && is_mine);
        Beat { interval: wait.map(|us| Duration::from_micros(us / 2)), last: Instant::now() }
    }

    /// To be called more often than the manager waits.
    pub fn tick(&mut self, now: Instant) {
        if self.interval.is_some_and(|interval| now.duration_since(self.last) >= interval) {
            self.last = now;
            say("WATCHDOG=1");
        }
    }
}
