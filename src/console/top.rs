//! `top`: the status on the whole screen, once a second, until somebody has seen enough.

use std::time::{Duration, Instant};

use super::fault::Fault;
use super::show;
use crate::ctl::protocol::Status;
use crate::sys::terminal::{Happened, Screen};

const EVERY: Duration = Duration::from_secs(1);
const CTRL_C: u8 = 3;

/// # Errors
/// There is no terminal; at first also what `ask` says. Later that is shown, and it is asked again.
pub fn run(ask: impl Fn() -> Result<Status, Fault>) -> Result<(), Fault> {
    let mut shown = ask()?;
    let mut asked = Instant::now();
    let mut text = show::status(&shown, None);
    let mut screen = Screen::enter().map_err(|e| Fault::Failed(format!("{e}; use status --watch")))?;
    loop {
        screen.show(text.lines())?;
        match screen.wait(EVERY.saturating_sub(asked.elapsed())) {
            Happened::Key(b'q' | CTRL_C) | Happened::End => return Ok(()),
            Happened::Key(_) | Happened::Resized => continue,
            Happened::Nothing => {}
        }
        let now = Instant::now();
        match ask() {
            Ok(status) => {
                text = show::status(&status, Some((&shown, (now - asked).as_secs_f64())));
                shown = status;
            }
            Err(fault) => text = format!("{fault}\n\nasked again every second; q ends this\n"),
        }
        asked = now;
    }
}
