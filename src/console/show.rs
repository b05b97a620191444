//! A status as text for people.

use std::fmt::Write;

use indicatif::{ProgressBar, ProgressStyle};

use crate::ctl::protocol::{CollectState, CollectStatus, FileStatus, Status, TaskState, TaskStatus, ThreadStatus};
use crate::flow::clock;

/// The whole status. With the one that was shown before and the seconds between them, processor times become loads.
pub fn status(status: &Status, before: Option<(&Status, f64)>) -> String {
    let mut text = String::new();
    let Status { version, pid, generation, uptime_s, rss_bytes, tasks, collect } = status;
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "logmill {version}, process {pid}, up {}, generation {generation}, memory {}",
        time(*uptime_s),
        bytes(*rss_bytes)
    );
    for task in tasks {
        text.push('\n');
        let _ = self::task(&mut text, task, before);
    }
    for task in collect {
        text.push('\n');
        let _ = self::collect(&mut text, task);
    }
    if tasks.is_empty() && collect.is_empty() {
        text += "\nno task runs yet\n";
    }
    text
}

fn task(text: &mut String, task: &TaskStatus, before: Option<(&Status, f64)>) -> std::fmt::Result {
    let state = match task.state {
        TaskState::Running => "running",
        TaskState::Blocked => "BLOCKED",
        TaskState::Paused => "paused",
    };
    let lag = match (task.lag, task.catch_up_s) {
        (None, _) => "lag not known yet".into(),
        (Some(0), _) => "lag 0".into(),
        (Some(lag), Some(s)) => format!("lag {}, caught up in {}", number(lag), time(s)),
        (Some(lag), None) => format!("lag {}, which does not shrink", number(lag)),
    };
    let newest = task.newest_ms.map_or_else(String::new, |ms| format!(", newest {} UTC", at(ms)));
    writeln!(text, "{}: {state}, {} records/s, {lag}{newest}", task.name, number(task.rate.round() as u64))?;
    let counts = task.counts;
    let reason = task.client_reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    writeln!(
        text,
        "  done {} = written {} + filtered {} + parked {}, failure queue {}, restarts {}, fetch {}{reason}",
        number(counts.consumed),
        number(counts.written),
        number(counts.filtered),
        number(counts.parked),
        number(task.queue.failures),
        task.restarts,
        task.client.name()
    )?;
    if !task.stopped.is_empty() {
        writeln!(text, "  NOT READ: {}", task.stopped.join(", "))?;
    }
    writeln!(text, "  {:<16} {:>4} {:>9} {:>5}", "thread", "core", "cpu", "fill")?;
    for thread in &task.threads {
        let core = thread.core.map_or_else(|| "-".into(), |core| core.to_string());
        let cpu = cpu(task, thread, before);
        let state = if thread.blocked { "  waits" } else { "" };
        writeln!(text, "  {:<16} {core:>4} {cpu:>9} {:>4}%{state}", thread.name, thread.fill)?;
    }
    for FileStatus { thread, name, bytes: length } in &task.files {
        writeln!(text, "  {thread:<16} {:>10}  {name}", bytes(*length))?;
    }
    if task.files_open > task.files.len() {
        writeln!(text, "  and {} files more", task.files_open - task.files.len())?;
    }
    match &task.last_error {
        Some(error) => writeln!(text, "  last error: {error}"),
        None => Ok(()),
    }
}

fn collect(text: &mut String, task: &CollectStatus) -> std::fmt::Result {
    let state = match task.state {
        CollectState::Running => "running",
        CollectState::Paused => "paused",
        CollectState::Restarting => "RESTARTING",
        CollectState::Hung => "HUNG",
        CollectState::Fenced => "FENCED",
        CollectState::Ended => "ended",
    };
    let behind = match (task.behind_bytes, task.catch_up_s) {
        (0, _) => "nothing left".into(),
        (behind, Some(s)) => format!("{} left, caught up in {}", bytes(behind), time(s)),
        (behind, None) => format!("{} left, which does not shrink", bytes(behind)),
    };
    writeln!(text, "{}: {state}, {} lines/s, {behind}", task.name, number(task.rate.round() as u64))?;
    writeln!(
        text,
        "  sent {} lines, {}, sent again {}, files {}, not followed {}, restarts {}, cpu {:.1} s",
        number(task.lines),
        bytes(task.bytes),
        number(task.sent_again),
        number(task.files),
        number(task.refused),
        task.restarts,
        task.cpu_ms as f64 / 1000.0
    )?;
    task.list.iter().try_for_each(|why| writeln!(text, "  LIST: {why}"))?;
    task.last_error.iter().try_for_each(|error| writeln!(text, "  last error: {error}"))
}

/// A part of a core between two statuses, else the time since the thread started.
fn cpu(task: &TaskStatus, thread: &ThreadStatus, before: Option<(&Status, f64)>) -> String {
    let earlier = before.and_then(|(status, seconds)| {
        let task = status.tasks.iter().find(|t| t.name == task.name)?;
        Some((task.threads.iter().find(|t| t.name == thread.name)?.cpu_ms, seconds))
    });
    match earlier {
        Some((cpu_ms, seconds)) if seconds > 0.0 => {
            format!("{:.0} %", thread.cpu_ms.saturating_sub(cpu_ms) as f64 / 10.0 / seconds)
        }
        _ => format!("{:.1} s", thread.cpu_ms as f64 / 1000.0),
    }
}

/// A spinner on a terminal's stderr, for what takes longer than a moment.
pub fn waiting(what: String) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}, {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}

/// 1,234,567
fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size.
pub fn bytes(n: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let step = (n.max(1).ilog2() / 10).min(4) as usize;
    if step == 0 {
        format!("{n} B")
    } else {
        format!("{:.1} {}", n as f64 / f64::from(1_u32 << 10).powi(step as i32), units[step])
    }
}

/// A stretch of seconds.
pub fn time(s: u64) -> String {
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

fn at(ms: i64) -> String {
    let seconds = ms - ms.rem_euclid(1000);
    clock::civil(seconds, 0).to_string().replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::protocol::QueueStatus;
    use crate::flow::cluster::Client;
    use crate::flow::span::Counts;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1_023, 1_024, 5 << 20, 3 << 40].map(bytes), ["0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 TiB"]);
        assert_eq!([59, 61, 7_260, 90_000].map(time), ["59 s", "1 min 1 s", "2 h 1 min", "1 d 1 h"]);
        assert_eq!(at(1_608_184_360_123), "2020-12-17 05:52:40");
    }

    fn web() -> CollectStatus {
        CollectStatus {
            name: "web".into(),
            state: CollectState::Running,
            lines: 1_000,
            bytes: 2_048,
            sent_again: 0,
            rate: 10.2,
            files: 3,
            refused: 1,
            behind_bytes: 1_536,
            catch_up_s: Some(2),
            restarts: 1,
            cpu_ms: 1_500,
            list: Some("etcd is away".into()),
            last_error: Some("panic: no".into()),
        }
    }

    #[test]
    fn a_status_names_task_threads_files_and_errors() {
        let thread = |name: &str, cpu_ms, blocked| ThreadStatus {
            name: name.into(),
            blocked,
            core: Some(1),
            cpu_ms,
            fill: 12,
            last_error: None,
        };
        let of = |cpu_ms| Status {
            version: "1".into(),
            pid: 7,
            generation: 2,
            uptime_s: 61,
            rss_bytes: 5 << 20,
            tasks: vec![TaskStatus {
                name: "game".into(),
                state: TaskState::Blocked,
                client: Client::Librdkafka,
                client_reason: Some("old".into()),
                counts: Counts { consumed: 1_234, written: 1_000, filtered: 230, parked: 4 },
                queue: QueueStatus { failures: 9, running: false, goal: 0, done: 0, counts: Counts::default() },
                rate: 99.6,
                lag: Some(1_000),
                catch_up_s: Some(10),
                newest_ms: Some(1_608_184_360_123),
                restarts: 1,
                last_error: Some("no space".into()),
                threads: vec![thread("r0-game", cpu_ms, false), thread("w0-game", 0, true)],
                files: vec![FileStatus { thread: "w0-game".into(), name: "log_1".into(), bytes: 1_536 }],
                files_open: 2,
                stopped: vec!["t/3".into()],
            }],
            collect: vec![web()],
        };
        let wanted = "\
logmill 1, process 7, up 1 min 1 s, generation 2, memory 5.0 MiB

game: BLOCKED, 100 records/s, lag 1,000, caught up in 10 s, newest 2020-12-17 05:52:40 UTC
  done 1,234 = written 1,000 + filtered 230 + parked 4, failure queue 9, restarts 1, fetch librdkafka (old)
  NOT READ: t/3
  thread           core       cpu  fill
  r0-game             1      50 %   12%
  w0-game             1       0 %   12%  waits
  w0-game             1.5 KiB  log_1
  and 1 files more
  last error: no space

web: running, 10 lines/s, 1.5 KiB left, caught up in 2 s
  sent 1,000 lines, 2.0 KiB, sent again 0, files 3, not followed 1, restarts 1, cpu 1.5 s
  LIST: etcd is away
  last error: panic: no
";
        assert_eq!(status(&of(1_500), Some((&of(500), 2.0))), wanted);
        assert!(status(&of(1_500), None).contains("r0-game             1     1.5 s   12%"));
    }
}
