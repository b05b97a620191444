//! A running engine seen from other threads: its counts, and the way to end it.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::Event;
use super::task::Task;
use crate::flow::span::Counts;
use crate::reader::Gauge;
use crate::sys::signal::Signal;

/// May be used from any thread, before, while and after the engine runs.
#[derive(Clone)]
pub struct Remote {
    events: Sender<Event>,
    /// Of all readers of the tasks that ran when it was asked for.
    gauges: Vec<Arc<Gauge>>,
    began: Counts,
}

impl Remote {
    pub(super) fn new<'t>(events: Sender<Event>, tasks: impl Iterator<Item = &'t Task>) -> Remote {
        let (mut began, mut gauges) = (Counts::default(), Vec::new());
        for task in tasks {
            began.add(task.flow.began);
            gauges.extend(task.readers.iter().map(|r| r.gauge.clone()));
        }
        Remote { events, gauges, began }
    }

    /// Counts of this run: what is counted is in the redo rings, and will be in the files whatever happens.
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.gauges.iter().for_each(|g| sum.add(g.counts()));
        sum.since(self.began)
    }

    /// Ends the run in order, as SIGTERM does.
    pub fn stop(&self) {
        // An engine that has ended already does not listen any more.
        let _ = self.events.send(Event::Signal(Signal::Stop));
    }
}
