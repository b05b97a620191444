//! The other side of the door: one request, one reply, and never longer than the caller's patience, whatever the
//! program does.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::protocol::{Reply, Request};
use crate::sys::socket;

/// Longest time for connecting, sending and receiving, all together.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a reply.
const REPLY_MAX: usize = 64 << 20;
const READ_BYTES: usize = 64 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("logmill is not running: nobody listens at {}", path.display())]
    NotRunning { path: PathBuf },
    #[error("logmill has not answered at {} within {} s", path.display(), PATIENCE.as_secs())]
    Timeout { path: PathBuf },
    #[error("cannot ask at {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// Its own words.
    #[error("{0}")]
    Refused(String),
    #[error("the answer at {} cannot be read: {what}; are logmill and millctl of the same version?", path.display())]
    Garbled { path: PathBuf, what: String },
}

/// Asks the program that listens at `path`.
///
/// # Errors
/// It is not running, does not answer within [`PATIENCE`], or refuses.
pub fn ask<T: DeserializeOwned>(path: &Path, request: &Request) -> Result<T, AskError> {
    let deadline = Instant::now() + PATIENCE;
    let reply = exchange(path, request, deadline).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning { path: path.into() },
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::Timeout { path: path.into() },
        _ => AskError::Io { path: path.into(), source },
    })?;
    let garbled = |what: String| AskError::Garbled { path: path.into(), what };
    match serde_json::from_slice(&reply).map_err(|e| garbled(e.to_string()))? {
        Reply::Error(what) => Err(AskError::Refused(what)),
        Reply::Ok(value) => serde_json::from_value(value).map_err(|e| garbled(e.to_string())),
    }
}

fn exchange(path: &Path, request: &Request, deadline: Instant) -> io::Result<Vec<u8>> {
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let mut stream = socket::connect(path, left()?)?;
    let line = serde_json::to_string(request)? + "\n";
    stream.set_write_timeout(Some(left()?))?;
    // Where we are not wanted the other end may be closed already: its reply says why.
    let sent = stream.write_all(line.as_bytes());
    let mut reply = Vec::new();
    let mut bytes = vec![0; READ_BYTES];
    while !reply.ends_with(b"\n") && reply.len() < REPLY_MAX {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(n) => reply.extend_from_slice(&bytes[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset && !reply.is_empty() => break,
            Err(e) => return Err(e),
        }
    }
    match sent {
        Err(e) if reply.is_empty() => Err(e),
        _ if reply.is_empty() => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection")),
        _ => Ok(reply),
    }
}
