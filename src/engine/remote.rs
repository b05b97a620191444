//! A running engine seen from other threads: what it does, and the way to tell it something.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::Event;
use super::board::Board;
use crate::ctl::protocol::Status;
use crate::flow::cluster::Target;
use crate::flow::span::Counts;
use crate::ledger::failures::Filter;
use crate::sys::signal::Signal;

/// What the engine may be told while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Ends the run in order, as SIGTERM does.
    Stop,
    /// Reads the configuration again and applies it, all or nothing, as SIGHUP does; answered by the line of the
    /// generation, and a line for each change, or by all problems.
    Reload,
    /// This task reads nothing more. It keeps its threads and its checkpoints, and stays paused over a reload; a
    /// restart of the process resumes it.
    Pause(String),
    Resume(String),
    /// A partition goes on at another place, which is durable before anything is read there. What was skipped, or comes
    /// a second time, is the operator's affair.
    Seek {
        task: String,
        topic: String,
        partition: i32,
        to: Target,
    },
    /// Parked records through the transform again, of one task or of all. Answered at the end of it, which may be long
    /// after; the board shows how far it is.
    Retry {
        task: Option<String>,
        filter: Filter,
    },
    /// Removes parked records; the answer is their number.
    Clear {
        task: Option<String>,
        filter: Filter,
    },
}

/// What became of an order, or why it was refused; a line for the operator.
pub type Answer = Result<String, String>;

/// May be used from any thread, before, while and after the engine runs.
#[derive(Clone)]
pub struct Remote {
    events: Sender<Event>,
    board: Arc<Board>,
}

impl Remote {
    pub(super) fn new(events: Sender<Event>, board: Arc<Board>) -> Remote {
        Remote { events, board }
    }

    /// Counts of this run, of the tasks that run now.
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.board.views().iter().for_each(|view| sum.add(view.counts()));
        sum
    }

    /// What can be seen of the program; looking takes nothing from it.
    pub fn board(&self) -> &Board {
        &self.board
    }

    pub fn status(&self) -> Status {
        self.board.status()
    }

    /// Ends the run in order, as SIGTERM does.
    pub fn stop(&self) {
        // An engine that has ended already does not listen any more.
        let _ = self.events.send(Event::Signal(Signal::Stop));
    }

    /// Gives an order, and waits for what becomes of it.
    ///
    /// # Errors
    /// The order was refused; nobody answered within `patience`.
    pub fn order(&self, order: Order, patience: Duration) -> Answer {
        self.give(order, patience)?.recv_timeout(patience).map_err(|e| match e {
            RecvTimeoutError::Timeout => format!("no answer within {patience:?}; it may still be done"),
            RecvTimeoutError::Disconnected => "nothing came of it: the task or the program is ending".into(),
        })?
    }

    /// Gives an order. What becomes of it comes from the receiver, which may be dropped: the order stands.
    ///
    /// # Errors
    /// Nobody took it within `patience`.
    pub fn give(&self, order: Order, patience: Duration) -> Result<Receiver<Answer>, String> {
        let (answer, answered) = bounded(1);
        let sent = self.events.send_timeout(Event::Order(order, answer), patience);
        sent.map_err(|_| "the program is about to end".to_string())?;
        Ok(answered)
    }
}
