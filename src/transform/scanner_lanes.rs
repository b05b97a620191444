//! 32 bytes at a time: what is asked of them, and how the CPU answers.
//!
//! What the CPU offers is asked when the program runs; without AVX2 the same is done in words of 8 bytes.

use super::decimal;
use super::json_text::HIGHS;
use super::names::legal_marks;

/// Bytes looked at together.
pub const WIDTH: usize = 32;

/// Which instructions find the way.
#[derive(Debug, Clone, Copy)]
pub struct Width(Instructions);

#[derive(Debug, Clone, Copy)]
enum Instructions {
    Words,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

/// What is done in either way.
pub trait Work {
    type Found;
    /// Inlined always, so that it is made of the instructions of its caller.
    fn run<L: Lanes>(self) -> Self::Found;
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

    #[inline]
    pub fn run<W: Work>(self, work: W) -> W::Found {
        match self.0 {
            Instructions::Words => work.run::<Words>(),
            // SAFETY: `detect` alone makes this value, where the CPU has these instructions.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Instructions::Avx2 => unsafe { avx2::run(work) },
        }
    }
}

/// What is asked of 32 bytes: one bit each, the first byte's lowest.
pub trait Lanes {
    fn unlike(a: &[u8; WIDTH], b: &[u8; WIDTH]) -> u32;
    /// `"`.
    fn quote(bytes: &[u8; WIDTH]) -> u32;
    /// `"`, `\` and what is below 0x20.
    fn special(bytes: &[u8; WIDTH]) -> u32;
    /// Not ASCII.
    fn high(bytes: &[u8; WIDTH]) -> u32;
    /// `-`.
    fn minus(bytes: &[u8; WIDTH]) -> u32;
    /// No digit.
    fn other(bytes: &[u8; WIDTH]) -> u32;
    /// A letter, a digit or `_`.
    fn word(bytes: &[u8; WIDTH]) -> u32;
}

#[inline(always)]
pub fn ahead(text: &[u8], at: usize) -> Option<&[u8; WIDTH]> {
    text.get(at..)?.first_chunk()
}

/// Eight bytes at a time, on any CPU.
pub struct Words;

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
    fn quote(bytes: &[u8; WIDTH]) -> u32 {
        Words::bits(bytes, |word| !filled(word ^ (ONES * u64::from(b'"'))))
    }

    #[inline(always)]
    fn minus(bytes: &[u8; WIDTH]) -> u32 {
        Words::bits(bytes, |word| !filled(word ^ (ONES * u64::from(b'-'))))
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

    use super::{Lanes, WIDTH, Work};

    pub struct Avx2;

    /// # Safety
    /// The CPU has AVX2, BMI1, BMI2 and POPCNT.
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    pub unsafe fn run<W: Work>(work: W) -> W::Found {
        work.run::<Avx2>()
    }

    // SAFETY, of all blocks below: `Avx2` is named in `run` alone (and in a test that asks first), where the CPU
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
        fn quote(bytes: &[u8; WIDTH]) -> u32 {
            unsafe { _mm256_movemask_epi8(_mm256_cmpeq_epi8(load(bytes), _mm256_set1_epi8(b'"' as i8))) as u32 }
        }

        #[inline(always)]
        fn minus(bytes: &[u8; WIDTH]) -> u32 {
            unsafe { _mm256_movemask_epi8(_mm256_cmpeq_epi8(load(bytes), _mm256_set1_epi8(b'-' as i8))) as u32 }
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
                    assert_eq!(L::quote(&bytes), all(|b| b == b'"'), "{byte} at {at}");
                    assert_eq!(L::minus(&bytes), all(|b| b == b'-'), "{byte} at {at}");
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
    fn each_byte_is_judged_alone() {
        judges_each_byte::<Words>();
        #[cfg(target_arch = "x86_64")]
        if matches!(Width::detect().0, Instructions::Avx2) {
            judges_each_byte::<avx2::Avx2>();
        }
    }
}
