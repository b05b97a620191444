//! One connection, a state machine: it listens, waits for an answer, or says it. Nothing here blocks.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::SILENCE_MAX;
use crate::ctl::frame::{Cut, Frame};
use crate::ctl::protocol::{Form, Reply};

/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;

pub struct Connection {
    stream: UnixStream,
    frame: Frame,
    state: State,
    /// When that state began.
    since: Instant,
    /// The last reply: then it is closed.
    is_last: bool,
    /// Another request may be here already.
    is_hungry: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Listening,
    /// Somebody works on the answer.
    Waiting,
    /// The bytes, and how many of them are gone.
    Saying(Vec<u8>, usize),
}

/// What a connection wants.
pub enum Next {
    /// To be woken.
    Wait,
    /// An answer to this.
    Asked(Vec<u8>),
    /// Nothing any more.
    Gone,
}

impl Connection {
    /// # Errors
    /// The kernel's.
    pub fn new(stream: UnixStream) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        let (frame, state) = (Frame::default(), State::Listening);
        Ok(Connection { stream, frame, state, since: Instant::now(), is_last: false, is_hungry: false })
    }

    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    pub fn wants_to_read(&self) -> bool {
        self.state == State::Listening
    }

    pub fn wants_to_write(&self) -> bool {
        matches!(self.state, State::Saying(..))
    }

    /// It is to go on without being woken: one that asks and asks has its turn as the others have.
    pub fn is_hungry(&self) -> bool {
        self.is_hungry
    }

    pub fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }

    /// When its patience ends; `None` while it is we who make it wait.
    pub fn deadline(&self) -> Option<Instant> {
        (!self.is_waiting()).then(|| self.since + SILENCE_MAX)
    }

    pub fn is_silent(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|at| now >= at)
    }

    /// It hears this and no more.
    pub fn say_and_close(&mut self, bytes: &[u8]) {
        self.say(bytes.to_vec());
        self.is_last = true;
    }

    pub fn close_after_reply(&mut self) {
        self.is_last = true;
    }

    pub fn say(&mut self, bytes: Vec<u8>) {
        self.change(State::Saying(bytes, 0));
    }

    /// Reads and writes what can be read and written now, up to the next request or the end of a reply.
    pub fn go_on(&mut self) -> Next {
        loop {
            match &mut self.state {
                State::Waiting => return Next::Wait,
                State::Saying(bytes, gone) => match self.stream.write(&bytes[*gone..]) {
                    Ok(n) => {
                        *gone += n;
                        if *gone == bytes.len() {
                            if self.is_last {
                                return Next::Gone;
                            }
                            self.change(State::Listening);
                            self.is_hungry = true;
                            return Next::Wait;
                        }
                    }
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return after(&e),
                },
                State::Listening => match self.frame.next_request() {
                    Cut::Request(bytes) => {
                        self.change(State::Waiting);
                        return Next::Asked(bytes);
                    }
                    Cut::Refused(what) => self.say_and_close(&Form::Json.write(&Reply::Error(what.into()))),
                    Cut::More => {
                        self.is_hungry = false;
                        let mut bytes = [0; READ_BYTES];
                        match self.stream.read(&mut bytes) {
                            Ok(0) => return Next::Gone,
                            Ok(n) => self.frame.push(&bytes[..n]),
                            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                            Err(e) => return after(&e),
                        }
                    }
                },
            }
        }
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.since = Instant::now();
    }
}

fn after(error: &io::Error) -> Next {
    if error.kind() == io::ErrorKind::WouldBlock { Next::Wait } else { Next::Gone }
}
