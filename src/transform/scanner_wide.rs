//! A record of a known shape, 32 bytes at a time: its literals compared, its values found.

use super::decimal;
use super::members::{Kind, LENGTHS, Member};
use super::scanner::{self, Token};
use super::scanner_lanes::{Lanes, WIDTH, Width, Work, ahead};

/// A literal of a shape, which stands before a value, and what the value usually is.
#[derive(Debug)]
pub struct Chunk {
    /// The literal's first bytes; behind a whole one, what `guess` says of the value.
    head: [u8; WIDTH],
    /// One bit for each byte of `head` that belongs to the literal.
    mask: u32,
    /// What does not fit there.
    rest: Box<[u8]>,
    guess: Guess,
}

/// A value of the same kind and length as earlier ones stands here: seen at once with the literal. One bit each for the
/// bytes from the literal on.
#[derive(Debug, Clone, Copy)]
struct Guess {
    /// To be compared with `head`.
    compared: u32,
    /// Those of them that are to be unlike.
    unlike: u32,
    /// The value.
    value: u32,
    /// The quotes of a string; 0 for a number.
    quotes: u32,
    /// Where the value begins and ends, from the literal on.
    at: u32,
    end: u32,
    kind: Kind,
}

impl Guess {
    /// Nothing fits it.
    const NONE: Guess = Guess { compared: 0, unlike: 1, value: 0, quotes: 0, at: 0, end: 0, kind: Kind::Null };
}

/// Where the values of a part of a record ended, and which of them are not simply copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    pub end: usize,
    /// One bit for each null, list, object, string with escapes or above `string_bytes_max`, number out of range.
    pub odd: u128,
}

impl Chunk {
    pub fn new(literal: &[u8]) -> Chunk {
        let (first, rest) = literal.split_at(literal.len().min(WIDTH));
        let mut head = [0; WIDTH];
        head[..first.len()].copy_from_slice(first);
        Chunk { head, mask: bits(first.len()), rest: rest.into(), guess: Guess::NONE }
    }

    /// True for these differences from `head` if behind the literal a value stands as it was guessed.
    #[inline(always)]
    fn is_guessed<L: Lanes>(&self, bytes: &[u8; WIDTH], unlike: u32) -> bool {
        let Guess { compared, unlike: expected, value, quotes, .. } = self.guess;
        let wrong_value = match quotes {
            0 => L::other(bytes) & value,
            quotes => L::special(bytes) & value ^ quotes | L::high(bytes) & value,
        };
        unlike & compared ^ expected | wrong_value == 0
    }

    /// Guesses that values will be like this one, of `len` bytes from `from` on.
    #[inline(never)]
    fn learn(&mut self, bytes: &[u8; WIDTH], from: usize, kind: Kind, len: usize) {
        let value = bits(len) << from;
        let place = |at: usize| 1 << (from + at);
        let (compared, unlike, quotes) = match (kind, bytes[from]) {
            (Kind::String, _) => {
                (self.head[from], self.head[from + len - 1]) = (b'"', b'"');
                let quotes = place(0) | place(len - 1);
                (quotes, 0, quotes)
            }
            (Kind::Integer, first @ b'0'..=b'9') => {
                // This tells where a number ends.
                self.head[from + len] = bytes[from + len];
                // More than one digit do not begin with 0; of 16 the first tells that the number is in range.
                self.head[from] = if len < 16 { b'0' } else { first };
                let begin = if len > 1 { place(0) } else { 0 };
                (begin | place(len), if len < 16 { begin } else { 0 }, 0)
            }
            _ => return self.guess = Guess::NONE,
        };
        let compared = self.mask | compared;
        self.guess = Guess { compared, unlike, value, quotes, at: from as u32, end: (from + len) as u32, kind };
    }

    /// The byte after the literal, if that stands at `at`.
    #[inline(always)]
    fn after<L: Lanes>(&self, text: &[u8], at: usize) -> Option<usize> {
        let len = self.mask.count_ones() as usize;
        let same_head = match ahead(text, at) {
            Some(bytes) => L::unlike(bytes, &self.head) & self.mask == 0,
            None => text.get(at..at + len) == Some(&self.head[..len]),
        };
        let end = at + len + self.rest.len();
        let same_rest = self.rest.is_empty() || text.get(at + len..end) == Some(&self.rest);
        (same_head && same_rest).then_some(end)
    }
}

/// Reads one value behind each literal, from `at` on: its place and kind go into `members`, one for each literal.
/// Each value is checked JSON and UTF-8. `None`: the text is another, or not legal.
#[inline]
pub fn fill(width: Width, text: &[u8], at: usize, chunks: &mut [Chunk], members: &mut [Member]) -> Option<Filled> {
    width.run(Fill { width, text, at, chunks, members })
}

struct Fill<'a> {
    width: Width,
    text: &'a [u8],
    at: usize,
    chunks: &'a mut [Chunk],
    members: &'a mut [Member],
}

impl Work for Fill<'_> {
    type Found = Option<Filled>;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Option<Filled> {
        let Fill { width, text, mut at, chunks, members } = self;
        let mut odd = 0;
        for (i, (chunk, member)) in chunks.iter_mut().zip(members).enumerate() {
            if let Some(bytes) = ahead(text, at) {
                let unlike = L::unlike(bytes, &chunk.head);
                if chunk.is_guessed::<L>(bytes, unlike) {
                    let Guess { at: from, end, kind, .. } = chunk.guess;
                    (member.at, member.end, member.kind) = (at as u32 + from, at as u32 + end, kind);
                    at += end as usize;
                    continue;
                }
                let from = chunk.mask.count_ones() as usize;
                if unlike & chunk.mask == 0
                    && let Some((kind, len)) = near::<L>(bytes, from)
                {
                    // One that has another length each time is not worth it.
                    if len as u32 == member.end - member.at {
                        chunk.learn(bytes, from, kind, len);
                    }
                    at += from;
                    (member.at, member.end, member.kind) = (at as u32, (at + len) as u32, kind);
                    at += len;
                    continue;
                }
            }
            at = chunk.after::<L>(text, at)?;
            let (Token { kind, end }, is_odd) = width.run(Any { text, at })?;
            odd |= u128::from(is_odd) << i;
            (member.at, member.end, member.kind) = (at as u32, end as u32, kind);
            at = end;
        }
        Some(Filled { end: at, odd })
    }
}

/// So many bits, the lowest ones.
#[inline(always)]
fn bits(count: usize) -> u32 {
    ((1u64 << count) - 1) as u32
}

/// The kind and length of what begins at one of 32 bytes: a whole number, or a string of ASCII without escapes. `None`:
/// it is another, or ends behind them.
#[inline(always)]
fn near<L: Lanes>(bytes: &[u8; WIDTH], from: usize) -> Option<(Kind, usize)> {
    let first = *bytes.get(from)?;
    if first == b'"' {
        let stop = (L::special(bytes) >> from & !1).trailing_zeros() as usize;
        let ascii = L::high(bytes) >> from & bits(stop) == 0;
        return (ascii && bytes.get(from + stop) == Some(&b'"')).then_some((Kind::String, stop + 1));
    }
    let len = (L::other(bytes) >> from & !u32::from(first == b'-')).trailing_zeros() as usize;
    let (min, more) = LENGTHS[usize::from(first)];
    let usual = len.wrapping_sub(usize::from(min)) <= usize::from(more);
    let begun = first != b'-' || bytes.get(from + 1).is_some_and(|second| matches!(second, b'1'..=b'9'));
    let ends = bytes.get(from + len).is_some_and(|end| !matches!(end, b'.' | b'e' | b'E'));
    (usual && ends && begun).then_some((Kind::Integer, len))
}

/// Any value, with whether it is odd.
struct Any<'a> {
    text: &'a [u8],
    at: usize,
}

impl Work for Any<'_> {
    type Found = Option<(Token, bool)>;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Option<(Token, bool)> {
        let Any { text, at } = self;
        // The last bytes of the text are looked at together with some before them.
        let from = at.min(text.len().saturating_sub(WIDTH));
        if let Some(bytes) = ahead(text, from) {
            if let Some((kind, len)) = near::<L>(bytes, at - from) {
                return Some((Token { kind, end: at + len }, false));
            }
            if let Some(end) = string::<L>(text, at) {
                return Some((Token { kind: Kind::String, end }, false));
            }
        }
        any(text, at)
    }
}

/// The byte after a string without escapes that begins at `at`, if one does that has no remark.
#[inline(always)]
fn string<L: Lanes>(text: &[u8], at: usize) -> Option<usize> {
    if text.get(at) != Some(&b'"') {
        return None;
    }
    let (mut end, mut high) = (at + 1, 0);
    while end < text.len() {
        let from = end.min(text.len() - WIDTH);
        let (bytes, seen) = (ahead(text, from)?, end - from);
        let stop = (L::special(bytes) >> seen).trailing_zeros() as usize;
        high |= L::high(bytes) >> seen & bits(stop);
        if stop < WIDTH {
            end += stop;
            let is_short = end - at - 1 <= super::properties::STRING_BYTES_MAX;
            let legal = text[end] == b'"' && is_short && (high == 0 || is_utf8(&text[at..end]));
            return legal.then_some(end + 1);
        }
        end = from + WIDTH;
    }
    None
}

/// Any value that is legal, and whether it is odd.
#[inline(never)]
fn any(text: &[u8], at: usize) -> Option<(Token, bool)> {
    let token = scanner::value_at(text, at, super::DEPTH_MAX - 2)?;
    let bytes = &text[at..token.end];
    let odd = match token.kind {
        Kind::Null => true,
        Kind::True | Kind::False => false,
        Kind::Integer | Kind::Decimal | Kind::Exponent => decimal::is_out_of_range(bytes),
        kind => {
            if !is_utf8(bytes) {
                return None;
            }
            kind != Kind::String || bytes.len() - 2 > super::properties::STRING_BYTES_MAX
        }
    };
    Some((token, odd))
}

#[inline]
fn is_utf8(bytes: &[u8]) -> bool {
    simdutf8::basic::from_utf8(bytes).is_ok()
}
