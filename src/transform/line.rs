//! Steps 17 to 22: the line itself, its keys in byte order, and what is remarked on the way.

use std::net::IpAddr;

use super::json_text::{put_content, put_string};
use super::lookup::{Digits, Scratch, Value};
use super::nested;
use super::plan::Head;
use super::properties::Properties;
use super::remarks::Remarks;
use super::time::Moment;
use super::{Out, Parked, Ready, Stop, decimal};
use crate::flow::tally::{Code, Remark, Tally};

impl Ready<'_> {
    /// Steps 17 to 22: writes the line with its newline. On `Err` what stands in `out` is void (the caller resets it)
    /// and `tally` is untouched. May be called again.
    ///
    /// # Errors
    /// [`Stop::Full`] where `out` is too small and smaller than `max_line_bytes`; else E15_EVENT_NAME, E16_EVENT_ID,
    /// E17_EMPTY_PROPS, E18_TOO_LARGE_OUT, E19_BAD_PROPERTY.
    pub fn emit(&mut self, out: &mut Out<'_>, tally: &mut Tally) -> Result<(), Stop> {
        let from = out.len();
        let mut remarks = Remarks::default();
        self.scratch.made.truncate(self.made);
        self.line(out, &mut remarks).map_err(Stop::Parked)?;
        let max = self.options.max_line_bytes;
        if out.is_full() && out.capacity() < max {
            return Err(Stop::Full);
        }
        if out.is_full() || out.len() - from > max {
            let detail = format!("the line is longer than max_line_bytes, {max}");
            return Err(Stop::Parked(Parked { code: Code::E18_TOO_LARGE_OUT, detail }));
        }
        remarks.count_into(tally);
        Ok(())
    }

    fn line(&mut self, out: &mut Out<'_>, remarks: &mut Remarks) -> Result<(), Parked> {
        match self.plan.head(self.options) {
            Some(head) => self.planned_head(head, out, remarks),
            None => self.head(out, remarks)?,
        }
        let properties = Properties::new(self, out, remarks);
        let count = properties.write()?;
        out.put(b"}\n");
        let kind = self.chosen.entry.event_type;
        if count == 0 && !kind.is_track() && kind != super::entry::EventType::UserDel {
            let detail = format!("a {} without properties", kind.name());
            return Err(Parked { code: Code::E17_EMPTY_PROPS, detail });
        }
        Ok(())
    }

    /// What stands before the properties.
    fn planned_head(&mut self, head: &Head, out: &mut Out<'_>, remarks: &mut Remarks) {
        out.put(b"{\"#account_id\":\"");
        put_text(&self.account_id, self.scratch, out);
        out.put(b"\",\"#distinct_id\":\"");
        put_text(&self.distinct_id, self.scratch, out);
        out.put(&head.named);
        if head.has_ip {
            self.ip(out, remarks);
        }
        self.time(out, remarks);
        out.put(&head.typed);
    }

    /// The same where every key may be there.
    fn head(&mut self, out: &mut Out<'_>, remarks: &mut Remarks) -> Result<(), Parked> {
        let entry = &self.chosen.entry;
        let kind = entry.event_type;
        if kind.is_track() && !self.names.legal {
            let detail = format!("{:?} is no legal event name", self.names.event_name);
            return Err(Parked { code: Code::E15_EVENT_NAME, detail });
        }
        let event_id = self.scratch.resolve(&self.facts, &entry.event_id);
        let event_id = self.scratch.decoded(event_id);
        let has_event_id = is_id(&event_id);
        if kind.needs_event_id() && !has_event_id {
            let detail = format!("#event_id of a {} is missing, or no string or integer", kind.name());
            return Err(Parked { code: Code::E16_EVENT_ID, detail });
        }
        out.put(b"{\"#account_id\":\"");
        put_text(&self.account_id, self.scratch, out);
        out.put(b"\"");
        let app_id = self.scratch.resolve(&self.facts, &entry.app_id);
        self.key(b",\"#app_id\":", app_id, out);
        out.put(b",\"#distinct_id\":\"");
        put_text(&self.distinct_id, self.scratch, out);
        out.put(b"\"");
        if has_event_id {
            out.put(b",\"#event_id\":\"");
            put_text(&event_id, self.scratch, out);
            out.put(b"\"");
        }
        if kind.is_track() {
            out.put(b",\"#event_name\":\"");
            out.put(self.names.event_name.as_bytes());
            out.put(b"\"");
        }
        let first_check_id = self.scratch.resolve(&self.facts, &entry.first_check_id);
        self.key(b",\"#first_check_id\":", first_check_id, out);
        let import_tool_id = self.scratch.resolve(&self.facts, &entry.import_tool_id);
        self.key(b",\"#import_tool_id\":", import_tool_id, out);
        self.ip(out, remarks);
        self.time(out, remarks);
        let transaction = self.scratch.resolve(&self.facts, &entry.transaction_property);
        self.key(b",\"#transaction_property\":", transaction, out);
        out.put(b",\"#type\":\"");
        out.put(kind.name().as_bytes());
        out.put(b"\"");
        match self.scratch.resolve(&self.facts, &entry.uuid) {
            Value::Missing if self.options.add_uuid => self.made_uuid(out),
            uuid => self.key(b",\"#uuid\":", uuid, out),
        }
        out.put(b",\"properties\":");
        Ok(())
    }

    /// A top-level key that may be missing.
    fn key(&mut self, key: &[u8], value: Value<'_>, out: &mut Out<'_>) {
        if value.is_missing() {
            return;
        }
        out.put(key);
        match self.scratch.decoded(value) {
            Value::List(text) => {
                nested::put_list(text, out, self.scratch);
            }
            Value::Object(text) => {
                nested::put_object(text, out, self.scratch);
            }
            value => match self.scratch.text(&value) {
                Some(text) => put_string(out, text),
                None => put_text(&value, self.scratch, out),
            },
        }
    }

    fn ip(&mut self, out: &mut Out<'_>, remarks: &mut Remarks) {
        let value = self.scratch.resolve_known(&self.facts, &self.chosen.entry.ip, self.plan.ip);
        let value = self.scratch.decoded(value);
        let text = self.scratch.text(&value).and_then(|text| std::str::from_utf8(text).ok());
        let legal = text.filter(|text| text.parse::<IpAddr>().is_ok());
        remarks.add(Remark::BadIp, u64::from(legal.is_none() && !value.is_missing()));
        let legal = legal.unwrap_or_default();
        if !legal.is_empty() || self.chosen.entry.event_type.is_track() {
            out.put(b",\"#ip\":\"");
            out.put(legal.as_bytes());
            out.put(b"\"");
        }
    }

    fn time(&mut self, out: &mut Out<'_>, remarks: &mut Remarks) {
        let source = &self.chosen.entry.time;
        let zone_s = self.options.timezone_s;
        let found = match &source.field {
            Some(field) => self.scratch.known(&self.facts, field, self.plan.time),
            None => Value::Missing,
        };
        let moment = self.moment(found).or_else(|| {
            let default = self.scratch.fallback(&self.facts, source);
            self.moment(default)
        });
        let moment = moment.unwrap_or_else(|| {
            remarks.add(Remark::TimeFallback, 1);
            let kafka_ms = self.facts.record.timestamp_ms;
            let kafka = (kafka_ms >= 0 && !self.options.time_fallback_now).then_some(kafka_ms);
            kafka.and_then(|ms| Moment::of_clock(ms, zone_s)).unwrap_or_else(|| Moment::now(self.now_ms, zone_s))
        });
        remarks.add(Remark::TimeOutOfRange, u64::from(moment.is_far_from(self.now_ms, zone_s)));
        let (text, len) = moment.written();
        out.put(b",\"#time\":\"");
        out.put(&text[..len]);
        out.put(b"\"");
    }

    fn moment(&mut self, value: Value<'_>) -> Option<Moment> {
        let zone_s = self.options.timezone_s;
        match self.scratch.decoded(value) {
            Value::Number(text) => Moment::of_number(text, zone_s),
            Value::Whole(whole) => Moment::of_number(Digits::of(whole).as_bytes(), zone_s),
            value => self.scratch.text(&value).and_then(|text| Moment::of_text(text, zone_s)),
        }
    }

    /// A UUID that is the same whenever this record is read again.
    fn made_uuid(&self, out: &mut Out<'_>) {
        let record = self.facts.record;
        let hash = Fnv128::new().add(record.topic.as_bytes()).add(b"/");
        let hash = hash.add(Digits::of(i64::from(record.partition)).as_bytes()).add(b"/");
        let mut hash = hash.add(Digits::of(record.offset).as_bytes());
        if self.k > 0 {
            hash = hash.add(b"/").add(Digits::of(i64::from(self.k)).as_bytes());
        }
        out.put(b",\"#uuid\":\"");
        out.put(&hash.uuid());
        out.put(b"\"");
    }
}

/// A string or an integer, not missing.
pub fn is_id(value: &Value<'_>) -> bool {
    match value {
        Value::Text(_) | Value::Made(..) | Value::Whole(_) => true,
        Value::Number(text) => decimal::is_integer(text),
        _ => false,
    }
}

/// A scalar's text, escaped as the content of a string.
fn put_text(value: &Value<'_>, scratch: &Scratch, out: &mut Out<'_>) {
    match value {
        Value::Number(text) => out.put(text),
        Value::Whole(whole) => out.put(Digits::of(*whole).as_bytes()),
        Value::Bool(value) => out.put(if *value { b"true" } else { b"false" }),
        value => put_content(out, scratch.text(value).unwrap_or_default()),
    }
}

/// FNV-1a with 128 bits.
struct Fnv128(u128);

impl Fnv128 {
    fn new() -> Fnv128 {
        Fnv128(0x6C62_272E_07BB_0142_62B8_2175_6295_C58D)
    }

    fn add(self, bytes: &[u8]) -> Fnv128 {
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013B;
        Fnv128(bytes.iter().fold(self.0, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME)))
    }

    /// With version 4 and the usual variant in their places.
    fn uuid(self) -> [u8; 36] {
        let bits = self.0 & !(0xF << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        let mut text = [b'-'; 36];
        let places = (0..36).filter(|at| !matches!(at, 8 | 13 | 18 | 23));
        for (i, at) in places.enumerate() {
            let nibble = (bits >> (124 - 4 * i)) as usize & 15;
            text[at] = b"0123456789abcdef"[nibble];
        }
        text
    }
}
