//! A record's fields by name: where they stand, what stands in for them, and how templates are filled.

use super::entry::{Fallback, Field, KafkaField, Name, Part, Source};
use super::json_text;
use super::members::{Kind, Members};
use super::plan::Known;
use super::scanner;
use crate::flow::record::Record;

/// What is known of a record and does not change while it is worked on.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    pub record: &'a Record<'a>,
    /// The piece without its BOM: checked JSON in UTF-8.
    pub text: &'a [u8],
    pub headers: &'a Members,
    /// Empty where `logs` is no object.
    pub logs: &'a Members,
}

/// A field's value. All bytes are UTF-8.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Absent, null or "".
    Missing,
    Bool(bool),
    /// A JSON number's text.
    Number(&'a [u8]),
    Whole(i64),
    /// A string's content.
    Text(&'a [u8]),
    /// A string's content with escapes in it.
    Escaped(&'a [u8]),
    /// A string's content: this stretch of [`Scratch::made`].
    Made(usize, usize),
    /// The JSON text.
    List(&'a [u8]),
    Object(&'a [u8]),
}

/// Space that is used again from record to record.
#[derive(Default)]
pub struct Scratch {
    /// For objects below `headers` and `logs`.
    pub spare: Vec<Members>,
    /// Filled templates and decoded strings.
    pub made: Vec<u8>,
}

impl<'a> Value<'a> {
    #[inline]
    pub fn is_missing(&self) -> bool {
        matches!(self, Value::Missing)
    }

    /// A value by its kind and JSON text; null and "" are missing.
    #[inline]
    pub fn of(kind: Kind, bytes: &'a [u8]) -> Value<'a> {
        match kind {
            Kind::Null => Value::Missing,
            Kind::String if bytes.len() == 2 => Value::Missing,
            kind => Value::as_it_is(kind, bytes),
        }
    }

    /// The same, but "" is a text. Null remains missing.
    #[inline]
    pub fn as_it_is(kind: Kind, bytes: &'a [u8]) -> Value<'a> {
        match kind {
            Kind::Null => Value::Missing,
            Kind::True => Value::Bool(true),
            Kind::False => Value::Bool(false),
            Kind::Integer | Kind::Decimal | Kind::Exponent => Value::Number(bytes),
            Kind::String => Value::Text(&bytes[1..bytes.len() - 1]),
            Kind::Escaped => Value::Escaped(&bytes[1..bytes.len() - 1]),
            Kind::List => Value::List(bytes),
            Kind::Object => Value::Object(bytes),
        }
    }
}

impl Scratch {
    /// The field's value, or what its default says.
    #[inline]
    pub fn resolve<'a>(&mut self, facts: &Facts<'a>, source: &'a Source) -> Value<'a> {
        if source.field.is_none() && matches!(source.default, Fallback::Nothing) {
            return Value::Missing;
        }
        self.resolve_known(facts, source, Known::Asked)
    }

    /// The same of a field whose place may be known.
    #[inline]
    pub fn resolve_known<'a>(&mut self, facts: &Facts<'a>, source: &'a Source, known: Known) -> Value<'a> {
        match source.field.as_ref().map_or(Value::Missing, |field| self.known(facts, field, known)) {
            Value::Missing => self.fallback(facts, source),
            value => value,
        }
    }

    #[inline]
    pub fn known<'a>(&mut self, facts: &Facts<'a>, field: &'a Field, known: Known) -> Value<'a> {
        match known {
            Known::Member(place) => {
                let member = &facts.logs.list[place];
                Value::of(member.kind, member.value(facts.text))
            }
            Known::Absent => Value::Missing,
            Known::Asked => self.field(facts, field),
        }
    }

    pub fn fallback<'a>(&mut self, facts: &Facts<'a>, source: &'a Source) -> Value<'a> {
        match &source.default {
            Fallback::Nothing => Value::Missing,
            Fallback::Number(text) => Value::Number(text.as_bytes()),
            Fallback::Bool(value) => Value::Bool(*value),
            Fallback::Template(parts) => match &parts[..] {
                [] => Value::Missing,
                [Part::Text(text)] => Value::Text(text.as_bytes()),
                parts => self.fill(facts, parts),
            },
        }
    }

    /// A member of `logs` by exact name; else a path below `logs`; else one of `headers`; else Kafka's.
    pub fn field<'a>(&mut self, facts: &Facts<'a>, field: &'a Field) -> Value<'a> {
        let text = facts.text;
        if let Some(member) = facts.logs.get(text, field.name.text.as_bytes(), field.name.hash) {
            return Value::of(member.kind, member.value(text));
        }
        if let Some((kind, bytes)) = self.below_logs(facts, &field.path) {
            return Value::of(kind, bytes);
        }
        if let Some(name) = &field.header
            && let Some(member) = facts.headers.get(text, name.text.as_bytes(), name.hash)
        {
            return Value::of(member.kind, member.value(text));
        }
        let record = facts.record;
        match field.kafka {
            None => Value::Missing,
            Some(KafkaField::Topic) if record.topic.is_empty() => Value::Missing,
            Some(KafkaField::Topic) => Value::Text(record.topic.as_bytes()),
            Some(KafkaField::Partition) => Value::Whole(i64::from(record.partition)),
            Some(KafkaField::Offset) => Value::Whole(record.offset),
            Some(KafkaField::Timestamp) if record.timestamp_ms == -1 => Value::Missing,
            Some(KafkaField::Timestamp) => Value::Whole(record.timestamp_ms),
        }
    }

    /// What stands at a path below `logs`; `None`: absent (null is there).
    pub fn below_logs<'a>(&mut self, facts: &Facts<'a>, path: &[Name]) -> Option<(Kind, &'a [u8])> {
        let (first, rest) = path.split_first()?;
        let member = facts.logs.get(facts.text, first.text.as_bytes(), first.hash)?;
        let (kind, bytes) = (member.kind, member.value(facts.text));
        self.below(kind, bytes, rest)
    }

    /// Follows a path down from a value.
    pub fn below<'a>(&mut self, kind: Kind, bytes: &'a [u8], path: &[Name]) -> Option<(Kind, &'a [u8])> {
        let (mut kind, mut bytes) = (kind, bytes);
        if path.is_empty() {
            return Some((kind, bytes));
        }
        let mut members = self.spare.pop().unwrap_or_default();
        let arrived = path.iter().all(|name| {
            let read = kind == Kind::Object && scanner::members(bytes, 0, &mut members).is_ok();
            let next = if read { members.get(bytes, name.text.as_bytes(), name.hash) } else { None };
            next.inspect(|next| (kind, bytes) = (next.kind, next.value(bytes))).is_some()
        });
        self.spare.push(members);
        arrived.then_some((kind, bytes))
    }

    /// Puts the fields into a template; nothing of it stands if one of them gives nothing.
    fn fill<'a>(&mut self, facts: &Facts<'a>, parts: &'a [Part]) -> Value<'a> {
        let from = self.made.len();
        for part in parts {
            let filled = match part {
                Part::Text(text) => {
                    self.made.extend_from_slice(text.as_bytes());
                    true
                }
                Part::Field(field) => {
                    let value = self.field(facts, field);
                    self.append(value)
                }
            };
            if !filled {
                self.made.truncate(from);
                return Value::Missing;
            }
        }
        if self.made.len() == from { Value::Missing } else { Value::Made(from, self.made.len()) }
    }

    /// Appends a scalar as text; false where there is none.
    fn append(&mut self, value: Value<'_>) -> bool {
        match value {
            Value::Missing | Value::List(_) | Value::Object(_) => return false,
            Value::Bool(value) => self.made.extend_from_slice(if value { b"true" } else { b"false" }),
            Value::Number(text) | Value::Text(text) => self.made.extend_from_slice(text),
            Value::Whole(value) => self.made.extend_from_slice(Digits::of(value).as_bytes()),
            Value::Escaped(raw) => json_text::decode(raw, &mut self.made),
            Value::Made(from, to) => self.made.extend_from_within(from..to),
        }
        true
    }

    /// A string's content without escapes; all other values as they are.
    pub fn decoded<'a>(&mut self, value: Value<'a>) -> Value<'a> {
        let Value::Escaped(raw) = value else { return value };
        let from = self.made.len();
        json_text::decode(raw, &mut self.made);
        Value::Made(from, self.made.len())
    }

    /// The content of a decoded string.
    pub fn text<'s>(&'s self, value: &Value<'s>) -> Option<&'s [u8]> {
        match *value {
            Value::Text(text) => Some(text),
            Value::Made(from, to) => self.made.get(from..to),
            _ => None,
        }
    }
}

/// A whole number's digits.
pub struct Digits {
    bytes: [u8; 20],
    from: usize,
}

impl Digits {
    pub fn of(value: i64) -> Digits {
        let mut digits = Digits { bytes: [0; 20], from: 20 };
        let mut rest = value.unsigned_abs();
        loop {
            digits.push(b'0' + (rest % 10) as u8);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if value < 0 {
            digits.push(b'-');
        }
        digits
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.from..]
    }

    fn push(&mut self, byte: u8) {
        self.from -= 1;
        self.bytes[self.from] = byte;
    }
}
