//! Processes: one that leaves its terminal, one that does not outlive its parent, signals to others.

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::Duration;

use super::signal::Signal;
use super::socket::Wait;

/// On which side of [`detach`] the caller goes on.
pub enum Side {
    /// The process that was called. It reads what the daemon tells it, until the daemon closes its end.
    Front(PipeReader),
    Daemon(PipeWriter),
}

/// Forks twice into a session of its own: no terminal, no parent but init, and no way to get a terminal by opening one.
/// The daemon's stdin and stdout are /dev/null, its stderr is `log`; directory, umask and open files stay.
///
/// # Errors
/// The kernel's; there are other threads, which a fork would leave behind with whatever they hold.
pub fn detach(log: &File) -> io::Result<Side> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("there are threads already"));
    }
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let (reader, writer) = io::pipe()?;
    // SAFETY: there is one thread, so the child is a whole copy of this process.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: as above; _exit runs nothing of what the parent still has to run.
            unsafe {
                libc::setsid();
                match libc::fork() {
                    0 => {}
                    -1 => libc::_exit(1),
                    _ => libc::_exit(0),
                }
            }
            for (from, to) in [(&null, 0), (&null, 1), (log, 2)] {
                // SAFETY: valid descriptors for the length of the call; the standard ones are never closed.
                if unsafe { libc::dup2(from.as_raw_fd(), to) } < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(Side::Daemon(writer))
        }
        child => {
            let mut status = 0;
            // SAFETY: the pointer is valid for the call. The middle process ends at once.
            while unsafe { libc::waitpid(child, &raw mut status, 0) } < 0
                && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
            {}
            Ok(Side::Front(reader))
        }
    }
}

/// From now on this process is told to stop, as by SIGTERM, when its parent dies. False: `parent` is gone already.
pub fn stop_with_parent(parent: u32) -> bool {
    // SAFETY: the option takes a number and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
    std::os::unix::process::parent_id() == parent
}

/// Waits for the end of a child and leaves its status to be asked for: until then nobody else gets its number.
///
/// # Errors
/// It is no child of ours.
pub fn await_end(child: u32) -> io::Result<()> {
    loop {
        // SAFETY: all-zero is a valid siginfo, and the pointer is valid for the call.
        let rc = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(libc::P_PID, child, &raw mut info, libc::WEXITED | libc::WNOWAIT)
        };
        match io::Error::last_os_error() {
            _ if rc == 0 => return Ok(()),
            e if e.kind() == io::ErrorKind::Interrupted => {}
            e => return Err(e),
        }
    }
}

/// Tells another process what to do.
///
/// # Errors
/// There is none of this number, or it is another user's.
pub fn tell(pid: u32, signal: Signal) -> io::Result<()> {
    let number = match signal {
        Signal::Stop => libc::SIGTERM,
        Signal::Reload => libc::SIGHUP,
    };
    let pid = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: kill takes two numbers and touches no memory.
    if unsafe { libc::kill(pid, number) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// True while a process of this number is there with any of its threads, whether or not its end was asked for.
pub fn is_running(pid: i32) -> bool {
    // SAFETY: plain numbers; a descriptor that comes back is new and nobody else's.
    let process = unsafe {
        match libc::syscall(libc::SYS_pidfd_open, pid, 0) {
            -1 => return io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH),
            fd => OwnedFd::from_raw_fd(fd as libc::c_int),
        }
    };
    // It can be read once the last thread is gone; the first one may be long before.
    let mut wait = Wait::default();
    let at = wait.add(&process, true, false);
    wait.wait(Duration::ZERO).is_err() || !wait.is_ready(at)
}

/// Starts a process at the head of a group of its own.
///
/// # Errors
/// The kernel's.
pub fn spawn_group(command: &mut Command) -> io::Result<Child> {
    command.process_group(0).spawn()
}

/// Ends a child of [`spawn_group`] that runs, and all of its group.
pub fn kill_group(child: &mut Child) {
    // A child that was not waited for keeps its number, so that no other group has it.
    if matches!(child.try_wait(), Ok(None)) {
        // SAFETY: kill has no preconditions.
        unsafe { libc::kill(-(child.id() as i32), libc::SIGKILL) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_are_gone_are_told_from_those_that_run() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        await_end(child.id()).unwrap();
        assert_eq!((is_running(std::process::id() as i32), is_running(pid)), (true, false));
        child.wait().unwrap();
        assert!(!is_running(pid));
    }
}
