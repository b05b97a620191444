//! The members of one JSON object as places in its text: found once, looked up by name many times.

use super::json_text;
use super::names::{self, NameClass};

/// What a JSON value is, as far as its first scan can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    True,
    False,
    /// A number without `.`, `e`, `E`.
    Integer,
    /// A number with `.` and without exponent.
    Decimal,
    /// A number with an exponent.
    Exponent,
    /// A string without backslash: its bytes are its content.
    String,
    /// A string with at least one escape.
    Escaped,
    List,
    Object,
}

/// One member: where its name and its value stand. The value's quotes belong to it, the name's do not.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    pub name_at: u32,
    pub name_end: u32,
    pub at: u32,
    pub end: u32,
    /// [`name_hash`] of the decoded name.
    pub hash: u32,
    pub kind: Kind,
    /// Of the name, where a [`Shape`] knew it.
    pub class: Option<NameClass>,
    /// The name had escapes: its place is in [`Members::decoded`], not in the text.
    pub name_decoded: bool,
}

impl Member {
    /// The value's bytes in the text that was scanned.
    #[inline]
    pub fn value<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        &text[self.at as usize..self.end as usize]
    }
}

/// The members of one object in input order, without duplicates: the last value stands at the place of the first.
#[derive(Debug, Default)]
pub struct Members {
    pub list: Vec<Member>,
    /// The members' hashes, side by side to be searched quickly.
    hashes: Vec<u32>,
    /// Names that had escapes, one after the other.
    decoded: Vec<u8>,
    /// One bit per hash seen, so that most new names need no search.
    seen: [u64; 8],
    /// Two names may be equal but for case.
    pub case_doubt: bool,
}

/// Objects with more members than this are freed of duplicates by sorting, so that no input takes quadratic time.
const SEARCHED_MEMBERS_MAX: usize = 128;
/// Space for more is given back before the next object.
const KEPT_MEMBERS_MAX: usize = 4096;
/// Names of a shape beyond this are not learnt.
const SHAPE_BYTES_MAX: usize = 8192;

impl Members {
    pub fn clear(&mut self) {
        self.list.clear();
        self.hashes.clear();
        self.decoded.clear();
        if self.list.capacity() > KEPT_MEMBERS_MAX {
            self.list.shrink_to(KEPT_MEMBERS_MAX);
            self.hashes.shrink_to(KEPT_MEMBERS_MAX);
            self.decoded.shrink_to(KEPT_MEMBERS_MAX);
        }
        self.seen = [0; 8];
        self.case_doubt = false;
    }

    /// The decoded name.
    #[inline]
    pub fn name<'m>(&'m self, text: &'m [u8], member: &Member) -> &'m [u8] {
        let source = if member.name_decoded { &self.decoded[..] } else { text };
        &source[member.name_at as usize..member.name_end as usize]
    }

    #[inline]
    pub fn get(&self, text: &[u8], name: &[u8], hash: u32) -> Option<&Member> {
        let mut from = 0;
        for chunk in self.hashes.chunks(8) {
            // Without an early way out, so that the comparisons are made side by side.
            if chunk.iter().fold(false, |hit, other| hit | (*other == hash)) {
                let found = self.list[from..from + chunk.len()].iter();
                let found = found.into_iter().find(|m| m.hash == hash && self.name(text, m) == name);
                if found.is_some() {
                    return found;
                }
            }
            from += chunk.len();
        }
        None
    }

    /// Takes in the next member; `member.name_*` is the raw name, `escaped` says whether it has a backslash.
    #[inline]
    pub fn push(&mut self, text: &[u8], mut member: Member, escaped: bool) {
        if escaped {
            let at = self.decoded.len();
            json_text::decode(&text[member.name_at as usize..member.name_end as usize], &mut self.decoded);
            (member.name_at, member.name_end) = (at as u32, self.decoded.len() as u32);
            member.name_decoded = true;
        }
        member.hash = name_hash(self.name(text, &member));
        let (word, bit) = ((member.hash >> 29) as usize, 1u64 << ((member.hash >> 23) & 63));
        if self.seen[word] & bit != 0 && self.list.len() < SEARCHED_MEMBERS_MAX && self.replaced(text, &member) {
            return;
        }
        self.seen[word] |= bit;
        self.push_new(member);
    }

    /// Takes in a member whose hash is set and whose name is known to be new.
    #[inline]
    pub fn push_new(&mut self, member: Member) {
        self.hashes.push(member.hash);
        self.list.push(member);
    }

    /// After members of a shape, before others: makes up for what the shape spared.
    pub fn leave(&mut self, shape: &Shape) {
        self.case_doubt = shape.case_doubt;
        for hash in &self.hashes {
            self.seen[(hash >> 29) as usize] |= 1u64 << ((hash >> 23) & 63);
        }
    }

    /// Ends the object.
    pub fn finish(&mut self, text: &[u8]) {
        if self.list.len() >= SEARCHED_MEMBERS_MAX {
            self.case_doubt = true;
            self.drop_duplicates(text);
        }
    }

    #[cold]
    fn replaced(&mut self, text: &[u8], member: &Member) -> bool {
        for i in 0..self.list.len() {
            if self.list[i].hash != member.hash {
                continue;
            }
            if self.name(text, &self.list[i]) == self.name(text, member) {
                let earlier = &mut self.list[i];
                (earlier.at, earlier.end, earlier.kind) = (member.at, member.end, member.kind);
                return true;
            }
            self.case_doubt = true;
        }
        false
    }

    #[cold]
    fn drop_duplicates(&mut self, text: &[u8]) {
        let mut order: Vec<usize> = (0..self.list.len()).collect();
        order.sort_by(|&a, &b| self.name(text, &self.list[a]).cmp(self.name(text, &self.list[b])));
        let mut lost = vec![false; self.list.len()];
        let mut last_of = vec![None; self.list.len()];
        for run in order.chunk_by(|&a, &b| self.name(text, &self.list[a]) == self.name(text, &self.list[b])) {
            // The sort is stable: the run is in input order.
            run[1..].iter().for_each(|&i| lost[i] = true);
            last_of[run[0]] = run.last().copied();
        }
        for (first, last) in last_of.into_iter().enumerate() {
            let last = self.list[last.unwrap_or(first)];
            let earlier = &mut self.list[first];
            (earlier.at, earlier.end, earlier.kind) = (last.at, last.end, last.kind);
        }
        let mut i = 0;
        self.list.retain(|_| {
            i += 1;
            !lost[i - 1]
        });
        self.hashes.clear();
        self.hashes.extend(self.list.iter().map(|member| member.hash));
    }
}

/// The names of an object seen before, in their order: most records repeat them, and then a name need only be compared.
#[derive(Debug, Default)]
pub struct Shape {
    /// `"name":` of each member, one after the other.
    literals: Vec<u8>,
    members: Vec<KnownMember>,
    case_doubt: bool,
    /// Objects since the last one of this shape.
    misses: u32,
}

#[derive(Debug, Clone, Copy)]
struct KnownMember {
    /// Where its literal ends.
    end: usize,
    hash: u32,
    class: NameClass,
}

impl Shape {
    /// The literals with their hashes and classes.
    #[inline]
    pub fn names(&self) -> impl Iterator<Item = (&[u8], u32, NameClass)> {
        let mut from = 0;
        self.members.iter().map(move |known| {
            let literal = &self.literals[from..known.end];
            from = known.end;
            (literal, known.hash, known.class)
        })
    }

    pub fn hit(&mut self, members: &mut Members) {
        members.case_doubt = self.case_doubt;
        self.misses = 0;
    }

    /// The object was another one: learnt at once at first, then ever more rarely while no two are alike.
    pub fn miss(&mut self, text: &[u8], members: &Members) {
        self.misses += 1;
        if !self.misses.is_power_of_two() || members.list.len() >= SEARCHED_MEMBERS_MAX {
            return;
        }
        self.literals.clear();
        self.members.clear();
        self.case_doubt = members.case_doubt;
        for member in &members.list {
            let (at, end) = (member.name_at as usize, member.name_end as usize);
            if member.name_decoded
                || text.get(end + 1) != Some(&b':')
                || self.literals.len() + end - at > SHAPE_BYTES_MAX
            {
                return;
            }
            self.literals.extend_from_slice(&text[at - 1..end + 2]);
            let class = names::class(&text[at..end]);
            self.members.push(KnownMember { end: self.literals.len(), hash: member.hash, class });
        }
    }
}

/// Shapes by the record's headers, which name the log.
#[derive(Debug)]
pub struct Shapes {
    slots: Vec<Shape>,
}

impl Default for Shapes {
    fn default() -> Shapes {
        Shapes { slots: std::iter::repeat_with(Shape::default).take(64).collect() }
    }
}

impl Shapes {
    /// The shape that records with these headers had last.
    pub fn of(&mut self, headers: &[u8]) -> &mut Shape {
        let slot = name_hash(headers) as usize % self.slots.len();
        &mut self.slots[slot]
    }
}

/// A quick hash of a name; names that differ only in ASCII case have the same.
#[inline]
pub fn name_hash(name: &[u8]) -> u32 {
    const LOWER: u64 = 0x2020_2020_2020_2020;
    let (a, b) = if let (Some(first), Some(last)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)))
    } else {
        match name {
            [] => (0, 0),
            [a] => (u64::from(*a), 0),
            [a, b] => (u64::from(*a), u64::from(*b)),
            [a, b, ..] => (u64::from(*a), u64::from(*b) << 8 | u64::from(name[name.len() - 1])),
        }
    };
    let mixed = (a | LOWER).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ ((b | LOWER).rotate_left(29) ^ name.len() as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    (mixed ^ (mixed >> 29)).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_shr(32) as u32
}
