//! A running engine seen from other threads: what it does, and the way to tell it something.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use super::Event;
use super::board::Board;
use crate::ctl::protocol::Status;
use crate::flow::span::Counts;
use crate::sys::signal::Signal;

/// What the engine may be told while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Ends the run in order, as SIGTERM does.
    Stop,
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
        let (answer, answered) = bounded(1);
        let gone = |_| "the program is about to end".to_string();
        self.events.send_timeout(Event::Order(order, answer), patience).map_err(|e| gone(e.to_string()))?;
        answered.recv_timeout(patience).map_err(|e| gone(e.to_string()))?
    }
}
