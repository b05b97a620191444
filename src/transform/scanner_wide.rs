//! A record of a known shape, 32 bytes at a time: its literals compared, its values found.

use super::decimal;
use super::members::{Kind, Member};
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

    /// True if the literal stands at the beginning of these bytes, and behind it a value as it was guessed.
    #[inline(always)]
    fn is_guessed<L: Lanes>(&self, bytes: &[u8; WIDTH]) -> bool {
        let Guess { compared, unlike, value, quotes, .. } = self.guess;
        let wrong = L::unlike(bytes, &self.head) & compared ^ unlike;
        let wrong_value = match quotes {
            0 => L::other(bytes) & value,
            quotes => L::special(bytes) & value ^ quotes | L::high(bytes) & value,
        };
        wrong | wrong_value == 0
    }

    /// Guesses from a value that stands behind this literal.
    #[inline(never)]
    fn learn(&mut self, kind: Kind, text: &[u8], at: usize, end: usize) {
        self.guess = Guess::NONE;
        let len = end - at;
        let from = self.mask.count_ones() as usize;
        // One byte more tells where a number ends.
        if !self.rest.is_empty() || from + len >= WIDTH {
            return;
        }
        let value = bits(len) << from;
        let place = |at: usize| 1 << (from + at);
        let (compared, unlike, quotes) = match (kind, text[at]) {
            (Kind::String, _) => (0, 0, place(0) | place(len - 1)),
            (Kind::Integer, first @ b'0'..=b'9') => {
                self.head[from + len] = text.get(end).copied().unwrap_or_default();
                // More than one digit do not begin with 0; of 16 the first tells that the number is in range.
                self.head[from] = if len < 16 { b'0' } else { first };
                let begin = if len > 1 { place(0) } else { 0 };
                (begin | place(len), if len < 16 { begin } else { 0 }, 0)
            }
            _ => return,
        };
        let compared = self.mask | compared;
        self.guess = Guess { compared, unlike, value, quotes, at: from as u32, end: (from + len) as u32, kind };
    }

    /// The byte after the literal, if that stands at `at`.
    #[inline(always)]
    fn after<L: Lanes>(&self, text: &[u8], at: usize) -> Option<usize> {
        let len = self.mask.count_ones() as usize;
        let same = match ahead(text, at) {
            Some(bytes) => L::unlike(bytes, &self.head) & self.mask == 0,
            None => text.get(at..at + len) == Some(&self.head[..len]),
        };
        if !same {
            return None;
        }
        let end = at + len + self.rest.len();
        (self.rest.is_empty() || text.get(at + len..end) == Some(&self.rest)).then_some(end)
    }
}

/// Reads one value behind each literal, from `at` on: its place and kind go into `members`, one for each literal.
/// Each value is checked JSON and UTF-8. `None`: the text is another, or not legal.
#[inline]
pub fn fill(width: Width, text: &[u8], at: usize, chunks: &mut [Chunk], members: &mut [Member]) -> Option<Filled> {
    width.run(Fill { text, at, chunks, members })
}

struct Fill<'a> {
    text: &'a [u8],
    at: usize,
    chunks: &'a mut [Chunk],
    members: &'a mut [Member],
}

impl Work for Fill<'_> {
    type Found = Option<Filled>;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Option<Filled> {
        fill_with::<L>(self.text, self.at, self.chunks, self.members)
    }
}

#[inline(always)]
fn fill_with<L: Lanes>(text: &[u8], mut at: usize, chunks: &mut [Chunk], members: &mut [Member]) -> Option<Filled> {
    let mut odd = 0;
    for (i, (chunk, member)) in chunks.iter_mut().zip(members).enumerate() {
        if ahead(text, at).is_some_and(|bytes| chunk.is_guessed::<L>(bytes)) {
            let Guess { at: from, end, kind, .. } = chunk.guess;
            (member.at, member.end, member.kind) = (at as u32 + from, at as u32 + end, kind);
            at += end as usize;
            continue;
        }
        at = chunk.after::<L>(text, at)?;
        let (kind, end) = match quick::<L>(text, at) {
            Some((kind, end)) => {
                // One that has another length each time is not worth it.
                if end - at == (member.end - member.at) as usize {
                    chunk.learn(kind, text, at, end);
                }
                (kind, end)
            }
            None => {
                let (token, is_odd) = any(text, at)?;
                odd |= u128::from(is_odd) << i;
                (token.kind, token.end)
            }
        };
        (member.at, member.end, member.kind) = (at as u32, end as u32, kind);
        at = end;
    }
    Some(Filled { end: at, odd })
}

/// So many bits, the lowest ones.
fn bits(count: usize) -> u32 {
    ((1u64 << count) - 1) as u32
}

/// A string without escapes or a whole number, if it is short.
#[inline(always)]
fn quick<L: Lanes>(text: &[u8], at: usize) -> Option<(Kind, usize)> {
    let near_end;
    let bytes = match ahead(text, at) {
        Some(bytes) => bytes,
        None => {
            near_end = padded(text.get(at..)?);
            &near_end
        }
    };
    if bytes[0] == b'"' {
        let stop = (L::special(bytes) & !1).trailing_zeros() as usize;
        if stop == WIDTH {
            return long::<L>(text, at, L::high(bytes));
        }
        let ascii = L::high(bytes) & ((1u64 << stop) - 1) as u32 == 0;
        let legal = bytes[stop] == b'"' && (ascii || is_utf8(&bytes[..stop]));
        return legal.then_some((Kind::String, at + stop + 1));
    }
    let minus = usize::from(bytes[0] == b'-');
    let stop = (L::other(bytes) & !(minus as u32)).trailing_zeros() as usize;
    let whole = stop > minus && in_range(bytes, stop, minus) && !matches!(bytes[stop], b'.' | b'e' | b'E');
    let legal = whole && (bytes[minus] != b'0' || stop == minus + 1);
    legal.then_some((Kind::Integer, at + stop))
}

/// The same for a string that goes on behind its first bytes; `high` tells of those.
#[inline(always)]
fn long<L: Lanes>(text: &[u8], at: usize, mut high: u32) -> Option<(Kind, usize)> {
    let mut end = at + WIDTH;
    while end < text.len() {
        // The last bytes of the text are looked at together with some before them.
        let from = end.min(text.len() - WIDTH);
        let (bytes, seen) = (ahead(text, from)?, end - from);
        let stop = (L::special(bytes) >> seen).trailing_zeros() as usize;
        high |= (L::high(bytes) >> seen) & ((1u64 << stop) - 1) as u32;
        if stop < WIDTH {
            end += stop;
            let is_short = end - at - 1 <= super::properties::STRING_BYTES_MAX;
            let legal = text[end] == b'"' && is_short && (high == 0 || is_utf8(&text[at..end]));
            return legal.then_some((Kind::String, end + 1));
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

/// Not above 9·10^15, as the number of its digits or the first of 16 says already.
#[inline(always)]
fn in_range(bytes: &[u8; WIDTH], stop: usize, minus: usize) -> bool {
    (stop - minus <= 15) | (stop - minus == 16) & (bytes[minus] < b'9')
}

/// What is left of a text, with zeros behind it: they end every scalar.
#[inline(never)]
fn padded(rest: &[u8]) -> [u8; WIDTH] {
    let mut bytes = [0; WIDTH];
    let len = rest.len().min(WIDTH);
    bytes[..len].copy_from_slice(&rest[..len]);
    bytes
}
