//! Where in a text the bytes stand that end a name or a value: found once for 64 bytes at a time, and with them the
//! members of an object that are of the usual form.

use super::members::{Kind, LENGTHS, Member, Members, hash_of};
use super::names;
use super::scanner_lanes::{Lanes, WIDTH, Width, Work};

/// Bits of a word.
const WORD: usize = 64;
/// Places of an index.
const PLACES: usize = 4096;
/// Bytes of a text that are indexed together: some places are free before and behind them.
const COVERED: usize = PLACES - 2 * WORD;

/// The index of a stretch of a text: up to a byte that says nothing about what follows, a backslash or what is below
/// 0x20.
#[derive(Debug)]
pub struct Index {
    width: Width,
    /// What is to be added to a place for where it is in the text.
    from: usize,
    /// Where in the text the stretch ends.
    end: usize,
    ascii: bool,
    rows: Box<Rows>,
    /// The first mark that was not passed yet.
    next: usize,
}

/// What is known of each place. Places are cut to those that there are, so that none is looked for in vain.
#[derive(Debug)]
struct Rows {
    /// The stretch, from place `WORD` on.
    text: [u8; PLACES + 8],
    /// One bit for each letter, digit or `_`, the first one's lowest.
    word: [u8; PLACES / 8 + 8],
    /// Where a byte stands outside of strings that is no digit of a number, no quote where one may open a string and no
    /// minus where one may begin a number: so one stands right behind each string. The stretch's end is the last mark.
    marks: [u16; PLACES + WORD],
    /// How many there are.
    count: usize,
}

impl Index {
    pub fn new(width: Width) -> Index {
        let (text, word, marks) = ([0; PLACES + 8], [0; PLACES / 8 + 8], [0; PLACES + WORD]);
        let rows = Rows { text, word, marks, count: 0 };
        Index { width, from: 0, end: 0, ascii: false, rows: Box::new(rows), next: 0 }
    }

    /// Begins with another text; true where all of it was looked at and is ASCII.
    pub fn start(&mut self, text: &[u8]) -> bool {
        self.width.run(Cover { index: self, text, from: 0 });
        self.ascii && self.end == text.len()
    }

    /// Takes in members from the name at `at` on, as long as they are of the usual form: a name without escapes, a
    /// string without escapes or a whole number, both so short that they have no remark, and nothing between them.
    /// Where what comes next begins, and whether the object is at its end. Their text is legal JSON, but for what
    /// follows the last comma.
    #[inline]
    pub fn members(&mut self, text: &[u8], at: usize, into: &mut Members) -> (usize, bool) {
        self.width.run(Walk { index: self, text, at, into })
    }
}

struct Cover<'a> {
    index: &'a mut Index,
    text: &'a [u8],
    /// Here a text begins, or a name.
    from: usize,
}

impl Work for Cover<'_> {
    type Found = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Cover { index, text, from } = self;
        let stretch = &text[from..text.len().min(from + COVERED)];
        let (chunks, rest) = stretch.as_chunks();
        // Zeros stand behind the last byte: they end the stretch.
        let mut last = [0; WORD];
        last[..rest.len()].copy_from_slice(rest);
        index.rows.count = 0;
        let mut state = State { open: 0, mark: 1, closed: 0, high: 0 };
        for i in 0..=chunks.len() {
            let bad = index.rows.note::<L>((i + 1) * WORD, chunks.get(i).unwrap_or(&last), &mut state);
            if bad != 0 {
                index.from = from.wrapping_sub(WORD);
                index.end = from + i * WORD + bad.trailing_zeros() as usize;
                (index.ascii, index.next) = (state.high == 0, 0);
                break;
            }
        }
    }
}

/// What goes on from one chunk to the next.
struct State {
    /// All ones: a string.
    open: u64,
    /// 1: the last byte is a mark that may stand before a value.
    mark: u64,
    /// 1: the last byte closes a string.
    closed: u64,
    /// Not 0: not all was ASCII.
    high: u64,
}

impl Rows {
    /// Notes what the bytes of one chunk are, the first of them at `place`. One bit for each that ends the stretch.
    #[inline(always)]
    fn note<L: Lanes>(&mut self, place: usize, bytes: &[u8; WORD], state: &mut State) -> u64 {
        let [low, high] = bytes.as_chunks().0 else { return 1 };
        self.text[place..place + WORD].copy_from_slice(bytes);
        let quote = join(L::quote(low), L::quote(high));
        let special = join(L::special(low), L::special(high));
        let other = join(L::other(low), L::other(high));
        let minus = join(L::minus(low), L::minus(high));
        let word = join(L::word(low), L::word(high));
        let high = join(L::high(low), L::high(high));
        // At once: kept until after the loop in `mark`, it would be taken apart byte by byte.
        self.word[place / 8..place / 8 + 8].copy_from_slice(&word.to_le_bytes());
        state.high |= high;
        let bad = special & !quote;
        // From each opening quote up to its closing one.
        let mut inside = quote;
        for by in [1, 2, 4, 8, 16, 32] {
            inside ^= inside << by;
        }
        inside ^= state.open;
        state.open = ((inside as i64) >> 63) as u64;
        let outside = other & !inside & !quote;
        let plain = outside & !minus;
        let behind = plain << 1 | state.mark;
        state.mark = plain >> 63;
        let closed = quote & !inside;
        let behind_string = closed << 1 | state.closed;
        state.closed = closed >> 63;
        let marks = plain | (minus & outside | quote & inside) & !behind | !other & behind_string;
        let before_bad = (bad & bad.wrapping_neg()).wrapping_sub(1);
        self.mark(place as u16, marks & before_bad | bad & bad.wrapping_neg());
        bad
    }

    #[inline(always)]
    fn mark(&mut self, place: u16, mut bits: u64) {
        let count = bits.count_ones() as usize;
        let mut room = &mut self.marks[self.count..];
        self.count += count;
        // Mostly there are so many that no branch tells how many.
        let mut left = count as isize;
        while left > 0 {
            let Some((eight, more)) = room.split_first_chunk_mut::<8>() else { break };
            for mark in eight {
                *mark = place + bits.trailing_zeros() as u16;
                bits &= bits.wrapping_sub(1);
            }
            (room, left) = (more, left - 8);
        }
    }
}

#[inline(always)]
fn join(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << WIDTH
}

struct Walk<'a> {
    index: &'a mut Index,
    text: &'a [u8],
    at: usize,
    into: &'a mut Members,
}

impl Work for Walk<'_> {
    type Found = (usize, bool);

    #[inline(always)]
    fn run<L: Lanes>(self) -> (usize, bool) {
        let Walk { index, text, at, into } = self;
        if at >= index.end && at < text.len() {
            Cover { index, text, from: at }.run::<L>();
        }
        let Index { rows, from, next, .. } = index;
        let (rows, from): (&Rows, usize) = (rows, *from);
        let mut place = at.wrapping_sub(from);
        let marks = &rows.marks[..rows.count];
        while marks.get(*next).is_some_and(|mark| usize::from(*mark) < place) {
            *next += 1;
        }
        for &[colon, end] in marks[*next..].as_chunks().0 {
            let (at, colon, end) = (place, usize::from(colon), usize::from(end));
            let [open] = rows.bytes(at);
            let [colon_byte, first, second] = rows.bytes(colon);
            let [mark] = rows.bytes(end);
            let (name_len, len) = (colon.wrapping_sub(at + 2), end - colon - 1);
            let (min, more) = LENGTHS[usize::from(first)];
            let usual = len.wrapping_sub(usize::from(min)) <= usize::from(more);
            // No leading zero, and a digit at all.
            let begun = (first != b'-') | matches!(second, b'1'..=b'9');
            let named = (open == b'"') & (colon_byte == b':') & (name_len.wrapping_sub(1) < COVERED);
            if !(named & usual & begun & ((mark == b',') | (mark == b'}'))) {
                break;
            }
            let (hash, legal) = rows.judged(colon - 1, name_len);
            let is_string = first == b'"';
            into.push_judged(
                text,
                Member {
                    name_at: from.wrapping_add(at + 1) as u32,
                    name_end: from.wrapping_add(colon - 1) as u32,
                    at: from.wrapping_add(colon + 1) as u32,
                    end: from.wrapping_add(end) as u32,
                    hash,
                    kind: if is_string { Kind::String } else { Kind::Integer },
                    legal,
                    name_decoded: false,
                },
                !legal,
            );
            *next += 2;
            place = end + 1;
            if mark == b'}' {
                return (from.wrapping_add(place), true);
            }
        }
        (from.wrapping_add(place), false)
    }
}

impl Rows {
    /// [`name_hash`](super::members::name_hash) and [`names::is_legal`] of a name, without a branch.
    #[inline(always)]
    fn judged(&self, end: usize, len: usize) -> (u32, bool) {
        let at = end - len;
        // What stands before a shorter name is shifted out.
        let missing = 8 * 8usize.saturating_sub(len) as u32;
        let first = u64::from_le_bytes(self.bytes(at.min(end - 8))) >> missing;
        let last = u64::from_le_bytes(self.bytes(end - 8)) >> missing << missing;
        let word = self.word[at % PLACES / 8..].first_chunk().map_or(0, |bits| u64::from_le_bytes(*bits) >> (at % 8));
        let all = (1u64 << (len % WORD)) - 1;
        let [begin] = self.bytes(at);
        let legal = (word & all == all) & (len <= names::LEN_MAX) & begin.is_ascii_alphabetic();
        (hash_of(first, last, len), legal)
    }

    #[inline(always)]
    fn bytes<const N: usize>(&self, place: usize) -> [u8; N] {
        self.text[place % PLACES..].first_chunk().copied().unwrap_or([0; N])
    }
}
