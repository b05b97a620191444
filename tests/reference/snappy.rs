//! Snappy in its three framings, byte by byte: a value goes in, its content goes out, `None` where it does not decode.

const FRAMED: &[u8] = b"\xff\x06\x00\x00sNaPpY";
const XERIAL: &[u8] = b"\x82SNAPPY\x00";

/// The content, if it decodes and is no longer than `limit` bytes.
pub fn decode(value: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    if value.starts_with(FRAMED) {
        framed(value, limit, &mut out)?;
    } else if value.starts_with(XERIAL) {
        xerial(value, limit, &mut out)?;
    } else {
        block(value, limit, &mut out)?;
    }
    (out.len() <= limit).then_some(out)
}

/// Magic, two versions of 4 bytes, then blocks with their length in 4 bytes, big-endian.
fn xerial(value: &[u8], limit: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = value.get(16..)?;
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        block(rest.get(4..4 + length)?, limit, out)?;
        rest = &rest[4 + length..];
    }
    Some(())
}

/// Chunks: a type, a length of 3 bytes, little-endian, the body.
fn framed(value: &[u8], limit: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = value;
    while !rest.is_empty() {
        let head = rest.get(..4)?;
        let length = u32::from_le_bytes([head[1], head[2], head[3], 0]) as usize;
        let body = rest.get(4..4 + length)?;
        match head[0] {
            0xff if body != b"sNaPpY" => return None,
            0x80..=0xff => {}
            kind @ (0 | 1) => {
                let (sum, body) = body.split_at_checked(4)?;
                let start = out.len();
                if kind == 0 {
                    block(body, limit, out)?;
                } else {
                    out.extend_from_slice(body);
                }
                let content = &out[start..];
                if content.len() > 65_536 || sum != masked_crc32c(content).to_le_bytes() || out.len() > limit {
                    return None;
                }
            }
            _ => return None,
        }
        rest = &rest[4 + length..];
    }
    Some(())
}

/// One raw block: its length as a varint, then literals and copies.
fn block(value: &[u8], limit: usize, out: &mut Vec<u8>) -> Option<()> {
    let (length, mut at) = varint(value)?;
    let start = out.len();
    if start as u64 + length > limit as u64 {
        return None;
    }
    let end = start + length as usize;
    while at < value.len() {
        let tag = value[at];
        at += 1;
        let number = |from: usize, bytes: usize| -> Option<usize> {
            Some(value.get(from..from + bytes)?.iter().rev().fold(0, |n, b| n << 8 | *b as usize))
        };
        let (offset, count) = match tag & 3 {
            0 => {
                let extra = usize::from(tag >> 2).saturating_sub(59);
                let count = if extra == 0 { usize::from(tag >> 2) } else { number(at, extra)? } + 1;
                at += extra;
                out.extend_from_slice(value.get(at..at.checked_add(count)?)?);
                at += count;
                (0, 0)
            }
            1 => (usize::from(tag >> 5) << 8 | number(at, 1)?, usize::from(tag >> 2 & 7) + 4),
            2 => (number(at, 2)?, usize::from(tag >> 2) + 1),
            _ => (number(at, 4)?, usize::from(tag >> 2) + 1),
        };
        at += [0, 1, 2, 4][usize::from(tag & 3)];
        if tag & 3 != 0 && (offset == 0 || offset > out.len() - start) {
            return None;
        }
        for _ in 0..count {
            out.push(out[out.len() - offset]);
        }
        if out.len() > end {
            return None;
        }
    }
    (out.len() == end).then_some(())
}

/// A number below 2^32 and the bytes it takes.
fn varint(value: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0_u64;
    for (i, byte) in value.iter().take(5).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return (number <= u64::from(u32::MAX)).then_some((number, i + 1));
        }
    }
    None
}

fn masked_crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    let crc = !crc;
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}
