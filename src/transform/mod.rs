//! Bytes to bytes: one Kafka record in, one ThinkingData line out, or the reason why not. Knows no thread, no file, no Kafka.

mod lane;
mod options;
mod out;
mod program;
mod unpack;

pub use lane::LaneRule;
pub use options::{Options, UnknownLog, ValueCodec};
pub use out::Out;
pub use program::Program;
pub use unpack::{Unpacked, Unpacker};

use crate::flow::record::Record;
use crate::flow::tally::{Code, Tally};

/// Why a record is parked: the stable code, and a sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    pub code: Code,
    pub detail: String,
}

/// What the first half of the work found. A record ends here, or goes on to [`Ready::emit`].
pub enum Verdict<'a> {
    Ready(Ready<'a>),
    Filtered,
    Parked(Parked),
}

/// Why a line was not finished.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// The room given is smaller than the line and than `max_line_bytes`: call again with more.
    Full,
    Parked(Parked),
}

/// One per reader thread: the options and all scratch space, so that a record needs no allocation.
pub struct Transformer {
    _options: Options,
}

impl Transformer {
    pub fn new(options: Options) -> Transformer {
        Transformer { _options: options }
    }

    /// Steps 4 to 16 of the page for one piece of a value (see [`Unpacker`]; `k` is its number in the value).
    /// `now_ms` is the clock, milliseconds since the epoch.
    pub fn read<'a>(
        &'a mut self,
        program: &'a Program,
        record: &'a Record<'a>,
        piece: &'a [u8],
        k: u32,
        now_ms: i64,
    ) -> Verdict<'a> {
        let _ = (program, record, piece, k, now_ms);
        Verdict::Filtered
    }
}

/// A record that has a name, a route and its ids: only its line is still to be written.
pub struct Ready<'a> {
    _record: &'a Record<'a>,
}

impl Ready<'_> {
    pub fn app_id(&self) -> &str {
        ""
    }

    /// Decoded.
    pub fn log_name(&self) -> &str {
        ""
    }

    /// As resolved; "" never.
    pub fn event_name(&self) -> &str {
        ""
    }

    pub fn lane(&self, rule: &LaneRule) -> u32 {
        rule.of_value(self._record, b"")
    }

    /// Steps 17 to 22: writes the line with its newline. On `Err` what stands in `out` is void (the caller resets it)
    /// and `tally` is untouched. May be called again.
    pub fn emit(&mut self, out: &mut Out<'_>, tally: &mut Tally) -> Result<(), Stop> {
        let _ = (out, tally);
        Ok(())
    }
}
