//! Step 21: the members of `logs` that become properties, and the `#` keys that stand among them.

use super::decimal;
use super::entry::{Cast, Entry, EventType, Property};
use super::json_text::put_string;
use super::lookup::{Digits, Facts, Scratch, Value};
use super::members::{Kind, Member};
use super::names::{self, NameClass};
use super::nested;
use super::remarks::Remarks;
use super::shape::Shape;
use super::{Options, Out, Parked, Ready};
use crate::flow::tally::{Code, Remark};

/// Strings beyond this are remarked.
pub const STRING_BYTES_MAX: usize = 2048;
const LIST_MEMBERS_MAX: usize = 500;
const LIST_STRING_BYTES_MAX: usize = 255;
const OBJECT_MEMBERS_MAX: usize = 100;

/// The work on one record's properties. What is copied as it stands is gathered into runs, so that most records are
/// one copy.
pub struct Properties<'r, 'o, 'a> {
    options: &'a Options,
    entry: &'a Entry,
    facts: Facts<'a>,
    shape: Option<&'a Shape>,
    scratch: &'r mut Scratch,
    out: &'r mut Out<'o>,
    remarks: &'r mut Remarks,
    /// One bit for each key that took a member's place.
    placed: u32,
    /// Written so far, the run not yet copied included.
    count: usize,
    /// Bytes of the text still to be copied, from a name's quote to the end of a value.
    run: std::ops::Range<usize>,
    /// Names in lower case, where two may be equal but for case.
    kept: Vec<Vec<u8>>,
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
    pub fn new(ready: &'r mut Ready<'a>, out: &'r mut Out<'o>, remarks: &'r mut Remarks) -> Properties<'r, 'o, 'a> {
        let Ready { options, chosen, facts, shape, ref mut scratch, .. } = *ready;
        let (entry, kept) = (&chosen.entry, Vec::new());
        Properties { options, entry, facts, shape, scratch, out, remarks, placed: 0, count: 0, run: 0..0, kept }
    }

    /// Writes the object; how many properties stand in it.
    ///
    /// # Errors
    /// E19_BAD_PROPERTY.
    pub fn write(mut self) -> Result<usize, Parked> {
        self.out.put(b"{");
        if self.entry.event_type != EventType::UserDel {
            self.all()?;
        }
        self.out.put(b"}");
        Ok(self.count)
    }

    fn all(&mut self) -> Result<(), Parked> {
        let Facts { text, logs, .. } = self.facts;
        let count = logs.list.len();
        let mut special = self.special();
        let mut from = 0;
        while from < count {
            // Behind those that have bits all are special.
            let at = (special.trailing_zeros() as usize).clamp(from, count);
            self.neighbours(logs.run(text, from..at), at - from);
            if let Some(member) = logs.list.get(at) {
                self.named(member)?;
            }
            from = at + 1;
            special &= special.wrapping_sub(1);
        }
        for (i, key) in self.entry.properties.iter().enumerate() {
            if self.placed & 1 << i == 0 {
                self.key(key);
            }
        }
        self.copy_run();
        if self.kept.is_empty() {
            return Ok(());
        }
        let names = self.kept.len();
        self.kept.sort_unstable();
        self.kept.dedup();
        self.remarks.add(Remark::PropCaseClash, (names - self.kept.len()) as u64);
        Ok(())
    }

    /// One bit for each member that cannot be copied in one run with its neighbours.
    fn special(&self) -> u128 {
        let Properties { shape, entry, facts: Facts { logs, .. }, .. } = self;
        match shape {
            Some(shape) => shape.special(),
            None if !entry.event_type.keeps_values() => u128::MAX,
            None => logs.odd | entry.rules.may_hold_of(logs.list.iter().map(|member| member.hash)),
        }
    }

    /// Some members that are copied as they stand.
    fn neighbours(&mut self, members: &[u8], count: usize) {
        if count == 0 {
            return;
        }
        self.copy_run();
        if self.count > 0 {
            self.out.put(b",");
        }
        self.count += count;
        self.out.put(members);
    }

    /// A member, unless the settings leave it out or put a key in its place.
    #[inline]
    fn named(&mut self, member: &Member) -> Result<(), Parked> {
        let Facts { text, logs, .. } = self.facts;
        let name = logs.name(text, member);
        let rule = self.entry.rules.get(name, member.hash).copied().unwrap_or_default();
        if rule.exclude {
            return Ok(());
        }
        let before = self.count;
        match rule.property {
            Some(i) if self.key(&self.entry.properties[usize::from(i)]) => self.placed |= 1 << i,
            _ => self.member(name, member, rule.cast)?,
        }
        if logs.case_doubt && self.count > before {
            self.kept.push(name.to_ascii_lowercase());
        }
        Ok(())
    }

    #[inline]
    fn member(&mut self, name: &[u8], member: &Member, cast: Option<Cast>) -> Result<(), Parked> {
        if member.kind == Kind::Null && self.entry.event_type != EventType::UserUnset {
            self.remarks.add(Remark::PropNull, 1);
            return Ok(());
        }
        match if member.legal { NameClass::Property } else { names::class(name) } {
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
        if !(self.entry.event_type.keeps_values() && cast.is_none() && self.stays(member)) {
            let value = Value::as_it_is(member.kind, member.value(self.facts.text));
            self.property(name, value, cast);
        }
        Ok(())
    }

    /// Adds a member to the run if its bytes are in byte form already.
    #[inline]
    fn stays(&mut self, member: &Member) -> bool {
        let (at, end) = (member.at as usize, member.end as usize);
        if member.name_decoded || at != member.name_end as usize + 2 {
            return false;
        }
        match member.kind {
            Kind::True | Kind::False => {}
            Kind::String if end - at - 2 <= STRING_BYTES_MAX => {}
            Kind::Integer if end - at <= 15 => {}
            Kind::Integer | Kind::Decimal | Kind::Exponent => {
                if decimal::is_out_of_range(member.value(self.facts.text)) {
                    self.remarks.add(Remark::NumOutOfRange, 1);
                }
            }
            _ => return false,
        }
        self.append(member);
        true
    }

    /// Adds a member to the run.
    #[inline]
    fn append(&mut self, member: &Member) {
        let (name_at, end) = (member.name_at as usize, member.end as usize);
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
    }

    fn copy_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        if !run.is_empty() {
            self.out.put(&self.facts.text[run]);
        }
    }

    /// False where the key has no value.
    fn key(&mut self, key: &'a Property) -> bool {
        let value = self.scratch.resolve(&self.facts, &key.source);
        if !value.is_missing() {
            self.property(key.name.as_bytes(), value, key.cast);
        }
        !value.is_missing()
    }

    /// One property whose name is legal: cast, kind, limits.
    fn property(&mut self, name: &[u8], value: Value<'a>, cast: Option<Cast>) {
        let made = self.scratch.made.len();
        let value = self.scratch.decoded(value);
        let Some(form) = self.form(&value, cast) else {
            self.remarks.add(Remark::PropBadCast, 1);
            return self.scratch.made.truncate(made);
        };
        let fits = match self.entry.event_type {
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
        if self.entry.event_type == EventType::UserUnset {
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
