//! Steps 4 to 11: one text read in the general way, and what its headers come to.

use super::entry::Name;
use super::lookup::{Facts, Scratch, Value};
use super::members::{Kind, Member, Members, name_hash};
use super::program::{ChosenNames, Program, Project};
use super::scanner_index::Index;
use super::{
    BOM, DEPTH_MAX, ID_CHARACTERS_MAX, Options, Parked, UnknownLog, is_longer, json_text, names, parked, scanner,
};
use crate::flow::record::Record;
use crate::flow::tally::Code;

/// What a record's headers come to.
#[derive(Clone, Copy)]
pub struct Heading<'a> {
    /// Places in the program and among the project's entries.
    pub project: usize,
    pub entry: usize,
    pub log_name: &'a str,
    pub names: &'a ChosenNames,
}

/// Space that is used again from record to record.
pub struct Reading {
    headers: Members,
    logs: Members,
    log_name: String,
    names: ChosenNames,
    log_name_key: Name,
    app_id_key: Name,
}

impl Default for Reading {
    fn default() -> Reading {
        Reading {
            headers: Members::default(),
            logs: Members::default(),
            log_name: String::new(),
            names: ChosenNames::default(),
            log_name_key: Name::new("log_name"),
            app_id_key: Name::new("app_id"),
        }
    }
}

impl Reading {
    /// Reads and checks the piece; `None`: it is filtered.
    ///
    /// # Errors
    /// E04_UTF8 to E11_LOGS, E20_UNKNOWN_LOG.
    pub fn read<'a>(
        &'a mut self,
        options: &Options,
        index: Option<&mut Index>,
        program: &'a Program,
        record: &'a Record<'a>,
        piece: &'a [u8],
        scratch: &mut Scratch,
    ) -> Result<Option<(Facts<'a>, Heading<'a>)>, Parked> {
        let Reading { headers, logs, log_name, names, log_name_key, app_id_key } = self;
        let (text, logs_kind) = check_text(piece, headers, logs, index)?;
        let facts = Facts { record, text, headers, logs };
        let log_name = read_log_name(&facts, log_name_key, log_name)?;
        let place = read_project(&facts, app_id_key, program, scratch)?;
        let project = program.project(place);
        let named = project.named(log_name.as_bytes(), name_hash(log_name.as_bytes()));
        match (named, options.unknown_log_name) {
            (None, UnknownLog::Park) => {
                return parked(Code::E20_UNKNOWN_LOG, format!("no entry for the log_name {log_name:?}"));
            }
            (None, UnknownLog::Drop) => return Ok(None),
            _ => {}
        }
        let entry = named.unwrap_or(project.any);
        let names = match &project.entries[entry].names {
            Some(names) => names,
            None => {
                resolve_names(project, entry, log_name, names);
                names
            }
        };
        if names.dropped {
            return Ok(None);
        }
        if logs_kind != Some(Kind::Object) {
            return parked(Code::E11_LOGS, "\"logs\" is absent or no object".into());
        }
        Ok(Some((facts, Heading { project: place, entry, log_name, names })))
    }
}

/// Steps 4 to 8: the text without its BOM, and what `logs` is.
fn check_text<'a>(
    piece: &'a [u8],
    headers: &mut Members,
    logs: &mut Members,
    mut index: Option<&mut Index>,
) -> Result<(&'a [u8], Option<Kind>), Parked> {
    let text = piece.strip_prefix(BOM).unwrap_or(piece);
    let ascii = index.as_mut().is_some_and(|index| index.start(text));
    if !ascii && simdutf8::basic::from_utf8(text).is_err() {
        let at = std::str::from_utf8(piece).map_or_else(|error| error.valid_up_to(), str::len);
        return parked(Code::E04_UTF8, format!("byte {at} is not UTF-8"));
    }
    let scan = match scanner::scan(text, headers, logs, index) {
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
fn read_log_name<'a>(facts: &Facts<'a>, key: &Name, decoded: &'a mut String) -> Result<&'a str, Parked> {
    let Facts { text, headers, .. } = facts;
    let content = |member: &Member| &text[member.at as usize + 1..member.end as usize - 1];
    decoded.clear();
    let log_name = match headers.get(text, key.text.as_bytes(), key.hash) {
        Some(member) if member.kind == Kind::String => std::str::from_utf8(content(member)).unwrap_or_default(),
        Some(member) if member.kind == Kind::Escaped => {
            let mut bytes = Vec::new();
            json_text::decode(content(member), &mut bytes);
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

/// Step 10: the project's place in the program.
fn read_project(facts: &Facts<'_>, key: &Name, program: &Program, scratch: &mut Scratch) -> Result<usize, Parked> {
    let Facts { text, headers, .. } = facts;
    let Some(member) = headers.get(text, key.text.as_bytes(), key.hash) else {
        return parked(Code::E10_APP_ID, "\"app_id\" is absent".into());
    };
    let (kind, bytes) = (member.kind, member.value(text));
    let value = scratch.decoded(Value::of(kind, bytes));
    let app_id = match kind {
        Kind::Integer => Some(bytes),
        _ => scratch.text(&value),
    };
    match app_id.and_then(|app_id| program.find(app_id)) {
        Some(place) => Ok(place),
        None => {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
            parked(Code::E10_APP_ID, format!("\"app_id\" {shown} names no loaded settings"))
        }
    }
}

/// Where they depend on the record's own log name.
fn resolve_names(project: &Project, entry: usize, log_name: &str, names: &mut ChosenNames) {
    let event_name = &mut names.event_name;
    event_name.clear();
    match &project.entries[entry].entry.event_name {
        Some(given) => event_name.push_str(given),
        None => event_name.extend(["t_", log_name]),
    }
    names.legal = names::is_legal(event_name.as_bytes());
    names.dropped = project.filter.drops_name(log_name, event_name);
}
