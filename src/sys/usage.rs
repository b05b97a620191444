//! What this process and its threads take, as the kernel counts it.

use std::{fs, io};

/// One thread of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadTimes {
    /// As the kernel keeps it.
    pub name: String,
    /// The core it ran on last.
    pub core: u32,
    /// Processor time since it started.
    pub cpu_ms: u64,
}

/// The threads of this process, oldest first; none where /proc is not mounted.
pub fn threads() -> Vec<ThreadTimes> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let mut ids: Vec<u32> = tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok()).collect();
    ids.sort_unstable();
    let read = |id: u32| times_of(&fs::read_to_string(format!("/proc/self/task/{id}/stat")).ok()?);
    ids.into_iter().filter_map(read).collect()
}

/// `1 (a name) S …`: the name may hold anything, blanks and brackets too.
fn times_of(stat: &str) -> Option<ThreadTimes> {
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_string();
    // What follows is counted from field 3 on (proc_pid_stat(5)).
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let ticks = number(14)? + number(15)?;
    Some(ThreadTimes { name, core: number(39)? as u32, cpu_ms: ticks * 1000 / ticks_per_second() })
}

/// This process as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// Processor time since it started, of ended threads too.
    pub cpu_ms: u64,
    /// Seconds since the epoch.
    pub started_s: f64,
    pub open_files: u64,
    pub open_files_max: u64,
}

/// # Errors
/// /proc is not mounted, or reads differently.
pub fn process() -> io::Result<Process> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let started = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(22 - 3)?.parse::<u64>().ok());
    let machine = fs::read_to_string("/proc/stat")?;
    let booted = machine.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
    let (Some(times), Some(started), Some(booted)) = (times_of(&stat), started, booted) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    Ok(Process {
        cpu_ms: times.cpu_ms,
        started_s: booted + started as f64 / ticks_per_second() as f64,
        open_files: fs::read_dir("/proc/self/fd")?.count().saturating_sub(1) as u64,
        open_files_max: super::file::open_files_max() as u64,
    })
}

fn ticks_per_second() -> u64 {
    // SAFETY: a plain number in, a plain number out.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).map_or(100, |ticks| ticks.max(1))
}

/// Resident memory of this process in bytes; 0 where /proc is not mounted.
pub fn resident_bytes() -> u64 {
    // SAFETY: a plain number in, a plain number out.
    let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(0);
    let pages = fs::read_to_string("/proc/self/statm").ok().and_then(|text| text.split(' ').nth(1)?.parse().ok());
    pages.unwrap_or(0) * page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_and_blanks_are_whole() {
        let stat = format!("7 (a (b) c) S {} 30 12 {} 5 0", "0 ".repeat(10), "0 ".repeat(23));
        let found = times_of(&stat).unwrap();
        assert_eq!((found.name.as_str(), found.core), ("a (b) c", 5));
        assert_eq!(found.cpu_ms, 42 * 1000 / ticks_per_second());
        assert_eq!(times_of("7 (a"), None);
    }

    #[test]
    fn this_process_has_threads_and_memory() {
        assert!(!threads().is_empty() && resident_bytes() > 1 << 20);
        let process = process().unwrap();
        assert!(process.open_files > 2 && process.open_files_max >= process.open_files && process.started_s > 1.7e9);
    }
}
