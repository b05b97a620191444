//! Numbers in maps that carry a check of themselves: one store sets both, and a flipped byte is seen at the next start.

/// Bits of a number; the check stands above them.
const NUMBER_BITS: u32 = 56;
const NUMBER: u64 = (1 << NUMBER_BITS) - 1;

/// The word that holds `number`, which is below 2^56. The word of 0 is 0, so zeroed memory is whole.
pub fn sealed(number: u64) -> u64 {
    debug_assert!(number <= NUMBER);
    number | u64::from(crc8(number)) << NUMBER_BITS
}

/// The number of a word that this process has stored, or has found whole.
pub fn number(word: u64) -> u64 {
    word & NUMBER
}

pub fn is_whole(word: u64) -> bool {
    sealed(number(word)) == word
}

/// CRC-8 (polynomial 0x07) of the number's bytes: it sees every error that lies within eight neighbouring bits.
fn crc8(number: u64) -> u8 {
    number.to_be_bytes()[1..].iter().fold(0, |crc, byte| TABLE[usize::from(crc ^ byte)])
}

const TABLE: [u8; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = at as u8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x80 == 0 { crc << 1 } else { crc << 1 ^ 0x07 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_is_seen() {
        for n in [0, 1, 64, 0x1234_5678_9abc, NUMBER] {
            let word = sealed(n);
            assert!(is_whole(word) && number(word) == n);
            for byte in 0..8 {
                for change in 1..=255_u64 {
                    assert!(!is_whole(word ^ change << (byte * 8)), "{n:x} byte {byte} ^ {change:x}");
                }
            }
        }
        assert_eq!(sealed(0), 0);
    }
}
