//! The transform once more, plain and slow: a record and settings as text come in, the end of every piece goes out.
//! Written from the rules alone, so that the fast library has something to be compared with. Clarity before speed.

#![allow(dead_code)] // every test takes what it needs

pub mod fast;
pub mod fields;
pub mod json;
pub mod lane;
pub mod number;
pub mod properties;
pub mod settings;
pub mod snappy;
pub mod time;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use logmill::flow::record::Record;
use logmill::transform::{Options, UnknownLog, ValueCodec};

use fields::Place;
use json::{Json, get};
use settings::{Entry, Project};

/// Remarks by their stable name.
pub type Remarks = BTreeMap<&'static str, u64>;

/// How a record ends.
#[derive(Clone, PartialEq, Eq)]
pub enum End {
    Written { line: Vec<u8>, remarks: Remarks },
    Filtered,
    Parked(&'static str),
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Written { line, remarks } => {
                write!(f, "Written {:?}", String::from_utf8_lossy(line))?;
                if remarks.is_empty() { Ok(()) } else { write!(f, " {remarks:?}") }
            }
            End::Filtered => f.write_str("Filtered"),
            End::Parked(code) => write!(f, "Parked {code}"),
        }
    }
}

/// The ends of all pieces of one value, in their order; a value that yields no piece has one end.
pub fn transform(projects: &[Project], options: &Options, record: &Record<'_>, now_ms: i64) -> Vec<End> {
    match pieces(options, record.value) {
        Err(code) => vec![End::Parked(code)],
        Ok(pieces) => {
            (0..).zip(&pieces).map(|(k, piece)| transform_piece(projects, options, record, piece, k, now_ms)).collect()
        }
    }
}

/// Steps 1 to 3.
pub fn pieces(options: &Options, value: Option<&[u8]>) -> Result<Vec<Vec<u8>>, &'static str> {
    let value = value.unwrap_or_default();
    if value.is_empty() {
        return Err("E01_EMPTY");
    }
    if value.len() > options.max_record_bytes {
        return Err("E02_TOO_LARGE_IN");
    }
    if options.value_codec == ValueCodec::None {
        return Ok(vec![value.to_vec()]);
    }
    let decoded = snappy::decode(value, options.max_record_bytes).ok_or("E03_CODEC")?;
    let is_blank = |line: &[u8]| line.iter().all(|b| b" \t\r".contains(b));
    let lines: Vec<Vec<u8>> =
        decoded.split(|b| *b == b'\n').filter(|line| !is_blank(line)).map(<[u8]>::to_vec).collect();
    if lines.is_empty() { Err("E01_EMPTY") } else { Ok(lines) }
}

/// Steps 4 to 22 for one piece.
pub fn transform_piece(
    projects: &[Project],
    options: &Options,
    record: &Record<'_>,
    piece: &[u8],
    k: u32,
    now_ms: i64,
) -> End {
    match route(projects, options, piece) {
        Err(end) => end,
        Ok(routed) => match write(&routed, options, record, k, now_ms) {
            Err(end) => end,
            Ok((line, remarks)) => End::Written { line, remarks },
        },
    }
}

/// A record whose headers are good and whose name passes.
struct Routed<'a> {
    project: &'a Project,
    entry: Entry,
    headers: Vec<(String, Json)>,
    log_name: String,
    event_name: String,
    logs: Option<Json>,
}

/// Steps 4 to 11.
fn route<'a>(projects: &'a [Project], options: &Options, piece: &[u8]) -> Result<Routed<'a>, End> {
    let park = End::Parked;
    let root = json::parse(piece).map_err(park)?;
    let Json::Object(root) = root else { return Err(park("E07_ROOT")) };
    let Some(Json::Object(headers)) = get(&root, "headers") else { return Err(park("E08_HEADERS")) };
    let log_name = match get(headers, "log_name") {
        Some(Json::Text(name)) if (1..=128).contains(&name.chars().count()) => name.clone(),
        _ => return Err(park("E09_LOG_NAME")),
    };
    let app_id = match get(headers, "app_id") {
        Some(Json::Number(text)) if number::is_integer(text) => text,
        Some(Json::Text(text)) => text,
        _ => return Err(park("E10_APP_ID")),
    };
    let project = projects.iter().find(|p| p.app_id == *app_id).ok_or(park("E10_APP_ID"))?;
    let named = project.entries.iter().find(|e| e.log_name == log_name);
    let entry = match (named, options.unknown_log_name) {
        (Some(entry), _) => entry.clone(),
        (None, UnknownLog::Park) => return Err(park("E20_UNKNOWN_LOG")),
        (None, UnknownLog::Drop) => return Err(End::Filtered),
        (None, UnknownLog::Entry) => {
            project.entries.iter().find(|e| e.log_name == "*").cloned().unwrap_or_else(Entry::built_in)
        }
    };
    let event_name = entry.event_name.clone().unwrap_or_else(|| format!("t_{log_name}"));
    if project.filter.drops_name(&log_name, &event_name) {
        return Err(End::Filtered);
    }
    let logs = get(&root, "logs").cloned();
    Ok(Routed { project, entry, headers: headers.clone(), log_name, event_name, logs })
}

/// Steps 12 to 22.
fn write(
    routed: &Routed<'_>,
    options: &Options,
    record: &Record<'_>,
    k: u32,
    now_ms: i64,
) -> Result<(Vec<u8>, Remarks), End> {
    let park = End::Parked;
    let Some(Json::Object(logs)) = &routed.logs else { return Err(park("E11_LOGS")) };
    let place = Place { logs, headers: &routed.headers, record };
    if routed.project.filter.drops_record(&routed.log_name, &place) {
        return Err(End::Filtered);
    }
    let entry = &routed.entry;
    let value = |key: &str| entry.source(key).and_then(|source| source.value(&place));
    let mut remarks = Remarks::new();
    let account_id = id_text(value("#account_id")).map_err(park)?;
    let distinct_id = id_text(value("#distinct_id")).map_err(park)?;
    if account_id.chars().count() > 128 || distinct_id.chars().count() > 128 {
        return Err(park("E13_ID_LEN"));
    }
    if account_id.is_empty() && distinct_id.is_empty() {
        return Err(park("E14_NO_ID"));
    }
    let is_track = entry.event_type.starts_with("track");
    if is_track && !properties::is_good_name(&routed.event_name) {
        return Err(park("E15_EVENT_NAME"));
    }
    let event_id = match value("#event_id") {
        Some(Json::Text(text)) => Some(text),
        Some(Json::Number(text)) if number::is_integer(&text) => Some(text),
        _ => None,
    };
    if ["track_update", "track_overwrite"].contains(&entry.event_type.as_str()) && event_id.is_none() {
        return Err(park("E16_EVENT_ID"));
    }
    let ip = ip_text(value("#ip"), &mut remarks);
    let time = time::time_text(entry.source("#time"), &place, options, now_ms, &mut remarks);
    let properties = properties::properties(entry, &place, options, &mut remarks).map_err(park)?;
    if properties.is_empty() && !is_track && entry.event_type != "user_del" {
        return Err(park("E17_EMPTY_PROPS"));
    }
    let mut line: BTreeMap<&str, Json> = BTreeMap::new();
    for key in ["#app_id", "#first_check_id", "#import_tool_id", "#transaction_property", "#uuid"] {
        value(key).and_then(|v| line.insert(key, v));
    }
    if options.add_uuid && !line.contains_key("#uuid") {
        line.insert("#uuid", Json::Text(uuid(record, k)));
    }
    line.insert("#account_id", Json::Text(account_id));
    line.insert("#distinct_id", Json::Text(distinct_id));
    event_id.and_then(|id| line.insert("#event_id", Json::Text(id)));
    if is_track {
        line.insert("#event_name", Json::Text(routed.event_name.clone()));
    }
    if is_track || !ip.is_empty() {
        line.insert("#ip", Json::Text(ip));
    }
    line.insert("#time", Json::Text(time));
    line.insert("#type", Json::Text(entry.event_type.clone()));
    line.insert("properties", Json::Object(properties));
    let members = line.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
    let mut bytes = Json::Object(members).byte_form().into_bytes();
    bytes.push(b'\n');
    if bytes.len() > options.max_line_bytes {
        return Err(park("E18_TOO_LARGE_OUT"));
    }
    Ok((bytes, remarks))
}

/// Step 14; missing is "".
fn id_text(value: Option<Json>) -> Result<String, &'static str> {
    match value {
        None => Ok(String::new()),
        Some(Json::Text(text)) => Ok(text),
        Some(Json::Number(text)) if number::is_integer(&text) => Ok(text),
        Some(_) => Err("E12_ID_TYPE"),
    }
}

/// Step 19.
fn ip_text(value: Option<Json>, remarks: &mut Remarks) -> String {
    match value {
        None => String::new(),
        Some(Json::Text(text)) if text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok() => text,
        Some(_) => {
            remark(remarks, "bad_ip");
            String::new()
        }
    }
}

pub fn remark(remarks: &mut Remarks, name: &'static str) {
    *remarks.entry(name).or_default() += 1;
}

/// FNV-1a-128 over the record's place, dressed as a UUID of version 4.
fn uuid(record: &Record<'_>, k: u32) -> String {
    let mut place = format!("{}/{}/{}", record.topic, record.partition, record.offset);
    if k >= 1 {
        place += &format!("/{k}");
    }
    let mut hash: u128 = 0x6c62272e07bb014262b821756295c58d;
    for byte in place.bytes() {
        hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000000001000000000000000000013b);
    }
    let mut hex: Vec<char> = format!("{hash:032x}").chars().collect();
    hex[12] = '4';
    let variant = hex[16].to_digit(16).unwrap_or(0);
    hex[16] = char::from_digit(variant % 4 + 8, 16).unwrap_or('8');
    let part = |range: std::ops::Range<usize>| hex[range].iter().collect::<String>();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}
