//! The producer's face: whole reads of lines go in, what became of them comes out.
//!
//! Two stand behind it: `native` speaks Kafka's protocol itself, on the caller's thread; `librdkafka` does what
//! that one cannot: transactions, TLS and SASL, and whatever else a cluster's settings ask for.
#![allow(unsafe_code)]

mod brake;
mod choose;
mod conf;
mod librdkafka;
mod native;
mod transaction;

use std::ffi::CStr;
use std::sync::Arc;
use std::time::Instant;

use crate::flow::cluster::{Client, Cluster, Wish};
use crate::protocol;
use crate::sys::follow::Bell;
use crate::sys::socket::Wait;
use crate::tail::cursor::Mark;
use crate::tail::lease::Lease;
use crate::tail::lines::Piece;
pub use brake::Brake;
use librdkafka::Librdkafka;
use native::Native;
pub use transaction::{Transactions, Undone};

/// librdkafka's number for "no broker can be reached".
pub const ALL_BROKERS_DOWN: i32 = -187;
/// Messages that are sent together at most; librdkafka takes some 200 bytes for each beside its line.
pub const MESSAGES_MAX: usize = 100_000;
/// Bytes of a batch, before compression, unless a broker wants smaller ones: what every broker takes by default.
pub const BATCH_BYTES: usize = 1_000_000;
/// The header that tells a piece of a long line, and its value for the second of five: `2`; for the fifth: `5 last`.
const PIECE_HEADER: &CStr = c"logmill-piece";

/// What a producer is built from.
#[derive(Debug, Clone)]
pub struct Settings {
    pub cluster: Cluster,
    pub client: Client,
    /// none, gzip, snappy, lz4, zstd.
    pub compression: String,
    /// Bytes of all lines in memory.
    pub buffer_bytes: usize,
    /// Bytes of the longest read.
    pub read_bytes: usize,
    /// Bytes of a batch before compression.
    pub batch_bytes: usize,
    pub transactional_id: Option<String>,
}

/// Why lines cannot be produced.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProduceError {
    #[error("librdkafka refuses {key} = {value}: {reason}")]
    Setting { key: String, value: String, reason: String },
    #[error("librdkafka cannot start: {0}")]
    Start(String),
    #[error("{0:?} is no compression: it is none, gzip, snappy, lz4 or zstd")]
    Compression(String),
    #[error(transparent)]
    Unknown(#[from] protocol::Unknown),
    #[error("a successor is at work")]
    Succeeded,
}

/// Lines that go out together, as places in the room that was read into.
pub struct Lines<'a> {
    /// The partition is this number modulo the topic's partitions.
    pub hash: u32,
    pub key: Option<&'a [u8]>,
    /// Start within the room behind `head`, and length.
    pub lines: &'a [(u32, u32)],
    /// Bytes of the room before the first line can begin.
    pub head: usize,
    /// Bytes of the room that are in use.
    pub used: usize,
    /// Bytes between two lines: their newline.
    pub gap: usize,
    /// Set for a piece of a long line; then it is the only one.
    pub piece: Option<Piece>,
}

/// What became of lines that were taken together.
pub struct Report {
    pub chunk: u32,
    pub count: u64,
    /// Bytes from the chunk's first line to the first of these, and to behind the last one's newline.
    pub from: u64,
    pub to: u64,
    /// Of the bytes before `to`.
    pub mark: Mark,
    /// Kafka's number, or librdkafka's.
    pub error: Option<(i32, String)>,
    /// No other report of this chunk will come.
    pub is_last: bool,
}

/// Lines were refused at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Those before the refused ones, which were taken.
    pub chunk: Option<u32>,
    pub reason: String,
}

/// A producer with the memory that it sends from.
pub trait Producer: Transactions + Send {
    /// The number of a topic.
    ///
    /// # Errors
    /// There is no room for it.
    fn topic(&mut self, name: &str) -> Result<usize, ProduceError>;

    /// Messages that may be sent now.
    fn messages_left(&self) -> usize;

    /// Messages whose report is outstanding.
    fn in_flight(&self) -> usize;

    /// Room to read into; `None` while all of it is in flight.
    fn room(&mut self, bytes: usize) -> Option<&mut [u8]>;

    /// Sends lines of the room that was given last; returns the number of the chunk in its reports.
    ///
    /// # Errors
    /// The topic is unknown, or this producer is at its end.
    fn send(&mut self, topic: usize, lines: &Lines<'_>) -> Result<u32, Refused>;

    /// Hands out every report that is here.
    fn reports(&mut self, each: &mut dyn FnMut(&Report));

    /// Why this producer takes nothing any more; a new one must follow it.
    fn fatal(&self) -> Option<&str>;

    /// It is at its end for what it is: another client can serve these brokers.
    fn is_unfit(&self) -> bool {
        false
    }

    /// The newest trouble that mends itself, and its number.
    fn take_trouble(&mut self) -> Option<(i32, String)>;

    /// Adds what it waits for; when it wants to be asked for reports at the latest.
    fn await_on(&self, _: &mut Wait) -> Option<Instant> {
        None
    }
}

/// `bell` rings when there are reports.
///
/// # Errors
/// A setting is refused or not known, or there is no room for another thread.
pub fn open(settings: &Settings, bell: &Bell, lease: &Arc<Lease>) -> Result<Box<dyn Producer>, ProduceError> {
    Ok(match settings.client {
        Client::Native => Box::new(Native::open(settings, lease)?),
        Client::Librdkafka => Box::new(Librdkafka::open(settings, bell, lease)?),
    })
}

/// The one that is asked for, or the native one where that can do what is to be done.
pub fn fitting(settings: &crate::tail::Settings) -> Client {
    let reason = match settings.exactly_once {
        Some(_) if settings.client == Wish::Auto => Some("transactions are asked for".into()),
        _ => protocol::Settings::unknown(settings.client, &settings.cluster).map(|unknown| unknown.to_string()),
    };
    if let Some(reason) = &reason {
        log::info!("{}: librdkafka sends the lines, for {reason}", settings.task);
    }
    settings.client.client(reason.is_none())
}
