//! What a key may be, and what a legal value becomes.

use std::borrow::Cow;
use std::time::Duration;

use super::config::Cores;
use super::place::Place;
use crate::flow::cluster::Start;

/// How a key is written, with its limits.
#[derive(Debug)]
pub enum Kind {
    /// `min_bytes` is 0 or 1: may it be empty?
    Text {
        min_bytes: usize,
        max_bytes: usize,
    },
    Path,
    PathOrNone,
    /// Names or numbers of users.
    Users,
    /// `host:port` of our own, or "".
    Listen,
    Name,
    Brokers,
    Topic,
    Topics,
    /// Absolute ones, of files or directories.
    Paths,
    /// Of etcd: `host:port` or URLs.
    Endpoints,
    AppIds,
    Cores,
    Integer {
        unit: &'static str,
        min: u64,
        max: u64,
    },
    Flag,
    Duration {
        min: Duration,
        max: Duration,
    },
    /// `zero`: 0 is allowed below `min`.
    Size {
        min: u64,
        max: u64,
        zero: bool,
        power_of_two: bool,
    },
    /// `later`: words that are planned and refused.
    Choice {
        known: &'static [&'static str],
        later: &'static [&'static str],
    },
    Timezone,
    Start,
    /// Names and values for librdkafka.
    Pairs,
    /// A known key that nothing reads yet.
    Later,
}

impl Kind {
    /// Of the number that a value came to; `None`: it has none.
    pub fn unit(&self) -> Option<&'static str> {
        match self {
            Kind::Integer { unit, .. } => Some(unit),
            Kind::Duration { .. } => Some("ms"),
            Kind::Size { .. } => Some("bytes"),
            _ => None,
        }
    }

    /// Its values are written without their unit.
    pub fn is_bare_number(&self) -> bool {
        matches!(self, Kind::Integer { .. })
    }
}

/// What a key's value came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(Cow<'static, str>),
    Items(Vec<Item>),
    Number(u64),
    Flag(bool),
    Duration(Duration),
    Seconds(i32),
    Start(Start),
    Cores(Cores),
    Pairs(Vec<Pair>),
}

/// One element of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub text: String,
    pub place: Place,
}

/// A property for the client library.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    pub name: String,
    pub value: String,
    /// The value as it stands in the file, where a part of it comes through `${…}`.
    pub taken: Option<String>,
}
