//! 32 bytes at a time: the literals of a known shape compared, names and scalars of the usual form read.
//!
//! What the CPU offers is asked when the program runs; without AVX2 the same is done in words of 8 bytes.

use super::decimal;
use super::json_text::HIGHS;
use super::members::{Kind, Member, Members, hash_of};
use super::names::legal_marks;
use super::scanner::{self, Token};

/// Bytes looked at together.
const WIDTH: usize = 32;

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

/// Which instructions find the way.
#[derive(Debug, Clone, Copy)]
pub struct Width(Instructions);

#[derive(Debug, Clone, Copy)]
enum Instructions {
    Words,
    #[cfg(target_arch = "x86_64")]
    Avx2,
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

impl Width {
    /// What every CPU has.
    pub const WORDS: Width = Width(Instructions::Words);

    /// The best that this CPU has.
    pub fn detect() -> Width {
        #[cfg(target_arch = "x86_64")]
        {
            use std::is_x86_feature_detected as has;
            if has!("avx2") && has!("bmi1") && has!("bmi2") && has!("popcnt") {
                return Width(Instructions::Avx2);
            }
        }
        Width::WORDS
    }

    /// Reads one value behind each literal, from `at` on: its place and kind go into `members`, one for each literal.
    /// Each value is checked JSON and UTF-8. `None`: the text is another, or not legal.
    #[inline]
    pub fn fill(self, text: &[u8], at: usize, chunks: &[Chunk], members: &mut [Member]) -> Option<Filled> {
        match self.0 {
            Instructions::Words => fill::<Words>(text, at, chunks, members),
            // SAFETY: `detect` alone makes this value, where the CPU has these instructions.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Instructions::Avx2 => unsafe { avx2::fill(text, at, chunks, members) },
        }
    }

    /// Takes in members from the name at `at` on, as long as they are of the usual form and a comma follows: where what
    /// comes next begins. Their text is legal JSON, but for what follows that comma.
    #[inline]
    pub fn members(self, text: &[u8], at: usize, into: &mut Members) -> usize {
        match self.0 {
            Instructions::Words => members::<Words>(text, at, into),
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Instructions::Avx2 => unsafe { avx2::members(text, at, into) },
        }
    }
}

/// Takes in members from the name at `at` on, as long as they are of the usual form: a short name without escapes, a
/// value that is [`short`], nothing between them, and a comma. The byte after the last such comma.
#[inline(always)]
fn members<L: Lanes>(text: &[u8], mut at: usize, into: &mut Members) -> usize {
    while let Some(bytes) = ahead(text, at) {
        let stop = (L::special(bytes) & !1).trailing_zeros() as usize;
        if !(2..WIDTH - 1).contains(&stop) || (bytes[0], bytes[stop], bytes[stop + 1]) != (b'"', b'"', b':') {
            break;
        }
        let value_at = at + stop + 2;
        let Some((kind, end)) = ahead(text, value_at).and_then(|bytes| short::<L>(bytes, value_at)) else { break };
        if text.get(end) != Some(&b',') {
            break;
        }
        let name = ((1u64 << stop) - 2) as u32;
        let member = Member {
            name_at: at as u32 + 1,
            name_end: (at + stop) as u32,
            at: value_at as u32,
            end: end as u32,
            hash: hash(bytes, stop - 1),
            kind,
            short: true,
            legal: L::word(bytes) & name == name && bytes[1].is_ascii_alphabetic(),
            name_decoded: false,
        };
        into.push_judged(text, member);
        at = end + 1;
    }
    at
}

/// [`name_hash`](super::members::name_hash) of the name behind the first of these bytes, without a branch.
#[inline(always)]
fn hash(bytes: &[u8; WIDTH], len: usize) -> u32 {
    let eight = |at: usize| bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let missing = 8 * 8usize.saturating_sub(len) as u32;
    let first = eight(1) & (u64::MAX >> missing);
    let last = eight(len.max(8) - 7);
    hash_of(first, if missing == 0 { last } else { first << missing }, len)
}

/// What is asked of 32 bytes: one bit each, the first byte's lowest.
trait Lanes {
    fn unlike(a: &[u8; WIDTH], b: &[u8; WIDTH]) -> u32;
    /// `"`, `\` and what is below 0x20.
    fn special(bytes: &[u8; WIDTH]) -> u32;
    /// Not ASCII.
    fn high(bytes: &[u8; WIDTH]) -> u32;
    /// No digit.
    fn other(bytes: &[u8; WIDTH]) -> u32;
    /// A letter, a digit or `_`.
    fn word(bytes: &[u8; WIDTH]) -> u32;
}

#[inline(always)]
fn fill<L: Lanes>(text: &[u8], mut at: usize, chunks: &[Chunk], members: &mut [Member]) -> Option<Filled> {
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

/// The same where nobody knows which of both it will be: both are looked for, and no branch says which.
#[inline(always)]
fn short<L: Lanes>(bytes: &[u8; WIDTH], at: usize) -> Option<(Kind, usize)> {
    let is_string = bytes[0] == b'"';
    let quote = (L::special(bytes) & !1).trailing_zeros() as usize;
    let ascii = L::high(bytes) & ((1u64 << quote) - 1) as u32 == 0;
    let string = (quote < WIDTH) & (bytes[quote % WIDTH] == b'"') & ascii;
    let minus = usize::from(bytes[0] == b'-');
    let stop = (L::other(bytes) & !(minus as u32)).trailing_zeros() as usize;
    let point = bytes[stop % WIDTH];
    let whole = (stop > minus) & in_range(bytes, stop, minus) & (point != b'.') & (point | 0x20 != b'e');
    let number = whole & ((bytes[minus] != b'0') | (stop == minus + 1));
    let kind = if is_string { Kind::String } else { Kind::Integer };
    let end = at + if is_string { quote + 1 } else { stop };
    if is_string & string | !is_string & number { Some((kind, end)) } else { None }
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

#[inline(always)]
fn ahead(text: &[u8], at: usize) -> Option<&[u8; WIDTH]> {
    text.get(at..)?.first_chunk()
}

/// Eight bytes at a time, on any CPU.
struct Words;

impl Words {
    /// `marks` gives each byte's answer in its high bit.
    #[inline(always)]
    fn bits(bytes: &[u8; WIDTH], marks: impl Fn(u64) -> u64) -> u32 {
        let words = bytes.as_chunks::<8>().0;
        words.iter().rev().fold(0, |bits, word| {
            let marks = marks(u64::from_le_bytes(*word)) & HIGHS;
            // Each product moves one mark to its place in the highest byte; no two meet.
            bits << 8 | ((marks >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
        })
    }
}

/// The high bit of each byte that is not 0.
#[inline(always)]
fn filled(word: u64) -> u64 {
    ((word & !HIGHS) + !HIGHS) | word
}

const ONES: u64 = 0x0101_0101_0101_0101;

impl Lanes for Words {
    #[inline(always)]
    fn unlike(a: &[u8; WIDTH], b: &[u8; WIDTH]) -> u32 {
        let mut unlike = *a;
        unlike.iter_mut().zip(b).for_each(|(a, b)| *a ^= b);
        Words::bits(&unlike, filled)
    }

    #[inline(always)]
    fn special(bytes: &[u8; WIDTH]) -> u32 {
        Words::bits(bytes, |word| {
            let control = !(((word & !HIGHS) + ONES * (0x80 - 0x20)) | word);
            control | !filled(word ^ (ONES * u64::from(b'"'))) | !filled(word ^ (ONES * u64::from(b'\\')))
        })
    }

    #[inline(always)]
    fn high(bytes: &[u8; WIDTH]) -> u32 {
        Words::bits(bytes, |word| word)
    }

    #[inline(always)]
    fn other(bytes: &[u8; WIDTH]) -> u32 {
        Words::bits(bytes, decimal::other_marks)
    }

    #[inline(always)]
    fn word(bytes: &[u8; WIDTH]) -> u32 {
        Words::bits(bytes, legal_marks)
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{Chunk, Filled, Lanes, Member, Members, WIDTH};

    pub struct Avx2;

    /// # Safety
    /// The CPU has AVX2, BMI1, BMI2 and POPCNT.
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    pub unsafe fn fill(text: &[u8], at: usize, chunks: &[Chunk], members: &mut [Member]) -> Option<Filled> {
        super::fill::<Avx2>(text, at, chunks, members)
    }

    /// # Safety
    /// The CPU has AVX2, BMI1, BMI2 and POPCNT.
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    pub unsafe fn members(text: &[u8], at: usize, into: &mut Members) -> usize {
        super::members::<Avx2>(text, at, into)
    }

    // SAFETY, of all blocks below: `Avx2` is named in these two alone (and in a test that asks first), where the CPU
    // has AVX2; a load reads the 32 bytes of its array and asks no alignment.
    #[inline(always)]
    fn load(bytes: &[u8; WIDTH]) -> __m256i {
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    impl Lanes for Avx2 {
        #[inline(always)]
        fn unlike(a: &[u8; WIDTH], b: &[u8; WIDTH]) -> u32 {
            unsafe { !_mm256_movemask_epi8(_mm256_cmpeq_epi8(load(a), load(b))) as u32 }
        }

        #[inline(always)]
        fn special(bytes: &[u8; WIDTH]) -> u32 {
            unsafe {
                let bytes = load(bytes);
                let quote = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'"' as i8));
                let slash = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'\\' as i8));
                let control = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1F)), bytes);
                _mm256_movemask_epi8(_mm256_or_si256(_mm256_or_si256(quote, slash), control)) as u32
            }
        }

        #[inline(always)]
        fn high(bytes: &[u8; WIDTH]) -> u32 {
            unsafe { _mm256_movemask_epi8(load(bytes)) as u32 }
        }

        #[inline(always)]
        fn other(bytes: &[u8; WIDTH]) -> u32 {
            unsafe {
                let from_zero = _mm256_sub_epi8(load(bytes), _mm256_set1_epi8(b'0' as i8));
                let digit = _mm256_cmpeq_epi8(_mm256_min_epu8(from_zero, _mm256_set1_epi8(9)), from_zero);
                !_mm256_movemask_epi8(digit) as u32
            }
        }

        #[inline(always)]
        fn word(bytes: &[u8; WIDTH]) -> u32 {
            unsafe {
                let bytes = load(bytes);
                let within = |bytes, from: u8, to: u8| {
                    let bytes = _mm256_sub_epi8(bytes, _mm256_set1_epi8(from as i8));
                    _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8((to - from) as i8)), bytes)
                };
                let letter = within(_mm256_or_si256(bytes, _mm256_set1_epi8(0x20)), b'a', b'z');
                let digit = within(bytes, b'0', b'9');
                let line = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'_' as i8));
                _mm256_movemask_epi8(_mm256_or_si256(_mm256_or_si256(letter, digit), line)) as u32
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each byte in each place gets the answer that it would get alone.
    fn judges_each_byte<L: Lanes>() {
        let bit = |answer: bool, at: usize| u32::from(answer) << at;
        for byte in 0..=255u8 {
            for at in 0..WIDTH {
                for others in [b'7', b'x', b'"', 0x1F, 0x80, 0xFF] {
                    let mut bytes = [others; WIDTH];
                    bytes[at] = byte;
                    let all = |is: fn(u8) -> bool| {
                        bytes.iter().enumerate().fold(0, |bits, (at, byte)| bits | bit(is(*byte), at))
                    };
                    assert_eq!(L::special(&bytes), all(|b| b < 0x20 || b == b'"' || b == b'\\'), "{byte} at {at}");
                    assert_eq!(L::high(&bytes), all(|b| !b.is_ascii()), "{byte} at {at}");
                    assert_eq!(L::other(&bytes), all(|b| !b.is_ascii_digit()), "{byte} at {at}");
                    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
                    assert_eq!(L::word(&bytes), all(word), "{byte} at {at}");
                    assert_eq!(L::unlike(&bytes, &[others; WIDTH]), bit(byte != others, at), "{byte} at {at}");
                }
            }
        }
    }

    #[test]
    fn a_name_has_one_hash() {
        let text = b"\"abcdefghijklmnopqrstuvwxyz\":\"xy\"";
        for len in 1..=26 {
            let bytes = ahead(text, 0).unwrap();
            assert_eq!(hash(bytes, len), crate::transform::members::name_hash(&text[1..=len]), "{len}");
        }
    }

    #[test]
    fn each_byte_is_judged_alone() {
        judges_each_byte::<Words>();
        #[cfg(target_arch = "x86_64")]
        if matches!(Width::detect().0, Instructions::Avx2) {
            judges_each_byte::<avx2::Avx2>();
        }
    }
}
