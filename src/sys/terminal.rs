//! The whole screen of a terminal, lent for a while: keys come without being shown, and everything is as it was when
//! the loan ends, however it ends.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::socket::Wait;

/// Other screen, no cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// Columns and lines of a terminal that does not tell them.
const SIZE: (usize, usize) = (80, 24);
/// How often the size and the signals are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// Nothing, in all the time.
    Nothing,
    Key(u8),
    Resized,
    /// A signal wants the process to end, or nobody is at the keyboard any more.
    End,
}

/// The screen, until it is dropped.
pub struct Screen {
    before: libc::termios,
    end: Arc<AtomicBool>,
    size: (usize, usize),
}

impl Screen {
    /// # Errors
    /// Input or output is no terminal.
    pub fn enter() -> io::Result<Screen> {
        let input = io::stdin();
        if !input.is_terminal() || !io::stdout().is_terminal() {
            return Err(io::Error::other("this needs a terminal"));
        }
        // SAFETY: all-zero is a valid termios; an open descriptor, and a place for the answer.
        let before = unsafe {
            let mut before: libc::termios = std::mem::zeroed();
            if libc::tcgetattr(input.as_raw_fd(), &raw mut before) != 0 {
                return Err(io::Error::last_os_error());
            }
            before
        };
        let end = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, end.clone())?;
        }
        let screen = Screen { before, end, size: size() };
        let mut quiet = before;
        // Ctrl-C comes as a key: nothing ends the process behind our back, and Ctrl-Z does not stop it half-drawn.
        quiet.c_lflag &= !(libc::ICANON | libc::ECHO | libc::ISIG);
        set(&quiet)?;
        put(ENTER)?;
        Ok(screen)
    }

    /// Columns and lines.
    pub fn size(&self) -> (usize, usize) {
        self.size
    }

    /// Shows these lines from the top, cut to the screen; what stood there is written over, never wiped first.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn show<'l>(&self, lines: impl Iterator<Item = &'l str>) -> io::Result<()> {
        let (columns, rows) = self.size;
        let mut frame = String::from("\x1b[H");
        for (row, line) in lines.take(rows).enumerate() {
            frame += if row > 0 { "\r\n" } else { "" };
            frame.extend(line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(columns));
            frame += "\x1b[K";
        }
        put(&(frame + "\x1b[J"))
    }

    /// Waits until something happens, for `time` at most.
    pub fn wait(&mut self, time: Duration) -> Happened {
        let deadline = Instant::now() + time;
        loop {
            if self.end.load(Ordering::Relaxed) {
                return Happened::End;
            }
            let now = size();
            if now != self.size {
                self.size = now;
                return Happened::Resized;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Happened::Nothing;
            }
            let mut wait = Wait::default();
            let at = wait.add(&io::stdin(), true, false);
            match wait.wait(left.min(LOOK)) {
                Ok(()) if wait.is_ready(at) => return key(),
                Ok(()) if wait.is_gone(at) => return Happened::End,
                Ok(()) => {}
                Err(_) => return Happened::End,
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = put(LEAVE);
        let _ = set(&self.before);
    }
}

fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn set(settings: &libc::termios) -> io::Result<()> {
    // SAFETY: an open descriptor and whole settings.
    match unsafe { libc::tcsetattr(io::stdin().as_raw_fd(), libc::TCSAFLUSH, settings) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn key() -> Happened {
    let mut byte = 0_u8;
    // SAFETY: an open descriptor, and room for one byte.
    match unsafe { libc::read(io::stdin().as_raw_fd(), (&raw mut byte).cast(), 1) } {
        1 => Happened::Key(byte),
        _ => Happened::End,
    }
}

fn size() -> (usize, usize) {
    // SAFETY: all-zero is a valid winsize; an open descriptor, and a place for the answer.
    let found = unsafe {
        let mut found: libc::winsize = std::mem::zeroed();
        libc::ioctl(io::stdout().as_raw_fd(), libc::TIOCGWINSZ, &raw mut found);
        found
    };
    match (usize::from(found.ws_col), usize::from(found.ws_row)) {
        (0, _) | (_, 0) => SIZE,
        size => size,
    }
}

/// Columns of the terminal that stdout is, or of a usual one.
pub fn columns() -> usize {
    size().0
}
