//! The members of one JSON object as places in its text: found once, looked up by name many times.

use super::json_text;
use super::names;
use super::properties::STRING_BYTES_MAX;

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
    /// The decoded name is [`names::is_legal`].
    pub legal: bool,
    /// The name's place is in [`Members::decoded`], not in the text.
    pub name_decoded: bool,
}

impl Member {
    /// The value's bytes in the text that was scanned.
    #[inline]
    pub fn value<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        &text[self.at as usize..self.end as usize]
    }

    /// The value of a later member of the same name counts.
    fn take_value(&mut self, later: &Member) {
        (self.at, self.end, self.kind) = (later.at, later.end, later.kind);
    }
}

/// The members of one object in input order, without duplicates: the last value stands at the place of the first.
#[derive(Debug, Default)]
pub struct Members {
    pub list: Vec<Member>,
    /// Names that had escapes or are known beforehand, one after the other.
    decoded: Vec<u8>,
    table: Table,
    /// Two names may be equal but for case.
    pub case_doubt: bool,
    /// One bit each for the first 128: 0 where the member can be copied in one run with its neighbours, because its
    /// name is legal, its value a string without escapes or a whole number, so short that it has no remark, and nothing
    /// else stands between its name, its value and the one before. None can where there is `case_doubt`.
    pub odd: u128,
}

/// Objects with more members than this are freed of duplicates by sorting, so that no input takes quadratic time.
const SEARCHED_MEMBERS_MAX: usize = 128;
/// Where a hash stands, from the place of its lowest bits on up to an empty place: a member's number from 1 on, 0 for
/// none.
#[derive(Debug, Clone, Copy)]
struct Table([u8; PLACES]);

impl Default for Table {
    fn default() -> Table {
        Table([0; PLACES])
    }
}

impl Table {
    #[inline(always)]
    fn at(&self, place: usize) -> Option<usize> {
        usize::from(self.0[place]).checked_sub(1)
    }
}

/// Four times as many as are searched.
const PLACES: usize = 512;
/// The highest bits of a hash are the best: they say the place.
const PLACE_SHIFT: u32 = 32 - PLACES.ilog2();
/// Space for more is given back before the next object.
const KEPT_MEMBERS_MAX: usize = 4096;

impl Members {
    pub fn clear(&mut self) {
        if self.list.is_empty() {
            return;
        }
        self.list.clear();
        self.decoded.clear();
        if self.list.capacity() > KEPT_MEMBERS_MAX {
            self.list.shrink_to(KEPT_MEMBERS_MAX);
            self.decoded.shrink_to(KEPT_MEMBERS_MAX);
        }
        self.table = Table::default();
        self.case_doubt = false;
        self.odd = 0;
    }

    /// The decoded name.
    #[inline]
    pub fn name<'m>(&'m self, text: &'m [u8], member: &Member) -> &'m [u8] {
        let source = if member.name_decoded { &self.decoded[..] } else { text };
        &source[member.name_at as usize..member.name_end as usize]
    }

    #[inline]
    pub fn get(&self, text: &[u8], name: &[u8], hash: u32) -> Option<&Member> {
        self.place(text, name, hash).map(|place| &self.list[place])
    }

    /// Its place in the list.
    #[inline]
    pub fn place(&self, text: &[u8], name: &[u8], hash: u32) -> Option<usize> {
        let is_it = |member: &Member| member.hash == hash && same(self.name(text, member), name);
        if self.list.len() > SEARCHED_MEMBERS_MAX {
            return self.list.iter().position(is_it);
        }
        let mut place = (hash >> PLACE_SHIFT) as usize;
        loop {
            let number = self.table.at(place)?;
            if is_it(&self.list[number]) {
                return Some(number);
            }
            place = (place + 1) % PLACES;
        }
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
        let name = self.name(text, &member);
        (member.hash, member.legal) = (name_hash(name), names::is_legal(name));
        self.push_judged(text, member, true);
    }

    /// The same for a name without escapes, whose hash and legality are known; `odd` as in [`Members::odd`].
    #[inline]
    pub fn push_judged(&mut self, text: &[u8], member: Member, odd: bool) {
        let hash = member.hash;
        if odd {
            self.odd |= bit(self.list.len());
        }
        self.list.push(member);
        let number = self.list.len();
        if number > SEARCHED_MEMBERS_MAX {
            return;
        }
        let mut place = (hash >> PLACE_SHIFT) as usize;
        while let Some(other) = self.table.at(place) {
            if self.list[other].hash == hash && self.meet(text, other) {
                return;
            }
            place = (place + 1) % PLACES;
        }
        self.table.0[place] = number as u8;
    }

    /// The same names at the same places, for texts that will have them too.
    pub fn known(&self, text: &[u8]) -> Members {
        let mut known = Members { table: self.table, ..Members::default() };
        for member in &self.list {
            let name_at = known.decoded.len() as u32;
            known.decoded.extend_from_slice(self.name(text, member));
            let name_end = known.decoded.len() as u32;
            known.list.push(Member { name_at, name_end, name_decoded: true, ..*member });
        }
        known
    }

    /// The text of some neighbours that are not odd, from the first name's quote to the end of the last value.
    #[inline]
    pub fn run<'t>(&self, text: &'t [u8], members: std::ops::Range<usize>) -> &'t [u8] {
        let list = &self.list[members];
        let (Some(first), Some(last)) = (list.first(), list.last()) else { return b"" };
        // A quote, the name, a quote and a colon.
        &text[first.at as usize - (first.name_end - first.name_at) as usize - 3..last.end as usize]
    }

    /// Ends the object.
    pub fn finish(&mut self, text: &[u8]) {
        if self.list.len() > SEARCHED_MEMBERS_MAX {
            (self.case_doubt, self.odd) = (true, u128::MAX);
            self.drop_duplicates(text);
        }
    }

    /// The last member has the hash of an earlier one: true if it was its duplicate, and is gone.
    #[cold]
    fn meet(&mut self, text: &[u8], first: usize) -> bool {
        let Some(last) = self.list.last().copied() else { return false };
        let replaces = self.name(text, &self.list[first]) == self.name(text, &last);
        if replaces {
            self.list[first].take_value(&last);
            self.list.pop();
            // The next one does not stand behind its neighbour in the list.
            self.odd |= bit(first) | bit(self.list.len());
        } else {
            (self.case_doubt, self.odd) = (true, u128::MAX);
        }
        replaces
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
            if let Some(last) = last.filter(|last| *last != first) {
                let last = self.list[last];
                self.list[first].take_value(&last);
            }
        }
        let mut i = 0;
        self.list.retain(|_| {
            i += 1;
            !lost[i - 1]
        });
        // Their numbers are others now.
        self.table = Table::default();
        for (i, member) in self.list.iter().enumerate().take(SEARCHED_MEMBERS_MAX) {
            let mut place = (member.hash >> PLACE_SHIFT) as usize;
            while self.table.at(place).is_some() {
                place = (place + 1) % PLACES;
            }
            self.table.0[place] = i as u8 + 1;
        }
    }
}

/// None beyond the 128th.
#[inline]
fn bit(place: usize) -> u128 {
    1u128.checked_shl(place as u32).unwrap_or(0)
}

/// The least length of a usual value by its first byte, and how much longer it may be: a string has no remark, and a
/// number is not above 9·10^15, as its length and its first digit say already. No value is 0 bytes long.
pub static LENGTHS: [(u16, u16); 256] = {
    let mut lengths = [(u16::MAX, 0); 256];
    let mut digit = b'1';
    while digit <= b'8' {
        lengths[digit as usize] = (1, 15);
        digit += 1;
    }
    lengths[b'0' as usize] = (1, 0);
    lengths[b'9' as usize] = (1, 14);
    lengths[b'-' as usize] = (2, 14);
    lengths[b'"' as usize] = (2, STRING_BYTES_MAX as u16);
    lengths
};

/// Equality without a call for the usual short stretches.
#[inline]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && match a.len() {
            1 => same_ends::<1>(a, b),
            2..4 => same_ends::<2>(a, b),
            4..8 => same_ends::<4>(a, b),
            8..16 => same_ends::<8>(a, b),
            16..=32 => same_ends::<16>(a, b),
            _ => a == b,
        }
}

/// For stretches of at most twice `N` bytes.
#[inline(always)]
fn same_ends<const N: usize>(a: &[u8], b: &[u8]) -> bool {
    (a.first_chunk::<N>() == b.first_chunk()) & (a.last_chunk::<N>() == b.last_chunk())
}

/// A quick hash of a name; names that differ only in ASCII case have the same.
#[inline]
pub fn name_hash(name: &[u8]) -> u32 {
    let len = name.len();
    let first = if let Some(first) = name.first_chunk::<8>() {
        u64::from_le_bytes(*first)
    } else if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (len - 4))
    } else {
        name.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    let last = match name.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => first.checked_shl(8 * (8 - len as u32)).unwrap_or(0),
    };
    hash_of(first, last, len)
}

/// The hash of a name by its first and its last eight bytes. A shorter one fills up `first` with zeros behind it,
/// `last` with zeros before it.
#[inline]
pub fn hash_of(first: u64, last: u64, len: usize) -> u32 {
    const LOWER: u64 = 0x2020_2020_2020_2020;
    let mixed = (first | LOWER).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ ((last | LOWER).rotate_left(29) ^ len as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    (mixed >> 32) as u32
}
