//! The clerk: what the running program answers at its door. A request comes in; gauges are looked at, or the engine
//! gets an order; the answer goes out. The data road notices nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;

use crate::conf::config::Process;
use crate::ctl::protocol::{Job, Reply, Request, Stopping};
use crate::ctl::server::{Answers, Door, DoorError, Settings};
use crate::engine::{CollectView, Order, Remote, View};
use crate::inspect::{self, Stored};
use crate::sys::socket;

/// Longest wait for what becomes of an order.
const ORDER_MAX: Duration = Duration::from_secs(9);
/// The same for a retry, which is not worth waiting for once it takes long.
const JOB_MAX: Duration = Duration::from_secs(1);

/// Why nobody can ask.
#[derive(Debug, thiserror::Error)]
pub enum ClerkError {
    #[error("control_users: there is no user {0}; write the name of one, or a number")]
    NoUser(String),
    #[error(transparent)]
    Door(#[from] DoorError),
}

/// Opens the door of the running program; it is closed when that is dropped.
///
/// # Errors
/// The socket cannot be had, or a user is not known.
pub fn open(process: &Process, remote: Remote) -> Result<Door, ClerkError> {
    let uid = |user: &String| socket::uid_of(user).ok_or_else(|| ClerkError::NoUser(user.clone()));
    let mut users = process.control_users.iter().map(uid).collect::<Result<Vec<_>, _>>()?;
    if users.is_empty() {
        users = vec![0, socket::own_uid()];
    }
    let stop_timeout_s = process.stop_timeout.as_secs();
    let answers: Answers = Arc::new(move |request| answer(&remote, request, stop_timeout_s));
    Ok(Door::open(Settings { socket: process.socket.clone(), users }, answers)?)
}

fn answer(remote: &Remote, request: Request, stop_timeout_s: u64) -> Reply {
    let views = || remote.board().views();
    match request {
        Request::Status => Reply::ok(&remote.status()),
        Request::Lag => match views().iter().map(|view| view.lag()).sum::<Option<u64>>() {
            Some(lag) => Reply::ok(&lag),
            None => Reply::Error("not all partitions have been fetched from yet; try again".into()),
        },
        Request::Offsets => {
            let tasks = views().iter().map(|view| ((*view.deliver).clone(), stored(view))).collect();
            Reply::ok(&inspect::with_ends(tasks).rows)
        }
        Request::FailuresCount => {
            let counts =
                views().into_iter().map(|view| view.shared.failures.load(std::sync::atomic::Ordering::Relaxed));
            Reply::ok(&counts.sum::<u64>())
        }
        Request::Stop => match remote.order(Order::Stop, ORDER_MAX) {
            Ok(_) => Reply::ok(&Stopping { pid: std::process::id() as i32, stop_timeout_s }),
            Err(what) => Reply::Error(what),
        },
        Request::Tap { task, filter } => match views().iter().find(|view| view.name == task) {
            Some(view) => view.shared.tap.take(filter.as_deref()).map_or_else(Reply::Error, |all| Reply::ok(&all)),
            None => Reply::Error(format!("no task {task} runs; status shows those that do")),
        },
        Request::Reload => told(remote, Order::Reload),
        Request::Pause { task, file: None } => told(remote, Order::Pause(task)),
        Request::Resume { task, file: None } => told(remote, Order::Resume(task)),
        Request::Pause { task, file: Some(file) } => pause_file(remote, &task, &file, true),
        Request::Resume { task, file: Some(file) } => pause_file(remote, &task, &file, false),
        Request::SeekFile { task, file, at } => match collect(remote, &task) {
            Ok(view) => match view.collector.seek(&file, at) {
                Ok(()) => Reply::ok(&format!("{} goes on at byte {at}", file.display())),
                Err(why) => Reply::Error(format!("{}: {why}", file.display())),
            },
            Err(why) => Reply::Error(why),
        },
        Request::Files => {
            let collects = remote.board().collects();
            let files = |view: &Arc<CollectView>| view.files().map_err(|why| format!("{}: {why}", view.name()));
            match collects.iter().map(files).collect::<Result<Vec<_>, _>>() {
                Ok(rows) => Reply::ok(&rows.concat()),
                Err(why) => Reply::Error(why),
            }
        }
        Request::Seek { task, topic, partition, to } => told(remote, Order::Seek { task, topic, partition, to }),
        Request::FailuresClear { task, filter } => job(remote, Order::Clear { task, filter }, ORDER_MAX),
        Request::FailuresRetry { task, filter } => job(remote, Order::Retry { task, filter }, JOB_MAX),
    }
}

fn collect(remote: &Remote, task: &str) -> Result<Arc<CollectView>, String> {
    let collects = remote.board().collects();
    let found = collects.into_iter().find(|view| view.name() == task);
    found.ok_or_else(|| format!("no task {task} collects files; status shows those that do"))
}

fn pause_file(remote: &Remote, task: &str, file: &Path, paused: bool) -> Reply {
    let state = if paused { "is paused: it is not read until it is resumed" } else { "is read" };
    match collect(remote, task).map(|view| view.collector.pause(file, paused)) {
        Ok(Ok(())) => Reply::ok(&format!("{} {state}", file.display())),
        Ok(Err(why)) => Reply::Error(format!("{}: {why}", file.display())),
        Err(why) => Reply::Error(why),
    }
}

fn told(remote: &Remote, order: Order) -> Reply {
    remote.order(order, ORDER_MAX).map_or_else(Reply::Error, |text| Reply::ok(&text))
}

/// What may take long: it goes on behind an answer that says so.
fn job(remote: &Remote, order: Order, patience: Duration) -> Reply {
    let answered = match remote.give(order, patience) {
        Ok(answered) => answered,
        Err(what) => return Reply::Error(what),
    };
    match answered.recv_timeout(patience) {
        Ok(Ok(text)) => Reply::ok(&Job::Done(text)),
        Ok(Err(what)) => Reply::Error(what),
        Err(RecvTimeoutError::Timeout) => Reply::ok(&Job::Running),
        Err(RecvTimeoutError::Disconnected) => Reply::Error("nothing came of it: the program is ending".into()),
    }
}

/// Where a running task stands, as it was a second ago at most.
fn stored(view: &View) -> Stored {
    let topics = &view.topics;
    let name = |topic: u16| topics.get(usize::from(topic)).cloned().unwrap_or_default();
    let next = view.standings().into_iter().map(|s| ((name(s.topic), s.partition), s.next));
    Stored { next: next.collect(), topics: topics.clone(), queue: None }
}
