//! The content of JSON strings: found, decoded, and written in the one byte form that lines have.

use super::Out;

const ONES: u64 = 0x0101_0101_0101_0101;
/// The high bit of each byte.
pub const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Where the next `"`, `\` or byte below 0x20 stands, at or after `at`; the length of `text` if there is none.
#[inline]
pub fn next_special(text: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * b'"' as u64);
        let slash = word ^ (ONES * b'\\' as u64);
        // A borrow can only mark bytes above a true hit, so the lowest mark is exact.
        let hits = (quote.wrapping_sub(ONES) & !quote)
            | (slash.wrapping_sub(ONES) & !slash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        let hits = hits & HIGHS;
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(&byte) = text.get(at) {
        if byte == b'"' || byte == b'\\' || byte < 0x20 {
            break;
        }
        at += 1;
    }
    at
}

/// Appends the content of a string whose escapes are known to be legal.
#[cold]
pub fn decode(raw: &[u8], into: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        into.extend_from_slice(&rest[..at]);
        let (escape, used) = match rest.get(at + 1) {
            Some(b'u') => unicode(&rest[at..]),
            Some(&letter) => (char::from(simple(letter)), 2),
            None => return,
        };
        into.extend_from_slice(escape.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[at + used..];
    }
    into.extend_from_slice(rest);
}

/// The value of four hex digits.
pub fn hex4(digits: &[u8]) -> Option<u32> {
    let digits = digits.get(..4)?;
    digits.iter().try_fold(0, |value, &d| Some(value << 4 | char::from(d).to_digit(16)?))
}

/// Writes decoded content with the quotes around it.
#[inline]
pub fn put_string(out: &mut Out<'_>, content: &[u8]) {
    out.put(b"\"");
    put_content(out, content);
    out.put(b"\"");
}

/// Writes decoded content in byte form, without quotes.
#[inline]
pub fn put_content(out: &mut Out<'_>, content: &[u8]) {
    let mut from = 0;
    loop {
        let at = next_special(content, from);
        out.put(&content[from..at]);
        let Some(&byte) = content.get(at) else { return };
        put_escape(out, byte);
        from = at + 1;
    }
}

fn put_escape(out: &mut Out<'_>, byte: u8) {
    match byte {
        b'"' => out.put(b"\\\""),
        b'\\' => out.put(b"\\\\"),
        0x08 => out.put(b"\\b"),
        0x0C => out.put(b"\\f"),
        b'\n' => out.put(b"\\n"),
        b'\r' => out.put(b"\\r"),
        b'\t' => out.put(b"\\t"),
        _ => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.put(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

fn simple(letter: u8) -> u8 {
    match letter {
        b'b' => 0x08,
        b'f' => 0x0C,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        same => same,
    }
}

/// `\uXXXX` or a pair of surrogates at the start of `raw`, and how many bytes it takes.
fn unicode(raw: &[u8]) -> (char, usize) {
    let high = hex4(raw.get(2..).unwrap_or_default()).unwrap_or(0xFFFD);
    if (0xD800..0xDC00).contains(&high) {
        let low = hex4(raw.get(8..).unwrap_or_default()).unwrap_or(0xDC00);
        let code = 0x10000 + ((high - 0xD800) << 10) + low.wrapping_sub(0xDC00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
    }
    (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_special_byte_is_found_wherever_it_stands() {
        for special in [b'"', b'\\', 0x1F, 0x00, b'\n'] {
            for at in 0..40 {
                let mut text = vec![b'#'; 40];
                text[at] = special;
                text.iter_mut().skip(at + 1).for_each(|b| *b = b'"');
                assert_eq!(next_special(&text, 0), at);
            }
        }
        assert_eq!(next_special("\u{7f}世界 !#[]abcdefgh".as_bytes(), 0), "\u{7f}世界 !#[]abcdefgh".len());
    }

    #[test]
    fn escapes_are_decoded_and_written_in_the_one_form() {
        let mut content = Vec::new();
        decode(br#"\u4f60 \u003cb\u003e\/\ud83d\ude00\u0001\n\"\\\b\f\r\t\u001F"#, &mut content);
        assert_eq!(content, "你 <b>/😀\u{1}\n\"\\\u{8}\u{c}\r\t\u{1f}".as_bytes());
        let mut room = [0; 100];
        let mut out = Out::new(&mut room);
        put_string(&mut out, &content);
        assert_eq!(out.written(), "\"你 <b>/😀\\u0001\\n\\\"\\\\\\b\\f\\r\\t\\u001f\"".as_bytes());
    }
}
