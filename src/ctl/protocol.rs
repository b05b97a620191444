//! The words that pass the door: what may be asked, and the state of the program as both sides name it.

use serde::{Deserialize, Serialize};

use crate::flow::span::Counts;

/// What the running program is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Status,
    Stop,
}

/// The program at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    /// Rises with every configuration that was accepted; 1 at start.
    pub generation: u64,
    pub tasks: Vec<TaskStatus>,
}

/// A task at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskStatus {
    pub name: String,
    /// It reads nothing, by order.
    pub paused: bool,
    /// Of this run.
    pub counts: Counts,
    pub queue: QueueStatus,
    pub threads: Vec<ThreadStatus>,
}

/// A failure queue at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Records in it.
    pub failures: u64,
    /// A retry or clear is under way; what follows is of this one, else of the last one.
    pub running: bool,
    /// Parked records that it has to come by.
    pub goal: u64,
    /// Those that it has come by.
    pub done: u64,
    /// What became of those that it was asked for; cleared ones are filtered.
    pub counts: Counts,
}

/// A thread at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThreadStatus {
    /// As the kernel shows it.
    pub name: String,
    /// It waits: a reader for room in its ring, a writer for its disk.
    pub blocked: bool,
    pub last_error: Option<String>,
}
