//! A dry run: records of a stream go through a task's rules, without Kafka and without files.
//!
//! In: one record a line, as it is or as JSON. Out: the lines as they would stand in the files, and what became of
//! every other record; or one JSON object for each record, in their order. Nothing is kept from record to record.

mod input;
mod report;

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use crate::conf::config::Transform;
use crate::conf::{Loaded, schema};
use crate::flow::clock;
use crate::flow::problem::Problem;
use crate::flow::record::Record;
use crate::flow::tally::{Code, Tally};
use crate::transform::{Options, Out, Parked, Program, Stop, Transformer, Unpacker, ValueCodec, Verdict};
use input::{Line, Lines};
use report::Report;

/// The topic of a record that names none.
pub const TOPIC: &str = "stdin";

/// How records come in and results go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A value a line in; lines out, reasons and sums to the side.
    Raw,
    /// `{"topic":…,"partition":…,"offset":…,"timestamp":ms,"value":base64 or null}` in, an object for each record out.
    Json,
}

/// Why a dry run ended early.
#[derive(Debug, thiserror::Error)]
pub enum DryRunError {
    #[error("cannot read the records: {0}")]
    Read(io::Error),
    #[error("cannot write the results: {0}")]
    Write(io::Error),
    #[error("line {line}: {what}; expected one record a line, as {}", input::EXAMPLE)]
    Line { line: u64, what: String },
    #[error("compressed values (value_codec) are binary and do not fit one line each; give them with --format json")]
    Binary,
    #[error("there is no task {task:?}; the file has {known}")]
    NoTask { task: String, known: String },
}

/// What records are judged by.
#[derive(Debug, Clone)]
pub struct Rules {
    /// `None`: values go as they are.
    pub program: Option<Arc<Program>>,
    pub options: Options,
}

impl Rules {
    /// The settings files of one project, all options at their defaults.
    ///
    /// # Errors
    /// Every problem of the files.
    pub fn of_settings(dir: &Path, app_id: u64, timezone_s: i32) -> Result<Rules, Vec<Problem>> {
        let program = Program::load(dir, &[app_id.to_string()])?;
        let options = Options { timezone_s, ..Options::default() };
        Ok(Rules { program: Some(Arc::new(program)), options })
    }

    /// Settings and options of a configured task.
    ///
    /// # Errors
    /// [`DryRunError::NoTask`].
    pub fn of_task(loaded: &Loaded, task: &str) -> Result<Rules, DryRunError> {
        let tasks = &loaded.config.deliver;
        let Some(found) = tasks.iter().find(|t| t.name == task) else {
            let names: Vec<&str> = tasks.iter().map(|t| t.name.as_str()).collect();
            let meant = schema::nearest(task, names.iter().copied());
            let meant = meant.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
            return Err(DryRunError::NoTask { task: task.into(), known: names.join(", ") + &meant });
        };
        let program = match found.transform {
            Transform::Te => loaded.programs.get(task).cloned(),
            Transform::None => None,
        };
        Ok(Rules { program, options: found.options.clone() })
    }
}

/// Runs until the input ends. Whoever reads the results may go away earlier: that is an end, not an error.
///
/// # Errors
/// Input that cannot be read, or is no record; results that cannot be written. What came before is written then.
pub fn run(
    rules: Rules,
    format: Format,
    input: impl Read,
    out: impl Write,
    side: impl Write,
) -> Result<(), DryRunError> {
    if format == Format::Raw && rules.options.value_codec != ValueCodec::None {
        return Err(DryRunError::Binary);
    }
    let mut report = Report::new(format, out, side);
    let ran = records(rules, format, input, &mut report);
    let ended = ran.and_then(|()| report.sums().map_err(DryRunError::Write));
    // What came before an error is still worth showing; the error itself says more than a failure of this.
    let flushed = report.flush().map_err(DryRunError::Write);
    match ended.and(flushed) {
        Err(DryRunError::Write(e)) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn records<O: Write, S: Write>(
    rules: Rules,
    format: Format,
    input: impl Read,
    report: &mut Report<O, S>,
) -> Result<(), DryRunError> {
    let max_record_bytes = rules.options.max_record_bytes;
    let max = if format == Format::Raw { max_record_bytes } else { input::JSON_LINE_MAX_BYTES };
    let mut desk = Desk::new(rules);
    let mut lines = Lines::new(input, max);
    loop {
        if lines.may_wait() {
            report.flush().map_err(DryRunError::Write)?;
        }
        let Some(line) = lines.next().map_err(DryRunError::Read)? else { return Ok(()) };
        let number = lines.number();
        let bad = |what| DryRunError::Line { line: number, what };
        let mut show = |k, ended: Ended<'_>, tally: &Tally| report.show(number, k, ended, tally);
        let shown = match (format, line) {
            (Format::Raw, Line::Whole) => {
                let value = Some(lines.text());
                let record = Record {
                    topic: TOPIC,
                    partition: 0,
                    offset: number as i64,
                    timestamp_ms: -1,
                    leader_epoch: -1,
                    value,
                };
                desk.value(&record, &mut show)
            }
            (Format::Raw, Line::TooLong { bytes }) => {
                let detail = format!("{bytes} bytes, max_record_bytes is {max_record_bytes}");
                let parked = Parked { code: Code::E02_TOO_LARGE_IN, detail };
                show(0, Ended::Parked(&parked), &Tally::default())
            }
            (Format::Json, Line::Whole) if lines.text().trim_ascii().is_empty() => Ok(()),
            (Format::Json, Line::Whole) => {
                let written = input::Written::parse(lines.text()).map_err(bad)?;
                desk.value(&written.record(number), &mut show)
            }
            (Format::Json, Line::TooLong { bytes }) => {
                return Err(bad(format!("{bytes} bytes, a line holds at most {max}")));
            }
        };
        shown.map_err(DryRunError::Write)?;
    }
}

/// How a record ended.
pub(crate) enum Ended<'a> {
    /// The line, without its newline.
    Written(&'a [u8]),
    Filtered,
    Parked(&'a Parked),
}

/// The tools, as a reader has them.
pub(crate) struct Desk {
    unpacker: Unpacker,
    transformer: Transformer,
    program: Option<Arc<Program>>,
    room: Vec<u8>,
}

impl Desk {
    pub(crate) fn new(rules: Rules) -> Desk {
        Desk {
            unpacker: Unpacker::new(&rules.options),
            room: vec![0; rules.options.max_line_bytes],
            transformer: Transformer::new(rules.options),
            program: rules.program,
        }
    }

    /// Shows the end of every record in the value, with its number there and the remarks on it.
    pub(crate) fn value(
        &mut self,
        record: &Record<'_>,
        show: &mut impl FnMut(u32, Ended<'_>, &Tally) -> io::Result<()>,
    ) -> io::Result<()> {
        let Desk { unpacker, transformer, program, room } = self;
        let pieces = match unpacker.unpack(record.value) {
            Ok(pieces) => pieces,
            Err(parked) => return show(0, Ended::Parked(&parked), &Tally::default()),
        };
        for (k, piece) in pieces {
            let mut tally = Tally::default();
            let Some(program) = program else {
                show(k, Ended::Written(piece), &tally)?;
                continue;
            };
            match transformer.read(program, record, piece, k, clock::now_ms()) {
                Verdict::Filtered => show(k, Ended::Filtered, &tally)?,
                Verdict::Parked(parked) => show(k, Ended::Parked(&parked), &tally)?,
                Verdict::Ready(mut ready) => {
                    let mut out = Out::new(room);
                    match ready.emit(&mut out, &mut tally) {
                        Ok(()) => show(k, Ended::Written(&out.written()[..out.len() - 1]), &tally)?,
                        Err(Stop::Parked(parked)) => show(k, Ended::Parked(&parked), &tally)?,
                        Err(Stop::Full) => unreachable!("the room holds max_line_bytes"),
                    }
                }
            }
        }
        Ok(())
    }
}
