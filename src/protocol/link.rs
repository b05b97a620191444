//! One connection to a broker: it never blocks, and has one request under way at a time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::message::{self, Need};
use crate::sys::lookup::Lookup;
use crate::sys::socket::Wait;

/// Bytes of an answer. No broker holds a batch above 100 MiB, and that much comes beside what was asked for.
pub const ANSWER_MAX: usize = 128 << 20;
/// The room for an answer grows with what has come of it, from this: a length alone costs no memory.
const ROOM: usize = 64 << 10;
/// Wait before another try after the first failure; it doubles up to [`Times::backoff_max`].
const BACKOFF: Duration = Duration::from_millis(100);

/// What may take how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Without a byte, while something is awaited.
    pub silence_max: Duration,
    pub backoff_max: Duration,
}

enum State {
    Down,
    /// Its name is looked up.
    Named,
    Connecting(TcpStream),
    Up(TcpStream),
}

/// What the broker owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owed {
    Nothing,
    Versions,
    /// To the request with this correlation.
    Answer(i32),
}

/// A connection that is made anew whenever it breaks.
pub struct Link {
    address: String,
    client_id: String,
    times: Times,
    needed: &'static [Need],
    state: State,
    /// Outlives a try that was given up: one question at a time.
    lookup: Option<Lookup>,
    owed: Owed,
    output: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
    filled: usize,
    is_whole: bool,
    /// While it is down: when it is tried again. Otherwise: when the broker has been silent for too long.
    deadline: Instant,
    backoff: Duration,
    /// Of the addresses that the name has.
    tries: usize,
}

/// Why a connection is no good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It is tried again.
    Broken(String),
    /// The broker does not speak what is needed.
    Unfit(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Broken(error.to_string())
    }
}

impl Link {
    /// `address` is `host:port`; `needed`: what the broker has to speak.
    pub fn new(address: &str, client_id: &str, times: Times, needed: &'static [Need]) -> Link {
        Link {
            address: address.into(),
            client_id: client_id.into(),
            times,
            needed,
            state: State::Down,
            lookup: None,
            owed: Owed::Nothing,
            output: Vec::new(),
            sent: 0,
            input: Vec::new(),
            filled: 0,
            is_whole: false,
            deadline: Instant::now(),
            backoff: BACKOFF,
            tries: 0,
        }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// A request may be sent.
    pub fn is_free(&self) -> bool {
        matches!(self.state, State::Up(_)) && self.owed == Owed::Nothing && !self.is_whole
    }

    /// Sends what [`Link::step`] then completes.
    pub fn send(&mut self, request: Vec<u8>, correlation: i32, now: Instant) {
        (self.output, self.sent) = (request, 0);
        (self.filled, self.owed) = (0, Owed::Answer(correlation));
        self.deadline = now + self.times.silence_max;
        // An error comes again at the next step.
        let _ = self.write();
    }

    /// Does what can be done without waiting. True: an answer is here.
    ///
    /// # Errors
    /// The connection is broken; it is made anew after a while.
    pub fn step(&mut self, now: Instant) -> Result<bool, Trouble> {
        if self.is_whole {
            return Ok(true);
        }
        let result = self.advance(now);
        if let Err(Trouble::Broken(reason) | Trouble::Unfit(reason)) = &result {
            log::debug!("{}: {reason}", self.address);
            self.fail(now);
        }
        result
    }

    /// Ends the connection; it is made anew after a while.
    pub fn fail(&mut self, now: Instant) {
        (self.state, self.owed, self.is_whole) = (State::Down, Owed::Nothing, false);
        (self.output, self.input) = (Vec::new(), Vec::new());
        self.deadline = now + self.backoff;
        self.backoff = (self.backoff * 2).min(self.times.backoff_max);
        self.tries += 1;
    }

    fn advance(&mut self, now: Instant) -> Result<bool, Trouble> {
        match &self.state {
            State::Down if now < self.deadline => return Ok(false),
            State::Down => {
                self.deadline = now + self.times.silence_max;
                self.state = State::Named;
            }
            _ => {}
        }
        if let State::Named = &self.state {
            let Some(found) = self.look_up()? else { return self.judge(now).map(|()| false) };
            self.state = State::Connecting(self.connect(&found)?);
        }
        if let State::Connecting(stream) = &self.state {
            if let Some(error) = stream.take_error()? {
                return Err(error.into());
            }
            match stream.peer_addr() {
                Ok(_) => self.greet(now),
                Err(e) if e.kind() == io::ErrorKind::NotConnected => return self.judge(now).map(|()| false),
                Err(e) => return Err(e.into()),
            }
        }
        self.write()?;
        if self.owed == Owed::Nothing {
            return Ok(false);
        }
        if !self.read(now)? {
            return self.judge(now).map(|()| false);
        }
        self.accept()
    }

    /// `None`: nobody has told yet.
    fn look_up(&mut self) -> io::Result<Option<Vec<SocketAddr>>> {
        if let Ok(address) = self.address.parse() {
            return Ok(Some(vec![address]));
        }
        let lookup = match self.lookup.take() {
            Some(lookup) => lookup,
            None => Lookup::of(&self.address)?,
        };
        match lookup.take() {
            Some(found) => found.map(Some),
            None => {
                self.lookup = Some(lookup);
                Ok(None)
            }
        }
    }

    fn connect(&self, found: &[SocketAddr]) -> Result<TcpStream, Trouble> {
        let Some(to) = found.get(self.tries % found.len().max(1)) else {
            return Err(Trouble::Broken("its name has no address".into()));
        };
        let socket = Socket::new(Domain::for_address(*to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&(*to).into()) {
            Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e.into()),
            _ => Ok(socket.into()),
        }
    }

    /// First of all a broker is asked what it speaks.
    fn greet(&mut self, now: Instant) {
        if let State::Connecting(stream) = std::mem::replace(&mut self.state, State::Down) {
            self.state = State::Up(stream);
        }
        self.send(message::ask_versions(&self.client_id), 0, now);
        self.owed = Owed::Versions;
    }

    fn judge(&self, now: Instant) -> Result<(), Trouble> {
        if now < self.deadline {
            return Ok(());
        }
        let time = self.times.silence_max.as_secs_f32();
        Err(Trouble::Broken(match self.state {
            State::Named => format!("its name was not told within {time} s"),
            _ => format!("it has said nothing for {time} s"),
        }))
    }

    fn write(&mut self) -> Result<(), Trouble> {
        let State::Up(stream) = &mut self.state else { return Ok(()) };
        while self.sent < self.output.len() {
            match stream.write(&self.output[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// True once the answer is whole.
    fn read(&mut self, now: Instant) -> Result<bool, Trouble> {
        loop {
            let whole = self.whole()?;
            if self.filled == whole {
                return Ok(true);
            }
            if self.filled == self.input.len() {
                self.input.resize(whole.min((self.filled * 2).max(ROOM)), 0);
            }
            let State::Up(stream) = &mut self.state else { return Ok(false) };
            let end = whole.min(self.input.len());
            match stream.read(&mut self.input[self.filled..end]) {
                Ok(0) => return Err(Trouble::Broken("it has closed the connection".into())),
                Ok(count) => {
                    self.filled += count;
                    self.deadline = now + self.times.silence_max;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Bytes of the answer with its length, as far as that is known.
    fn whole(&self) -> Result<usize, Trouble> {
        let Some(length) = self.input[..self.filled].first_chunk() else { return Ok(4) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > ANSWER_MAX {
            return Err(Trouble::Broken(format!("an answer of {length} bytes is none: is this Kafka without TLS?")));
        }
        Ok(4 + length)
    }

    /// A whole answer: is it the one that is owed?
    fn accept(&mut self) -> Result<bool, Trouble> {
        let owed = std::mem::replace(&mut self.owed, Owed::Nothing);
        let answer = &self.input[4..self.filled];
        if let Owed::Answer(wanted) = owed {
            let correlation = answer.first_chunk().map(|id| i32::from_be_bytes(*id));
            if correlation != Some(wanted) {
                return Err(Trouble::Broken("it answers what nobody asked".into()));
            }
            (self.is_whole, self.backoff) = (true, BACKOFF);
            return Ok(true);
        }
        match message::read_versions(answer, self.needed) {
            Ok(None) => Ok(false),
            Ok(Some(missing)) => Err(Trouble::Unfit(missing)),
            Err(damaged) => Err(Trouble::Broken(damaged.to_string())),
        }
    }

    /// The answer that is here.
    pub fn answer(&self) -> &[u8] {
        self.input.get(4..self.filled).unwrap_or(&[])
    }

    /// Exchanges the answer for a buffer in which the next one may come; returns the bytes of the answer in it, whose
    /// first four are its length.
    pub fn take(&mut self, buffer: &mut Vec<u8>) -> usize {
        std::mem::swap(&mut self.input, buffer);
        self.is_whole = false;
        std::mem::take(&mut self.filled)
    }

    /// Adds what it waits for; when it wants to be stepped at the latest.
    pub fn await_on(&self, wait: &mut Wait) -> Option<Instant> {
        let (stream, readable, writable) = match &self.state {
            State::Down => return Some(self.deadline),
            State::Named => {
                if let Some(lookup) = &self.lookup {
                    wait.add(lookup, true, false);
                }
                return Some(self.deadline);
            }
            State::Connecting(stream) => (stream, false, true),
            State::Up(stream) if self.owed != Owed::Nothing => (stream, true, self.sent < self.output.len()),
            State::Up(_) => return None,
        };
        wait.add(stream, readable, writable);
        Some(self.deadline)
    }
}
