//! The shapes that records repeat: the same names in the same order, only the values differ. A record of a known shape
//! is compared with its literals instead of being read, and what follows from names alone is decided once.
//!
//! Whatever does not fit a shape to the byte is read in the general way, which alone tells what is wrong with a record.

use memchr::memmem;

use super::entry::Entry;
use super::heading::Heading;
use super::json_text::next_special;
use super::lookup::Facts;
use super::members::{Member, Members, name_hash, same};
use super::names::{self, NameClass};
use super::plan::Plan;
use super::program::{ChosenNames, Program, Stamp};
use super::scanner_lanes::Width;
use super::scanner_wide::{Chunk, fill};

/// Log names told apart; those that share a place share its shapes.
const PLACES: usize = 128;
/// Shapes of one place. With the limits below all shapes of a transformer take less than 12 MiB.
const SHAPES_MAX: usize = 4;
/// One bit each in a `u128`.
const MEMBERS_MAX: usize = 128;
const LITERAL_BYTES_MAX: usize = 4096;
/// Where a record's log name is looked for.
const NAME_WITHIN: usize = 256;
/// After so many records in a row that fitted no shape, one in `TRIED` is tried: the others cannot fit at a price.
const PATIENCE: u32 = 32;
const TRIED: u32 = 16;
/// A shape is learnt once in 2 to the power of this at least.
pub const BARREN_MAX: u32 = 10;

/// One shape with the settings it was met with.
#[derive(Debug)]
pub struct Shape {
    headers: Part,
    logs: Part,
    headers_first: bool,
    /// From the last value to the end.
    tail: Vec<u8>,
    /// Which members of `headers` name the log and the project, and how they are written. None where that is all that
    /// stands in `headers`, and first of all: then it is a part of the first literal of `logs`.
    named: Vec<(usize, Vec<u8>)>,
    project: usize,
    entry: usize,
    log_name: String,
    names: ChosenNames,
    plan: Plan,
    /// One bit for each member of `logs` that cannot be a part of a run, whatever its value.
    special: u128,
    /// When it last fitted; 0: never.
    used: u64,
}

/// One object of a record.
#[derive(Debug)]
struct Part {
    chunks: Vec<Chunk>,
    /// With the values' places in the last record that fitted.
    members: Members,
    odd: u128,
}

/// Shapes by log name: the most recently used ones of each.
#[derive(Debug)]
pub struct Shapes {
    width: Width,
    places: Vec<Place>,
    /// Whose settings they hold.
    stamp: Stamp,
    /// Where the last record's log name stood.
    name_at: usize,
    clock: u64,
}

#[derive(Debug, Default)]
struct Place {
    shapes: Vec<Shape>,
    last: usize,
    /// Records since one fitted.
    in_vain: u32,
    /// Records since a shape was learnt that fitted none.
    misses: u32,
    /// Shapes learnt since one proved useful.
    barren: u32,
}

impl Shapes {
    pub fn new(width: Width) -> Shapes {
        let places = std::iter::repeat_with(Place::default).take(PLACES).collect();
        Shapes { width, places, stamp: Stamp::default(), name_at: 0, clock: 0 }
    }

    /// The shape that the record fits; its members then stand at their places in `text`. Else where its shape may be
    /// learnt, if it was held against those that are known.
    pub fn find(&mut self, program: &Program, text: &[u8]) -> Result<(usize, usize), Option<usize>> {
        if self.stamp != program.stamp {
            self.places.iter_mut().for_each(|place| *place = Place::default());
            self.stamp = program.stamp;
        }
        let at = self.place(text);
        let place = &mut self.places[at];
        place.in_vain = place.in_vain.wrapping_add(1);
        if place.in_vain > PATIENCE && !place.in_vain.is_multiple_of(TRIED) {
            return Err(None);
        }
        let count = place.shapes.len();
        for i in (place.last..count).chain(0..place.last.min(count)) {
            if place.shapes[i].fit(self.width, text) {
                self.clock += 1;
                if place.shapes[i].used == 0 {
                    place.barren = 0;
                }
                (place.shapes[i].used, place.last, place.in_vain) = (self.clock, i, 0);
                return Ok((at, i));
            }
        }
        Err(Some(at))
    }

    pub fn get(&self, (place, shape): (usize, usize)) -> &Shape {
        &self.places[place].shapes[shape]
    }

    /// Takes note of a record that fitted none. The shape is learnt at once at first, then ever more rarely as long as
    /// none that is learnt is met again.
    pub fn learn(&mut self, place: usize, program: &Program, facts: &Facts<'_>, heading: &Heading<'_>) {
        let place = &mut self.places[place];
        place.misses += 1;
        if place.misses >> place.barren == 0 {
            return;
        }
        place.misses = 0;
        place.barren = (place.barren + 1).min(BARREN_MAX);
        let Some(shape) = Shape::of(program, facts, heading) else { return };
        if place.shapes.len() < SHAPES_MAX {
            place.shapes.push(shape);
        } else if let Some(oldest) = place.shapes.iter_mut().min_by_key(|shape| shape.used) {
            *oldest = shape;
        }
    }

    /// Records that fitted.
    #[cfg(test)]
    pub fn fitted(&self) -> u64 {
        self.clock
    }

    #[cfg(test)]
    pub fn most_barren(&self) -> u32 {
        self.places.iter().map(|place| place.barren).max().unwrap_or(0)
    }

    /// A place for the log name that the text seems to have.
    fn place(&mut self, text: &[u8]) -> usize {
        const KEY: &[u8] = b"\"log_name\":";
        let text = &text[..text.len().min(NAME_WITHIN)];
        if !text.get(self.name_at..).is_some_and(|rest| rest.starts_with(KEY)) {
            let Some(at) = memmem::find(text, KEY) else { return 0 };
            self.name_at = at;
        }
        let value = &text[self.name_at + KEY.len()..];
        let behind_blank = || memchr::memchr(b'"', value).map(|quote| &value[quote + 1..]);
        let name = value.strip_prefix(b"\"").or_else(behind_blank).unwrap_or(value);
        name_hash(&name[..next_special(name, 0)]) as usize % PLACES
    }
}

impl Shape {
    /// The shape of a record that was read in the general way.
    fn of(program: &Program, facts: &Facts<'_>, heading: &Heading<'_>) -> Option<Shape> {
        let Facts { text, headers, logs, .. } = facts;
        let members = || headers.list.iter().chain(&logs.list);
        let values: usize = members().map(|member| (member.end - member.at) as usize).sum();
        if logs.case_doubt || members().count() > MEMBERS_MAX || text.len() - values > LITERAL_BYTES_MAX {
            return None;
        }
        let named = |name: &str| {
            let at = headers.list.iter().position(|member| headers.name(text, member) == name.as_bytes())?;
            Some((at, headers.list[at].value(text).to_vec()))
        };
        let headers_first = headers.list.first()?.at < logs.list.first()?.at;
        let mut from = 0;
        let mut named = vec![named("log_name")?, named("app_id")?];
        let (headers, logs) = if headers_first && headers.list.len() == named.len() {
            named.clear();
            (Part { chunks: Vec::new(), members: headers.known(text), odd: 0 }, Part::of(text, &mut from, logs)?)
        } else if headers_first {
            let headers = Part::of(text, &mut from, headers)?;
            (headers, Part::of(text, &mut from, logs)?)
        } else {
            let logs = Part::of(text, &mut from, logs)?;
            (Part::of(text, &mut from, headers)?, logs)
        };
        let project = program.project(heading.project);
        let entry = &project.entries[heading.entry].entry;
        let plan = Plan::of(facts, entry, &project.filter, heading.log_name, heading.names);
        Some(Shape {
            headers,
            headers_first,
            tail: text[from..].to_vec(),
            named,
            project: heading.project,
            entry: heading.entry,
            log_name: heading.log_name.to_string(),
            names: heading.names.clone(),
            plan,
            special: special(facts, entry),
            used: 0,
            logs,
        })
    }

    /// Does the text have this shape? If so its values' places are noted.
    fn fit(&mut self, width: Width, text: &[u8]) -> bool {
        let Shape { headers, logs, .. } = self;
        let parts = if self.headers_first { [headers, logs] } else { [logs, headers] };
        let mut at = 0;
        for part in parts.into_iter().filter(|part| !part.chunks.is_empty()) {
            let Some(filled) = fill(width, text, at, &mut part.chunks, &mut part.members.list) else { return false };
            (at, part.odd) = (filled.end, filled.odd);
        }
        let headers = &self.headers.members.list;
        same(&text[at..], &self.tail) && self.named.iter().all(|(i, written)| same(headers[*i].value(text), written))
    }

    pub fn headers(&self) -> &Members {
        &self.headers.members
    }

    pub fn logs(&self) -> &Members {
        &self.logs.members
    }

    /// What was found out when the shape was learnt, with the same settings.
    pub fn heading(&self) -> Heading<'_> {
        Heading { project: self.project, entry: self.entry, log_name: &self.log_name, names: &self.names }
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// One bit for each member of `logs` that cannot be copied in one run with its neighbours.
    pub fn special(&self) -> u128 {
        self.special | self.logs.odd
    }
}

impl Part {
    /// `from` is where the value before it ends, and becomes where its last one does.
    fn of(text: &[u8], from: &mut usize, members: &Members) -> Option<Part> {
        let mut chunks = Vec::with_capacity(members.list.len());
        for member in &members.list {
            // `None` where a later member took an earlier one's place.
            chunks.push(Chunk::new(text.get(*from..member.at as usize)?));
            *from = member.end as usize;
        }
        Some(Part { chunks, members: members.known(text), odd: 0 })
    }
}

/// The members of `logs` that settings, their names or white space keep out of a run.
fn special(facts: &Facts<'_>, entry: &Entry) -> u128 {
    let Facts { text, logs, .. } = facts;
    if !entry.event_type.keeps_values() {
        return u128::MAX;
    }
    let is_special = |i: usize, member: &Member| {
        let name = logs.name(text, member);
        let literal = [b"\"", name, b"\":"].concat();
        let before = match i.checked_sub(1).map(|before| &logs.list[before]) {
            // Between the value before and this name stands the comma alone.
            Some(before) => before.end as usize + 1 + literal.len() == member.at as usize,
            None => true,
        };
        let as_written = before && text[..member.at as usize].ends_with(&literal);
        let ruled = entry.rules.get(name, member.hash).is_some();
        ruled || !as_written || names::class(name) != NameClass::Property
    };
    let bits = logs.list.iter().enumerate().map(|(i, member)| u128::from(is_special(i, member)) << i);
    bits.fold(0, |all, bit| all | bit)
}
