//! What a dry run shows: the lines and, beside them, what became of the others; or an object for each record.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Ended, Format};
use crate::flow::span::Counts;
use crate::flow::tally::Tally;
use crate::transform::Parked;

/// Takes the results; sums them up.
pub struct Report<O: Write, S: Write> {
    format: Format,
    out: BufWriter<O>,
    side: BufWriter<S>,
    counts: Counts,
    tally: Tally,
}

/// One record's object.
#[derive(Serialize, Default)]
#[serde(rename_all = "lowercase")]
struct Object<'a> {
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    counters: Map<String, Value>,
    /// The record's number in a value that holds several; left out for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<u32>,
}

impl<O: Write, S: Write> Report<O, S> {
    pub fn new(format: Format, out: O, side: S) -> Report<O, S> {
        let (out, side) = (BufWriter::with_capacity(64 << 10, out), BufWriter::new(side));
        Report { format, out, side, counts: Counts::default(), tally: Tally::default() }
    }

    /// A record of the input's line `number`, the `k`th of its value.
    ///
    /// # Errors
    /// The stream's.
    pub fn show(&mut self, number: u64, k: u32, ended: Ended<'_>, remarks: &Tally) -> io::Result<()> {
        self.counts.consumed += 1;
        self.tally.add(remarks);
        match &ended {
            Ended::Written(_) => self.counts.written += 1,
            Ended::Filtered => self.counts.filtered += 1,
            Ended::Parked(parked) => {
                self.counts.parked += 1;
                self.tally.park(parked.code);
            }
        }
        match self.format {
            Format::Raw => self.raw(number, ended),
            Format::Json => self.json(k, ended, remarks),
        }
    }

    fn raw(&mut self, number: u64, ended: Ended<'_>) -> io::Result<()> {
        match ended {
            Ended::Written(line) => {
                self.out.write_all(line)?;
                self.out.write_all(b"\n")
            }
            Ended::Filtered => writeln!(self.side, "line {number}: filtered"),
            Ended::Parked(Parked { code, detail }) => {
                writeln!(self.side, "line {number}: parked {}: {detail}", code.name())
            }
        }
    }

    fn json(&mut self, k: u32, ended: Ended<'_>, remarks: &Tally) -> io::Result<()> {
        let counters = remarks.named().map(|(name, n)| (name.to_string(), n.into())).collect();
        let object = Object { counters, k: (k > 0).then_some(k), ..Object::default() };
        let object = match ended {
            Ended::Written(line) => Object { result: "written", line: Some(String::from_utf8_lossy(line)), ..object },
            Ended::Filtered => Object { result: "filtered", ..object },
            Ended::Parked(Parked { code, detail }) => {
                Object { result: "parked", code: Some(code.name()), detail: Some(detail), ..object }
            }
        };
        serde_json::to_writer(&mut self.out, &object)?;
        self.out.write_all(b"\n")
    }

    /// The end of a raw run: what all records became, and every counter that is not zero.
    ///
    /// # Errors
    /// The stream's.
    pub fn sums(&mut self) -> io::Result<()> {
        if self.format == Format::Json {
            return Ok(());
        }
        // The lines first: where both streams are one terminal, the sums stand below them.
        self.out.flush()?;
        let Counts { consumed, written, filtered, parked } = self.counts;
        let side = &mut self.side;
        writeln!(side, "consumed {consumed} = written {written} + filtered {filtered} + parked {parked}")?;
        self.tally.named().try_for_each(|(name, n)| writeln!(side, "{name} {n}"))
    }

    /// # Errors
    /// The stream's.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.side.flush()
    }
}
