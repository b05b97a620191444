//! One run of one program: how long, how much processor time, how much memory.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Fault;

const LONGEST: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(5);
/// Memory that is made ready before each run: more than what it writes takes in the page cache.
const READY_BYTES: usize = 2 << 30;

/// The directory in which all happens; gone at the end.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new(dir: Option<&Path>) -> io::Result<Place> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("logmill-bench-");
        match dir {
            Some(dir) => builder.tempdir_in(dir),
            None => builder.tempdir(),
        }
        .map(Place)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// When a run has done its work.
pub enum Until {
    /// It ends by itself.
    Exit,
    /// This is so; then it is told to end.
    Seen(Box<dyn Fn() -> bool>),
}

#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub seconds: f64,
    /// User and system time of the process and what it waited for.
    pub cpu_s: f64,
    /// Largest resident set; for logmill its rings, which are mapped files, included.
    pub rss_bytes: u64,
    pub written_bytes: u64,
    pub records: u64,
}

impl Run {
    pub fn cpu_us(&self) -> f64 {
        self.cpu_s * 1e6 / self.records as f64
    }

    pub fn per_second(&self) -> f64 {
        self.records as f64 / self.seconds
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rate, mib) = (self.per_second() / 1e6, self.rss_bytes >> 20);
        write!(f, "{:.2} CPU-us/record, {rate:.2} M records/s, {mib} MiB", self.cpu_us())
    }
}

/// Runs a program whose output goes below `out`, from an empty directory on.
///
/// # Errors
/// It cannot be started, fails, or is not done in ten minutes.
pub fn run(command: &mut Command, out: &Path, until: &Until, records: u64) -> Result<Run, Fault> {
    // What earlier runs left to be written back is not to be paid by this one.
    // SAFETY: sync(2) takes nothing and returns nothing.
    unsafe { libc::sync() };
    make_memory_ready();
    let log = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    let begin = Instant::now();
    let child = command.spawn().map_err(|e| format!("{:?}: {e}", command.get_program()))?;
    let mut rss_bytes = 0;
    let mut seconds = None;
    while !has_ended(&child)? {
        rss_bytes = resident_most(&child).max(rss_bytes);
        if begin.elapsed() > LONGEST {
            end(&child, libc::SIGKILL);
            return Err(format!("{command:?} is not done after ten minutes: {}", last_words(log)).into());
        }
        if let (Until::Seen(is_done), None) = (until, seconds)
            && is_done()
        {
            seconds = Some(begin.elapsed().as_secs_f64());
            end(&child, libc::SIGTERM);
        }
        sleep(LOOK);
    }
    let (cpu_s, has_succeeded) = reap(&child)?;
    if let (Until::Exit, false) = (until, has_succeeded) {
        return Err(format!("{command:?} failed: {}", last_words(log)).into());
    }
    let seconds = seconds.unwrap_or(begin.elapsed().as_secs_f64());
    Ok(Run { seconds, cpu_s, rss_bytes, written_bytes: bytes_below(out), records })
}

/// A virtual machine may give its host back what memory is free, and the next one to write to it waits until the host
/// has brought it again: that costs ten times as much as the writing. So each run finds memory that was just in use.
fn make_memory_ready() {
    std::hint::black_box(vec![1_u8; READY_BYTES]);
}

/// A program that nobody measures as a whole; it does not outlive this value.
pub struct Ending(pub Child);

impl Ending {
    /// # Errors
    /// It did not end in order.
    pub fn end(mut self) -> Result<(), Fault> {
        end(&self.0, libc::SIGTERM);
        let status = self.0.wait()?;
        if status.success() { Ok(()) } else { Err(format!("it ended with {status}").into()) }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // One that has ended is gone already.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// It has, and is still to be waited for.
fn has_ended(child: &Child) -> Result<bool, Fault> {
    // SAFETY: a struct of plain numbers.
    let mut told = unsafe { std::mem::zeroed::<libc::siginfo_t>() };
    let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: our child, and a value of ours.
    if unsafe { libc::waitid(libc::P_PID, child.id(), &raw mut told, how) } != 0 {
        return Err(io::Error::last_os_error().into());
    }
    // SAFETY: waitid has filled it, or left it zero.
    Ok(unsafe { told.si_pid() } != 0)
}

/// The largest resident set so far, of what runs in the process now: what wait4 tells counts the process that it was
/// made from.
fn resident_most(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Its user and system time, and whether it has done what it was to do.
fn reap(child: &Child) -> Result<(f64, bool), Fault> {
    // SAFETY: a struct of plain numbers.
    let (mut status, mut usage) = (0, unsafe { std::mem::zeroed::<libc::rusage>() });
    // SAFETY: our child, which nobody else waits for, and two values of ours.
    let pid = unsafe { libc::wait4(child.id() as i32, &raw mut status, 0, &raw mut usage) };
    if pid < 0 {
        return Err(io::Error::last_os_error().into());
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let has_succeeded = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
    Ok((seconds(usage.ru_utime) + seconds(usage.ru_stime), has_succeeded))
}

fn end(child: &Child, signal: i32) {
    // SAFETY: our child, not yet waited for: the number is still its own.
    unsafe { libc::kill(child.id() as i32, signal) };
}

fn last_words(mut log: std::fs::File) -> String {
    use std::io::{Read, Seek};
    let mut words = String::new();
    let read = log.rewind().and_then(|()| log.read_to_string(&mut words));
    let from = words.len().saturating_sub(2000);
    read.map_or_else(|e| e.to_string(), |_| words.get(from..).unwrap_or_default().to_string())
}

/// Of all files below a directory, or of a file.
pub fn bytes_below(path: &Path) -> u64 {
    let Ok(meta) = path.metadata() else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| bytes_below(&entry.path())).sum()
}
