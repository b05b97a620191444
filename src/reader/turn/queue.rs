//! A reader and the failure queue: parked records that are read again, and the wait while it is full.

use std::sync::atomic::Ordering;

use super::super::outlet::{LOOK, Stopped};
use super::{Desk, Event, again};

impl Desk {
    /// Waits while the failure queue is full, after handing over what came before. A retry or clear goes on meanwhile:
    /// it makes room.
    pub(super) fn wait_for_queue(&mut self) -> Result<(), Stopped> {
        self.outlet.publish()?;
        let text = format!(
            "the failure queue holds {} records, failures_max; the task waits until some are retried or cleared",
            self.outlet.shared.failures_max.load(Ordering::Relaxed)
        );
        log::error!("{}: {text}", self.settings.task);
        self.outlet.gauge.last_error.set(text);
        self.outlet.gauge.failures_full.store(true, Ordering::Relaxed);
        while self.outlet.queue_is_full() {
            self.take_live();
            if let Some(control) = self.outlet.control()? {
                self.reassign |= self.obey(control)?;
            } else if self.take_again(again::MOST)? > 0 {
                self.outlet.publish()?;
            } else {
                self.outlet.free();
                self.outlet.wait(LOOK)?;
            }
        }
        self.outlet.gauge.failures_full.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Goes on with the parked records that are read again, if any are.
    pub(super) fn take_again(&mut self, most: usize) -> Result<usize, Stopped> {
        let Some(mut again) = self.again.take() else { return Ok(0) };
        let taken = again.take(&mut self.outlet, &mut self.tools, most)?;
        if again.is_done() {
            self.outlet.publish()?;
            self.outlet.report(Event::JobDone);
        } else {
            self.again = Some(again);
        }
        Ok(taken)
    }
}
