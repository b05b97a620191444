//! Bytes to bytes: one Kafka record in, one ThinkingData line out, or the reason why not.
//! Knows no thread, no file, no Kafka.

pub mod comment_json;
mod decimal;
mod entry;
mod filter;
mod heading;
mod json_text;
mod lane;
mod line;
mod lookup;
mod members;
mod names;
mod nested;
mod options;
mod out;
mod plan;
mod program;
mod properties;
mod remarks;
mod scanner;
mod scanner_index;
#[cfg(test)]
mod scanner_index_tests;
mod scanner_lanes;
#[cfg(test)]
mod scanner_tests;
mod scanner_wide;
mod settings;
#[cfg(test)]
mod settings_tests;
mod shape;
#[cfg(test)]
mod shape_tests;
#[cfg(test)]
mod tests;
mod time;
mod unpack;

pub use lane::LaneRule;
pub use options::{Options, UnknownLog, ValueCodec};
pub use out::Out;
pub use program::Program;
pub use unpack::{Unpacked, Unpacker};

use crate::flow::record::Record;
use crate::flow::tally::Code;
use entry::Entry;
use heading::{Heading, Reading};
use lookup::{Facts, Scratch, Value};
use plan::Plan;
use program::{Chosen, ChosenNames, Project};
use scanner_index::Index;
use scanner_lanes::Width;
use shape::{Shape, Shapes};

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

/// Characters of an id, and of `log_name`.
const ID_CHARACTERS_MAX: usize = 128;
const BOM: &[u8] = b"\xef\xbb\xbf";
const DEPTH_MAX: usize = 64;
/// Scratch space beyond this is given back before the next record.
const KEPT_BYTES_MAX: usize = 1 << 16;

/// One per reader thread: the options, the shapes met and all scratch space, so that a record needs no allocation.
pub struct Transformer {
    options: Options,
    /// `None`: every byte is looked at alone.
    index: Option<Index>,
    /// `None`: every record is read in the general way.
    shapes: Option<Shapes>,
    scratch: Scratch,
    reading: Reading,
}

/// A record that has a name, a route and its ids: only its line is still to be written (see [`Ready::emit`]).
pub struct Ready<'a> {
    options: &'a Options,
    scratch: &'a mut Scratch,
    facts: Facts<'a>,
    shape: Option<&'a Shape>,
    plan: &'a Plan,
    project: &'a Project,
    chosen: &'a Chosen,
    log_name: &'a str,
    names: &'a ChosenNames,
    account_id: Value<'a>,
    distinct_id: Value<'a>,
    k: u32,
    now_ms: i64,
    /// So much of `scratch.made` belongs to the ids.
    made: usize,
}

/// How records are read. The results are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Known shapes, with the best instructions that the CPU has.
    Best,
    /// Known shapes, with what every CPU has.
    Portable,
    /// Each record as if it were the first.
    General,
}

impl Transformer {
    pub fn new(options: Options) -> Transformer {
        Transformer::with(options, Way::Best)
    }

    /// For tests and measurements.
    pub fn with(options: Options, way: Way) -> Transformer {
        let width = match way {
            Way::Best => Some(Width::detect()),
            Way::Portable => Some(Width::WORDS),
            Way::General => None,
        };
        Transformer {
            options,
            index: width.map(Index::new),
            shapes: width.map(Shapes::new),
            scratch: Scratch::default(),
            reading: Reading::default(),
        }
    }

    /// Steps 4 to 16 for one piece of a value (see [`Unpacker`]; `k` is its number in the value).
    /// `now_ms` is the clock, milliseconds since the epoch.
    pub fn read<'a>(
        &'a mut self,
        program: &'a Program,
        record: &'a Record<'a>,
        piece: &'a [u8],
        k: u32,
        now_ms: i64,
    ) -> Verdict<'a> {
        match self.steps(program, record, piece, k, now_ms) {
            Ok(Some(ready)) => Verdict::Ready(ready),
            Ok(None) => Verdict::Filtered,
            Err(parked) => Verdict::Parked(parked),
        }
    }

    #[inline(always)]
    fn steps<'a>(
        &'a mut self,
        program: &'a Program,
        record: &'a Record<'a>,
        piece: &'a [u8],
        k: u32,
        now_ms: i64,
    ) -> Result<Option<Ready<'a>>, Parked> {
        let Transformer { options, index, shapes, scratch, reading } = self;
        scratch.made.clear();
        scratch.made.shrink_to(KEPT_BYTES_MAX);
        let text = piece.strip_prefix(BOM).unwrap_or(piece);
        let place = shapes.as_mut().map(|shapes| shapes.find(program, text));
        let (facts, heading, shape) = match (shapes, place) {
            (Some(shapes), Some(Ok(place))) => {
                let shape = shapes.get(place);
                let facts = Facts { record, text, headers: shape.headers(), logs: shape.logs() };
                (facts, shape.heading(), Some(shape))
            }
            (shapes, place) => {
                let read = reading.read(options, index.as_mut(), program, record, piece, scratch)?;
                let Some((facts, heading)) = read else { return Ok(None) };
                if let (Some(shapes), Some(Err(Some(place)))) = (shapes, place) {
                    shapes.learn(place, program, &facts, &heading);
                }
                (facts, heading, None)
            }
        };
        let Heading { log_name, names, .. } = heading;
        let project = program.project(heading.project);
        let chosen = &project.entries[heading.entry];
        let plan = shape.map_or(Plan::NONE, Shape::plan);
        if project.filter.drops_fields(log_name, plan, &facts, scratch) {
            return Ok(None);
        }
        let (account_id, distinct_id) = read_ids(chosen, plan, &facts, scratch)?;
        let made = scratch.made.len();
        Ok(Some(Ready {
            options,
            scratch,
            facts,
            shape,
            plan,
            project,
            chosen,
            log_name,
            names,
            account_id,
            distinct_id,
            k,
            now_ms,
            made,
        }))
    }
}

impl Ready<'_> {
    pub fn app_id(&self) -> &str {
        &self.project.app_id
    }

    /// Decoded.
    pub fn log_name(&self) -> &str {
        self.log_name
    }

    /// As resolved; "" never.
    pub fn event_name(&self) -> &str {
        &self.names.event_name
    }

    pub fn lane(&mut self, rule: &LaneRule) -> u32 {
        rule.of_text(&self.facts, self.scratch)
    }
}

/// Steps 14 to 16.
fn read_ids<'a>(
    chosen: &'a Chosen,
    plan: &Plan,
    facts: &Facts<'a>,
    scratch: &mut Scratch,
) -> Result<(Value<'a>, Value<'a>), Parked> {
    let Entry { account_id, distinct_id, .. } = &chosen.entry;
    let sources = [("#account_id", account_id, plan.account_id), ("#distinct_id", distinct_id, plan.distinct_id)];
    let mut ids = [Value::Missing; 2];
    for (id, (key, source, known)) in ids.iter_mut().zip(sources) {
        let found = scratch.resolve_known(facts, source, known);
        *id = scratch.decoded(found);
        if !id.is_missing() && !line::is_id(id) {
            return parked(Code::E12_ID_TYPE, format!("{key} is neither a string nor an integer"));
        }
    }
    for (id, (key, ..)) in ids.iter().zip(sources) {
        let text = match id {
            Value::Number(text) => text,
            id => scratch.text(id).unwrap_or_default(),
        };
        if is_longer(text, ID_CHARACTERS_MAX) {
            return parked(Code::E13_ID_LEN, format!("{key} has more than {ID_CHARACTERS_MAX} characters"));
        }
    }
    if ids.iter().all(Value::is_missing) {
        return parked(Code::E14_NO_ID, "#account_id and #distinct_id are both empty".into());
    }
    let [account_id, distinct_id] = ids;
    Ok((account_id, distinct_id))
}

/// True for UTF-8 of more than so many code points.
fn is_longer(text: &[u8], characters: usize) -> bool {
    text.len() > characters && text.iter().filter(|byte| **byte & 0xC0 != 0x80).count() > characters
}

fn parked<T>(code: Code, detail: String) -> Result<T, Parked> {
    Err(Parked { code, detail })
}
