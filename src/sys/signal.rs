//! Signals as a blocking stream of what they mean.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

/// Takes the signals over; `next` blocks its thread until one comes.
pub struct Stream {
    signals: Signals,
}

impl Stream {
    /// # Errors
    /// The kernel refuses the handlers.
    pub fn open() -> io::Result<Stream> {
        // A reader of our output that goes away is an error of that write, not the end of the process.
        // SAFETY: setting a disposition to "ignore" has no preconditions.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
        Ok(Stream { signals: Signals::new([SIGTERM, SIGINT, SIGHUP])? })
    }
}

impl Iterator for Stream {
    type Item = Signal;

    fn next(&mut self) -> Option<Signal> {
        self.signals.forever().next().map(|number| if number == SIGHUP { Signal::Reload } else { Signal::Stop })
    }
}
