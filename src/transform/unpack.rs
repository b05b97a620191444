//! Steps 1 to 3: is there a value, is it small enough, does its own codec decode it, and which records stand in it.

use std::io::Read;

use super::{Options, Parked, ValueCodec};
use crate::flow::tally::Code;
use crate::flow::xerial;

/// The first chunk of snappy's framing format.
const FRAMED: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// Decodes values; keeps its buffer from value to value.
pub struct Unpacker {
    codec: ValueCodec,
    max_record_bytes: usize,
    decoder: snap::raw::Decoder,
    decoded: Vec<u8>,
}

/// The pieces of one value, each a record of its own, with its number in the value.
#[derive(Debug)]
pub struct Unpacked<'a> {
    rest: Option<&'a [u8]>,
    /// One record a line; else the rest is one piece.
    lines: bool,
    k: u32,
}

impl Unpacker {
    pub fn new(options: &Options) -> Unpacker {
        Unpacker {
            codec: options.value_codec,
            max_record_bytes: options.max_record_bytes,
            decoder: snap::raw::Decoder::new(),
            decoded: Vec::new(),
        }
    }

    /// At least one piece.
    ///
    /// # Errors
    /// E01_EMPTY, E02_TOO_LARGE_IN, E03_CODEC.
    pub fn unpack<'a>(&'a mut self, value: Option<&'a [u8]>) -> Result<Unpacked<'a>, Parked> {
        let value = match value {
            None => return Err(parked(Code::E01_EMPTY, "the record has no value".into())),
            Some([]) => return Err(parked(Code::E01_EMPTY, "the value has 0 bytes".into())),
            Some(value) => value,
        };
        let max = self.max_record_bytes;
        if value.len() > max {
            let detail = format!("{} bytes, max_record_bytes is {max}", value.len());
            return Err(parked(Code::E02_TOO_LARGE_IN, detail));
        }
        if self.codec == ValueCodec::None {
            return Ok(Unpacked { rest: Some(value), lines: false, k: 0 });
        }
        self.decode(value).map_err(|reason| parked(Code::E03_CODEC, reason))?;
        if self.decoded.iter().all(is_blank) {
            return Err(parked(Code::E01_EMPTY, "the value decodes to nothing".into()));
        }
        Ok(Unpacked { rest: Some(&self.decoded), lines: true, k: 0 })
    }

    /// Fills `decoded`; no more than `max_record_bytes` of it are ever allocated.
    fn decode(&mut self, value: &[u8]) -> Result<(), String> {
        self.decoded.clear();
        if value.starts_with(FRAMED) {
            return self.decode_framed(value);
        }
        let Some(blocks) = xerial::blocks(value) else { return self.decode_block(value) };
        blocks?.try_for_each(|block| self.decode_block(block?))
    }

    /// Appends what one raw block holds.
    fn decode_block(&mut self, block: &[u8]) -> Result<(), String> {
        let len = snap::raw::decompress_len(block).map_err(|error| error.to_string())?;
        let from = self.decoded.len();
        if len > self.max_record_bytes - from {
            return Err(format!("decodes to more than max_record_bytes, {}", self.max_record_bytes));
        }
        self.decoded.resize(from + len, 0);
        self.decoder.decompress(block, &mut self.decoded[from..]).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn decode_framed(&mut self, value: &[u8]) -> Result<(), String> {
        let limit = self.max_record_bytes as u64;
        let frames = snap::read::FrameDecoder::new(value);
        frames.take(limit + 1).read_to_end(&mut self.decoded).map_err(|error| error.to_string())?;
        if self.decoded.len() as u64 > limit {
            return Err(format!("decodes to more than max_record_bytes, {limit}"));
        }
        Ok(())
    }
}

impl Unpacked<'_> {
    /// Each piece is a line of what was decoded; else the one piece is the value itself.
    pub fn are_lines(&self) -> bool {
        self.lines
    }
}

impl<'a> Iterator for Unpacked<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<(u32, &'a [u8])> {
        loop {
            let rest = self.rest.take()?;
            let newline = if self.lines { memchr::memchr(b'\n', rest) } else { None };
            let piece = newline.map_or(rest, |at| &rest[..at]);
            self.rest = newline.map(|at| &rest[at + 1..]);
            if self.lines && piece.iter().all(is_blank) {
                continue;
            }
            self.k += 1;
            return Some((self.k - 1, piece));
        }
    }
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn parked(code: Code, detail: String) -> Parked {
    Parked { code, detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn unpacker(max_record_bytes: usize) -> Unpacker {
        Unpacker::new(&Options { value_codec: ValueCodec::Snappy, max_record_bytes, ..Options::default() })
    }
    fn raw(text: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(text).unwrap()
    }
    fn framed(text: &[u8]) -> Vec<u8> {
        let mut frames = snap::write::FrameEncoder::new(Vec::new());
        frames.write_all(text).unwrap();
        frames.into_inner().unwrap()
    }
    fn xerial(blocks: &[&[u8]]) -> Vec<u8> {
        xerial::tests::framed(blocks.iter().map(|block| raw(block)))
    }
    fn code(unpacker: &mut Unpacker, value: Option<&[u8]>) -> Code {
        unpacker.unpack(value).unwrap_err().code
    }

    #[test]
    fn a_plain_value_is_one_piece_with_all_its_newlines() {
        let mut plain = Unpacker::new(&Options { max_record_bytes: 4, ..Options::default() });
        assert_eq!(plain.unpack(Some(b"\n\n{}")).unwrap().collect::<Vec<_>>(), [(0, &b"\n\n{}"[..])]);
        assert_eq!(code(&mut plain, None), Code::E01_EMPTY);
        assert_eq!(code(&mut plain, Some(b"")), Code::E01_EMPTY);
        assert_eq!(code(&mut plain, Some(b"12345")), Code::E02_TOO_LARGE_IN);
    }

    #[test]
    fn each_framing_decodes_to_its_lines() {
        let text = b"\n{\"a\":1}\r\n \t\r\n{\"b\":2}\n\n";
        let mut snappy = unpacker(1000);
        for value in [raw(text), framed(text), xerial(&[&text[..5], &text[5..]])] {
            let pieces: Vec<_> = snappy.unpack(Some(&value)).unwrap().collect();
            assert_eq!(pieces, [(0, &b"{\"a\":1}\r"[..]), (1, b"{\"b\":2}")]);
        }
    }

    #[test]
    fn the_limit_holds_for_the_decoded_value_in_each_framing() {
        let text = [b'x'; 1000];
        let half = &text[..500];
        for value in [raw(&text), framed(&text), xerial(&[half, half])] {
            assert_eq!(unpacker(1000).unpack(Some(&value)).unwrap().count(), 1);
            assert_eq!(code(&mut unpacker(999), Some(&value)), Code::E03_CODEC);
        }
        // A block that claims 4 GiB allocates nothing.
        let mut small = unpacker(1000);
        assert_eq!(code(&mut small, Some(b"\xff\xff\xff\xff\x0f\x00")), Code::E03_CODEC);
        assert_eq!(small.decoded.capacity(), 0);
    }

    #[test]
    fn what_does_not_decode_is_refused() {
        let good = [raw(b"{\"a\":1}{\"a\":1}"), framed(b"{\"a\":1}"), xerial(&[b"{\"a\":1}"])];
        for value in &good {
            for cut in 1..value.len() {
                let result = unpacker(1000).unpack(Some(&value[..cut])).map(|pieces| pieces.count());
                assert!(matches!(&result, Err(Parked { code: Code::E03_CODEC | Code::E01_EMPTY, .. })), "{result:?}");
            }
        }
        let mut broken = good[1].clone();
        broken[16] ^= 1;
        assert_eq!(code(&mut unpacker(1000), Some(&broken)), Code::E03_CODEC);
        assert_eq!(code(&mut unpacker(1000), Some(b"{\"headers\":{}}")), Code::E03_CODEC);
    }

    #[test]
    fn nothing_but_blank_lines_is_empty() {
        let mut snappy = unpacker(1000);
        for value in [raw(b""), raw(b" \n\t\r\n"), framed(b"\n"), xerial(&[])] {
            assert_eq!(code(&mut snappy, Some(&value)), Code::E01_EMPTY);
        }
    }
}
