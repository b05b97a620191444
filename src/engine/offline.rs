//! An order for the failure queues while the program does not run: a program that carries it out and ends.

use std::time::Duration;

use crossbeam_channel::bounded;

use super::{Answer, Engine, Load, Mode, Order};
use crate::conf::Loaded;
use crate::sys::thread;

/// Longest wait; somebody who stops it sooner finds the rest done at the next start.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Carries out one order. Nothing is read from Kafka, and no broker needs to be there.
///
/// # Errors
/// The program runs after all, its state cannot be restored, or the order is refused.
pub fn order_offline(loaded: Loaded, load: Load, order: Order) -> Answer {
    let engine =
        Engine::start(loaded, load, Mode { queue_only: true, ..Mode::default() }).map_err(|e| e.to_string())?;
    let remote = engine.remote();
    let (told, hears) = bounded(1);
    let ask = move || {
        let _ = told.send(remote.order(order, PATIENCE));
        remote.stop();
    };
    thread::spawn("order", None, ask).map_err(|e| format!("cannot start a thread: {e}"))?;
    engine.run().map_err(|e| e.to_string())?;
    hears.recv().map_err(|_| "nobody answered".to_string())?
}
