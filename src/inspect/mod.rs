//! Offsets, lag and failure queues, with or without the running program: what is stored is read beside it, and Kafka
//! tells the rest.
//!
//! In: tasks of the configuration. Out: a row for each of their partitions, and where parked records are. Nothing that
//! is read is touched.

mod ends;
mod kept;
mod stored;

use std::time::{Duration, Instant};

use crate::conf::config::{Config, Deliver};
use crate::ctl::protocol::{FileRow, Offset};
use crate::flow::cluster::Cluster;
use crate::sys::thread;
pub use stored::{InspectError, Queue, Stored};

/// Longest wait for brokers, all questions together.
const BROKERS_MAX: Duration = Duration::from_secs(5);

/// What was found out.
#[derive(Debug, Default)]
pub struct Offsets {
    /// By task, topic and partition, in the order of the configuration.
    pub rows: Vec<Offset>,
    /// Why rows are missing or have gaps, a sentence each.
    pub troubles: Vec<String>,
}

/// The offsets of all tasks, of what is stored and of Kafka.
///
/// # Errors
/// What is stored cannot be read.
pub fn offsets(config: &Config) -> Result<Offsets, InspectError> {
    let stored = stored::of(&config.process.data_dir, &config.deliver)?;
    Ok(with_ends(config.deliver.iter().cloned().zip(stored).collect()))
}

/// The collected files of all tasks, by what is kept of them.
///
/// # Errors
/// What is kept cannot be read.
pub fn files(config: &Config) -> Result<Vec<FileRow>, InspectError> {
    let store = stored::ledger(&config.process.data_dir)?;
    let rows = config.collect.iter().map(|task| kept::of(task, store.as_ref()));
    rows.collect::<Result<Vec<_>, _>>().map(|rows| rows.concat())
}

/// The failure queues of a task or of all, each with the task's name.
///
/// # Errors
/// What is stored cannot be read; there is no such task.
pub fn queues(config: &Config, task: Option<&str>) -> Result<Vec<(String, Queue)>, InspectError> {
    let meant = |deliver: &&Deliver| task.is_none_or(|name| deliver.name == name);
    let tasks: Vec<Deliver> = config.deliver.iter().filter(meant).cloned().collect();
    if let Some(name) = task.filter(|_| tasks.is_empty()) {
        return Err(InspectError::NoTask(name.into()));
    }
    let stored = stored::of(&config.process.data_dir, &tasks)?;
    Ok(tasks.into_iter().zip(stored).filter_map(|(task, stored)| Some((task.name, stored.queue?))).collect())
}

/// The offsets of tasks whose places are known. It takes `BROKERS_MAX` at most, and a moment.
pub fn with_ends(tasks: Vec<(Deliver, Stored)>) -> Offsets {
    let deadline = Instant::now() + BROKERS_MAX;
    let mut clusters: Vec<(Cluster, Vec<ends::Task>)> = Vec::new();
    for (number, (task, stored)) in tasks.into_iter().enumerate() {
        let at = clusters.iter().position(|(cluster, _)| *cluster == task.cluster).unwrap_or_else(|| {
            clusters.push((task.cluster.clone(), Vec::new()));
            clusters.len() - 1
        });
        clusters[at].1.push((number, task, stored));
    }
    let (found, finding) = crossbeam_channel::bounded(clusters.len());
    for (cluster, tasks) in clusters {
        let found = found.clone();
        let ask = move || drop(found.send(ends::of(&cluster, tasks, deadline)));
        if let Err(e) = thread::spawn("ends", None, ask) {
            log::error!("cannot start a thread: {e}");
        }
    }
    drop(found);
    let mut all = Offsets::default();
    let mut rows = Vec::new();
    for (of_tasks, trouble) in finding {
        rows.extend(of_tasks);
        all.troubles.extend(trouble);
    }
    rows.sort_by_key(|(number, _)| *number);
    all.rows = rows.into_iter().flat_map(|(_, rows)| rows).collect();
    all
}
