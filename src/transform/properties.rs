//! Step 21: the members of `logs` that become properties, and the `#` keys that stand among them.

use super::decimal;
use super::entry::{Cast, EventType, Property};
use super::json_text::put_string;
use super::lookup::{Digits, Facts, Scratch, Value};
use super::members::{Kind, Member, Members};
use super::names::{self, NameClass, PRESETS};
use super::nested;
use super::program::Chosen;
use super::remarks::Remarks;
use super::{Options, Out, Parked};
use crate::flow::tally::{Code, Remark};

const STRING_BYTES_MAX: usize = 2048;
const LIST_MEMBERS_MAX: usize = 500;
const LIST_STRING_BYTES_MAX: usize = 255;
const OBJECT_MEMBERS_MAX: usize = 100;

/// The work on one record's properties. What is copied as it stands is gathered into runs, so that most records are
/// one copy.
pub struct Properties<'r, 'o, 'a> {
    pub options: &'a Options,
    pub chosen: &'a Chosen,
    pub facts: Facts<'a>,
    pub scratch: &'r mut Scratch,
    pub out: &'r mut Out<'o>,
    pub remarks: &'r mut Remarks,
    /// The event type asks nothing of values: most are copied as they stand.
    plain: bool,
    /// Written so far, the run not yet copied included.
    count: usize,
    /// Bytes of the text still to be copied, from a name's quote to the end of a value.
    run: std::ops::Range<usize>,
}

/// How a cast has a value written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Same,
    String,
    Number,
    List,
}

impl<'r, 'o, 'a> Properties<'r, 'o, 'a> {
    pub fn new(
        options: &'a Options,
        chosen: &'a Chosen,
        facts: Facts<'a>,
        scratch: &'r mut Scratch,
        out: &'r mut Out<'o>,
        remarks: &'r mut Remarks,
    ) -> Properties<'r, 'o, 'a> {
        let kind = chosen.entry.event_type;
        let plain = kind.is_track() || matches!(kind, EventType::UserSet | EventType::UserSetOnce);
        Properties { options, chosen, facts, scratch, out, remarks, plain, count: 0, run: 0..0 }
    }

    /// Writes the object; how many properties stand in it.
    ///
    /// # Errors
    /// E19_BAD_PROPERTY.
    pub fn write(mut self) -> Result<usize, Parked> {
        self.out.put(b"{");
        if self.chosen.entry.event_type != EventType::UserDel {
            let mut keys = [Value::Missing; PRESETS.len()];
            for (value, key) in keys.iter_mut().zip(&self.chosen.entry.properties) {
                let resolved = self.scratch.resolve(&self.facts, &key.source);
                *value = self.scratch.decoded(resolved);
            }
            let members = std::mem::take(&mut self.scratch.logs);
            let written = self.all(&members, &keys);
            self.scratch.logs = members;
            written?;
        }
        self.out.put(b"}");
        Ok(self.count)
    }

    fn all(&mut self, members: &Members, keys: &[Value<'a>]) -> Result<(), Parked> {
        let entry = &self.chosen.entry;
        let mut placed = 0u32;
        let mut kept = Vec::new();
        for member in &members.list {
            let name = members.name(self.facts.text.as_bytes(), member);
            let rule = if entry.rules.is_empty() { None } else { entry.rules.get(name, member.hash) };
            let rule = rule.copied().unwrap_or_default();
            if rule.exclude {
                continue;
            }
            let before = self.count;
            match rule.property.map(usize::from).filter(|&i| keys[i] != Value::Missing) {
                Some(i) => {
                    placed |= 1 << i;
                    self.key(&entry.properties[i], keys[i]);
                }
                None => self.member(name, member, rule.cast)?,
            }
            if members.case_doubt && self.count > before {
                kept.push(name.to_ascii_lowercase());
            }
        }
        for (i, key) in entry.properties.iter().enumerate() {
            if placed & 1 << i == 0 && keys[i] != Value::Missing {
                self.key(key, keys[i]);
            }
        }
        self.copy_run();
        let names = kept.len();
        kept.sort_unstable();
        kept.dedup();
        self.remarks.add(Remark::PropCaseClash, (names - kept.len()) as u64);
        Ok(())
    }

    #[inline]
    fn member(&mut self, name: &[u8], member: &Member, cast: Option<Cast>) -> Result<(), Parked> {
        if member.kind == Kind::Null && self.chosen.entry.event_type != EventType::UserUnset {
            self.remarks.add(Remark::PropNull, 1);
            return Ok(());
        }
        match member.class.unwrap_or_else(|| names::class(name)) {
            NameClass::Property => {}
            NameClass::TopLevel => return Ok(()),
            NameClass::Bad if self.options.fail_bad_property => {
                let detail = format!("the property {:?} has no legal name", String::from_utf8_lossy(name));
                return Err(Parked { code: Code::E19_BAD_PROPERTY, detail });
            }
            NameClass::Bad => {
                self.remarks.add(Remark::PropBadName, 1);
                return Ok(());
            }
        }
        if !(self.plain && cast.is_none() && self.stays(member)) {
            let value = Value::as_it_is(member.kind, member.value(self.facts.text.as_bytes()));
            self.property(name, value, cast);
        }
        Ok(())
    }

    /// Adds a member to the run if its bytes are in byte form already.
    #[inline]
    fn stays(&mut self, member: &Member) -> bool {
        let (name_at, at, end) = (member.name_at as usize, member.at as usize, member.end as usize);
        if member.name_decoded || at != member.name_end as usize + 2 {
            return false;
        }
        match member.kind {
            Kind::True | Kind::False => {}
            Kind::String if end - at - 2 <= STRING_BYTES_MAX => {}
            Kind::Integer if end - at <= 15 => {}
            Kind::Integer | Kind::Decimal | Kind::Exponent => {
                if decimal::is_out_of_range(member.value(self.facts.text.as_bytes())) {
                    self.remarks.add(Remark::NumOutOfRange, 1);
                }
            }
            _ => return false,
        }
        // Between a value and the next name's quote one byte has room for the comma alone.
        if self.run.end + 2 == name_at && !self.run.is_empty() {
            self.run.end = end;
        } else {
            self.copy_run();
            if self.count > 0 {
                self.out.put(b",");
            }
            self.run = name_at - 1..end;
        }
        self.count += 1;
        true
    }

    fn copy_run(&mut self) {
        self.out.put(&self.facts.text.as_bytes()[self.run.clone()]);
        self.run = 0..0;
    }

    fn key(&mut self, key: &'a Property, value: Value<'a>) {
        self.property(key.name.as_bytes(), value, key.cast);
    }

    /// One property whose name is legal: cast, kind, limits.
    fn property(&mut self, name: &[u8], value: Value<'a>, cast: Option<Cast>) {
        let made = self.scratch.made.len();
        let value = self.scratch.decoded(value);
        let Some(form) = self.form(&value, cast) else {
            self.remarks.add(Remark::PropBadCast, 1);
            return self.scratch.made.truncate(made);
        };
        let fits = match self.chosen.entry.event_type {
            EventType::UserAdd => {
                form == Form::Number || form == Form::Same && matches!(value, Value::Number(_) | Value::Whole(_))
            }
            EventType::UserAppend | EventType::UserUniqAppend => form == Form::List || matches!(value, Value::List(_)),
            _ => true,
        };
        if !fits {
            self.remarks.add(Remark::PropBadType, 1);
            return self.scratch.made.truncate(made);
        }
        self.copy_run();
        if self.count > 0 {
            self.out.put(b",");
        }
        self.count += 1;
        put_string(self.out, name);
        self.out.put(b":");
        if self.chosen.entry.event_type == EventType::UserUnset {
            self.out.put(b"0");
        } else {
            self.value(&value, form);
        }
        self.scratch.made.truncate(made);
    }

    /// `None`: the cast is impossible.
    fn form(&self, value: &Value<'a>, cast: Option<Cast>) -> Option<Form> {
        match (cast, value) {
            (None, _) | (_, Value::Missing) => Some(Form::Same),
            (Some(Cast::String), Value::Number(_) | Value::Whole(_) | Value::Bool(_)) => Some(Form::String),
            (Some(Cast::String), Value::Text(_) | Value::Made(..)) => Some(Form::Same),
            (Some(Cast::Number), Value::Number(_) | Value::Whole(_)) => Some(Form::Same),
            (Some(Cast::Number), Value::Text(_) | Value::Made(..)) => {
                self.scratch.text(value).filter(|text| decimal::is_number(text)).map(|_| Form::Number)
            }
            (Some(Cast::List), Value::List(_)) => Some(Form::Same),
            (Some(Cast::List), Value::Object(_)) => None,
            (Some(Cast::List), _) => Some(Form::List),
            _ => None,
        }
    }

    fn value(&mut self, value: &Value<'a>, form: Form) {
        match value {
            Value::List(text) => {
                let facts = nested::put_list(text, self.out, self.scratch);
                self.remarks.add(Remark::ListOver500, u64::from(facts.len > LIST_MEMBERS_MAX));
                self.remarks.add(Remark::ListElemOver255, u64::from(facts.longest > LIST_STRING_BYTES_MAX));
                self.remarks.add(Remark::ListMixed, u64::from(facts.mixed));
            }
            Value::Object(text) => {
                let members = nested::put_object(text, self.out, self.scratch);
                self.remarks.add(Remark::ObjOver100, u64::from(members > OBJECT_MEMBERS_MAX));
            }
            Value::Missing => self.out.put(b"null"),
            scalar => {
                let digits;
                let (text, is_string) = match scalar {
                    Value::Bool(true) => (&b"true"[..], false),
                    Value::Bool(_) => (&b"false"[..], false),
                    Value::Number(text) => (*text, false),
                    Value::Whole(whole) => {
                        digits = Digits::of(*whole);
                        (digits.as_bytes(), false)
                    }
                    text => (self.scratch.text(text).unwrap_or_default(), true),
                };
                put_scalar(text, is_string, form, self.options, self.out, self.remarks);
            }
        }
    }
}

fn put_scalar(text: &[u8], is_string: bool, form: Form, options: &Options, out: &mut Out<'_>, remarks: &mut Remarks) {
    match form {
        Form::List => {
            remarks.add(Remark::ListElemOver255, u64::from(is_string && text.len() > LIST_STRING_BYTES_MAX));
            out.put(b"[");
            if is_string {
                put_string(out, text)
            } else {
                out.put(text)
            }
            out.put(b"]");
        }
        Form::Same | Form::String if is_string || form == Form::String => {
            let mut text = text;
            if text.len() > STRING_BYTES_MAX {
                remarks.add(Remark::StrOver2kb, 1);
                if options.truncate_long_string {
                    text = cut(text);
                }
            }
            put_string(out, text);
        }
        _ => {
            let is_number = text.first().is_some_and(|b| *b == b'-' || b.is_ascii_digit());
            remarks.add(Remark::NumOutOfRange, u64::from(is_number && decimal::is_out_of_range(text)));
            out.put(text);
        }
    }
}

/// The longest beginning that fits and ends between two characters.
fn cut(text: &[u8]) -> &[u8] {
    let mut end = STRING_BYTES_MAX;
    while end > 0 && text.get(end).is_some_and(|byte| byte & 0xC0 == 0x80) {
        end -= 1;
    }
    &text[..end]
}
