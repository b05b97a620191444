//! Bytes to bytes: one Kafka record in, one ThinkingData line out, or the reason why not.
//! Knows no thread, no file, no Kafka.

pub mod comment_json;
mod decimal;
mod entry;
mod filter;
mod json_text;
mod lane;
mod line;
mod lookup;
mod members;
mod names;
mod nested;
mod options;
mod out;
mod program;
mod properties;
mod remarks;
mod scanner;
#[cfg(test)]
mod scanner_tests;
mod settings;
#[cfg(test)]
mod settings_tests;
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
use entry::Name;
use lookup::{Facts, Scratch, Value};
use members::{Kind, name_hash};
use program::{Chosen, Project};

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
const DEPTH_MAX: usize = 64;
/// Scratch space beyond this is given back before the next record.
const KEPT_BYTES_MAX: usize = 1 << 16;

/// One per reader thread: the options and all scratch space, so that a record needs no allocation.
pub struct Transformer {
    options: Options,
    scratch: Scratch,
    log_name: String,
    event_name: String,
    log_name_key: Name,
    app_id_key: Name,
}

/// A record that has a name, a route and its ids: only its line is still to be written (see [`Ready::emit`]).
pub struct Ready<'a> {
    options: &'a Options,
    scratch: &'a mut Scratch,
    facts: Facts<'a>,
    project: &'a Project,
    chosen: &'a Chosen,
    log_name: &'a str,
    event_name: &'a str,
    legal_event_name: bool,
    account_id: Value<'a>,
    distinct_id: Value<'a>,
    k: u32,
    now_ms: i64,
    /// So much of `scratch.made` belongs to the ids.
    made: usize,
}

impl Transformer {
    pub fn new(options: Options) -> Transformer {
        Transformer {
            options,
            scratch: Scratch::default(),
            log_name: String::new(),
            event_name: String::new(),
            log_name_key: Name::new("log_name"),
            app_id_key: Name::new("app_id"),
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

    fn steps<'a>(
        &'a mut self,
        program: &'a Program,
        record: &'a Record<'a>,
        piece: &'a [u8],
        k: u32,
        now_ms: i64,
    ) -> Result<Option<Ready<'a>>, Parked> {
        let Transformer { options, scratch, log_name, event_name, log_name_key, app_id_key } = self;
        scratch.made.clear();
        scratch.made.shrink_to(KEPT_BYTES_MAX);
        let (text, logs) = check_text(piece, scratch)?;
        let facts = Facts { record, text };
        let log_name = read_log_name(text, scratch, log_name_key, log_name)?;
        let project = read_project(text, scratch, app_id_key, program)?;
        let named = project.named(log_name.as_bytes(), name_hash(log_name.as_bytes()));
        match (named, options.unknown_log_name) {
            (None, UnknownLog::Park) => {
                return parked(Code::E20_UNKNOWN_LOG, format!("no entry for the log_name {log_name:?}"));
            }
            (None, UnknownLog::Drop) => return Ok(None),
            _ => {}
        }
        let chosen = &project.entries[named.unwrap_or(project.any)];
        let (event_name, legal_event_name, dropped) = match &chosen.names {
            Some(names) => (&names.event_name[..], names.legal, names.dropped),
            None => {
                let event_name = resolve_event_name(chosen, log_name, event_name);
                let dropped = project.filter.drops_name(log_name, event_name);
                (event_name, names::is_legal(event_name.as_bytes()), dropped)
            }
        };
        if dropped {
            return Ok(None);
        }
        if logs != Some(Kind::Object) {
            return parked(Code::E11_LOGS, "\"logs\" is absent or no object".into());
        }
        if project.filter.drops_fields(log_name, &facts, scratch) {
            return Ok(None);
        }
        let (account_id, distinct_id) = read_ids(chosen, &facts, scratch)?;
        let made = scratch.made.len();
        Ok(Some(Ready {
            options,
            scratch,
            facts,
            project,
            chosen,
            log_name,
            event_name,
            legal_event_name,
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
        self.event_name
    }

    pub fn lane(&mut self, rule: &LaneRule) -> u32 {
        rule.of_text(self.facts.record, self.facts.text.as_bytes(), self.scratch)
    }
}

/// Steps 4 to 8: the text without its BOM, and what `logs` is.
fn check_text<'a>(piece: &'a [u8], scratch: &mut Scratch) -> Result<(&'a str, Option<Kind>), Parked> {
    let Ok(text) = simdutf8::basic::from_utf8(piece) else {
        let at = std::str::from_utf8(piece).map_or_else(|error| error.valid_up_to(), str::len);
        return parked(Code::E04_UTF8, format!("byte {at} is not UTF-8"));
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Scratch { headers, logs, shapes, .. } = scratch;
    let scan = scanner::scan(text.as_bytes(), headers, logs, shapes);
    let scan = match scan {
        Ok(scan) => scan,
        Err(fault) => return parked(Code::E05_JSON, format!("byte {}: {}", fault.at, fault.what)),
    };
    if scan.depth > DEPTH_MAX {
        return parked(Code::E06_DEPTH, format!("{} levels of nesting, {DEPTH_MAX} are allowed", scan.depth));
    }
    if scan.root != Kind::Object {
        return parked(Code::E07_ROOT, "the value is JSON but no object".into());
    }
    if scan.headers != Some(Kind::Object) {
        return parked(Code::E08_HEADERS, "\"headers\" is absent or no object".into());
    }
    Ok((text, scan.logs))
}

/// Step 9.
fn read_log_name<'a>(text: &'a str, scratch: &Scratch, key: &Name, decoded: &'a mut String) -> Result<&'a str, Parked> {
    let member = scratch.headers.get(text.as_bytes(), key.text.as_bytes(), key.hash);
    let content = |member: &members::Member| member.at as usize + 1..member.end as usize - 1;
    let log_name = match member {
        Some(member) if member.kind == Kind::String => &text[content(member)],
        Some(member) if member.kind == Kind::Escaped => {
            let mut bytes = std::mem::take(decoded).into_bytes();
            bytes.clear();
            json_text::decode(&text.as_bytes()[content(member)], &mut bytes);
            *decoded = String::from_utf8(bytes).unwrap_or_default();
            decoded
        }
        _ => return parked(Code::E09_LOG_NAME, "\"log_name\" is absent or no string".into()),
    };
    if log_name.is_empty() || is_longer(log_name.as_bytes(), ID_CHARACTERS_MAX) {
        let detail = format!("\"log_name\" has not 1 to {ID_CHARACTERS_MAX} characters");
        return parked(Code::E09_LOG_NAME, detail);
    }
    Ok(log_name)
}

/// Step 10.
fn read_project<'a>(
    text: &str,
    scratch: &mut Scratch,
    key: &Name,
    program: &'a Program,
) -> Result<&'a Project, Parked> {
    let text = text.as_bytes();
    let Some(member) = scratch.headers.get(text, key.text.as_bytes(), key.hash) else {
        return parked(Code::E10_APP_ID, "\"app_id\" is absent".into());
    };
    let (kind, bytes) = (member.kind, member.value(text));
    let value = scratch.decoded(Value::of(kind, bytes));
    let app_id = match kind {
        Kind::Integer => Some(bytes),
        _ => scratch.text(&value),
    };
    match app_id.and_then(|app_id| program.project(app_id)) {
        Some(project) => Ok(project),
        None => {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
            parked(Code::E10_APP_ID, format!("\"app_id\" {shown} names no loaded settings"))
        }
    }
}

/// Where the name depends on the record's own.
fn resolve_event_name<'a>(chosen: &'a Chosen, log_name: &str, made: &'a mut String) -> &'a str {
    match &chosen.entry.event_name {
        Some(event_name) => event_name,
        None => {
            made.clear();
            made.push_str("t_");
            made.push_str(log_name);
            made
        }
    }
}

/// Steps 14 to 16.
fn read_ids<'a>(
    chosen: &'a Chosen,
    facts: &Facts<'a>,
    scratch: &mut Scratch,
) -> Result<(Value<'a>, Value<'a>), Parked> {
    let sources = [("#account_id", &chosen.entry.account_id), ("#distinct_id", &chosen.entry.distinct_id)];
    let mut ids = [Value::Missing; 2];
    for (id, (key, source)) in ids.iter_mut().zip(sources) {
        let found = scratch.resolve(facts, source);
        *id = scratch.decoded(found);
        if *id != Value::Missing && !line::is_id(id) {
            return parked(Code::E12_ID_TYPE, format!("{key} is neither a string nor an integer"));
        }
    }
    for (id, (key, _)) in ids.iter().zip(sources) {
        let text = match id {
            Value::Number(text) => text,
            id => scratch.text(id).unwrap_or_default(),
        };
        if is_longer(text, ID_CHARACTERS_MAX) {
            return parked(Code::E13_ID_LEN, format!("{key} has more than {ID_CHARACTERS_MAX} characters"));
        }
    }
    if ids == [Value::Missing; 2] {
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
