//! A record of a known shape, 32 bytes at a time: its literals compared, its values found.

use super::decimal;
use super::members::{Kind, Member};
use super::scanner::{self, Token};
use super::scanner_lanes::{Lanes, WIDTH, Width, Work, ahead};

/// A literal of a shape: what stands before a value.
#[derive(Debug)]
pub struct Chunk {
    /// Its first bytes.
    head: [u8; WIDTH],
    /// One bit for each byte of `head` that counts.
    mask: u32,
    /// What does not fit there.
    rest: Box<[u8]>,
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
        Chunk { head, mask: ((1u64 << first.len()) - 1) as u32, rest: rest.into() }
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
pub fn fill(width: Width, text: &[u8], at: usize, chunks: &[Chunk], members: &mut [Member]) -> Option<Filled> {
    width.run(Fill { text, at, chunks, members })
}

struct Fill<'a> {
    text: &'a [u8],
    at: usize,
    chunks: &'a [Chunk],
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
fn fill_with<L: Lanes>(text: &[u8], mut at: usize, chunks: &[Chunk], members: &mut [Member]) -> Option<Filled> {
    let mut odd = 0;
    for (i, (chunk, member)) in chunks.iter().zip(members).enumerate() {
        at = chunk.after::<L>(text, at)?;
        let (kind, end) = match quick::<L>(text, at) {
            Some(found) => found,
            None => {
                let (token, is_odd) = any(text, at)?;
                odd |= u128::from(is_odd) << i;
                (token.kind, token.end)
            }
        };
        let before = member.end - member.at;
        (member.at, member.end, member.kind) = (at as u32, end as u32, kind);
        // Most values are as long as the last one here. Where that is so, the next literal does not wait until this
        // value's end is found: the sum is made of what was known beforehand, and the comparison is foreseen.
        at = if end - at == before as usize { at + std::hint::black_box(before) as usize } else { end };
    }
    Some(Filled { end: at, odd })
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
