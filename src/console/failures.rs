//! `failures`: parked records, counted and listed where they are, retried and cleared by the running program.

use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::fault::Fault;
use super::place::Place;
use super::{ask, integer, json as write_json, repeat, show};
use crate::cli::millctl::{Failures, Which};
use crate::conf;
use crate::ctl::client::AskError;
use crate::ctl::protocol::{Job, QueueStatus, Request, Status};
use crate::engine::{self, Order};
use crate::flow::clock;
use crate::flow::span::Counts;
use crate::inspect;
use crate::ledger::failures::Failure;
use crate::ledger::queue;
use crate::sys::thread;

/// How often a job that goes on is asked after.
const LOOK: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(100);

pub fn run(place: &Place, failures: Failures, out: &mut impl Write) -> Result<(), Fault> {
    match failures {
        Failures::Count(reading) => repeat(&reading, out, |out| integer(out, count(place))),
        Failures::List { filter, reading } => repeat(&reading, out, |out| {
            list(place, &filter, out, &|out, task, failure| {
                if reading.json {
                    write_json(out, &members(task, failure))
                } else {
                    Ok(writeln!(out, "{}", line(failure))?)
                }
            })
        }),
        Failures::Show { filter, reading } => repeat(&reading, out, |out| {
            list(place, &filter, out, &|out, task, failure| {
                let payload = String::from_utf8_lossy(&failure.payload);
                if reading.json {
                    let mut members = members(task, failure);
                    members["payload"] = payload.into();
                    return write_json(out, &members);
                }
                let cut = if failure.is_cut() { " (cut: all of it is in Kafka)" } else { "" };
                Ok(writeln!(out, "{}\n  {}{cut}\n{payload}\n", line(failure), failure.detail)?)
            })
        }),
        Failures::Retry(which) => {
            let (task, filter) = which.filter();
            let request = Request::FailuresRetry { task: task.clone(), filter: filter.clone() };
            let order = Order::Retry { task: task.clone(), filter };
            let told = order_job(place, task.as_deref(), &request, order, |counts| {
                let Counts { consumed, written, filtered, parked } = counts;
                format!("{consumed} retried: {written} lines, {filtered} filtered, {parked} parked again")
            })?;
            Ok(writeln!(out, "{told}")?)
        }
        Failures::Clear(which) => integer(out, clear(place, which)),
    }
}

fn count(place: &Place) -> Result<i64, Fault> {
    match place.config()? {
        Some(config) => Ok(inspect::queues(&config, None)?.iter().map(|(_, queue)| queue.records as i64).sum()),
        None => ask(place, &Request::FailuresCount),
    }
}

/// Removes parked records; their number.
pub fn clear(place: &Place, which: Which) -> Result<i64, Fault> {
    let (task, filter) = which.filter();
    let request = Request::FailuresClear { task: task.clone(), filter: filter.clone() };
    let order = Order::Clear { task: task.clone(), filter };
    let told = order_job(place, task.as_deref(), &request, order, |counts| counts.consumed.to_string())?;
    told.parse().map_err(|_| Fault::Failed(told))
}

/// By the running program; where there is none, and its configuration is known, by one that does this alone.
fn order_job(
    place: &Place,
    task: Option<&str>,
    request: &Request,
    order: Order,
    told: impl Fn(Counts) -> String,
) -> Result<String, Fault> {
    match ask(place, request) {
        Ok(job) => end_of(place, task, job, told),
        Err(fault @ Fault::Ask(AskError::NotRunning { .. })) => {
            let Some(load) = place.load() else { return Err(fault) };
            if count(place)? == 0 {
                return Ok(told(Counts::default()));
            }
            let loaded = load().map_err(|problems| Fault::Failed(conf::explain(&problems)))?;
            // A half-done batch must not look like an orderly end.
            thread::abort_on_panic();
            let bar = show::waiting("logmill does not run: done here".into());
            bar.enable_steady_tick(TICK);
            let answer = engine::order_offline(loaded, load, order);
            bar.finish_and_clear();
            answer.map_err(Fault::Failed)
        }
        Err(fault) => Err(fault),
    }
}

/// What became of a job; one that goes on shows how far it is.
fn end_of(place: &Place, task: Option<&str>, job: Job, told: impl Fn(Counts) -> String) -> Result<String, Fault> {
    if let Job::Done(text) = job {
        return Ok(text);
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} records  {per_sec}  {eta} left") {
        bar.set_style(style);
    }
    loop {
        let status: Status = ask(place, &Request::Status)?;
        let meant = status.tasks.iter().filter(|status| task.is_none_or(|name| status.name == name));
        let (mut running, mut goal, mut done, mut sum) = (false, 0, 0, Counts::default());
        for QueueStatus { running: runs, goal: of_task, done: there, counts, .. } in meant.map(|status| status.queue) {
            running |= runs;
            goal += of_task;
            done += there;
            sum.add(counts);
        }
        bar.set_length(goal);
        bar.set_position(done);
        if !running {
            bar.finish_and_clear();
            return Ok(told(sum));
        }
        sleep(LOOK);
    }
}

type Print<'p, W> = &'p dyn Fn(&mut W, &str, &Failure) -> Result<(), Fault>;

/// Each of them in turn: one is in memory at a time.
fn list<W: Write>(place: &Place, which: &Which, out: &mut W, print: Print<'_, W>) -> Result<(), Fault> {
    let needed =
        || Fault::Failed("parked records are read where they are: name the configuration with --config".into());
    let config = place.config()?.ok_or_else(needed)?;
    let (task, filter) = which.clone().filter();
    filter.check().map_err(Fault::Failed)?;
    for (name, found) in inspect::queues(&config, task.as_deref())? {
        for failure in queue::list(&found.dir, found.next, filter.clone()) {
            let failure = failure.map_err(|e| Fault::Failed(format!("{}: {e}", found.dir.display())))?;
            print(out, &name, &failure)?;
        }
    }
    Ok(())
}

/// Reason, place, size, age.
fn line(failure: &Failure) -> String {
    let Failure { code, topic, partition, offset, k, bytes, parked_ms, attempts, .. } = failure;
    let number = if *k == 0 { String::new() } else { format!("/{k}") };
    let size = u64::try_from(*bytes).map_or_else(|_| "no value".into(), show::bytes);
    let age = show::time(clock::now_ms().saturating_sub(*parked_ms).max(0) as u64 / 1000);
    let attempts = if *attempts > 1 { format!("  {attempts} attempts") } else { String::new() };
    format!("{code:<16} {topic}/{partition}/{offset}{number}  {size}  {age}{attempts}")
}

fn members(task: &str, failure: &Failure) -> serde_json::Value {
    let Failure { code, detail, topic, partition, offset, k, timestamp_ms, parked_ms, attempts, bytes, .. } = failure;
    json!({
        "task": task, "code": code, "detail": detail, "topic": topic, "partition": partition, "offset": offset, "k": k,
        "timestamp_ms": timestamp_ms, "parked_ms": parked_ms, "attempts": attempts, "bytes": bytes,
    })
}
